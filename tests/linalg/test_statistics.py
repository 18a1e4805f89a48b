"""Normal equations and the triangular factor: equal to LAPACK in any split, order, rank, weight and backend."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import linalg

from sklearn_analytic.linalg import NormalEquations, TriangularFactor
from tests import reference
from tests.checks import assert_close

STATISTICS = [NormalEquations, TriangularFactor]
# The Gram loses kappa^2 eps, the factor kappa eps: scales of the one tolerance at condition below 100.
SCALE = {NormalEquations: 1e3, TriangularFactor: 10.0}


def shapes(rng):
    """Tall, wide, square, rank-deficient, duplicated and constant columns, duplicated rows, far from the origin."""
    tall = rng.standard_normal((60, 5))
    low = rng.standard_normal((40, 3)) @ rng.standard_normal((3, 6))
    return {
        "tall": tall,
        "wide": rng.standard_normal((4, 9)),
        "square": rng.standard_normal((6, 6)),
        "rank_deficient": low,
        "duplicated_columns": np.hstack([tall, tall[:, :2]]),
        "constant_column": np.hstack([tall, np.full((60, 1), 3.0)]),
        "zero_column": np.hstack([np.zeros((60, 1)), tall]),
        "duplicated_rows": np.vstack([tall[:10], tall[:10], tall]),
        "offset": tall + 1e3,
        "one_row": tall[:1],
        "one_column": tall[:, :1],
    }


SHAPES = list(shapes(np.random.default_rng(0)))


def stream(kind, X, Y, cuts, weight=None, backend=None):
    """Accumulate blocks of rows between cuts."""
    statistic = kind.empty(X.shape[1], Y.shape[1])
    statistic = statistic if backend is None else statistic.on(backend)
    edges = [0, *sorted(cuts), len(X)]
    for start, stop in pairwise(edges):
        rows = slice(start, stop)
        statistic = statistic.accumulate(X[rows], Y[rows], None if weight is None else weight[rows], backend)
    return statistic if backend is None else statistic.to_host(backend)


@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("kind", STATISTICS)
def test_minimum_norm_solution_equals_lapack(kind, shape, fit_intercept, backend, rng):
    X = shapes(rng)[shape]
    Y = rng.standard_normal((len(X), 2)) + 5
    statistic = stream(kind, X, Y, [len(X) // 3, len(X) // 2], backend=backend)
    coef, intercept = statistic.spectral(fit_intercept).solve()
    expected, constant = reference.lstsq(X, Y, fit_intercept, rcond=1e-7)
    # An offset of 1000 without an intercept is a condition number of about 1000.
    scale = SCALE[kind] * (1e3 if shape == "offset" else 1)
    assert_close(coef, expected, np.float64, scale, size=max(1.0, np.abs(expected).max()))
    assert_close(intercept, constant, np.float64, scale * 1e2, size=max(1.0, np.abs(X).max()))


@pytest.mark.parametrize("kind", STATISTICS)
def test_float32_rows_are_summed_in_float64(kind, backend, rng):
    X = (rng.standard_normal((500, 4)) + 10).astype(np.float32)
    Y = rng.standard_normal((500, 1)).astype(np.float32)
    coef = stream(kind, X, Y, [100, 317], backend=backend).spectral().solve()[0]
    expected = reference.lstsq(X.astype(float), Y.astype(float))[0]
    assert_close(coef, expected, np.float64, SCALE[kind])


@given(data=st.data())
@pytest.mark.parametrize("kind", STATISTICS)
def test_any_split_and_order_is_one_fit(kind, data):
    rng = np.random.default_rng(data.draw(st.integers(0, 1000), label="seed"))
    shape = data.draw(st.sampled_from(SHAPES), label="shape")
    X = shapes(rng)[shape]
    Y = rng.standard_normal((len(X), 2))
    cuts = data.draw(st.lists(st.integers(0, len(X)), max_size=6), label="cuts")
    order = rng.permutation(len(X))
    whole = kind.from_rows(X, Y).spectral()
    split = stream(kind, X[order], Y[order], cuts).spectral()
    assert split.rank() == whole.rank()
    expected = whole.solve()[0]
    scale = (
        SCALE[kind]
        * (100 if shape == "offset" else 1)
        * max(1.0, whole.condition()) ** (2 if kind is NormalEquations else 1)
        / 10
    )
    assert_close(split.solve()[0], expected, np.float64, max(scale, SCALE[kind]), size=max(1.0, np.abs(expected).max()))


@given(seed=st.integers(0, 1000), cut=st.integers(0, 50))
@pytest.mark.parametrize("kind", STATISTICS)
def test_merged_shards_are_one_fit(kind, seed, cut):
    rng = np.random.default_rng(seed)
    X, Y = rng.standard_normal((50, 4)) + 2, rng.standard_normal((50, 2))
    merged = stream(kind, X[:cut], Y[:cut], []).merge(stream(kind, X[cut:], Y[cut:], []))
    whole = kind.from_rows(X, Y)
    assert merged.n_rows == 50
    assert_close(merged.spectral().solve()[0], whole.spectral().solve()[0], np.float64, SCALE[kind])


@given(seed=st.integers(0, 1000), fit_intercept=st.booleans())
@pytest.mark.parametrize("kind", STATISTICS)
def test_weights_are_repetitions(kind, seed, fit_intercept):
    rng = np.random.default_rng(seed)
    X, Y = rng.standard_normal((30, 3)), rng.standard_normal((30, 2))
    weight = rng.integers(0, 4, 30)
    weighted = kind.from_rows(X, Y, weight.astype(float))
    repeated = kind.from_rows(*reference.repeated(X, Y, weight))
    alphas = [0.0, 0.1, 10.0]
    one, two = weighted.spectral(fit_intercept), repeated.spectral(fit_intercept)
    assert_close(one.solve()[0], two.solve()[0], np.float64, SCALE[kind])
    assert_close(one.gcv(alphas), two.gcv(alphas), np.float64, SCALE[kind])


@given(seed=st.integers(0, 1000), shape=st.sampled_from(["tall", "rank_deficient", "duplicated_columns", "offset"]))
@pytest.mark.parametrize("kind", STATISTICS)
def test_removal_equals_a_fit_on_the_rest(kind, seed, shape):
    rng = np.random.default_rng(seed)
    X = shapes(rng)[shape]
    Y = rng.standard_normal((len(X), 2))
    out = rng.permutation(len(X))[: len(X) // 2]
    rest = np.setdiff1d(np.arange(len(X)), out)
    removed = kind.from_rows(X, Y).remove(kind.from_rows(X[out], Y[out]))
    expected = kind.from_rows(X[rest], Y[rest]).spectral()
    assert removed.n_rows == len(rest)
    assert removed.spectral().rank() == expected.rank()
    # Half of the rows leave: leverages near 1/2 cost a few digits; an offset of 1e3 costs its square.
    scale = 1e3 * SCALE[kind] * (1e3 if shape == "offset" else 1)
    assert_close(removed.spectral().solve()[0], expected.solve()[0], np.float64, scale)


@pytest.mark.parametrize("kind", STATISTICS)
def test_removal_down_to_fewer_rows_than_columns(kind, rng):
    X, Y = rng.standard_normal((12, 6)), rng.standard_normal((12, 1))
    removed = kind.from_rows(X, Y).remove(kind.from_rows(X[4:], Y[4:]))
    expected = reference.lstsq(X[:4], Y[:4])[0]
    # What is left of a direction after removal carries sqrt(eps) of what was removed.
    assert_close(removed.spectral().solve(rcond=1e-6)[0], expected, np.float64, 1e6)


@pytest.mark.parametrize("kind", STATISTICS)
@pytest.mark.parametrize("case", ["other rows", "other targets", "too many", "other weights"])
def test_removal_of_rows_that_were_never_in_is_an_error(kind, case, rng):
    X, Y = rng.standard_normal((40, 3)), rng.standard_normal((40, 1))
    others = {
        "other rows": (5 * X[:10], Y[:10]),
        "other targets": (X[:10], Y[:10] + 20),
        "too many": (np.vstack([X, X]), np.vstack([Y, Y])),
        "other weights": (X[:10], Y[:10], np.full(10, 30.0)),
    }
    whole = kind.from_rows(X, Y, np.full(40, 10.0) if case == "other weights" else None)
    with pytest.raises(ValueError, match="never added"):
        whole.remove(kind.from_rows(*others[case]))


@pytest.mark.parametrize("kind", STATISTICS)
def test_removal_of_everything_leaves_nothing(kind, rng):
    X, Y = rng.standard_normal((10, 3)), rng.standard_normal((10, 1))
    whole = kind.from_rows(X, Y)
    empty = whole.remove(whole)
    assert empty.n_rows == 0 and empty.weight == 0.0
    again = empty.accumulate(X, Y)
    assert_close(again.spectral().solve()[0], whole.spectral().solve()[0], np.float64, SCALE[kind])


@pytest.mark.parametrize("kind", STATISTICS)
@pytest.mark.parametrize("size", [1e150, 1e-150, 1e200, 1e-200])
def test_huge_and_tiny_values(kind, size, rng):
    X, Y = rng.standard_normal((50, 3)) + 1, rng.standard_normal((50, 2))
    expected, constant = reference.lstsq(X, Y)
    for x_size, y_size in [(size, 1.0), (1.0, size), (size, size)]:
        if not 1e-300 < y_size / x_size < 1e300:
            continue
        statistic = stream(kind, X * x_size, Y * y_size, [10, 20])
        coef, intercept = statistic.spectral().solve()
        assert_close(coef * (x_size / y_size), expected, np.float64, SCALE[kind])
        assert_close(intercept / y_size, constant, np.float64, SCALE[kind])


@pytest.mark.parametrize("kind", STATISTICS)
def test_scales_that_change_within_a_stream(kind, rng):
    X, Y = rng.standard_normal((40, 3)), rng.standard_normal((40, 1))
    X[20:] *= 1e120
    coef = stream(kind, X, Y, [20]).spectral(False).solve()[0]
    expected = linalg.lstsq(X[20:] * 1e-120, Y[20:])[0] * 1e-120  # the small rows are below rounding
    assert_close(coef, expected, np.float64, SCALE[kind])


@pytest.mark.parametrize("kind", STATISTICS)
def test_new_targets_were_constant_until_now(kind, rng):
    X, Y = rng.standard_normal((30, 3)), rng.standard_normal((30, 1))
    late = np.hstack([np.full((30, 1), -1.0), Y])
    grown = kind.from_rows(X, Y).add_targets([-1.0]).permute_targets([1, 0])
    more, late_more = rng.standard_normal((9, 3)), rng.standard_normal((9, 2))
    expected = kind.from_rows(np.vstack([X, more]), np.vstack([late, late_more])).spectral()
    result = grown.accumulate(more, late_more).spectral()
    assert_close(result.solve()[0], expected.solve()[0], np.float64, SCALE[kind])
    assert_close(result.solve()[1], expected.solve()[1], np.float64, SCALE[kind])


@pytest.mark.parametrize("kind", STATISTICS)
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_non_finite_rows_are_refused(kind, bad, backend):
    X = np.ones((3, 2))
    X[1, 1] = bad
    with pytest.raises(ValueError, match="X contains NaN or infinity"):
        kind.from_rows(X, np.ones((3, 1)), backend=backend)
    with pytest.raises(ValueError, match="Y contains NaN or infinity"):
        kind.from_rows(np.ones((3, 1)), X, backend=backend)


@pytest.mark.parametrize("kind", STATISTICS)
def test_mismatched_blocks_and_weights_are_refused(kind):
    with pytest.raises(ValueError, match="equal n"):
        kind.from_rows(np.ones((3, 2)), np.ones((4, 1)))
    with pytest.raises(ValueError, match="cannot be combined"):
        kind.empty(2, 1).accumulate(np.ones((3, 3)), np.ones((3, 1)))
    with pytest.raises(ValueError, match="sample_weight must have shape"):
        kind.from_rows(np.ones((3, 2)), np.ones((3, 1)), np.ones(2))
    with pytest.raises(ValueError, match="non-negative"):
        kind.from_rows(np.ones((3, 2)), np.ones((3, 1)), np.array([1.0, -1.0, 1.0]))


@pytest.mark.parametrize("noise", [0.0, 1e-6])
@pytest.mark.parametrize("condition", [1e2, 1e4, 1e6, 1e8, 1e10])
def test_triangular_factor_is_within_ten_times_lapack(condition, noise, backend):
    """Median over seeds: single draws of an error scatter by a factor of a few."""
    ours, lapack = [], []
    for seed in range(7):
        rng = np.random.default_rng(seed)
        X, basis = reference.matrix_of_condition(rng, 1500, 30, condition)
        W = rng.standard_normal((30, 2))
        error = rng.standard_normal((1500, 2))
        for _ in range(2):
            error -= basis @ (basis.T @ error)  # so that W is the solution, to X's own rounding
        Y = X @ W + noise * error
        norm = np.linalg.norm(W)
        streamed = stream(TriangularFactor, X, Y, range(100, 1500, 100), backend=backend)
        ours.append(np.linalg.norm(streamed.spectral(False).solve()[0] - W) / norm)
        lapack.append(np.linalg.norm(linalg.lstsq(X, Y)[0] - W) / norm)
    assert np.median(ours) <= 10 * np.median(lapack)
    if noise == 0 and condition <= 1e6:
        assert np.max(ours) <= 1e-9


def test_normal_equations_square_the_condition_number(rng):
    """What the docs say of the Gram is true, and its condition estimate shows it."""
    X = reference.matrix_of_condition(rng, 500, 10, 1e6)[0]
    W = rng.standard_normal((10, 1))
    gram = NormalEquations.from_rows(X, X @ W)
    error = np.linalg.norm(gram.solve_cholesky(0.0, False)[0] - W) / np.linalg.norm(W)
    assert 1e-9 < error < 1e-2
    assert gram.equilibrated_condition(False) > 1e4
    assert_close(TriangularFactor.from_rows(X, X @ W).spectral(False).condition(), 1e6, np.float64, 1e3)


def test_cholesky_does_not_mind_the_units_of_columns(rng):
    X = rng.standard_normal((200, 4)) * np.array([1e-6, 1.0, 1e6, 1e3])
    Y = rng.standard_normal((200, 2))
    coef, intercept = NormalEquations.from_rows(X, Y).solve_cholesky()
    expected, constant = reference.lstsq(X / X.std(0), Y)
    assert_close(coef * X.std(0)[:, None], expected, np.float64, 10)
    assert_close(intercept, constant, np.float64, 100)


def test_cholesky_of_a_constant_column_is_an_error(rng):
    X = np.hstack([rng.standard_normal((20, 2)), np.ones((20, 1))])
    with pytest.raises(np.linalg.LinAlgError):
        NormalEquations.from_rows(X, X[:, :1]).solve_cholesky()


def test_preconditioned_update_equals_qr(backend, rng):
    """The fast road is taken, and gives R up to signs."""
    from sklearn_analytic.linalg import _triangular

    rows = rng.standard_normal((300, 8)) * np.logspace(0, -6, 8)
    r = _triangular.cpu().qr_r(rows[:200])
    fast = _triangular._preconditioned_update(backend.asarray(r), backend.asarray(rows[200:]), backend)
    assert fast is not None
    fast = backend.to_numpy(fast)
    expected = _triangular.cpu().qr_r(rows)
    signs = np.sign(np.diag(fast)) * np.sign(np.diag(expected))
    np.testing.assert_allclose(fast * signs[:, None], expected, rtol=1e-9, atol=1e-20)


def test_long_rows_leave_the_fast_road(rng):
    from sklearn_analytic.linalg import _triangular

    r = _triangular.cpu().qr_r(rng.standard_normal((20, 3)))
    assert _triangular._preconditioned_update(r, 1e3 * rng.standard_normal((5, 3)), _triangular.cpu()) is None
