"""The blend of ClosedFormMLP: shares by their formula, and what is said of a row by blends that do not know it."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.special import softmax

from sklearn_analytic import ClosedFormMLPRegressor
from sklearn_analytic.closed_form.readout import PlacedScores, _Blend, _Expert
from tests.checks import assert_close

PRIOR = 3.0


def problem(rng, n=60, k=3, c=2):
    """Experts (coefficients, constants, leave-one-out predictions), mean, targets and weights of audit rows."""
    targets = rng.standard_normal((n, c))
    mean = 0.1 * rng.standard_normal(c)
    experts = [
        _Expert(
            rng.standard_normal((5, c)), rng.standard_normal(c), 0.7 * targets + s * rng.standard_normal((n, c)), ()
        )
        for s in np.linspace(0.5, 0.8, k)
    ]
    return experts, mean, targets, rng.integers(1, 3, n).astype(float)


def blended(experts, mean, targets, weights, trees):
    """The blend of experts as one readout."""
    return _Blend.of(experts, mean, targets, weights / weights.mean(), False, trees).readout(1.0)


def shares_by_search(predictions, targets, weights, lost):
    """The minimum of the criterion over non-negative shares."""
    k, n = len(predictions), len(targets)
    square = np.sum(weights[:, None] * targets**2) / n

    def criterion(shares):
        rest = targets - np.tensordot(shares, predictions, 1)
        pull = PRIOR * square * np.sum((shares - 1 / k) ** 2)
        return np.sum(weights[:, None] * rest**2) - n * shares @ lost @ shares + pull

    return minimize(criterion, np.full(k, 1 / k), bounds=[(0, None)] * k, tol=1e-12).x


@pytest.mark.parametrize("averaged_out", [0.0, 0.3])
def test_shares_are_the_best_for_rows_that_get_the_mean_of_members(rng, averaged_out):
    experts, mean, targets, weights = problem(rng)
    experts[1].coef[-2:], experts[2].coef[-2:] = np.eye(2), 0.5 * np.eye(2)
    trees = PlacedScores(np.eye(2), averaged_out)
    experts[0].coef[-2:] = 0.0
    readout = blended(experts, mean, targets, weights, trees)
    leaning = np.array([0.0, 1.0, 0.5])
    predictions, relative = np.stack([expert.loo - mean for expert in experts]), weights / weights.mean()
    lost = averaged_out * np.outer(leaning, leaning)
    expected = shares_by_search(predictions, targets - mean, relative, lost)
    np.testing.assert_allclose(readout.shares, expected, atol=1e-4)
    coef = sum(share * expert.coef for share, expert in zip(readout.shares, experts, strict=True))
    assert_close(readout.coef, coef, np.float64, size=1.0)
    if averaged_out:  # trees are worth more than one member's error tells
        plain = blended(experts, mean, targets, weights, PlacedScores(np.eye(2), 0.0))
        assert readout.shares[1] > plain.shares[1]


def test_what_is_said_of_a_row_does_not_know_its_tenth(rng):
    experts, mean, targets, weights = problem(rng)
    before = blended(experts, mean, targets, weights, None)
    changed = targets.copy()
    changed[7::10] += 5.0
    after = blended(experts, mean, changed, weights, None)
    same = np.arange(60) % 10 == 7
    assert_close(after.loo[same], before.loo[same], np.float64, size=1.0)
    assert np.all(np.abs(after.loo[~same] - before.loo[~same]).max(axis=1) > 1e-6)


def test_a_single_row_and_a_single_expert_are_blended(rng):
    experts, mean, targets, weights = problem(rng, n=1)
    assert np.all(np.isfinite(blended(experts, mean, targets, weights, None).loo))
    experts, mean, targets, weights = problem(rng, k=1)
    readout = blended(experts, mean, targets, weights, None)
    assert readout.shares.tolist() == [1.0]
    assert_close(readout.loo, experts[0].loo, np.float64, size=1.0)


def test_more_is_not_spared_than_there_is(rng):
    experts, mean, targets, weights = problem(rng)
    experts[1].coef[-2:], experts[2].coef[-2:], experts[0].coef[-2:] = np.eye(2), np.eye(2), 0.0
    readout = blended(experts, mean, targets, weights, PlacedScores(np.eye(2), 1e6))
    assert np.all(readout.shares >= 0) and readout.shares.sum() < 5


@pytest.mark.parametrize(("n", "seed"), [(10, 4), (10, 10), (10, 27), (20, 12), (60, 16)])
def test_few_rows_of_noise_do_not_blow_up_the_blend(n, seed):
    rng = np.random.default_rng(1000 + seed)
    X = rng.standard_normal((n, 4))
    rng.shuffle(np.arange(n) % 2)  # these draws lead to targets for which shares were once thousands
    rng.standard_normal((200, 4))
    model = ClosedFormMLPRegressor(random_state=seed).fit(X, rng.standard_normal(n))
    assert model.blend_.sum() < 5
    assert model.loo_score_ > -10


def classes(rng, n=300):
    """Two experts of three classes: chances that are near 0 and 1, and scores that are right but not."""
    labels = rng.integers(0, 3, n)
    sure = np.where(rng.random(n) < 0.8, labels, rng.integers(0, 3, n))
    targets = np.eye(3)[labels]
    coef, constants = np.zeros((4, 3)), np.zeros(3)
    scores = 1 / 3 + 0.25 * (targets - 1 / 3) + 0.03 * rng.standard_normal((n, 3))
    experts = [_Expert(coef, constants, loo, ()) for loo in (scores, 0.94 * np.eye(3)[sure] + 0.02)]
    return experts, np.full(3, 1 / 3), targets, rng.integers(1, 3, n) / 1.5


def test_shares_by_log_loss_are_the_minimum_of_their_criterion(rng):
    experts, mean, targets, weights = classes(rng)
    blend = _Blend.of(experts, mean, targets, weights / weights.mean(), False, None)
    refined = blend.by_log_loss(blend.readout(1.0))
    assert refined.error == blend.readout(1.0).error

    def criterion(at, floor):
        scores = mean + np.tensordot(at[:2], blend.predictions, 1)
        logs = np.where(scores > floor, np.log(np.maximum(scores, floor)), np.log(floor) + (scores - floor) / floor)
        chances = softmax(np.exp(at[2]) * logs, axis=1)
        loss = -np.average(np.log(np.sum(chances * targets, axis=1)), weights=weights)
        return loss + (30.0 * np.sum((at[:2] - blend.shares) ** 2) + 12.5 * at[2] ** 2) / len(targets)

    bounds = [(0, None)] * 2 + [(-1.5, 1.5)]
    tried = [
        minimize(criterion, np.append(blend.shares, 0.0), (floor,), bounds=bounds, tol=1e-12)
        for floor in (0.003, 0.03, 0.1)
    ]
    np.testing.assert_allclose(refined.shares, min(tried, key=lambda found: found.fun).x[:2], atol=2e-3)
    assert refined.shares[0] > blend.shares[0]  # its scores tell the class, which squares do not see


def test_shares_by_log_loss_of_one_row_are_finite(rng):
    experts, mean, targets, weights = (part[:1] if i > 1 else part for i, part in enumerate(classes(rng)))
    experts = [replace(expert, loo=expert.loo[:1]) for expert in experts]
    blend = _Blend.of(experts, mean, targets, weights / weights.mean(), False, None)
    assert np.all(np.isfinite(blend.by_log_loss(blend.readout(1.0)).loo))
