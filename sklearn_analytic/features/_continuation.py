"""Beyond the range of the rows, features go straight on."""

from dataclasses import dataclass

import numpy as np

from sklearn_analytic.backend import dtype_name
from sklearn_analytic.features._input_encoding import _quantiles

_STEP = 0.15  # of a column's range, at least, over which the slope at an end is measured
_BEYOND = 0.1  # of the weight, at least, lies within that step
_REACH = 0.25  # of the range, after which a column goes no further


@dataclass(frozen=True)
class Continuation:
    r"""Straight continuation of any function of rows beyond the range of their columns.

    With :math:`\bar x` the nearest row within the range and :math:`o` the way from there to x, cut off at the reach,

    .. math:: f(x) = f(\bar x) + r \big(f(\bar x) - f(\bar x - o / r)\big), \qquad r = \textstyle\sum_k |o_k| / h_k,

    where :math:`h_k` is the step inward over which the slope of column k is measured. Within the range f stays.

    Parameters
    ----------
    low, high : ndarray of shape (d,)
        Ends of every column; infinite where it does not vary.
    from_low, from_high : ndarray of shape (d,)
        The steps h at either end.
    reach : ndarray of shape (d,)
        How far beyond its ends a column goes on.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_analytic.backend import get_backend
    >>> from sklearn_analytic.features import fit_continuation
    >>> continuation = fit_continuation(np.arange(101.0)[:, None])
    >>> X = np.array([[50.0], [110.0], [1000.0]])
    >>> continuation.apply(lambda rows: rows.clip(0, 100), X, get_backend("cpu")).ravel()
    array([ 50., 110., 125.])
    """

    low: np.ndarray
    high: np.ndarray
    from_low: np.ndarray
    from_high: np.ndarray
    reach: np.ndarray

    def apply(self, function, x, backend, folds=None):
        """Return ``function`` (n, c) of the rows and their ``folds``, if any, continued where rows lie outside."""
        wide = backend.asarray(x, np.float64)
        outside = ((wide < backend.asarray(self.low)) | (wide > backend.asarray(self.high))).any(1)
        given, beyond = ((), ()) if folds is None else ((folds,), (folds[outside],))
        if not bool(outside.any()):
            return function(x, *given)
        inside, inner, ratio = self._points(wide[outside], backend)
        rows = backend.stack_columns([x], [1.0], dtype_name(x))
        rows[outside] = backend.asarray(inside, dtype_name(x))
        out, back = function(rows, *given), function(backend.asarray(inner, dtype_name(x)), *beyond)
        edge = out[outside]
        out[outside] = edge + backend.asarray(ratio, dtype_name(out)) * (edge - back)
        return out

    def _points(self, x, backend):
        """Nearest rows inside, rows a step further inward, and the distance outward in such steps (n, 1)."""
        low, high, reach = (backend.asarray(end) for end in (self.low, self.high, self.reach))
        inside = x.clip(low, high)
        over = x.clip(low - reach, high + reach) - inside
        steps = (over < 0) * backend.asarray(self.from_low) + (over >= 0) * backend.asarray(self.from_high)
        share = abs(over) / steps
        ratio = share.sum(1)[:, None]
        return inside, inside - over / (ratio + (ratio == 0)), ratio


def fit_continuation(x, weights=None, drawn=None):
    """Return the continuation beyond the range of rows.

    Parameters
    ----------
    x : ndarray of shape (n, d)
        Rows, on the host.
    weights : ndarray of shape (m,) or None, default=None
        Frequencies of ``drawn``.
    drawn : ndarray of shape (m, d) or None, default=None
        Rows that stand for all where their weight is counted; None is ``x``.

    Returns
    -------
    Continuation
        A step goes inward to a value of the column, over at least 15 % of the range, with at least a tenth of the
        weight beyond; columns go on for a quarter of their range.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_analytic.features import fit_continuation
    >>> fit_continuation(np.arange(101.0)[:, None]).from_high
    array([15.])
    """
    drawn = np.asarray(x if drawn is None else drawn, dtype=np.float64)
    weights = np.ones(len(drawn)) if weights is None else weights
    low, high = (np.asarray(end, dtype=np.float64) for end in (x.min(axis=0), x.max(axis=0)))
    varies = high > low
    with np.errstate(over="ignore"):  # a range of infinite width goes on without a slope
        span = np.where(varies, high - low, 1.0)
        from_low, from_high = _inward(-drawn, -low, span, weights), _inward(drawn, high, span, weights)
    return Continuation(
        np.where(varies, low, -np.inf), np.where(varies, high, np.inf), from_low, from_high, _REACH * span
    )


def _inward(columns, end, span, weights):
    """Distance from the upper end to the largest value that lies a step inward."""
    bound = np.minimum(_quantiles(columns, np.array([1 - _BEYOND]), weights)[0], end - _STEP * span)
    value = np.where(columns <= bound, columns, columns.min(axis=0)).max(axis=0)
    return np.maximum(end - value, _STEP * span)
