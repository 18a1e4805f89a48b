"""What ``intervals.py`` measures of intervals and of sets, and the equality with refits."""

import time
from dataclasses import replace

import numpy as np
from sklearn.model_selection import LeaveOneOut
from sklearn.preprocessing import StandardScaler

from sklearn_analytic import BRMPRegressor

TEST_ROWS_OF_A_CLASS = 20  # below that the coverage of a class is not told
EQUAL_ROWS = 400  # of training, each of which is left out in a fit of its own
ROUNDING = 1e-6  # deviations by which an end may miss a target that it is
ALPHA = 1.0  # of the ridge that is refitted


def timed(function, *arguments):
    """What a call returns, its wall seconds and its processor seconds."""
    wall, processor = time.perf_counter(), time.process_time()
    value = function(*arguments)
    return value, time.perf_counter() - wall, time.process_time() - processor


def of_intervals(ends, y, size, coverage):
    """Coverage, in all and by thirds of the size of a row, width and interval score."""
    lower, upper = np.asarray(ends, np.float64).T
    inside = (lower - ROUNDING <= y) & (y <= upper + ROUNDING)
    missed = np.maximum(lower - y, 0) + np.maximum(y - upper, 0)
    thirds = np.array_split(inside[np.argsort(size, kind="stable")], 3)
    return {
        "coverage": float(inside.mean()),
        "coverage_by_size": [float(third.mean()) for third in thirds],
        "width": float(np.mean(upper - lower)),
        "interval_score": float(np.mean(upper - lower + 2 / (1 - coverage) * missed)),
    }


def sizes(X, X_test):
    """Distances of the rows of the test from the mean of the training rows, in their deviations."""
    scaler = StandardScaler().fit(np.asarray(X, np.float64))
    return np.linalg.norm(scaler.transform(np.asarray(X_test, np.float64)), axis=1)


def of_sets(found, classes, y):
    """Coverage, in all and by class, mean size, and shares of the sets of one class and of none.

    A class of the test that the rows of the fit lack is in no set.
    """
    column = np.minimum(np.searchsorted(classes, y), len(classes) - 1)
    inside = found[np.arange(len(y)), column] & (classes[column] == y)
    many = [label for label in np.unique(y) if np.sum(y == label) >= TEST_ROWS_OF_A_CLASS]
    by_class = [float(inside[y == label].mean()) for label in many]
    n_in_set = found.sum(axis=1)
    return {
        "coverage": float(inside.mean()),
        "worst_class": min(by_class, default=None),
        "mean_class": float(np.mean(by_class)) if by_class else None,
        "size": float(n_in_set.mean()),
        "singletons": float(np.mean(n_in_set == 1)),
        "empty": float(np.mean(n_in_set == 0)),
    }


# ------------------------------------------------------------------ the same intervals by refits


class OneScale(BRMPRegressor):
    """Residuals of one scale for all rows, as the jackknife+ has them."""

    def _new_jackknife(self):
        """Leave the estimator no scales to choose from."""
        found = super()._new_jackknife()
        return replace(found, scales=tuple(scales[:1] for scales in found.scales))


def equal_fits(split, coverage):
    """Largest difference of the ends in closed form to those of one refit for each row, and the seconds of both."""
    from mapie.regression import CrossConformalRegressor

    X, X_test, y, y_test = split
    X, y = np.asarray(X[:EQUAL_ROWS], np.float64), y[:EQUAL_ROWS]
    scaler = StandardScaler().fit(X)
    X, X_test = scaler.transform(X), scaler.transform(np.asarray(X_test, np.float64))
    own = OneScale(alpha=ALPHA)
    _, _, fit = timed(own.fit, X, y)
    ends, _, closed_form = timed(own.predict_interval, X_test, coverage)
    options = {"confidence_level": coverage, "method": "plus", "cv": LeaveOneOut()}
    peer = CrossConformalRegressor(BRMPRegressor(alpha=ALPHA), **options)
    _, _, refits = timed(peer.fit_conformalize, X, y)
    found, _, answer = timed(peer.predict_interval, X_test)
    return {
        "n_train": len(y),
        "n_test": len(y_test),
        "largest_difference": float(np.max(np.abs(ends - found[1][:, :, 0]))),
        "mean_width": float(np.mean(ends[:, 1] - ends[:, 0])),
        "fit_cpu_seconds": fit,
        "closed_form_cpu_seconds": closed_form,
        "refits_cpu_seconds": max(refits - fit, 0.0) + answer,
    }
