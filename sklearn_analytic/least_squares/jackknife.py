"""The jackknife of block-wise least squares: how the readout moves without each row of the sample that is kept."""

import numpy as np

from sklearn_analytic.backend import get_backend
from sklearn_analytic.estimator.intervals import Jackknife, Moves
from sklearn_analytic.estimator.learned import LeftOut
from sklearn_analytic.features import apply_layers
from sklearn_analytic.linalg import LeaveOneOut, RecursiveLeastSquares
from sklearn_analytic.linalg._solvers import without_columns


def left_out_rows(learned, alpha, rank, problem):
    """Return the kept rows without themselves, their hidden features, and the leave-one-out that was used.

    None where no row is kept. ``alpha`` and ``rank`` are those of the solution of a ``problem``.
    """
    rows = getattr(learned.statistic, "rows", None)
    if rows is None:
        return None
    hidden = np.asarray(apply_layers(learned.network, np.asarray(rows.x, dtype=np.float64), get_backend("cpu")))
    loo, factors = _leave_one_out(without_columns(learned.statistic), alpha, rank, problem)
    scaled = hidden * factors
    residuals = loo.residuals(scaled, rows.y, rows.weights, factors)  # a row leaves with all that equal it
    weights = rows.weights / np.mean(rows.weights)
    return LeftOut(rows.y - residuals, rows.y, weights, rows.weights), hidden, (loo, factors, scaled)


def rows_jackknife(learned, left_out, hidden, used):
    """Return leave-one-out residuals of the rows, and the moves of the readout, of :func:`left_out_rows`."""
    loo, factors, scaled = used
    directions, constants = loo.influence(scaled)
    residuals = left_out.gone[:, None] * (left_out.targets - left_out.predictions)
    moves = (Moves(directions * factors[:, None], constants, residuals),)
    weight, spared = without_columns(learned.statistic).weight, np.zeros(left_out.targets.shape[1])
    return Jackknife.of(left_out, hidden, moves, weight, spared, get_backend("cpu"))


def _leave_one_out(statistic, alpha, rank, problem):
    """Leave-one-out of a solution, and what its columns are multiplied by.

    At full rank without a ridge columns of unit norm give the same solution, and no small one is taken for rounding.
    """
    factors = np.ones(statistic.n_features)
    if isinstance(statistic, RecursiveLeastSquares):
        statistic, alpha = statistic.as_triangular(), 0.0  # the rows of the ridge are among its rows
    varying = statistic.varying(problem.fit_intercept)
    if alpha == 0 and problem.rcond is None and rank == len(varying):
        factors = np.zeros(statistic.n_features)
        norms = statistic._norms(problem.fit_intercept)[varying]
        factors[varying] = 2.0 ** -np.round(np.log2(norms))  # exact
        statistic = statistic.rescaled(factors)
    return LeaveOneOut(statistic.spectral(problem.fit_intercept), alpha, problem.rcond), factors
