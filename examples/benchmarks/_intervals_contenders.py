"""The contenders of ``intervals.py``: one row of a table each.

A builder takes a :class:`Task`. What it returns has ``fit(X, y)`` and, in regression, ``ends(X)`` of one coverage; in
classification it has ``sets(X)``, of every coverage of the task. Peers are imported late, so that the absence of one is
a listed failure.
"""

import importlib
import os
from dataclasses import dataclass

# Waiting OpenMP threads sleep instead of spinning: on a shared machine, spinning makes LightGBM
# tens of times slower. It must stand before the first library that loads an OpenMP runtime.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import numpy as np
from sklearn.model_selection import KFold, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

FOLDS, SET_FOLDS = 10, 5  # of MAPIE's CV+ and of its cross-conformal sets
CALIBRATION = 0.25  # of the rows of training, where a peer splits them


@dataclass(frozen=True)
class Task:
    """What a builder may know."""

    coverages: tuple
    seed: int
    threads: int

    @property
    def coverage(self):
        """The one of a task of regression."""
        (found,) = self.coverages
        return found


def ours(name, **parameters):
    """Make an estimator of this package."""

    def builder(task):
        """The estimator of one task."""
        return getattr(importlib.import_module("sklearn_analytic"), name)(**parameters, random_state=task.seed)

    return builder


def boosted(name, **parameters):
    """Make an estimator of LightGBM."""

    def builder(task):
        """The estimator of one task."""
        make = getattr(importlib.import_module("lightgbm"), name)
        return make(**parameters, random_state=task.seed, n_jobs=task.threads, verbosity=-1)

    return builder


def scaled(builder):
    """Put a scaler in front of an estimator."""
    return lambda task: make_pipeline(StandardScaler(), builder(task))


def split_rows(X, y, seed):
    """Rows of the fit and of the calibration, by class where every class has two."""
    counts = np.unique(y, return_counts=True)[1] if y.dtype.kind in "iu" else np.zeros(1)
    stratify = y if counts.min() > 1 and len(y) * CALIBRATION >= len(counts) else None
    return train_test_split(X, y, test_size=CALIBRATION, random_state=seed, stratify=stratify)


# ------------------------------------------------------------------ intervals


class OwnIntervals:
    """``predict_interval`` of an estimator of this package."""

    def __init__(self, builder, task, scale=False):
        self.model, self.task = builder(task), task
        self.scaler = StandardScaler() if scale else None

    def fit(self, X, y):
        self.model.fit(X if self.scaler is None else self.scaler.fit_transform(X), y)

    def ends(self, X):
        X = X if self.scaler is None else self.scaler.transform(X)
        return self.model.predict_interval(X, coverage=self.task.coverage)


class CrossPlus:
    """MAPIE's CV+: one more fit for every fold."""

    def __init__(self, builder, task):
        make = importlib.import_module("mapie.regression").CrossConformalRegressor
        folds = KFold(FOLDS, shuffle=True, random_state=task.seed)
        self.model = make(builder(task), confidence_level=task.coverage, method="plus", cv=folds)

    def fit(self, X, y):
        self.model.fit_conformalize(X, y)

    def ends(self, X):
        return self.model.predict_interval(X)[1][:, :, 0]


class QuantilePair:
    """LightGBM's two quantiles, as they are; ends that cross are swapped."""

    def __init__(self, task):
        tail = (1 - task.coverage) / 2
        self.models = [boosted("LGBMRegressor", objective="quantile", alpha=a)(task) for a in (tail, 1 - tail)]

    def fit(self, X, y):
        for model in self.models:
            model.fit(X, y)

    def ends(self, X):
        return np.sort(np.column_stack([model.predict(X) for model in self.models]), axis=1)


class ConformalPair:
    """MAPIE's conformalised quantile regression on LightGBM's quantiles."""

    def __init__(self, task):
        make = importlib.import_module("mapie.regression").ConformalizedQuantileRegressor
        model = boosted("LGBMRegressor", objective="quantile", alpha=0.5)(task)
        self.model, self.task = make(model, confidence_level=task.coverage), task

    def fit(self, X, y):
        X, X_rest, y, y_rest = split_rows(X, y, self.task.seed)
        self.model.fit(X, y).conformalize(X_rest, y_rest)

    def ends(self, X):
        return self.model.predict_interval(X)[1][:, :, 0]


NETWORK, LINEAR = ours("ClosedFormMLPRegressor"), ours("BRMPRegressor", alpha="gcv")
INTERVALS = {
    "closed_form": lambda task: OwnIntervals(NETWORK, task),
    "brmp_linear": lambda task: OwnIntervals(LINEAR, task, scale=True),
    "closed_form_cv_plus": lambda task: CrossPlus(NETWORK, task),
    "brmp_linear_cv_plus": lambda task: CrossPlus(scaled(LINEAR), task),
    "lightgbm_cv_plus": lambda task: CrossPlus(boosted("LGBMRegressor"), task),
    "lightgbm_quantiles": QuantilePair,
    "lightgbm_quantiles_split": ConformalPair,
}

# ------------------------------------------------------------------ sets


class OwnSets:
    """``predict_set`` of an estimator of this package."""

    def __init__(self, builder, task, by_class=False):
        self.model, self.task, self.by_class = builder(task), task, by_class

    def fit(self, X, y):
        self.classes = self.model.fit(X, y).classes_

    def sets(self, X):
        return [self._one(X, coverage) for coverage in self.task.coverages]

    def _one(self, X, coverage):
        """Sets of one coverage; the reason, where the rows are too few for it."""
        try:
            return self.model.predict_set(X, coverage=coverage, by_class=self.by_class)
        except ValueError as error:
            return error


class PeerSets:
    """MAPIE's sets, of one split or of several folds.

    The score "aps" takes the last class by chance, as without that it covers far more than it is asked to.
    """

    def __init__(self, builder, task, score, cross=False):
        module = importlib.import_module("mapie.classification")
        own = {"cv": SET_FOLDS} if cross else {"prefit": False}
        make = module.CrossConformalClassifier if cross else module.SplitConformalClassifier
        options = {"confidence_level": list(task.coverages), "conformity_score": score, "random_state": task.seed}
        self.model, self.task, self.cross = make(builder(task), **options, **own), task, cross
        self.how = {"include_last_label": "randomized"} if score == "aps" else None

    def fit(self, X, y):
        if self.cross:
            self.classes = np.unique(y)
            self.model.fit_conformalize(X, y)
            return
        X, X_rest, y, y_rest = split_rows(X, y, self.task.seed)
        self.classes = np.unique(y)
        self.model.fit(X, y).conformalize(X_rest, y_rest)

    def sets(self, X):
        found = self.model.predict_set(X, conformity_score_params=self.how)[1]
        return list(np.moveaxis(found, 2, 0))


DEEP, SHALLOW = ours("ClosedFormMLP"), ours("CPNetClassifier")
# The default minimum hessian of a leaf (1e-3) lets boosting diverge with many classes.
BOOSTED = boosted("LGBMClassifier", min_child_weight=1.0)
SETS = {
    "closed_form": lambda task: OwnSets(DEEP, task),
    "closed_form_by_class": lambda task: OwnSets(DEEP, task, by_class=True),
    "cpnet": lambda task: OwnSets(SHALLOW, task),
    "closed_form_split_lac": lambda task: PeerSets(DEEP, task, "lac"),
    "closed_form_split_aps": lambda task: PeerSets(DEEP, task, "aps"),
    "closed_form_cross_lac": lambda task: PeerSets(DEEP, task, "lac", cross=True),
    "lightgbm_split_lac": lambda task: PeerSets(BOOSTED, task, "lac"),
    "lightgbm_split_aps": lambda task: PeerSets(BOOSTED, task, "aps"),
    "lightgbm_cross_lac": lambda task: PeerSets(BOOSTED, task, "lac", cross=True),
}
