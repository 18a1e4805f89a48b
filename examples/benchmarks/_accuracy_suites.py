"""The suites of ``accuracy.py`` and their scores: one row of a table each.

A score is a function of the fitted model, its prediction, and the test part.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from _accuracy_mixed_tables import GENERATED, table_names
from _common import is_classification
from sklearn.metrics import roc_auc_score

IMAGES = ("mnist", "fashion_mnist", "cifar10_jpeg_10k", "coil20", "orl_faces")
CLIP = 1e-15  # of probabilities in the log-loss: a wrong and certain answer costs 34.5


def accuracy(model, prediction, X_test, y_test):
    return float(np.mean(prediction == y_test))


def log_loss(model, prediction, X_test, y_test):
    """Mean clipped log-loss, or None without predict_proba.

    A test class that the training part lacks has probability 0, that is CLIP, for everyone.
    """
    if not hasattr(model, "predict_proba"):
        return None
    probability = np.asarray(model.predict_proba(X_test), np.float64)
    column = np.minimum(np.searchsorted(model.classes_, y_test), len(model.classes_) - 1)
    known = model.classes_[column] == y_test
    chosen = np.where(known, probability[np.arange(len(y_test)), column], 0.0)
    return float(-np.mean(np.log(np.clip(chosen, CLIP, 1.0))))


def auc(model, prediction, X_test, y_test):
    """Area under the ROC curve of two classes, else None."""
    if not hasattr(model, "predict_proba") or len(model.classes_) != 2:
        return None
    return float(roc_auc_score(y_test == model.classes_[1], model.predict_proba(X_test)[:, 1]))


def r2(model, prediction, X_test, y_test):
    return 1.0 - rmse_over_std(model, prediction, X_test, y_test) ** 2


def rmse_over_std(model, prediction, X_test, y_test):
    """Root mean squared error in standard deviations of the test targets.

    In float64: the squares of targets near 1e-4 are too small for float32 sums.
    """
    target = np.asarray(y_test, np.float64)
    error = np.asarray(prediction, np.float64) - target
    return float(np.sqrt(np.mean(error**2)) / target.std())


def rmse(model, prediction, X_test, y_test):
    """Root mean squared error in units of the target."""
    error = np.asarray(prediction, np.float64) - np.asarray(y_test, np.float64)
    return float(np.sqrt(np.mean(error**2)))


@dataclass(frozen=True)
class Kind:
    """What is predicted: a score that ranks (higher is better), a loss (lower), bundled sets, further measures."""

    name: str
    score: Callable
    loss: Callable
    titles: tuple
    bundled: tuple
    quick_contenders: tuple
    more: tuple = ()

    def measures(self):
        """The score and the loss, which the summary is made of."""
        return {function.__name__: function for function in (self.score, self.loss)}

    def recorded(self):
        """All that goes into a row."""
        return self.measures() | {function.__name__: function for function in self.more}

    def of(self, n_classes):
        """The kind of one set, as in :class:`Mixed`."""
        return self


CLASSIFICATION = Kind(
    name="classification",
    score=accuracy,
    loss=log_loss,
    titles=("accuracy", "log-loss"),
    bundled=("digits", "breast_cancer", "wine", "iris"),
    quick_contenders=("closed_form", "cpnet", "brmp_linear", "brmp_hidden", "mlp", "logistic"),
)
REGRESSION = Kind(
    name="regression",
    score=r2,
    loss=rmse_over_std,
    titles=("R2", "RMSE / std"),
    bundled=("diabetes",),
    quick_contenders=("closed_form", "brmp_linear", "brmp_hidden", "mlp", "ridge"),
)


@dataclass(frozen=True)
class Mixed:
    """Sets of both kinds in one suite, with the same contenders."""

    name: str
    classification: Kind
    regression: Kind
    bundled: tuple
    quick_contenders: tuple

    def of(self, n_classes):
        """The kind of a set with that many classes, 0 in regression."""
        return self.classification if n_classes else self.regression


MIXED = Mixed(
    name="mixed",
    classification=replace(CLASSIFICATION, more=(auc,)),
    regression=replace(REGRESSION, more=(rmse,)),
    bundled=GENERATED,
    quick_contenders=("ours native", "target encoder + ours", "hist_gb", "linear"),
)


@dataclass(frozen=True)
class Suite:
    """A group of data sets, its default bound on the training rows, whether X is pixels, whether it is a raw frame."""

    kind: Kind | Mixed
    train_rows: int
    pixels: bool = False
    raw: bool = False


SUITES = {
    "tabular": Suite(CLASSIFICATION, train_rows=10_000),
    "regression": Suite(REGRESSION, train_rows=10_000),
    "images": Suite(CLASSIFICATION, train_rows=0, pixels=True),
    "mixed": Suite(MIXED, train_rows=10_000, raw=True),
}


def suite_names(suite, folder):
    """The sets of one suite: images are known by name, raw tables by their folder, the rest by the type of targets."""
    if SUITES[suite].raw:
        return table_names(folder)
    return [path.stem for path in sorted(folder.glob("*.npz")) if _suite_of(path) == suite]


def _suite_of(path):
    if path.stem in IMAGES:
        return "images"
    return "tabular" if is_classification(path) else "regression"
