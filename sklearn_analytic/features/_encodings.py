"""Input encodings by name: the automatic one, and plainer ones to compare it with."""

from dataclasses import dataclass, replace

import numpy as np

from sklearn_analytic.features._input_encoding import InputEncoding, fit_input_encoding
from sklearn_analytic.features._layers import cast_like
from sklearn_analytic.features._sampling import weighted_mean

_KNOTS = 257  # of a quantile curve
_FLAT = 1e-10  # a column that varies less than this share of its size is rounding


@dataclass(frozen=True)
class QuantileEncoding:
    """Columns as ranks: piecewise-linear curves through quantiles, of unit variance, clipped outside.

    Parameters
    ----------
    knots : tuple of ndarray
        Ascending values of every column.
    ranks : tuple of ndarray
        Encoded values at the knots.

    References
    ----------
    W. J. Conover, R. L. Iman, "Rank transformations as a bridge between parametric and nonparametric statistics",
    The American Statistician 35, 1981.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_analytic.backend import get_backend
    >>> from sklearn_analytic.features import ENCODINGS
    >>> X = np.array([[0.0], [1.0], [1e9]])
    >>> ENCODINGS["quantile"](X).transform(X, get_backend("cpu")).round(2).ravel()
    array([-1.22,  0.  ,  1.22])
    """

    knots: tuple
    ranks: tuple

    @property
    def n_columns(self):
        """Columns of the encoded rows."""
        return len(self.knots)

    @property
    def on_common_scale(self):
        """False: every column has its own curve."""
        return False

    def transform(self, x, backend):
        """Return the encoded rows (n, d) in the dtype of ``x``; interpolated on the host."""
        rows = backend.to_numpy(x)
        out = np.empty(rows.shape, dtype=rows.dtype)
        for j, (knots, ranks) in enumerate(zip(self.knots, self.ranks, strict=True)):
            out[:, j] = np.interp(rows[:, j], knots, ranks)
        return backend.asarray(out)


@dataclass(frozen=True)
class WeightedEncoding:
    """An encoding with a factor on every encoded column: what re-weighting by use of the columns makes of it.

    Parameters
    ----------
    base : object
        An encoding.
    factors : ndarray of shape (D,)
        Factor of every encoded column.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_analytic.backend import get_backend
    >>> from sklearn_analytic.features import ENCODINGS, WeightedEncoding
    >>> X = np.array([[0.0], [1.0]])
    >>> WeightedEncoding(ENCODINGS["standard"](X), np.array([0.5])).transform(X, get_backend("cpu")).ravel()
    array([-0.5,  0.5])
    """

    base: object
    factors: np.ndarray

    @property
    def n_columns(self):
        """Columns of the encoded rows."""
        return self.base.n_columns

    @property
    def on_common_scale(self):
        """As the encoding below."""
        return self.base.on_common_scale

    def transform(self, x, backend):
        """Return the encoded rows (n, D) in the dtype of ``x``."""
        return self.base.transform(x, backend) * cast_like(self.factors, x, backend)


def standard_encoding(x, weights=None):
    """Return columns less their mean over their deviation; constant columns become 0.

    Parameters
    ----------
    x : ndarray of shape (n, d)
        Rows.
    weights : ndarray of shape (n,) or None, default=None
        Frequencies.

    Returns
    -------
    InputEncoding
        The encoding.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_analytic.backend import get_backend
    >>> from sklearn_analytic.features import standard_encoding
    >>> X = np.array([[1.0], [3.0]])
    >>> standard_encoding(X).transform(X, get_backend("cpu")).ravel()
    array([-1.,  1.])
    """
    weights = np.ones(len(x)) if weights is None else weights
    wide = np.asarray(x, dtype=np.float64)
    size = np.max(np.abs(wide), axis=0, initial=0.0)
    unit = np.where(size > 0, size, 1.0)  # squares of 1e200 are no numbers
    mean = weighted_mean(wide / unit, weights)
    deviation = np.sqrt(weighted_mean((wide / unit - mean) ** 2, weights))
    slope = np.divide(1.0, deviation * unit, out=np.zeros_like(unit), where=deviation > _FLAT)
    ones = np.ones(len(unit))
    return InputEncoding(np.arange(len(unit)), mean * unit, slope, 0, 0, ones, 0 * ones, False)


def robust_encoding(x, weights=None):
    """Return clipped robust z-scores and binary steps: the automatic encoding without its bins.

    Parameters
    ----------
    x : ndarray of shape (n, d)
        Rows.
    weights : ndarray of shape (n,) or None, default=None
        Frequencies.

    Returns
    -------
    InputEncoding
        The encoding.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_analytic.features import robust_encoding
    >>> robust_encoding(np.arange(10.0)[:, None]).n_columns
    1
    """
    return fit_input_encoding(x, weights, bins=False, hellinger=False)


def smooth_encoding(x, weights=None):
    """Return clipped robust z-scores and binary steps, or Hellinger rows: what a network beside trees reads best.

    Trees see thresholds already; without bins, distances between rows follow the values.

    Parameters
    ----------
    x : ndarray of shape (n, d)
        Rows.
    weights : ndarray of shape (n,) or None, default=None
        Frequencies.

    Returns
    -------
    InputEncoding
        The encoding.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_analytic.features import smooth_encoding
    >>> smooth_encoding(np.arange(10.0)[:, None]).n_ramps
    0
    """
    return fit_input_encoding(x, weights, bins=False)


def piecewise_linear_encoding(x, weights=None):
    """Return piecewise-linear bins of numeric columns and binary steps: the automatic encoding without z-scores.

    Parameters
    ----------
    x : ndarray of shape (n, d)
        Rows.
    weights : ndarray of shape (n,) or None, default=None
        Frequencies.

    Returns
    -------
    InputEncoding
        The encoding; with so many columns that none has bins, z-scores stay.

    References
    ----------
    Y. Gorishniy, I. Rubachev, A. Babenko, "On embeddings for numerical features in tabular deep learning",
    NeurIPS 2022.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_analytic.features import piecewise_linear_encoding
    >>> piecewise_linear_encoding(np.arange(10.0)[:, None]).n_scores
    0
    """
    full = fit_input_encoding(x, weights, hellinger=False)
    if full.n_ramps == 0:
        return full
    kept = np.r_[0 : full.n_ramps, full.n_ramps + full.n_scores : len(full.source)]
    columns = {name: getattr(full, name)[kept] for name in ("source", "shift", "slope", "scale", "centre")}
    return replace(full, n_scores=0, **columns)


def quantile_encoding(x, weights=None):
    """Return ranks of unit variance, each column by the weighted quantiles of the rows.

    Parameters
    ----------
    x : ndarray of shape (n, d)
        Rows.
    weights : ndarray of shape (n,) or None, default=None
        Frequencies.

    Returns
    -------
    QuantileEncoding
        The encoding.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_analytic.features import quantile_encoding
    >>> quantile_encoding(np.array([[1.0], [2.0], [3.0]])).knots[0]
    array([1., 2., 3.])
    """
    weights = np.ones(len(x)) if weights is None else weights
    curves = [_curve(column, weights) for column in np.asarray(x, dtype=np.float64).T]
    return QuantileEncoding(*(tuple(part) for part in zip(*curves, strict=True)))


def _curve(column, weights):
    """Distinct values, thinned to equal shares of the weight, and their standardised mid-ranks."""
    values, inverse = np.unique(column, return_inverse=True)
    mass = np.bincount(inverse, weights)
    ranks = (np.cumsum(mass) - 0.5 * mass) / mass.sum()
    centre = np.average(ranks, weights=mass)
    deviation = np.sqrt(np.average((ranks - centre) ** 2, weights=mass))
    ranks = (ranks - centre) / (deviation if deviation > 0 else 1.0)
    if len(values) > _KNOTS:
        levels = np.linspace(ranks[0], ranks[-1], _KNOTS)
        kept = np.unique(np.minimum(np.searchsorted(ranks, levels - 1e-9), len(values) - 1))
        values, ranks = values[kept], ranks[kept]
    return values, ranks


ENCODINGS = {
    "auto": fit_input_encoding,
    "standard": standard_encoding,
    "robust": robust_encoding,
    "quantile": quantile_encoding,
    "piecewise_linear": piecewise_linear_encoding,
}
