"""Which statistic a least-squares fit accumulates, and what is read off it: the roads of BRMP, as a table."""

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.linalg import LinAlgWarning

from sklearn_analytic._blocks import reduce_blocks
from sklearn_analytic.linalg import NormalEquations, RecursiveLeastSquares, TriangularFactor, best_alpha

_EPS = np.finfo(np.float64).eps
_SAFE_ERROR = 1e-10  # "auto" keeps the Gram where its error bound kappa^2 eps is below this
_WARN_CONDITION = 1e6  # beyond it a Gram has lost more than 12 of 16 digits


@dataclass(frozen=True)
class Problem:
    """What is asked for, as opposed to what has been seen."""

    alpha: Any
    fit_intercept: bool
    rcond: float | None


@dataclass(frozen=True)
class Solution:
    """What a statistic answers."""

    coef: np.ndarray  # (d, c)
    intercept: np.ndarray  # (c,)
    rank: int
    condition: float
    alpha: float
    gcv_path: dict | None
    scenarios: dict | None


def start_gram(d, c, problem):
    """Normal equations of no rows."""
    return NormalEquations.empty(d, c)


def start_qr(d, c, problem):
    """Triangular factor of no rows."""
    return TriangularFactor.empty(d, c)


def start_recursive(d, c, problem):
    """The recursion before its first row."""
    if not np.isscalar(problem.alpha) or isinstance(problem.alpha, str):
        raise ValueError(
            f"solver='recursive' needs alpha to be a number, got {problem.alpha!r}: the state P, N, W holds no "
            "residual to score a ridge by. Use solver='qr' or 'gram'."
        )
    return RecursiveLeastSquares.start(d, c, problem.fit_intercept, float(problem.alpha), problem.rcond)


START = {"qr": start_qr, "gram": start_gram, "recursive": start_recursive}
SOLVERS = ("auto", *START)


def accumulate_auto(blocks, d, c, problem, backend):
    """Return the cheap statistic where it is safe, else read the blocks again for the triangular factor."""
    if blocks.n_rows > d:
        gram = reduce_blocks(blocks, NormalEquations.empty(d, c), backend)
        if gram_is_safe(gram, problem):
            return "gram", gram
    return "qr", reduce_blocks(blocks, TriangularFactor.empty(d, c), backend)


def remove_rows(statistic, block, backend):
    """Return a statistic of any road without one block of rows."""
    if isinstance(statistic, RecursiveLeastSquares):
        return statistic.remove_rows(backend.to_numpy(block.x), block.y, block.weight)
    rows = type(statistic).from_rows(block.x, block.y, block.weight, backend)
    return statistic.remove(rows.to_host(backend))


def gram_is_safe(gram, problem):
    """Whether kappa^2 eps, or the share of the trace that a fixed ridge exceeds, leaves ten digits."""
    if np.isscalar(problem.alpha) and not isinstance(problem.alpha, str) and problem.alpha > 0:
        trace = float(np.trace(gram.scatter[: gram.n_features, : gram.n_features]))
        scaled_alpha = np.ldexp(float(problem.alpha), -2 * max(gram.exponent[0], -500))
        if trace * _EPS <= _SAFE_ERROR * scaled_alpha:
            return True
    return gram.equilibrated_condition(problem.fit_intercept) ** 2 * _EPS <= _SAFE_ERROR


def solve(statistic, problem):
    """Return the solution that a statistic of any road holds."""
    if isinstance(statistic, RecursiveLeastSquares):
        coef, intercept = statistic.solve()
        state = statistic.state
        rank = state.rank - (problem.fit_intercept and state.rank > 0)
        return Solution(
            coef, intercept, rank, statistic.condition(), float(problem.alpha), None, dict(state.scenarios)
        )
    spectrum = statistic.spectral(problem.fit_intercept)
    alpha, path = _choose_alpha(spectrum, problem)
    rank, condition = spectrum.rank(problem.rcond), spectrum.condition(problem.rcond)
    coef, intercept = spectrum.solve(alpha, problem.rcond)
    if isinstance(statistic, NormalEquations) and alpha == 0:
        scaled = statistic.equilibrated_condition(problem.fit_intercept)
        if problem.rcond is None and np.isfinite(scaled):  # full rank, whatever the units of the columns
            coef, intercept = statistic.solve_cholesky(0.0, problem.fit_intercept)
            rank, condition = len(coef), spectrum.condition(0.0)
        if min(scaled, condition) > _WARN_CONDITION:
            _warn_condition(min(scaled, condition))
    return Solution(coef, intercept, rank, condition, alpha, path, None)


def _choose_alpha(spectrum, problem):
    """The given ridge, or the grid's best by generalised cross-validation together with the path."""
    alpha = problem.alpha
    if np.isscalar(alpha) and not isinstance(alpha, str):
        return float(alpha), None
    alphas = spectrum.default_alphas() if isinstance(alpha, str) else np.sort(np.ravel(alpha).astype(float))
    scores = spectrum.gcv(alphas, problem.rcond)
    return best_alpha(alphas, scores), {"alpha": alphas, "gcv": scores}


def _warn_condition(condition):
    """Say once per fit that a Gram has lost most digits."""
    warnings.warn(
        f"The normal equations have condition number {condition:.1e} squared: few digits of coef_ are left. "
        "Use solver='qr', or a larger alpha.",
        LinAlgWarning,
        stacklevel=3,
    )
