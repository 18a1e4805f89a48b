"""Verbs of closed-form regressors on new targets: intervals that cover a share of them, and standard deviations."""

import numbers

from sklearn.base import RegressorMixin
from sklearn.utils.validation import check_is_fitted

from sklearn_analytic.estimator.base import in_dtype_of
from sklearn_analytic.io._checks import lazily
from sklearn_analytic.linalg import rows_needed


def check_coverage(coverage, verb, n_rows, advice):
    """Refuse what is no share between 0 and 1, and more than so many rows (their weight) can say."""
    if isinstance(coverage, bool) or not isinstance(coverage, numbers.Real) or not 0 < coverage < 1:
        raise ValueError(f"coverage must be a number between 0 and 1, neither included, got {coverage!r}.")
    needed = rows_needed(coverage)
    if n_rows * (1 + 1e-9) < needed:
        raise ValueError(
            f"{verb} with coverage={coverage} needs at least {needed} audit rows, and there are {n_rows:.4g}: {advice}"
        )


class IntervalFace(RegressorMixin):
    """A regressor whose estimator below tells features and predictions of rows, and has a jackknife of its fit.

    These are ``_read_and_predicted(rows, backend)``, in the units of the fit, ``_jackknife``, and ``_more_audit_rows``,
    what to do for more of them.
    """

    @lazily
    def predict(self, X, return_std=False):
        """Predict targets, and how far new ones will lie from that.

        Parameters
        ----------
        X : {array-like, sparse matrix, frame, torch.Tensor} of shape (n_samples, n_features)
            Rows.
        return_std : bool, default=False
            Whether to return standard deviations, too.

        Returns
        -------
        predictions : array of shape (n_samples,) or (n_samples, n_targets)
            Predictions, in the kind, dtype and device of X.
        deviations : array of shape (n_samples,) or (n_samples, n_targets)
            With ``return_std``: standard deviations of new targets, from leave-one-out residuals. Their noise, of the
            scale that :meth:`predict_interval` takes, and the jackknife variance of the model are both in them.
        """
        if return_std:
            return self.predict(X), self._deviations(X)
        predictions = self._predictions(X)
        return self._learned.targets.in_shape(predictions)

    @lazily
    def predict_interval(self, X, coverage=0.9):
        r"""Predict intervals that cover new targets with a given probability: the jackknife+, without a refit.

        With the readout without row i, :math:`f_{-i}(x) = f(x) - \omega_i \phi(x)^T A^{-1} \phi_i r_i`, and its
        leave-one-out residual :math:`r_i`, the ends are order statistics of

        .. math:: f_{-i}(x) \pm |r_i| \, s(x) / s_{-i}(x_i)

        over the audit rows. The scale s is 1, or a small ridge readout of :math:`\log |r|`; leave-one-out residuals
        choose it by their interval score.

        Parameters
        ----------
        X : {array-like, sparse matrix, frame, torch.Tensor} of shape (n_samples, n_features)
            Rows.
        coverage : float in (0, 1), default=0.9
            Share of new targets, each by itself, that are to lie within.

        Returns
        -------
        array of shape (n_samples, 2) or (n_samples, n_targets, 2)
            Lower and upper ends, in the kind, dtype and device of X.

        Raises
        ------
        ValueError
            If the coverage is no such number, or there are too few audit rows for it; the message says how many it
            takes.

        Notes
        -----
        Coverage is over new rows that are exchangeable with the audit rows, for the readout, given layers that these
        rows did not build; it is not that of every single x. The jackknife+ has at least :math:`2 q - 1` for symmetric
        fits, and near q in practice. Ridge, blend and scale are chosen on the same residuals here, which makes that
        approximate (docs/theory/intervals.md has what was measured).

        References
        ----------
        R. F. Barber, E. J. Candes, A. Ramdas, R. J. Tibshirani, "Predictive inference with the jackknife+", Annals of
        Statistics 49, 2021.

        Examples
        --------
        >>> from sklearn.datasets import load_diabetes
        >>> from sklearn_analytic import BRMPRegressor
        >>> X, y = load_diabetes(return_X_y=True)
        >>> lower, upper = BRMPRegressor(alpha="gcv").fit(X[:400], y[:400]).predict_interval(X[400:]).T
        >>> bool(0.8 < ((lower <= y[400:]) & (y[400:] <= upper)).mean())
        True
        """
        check_is_fitted(self)
        jackknife = self._jackknife
        check_coverage(coverage, "predict_interval", jackknife.n_rows, self._more_audit_rows)

        def ends(features, predictions, backend):
            return jackknife.bounds(predictions, features, coverage, backend)

        return self._told_of_targets(X, ends)

    @lazily
    def _deviations(self, X):
        """Standard deviations of new targets."""
        check_is_fitted(self)
        jackknife = self._jackknife

        def deviations(features, predictions, backend):
            return jackknife.deviations(predictions, features, backend)

        return self._told_of_targets(X, deviations, about=False)

    def _told_of_targets(self, X, function, about=True):
        """What a function of features and predictions says of every target, in its unit (and ``about`` its level)."""
        targets, jackknife = self._learned.targets, self._jackknife
        unit, level = targets.units

        def told(rows, backend):
            features, predictions = self._read_and_predicted(rows, backend)
            found = function(features, backend.to_numpy(predictions), backend)
            shape = (-1,) + (1,) * (found.ndim - 2)
            found = found * unit.reshape(shape)
            if about:
                found = found + level.reshape(shape)
            return in_dtype_of(rows, backend.asarray(found), backend)

        found = self._map_blocks(X, told, self._n_features_out + 3 * len(jackknife.weights))
        return targets.in_shape(found)

    @property
    def _jackknife(self):
        """Leave-one-out residuals of the fit, and how it moves without rows: made once, when first asked for."""
        return self._read_off("jackknife", self._new_jackknife)
