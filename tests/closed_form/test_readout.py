"""The blend of ClosedFormMLP: shares by their formula, and what is said of a row by blends that do not know it."""

import numpy as np
import pytest
from scipy.optimize import minimize

from sklearn_analytic.closed_form.readout import PlacedScores, _blended
from tests.checks import assert_close

PRIOR = 3.0


def problem(rng, n=60, k=3, c=2):
    """Experts (coefficients, constants, leave-one-out predictions), mean, targets and weights of audit rows."""
    targets = rng.standard_normal((n, c))
    mean = 0.1 * rng.standard_normal(c)
    experts = [
        (rng.standard_normal((5, c)), rng.standard_normal(c), 0.7 * targets + s * rng.standard_normal((n, c)))
        for s in np.linspace(0.5, 0.8, k)
    ]
    return experts, mean, targets, rng.integers(1, 3, n).astype(float)


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
    experts[1][0][-2:], experts[2][0][-2:] = np.eye(2), 0.5 * np.eye(2)
    trees = PlacedScores(np.eye(2), averaged_out)
    experts[0][0][-2:] = 0.0
    readout = _blended(experts, mean, targets, weights, 1.0, False, trees)
    leaning = np.array([0.0, 1.0, 0.5])
    predictions, relative = np.stack([loo - mean for _, _, loo in experts]), weights / weights.mean()
    lost = averaged_out * np.outer(leaning, leaning)
    expected = shares_by_search(predictions, targets - mean, relative, lost)
    np.testing.assert_allclose(readout.shares, expected, atol=1e-4)
    coef = sum(share * coef for share, (coef, _, _) in zip(readout.shares, experts, strict=True))
    assert_close(readout.coef, coef, np.float64, size=1.0)
    if averaged_out:  # trees are worth more than one member's error tells
        plain = _blended(experts, mean, targets, weights, 1.0, False, PlacedScores(np.eye(2), 0.0))
        assert readout.shares[1] > plain.shares[1]


def test_what_is_said_of_a_row_does_not_know_its_tenth(rng):
    experts, mean, targets, weights = problem(rng)
    before = _blended(experts, mean, targets, weights, 1.0, False, None)
    changed = targets.copy()
    changed[7::10] += 5.0
    after = _blended(experts, mean, changed, weights, 1.0, False, None)
    same = np.arange(60) % 10 == 7
    assert_close(after.loo[same], before.loo[same], np.float64, size=1.0)
    assert np.all(np.abs(after.loo[~same] - before.loo[~same]).max(axis=1) > 1e-6)


def test_a_single_row_and_a_single_expert_are_blended(rng):
    experts, mean, targets, weights = problem(rng, n=1)
    assert np.all(np.isfinite(_blended(experts, mean, targets, weights, 1.0, False, None).loo))
    experts, mean, targets, weights = problem(rng, k=1)
    readout = _blended(experts, mean, targets, weights, 1.0, False, None)
    assert readout.shares.tolist() == [1.0]
    assert_close(readout.loo, experts[0][2], np.float64, size=1.0)


def test_more_is_not_spared_than_there_is(rng):
    experts, mean, targets, weights = problem(rng)
    experts[1][0][-2:], experts[2][0][-2:], experts[0][0][-2:] = np.eye(2), np.eye(2), 0.0
    readout = _blended(experts, mean, targets, weights, 1.0, False, PlacedScores(np.eye(2), 1e6))
    assert np.all(np.isfinite(readout.shares)) and np.all(readout.shares >= 0)
