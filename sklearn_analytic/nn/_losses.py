"""Output rules: what raw outputs mean, and the error that training sends back for them.

docs/theory/outputs.md states the rules and numbers the equations that are cited here.
"""

import math

import numpy as np
from scipy.special import softmax

EXP_SCALE, EXP_TOP = 0.1, 8.0  # of "expgb": o = 0.1 e^z, which goes on along its tangent above the top
CUBE_SCALE = 0.001  # of "pow3gb": o = 0.001 z^3


# ---- normalised outputs, and targets that are numbers ----


def cross_entropy(outputs, codes):
    """Return ``-log p`` of every row's class."""
    top = outputs.max(axis=1, keepdims=True)
    total = np.log(np.exp(outputs - top).sum(axis=1)) + top[:, 0]
    return total - outputs[np.arange(len(outputs)), codes]


def cross_entropy_error(outputs, codes):
    """Return the derivative of :func:`cross_entropy` by the outputs: ``p - y``."""
    error = softmax(outputs, axis=1)
    error[np.arange(len(outputs)), codes] -= 1
    return error


def half_squared_error(outputs, targets):
    """Return ``|f - y|^2 / 2`` of every row."""
    return 0.5 * np.sum((outputs - targets) ** 2, axis=1)


def squared_error(outputs, targets):
    """Return the derivative of :func:`half_squared_error`: ``f - y``."""
    return outputs - targets


# ---- outputs that are not normalised: o = link(z), error o - t ----


def tangent_exp(outputs):
    """Return ``o = 0.1 e^z``, and its tangent above the top: equation (6)."""
    bounded = np.minimum(outputs, EXP_TOP)
    return EXP_SCALE * np.exp(bounded) * (1 + (outputs - bounded))


def tangent_exp_integral(outputs):
    """Return the integral of :func:`tangent_exp`."""
    bounded = np.minimum(outputs, EXP_TOP)
    beyond = outputs - bounded
    return EXP_SCALE * np.exp(bounded) * (1 + beyond + 0.5 * beyond**2)


def cube(outputs):
    """Return ``o = 0.001 z^3``."""
    return CUBE_SCALE * outputs**3


def cube_integral(outputs):
    """Return the integral of :func:`cube`."""
    return 0.25 * CUBE_SCALE * outputs**4


# {name: (link o(z), its integral, z at which o = 1)}: equations (2) to (4)
LINKS = {
    "linear": (lambda outputs: outputs, lambda outputs: 0.5 * outputs**2, 1.0),
    "expgb": (tangent_exp, tangent_exp_integral, -math.log(EXP_SCALE)),
    "pow3gb": (cube, cube_integral, CUBE_SCALE ** (-1 / 3)),
}


def link_rest(name):
    """Return what the loss of a link adds, so that it is zero where outputs are the one-hot target."""
    _, integral, one = LINKS[name]
    return one - float(integral(one))


def _link_rule(name):
    """Return (loss of each row, error of each row) of a link: equation (5) and its derivative ``o - t``."""
    link, integral, _ = LINKS[name]
    rest = link_rest(name)

    def losses(outputs, codes):
        return integral(outputs).sum(axis=1) - outputs[np.arange(len(outputs)), codes] + rest

    def error(outputs, codes):
        error = np.array(link(outputs))
        error[np.arange(len(outputs)), codes] -= 1
        return error

    return losses, error


# {name: (loss of each row, error of each row)}; the order is that of the compiled kernels' codes.
OUTPUTS = {
    "softmax": (cross_entropy, cross_entropy_error),
    "identity": (half_squared_error, squared_error),
    **{name: _link_rule(name) for name in LINKS},
}
OUTPUT_CODES = {name: code for code, name in enumerate(OUTPUTS)}
CLASS_OUTPUTS = ("softmax", *LINKS)  # those for class codes


def mean_loss(outputs, rows, output):
    """Return the weighted mean loss of raw outputs for rows."""
    losses = OUTPUTS[output][0](outputs.astype(np.float64), rows.y)
    return float(np.average(losses, weights=rows.weight))
