"""Compiled second losses at one hidden layer: similarity matching, and a pull towards the layer's input.

With h (m, n) the layer, A (n, n) a projection that is trained along and thrown away, and u_i the centred rows of hA
over their lengths, similarity matching is ``sum_ij w_i w_j (u_i . u_j - S_ij)^2 / m^2``; S tells which targets are
alike.
"""

from collections import namedtuple

import numpy as np
from numba import njit

from sklearn_analytic.backend._numba_units import COMPILED

# layer: 1-based hidden layer (0 is none). share: factor of the error that comes from above. similarity, pull: weights
# of the two losses. projection: a Model of one layer. u, gram, error: buffers (m n), (m m), (m n) of similarity.
# pulls: buffer (m), the factors of the pull of every row.
Side = namedtuple("Side", "layer share similarity pull projection u gram error pulls")

_LEAST_LENGTH = 1e-12  # of a centred row: a constant one has no direction


@njit(**COMPILED)
def side_error(h, below, data, rows, n_outputs, side):
    """Make the side losses' gradients ready for :func:`add_side_error`, and the projection's; return the loss.

    ``below`` (m, n) is the input of the partition. The loss is a sum over the batch, like that of the outputs; errors
    are those of the mean.
    """
    m, n = h.shape
    loss = 0.0
    if side.similarity > 0:
        error = side.error[: m * n].reshape(m, n)
        loss += side.similarity * _similarity_error(h, data, rows, n_outputs, side, error)
    if side.pull > 0:
        loss += _pull_loss(h, below, data, rows, side)
    return loss


@njit(**COMPILED)
def add_side_error(error, h, below, side):
    """``error = share error + side errors`` in place."""
    m, n = error.shape
    share = error.dtype.type(side.share)
    for i in range(m):
        for j in range(n):
            error[i, j] *= share
    if side.similarity > 0:
        own = side.error[: m * n].reshape(m, n)
        for i in range(m):
            for j in range(n):
                error[i, j] += own[i, j]
    if side.pull > 0:
        for i in range(m):
            for j in range(n):
                error[i, j] += side.pulls[i] * (h[i, j] - below[i, j])


@njit(**COMPILED)
def _similarity_error(h, data, rows, n_outputs, side, error):
    """Similarity matching; the error goes to ``error``, the projection's gradient to its model."""
    m, n = h.shape
    weights = side.projection.theta[: n * n].reshape(n, n)
    gradient = side.projection.grad[: n * n].reshape(n, n)
    u = side.u[: m * n].reshape(m, n)
    gram = side.gram[: m * m].reshape(m, m)
    lengths = np.empty(m, h.dtype)
    np.dot(h, weights, u)
    for i in range(m):
        lengths[i] = _to_unit_length(u[i])
    np.dot(u, u.T, gram)
    loss = _gram_error(gram, data, rows, n_outputs, side.similarity)
    np.dot(gram, u, error)
    for i in range(m):  # back through the length and the centring
        along, mean = np.float64(0), np.float64(0)
        for j in range(n):
            along += error[i, j] * u[i, j]
        for j in range(n):
            error[i, j] = (error[i, j] - h.dtype.type(along) * u[i, j]) * lengths[i]
            mean += error[i, j]
        for j in range(n):
            error[i, j] -= h.dtype.type(mean / n)
    np.dot(h.T, error, gradient)
    np.dot(error, weights.T, u)
    for i in range(m):
        for j in range(n):
            error[i, j] = u[i, j]
    return loss


@njit(**COMPILED)
def _to_unit_length(row):
    """Centre a row and divide it by its length, in place; return one over the length, 0 for a constant row."""
    mean, squares = np.float64(0), np.float64(0)
    for j in range(len(row)):
        mean += row[j]
    mean /= len(row)
    for j in range(len(row)):
        row[j] -= row.dtype.type(mean)
        squares += np.float64(row[j]) * np.float64(row[j])
    length = np.sqrt(squares)
    inverse = row.dtype.type(1 / length if length > _LEAST_LENGTH else 0.0)
    for j in range(len(row)):
        row[j] *= inverse
    return inverse


@njit(**COMPILED)
def _gram_error(gram, data, rows, n_outputs, similarity):
    """Turn similarities into the gradient by u u^T, times two; return m times the mean of the weighted squares."""
    m = len(rows)
    kind, weighted, coded = gram.dtype.type, len(data.weight) > 0, len(data.codes) > 0
    loss = 0.0
    for i in range(m):
        w = np.float64(data.weight[rows[i]]) if weighted else 1.0
        for j in range(m):
            both = w * np.float64(data.weight[rows[j]]) if weighted else w
            wanted = _alike(data, rows[i], rows[j], coded, n_outputs)
            miss = np.float64(gram[i, j]) - wanted
            loss += both * miss * miss
            gram[i, j] = kind(4.0 * similarity * both * miss / (np.float64(m) * m))
    return loss / m


@njit(**COMPILED)
def _alike(data, i, j, coded, n_outputs):
    """S_ij: the cosine of centred one-hot rows, or a Gaussian of the distance of standardised targets."""
    if coded:
        return 1.0 if data.codes[i] == data.codes[j] else -1.0 / (n_outputs - 1)
    squares = 0.0
    for c in range(data.targets.shape[1]):
        difference = np.float64(data.targets[i, c]) - np.float64(data.targets[j, c])
        squares += difference * difference
    return np.exp(-0.5 * squares)


@njit(**COMPILED)
def _pull_loss(h, below, data, rows, side):
    """Return m times ``pull / 2 mean_i w_i |h_i - below_i|^2 / n``; the factors of its gradient go to the buffer."""
    (m, n), pull = h.shape, side.pull
    weighted, loss = len(data.weight) > 0, 0.0
    for i in range(m):
        w = np.float64(data.weight[rows[i]]) if weighted else 1.0
        side.pulls[i] = h.dtype.type(pull * w / (np.float64(m) * n))
        for j in range(n):
            step = h[i, j] - below[i, j]
            loss += 0.5 * pull * w * np.float64(step) * np.float64(step) / n
    return loss
