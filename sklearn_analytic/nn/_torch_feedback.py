"""The state of a scheme: matrices that carry the output error to hidden stages; drawn on the host."""

import math
import warnings
from functools import partial

import numpy as np
import torch
from torch import nn

from sklearn_analytic.nn._feedback import draw_feedback, first_feedback
from sklearn_analytic.nn._kfac import is_due
from sklearn_analytic.nn._recipe import Optimizer
from sklearn_analytic.nn._torch_optimizers import TorchOptimizer
from sklearn_analytic.nn._torch_stages import BATCH_NORMS, receptive_field

_GROUPS = 4  # most groups of a feedback convolution


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
    feedback : FeedbackRecipe
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

    def __init__(self, feedback, segments, outputs, seed, ranks):
        self._feedback, self._segments, self._seed, self._ranks = feedback, segments, seed, ranks
        sizes = [math.prod(h.shape[1:]) for h in outputs]
        self._first_dense = _first_dense(segments, sizes)
        drawn = self._draw(sizes, np.random.default_rng(seed))
        self.matrices = [torch.from_numpy(np.array(b)).to(outputs[-1]) for b in drawn]
        self.step, self._slopes = 0, {}
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
        return self._feedback.name == "refresh" and is_due(self.step, self._feedback.interval)

    def watches(self):
        """Return {index of a dense hidden segment over another: function that keeps its slopes}, where they are due."""
        self._slopes = {}
        hidden = range(self._first_dense + 1, len(self._segments) - 1) if self._is_due() else ()
        return {k: partial(self._keep_slope, k) for k in hidden}

    def _keep_slope(self, k, slope):
        """Keep (sum over the rows, number of rows) of slopes (n, n_k); of another shape they cannot be told."""
        if slope.shape[1:] == (self._segments[k].last.layer.out_features,):
            slope = slope.to(self.matrices[-1].dtype)
            self._slopes[k] = torch.cat([slope.sum(0), slope.new_full((1,), len(slope))])

    def prepare(self):
        """Refresh the matrices from the weights and the mean slopes of the batch, where that is due."""
        if self._is_due():
            self._refresh()
        self._slopes = {}

    @torch.no_grad()
    def _refresh(self):
        """``B_{L-1} = W_L^T``, ``B_l = (B_{l+1} mean f'(z_{l+1})) W_{l+1}^T`` over dense segments."""
        below = None
        for k in range(len(self._segments) - 1, self._first_dense, -1):
            weight = self._segments[k].last.layer.weight  # (n_k, n_{k-1})
            below = weight if below is None else (below * self._mean_slope(k)) @ weight
            self.matrices[k - 1].copy_(below)

    def _mean_slope(self, k):
        """Mean slope (n_k,) over the rows of all ranks, which may hold different numbers of them; 1 if not known."""
        if k not in self._slopes:
            return 1.0
        sums = self._ranks.sum_(self._slopes[k])
        return sums[:-1] / sums[-1]

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


class ModularFeedback:
    """Sparse paths from a module's output error to the stages inside it, and to the steps inside recurrent layers.

    Dense: a matrix with entries +-1/sqrt(rho n_out) at a share rho of the places. Convolution: a grouped, dilated 3x3
    convolution with entries N(0, 1 / (9 C_out / g)). A reconstruction of Han et al. 2020, whose paper prints neither.
    """

    def __init__(self, feedback, stages, modules, outputs, module_size, seed):
        self._feedback, self._stages, self._outputs = feedback, stages, [tuple(h.shape[1:]) for h in outputs]
        self._generator, self._like = np.random.default_rng(seed), outputs[-1]
        self.modules = modules
        self.paths = {k: self._path(k, m[-1]) for m in modules for k in m[:-1]}  # {stage: matrix or kernel}
        self.times = {k: self._time_path(k, module_size) for k, s in enumerate(stages) if s.kind == "recurrent"}
        for k, matrices in self.times.items():
            stages[k].layer.time_feedback = matrices
        self._like = None

    def _time_path(self, k, module_size):
        """The matrices S_1, ..., S_{m-1} of a recurrent layer."""
        width = self._stages[k].layer.out_features
        return tuple(self._sparse(width, width) for _ in range(module_size - 1))

    def _path(self, k, last):
        """The path to stage ``k`` from the output of stage ``last``."""
        inner, outer = self._outputs[k], self._outputs[last]
        if not _are_images(inner, outer):
            return self._sparse(math.prod(outer), math.prod(inner))
        groups = math.gcd(inner[0], outer[0], _GROUPS)
        width = outer[0] // groups
        kernel = self._generator.standard_normal((inner[0], width, 3, 3)) / math.sqrt(9 * width)
        return torch.from_numpy(self._feedback.scale * kernel).to(self._like)

    def _sparse(self, n_out, n_in):
        """A share of entries +-1/sqrt(rho n_out), at least one in every column, zeros elsewhere."""
        density = self._feedback.density
        chosen = self._generator.random((n_out, n_in)) < density
        chosen[self._generator.integers(n_out, size=n_in), np.arange(n_in)] = True
        signs = np.where(self._generator.random((n_out, n_in)) < 0.5, -1.0, 1.0)
        matrix = np.where(chosen, signs, 0.0) * self._feedback.scale / math.sqrt(density * n_out)
        return torch.from_numpy(matrix).to(self._like)

    def spread(self, k, last, error, output):
        """Return the error of stage ``k`` from the error at the output of its module's stage ``last``."""
        path = self.paths[k]
        if path.ndim == 2:
            return (error.flatten(1).to(path.dtype) @ path).reshape(output.shape)
        dilation = max(1, (receptive_field(self._stages[k + 1 : last + 1]) - 1) // 2)
        groups = error.shape[1] // path.shape[1]
        upsampled = nn.functional.interpolate(error.to(path.dtype), size=output.shape[2:], mode="nearest")
        return nn.functional.conv2d(upsampled, path, padding=dilation, dilation=dilation, groups=groups)

    def state(self):
        """Return all fixed arrays."""
        return {"paths": [self.paths[k] for k in sorted(self.paths)], "times": [list(s) for s in self.times.values()]}

    def load(self, state):
        """Put the arrays back."""
        for k, value in zip(sorted(self.paths), state["paths"], strict=True):
            self.paths[k].copy_(value)
        for own, values in zip(self.times.values(), state["times"], strict=True):
            for matrix, value in zip(own, values, strict=True):
                matrix.copy_(value)


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


def _are_images(*shapes):
    """Whether all shapes are (C, H, W)."""
    return all(len(shape) == 3 for shape in shapes)
