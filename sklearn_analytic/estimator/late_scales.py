"""Scales that are learned late: what was constant gets one from the rows in which it first varies.

Moments are arrays (3, d): rows, mean and deviation of d columns. No rows: asleep, the column was constant so far.
"""

import math
from dataclasses import replace

import numpy as np

from sklearn_analytic.features import ENCODINGS, InputEncoding, QuantileEncoding, standard_encoding

ENOUGH = 10  # rows after which a scale stays; below, every block is heard
_FAR = 5.0  # deviations: a column that moved farther than that from its old value is scaled down to it
_FLAT = 1e-10  # a move within this share of the old value is rounding
_FLAT_TARGET = 1e-14
_ROUNDINGS = 4  # of the dtype of X, which are rounding, too


def moments(values, weights=None):
    """Rows (or their weight), mean and deviation of columns; exact where a column is constant."""
    size = np.maximum(np.abs(values).max(axis=0), np.finfo(np.float64).tiny)  # squares of 1e200 are no numbers
    mean = np.average(values / size, axis=0, weights=weights)
    deviation = np.sqrt(np.average((values / size - mean) ** 2, axis=0, weights=weights))
    constant = values.max(axis=0) == values.min(axis=0)
    n = len(values) if weights is None else weights.sum()
    return np.stack(
        [np.full(len(size), n), np.where(constant, values[0], mean * size), np.where(constant, 0.0, deviation * size)]
    )


def joined(first, second):
    """Moments of the rows of both."""
    n = first[0] + second[0]
    share, gap = second[0] / n, second[1] - first[1]
    parts = np.sqrt(1 - share) * first[2], np.sqrt(share) * second[2], np.sqrt(share * (1 - share)) * gap
    return np.stack([n, first[1] + share * gap, np.hypot(np.hypot(parts[0], parts[1]), parts[2])])


def followed(known, block):
    """Moments after a block in which columns move: of the block alone where it has rows enough and they differ.

    Otherwise the constant from before, or the few rows since, count as well; a block that is constant is one row.
    """
    varies = block[2] > _FLAT_TARGET * np.abs(block[1])
    block = np.where(varies, block, np.stack([np.ones_like(block[0]), block[1], 0 * block[2]]))
    before = np.stack([np.maximum(known[0], 1.0), known[1], known[2]])
    alone = (known[0] == 0) & (block[0] >= ENOUGH)
    return np.where(alone, block, joined(before, block))


def followed_targets(known, y, weights):
    """Moments of targets (rows, mean, scale) after a block; what has a scale of enough rows, or does not move, stays.

    The mean moves with it: what was one number says nothing of the numbers to come.
    """
    block = moments(y, weights)
    block[0] = len(y)
    moves = np.hypot(block[1] - known[1], block[2]) > _FLAT_TARGET * np.abs(known[1])
    listening = np.where(known[0] == 0, moves, known[0] < ENOUGH)
    return np.where(listening, followed(known, block), known)


# ---- columns ----


def asleep(encoding):
    """A mask of encoded columns that are 0 whatever the rows are."""
    if type(encoding) is QuantileEncoding:
        return np.array([len(knots) == 1 for knots in encoding.knots])
    return np.asarray(encoding.slope) == 0


def with_constants(encoding, rows):
    """Keep constant columns, as zeros: dropped, they could not be learned when they move; with their very values."""
    if type(encoding) is not InputEncoding or encoding.hellinger:
        return encoding
    missing = np.setdiff1d(np.arange(rows.shape[1]), encoding.source)
    if len(missing):
        added = {"source": missing, "shift": rows[0, missing], "scale": 1.0, "slope": 0.0, "centre": 0.0}
        added = {name: np.broadcast_to(value, missing.shape) for name, value in added.items()}
        encoding = replace(encoding, **{name: np.r_[getattr(encoding, name), value] for name, value in added.items()})
    constant = (asleep(encoding)) & (rows.max(axis=0) == rows.min(axis=0))[encoding.source]
    return replace(encoding, shift=np.where(constant, rows[0, encoding.source], encoding.shift))


def fresh_moments(encoding):
    """Moments of the moves of encoded columns when an encoding is new."""
    sleeping = asleep(encoding)
    return np.stack([np.where(sleeping, 0.0, math.inf), 0.0 * sleeping, 0.0 * sleeping])


def is_listening(known):
    """Whether some columns have no scale, or one of few rows."""
    return bool(np.any(known[0] < ENOUGH))


def woken(encoding, known, blocks, n_groups=None):
    """Return the encoding and the moments of moves after one pass over ``blocks`` of (rows, weights).

    Columns that were asleep and move get a scale, those that moved lately a better one. What a column was stays 0, so
    that the network computes what it did where a column has not moved. With ``n_groups``, the columns of a group
    (the channels of an image) have one scale.
    """
    heard = np.flatnonzero(known[0] < ENOUGH)
    curved = type(encoding) is QuantileEncoding
    source = heard if curved else encoding.source[heard]
    old = np.array([_origin(encoding, j) for j in heard]) if curved else encoding.shift[heard]
    total, low, high, n, eps, kept = None, math.inf, -math.inf, 0, 0.0, []
    for rows, weights in blocks:
        values = np.asarray(rows[:, source], dtype=np.float64)
        part = moments(values - old, weights)
        total = part if total is None else joined(total, part)
        low, high = np.minimum(low, values.min(axis=0)), np.maximum(high, values.max(axis=0))
        n, eps = n + len(rows), np.finfo(rows.dtype).eps if rows.dtype.kind == "f" else 0.0
        kept += [values] if curved else []
    total[0] = n
    if n_groups is not None:
        total = _grouped(total, n_groups)
    moves = np.hypot(total[1], total[2]) > max(_FLAT, _ROUNDINGS * eps) * np.abs(old)
    with np.errstate(over="ignore"):
        recast = (low == high) & (low.astype(np.float32) == old.astype(np.float32))  # the same number in another dtype
    moves &= ~recast
    if n_groups is not None:
        moves = np.repeat(moves.reshape(n_groups, -1).any(axis=1), len(moves) // n_groups)
    chosen = np.where(known[0, heard] == 0, moves, True)
    found = known.copy()
    found[:, heard] = np.where(chosen, followed(known[:, heard], total), known[:, heard])
    heard, columns = heard[chosen], np.flatnonzero(chosen)
    if not len(heard):
        return encoding, known
    if curved:
        values = np.concatenate(kept)[:, columns]
        return _recurved(encoding, heard, values, old[columns]), found
    scale = np.maximum(found[2], np.abs(found[1]) / _FAR)[heard]
    slope = encoding.slope.copy()
    slope[heard] = 1 / np.maximum(scale, np.finfo(np.float64).tiny)
    return replace(encoding, slope=slope), found


def _grouped(block, n_groups):
    """Moments of the columns of a group, for each of them."""
    n, mean, deviation = block.reshape(3, n_groups, -1)
    centre = mean.mean(axis=1, keepdims=True)
    squares = np.mean(deviation**2 + (mean - centre) ** 2, axis=1, keepdims=True)
    return np.stack([n, centre + 0 * n, np.sqrt(squares) + 0 * n]).reshape(3, -1)


def _origin(encoding, j):
    """What a column was when it did not vary: where its curve is 0."""
    return encoding.knots[j][np.argmin(np.abs(encoding.ranks[j]))]


def _recurved(encoding, heard, values, old):
    """Curves through the quantiles of rows; a few rows are joined to those before. The old value stays 0."""
    knots, ranks = list(encoding.knots), list(encoding.ranks)
    for j, column, origin in zip(heard, values.T, old, strict=True):
        if len(np.unique(column)) < ENOUGH:
            column = np.r_[column, knots[j]]
        curve = ENCODINGS["quantile"](column[:, None])
        knots[j] = curve.knots[0]
        ranks[j] = curve.ranks[0] - np.interp(origin, curve.knots[0], curve.ranks[0])
    return QuantileEncoding(tuple(knots), tuple(ranks))


def shared_scale(rows, weights, n_channels):
    """One mean and deviation for all columns of a channel: pictures and sequences keep their contrast."""
    encoding = standard_encoding(np.zeros((1, rows.shape[1])))
    parts = rows.reshape(len(rows), n_channels, -1)
    mean = np.average(parts.mean(axis=2), axis=0, weights=weights)
    centred = parts - mean[:, None]
    deviation = np.sqrt(np.average((centred**2).mean(axis=2), axis=0, weights=weights))
    constant = parts.max(axis=(0, 2)) == parts.min(axis=(0, 2))
    mean = np.where(constant, parts[0, :, 0], mean)  # exactly: rounding is not to be magnified
    slope = np.divide(1.0, deviation, out=np.zeros_like(deviation), where=~constant & (deviation > 0))
    repeat = rows.shape[1] // n_channels
    return replace(encoding, shift=np.repeat(mean, repeat), slope=np.repeat(slope, repeat))
