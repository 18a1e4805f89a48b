"""Readouts of nested exits equal one ridge per exit, and their leave-one-out equals refits."""

import numpy as np
import pytest

from sklearn_analytic.linalg import NormalEquations, ridge_exits, spectral_exit
from tests import reference
from tests.checks import assert_close

SIZES = [3, 5, 8]


@pytest.fixture
def problem(rng):
    X = rng.standard_normal((40, 8)) * np.array([1.0, 2, 5, 1, 3, 1, 1, 2]) + 3
    return X, X[:, :2] + rng.standard_normal((40, 2))


def naive_exit(X, Y, size, alpha):
    """Ridge on features of unit variance, with the jitter of the fast road."""
    scale = 1 / X.std(0)[:size]
    penalty = alpha + 1e-6 * len(X)
    coef, intercept = reference.ridge(X[:, :size] * scale, Y, penalty)
    loo = reference.leave_one_out(X[:, :size] * scale, Y, penalty)
    return coef * scale[:, None], intercept, loo


def test_nested_exits_equal_one_ridge_each(problem):
    X, Y = problem
    audit = np.arange(0, 40, 3)
    exits = ridge_exits(NormalEquations.from_rows(X, Y), SIZES, (X[audit], Y[audit], None), [2.0])
    for size, readout in zip(SIZES, exits, strict=True):
        coef, intercept, loo = naive_exit(X, Y, size, 2.0)
        assert_close(readout.coef, coef, np.float64, 100)
        assert_close(readout.intercept, intercept, np.float64, 100)
        assert_close(readout.loo, loo[audit], np.float64, 1e4)
        assert_close(readout.error, np.mean(np.sum((Y - loo)[audit] ** 2, axis=1)), np.float64, 1e4)
        assert_close(readout.alpha, 2.0 + 1e-6 * 40, np.float64)


def test_the_walk_finds_the_best_ridge_of_the_grid(rng):
    X = rng.standard_normal((30, 20))
    Y = X[:, :1] + 3 * rng.standard_normal((30, 1))
    statistic, audit = NormalEquations.from_rows(X, Y), (X, Y, None)
    grid = [1e-3, 1e-2, 0.1, 1.0, 10.0, 100.0]
    errors = [ridge_exits(statistic, [20], audit, [alpha])[0].error for alpha in grid]
    chosen = ridge_exits(statistic, [20], audit, grid)[0].alpha
    assert_close(chosen, grid[int(np.argmin(errors))] + 1e-6 * 30, np.float64)


def test_weights_are_repetitions(problem, rng):
    X, Y = problem
    weight = rng.integers(1, 4, 40)
    Xr, Yr = reference.repeated(X, Y, weight)
    one = ridge_exits(NormalEquations.from_rows(X, Y, weight), SIZES, (X, Y, weight.astype(float)), [1.0])
    two = ridge_exits(NormalEquations.from_rows(Xr, Yr), SIZES, (Xr, Yr, None), [1.0])
    for a, b in zip(one, two, strict=True):
        assert_close(a.coef, b.coef, np.float64, 100)
        assert_close(a.error, b.error, np.float64, 100)
        assert_close(np.repeat(a.loo, weight, axis=0), b.loo, np.float64, 100)


def test_float32_features_give_float32_accuracy(problem, backend):
    X, Y = problem
    narrow = X.astype(np.float32)
    statistic = NormalEquations.from_rows(backend.asarray(narrow), backend.asarray(Y), None, backend, widen=False)
    exits = ridge_exits(statistic.to_host(backend), SIZES, (narrow, Y, None), [2.0])
    for size, readout in zip(SIZES, exits, strict=True):
        assert_close(readout.coef, naive_exit(X, Y, size, 2.0)[0], np.float32)
        assert_close(readout.loo, naive_exit(X, Y, size, 2.0)[2], np.float32, 10)


def test_flat_features_get_no_weight(problem):
    X, Y = problem
    X = np.hstack([X[:, :3], np.full((40, 1), 7.0), np.zeros((40, 1)), X[:, 3:6]])
    readout = ridge_exits(NormalEquations.from_rows(X, Y), [8], (X, Y, None), [1.0])[0]
    np.testing.assert_array_equal(readout.coef[3:5], 0.0)
    without = np.delete(X, [3, 4], axis=1)
    expected = ridge_exits(NormalEquations.from_rows(without, Y), [6], (without, Y, None), [1.0])[0]
    assert_close(np.delete(readout.coef, [3, 4], axis=0), expected.coef, np.float64, 100)


def test_an_indefinite_gram_is_an_error(problem):
    X, Y = problem
    statistic = NormalEquations.from_rows(X, Y)
    broken = NormalEquations(
        40, 40.0, statistic.mean, statistic.scatter - 30 * np.ones((10, 10)), 8, statistic.exponent
    )
    broken.scatter[np.diag_indices(10)] = np.abs(np.diag(broken.scatter))
    with pytest.raises(np.linalg.LinAlgError, match="larger alpha"):
        ridge_exits(broken, [8], (X, Y, None), [1e-3, 1e-2])


def test_spectral_exit_is_the_minimum_norm_solution(problem):
    X, Y = problem
    columns = np.array([0, 1, 2, 2, 5])  # one feature twice
    readout = spectral_exit(NormalEquations.from_rows(X, Y), columns, (X, Y, None), 0.0)
    scale = 1 / X.std(0)[columns]
    coef, intercept = reference.lstsq(X[:, columns] * scale, Y)
    assert_close(readout.coef, coef * scale[:, None], np.float64, 1e3)
    assert_close(readout.intercept, intercept, np.float64, 1e3)
    distinct = np.array([0, 1, 2, 5])
    assert_close(readout.loo, reference.leave_one_out(X[:, distinct], Y, 0.0), np.float64, 1e5)


def test_spectral_exit_chooses_by_gcv(problem):
    X, Y = problem
    readout = spectral_exit(NormalEquations.from_rows(X, Y), np.arange(8), (X, Y, None), "gcv")
    scaled = X / X.std(0)
    others = [reference.gcv(scaled, Y, alpha) for alpha in [1e-6, 0.1, 1.0, 10.0, 1e3]]
    assert reference.gcv(scaled, Y, readout.alpha) <= min(others) * (1 + 1e-3)
