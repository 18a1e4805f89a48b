"""What an encoding of a table is learned from: one pass of sums over its rows, which merge in any order."""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from sklearn_analytic.features._copies import are_draws
from sklearn_analytic.features._table_encoding import (
    N_FOLDS,
    LevelIndicators,
    LevelMeans,
    RowFolds,
    TableEncoding,
    table_hashes,
)
from sklearn_analytic.io._checks import host

_CONTENTS, _CELLS = 50_000, 4_000_000  # distinct rows that medians are taken of, and their values
_FEW_LEVELS = 10  # of a column that has an indicator for each
_LEAST = 10.0  # weight of a level that has one, of few rows
_LEAST_SHARE = 0.1  # as much of all weight is enough
_IDENTIFIER = 0.05  # share of the rows, below which levels that come again are chance
_DEPENDENT = 1e-9  # share of variance, below which targets determine each other
_DOUBT = 2.0  # standard deviations by which means differ that are no chance
_GRID = 2.0**-36  # of means, in units of deviations: the order of sums must not tell rows apart
_SMOOTHING = (1.0, 1000.0)  # rows of prior, at least and at most
_MOST_SCORES = 16  # columns of means; more classes are projected at random


@dataclass(frozen=True, eq=False)
class Survey:
    """Sums over rows of a table: a statistic with what :class:`RowBlocks` ask of one."""

    level_keys: tuple  # of every column of categories the keys of its levels, None for numbers
    n_scores: int  # columns of targets that means are taken of
    n_rows: int  # of positive weight
    weight: float
    present: np.ndarray  # (d,) weight of rows that have a value
    lacking: np.ndarray  # (d,) and that have none
    counts: tuple  # of every column of categories: weight (folds, levels + 1)
    sums: tuple  # weighted targets (folds, levels + 1, c)
    squares: np.ndarray  # (c,) of targets
    hashes: np.ndarray  # (m,) of distinct rows, sorted
    draws: np.ndarray  # (m,) the smallest, where not all are kept
    contents: np.ndarray  # (m, d) these rows
    weights: np.ndarray  # (m,)
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
            tuple(np.zeros((N_FOLDS, n)) for n in sizes),
            tuple(np.zeros((N_FOLDS, n, c)) for n in sizes),
            np.zeros(c),
            nothing,
            nothing,
            np.zeros((0, d)),
            np.zeros(0),
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
        counts, sums = [], []
        for j in np.flatnonzero(self.is_category):
            n = self._n_levels(j) + 1
            cell = folds * n + np.where(gaps[:, j], n - 1, x[:, j]).astype(np.int64)
            counts.append(np.bincount(cell, weights, N_FOLDS * n).reshape(N_FOLDS, n))
            columns = [np.bincount(cell, weights * column, N_FOLDS * n) for column in scores.T]
            sums.append(np.stack(columns, axis=-1).reshape(N_FOLDS, n, len(columns)))
        _, first, place = np.unique(hashes, return_index=True, return_inverse=True)
        wide = self.is_category.any()
        own = replace(
            self,
            n_rows=len(x),
            weight=float(weights.sum()),
            present=weights @ ~gaps,
            lacking=weights @ gaps,
            counts=tuple(counts),
            sums=tuple(sums),
            squares=weights @ scores**2,
            hashes=hashes[first],
            draws=draws[first],
            contents=np.asarray(x[first], dtype=np.float64),
            weights=np.bincount(place, weights),
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
            counts=tuple(a + b for a, b in zip(self.counts, other.counts, strict=True)),
            sums=tuple(a + b for a, b in zip(self.sums, other.sums, strict=True)),
            squares=self.squares + other.squares,
            hashes=hashes,
            draws=np.concatenate([self.draws, other.draws])[first],
            contents=np.concatenate([self.contents, other.contents])[first],
            weights=np.bincount(place, np.concatenate([self.weights, other.weights]), len(hashes)),
            dropped=self.dropped or other.dropped,
            groups=groups,
        )._cut()

    def _cut(self):
        """The survey with the smallest hashes alone: the same rows, however the table was cut."""
        most = self._most
        if len(self.hashes) <= most:
            return self
        smallest = np.sort(np.lexsort((self.hashes, self.draws))[:most])
        kept = {name: getattr(self, name)[smallest] for name in ("hashes", "draws", "contents", "weights")}
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

    def encoding(self, indicators=True):
        """Return the encoding; ``indicators=False`` keeps columns of numbers where they are, one for each."""
        has_values = ~self.is_category & ((self.present > 0) | (not indicators))
        numbers = np.flatnonzero(has_values)
        lacking = np.flatnonzero((self.lacking[numbers] > 0) & indicators)
        categories = [self._category(k, int(j)) for k, j in enumerate(np.flatnonzero(self.is_category))]
        categories = tuple(part for part in categories if part is not None)
        means = any(isinstance(part, LevelMeans) for part in categories)
        folds = RowFolds(self.level_keys, self.are_draws) if means else None
        fills = weighted_medians(self.contents[:, numbers], self.weights)  # of a fair sample, where rows are many
        return TableEncoding(len(self.is_category), numbers, fills, lacking, categories, folds, lacks=True)

    @property
    def needs_folds(self):
        """Whether means are to be taken once more, by folds of copies that are draws."""
        used = [np.count_nonzero(counts.sum(axis=0)) for counts in self.counts]
        return max(used, default=0) > _FEW_LEVELS and self.are_draws

    def _category(self, k, j):
        """The encoding of one column of categories, or None where it says nothing."""
        n = self._n_levels(j)
        weights = self.counts[k].sum(axis=0) / self.unit
        used = np.flatnonzero(weights > 0)
        if len(used) > _FEW_LEVELS:
            return LevelMeans(j, self._means(k)) if self._tells(k) else None
        if len(used) < 2:
            return None
        least = min(_LEAST, _LEAST_SHARE * weights.sum())
        chosen = used[weights[used] >= least]
        if len(chosen) == 2 == len(used):
            chosen = chosen[1:]
        return LevelIndicators(j, chosen, n) if len(chosen) else None

    def _tells(self, k):
        """Whether levels tell of targets: they come in several folds, unlike identifiers, and their means differ."""
        counts = self.counts[k]
        again = np.sum(counts > 0, axis=0) > 1
        if counts[:, again].sum() < _IDENTIFIER * counts.sum():
            return False
        within, between, n_within, n_between, _ = self._variances(k)
        return between > within * (1 + _DOUBT * np.sqrt(2 / n_within + 2 / n_between))

    def _means(self, k):
        """Smoothed means of every level (folds + 1, levels + 2, c), without every fold and over all."""
        counts, sums = self.counts[k], self.sums[k]
        total, weight = sums.sum(axis=0), counts.sum(axis=0)
        smoothing = self._smoothing(k)
        without = [(total - sums[f], weight - counts[f]) for f in range(N_FOLDS)]
        held_out = np.stack([_smoothed(s, np.maximum(w, 0.0), smoothing) for s, w in without])
        seen = held_out[:, :-1][counts > 0]  # rows that are predicted have no mean beyond those that rows learned by
        means = np.clip(_smoothed(total, weight, smoothing), seen.min(axis=0), seen.max(axis=0))
        means[-1] = 0.0
        return np.round(np.concatenate([held_out, means[None]]) / _GRID) * _GRID

    def _smoothing(self, k):
        """Weight of the prior: the variance within levels over that between them (empirical Bayes, by moments)."""
        within, between, _, _, size = self._variances(k)
        variance, (low, high) = (between - within) / size, _SMOOTHING
        return self.unit * float(np.clip(within / variance if variance > 0 else high, low, high))

    def _variances(self, k):
        """Mean squares within and between levels, their degrees of freedom, and the typical size of a level."""
        weight, total = self.counts[k].sum(axis=0), self.sums[k].sum(axis=0)
        used, unit = weight > 0, self.unit
        w, s = weight[used], total[used]
        n, n_between = w.sum() / unit, max(len(w) - 1, 1)
        explained = np.sum(s**2 / w[:, None], axis=0)
        between = np.sum(explained - s.sum(axis=0) ** 2 / w.sum()) / unit / n_between
        n_within = max(n - len(w), 1.0)
        within = np.sum(np.maximum(self.squares - explained, 0.0)) / unit / n_within
        size = (n - np.sum((w / unit) ** 2) / n) / n_between
        return within, between, n_within, n_between, max(size, 1e-12)


def _smoothed(sums, weights, smoothing):
    """Smoothed means of levels over the mean of all, which unseen ones have: 0."""
    prior = sums.sum(axis=0) / weights.sum() if weights.sum() > 0 else np.zeros(sums.shape[1])
    return np.vstack([(sums - weights[:, None] * prior) / (weights + smoothing)[:, None], 0 * prior])


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
