"""Order statistics of leave-one-out predictions: prediction intervals, and what they take."""

import math

import numpy as np

_ROUNDING = 1e-9  # of a sum of weights


def rows_needed(coverage):
    r"""Return the least number of rows on which intervals or sets of a coverage can be measured.

    Parameters
    ----------
    coverage : float in (0, 1)
        Share of new rows that are to be covered.

    Returns
    -------
    int
        The least m with :math:`\lceil q (m + 1) \rceil \le m`.

    Examples
    --------
    >>> from sklearn_analytic.linalg import rows_needed
    >>> rows_needed(0.9), rows_needed(0.95)
    (9, 19)
    """
    return max(1, math.ceil(coverage / (1 - coverage) - _ROUNDING))


def conformal_quantile(values, weights, level):
    r"""Return the smallest value with at least ``level`` of the weight of all values and of one more below or at it.

    For equal weights it is the :math:`\lceil q (m + 1) \rceil`-th smallest.

    Parameters
    ----------
    values : ndarray of shape (..., m)
        Values, in any order.
    weights : ndarray of shape (m,)
        Their weights, in rows.
    level : float in (0, 1)
        q.

    Returns
    -------
    ndarray of shape (...)
        The quantiles; infinity where there are too few values.

    References
    ----------
    R. F. Barber, E. J. Candes, A. Ramdas, R. J. Tibshirani, "Predictive inference with the jackknife+", Annals of
    Statistics 49, 2021.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_analytic.linalg import conformal_quantile
    >>> values = np.array([4.0, 1.0, 3.0, 2.0])
    >>> float(conformal_quantile(values, np.ones(4), 0.6)), float(conformal_quantile(values, np.ones(4), 0.9))
    (3.0, inf)
    """
    total = float(np.sum(weights))
    wanted = level * (total + 1) - _ROUNDING * total
    if wanted > total:
        return np.full(values.shape[:-1], np.inf)
    if np.all(weights == weights[0]):
        place = max(math.ceil(wanted / weights[0]) - 1, 0)
        return np.partition(values, place, axis=-1)[..., place]
    order = np.argsort(values, axis=-1)
    below = np.cumsum(weights[order], axis=-1)
    place = np.argmax(below >= wanted, axis=-1)
    found = np.take_along_axis(order, place[..., None], axis=-1)
    return np.take_along_axis(values, found, axis=-1)[..., 0]
