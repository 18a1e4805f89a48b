"""A decomposed least-squares problem: the minimum-norm solution and every ridge solution from one factorisation."""

from dataclasses import dataclass

import numpy as np
from scipy import linalg

from sklearn_analytic.linalg._rows import unscaled


def thin_svd(a):
    """Return the thin singular value decomposition, of an empty matrix too (which SciPy before 1.14 refuses)."""
    if 0 in a.shape:
        return np.zeros((a.shape[0], 0)), np.zeros(0), np.zeros((0, a.shape[1]))
    return linalg.svd(a, full_matrices=False)


@dataclass(frozen=True)
class SpectralProblem:
    r"""Least squares in the basis of the right singular vectors of the (centred, weighted) X.

    With :math:`X = U S V^T` and :math:`B = U^T Y` every ridge solution is
    :math:`W(\alpha) = V (S^2 + \alpha I)^{-1} S B`, at the cost of one product.

    Parameters
    ----------
    s : ndarray of shape (r,)
        Singular values, descending.
    vt : ndarray of shape (r, d)
        Right singular vectors.
    b : ndarray of shape (r, c)
        U^T Y; zero where a singular value is zero.
    rss : ndarray of shape (c,)
        Squared norm of Y outside the column space of X.
    n : float
        Effective number of rows, for GCV.
    weight : float
        Sum of the weights, for the leverage of the intercept.
    mean : ndarray of shape (d + c,)
        Means of [X | Y].
    fit_intercept : bool
        Whether the problem was centred.
    exponent : tuple of int
        Power-of-two scales of X and Y.
    rcond : float
        Default rank tolerance, relative to the largest singular value.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_analytic.linalg import TriangularFactor
    >>> X = np.array([[1.0, 1.0], [2.0, 2.0], [3.0, 3.0]])  # duplicated column
    >>> problem = TriangularFactor.from_rows(X, X[:, 0]).spectral()
    >>> problem.rank(), problem.solve()[0].round(6).ravel()
    (1, array([0.5, 0.5]))
    """

    s: np.ndarray
    vt: np.ndarray
    b: np.ndarray
    rss: np.ndarray
    n: float
    weight: float
    mean: np.ndarray
    fit_intercept: bool
    exponent: tuple[int, int]
    rcond: float

    def rank(self, rcond=None):
        """Return the number of singular values above ``rcond`` times the largest."""
        return int(np.sum(self._kept(rcond)))

    def condition(self, rcond=None):
        """Return the ratio of the largest to the smallest singular value kept (1.0 when none is)."""
        kept = self.s[self._kept(rcond)]
        return float(kept[0] / kept[-1]) if len(kept) else 1.0

    def solve(self, alpha=0.0, rcond=None):
        """Return ``coef`` (d, c) and ``intercept`` (c,): minimum norm for alpha = 0, ridge otherwise."""
        solution = self.vt.T @ (self._inverse(alpha, rcond)[:, None] * self.b)
        return unscaled(solution, self.mean, self.vt.shape[1], self.exponent, self.fit_intercept)

    def path(self, alphas, rcond=None):
        """Return per alpha the residual sum of squares (a, c) and the degrees of freedom (a,) with intercept."""
        rss, dof = self._stored_path(alphas, rcond)
        return np.ldexp(rss, 2 * self.exponent[1]), dof

    def gcv(self, alphas, rcond=None):
        """Return generalised cross-validation per alpha, each target in units of its own variance.

        Golub, Heath, Wahba (1979): GCV = (RSS / n) / (1 - dof / n)^2; infinite where dof >= n.
        """
        rss, dof = self._stored_path(alphas, rcond)
        total = self.rss + np.sum(self.b**2, axis=0)
        scaled = np.divide(rss, total, out=np.zeros_like(rss), where=total > 0).sum(axis=1)
        free = 1 - dof / self.n
        return np.divide(scaled, free**2, out=np.full(len(dof), np.inf), where=free > 1e-10)

    def default_alphas(self, per_decade=4):
        """Return a grid over all that matters: 1e-12 to 1e2 times the mean squared singular value."""
        mean_square = float(np.mean(self.s**2)) if len(self.s) else 1.0
        grid = (mean_square or 1.0) * np.logspace(-12, 2, 14 * per_decade + 1)
        limits = np.finfo(np.float64)
        with np.errstate(over="ignore", under="ignore"):
            return np.clip(np.ldexp(grid, self._alpha_exponent()), limits.tiny, limits.max)

    def scaled_alpha(self, alpha):
        """Return ``alpha`` in the units in which ``s`` is stored."""
        with np.errstate(over="ignore", under="ignore"):
            return float(np.ldexp(float(alpha), -self._alpha_exponent()))

    def _alpha_exponent(self):
        """Power of two between a ridge and its stored value."""
        return 2 * max(self.exponent[0], -500)

    def _stored_path(self, alphas, rcond):
        """Residual sums of squares in stored units, and degrees of freedom."""
        f = np.array([self._inverse(alpha, rcond) * self.s for alpha in alphas])  # (a, r) filter factors
        return self.rss + (1 - f) ** 2 @ self.b**2, f.sum(axis=1) + float(self.fit_intercept)

    def _kept(self, rcond):
        """Which singular values count as non-zero."""
        rcond = self.rcond if rcond is None else rcond
        return self.s > rcond * self.s[:1] if len(self.s) else np.zeros(0, dtype=bool)

    def _inverse(self, alpha, rcond):
        """s / (s^2 + alpha), or the truncated 1 / s for alpha = 0."""
        alpha, kept = self.scaled_alpha(alpha), self._kept(rcond)
        if alpha > 0:
            return self.s / (self.s**2 + alpha)
        return np.divide(1.0, self.s, out=np.zeros_like(self.s), where=kept)
