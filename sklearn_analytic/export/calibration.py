"""Probabilities from least-squares scores: a link with one or two numbers, chosen on leave-one-out predictions."""

from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax

from sklearn_analytic.nn import LINKS

_FLOORS = (0.003, 0.01, 0.03, 0.1)
_BELIEVED = {True: 5.0, False: 1.0}  # slope of softmax (True), and of power
DEVIATION, MOST_LOG_POWER = 0.2, 1.5  # of the logarithm of a slope about what is believed, and of a power, at most
_LEAST = 1e-300
_FARTHEST = 1e100  # scores of rows far beyond all others may be near the end of the range

NETWORK_FLOOR = 0.01  # of outputs that estimate probabilities themselves


@dataclass(frozen=True)
class Link:
    """Scores near 0 and 1 to probabilities: softmax(c s), or s^c normalised, log s a line below a floor.

    A share ``doubt`` is spread evenly: m rows cannot vouch for chances below about 1 / m.
    """

    slope: float
    floor: float | None
    doubt: float = 0.0

    def probabilities(self, scores):
        """Return rows that sum to one."""
        return (1 - self.doubt) * softmax(self._sharpened(scores), axis=1) + self.doubt / scores.shape[1]

    def log_probabilities(self, scores):
        """Return the logarithms of the probabilities, finite where these underflow to zero."""
        found = log_softmax(self._sharpened(scores), axis=1)
        if self.doubt == 0:
            return found
        return np.logaddexp(np.log1p(-self.doubt) + found, np.log(self.doubt / scores.shape[1]))

    def _sharpened(self, scores):
        """Scores whose softmax is meant, within what a softmax can subtract."""
        scores = np.clip(scores, -_FARTHEST, _FARTHEST)
        return self.slope * (scores if self.floor is None else log_above(scores, self.floor))


def fit_link(scores, labels, weights):
    """Return the link of least log-loss on leave-one-out scores (n, C) of rows with these class indices.

    One scalar on leave-one-out predictions calibrates a closed-form fit: A. Dempster, G. I. Webb, D. F.
    Schmidt, "Prevalidated ridge regression", arXiv 2401.15610. The power link is ours: scores of least
    squares on 0/1 targets are themselves near probabilities. So slopes have a prior about such as say so: few rows,
    all of them right, would make any slope good that is steep enough.
    """
    weights = np.ones(len(labels)) if weights is None else np.asarray(weights)
    n_rows = max(float(np.sum(weights)), float(len(labels)))
    found = [_best_slope(scores, labels, weights, floor, n_rows) for floor in (None, *_FLOORS)]
    return min(found, key=lambda pair: pair[0])[1]


def log_outputs(outputs, rule):
    """Return scores whose softmax is the probabilities of raw outputs under an output rule, at temperature 1.

    docs/theory/outputs.md, equations (8) and (9).
    """
    if rule == "softmax":
        return outputs
    row = LINKS[rule]
    return log_above(row.link(outputs), NETWORK_FLOOR) if row.log is None else row.log(outputs)


def log_above(scores, floor):
    """log(s) above the floor and its tangent below: finite, and never out of the order of the scores."""
    return np.log(np.maximum(scores, floor)) + np.minimum(scores - floor, 0) / floor


def _best_slope(scores, labels, weights, floor, n_rows):
    """Return the least loss over the slope, with its prior and searched on a log scale, and its link."""
    bounds = (-1.0, 4.0) if floor is None else (-MOST_LOG_POWER, MOST_LOG_POWER)
    doubt, centre = 1 / (n_rows + 2), np.log(_BELIEVED[floor is None])  # the rule of succession
    loss = _loss(Link(1.0, floor, doubt)._sharpened(scores), labels, weights, doubt)

    def posterior(log_slope):
        return loss(log_slope) + 0.5 * ((log_slope - centre) / DEVIATION) ** 2 / n_rows

    found = minimize_scalar(posterior, bounds=bounds, method="bounded", options={"xatol": 0.02})
    return found.fun, Link(float(np.exp(found.x)), floor, doubt)


def _loss(sharpened, labels, weights, doubt):
    """The log-loss by the logarithm of the slope: what :class:`Link` gives the right classes, and no other."""
    rows, spread, total = np.arange(len(labels)), doubt / sharpened.shape[1], weights.sum()

    def loss(log_slope):
        z = float(np.exp(log_slope)) * sharpened
        z -= z.max(axis=1, keepdims=True)
        np.exp(z, out=z)
        chosen = (1 - doubt) * (z[rows, labels] / z.sum(axis=1)) + spread
        return -float((np.log(np.maximum(chosen, _LEAST)) * weights).sum() / total)

    return loss
