"""What rounding alone may leave of a column about its mean: the scale on which constant columns are judged."""

import math

import numpy as np

from sklearn_analytic.backend import dtype_name

EPS = float(np.finfo(np.float64).eps)
_REMOVAL = 64  # roundings in a sum of squares from which rows are taken
_UNITS = {"float32": float(np.finfo(np.float32).eps)}  # half precision has neighbours that are measurements


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
