"""Pairs of columns: equal to the textbook, read where they tell something, blind, however rows are written."""

from functools import reduce

import numpy as np
import pytest

from sklearn_analytic.features import Factor, GrowthPlan, PairMeans, RowFolds, _table_pairs, fit_leaf_scores
from sklearn_analytic.features._leaf import BlindRows
from sklearn_analytic.features._level_sums import LevelSums
from sklearn_analytic.features._table_crosses import chosen_pairs
from sklearn_analytic.features._table_encoding import level_keys, target_hashes
from sklearn_analytic.features._table_pairs import PairSurvey, cell_numbers
from sklearn_analytic.features._table_survey import Survey, score_columns
from tests import reference

N = 3000
KEYS = (level_keys(range(20)), level_keys(range(12)), None, None)
FIRST, SECOND = Factor(0, 20), Factor(1, 12)


def rows(seed=0, effect=1.0):
    """Two columns of categories that tell of the target together alone, a number of few values, and one of many."""
    rng = np.random.default_rng(seed)
    a, b = rng.integers(0, 20, N), rng.integers(0, 12, N)
    table = rng.standard_normal((20, 12))
    table -= table.mean(axis=0) + table.mean(axis=1, keepdims=True)
    z = rng.standard_normal(N)
    y = effect * table[a, b] + 0.3 * z + 0.7 * rng.standard_normal(N)
    x = np.column_stack([a, b, rng.integers(0, 30, N), z]).astype(float)
    x[rng.random(N) < 0.05, 0] = np.nan
    return x, y[:, None]


def surveyed(x, y, weights=None, cuts=()):
    """The survey of rows, which come in parts."""
    scores, hashes = score_columns(y, weights), target_hashes(y)
    parts = [
        Survey.empty(KEYS, scores.n_columns).with_rows(
            x[part], scores(y[part]), hashes[part], None if weights is None else weights[part]
        )
        for part in np.split(np.arange(len(x)), cuts)
    ]
    return reduce(Survey.merge, parts[::-1])


def chosen(survey):
    return [(a.column, b.column) for a, b in chosen_pairs(survey, survey.encoding(crosses=True))]


def summed(x, y, weights=None, cuts=(), pairs=((FIRST, SECOND),)):
    """The sums of pairs of rows, which come in parts."""
    start, scores = PairSurvey.empty(RowFolds(KEYS), pairs, 1), score_columns(y, weights)
    parts = [
        start.with_rows(x[part], scores(y[part]), None if weights is None else weights[part])
        for part in np.split(np.arange(len(x)), cuts)
    ]
    return reduce(PairSurvey.merge, parts[::-1])


def test_pairs_are_a_category():
    x, y = rows()
    x, y = x[:500], y[:500]
    (part,) = summed(x, y).means(1.0, False)
    z, folds = (y - y.mean()) / y.std(), RowFolds(KEYS).of(x)
    names = np.where(np.isnan(x[:, 0]), 20, x[:, 0]) * 100 + x[:, 1]
    held_out, over_all = reference.level_means(names, z, folds)
    np.testing.assert_allclose(part.transform(x, folds), held_out, atol=1e-9)
    due = np.clip([over_all[name][0] for name in names], held_out.min(), held_out.max())
    np.testing.assert_allclose(part.transform(x, None)[:, 0], due, atol=1e-9)
    new = np.array([[-1.0, 3.0, 0.0, 0.0], [2.0, np.nan, 0.0, 0.0]])  # unseen levels, and a pair that no row had
    np.testing.assert_array_equal(part.transform(new, None), [[0.0], [0.0]])


def test_pairs_do_not_depend_on_how_rows_are_written():
    x, y = rows()
    weights = np.random.default_rng(1).integers(0, 4, N) * 1.0
    (whole,) = summed(x, y, weights).means(1.0, True)
    order, again = np.random.default_rng(2).permutation(N), np.repeat(np.arange(N), weights.astype(int))
    others = summed(x, y, weights, cuts=(10, 900)), summed(x[order], y[order], weights[order])
    for sums in (*others, summed(x[again], y[again], None)):
        (part,) = sums.means(1.0, True)
        np.testing.assert_array_equal(part.cells, whole.cells)
        np.testing.assert_allclose(part.means, whole.means, atol=1e-9)


def test_a_pair_that_tells_is_read():
    assert chosen(surveyed(*rows())) == [(0, 1)]


def test_numbers_of_few_values_are_levels():
    rng = np.random.default_rng(0)
    x, _ = rows()
    x[:, 3] = rng.integers(1, 13, N) / 4
    table = rng.standard_normal((30, 48))
    y = (table[x[:, 2].astype(int), (4 * x[:, 3]).astype(int)] + 0.5 * rng.standard_normal(N))[:, None]
    (pair,) = chosen_pairs(survey := surveyed(x, y), survey.encoding(crosses=True))
    assert [factor.column for factor in pair] == [2, 3]
    np.testing.assert_array_equal(pair[1].values, np.arange(1, 13, dtype=np.float32) / 4)
    new = np.array([[0.0, 0.0, np.nan, 0.5], [0.0, 0.0, 29.0, 0.3], [0.0, 0.0, 1e300, 3.0]])
    assert pair[0].places(new).tolist() == [30, 29, 31] and pair[1].places(new).tolist() == [1, 13, 11]


def test_pairs_are_not_read_where_there_is_nothing():
    assert [chosen(surveyed(*rows(seed, effect=0.0))) for seed in range(10)] == [[]] * 10


def test_heavy_rows_are_not_many():
    for seed in range(3):
        x, y = rows(seed, effect=0.0)
        assert chosen(surveyed(x, y, np.random.default_rng(seed).lognormal(0, 2, N))) == []


def test_what_trees_find_by_single_columns_is_no_pair():
    x, _ = rows()
    a = np.nan_to_num(x[:, 0], nan=20.0)
    y = (np.sin(a) + np.cos(x[:, 1]) + 0.5 * x[:, 3])[:, None] + 0.5 * np.random.default_rng(0).standard_normal((N, 1))
    assert chosen(surveyed(x, y)) == []


def test_the_choice_does_not_depend_on_how_rows_are_written():
    x, y = rows(effect=0.2)  # near the bound
    weights = np.random.default_rng(1).integers(1, 3, N) * 1.0
    order, again = np.random.default_rng(2).permutation(N), np.repeat(np.arange(N), weights.astype(int))
    whole = chosen(surveyed(x, y, weights))
    assert whole == [(0, 1)]
    assert chosen(surveyed(x, y, weights, cuts=(10, 900))) == whole
    assert chosen(surveyed(x[order], y[order], weights[order])) == whole
    assert chosen(surveyed(x[again], y[again])) == whole
    assert chosen(surveyed(x, 7 * y - 3, weights)) == whole == chosen(surveyed(x * [1, 1, 1, 1024], y, weights))


def blinded(survey, x, fold_of, sums):
    """What members read of rows, and what rows are read as."""
    encoding = survey.crossed(survey.encoding(crosses=True), sums)
    columns = encoding.with_targets

    def without(fold):
        return survey.blind(encoding, sums, fold).transform(x, fold_of)[:, columns]

    return encoding.transform(x, fold_of), BlindRows(fold_of, 5, columns, without, *encoding.folds.hashes(x).T)


@pytest.mark.parametrize("fold", [0, 3])
def test_no_member_sees_the_targets_of_its_fold(fold, monkeypatch):
    """What the member that is blind to a fold has learned is the same, to the bit, whatever targets the fold has."""
    monkeypatch.setattr(LevelSums, "tell", lambda self, unit: True)
    x, y = rows()
    folds, found = RowFolds(KEYS).of(x), []
    own = np.flatnonzero(folds == fold)
    moved = y.copy()
    moved[own] = y[np.roll(own, 7)]  # the mean of all, from which trees begin, stays
    for targets in (y, moved):
        scores = score_columns(y)(targets)
        survey = Survey.empty(KEYS, 1).with_rows(x, scores, target_hashes(targets), None)
        sums = PairSurvey.empty(RowFolds(KEYS), [(FIRST, SECOND)], 1).with_rows(x, scores, None)
        read, blind = blinded(survey, x, folds, sums)
        trees = fit_leaf_scores(
            read, targets, np.ones(N), np.random.default_rng(0), GrowthPlan(n_trees=3), lacking=None, blind=blind
        )
        rows_of_member = read.copy()
        rows_of_member[:, blind.columns] = blind.without(fold)
        members = [trees.held_out(rows_of_member, np.full(N, member)) - trees.mean for member in range(5)]
        found.append((members, read))
    (before, was_read), (after, is_read) = found
    for member in range(5):
        assert np.array_equal(before[member], after[member]) == (member == fold)
    assert np.abs(is_read - was_read).max() > 0.1


def test_pairs_of_too_many_levels_are_not_kept(monkeypatch):
    x, y = rows()
    both = summed(x, y, pairs=((FIRST, SECOND), (FIRST, Factor(2, 30, np.arange(30, dtype=np.float32)))))
    assert len(both.bounded().pairs) == 2
    monkeypatch.setattr(_table_pairs, "_MOST_VALUES", 400)
    assert both.bounded().pairs == ((FIRST, SECOND),) and len(both.bounded().means(1.0, False)) == 1


def test_cells_are_numbered_apart():
    pair = Factor(0, 2), Factor(1, 3)
    levels = np.array([[a, b] for a in (0.0, 1.0, np.nan, -1.0) for b in (0.0, 1.0, 2.0, np.nan, -1.0)])
    assert len(np.unique(cell_numbers(*pair, levels))) == len(levels)
    part = PairMeans(*pair, np.array([6]), np.arange(12.0).reshape(6, 2, 1))
    assert part.columns == (0, 1) and part.n_columns == 1 and part.table.shape == (2, 1)
