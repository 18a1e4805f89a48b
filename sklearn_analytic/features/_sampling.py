"""Drawing rows by weight, whatever their order: a repeated row and a doubled weight are the same draw."""

import numpy as np


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
