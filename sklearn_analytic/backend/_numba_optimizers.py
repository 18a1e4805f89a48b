"""Compiled optimisers: one fused pass over each layer's part of the flat parameters."""

import numpy as np
from numba import njit

from sklearn_analytic.backend._numba_units import COMPILED

SGD, ADAM, ADAMW = range(3)


@njit(**COMPILED, fastmath={"contract"})
def _adam(theta, grad, first, second, alpha, decay, rule, size, root):
    """One fused pass: moments, and ``theta -= size m / (sqrt(v) / root + eps)``; ``decay`` is decoupled."""
    kind = theta.dtype.type
    b1, b2, c1, c2 = kind(rule.beta_1), kind(rule.beta_2), kind(1 - rule.beta_1), kind(1 - rule.beta_2)
    alpha, keep, size, eps, inverse = kind(alpha), kind(1 - decay), kind(size), kind(rule.epsilon), kind(1 / root)
    for k in range(theta.size):
        g = grad[k] + alpha * theta[k]
        m = b1 * first[k] + c1 * g
        v = b2 * second[k] + c2 * g * g
        first[k] = m
        second[k] = v
        theta[k] = keep * theta[k] - size * m / (np.sqrt(v) * inverse + eps)


@njit(**COMPILED, fastmath={"contract"})
def _sgd(theta, grad, velocity, alpha, rate, rule):
    """``u = momentum u + g``, ``theta -= rate u``, or with Nesterov's look-ahead ``theta -= rate (g + momentum u)``."""
    kind = theta.dtype.type
    mu, rate, alpha = kind(rule.momentum), kind(rate), kind(alpha)
    for k in range(theta.size):
        pull = grad[k] + alpha * theta[k]
        u = mu * velocity[k] + pull
        velocity[k] = u
        theta[k] -= rate * (pull + mu * u if rule.nesterov else u)


@njit(**COMPILED)
def apply_update(model, rule, rate, step):
    """One step of the optimiser on all layers; biases carry no penalty. ``step`` counts from 1."""
    start = 0
    size, root = rate / (1 - rule.beta_1**step), np.sqrt(1 - rule.beta_2**step)
    for part in range(2 * (len(model.sizes) - 1)):  # of every layer its weights, then its biases
        n_in, n_out = model.sizes[part // 2], model.sizes[part // 2 + 1]
        is_bias = part % 2 == 1
        stop = start + (n_out if is_bias else n_in * n_out)
        alpha = 0.0 if is_bias else rule.alpha
        theta, grad, first = model.theta[start:stop], model.grad[start:stop], model.first[start:stop]
        if rule.optimizer == SGD:
            _sgd(theta, grad, first, alpha, rate, rule)
        elif rule.optimizer == ADAM:
            _adam(theta, grad, first, model.second[start:stop], alpha, 0.0, rule, size, root)
        else:
            _adam(theta, grad, first, model.second[start:stop], 0.0, rate * alpha, rule, size, root)
        start = stop


@njit(**COMPILED, fastmath={"contract"})
def adam_ahead(model, rule, distance, step, out):
    """``out = theta - distance m / (sqrt(v) + eps)``, with the moments of ``step`` updates corrected; no penalty."""
    kind = out.dtype.type
    size, inverse = kind(distance / (1 - rule.beta_1**step)), kind(1 / np.sqrt(1 - rule.beta_2**step))
    eps = kind(rule.epsilon)
    for k in range(out.size):
        out[k] = model.theta[k] - size * model.first[k] / (np.sqrt(model.second[k]) * inverse + eps)
