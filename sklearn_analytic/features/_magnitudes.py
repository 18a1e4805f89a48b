"""Rows near the ends of the range: products and squares of them stay numbers, and all other rows stay as they are."""

import numpy as np

from sklearn_analytic.backend import dtype_name

_REACH = {"float64": 960}  # powers of two that leave room for sums of products with parameters
_ROOM = 25  # of which sums of as many terms as there are columns leave so much
_SHORT_REACH = 100  # of float32, and of bfloat16, which has its range


def reach_of(x):
    """Return the power of two below which rows of this dtype are multiplied as they are."""
    return _REACH.get(dtype_name(x), _SHORT_REACH)


def largest(x):
    """Return the largest magnitude of an array of a backend; 0 where it is empty."""
    return 0.0 if 0 in x.shape else max(float(x.max()), -float(x.min()))


def rows_in_reach(x, backend, weights=None):
    """Return rows that can be multiplied: those beyond reach along their direction, scaled by a power of two.

    Parameters
    ----------
    x : array of shape (n, d)
        Finite rows, already an array of the backend.
    backend : Backend
        What computes.
    weights : ndarray of shape (d, h) or None, default=None
        What they are multiplied by; None is something near 1.

    Returns
    -------
    array of shape (n, d)
        ``x`` itself where nothing is beyond reach.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_analytic.backend import get_backend
    >>> from sklearn_analytic.features import rows_in_reach
    >>> rows = rows_in_reach(np.array([[2.0, 1.0], [2.0**1000, -(2.0**999)]]), get_backend("cpu"))
    >>> np.log2(np.abs(rows)).tolist()
    [[1.0, 0.0], [959.0, 958.0]]
    """
    reach = reach_of(x)
    if largest(x) <= 2.0 ** (reach // 2):
        return x
    if weights is not None:  # small weights bring large rows near 1: these must stay what they are
        reach += _ROOM - int(np.frexp(largest(weights) * len(weights))[1])
    return x * backend.asarray(_shrinking(x, backend, reach)[:, None], dtype_name(x))


def linear_readout(features, coef, intercept, backend):
    """Return ``features @ coef + intercept`` in float64: what is beyond the range is its end, and nothing is NaN.

    Parameters
    ----------
    features : array of shape (n, p)
        Finite features on the backend.
    coef : ndarray of shape (p, c)
        Weights.
    intercept : ndarray of shape (c,)
        Constants.
    backend : Backend
        What computes.

    Returns
    -------
    array of shape (n, c)
        Outputs.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_analytic.backend import get_backend
    >>> from sklearn_analytic.features import linear_readout
    >>> row, coef = np.array([[1e308, 1e308]]), np.array([[100.0], [-99.0]])
    >>> linear_readout(row, coef, np.zeros(1), get_backend("cpu"))
    array([[1.e+308]])
    """
    wide = backend.stack_columns([features], [1.0])
    coef, intercept = backend.asarray(coef), backend.asarray(intercept)
    outputs = backend.matmul(wide, coef) + intercept
    if np.isfinite(largest(outputs)):
        return outputs
    reach = reach_of(wide) - int(np.frexp(max(largest(coef), 1.0))[1]) - int(np.frexp(len(coef))[1])
    factor = backend.asarray(_shrinking(wide, backend, reach)[:, None])
    end = np.finfo(np.float64).max
    with np.errstate(over="ignore"):
        again = (backend.matmul(wide * factor, coef) + intercept * factor) / factor
    return again.clip(-end, end)


def _shrinking(x, backend, reach):
    """One power of two per row that brings it within reach; 1 for those that are."""
    size = np.max(np.abs(backend.to_numpy(x)), axis=1)
    return np.ldexp(1.0, np.minimum(reach - np.frexp(size)[1], 0))
