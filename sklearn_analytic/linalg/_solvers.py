"""Which statistic a least-squares fit accumulates, and what is read off it: the solvers of BRMP, as a table."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.linalg import LinAlgWarning

from sklearn_analytic.backend._warn_user import warn_user
from sklearn_analytic.linalg import (
    ClassSums,
    NormalEquations,
    RecursiveLeastSquares,
    TriangularFactor,
    WithColumns,
    best_alpha,
)

_EPS = np.finfo(np.float64).eps
_SAFE_ERROR = 1e-10  # "auto" keeps the Gram where its error bound kappa^2 eps is below this
_LOST_ERROR = 1e-2  # kappa^2 eps of a recursion whose answer deserves a warning
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
    if not _is_number(problem.alpha):
        raise ValueError(
            f"solver='recursive' needs alpha to be a number, got {problem.alpha!r}: the state P, N, W holds no "
            "residual to score a ridge by. Use solver='qr' or 'gram'."
        )
    return RecursiveLeastSquares.start(d, c, problem.fit_intercept, float(problem.alpha), problem.rcond)


def accumulated(solver, reduce, n_rows, d, c, problem, weighed=None):
    """Return the statistic of all rows: with "auto" the cheap one where it is safe, else by another pass.

    ``reduce(start)`` reads all rows into a statistic, which is judged as ``weighed`` has it, if given.
    """
    if solver == "auto" and n_rows > d:
        gram = reduce(NormalEquations.empty(d, c))
        if gram_is_safe(without_columns(gram) if weighed is None else weighed(gram), problem):
            return gram
    chosen = "qr" if solver == "auto" else solver
    return reduce(ALGORITHMS[chosen].start(d, c, problem))


def resumed_solver(solver, resumed):
    """Return the solver with which an interrupted fit goes on: "auto" has left the Gram once it holds a factor."""
    return "qr" if solver == "auto" and algorithm_of(resumed) is ALGORITHMS["qr"] else solver


def without_columns(statistic):
    """Return the statistic of what a readout sees, without the moments of other columns beside it."""
    return statistic.statistic if isinstance(statistic, WithColumns) else statistic


def remove_rows(statistic, block, backend):
    """Return a statistic of any solver without one block of rows."""
    return algorithm_of(statistic).remove(statistic, block, backend)


def _remove_summed(statistic, block, backend):
    """Take the statistic of the rows away: of the classes in them, where each has one."""
    if isinstance(statistic, ClassSums):
        codes = np.argmax(block.y[:, : len(statistic.parts)], axis=1)
        rows = statistic.emptied().accumulate(block.x, block.y, codes, block.weight, backend)
        return statistic.remove(rows.to_host(backend))
    rows = type(statistic).from_rows(block.x, block.y, block.weight, backend)
    return statistic.remove(rows.to_host(backend))


def _remove_recursively(recursion, block, backend):
    """Update by the rows with the opposite sign."""
    return recursion.remove_rows(backend.to_numpy(block.x), block.y, block.weight)


def gram_is_safe(gram, problem):
    """Whether kappa^2 eps, or the share of the trace that a fixed ridge exceeds, leaves ten digits."""
    if _is_number(problem.alpha) and problem.alpha > 0:
        trace = float(np.trace(gram.scatter[: gram.n_features, : gram.n_features]))
        scaled_alpha = np.ldexp(float(problem.alpha), -2 * max(gram.exponent[0], -500))
        if trace * _EPS <= _SAFE_ERROR * scaled_alpha:
            return True
    return gram.equilibrated_condition(problem.fit_intercept) ** 2 * _EPS <= _SAFE_ERROR


def solve(statistic, problem):
    """Return the solution that a statistic of any solver holds."""
    return algorithm_of(statistic).solve(statistic, problem)


def _solve_summed(statistic, problem):
    """Equilibrated and exact where that will do, by the spectrum otherwise."""
    squares = algorithm_of(statistic).squares
    if problem.rcond is None and _is_zero(problem.alpha):
        exact = statistic.solve_equilibrated(problem.fit_intercept)
        if exact is not None:
            condition = statistic.condition(problem.fit_intercept)
            if squares:
                _warn_of_lost_digits(statistic, problem)
            return Solution(*exact, len(statistic.varying(problem.fit_intercept)), condition, 0.0, None, None)
    spectrum = statistic.spectral(problem.fit_intercept)
    alpha, path = _choose_alpha(spectrum, problem)
    rank, condition = spectrum.rank(problem.rcond), spectrum.condition(problem.rcond)
    coef, intercept = spectrum.solve(alpha, problem.rcond)
    if squares and alpha == 0 and rank < min(len(spectrum.s), statistic.n_rows - 1):
        _warn(
            f"The normal equations show rank {rank} of {len(coef)} columns, but cannot tell dependent columns from "
            "a condition number above 1e7."
        )
    return Solution(coef, intercept, rank, condition, alpha, path, None)


def warn_if_outgrown(statistic, problem):
    """Say that "auto" took the Gram for rows that were safe, and that further rows have made it unsafe."""
    if algorithm_of(statistic).squares and not gram_is_safe(statistic, problem):
        _warn("solver='auto' took the normal equations for the first rows; with these rows they lose digits.")


def _solve_recursion(recursion, problem):
    """What P, N and W hold; a ridge that they did not start with is an error."""
    if not _is_number(problem.alpha) or float(problem.alpha) != recursion.alpha:
        raise ValueError(
            f"solver='recursive' began with alpha={recursion.alpha!r} and cannot change to {problem.alpha!r}: fit anew."
        )
    coef, intercept = recursion.solve()
    state, condition = recursion.state, recursion.condition()
    if condition**2 * _EPS > _LOST_ERROR:
        _warn(f"The recursion has condition number {condition:.1e}, squared.")
    return Solution(coef, intercept, recursion.rank(), condition, recursion.alpha, None, dict(state.scenarios))


def _warn_of_lost_digits(statistic, problem):
    """A Gram of full rank may still have lost most digits."""
    condition = statistic.equilibrated_condition(problem.fit_intercept)
    if condition > _WARN_CONDITION:
        _warn(f"The normal equations have condition number {condition:.1e}, squared.")


def _is_number(alpha):
    """Whether alpha is one number, not a grid or a word."""
    return np.isscalar(alpha) and not isinstance(alpha, str)


def _is_zero(alpha):
    """Whether the solution is the Moore-Penrose one."""
    return _is_number(alpha) and alpha == 0


def _choose_alpha(spectrum, problem):
    """The given ridge, or the grid's best by generalised cross-validation together with the path."""
    alpha = problem.alpha
    if _is_number(alpha):
        return float(alpha), None
    alphas = spectrum.default_alphas() if isinstance(alpha, str) else np.sort(np.ravel(alpha).astype(float))
    scores = spectrum.gcv(alphas, problem.rcond)
    return best_alpha(alphas, scores), {"alpha": alphas, "gcv": scores}


def _warn(what):
    """Warn of lost digits, with what to do."""
    advice = "Few digits of coef_ may be left. Use solver='qr', or a larger alpha."
    warn_user(f"{what} {advice}", LinAlgWarning)


@dataclass(frozen=True)
class Algorithm:
    """A statistic: how it begins, loses rows and is solved, and whether it squares the condition number."""

    start: Callable
    remove: Callable
    solve: Callable
    squares: bool = False


ALGORITHMS = {
    "qr": Algorithm(start_qr, _remove_summed, _solve_summed),
    "gram": Algorithm(start_gram, _remove_summed, _solve_summed, squares=True),
    "recursive": Algorithm(start_recursive, _remove_recursively, _solve_recursion),
}
SOLVERS = ("auto", *ALGORITHMS)
_UNDER = {TriangularFactor: "qr", NormalEquations: "gram", RecursiveLeastSquares: "recursive"}


def algorithm_of(statistic):
    """Return the solver that a statistic belongs to; None where there is none yet."""
    return None if statistic is None else ALGORITHMS[name_of(statistic)]


def name_of(statistic):
    """Return the name of the solver that a statistic, or those of the classes, belongs to."""
    return _UNDER[type(statistic.parts[0] if isinstance(statistic, ClassSums) else statistic)]
