"""The triangular factor as a value: streaming QR that never squares the condition number."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy import linalg

from sklearn_analytic.linalg._normal import NormalEquations
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
)
from sklearn_analytic.linalg._spectral import SpectralProblem, thin_svd

_LEVERAGE_LIMIT = 4.0  # largest squared column norm of B R^-1 that the fast update takes
_REMOVAL_CUT = 1e-11  # directions below it (columns scaled to 1) are rounding: removal leaves them alone
_REMOVAL_TOLERANCE = 1e-6  # a leverage may exceed 1 by this much through rounding
_SPENT = 1e-10  # share of a direction's squared norm below which removal has used it up


@dataclass(frozen=True)
class TriangularFactor:
    r"""R of the QR factorisation of rows [1 | X | Y]; error grows as :math:`\kappa \epsilon`, not its square.

    The ones column stands first, so the first row holds the means and the rest is the factor of the
    centred data: an intercept is a choice at solve time. Q is never formed, nothing is inverted.

    A block B is absorbed by :math:`Z = B R^{-1}`, :math:`C^T C = I + Z^T Z`, :math:`R \leftarrow C R`.
    The Gram that is formed belongs to :math:`[I; Z]`, whose condition number is
    :math:`\sqrt{1 + \|Z\|^2}` whatever that of R, so the backward error of each column stays
    :math:`O(\epsilon (1 + \|Z\|^2))` of its norm. Where a column of Z is long, LAPACK's geqrf of the
    stacked [R; B] is used instead.

    Parameters
    ----------
    n_rows : int
        Rows of positive weight seen.
    weight : float
        Sum of their weights.
    r : array of shape (min(n, 1 + d + c), 1 + d + c)
        Upper triangular or trapezoidal factor, columns scaled by ``2.0**-exponent``.
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
    G. H. Golub, C. F. Van Loan, "Matrix Computations", 4th ed., 5.2 and 6.5 (updating QR).

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_analytic.linalg import TriangularFactor
    >>> X = np.array([[0.0], [1.0], [2.0], [3.0]])
    >>> factor = TriangularFactor.from_rows(X[:2], 2 * X[:2] + 1).accumulate(X[2:], 2 * X[2:] + 1)
    >>> coef, intercept = factor.spectral().solve()
    >>> coef.round(6), intercept.round(6)
    (array([[2.]]), array([1.]))
    """

    n_rows: int
    weight: float
    r: Any
    n_features: int
    exponent: tuple[int, int]
    unit: float = EPS
    lost: Any = None

    @classmethod
    def empty(cls, n_features, n_targets):
        """Return the factor of no rows."""
        return cls(0, 0.0, np.zeros((0, 1 + n_features + n_targets)), n_features, NO_ROWS)

    @classmethod
    def from_rows(cls, x, y, sample_weight=None, backend=None):
        """Return the factor of one block of rows."""
        backend = backend or cpu()
        block = cls._rows(x, y, sample_weight, backend)
        return replace(block, r=backend.qr_r(block.r))

    def accumulate(self, x, y, sample_weight=None, backend=None):
        """Return the factor with a block of rows added."""
        backend = backend or cpu()
        block = TriangularFactor._rows(x, y, sample_weight, backend)
        same_columns(self, block)
        if block.weight == 0:
            return self
        one, two = self._restated(block), block._restated(self)
        return _joined(one, two, _update(one.r, two.r, backend))._checked(self, block)

    def reweighted(self, factor):
        """Return the factor of the same rows with their weights multiplied."""
        return replace(self, weight=factor * self.weight, r=factor**0.5 * self.r)

    def rescaled(self, factors):
        """Return the factor with its features multiplied by ``factors``."""
        r = self.r * np.concatenate([[1.0], factors, np.ones(self.n_targets)])
        return replace(self, r=r, lost=None if self.lost is None else self.lost * factors)

    def merge(self, other, backend=None):
        """Return the factor of both sets of rows: QR of the stacked factors."""
        backend = backend or cpu()
        same_columns(self, other)
        one, two = self._restated(other), other._restated(self)
        return _joined(one, two, backend.qr_r(_stack(backend, one.r, two.r)))._checked(self, other)

    def remove(self, other):
        """Return the factor without the rows of ``other`` (both on the host).

        With :math:`R = U S V^T` and the other's factor B, the rest is
        :math:`(I - Z^T Z)^{1/2} S V^T`, :math:`Z = B V S^{-1}`, by an eigendecomposition with its
        eigenvalues checked: below zero the rows were never added, and ValueError is raised.
        A direction whose rows are all removed is forgotten once less than 1e-10 of it is left.
        """
        same_columns(self, other)
        if other.weight == 0:
            return self
        n_rows, weight = self.n_rows - other.n_rows, self.weight - other.weight
        if n_rows < 0 or weight < -1e-9 * self.weight:
            raise ValueError(f"Cannot remove {other.n_rows} rows from {self.n_rows}: they were never added.")
        one, two = self._restated(other), other._restated(self)
        lost = np.zeros(self.r.shape[1])
        lost[1 : 1 + self.n_features] = 0.0 if one.lost is None else one.lost
        r = _downdate(one.r, two.r, lost)
        if n_rows == 0:
            return replace(one, n_rows=0, weight=0.0, r=one.r[:0], lost=None)
        lost = either_lost(one.lost, lost_to_removal(one._norms(True), one._norms(False)))
        return replace(one, n_rows=n_rows, weight=weight, r=r, lost=lost)

    def add_targets(self, values):
        """Return the factor with further target columns that were constant, ``values``, in all rows so far."""
        columns = np.ldexp(np.outer(self.r[:, 0], values), -max(self.exponent[1], 0))
        exponent = (self.exponent[0], max(self.exponent[1], 0))
        r = scale_columns(self.r[:, 1:], self.n_features, self.exponent, exponent)
        return replace(self, r=np.hstack([self.r[:, :1], r, columns]), exponent=exponent)

    def permute_targets(self, order):
        """Return the factor with its target columns in another order."""
        columns = np.concatenate([np.arange(1 + self.n_features), 1 + self.n_features + np.asarray(order)])
        return replace(self, r=cpu().qr_r(self.r[:, columns]))

    def as_normal(self):
        """Return the normal equations R^T R of the same rows (the condition number is squared)."""
        centred = self.r[1:, 1:]
        return NormalEquations(
            self.n_rows,
            self.weight,
            self.mean,
            centred.T @ centred,
            self.n_features,
            self.exponent,
            self.unit,
            self.lost,
        )

    def on(self, backend):
        """Return the same value with its arrays on the backend's device."""
        return replace(self, r=backend.asarray(self.r))

    def to_host(self, backend):
        """Return the same value with NumPy arrays."""
        return replace(self, r=backend.to_numpy(self.r))

    def spectral(self, fit_intercept=True):
        """Return the singular value decomposition from which every solution follows (:class:`SpectralProblem`)."""
        d, columns = self.n_features, self.varying(fit_intercept)
        r = self._about(fit_intercept)
        xy = r[:, d:]
        u, s, vt = thin_svd(r[:, :d] if len(columns) == d else r[:, columns])
        b = u.T @ xy
        rss = np.sum((xy - u @ b) ** 2, axis=0)
        lost = None if self.lost is None else self.lost[columns]
        rounding = blurred(s, vt, self._norms(False)[columns], fit_intercept, lost)
        if np.any(rounding):
            rss = rss + np.sum(b[rounding] ** 2, axis=0)
            s, vt, b = s[~rounding], vt[~rounding], b[~rounding]
        vt = embedded(vt, columns, d, axis=1)
        n, weight, mean = self.effective_rows, self.weight, self.mean
        return SpectralProblem(s, vt, b, rss, n, weight, mean, fit_intercept, self.exponent, rank_tolerance(d))

    def varying(self, fit_intercept=True):
        """Return the columns of X that are not constant (zero, without an intercept) but for rounding."""
        deviation, norm = self._norms(fit_intercept), self._norms(False)
        level = norm if fit_intercept else 0 * norm
        return np.flatnonzero(deviation > column_rounding(level, self.n_rows, self.unit, self.lost))

    def solve_equilibrated(self, fit_intercept=True):
        """Return ``(coef, intercept)`` after scaling columns to unit norm, or None where X is rank-deficient then.

        At full rank the solution does not depend on column scales, and neither does its error. Constant columns
        are left out, with coefficients of zero.
        """
        columns = self.varying(fit_intercept)
        d, norms = len(columns), self._norms(fit_intercept)[columns]
        if d == 0:
            return None
        others = np.arange(1 + self.n_features, self.r.shape[1])
        r = self.r[:, np.concatenate([[0], 1 + columns, others])]
        r[:, 1 : 1 + d] /= norms
        lost = None if self.lost is None else self.lost[columns] / norms
        part = replace(self, r=r, n_features=d, exponent=(0, self.exponent[1]), lost=lost)
        problem = part.spectral(fit_intercept)
        if problem.rank() < d:
            return None
        coef, intercept = problem.solve()
        coef = np.ldexp(coef / norms[:, None], -self.exponent[0])
        return embedded(coef, columns, self.n_features, axis=0), intercept

    def condition(self, fit_intercept=True):
        """Return the ratio of the extreme singular values of (centred) X, constant columns aside."""
        s = linalg.svdvals(self._about(fit_intercept)[:, self.varying(fit_intercept)])
        return float(s[0] / s[-1]) if s[-1] > 0 else np.inf

    def squared_error(self, coef, intercept):
        """Return the weighted sum of squared residuals per target of given coefficients (d, c) and (c,)."""
        ex, ey = self.exponent
        x, y = self.r[:, 1 : 1 + self.n_features], self.r[:, 1 + self.n_features :]
        residual = y - x @ np.ldexp(coef, ex - ey) - self.r[:, :1] * np.ldexp(intercept, -ey)
        return np.ldexp(np.sum(residual**2, axis=0), 2 * ey)

    @property
    def n_targets(self):
        """Number of columns that belong to Y."""
        return self.r.shape[1] - 1 - self.n_features

    @property
    def mean(self):
        """Weighted means of [X | Y], in the stored scale."""
        counted = self.weight > 0 and self.r[0, 0] != 0
        return self.r[0, 1:] / self.r[0, 0] if counted else np.zeros(self.r.shape[1] - 1)

    @property
    def effective_rows(self):
        """Rows that GCV counts: weights are frequencies, but never fewer than the rows themselves."""
        return max(self.weight, float(self.n_rows))

    @classmethod
    def _rows(cls, x, y, sample_weight, backend):
        """[1 | X | Y], each row times the root of its weight: rows that stand in for their factor."""
        rows = prepare_rows(x, y, sample_weight, backend, ones=True)
        if rows.weights is not None:
            rows.a[:] *= (rows.weights**0.5)[:, None]
        return cls(rows.n_rows, rows.weight, rows.a, rows.n_features, rows.exponent, rows.unit)

    def _checked(self, one, two):
        """The factor itself, if no column of the parts has vanished beside others."""
        if one.exponent[0] != two.exponent[0] and one.n_rows:
            refuse_lost(one._sizes() + two._sizes(), self._sizes())
        return self

    def _sizes(self):
        """Something near the largest magnitude of every column of X, on the device."""
        return abs(self.r[:, 1 : 1 + self.n_features]).sum(0)

    def _about(self, fit_intercept):
        """The factor of [X | Y] about the mean with an intercept, about zero without."""
        return self.r[1:, 1:] if fit_intercept else self.r[:, 1:]

    def _norms(self, fit_intercept):
        """Root sums of squares of the columns of X, about the mean or about zero, whatever the weights' magnitude."""
        columns = self._about(fit_intercept)[:, : self.n_features]
        exponent = max(block_exponent(columns, "X"), -1000)
        return np.ldexp(np.sqrt(np.sum(np.ldexp(columns, -exponent) ** 2, axis=0)), exponent)

    def _restated(self, other):
        """The same factor in the common exponent of both."""
        exponent = common_exponent(self.exponent, other.exponent)
        if exponent == self.exponent:
            return self
        r = self.r * 1.0
        r[:, 1:] = scale_columns(r[:, 1:], self.n_features, self.exponent, exponent)
        lost = restated_lost(self.lost, self.exponent, exponent)
        return replace(self, r=r, exponent=exponent, lost=lost)


def _joined(one, two, r):
    """The factor r of the rows of two statistics in one exponent."""
    return replace(
        one,
        n_rows=one.n_rows + two.n_rows,
        weight=one.weight + two.weight,
        r=r,
        unit=max(one.unit, two.unit),
        lost=either_lost(one.lost, two.lost),
    )


def _stack(backend, top, bottom):
    """[top; bottom], through the transpose of the one stacking verb."""
    return backend.stack_columns([top.T, bottom.T], [1.0, 1.0]).T


def _update(r, block, backend):
    """R of [R; block]: preconditioned Cholesky where that is faster and leverages are moderate, else LAPACK's QR."""
    if r.shape[0] == r.shape[1] and backend.updates_by_cholesky:
        updated = _preconditioned_update(r, block, backend)
        if updated is not None:
            return updated
    return backend.qr_r(_stack(backend, r, block))


def _preconditioned_update(r, block, backend):
    """Return C R with C^T C = T^T T + Z^T Z, Z = block S^{-1}, or None where Z is too long for it.

    S is R with rounding-sized diagonal entries raised to 16 eps of their column's norm: dependent columns
    then give moderate entries of Z. T = R S^{-1} keeps the result exact for any S.
    """
    diagonal = r.diagonal()
    norms = (r * r).sum(0) ** 0.5
    floor = 16 * EPS * norms + (norms == 0) * 1e-150
    small = abs(diagonal) < floor
    s = r * 1.0
    if bool(small.any()):
        rows = np.flatnonzero(backend.to_numpy(small))
        s[rows, rows] = floor[rows]
    z = backend.solve_upper_right(block * 1.0, s)
    gram = backend.gram(z)
    longest = float(gram.diagonal().max())
    if not longest <= _LEVERAGE_LIMIT:  # also when it is NaN
        return None
    if bool(small.any()):
        gram = gram + backend.gram(backend.solve_upper_right(r * 1.0, s))
        gram[rows, rows] += 8 * len(r) * EPS  # at most 1e-6 of the floor enters R: below rounding
    else:
        steps = np.arange(len(r))
        gram[steps, steps] += 1.0
    c = backend.cholesky_upper(gram)
    if c is None:
        return None
    # A column that is zero in all rows so far stays zero: what was raised above would become a coefficient.
    empty = (norms == 0) & ((block != 0).sum(0) == 0)
    return backend.matmul(c, s * (1.0 - 1.0 * empty))


def _downdate(r, b, lost):
    """R of the rows that remain when those of factor ``b`` leave those of ``r``; ValueError if they were not in.

    Directions that earlier removals have ``lost`` are left alone: what R holds of them is rounding.
    """
    norms = np.sqrt(np.sum(r * r, axis=0))
    scale = np.where(norms > 0, norms, 1.0)
    _, s, vt = thin_svd(r / scale)
    lost = lost / scale
    kept = s > np.maximum(_REMOVAL_CUT * s[:1], np.sqrt(vt**2 @ lost**2))
    v, rest = vt[kept].T, vt[~kept].T
    scaled = b / scale
    outside = scaled - (scaled @ v) @ v.T
    z = (scaled @ v) / s[kept]
    eigenvalues, q = linalg.eigh(np.eye(z.shape[1]) - z.T @ z)
    _check_removal(eigenvalues, outside, 100 * (_REMOVAL_CUT * s[0] + np.max(lost)))
    eigenvalues = np.where(eigenvalues > _SPENT, eigenvalues, 0.0)
    remaining = np.sqrt(eigenvalues)[:, None] * (q.T * s[kept]) @ v.T
    untouched = s[~kept][:, None] * rest.T
    return cpu().qr_r(np.vstack([remaining, untouched]) * scale)


def _check_removal(eigenvalues, outside, rounding):
    """Refuse rows with a component that R has never seen, or with more weight than R holds."""
    unseen = np.max(np.abs(outside), initial=0.0) > rounding
    if unseen or (len(eigenvalues) and eigenvalues[0] < -_REMOVAL_TOLERANCE):
        raise ValueError(
            "Removing these rows leaves a negative variance: they were never added, or were added with "
            "other targets or weights. Nothing was changed."
        )
