"""Input encoding: every column encoded so that distances and projections of rows mean something."""

import math
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from sklearn_analytic.backend import get_backend
from sklearn_analytic.backend._derived import WithDerived
from sklearn_analytic.features._layers import REACHES, cast_like, largest, reach_of, rows_in_reach
from sklearn_analytic.features._sampling import weighted_mean

_TOTAL_BINS = 256  # bins of all numeric columns together
_BINS = (4, 32)  # bins of one column, at least and at most
_MAX_BINNED = 128  # with more numeric columns than this, bins would be too coarse to help
_BIN_SHARE = 0.75  # of a numeric column's variance that its bins carry; the rest is the clipped z-score
_BINARY_STEP = 2.0  # distance between the two values of a binary column
_FLOAT32_SLOPE = 1e30
_FARTHEST = 400  # powers of two of deviations or ranges from a column's middle: farther values are no farther
_CLIP = 3.0  # robust z-scores level off about here


@dataclass(frozen=True)
class InputEncoding(WithDerived):
    r"""Columns as piecewise-linear bins, clipped robust z-scores and binary steps, centred.

    A numeric column x becomes, over quantile knots :math:`q_0 < \dots < q_B`, the ramp
    :math:`\mathrm{clip}((x - q_{b-1}) / (q_b - q_{b-1}), 0, 1)` of each bin, and once
    :math:`z / \sqrt{1 + (z / 3)^2}` of its robust z-score. Monotone changes of a column move its ramps
    little, and an outlier moves neither far. Constant columns are dropped. Many non-negative columns on one
    common scale (pixels, counts) become square roots over the row's norm, so that distances between rows are
    Hellinger distances.

    Parameters
    ----------
    source : ndarray of shape (D,)
        Column of X behind each encoded column.
    shift, slope : ndarray of shape (D,)
        Every encoded column starts as ``(x - shift) * slope``.
    n_ramps : int
        The first columns are ramps, clipped to 0..1.
    n_scores : int
        The next columns are z-scores, smoothly clipped unless ``common``.
    scale, centre : ndarray of shape (D,)
        Final factor and offset: ``value * scale - centre``.
    hellinger : bool
        Whether rows are square roots of unit norm, instead of all of the above but ``centre``.

    References
    ----------
    Y. Gorishniy, I. Rubachev, A. Babenko, "On embeddings for numerical features in tabular deep learning",
    NeurIPS 2022 (piecewise-linear encoding).

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_analytic.backend import get_backend
    >>> from sklearn_analytic.features import fit_input_encoding
    >>> X = np.array([[0.0, 1.0], [1.0, 1.0], [0.0, 1.0]])
    >>> encoding = fit_input_encoding(X)  # one binary column, one constant column
    >>> encoding.transform(X, get_backend("cpu")).round(3).ravel()
    array([-0.667,  1.333, -0.667])
    """

    source: np.ndarray
    shift: np.ndarray
    slope: np.ndarray
    n_ramps: int
    n_scores: int
    scale: np.ndarray
    centre: np.ndarray
    hellinger: bool

    @property
    def n_columns(self):
        """Columns of the encoded rows."""
        return len(self.source)

    @property
    def on_common_scale(self):
        """Whether all columns of X were found to be of one kind, such as pixels or counts."""
        return self.hellinger

    def transform(self, x, backend):
        """Return the encoded rows (n, D) in the dtype of ``x``."""
        if self._steepest > _FLOAT32_SLOPE:  # columns too small for float32 arithmetic
            wide = self._uncentred(backend.asarray(x, np.float64), backend) - backend.asarray(self.centre)
            return cast_like(wide, x, backend)
        out = self._uncentred(x, backend)
        out -= cast_like(self.centre, x, backend)
        return out

    def _uncentred(self, x, backend):
        """Encoded rows before their mean is taken off."""
        out = x[:, self.source]
        if self.hellinger:
            return _hellinger(rows_in_reach(out, backend))
        out = self._sloped(out, backend)
        ramps = slice(0, self.n_ramps)
        out[:, ramps] = out[:, ramps].clip(0, 1)
        scores = slice(self.n_ramps, self.n_ramps + self.n_scores)
        out[:, scores] /= (1 + (out[:, scores] / _CLIP) ** 2) ** 0.5
        out *= cast_like(self.scale, x, backend)
        return out

    @cached_property
    def _steepest(self):
        """The largest slope."""
        return np.max(self.slope, initial=0.0)

    @cached_property
    def _limits(self):
        """By the reach of a dtype: limits of the columns, the largest shift, and how large rows may be within them."""
        return {reach: self._limits_of(reach) for reach in REACHES}

    def _limits_of(self, reach):
        """Limits of one dtype."""
        clipped = np.arange(self.n_columns) < self.n_ramps + self.n_scores
        limit = np.ldexp(1.0, np.where(clipped, reach // 2, min(reach, _FARTHEST)))
        with np.errstate(divide="ignore", over="ignore"):
            room = np.min(limit / self.slope, initial=np.inf)
        return limit, np.max(np.abs(self.shift), initial=0.0), room

    def _sloped(self, x, backend):
        """Columns less their shift, times their slope; values so far out that squares overflow stay where none does."""
        shift, slope = cast_like(self.shift, x, backend), cast_like(self.slope, x, backend)
        limit, farthest_shift, room = self._limits[reach_of(x)]
        with np.errstate(over="ignore"):
            if largest(x) + farthest_shift <= room:
                x -= shift
                x *= slope
                return x
            half = cast_like(limit / 2, x, backend)
            x = (x * 0.5 - shift * 0.5) * slope  # the way between the ends of the range is no number
            return x.clip(-half, half) * 2


def fit_input_encoding(x, weights=None, *, bins=True, hellinger=True):
    """Return the encoding of rows; quantiles and moments count each row with its weight.

    Parameters
    ----------
    x : ndarray of shape (n, d)
        Rows, on the host.
    weights : ndarray of shape (n,) or None, default=None
        Frequencies.
    bins : bool, default=True
        Whether numeric columns get bins; without, their z-scores carry all of their variance.
    hellinger : bool, default=True
        Whether columns on one common scale may become Hellinger rows.

    Returns
    -------
    InputEncoding
        The encoding; with no varying column it has one constant column.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_analytic.features import fit_input_encoding
    >>> fit_input_encoding(np.arange(100.0)[:, None]).n_ramps  # 32 bins, one z-score
    32
    """
    x = x if weights is None else x[weights > 0]
    weights = np.ones(len(x)) if weights is None else weights[weights > 0]
    low, high = x.min(axis=0), x.max(axis=0)
    varies = high > low
    binary = varies & np.all((x == low) | (x == high), axis=0)
    numeric = np.flatnonzero(varies & ~binary)
    if hellinger and _common_scale(low[numeric], high[numeric]):
        return _fit_hellinger(x, weights, np.flatnonzero(varies))
    binary = np.flatnonzero(binary) if np.any(varies) else np.zeros(1, dtype=int)
    parts = (*_numeric_parts(x, weights, numeric, bins), _binary_part(binary, low, high))
    source, shift, slope, scale = (np.concatenate(columns) for columns in zip(*parts, strict=True))
    draft = InputEncoding(source, shift, slope, len(parts[0][0]), len(parts[1][0]), scale, 0 * scale, False)
    encoded = draft._uncentred(np.asarray(x, dtype=np.float64), get_backend("cpu"))
    scores = slice(draft.n_ramps, draft.n_ramps + draft.n_scores)
    # Clipping has shrunk the scores: bring them back to their share of the variance.
    centred = encoded[:, scores] - weighted_mean(encoded[:, scores], weights)
    spread = np.sqrt(weighted_mean(centred**2, weights))
    grown = np.ones(len(source))
    grown[scores] = scale[scores] / np.maximum(spread, 1e-9)
    return replace(draft, scale=scale * grown, centre=weighted_mean(encoded, weights) * grown)


def _fit_hellinger(x, weights, columns):
    """Square roots of unit norm, for non-negative columns on one scale."""
    ones = np.ones(len(columns))
    centre = weighted_mean(_hellinger(np.asarray(x[:, columns], dtype=np.float64)), weights)
    return InputEncoding(columns, 0 * ones, ones, 0, 0, ones, centre, True)


def _hellinger(x):
    """Square roots over their norm; a negative value, which the fit has not seen, counts as zero."""
    roots = x.clip(0, None) ** 0.5
    norm = (roots * roots).sum(1)[:, None] ** 0.5
    return roots / (norm + (norm == 0))


_EMPTY_PART = (np.zeros(0, dtype=int), np.zeros(0), np.zeros(0), np.zeros(0))


def _common_scale(low, high):
    """Whether many non-negative columns share their range, as pixels and counts do."""
    if len(low) <= _MAX_BINNED or low.min() < 0:
        return False
    span = high - low
    return bool(np.median(span) >= 0.9 * span.max() and np.ptp(low) <= 0.1 * span.max())


def _numeric_parts(x, weights, numeric, bins):
    """Ramps and scores of the numeric columns, as (source, shift, slope, scale)."""
    if len(numeric) == 0:
        return _EMPTY_PART, _EMPTY_PART
    columns = np.asarray(x[:, numeric], dtype=np.float64)
    if len(numeric) > _MAX_BINNED or not bins:
        return _EMPTY_PART, _scores(columns, weights, numeric, 1.0)
    n_bins = int(np.clip(_TOTAL_BINS // len(numeric), *_BINS))
    ramps = [_ramps(column, weights, j, n_bins) for column, j in zip(columns.T, numeric, strict=True)]
    ramps = tuple(np.concatenate(part) for part in zip(*ramps, strict=True))
    return ramps, _scores(columns, weights, numeric, math.sqrt(1 - _BIN_SHARE))


def _ramps(column, weights, j, n_bins):
    """One ramp per bin between quantile knots; their variances add to about the bins' share."""
    knots = np.unique(_quantiles(column[:, None], np.linspace(0, 1, n_bins + 1), weights))
    if len(knots) < 3:  # quantiles all fall on one heavy value: take the values themselves
        values = np.unique(column)
        knots = values[np.linspace(0, len(values) - 1, min(len(values), n_bins + 1)).astype(int)]
    n = len(knots) - 1
    return np.full(n, j), knots[:-1], 1 / np.diff(knots), np.full(n, math.sqrt(6 * _BIN_SHARE / n))


def _scores(columns, weights, numeric, scale):
    """Robust z-scores: by the quartiles, by wider quantiles where those meet, else by the deviation."""
    least, low, median, high, most = _quantiles(columns, np.array([0.05, 0.25, 0.5, 0.75, 0.95]), weights)
    spread, wide = (high - low) / 1.349, (most - least) / 3.29  # both are the deviation of a normal column
    spread = np.where(spread > 1e-2 * wide, spread, wide)
    if not np.all(spread > 0):
        centred = columns - weighted_mean(columns, weights)
        spread = np.where(spread > 0, spread, np.sqrt(weighted_mean(centred**2, weights)))
    return numeric, median, 1 / spread, np.full(len(numeric), scale)


def _quantiles(columns, levels, weights):
    """Smallest value whose share of the weight reaches each level; a repeated row is a doubled weight."""
    if np.all(weights == weights[0]):
        index = np.ceil(levels * len(columns) - 1e-9).astype(int) - 1
        return np.sort(columns, axis=0)[np.maximum(index, 0)]
    order = np.argsort(columns, axis=0, kind="stable")
    reach = levels * weights.sum() * (1 - 1e-12)
    index = [np.searchsorted(np.cumsum(weights[column]), reach) for column in order.T]
    rows = np.take_along_axis(order, np.column_stack(index), axis=0)
    return np.take_along_axis(columns, rows, axis=0)


def _binary_part(columns, low, high):
    """Binary columns as steps of one size."""
    span = (high - low)[columns]
    span = np.where(span > 0, span, 1.0)
    n = len(columns)
    return columns, low[columns], 1 / span, np.full(n, _BINARY_STEP)
