"""Weights of classes at the solve: balance in streams, and other priors without data, from one statistic per class."""

import logging
from copy import copy
from dataclasses import replace
from pathlib import Path

import numpy as np
from sklearn.utils.validation import check_is_fitted

from sklearn_analytic.backend._warn_user import warn_user
from sklearn_analytic.estimator.targets import ClassTargets
from sklearn_analytic.estimator.weights import given_weights, is_balanced
from sklearn_analytic.linalg import ClassSums

_LOGGER = logging.getLogger("sklearn_analytic")
_SUM = 1e-6  # by which priors may miss 1
_LARGE = 1 << 30  # bytes that deserve a warning


def class_sums_of(learned):
    """Return the statistics of the classes, or None where there is one for all."""
    sums = getattr(learned.statistic, "statistic", learned.statistic)
    return sums if isinstance(sums, ClassSums) else None


def class_factors(sums, targets, class_weight, priors):
    """Return what the rows of every class are multiplied by (C,)."""
    masses = sums.masses
    came = masses > 0
    if priors is not None:
        shares = _priors_of_all(priors, targets.classes)
    elif is_balanced(class_weight):
        shares = came / np.sum(came)
        if not np.all(came):
            _warn_of_absent(targets.classes[~came])
    else:
        return np.ones(len(masses)) if class_weight is None else given_weights(class_weight, targets.classes)
    return np.divide(shares * masses.sum(), masses, out=np.zeros(len(masses)), where=came)


def check_priors(priors, classes, masses):
    """Return priors as an array in the order of the classes, refused where they are none."""
    if isinstance(priors, dict):
        labels = classes.tolist()
        unknown, lacking = [key for key in priors if key not in labels], [key for key in labels if key not in priors]
        if unknown or lacking:
            raise ValueError(f"priors must have one number for each of the classes {labels}, got {priors!r}.")
        priors = [priors[label] for label in labels]
    try:
        found = np.asarray(priors, dtype=np.float64)
    except (TypeError, ValueError):
        found = np.zeros(0)
    if found.shape != classes.shape or not np.all(np.isfinite(found) & (found > 0)):
        raise ValueError(
            f"priors must be {len(classes)} positive numbers, one for each of the classes {classes.tolist()}, got "
            f"{priors!r}."
        )
    if abs(found.sum() - 1) > _SUM:
        raise ValueError(f"priors must sum to one, got {priors!r}, which sum to {found.sum():.6g}.")
    if not np.all(masses > 0):
        raise ValueError(
            f"No row of the classes {classes[masses == 0].tolist()} has come, so that no prior can weigh them."
        )
    return found / found.sum()


def check_memory(n_classes, n_columns):
    """Say what one statistic per class takes before it is taken, and refuse what there is not."""
    n_bytes, free = 8 * n_classes * n_columns**2, _free_memory()
    text = f"class_statistics=True keeps {n_classes} square matrices of {n_columns} columns: {n_bytes / 2**20:.0f} MiB"
    if free is not None and n_bytes > free:
        raise MemoryError(f"{text}, and {free / 2**20:.0f} MiB are free. Use fewer hidden units or a dict of weights.")
    _LOGGER.log(logging.WARNING if n_bytes > _LARGE else logging.INFO, "%s.", text)


def with_priors(self, priors):
    """Return an estimator that is solved for other shares of the classes, without data.

    The readout is that of all rows so far, those of a class weighed so that they have its prior, on the same
    layers; ridge, blend and calibration are chosen anew. Needs ``class_statistics=True``.

    Parameters
    ----------
    priors : dict of label to float, or array-like of shape (n_classes,)
        Positive shares of all classes (in the order of ``classes_``), which sum to one. They stay for rows that
        are added later, and come before ``class_weight``.

    Returns
    -------
    estimator : object
        A fitted one of the same parameters; this one is left as it is.

    Raises
    ------
    ValueError
        If the priors are none, no row of a class has come, or there is no statistic for each class.

    Examples
    --------
    >>> from sklearn.datasets import load_breast_cancer
    >>> from sklearn_analytic import CPNetClassifier
    >>> X, y = load_breast_cancer(return_X_y=True)
    >>> model = CPNetClassifier(50, class_statistics=True, random_state=0).fit(X, y)
    >>> rare = model.with_priors({0: 0.01, 1: 0.99})
    >>> bool(rare.predict_proba(X)[:, 0].mean() < model.predict_proba(X)[:, 0].mean())
    True
    """
    check_is_fitted(self)
    sums = class_sums_of(self._learned)
    if sums is None:
        raise ValueError(
            f"with_priors needs one statistic per class: fit {type(self).__name__} with class_statistics=True."
        )
    found = check_priors(priors, self._learned.targets.classes, sums.masses)
    other, method = copy(self), self._checked_method()
    return other._keep(method, replace(self._learned, priors=found))


def refuse_unbalanced(method, verb):
    """Refuse balance of what comes block by block where there is no statistic for each class to wait for it."""
    if is_balanced(method.class_weight) and not method.class_statistics:
        raise ValueError(
            f"class_weight='balanced' in {verb} needs class_statistics=True: a block does not know the balance of all "
            "classes, and one statistic per class is weighed once it is known. It takes 8 bytes times the classes "
            "times the square of the readout's inputs. Or pass class_weight as a dict, or sample_weight."
        )


def refuse_other_sums(method, *parts):
    """Refuse sums that were begun with another ``class_statistics`` than there is now."""
    for learned in parts:
        begun = learned.statistic is not None
        if begun and (class_sums_of(learned) is not None) != bool(method.class_statistics):
            raise ValueError(
                f"class_statistics={method.class_statistics}, but rows were summed with "
                f"class_statistics={not method.class_statistics}: set it back, or fit anew."
            )


def refuse_other_priors(one, two):
    """Refuse to join fits that were given different shares of the classes."""
    if one is two or (one is not None and two is not None and np.array_equal(one, two)):
        return
    raise ValueError("merge needs the same priors in both estimators: merge first, and call with_priors on the whole.")


def check_class_statistics(method, targets):
    """Refuse one statistic per class of what has no classes."""
    if method.class_statistics and not isinstance(targets, ClassTargets):
        raise ValueError("class_statistics=True needs one class per row; y is a matrix of labels.")


def _priors_of_all(priors, classes):
    """Priors, refused where a class has come since."""
    if len(priors) != len(classes):
        raise ValueError(
            f"A class has come for which with_priors had no share; the classes are {classes.tolist()} now. Add its "
            "rows to the estimator that with_priors was called on, and call it again."
        )
    return priors


def _warn_of_absent(classes):
    """Say that balance is that of the classes which have come."""
    warn_user(f"No row of the classes {classes.tolist()} has come yet: class_weight='balanced' balances the others.")


def _free_memory():
    """Bytes that are free on the host, or None where nobody can tell."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        return next(1024 * int(line.split()[1]) for line in lines if line.startswith("MemAvailable:"))
    except (OSError, ValueError, StopIteration):
        return None
