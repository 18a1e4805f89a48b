"""One partition in training in torch: an execution of its layers and its head, and what crosses its border."""

import numpy as np
import torch

from sklearn_analytic.nn._recipe import Rows, batch
from sklearn_analytic.nn._torch_execution import TorchExecution
from sklearn_analytic.nn._torch_modes import in_own_modes

_PROBES = (8, 16, 24)  # rows; whole bytes of packed codes, and three points of a parabola (similarities are of pairs)


class TorchPartition:
    """A ``LocalExecution`` of a chain of modules with a tap on the partition.

    Parameters
    ----------
    network : torch.nn.Sequential
        Partition, tap, head; trained in place.
    tap : Tap
        The one in the network.
    recipe, device, generator_seed, ranks
        As in :class:`TorchExecution`.
    """

    def __init__(self, network, tap, recipe, device, generator_seed, ranks):
        self.network, self.tap, self.recipe, self.device = network, tap, recipe, torch.device(device)
        self._execution = TorchExecution(network, recipe, device, generator_seed, ranks, tap)
        self._placed, self._n_last = None, 0

    # ---- the protocol of an execution ----

    def place(self, rows):
        """Rows on the device; ``rows.x`` may be a tensor."""
        self._placed = self._execution.place(rows)
        return self._placed

    def epoch(self, placed, order, rates):
        """One step per rate."""
        self._n_last = len(batch(order, len(rates) - 1, len(rates)))
        return self._execution.epoch(placed, order, rates)

    def outputs(self, x):
        """Raw outputs of the head."""
        return self._execution.outputs(x)

    def snapshot(self):
        """Weights and states of partition, head and projection."""
        return self._execution.snapshot()

    def restore(self, snapshot):
        """Put a snapshot back."""
        self._execution.restore(snapshot)

    def is_finite(self):
        """Whether all weights are numbers."""
        return self._execution.is_finite()

    def alignment(self, x, y):
        """Cosine of every gradient to the true one of partition and head: side losses are left out."""
        return self._execution.alignment(x, y)

    def activation_bytes(self):
        """Bytes that autograd keeps of one batch."""
        return self._execution.activation_bytes()

    def log_epoch(self):
        """Record what the ranks sent."""
        self._execution.log_epoch()

    def communication(self):
        """The record of all epochs."""
        return self._execution.communication()

    # ---- of a partition ----

    @in_own_modes
    def batch_features(self):
        """Return the features (m, units) of the last batch: a host array on the CPU, a tensor on other devices.

        With several processes every one of them gets all rows.
        """
        ranks, dtype = self._execution.ranks, self._execution.dtype
        own = self.tap.last.flatten(1).to(dtype)
        if 1 < ranks.size <= self._n_last:
            whole = own.new_zeros((self._n_last, own.shape[1]))
            rows = batch(np.arange(self._n_last), ranks.rank, ranks.size)
            whole[int(rows[0]) : int(rows[-1]) + 1] = own
            own = ranks.sum_(whole)
        return own.numpy() if own.device.type == "cpu" else own

    @in_own_modes
    def training_bytes(self):
        """Return bytes of gradients, of the optimiser's state and of what one batch of the placed rows keeps.

        The batch itself counts; the network's weights and the errors on their way down do not.
        """
        held = [p.grad for p in self.network.parameters()]
        held += [t for state in self._execution.optimizer.state.values() for t in state.values()]
        kept = 0 if self._placed is None else self._kept_bytes()
        return sum(t.nbytes for t in held if isinstance(t, torch.Tensor)) + kept

    def drop_buffers(self):
        """Forget rows and features of the last batch."""
        self._placed = self.tap.last = None

    def _kept_bytes(self):
        """What autograd keeps of the first rows that pass at once, side losses included, and the rows."""
        # copies, or the memory of all rows would count
        x, y, weight = (None if t is None else t[: self.recipe.rows_at_once].clone() for t in self._placed)
        last = self.tap.last
        self.tap.begin(x, y, weight, len(x))
        found = self.activation_bytes()
        self.tap.end(0.0)
        self.tap.last = last
        return found["stored"] + found["shared"] + x.nbytes


def expected_bytes(execution, n_features, n_outputs):
    """Return a function of the batch size: what ``training_bytes`` of an execution that took no step would become."""
    codes = execution.recipe.output != "identity"
    found = []
    for m in _PROBES:
        y = np.zeros(m, np.int64) if codes else np.zeros((m, n_outputs))
        execution.place(Rows(np.zeros((m, n_features)), y))
        found.append(execution.training_bytes())
    parabola = np.linalg.solve(np.vander(_PROBES, 3), found)
    trained = [p for p in execution.network.parameters() if p.requires_grad]
    states = sum(p.nbytes for p in trained) * (1 + _moments(execution.recipe.optimizer))
    return lambda batch_size: states + round(float(np.polyval(parabola, batch_size)))


def _moments(optimizer):
    """Arrays that an update rule keeps beside each parameter."""
    return {"sgd": int(optimizer.momentum > 0)}.get(optimizer.name, 2)
