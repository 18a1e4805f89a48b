"""Normal equations as a value: fast, mergeable, and squared in the condition number."""

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy import linalg

from sklearn_analytic.backend import dtype_name
from sklearn_analytic.linalg._rows import (
    EPS,
    NO_ROWS,
    block_exponent,
    blurred,
    column_rounding,
    common_exponent,
    cpu,
    either_lost,
    embedded,
    lost_to_removal,
    prepare_rows,
    rank_tolerance,
    refuse_lost,
    restated_lost,
    same_columns,
    scale_columns,
    unscaled,
)
from sklearn_analytic.linalg._spectral import SpectralProblem

_CANCELLED = 64  # how much of a raw sum of squares its mean may hold
_LEVEL = 1e-6  # of the norm of a column: deviations below it are those of rounding
_REMOVAL_TOLERANCE = 1e-9  # relative to the scatter before removal; rounding of equal sums stays far below


@dataclass(frozen=True)
class NormalEquations:
    r"""Count, means and centred cross products of rows [X | Y]; forming them squares the condition number.

    The statistic of :math:`\min_{W, b} \sum_i w_i \|y_i - W x_i - b\|^2`. Blocks are merged by the
    pairwise formula, so no large mean is ever subtracted from a large sum of squares; sums are float64.
    A solution's relative error grows as :math:`\kappa^2 \epsilon`, with :math:`\kappa` the condition
    number of the centred X after column scaling: see :class:`TriangularFactor` for :math:`\kappa \epsilon`.

    Parameters
    ----------
    n_rows : int
        Rows of positive weight seen.
    weight : float
        Sum of their weights.
    mean : array of shape (d + c,)
        Weighted means of [X | Y], scaled by ``2.0**-exponent``.
    scatter : array of shape (d + c, d + c)
        Centred weighted cross products of [X | Y], scaled likewise.
    n_features : int
        d, the number of columns that belong to X.
    exponent : tuple of int
        Exact power-of-two scales of X and Y.
    unit : float
        Relative spacing of the numbers that X came in, the coarsest of all blocks.
    lost : ndarray of shape (d,) or None
        Norm per column below which :meth:`remove` leaves rounding.

    References
    ----------
    T. F. Chan, G. H. Golub, R. J. LeVeque, "Updating formulae and a pairwise algorithm for computing
    sample variances", Stanford report STAN-CS-79-773, 1979 (in matrix form).

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_analytic.linalg import NormalEquations
    >>> X = np.array([[0.0], [1.0], [2.0], [3.0]])
    >>> parts = [NormalEquations.from_rows(X[i : i + 2], 2 * X[i : i + 2] + 1) for i in (0, 2)]
    >>> coef, intercept = parts[0].merge(parts[1]).spectral().solve()
    >>> coef.round(6), intercept.round(6)
    (array([[2.]]), array([1.]))
    """

    n_rows: int
    weight: float
    mean: Any
    scatter: Any
    n_features: int
    exponent: tuple[int, int]
    unit: float = EPS
    lost: Any = None

    @classmethod
    def empty(cls, n_features, n_targets):
        """Return the statistic of no rows."""
        p = n_features + n_targets
        return cls(0, 0.0, np.zeros(p), np.zeros((p, p)), n_features, NO_ROWS)

    def emptied(self):
        """Return the statistic of no rows of the same columns."""
        return NormalEquations.empty(self.n_features, self.n_targets)

    @classmethod
    def from_rows(cls, x, y, sample_weight=None, backend=None, widen=True):
        """Return the statistic of one block of rows; two passes over the block, none over the data.

        With ``widen=False`` float32 rows are centred and multiplied in float32, in chunks of 1024 rows that
        are summed in float64: half the time, and an error of about 1e-6 of the scatter's diagonal, which a
        ridge of more than that share makes harmless. bfloat16 rows of no weights are multiplied as they are:
        every product is exact, and sums are as in float32.
        """
        backend = backend or cpu()
        if not widen and sample_weight is None and dtype_name(x) == "bfloat16":
            short = _short_sums(x, y, backend)
            if short is not None:
                return cls(*short)
        rows = prepare_rows(x, y, sample_weight, backend, widen)
        if rows.weight == 0:
            zero = backend.gram(0 * rows.a[:1])
            return cls(0, 0.0, zero.sum(0), zero, rows.n_features, rows.exponent, rows.unit)
        a, w = rows.a, rows.weights
        counts = backend.ones(len(a)) if w is None else w[:, None]
        mean = backend.cross(backend.asarray(counts, dtype_name(a)), a)[0] / rows.weight
        a -= backend.asarray(mean, dtype_name(a))
        if w is not None:
            a *= backend.asarray(w**0.5, dtype_name(a))[:, None]
        return cls(rows.n_rows, rows.weight, mean, backend.gram(a), rows.n_features, rows.exponent, rows.unit)

    def accumulate(self, x, y, sample_weight=None, backend=None, widen=True):
        """Return the statistic with a block of rows added."""
        return self.merge(NormalEquations.from_rows(x, y, sample_weight, backend, widen))

    def select(self, columns):
        """Return the statistic of some features only, in the order of ``columns``."""
        rows = np.concatenate([columns, np.arange(self.n_features, len(self.mean))])
        scatter = self.scatter[np.ix_(rows, rows)]
        lost = None if self.lost is None else self.lost[columns]
        return replace(self, mean=self.mean[rows], scatter=scatter, n_features=len(columns), lost=lost)

    def reweighted(self, factor):
        """Return the statistic of the same rows with their weights multiplied."""
        return replace(self, weight=factor * self.weight, scatter=factor * self.scatter)

    def rescaled(self, factors):
        """Return the statistic with its features multiplied by ``factors``."""
        both = np.concatenate([factors, np.ones(self.n_targets)])
        lost = None if self.lost is None else self.lost * factors
        return replace(self, mean=self.mean * both, scatter=self.scatter * both[:, None] * both, lost=lost)

    def merge(self, other):
        """Return the statistic of both sets of rows (Chan, Golub, LeVeque 1979)."""
        same_columns(self, other)
        if other.weight == 0 or self.weight == 0:
            return self if other.weight == 0 else other
        one, two = self._restated(other), other._restated(self)
        weight = one.weight + two.weight
        step = two.mean - one.mean
        scatter = step[:, None] * (step * (one.weight * two.weight / weight))
        scatter += one.scatter
        scatter += two.scatter
        mean = one.mean + step * (two.weight / weight)
        unit, lost = max(one.unit, two.unit), either_lost(one.lost, two.lost)
        n_rows = one.n_rows + two.n_rows
        if self.exponent[0] != other.exponent[0]:
            refuse_lost(self._sizes() + other._sizes(), replace(one, mean=mean, scatter=scatter)._sizes())
        return replace(one, n_rows=n_rows, weight=weight, mean=mean, scatter=scatter, unit=unit, lost=lost)

    def remove(self, other, tolerance=_REMOVAL_TOLERANCE):
        """Return the statistic without the rows of ``other`` (both on the host).

        ``tolerance`` is what rounding may leave of a variance, relative to that before. ValueError when the rest would
        not be positive semidefinite: then the rows were never added.
        Foreign rows that resemble the data leave it definite and cannot be noticed by any statistic.
        """
        same_columns(self, other)
        if other.weight == 0:
            return self
        n_rows, weight = self.n_rows - other.n_rows, self.weight - other.weight
        if n_rows < 0 or weight < -1e-9 * self.weight:
            raise ValueError(f"Cannot remove {other.n_rows} rows from {self.n_rows}: they were never added.")
        one, two = self._restated(other), other._restated(self)
        if n_rows == 0:
            _check_definite(one.scatter - two.scatter, one, tolerance)
            return replace(one, n_rows=0, weight=0.0, mean=0 * one.mean, scatter=0 * one.scatter, lost=None)
        mean = one.mean - (two.mean - one.mean) * (two.weight / weight)
        step = two.mean - mean
        scatter = one.scatter - two.scatter - step[:, None] * (step * (weight * two.weight / one.weight))
        _check_definite(scatter, one, tolerance)
        lost = either_lost(one.lost, lost_to_removal(one._norms(True), one._norms(False)))
        return replace(one, n_rows=n_rows, weight=weight, mean=mean, scatter=scatter, lost=lost)

    def add_targets(self, values):
        """Return the statistic with further target columns that were constant, ``values``, in all rows so far."""
        exponent = (self.exponent[0], max(self.exponent[1], 0))
        one = self._in(exponent)
        k, p = len(values), len(self.mean)
        mean = np.concatenate([one.mean, np.ldexp(values, -exponent[1])])
        return replace(one, mean=mean, scatter=np.pad(one.scatter, (0, k))[: p + k, : p + k])

    def permute_targets(self, order):
        """Return the statistic with its target columns in another order."""
        columns = np.concatenate([np.arange(self.n_features), self.n_features + np.asarray(order)])
        return replace(self, mean=self.mean[columns], scatter=self.scatter[np.ix_(columns, columns)])

    def as_normal(self):
        """Return the statistic itself (its counterpart in :class:`TriangularFactor` squares the factor)."""
        return self

    def on(self, backend):
        """Return the same value with its arrays on the backend's device."""
        return replace(self, mean=backend.asarray(self.mean), scatter=backend.asarray(self.scatter))

    def to_host(self, backend):
        """Return the same value with NumPy arrays."""
        return replace(self, mean=backend.to_numpy(self.mean), scatter=backend.to_numpy(self.scatter))

    def spectral(self, fit_intercept=True):
        """Return the eigendecomposition from which every ridge solution follows (:class:`SpectralProblem`)."""
        d, columns = self.n_features, self.varying(fit_intercept)
        part = self if len(columns) == d else self.select(columns)
        xx, xy, yy, _ = part._centred(fit_intercept)
        eigenvalues, v = _eigh(xx)
        s = np.sqrt(np.maximum(eigenvalues[::-1], 0))
        v = v[:, ::-1]
        rounding = blurred(s, v.T, part._norms(False), fit_intercept, part.lost)
        if np.any(rounding):
            s, v = s[~rounding], v[:, ~rounding]
        floor = s[:1] * math.sqrt(rank_tolerance(d))  # below it an eigenvalue of a Gram is rounding
        b = np.divide(v.T @ xy, s[:, None], out=np.zeros((len(s), xy.shape[1])), where=(s > floor)[:, None])
        rss = np.maximum(np.diag(yy) - np.sum(b**2, axis=0), 0)
        rcond = floor[0] / s[0] if len(s) and s[0] > 0 else 0.0
        vt = embedded(v.T, columns, d, axis=1)
        n, weight, mean = self.effective_rows, self.weight, self.mean
        return SpectralProblem(s, vt, b, rss, n, weight, mean, fit_intercept, self.exponent, rcond)

    def varying(self, fit_intercept=True):
        """Return the columns of X that are not constant (zero, without an intercept) but for rounding."""
        deviation, norm = self._norms(fit_intercept), self._norms(False)
        level = norm if fit_intercept else 0 * norm
        return np.flatnonzero(deviation > column_rounding(level, self.n_rows, self.unit, self.lost))

    def equilibrated_condition(self, fit_intercept=True):
        """Return the condition number of X with columns scaled to unit norm: what Cholesky's error follows.

        Constant columns are left out; infinite where the others are dependent but for rounding.
        """
        columns = self.varying(fit_intercept)
        if len(columns) == 0:
            return 1.0
        part = self.select(columns)
        xx = part._centred(fit_intercept)[0]
        scale = np.sqrt(np.diag(xx))
        scaled = xx / scale[:, None] / scale
        eigenvalues = linalg.eigvalsh(scaled)
        if eigenvalues[0] <= rank_tolerance(len(scale)) * eigenvalues[-1]:
            return np.inf
        lost = None if part.lost is None else part.lost / scale
        if fit_intercept and _is_blurred(scaled, eigenvalues, part._norms(False) / scale, lost):
            return np.inf
        return float(np.sqrt(eigenvalues[-1] / eigenvalues[0]))

    def condition(self, fit_intercept=True):
        """Return the ratio of the extreme singular values of (centred) X, from an equilibrated Cholesky factor.

        Constant columns are left out.
        """
        xx = self.select(self.varying(fit_intercept))._centred(fit_intercept)[0]
        scale = np.sqrt(np.diag(xx))
        s = linalg.svdvals(linalg.cholesky(xx / scale[:, None] / scale) * scale)
        return float(s[0] / s[-1]) if s[-1] > 0 else np.inf

    def solve_equilibrated(self, fit_intercept=True):
        """Return :meth:`solve_cholesky` for alpha 0, or None where X with scaled columns is rank-deficient.

        Constant columns are left out, with coefficients of zero.
        """
        columns = self.varying(fit_intercept)
        if len(columns) == 0 or not np.isfinite(self.equilibrated_condition(fit_intercept)):
            return None
        coef, intercept = self.select(columns).solve_cholesky(0.0, fit_intercept)
        return embedded(coef, columns, self.n_features, axis=0), intercept

    def solve_cholesky(self, alpha=0.0, fit_intercept=True):
        """Return ``(coef, intercept)`` of a positive definite system by an equilibrated Cholesky factor.

        Column scaling makes the error follow :meth:`equilibrated_condition`, not the units of the columns.
        LinAlgError is raised when the penalised Gram is not numerically positive definite.
        """
        xx, xy, _, mean = self._centred(fit_intercept)
        xx = xx + float(np.ldexp(alpha, -2 * max(self.exponent[0], -500))) * np.eye(len(xx))
        scale = np.sqrt(np.diag(xx))
        if not np.all(scale > 0):
            raise np.linalg.LinAlgError("a column of X is constant and alpha is 0")
        factor = linalg.cho_factor(xx / scale[:, None] / scale)
        solution = linalg.cho_solve(factor, xy / scale[:, None]) / scale[:, None]
        return unscaled(solution, mean, self.n_features, self.exponent, fit_intercept)

    def squared_error(self, coef, intercept):
        """Return the weighted sum of squared residuals per target of given coefficients (d, c) and (c,)."""
        d, (ex, ey) = self.n_features, self.exponent
        coef, intercept = np.ldexp(coef, ex - ey), np.ldexp(intercept, -ey)
        sxx, sxy, syy = self.scatter[:d, :d], self.scatter[:d, d:], np.diag(self.scatter)[d:]
        centred = syy - 2 * np.sum(coef * sxy, axis=0) + np.sum(coef * (sxx @ coef), axis=0)
        offset = self.mean[d:] - self.mean[:d] @ coef - intercept
        return np.ldexp(np.maximum(centred, 0) + self.weight * offset**2, 2 * ey)

    @property
    def n_targets(self):
        """Number of columns that belong to Y."""
        return len(self.mean) - self.n_features

    @property
    def effective_rows(self):
        """Rows that GCV counts: weights are frequencies, but never fewer than the rows themselves."""
        return max(self.weight, float(self.n_rows))

    def _restated(self, other):
        """The same statistic in the common exponent of both."""
        return self._in(common_exponent(self.exponent, other.exponent))

    def _in(self, exponent):
        """The same statistic stated in another exponent."""
        if exponent == self.exponent:
            return self
        mean = scale_columns(self.mean[None, :], self.n_features, self.exponent, exponent)[0]
        half = scale_columns(self.scatter, self.n_features, self.exponent, exponent)
        scatter = scale_columns(half.T, self.n_features, self.exponent, exponent)
        lost = restated_lost(self.lost, self.exponent, exponent)
        return replace(self, mean=mean, scatter=scatter, exponent=exponent, lost=lost)

    def _sizes(self):
        """Something near the largest magnitude of every column of X, on the device."""
        d = self.n_features
        return abs(self.scatter.diagonal()[:d]) ** 0.5 + abs(self.mean[:d])

    def _norms(self, fit_intercept):
        """Root sums of squares of the columns of X, about the mean or about zero."""
        d = self.n_features
        squares = np.maximum(np.diag(self.scatter)[:d], 0)
        return np.sqrt(squares if fit_intercept else squares + self.weight * self.mean[:d] ** 2)

    def _centred(self, fit_intercept):
        """Sxx, Sxy, Syy and the means, about the mean with an intercept and about zero without."""
        scatter, mean = self.scatter, self.mean
        if not fit_intercept:
            scatter = scatter + self.weight * np.outer(mean, mean)
        d = self.n_features
        return scatter[:d, :d], scatter[:d, d:], scatter[d:, d:], mean


def _eigh(a):
    """Eigenvalues and vectors, of an empty matrix too (which SciPy before 1.14 refuses)."""
    return linalg.eigh(a) if len(a) else (np.zeros(0), np.zeros((0, 0)))


def _is_blurred(scaled, eigenvalues, norm, lost):
    """Whether a direction of equilibrated columns is rounding beside their norms about zero; vectors only in doubt."""
    limit = column_rounding(norm, lost=lost)
    if eigenvalues[0] > limit @ limit:
        return False
    eigenvalues, v = linalg.eigh(scaled)
    return bool(np.any(blurred(np.sqrt(np.maximum(eigenvalues[::-1], 0)), v[:, ::-1].T, norm, lost=lost)))


def _short_sums(x, y, backend):
    """The fields of the statistic of bfloat16 rows from products of the rows themselves, or None.

    Centred rows are no bfloat16 numbers, so the means leave the Gram afterwards, in float64. None where that would
    cancel more than six bits of a column: its rows are better centred first.
    """
    rows = prepare_rows(x[:, :0], y, None, backend)  # targets alone, in float64
    n, targets = rows.n_rows, rows.a
    ones = backend.asarray(backend.ones(n), "bfloat16")
    mean = backend.cross(ones, x)[0] / n  # (d,)
    gram = backend.gram(x)
    scatter = gram - n * (mean[:, None] * mean)
    diagonal = gram.diagonal()
    if bool((diagonal > _CANCELLED * scatter.diagonal()).any()):
        return None
    level = targets.sum(0) / n  # (c,)
    targets = targets - level
    mixed = backend.cross(x, targets)
    right = backend.concatenate([mixed, backend.gram(targets)])
    whole = backend.concatenate([scatter, mixed.T])
    whole = backend.stack_columns([whole, right], [1.0, 1.0])
    level = backend.concatenate([mean, level])
    exponent = (block_exponent(x, "X"), rows.exponent[1])
    return n, float(n), level, whole, x.shape[1], exponent


def _check_definite(rest, whole, tolerance):
    """Refuse a removal that leaves a direction of negative variance beyond rounding."""
    size = np.abs(whole.mean) * (_LEVEL * np.sqrt(whole.weight))  # of a column that hardly varies, rounding is all
    scale = np.maximum(np.sqrt(np.maximum(np.diag(whole.scatter), np.finfo(np.float64).tiny)), size)
    shifted = rest / scale[:, None] / scale + tolerance * np.eye(len(rest))
    if not np.all(np.isfinite(shifted)) or linalg.lapack.dpotrf(shifted)[1] != 0:
        raise ValueError(
            "Removing these rows leaves a negative variance: they were never added, or were added with "
            "other targets or weights. Nothing was changed."
        )
