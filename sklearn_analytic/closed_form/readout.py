"""The readout of ClosedFormMLP: ridge solutions of nested layers, blended with the trees by leave-one-out."""

from dataclasses import dataclass, replace

import numpy as np
from scipy.optimize import minimize, nnls

from sklearn_analytic.export.calibration import DEVIATION, MOST_LOG_POWER, log_above
from sklearn_analytic.linalg import ridge_exits, spectral_exit

_PRIOR_ROWS = 3.0  # weight of equal shares in the blend, in rows of mean size: a few audit rows decide little
_STIFFNESS = 60.0  # of shares by log-loss, towards those by squares, in rows
_LOG_FLOORS = (0.003, 0.03, 0.1)  # of scores whose logarithms are meant
_PARTS = 10  # of the audit rows: what is said of one comes from the blend of the others
_MOST_SPARED = 0.7  # of what the blend's Gram holds in any direction
_LEAST_SHARE = 1e-9  # of the trace of the blend's Gram: the ridge where targets do not vary
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
    pulls: tuple = ()  # of audit rows on it
    spared: float | np.ndarray = 0.0  # (c,) squared error that new rows have less than audit rows


@dataclass(frozen=True)
class Pull:
    """How one ridge solution in a readout moves without a row: by the influence of the row times this residual."""

    size: int  # features that the solution reads
    alpha: float
    by_factor: bool
    residuals: np.ndarray  # (m, c) leave-one-out, times the share of the solution in the readout


@dataclass(frozen=True)
class PlacedScores:
    """The trees' held-out scores, each of one member, as the readout takes them."""

    columns: np.ndarray  # (c0, c): the target that each is a score of
    averaged_out: float  # squared error that the mean of all members, which new rows get, has less


def solve_readouts(statistic, sizes, audit, alpha, trees, unit, numbers):
    """Return a blended readout for every layer; ``unit`` is the weight of one row, ``trees`` are placed, or None.

    The statistic's features are [A | H | L], its targets [Y | L], L being the held-out scores of trees. For every
    layer the features up to it are solved for Y and for L at once, which gives three experts: the network, the trees,
    and the trees plus the network of what they leave over. The last layer has a fourth, the ridge on the trees'
    scores and all features. Non-negative weights of least leave-one-out error blend them; the blend of linear readouts
    is one linear readout. For classes the shares of the best layer are those of the least log-loss: squared errors are
    hard on scores of the network that are right but not near 0 and 1, beside chances that trees give.
    Where targets are ``numbers``, the ridge is judged by the targets alone, since the error of the scores, which are
    rougher, asks for more, and experts that are outclassed have no share. Neither paid for classes.
    """
    features, targets, weights = audit.features, audit.targets, audit.weights
    n_targets, n_features = targets.shape[1], features.shape[1]
    placed = np.zeros((0, n_targets)) if trees is None else trees.columns
    n_scores = len(placed)
    scores = features[:, n_features - n_scores :].astype(np.float64)
    has_joint = n_scores > 0 and statistic.weight >= _JOINT_ROWS * unit
    all_sizes = [*sizes, n_features] if has_joint else sizes
    mean = np.ldexp(statistic.mean[statistic.n_features :][:n_targets], statistic.exponent[1])
    audited = replace(audit, targets=np.hstack([targets, scores]))
    solutions = _solutions(statistic, all_sizes, audited, alpha, unit, n_targets if numbers else None)
    readouts, blends = [], []
    for stage in range(len(sizes)):
        experts = [_expert(solutions[stage], n_features, n_targets, 0 * placed, scores)]
        if n_scores:
            alone = np.zeros((n_features, n_targets))
            alone[-n_scores:] = placed
            experts.append(_Expert(alone, np.zeros(n_targets), scores @ placed, (None,) * n_targets))
            experts.append(_expert(solutions[stage], n_features, n_targets, placed, scores))
        if has_joint and stage == len(sizes) - 1:
            joint = _expert(solutions[-1], n_features, n_targets, 0 * placed, scores)
            experts.append(_guarded(joint, experts[-1], placed))
        blend = _Blend.of(experts, mean, targets, weights / weights.mean(), numbers, trees)
        readouts.append(blend.readout(solutions[stage].alpha))
        blends.append(blend)
    best = best_readout(readouts)
    if numbers:
        by_factor = not _is_decomposed(alpha)
        readouts[best] = replace(readouts[best], pulls=blends[best].pulls(by_factor))
        if trees is not None:  # scored by one member each, new rows by the mean of all
            leaning = _own_weights(readouts[best].coef, placed)
            readouts[best] = replace(readouts[best], spared=leaning**2 * trees.averaged_out / n_targets)
    elif trees is not None and np.all(targets.sum(axis=1) == 1):
        readouts[best] = blends[best].by_log_loss(readouts[best])
    return readouts


def _solutions(statistic, sizes, audit, alpha, unit, n_judged):
    """Ridge solutions of nested features: by Cholesky factors, or by a decomposition for gcv and no ridge."""
    rows = (audit.features, audit.targets, audit.weights)
    if isinstance(alpha, str) and alpha == "loo":
        return ridge_exits(statistic, sizes, rows, ALPHAS, left_out=audit.left_out, unit=unit, n_judged=n_judged)
    if _is_decomposed(alpha):
        return [spectral_exit(statistic, np.arange(size), rows, alpha, left_out=audit.left_out) for size in sizes]
    alphas = sorted(float(a) for a in np.ravel(alpha))
    return ridge_exits(statistic, sizes, rows, alphas, left_out=audit.left_out, n_judged=n_judged)


def _is_decomposed(alpha):
    """Whether solutions come from a decomposition."""
    return alpha == "gcv" if isinstance(alpha, str) else np.ndim(alpha) == 0 and alpha == 0


@dataclass(frozen=True)
class _Expert:
    """One linear readout among those that are blended."""

    coef: np.ndarray  # (p + c0, c)
    intercept: np.ndarray  # (c,)
    loo: np.ndarray  # (m, c)
    solutions: tuple  # for every target the ridge solution that it moves with; None of trees alone


def _expert(solution, n_features, n_targets, offset, scores):
    """The network of Y less what it makes of the ``offset`` times the scores, plus those themselves."""
    coef = np.zeros((n_features, n_targets))
    size = len(solution.coef)
    coef[:size] = solution.coef[:, :n_targets] - solution.coef[:, n_targets:] @ offset
    coef[n_features - len(offset) :] += offset
    intercept = solution.intercept[:n_targets] - solution.intercept[n_targets:] @ offset
    loo = solution.loo[:, :n_targets] - solution.loo[:, n_targets:] @ offset + scores @ offset
    return _Expert(coef, intercept, loo, (solution,) * n_targets)


def _guarded(joint, other, placed):
    """The joint ridge, but another expert for targets whose own score it would turn against them."""
    turned = _own_weights(joint.coef, placed) < 0
    pairs = ((joint.coef, other.coef), (joint.intercept, other.intercept), (joint.loo, other.loo))
    parts = (np.where(turned, two, one) for one, two in pairs)
    moves_with = zip(turned, joint.solutions, other.solutions, strict=True)
    return _Expert(*parts, tuple(two if is_turned else one for is_turned, one, two in moves_with))


def _own_weights(coef, placed):
    """The coefficient of its own score for every target."""
    return np.sum(coef[-len(placed) :] * placed, axis=0)


def best_readout(readouts):
    """Index of the first readout that no later one beats by a worthwhile gain."""
    best = 0
    for index, readout in enumerate(readouts):
        if readout.error < readouts[best].error * (1 - _WORTHWHILE):
            best = index
    return best


@dataclass(frozen=True)
class _Blend:
    """Experts on audit rows, and the shares that blend them about the mean of all rows."""

    experts: list
    mean: np.ndarray
    predictions: np.ndarray  # (k, m, c) leave-one-out, less the mean
    targets: np.ndarray
    weights: np.ndarray  # of mean 1
    shares: np.ndarray  # non-negative, of least leave-one-out error
    apart: np.ndarray  # (parts, k): shares without each part of the rows

    @classmethod
    def of(cls, experts, mean, targets, weights, numbers, trees):
        """Return the blend by least squares; of numbers experts that are outclassed have no share."""
        errors = np.array([_error(targets - expert.loo, weights) for expert in experts])
        kept = (errors <= _OUTCLASSED * errors.min()) | (not numbers)
        leaning, averaged_out = np.zeros(len(experts)), 0.0
        if trees is not None:
            leaning = np.array([_own_weights(expert.coef, trees.columns).mean() for expert in experts])
            averaged_out = trees.averaged_out
        predictions = np.stack([expert.loo - mean for expert in experts])
        moments = _Moments.of(predictions[kept], targets - mean, weights)
        found = np.zeros((1 + moments.n_parts, len(experts)))
        parts = (moments.total(), *moments.without_each())
        found[:, kept] = [part.shares(leaning[kept], averaged_out) for part in parts]
        return cls(experts, mean, predictions, targets, weights, found[0], found[1:])

    def readout(self, alpha):
        """Return the blend as one linear readout; what it says of a row is without a tenth of them, with the row."""
        rest = (1 - self.shares.sum()) * self.mean
        coef = sum(share * expert.coef for share, expert in zip(self.shares, self.experts, strict=True))
        intercept = (
            sum(share * expert.intercept for share, expert in zip(self.shares, self.experts, strict=True)) + rest
        )
        own = self.apart[np.arange(len(self.targets)) % len(self.apart)]
        loo = self.mean + np.einsum("mk,kmc->mc", own, self.predictions)
        return Readout(coef, intercept, loo, alpha, _error(self.targets - loo, self.weights), self.shares)

    def pulls(self, by_factor):
        """Return how the readout moves without a row: for every ridge solution in it."""
        found = {}
        for share, expert in zip(self.shares, self.experts, strict=True):
            for target, solution in enumerate(expert.solutions):
                if solution is not None and share > 0:
                    residuals = found.setdefault(id(solution), (solution, np.zeros_like(self.targets)))[1]
                    residuals[:, target] += share * (self.targets[:, target] - expert.loo[:, target])
        return tuple(Pull(len(s.coef), s.alpha, by_factor, residuals) for s, residuals in found.values())

    def by_log_loss(self, readout):
        """Return the readout with the shares of least log-loss, drawn to those of least squares."""
        labels = np.argmax(self.targets, axis=1)
        data = (self.mean, self.predictions, labels, self.weights, self.shares)
        found = [_least_log_loss(np.append(self.shares, 0.0), floor, *data) for floor in _LOG_FLOORS]
        best = min(range(len(found)), key=lambda i: found[i].fun)
        part = np.arange(len(labels)) % len(self.apart)
        apart = []
        for left_out in range(len(self.apart)):
            rows = part != left_out if len(self.apart) > 1 else part == 0
            some = (self.mean, self.predictions[:, rows], labels[rows], self.weights[rows], self.apart[left_out])
            apart.append(_least_log_loss(found[best].x, _LOG_FLOORS[best], *some).x[:-1])
        refined = replace(self, shares=found[best].x[:-1], apart=np.array(apart))
        return replace(refined.readout(readout.alpha), error=readout.error)


def _least_log_loss(start, floor, mean, predictions, labels, weights, centre):
    """Shares, and the logarithm of a power of the scores, of least log-loss, both with a prior."""
    n, k = len(labels), len(predictions)
    rows, mass = np.arange(n), weights / weights.sum()

    def loss(at):
        power, scores = np.exp(at[k]), mean + np.tensordot(at[:k], predictions, 1)
        logs = log_above(scores, floor)
        z = power * logs
        z -= z.max(axis=1, keepdims=True)
        chances = np.exp(z)
        total = chances.sum(axis=1)
        value = -float(mass @ (z[rows, labels] - np.log(total)))
        pull = chances / total[:, None]
        pull[rows, labels] -= 1
        pull *= mass[:, None]
        slopes = np.einsum("mc,kmc->k", power * pull / np.maximum(scores, floor), predictions)
        off = at - np.append(centre, 0.0)
        stiff = np.append(np.full(k, _STIFFNESS), DEVIATION**-2) / n
        gradient = np.append(slopes, power * np.sum(pull * logs)) + stiff * off
        return value + 0.5 * stiff @ off**2, gradient

    bounds = [(0, None)] * k + [(-MOST_LOG_POWER, MOST_LOG_POWER)]
    return minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": 40, "ftol": 1e-7})


def _error(residual, weights):
    """Weighted mean over rows of the squared residual, summed over targets."""
    return float(np.average(np.sum(residual**2, axis=1), weights=weights))


@dataclass(frozen=True)
class _Moments:
    """Products of centred predictions and targets, summed over rows and targets, by tenths of the rows or in all."""

    gram: np.ndarray  # (..., k, k)
    cross: np.ndarray  # (..., k)
    square: np.ndarray  # (...,) of the targets
    n_rows: np.ndarray  # (...,)

    @classmethod
    def of(cls, predictions, targets, weights):
        """Return those of predictions (k, m, c), by place: audit rows are in the order of hashes."""
        parts = [slice(start, None, _PARTS) for start in range(min(_PARTS, len(targets)))]
        gram = [np.einsum("jmc,kmc,m->jk", predictions[:, p], predictions[:, p], weights[p]) for p in parts]
        cross = [np.einsum("kmc,mc,m->k", predictions[:, p], targets[p], weights[p]) for p in parts]
        square = [np.einsum("mc,mc,m", targets[p], targets[p], weights[p]) for p in parts]
        return cls(*map(np.array, (gram, cross, square, [len(weights[p]) for p in parts])))

    @property
    def n_parts(self):
        """Number of parts of the rows."""
        return len(self.n_rows)

    def _map(self, function):
        """The same of every moment."""
        return _Moments(*(function(getattr(self, name)) for name in ("gram", "cross", "square", "n_rows")))

    def total(self):
        """Return those of all rows."""
        return self._map(lambda moment: moment.sum(axis=0))

    def without_each(self):
        """Return those of all rows but a tenth, for each; of all where there is one row."""
        if len(self.n_rows) == 1:
            return [self.total()]
        return [self._map(lambda moment, f=f: moment.sum(axis=0) - moment[f]) for f in range(len(self.n_rows))]

    def shares(self, leaning, averaged_out):
        """Return non-negative weights of least squares, drawn towards equal ones.

        New rows are spared an error ``averaged_out`` of scores that experts hold with coefficients ``leaning`` (k,).
        """
        k, scale = len(self.cross), np.trace(self.gram)
        if k == 1 or scale == 0:
            return np.full(k, 1 / k)
        pull = _PRIOR_ROWS * self.square / self.n_rows
        gram = self.gram + (pull + _LEAST_SHARE * scale) * np.eye(k)
        held = leaning @ np.linalg.solve(gram, leaning)
        spared = min(self.n_rows * averaged_out, _MOST_SPARED / held) if held > 0 else 0.0  # of few rows it is a guess
        factor = np.linalg.cholesky(gram - spared * np.outer(leaning, leaning))
        return nnls(factor.T, np.linalg.solve(factor, self.cross + pull / k))[0]
