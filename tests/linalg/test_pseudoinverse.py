"""The literal recursion equals pinv in each scenario and in any mixture, and runs backwards."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sklearn_analytic.linalg import MoorePenroseState, RecursiveLeastSquares
from tests import reference
from tests.checks import assert_close


def absorb(A, Y, size):
    state = MoorePenroseState.start(A.shape[1], Y.shape[1])
    for start in range(0, len(A), size):
        state = state.absorb(A[start : start + size], Y[start : start + size])
    return state


def matrices(rng):
    tall = rng.standard_normal((40, 6))
    return {
        "tall": tall,
        "wide": rng.standard_normal((5, 12)),
        "rank_deficient": rng.standard_normal((30, 3)) @ rng.standard_normal((3, 7)),
        "duplicated_rows": np.repeat(tall[:6, :5], 3, axis=0),
        "zero_rows": np.vstack([np.zeros((3, 4)), tall[:5, :4]]),
    }


@given(
    seed=st.integers(0, 1000),
    shape=st.sampled_from(["tall", "wide", "rank_deficient", "duplicated_rows", "zero_rows"]),
    size=st.sampled_from([1, 3, 7, 16, 64]),
)
def test_state_equals_pinv(seed, shape, size):
    rng = np.random.default_rng(seed)
    A = matrices(rng)[shape]
    Y = rng.standard_normal((len(A), 2))
    state = absorb(A, Y, size)
    inverse = np.linalg.pinv(A, rcond=1e-9)
    scale = 1e4 * np.linalg.norm(inverse, 2) ** 2 * np.linalg.norm(A, 2) ** 2
    assert state.rank == np.linalg.matrix_rank(A, tol=1e-8)
    assert_close(state.w, inverse @ Y, np.float64, scale)
    assert_close(state.p, inverse @ inverse.T, np.float64, scale)
    assert_close(state.n, np.eye(A.shape[1]) - inverse @ A, np.float64, scale, size=1.0)


def test_each_scenario_is_met_and_recorded(rng):
    A = rng.standard_normal((4, 6))
    inside = rng.standard_normal((3, 4)) @ A
    mixed = np.vstack([A[:1], rng.standard_normal((1, 6))])
    state = MoorePenroseState.start(6, 1)
    for block, scenario in [(A, "full_rank"), (inside, "inside"), (mixed, "mixed")]:
        before = state.scenarios[scenario]
        state = state.absorb(block, np.ones((len(block), 1)))
        assert state.scenarios[scenario] == before + 1
    assert sum(state.scenarios.values()) == 3


def test_removal_runs_the_recursion_backwards(rng):
    A, Y = rng.standard_normal((30, 4)), rng.standard_normal((30, 2))
    state = absorb(A, Y, 10).remove(A[:8], Y[:8])
    assert_close(state.w, np.linalg.pinv(A[8:]) @ Y[8:], np.float64, 100)


@pytest.mark.parametrize("case", ["foreign", "carries rank"])
def test_unsafe_removal_is_an_error(case, rng):
    A, Y = rng.standard_normal((20, 4)), rng.standard_normal((20, 1))
    A[:, 3] = 0
    A[0, 3] = 1.0
    rows = {"foreign": 10 * A[1:3], "carries rank": A[:1]}[case]
    with pytest.raises(ValueError, match="cannot remove"):
        absorb(A, Y, 5).remove(rows, np.ones((len(rows), 1)))


def test_ill_conditioned_rows_stop_the_recursion_with_advice(rng):
    X = reference.matrix_of_condition(rng, 2000, 40, 1e10)[0]
    with pytest.raises(np.linalg.LinAlgError, match="solver='qr'"):
        absorb(X, rng.standard_normal((2000, 1)), 40)


def test_merge_is_one_stream(rng):
    A = rng.standard_normal((30, 3)) @ rng.standard_normal((3, 5))
    Y = rng.standard_normal((30, 2))
    merged = absorb(A[:11], Y[:11], 4).merge(absorb(A[11:], Y[11:], 7))
    assert_close(merged.w, np.linalg.pinv(A, rcond=1e-9) @ Y, np.float64, 1e5)


@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("shape", ["tall", "wide", "rank_deficient"])
def test_least_squares_with_intercept_has_the_same_minimum_norm(shape, fit_intercept, rng):
    X = matrices(rng)[shape] + 1
    Y = rng.standard_normal((len(X), 2))
    recursion = RecursiveLeastSquares.start(X.shape[1], 2, fit_intercept, 0.0, None)
    for start in range(0, len(X), 7):
        recursion = recursion.accumulate(X[start : start + 7], Y[start : start + 7])
    coef, intercept = recursion.solve()
    expected, constant = reference.lstsq(X, Y, fit_intercept)
    assert_close(coef, expected, np.float64, 1e5, size=1.0)
    assert_close(intercept, constant, np.float64, 1e5, size=1.0)


def test_ridge_is_a_first_block(rng):
    X, Y = rng.standard_normal((20, 4)) + 2, rng.standard_normal((20, 2))
    recursion = RecursiveLeastSquares.start(4, 2, True, 0.7, None).accumulate(X, Y)
    expected, constant = reference.ridge(X, Y, 0.7)
    assert_close(recursion.solve()[0], expected, np.float64, 1e3)
    assert_close(recursion.solve()[1], constant, np.float64, 1e3)


def test_weights_and_late_targets(rng):
    X, Y = rng.standard_normal((20, 3)), rng.standard_normal((20, 1))
    weight = rng.integers(0, 3, 20)
    start = RecursiveLeastSquares.start(3, 1, True, 0.0, None)
    one = start.accumulate(X, Y, weight.astype(float)).add_targets([-1.0]).permute_targets([1, 0])
    Xr, Yr = reference.repeated(X, Y, weight)
    expected = reference.lstsq(Xr, np.hstack([np.full((len(Xr), 1), -1.0), Yr]))
    assert one.n_rows == np.sum(weight > 0)
    assert_close(one.solve()[0], expected[0], np.float64, 1e3, size=1.0)
    assert_close(one.solve()[1], expected[1], np.float64, 1e3, size=1.0)
