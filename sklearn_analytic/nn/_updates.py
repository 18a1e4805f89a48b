"""Steps of the optimisers on plain networks on the CPU."""

import math

from sklearn_analytic.backend import training


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
