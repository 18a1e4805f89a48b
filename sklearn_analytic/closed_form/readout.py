"""The readout of ClosedFormMLP: ridge solutions of nested layers, blended with the trees by leave-one-out."""

from dataclasses import dataclass, replace

import numpy as np
from scipy.optimize import nnls

from sklearn_analytic.linalg import ridge_exits, spectral_exit

_PRIOR_ROWS = 10.0  # weight of equal shares in the blend, in rows of mean size: a few audit rows decide little
_OUTCLASSED = 2.0  # times the least leave-one-out error: an expert beyond it has no share
_JOINT_ROWS = 2000  # with fewer, held-out scores still tell enough of a row's target to make the joint ridge look good
_WORTHWHILE = 2e-3  # relative gain in leave-one-out error for which a further layer is read
ALPHAS = (0.01, 0.1, 1.0, 10.0, 100.0, 1000.0)  # per feature of unit variance, summed over rows


@dataclass(frozen=True)
class Readout:
    """One linear readout of all features and tree scores, and its predictions of audit rows that it left out."""

    coef: np.ndarray  # (p + c0, c)
    intercept: np.ndarray  # (c,)
    loo: np.ndarray  # (m, c)
    alpha: float
    error: float
    shares: np.ndarray  # of its experts


def solve_readouts(statistic, sizes, audit, alpha, placed, unit, numbers):
    """Return a blended readout for every layer; ``unit`` is the weight of one row.

    The statistic's features are [A | H | L], its targets [Y | L], L being the held-out scores of trees, which
    ``placed`` (c0, c) puts in the columns of their targets. For every layer the features up to it are solved for
    Y and for L at once, which gives three experts: the network, the trees, and the trees plus the network of what
    they leave over. The last layer has a fourth, the ridge on the trees' scores and all features. Non-negative
    weights of least leave-one-out error blend them; the blend of linear readouts is one linear readout.
    Where targets are ``numbers``, the ridge is judged by the targets alone, since the error of the scores, which are
    rougher, asks for more, and experts that are outclassed have no share. Neither paid for classes.
    """
    features, targets, weights = audit.features, audit.targets, audit.weights
    n_targets, n_scores = targets.shape[1], placed.shape[0]
    scores = features[:, features.shape[1] - n_scores :].astype(np.float64)
    has_joint = n_scores > 0 and statistic.weight >= _JOINT_ROWS * unit
    all_sizes = [*sizes, features.shape[1]] if has_joint else sizes
    mean = np.ldexp(statistic.mean[statistic.n_features :][:n_targets], statistic.exponent[1])
    audited = replace(audit, targets=np.hstack([targets, scores]))
    n_judged = n_targets if numbers else None
    solutions = _solutions(statistic, all_sizes, audited, alpha, unit, n_judged)
    readouts = []
    for stage in range(len(sizes)):
        experts = [_expert(solutions[stage], features.shape[1], n_targets, 0 * placed, scores)]
        if n_scores:
            trees = np.zeros((features.shape[1], n_targets))
            trees[-n_scores:] = placed
            experts.append((trees, np.zeros(n_targets), scores @ placed))
            experts.append(_expert(solutions[stage], features.shape[1], n_targets, placed, scores))
        if has_joint and stage == len(sizes) - 1:
            joint = _expert(solutions[-1], features.shape[1], n_targets, 0 * placed, scores)
            experts.append(_guarded(joint, experts[-1], placed))
        readouts.append(_blended(experts, mean, targets, weights, solutions[stage].alpha, numbers))
    return readouts


def _solutions(statistic, sizes, audit, alpha, unit, n_judged):
    """Ridge solutions of nested features: by Cholesky factors, or by a decomposition for gcv and no ridge."""
    rows = (audit.features, audit.targets, audit.weights)
    if isinstance(alpha, str) and alpha == "loo":
        return ridge_exits(statistic, sizes, rows, ALPHAS, left_out=audit.left_out, unit=unit, n_judged=n_judged)
    if isinstance(alpha, str) or (np.ndim(alpha) == 0 and alpha == 0):
        return [spectral_exit(statistic, np.arange(size), rows, alpha, left_out=audit.left_out) for size in sizes]
    alphas = sorted(float(a) for a in np.ravel(alpha))
    return ridge_exits(statistic, sizes, rows, alphas, left_out=audit.left_out, n_judged=n_judged)


def _expert(solution, n_features, n_targets, offset, scores):
    """The network of Y less what it makes of the ``offset`` times the scores, plus those themselves."""
    coef = np.zeros((n_features, n_targets))
    size = len(solution.coef)
    coef[:size] = solution.coef[:, :n_targets] - solution.coef[:, n_targets:] @ offset
    coef[n_features - len(offset) :] += offset
    intercept = solution.intercept[:n_targets] - solution.intercept[n_targets:] @ offset
    loo = solution.loo[:, :n_targets] - solution.loo[:, n_targets:] @ offset + scores @ offset
    return coef, intercept, loo


def _guarded(joint, other, placed):
    """The joint ridge, but another expert for targets whose own score it would turn against them."""
    own = np.sum(joint[0][-len(placed) :] * placed, axis=0)  # coefficient of its score for every target
    return tuple(np.where(own < 0, two, one) for one, two in zip(joint, other, strict=True))


def best_readout(readouts):
    """Index of the first readout that no later one beats by a worthwhile gain."""
    best = 0
    for index, readout in enumerate(readouts):
        if readout.error < readouts[best].error * (1 - _WORTHWHILE):
            best = index
    return best


def _blended(experts, mean, targets, weights, alpha, numbers):
    """The non-negative blend of experts, about the mean of all rows, of least leave-one-out error, as one readout."""
    errors = np.array([_error(targets - loo, weights) for _, _, loo in experts])
    kept = np.flatnonzero((errors <= _OUTCLASSED * errors.min()) | (not numbers))
    shares = np.zeros(len(experts))
    shares[kept] = _shares([experts[k][2] - mean for k in kept], targets - mean, weights / weights.mean())
    rest = (1 - shares.sum()) * mean
    coef = sum(share * coef for share, (coef, _, _) in zip(shares, experts, strict=True))
    intercept = sum(share * constant for share, (_, constant, _) in zip(shares, experts, strict=True)) + rest
    loo = sum(share * loo for share, (_, _, loo) in zip(shares, experts, strict=True)) + rest
    return Readout(coef, intercept, loo, alpha, _error(targets - loo, weights), shares)


def _error(residual, weights):
    """Weighted mean over rows of the squared residual, summed over targets."""
    return float(np.average(np.sum(residual**2, axis=1), weights=weights))


def _shares(predictions, targets, weights):
    """Non-negative least squares of centred targets on centred predictions, drawn towards equal shares."""
    k = len(predictions)
    if k == 1:
        return np.ones(1)
    root = np.sqrt(weights)[:, None]
    columns = np.column_stack([(prediction * root).ravel() for prediction in predictions])
    pull = np.sqrt(_PRIOR_ROWS * np.sum((targets * root) ** 2) / len(targets))
    system = np.vstack([columns, pull * np.eye(k)])
    return nnls(system, np.concatenate([(targets * root).ravel(), np.full(k, pull / k)]))[0]
