"""Numeric targets of networks trained by steps: standardised for training, in their own units outside."""

import math

import numpy as np
from sklearn.utils.validation import check_is_fitted

from sklearn_analytic.backend import backend_for
from sklearn_analytic.estimator.base import finite_targets, in_dtype_of
from sklearn_analytic.estimator.epochs import narrowed, weighing_rows
from sklearn_analytic.estimator.late_scales import followed_targets
from sklearn_analytic.estimator.weights import checked_weights, weights_in_range
from sklearn_analytic.export.computation import Numbers
from sklearn_analytic.io._checks import lazily

_FLAT = 1e-14  # a target that varies less than this share of its size is rounding


class GradientRegressorMixin:
    """What a regressor adds to :class:`GradientEstimator`."""

    @lazily
    def predict(self, X):
        """Return the predicted targets.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n, d)
            Rows.

        Returns
        -------
        ndarray of shape (n,) or (n, c)
            Targets, in the shape of the last ``fit`` or of the first ``partial_fit``, float32 where X is; a tensor
            where X is one.
        """
        check_is_fitted(self)
        predicted = self._in_own_units(self._raw_outputs(X))
        return predicted[:, 0] if self._one_target else predicted

    def _in_own_units(self, outputs):
        """Predicted targets of raw outputs, in their dtype; what did not vary is what it was, whatever they say."""
        backend = backend_for(outputs, "cpu")
        constant = self._target_scale == 0
        scale = np.where(constant, 1.0, self._target_scale)
        predicted = outputs * backend.asarray(scale) + backend.asarray(self._target_mean)
        for j in np.flatnonzero(constant):
            predicted[:, j] = float(self._target_mean[j])
        return in_dtype_of(outputs, predicted, backend, varied=not np.all(constant))

    def __sklearn_tags__(self):
        """Declare what the estimator accepts."""
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags

    def _units(self, coef, intercept):
        """A last layer in the units of y."""
        return coef * self._target_scale, intercept * self._target_scale + self._target_mean

    def _head(self):
        """Outputs are predictions."""
        return Numbers(self._one_target)

    def _read_target_rows(self, X, y, sample_weight, reset, stream=False):
        """Return checked X, targets (n, c) and weights without rows that weigh nothing.

        Blocks of a stream after the first do not change the shape of predictions: (n,) and (n, 1) are one target.
        """
        X = self._read_features(X, reset=reset)
        n_before = None if reset else len(self._target_mean)
        y, one = finite_targets(y, X)
        if n_before not in (None, y.shape[1]):
            raise ValueError(f"y has {y.shape[1]} targets, but the network has {n_before} outputs.")
        if reset or not stream:
            self._one_target = one
        return weighing_rows(X, y, checked_weights(sample_weight, X.shape[0]))

    def _read_all_targets(self, y, sample_weight, X):
        """Targets and weights of all rows of a source."""
        y, self._one_target = finite_targets(y, X)
        return y, checked_weights(sample_weight, X.shape[0])

    def _settle_all(self, y, weights):
        """Take mean and deviation of all targets."""
        self._settle_targets(y, weights)

    def _read_targets(self, y, X):
        """Targets of validation rows."""
        y, _ = finite_targets(y, X)
        if y.shape[1] != len(self._target_mean):
            raise ValueError(f"y_val has {y.shape[1]} targets, but y has {len(self._target_mean)}.")
        return y

    def _settle_targets(self, y, weights, stream=False):
        """Take mean and deviation of the targets; going on keeps the old ones, and hears what was constant so far.

        A constant has the scale 0. The few rows in which it begins to move may be one: see ``_late_scales``.
        """
        weights = weights_in_range(weights)
        if hasattr(self, "_training_state") if stream else self._goes_on():
            known = np.stack([self._target_rows_so_far(), self._target_mean, self._target_scale])
            self._target_rows, self._target_mean, self._target_scale = followed_targets(known, y, weights)
            return
        size, mean, deviation = _sizes(y, weights)
        if weights is not None and not np.all(weights > 0) and np.any(deviation <= _FLAT):
            y, weights = y[weights > 0], weights[weights > 0]
            size, mean, deviation = _sizes(y, weights)
        varies = deviation > _FLAT
        same = y.max(axis=0) == y.min(axis=0)
        self._target_mean = np.where(same, y[0], mean * size)
        self._target_scale = np.where(varies, np.maximum(deviation * size, np.finfo(np.float64).tiny), 0.0)
        self._target_rows = np.where(varies, math.inf, 0.0)

    def _target_rows_so_far(self):
        """Rows behind the scale of every target: none for a constant; of old files, all that there are."""
        return vars(self).get("_target_rows", np.full(len(self._target_mean), math.inf))

    def _coded_targets(self, y):
        """Standardised targets; constants are 0."""
        with np.errstate(over="ignore"):  # far from the first targets of a stream: refused below
            coded = (y - self._target_mean) / np.where(self._target_scale == 0, 1.0, self._target_scale)
        coded[:, self._target_scale == 0] = 0.0
        return narrowed(coded, self._weight_dtype(), "y holds distances from the first targets")

    def _n_outputs(self):
        """One per target."""
        return len(self._target_mean)

    def _score_outputs(self, outputs, y, weight):
        """One less the mean squared error of standardised targets: R2 against the spread of the training rows.

        It is a number for a single row and for a constant, too, whose outputs do not count.
        """
        if np.any(self._target_scale == 0):
            outputs = np.where(self._target_scale == 0, 0.0, outputs)
        return 1.0 - float(np.average(np.mean((outputs - y) ** 2, axis=1), weights=weight))


def _sizes(y, weights):
    """Size of the targets, and their mean and deviation over it."""
    size = np.maximum(np.abs(y).max(axis=0), np.finfo(np.float64).tiny)  # squares of 1e200 are no numbers
    mean = np.average(y / size, axis=0, weights=weights)
    return size, mean, np.sqrt(np.average((y / size - mean) ** 2, axis=0, weights=weights))
