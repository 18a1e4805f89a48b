"""The state of a scheme: matrices that carry the output error to hidden stages; drawn on the host."""

import math
import warnings
from functools import partial

import numpy as np
import torch

from sklearn_analytic.nn._feedback import draw_feedback, first_feedback, interval_of, of_product
from sklearn_analytic.nn._kfac import is_due
from sklearn_analytic.nn._recipe import Optimizer
from sklearn_analytic.nn._torch_optimizers import TorchOptimizer
from sklearn_analytic.nn._torch_stages import BATCH_NORMS, Watch


class MeanSlopes:
    """Slopes of activations, of every unit the mean over the rows (and places) of a batch, which ranks may share."""

    def __init__(self, ranks):
        self._ranks = ranks
        self.forget()

    def watch(self, k, layer):
        """Return what keeps the slopes of stage ``k``, a dense layer or a convolution, while it runs."""
        return Watch(slope=partial(self.keep, k, layer.weight))

    def keep(self, k, weight, slope):
        """Keep the sums of slopes (n, units, ...) and their number; of another shape they cannot be told."""
        if slope.ndim == weight.ndim and slope.shape[1] == len(weight):
            slope = slope.to(torch.promote_types(slope.dtype, torch.float32))
            others = [d for d in range(slope.ndim) if d != 1]
            self._sums[k] = torch.cat([slope.sum(others), slope.new_full((1,), slope.numel() // len(weight))])

    def mean(self, k):
        """Return the means (units,) over all ranks, which may hold different numbers of rows; 1 if they are unknown."""
        if k in self._sums:
            sums = self._ranks.sum_(self._sums.pop(k))
            self._means[k] = sums[:-1] / sums[-1]
        return self._means.get(k, 1.0)

    def forget(self):
        """Begin with a new batch."""
        self._sums, self._means = {}, {}


class NoFeedback:
    """Backpropagation keeps nothing."""

    def state(self):
        """Return no arrays."""
        return {}

    def load(self, state):
        """Accept no arrays."""


class ProjectedFeedback:
    """One matrix ``B_l`` (C, n_l) per hidden segment: fixed, refreshed from the weights, or learned.

    Parameters
    ----------
    recipe : Recipe
        What to draw, and when to change it.
    segments : list of Segment
        The network; the last segment needs no matrix.
    outputs : list of Tensor
        Outputs of all segments for any rows: their shapes, dtype and device count.
    seed : int
        Seed of the draws.
    ranks : Ranks or Alone
        The processes that share the batch.
    """

    def __init__(self, recipe, segments, outputs, seed, ranks):
        feedback = recipe.feedback
        self._feedback, self._segments, self._seed, self._ranks = feedback, segments, seed, ranks
        sizes = [math.prod(h.shape[1:]) for h in outputs]
        self._first_dense = _first_dense(segments, sizes)
        drawn = self._draw(sizes, np.random.default_rng(seed))
        self.matrices = [torch.from_numpy(np.array(b)).to(outputs[-1]) for b in drawn]
        self._interval = interval_of(feedback, sizes[-1], recipe.batch_size)
        self.step, self._slopes = 0, MeanSlopes(ranks)
        decay = feedback.decay if feedback.name == "dkp" else 0.0
        learns = feedback.name in _LEARNED and self.matrices
        self._adam = TorchOptimizer(Optimizer("adam"), [(self.matrices, decay)]) if learns else None

    def _draw(self, sizes, generator):
        """Behind convolutions at random; over dense layers also from the weights, as on the CPU."""
        k = self._first_dense
        behind = draw_feedback(self._feedback, sizes[:k], sizes[-1], generator) if k else []
        if k == len(sizes) - 1:
            return behind
        layers = [_host_layer(segment.last.layer) for segment in self._segments[k:]]
        return behind + first_feedback(self._feedback, layers, generator)

    def _is_due(self):
        """Whether this step refreshes the matrices."""
        return self._interval > 0 and is_due(self.step, self._interval)

    def watches(self):
        """Return {index of a dense hidden segment over another: what keeps its slopes}, where they are due."""
        hidden = range(self._first_dense + 1, len(self._segments) - 1) if self._is_due() else ()
        return {k: self._slopes.watch(k, self._segments[k].last.layer) for k in hidden}

    def prepare(self):
        """Refresh the matrices from the weights and the mean slopes of the batch, where that is due."""
        if self._is_due():
            self._refresh()
        self._slopes.forget()

    @torch.no_grad()
    def _refresh(self):
        """``B_{L-1} = W_L^T``, ``B_l = (B_{l+1} mean f'(z_{l+1})) W_{l+1}^T`` over dense segments."""
        below = None
        for k in range(len(self._segments) - 1, self._first_dense, -1):
            weight = self._segments[k].last.layer.weight  # (n_k, n_{k-1})
            below = weight if below is None else (below * self._slopes.mean(k)) @ weight
            self.matrices[k - 1].copy_(of_product(self._feedback, below, torch))

    def project(self, k, error, output):
        """Return ``error @ B_k`` in the shape of the segment's output."""
        return (error @ self.matrices[k]).reshape(output.shape)

    def learn(self, x, outputs, error):
        """Take one Adam step on learned matrices; count the step."""
        if self._adam is not None:
            gradients = _LEARNED[self._feedback.name](self, x, outputs, error)
            for matrix, gradient in zip(self.matrices, gradients, strict=True):
                matrix.grad = gradient
            self._adam.step(self._feedback.rate)
        self.step += 1

    def _kolen_pollack(self, x, outputs, error):
        """Gradient ``e^T h_l``, which is that of W_L for the last hidden layer (Webster et al. 2021)."""
        hidden = [h.detach().flatten(1).to(error.dtype) for h in outputs[:-1]]
        return [self._ranks.sum_((error.T @ h).contiguous()) for h in hidden]

    @torch.no_grad()
    def _forward_mode(self, x, outputs, error):
        """Gradient ``B_l - mean_i jv_i u_{l,i}^T`` from tangents u ~ N(0, I) (Bacho & Chu 2024)."""
        generator = np.random.default_rng((self._seed, self.step, self._ranks.rank))
        dtype = self.matrices[-1].dtype
        noises = [torch.from_numpy(generator.standard_normal(h.shape)).to(x.device, dtype) for h in outputs[:-1]]
        jv = output_tangent(self._segments, x, noises)
        estimates = [jv.T @ u.flatten(1) / len(x) for u in noises]
        return [b - self._ranks.mean_(j.contiguous()) for b, j in zip(self.matrices, estimates, strict=True)]

    def state(self):
        """Return matrices, step, seed of the probes and the state of Adam."""
        adam = self._adam.state_dict() if self._adam else {}
        return {"matrices": self.matrices, "step": self.step, "seed": self._seed, "adam": adam}

    def load(self, state):
        """Put a state back."""
        for matrix, value in zip(self.matrices, state["matrices"], strict=True):
            matrix.copy_(value)
        self.step, self._seed = state["step"], state["seed"]
        if self._adam and state["adam"]:
            self._adam.load_state_dict(state["adam"])


_LEARNED = {"dkp": ProjectedFeedback._kolen_pollack, "learned": ProjectedFeedback._forward_mode}


def output_tangent(segments, x, noises):
    """Return the tangent (n, C) of the outputs when each hidden segment's output moves by its noise (forward mode).

    Batch normalisations use the batch's moments, and their running averages are left alone.
    """

    def perturbed(*shifts):
        h = x
        for segment, shift in zip(segments[:-1], shifts, strict=True):
            h = segment(h).to(shift.dtype) + shift
        return segments[-1](h)

    norms = [m for s in segments for stage in s.stages for m in stage.modules if isinstance(m, BATCH_NORMS)]
    tracked = [m.track_running_stats for m in norms]
    for module in norms:
        module.track_running_stats = False
    with torch.autocast(x.device.type, enabled=False), warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # torch's own, when it first loads its forward mode
        jv = torch.func.jvp(perturbed, tuple(torch.zeros_like(u) for u in noises), tuple(noises))[1]
    for module, tracks in zip(norms, tracked, strict=True):
        module.track_running_stats = tracks
    return jv


def _first_dense(segments, sizes):
    """Index of the first segment of the dense chain that ends the network; the last index where there is none."""
    k = len(segments)
    while k > 0 and segments[k - 1].last.kind == "dense" and segments[k - 1].last.layer.out_features == sizes[k - 1]:
        k -= 1
    return min(k, len(segments) - 1)


def _host_layer(layer):
    """(W (n_in, n_out), b) in float64 on the host."""
    weight = layer.weight.detach().to("cpu", torch.float64).numpy()
    return weight.T, np.zeros(len(weight))
