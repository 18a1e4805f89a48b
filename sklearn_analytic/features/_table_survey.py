"""What an encoding of a table is learned from: one pass of sums over its rows, which merge in any order."""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from sklearn_analytic.features._copies import are_draws
from sklearn_analytic.features._level_sums import GRID, LevelSums
from sklearn_analytic.features._sampling import whole_rows
from sklearn_analytic.features._table_crosses import Sample
from sklearn_analytic.features._table_encoding import (
    N_FOLDS,
    LevelIndicators,
    LevelMeans,
    RowFolds,
    TableEncoding,
    table_hashes,
)
from sklearn_analytic.features._table_pairs import PairMeans
from sklearn_analytic.io._checks import host

_CONTENTS, _CELLS = 50_000, 4_000_000  # distinct rows that medians are taken of, and their values
_FEW_LEVELS = 10  # of a column that has an indicator for each
_LEAST = 10.0  # weight of a level that has one, of few rows
_LEAST_SHARE = 0.1  # as much of all weight is enough
_COUNTED = 1000  # rows, from which on a network with trees reads how many have a level
_DEPENDENT = 1e-9  # share of variance, below which targets determine each other
_MOST_SCORES = 16  # columns of means; more classes are projected at random
_OF_CONTENTS = ("hashes", "draws", "contents", "weights", "targets")


@dataclass(frozen=True, eq=False)
class Survey:
    """Sums over rows of a table: a statistic with what :class:`RowBlocks` ask of one."""

    level_keys: tuple  # of every column of categories the keys of its levels, None for numbers
    n_scores: int  # columns of targets that means are taken of
    n_rows: int  # of positive weight
    weight: float
    present: np.ndarray  # (d,) weight of rows that have a value
    lacking: np.ndarray  # (d,) and that have none
    levels: tuple  # of every column of categories the LevelSums; missing values follow the levels
    hashes: np.ndarray  # (m,) of distinct rows, sorted
    draws: np.ndarray  # (m,) the smallest, where not all are kept
    contents: np.ndarray  # (m, d) these rows
    weights: np.ndarray  # (m,)
    targets: np.ndarray  # (m, c) sums of their weighted targets
    dropped: bool  # whether there were more
    groups: tuple  # hashes of those rows, of rows with their targets, and weights of these

    @classmethod
    def empty(cls, level_keys, n_scores):
        """Return the survey of no rows."""
        d, c = len(level_keys), n_scores
        sizes = [len(keys) - 1 for keys in level_keys if keys is not None]
        nothing = np.zeros(0, dtype=np.uint64)
        return cls(
            level_keys,
            c,
            0,
            0.0,
            np.zeros(d),
            np.zeros(d),
            tuple(LevelSums.empty(N_FOLDS, n, c) for n in sizes),
            nothing,
            nothing,
            np.zeros((0, d)),
            np.zeros(0),
            np.zeros((0, c)),
            False,
            (nothing, nothing, np.zeros(0)),
        )

    @cached_property
    def is_category(self):
        """Which columns hold categories."""
        return np.array([keys is not None for keys in self.level_keys])

    def _n_levels(self, j):
        """Levels of a column of categories."""
        return len(self.level_keys[j]) - 2

    @property
    def n_features(self):
        """Columns of the table, for advice on memory."""
        return len(self.level_keys)

    @property
    def _most(self):
        """Distinct rows to keep."""
        return max(min(_CONTENTS, _CELLS // max(len(self.is_category), 1)), 1)

    def on(self, backend):
        """Return the survey: it lives on the host."""
        return self

    def to_host(self, backend):
        """Return the survey."""
        return self

    def with_rows(self, x, scores, hashes_of_targets, weights, folds=None):
        """Return the survey with coded rows (m, d), their targets (m, c), and weights and folds or None."""
        weights = np.ones(len(x)) if weights is None else np.asarray(weights, dtype=np.float64)
        if not np.all(weights > 0):
            kept = weights > 0
            x, scores, hashes_of_targets = x[kept], scores[kept], hashes_of_targets[kept]
            weights, folds = weights[kept], None if folds is None else folds[kept]
        if not len(x):
            return self
        gaps, (hashes, draws) = np.isnan(x), table_hashes(x, self.level_keys)
        folds = RowFolds(self.level_keys).dealt(draws) if folds is None else folds
        levels = []
        for j in np.flatnonzero(self.is_category):
            n = self._n_levels(j) + 1
            places = np.where(gaps[:, j], n - 1, x[:, j]).astype(np.int64)
            levels.append(LevelSums.of(places, n, folds, scores, weights, N_FOLDS))
        _, first, place = np.unique(hashes, return_index=True, return_inverse=True)
        wide = self.is_category.any()
        own = replace(
            self,
            n_rows=len(x),
            weight=float(weights.sum()),
            present=weights @ ~gaps,
            lacking=weights @ gaps,
            levels=tuple(levels),
            hashes=hashes[first],
            draws=draws[first],
            contents=np.asarray(x[first], dtype=np.float64),
            weights=np.bincount(place, weights),
            targets=_sums_at(place, scores * weights[:, None], len(first)),
            dropped=False,
            groups=_grouped(hashes, hashes ^ hashes_of_targets, weights) if wide else self.groups,
        )
        return self.merge(own._cut())

    def merge(self, other):
        """Return the survey of the rows of both."""
        hashes, first, place = np.unique(
            np.concatenate([self.hashes, other.hashes]), return_index=True, return_inverse=True
        )
        groups = self.groups
        if self.is_category.any():
            parts = [np.concatenate(pair) for pair in zip(self.groups, other.groups, strict=True)]
            groups = _grouped(*parts)
        return replace(
            self,
            n_rows=self.n_rows + other.n_rows,
            weight=self.weight + other.weight,
            present=self.present + other.present,
            lacking=self.lacking + other.lacking,
            levels=tuple(a.merge(b) for a, b in zip(self.levels, other.levels, strict=True)),
            hashes=hashes,
            draws=np.concatenate([self.draws, other.draws])[first],
            contents=np.concatenate([self.contents, other.contents])[first],
            weights=np.bincount(place, np.concatenate([self.weights, other.weights]), len(hashes)),
            targets=_sums_at(place, np.concatenate([self.targets, other.targets]), len(hashes)),
            dropped=self.dropped or other.dropped,
            groups=groups,
        )._cut()

    def _cut(self):
        """The survey with the smallest hashes alone: the same rows, however the table was cut."""
        most = self._most
        if len(self.hashes) <= most:
            return self
        smallest = np.sort(np.lexsort((self.hashes, self.draws))[:most])
        kept = {name: getattr(self, name)[smallest] for name in _OF_CONTENTS}
        inside = np.isin(self.groups[0], kept["hashes"])
        return replace(self, dropped=True, groups=tuple(part[inside] for part in self.groups), **kept)

    # ---- what it says ----

    @cached_property
    def are_draws(self):
        """Whether copies of a row are draws: contents are few and come often; categories come often by nature."""
        if self.dropped or not len(self.hashes):
            return False
        x = np.where(np.isnan(self.contents), -2.0, self.contents)
        return are_draws(x, np.random.default_rng(0).standard_normal(x.shape[1]), categories=self.is_category)

    @cached_property
    def unit(self):
        """Weight that counts as one row: the mean of distinct rows with their targets, or of copies that are draws."""
        if self.are_draws:
            return min(1.0, self.weight / self.n_rows)
        return float(np.mean(self.groups[2])) if len(self.groups[2]) else 1.0

    def encoding(self, indicators=True, crosses=False):
        """Return the encoding; ``indicators=False`` keeps columns of numbers where they are, one for each.

        With ``crosses``, for a network with trees, wide columns say how many rows have a level, and folds are those
        that members are blind to.
        """
        has_values = ~self.is_category & ((self.present > 0) | (not indicators))
        numbers = np.flatnonzero(has_values)
        lacking = np.flatnonzero((self.lacking[numbers] > 0) & indicators)
        counted = crosses and self.has_many_rows
        categories = [self._category(k, int(j), counted) for k, j in enumerate(np.flatnonzero(self.is_category))]
        categories = tuple(part for part in categories if part is not None)
        means = any(isinstance(part, LevelMeans) for part in categories)
        folds = RowFolds(self.level_keys, self.are_draws, crosses and not self.are_draws) if means else None
        fills = weighted_medians(self.contents[:, numbers], self.weights)  # of a fair sample, where rows are many
        return TableEncoding(len(self.is_category), numbers, fills, lacking, categories, folds, lacks=True)

    def crossed(self, encoding, pairs):
        """Return the encoding with pairs of columns beside single ones; ``pairs`` are their sums, or None."""
        if pairs is None or not pairs.pairs:
            return encoding
        means = pairs.means(self.unit, self.has_many_rows)
        folds = RowFolds(self.level_keys, of_members=True)
        return replace(encoding, categories=(*encoding.categories, *means), folds=folds)

    def blind(self, encoding, pairs, fold):
        """Return the same columns as those of an encoding, without the targets of a fold, whatever rows it encodes."""
        places = {int(j): k for k, j in enumerate(np.flatnonzero(self.is_category))}
        single = []
        for part in encoding.categories:
            if isinstance(part, LevelMeans):
                part = self._means(places[part.column], part.column, part.counted, fold)
            if not isinstance(part, PairMeans):
                single.append(part)
        crossed = () if pairs is None else pairs.means(self.unit, self.has_many_rows, fold)
        return replace(encoding, categories=(*single, *crossed))

    @property
    def has_many_rows(self):
        """Whether it pays to say how many rows have a level."""
        return bool(whole_rows(self.weight / self.unit) >= _COUNTED)

    def sample(self, most):
        """Return distinct rows with their mean targets, those with the smallest hashes where there are more."""
        kept = slice(None)
        if len(self.hashes) > most:
            kept = np.sort(np.lexsort((self.hashes, self.draws))[:most])
        targets = np.round(self.targets[kept] / self.weights[kept, None] / GRID) * GRID
        hashes = np.column_stack([self.hashes[kept], self.draws[kept]])
        return Sample(self.contents[kept], targets, self.weights[kept] / self.unit, hashes)

    @property
    def needs_folds(self):
        """Whether means are to be taken once more, by folds of copies that are draws."""
        used = [np.count_nonzero(sums.counts.sum(axis=0)) for sums in self.levels]
        return max(used, default=0) > _FEW_LEVELS and self.are_draws

    def _category(self, k, j, counted):
        """The encoding of one column of categories, or None where it says nothing."""
        n, sums = self._n_levels(j), self.levels[k]
        weights = sums.counts.sum(axis=0) / self.unit
        used = np.flatnonzero(weights > 0)
        if len(used) > _FEW_LEVELS:
            return self._means(k, j, counted) if sums.tell(self.unit) else None
        if len(used) < 2:
            return None
        least = min(_LEAST, _LEAST_SHARE * weights.sum())
        chosen = used[weights[used] >= least]
        if len(chosen) == 2 == len(used):
            chosen = chosen[1:]
        return LevelIndicators(j, chosen, n) if len(chosen) else None

    def _means(self, k, j, counted, without=None):
        """Means of the levels of a column, also without the targets of a fold."""
        return LevelMeans(j, self.levels[k].means(self.unit, counted, without), counted)


def _sums_at(places, columns, n):
    """Sums (n, c) of the columns of rows by their places."""
    return np.array([np.bincount(places, column, n) for column in columns.T]).reshape(-1, n).T


def _grouped(hashes, groups, weights):
    """Distinct contents and targets, with their weights."""
    _, first, place = np.unique(groups, return_index=True, return_inverse=True)
    return hashes[first], groups[first], np.bincount(place, weights, len(first))


def weighted_medians(x, weights):
    """Return the weighted median (d,) of every column of numbers with gaps."""
    return np.array([_median(column, weights) for column in x.T])


def _median(values, weights):
    """The weighted median of what is there: the mean of the two in the middle where weight is even; 0 of nothing."""
    there = ~np.isnan(values)
    if not there.any():
        return 0.0
    values, weights = values[there], weights[there] / weights.max()
    order = np.argsort(values, kind="stable")
    values, reach = values[order], np.cumsum(weights[order])
    half = reach[-1] / 2
    slack = 1e-12 * reach[-1]
    low = values[min(np.searchsorted(reach, half - slack), len(values) - 1)]
    high = values[min(np.searchsorted(reach, half + slack), len(values) - 1)]
    return 0.5 * low + 0.5 * high


def score_columns(coded, weights=None):
    """Return targets as the columns (n, c) that means are taken of: classes as ones, numbers in their own units.

    Parameters
    ----------
    coded : ndarray of shape (n,) of int, or (n, c)
        Numbers of classes, or targets.
    weights : ndarray of shape (n,) or None, default=None
        Frequencies.

    Returns
    -------
    callable
        A function of coded targets.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_analytic.features._table_survey import score_columns
    >>> score_columns(np.array([0, 1, 1]))(np.array([1])).tolist()
    [[1.0]]
    """
    if coded.ndim == 1 and coded.dtype.kind in "iu":
        n = int(coded.max(initial=0)) + 1
        return ClassScores(_narrow(np.eye(max(n, 2))[:, 1:]))  # the first is what the others leave
    coded = np.reshape(np.asarray(coded, dtype=np.float64), (len(coded), -1))
    used = np.ones(len(coded)) if weights is None else np.asarray(weights, dtype=np.float64)
    size = np.max(np.abs(coded), axis=0, initial=0.0)
    size = np.where(size > 0, size, 1.0)
    mean = used @ (coded / size) / used.sum()
    deviation = np.sqrt(used @ (coded / size - mean) ** 2 / used.sum())
    deviation = np.where(deviation > 0, deviation, 1.0)
    standardised = (coded / size - mean) / deviation
    return NumberScores(size, mean, deviation, _independent(standardised.T @ (standardised * used[:, None])))


@dataclass(frozen=True, eq=False)
class ClassScores:
    """Classes as columns of scores."""

    table: np.ndarray  # (C, c)

    @property
    def n_columns(self):
        """Columns of scores."""
        return self.table.shape[1]

    def __call__(self, coded):
        return self.table[coded]


@dataclass(frozen=True, eq=False)
class NumberScores:
    """Numbers in units of their deviation from their mean."""

    size: np.ndarray
    mean: np.ndarray
    deviation: np.ndarray
    projection: np.ndarray | None

    @property
    def n_columns(self):
        """Columns of scores."""
        return len(self.mean) if self.projection is None else self.projection.shape[1]

    def __call__(self, coded):
        found = (np.reshape(coded, (len(coded), -1)) / self.size - self.mean) / self.deviation
        return found if self.projection is None else found @ self.projection


def _narrow(table):
    """Scores of many classes, projected at random."""
    projection = _projection(table.shape[1])
    return table if projection is None else table @ projection


def _independent(gram):
    """A projection of targets that are many, or that determine each other, or None."""
    projection = _projection(len(gram))
    if projection is not None or len(gram) == 1:
        return projection
    values, vectors = np.linalg.eigh(gram)
    kept = values > _DEPENDENT * values[-1]
    return None if kept.all() else vectors[:, kept]


def _projection(n_columns):
    """A random projection of many columns of scores, or None."""
    if n_columns <= _MOST_SCORES:
        return None
    return np.random.default_rng(0).standard_normal((n_columns, _MOST_SCORES)) / np.sqrt(_MOST_SCORES)


@dataclass(frozen=True, eq=False)
class SurveyStep:
    """Adds a block of coded rows to a survey.

    ``coding`` says what targets are: ``numbers(y)`` of classes, or numbers, and ``hashes(y)``.
    """

    scores: object  # of such numbers
    coding: object

    def __call__(self, survey, block, backend):
        """Return the survey with the block."""
        y = np.asarray(block.y)
        scores, hashes = self.scores(self.coding.numbers(y)), self.coding.hashes(y)
        return survey.with_rows(host(block.x), scores, hashes, block.weight, block.folds)
