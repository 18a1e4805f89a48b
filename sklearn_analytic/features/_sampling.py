"""Drawing rows by weight, whatever their order: a repeated row and a doubled weight are the same draw."""

from dataclasses import dataclass

import numpy as np

_APART = 300  # powers of two between columns, beyond which the small ones would not tell rows apart
_ORDINARY = 2.0**_APART


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
