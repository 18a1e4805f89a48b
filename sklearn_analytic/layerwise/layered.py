"""A stack of partitions as one execution: all of them side by side, each on what the one below puts out."""

import time

import numpy as np

from sklearn_analytic.nn._communication import joined
from sklearn_analytic.nn._recipe import Rows, batch


class Layered:
    """An :class:`~sklearn_analytic.nn._recipe.Execution` of a whole stack.

    :meth:`epoch` is the simultaneous order: every partition takes a step on every batch, and no error crosses a
    border. The sequential orders train the partitions of ``stack`` one at a time, see ``train_layers``.

    Parameters
    ----------
    stack : Stack
        The network and its heads.
    batch_size : int
        Rows of a batch.
    """

    def __init__(self, stack, batch_size):
        self.stack, self.batch_size = stack, batch_size
        self.last = stack.n_partitions - 1  # the partition whose head predicts
        self.diverged = None  # the partition that did
        self.seconds, self.bytes = np.zeros(stack.n_partitions), np.zeros(stack.n_partitions)
        self._activations, self._live, self._resting = {}, {}, {}
        self._is_logged, self._sent = False, []
        self._together = False  # whether all partitions were in training at once

    # ---- one partition at a time ----

    def begin(self, k, batch_size):
        """Return partition k in training; until :meth:`end` its head predicts."""
        self.last = k
        self._live[k] = self.stack.begin(k, batch_size)
        return self._live[k]

    def end(self, k, go_back=None):
        """Keep the weights of partition k, and note what it needed; its optimiser is forgotten.

        ``go_back`` keeps those of an earlier epoch.
        """
        self._measure(k)
        execution = self._live.pop(k)
        self._sent += self._records({k: execution})
        execution.drop_buffers()
        if go_back is None:
            self.stack.keep(k, execution)
        else:
            go_back()

    # ---- all of them: the protocol ----

    def place(self, rows):
        """Rows stay on the host: their features change at every border."""
        for k in range(self.stack.n_partitions):
            if k not in self._live:
                self._live[k] = self.stack.begin(k, self.batch_size, together=True)
                if k in self._resting:
                    self._live[k].restore(self._resting.pop(k))
        return rows

    def epoch(self, placed, order, rates):
        """One step of each partition per rate; the loss is that of the partition that predicts."""
        total, self._together = 0.0, True
        for k, rate in enumerate(rates):
            rows = batch(order, k, len(rates))
            loss = self._step(placed.x[rows], placed.y[rows], _part(placed.weight, rows), np.array([rate]))
            total += loss * len(rows)
            if not np.isfinite(total):
                break
        for k in self._live:
            self._measure(k)
        return total / len(order)

    def outputs(self, x):
        """Raw outputs of host rows at the head that predicts, in their dtype."""
        *_, last = self.staged_outputs(x)
        return last

    def staged_outputs(self, x):
        """Yield the raw outputs of every partition's head, up to the one that predicts."""
        self.settle()
        for k in range(self.last + 1):
            x = self.stack.features(k, x)
            yield self.stack.exit(k, x)

    def settle(self):
        """Give the stack the weights of partitions in training."""
        for k, execution in self._live.items():
            self.stack.keep(k, execution)

    def rest(self):
        """Give the stack all weights, and forget all optimisers: what comes begins with others."""
        self.settle()
        self._live = {}

    def set_readout(self, weights, bias):
        """Replace the last layer of the head that predicts; optimisers are forgotten."""
        self.rest()
        self.stack.set_readout(self.last, weights, bias)

    def rewrite(self, state):
        """Take other weights, as a state of the stack; optimisers of partitions in training keep their moments."""
        self.stack.load(state)
        for k, execution in self._live.items():
            fresh = self.stack.begin(k, self.batch_size, together=True).snapshot()
            weights = {name: fresh[name] for name in ("theta", "network") if name in fresh}
            execution.restore(execution.snapshot() | weights)

    def snapshot(self):
        """Weights of network and heads, and the optimisers' states of partitions in training."""
        self.settle()
        live = {k: execution.snapshot() for k, execution in self._live.items()}
        return {"stack": self.stack.state(), "live": live, "last": self.last}

    @property
    def is_published(self):
        """Whether fitted attributes hold all that training would go on from."""
        return not self._live and self.last == self.stack.n_partitions - 1

    def place_alone(self):
        """Return a snapshot without weights: they come back from fitted attributes."""
        return {"stack": None, "kind": self.stack.kind, "live": {}, "last": self.last}

    def restore(self, snapshot):
        """Put a snapshot back, bit for bit; one without weights leaves them to who writes them."""
        if snapshot["stack"] is not None:
            self.stack.load(snapshot["stack"])
        elif snapshot["kind"] != self.stack.kind:
            raise ValueError(f"the state is that of a {snapshot['kind']} network")
        self._live, self._resting, self.last = {}, dict(snapshot["live"]), snapshot["last"]
        if self._resting:
            self.place(None)

    def is_finite(self):
        """Whether all weights in training are numbers."""
        return all(execution.is_finite() for execution in self._live.values())

    def activation_bytes(self):
        """Bytes of the activations of one batch: of all partitions in training at once, or of the largest."""
        found = self._activations.values()
        if self._together:
            return {name: sum(sizes[name] for sizes in found) for name in ("stored", "shared", "exact")}
        return max(found, key=lambda sizes: sizes["stored"])

    # ---- what processes sent ----

    def log_epoch(self):
        """Record what the processes sent since the last call, for torch's executions."""
        self._is_logged = True
        for execution in self._live.values():
            execution.log_epoch()

    def communication(self):
        """Return the record of all :meth:`log_epoch`; None for a process alone."""
        return joined([*self._sent, *self._records(self._live)])

    def _records(self, live):
        """The records of partitions that are trained at once, as one segment."""
        if not self._is_logged or not live:
            return []
        return [[(f"partition {k + 1}", execution.communication()) for k, execution in live.items()]]

    # ---- parts ----

    def _measure(self, k):
        """Note what partition k needs in training."""
        self.bytes[k] = self._live[k].training_bytes()
        self._activations[k] = self._live[k].activation_bytes()

    def _step(self, x, y, weight, rate):
        """One batch through all partitions; the loss of the one that predicts, or the first that is no number."""
        found = np.nan
        for k in range(self.stack.n_partitions):
            start, execution = time.perf_counter(), self._live[k]
            loss = execution.epoch(execution.place(Rows(x, y, weight)), np.arange(len(y)), rate)
            if not np.isfinite(loss):
                self.diverged = k
                return loss
            found = loss if k == self.last else found
            x = execution.batch_features()
            self.seconds[k] += time.perf_counter() - start
        return found


def _part(weight, rows):
    """Weights of some rows, if rows have weights."""
    return None if weight is None else weight[rows]
