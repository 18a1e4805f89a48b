"""Weights of rows and classes: checked, multiplied, and kept away from the ends of the range."""

import math
import numbers

import numpy as np
from sklearn.utils import check_array

from sklearn_analytic.io._checks import host, refuse_gaps

NO_WEIGHT = "All rows have weight 0: sample_weight and class_weight leave nothing to learn from."
_SUMMABLE = 900  # power of two up to which weights are added as they are
_MOST = 400  # power of two up to which, and down from which, the largest weight may lie
_APART = 150  # powers of two below the largest, from which on a weight is nothing but has to stay above zero


def checked_weights(sample_weight, n_rows):
    """Return weights as float64, or None; refuse wrong length, negative, non-finite or all-zero weights."""
    if sample_weight is None:
        return None
    if isinstance(sample_weight, numbers.Real):
        sample_weight = np.full(n_rows, sample_weight)
    try:
        weights = check_array(
            host(sample_weight), ensure_2d=False, dtype=np.float64, ensure_all_finite=False, ensure_min_samples=0
        )
    except (ValueError, TypeError) as error:
        raise type(error)(f"sample_weight must be None or one number per row: {error}") from error
    refuse_gaps(weights, "sample_weight")
    if weights.shape != (n_rows,):
        raise ValueError(f"sample_weight.shape == {weights.shape}, expected {(n_rows,)}: one weight per row.")
    if np.any(weights < 0):
        raise ValueError("sample_weight must be non-negative; forget() takes rows out.")
    if n_rows and not np.any(weights > 0):
        raise ValueError("All sample weights are zero: at least one row needs a positive weight.")
    return weights


def row_weights(y, class_weight, sample_weight):
    """Return sample weights times class weights, or None when both are absent.

    Each class counts with the weight of its rows: "balanced" follows repeated rows and weights alike.
    """
    if class_weight is None:
        return sample_weight
    per_class, codes = label_weights(y, class_weight, sample_weight)[1:]
    return per_class[codes] if sample_weight is None else per_class[codes] * sample_weight


def label_weights(y, class_weight, sample_weight):
    """Return the labels of rows, what each weighs, and their numbers in every row."""
    labels, codes = np.unique(y, return_inverse=True)
    if class_weight is None:
        return labels, np.ones(len(labels)), codes
    if not is_balanced(class_weight):
        return labels, given_weights(class_weight, labels), codes
    mass = np.bincount(codes, _summable(sample_weight), minlength=len(labels))
    per_class = np.divide(mass.sum(), len(labels) * mass, out=np.zeros(len(labels)), where=mass > 0)
    return labels, per_class, codes


def is_balanced(class_weight):
    """Whether class weights follow the labels; what compares element by element is no word."""
    return isinstance(class_weight, str) and class_weight == "balanced"


def _summable(weights):
    """Weights whose sum is a number: shares of classes do not mind a common power of two."""
    largest = 0.0 if weights is None or not len(weights) else float(np.max(weights))
    excess = math.frexp(largest)[1] - _SUMMABLE
    return weights if excess <= 0 else np.ldexp(weights, -excess)


def check_class_weight(class_weight, classes):
    """Refuse a dict that names what is no class while a class is left without weight, as scikit-learn does.

    Classes that it leaves out weigh 1 where all its keys are classes; where all classes have a weight, it may have
    further keys: a fold of a search may lack a rare class.
    """
    if not isinstance(class_weight, dict):
        return
    labels = classes.tolist()
    left_out = [label for label in labels if label not in class_weight]
    unknown = [key for key in class_weight if key not in labels]
    if left_out and unknown:
        raise ValueError(
            f"class_weight has the keys {unknown}, which are not among the classes {labels}, while the classes "
            f"{left_out} have no weight. Name classes as they are in y (a meta-estimator may have encoded them), or "
            "give every class a weight."
        )


def refuse_weightless(class_weight, classes, complete=True):
    """Refuse class weights that leave nothing to learn from.

    Of a stream whose classes are not ``complete``, one may come that weighs something: not where the dict names none.
    """
    if class_weight is None or is_balanced(class_weight) or np.any(given_weights(class_weight, classes) > 0):
        return
    if complete or (len(classes) > 1 and set(class_weight) <= set(classes.tolist())):
        raise ValueError(NO_WEIGHT)


def given_weights(class_weight, labels):
    """Return weights of a dict for the labels of a block; a class that it leaves out weighs 1."""
    if not isinstance(class_weight, dict):
        raise ValueError(f"class_weight must be a dict, 'balanced' or None, got {class_weight!r}.")
    values = np.array([_as_number(class_weight.get(label, 1.0)) for label in labels.tolist()])
    if not np.all(np.isfinite(values) & (values >= 0)):
        raise ValueError(f"class_weight must hold finite, non-negative numbers, got {class_weight!r}.")
    return values


def _as_number(value):
    """Return a value as a float, NaN where it is none: text that NumPy would read as a number, too."""
    try:
        return math.nan if isinstance(value, str | bytes | complex) else float(value)
    except (TypeError, ValueError, OverflowError):
        return math.nan


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
