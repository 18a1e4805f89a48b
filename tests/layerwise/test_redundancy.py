"""Rows that are left out: exact counts, chances that follow the errors, sums without a bias."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sklearn_analytic.layerwise.redundancy import _capped, informative_rows


@given(st.integers(1, 80), st.floats(0.01, 1.0), st.integers(0, 100))
def test_exactly_so_many_different_rows(n, share, seed):
    generator = np.random.default_rng(seed)
    errors = generator.exponential(size=n) * (generator.uniform(size=n) < 0.7)
    rows, weights = informative_rows(errors, share, generator)
    assert len(rows) == len(weights) == max(1, round(share * n))
    assert np.all(np.diff(rows) > 0) and rows[0] >= 0 and rows[-1] < n
    assert np.all(weights > 0) and weights.mean() == pytest.approx(1)


def test_all_rows_are_all_rows(rng):
    rows, weights = informative_rows(rng.exponential(size=30), 1.0, rng)
    np.testing.assert_array_equal(rows, np.arange(30))
    np.testing.assert_allclose(weights, 1)


def test_rows_without_error_are_drawn_evenly(rng):
    counts = np.zeros(20)
    for _ in range(2000):
        rows, weights = informative_rows(np.zeros(20), 0.3, rng)
        np.testing.assert_allclose(weights, 1)
        counts[rows] += 1
    # 2000 draws with chance .3: the deviation is sqrt(.3 .7 / 2000), five of them leave room for 20 rows
    assert np.abs(counts / 2000 - 0.3).max() < 5 * np.sqrt(0.3 * 0.7 / 2000)


def test_chances_follow_the_errors_and_weights_undo_them(rng):
    """Horvitz and Thompson 1952: row i is drawn with chance p_i and weighs 1 / p_i, so sums have no bias."""
    errors = np.array([0.0, 0.1, 0.5, 1.0, 1.0, 2.0, 3.0, 9.0])
    size = 0.1 + errors / errors.mean()
    values, n_draws = rng.standard_normal(8), 4000
    chance = _capped(size, 4)
    counts, sums = np.zeros(8), []
    for _ in range(n_draws):
        rows, weights = informative_rows(errors, 0.5, rng)
        counts[rows] += 1
        sums.append(np.sum(values[rows] / chance[rows]))
        np.testing.assert_allclose(weights * chance[rows], (weights * chance[rows])[0])
    assert np.abs(counts / n_draws - chance).max() < 5 * 0.5 / np.sqrt(n_draws)
    assert abs(np.mean(sums) - values.sum()) < 5 * np.std(sums) / np.sqrt(n_draws)
    assert np.std(sums) > 0


@given(st.integers(1, 60), st.integers(1, 60), st.integers(0, 1000))
def test_capped_chances_sum_to_the_number_of_rows(n, wanted, seed):
    wanted = min(wanted, n)
    size = 0.1 + np.random.default_rng(seed).pareto(0.5, n)  # heavy tails: many caps
    chance = _capped(size, wanted)
    assert chance.sum() == pytest.approx(wanted)
    assert np.all((chance > 0) & (chance <= 1))
    free = chance < 1 - 1e-9
    if free.any():  # in proportion where nothing is capped; what is capped is larger than that
        ratio = chance[free] / size[free]
        np.testing.assert_allclose(ratio, ratio[0])
        assert np.all(size[~free] * ratio[0] >= 1 - 1e-9)


def test_single_precision_errors(rng):
    for _ in range(200):
        errors = rng.pareto(1.0, 300).astype(np.float32)
        rows, _ = informative_rows(errors, 0.4, rng)
        assert len(np.unique(rows)) == 120


def test_the_draw_is_of_the_generator():
    errors = np.arange(40.0)
    first, again = (informative_rows(errors, 0.5, np.random.default_rng(3))[0] for _ in range(2))
    np.testing.assert_array_equal(first, again)
