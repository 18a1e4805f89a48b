"""Output rules: what raw outputs mean, and the error that training sends back for them.

docs/theory/outputs.md states the rules and numbers the equations that are cited here.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

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


class OutputLink(NamedTuple):
    """A rule of outputs that are not normalised; the first ones of the table have compiled kernels.

    Functions are of (z, xp), where ``xp`` is numpy or torch.
    """

    link: Callable  # o(z)
    integral: Callable  # its integral, the convex part of the loss
    one: float  # z at which o = 1
    log: Callable | None = None  # log o(z) of arrays, up to a constant; None: that of the link, where it is positive
    onnx: Callable | None = None  # nodes of o(z): of (graph, z); None where ``log`` is z itself


def tangent_exp(z, xp=np):
    """Return ``o = 0.1 e^z``, and its tangent above the top: equation (6)."""
    return EXP_SCALE * xp.exp(xp.clip(z, None, EXP_TOP)) * (1 + _beyond(z, xp))


def tangent_exp_integral(z, xp=np):
    """Return the integral of :func:`tangent_exp`."""
    beyond = _beyond(z, xp)
    return EXP_SCALE * xp.exp(xp.clip(z, None, EXP_TOP)) * (1 + beyond + 0.5 * beyond**2)


def _beyond(z, xp):
    """How far z is above the top; at and below it has no slope, so that a gradient through it is exact."""
    return xp.where(z > EXP_TOP, z - EXP_TOP, xp.zeros_like(z))


def cube(z, xp=np):
    """Return ``o = 0.001 z^3``."""
    return CUBE_SCALE * z**3


def cube_integral(z, xp=np):
    """Return the integral of :func:`cube`."""
    return 0.25 * CUBE_SCALE * z**4


def _cube_nodes(g, z):
    """The nodes of :func:`cube`."""
    return g.op("Mul", g.op("Mul", g.op("Mul", z, z), z), np.array(CUBE_SCALE))


# Equations (2) to (4); the order is that of the compiled kernels' codes.
LINKS = {
    "linear": OutputLink(lambda z, xp=np: z, lambda z, xp=np: 0.5 * z**2, 1.0, onnx=lambda g, z: z),
    "expgb": OutputLink(tangent_exp, tangent_exp_integral, -math.log(EXP_SCALE), log=lambda z: z),
    "pow3gb": OutputLink(cube, cube_integral, CUBE_SCALE ** (-1 / 3), onnx=_cube_nodes),
}


def link_rest(name):
    """Return what the loss of a link adds, so that it is zero where outputs are the one-hot target."""
    row = LINKS[name]
    return row.one - float(row.integral(row.one))


def _link_rule(name):
    """Return (loss of each row, error of each row) of a link: equation (5) and its derivative ``o - t``."""
    link, integral, rest = LINKS[name].link, LINKS[name].integral, link_rest(name)

    def losses(outputs, codes):
        return integral(outputs).sum(axis=1) - outputs[np.arange(len(outputs)), codes] + rest

    def error(outputs, codes):
        error = np.array(link(outputs))
        error[np.arange(len(outputs)), codes] -= 1
        return error

    return losses, error


# {name: (loss of each row, error of each row)}; links are rules, too, and come after these
OUTPUTS = {"softmax": (cross_entropy, cross_entropy_error), "identity": (half_squared_error, squared_error)}


def rule_of(name):
    """Return (loss of each row, error of each row) of an output rule."""
    return _link_rule(name) if name in LINKS else OUTPUTS[name]


def rule_of_code(code):
    """Return the rule of a code."""
    return rule_of([*OUTPUTS, *LINKS][code])


def output_code(name):
    """Return the code of an output rule; the order is that of the compiled kernels' codes."""
    return [*OUTPUTS, *LINKS].index(name)


def class_outputs():
    """Return the names of the rules for class codes."""
    return ("softmax", *LINKS)


def mean_loss(outputs, rows, output):
    """Return the weighted mean loss of raw outputs for rows."""
    losses = rule_of(output)[0](outputs.astype(np.float64), rows.y)
    return float(np.average(losses, weights=rows.weight))
