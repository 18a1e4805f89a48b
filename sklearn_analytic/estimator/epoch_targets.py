"""What y means to a network trained by steps, as a value: classes by their codes, or numbers in units of deviations."""

import math
from dataclasses import dataclass, replace

import numpy as np
from scipy.optimize import minimize_scalar
from sklearn.metrics import accuracy_score

from sklearn_analytic.backend import backend_for
from sklearn_analytic.estimator.base import beside, class_labels, finite_targets, in_dtype_of
from sklearn_analytic.estimator.epoch_rows import narrowed, relative, weighing_rows
from sklearn_analytic.estimator.late_scales import followed_targets
from sklearn_analytic.estimator.readout_blend import blend_of_numbers, blend_of_scores, slope_of_ridge
from sklearn_analytic.estimator.targets import class_codes, listed_classes, refuse_mixed_labels
from sklearn_analytic.estimator.weights import (
    check_class_weight,
    checked_weights,
    finite_class_weighted,
    refuse_no_weight,
    weights_in_range,
)
from sklearn_analytic.export.calibration import log_outputs
from sklearn_analytic.export.computation import Classes, Numbers, Rule
from sklearn_analytic.io._checks import host
from sklearn_analytic.nn import Rows
from sklearn_analytic.nn._losses import mean_loss

_TEMPERATURES = (-2.0, 3.0)  # bounds of the logarithm
_DOUBT = 5.0  # what (log T)^2 costs, in units of one row's log-loss: few held-out rows say little
_FLAT = 1e-14  # a target that varies less than this share of its size is rounding


@dataclass(frozen=True, eq=False)
class NetworkClasses:
    """One class per row: coded by its index, an output for each."""

    classes: np.ndarray  # (C,), sorted
    output: str  # the rule by which outputs are trained, one of ``class_outputs()``
    link: str  # the rule by which they are read
    temperature: float = 1.0  # of this fit alone

    # ---- from y ----

    @classmethod
    def of_rows(cls, method, X, y, sample_weight, before=None):
        """Return classes, rows, labels and weights of a fit; rows that weigh nothing name their class, and go."""
        targets, y, weights = cls.of_source(method, X, y, sample_weight, before)
        X, y, weights = weighing_rows(X, y, weights)
        return targets, X, y, relative(weights)

    @classmethod
    def of_source(cls, method, X, y, sample_weight, before=None):
        """Return classes, labels and weights of all rows, of which a common factor counts for nothing.

        Going on keeps the classes of ``before``.
        """
        y = class_labels(y, X)
        weights = weights_in_range(checked_weights(sample_weight, X.shape[0]))
        weights = refuse_no_weight(finite_class_weighted(y, method.class_weight, weights))
        targets = cls._fresh(method, np.unique(y) if before is None else before.classes)
        check_class_weight(method.class_weight, targets.classes)
        if len(targets.classes) < 2:
            raise ValueError(
                f"y contains one class, {targets.classes.tolist()[0]!r}: a classifier needs at least two. "
                "In a stream, name them all in partial_fit(..., classes=...)."
            )
        return targets, y, weights

    @classmethod
    def of_block(cls, method, X, y, sample_weight, classes=None, before=None):
        """Return classes, rows, labels and weights of a block of a stream, whose first call names all classes."""
        y = class_labels(y, X)
        weights = finite_class_weighted(y, method.class_weight, checked_weights(sample_weight, X.shape[0]))
        X, y, weights = weighing_rows(X, y, weights)
        if before is None and classes is None:
            raise ValueError("classes must be passed on the first call to partial_fit: all labels that may appear.")
        found = before.classes if classes is None else listed_classes(classes)
        if before is not None and not np.array_equal(found, before.classes):
            raise ValueError(
                f"classes={found.tolist()} is not the same as in the first call: {before.classes.tolist()}."
            )
        if len(found) < 2:
            raise ValueError(f"classes={found.tolist()} has one class: a classifier needs at least two.")
        check_class_weight(method.class_weight, found)
        return cls._fresh(method, found), X, y, weights

    @classmethod
    def _fresh(cls, method, classes):
        """Classes that nothing has been learned of."""
        return cls(classes, method.output, method.output)

    def read(self, y, X):
        """Return the labels of validation rows."""
        return class_labels(y, X)

    def coded(self, y, dtype):
        """Return class indices; an unknown label is an error."""
        refuse_mixed_labels(self.classes, y)
        return class_codes(self.classes, y)

    # ---- to outputs ----

    @property
    def n_outputs(self):
        """One output per class."""
        return len(self.classes)

    def published(self):
        """Return the fitted attributes that say what outputs are."""
        return {"classes_": self.classes, "temperature_": self.temperature}

    def read_by(self, link):
        """Return the classes with outputs that are read by another rule; None is that by which they were trained."""
        return replace(self, link=link or self.output)

    def score(self, outputs, y, weight):
        """Return the accuracy."""
        return float(accuracy_score(y, outputs.argmax(axis=1), sample_weight=weight))

    def calibrated(self, outputs, y, weight):
        """Return the classes with a temperature of least log-loss on held-out rows, drawn towards 1.

        It changes no prediction.
        """
        rows, scores = Rows(outputs, y, weight), log_outputs(outputs.astype(np.float64), self.link)

        def cost(t):
            return len(y) * mean_loss(scores / np.exp(t), rows, "softmax") + _DOUBT * t * t

        found = minimize_scalar(cost, bounds=_TEMPERATURES, method="bounded")
        return replace(self, temperature=float(np.exp(found.x)))

    def read_linearly(self, ridge, y, weight):
        """Return the classes with the scores of a ridge readout, calibrated on rows that it was left without."""
        return replace(self, link="softmax", temperature=1 / slope_of_ridge(ridge, y, weight))

    def blended(self, outputs, ridge, y, weight):
        """Return weights of outputs and of ridge scores in a blend of both, and the classes with it."""
        weights, temperature = blend_of_scores(outputs, ridge, y, weight, self.output)
        return weights, replace(self, link="softmax", temperature=temperature)

    @property
    def out_activation(self):
        """What outputs go through: the name of a rule, "linear" for none."""
        return self.link

    @property
    def reader(self):
        """What makes probabilities of outputs."""
        return Rule(self.link, self.temperature)

    def head(self):
        """Return what an export says of outputs: classes, and how their probabilities are read."""
        return Classes(self.classes, self.reader)

    def in_units(self, coef, intercept):
        """Return a last layer as it is: outputs are in no units."""
        return coef, intercept

    def predicted(self, outputs):
        """Return the most probable class of every row."""
        return self.classes[host(outputs).argmax(axis=1)]

    def probabilities(self, outputs, reader=None):
        """Return the probabilities of outputs, as they or others are read.

        What is too small for the dtype is its smallest number, which has a logarithm.
        """
        scores = host(outputs)
        found = (reader or self.reader).probabilities(scores)
        return beside(np.maximum(found, np.finfo(found.dtype).tiny), outputs)

    def log_probabilities(self, outputs):
        """Return the logarithms of probabilities, all finite."""
        scores = host(outputs)
        found = self.reader.log_probabilities(scores)
        return beside(np.maximum(found, np.finfo(found.dtype).min), outputs)


@dataclass(frozen=True, eq=False)
class NetworkNumbers:
    """Numbers, one or several per row: standardised for training, in their own units outside.

    A constant has the scale 0. The few rows in which it begins to move may be one: see ``late_scales``.
    """

    mean: np.ndarray  # (c,)
    scale: np.ndarray  # (c,)
    rows: np.ndarray  # (c,), behind the scale: none for a constant
    one_dimensional: bool  # y came as a vector

    # ---- from y ----

    @classmethod
    def of_rows(cls, method, X, y, sample_weight, before=None):
        """Return targets, rows, y (n, c) and weights of a fit, without rows that weigh nothing."""
        y, one = finite_targets(y, X)
        _refuse_other_number(y, before)
        X, y, weights = weighing_rows(X, y, checked_weights(sample_weight, X.shape[0]))
        weights = relative(weights)
        targets = (
            cls._of(y, weights, one) if before is None else replace(before.in_block(y, weights), one_dimensional=one)
        )
        return targets, X, y, weights

    @classmethod
    def of_source(cls, method, X, y, sample_weight, before=None):
        """Return targets, y (n, c) and weights of all rows; their common factor is for the caller to take off."""
        y, one = finite_targets(y, X)
        weights = checked_weights(sample_weight, X.shape[0])
        return cls._of(y, None if weights is None else mean_one(weights), one), y, weights

    @classmethod
    def of_block(cls, method, X, y, sample_weight, classes=None, before=None):
        """Return targets, rows, y (n, c) and weights of a block of a stream.

        Blocks after the first do not change the shape of predictions: (n,) and (n, 1) are one target.
        """
        y, one = finite_targets(y, X)
        _refuse_other_number(y, before)
        X, y, weights = weighing_rows(X, y, checked_weights(sample_weight, X.shape[0]))
        targets = cls._of(y, weights, one) if before is None else before.in_block(y, weights)
        return targets, X, y, weights

    @classmethod
    def _of(cls, y, weights, one_dimensional):
        """Mean and deviation of first targets."""
        weights = weights_in_range(weights)
        size, mean, deviation = _sizes(y, weights)
        if weights is not None and not np.all(weights > 0) and np.any(deviation <= _FLAT):
            y, weights = y[weights > 0], weights[weights > 0]
            size, mean, deviation = _sizes(y, weights)
        varies = deviation > _FLAT
        same = y.max(axis=0) == y.min(axis=0)
        return cls(
            np.where(same, y[0], mean * size),
            np.where(varies, np.maximum(deviation * size, np.finfo(np.float64).tiny), 0.0),
            np.where(varies, math.inf, 0.0),
            one_dimensional,
        )

    def in_block(self, y, weights):
        """Return the targets after further rows: old scales stay, and what was constant so far is heard."""
        known = np.stack([self.rows, self.mean, self.scale])
        rows, mean, scale = followed_targets(known, y, weights_in_range(weights))
        return replace(self, rows=rows, mean=mean, scale=scale)

    def read(self, y, X):
        """Return the targets of validation rows."""
        y, _ = finite_targets(y, X)
        if y.shape[1] != len(self.mean):
            raise ValueError(f"y_val has {y.shape[1]} targets, but y has {len(self.mean)}.")
        return y

    def coded(self, y, dtype):
        """Return standardised targets; constants are 0."""
        with np.errstate(over="ignore"):  # far from the first targets of a stream: refused below
            coded = (y - self.mean) / np.where(self.scale == 0, 1.0, self.scale)
        coded[:, self.scale == 0] = 0.0
        return narrowed(coded, dtype, "y holds distances from the first targets")

    # ---- to outputs ----

    @property
    def n_outputs(self):
        """One output per target."""
        return len(self.mean)

    def published(self):
        """Return the fitted attributes that say what outputs are: there are none."""
        return {}

    def read_by(self, link):
        """Return the targets: outputs are numbers, whatever they were trained for."""
        return self

    def score(self, outputs, y, weight):
        """Return one less the mean squared error of standardised targets: R2 against the spread of the training rows.

        It is a number for a single row and for a constant, too, whose outputs do not count.
        """
        if np.any(self.scale == 0):
            outputs = np.where(self.scale == 0, 0.0, outputs)
        return 1.0 - float(np.average(np.mean((outputs - y) ** 2, axis=1), weights=weight))

    out_activation, reader = "linear", None  # numbers are read as they are

    def calibrated(self, outputs, y, weight):
        """Return the targets: predictions need no calibration."""
        return self

    def read_linearly(self, ridge, y, weight):
        """Return the targets: a readout gives numbers, too."""
        return self

    def blended(self, outputs, ridge, y, weight):
        """Return weights of outputs and of ridge predictions in a blend of both, and the targets."""
        varies = self.scale > 0
        return blend_of_numbers(outputs[:, varies], ridge[:, varies], y[:, varies], weight), self

    def head(self):
        """Return what an export says of outputs."""
        return Numbers(self.one_dimensional)

    def in_units(self, coef, intercept):
        """Return a last layer in the units of y."""
        return coef * self.scale, intercept * self.scale + self.mean

    def predicted(self, outputs):
        """Return targets in the shape of y and the dtype of outputs; what did not vary is what it was."""
        backend = backend_for(outputs, "cpu")
        constant = self.scale == 0
        predicted = outputs * backend.asarray(np.where(constant, 1.0, self.scale)) + backend.asarray(self.mean)
        for j in np.flatnonzero(constant):
            predicted[:, j] = float(self.mean[j])
        predicted = in_dtype_of(outputs, predicted, backend, varied=not np.all(constant))
        return predicted[:, 0] if self.one_dimensional else predicted


def mean_one(weights):
    """Return weights of which the positive ones have the mean 1."""
    weights = weights / weights.max()
    return weights * (np.sum(weights > 0) / weights.sum())


def _refuse_other_number(y, before):
    """Refuse a number of targets that a network does not have."""
    if before is not None and y.shape[1] != len(before.mean):
        raise ValueError(f"y has {y.shape[1]} targets, but the network has {len(before.mean)} outputs.")


def _sizes(y, weights):
    """Size of the targets, and their mean and deviation over it."""
    size = np.maximum(np.abs(y).max(axis=0), np.finfo(np.float64).tiny)  # squares of 1e200 are no numbers
    mean = np.average(y / size, axis=0, weights=weights)
    return size, mean, np.sqrt(np.average((y / size - mean) ** 2, axis=0, weights=weights))
