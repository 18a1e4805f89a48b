"""Encodings of raw tables: equal to the textbook, blind to a row's own target, the same however rows are written."""

from functools import reduce

import numpy as np
import pytest

from sklearn_analytic.estimator.equal_rows import pairs_of
from sklearn_analytic.features import LevelIndicators, LevelMeans, RowFolds
from sklearn_analytic.features._level_sums import LevelSums
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


def learned(x, y, weights=None, cuts=()):
    """The encoding of rows, which come in parts, and the folds that copies are dealt to (None where contents are)."""
    scores, hashes = score_columns(y, weights), target_hashes(y)
    parts = np.split(np.arange(len(x)), cuts)

    def survey(folds=None):
        found = [Survey.empty(KEYS, scores.n_columns)] * len(parts)
        for k, part in enumerate(parts):
            given = (None if one is None else one[part] for one in (weights, folds))
            found[k] = found[k].with_rows(x[part], scores(y[part]), hashes[part], *given)
        return reduce(Survey.merge, found[::-1])

    found, folds = survey(), None
    if found.needs_folds:
        dealer = RowFolds(KEYS, are_draws=True)
        folds = dealer.of_copies(
            *pairs_of(dealer.hashes(x), hashes), np.ones(len(x)) if weights is None else weights > 0
        )
        found = survey(folds)
    return found.encoding(), folds


def read(x, y, *how, rows=None, **kwargs):
    """Rows as they are learned from, and as they are predicted."""
    encoding, folds = learned(x, y, *how, **kwargs)
    return encoding.learned(x, folds), encoding.transform(x if rows is None else rows)


def test_wide_columns_are_means_of_other_folds():
    x, y = rows()
    encoding, _ = learned(x, y)
    levels = np.where(np.isnan(x[:, 1]), N_LEVELS, x[:, 1])
    z = (y - y.mean()) / y.std()
    folds = encoding.folds.of(x)
    held_out, over_all = reference.level_means(levels, z, folds)
    place = 2  # after the numbers and the indicator of their gaps
    np.testing.assert_allclose(encoding.learned(x)[:, place], held_out[:, 0], atol=1e-9)
    due = np.clip([over_all[level][0] for level in levels], held_out.min(), held_out.max())
    np.testing.assert_allclose(encoding.transform(x)[:, place], due, atol=1e-9)
    assert encoding.transform(np.array([[0.0, -1.0, 0.0]]))[0, place] == 0  # an unseen level: the mean of all


@pytest.mark.parametrize("fold", range(5))
def test_a_member_reads_what_it_would_without_its_fold(fold):
    x, y = rows()
    scores, folds = score_columns(y), RowFolds(KEYS).of(x)
    survey = Survey.empty(KEYS, 1).with_rows(x, scores(y), target_hashes(y), None)
    blind = survey.blind(survey.encoding(crosses=True), None, fold)
    others = folds != fold
    rest = Survey.empty(KEYS, 1).with_rows(x[others], scores(y)[others], target_hashes(y)[others], None)
    np.testing.assert_allclose(
        blind.transform(x, folds)[others, 2], rest.encoding(crosses=True).transform(x, folds)[others, 2], atol=1e-9
    )


def test_rows_of_a_level_are_counted_where_rows_are_many():
    x, y = (np.tile(part, (4, 1)) for part in rows())
    x[:, 0] = np.arange(len(x))  # no copies
    scores = score_columns(y)
    survey = Survey.empty(KEYS, 1).with_rows(x, scores(y), target_hashes(y), None)
    plain, counted = survey.encoding(), survey.encoding(crosses=True)
    assert counted.n_columns == plain.n_columns + 1
    levels, folds = np.where(np.isnan(x[:, 1]), N_LEVELS, x[:, 1]), counted.folds.of(x)
    for fold in range(5):
        others, inside = folds != fold, folds == fold
        n = np.array([np.sum(levels[others] == level) for level in levels[inside]]) * len(x) / np.sum(others)
        np.testing.assert_allclose(counted.learned(x)[inside, 2], np.log1p(n), atol=1e-9)
    few = Survey.empty(KEYS, 1).with_rows(x[:400], scores(y[:400]), target_hashes(y[:400]), None)
    assert few.encoding(crosses=True).n_columns == plain.n_columns


def test_copies_that_are_draws_have_a_fold_each():
    x, y = rows(continuous=False)
    encoding, folds = learned(x, y)
    levels = np.where(np.isnan(x[:, 1]), N_LEVELS, x[:, 1])
    z = (y - y.mean()) / y.std()
    held_out, _ = reference.level_means(levels, z, folds)
    np.testing.assert_allclose(encoding.learned(x, folds)[:, 2], held_out[:, 0], atol=1e-9)
    assert min(len(set(folds[levels == level])) for level in set(levels)) > 2


def test_folds_have_rows_of_every_level():
    x, y = rows()
    folds = learned(x, y)[0].folds.of(x)
    assert set(folds) == set(range(5)) and np.bincount(folds).min() > N / 10


@pytest.mark.parametrize("continuous", [True, False], ids=["contents apart", "copies are draws"])
def test_no_target_is_in_its_own_row(continuous):
    x, y = rows(continuous=continuous)
    encoding, folds = learned(x, y)
    assert encoding.folds.are_draws != continuous
    folds = encoding.folds.of(x) if continuous else folds
    for i in range(0, N, 37):
        moved = y.copy()
        moved[i] = -100.0
        scores, own = score_columns(y), np.arange(N) == i
        for values in (y, moved):  # in the units of y in both
            survey = Survey.empty(KEYS, 1).with_rows(x, scores(values), target_hashes(values), None, folds)
            sums, counts = survey.levels[0].sums, survey.levels[0].counts
            others = np.delete(np.arange(5), folds[i])
            place = int(N_LEVELS if np.isnan(x[i, 1]) else x[i, 1])
            due = scores(y)[~own & (folds != folds[i]) & (np.nan_to_num(x[:, 1], nan=N_LEVELS) == place)]
            np.testing.assert_allclose(sums[others, place].sum(axis=0), due.sum(axis=0), atol=1e-9)
            assert counts[others, place].sum() == len(due)


@pytest.mark.parametrize("continuous", [True, False], ids=["contents apart", "copies are draws"])
def test_random_targets_are_not_remembered(continuous, monkeypatch):
    monkeypatch.setattr(LevelSums, "tell", lambda self, unit: True)  # or noise would be left out
    rng = np.random.default_rng(0)
    x, remembered = rows(continuous=continuous)[0], []
    for _ in range(20):
        noise = rng.standard_normal((N, 1))
        remembered.append([np.corrcoef(part[:, 2], noise[:, 0])[0, 1] for part in read(x, noise)])
    held_out, with_its_own = np.mean(remembered, axis=0)
    assert held_out < 0.02 and with_its_own > 0.2  # which is what a leak looks like


def test_columns_that_tell_nothing_are_left_out():
    rng = np.random.default_rng(0)
    x, kept = rows()[0], 0
    for _ in range(40):
        kept += learned(x, rng.standard_normal((N, 1)))[0].folds is not None
    assert kept < 8
    identifiers, y = np.arange(20.0)[:, None], np.arange(20.0)[:, None]
    survey = Survey.empty((level_keys(range(20)),), 1)
    assert survey.with_rows(identifiers, y, target_hashes(y), None).encoding().categories == ()


@pytest.mark.parametrize("continuous", [True, False], ids=["contents apart", "copies are draws"])
def test_encodings_do_not_depend_on_how_rows_are_written(continuous):
    x, y = rows(continuous=continuous)
    weights = np.random.default_rng(1).integers(0, 4, N) * 1.0
    whole = read(x, y, weights)
    order = np.random.default_rng(2).permutation(N)
    for found in (read(x, y, weights, cuts=(10, 250)), read(x[order], y[order], weights[order], rows=x)):
        np.testing.assert_allclose(np.sort(found[0], axis=0), np.sort(whole[0], axis=0), atol=1e-9)
        np.testing.assert_allclose(found[1], whole[1], atol=1e-9)
    if continuous:  # copies that are draws have folds of their own, which those of a weighted row have not
        again, targets = reference.repeated(x, y, weights.astype(int))
        np.testing.assert_allclose(read(again, targets, rows=x)[1], whole[1], atol=1e-9)
        np.testing.assert_allclose(read(x, y, weights * 10)[1], whole[1], atol=1e-9)


@pytest.mark.parametrize("continuous", [True, False], ids=["contents apart", "copies are draws"])
def test_units_do_not_choose(continuous):
    x, y = rows(continuous=continuous)
    a = read(x, y)[0]
    np.testing.assert_allclose(a[:, 2:], read(x * [1024.0, 1.0, 1.0], y)[0][:, 2:], atol=1e-9)
    if continuous:
        np.testing.assert_allclose(a[:, 2:], read(x, 7 * y - 3)[0][:, 2:], atol=1e-9)


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
    assert abs(survey.encoding().fills[0] - np.log(2)) < 0.05


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


def test_classes_but_one_have_a_column_each():
    rng = np.random.default_rng(0)
    x, _ = rows()
    for n_classes, n_columns in ((2, 1), (4, 3), (40, 16)):
        y = (np.nan_to_num(x[:, 1]).astype(int) + rng.integers(0, 2, N)) % n_classes
        scores = score_columns(y)
        survey = Survey.empty(KEYS, scores.n_columns).with_rows(x, scores(y), target_hashes(y), None)
        wide = next(part for part in survey.encoding().categories if isinstance(part, LevelMeans))
        assert wide.n_columns == n_columns


def test_a_table_that_says_nothing_is_a_column_of_zeros():
    x, y = np.full((5, 2), np.nan), np.arange(5.0)[:, None]
    encoding = Survey.empty((None, level_keys("ab")), 1).with_rows(x, y, target_hashes(y), None).encoding()
    np.testing.assert_array_equal(encoding.transform(x), np.zeros((5, 1)))
