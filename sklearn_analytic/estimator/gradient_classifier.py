"""Class labels of networks trained by steps: codes, accuracy, probabilities with a temperature."""

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax
from sklearn.metrics import accuracy_score
from sklearn.utils.validation import check_is_fitted

from sklearn_analytic.estimator.base import beside, class_labels
from sklearn_analytic.estimator.epochs import weighing_rows
from sklearn_analytic.estimator.targets import class_codes, listed_classes, refuse_mixed_labels
from sklearn_analytic.estimator.weights import (
    check_class_weight,
    checked_weights,
    finite_class_weighted,
    refuse_no_weight,
    weights_in_range,
)
from sklearn_analytic.export.calibration import log_outputs
from sklearn_analytic.export.computation import Classes, Rule
from sklearn_analytic.io._checks import host, lazily
from sklearn_analytic.nn import Rows
from sklearn_analytic.nn._losses import mean_loss

_TEMPERATURES = (-2.0, 3.0)  # bounds of the logarithm
_DOUBT = 5.0  # what (log T)^2 costs, in units of one row's log-loss: few held-out rows say little


class GradientClassifierMixin:
    """What a classifier adds to :class:`GradientEstimator`; ``output`` is its parameter, one of ``CLASS_OUTPUTS``."""

    @lazily
    def predict_proba(self, X):
        """Return the probabilities of all classes.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n, d)
            Rows.

        Returns
        -------
        ndarray of shape (n, n_classes)
            Rows that sum to one, classes in the order of ``classes_``; a tensor where X is one.
        """
        check_is_fitted(self)
        outputs = self._raw_outputs(X)
        return beside(self._probabilities(host(outputs)), outputs)

    @lazily
    def predict_log_proba(self, X):
        """Return the logarithm of :meth:`predict_proba`.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n, d)
            Rows.

        Returns
        -------
        ndarray of shape (n, n_classes)
            Finite log-probabilities; a tensor where X is one.
        """
        check_is_fitted(self)
        outputs = self._raw_outputs(X)
        found = log_softmax(self._log_scores(host(outputs)), axis=1)
        return beside(np.maximum(found, np.finfo(found.dtype).min), outputs)

    @lazily
    def predict(self, X):
        """Return the most probable class of every row.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n, d)
            Rows.

        Returns
        -------
        ndarray of shape (n,)
            Labels.
        """
        check_is_fitted(self)
        return self.classes_[host(self._raw_outputs(X)).argmax(axis=1)]

    @property
    def _output(self):
        """The rule by which the network's outputs are trained and read."""
        return self.output

    def _link(self):
        """The rule by which outputs are read."""
        return self.output

    def _units(self, coef, intercept):
        """Outputs are in no units."""
        return coef, intercept

    def _head(self):
        """Classes, and how their probabilities are read."""
        return Classes(self.classes_, Rule(self._link(), self.temperature_))

    def _log_scores(self, outputs, rule=None):
        """Scores whose softmax is the probabilities, of outputs by the estimator's rule or another one."""
        return log_outputs(outputs, self._link() if rule is None else rule) / self.temperature_

    def _probabilities(self, outputs, rule=None):
        """Softmax of scores; what is too small for the dtype is its smallest number, whose logarithm is finite."""
        found = softmax(self._log_scores(outputs, rule), axis=1)
        return np.maximum(found, np.finfo(found.dtype).tiny)

    def _read_all_rows(self, X, y, sample_weight):
        """Return checked rows of a full fit; those that weigh nothing name their class, and are left out."""
        X = self._read_features(X, reset=not self._goes_on())
        y, weights = self._read_all_targets(y, sample_weight, X)
        self._settle_classes(y)
        return weighing_rows(X, y, weights)

    def _read_labelled_rows(self, X, y, sample_weight, reset):
        """Return checked X, labels and weights of a block without rows that weigh nothing."""
        X = self._read_features(X, reset=reset)
        y = class_labels(y, X)
        weights = finite_class_weighted(y, self.class_weight, checked_weights(sample_weight, X.shape[0]))
        return weighing_rows(X, y, weights)

    def _read_all_targets(self, y, sample_weight, X):
        """Labels and weights of all rows, of which a common factor counts for nothing."""
        y = class_labels(y, X)
        weights = weights_in_range(checked_weights(sample_weight, X.shape[0]))
        return y, refuse_no_weight(finite_class_weighted(y, self.class_weight, weights))

    def _settle_all(self, y, weights):
        """Take the classes of all rows, of those that weigh nothing too."""
        self._settle_classes(y)

    def _read_targets(self, y, X):
        """Labels of validation rows."""
        return class_labels(y, X)

    def _settle_classes(self, y):
        """Take the classes of a full fit; going on keeps the old ones. A temperature is of this fit alone."""
        self.temperature_ = 1.0
        if not self._goes_on():
            self.classes_ = np.unique(y)
        check_class_weight(self.class_weight, self.classes_)
        if len(self.classes_) < 2:
            raise ValueError(
                f"y contains one class, {self.classes_.tolist()[0]!r}: a classifier needs at least two. "
                "In a stream, name them all in partial_fit(..., classes=...)."
            )

    def _meet_classes(self, classes):
        """Take the classes of a stream from its first call; later calls may repeat them."""
        first, self.temperature_ = not hasattr(self, "_training_state"), 1.0
        if first and classes is None:
            raise ValueError("classes must be passed on the first call to partial_fit: all labels that may appear.")
        classes = self.classes_ if classes is None else listed_classes(classes)
        if not first and not np.array_equal(classes, self.classes_):
            raise ValueError(
                f"classes={classes.tolist()} is not the same as in the first call: {self.classes_.tolist()}."
            )
        if len(classes) < 2:
            raise ValueError(f"classes={classes.tolist()} has one class: a classifier needs at least two.")
        self.classes_ = classes
        check_class_weight(self.class_weight, classes)

    def _coded_targets(self, y):
        """Class indices; an unknown label is an error."""
        refuse_mixed_labels(self.classes_, y)
        return class_codes(self.classes_, y)

    def _n_outputs(self):
        """One per class."""
        return len(self.classes_)

    def _score_outputs(self, outputs, y, weight):
        """Accuracy."""
        return float(accuracy_score(y, outputs.argmax(axis=1), sample_weight=weight))

    def _settle_outputs(self, outputs, y, weight):
        """One temperature of least log-loss on held-out rows, drawn towards 1: it changes no prediction."""
        rows, scores = Rows(outputs, y, weight), log_outputs(outputs.astype(np.float64), self._link())

        def cost(t):
            return len(y) * mean_loss(scores / np.exp(t), rows, "softmax") + _DOUBT * t * t

        self.temperature_ = float(np.exp(minimize_scalar(cost, bounds=_TEMPERATURES, method="bounded").x))
