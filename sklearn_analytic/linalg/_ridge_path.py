"""Choosing the ridge: exact K-fold errors from fold statistics, and exact leave-one-out in a second pass."""

from dataclasses import dataclass

import numpy as np

_ALONE = 1e-9  # 1 - leverage of a row that alone carries a direction, but for rounding


def best_alpha(alphas, scores):
    """Return the alpha of the lowest score; the largest such alpha when scores tie.

    Parameters
    ----------
    alphas, scores : array-like of shape (a,)
        Candidates and what each one costs; lower is better, infinite is never chosen.

    Returns
    -------
    float
        The chosen alpha.

    Examples
    --------
    >>> from sklearn_analytic.linalg import best_alpha
    >>> best_alpha([0.1, 1.0, 10.0], [2.0, 1.0, 3.0])
    1.0
    """
    alphas, scores = np.asarray(alphas, dtype=np.float64), np.asarray(scores, dtype=np.float64)
    scores = np.where(np.isnan(scores), np.inf, scores)
    if not np.any(np.isfinite(scores)):
        return float(alphas.max())
    ties = alphas[scores <= np.min(scores) * (1 + 1e-12)]
    return float(ties.max())


def kfold_errors(folds, alphas, fit_intercept=True):
    """Return the exact K-fold squared error of every alpha from one statistic per fold, without the data.

    Parameters
    ----------
    folds : list of NormalEquations or list of TriangularFactor
        One statistic per fold, at least two.
    alphas : array-like of shape (a,)
        Ridge penalties of the solutions fitted on all folds but one.
    fit_intercept : bool, default=True
        Whether an intercept is fitted.

    Returns
    -------
    ndarray of shape (a, c)
        Weighted mean squared error per alpha and target, over all held-out rows.

    Raises
    ------
    ValueError
        If there are fewer than two folds.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_analytic.linalg import NormalEquations, kfold_errors
    >>> X = np.arange(6.0)[:, None]
    >>> folds = [NormalEquations.from_rows(X[i::3], 2 * X[i::3]) for i in range(3)]
    >>> bool(kfold_errors(folds, [0.0])[0, 0] < 1e-20)
    True
    """
    if len(folds) < 2:
        raise ValueError(f"K-fold needs at least two fold statistics, got {len(folds)}.")
    errors = 0.0
    for held_out, rest in zip(folds, _all_but_one(folds), strict=True):
        problem = rest.spectral(fit_intercept)
        errors = errors + np.array([held_out.squared_error(*problem.solve(alpha)) for alpha in alphas])
    return errors / sum(fold.weight for fold in folds)


def _all_but_one(folds):
    """Merge every subset that leaves one fold out, by prefixes and suffixes: 3 K merges, not K squared."""
    before, after = [None], [None]
    for fold in folds[:-1]:
        before.append(_merge(before[-1], fold))
    for fold in folds[:0:-1]:
        after.append(_merge(fold, after[-1]))
    return [_merge(a, b) for a, b in zip(before, after[::-1], strict=True)]


def _merge(a, b):
    """Merge two statistics, either of which may be missing."""
    if a is None or b is None:
        return b if a is None else a
    return a.merge(b)


@dataclass(frozen=True)
class LeaveOneOut:
    r"""Exact leave-one-out predictions of one ridge solution, block by block (the second pass).

    :math:`\hat y_{-i} = y_i - e_i / (1 - \omega_i h_i)` with
    :math:`h_i = x_i^T (X^T X + \alpha I)^{-1} x_i + 1/\sum_j w_j` about the mean, the intercept's share included,
    and :math:`\omega_i = \min(w_i, 1)`: one copy leaves of a row of weight above 1, the whole row otherwise.

    Parameters
    ----------
    problem : SpectralProblem
        The decomposed problem that was solved.
    alpha : float
        Ridge penalty; 0 is the minimum-norm solution.
    rcond : float or None, default=None
        Rank tolerance for alpha = 0.

    References
    ----------
    D. M. Allen, "The relationship between variable selection and data augmentation and a method for
    prediction", Technometrics 16, 1974 (PRESS).

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_analytic.linalg import LeaveOneOut, TriangularFactor
    >>> X, y = np.array([[0.0], [1.0], [2.0]]), np.array([0.0, 1.0, 5.0])
    >>> loo = LeaveOneOut(TriangularFactor.from_rows(X, y).spectral(), alpha=0.0)
    >>> loo.predict(X, y).round(6).ravel()  # each from the line through the other two
    array([-3. ,  2.5,  2. ])
    """

    problem: object
    alpha: float = 0.0
    rcond: float | None = None

    def predict(self, x, y, sample_weight=None, left_out=None):
        """Return leave-one-out predictions (m, c) of rows that were in the fit.

        ``left_out`` (m,) is the weight that leaves with every row, where it is not that of one copy.
        """
        x, y = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
        y = y[:, None] if y.ndim == 1 else y
        coef, intercept = self.problem.solve(self.alpha, self.rcond)
        residual = y - x @ coef - intercept
        removed = left_out
        if removed is None:
            removed = 1.0 if sample_weight is None else np.minimum(sample_weight, 1.0)
        free = 1 - removed * self.leverage(x)
        # A row that alone carries a direction cannot be predicted without itself: leverage 1, residual 0.
        return y - residual / np.maximum(free, 1e-10)[:, None]

    def influence(self, x):
        """Return directions (d, m) and constants (m,): what a unit residual of each row adds to a prediction.

        The solution without the weight w of row i predicts f(z) - w (z . d_i + c_i) r_i, where r_i is the row's
        leave-one-out residual.
        """
        problem = self.problem
        centred = np.ldexp(np.asarray(x, dtype=np.float64), -problem.exponent[0])
        constants = 0.0
        if problem.fit_intercept:
            mean = problem.mean[: x.shape[1]]
            centred, constants = centred - mean, 1 / problem.weight
        squares = problem._inverse(self.alpha, self.rcond) / np.where(problem.s > 0, problem.s, 1.0)
        directions = problem.vt.T @ (squares[:, None] * (problem.vt @ centred.T))
        if problem.fit_intercept:
            constants = constants - mean @ directions
        return np.ldexp(directions, -problem.exponent[0]), np.zeros(len(x)) + constants

    def residuals(self, x, y, left_out, factors=1.0):
        """Return leave-one-out residuals (m, c), of rows that alone carry a direction by the shortest coefficients.

        Without such a row (leverage 1, alpha 0) the coefficients move along its direction until they are shortest:
        those of the columns before they were multiplied by ``factors`` (d,).
        """
        coef, intercept = self.problem.solve(self.alpha, self.rcond)
        free = 1 - left_out * self.leverage(x)
        alone = free < _ALONE
        found = (y - x @ coef - intercept) / np.where(alone, 1.0, free)[:, None]
        if np.any(alone):
            column = np.reshape(factors, (-1, 1))
            directions = self.influence(x[alone])[0] * column
            lengths = np.sum(directions**2, axis=0)[:, None]
            moved = directions.T @ (coef * column)
            share = np.divide(moved, lengths, out=np.zeros_like(moved), where=lengths > 0)
            found[alone] = share / np.broadcast_to(left_out, len(x))[alone, None]
        return found

    def leverage(self, x):
        """Return h_i of every row of ``x`` (m, d), about the mean when there is an intercept."""
        problem = self.problem
        scaled = np.ldexp(x, -problem.exponent[0])
        root = np.sqrt(problem._inverse(self.alpha, self.rcond) / np.where(problem.s > 0, problem.s, 1.0))
        if not problem.fit_intercept:
            return np.sum((scaled @ problem.vt.T * root) ** 2, axis=1)
        centred = scaled - problem.mean[: x.shape[1]]
        return np.sum((centred @ problem.vt.T * root) ** 2, axis=1) + 1 / problem.weight
