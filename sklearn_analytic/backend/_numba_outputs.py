"""Compiled output errors: raw outputs turn into the error that is sent back, in place, and their loss.

The rules and their order are those of ``nn._losses``; tests compare the two.
"""

import math

import numpy as np
from numba import njit

from sklearn_analytic.backend._numba_units import COMPILED

SOFTMAX, SQUARED, LINEAR, EXPGB, POW3GB = range(5)
N_RULES = 5  # that are compiled
EXP_SCALE, EXP_TOP = 0.1, 8.0  # o = 0.1 e^z; above the top it goes on along its tangent
CUBE_SCALE = 0.001  # o = 0.001 z^3
# What a loss adds, so that the loss of a perfect output is zero; by code.
_REST = (0.0, 0.0, 0.5, -math.log(EXP_SCALE) - 1, 0.75 * CUBE_SCALE ** (-1 / 3))


@njit(**COMPILED)
def softmax_error(f, codes, rows, weight, weighted):
    """Turn raw outputs into ``w (p - y) / m`` in place; return the sum of ``-w log p_y``, in float64."""
    m, n_classes = f.shape
    loss = 0.0
    for i in range(m):
        row, code = f[i], codes[rows[i]]
        top = row[0]
        for j in range(1, n_classes):
            top = max(top, row[j])
        shifted, total = np.float64(row[code] - top), 0.0
        for j in range(n_classes):
            row[j] = np.exp(row[j] - top)
            total += row[j]
        w = np.float64(weight[rows[i]]) if weighted else 1.0
        loss += w * (np.log(total) - shifted)
        scale, share = f.dtype.type(w / (total * m)), f.dtype.type(w / m)
        for j in range(n_classes):
            row[j] *= scale
        row[code] -= share
    return loss


@njit(**COMPILED)
def squared_error(f, targets, rows, weight, weighted):
    """Turn raw outputs into ``w (f - y) / m`` in place; return the sum of ``w |f - y|^2 / 2``, in float64."""
    m = f.shape[0]
    loss = 0.0
    for i in range(m):
        w = np.float64(weight[rows[i]]) if weighted else 1.0
        share = f.dtype.type(w / m)
        for j in range(f.shape[1]):
            miss = f[i, j] - targets[rows[i], j]
            loss += 0.5 * w * np.float64(miss) * np.float64(miss)
            f[i, j] = share * miss
    return loss


@njit(**COMPILED)
def _linked(z, rule):
    """Return ``o(z)`` and its integral, the convex part of the loss."""
    if rule == LINEAR:
        return z, 0.5 * z * z
    if rule == EXPGB:
        bounded = min(z, EXP_TOP)
        beyond = z - bounded
        o = EXP_SCALE * np.exp(bounded)
        return o * (1 + beyond), o * (1 + beyond + 0.5 * beyond * beyond)
    o = CUBE_SCALE * z * z * z
    return o, 0.25 * o * z


@njit(**COMPILED)
def link_error(f, codes, rows, weight, weighted, rule):
    """Turn raw outputs into ``w (o - t) / m`` in place, t one-hot; return the sum of their losses, in float64."""
    m, n_classes = f.shape
    total = 0.0
    for i in range(m):
        row, code = f[i], codes[rows[i]]
        loss = _REST[rule] - np.float64(row[code])
        w = np.float64(weight[rows[i]]) if weighted else 1.0
        share = w / m
        for j in range(n_classes):
            o, integral = _linked(np.float64(row[j]), rule)
            loss += integral
            row[j] = share * o
        row[code] -= f.dtype.type(share)
        total += w * loss
    return total
