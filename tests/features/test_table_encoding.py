"""Encodings of raw tables: equal to the textbook, blind to a row's own target, the same however rows are written."""

import numpy as np
import pytest

from sklearn_analytic.features import LevelIndicators, LevelMeans
from sklearn_analytic.features._table_encoding import level_keys, target_hashes
from sklearn_analytic.features._table_survey import Survey, score_columns
from tests import reference

N, N_LEVELS = 400, 30
NAMES = tuple(f"level {k}" for k in range(N_LEVELS))


def rows(seed=0, continuous=True):
    """Numbers with gaps, a wide column of categories with gaps, a narrow one; and numbers to be predicted."""
    rng = np.random.default_rng(seed)
    codes = rng.integers(0, N_LEVELS, N).astype(float)
    numbers = rng.standard_normal(N) if continuous else np.zeros(N)
    y = np.sin(codes) + 0.3 * rng.standard_normal(N)
    codes[rng.random(N) < 0.1] = np.nan
    numbers[rng.random(N) < 0.2] = np.nan
    return np.column_stack([numbers, codes, rng.integers(0, 3, N)]), y[:, None]


KEYS = (None, level_keys(NAMES), level_keys("abc"))


def surveyed(x, y, weights=None):
    scores = score_columns(y, weights)
    return Survey.empty(KEYS, scores.n_columns).with_rows(x, scores(y), target_hashes(y), weights)


def assert_same_encoding(one, two, x, y):
    for hashes in (None, target_hashes(y)):
        a, b = (e.transform(x) if hashes is None else e.learned(x, hashes) for e in (one, two))
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-8)


def test_wide_columns_are_means_of_other_folds():
    x, y = rows()
    encoding = surveyed(x, y).encoding()
    levels = np.where(np.isnan(x[:, 1]), N_LEVELS, x[:, 1])
    z = (y - y.mean()) / y.std()
    folds = encoding.folds.of(x, None)
    held_out, over_all = reference.level_means(levels, z, folds, reference.smoothing_of_levels(levels, z))
    place = 2  # after the numbers and the indicator of their gaps
    np.testing.assert_allclose(encoding.learned(x, None)[:, place], held_out[:, 0], atol=1e-8)
    due = np.clip([over_all[level][0] for level in levels], held_out.min(), held_out.max())
    np.testing.assert_allclose(encoding.transform(x)[:, place], due, atol=1e-8)
    unseen = encoding.transform(np.array([[0.0, -1.0, 0.0]]))
    np.testing.assert_allclose(unseen[0, place], 0.0, atol=1e-8)  # the mean of all


def test_folds_have_rows_of_every_level():
    x, y = rows()
    folds = surveyed(x, y).encoding().folds.of(x, None)
    assert set(folds) == set(range(5)) and np.bincount(folds).min() > N / 10


@pytest.mark.parametrize("continuous", [True, False], ids=["contents apart", "copies are draws"])
def test_no_target_is_in_its_own_row(continuous):
    x, y = rows(continuous=continuous)
    before = surveyed(x, y).encoding()
    assert (before.folds.groups is None) == continuous
    for i in range(0, N, 37):
        moved = y.copy()
        moved[i] += 1e-3  # small: neither unit nor order of targets moves by more
        after = surveyed(x, moved).encoding()
        own = after.learned(x, target_hashes(moved))[i] - before.learned(x, target_hashes(y))[i]
        others = after.transform(x)[i] - before.transform(x)[i]
        assert abs(own[2]) < 0.2 * abs(others[2]) or np.isclose(others[2], 0, atol=1e-8)


def test_random_targets_are_not_remembered():
    rng = np.random.default_rng(0)
    x, remembered = rows()[0], []
    for _ in range(20):
        noise = rng.standard_normal((N, 1))
        encoding = surveyed(x, noise).encoding()
        parts = encoding.learned(x, None), encoding.transform(x)
        remembered.append([np.corrcoef(part[:, 2], noise[:, 0])[0, 1] for part in parts])
    held_out, with_its_own = np.mean(remembered, axis=0)
    assert held_out < 0.02 and with_its_own > 0.2  # which is what a leak looks like


@pytest.mark.parametrize("continuous", [True, False], ids=["contents apart", "copies are draws"])
def test_encodings_do_not_depend_on_how_rows_are_written(continuous):
    x, y = rows(continuous=continuous)
    weights = np.random.default_rng(1).integers(0, 4, N)
    whole = surveyed(x, y, weights * 1.0).encoding()
    again, targets = reference.repeated(x, y, weights)
    assert_same_encoding(whole, surveyed(again, targets).encoding(), x, y)
    order = np.random.default_rng(2).permutation(N)
    assert_same_encoding(whole, surveyed(x[order], y[order], weights[order] * 1.0).encoding(), x, y)
    scores = score_columns(y, weights * 1.0)
    parts = [
        Survey.empty(KEYS, 1).with_rows(x[s], scores(y[s]), target_hashes(y[s]), weights[s] * 1.0)
        for s in (slice(0, 10), slice(10, 250), slice(250, N))
    ]
    assert_same_encoding(whole, parts[2].merge(parts[0]).merge(parts[1]).encoding(), x, y)
    if continuous:  # where copies are draws, weights are counted: ten times as many rows are ten times as sure
        assert_same_encoding(whole, surveyed(x, y, weights * 10.0).encoding(), x, y)


@pytest.mark.parametrize("continuous", [True, False], ids=["contents apart", "copies are draws"])
def test_units_do_not_choose(continuous):
    x, y = rows(continuous=continuous)
    scaled = x * [1024.0, 1.0, 1.0]
    one, two = surveyed(x, y).encoding(), surveyed(scaled, 7 * y - 3).encoding()
    a, b = one.learned(x, target_hashes(y)), two.learned(scaled, target_hashes(7 * y - 3))
    np.testing.assert_allclose(a[:, 2:], b[:, 2:], atol=1e-8)


def test_numbers_have_the_weighted_median_and_an_indicator():
    x = np.array([[1.0], [4.0], [np.nan], [2.0]])
    y = np.zeros((4, 1))
    found = Survey.empty((None,), 1).with_rows(x, y, target_hashes(y), np.array([1.0, 5.0, 1.0, 1.0])).encoding()
    np.testing.assert_array_equal(found.transform(x), [[1, 0], [4, 0], [4, 1], [2, 0]])
    whole = Survey.empty((None,), 1).with_rows(x[[0, 1]], y[:2], target_hashes(y[:2]), None).encoding()
    np.testing.assert_array_equal(whole.transform(np.array([[np.nan]])), [[2.5]])


def test_medians_of_many_rows_are_those_of_a_fair_sample():
    rng = np.random.default_rng(0)
    x, y = rng.exponential(size=(60_000, 1)), np.zeros((60_000, 1))
    x[:6_000] = np.nan
    survey = Survey.empty((None,), 1)
    for start in range(0, len(x), 7_000):
        part = slice(start, start + 7_000)
        survey = survey.with_rows(x[part], y[part], target_hashes(y[part]), None)
    assert len(survey.hashes) <= 50_000
    assert abs(survey.medians([0])[0] - np.log(2)) < 0.05


def test_narrow_columns_are_indicators_of_levels_with_weight():
    counts = {"a": 50, "b": 40, "c": 12, "d": 9}
    codes = np.concatenate([np.full(n, k) for k, n in enumerate(counts.values())]).astype(float)
    codes = np.append(codes, [np.nan] * 11)
    y = np.zeros((len(codes), 1))
    survey = Survey.empty((level_keys(list(counts)),), 1)
    (part,) = survey.with_rows(codes[:, None] + 0.0, y, target_hashes(y), None).encoding().categories
    assert isinstance(part, LevelIndicators) and part.levels.tolist() == [0, 1, 2, 4]  # the last is what is missing
    two = codes < 2
    (part,) = survey.with_rows(codes[two, None], y[two], target_hashes(y[two]), None).encoding().categories
    assert part.levels.tolist() == [1]  # one column says it


def test_classes_have_a_column_each():
    rng = np.random.default_rng(0)
    x, _ = rows()
    for n_classes, n_columns in ((2, 1), (4, 4), (40, 16)):
        y = rng.integers(0, n_classes, N)
        scores = score_columns(y)
        survey = Survey.empty(KEYS, scores.n_columns).with_rows(x, scores(y), target_hashes(y), None)
        wide = next(part for part in survey.encoding().categories if isinstance(part, LevelMeans))
        assert wide.n_columns == n_columns


def test_a_table_that_says_nothing_is_a_column_of_zeros():
    x, y = np.full((5, 2), np.nan), np.arange(5.0)[:, None]
    encoding = Survey.empty((None, level_keys("ab")), 1).with_rows(x, y, target_hashes(y), None).encoding()
    np.testing.assert_array_equal(encoding.transform(x), np.zeros((5, 1)))
