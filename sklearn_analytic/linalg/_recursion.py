"""The recursion behind the same verbs as the other statistics: intercept, weights, ridge, and blocks of any size."""

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy import linalg

from sklearn_analytic.linalg._pseudoinverse import MoorePenroseState
from sklearn_analytic.linalg._rows import EPS, block_exponent, rank_tolerance, refuse_lost, unit_of
from sklearn_analytic.linalg._triangular import TriangularFactor

_GROWN = 1e120  # beside which squares of the first block would vanish, and whose own may be no numbers
_MANY = 8  # rows that are not all near a mean by chance


@dataclass(frozen=True)
class RecursiveLeastSquares:
    r"""Rows [X | 1] absorbed by :class:`MoorePenroseState`, in blocks of at most twice the columns.

    A ridge is the Moore-Penrose solution of the rows with :math:`\sqrt\alpha I` put before them.

    Parameters
    ----------
    state : MoorePenroseState
        The recursion's P, N, W for the shifted, scaled [X | 1] (or X).
    n_rows : int
        Rows of positive weight seen.
    weight : float
        Sum of their weights.
    fit_intercept : bool
        Whether a ones column is appended.
    alpha : float
        The ridge, which the first block brings in.
    rcond : float or None
        Tolerance of the scenario decision.
    shift : ndarray of shape (d,)
        Mean of the first block, taken off every row when there is an intercept: a far origin would square
        the condition number.
    exponent : tuple of int
        Exact power-of-two scales of X and Y, from the first block.
    moved : ndarray of shape (d,) or None
        Which columns have left the shift by more than rounding; None counts all.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_analytic.linalg import RecursiveLeastSquares
    >>> X = np.array([[0.0], [1.0], [2.0]])
    >>> recursion = RecursiveLeastSquares.start(1, 1, True, 0.0, None).accumulate(X, 2 * X + 1)
    >>> coef, intercept = recursion.solve()
    >>> coef.round(6), intercept.round(6)
    (array([[2.]]), array([1.]))
    """

    state: MoorePenroseState
    n_rows: int
    weight: float
    fit_intercept: bool
    alpha: float
    rcond: float | None
    shift: np.ndarray
    exponent: tuple[int, int]
    moved: Any = None

    @classmethod
    def start(cls, n_features, n_targets, fit_intercept, alpha, rcond):
        """Return the recursion before any row."""
        state = MoorePenroseState.start(n_features + fit_intercept, n_targets)
        moved = np.zeros(n_features, dtype=bool)
        return cls(state, 0, 0.0, fit_intercept, alpha, rcond, np.zeros(n_features), (0, 0), moved)

    @property
    def n_features(self):
        """Number of columns of X."""
        return len(self.shift)

    def accumulate(self, x, y, sample_weight=None, backend=None):
        """Return the recursion with a block of rows absorbed; the backend is not used, the state is host float64."""
        one = self if self.n_rows else self._begun(x, y)
        b, t, weight, n_rows = one._rows(x, y, sample_weight)
        state = one.state
        for rows in _cuts(b):
            state = state.absorb(b[rows], t[rows], self.rcond)
        moved = one._moved(b)
        return replace(one, state=state, n_rows=one.n_rows + n_rows, weight=one.weight + weight, moved=moved)

    def remove_rows(self, x, y, sample_weight=None):
        """Return the recursion without a block of rows that it holds."""
        b, t, weight, n_rows = self._rows(x, y, sample_weight)
        state = self.state
        for rows in _cuts(b):
            state = state.remove(b[rows], t[rows])
        return replace(self, state=state, n_rows=self.n_rows - n_rows, weight=self.weight - weight)

    def merge(self, other):
        """Return the recursion over both sets of rows."""
        rows, targets = other.state.as_rows()
        rows, targets = self._restated(rows, targets, other)
        state = self.state.absorb(rows, targets, self.rcond)
        scenarios = {name: count + other.state.scenarios[name] for name, count in self.state.scenarios.items()}
        state = replace(state, scenarios=scenarios)
        weight, moved = self.weight + other.weight, self._moved(rows)
        return replace(self, state=state, n_rows=self.n_rows + other.n_rows, weight=weight, moved=moved)

    def add_targets(self, values):
        """Return the recursion with target columns that were constant so far: A^+ 1 = (I - N) e of the ones column."""
        if not self.fit_intercept:
            raise ValueError("New targets need fit_intercept=True with solver='recursive'.")
        ones = np.eye(len(self.state.n))[:, -1] - self.state.n[:, -1]
        w = np.hstack([self.state.w, np.outer(ones, np.ldexp(values, -self.exponent[1]))])
        return replace(self, state=replace(self.state, w=w))

    def permute_targets(self, order):
        """Return the recursion with its target columns in another order."""
        return replace(self, state=replace(self.state, w=self.state.w[:, order]))

    def solve(self):
        """Return ``coef`` (d, c) and ``intercept`` (c,) of minimum norm of ``coef``."""
        w, n, (ex, ey) = self.state.w, self.state.n, self.exponent
        if not self.fit_intercept:
            return np.ldexp(w, ey - ex), np.zeros(w.shape[1])
        if np.any(n):  # the intercept carries no norm: move along the null space until coef is shortest
            w = w - n @ linalg.pinv(n[:-1], rtol=1e-8) @ w[:-1]
        w = np.where(np.append(self._used(), True)[:, None], w, 0.0)
        return np.ldexp(w[:-1], ey - ex), np.ldexp(w[-1] - np.ldexp(self.shift, -ex) @ w[:-1], ey)

    def as_triangular(self):
        """Return the triangular factor of rows that carry the same information, the ridge with it."""
        rows, targets = self.state.as_rows()
        d = self.n_features
        ones = rows[:, d:] if self.fit_intercept else np.zeros((len(rows), 1))
        x = rows[:, :d] + ones * np.ldexp(self.shift, -self.exponent[0])
        r = linalg.qr(np.hstack([ones, x, targets]), mode="r")[0][: len(rows)]
        return TriangularFactor(self.n_rows, self.weight, r, d, self.exponent)

    def condition(self):
        """Return the condition number of the shifted [X | 1] in its row space, from the eigenvalues of P.

        Constant columns are left out: nothing ties the others to them.
        """
        p, rank = self.state.p, self.rank() + self._has_ones()
        used = self._used()
        if not np.all(used):
            kept = np.append(used, True)[: len(p)]
            p = p[np.ix_(kept, kept)]
        eigenvalues = linalg.eigvalsh(p)[::-1][:rank]
        if not len(eigenvalues) or eigenvalues[-1] <= 0:
            return 1.0 if not len(eigenvalues) else np.inf
        return float(np.sqrt(eigenvalues[0] / eigenvalues[-1]))

    def rank(self):
        """Return the rank of the (centred) X; a ridge fills all columns but the constant ones."""
        return int(np.count_nonzero(self._used())) if self.alpha > 0 else self.state.rank - self._has_ones()

    def on(self, backend):
        """Return the recursion itself: its state always lives on the host."""
        return self

    def to_host(self, backend):
        """Return the recursion itself: its state always lives on the host."""
        return self

    def _begun(self, x, y):
        """The recursion with shift, scales and ridge settled by a first block."""
        x = np.asarray(x, dtype=np.float64)
        exponent = tuple(max(block_exponent(part, name), -1000) for part, name in ((x, "X"), (np.asarray(y), "Y")))
        if exponent[0] > 0:
            sizes = np.max(np.abs(x), axis=0)
            refuse_lost(sizes, np.ldexp(sizes, -exponent[0]))
        exponent = tuple(0 if e == -1000 else e for e in exponent)
        shift = self.shift
        if self.fit_intercept:
            mean = np.ldexp(np.ldexp(x, -exponent[0]).mean(axis=0), exponent[0])
            shift = np.where(np.all(_off(x, x[0]) == 0, axis=0), x[0], mean)  # a mean of many equal rows is none
        state = self.state
        if self.alpha > 0:
            d = self.n_features
            root = math.sqrt(self.alpha)
            prior = np.ldexp(root, -exponent[0]) * np.eye(d, d + self.fit_intercept)
            state = replace(state.absorb(prior, np.zeros((d, state.w.shape[1]))), scenarios=state.scenarios)
        return replace(self, state=state, shift=shift, exponent=exponent)

    def _moved(self, rows):
        """Which columns some row of shifted ones has moved, or did before."""
        return None if self.moved is None else self.moved | np.any(rows[:, : self.n_features] != 0, axis=0)

    def _used(self):
        """Which columns are not constant."""
        return np.ones(self.n_features, dtype=bool) if self.moved is None else self.moved

    def _has_ones(self):
        """Whether the rank counts the ones column."""
        return int(self.fit_intercept and self.n_rows > 0)

    def _restated(self, rows, targets, other):
        """Rows and targets of another recursion in the shift and scales of this one."""
        ex, ey = (theirs - ours for theirs, ours in zip(other.exponent, self.exponent, strict=True))
        d = self.n_features
        x = np.ldexp(rows[:, :d], ex)
        if self.fit_intercept:
            moved = np.ldexp(_off(other.shift, self.shift), -self.exponent[0])
            x = np.hstack([x + rows[:, d:] * moved, rows[:, d:]])
        return x, np.ldexp(targets, ey)

    def _rows(self, x, y, sample_weight):
        """The shifted, scaled [X | 1] and Y, rows times the root of their weight; rows of weight 0 are left out."""
        x = np.ldexp(_off(np.asarray(x, dtype=np.float64), self.shift, unit_of(x)), -self.exponent[0])
        y = np.ldexp(np.asarray(y, dtype=np.float64), -self.exponent[1])
        if max(np.max(np.abs(x), initial=0.0), np.max(np.abs(y), initial=0.0)) > _GROWN:
            raise ValueError(
                "solver='recursive' keeps the scales of its first block, and X or y is more than 1e120 times as large "
                "now: scale the columns first (StandardScaler), or use solver='qr'."
            )
        b = np.hstack([x, np.ones((len(x), 1))]) if self.fit_intercept else x
        if sample_weight is None:
            return b, y, float(len(b)), len(b)
        used = np.asarray(sample_weight) > 0
        weights = np.asarray(sample_weight, dtype=np.float64)[used]
        root = np.sqrt(weights)[:, None]
        return b[used] * root, y[used] * root, float(weights.sum()), len(weights)


def _off(x, shift, unit=EPS):
    """x less the shift; 0 where that is the rounding of the shift, which the recursion would take for a direction."""
    moved, size = abs(x - shift), abs(shift)
    near = moved <= rank_tolerance(len(shift)) * size
    if unit > EPS and len(x) >= _MANY:
        near |= np.all(moved <= 2 * unit * size, axis=0)
    return np.where(near, 0.0, x - shift)


def _cuts(b):
    """Slices of at most twice as many rows as columns: m x m systems stay small, and a first block well conditioned."""
    step = 2 * b.shape[1]
    return [slice(start, start + step) for start in range(0, len(b), step)]
