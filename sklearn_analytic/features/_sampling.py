"""Rows as constructions read them: told apart by keys, drawn by weight, with targets and classes.

The order of rows never matters; a repeated row and a doubled weight are the same draw.
"""

import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np

MOST_CELLS = 2000  # contents that have a unit of their own
_REPEATED = 1.25  # mean copies of a content, from which on they have
_APART = 300  # powers of two between columns, beyond which the small ones would not tell rows apart
_ORDINARY = 2.0**_APART
_ROUNDING = 1e-9  # of sums of weights


def row_keys(x, direction):
    """Return one number per row that depends on its content alone, to sort rows by.

    Parameters
    ----------
    x : ndarray of shape (n, d)
        Rows.
    direction : ndarray of shape (d,)
        A seeded random direction.

    Returns
    -------
    ndarray of shape (n,)
        Projections of the rows.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_analytic.features import row_keys
    >>> row_keys(np.array([[1.0, 2.0]]), np.array([1.0, 1.0]))
    array([3.])
    """
    # A row-wise sum of row-major rows, not a matrix product: BLAS may round a row differently elsewhere.
    with np.errstate(over="ignore"):
        return np.ascontiguousarray(np.asarray(x, dtype=np.float64) * direction).sum(axis=1)


def draw_rows(keys, weights, n_draws, generator):
    """Return row indices drawn by weight, independent of the order of the rows and stratified over their keys.

    Parameters
    ----------
    keys : ndarray of shape (n,)
        One number per row (:func:`row_keys`).
    weights : ndarray of shape (n,) or None
        Sample weights; None is one for every row.
    n_draws : int
        How many indices; rows may repeat.
    generator : numpy.random.Generator
        Source of the uniforms.

    Returns
    -------
    ndarray of shape (n_draws,)
        Row indices.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_analytic.features import draw_rows
    >>> keys = np.array([3.0, 1.0, 2.0])
    >>> a = keys[draw_rows(keys, None, 5, np.random.default_rng(0))]
    >>> b = keys[::-1][draw_rows(keys[::-1], None, 5, np.random.default_rng(0))]
    >>> bool(np.all(a == b))
    True
    """
    order = np.argsort(keys, kind="stable")
    weights = np.ones(len(keys)) if weights is None else np.asarray(weights, dtype=np.float64)
    cumulative = np.cumsum(weights[order])
    # Systematic draws in random order: every stretch of keys gets its share, however few the draws.
    positions = (generator.permutation(n_draws) + generator.uniform(size=n_draws)) / n_draws
    found = np.searchsorted(cumulative, positions * cumulative[-1], side="right")
    last = np.flatnonzero(weights[order] > 0)[-1]
    return order[np.minimum(found, last)]


@dataclass(frozen=True)
class RowKeys:
    """Keys of rows that do not follow a power-of-two scale of X, nor (where float32 tells the rows apart) its dtype.

    Parameters
    ----------
    direction : ndarray of shape (d,)
        A seeded random direction.
    exponent : int, default=0
        Power of two near the largest key of the rows that settled it.
    narrow : bool, default=False
        Whether rows are rounded to float32 first.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_analytic.features import fit_row_keys
    >>> X, direction = np.array([[1.0], [3.0]]), np.array([0.5])
    >>> small, keys = fit_row_keys(lambda function: function(X), direction)
    >>> large, same = fit_row_keys(lambda function: function(1024 * X), direction)
    >>> keys.tolist(), same.tolist()
    ([0.25, 0.75], [0.25, 0.75])
    """

    direction: np.ndarray
    exponent: int = 0
    narrow: bool = False

    def of(self, x):
        """Return the keys (n,) of rows."""
        keys = _two_keys(x, self.direction)[:, int(self.narrow)]
        return np.ldexp(keys, -self.exponent)


def fit_row_keys(map_rows, direction, weights=None):
    """Settle keys by rows, and return them with the keys of those rows.

    Parameters
    ----------
    map_rows : callable
        ``map_rows(function)`` is the function of all rows, concatenated: one pass.
    direction : ndarray of shape (d,)
        A seeded random direction.
    weights : ndarray of shape (n,) or None, default=None
        Frequencies; rows of weight 0 settle nothing.

    Returns
    -------
    keys : RowKeys
        What gives further rows their keys.
    found : ndarray of shape (n,)
        Keys of the rows.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_analytic.features import fit_row_keys
    >>> X = np.array([[1.0], [1.0 + 1e-12]])  # float32 would make them one
    >>> keys, found = fit_row_keys(lambda function: function(X), np.ones(1))
    >>> keys.narrow, bool(found[0] == found[1])
    (False, False)
    """
    both = map_rows(lambda x: _two_keys(x, direction))
    if not np.max(np.abs(both[:, 0]), initial=0.0) < _ORDINARY:
        direction = _evened(direction, map_rows(lambda x: np.max(np.abs(x), axis=0, keepdims=True)).max(axis=0))
        both = map_rows(lambda x: _two_keys(x, direction))
    used = both if weights is None else both[np.asarray(weights) > 0]
    n_wide, n_narrow = (len(np.unique(column)) for column in used.T)
    narrow = bool(np.isfinite(used[:, 1]).all() and n_narrow == n_wide)
    size = np.abs(used[:, int(narrow)])
    exponent = int(np.frexp(np.max(size, where=np.isfinite(size), initial=0.0))[1])
    return RowKeys(direction, exponent, narrow), np.ldexp(both[:, int(narrow)], -exponent)


def _evened(direction, sizes):
    """The direction over powers of two of the columns' sizes where these are far apart, or a sum would be infinite."""
    exponents = np.frexp(np.asarray(sizes, dtype=np.float64))[1][sizes > 0]
    if np.ptp(exponents) <= _APART:
        return direction if exponents.max() < _APART + 600 else np.ldexp(direction, -exponents.max())
    shifts = np.zeros(len(direction), dtype=int)
    shifts[sizes > 0] = exponents
    return np.ldexp(direction, -shifts)


def _two_keys(x, direction):
    """Keys of rows as they are and as float32 has them, side by side."""
    with np.errstate(over="ignore", invalid="ignore"):
        narrow = np.asarray(x).astype(np.float32)
        return np.column_stack([row_keys(x, direction), row_keys(narrow, direction)])


def hash_keys(keys):
    """Return a uniform 64-bit hash of float keys.

    Parameters
    ----------
    keys : ndarray of shape (n,)
        Keys of rows (:func:`row_keys`).

    Returns
    -------
    ndarray of shape (n,), uint64
        Equal for equal keys.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_analytic.features import hash_keys
    >>> bool(hash_keys(np.array([0.5]))[0] == hash_keys(np.array([0.5]))[0])
    True
    """
    return mix_bits((np.asarray(keys, dtype=np.float64) + 0.0).view(np.uint64))  # + 0.0 turns -0.0 into 0.0


def label_hashes(classes):
    """Return a hash of every label."""
    return np.array([zlib.crc32(str(label).encode()) for label in classes.tolist()], dtype=np.uint64)


def mix_bits(bits):
    """Return 64-bit words with every input bit spread over every output bit.

    Parameters
    ----------
    bits : ndarray of uint64
        Words, such as hashes with a salt added by exclusive or.

    Returns
    -------
    ndarray of uint64
        Mixed words.

    References
    ----------
    G. L. Steele, D. Lea, C. H. Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014 (splitmix64).

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_analytic.features import mix_bits
    >>> mix_bits(np.zeros(1, dtype=np.uint64))
    array([0], dtype=uint64)
    """
    with np.errstate(over="ignore"):
        bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return bits ^ (bits >> np.uint64(31))


def repeat(keys, weights):
    """Whether contents of rows have more than one copy on average."""
    return bool(np.sum(weights) >= _REPEATED * len(np.unique(keys)))


@dataclass(frozen=True)
class TrainingRows:
    """Rows with keys of their content, targets, classes (or bins of targets) and frequencies, on the host."""

    x: np.ndarray  # (n, d)
    keys: np.ndarray  # (n,)
    targets: np.ndarray | None  # (n, c); None where constructions read classes alone
    labels: np.ndarray  # (n,)
    weights: np.ndarray  # (n,)
    shares: np.ndarray | None = None  # (n, folds) weight in every fold, where copies of a row are draws
    blind: Any = None  # what trees read of all rows without their targets (BlindRows), where columns hold means of them

    @property
    def n_draws(self):
        """Rows that the weights stand for, rounded up."""
        return int(np.ceil(whole_rows(self.weights.sum())))

    def drawn(self, most, generator):
        """Return the rows, or ``most`` of them drawn by weight, each of weight 1."""
        if len(self.x) <= most:
            return self
        return self.taken(draw_rows(self.keys, self.weights, most, generator), ones=True)

    def distinct(self, most, generator):
        """Return one row of each content, or of at most so many that are drawn by weight."""
        drawn = self.drawn(most, generator) if len(np.unique(self.keys)) > most else self
        return drawn.taken(np.unique(drawn.keys, return_index=True)[1])

    def used(self):
        """Return the rows of positive weight."""
        return self.taken(np.flatnonzero(self.weights > 0))

    def taken(self, index, ones=False):
        """Return some rows, with their weights or with ones."""
        weights = self.weights[index]
        shares = None if self.shares is None else self.shares[index]
        if ones:
            shares = None if shares is None else shares / weights[:, None]
            weights = np.ones(len(weights))
        targets = None if self.targets is None else self.targets[index]
        return TrainingRows(self.x[index], self.keys[index], targets, self.labels[index], weights, shares)

    def joined(self, other):
        """Return these rows and others."""
        parts = ("x", "keys", "targets", "labels", "weights")  # of rows without shares
        return TrainingRows(*(np.concatenate([getattr(self, name), getattr(other, name)]) for name in parts))


def whole_rows(weights):
    """Return numbers of rows without the rounding of sums of weights."""
    nearest = np.round(weights)
    return np.where(np.abs(weights - nearest) <= _ROUNDING * nearest, nearest, weights)


def weighted_mean(rows, weights):
    """Return the weighted mean of rows in float64.

    Parameters
    ----------
    rows : ndarray of shape (n, d)
        Rows.
    weights : ndarray of shape (n,)
        Frequencies.

    Returns
    -------
    ndarray of shape (d,)
        The mean.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_analytic.features import weighted_mean
    >>> weighted_mean(np.array([[0.0], [3.0]]), np.array([1.0, 2.0]))
    array([2.])
    """
    return np.einsum("i,ij->j", np.asarray(weights, dtype=np.float64), rows) / np.sum(weights)
