"""What both parts of one_statistic.py share: estimators, data, clocks, and what is compared."""

import time
from contextlib import contextmanager
from dataclasses import fields, is_dataclass

import numpy as np
from _common import load

from sklearn_analytic import BRMPClassifier, BRMPRegressor, ClosedFormMLP, ClosedFormMLPRegressor, CPNetClassifier

SMALL = {"hidden_layer_sizes": 20, "n_refits": 0}  # in quick mode
LINEAR = {"alpha": "gcv", "solver": "qr"}  # the solver of a stream, in whole fits as well


def contenders(quick, regression=False):
    """{name: a function of a seed and further parameters} of the estimators."""
    network = SMALL if quick else {}

    def of(kind, seeded, fixed):
        """A maker of one estimator."""
        return lambda seed, **more: kind(**fixed, **({"random_state": seed} if seeded else {}), **more)

    if regression:
        known = {"ClosedFormMLPRegressor": (ClosedFormMLPRegressor, True, network)}
        known["BRMPRegressor"] = (BRMPRegressor, False, LINEAR)
    else:
        cpnet = {"hidden_layer_sizes": 20} if quick else {}
        known = {"ClosedFormMLP": (ClosedFormMLP, True, network), "CPNetClassifier": (CPNetClassifier, True, cpnet)}
        known["BRMPClassifier"] = (BRMPClassifier, False, LINEAR)
    return {name: of(*how) for name, how in known.items()}


def rotated(found, number):
    """A dictionary that begins elsewhere: no contender is always the first of a set."""
    names = list(found)
    cut = number % len(names)
    return {name: found[name] for name in names[cut:] + names[:cut]}


def rows_of(name, folder, seed, most):
    """Training and test rows of a set in float64, the training ones in a seeded order and at most so many."""
    X, X_test, y, y_test = load(name, folder, seed)
    order = np.random.default_rng(seed).permutation(len(X))[:most]
    tested = np.random.default_rng(seed + 1).permutation(len(X_test))[:most]
    as_rows = [np.ascontiguousarray(part, dtype=np.float64) for part in (X[order], X_test[tested])]
    return as_rows[0], as_rows[1], y[order], y_test[tested]


@contextmanager
def clocked():
    """Seconds and processor seconds of a block, in a list that is filled at its end."""
    found, start = [], (time.perf_counter(), time.process_time())
    yield found
    found += [time.perf_counter() - start[0], time.process_time() - start[1]]


def statistic_of(model):
    """The sums of a model, without what stands beside them."""
    found = model._learned.statistic
    return getattr(found, "statistic", found)


def bytes_of(value):
    """Bytes of the arrays of a statistic, or of one for every class."""
    if isinstance(value, np.ndarray):
        return value.nbytes
    if isinstance(value, tuple):
        return sum(map(bytes_of, value))
    return sum(bytes_of(getattr(value, field.name)) for field in fields(value)) if is_dataclass(value) else 0


def answers(model, X):
    """Scores of a classifier, predictions of a regressor."""
    return model.decision_function(X) if hasattr(model, "decision_function") else model.predict(X)


def difference(found, expected):
    """The largest difference relative to the largest entry."""
    return float(np.max(np.abs(found - expected)) / np.max(np.abs(expected)))
