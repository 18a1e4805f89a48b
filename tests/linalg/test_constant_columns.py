"""Constant columns, and columns that rounding alone moves: rank 0, coefficients of exactly 0, whatever their size."""

from itertools import pairwise

import numpy as np
import pytest

from sklearn_analytic.linalg import LeaveOneOut, NormalEquations, TriangularFactor, kfold_errors
from tests import reference
from tests.checks import assert_close

STATISTICS = [NormalEquations, TriangularFactor]
MAGNITUDES = [1e-300, 1e-200, 1e-10, 1e-3, 0.1, 1.0, 7.3, 1e6 + 0.1, 1e10 / 3, 1e15 / 7, 1e150, 1e300]


def flat(value, jitter, rng, shape=(301, 3), dtype=np.float64):
    """Rows of one value, or of it and its neighbours."""
    X = np.full(shape, value, dtype=dtype)
    return (X + np.spacing(X) * rng.integers(-1, 2, shape)).astype(dtype) if jitter else X


def in_blocks(kind, X, Y, size):
    """Accumulate blocks of ``size`` rows."""
    statistic = kind.empty(X.shape[1], Y.shape[1])
    for start, stop in pairwise([*range(0, len(X), size), len(X)]):
        statistic = statistic.accumulate(X[start:stop], Y[start:stop])
    return statistic


def assert_nothing_learned(statistic, mean, alphas=(0.0, 1e-20, 1.0)):
    """Rank 0, condition 1, coefficients 0 and the mean as intercept, for every ridge."""
    problem = statistic.spectral()
    assert problem.rank() == 0 and problem.condition() == 1.0
    for alpha in (*alphas, problem.default_alphas()[0]):
        coef, intercept = problem.solve(alpha)
        assert np.all(coef == 0)
        assert_close(intercept, mean, np.float64)


@pytest.mark.parametrize("jitter", [False, True])
@pytest.mark.parametrize("value", MAGNITUDES)
@pytest.mark.parametrize("kind", STATISTICS)
def test_nothing_is_learned_of_constant_columns(kind, value, jitter, rng):
    X, Y = flat(value, jitter, rng), rng.normal(14, 5, (301, 2))
    assert_nothing_learned(kind.from_rows(X, Y), Y.mean(0))
    assert_nothing_learned(in_blocks(kind, X, Y, 7), Y.mean(0))
    for weight in (np.full(301, 1e-300), rng.uniform(0, 3, 301)):
        assert_nothing_learned(kind.from_rows(X, Y, weight), np.average(Y, axis=0, weights=weight))


@pytest.mark.parametrize("value", [1e-3, 7.3, 1e6 + 0.1])
@pytest.mark.parametrize("kind", STATISTICS)
def test_single_precision_is_judged_by_its_own_unit(kind, value, rng):
    X, Y = flat(value, True, rng, dtype=np.float32), rng.standard_normal((301, 1))
    assert_nothing_learned(in_blocks(kind, X, Y, 50), Y.mean(0))
    X = np.linspace(2000, 2020, 301, dtype=np.float32)[:, None]
    assert kind.from_rows(X, X).spectral().rank() == 1


@pytest.mark.parametrize("rows", [1, 2])
@pytest.mark.parametrize("kind", STATISTICS)
def test_one_row_and_two_equal_rows(kind, rows):
    X, Y = np.full((rows, 2), 0.3), np.arange(1.0, rows + 1)[:, None]
    assert_nothing_learned(kind.from_rows(X, Y), Y.mean(0))


@pytest.mark.parametrize("size", [1, 3000])
@pytest.mark.parametrize("kind", STATISTICS)
def test_rounding_of_many_sums_is_no_signal(kind, size, rng):
    X, Y = flat(0.1, False, rng, (3000, 2)), rng.standard_normal((3000, 1))
    assert_nothing_learned(in_blocks(kind, X, Y, size), Y.mean(0))


@pytest.mark.parametrize("units", [(1.0, 1.0), (1e9, 1e-9)])
@pytest.mark.parametrize("kind", STATISTICS)
def test_a_constant_column_changes_nothing_for_the_others(kind, units, rng):
    X, Y = rng.standard_normal((80, 2)) * units, rng.standard_normal((80, 2))
    with_it = kind.from_rows(np.insert(X, 1, 7.3, axis=1), Y).solve_equilibrated()
    without = kind.from_rows(X, Y).solve_equilibrated()
    assert np.all(with_it[0][1] == 0)
    assert_close(with_it[0][[0, 2]] * np.array(units)[:, None], without[0] * np.array(units)[:, None], np.float64, 10)
    assert_close(with_it[1], without[1], np.float64, 10, size=1.0)


@pytest.mark.parametrize("kind", STATISTICS)
def test_columns_constant_in_a_first_block_are_learned_from_the_next(kind, rng):
    X, Y = np.vstack([np.full((50, 2), 7.3), rng.standard_normal((50, 2))]), rng.standard_normal((100, 1))
    expected = reference.lstsq(X, Y)
    found = kind.from_rows(X[:50], Y[:50]).merge(kind.from_rows(X[50:], Y[50:])).spectral().solve()
    for ours, theirs in zip(found, expected, strict=True):
        assert_close(ours, theirs, np.float64, 100, size=10.0)


@pytest.mark.parametrize(("low", "high"), [(2000.0, 2020.0), (1.6e9 - 1000, 1.6e9 + 1000), (1e9, 1e9 + 1e-2)])
@pytest.mark.parametrize("kind", STATISTICS)
def test_columns_far_from_the_origin_are_learned(kind, low, high, rng):
    x = np.hstack([rng.uniform(low, high, (400, 1)), rng.standard_normal((400, 1))])
    exact = (x - [low, 0.0]) / [high - low, 1.0]  # exact differences, in units of the range
    statistic = in_blocks(kind, x, exact @ [[3.0], [2.0]], 100)
    coef, _ = statistic.solve_equilibrated()
    assert statistic.spectral().rank() == 2
    assert_close(coef[:, 0] * [high - low, 1.0], np.array([3.0, 2.0]), np.float64, 10 * high / (high - low))


@pytest.mark.parametrize("offset", [1e6, 1e12])
@pytest.mark.parametrize("kind", STATISTICS)
def test_columns_that_differ_by_a_constant_are_one(kind, offset, rng):
    x, Y = rng.standard_normal((200, 1)), rng.standard_normal((200, 1))
    statistic = kind.from_rows(np.hstack([x, x + offset]), Y)
    assert statistic.spectral().rank() == 1 and statistic.solve_equilibrated() is None
    slope = reference.lstsq(x, Y)[0]
    assert_close(statistic.spectral().solve()[0], np.vstack([slope, slope]) / 2, np.float64, 10 * offset)


@pytest.mark.parametrize("kind", STATISTICS)
def test_without_an_intercept_a_constant_column_is_a_regressor(kind, rng):
    X, Y = np.hstack([np.full((60, 1), 7.3), np.zeros((60, 1))]), rng.standard_normal((60, 1)) + 14
    problem = kind.from_rows(X, Y).spectral(fit_intercept=False)
    assert problem.rank() == 1
    assert_close(problem.solve()[0], np.array([[Y.mean() / 7.3], [0.0]]), np.float64, 10)


@pytest.mark.parametrize("rows", [1, 10, 100])
@pytest.mark.parametrize("kind", STATISTICS)
def test_removal_that_leaves_equal_rows_leaves_nothing_to_learn(kind, rows, rng):
    X = np.vstack([rng.standard_normal((100, 2)), np.full((30, 2), 0.3)])
    Y = rng.standard_normal((130, 1)) + 14
    statistic = kind.from_rows(X, Y)
    for start in range(0, 100, rows):
        statistic = statistic.remove(kind.from_rows(X[start : start + rows], Y[start : start + rows]))
    coef, intercept = statistic.spectral().solve()
    assert np.all(coef == 0)
    assert_close(intercept, Y[100:].mean(0), np.float64, 1e4)  # of 130 rows 30 are left, in 100 steps


@pytest.mark.parametrize("kind", STATISTICS)
def test_folds_and_leave_one_out_predict_means(kind, rng):
    X, Y = flat(7.3, True, rng, (60, 2)), rng.standard_normal((60, 1))
    folds = [kind.from_rows(X[i::3], Y[i::3]) for i in range(3)]
    means = np.array([np.delete(Y.reshape(20, 3), i, axis=1).mean() for i in range(3)])
    expected = np.mean((Y.reshape(20, 3) - means) ** 2)
    assert_close(kfold_errors(folds, [0.0, 1.0]), np.full((2, 1), expected), np.float64)
    alone = LeaveOneOut(kind.from_rows(X, Y).spectral()).predict(X, Y)
    assert_close(alone, (Y.sum() - Y) / 59, np.float64, size=1.0)
