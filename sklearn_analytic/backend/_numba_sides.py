"""Compiled parts of second losses at a hidden layer: ``nn._sides`` says what they belong to."""

import numpy as np
from numba import njit

from sklearn_analytic.backend._numba_units import COMPILED

_LEAST_LENGTH = 1e-12  # of a centred row: a constant one has no direction


@njit(**COMPILED)
def to_unit_lengths(u, inverses):
    """Centre rows and divide them by their lengths, in place; ``inverses`` gets one over each, 0 of a constant row."""
    kind = u.dtype.type
    for i in range(u.shape[0]):
        row, mean, squares = u[i], np.float64(0), np.float64(0)
        for j in range(len(row)):
            mean += row[j]
        mean /= len(row)
        for j in range(len(row)):
            row[j] -= kind(mean)
            squares += np.float64(row[j]) * np.float64(row[j])
        length = np.sqrt(squares)
        inverses[i] = kind(1 / length if length > _LEAST_LENGTH else 0.0)
        for j in range(len(row)):
            row[j] *= inverses[i]


@njit(**COMPILED)
def through_unit_lengths(error, u, inverses):
    """Send an error back through :func:`to_unit_lengths`, in place: through the lengths, then the centring."""
    kind, n = error.dtype.type, error.shape[1]
    for i in range(error.shape[0]):
        along, mean = np.float64(0), np.float64(0)
        for j in range(n):
            along += error[i, j] * u[i, j]
        for j in range(n):
            error[i, j] = (error[i, j] - kind(along) * u[i, j]) * inverses[i]
            mean += error[i, j]
        for j in range(n):
            error[i, j] -= kind(mean / n)


@njit(**COMPILED)
def gram_error(gram, codes, targets, weight, rows, n_outputs, similarity):
    """Turn similarities into the gradient by u u^T, times two; return m times the mean of the weighted squares.

    Wanted is the cosine of centred one-hot rows, or a Gaussian of the distance of standardised targets.
    """
    m, kind, weighted, coded = len(rows), gram.dtype.type, len(weight) > 0, len(codes) > 0
    loss = 0.0
    for i in range(m):
        w = np.float64(weight[rows[i]]) if weighted else 1.0
        for j in range(m):
            both = w * np.float64(weight[rows[j]]) if weighted else w
            if coded:
                wanted = 1.0 if codes[rows[i]] == codes[rows[j]] else -1.0 / (n_outputs - 1)
            else:
                squares = 0.0
                for c in range(targets.shape[1]):
                    difference = np.float64(targets[rows[i], c]) - np.float64(targets[rows[j], c])
                    squares += difference * difference
                wanted = np.exp(-0.5 * squares)
            miss = np.float64(gram[i, j]) - wanted
            loss += both * miss * miss
            gram[i, j] = kind(4.0 * similarity * both * miss / (np.float64(m) * m))
    return loss / m


@njit(**COMPILED)
def pull_loss(h, below, weight, rows, pull, factors):
    """Return m times ``pull / 2 mean_i w_i |h_i - below_i|^2 / n``; ``factors`` get those of its gradient, by row."""
    (m, n), weighted, loss = h.shape, len(weight) > 0, 0.0
    for i in range(m):
        w = np.float64(weight[rows[i]]) if weighted else 1.0
        factors[i] = h.dtype.type(pull * w / (np.float64(m) * n))
        for j in range(n):
            step = h[i, j] - below[i, j]
            loss += 0.5 * pull * w * np.float64(step) * np.float64(step) / n
    return loss
