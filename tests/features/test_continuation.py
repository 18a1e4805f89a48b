"""Straight continuation beyond the range: the formula, its reach, and what it must not depend on."""

import numpy as np
import pytest

from sklearn_analytic.backend import get_backend
from sklearn_analytic.features import fit_continuation
from tests.checks import assert_close

GRID = np.linspace(0, 1, 101)


def applied(continuation, function, rows, dtype=np.float64):
    return continuation.apply(function, np.asarray(rows, dtype=dtype), get_backend("cpu"))


def square(rows):
    return rows**2


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0.5, 0.25),  # within the range the function stays
        (1.0, 1.0),
        (1.1, 1 + 0.1 / 0.15 * (1 - 0.85**2)),  # the secant over the last 15 %
        (1.25, 1 + 0.25 / 0.15 * (1 - 0.85**2)),
        (1e9, 1 + 0.25 / 0.15 * (1 - 0.85**2)),  # level from a quarter of the range on
        (-0.1, 0.1 / 0.15 * -(0.15**2)),
        (-1e9, 0.25 / 0.15 * -(0.15**2)),
    ],
)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_values(value, expected, dtype):
    continuation = fit_continuation(GRID[:, None])
    assert_close(applied(continuation, square, [[value]], dtype), np.array([[expected]]), dtype, scale=10)


def test_linear_functions_go_on_as_they_are(rng):
    X, coef = rng.uniform(-1, 1, (200, 3)), rng.standard_normal((3, 2))
    continuation = fit_continuation(X)
    rows = X.max(axis=0) + [[0.1, 0.0, 0.0], [0.1, 0.2, 0.3], [0.1, -1.0, 0.2]]
    assert_close(applied(continuation, lambda x: x @ coef, rows), rows @ coef, np.float64)


@pytest.mark.parametrize("column", [np.zeros(50), np.repeat([0.0, 1.0], 25), np.r_[np.arange(49.0), 1e6]])
def test_steps_end_at_values_with_a_tenth_of_the_rows_beyond(column):
    """Constant columns stay as they are, a binary one steps to its other value, an outlier back to the bulk."""
    continuation = fit_continuation(column[:, None])
    if np.ptp(column) == 0:
        np.testing.assert_array_equal(applied(continuation, square, [[7.0]]), [[49.0]])
    else:
        back = column.max() - continuation.from_high[0]
        assert back in column
        assert np.mean(column > back) >= 0.1


def test_weights_are_repetitions_and_powers_of_two_scale(rng):
    X, weights = rng.standard_normal((80, 2)), rng.integers(1, 4, 80)
    continuation = fit_continuation(X, weights.astype(float))
    repeated = fit_continuation(np.repeat(X, weights, axis=0)[::-1])
    scaled = fit_continuation(np.ldexp(X, 40), weights.astype(float))
    for name in ("low", "high", "from_low", "from_high", "reach"):
        np.testing.assert_array_equal(getattr(repeated, name), getattr(continuation, name))
        np.testing.assert_array_equal(getattr(scaled, name), np.ldexp(getattr(continuation, name), 40))


def test_backends_and_dtypes_agree(rng, backend, dtype):
    continuation = fit_continuation(rng.standard_normal((60, 3)))
    rows = 3 * rng.standard_normal((40, 3)).astype(dtype)
    out = continuation.apply(square, backend.asarray(rows), backend)
    assert_close(out, applied(continuation, square, rows.astype(np.float64)), dtype, scale=10)
