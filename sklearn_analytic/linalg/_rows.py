"""One block of rows made ready for a statistic: checked, counted, and scaled by an exact power of two.

And what rounding alone may leave of a column about its mean: the scale on which constant columns are judged.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from sklearn_analytic.backend import dtype_name, get_backend

EPS = float(np.finfo(np.float64).eps)
_REMOVAL = 64  # roundings in a sum of squares from which rows are taken
_UNITS = {"float32": float(np.finfo(np.float32).eps)}  # half precision has neighbours that are measurements
_EMPTY = -2000  # exponent of an all-zero block: below every exponent of a float64
NO_ROWS = (_EMPTY, _EMPTY)
_STACKED = {"bfloat16": "float32"}  # targets would not survive bfloat16
_FARTHEST = 1000  # powers of two whose inverses are numbers too; squares of the 24 beyond them are safe
_VANISHING = 480  # powers of two below the largest column, from which on squares lose digits
_SAFE = 300  # magnitudes in 2**(-300) .. 2**300 square and sum without scaling


@dataclass(frozen=True)
class Rows:
    """A block [X | Y] after exact scaling, with its weights."""

    a: Any  # (m, d + c)
    weights: Any | None  # (m,)
    n_rows: int  # rows of positive weight
    weight: float  # sum of the weights
    n_features: int
    exponent: tuple[int, int]  # X and Y are stored as X 2**-exponent[0], Y 2**-exponent[1]
    unit: float  # relative spacing of the numbers that X came in


def cpu():
    """Return the default backend of the public functions."""
    return get_backend("cpu")


def prepare_rows(x, y, sample_weight, backend, widen=True, ones=False):
    """Check one block and scale it; raise ValueError on shapes or values that cannot enter a sum.

    ``widen`` brings all to float64; otherwise the block keeps the dtype of X, float32 for bfloat16. ``ones`` puts a
    column of ones first.
    """
    x, y = backend.asarray(x), backend.asarray(y)
    y = y[:, None] if y.ndim == 1 else y
    if x.ndim != 2 or y.ndim != 2 or x.shape[0] != y.shape[0]:
        raise ValueError(
            f"X must be (n, d) and Y (n,) or (n, c) with equal n, got shapes {tuple(x.shape)} and {tuple(y.shape)}."
        )
    exponent = (block_exponent(x, "X"), block_exponent(y, "Y"))
    dtype = np.float64 if widen else _STACKED.get(dtype_name(x), dtype_name(x))
    parts, scales = [x, y], [_power(-exponent[0]), _power(-exponent[1])]
    if ones:
        parts, scales = [backend.ones(x.shape[0]), *parts], [1.0, *scales]
    a = backend.stack_columns(parts, scales, dtype)
    if exponent[0] > 0:
        refuse_lost(_sizes(x, backend), _sizes(a[:, int(ones) : int(ones) + x.shape[1]], backend))
    if sample_weight is None:
        return Rows(a, None, x.shape[0], float(x.shape[0]), x.shape[1], exponent, unit_of(x))
    weights = _checked_weights(sample_weight, x.shape[0], backend)
    n_rows = int((weights > 0).sum())
    return Rows(a, weights, n_rows, float(weights.sum()), x.shape[1], exponent, unit_of(x))


def _checked_weights(sample_weight, n, backend):
    """Refuse weights of wrong length, negative or non-finite."""
    weights = backend.asarray(sample_weight, dtype=np.float64)
    if weights.ndim != 1 or weights.shape[0] != n:
        raise ValueError(f"sample_weight must have shape ({n},), got {tuple(weights.shape)}.")
    if n and not (float(weights.min()) >= 0 and math.isfinite(float(weights.sum()))):
        raise ValueError("sample_weight must be finite and non-negative.")
    return weights


def block_exponent(block, name):
    """Power of two that brings the largest magnitude near 1, or 0 where squares are safe anyway."""
    if block.shape[0] == 0 or block.shape[1] == 0:
        return _EMPTY
    largest = max(float(block.max()), -float(block.min()))
    if not math.isfinite(largest):
        raise ValueError(
            f"{name} contains NaN or infinity, or values that scaling has taken out of the range of float64: bring its "
            "columns nearer to 1 first."
        )
    if largest == 0:
        return _EMPTY
    exponent = math.frexp(largest)[1]
    return 0 if abs(exponent) <= _SAFE else max(-_FARTHEST, min(_FARTHEST, exponent))


def _power(exponent):
    """2**exponent within the range of float64; 1 for an all-zero block, where float32 could not hold the power."""
    return 1.0 if exponent == -_EMPTY else math.ldexp(1.0, max(-1000, min(1000, exponent)))


def scale_columns(array, n_features, old, new):
    """Restate columns [X | Y] held in exponent ``old`` in exponent ``new`` (exact, or underflow to 0)."""
    x, y = (math.ldexp(1.0, max(o - n, -1074)) for o, n in zip(old, new, strict=True))
    array = array * 1.0
    array[:, :n_features] *= x
    array[:, n_features:] *= y
    return array


def common_exponent(a, b):
    """The larger exponent for X and for Y, in which both statistics can be stated without overflow."""
    return max(a[0], b[0]), max(a[1], b[1])


def refuse_lost(before, after):
    """Refuse columns of X of some size that vanish, squared, beside those of a column at the end of the range."""
    lost = (before > 0) & (after < 2.0**-_VANISHING)
    if bool(lost.any()):
        raise ValueError(
            f"X has columns too far apart for one sum of squares: column {int(after.argmax())} is more than "
            f"1e{int(_VANISHING * math.log10(2))} times as large as column {int((1 * lost).argmax())}. Scale the "
            "columns first (StandardScaler), or look for values that do not belong there."
        )


def _sizes(x, backend):
    """Largest magnitude of every column, on the host."""
    return np.max(np.abs(backend.to_numpy(x)), axis=0, initial=0.0)


def same_columns(one, two):
    """Refuse to combine statistics of different shapes."""
    if (one.n_features, one.n_targets) != (two.n_features, two.n_targets):
        raise ValueError(
            f"Statistics of {one.n_features} features and {one.n_targets} targets cannot be combined with "
            f"{two.n_features} features and {two.n_targets} targets."
        )


def unscaled(solution, mean, n_features, exponent, fit_intercept):
    """Undo the power-of-two scaling of a solution (d, c); return ``coef`` (d, c) and ``intercept`` (c,)."""
    ex, ey = exponent
    coef = np.ldexp(solution, ey - ex)
    if not fit_intercept:
        return coef, np.zeros(coef.shape[1])
    return coef, np.ldexp(mean[n_features:] - mean[:n_features] @ solution, ey)


def unit_of(x):
    """Relative spacing of the numbers that a block came in."""
    return _UNITS.get(dtype_name(x), EPS)


def rank_tolerance(d):
    """Relative size below which a singular value of d columns is rounding."""
    return 8 * max(d, 32) * EPS


def column_rounding(norm, n_rows=0, unit=EPS, lost=None):
    """Return the norms that rounding may leave of columns about their mean.

    Of ``norm`` about zero, what sums over n rows and the unit of the data explain; or what removal has ``lost``.
    """
    share = max(rank_tolerance(max(len(norm), math.sqrt(n_rows))), 2 * unit)
    return np.maximum(share * norm, 0.0 if lost is None else lost)


def blurred(s, vt, norm, centred=True, lost=None):
    """Return which directions are rounding: singular values that rounding of the columns explains.

    Those that are small beside the largest singular value already are left to ``rcond``.
    """
    rounding = np.sqrt((vt**2) @ column_rounding(norm, lost=lost) ** 2)
    return (s <= rounding) & (s > rank_tolerance(len(norm)) * s[:1]) & centred


def lost_to_removal(deviation, norm):
    """Return the norm about its mean that rounding leaves of a column of these norms when rows are taken out.

    A sum of squares about the mean is a difference then, of terms that carry eps of ``deviation`` times ``norm``.
    """
    return np.sqrt(_REMOVAL * EPS * deviation * norm)


def either_lost(one, two):
    """Join what two statistics have lost to removal."""
    if one is None or two is None:
        return two if one is None else one
    return np.hypot(one, two)


def restated_lost(lost, old, new):
    """What was lost of the columns of X, held in exponent ``old``, in exponent ``new``."""
    return None if lost is None else np.ldexp(lost, old[0] - new[0])


def embedded(rows, columns, d, axis):
    """Put what was found for some columns among zeros for all d."""
    if len(columns) == d:
        return rows
    shape = list(rows.shape)
    shape[axis] = d
    whole = np.zeros(shape)
    whole[(slice(None),) * axis + (columns,)] = rows
    return whole
