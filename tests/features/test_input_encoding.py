"""Input encoding: ramps, scores, binary steps, Hellinger rows, and what they must not see."""

import numpy as np
import pytest

from sklearn_analytic.backend import get_backend
from sklearn_analytic.features import fit_input_encoding
from tests import reference
from tests.checks import assert_close

CPU = get_backend("cpu")


@pytest.fixture
def table(rng):
    return np.column_stack(
        [rng.standard_normal(500), rng.exponential(size=500), rng.integers(0, 2, 500), np.full(500, 3.0)]
    )


def test_kinds_of_columns(table):
    encoding = fit_input_encoding(table)
    counts = np.bincount(encoding.source, minlength=4)
    np.testing.assert_array_equal(counts, [33, 33, 1, 0])  # 32 ramps and a score each; a step; nothing
    A = encoding.transform(table, CPU)
    assert_close(A.mean(0), np.zeros(67), np.float64, size=1.0)
    step = A[:, encoding.source == 2]
    assert_close(np.ptp(step), 2.0, np.float64)
    scores = A[:, encoding.n_ramps : encoding.n_ramps + 2]
    assert_close(scores.std(0), np.full(2, 0.5), np.float64)  # a quarter of the variance


def test_ramps_add_up_to_the_rank(rng):
    """The sum of a column's ramps is a piecewise-linear, increasing map of the column."""
    x = np.sort(rng.exponential(size=300))[:, None]
    encoding = fit_input_encoding(x)
    ramps = encoding.transform(x, CPU)[:, : encoding.n_ramps] / encoding.scale[: encoding.n_ramps]
    total = ramps.sum(axis=1)
    assert np.all(np.diff(total) > -1e-12)
    assert abs(np.ptp(total) - encoding.n_ramps) < 1e-9


@pytest.mark.parametrize("kind", ["table", "hellinger"])
def test_weights_are_repetitions(kind, table, rng):
    X = table if kind == "table" else rng.uniform(size=(80, 150))
    weight = rng.integers(0, 4, len(X))
    Xr, _ = reference.repeated(X, X, weight)
    one, two = fit_input_encoding(X, weight.astype(float)), fit_input_encoding(Xr)
    assert_close(one.transform(X, CPU), two.transform(X, CPU), np.float64)


def test_outliers_stay_near(table):
    encoding = fit_input_encoding(table)
    far = table[:1].copy()
    far[0, :2] = [1e12, -1e12]
    assert np.all(np.abs(encoding.transform(far, CPU)) < 15)
    bent = table.copy()
    bent[0, 0] = 1e9
    one, two = encoding.transform(table[1:], CPU), fit_input_encoding(bent).transform(table[1:], CPU)
    # The largest old value moves from the top of the last ramp to its foot; nothing moves further.
    assert np.abs(one - two).max() <= encoding.scale[: encoding.n_ramps].max()


def test_many_columns_on_one_scale_become_hellinger_rows(rng):
    X = rng.integers(0, 255, (200, 140)).astype(np.float64)
    encoding = fit_input_encoding(X)
    assert encoding.hellinger
    roots = encoding.transform(X, CPU) + encoding.centre
    assert_close(np.sum(roots**2, axis=1), np.ones(200), np.float64)
    assert_close(roots**2 * X.sum(1)[:, None], X, np.float64)
    scaled = fit_input_encoding(X / 255).transform(X / 255, CPU)
    assert_close(scaled, encoding.transform(X, CPU), np.float64, size=1.0)
    unseen = -np.ones((1, 140))
    assert np.all(np.isfinite(encoding.transform(unseen, CPU)))
    assert not fit_input_encoding(X - 100).hellinger
    assert not fit_input_encoding(X * np.logspace(0, 3, 140)).hellinger


def test_few_distinct_values_use_the_values(rng):
    X = rng.choice([0.0, 1.0, 5.0], p=[0.98, 0.01, 0.01], size=1000)[:, None]
    encoding = fit_input_encoding(X)
    values = encoding.transform(np.array([[0.0], [1.0], [5.0]]), CPU)
    assert encoding.n_ramps == 2
    assert len(np.unique(values, axis=0)) == 3


def test_nothing_varies():
    A = fit_input_encoding(np.ones((3, 2))).transform(np.ones((3, 2)), CPU)
    np.testing.assert_array_equal(A, np.zeros((3, 1)))


def test_backends_and_dtypes_agree(table, backend, dtype):
    encoding = fit_input_encoding(table)
    expected = encoding.transform(table, CPU)
    result = backend.to_numpy(encoding.transform(backend.asarray(table.astype(dtype)), backend))
    assert result.dtype == dtype
    assert_close(result, expected, dtype, 10)
