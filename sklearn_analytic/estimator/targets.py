"""What y means to a closed-form classifier, as a value: classes, or labels that a row may have several of."""

from dataclasses import dataclass

import numpy as np

from sklearn_analytic.estimator.base import beside
from sklearn_analytic.estimator.extreme_weights import class_weighted
from sklearn_analytic.export.calibration import Link, fit_link
from sklearn_analytic.export.computation import Classes, LabelSet
from sklearn_analytic.features import target_classes
from sklearn_analytic.io._passes import host


@dataclass(frozen=True)
class ClassTargets:
    """One class per row: coded by its index, learned as an indicator, answered as the highest score."""

    classes: np.ndarray  # (C,), sorted

    def weights(self, y, class_weight, copies):
        """Weights of rows times those of their classes."""
        return class_weighted(y, class_weight, copies)

    def coded(self, y):
        """Indices of classes."""
        return np.searchsorted(self.classes, y)

    def matrix(self, coded):
        """Indicators (n, C)."""
        return np.eye(len(self.classes))[coded]

    def bins(self, coded, targets):
        """Classes for constructions that speak of classes."""
        return coded

    def importance(self, audit, targets, mean):
        """Weights of audit rows in means: every class counts as in all rows."""
        return audit.importance(targets, mean)

    def link(self, loo, targets, weights):
        """The calibration of leave-one-out scores."""
        return fit_link(loo, np.argmax(targets, axis=1), weights)

    def score(self, loo, targets, weights):
        """Leave-one-out accuracy."""
        return float(np.average(np.argmax(loo, axis=1) == np.argmax(targets, axis=1), weights=weights))

    def head(self, link):
        """What an export says of scores."""
        return Classes(self.classes, link)

    def decision(self, scores):
        """Scores as scikit-learn wants them."""
        return scores[:, 1] - scores[:, 0] if len(self.classes) == 2 else scores

    def labels(self, scores):
        """The class of the highest score."""
        return self.classes[np.argmax(host(scores), axis=1)]

    def probabilities(self, scores, link):
        """Calibrated probabilities, on the device of the scores."""
        return beside(link.probabilities(host(scores)), scores)

    def log_probabilities(self, scores, link):
        """Their logarithms, all finite."""
        return beside(link.log_probabilities(host(scores)), scores)


@dataclass(frozen=True)
class LabelTargets:
    """Labels of which a row may have any: y is their 0/1 matrix, and each is answered by itself."""

    classes: np.ndarray  # (L,), their numbers

    def weights(self, y, class_weight, copies):
        """Rows have no one class that could weigh them."""
        return copies

    def coded(self, y):
        """The matrix is its own code."""
        return y

    def matrix(self, coded):
        """The matrix itself."""
        return np.asarray(coded)

    def bins(self, coded, targets):
        """Sets of labels, for constructions that speak of classes."""
        return target_classes(targets)

    def importance(self, audit, targets, mean):
        """Weights of audit rows as they are."""
        return audit.weights

    def link(self, loo, targets, weights):
        """The calibration of every label."""
        pairs = zip(loo.T, targets.T, strict=True)
        return [fit_link(_two_sided(score), (label > 0.5).astype(int), weights) for score, label in pairs]

    def score(self, loo, targets, weights):
        """Share of rows whose labels are all right."""
        return float(np.average(np.all((loo > 0.5) == (targets > 0.5), axis=1), weights=weights))

    def head(self, link):
        """What an export says of scores."""
        return LabelSet(tuple(link))

    def decision(self, scores):
        """The excess over one half."""
        return scores - 0.5

    def labels(self, scores):
        """The labels above one half."""
        return (host(scores) > 0.5).astype(np.int64)

    def probabilities(self, scores, link):
        """The probability of every label."""
        return self._read(scores, link, Link.probabilities)

    def log_probabilities(self, scores, link):
        """Its logarithm."""
        return self._read(scores, link, Link.log_probabilities)

    def _read(self, scores, link, read):
        """What ``read`` finds by the link of every label."""
        columns = [read(one, _two_sided(s))[:, 1] for one, s in zip(link, host(scores).T, strict=True)]
        return beside(np.column_stack(columns), scores)


def _two_sided(score):
    """Scores of "no" and "yes" of one label."""
    return np.column_stack([1 - score, score])
