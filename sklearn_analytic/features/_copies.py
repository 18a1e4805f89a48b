"""Copies of rows as draws: where columns take few values, which copies of a content are held out together."""

from dataclasses import dataclass

import numpy as np

from sklearn_analytic.features._sampling import mix_bits

_VALUES = 32  # of a column that takes few
_FEW_CONTENTS = 64  # distinct rows that are few, whatever their combinations
_FILLED = 0.1  # share of the combinations of two halves of the columns that occur
_EVEN = 1e-6  # of a gap between values
SNAP = 2.0**20  # steps of a unit: ends of copies are rounded to them
_FOLD_SALT, _DRAW_SALT = np.uint64(1), np.uint64(2)


def takes_few_values(x):
    """Return whether every column takes few values.

    Parameters
    ----------
    x : ndarray of shape (m, d)
        Rows.

    Returns
    -------
    bool
        Whether no column has more than 32 distinct values.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_analytic.features import takes_few_values
    >>> takes_few_values(np.eye(3)), takes_few_values(np.arange(99.0)[:, None])
    (True, False)
    """
    return all(len(np.unique(column)) <= _VALUES for column in x.T)


def are_draws(x, direction, categories=None):
    """Return whether new rows will repeat old ones: columns take few values, and rows few of their combinations.

    Parameters
    ----------
    x : ndarray of shape (m, d)
        Distinct rows, whatever their weights and counts.
    direction : ndarray of shape (d,)
        A seeded random direction.
    categories : ndarray of bool, shape (d,), or None, default=None
        Columns of levels, which come again by nature, however many there are.

    Returns
    -------
    bool
        True for at most 64 rows, or where a tenth of the combinations of two halves of the columns occur, if every
        column takes few values (of which there are half as many as rows, or which are evenly spaced). Columns that the
        others determine do not count, and one-hot columns are one.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_analytic.features import are_draws
    >>> bits = np.array([[0, 0], [0, 1], [1, 0], [1, 1]])
    >>> are_draws(bits, np.array([1.0, 0.3])), are_draws(np.arange(5.0)[:, None] ** 2, np.ones(1))
    (True, False)
    """
    counted = x if categories is None else x[:, ~categories]
    if not takes_few_values(counted) or not all(_recurs(column) for column in counted.T):
        return False
    if len(x) <= _FEW_CONTENTS:
        return True
    factors = _determining(_factors(x) * 1.0, direction)
    return factors.shape[1] < 2 or _filled(factors * direction[: factors.shape[1]]) >= _FILLED


def _recurs(column):
    """Whether values come in several rows, or are evenly spaced codes, as numbers that tell rows apart are not."""
    values = np.unique(column)
    if len(values) <= 2 or 2 * len(values) <= len(column):
        return True
    gaps = np.diff(values) / np.min(np.diff(values))
    even = np.all(np.abs(gaps - np.round(gaps)) < _EVEN)
    return bool(even and 2 * len(values) > gaps.sum())


def _factors(x):
    """Columns as codes, neighbours of which a row has at most one at its higher value (one-hot columns) as one."""
    factors, taken = [], None
    for column in x.T:
        values, codes = np.unique(column, return_inverse=True)
        if len(values) == 1:
            continue
        if len(values) == 2 and taken is not None and not np.any(taken & (codes == 1)):
            factors[-1] = np.where(codes == 1, factors[-1].max() + 1, factors[-1])
            taken |= codes == 1
        else:
            factors.append(codes)
            taken = codes == 1 if len(values) == 2 else None
    return np.column_stack(factors) if factors else np.zeros((len(x), 0))


def _determining(factors, direction):
    """Columns without those that the others determine, the last first."""
    kept = list(range(factors.shape[1]))
    parts = factors * direction[: factors.shape[1]]
    for column in kept[::-1]:
        others = [k for k in kept if k != column]
        if others and len(np.unique(parts[:, others].sum(axis=1))) == len(factors):
            kept = others
    return factors[:, kept]


def _filled(parts):
    """Distinct rows over the combinations of the distinct left and right parts, at the cut that halves best."""
    left, right = np.cumsum(parts, axis=1), np.cumsum(parts[:, ::-1], axis=1)[:, ::-1]
    low, high = 1, parts.shape[1] - 1
    while low < high:  # the number of left parts grows with the cut, that of right parts falls
        middle = (low + high) // 2
        enough = len(np.unique(left[:, middle - 1])) >= len(np.unique(right[:, middle]))
        low, high = (low, middle) if enough else (middle + 1, high)
    cuts = {max(low - 1, 1), low}
    return max(len(parts) / (len(np.unique(left[:, c - 1])) * len(np.unique(right[:, c]))) for c in cuts)


@dataclass(frozen=True)
class Copies:
    """Copies of every content laid end to end, ordered by target, each as long as its weight, and cut at unit length.

    Unit j of a content belongs to fold (offset + j) mod K, the offset being hashed from the content: however its
    weight is written as rows, a copy lies at the same place.

    Parameters
    ----------
    rows : ndarray of shape (m,)
        Rows of positive weight, by content and target.
    hashes : ndarray of shape (m,), uint64
        Hashes of their contents.
    begin, end : ndarray of shape (m,)
        Where each lies within its content, in units.
    n_folds : int
        K.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_analytic.features import lay_copies
    >>> hashes = np.array([8, 8], dtype=np.uint64)
    >>> copies = lay_copies(hashes, np.array([0, 1]), np.array([1.0, 3.0]), 1.0, 2)
    >>> copies.begin.tolist(), copies.end.tolist()
    ([0.0, 1.0], [1.0, 4.0])
    """

    rows: np.ndarray
    hashes: np.ndarray
    begin: np.ndarray
    end: np.ndarray
    n_folds: int

    def shares(self, weights):
        """Return the weight (n, K) of every row in every fold."""
        out = np.zeros((len(weights), self.n_folds))
        length = self.end - self.begin
        nowhere = length <= 0  # of the lightest rows beside the heaviest
        for fold in range(self.n_folds):
            place = (fold - self._offsets()) % self.n_folds
            part = _covered(self.end, place, self.n_folds) - _covered(self.begin, place, self.n_folds)
            whole = (np.floor(self.begin) % self.n_folds) == place
            share = np.where(nowhere, whole, part / np.where(nowhere, 1.0, length))
            out[self.rows, fold] = weights[self.rows] * share
        return out

    @property
    def n_units(self):
        """Length of all copies, in units."""
        return float(np.sum(self.end - self.begin))

    def drawn(self, n_draws, labels, least, hashes, salt):
        """Return (row, share of the row, fold, hash) of drawn units: about ``n_draws``, of every class its share.

        Draws are systematic over contents and targets; a class (of ``labels``, or None) has at least ``least`` or
        half of its units. The hashes (of row and target, ``hashes``, and unit) are uniform over a range that grows
        with the share drawn, so that the smallest of several blocks are a fair sample of all.
        """
        lengths = self.end - self.begin
        own = np.zeros(len(self.rows)) if labels is None else labels[self.rows]
        parts = []
        for number, label in enumerate(np.unique(own)):
            group = np.flatnonzero(own == label)
            units = lengths[group].sum()
            wanted = max(n_draws * units / self.n_units, min(least, units / 2))
            own_salt = mix_bits(salt ^ np.uint64(number))
            parts.append(self._systematic(group, units, int(np.ceil(wanted)), hashes, own_salt))
        return tuple(np.concatenate(part) for part in zip(*parts, strict=True))

    def _systematic(self, group, units, n_draws, hashes, salt):
        """Units at equal distances, each jittered by a hash, along some of the copies."""
        ends = np.cumsum(self.end[group] - self.begin[group])
        jitter = mix_bits(np.arange(n_draws, dtype=np.uint64) + mix_bits(self.hashes[group[:1]] ^ salt)) / 2.0**64
        positions = (np.arange(n_draws) + jitter) * (units / n_draws)
        found = np.minimum(np.searchsorted(ends, positions, side="right"), len(group) - 1)
        row = group[found]
        unit = np.floor(self.begin[row] + positions - (ends[found] - (self.end[row] - self.begin[row])))
        order = np.lexsort((unit, row))
        fresh = np.append(True, (np.diff(row[order]) != 0) | (np.diff(unit[order]) != 0))
        row, unit = row[order][fresh], unit[order][fresh]
        length = np.minimum(self.end[row], unit + 1) - np.maximum(self.begin[row], unit)
        share = np.clip(length / np.maximum(self.end[row] - self.begin[row], 1 / SNAP), 0, 1)
        fold = ((self._offsets()[row] + unit) % self.n_folds).astype(np.int64)
        mixed = mix_bits(hashes[self.rows[row]] ^ mix_bits((unit % 2.0**53).astype(np.uint64) + salt) ^ _DRAW_SALT)
        order = (mixed.astype(np.float64) * min(1.0, n_draws / units) * (1 - 2.0**-52)).astype(np.uint64)
        return self.rows[row], share, fold, order

    def _offsets(self):
        """Fold of the first unit of the content of every row."""
        return (mix_bits(self.hashes + _FOLD_SALT) % np.uint64(self.n_folds)).astype(np.int64)


def lay_copies(hashes, targets, lengths, unit, n_folds):
    """Return :class:`Copies` of rows.

    Parameters
    ----------
    hashes : ndarray of shape (n,), uint64
        Hashes of the rows' contents.
    targets : ndarray of shape (n,) or (n, c)
        By which copies of one content are ordered.
    lengths : ndarray of shape (n,)
        Weights; rows of weight 0 are left out.
    unit : float
        Weight of one copy.
    n_folds : int
        Number of folds.

    Returns
    -------
    Copies
        The copies.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_analytic.features import lay_copies
    >>> hashes = np.full(2, 8, dtype=np.uint64)
    >>> copies = lay_copies(hashes, np.array([1, 0]), np.array([3.0, 1.0]), 1.0, 2)  # the second row comes first
    >>> copies.rows.tolist(), copies.shares(np.array([3.0, 1.0])).sum(axis=1).tolist()
    ([1, 0], [3.0, 1.0])
    """
    keys = np.reshape(targets, (len(hashes), -1)).T
    rows = np.flatnonzero(lengths > 0)
    rows = rows[np.lexsort((*(key[rows] for key in keys[::-1]), hashes[rows]))]
    own = hashes[rows]
    first = np.flatnonzero(np.append(True, own[1:] != own[:-1]))
    length = lengths[rows] / unit
    # Content by content: the weight of one must not eat the digits of another.
    end = np.concatenate([np.cumsum(part) for part in np.split(length, first[1:])])
    begin = np.append(0.0, end[:-1])
    begin[first] = 0.0
    return Copies(rows, own, snapped(begin), snapped(end), n_folds)


def snapped(positions):
    """Return positions in whole steps."""
    return np.round(positions * SNAP) / SNAP


def _covered(position, place, period):
    """Length of [0, position) that lies in unit intervals [place, place + 1) of a period."""
    cycles = np.floor(position / period)
    return cycles + np.clip(position - cycles * period - place, 0.0, 1.0)
