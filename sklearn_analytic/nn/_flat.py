"""Plain networks as flat vectors, of every layer its weights (n_in, n_out), then its bias; and buffers of a batch."""

import math
from dataclasses import dataclass
from functools import cached_property, singledispatch
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from sklearn_analytic.backend import training
from sklearn_analytic.backend._derived import WithDerived
from sklearn_analytic.nn._activations import of_code
from sklearn_analytic.nn._losses import output_code


class Data(NamedTuple):
    """Rows as the kernels read them: class codes or targets, the other is empty; no weights are an empty vector."""

    x: Any  # an array, or what gives rows by ``fill``
    codes: np.ndarray
    targets: np.ndarray
    weight: np.ndarray


class Layer(NamedTuple):
    """Views of one layer's part of a model, and the code of its activation."""

    weights: np.ndarray
    bias: np.ndarray
    d_weights: np.ndarray
    d_bias: np.ndarray
    activation: int


@dataclass(frozen=True, eq=False)
class FlatModel(WithDerived):
    """Parameters, gradient and moments of a network of ``sizes``, flat and in the same layout."""

    sizes: np.ndarray
    activations: np.ndarray  # codes, of every layer
    loss: int  # code of the output rule
    theta: np.ndarray
    grad: np.ndarray
    first: np.ndarray
    second: np.ndarray

    @cached_property
    def layers(self):
        """Views of all layers, from the bottom."""
        found, start = [], 0
        for (n_in, n_out), activation in zip(pairwise(self.sizes.tolist()), self.activations.tolist(), strict=True):
            part = slice(start, start + (n_in + 1) * n_out)
            theta, grad = (flat[part].reshape(-1, n_out) for flat in (self.theta, self.grad))
            found.append(Layer(theta[:-1], theta[-1], grad[:-1], grad[-1], activation))
            start = part.stop
        return found


def flat_model(layers, codes, recipe):
    """Return layers [(W, b), ...] as a model with moments of zero; plain steps have no second ones."""
    sizes = np.array([layers[0][0].shape[0], *(bias.shape[0] for _, bias in layers)], dtype=np.int64)
    theta = np.concatenate([part.ravel() for layer in layers for part in layer])
    theta = theta.astype(np.dtype(recipe.precision), copy=False)
    second = theta if recipe.optimizer.name != "sgd" else theta[:0]
    state = [np.zeros_like(part) for part in (theta, theta, second)]
    return FlatModel(sizes, codes, output_code(recipe.output), theta, *state)


def flat_layers(model):
    """Return views [(W, b), ...] of a model's parameters."""
    return [(layer.weights, layer.bias) for layer in model.layers]


def layers_in(flat, sizes):
    """Return views [(W, b), ...] of a vector in the layout of a model of ``sizes``."""
    parts = [segment(flat, sizes, k) for k in range(len(sizes) - 1)]
    return [(part[:-1], part[-1]) for part in parts]


def squared_weights(model):
    """Return the sum of squared weights of every layer, biases apart, in float64."""
    return [float(np.einsum("ij,ij->", w, w, dtype=np.float64)) for w, _ in flat_layers(model)]


def segment(flat, sizes, layer):
    """One layer's [W; b] (n_in + 1, n_out) in a flat vector of all."""
    lengths = (sizes[:-1] + 1) * sizes[1:]
    start = int(lengths[:layer].sum())
    return flat[start : start + lengths[layer]].reshape(-1, sizes[layer + 1])


def compiled_rows(rows, dtype):
    """Return rows as the kernels read them."""
    x = _readable(rows.x, dtype)
    coded = rows.y.ndim == 1
    codes = np.ascontiguousarray(rows.y if coded else np.zeros(0), dtype=np.int64)
    targets = np.ascontiguousarray(np.zeros((0, 0)) if coded else rows.y, dtype=dtype)
    weight = np.zeros(0, dtype) if rows.weight is None else rows.weight.astype(dtype)
    return Data(x, codes, targets, weight)


@singledispatch
def read_rows(x, rows, out):
    """Copy rows of features, which may lie elsewhere, to the buffer of a batch."""
    x.fill(rows, out)


@singledispatch
def _readable(x, dtype):
    """Return features for :func:`read_rows`; what is not in memory stays where it is."""
    return x


read_rows.register(np.ndarray, training.gather)
_readable.register(np.ndarray, lambda x, dtype: np.ascontiguousarray(x, dtype=dtype))


# ---- buffers ----


class Packed:
    """Low-bit copies of hidden activations, one after the other in one buffer of bytes."""

    def __init__(self, bits, buffer, sizes, m):
        self._bits, self._steps = bits, [0.0] * len(sizes)
        ends = np.cumsum([0, *((m * int(n) * bits + 7) // 8 for n in sizes)])
        self._parts = [buffer[start:end] for start, end in pairwise(ends)]

    def keep(self, k, h, activation):
        """Keep a copy of the outputs of layer k."""
        self._steps[k] = training.quantise(h, self._bits, of_code(activation).signed, self._parts[k])

    def restore(self, k, h, activation):
        """Bring them back, as far as the bits go."""
        training.restore(self._parts[k], self._bits, of_code(activation).signed, self._steps[k], h)


class Views(NamedTuple):
    """Buffers of a batch of m rows, layer by layer: what each reads, what it gives, errors of all but the last."""

    inputs: list
    outputs: list
    errors: list
    packed: Packed | None

    def first(self, m):
        """The same for the first ``m`` rows."""
        inputs, outputs, errors = self.inputs, self.outputs, self.errors
        return Views([h[:m] for h in inputs], [h[:m] for h in outputs], [d[:m] for d in errors], self.packed)


class Buffers:
    """Work space for batches of up to ``n_rows`` rows.

    With low bits two full-precision buffers are used in turn, and packed copies of all layers are kept. Errors take
    two buffers in turn as well, unless all are ``kept`` for those who read them after the step.
    """

    def __init__(self, sizes, n_rows, dtype, bits=0, kept=False):
        self.n_rows, self._sizes, self._bits, self._kept = n_rows, [int(n) for n in sizes], bits, kept
        inner, widest = self._sizes[1:-1], max(self._sizes[1:-1], default=0)
        self.batch = np.empty(n_rows * self._sizes[0], dtype)
        self.hidden = np.empty(n_rows * (2 * widest if bits else sum(inner)), dtype)
        self.packed = np.empty((n_rows * sum(inner) * bits + 7) // 8 + len(inner) if bits else 0, np.uint8)
        self.output = np.empty(n_rows * self._sizes[-1], dtype)
        self.errors = np.empty(n_rows * (sum(inner) if kept else error_entries(sizes)), dtype)
        self._views = {}

    @property
    def nbytes(self):
        """Bytes of all buffers."""
        return sum(part.nbytes for part in (self.batch, self.hidden, self.packed, self.output, self.errors))

    def views(self, m):
        """The buffers as a batch of ``m`` rows fills them."""
        if m not in self._views:
            inner = self._sizes[1:-1]
            hidden = in_turn(self.hidden, m, inner) if self._bits else in_a_row(self.hidden, m, inner)
            errors = in_a_row(self.errors, m, inner) if self._kept else in_turn(self.errors, m, inner)
            ends = [self.batch[: m * self._sizes[0]].reshape(m, -1), self.output[: m * self._sizes[-1]].reshape(m, -1)]
            packed = Packed(self._bits, self.packed, inner, m) if self._bits else None
            self._views[m] = Views([ends[0], *hidden], [*hidden, ends[1]], errors, packed)
        return self._views[m]


def in_a_row(buffer, m, sizes):
    """Parts (m, n) of a flat buffer, one after the other."""
    ends = np.cumsum([0, *(m * n for n in sizes)])
    return [buffer[start:end].reshape(m, -1) for start, end in pairwise(ends)]


def in_turn(buffer, m, sizes):
    """Parts (m, n) of a flat buffer: of its first and its second half in turn."""
    half = len(buffer) // 2 if len(sizes) > 1 else 0
    return [buffer[half * (k % 2) :][: m * n].reshape(m, n) for k, n in enumerate(sizes)]


def error_entries(sizes):
    """Return how many entries the errors of a row take on their way down: two neighbouring layers in turn."""
    return min(len(sizes) - 2, 2) * max(int(n) for n in sizes[1:])


# ---- steps of the optimisers ----


def apply_update(model, optimizer, rate, step):
    """Move a flat model by its gradient, in place; biases carry no penalty. ``step`` counts from 1."""
    o, state = optimizer, (model.theta, model.grad, model.first)
    if o.name == "sgd":
        training.sgd(*state, model.sizes, float(o.alpha), float(o.momentum), bool(o.nesterov), float(rate))
        return
    penalty = (0.0, rate * o.alpha) if o.name == "adamw" else (float(o.alpha), 0.0)
    constants = float(o.beta_1), float(o.beta_2), float(o.epsilon)
    training.adam(*state, model.second, model.sizes, *penalty, *constants, *_size_and_inverse_root(o, rate, step))


def adam_ahead(model, optimizer, distance, step, out):
    """Where Adam's next updates of sum ``distance`` lead, without penalty, with the moments of ``step`` updates."""
    size, inverse = _size_and_inverse_root(optimizer, distance, step)
    training.adam_ahead(model.theta, model.first, model.second, size, float(optimizer.epsilon), inverse, out)


def _size_and_inverse_root(optimizer, rate, step):
    """The factor of the first moment and one over that of the second one's root, moments starting from zero."""
    return rate / (1 - optimizer.beta_1**step), 1 / math.sqrt(1 - optimizer.beta_2**step)
