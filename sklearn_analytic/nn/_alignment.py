"""Alignment: the angle between the error that a hidden layer receives and the one that backpropagation would send."""

import numpy as np

from sklearn_analytic.nn._activations import ACTIVATIONS
from sklearn_analytic.nn._losses import rule_of


def hidden_errors(layers, activation, output, x, y, feedback=None):
    """Return the errors (n, n_l) at the pre-activations of all hidden layers; ``feedback=None`` is backpropagation."""
    f, slope = ACTIVATIONS[activation][:2]
    hidden, h = [], x
    for weights, bias in layers[:-1]:
        h = f(h @ weights + bias)
        hidden.append(h)
    weights, bias = layers[-1]
    error = rule_of(output)[1](h @ weights + bias, y)
    errors, d = [], error
    for k in range(len(hidden) - 1, -1, -1):
        sent = d @ layers[k + 1][0].T if feedback is None else error @ feedback[k]
        d = sent * slope(hidden[k])
        errors.insert(0, d)
    return errors


def cosines(sent, exact):
    """Return the mean cosine of two sets of row vectors; rows without an error do not count."""
    sizes = np.linalg.norm(sent, axis=1) * np.linalg.norm(exact, axis=1)
    counted = sizes > 0
    if not counted.any():
        return 0.0
    return float(np.mean(np.sum(sent * exact, axis=1)[counted] / sizes[counted]))


def alignment(layers, activation, output, x, y, feedback):
    """Return the mean cosine to the true gradient of every hidden layer, on rows ``x`` with coded ``y``."""
    layers = [(w.astype(np.float64), b.astype(np.float64)) for w, b in layers]
    x = x.astype(np.float64)
    exact = hidden_errors(layers, activation, output, x, y)
    sent = hidden_errors(layers, activation, output, x, y, feedback)
    return [cosines(s, e) for s, e in zip(sent, exact, strict=True)]


def bottleneck(sizes, aligned):
    """Return the index of a hidden layer that is less than half as wide as both neighbours and spoils alignment.

    ``sizes`` are (d, n_1, ..., C), ``aligned`` the cosines of hidden layers. A narrow layer spoils that of layers up to
    itself (Launay et al. 2019); None where there is none.
    """
    for k in range(1, len(sizes) - 2):
        narrow = 2 * sizes[k] < min(sizes[k - 1], sizes[k + 1])
        if narrow and min(aligned[:k]) < 0.5:
            return k - 1
    return None
