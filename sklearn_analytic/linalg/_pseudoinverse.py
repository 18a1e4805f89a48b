"""The block-wise recursive Moore-Penrose inverse, literally: state P, N, W and three scenarios."""

from collections import Counter
from dataclasses import dataclass, replace

import numpy as np
from scipy import linalg

from sklearn_analytic.linalg._spectral import thin_svd

_RANK_TOLERANCE = 1e-9  # of the block's norm: what of a block lies outside the row space seen so far
_LOST = (
    "The recursion P, N, W has lost all accuracy: X is too ill-conditioned for solver='recursive' "
    "(its error grows with the square of the condition number). Use solver='qr'."
)
_ROUNDING = 1e-11  # of the block's norm: what rounding leaves of a block inside the row space
SCENARIOS = ("inside", "full_rank", "mixed")


@dataclass(frozen=True)
class MoorePenroseState:
    r"""State of the recursion :math:`W = A^+ Y` over blocks of rows (Zhuang et al. 2022).

    Exact in exact arithmetic for any rank and order. It holds :math:`P = (A^T A)^+`, so its error grows
    as :math:`\kappa^2 \epsilon` and its rank decisions blur where :math:`\kappa` exceeds about 1e6;
    :class:`TriangularFactor` does not have that limit.

    Parameters
    ----------
    p : ndarray of shape (d, d)
        :math:`(A^T A)^+`.
    n : ndarray of shape (d, d)
        :math:`I - A^+ A`, the projector on what no row has touched.
    w : ndarray of shape (d, c)
        :math:`A^+ Y`.
    rank : int
        Rank of the rows seen.
    scenarios : dict
        How often each scenario was met: "inside", "full_rank", "mixed".

    References
    ----------
    H. Zhuang, Z. Lin, K.-A. Toh, "Blockwise recursive Moore-Penrose inverse for network learning", IEEE
    Trans. Systems, Man, and Cybernetics: Systems 52(5), 2022. H. Zhu, "Efficient and stable
    algorithms to extend Greville's method to partitioned matrices based on inverse Cholesky factorization",
    arXiv 2005.07045. The general step is our derivation (docs/theory/brmp.md), checked against ``pinv``.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_analytic.linalg import MoorePenroseState
    >>> A = np.array([[1.0, 0.0], [0.0, 2.0], [1.0, 2.0]])
    >>> state = MoorePenroseState.start(2, 1)
    >>> for row in A:
    ...     state = state.absorb(row[None], row.sum()[None, None])
    >>> state.w.round(6).ravel(), state.scenarios["full_rank"], state.scenarios["inside"]
    (array([1., 1.]), 2, 1)
    """

    p: np.ndarray
    n: np.ndarray
    w: np.ndarray
    rank: int
    scenarios: dict

    @classmethod
    def start(cls, n_features, n_targets):
        """Return the state before any row: P = 0, N = I, W = 0."""
        zeros = np.zeros((n_features, n_features))
        w = np.zeros((n_features, n_targets))
        return cls(zeros, np.eye(n_features), w, 0, dict.fromkeys(SCENARIOS, 0))

    def absorb(self, b, t, rcond=None):
        """Return the state with rows ``b`` (m, d) and targets ``t`` (m, c) added, in the scenario they are in."""
        b, t = np.asarray(b, dtype=np.float64), np.asarray(t, dtype=np.float64)
        if len(b) == 0:
            return self
        new_rank, c_pinv = self._new_directions(b, rcond)
        scenario = SCENARIOS[0 if new_rank == 0 else 1 if new_rank == len(b) else 2]
        gain = _GAINS[scenario](self, b, c_pinv)
        rest = np.eye(len(self.p)) - gain @ b
        p = rest @ self.p @ rest.T + gain @ gain.T  # Joseph form: symmetric by construction
        if scenario == "inside" and not np.trace(p) <= 2 * np.trace(self.p):
            raise np.linalg.LinAlgError(_LOST)  # more rows can only shrink P: rounding has taken over
        rank = self.rank + new_rank
        n = self.n - c_pinv @ (b @ self.n) if rank < len(self.p) else np.zeros_like(self.n)
        counts = dict(Counter(self.scenarios) + Counter({scenario: 1}))
        scenarios = {name: counts.get(name, 0) for name in SCENARIOS}
        return MoorePenroseState(p, n, self.w + gain @ (t - b @ self.w), rank, scenarios)

    def remove(self, b, t):
        """Return the state without rows that it holds: the recursion of scenario "inside", run backwards.

        ValueError when I - B P B^T is not positive definite: the rows were never added, or they alone carry
        a direction, which P, N and W cannot give back (use :class:`TriangularFactor`).
        """
        pb = self.p @ b.T
        try:
            factor = linalg.cho_factor(np.eye(len(b)) - b @ pb)
            safe = np.min(np.diag(factor[0])) > 1e-7 and np.max(np.abs(b @ self.n), initial=0.0) <= 1e-6 * np.max(
                np.abs(b), initial=0.0
            )
        except np.linalg.LinAlgError:
            safe = False
        if not safe:
            raise ValueError(
                "solver='recursive' cannot remove these rows: they were never added, or they alone carry a "
                "direction of X. Nothing was changed; solver='qr' can remove the latter."
            )
        gain = linalg.cho_solve(factor, pb.T).T
        w = self.w - gain @ (t - b @ self.w)
        p = self.p + gain @ pb.T
        return MoorePenroseState((p + p.T) / 2, self.n, w, self.rank, dict(self.scenarios))

    def as_rows(self):
        """Return rows and targets (rank, d), (rank, c) that carry the same information as all rows seen."""
        eigenvalues, v = linalg.eigh(self.p)
        top = eigenvalues.argsort()[::-1][: self.rank]
        rows = v[:, top].T / np.sqrt(eigenvalues[top])[:, None]
        return rows, rows @ self.w

    def merge(self, other, rcond=None):
        """Return the state of both sets of rows: the other's information is absorbed as one block."""
        merged = self.absorb(*other.as_rows(), rcond=rcond)
        scenarios = {name: self.scenarios[name] + other.scenarios[name] for name in SCENARIOS}
        return replace(merged, scenarios=scenarios)

    def _new_directions(self, b, rcond):
        """Rank of C = B N and its pseudoinverse; zero without a decomposition once every direction was seen."""
        if self.rank == len(self.p):
            return 0, np.zeros((len(self.p), len(b)))
        u, s, vt = thin_svd(b @ self.n)
        size = linalg.norm(b)
        kept = s > (_RANK_TOLERANCE if rcond is None else rcond) * size
        if rcond is None and np.any(s[~kept] > _ROUNDING * size):
            raise np.linalg.LinAlgError(_LOST)  # neither a direction nor rounding: no answer is better than a guess
        return int(kept.sum()), (vt[kept].T / s[kept]) @ u[:, kept].T


def _solve_shifted(a, rhs):
    """(I + a)^{-1} rhs; by LU where rounding has cost I + a its definiteness, LinAlgError when even that fails."""
    shifted = np.eye(len(a)) + (a + a.T) / 2
    try:
        if not np.all(np.isfinite(shifted)):
            raise np.linalg.LinAlgError
        factor, info = linalg.lapack.dpotrf(shifted)
        solution = linalg.lapack.dpotrs(factor, rhs)[0] if info == 0 else np.linalg.solve(shifted, rhs)
    except np.linalg.LinAlgError:
        raise np.linalg.LinAlgError(_LOST) from None
    return solution


def _gain_inside(state, b, c_pinv):
    """Scenario (i), C = 0: J = P B^T (I + B P B^T)^{-1}, classical block RLS."""
    pb = state.p @ b.T
    return _solve_shifted(b @ pb, pb.T).T


def _gain_full_rank(state, b, c_pinv):
    """Scenario (ii), C of full row rank: J = C^+."""
    return c_pinv


def _gain_mixed(state, b, c_pinv):
    """Scenario (iii): J = C^+ + (I - C^+ B) P B^T Z K Z, with Z = I - C C^+ and K = (I + Z B P B^T Z)^{-1}."""
    z = np.eye(len(b)) - (b @ state.n) @ c_pinv
    pb = state.p @ b.T
    kz = _solve_shifted(z @ (b @ pb) @ z, z)
    return c_pinv + (pb - c_pinv @ (b @ pb)) @ (z @ kz)


_GAINS = dict(zip(SCENARIOS, (_gain_inside, _gain_full_rank, _gain_mixed), strict=True))
