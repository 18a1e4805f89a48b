"""The jackknife of a closed-form network: how its blended readout moves without each audit row."""

import numpy as np

from sklearn_analytic.estimator.intervals import Jackknife, Moves
from sklearn_analytic.linalg import exit_influence


def network_jackknife(method, learned, solved):
    """Return leave-one-out residuals of the audit rows, and the moves of every ridge solution in the readout."""
    audit, statistic, backend = method.audited(learned), learned.statistic, method.host_backend()
    if solved.left_out is None:  # of a model of an earlier version
        solved = method.solved(learned)[0]
    left_out, features = solved.left_out, np.asarray(audit.features)
    moves = []
    for pull in left_out.pulls:
        directions, constants = exit_influence(statistic, pull.size, pull.alpha, features, pull.by_factor)
        moves.append(Moves(directions, constants, left_out.gone[:, None] * pull.residuals))
    spared = left_out.spared + np.zeros(left_out.targets.shape[1])
    return Jackknife.of(left_out, backend.asarray(features), tuple(moves), statistic.weight, spared, backend)
