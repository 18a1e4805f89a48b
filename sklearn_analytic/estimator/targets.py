"""What y means to an estimator, as a value: classes, labels that a row may have several of, or numbers."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
from scipy import sparse
from sklearn.utils import check_array
from sklearn.utils.multiclass import type_of_target

from sklearn_analytic.estimator.base import beside, class_labels, regression_targets
from sklearn_analytic.estimator.weights import check_class_weight, class_weighted, is_balanced, refuse_weightless
from sklearn_analytic.export.calibration import Link, fit_link
from sklearn_analytic.export.computation import Classes, LabelSet, Numbers
from sklearn_analytic.features import target_classes, weighted_mean
from sklearn_analytic.io._checks import host

_DIGITS = 24  # binary digits of a target's level and unit


class _Targets:
    """What y means: how it is checked, coded, weighed, scored and answered; ``names`` are those of its columns."""

    @property
    def names(self):
        """Names of the columns of scores; numbers have none."""
        return None

    def published(self):
        """Return the fitted attributes that say what the columns are."""
        return {} if self.names is None else {"classes_": self.names}

    def check_weights(self, class_weight, whole=False):
        """Refuse class weights that leave nothing to learn from: there are none."""

    def check_keys(self, class_weight):
        """Refuse class weights that name what is no class: there are none."""

    def weights(self, y, class_weight, copies):
        """Return weights of rows."""
        return copies

    def coded(self, y):
        """Return y as targets are made of it: itself."""
        return y

    def bins(self, coded, targets):
        """Return classes for constructions that speak of classes: bins of the targets."""
        return target_classes(targets)

    def importance(self, audit, targets, mean):
        """Return weights of audit rows in means."""
        return audit.weights


class _Named(_Targets):
    """What classes and labels have in common: scores are in no units, and every column has a name."""

    @property
    def names(self):
        """Names of the columns of scores."""
        return self.classes

    @property
    def n_columns(self):
        """Columns of scores."""
        return len(self.classes)

    def in_units_of(self, y, weights):
        """Return the targets in units that rows which build layers have: there are none."""
        return self

    def in_units(self, coef, intercept):
        """Return a readout in the units of y."""
        return coef, intercept

    def joined(self, other):
        """Return the targets of two fits that become one."""
        if type(other) is not type(self):
            raise ValueError(f"merge needs the same labels: {self.classes.tolist()} and {other.classes.tolist()}.")
        refuse_mixed_labels(self.classes, other.classes)
        return self.with_classes(other.classes)

    def with_classes(self, labels):
        """Return the targets with classes for all of these labels; the same ones where there are no new ones."""
        union = np.union1d(self.classes, labels)
        return self if len(union) == len(self.classes) else replace(self, classes=union)

    def placed(self, names):
        """Return where columns of scores that have ``names`` belong among these: an indicator (k, C)."""
        return (names[:, None] == self.classes).astype(np.float64)

    def widened(self, statistic, old, n_scores=0):
        """Return a statistic of ``old`` targets with columns for all: no row so far belonged to the new ones.

        They come before the columns of trees' scores, of which there are ``n_scores``.
        """
        fresh, n_old = np.setdiff1d(self.classes, old.classes), len(old.classes)
        if not len(fresh):
            return statistic
        grown = statistic.add_targets(np.full(len(fresh), self.absent))
        order = np.argsort(np.concatenate([np.searchsorted(self.classes, part) for part in (old.classes, fresh)]))
        position = np.r_[0:n_old, n_old + n_scores : n_old + n_scores + len(fresh)]
        return grown.permute_targets(np.r_[position[order], n_old : n_old + n_scores])


@dataclass(frozen=True, eq=False)
class ClassTargets(_Named):
    """One class per row: coded by its index, learned as an indicator, answered as the highest score."""

    classes: np.ndarray  # (C,), sorted
    fixed: bool = False  # a label outside them is an error
    absent: float = 0.0  # the target of a class that a row is not of; that of its own is 1

    @classmethod
    def of_first(cls, y, X, given=None, absent=0.0):
        """Return the classes of rows, or those that are ``given``, and the labels of the rows."""
        y = class_labels(y, X)
        if given is None:
            return cls(np.unique(y), False, absent), y
        return cls(listed_classes(given), True, absent)._met(y), y

    def of_more(self, y, X, given=None):
        """Return the classes with those of a further block, and its labels."""
        y = class_labels(y, X)
        given = None if given is None else listed_classes(given).tolist()
        if given is not None and given != self.classes.tolist():
            raise ValueError(f"classes={given} is not the same as in the first call: {self.classes.tolist()}.")
        return self._met(y), y

    def _met(self, y):
        """These classes and those of a block; refuse labels outside classes that are fixed."""
        refuse_mixed_labels(self.classes, y)
        found = self.with_classes(y)
        if self.fixed and found is not self:
            unseen = np.setdiff1d(y, self.classes).tolist()
            raise ValueError(f"y contains labels that are not in classes {self.classes.tolist()}: {unseen}.")
        return found

    def check_weights(self, class_weight, whole=False):
        """Refuse class weights that leave nothing to learn from; in a ``whole`` fit also unknown keys and one class."""
        if whole:
            self.check_keys(class_weight)
        refuse_weightless(class_weight, self.classes, complete=whole or self.fixed)
        if whole and len(self.classes) < 2:
            raise ValueError(
                f"y contains one class, {self.classes.tolist()[0]!r}: a classifier needs at least two. "
                "In a stream, use partial_fit: further classes may appear later."
            )

    def check_keys(self, class_weight):
        """Refuse class weights that name what is no class."""
        check_class_weight(class_weight, self.classes)

    def weights(self, y, class_weight, copies):
        """Weights of rows times those of their classes."""
        return class_weighted(y, class_weight, copies)

    def coded(self, y):
        """Indices of classes; ValueError on a label that is no class."""
        return class_codes(self.classes, y)

    def matrix(self, coded):
        """Targets (n, C): 1 for the class of a row."""
        return np.eye(len(self.classes))[coded] * (1 - self.absent) + self.absent

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


@dataclass(frozen=True, eq=False)
class LabelTargets(_Named):
    """Labels of which a row may have any: y is their 0/1 matrix, and each is answered by itself."""

    classes: np.ndarray  # (L,), their numbers
    fixed = True  # no label comes later

    @classmethod
    def of_first(cls, y, X):
        """Return the labels, and their matrix as float64."""
        y = y.toarray() if sparse.issparse(y) else y
        y = np.asarray(regression_targets(np.asarray(y, dtype=np.float64), X)[0])
        return cls(np.arange(y.shape[1])), y

    def of_more(self, y, X, given=None):
        """Return the same labels, and the matrix of further rows."""
        found, y = self.of_first(y, X)
        if len(found.classes) != len(self.classes):
            raise ValueError(f"y has shape {y.shape}, but the first call had {len(self.classes)} classes or labels.")
        return self, y

    def check_weights(self, class_weight, whole=False):
        """Labels need no second class, and have no one class per row that could weigh it."""
        if class_weight is not None:
            raise ValueError("class_weight needs one label per row; weigh rows of a multilabel y by sample_weight.")

    def matrix(self, coded):
        """The matrix itself."""
        return np.asarray(coded)

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


@dataclass(frozen=True, eq=False)
class NumberTargets(_Targets):
    """Numbers, one or several per row, learned about a level and in a unit where they have been given these."""

    n_columns: int
    one_dimensional: bool  # y came as a vector
    level: np.ndarray | None = None  # (c,); None where they are learned as they are
    unit: np.ndarray | None = None  # (c,)
    fixed = True  # no target comes later

    @classmethod
    def of_first(cls, y, X):
        """Return the targets and y as a matrix, its values as they are: blocks check them."""
        y, one_dimensional = regression_targets(y, X)
        return cls(y.shape[1], one_dimensional), y

    def of_more(self, y, X, given=None):
        """Return the same targets, and further rows of them."""
        y, _ = regression_targets(y, X)
        if y.shape[1] != self.n_columns:
            raise ValueError(f"y has {y.shape[1]} targets, but the first call had {self.n_columns}.")
        return self, y

    def in_units_of(self, y, weights):
        """Return the targets about the mean and in the deviation of rows that build layers."""
        level, unit = _units(y, weights)
        return replace(self, level=level + 0 * unit, unit=unit)

    def in_units(self, coef, intercept):
        """Return a readout in the units of y."""
        return (coef, intercept) if self.unit is None else (coef * self.unit, intercept * self.unit + self.level)

    @property
    def units(self):
        """Unit and level (c,) of the targets."""
        plain = np.ones(self.n_columns), np.zeros(self.n_columns)
        return plain if self.unit is None else (self.unit, self.level + 0 * self.unit)

    def joined(self, other):
        """Return the targets of two fits that become one."""
        if self.n_columns != other.n_columns:
            raise ValueError(f"merge needs {self.n_columns} targets, other has {other.n_columns}.")
        return self

    def widened(self, statistic, old, n_scores=0):
        """Return the statistic: no target comes later."""
        return statistic

    def placed(self, names):
        """Return where columns of scores belong among the targets: in their order."""
        return np.eye(self.n_columns)

    def matrix(self, coded):
        """Targets about their level, in their unit."""
        return coded if self.unit is None else (np.asarray(coded) - self.level) / self.unit

    def link(self, loo, targets, weights):
        """Predictions need no calibration."""

    def score(self, loo, targets, weights):
        """Leave-one-out R2, the mean over targets."""
        spread = np.average((targets - np.average(targets, axis=0, weights=weights)) ** 2, axis=0, weights=weights)
        missed = np.average((targets - loo) ** 2, axis=0, weights=weights)
        explained = 1 - np.divide(missed, spread, out=np.zeros_like(missed), where=spread > 0)
        return float(np.mean(np.where(spread > 0, explained, missed <= 0)))

    def head(self, link):
        """What an export says of outputs."""
        return Numbers(self.one_dimensional)

    def in_shape(self, predictions):
        """Return predictions (n, c) in the shape of y."""
        return predictions[:, 0] if self.one_dimensional else predictions


def is_multilabel(y):
    """Whether y is a matrix of labels; several multi-class outputs are refused."""
    y = y if y is None or sparse.issparse(y) else np.asarray(host(y))
    if y is None or y.ndim < 2 or y.shape[1] < 2:
        return False
    kind = type_of_target(y if sparse.issparse(y) else check_array(y, dtype=None, input_name="y"))
    if kind == "multiclass-multioutput":
        raise ValueError(
            "y has several multi-class outputs: fit one classifier per output, as MultiOutputClassifier of "
            "scikit-learn does."
        )
    return kind == "multilabel-indicator"


def _two_sided(score):
    """Scores of "no" and "yes" of one label."""
    return np.column_stack([1 - score, score])


def _units(y, weights):
    """Mean and deviation of every target; the deviation is 1 where it is constant, and the mean its value."""
    used = y if weights is None else y[weights > 0]
    weights = np.ones(len(used)) if weights is None else weights[weights > 0]
    size = np.max(np.abs(used), axis=0, initial=0.0)
    size = np.where(size > 0, size, 1.0)  # squares of 1e200 are no numbers
    mean = weighted_mean(used / size, weights)
    deviation = np.sqrt(weighted_mean((used / size - mean) ** 2, weights))
    # Few digits of both: how weights are written, which decides the last one, must not decide splits of trees.
    unit = np.where(deviation > 1e-12, deviation, 1.0)
    unit = np.ldexp(np.round(np.ldexp(unit, _DIGITS - np.frexp(unit)[1])), np.frexp(unit)[1] - _DIGITS)
    mean = np.round(mean / unit * 2.0**_DIGITS) / 2.0**_DIGITS * unit
    constant = np.all(used == used[:1], axis=0)
    return np.where(constant, used[0], mean * size), unit * size


def listed_classes(classes):
    """Return given classes sorted and once each: any collection of labels of one type, a set too."""
    if isinstance(classes, str | bytes) or not isinstance(classes, Iterable):
        raise ValueError(f"classes must be a collection of labels, got {classes!r}.")
    labels = list(host(classes))
    text = [isinstance(label, str) for label in labels]
    if len(set(text)) > 1 or any(np.ndim(label) or label is None or label != label for label in labels):
        raise ValueError(f"classes must be labels of one type, numbers or strings without gaps, got {labels!r}.")
    if not labels:
        raise ValueError("classes is empty: it names all labels that may appear.")
    return np.unique(np.asarray(labels))


def class_codes(classes, y):
    """Return the index in sorted ``classes`` of every label; ValueError on a label that is no class."""
    codes = np.minimum(np.searchsorted(classes, y), len(classes) - 1)
    unseen = classes[codes] != y
    if np.any(unseen):
        found = np.unique(y[unseen]).tolist()
        raise ValueError(f"y contains labels that are not in classes {classes.tolist()}: {found}.")
    return codes


def refuse_mixed_labels(classes, y):
    """Numbers and strings have no common order."""
    if (classes.dtype.kind in "biuf") != (y.dtype.kind in "biuf"):
        raise ValueError(
            f"y has labels such as {y.tolist()[0]!r}, but the classes so far are {classes.tolist()}: "
            "numbers and strings cannot be mixed."
        )


def refuse_balanced(class_weight, method):
    """Balanced weights follow all labels, which no single block knows."""
    if is_balanced(class_weight):
        raise ValueError(
            f"class_weight='balanced' is not supported in {method}: a block does not know the balance of "
            "all classes. Pass class_weight as a dict, or sample_weight."
        )
