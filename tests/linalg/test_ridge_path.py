"""Ridge paths, GCV, K-fold and leave-one-out equal their definitions."""

import numpy as np
import pytest

from sklearn_analytic.linalg import LeaveOneOut, NormalEquations, TriangularFactor, best_alpha, kfold_errors
from tests import reference
from tests.checks import assert_close

STATISTICS = [NormalEquations, TriangularFactor]
ALPHAS = [1e-3, 0.1, 1.0, 30.0]


@pytest.fixture(params=["tall", "wide"])
def problem(request, rng):
    n, d = {"tall": (30, 4), "wide": (8, 12)}[request.param]
    X = rng.standard_normal((n, d)) + 1
    return X, X[:, :1] - X[:, 1:2] + rng.standard_normal((n, 2)) * np.array([0.1, 3.0]) + 7


@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("kind", STATISTICS)
def test_ridge_path_and_gcv(kind, fit_intercept, problem):
    X, Y = problem
    spectrum = kind.from_rows(X, Y).spectral(fit_intercept)
    rss, dof = spectrum.path(ALPHAS)
    for i, alpha in enumerate(ALPHAS):
        coef, intercept = reference.ridge(X, Y, alpha, fit_intercept)
        assert_close(spectrum.solve(alpha)[0], coef, np.float64, 100)
        assert_close(spectrum.solve(alpha)[1], intercept, np.float64, 100)
        residual = np.sum((Y - X @ coef - intercept) ** 2, axis=0)
        assert_close(rss[i], residual, np.float64, size=np.sum(Y**2))
        assert_close(dof[i], np.trace(reference.hat_matrix(X, alpha, fit_intercept)), np.float64, 100)
        expected = reference.gcv(X, Y, alpha, fit_intercept)
        # RSS is a difference of sums of squares, divided by the squared share of free dimensions.
        assert_close(spectrum.gcv([alpha])[0], expected, np.float64, 10, size=(1 - dof[i] / len(X)) ** -2)


@pytest.mark.parametrize("kind", STATISTICS)
def test_gcv_is_infinite_where_nothing_is_left_over(kind, rng):
    X, Y = rng.standard_normal((5, 9)), rng.standard_normal((5, 1))
    assert np.isinf(kind.from_rows(X, Y).spectral().gcv([0.0]))[0]


@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("kind", STATISTICS)
def test_kfold_from_fold_statistics(kind, fit_intercept, problem):
    X, Y = problem
    fold = np.arange(len(X)) % 4
    folds = [kind.from_rows(X[fold == k], Y[fold == k]) for k in range(4)]
    errors = kfold_errors(folds, ALPHAS, fit_intercept)
    expected = [reference.kfold(X, Y, fold, alpha, fit_intercept) for alpha in ALPHAS]
    assert_close(errors, expected, np.float64, 1e4)


def test_kfold_needs_two_folds(rng):
    with pytest.raises(ValueError, match="at least two"):
        kfold_errors([NormalEquations.empty(2, 1)], [1.0])


@pytest.mark.parametrize("alpha", [0.0, 0.5])
@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("kind", STATISTICS)
def test_leave_one_out_is_exact(kind, fit_intercept, alpha, rng):
    X, Y = rng.standard_normal((25, 4)) + 3, rng.standard_normal((25, 2))
    loo = LeaveOneOut(kind.from_rows(X, Y).spectral(fit_intercept), alpha)
    assert_close(loo.predict(X, Y), reference.leave_one_out(X, Y, alpha, fit_intercept), np.float64, 1e4)


def test_leave_one_out_takes_one_copy_of_a_weighted_row(rng):
    X, Y = rng.standard_normal((15, 3)), rng.standard_normal((15, 1))
    weight = rng.integers(1, 4, 15)
    weighted = LeaveOneOut(TriangularFactor.from_rows(X, Y, weight.astype(float)).spectral(), 0.3)
    predictions = weighted.predict(X, Y, weight.astype(float))
    copies = reference.leave_one_out(*reference.repeated(X, Y, weight), 0.3)
    assert_close(np.repeat(predictions, weight, axis=0), copies, np.float64, 1e4)


def test_leave_one_out_takes_the_whole_of_a_light_row(rng):
    X, Y = rng.standard_normal((15, 3)), rng.standard_normal((15, 1))
    weight = np.full(15, 0.25)
    light = LeaveOneOut(TriangularFactor.from_rows(X, Y, weight).spectral(), 0.3).predict(X, Y, weight)
    assert_close(light, leave_out_unscaled(X, Y, 0.3 / 0.25), np.float64, 1e5)


def leave_out_unscaled(X, Y, alpha):
    """Equal weights of 1/4 with alpha are weights of 1 with 4 alpha."""
    return reference.leave_one_out(X, Y, alpha)


def test_best_alpha_prefers_the_stronger_ridge_on_ties():
    assert best_alpha([1.0, 2.0, 3.0], [5.0, 1.0, 1.0]) == 3.0
    assert best_alpha([1.0, 2.0], [np.inf, np.inf]) == 2.0


@pytest.mark.parametrize("kind", STATISTICS)
def test_ridge_and_gcv_do_not_depend_on_units(kind, rng):
    X, Y = rng.standard_normal((40, 3)), rng.standard_normal((40, 2))
    one = kind.from_rows(X, Y).spectral()
    two = kind.from_rows(X * 1e150, Y * 1e-100).spectral()
    assert_close(two.gcv(np.array([1.0, 5.0]) * 1e300), one.gcv([1.0, 5.0]), np.float64, 100)
    assert_close(two.solve(1e300)[0] * 1e250, one.solve(1.0)[0], np.float64, 100)
