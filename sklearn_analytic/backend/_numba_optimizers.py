"""Compiled optimisers: one pass over the flat parameters, whose biases carry no penalty.

``sizes`` (d, n_1, ..., c) tell where weights (n_in, n_out) and biases lie.
"""

import numpy as np
from numba import njit

from sklearn_analytic.backend._numba_units import COMPILED


@njit(**COMPILED, fastmath={"contract"})
def adam(theta, grad, first, second, sizes, alpha, decay, beta_1, beta_2, epsilon, size, inverse_root):
    """Moments, and ``theta -= size m / (sqrt(v) inverse_root + eps)``; ``decay`` is decoupled from the gradient."""
    kind = theta.dtype.type
    b1, b2, c1, c2 = kind(beta_1), kind(beta_2), kind(1 - beta_1), kind(1 - beta_2)
    size, eps, inverse = kind(size), kind(epsilon), kind(inverse_root)
    start = 0
    for part in range(2 * (len(sizes) - 1)):  # of every layer its weights, then its biases
        is_bias, n_out = part % 2 == 1, sizes[part // 2 + 1]
        stop = start + (n_out if is_bias else sizes[part // 2] * n_out)
        pull, keep = kind(0.0 if is_bias else alpha), kind(1.0 if is_bias else 1 - decay)
        t, g, m, v = theta[start:stop], grad[start:stop], first[start:stop], second[start:stop]
        for k in range(len(t)):
            slope = g[k] + pull * t[k]
            mean = b1 * m[k] + c1 * slope
            square = b2 * v[k] + c2 * slope * slope
            m[k] = mean
            v[k] = square
            t[k] = keep * t[k] - size * mean / (np.sqrt(square) * inverse + eps)
        start = stop


@njit(**COMPILED, fastmath={"contract"})
def sgd(theta, grad, velocity, sizes, alpha, momentum, nesterov, rate):
    """``u = momentum u + g``, ``theta -= rate u``, or with Nesterov's look-ahead ``theta -= rate (g + momentum u)``."""
    kind = theta.dtype.type
    mu, rate = kind(momentum), kind(rate)
    start = 0
    for part in range(2 * (len(sizes) - 1)):
        is_bias, n_out = part % 2 == 1, sizes[part // 2 + 1]
        stop = start + (n_out if is_bias else sizes[part // 2] * n_out)
        pull = kind(0.0 if is_bias else alpha)
        t, g, u = theta[start:stop], grad[start:stop], velocity[start:stop]
        for k in range(len(t)):
            slope = g[k] + pull * t[k]
            speed = mu * u[k] + slope
            u[k] = speed
            t[k] -= rate * (slope + mu * speed if nesterov else speed)
        start = stop


@njit(**COMPILED, fastmath={"contract"})
def adam_ahead(theta, first, second, size, epsilon, inverse_root, out):
    """``out = theta - size m / (sqrt(v) inverse_root + eps)``."""
    kind = out.dtype.type
    size, eps, inverse = kind(size), kind(epsilon), kind(inverse_root)
    for k in range(len(out)):
        out[k] = theta[k] - size * first[k] / (np.sqrt(second[k]) * inverse + eps)
