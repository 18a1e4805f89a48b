"""How the outputs of a trained network and a ridge readout of its layers become one linear readout.

Narrow layers are told apart better by the outputs that were trained, wide ones by least squares, and both together are
rarely worse than either: a few numbers, chosen on rows that neither has seen, with a prior at even shares.
"""

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import logsumexp

# Slopes at which a softmax of scores is believed: those that estimate 0/1 targets are far too flat, and outputs that
# were trained are too sure of new rows by a factor of about two. Measured in docs/theory/layerwise.md.
_OF_RIDGE, _OF_RULE = 5.0, {"softmax": 0.5, "expgb": 0.5, "linear": 2.5, "pow3gb": 0.25}
_DEVIATIONS = {"trained": 0.3, "ridge": 0.2}  # of the logarithms of slopes about what is believed
_EVEN = 0.2  # deviation of the share of the ridge about one half
_SHARES = np.linspace(0, 1, 11)
_BOUNDS = (-4.0, 3.0)  # of logarithms of slopes


def blend_of_scores(outputs, ridge, labels, weight, rule):
    """Return (a, b), and T: probabilities are the softmax of ``(a o + b r) / T``.

    Both kinds of scores (n, C) are brought to slopes of least log-loss; then comes the share of the ridge, with a
    slope of the blend at each.
    """
    weight = _relative(weight, len(labels))
    a = _slope(outputs, labels, weight, _OF_RULE[rule], _DEVIATIONS["trained"])[0]
    b = slope_of_ridge(ridge, labels, weight)
    tried = []
    for share in _SHARES:
        blend = (1 - share) * a * outputs + share * b * ridge
        slope, cost = _slope(blend, labels, weight, 1.0, _DEVIATIONS["ridge"])
        tried.append((cost + 0.5 * ((share - 0.5) / _EVEN) ** 2, share, slope))
    _, share, slope = min(tried)
    return (float((1 - share) * a), float(share * b)), 1 / slope


def slope_of_ridge(ridge, labels, weight):
    """Return the slope at which a softmax of least-squares scores has least log-loss."""
    return _slope(ridge, labels, _relative(weight, len(labels)), _OF_RIDGE, _DEVIATIONS["ridge"])[0]


def blend_of_numbers(outputs, ridge, y, weight):
    """Return shares (1 - s, s) of least squared error, s with the prior of :func:`blend_of_scores`."""
    weight = _relative(weight, len(y))
    step, error = ridge - outputs, y - outputs
    noise = np.average((error - step / 2) ** 2, axis=0, weights=weight)
    weight = weight[:, None] / np.maximum(noise, np.finfo(np.float64).tiny)
    prior = 1 / _EVEN**2
    with np.errstate(over="ignore"):
        share = (np.sum(weight * step * error) + prior / 2) / (np.sum(weight * step**2) + prior)
    share = float(np.clip(share, 0, 1)) if np.isfinite(share) else 0.5
    return 1 - share, share


def _relative(weight, n_rows):
    """Weights of mean 1."""
    return np.ones(n_rows) if weight is None else weight / weight.mean()


def _slope(scores, labels, weight, believed, deviation):
    """The slope of least log-loss with a prior on its logarithm, and that cost."""
    rows = np.arange(len(labels))

    def cost(log_slope):
        s = np.exp(log_slope) * believed * scores
        return np.sum(weight * (logsumexp(s, axis=1) - s[rows, labels])) + 0.5 * (log_slope / deviation) ** 2

    found = minimize_scalar(cost, bounds=_BOUNDS, method="bounded")
    return believed * float(np.exp(found.x)), float(found.fun)
