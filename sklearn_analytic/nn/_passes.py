"""One batch through a plain network and back: products are NumPy's, all else are compiled kernels over views.

Nothing is compiled that a step does not use. Tests compare with the textbook.
"""

import numpy as np

from sklearn_analytic.backend import training
from sklearn_analytic.nn._activations import add_bias_and_activate, mean_slope, times_slope
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


def backward(layers, views, feedback, side=None, error=None):
    """Gradient of every layer, top down: ``D_L = e``; below it backpropagation or a projection of e, times the slope.

    ``error`` is e at the top layer's outputs, by default what stands there; it is overwritten. ``side`` adds an error
    of its own at one layer. Returns the error at the first layer's pre-activations.
    """
    d = error = views.outputs[-1] if error is None else error
    for k in range(len(layers) - 1, -1, -1):
        layer, h = layers[k], views.inputs[k]
        times_slope(d, views.outputs[k], layer.activation, layer.d_bias)
        if k > 0 and views.packed is not None:
            views.packed.restore(k - 1, h, layers[k - 1].activation)
        np.dot(h.T, d, layer.d_weights)
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
    """Mean slopes of all hidden layers over the batch; with low bits from what is kept of it, layer by layer."""
    found = []
    for k, layer in enumerate(layers[:-1]):
        h = views.outputs[k]
        if views.packed is not None:
            views.packed.restore(k, h, layer.activation)
        found.append(np.empty(h.shape[1], h.dtype))
        mean_slope(h, layer.activation, found[-1])
    return found


def refresh_feedback(layers, matrices, slopes):
    """The mean-field product: ``B_last = W_L^T``, ``B_k = (B_{k+1} diag(mean f'_{k+1})) W_{k+1}^T``, top down."""
    matrices[-1][:] = layers[-1].weights.T
    for k in range(len(matrices) - 2, -1, -1):
        np.dot(matrices[k + 1] * slopes[k + 1], layers[k + 1].weights.T, matrices[k])
