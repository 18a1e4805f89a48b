"""Activations whose slope can be told from their value, so that no pre-activation is kept; each is a row of a table."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from sklearn_analytic.backend import training

LEAK = 0.01


class Activation(NamedTuple):
    """All that is known of an activation; the first ones of the table have compiled kernels, others run in NumPy."""

    value: Callable  # f(z)
    slope: Callable  # f'(z) from h = f(z)
    gain: float = 1.0  # of the variance of first weights: 2 for rectifiers (He et al. 2015)
    signed: bool = True  # whether it has negative values
    repeats: bool = False  # whether f(f(z)) is f(z), or near it
    steepest: float | None = None  # largest |f'|; None: not for private training
    torch: str | None = None  # its module in torch.nn
    onnx: str | None = None  # its operator in ONNX, where that is one


def _relu(z):
    return np.maximum(z, 0)


def _leaky_relu(z):
    return np.where(z > 0, z, LEAK * z)


def _leaky_slope(h):
    return np.where(h > 0, 1, LEAK).astype(h.dtype)


def _logistic(z):
    return 1 / (1 + np.exp(-np.clip(z, -700, None)))


# The order is that of the compiled kernels' codes.
ACTIVATIONS = {
    "identity": Activation(lambda z: z, np.ones_like, 1.0, True, True, 1.0, "Identity"),
    "relu": Activation(_relu, lambda h: (h > 0).astype(h.dtype), 2.0, False, True, 1.0, "ReLU", "Relu"),
    "leaky_relu": Activation(_leaky_relu, _leaky_slope, 2.0, True, True, 1.0, "LeakyReLU"),
    "tanh": Activation(np.tanh, lambda h: 1 - h * h, 1.0, True, True, 1.0, "Tanh", "Tanh"),
    "logistic": Activation(_logistic, lambda h: h * (1 - h), 1.0, False, False, 0.25, "Sigmoid", "Sigmoid"),
}


def activation_codes(activation, n_layers, last="identity"):
    """Return the codes of all layers: one name for all hidden layers or a name for each, then ``last``."""
    names = (activation,) * (n_layers - 1) if isinstance(activation, str) else tuple(activation)
    known = list(ACTIVATIONS)
    return np.array([known.index(name) for name in (*names, last)][:n_layers], dtype=np.int64)


def of_code(code):
    """Return the activation of a code."""
    return list(ACTIVATIONS.values())[code]


def add_bias_and_activate(z, bias, code):
    """Turn products into ``f(z + bias)`` in place."""
    if code < training.N_ACTIVATIONS:
        training.add_bias_and_activate(z, bias, code)
    else:
        z += bias
        z[...] = of_code(code).value(z)


def times_slope(d, h, code, sums):
    """Turn ``d`` into ``d f'(z)`` in place, and fill the sums of its columns."""
    if code < training.N_ACTIVATIONS:
        training.times_slope(d, h, code, sums)
    else:
        d *= of_code(code).slope(h)
        np.sum(d, axis=0, out=sums)


def mean_slope(h, code, out):
    """Fill the means of f' over the rows."""
    if code < training.N_ACTIVATIONS:
        training.mean_slope(h, code, out)
    else:
        np.mean(of_code(code).slope(h), axis=0, out=out)
