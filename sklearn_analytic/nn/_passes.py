"""One batch through a plain network and back: products are NumPy's, all else are compiled kernels over views.

Nothing is compiled that a step does not use. Tests compare with the textbook.
"""

from functools import cached_property

import numpy as np
from scipy.linalg import blas

from sklearn_analytic.backend import training
from sklearn_analytic.backend._derived import WithDerived
from sklearn_analytic.nn._activations import add_bias_and_activate, mean_slope, times_slope
from sklearn_analytic.nn._feedback import FROM_WEIGHTS, first_feedback, interval_of, of_product, pack_signs
from sklearn_analytic.nn._losses import rule_of_code


def forward(layers, inputs, outputs, packed=None):
    """``h_{k+1} = f(h_k W_k + b_k)`` into the views; with ``packed`` copies only those remain of hidden layers."""
    for k, layer in enumerate(layers):
        out = outputs[k]
        np.dot(inputs[k], layer.weights, out)
        add_bias_and_activate(out, layer.bias, layer.activation)
        if packed is not None and k + 1 < len(layers):
            packed.keep(k, out, layer.activation)


def output_error(f, data, rows, rule):
    """Turn raw outputs into their error in place, by the rule of that code; return the sum of their losses."""
    weighted = len(data.weight) > 0
    if rule == training.SOFTMAX:
        return training.softmax_error(f, data.codes, rows, data.weight, weighted)
    if rule == training.SQUARED:
        return training.squared_error(f, data.targets, rows, data.weight, weighted)
    if rule < training.N_RULES:
        return training.link_error(f, data.codes, rows, data.weight, weighted, rule)
    losses, error = rule_of_code(rule)
    weight, codes = data.weight[rows] if weighted else np.ones(len(rows), f.dtype), data.codes[rows]
    loss = float(np.dot(losses(f.astype(np.float64), codes), weight))
    f[...] = error(f, codes) * (weight / len(rows))[:, None]
    return loss


class Gradient:
    """Where gradients of layers go: over what stands there, or as a share of a batch onto that of its other parts."""

    def __init__(self, share=1.0, is_first=True):
        self._share, self._keep = share, 0.0 if is_first else 1.0
        self._is_whole = share == 1.0 and is_first

    def add_weights(self, layer, h, d):
        """``d_weights = keep d_weights + share h^T d``, in place: a product that is added takes no memory."""
        if self._is_whole:
            np.dot(h.T, d, layer.d_weights)
        elif len(d):
            gemm = _GEMM[d.dtype.type]  # of columns: everything is its own transpose
            gemm(self._share, d.T, h.T, self._keep, layer.d_weights.T, trans_b=True, overwrite_c=True)
        elif not self._keep:
            layer.d_weights[:] = 0

    def add_slopes(self, layer, d, h):
        """``d *= f'``, and its sums over rows likewise."""
        sums = layer.d_bias
        before = sums.copy() if self._keep else None
        times_slope(d, h, layer.activation, sums)
        if not self._is_whole:
            sums *= sums.dtype.type(self._share)
        if self._keep:
            sums += before


_GEMM = {np.float32: blas.sgemm, np.float64: blas.dgemm}


def backward(layers, views, feedback, side=None, error=None, gradient=None):
    """Gradient of every layer, top down: ``D_L = e``; below it backpropagation or a projection of e, times the slope.

    ``error`` is e at the top layer's outputs, by default what stands there; it is overwritten. ``side`` adds an error
    of its own at one layer, and ``gradient`` says where those of weights go. Returns the error at the first layer's
    pre-activations.
    """
    gradient = Gradient() if gradient is None else gradient
    d = error = views.outputs[-1] if error is None else error
    for k in range(len(layers) - 1, -1, -1):
        layer, h = layers[k], views.inputs[k]
        gradient.add_slopes(layer, d, views.outputs[k])
        if k > 0 and views.packed is not None:
            views.packed.restore(k - 1, h, layers[k - 1].activation)
        gradient.add_weights(layer, h, d)
        if k > 0:
            below = views.errors[k - 1]
            feedback.send(k - 1, error, d, layer.weights, below)
            if side is not None and side.layer == k:
                side.add_error(below, h, views.inputs[0])
            d = below
    return d


def large_errors(views, bound, compact):
    """Keep the rows whose output error is of norm ``bound`` or more: return the views of a batch of those alone.

    Where rows cannot be moved (not ``compact``), the errors of the others become zero: the same gradient.
    """
    kept = np.empty(len(views.outputs[-1]), dtype=np.int64)
    count = training.keep_large_rows(views.outputs[-1], bound, compact, kept)
    if count == len(kept):
        return views
    for h in views.inputs:
        training.move_rows(h, kept, count)
    return views.first(count)


def mean_slopes(layers, views):
    """Mean slopes over the batch of hidden layers above the first, whose own no product needs, from low bits too."""
    found = []
    for k, layer in list(enumerate(layers[:-1]))[1:]:
        h = views.outputs[k]
        if views.packed is not None:
            views.packed.restore(k, h, layer.activation)
        found.append(np.empty(h.shape[1], h.dtype))
        mean_slope(h, layer.activation, found[-1])
    return found


def refresh_feedback(layers, slopes, keep):
    """Give ``keep(k, B_k)`` the mean-field product of every hidden layer, top down.

    ``B_last = W_L^T``, ``B_k = (B_{k+1} diag(mean f'_{k+1})) W_{k+1}^T``; ``slopes`` are those above the first layer.
    """
    product = np.ascontiguousarray(layers[-1].weights.T)
    keep(len(layers) - 2, product)
    for k in range(len(layers) - 3, -1, -1):
        product = np.dot(product * slopes[k], layers[k + 1].weights.T)
        keep(k, product)


# ---- how the error of the outputs comes down to hidden layers ----


class ExactChannel:
    """Backpropagation: the error of the layer above through its weights."""

    matrices = None
    interval = 0  # steps between refreshes; 0 is never

    @property
    def arrays(self):
        """What a snapshot needs, by name."""
        return {}

    def send(self, k, error, d, weights, below):
        """Error at the outputs of hidden layer k, from ``error`` at the network's outputs and ``d`` one layer up."""
        np.dot(d, weights.T, below)


class DenseChannel(WithDerived):
    """Direct feedback: the error of the outputs times a matrix (C, n_k) for each hidden layer."""

    def __init__(self, matrices, feedback, interval, dtype):
        self._shapes, self._feedback, self.interval = [b.shape for b in matrices], feedback, interval
        self.dense = np.concatenate([b.ravel() for b in matrices]).astype(dtype)

    @cached_property
    def matrices(self):
        """Views of the matrices (C, n_k)."""
        parts = np.split(self.dense, np.cumsum([rows * columns for rows, columns in self._shapes])[:-1])
        return [part.reshape(shape) for part, shape in zip(parts, self._shapes, strict=True)]

    @property
    def arrays(self):
        """What a snapshot needs: it may have been refreshed or learned."""
        return {"feedback": self.dense}

    def keep(self, k, product):
        """Take what a refresh leaves of a product of weights."""
        self.matrices[k][:] = of_product(self._feedback, product)

    def send(self, k, error, d, weights, below):
        """One product with the error of the outputs."""
        np.dot(error, self.matrices[k], below)


class SignChannel(WithDerived):
    """Direct feedback of packed signs, of one size in every column: additions and subtractions."""

    def __init__(self, matrices, feedback, interval, dtype):
        self.signs, self._is_drawn = pack_signs(matrices), feedback.init not in FROM_WEIGHTS
        self.interval = interval
        self.sizes = np.concatenate([np.abs(b[0]) for b in matrices]).astype(dtype)
        self._shapes = [b.shape for b in matrices]
        self._scratch = np.empty(max(b.size for b in matrices), dtype)

    @cached_property
    def _parts(self):
        """Views of the signs of each layer."""
        lengths = [rows * ((columns + 7) // 8) for rows, columns in self._shapes]
        return np.split(self.signs, np.cumsum(lengths)[:-1])

    @cached_property
    def _sizes(self):
        """Views of the sizes of each layer's columns."""
        return np.split(self.sizes, np.cumsum([columns for _, columns in self._shapes])[:-1])

    @property
    def arrays(self):
        """What a snapshot needs: signs of weights; drawn ones come back with the seed."""
        return {} if self._is_drawn else {"signs": self.signs, "sizes": self.sizes}

    @property
    def matrices(self):
        """Signs as numbers (C, n_k)."""
        found = []
        for part, sizes, (rows, columns) in zip(self._parts, self._sizes, self._shapes, strict=True):
            bits = np.unpackbits(part.reshape(rows, -1), axis=1, count=columns)
            found.append(sizes * (2.0 * bits - 1))
        return found

    def keep(self, k, product):
        """Take the signs of a product of weights, zero counted as positive, and the mean size of every column."""
        self._parts[k][:] = np.packbits(product >= 0, axis=1).ravel()
        self._sizes[k][:] = np.abs(product).mean(axis=0)

    def send(self, k, error, d, weights, below):
        """A product of signs."""
        training.signed_projection(error, self._parts[k], self._sizes[k], self._scratch, below)


def channel(recipe, layers):
    """Return the channel of a recipe for layers [(W, b), ...] before the first step."""
    dtype, rule = np.dtype(recipe.precision), recipe.feedback
    if recipe.scheme == "backprop" or len(layers) == 1:
        return ExactChannel()
    matrices = first_feedback(rule, layers, np.random.default_rng(recipe.seed))
    interval = interval_of(rule, layers[-1][0].shape[1], recipe.batch_size)
    return (SignChannel if rule.name == "binary" else DenseChannel)(matrices, rule, interval, dtype)
