"""Ridge readouts of nested feature sets: one Cholesky factor per ridge gives every exit and its leave-one-out."""

import math
from dataclasses import dataclass

import numpy as np
from scipy.linalg import blas, lapack

from sklearn_analytic.linalg._ridge_path import LeaveOneOut, best_alpha

_JITTER = 1e-6  # of the unit diagonal, added to every ridge
_FLAT = 1e-6  # a feature that varies less than this share of its size is rounding
_LEAST_DEVIATION = 0.1  # of the largest: units that hardly any row moves are not blown up
_WORTHWHILE = 2e-3  # relative gain in leave-one-out error for which another ridge is tried
_LEAST_FREE = 1e-4  # 1 - leverage is not taken below this


@dataclass(frozen=True)
class ExitReadout:
    """The readout of one exit.

    Parameters
    ----------
    coef : ndarray of shape (q, c)
        Weights of the exit's features.
    intercept : ndarray of shape (c,)
        Constants.
    alpha : float
        The ridge used, per feature of unit variance.
    loo : ndarray of shape (m, c)
        Leave-one-out predictions of the audit rows.
    error : float
        Their weighted mean squared error, summed over the targets that are judged.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_analytic.linalg import NormalEquations, ridge_exits
    >>> X, y = np.array([[0.0], [1.0], [2.0], [3.0]]), np.array([[0.0], [1.0], [2.0], [3.0]])
    >>> readout = ridge_exits(NormalEquations.from_rows(X, y), [1], (X, y, None), [1e-3])[0]
    >>> readout.coef.round(2), bool(readout.error < 1e-4)
    (array([[1.]]), True)
    """

    coef: np.ndarray
    intercept: np.ndarray
    alpha: float
    loo: np.ndarray
    error: float


def ridge_exits(statistic, sizes, audit, alphas, *, left_out=None, unit=None, n_judged=None):
    r"""Return the readout of every exit, each with the ridge of its least leave-one-out error.

    Exit t reads the first :math:`q_t` features. With features of unit variance and
    :math:`S + \alpha I = L L^T`, :math:`Z = L^{-1} S_{xy}` and :math:`V = L^{-1} F^T` for audit rows F, the
    leading blocks of L, Z and V are those of the exit: leverages are running sums of :math:`V^2`, predictions
    of :math:`V^T Z`. Ridges are tried from the middle of the grid towards less error at the last exit.

    Parameters
    ----------
    statistic : NormalEquations
        All features and targets.
    sizes : list of int
        :math:`q_1 \le \dots \le q_T`.
    audit : tuple of (ndarray (m, p), ndarray (m, c), ndarray (m,) or None)
        Features, targets and weights of rows that are in the statistic; means over the rows follow the weights.
    alphas : sequence of float
        Ascending positive ridges. 1e-6 of the total weight is added to each.
    left_out : ndarray of shape (m,) or None, default=None
        Weight that leaves with every row; None takes one copy of a row of weight above 1, and all of a lighter one.
    unit : float or None, default=None
        Weight of one row, by which ridges are multiplied; None is 1, or the mean weight where that is less.
    n_judged : int or None, default=None
        How many of the targets, the first, the error is summed over; None is all.

    Returns
    -------
    list of ExitReadout
        One per exit.

    Raises
    ------
    LinAlgError
        If no ridge of the grid makes the Gram positive definite.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_analytic.linalg import NormalEquations, ridge_exits
    >>> X = np.array([[0.0, 1.0], [1.0, 0.0], [2.0, 2.0], [3.0, 1.0]])
    >>> y = X[:, 1:]
    >>> exits = ridge_exits(NormalEquations.from_rows(X, y), [1, 2], (X, y, None), [1e-3, 1e-2])
    >>> len(exits), bool(exits[1].error < exits[0].error)
    (2, True)
    """
    system = _System.of(statistic, audit, left_out, unit, n_judged)
    best = [None] * len(sizes)
    tried = {}

    def error_at(i):
        if i not in tried:
            error = system.improve(best, sizes, alphas[i])
            tried[i] = math.inf if math.isnan(error) else error
        return tried[i]

    i = len(alphas) // 2
    while i < len(alphas) - 1 and error_at(i) == math.inf:
        i += 1  # more ridge, until the factor exists
    if error_at(i) == math.inf:
        raise np.linalg.LinAlgError(f"alpha={alphas[-1]} leaves the features' Gram indefinite: use a larger alpha.")
    while True:
        neighbours = [j for j in (i - 1, i + 1) if 0 <= j < len(alphas)]
        j = min(neighbours, key=error_at, default=i)
        if error_at(j) >= error_at(i) * (1 - _WORTHWHILE):
            return best
        i = j


def spectral_exit(statistic, columns, audit, alpha, *, left_out=None):
    """Return one readout by a full decomposition: minimum norm for alpha 0, or GCV over an automatic grid.

    Parameters
    ----------
    statistic : NormalEquations
        All features and targets.
    columns : ndarray of int
        Features that the exit reads.
    audit : tuple of (ndarray (m, p), ndarray (m, c), ndarray (m,) or None)
        Features, targets and weights of rows that are in the statistic.
    alpha : float or "gcv"
        Ridge per feature of unit variance.
    left_out : ndarray of shape (m,) or None, default=None
        Weight that leaves with every row; None takes one copy of a row of weight above 1, and all of a lighter one.

    Returns
    -------
    ExitReadout
        The readout.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_analytic.linalg import NormalEquations, spectral_exit
    >>> X = np.array([[0.0, 1.0], [1.0, 0.0], [2.0, 2.0], [3.0, 1.0]])
    >>> y = X[:, 1:]
    >>> spectral_exit(NormalEquations.from_rows(X, y), np.arange(2), (X, y, None), 0.0).coef.round(6) + 0.0
    array([[0.],
           [1.]])
    """
    features, targets, weights = audit
    part, scale = _in_unit_scale(statistic, columns)
    problem = part.spectral()
    if alpha == "gcv":
        alphas = problem.default_alphas()
        alpha = best_alpha(alphas, problem.gcv(alphas))
    rows = np.asarray(features[:, columns], dtype=np.float64) * scale
    loo = LeaveOneOut(problem, alpha).predict(rows, targets, weights, left_out)
    coef, intercept = problem.solve(alpha)
    return ExitReadout(coef * scale[:, None], intercept, alpha, loo, _squared_error(targets - loo, weights))


def exit_influence(statistic, size, alpha, features, by_factor=True):
    """Return what a unit residual of each row adds to the predictions of an exit: directions (size, m), constants (m,).

    The readout without the weight w of row i predicts f(z) - w (z . d_i + c_i) r_i, where r_i is the row's
    leave-one-out residual.

    Parameters
    ----------
    statistic : NormalEquations
        All features and targets.
    size : int
        Number of features that the exit reads, the first.
    alpha : float
        The ridge of its :class:`ExitReadout`.
    features : ndarray of shape (m, p)
        Rows that are in the statistic.
    by_factor : bool, default=True
        Whether the exit comes from :func:`ridge_exits`, or from :func:`spectral_exit`.

    Returns
    -------
    directions : ndarray of shape (size, m)
        Weights of the features.
    constants : ndarray of shape (m,)
        Constants.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_analytic.linalg import NormalEquations, exit_influence, ridge_exits
    >>> X = np.array([[0.0], [1.0], [2.0], [3.0]])
    >>> statistic = NormalEquations.from_rows(X, X**2)
    >>> readout = ridge_exits(statistic, [1], (X, X**2, None), [1e-3])[0]
    >>> directions, constants = exit_influence(statistic, 1, readout.alpha, X)
    >>> fitted, residual = X @ readout.coef + readout.intercept, X**2 - readout.loo
    >>> without = fitted - (X @ directions + constants) * residual.T  # (row, model without row)
    >>> bool(np.allclose(np.diag(without), readout.loo[:, 0]))
    True
    """
    if not by_factor:
        part, scale = _in_unit_scale(statistic, np.arange(size))
        loo = LeaveOneOut(part.spectral(), alpha)
        directions, constants = loo.influence(np.asarray(features[:, :size], dtype=np.float64) * scale)
        return directions * scale[:, None], constants
    p, (ex, _) = statistic.n_features, statistic.exponent
    scale = _unit_scale(statistic)
    factor = statistic.scatter[:size, :size] * scale[:size, None] * scale[:size]
    factor[np.diag_indices_from(factor)] += alpha
    factor, info = lapack.dpotrf(np.array(factor, order="F"), lower=True, overwrite_a=True)
    if info != 0:
        raise np.linalg.LinAlgError(f"alpha={alpha} leaves the features' Gram indefinite: use a larger alpha.")
    mean, scale = np.ldexp(statistic.mean[:p], ex)[:size], np.ldexp(scale[:size], -ex)
    rows = np.asfortranarray(((np.asarray(features[:, :size], dtype=np.float64) - mean) * scale).T)
    directions = lapack.dpotrs(factor, rows, lower=True, overwrite_b=True)[0] * scale[:, None]
    return directions, 1 / statistic.weight - mean @ directions


@dataclass(frozen=True)
class _System:
    """The standardised normal equations and audit rows, ready for any ridge."""

    gram: np.ndarray  # (p, p), unit diagonal times the weight
    cross: np.ndarray  # (p, c)
    scale: np.ndarray  # (p,), 1 / standard deviation, 0 for flat features
    mean: np.ndarray  # (p + c,), in the units of the data
    weight: float
    unit: float  # by which ridges are multiplied
    features: np.ndarray  # (m, p) standardised, in their own dtype
    targets: np.ndarray  # (m, c) centred
    weights: np.ndarray | None
    left_out: np.ndarray | float  # weight that leaves with a row
    n_judged: int | None

    @classmethod
    def of(cls, statistic, audit, left_out, unit, n_judged):
        """Standardise the statistic and the audit rows."""
        features, targets, weights = audit
        p, (ex, ey) = statistic.n_features, statistic.exponent
        scale = _unit_scale(statistic)
        gram = statistic.scatter[:p, :p] * scale[:, None]
        gram *= scale
        cross = np.ldexp(statistic.scatter[:p, p:] * scale[:, None], ey)
        mean = np.concatenate([np.ldexp(statistic.mean[:p], ex), np.ldexp(statistic.mean[p:], ey)])
        scale = np.ldexp(scale, -ex)
        dtype = features.dtype
        rows = (features - mean[:p].astype(dtype)) * scale.astype(dtype)
        if unit is None:  # light rows do not meet a heavy ridge
            unit = min(1.0, statistic.weight / statistic.n_rows)
        if left_out is None:
            left_out = 1.0 if weights is None else np.minimum(weights, 1.0)
        centred, size = targets - mean[p:], statistic.weight
        return cls(gram, cross, scale, mean, size, unit, rows, centred, weights, left_out, n_judged)

    def improve(self, best, sizes, alpha):
        """Put the readouts at one ridge, from one factor, where they are worth it; return the last one's error.

        It is infinite where rounding leaves the Gram indefinite.
        """
        penalty = alpha * self.unit + _JITTER * self.weight  # the share is above the rounding of float32 products
        factor = np.array(self.gram, order="F")
        factor[np.diag_indices_from(factor)] += penalty
        factor, info = lapack.dpotrf(factor, lower=True, overwrite_a=True)
        if info != 0:
            return math.inf
        z = blas.dtrsm(1.0, factor, self.cross, lower=True)
        single = self.features.dtype == np.float32
        trsm, gemm = (blas.strsm, blas.sgemm) if single else (blas.dtrsm, blas.dgemm)
        v = trsm(1.0, factor.astype(self.features.dtype, order="F", copy=False), self.features.T, lower=True)
        fitted, leverage, start = 0.0, 1 / self.weight, 0
        for number, size in enumerate(sizes):
            part = v[start:size]
            fitted = fitted + np.asarray(gemm(1.0, part, z[start:size], trans_a=True), dtype=np.float64)
            leverage = leverage + np.einsum("ij,ij->j", part, part, dtype=np.float64)
            start = size
            loo = self._leave_one_out(fitted, leverage)
            error = _squared_error((self.targets - loo)[:, : self.n_judged], self.weights)
            if _is_better(best[number], error):  # or nobody reads what it takes another solve to find
                coef = blas.dtrsm(1.0, factor[:size, :size], z[:size], lower=True, trans_a=True)
                best[number] = self._readout(coef, penalty, loo, error)
        return error

    def _leave_one_out(self, fitted, leverage):
        """Centred leave-one-out predictions."""
        free = np.maximum(1 - self.left_out * leverage, _LEAST_FREE)
        return self.targets - (self.targets - fitted) / free[:, None]

    def _readout(self, coef, alpha, loo, error):
        """Restate a standardised solution in the units of the features."""
        coef = coef * self.scale[: len(coef), None]
        p = len(self.scale)
        intercept = self.mean[p:] - self.mean[: len(coef)] @ coef
        return ExitReadout(coef, intercept, alpha, loo + self.mean[p:], error)


def _is_better(old, error):
    """Whether a readout of this leave-one-out error replaces the first that was tried: the gain has to be worth it."""
    return old is None or error < old.error * (1 - _WORTHWHILE)


def _unit_scale(statistic):
    """1 / standard deviation of every feature in stored units, 0 where it varies by rounding alone.

    The deviation is not taken below a share of the largest: a feature that moves for a few light rows alone
    must not become large for all rows like them.
    """
    p = statistic.n_features
    variance = np.maximum(np.diag(statistic.scatter)[:p], 0) / statistic.weight
    flat = variance <= _FLAT**2 * (variance + statistic.mean[:p] ** 2)
    deviation = np.maximum(np.sqrt(variance), _LEAST_DEVIATION * np.sqrt(variance.max(initial=0.0)))
    return np.divide(1.0, deviation, out=np.zeros(p), where=~flat)


def _in_unit_scale(statistic, columns):
    """The statistic of some features of unit variance, and what they are multiplied by."""
    scale = _unit_scale(statistic)[columns]
    return statistic.select(columns).rescaled(scale), scale


def _squared_error(residual, weights):
    """Weighted mean over rows of the squared residual, summed over targets."""
    squared = np.sum(residual**2, axis=1)
    return math.fsum(squared) / len(squared) if weights is None else float(np.average(squared, weights=weights))
