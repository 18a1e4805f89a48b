"""Consecutive stages of a torch network as one module of a pipeline."""

import contextlib
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch

from sklearn_analytic.decoupled.torch_weights import Twins
from sklearn_analytic.nn._torch_execution import to_host, to_tensors
from sklearn_analytic.nn._torch_modes import own_modes
from sklearn_analytic.nn._torch_networks import state_arrays
from sklearn_analytic.nn._torch_optimizers import optimizer_of, squared_weights
from sklearn_analytic.nn._torch_stages import send_back

# {optimiser: names of (first, second) in its state}; plain steps have one at most
_MOMENTS = {
    "sgd": ("momentum_buffer", None),
    "adam": ("exp_avg", "exp_avg_sq"),
    "adamw": ("exp_avg", "exp_avg_sq"),
}


@dataclass(frozen=True)
class Role:
    """What a module must know of the network around it."""

    is_first: bool  # reads the rows of a batch
    error_of: Any  # of the last module: (y, weight, n, outputs) -> (mean loss, its gradient); else None
    autocast: Any  # dtype, or None
    cache: bool  # whether autocast keeps low copies of weights, a memory that all threads of a process share
    alone: bool  # whether each operation is to use one thread, as modules run beside each other


@dataclass(frozen=True)
class _Kept:
    """What a batch leaves for its backward pass."""

    x: torch.Tensor  # a leaf
    output: torch.Tensor  # with its graph
    error: Any  # of the last module: the gradient of the mean loss
    weights: Any  # that the forward pass read
    n_rows: int


class TorchCell:
    """A :class:`~sklearn_analytic.decoupled.pipeline.Cell` of a chain of torch modules, trained in place.

    Parameters
    ----------
    network : torch.nn.Sequential
        The stages, in their dtype and on their device.
    recipe : Recipe
        Optimiser.
    role : Role
        Place in the network.
    placement : Placement
        Device and stream.
    draws : Draws
        Random numbers of the module's batches.
    """

    def __init__(self, network, recipe, role, placement, draws):
        self.network, self.optimizer, self.placement, self.draws = network, recipe.optimizer, placement, draws
        self._role, self._twins, self.n_updates = role, Twins(network), 0
        self._steps = optimizer_of(self._twins.optimised, recipe.optimizer)
        kind = placement.device.type
        dtype, cache = role.autocast, role.cache
        self._precision = partial(torch.autocast, kind, dtype, enabled=dtype is not None, cache_enabled=cache)
        self._kept, self._bytes = {}, {}

    # ---- operations ----

    def forward(self, batch, x, weights=None, keep=True):
        """Run the modules, with a graph where it is kept."""
        with self._working():
            x = self._input(batch, x)
            output = self._kept_output(batch, x, weights) if keep else self._passing_output(batch, x, weights)
            error = loss = None
            if self._role.error_of is not None:
                loss, error = self._loss(batch, output)
            if keep:
                self._kept[batch.index] = _Kept(x, output, error, weights, len(batch.rows))
            return self.placement.send(output.detach()) if loss is None else loss

    def backward(self, batch, error, weights=None):
        """Run the batch's graph, at the weights that it has seen, or at those of now."""
        kept = self._kept.pop(batch.index)
        self.draws.forget(batch)
        with self._working():
            error = self.placement.receive(error) if kept.error is None else kept.error
            is_stale = kept.weights is not None and weights is None
            with self._twins.current(kept.weights) if is_stale else contextlib.nullcontext():
                self._run_back(kept.output, error)
            if kept.weights is not None:
                self._twins.collect(kept.weights)
            if self._role.is_first:
                return None
            below = torch.zeros_like(kept.x) if kept.x.grad is None else kept.x.grad
            return self.placement.send(below)

    def update(self, rate, scale):
        """A step of torch's optimiser on the twins."""
        self.n_updates += 1
        self.placement.after_caller()  # a predictor may still read; inside, the caller's stream would be the module's
        with self._working():
            self._twins.part()
            self._twins.hand_over(scale)
            self._steps.step(rate)
            self._twins.forget()

    # ---- weights ----

    def frozen(self):
        """What trains, in memory that the next update leaves alone."""
        with self._working():
            return self._twins.frozen()

    def replaced(self, tensors):
        """What trains, with other values, which the caller may still be computing."""
        self.placement.after_caller()
        with self._working():
            for tensor in tensors if self.placement.stream is not None else ():
                tensor.record_stream(self.placement.stream)
            return self._twins.leaves(tensors)

    def squared_weights(self):
        """Of what trains."""
        with self._working():
            return squared_weights(self._twins.parameters)

    def tensors(self):
        """What trains, outside of graphs."""
        self.placement.before_caller()
        return [p.detach() for p in self._twins.parameters]

    def moments(self):
        """What the optimiser keeps; zeros for what it does not."""
        names = _MOMENTS[self.optimizer.name]
        self.placement.before_caller()
        return [tuple(self._moment(twin, name) for name in names) for twin in self._twins.optimised]

    def adam_ahead(self, distance):
        """Torch's tensors one by one."""
        o, t = self.optimizer, self.n_updates
        size, root = distance / (1 - o.beta_1**t), (1 - o.beta_2**t) ** 0.5
        pairs = zip(self.tensors(), self.moments(), strict=True)
        return self.replaced([w - size * m / (v.sqrt() / root + o.epsilon) for w, (m, v) in pairs])

    def kept_bytes(self):
        """What autograd keeps, as measured for as many rows, and outputs; of the first module the rows, too."""
        return sum(self._bytes[kept.n_rows] for kept in self._kept.values())

    def is_finite(self):
        """Whether all weights are numbers."""
        self.placement.before_caller()
        return all(bool(torch.isfinite(p).all()) for p in self.network.parameters())

    def state(self):
        """Parameters, buffers, moments, updates."""
        self.placement.before_caller()
        steps = to_host(self._steps.state_dict())
        return {"network": state_arrays(self.network), "optimizer": steps, "n_updates": self.n_updates}

    def load(self, state):
        """Put a state back, in place."""
        self.placement.before_caller()
        with own_modes(self.placement.device.type):
            self._twins.part()
            self.network.load_state_dict(to_tensors(state["network"]))
            if state["optimizer"] is not None:  # as once of a module that is frozen as a whole
                self._steps.load_state_dict(to_tensors(state["optimizer"]))
        self.placement.after_caller()
        self.n_updates = int(state["n_updates"])
        self._twins.forget()
        self._kept.clear()
        self.draws.clear()

    # ---- parts ----

    def _working(self):
        """Modes, stream and threads of the module; threads of an executor inherit none of them."""
        if self._role.alone and torch.get_num_threads() > 1:
            torch.set_num_threads(1)
        is_ready = torch.is_grad_enabled() and not torch.is_inference_mode_enabled() and self.placement.stream is None
        if is_ready and not torch.is_autocast_enabled(self.placement.device.type):
            return contextlib.nullcontext()  # as it mostly is: to enter modes takes time
        return self._entered()

    @contextlib.contextmanager
    def _entered(self):
        """Own modes, own stream."""
        with own_modes(self.placement.device.type), self.placement.working():
            yield

    def _input(self, batch, x):
        """The rows of a batch, or a leaf of what the module below has put out."""
        if not self._role.is_first:
            return self.placement.receive(x).detach().requires_grad_()
        rows = batch.data[0]
        return rows[batch.rows.to(rows.device)]

    def _kept_output(self, batch, x, weights):
        """The output with its graph; what that keeps is measured once for each number of rows."""
        n = len(batch.rows)
        self._twins.renew_buffers()
        with self._twins.replaced(weights), self.draws.of(batch), self._autocast():
            if n in self._bytes:
                return self.network(x)
            leaves = self._twins.parameters if weights is None else weights
            output, self._bytes[n] = _measured(self.network, x, leaves, self._role.is_first)
            return output

    def _passing_output(self, batch, x, weights):
        """The output alone, of a pass that changes nothing."""
        twins = self._twins
        with torch.no_grad(), twins.replaced(weights), twins.kept_buffers(), self.draws.of(batch), self._autocast():
            return self.network(x)

    def _loss(self, batch, output):
        """(sum of the batch's losses, gradient of their mean)."""
        _, y, weight = batch.data
        rows, n = batch.rows.to(y.device), len(batch.rows)
        loss, error = self._role.error_of(y[rows], None if weight is None else weight[rows], n, output)
        return float(loss) * n, error

    def _run_back(self, output, error):
        """Fill the gradients of leaves."""
        with self._autocast():
            send_back([output], [error])

    def _autocast(self):
        """The recipe's precision."""
        return contextlib.nullcontext() if self._role.autocast is None else self._low()

    @contextlib.contextmanager
    def _low(self):
        """Low precision; copies of weights in it end with the block, whatever else is on."""
        with self._precision():
            yield
        torch.clear_autocast_cache()

    def _moment(self, twin, name):
        """A tensor of the optimiser's state, or zeros."""
        state = self._steps.state.get(twin, {})
        found = state.get(name)
        return torch.zeros_like(twin, requires_grad=False) if found is None else found


def _measured(network, x, leaves, with_rows):
    """(output, bytes): the distinct memory of what autograd keeps, and of the output, without weights."""
    excluded = [*leaves, *network.parameters(), *network.buffers(), *(() if with_rows else (x,))]
    known = {t.untyped_storage().data_ptr() for t in excluded}
    sizes, alive = {}, []

    def keep(tensor):
        tensor = tensor.detach()  # a graph that saves its own output would keep itself alive
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in known:
            sizes[storage.data_ptr()] = storage.nbytes()
            alive.append(tensor)  # or its address might be given to another tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        output = network(x)
    keep(output)
    return output, sum(sizes.values())
