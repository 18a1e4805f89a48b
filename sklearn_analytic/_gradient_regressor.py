"""Numeric targets of networks trained by steps: standardised for training, in their own units outside."""

import numpy as np
from sklearn.metrics import r2_score
from sklearn.utils import assert_all_finite
from sklearn.utils.validation import check_is_fitted

from sklearn_analytic._base import checked_weights, regression_targets
from sklearn_analytic.backend import backend_for


class GradientRegressorMixin:
    """What a regressor adds to :class:`GradientEstimator`."""

    def predict(self, X):
        """Return the predicted targets.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n, d)
            Rows.

        Returns
        -------
        ndarray of shape (n,) or (n, c)
            Targets, in the shape that ``fit`` saw; a tensor where X is one.
        """
        check_is_fitted(self)
        outputs = self._raw_outputs(X)
        backend = backend_for(outputs, "cpu")
        mean, scale = (backend.asarray(part.astype(np.float64)) for part in (self._target_mean, self._target_scale))
        predicted = outputs * scale + mean
        return predicted[:, 0] if self._one_target else predicted

    def __sklearn_tags__(self):
        """Declare what the estimator accepts."""
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags

    def _read_target_rows(self, X, y, sample_weight, reset=True):
        """Return checked X, targets (n, c) and weights without rows that weigh nothing."""
        X = self._read_features(X, reset=reset)
        n_before = None if reset else len(self._target_mean)
        y, one = regression_targets(y, X)
        assert_all_finite(y, input_name="y")
        y = np.asarray(y, dtype=np.float64)
        if n_before not in (None, y.shape[1]):
            raise ValueError(f"y has {y.shape[1]} targets, but the network has {n_before} outputs.")
        self._one_target = one
        weights = checked_weights(sample_weight, X.shape[0])
        if weights is not None and np.any(weights == 0):
            kept = np.flatnonzero(weights > 0)
            X, y, weights = X[kept], y[kept], weights[kept]
        return X, y, weights

    def _read_targets(self, y, X):
        """Targets of validation rows."""
        y, _ = regression_targets(y, X)
        assert_all_finite(y, input_name="y")
        if y.shape[1] != len(self._target_mean):
            raise ValueError(f"y_val has {y.shape[1]} targets, but y has {len(self._target_mean)}.")
        return np.asarray(y, dtype=np.float64)

    def _settle_targets(self, y, weights):
        """Take mean and deviation of the targets; going on keeps the old ones. A constant target keeps its unit."""
        if self.warm_start and hasattr(self, "_training_state"):
            return
        self._target_mean = np.average(y, axis=0, weights=weights)
        deviation = np.sqrt(np.average((y - self._target_mean) ** 2, axis=0, weights=weights))
        self._target_scale = np.where(deviation > 0, deviation, 1.0)

    def _coded_targets(self, y):
        """Standardised targets."""
        return ((y - self._target_mean) / self._target_scale).astype(self._weight_dtype())

    def _n_outputs(self):
        """One per target."""
        return len(self._target_mean)

    def _score_outputs(self, outputs, y, weight):
        """R2, the mean over targets."""
        return float(r2_score(y, outputs, sample_weight=weight))
