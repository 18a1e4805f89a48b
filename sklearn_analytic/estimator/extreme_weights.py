"""Weights near the ends of the range: products and sums of two of them have to be numbers."""

import numpy as np

from sklearn_analytic.estimator.base import NO_WEIGHT, row_weights

_MOST = 400  # power of two up to which, and down from which, the largest weight may lie
_APART = 150  # powers of two below the largest, from which on a weight is nothing but has to stay above zero


def refuse_extreme_weights(weights):
    """Refuse weights of which no scale can be changed without changing the fit; return them."""
    exponent = _exponent(weights)
    if abs(exponent) > _MOST:
        raise ValueError(
            f"sample_weight times class_weight reaches {_largest(weights):.0e}: sums of such weights leave the range "
            f"of float64. Divide them by a common factor, so that the largest lies between 2**-{_MOST} and 2**{_MOST}; "
            "a ridge alpha means the same when it is divided as well."
        )
    return weights


def class_weighted(y, class_weight, weights):
    """Return weights times those of the classes; what leaves the range on the way is refused, too."""
    with np.errstate(over="ignore"):
        return refuse_extreme_weights(row_weights(y, class_weight, weights))


def finite_class_weighted(y, class_weight, weights):
    """Return weights times those of the classes, which may be of any size that is a number."""
    with np.errstate(over="ignore", invalid="ignore"):
        found = row_weights(y, class_weight, weights)
    return found if found is None or np.isfinite(found).all() else refuse_extreme_weights(found)


def refuse_no_weight(weights):
    """Refuse weights none of which is positive; return them."""
    if weights is not None and not np.any(weights > 0):
        raise ValueError(NO_WEIGHT)
    return weights


def weighs_nothing(weights, begun):
    """Whether no row has weight: further rows then change nothing, and the first leave nothing to learn from."""
    if not begun:
        refuse_no_weight(weights)
    return weights is not None and not np.any(weights > 0)


def weights_in_range(weights):
    """Return weights of a whole fit that a common factor does not change, in range by an exact power of two."""
    exponent = _exponent(weights)
    excess = exponent - np.clip(exponent, -_MOST, _MOST)
    return weights if excess == 0 else np.ldexp(weights, -excess)


def none_vanishing(weights):
    """Return weights with those that vanish beside the largest at a share that is nothing, but no zero."""
    if weights is None:
        return None
    least = _largest(weights) * 2.0**-_APART
    light = (weights > 0) & (weights < least)
    return np.where(light, least, weights) if np.any(light) else weights


def _largest(weights):
    """The largest weight, 1 where there are none."""
    return 1.0 if weights is None or not len(weights) else float(np.max(weights))


def _exponent(weights):
    """Power of two near the largest weight; beyond the range for infinity."""
    largest = _largest(weights)
    return 0 if largest == 0 else int(np.frexp(largest)[1]) if np.isfinite(largest) else 2000
