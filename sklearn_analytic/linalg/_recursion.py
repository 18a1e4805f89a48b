"""The recursion behind the same verbs as the other statistics: intercept, weights, ridge, and blocks of any size."""

import math
from dataclasses import dataclass, replace

import numpy as np
from scipy import linalg

from sklearn_analytic.linalg._pseudoinverse import MoorePenroseState


@dataclass(frozen=True)
class RecursiveLeastSquares:
    r"""Rows [X | 1] absorbed by :class:`MoorePenroseState`, in blocks of at most twice the columns.

    A ridge is the Moore-Penrose solution of the rows with :math:`\sqrt\alpha I` put before them.

    Parameters
    ----------
    state : MoorePenroseState
        The recursion's P, N, W for [X | 1] (or X).
    n_rows : int
        Rows of positive weight seen.
    weight : float
        Sum of their weights.
    n_features : int
        d, the number of columns of X.
    fit_intercept : bool
        Whether a ones column is appended.
    rcond : float or None
        Tolerance of the scenario decision.

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
    n_features: int
    fit_intercept: bool
    rcond: float | None

    @classmethod
    def start(cls, n_features, n_targets, fit_intercept, alpha, rcond):
        """Return the recursion before any row, with the ridge as its first block."""
        state = MoorePenroseState.start(n_features + fit_intercept, n_targets)
        if alpha > 0:
            prior = math.sqrt(alpha) * np.eye(n_features, n_features + fit_intercept)
            state = replace(
                state.absorb(prior, np.zeros((n_features, n_targets)), rcond), scenarios=state.scenarios
            )
        return cls(state, 0, 0.0, n_features, fit_intercept, rcond)

    def accumulate(self, x, y, sample_weight=None, backend=None):
        """Return the recursion with a block of rows absorbed; the backend is not used, the state is host float64."""
        b, t, weight, n_rows = self._rows(x, y, sample_weight)
        state = self.state
        for rows in _cuts(b):
            state = state.absorb(b[rows], t[rows], self.rcond)
        return replace(self, state=state, n_rows=self.n_rows + n_rows, weight=self.weight + weight)

    def remove_rows(self, x, y, sample_weight=None):
        """Return the recursion without a block of rows that it holds."""
        b, t, weight, n_rows = self._rows(x, y, sample_weight)
        state = self.state
        for rows in _cuts(b):
            state = state.remove(b[rows], t[rows])
        return replace(self, state=state, n_rows=self.n_rows - n_rows, weight=self.weight - weight)

    def merge(self, other):
        """Return the recursion over both sets of rows."""
        state = self.state.merge(other.state, self.rcond)
        return replace(
            self, state=state, n_rows=self.n_rows + other.n_rows, weight=self.weight + other.weight
        )

    def add_targets(self, values):
        """Return the recursion with target columns that were constant so far: A^+ 1 = (I - N) e of the ones column."""
        if not self.fit_intercept:
            raise ValueError("New targets need fit_intercept=True with solver='recursive'.")
        ones = np.eye(len(self.state.n))[:, -1] - self.state.n[:, -1]
        w = np.hstack([self.state.w, np.outer(ones, values)])
        return replace(self, state=replace(self.state, w=w))

    def permute_targets(self, order):
        """Return the recursion with its target columns in another order."""
        return replace(self, state=replace(self.state, w=self.state.w[:, order]))

    def solve(self):
        """Return ``coef`` (d, c) and ``intercept`` (c,) of minimum norm of ``coef``."""
        w, n = self.state.w, self.state.n
        if not self.fit_intercept:
            return w, np.zeros(w.shape[1])
        if np.any(n):  # the intercept carries no norm: move along the null space until coef is shortest
            w = w - n @ linalg.pinv(n[:-1], rtol=1e-8) @ w[:-1]
        return w[:-1], w[-1]

    def condition(self):
        """Return the condition number of [X | 1] in its row space, from the eigenvalues of P."""
        eigenvalues = linalg.eigvalsh(self.state.p)[::-1][: self.state.rank]
        if not len(eigenvalues) or eigenvalues[-1] <= 0:
            return 1.0 if not len(eigenvalues) else np.inf
        return float(np.sqrt(eigenvalues[0] / eigenvalues[-1]))

    def on(self, backend):
        """Return the recursion itself: its state always lives on the host."""
        return self

    def to_host(self, backend):
        """Return the recursion itself: its state always lives on the host."""
        return self

    def _rows(self, x, y, sample_weight):
        """[X | 1] and Y with rows times the root of their weight; rows of weight 0 are left out."""
        x, y = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
        b = np.hstack([x, np.ones((len(x), 1))]) if self.fit_intercept else x
        if sample_weight is None:
            return b, y, float(len(b)), len(b)
        used = np.asarray(sample_weight) > 0
        weights = np.asarray(sample_weight, dtype=np.float64)[used]
        root = np.sqrt(weights)[:, None]
        return b[used] * root, y[used] * root, float(weights.sum()), len(weights)


def _cuts(b):
    """Slices of at most twice as many rows as columns: m x m systems stay small, and a first block well conditioned."""
    step = 2 * b.shape[1]
    return [slice(start, start + step) for start in range(0, len(b), step)]
