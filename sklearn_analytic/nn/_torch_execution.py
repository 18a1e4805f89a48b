"""One torch network in training on one device: batches, the scheme's gradients, K-FAC, and torch's optimisers."""

import math
from functools import partial, singledispatch

import numpy as np
import torch
from torch.nn import functional as F

from sklearn_analytic.nn._feedback import FEEDBACKS
from sklearn_analytic.nn._losses import LINKS, OUTPUTS, link_rest
from sklearn_analytic.nn._ranks import Alone
from sklearn_analytic.nn._recipe import batch, micro_batches
from sklearn_analytic.nn._torch_activations import BITS, activation_bytes, packed
from sklearn_analytic.nn._torch_checks import check_last, check_network, check_stages, check_trainable, output_shape
from sklearn_analytic.nn._torch_kfac import TorchKFAC
from sklearn_analytic.nn._torch_modes import dropout_seed, in_own_modes, own_randomness, still_norms, train
from sklearn_analytic.nn._torch_networks import RecurrentLayer, load_state, outputs_of, state_arrays
from sklearn_analytic.nn._torch_optimizers import OPTIMIZERS, MeanWeights, optimizer_of
from sklearn_analytic.nn._torch_reduction import gradient_sum
from sklearn_analytic.nn._torch_schemes import SCHEMES
from sklearn_analytic.nn._torch_stages import BATCH_NORMS, run_segments, split


def losses_of(output, logits, y):
    """Return the loss of every row by an output rule; that of a link has the gradient ``o - t``, t one-hot."""
    if output == "softmax":
        return F.cross_entropy(logits, y, reduction="none")
    if output == "identity":
        return 0.5 * (logits - y).square().sum(1)
    return LINKS[output].integral(logits, torch).sum(1) - logits.gather(1, y[:, None])[:, 0] + link_rest(output)


# {precision: (dtype of weights and data, dtype of autocast or None)}
PRECISIONS = {
    "float32": (torch.float32, None),
    "float64": (torch.float64, None),
    "bfloat16": (torch.float32, torch.bfloat16),
}


class TorchExecution:
    """Trains an nn.Sequential in place, as the :class:`~sklearn_analytic.nn._recipe.Execution` protocol asks.

    Parameters
    ----------
    network : torch.nn.Sequential
        Moved to the device and trained in place; give a copy where the original must stay. Batch normalisations that
        come frozen and in evaluation mode stay so.
    recipe : Recipe
        What to do. With K-FAC the penalty ``alpha`` is added after the preconditioning. ``tol_error`` masks the errors
        of skipped rows: the steps are those of the CPU path, but the rows are computed all the same.
    device : str or torch.device
        Where.
    generator_seed : int
        Host seed of feedback matrices, probes and dropout.
    ranks : Ranks or None
        With several processes, each calls :meth:`epoch` with the same rows and order and takes its share of every
        batch; the steps are those of one process (batch normalisation: by the share's moments; gradients that travel
        compressed: up to what the quantiser leaves out).
    tap : Tap or None
        A module of the network that adds losses of its own, and is notified of every batch.
    """

    def __init__(self, network, recipe, device="cpu", generator_seed=0, ranks=None, tap=None):
        _check(recipe)
        self.tap = tap
        self.recipe, self.device, self.seed = recipe, torch.device(device), generator_seed
        self._build(network, ranks)

    @in_own_modes
    def _build(self, network, ranks):
        """Cut the network into segments, and make what changes it."""
        recipe = self.recipe
        self.ranks = ranks or Alone()
        self.dtype, self._autocast = PRECISIONS[recipe.precision]
        self.stages = split(network)
        check_trainable(network)
        check_last(self.stages, recipe.output)
        self.network, self._still = network.to(self.device, self.dtype), still_norms(network)
        for module in network.modules():
            if isinstance(module, RecurrentLayer):
                module.time_feedback = None
        cut, self._make_feedback, self._gradients = SCHEMES[recipe.scheme]
        self.segments = cut(self.stages, recipe)
        self.optimizer = optimizer_of(network.parameters(), recipe.optimizer)
        self._mean = MeanWeights(network, recipe.optimizer) if recipe.optimizer.ema_decay else None
        self.kfac = None if recipe.kfac is None else TorchKFAC(network, recipe.kfac, self.ranks)
        self._sum = gradient_sum(self.ranks, network)
        self.feedback = None
        self.epochs = 0
        self._probed = self._n_features = self._accepted = None

    @in_own_modes
    def place(self, rows):
        """Return (x, y, weight) on the device; check the network against them, and draw the feedback once.

        Raises
        ------
        ValueError
            If the network does not map the rows to the targets' number of outputs, or computes something else than
            its modules do in their order.
        """
        x = on_device(rows.x, self.device, self.dtype)
        shape = x.shape[1], self._count_outputs(rows, x.shape[1])
        check = shape != self._accepted  # once: rows may be placed batch by batch
        if check:
            check_network(self.network, *shape)
        weight = None if rows.weight is None else on_device(rows.weight, self.device, self.dtype)
        y = on_device(rows.y, self.device)
        y = y.to(torch.int64 if y.ndim == 1 else self.dtype)
        if check:
            check_stages(self.network, self.stages, x[:2])
            self._accepted = shape
        if self.feedback is None:
            self._draw(x.shape[1])
        self._probed = x  # its first rows, by :meth:`activation_bytes`
        return x, y, weight

    def _count_outputs(self, rows, n_features):
        """Columns of the targets; with codes, the outputs of the network, which must reach the largest code."""
        if rows.y.ndim == 2:
            return rows.y.shape[1]
        known = self._accepted
        has_same = known is not None and known[0] == n_features
        outputs = known[1:] if has_same else output_shape(self.network, n_features)[-1:]
        return max((int(rows.y.max(initial=-1)) + 1, *outputs))

    def _draw(self, n_features):
        """Make the scheme's state from the shapes of two zero rows."""
        self._n_features = n_features
        self.network.eval()
        with torch.no_grad(), own_randomness(self.device, self.seed):
            x = torch.zeros((2, n_features), dtype=self.dtype, device=self.device)
            _, outputs = run_segments(self.segments, x)
        self.feedback = self._make_feedback(self.recipe, self.segments, outputs, self.seed, self.ranks)

    @in_own_modes
    def epoch(self, placed, order, rates):
        """Take one step per rate; return the mean (weighted) loss of the rows, with the penalty."""
        order = torch.as_tensor(np.asarray(order), device=self.device)
        self._check_batches(len(order), len(rates))
        train(self.network, self._still)
        total, seed = 0.0, dropout_seed(self.seed, self.epochs, self.ranks.rank)
        with own_randomness(self.device, seed), packed(self.network, self.recipe.activation_bits):
            for k, rate in enumerate(rates):
                rows = batch(order, k, len(rates))
                total += self._step(placed, rows, float(rate))
                if not math.isfinite(total):
                    break
        self.epochs += 1
        return total / max(len(order), 1)

    def _check_batches(self, n, n_batches):
        """Refuse a batch whose moments do not exist."""
        smallest = n // n_batches // self.ranks.size
        norms = [m for m in self.network.modules() if isinstance(m, BATCH_NORMS) and m not in self._still]
        if n and smallest < 2 and norms:
            raise ValueError(
                f"batch_size={self.recipe.batch_size} leaves a batch of one row of {n}, and batch normalisation needs "
                "two: choose a batch_size that leaves more, or a network without batch normalisation"
            )

    def _step(self, placed, rows, rate):
        """One batch: this rank's share of it, gradients, one update; the sum of the losses of the whole batch.

        A loss that is not finite leaves the weights alone.
        """
        share, total = batch(rows, self.ranks.rank, self.ranks.size), len(rows)
        if len(rows) < self.ranks.size:  # too few rows to share: every rank takes them all
            share, total = rows, len(rows) * self.ranks.size
        self.optimizer.zero_grad()
        if self.kfac:
            self.kfac.begin(total, self.epochs)
        loss = sum(self._gradient(placed, part, total) for part in micro_batches(share, self.recipe.micro_batch))
        torch.clear_autocast_cache()  # of weights before this step: torch clears it only where no other autocast is on
        mean = float(self.ranks.sum_(loss))
        loss = self.optimizer.penalised(mean * len(rows), len(rows))
        if math.isfinite(loss):
            self._update(rate, lambda: mean - self._loss_of(placed, share, total))
        return loss

    def _gradient(self, placed, rows, total):
        """Add the gradients of rows that pass at once to those of the batch; return their part of its mean loss."""
        x, y, weight = (None if part is None else part[rows] for part in placed)
        error_of = partial(self._error_of, y, weight, total)
        if self.tap is not None:
            self.tap.begin(x, y, weight, total)
        with torch.autocast(self.device.type, self._autocast, enabled=self._autocast is not None):
            loss = self._gradients(self.segments, self.feedback, x, error_of, self._sum.run)
        return loss if self.tap is None else self.tap.end(loss)

    def _loss_of(self, placed, rows, total):
        """The mean loss of a batch over all ranks, with the weights as they are; nothing else changes."""
        x, y, weight = (None if part is None else part[rows] for part in placed)
        buffers = [buffer.clone() for buffer in self.network.buffers()]
        devices = [self.device] if self.device.type == "cuda" else []
        with (
            torch.random.fork_rng(devices),
            torch.autocast(self.device.type, self._autocast, enabled=self._autocast is not None),
        ):
            loss, _ = self._error_of(y, weight, total, self.network(x))
        for buffer, before in zip(self.network.buffers(), buffers, strict=True):
            buffer.copy_(before)
        return float(self.ranks.sum_(loss))

    def _update(self, rate, fall):
        """Gradients, which are those of all ranks, preconditioned where asked, into the optimiser.

        ``fall()`` is by how much the loss of the batch is smaller with the weights as they are then.
        """
        self._sum.finish()
        self._share_buffers()
        if self.kfac:
            self.kfac.precondition(rate, self.epochs)
            if self.kfac.is_judged():
                self.kfac.judge(fall)
        self.optimizer.step(rate)
        if self._mean is not None:
            self._mean.update()

    def _share_buffers(self):
        """Moving averages become means over ranks."""
        if self.ranks.size > 1:
            for buffer in self.network.buffers():
                if buffer.is_floating_point():
                    self.ranks.mean_(buffer)

    def _error_of(self, y, weight, total, logits):
        """(loss, e): the mean loss over ``total`` rows, and its gradient; rows of small errors are dropped."""
        logits = logits.detach().to(self.dtype).requires_grad_()
        with torch.autocast(self.device.type, enabled=False), torch.enable_grad():
            losses = losses_of(self.recipe.output, logits, y)
            loss = (losses if weight is None else losses * weight).sum() / total
            (error,) = torch.autograd.grad(loss, logits)
        if self.recipe.tol_error > 0:
            norms = torch.linalg.vector_norm(error, dim=1, keepdim=True) * total
            error = error * (norms >= self.recipe.tol_error)
        return loss.detach(), error

    @in_own_modes
    def outputs(self, x):
        """Return the raw outputs (n, c) of host rows in evaluation mode, in their dtype, computed in blocks."""
        self.network.eval()
        return outputs_of(self._mean or self.network, x, self.device, self.dtype)

    def arrays(self):
        """Return parameters and buffers with which the network predicts, by name, as host arrays."""
        return state_arrays(self.network) if self._mean is None else to_host(self._mean.arrays())

    def snapshot(self):
        """Return weights, buffers and all states as nested dicts and lists of host arrays."""
        states = {
            "optimizer": self.optimizer.state_dict(),
            "feedback": None if self.feedback is None else self.feedback.state(),
            "kfac": self.kfac.state() if self.kfac else None,
        }
        if self._mean is not None:
            states["mean"] = self._mean.state()
        counters = {"epochs": self.epochs, "seed": self.seed, "n_features": self._n_features}
        return {"network": state_arrays(self.network), "kind": self._kind(), **counters, **to_host(states)}

    def _kind(self):
        """What the states of a snapshot belong to."""
        recipe = self.recipe
        names = {"scheme": recipe.scheme, "optimizer": recipe.optimizer.name}
        return names | {"preconditioner": "kfac" if self.kfac else None}

    @in_own_modes
    def restore(self, snapshot):
        """Put a snapshot back, bit for bit; constants of the recipe (momenta, penalty) stay this execution's.

        Raises
        ------
        ValueError
            If the snapshot was taken with another scheme, optimiser or preconditioner.
        """
        for name, value in self._kind().items():
            if snapshot["kind"][name] != value:
                raise ValueError(
                    f"{name}={value!r} cannot go on from a state of {name}={snapshot['kind'][name]!r}: keep it, or "
                    "start from new weights"
                )
        load_state(self.network, snapshot["network"])
        if self._mean is not None:
            self._mean.load(to_tensors(snapshot.get("mean")))
        self.optimizer.load_state_dict(to_tensors(snapshot["optimizer"]))
        self.epochs, self.seed = snapshot["epochs"], snapshot["seed"]
        if snapshot["feedback"] is not None:
            if self.feedback is None:
                self._draw(snapshot["n_features"])
            self.feedback.load(to_tensors(snapshot["feedback"]))
        if self.kfac:
            self.kfac.load(to_tensors(snapshot["kfac"]))

    def is_finite(self):
        """Return whether all weights are finite numbers."""
        return all(bool(torch.isfinite(p).all()) for p in self.network.parameters())

    @in_own_modes
    def alignment(self, x, y):
        """Return the cosine of every hidden stage's weight gradient to the true one, bottom to top, on host rows."""
        state, sent, exact = self.snapshot(), SCHEMES[self.recipe.scheme], SCHEMES["backprop"]
        recurrent = [m for m in self.network.modules() if isinstance(m, RecurrentLayer)]
        kept = [layer.time_feedback for layer in recurrent]
        found = self._stage_gradients(self.segments, self.feedback, sent[2], x, y)
        for layer in recurrent:
            layer.time_feedback = None
        true = self._stage_gradients(exact[0](self.stages, self.recipe), None, exact[2], x, y)
        for layer, feedback in zip(recurrent, kept, strict=True):
            layer.time_feedback = feedback
        self.restore(state)
        pairs = zip(found[:-1], true[:-1], strict=True)
        return [float(F.cosine_similarity(a, b, dim=0).clamp(-1, 1)) for a, b in pairs]  # rounding passes 1

    def _stage_gradients(self, segments, feedback, gradients, x, y):
        """Gradients of all weights of each stage in evaluation mode, flat, in double precision."""
        self.network.eval()
        self.optimizer.zero_grad()
        y = on_device(y, self.device).to(torch.int64 if y.ndim == 1 else self.dtype)
        gradients(segments, feedback, on_device(x, self.device, self.dtype), partial(self._error_of, y, None, len(x)))
        parts = [[_gradient(p).double().ravel() for p in stage.layer.parameters()] for stage in self.stages]
        self.optimizer.zero_grad()
        return [torch.cat(part) for part in parts]

    def log_epoch(self):
        """Record what the ranks sent since the last call, and the entropy of the weights; alone, nothing.

        It is for the caller to say what an epoch is: rows may be placed batch by batch.
        """
        self._sum.end_epoch()

    def communication(self):
        """Return the record of all :meth:`log_epoch`; None for a process alone."""
        return self._sum.record()

    @in_own_modes
    def activation_bytes(self):
        """Return bytes that autograd keeps of one batch, or a part of it, of the placed rows, the rows excluded.

        "stored" and "exact" are with and without low-bit copies; "shared" is the largest copy spread out again.
        """
        return activation_bytes(
            self.network, self._probed[: self.recipe.rows_at_once], self.recipe.activation_bits, self._still
        )


class RowsElsewhere:
    """Features that are not in memory: as a tensor that is indexed by rows."""

    def __init__(self, source, device, dtype):
        self._source, self._device, self._dtype = source, device, dtype
        self.shape = len(source), source.take(np.arange(1)).shape[1]

    def __getitem__(self, rows):
        indices = np.arange(self.shape[0])[rows if isinstance(rows, slice) else rows.cpu().numpy()]
        return on_device(self._source.take(indices), self._device, self._dtype)


@singledispatch
def on_device(source, device, dtype=None):
    """Return host rows, or a tensor, on a device; what gives rows by ``take`` stays where it is."""
    return RowsElsewhere(source, device, dtype)


@on_device.register(np.ndarray)
def _from_host(array, device, dtype=None):
    """A copy where torch could not write."""
    array = np.ascontiguousarray(array)
    return on_device(torch.from_numpy(array if array.flags.writeable else array.copy()), device, dtype)


on_device.register(torch.Tensor, lambda tensor, device, dtype=None: tensor.to(device).to(dtype or tensor.dtype))


def _gradient(parameter):
    """The gradient of a parameter; zeros where it is frozen."""
    return torch.zeros_like(parameter) if parameter.grad is None else parameter.grad


def _check(recipe):
    """Refuse choices that no table knows."""
    choices = {
        "scheme": (recipe.scheme, SCHEMES),
        "output": (recipe.output, (*OUTPUTS, *LINKS)),
        "optimizer": (recipe.optimizer.name, OPTIMIZERS),
        "precision": (recipe.precision, PRECISIONS),
        "feedback": (recipe.feedback.name, FEEDBACKS),
        "activation_bits": (recipe.activation_bits, (None, *BITS)),
    }
    for parameter, (value, known) in choices.items():
        if value not in known:
            raise ValueError(f"{parameter}={value!r} is unknown: choose one of {', '.join(map(repr, known))}")
    if recipe.module_size < 1:
        raise ValueError(f"module_size={recipe.module_size} must be at least 1: 1 is exact backpropagation")


@singledispatch
def to_host(tree):
    """Return nested dicts, lists and tuples with every tensor copied to a host array."""
    return tree


@singledispatch
def to_tensors(tree):
    """Return nested dicts, lists and tuples with every host array as a new tensor."""
    return tree


to_host.register(torch.Tensor, lambda t: t.detach().cpu().numpy().copy())
to_tensors.register(np.ndarray, lambda a: torch.from_numpy(a.copy()))
for _walk in (to_host, to_tensors):
    _walk.register(dict, lambda tree, walk=_walk: {key: walk(value) for key, value in tree.items()})
    _walk.register(list, lambda tree, walk=_walk: [walk(value) for value in tree])
    _walk.register(tuple, lambda tree, walk=_walk: tuple(walk(value) for value in tree))
