"""What an encoding of a table is learned from: one pass of sums over its rows, which merge in any order."""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from sklearn_analytic.features._copies import are_draws, lay_copies
from sklearn_analytic.features._table_encoding import (
    N_FOLDS,
    LevelIndicators,
    LevelMeans,
    RowFolds,
    TableEncoding,
    folds_of,
    on_grid,
    table_hashes,
)
from sklearn_analytic.io._checks import host

_CONTENTS, _CELLS = 50_000, 4_000_000  # distinct rows that medians are taken of, and their values
_FEW_LEVELS = 10  # of a column that has an indicator for each
_LEAST = 10.0  # weight of a level that has one, of few rows
_LEAST_SHARE = 0.1  # as much of all weight is enough
_IDENTIFIER = 0.05  # share of the rows, below which levels that come again are chance
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
    groups: tuple  # hashes of rows, of rows and targets, weights and targets (g, c), of those contents

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
            (nothing, nothing, np.zeros(0), np.zeros((0, c))),
        )

    @classmethod
    def of_contents(cls, x, weights):
        """Return the survey of rows of numbers, as far as medians go."""
        return replace(cls.empty((None,) * x.shape[1], 0), contents=x, weights=weights)

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

    def with_rows(self, x, scores, hashes_of_targets, weights):
        """Return the survey with coded rows (m, d), their targets (m, c), and weights or None."""
        weights = np.ones(len(x)) if weights is None else np.asarray(weights, dtype=np.float64)
        if not np.all(weights > 0):
            kept = weights > 0
            x, scores, hashes_of_targets = x[kept], scores[kept], hashes_of_targets[kept]
            weights = weights[kept]
        if not len(x):
            return self
        gaps, (hashes, draws) = np.isnan(x), table_hashes(x, self.level_keys)
        folds = folds_of(draws)
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
            groups=_grouped(hashes, hashes ^ hashes_of_targets, weights, scores) if wide else self.groups,
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

    def medians(self, columns):
        """Return the weighted median of columns: of all rows, or of a fair sample of distinct ones."""
        return np.array([_median(self.contents[:, j], self.weights) for j in columns])

    def encoding(self, indicators=True):
        """Return the encoding; ``indicators=False`` keeps columns of numbers where they are, one for each."""
        has_values = ~self.is_category & ((self.present > 0) | (not indicators))
        numbers = np.flatnonzero(has_values)
        lacking = np.flatnonzero((self.lacking[numbers] > 0) & indicators)
        categories = [self._category(k, int(j)) for k, j in enumerate(np.flatnonzero(self.is_category))]
        folds = self._folds(categories)
        categories = tuple(part for part in categories if part is not None)
        d, learned = len(self.is_category), folds if any(isinstance(part, LevelMeans) for part in categories) else None
        lacks = bool(np.any(self.lacking[~self.is_category] > 0))
        return TableEncoding(d, numbers, self.medians(numbers), lacking, categories, learned, lacks)

    def _folds(self, categories):
        """Folds of the rows that means are taken of."""
        if not self.are_draws or not any(isinstance(part, LevelMeans) for part in categories):
            return RowFolds(self.level_keys)
        order = np.argsort(self.groups[1])
        return RowFolds(self.level_keys, self.groups[1][order], self._shares[order])

    @cached_property
    def _shares(self):
        """Share of every content and target in every fold, where copies are draws.

        Copies of one content are laid end to end by their targets; unit by unit they go to the folds in turn.
        """
        hashes, _, weights, scores = self.groups
        order = scores @ np.random.default_rng(0).uniform(1, 2, self.n_scores)
        size = np.frexp(np.nanmax(np.abs(self.contents[:, ~self.is_category]), initial=0.0))[1]
        scaled = np.where(self.is_category, self.contents, np.ldexp(self.contents, -size))
        own = table_hashes(scaled, self.level_keys)[0][np.searchsorted(self.hashes, hashes)]
        laid = lay_copies(own, order, weights, self.unit, N_FOLDS).shares(weights)
        return laid / weights[:, None]

    def _category(self, k, j):
        """The encoding of one column of categories, or None where it says nothing."""
        n = self._n_levels(j)
        weights = self.counts[k].sum(axis=0) / self.unit
        used = np.flatnonzero(weights > 0)
        if len(used) > _FEW_LEVELS:
            return LevelMeans(j, self._means(k)) if self._come_again(k) else None
        if len(used) < 2:
            return None
        least = min(_LEAST, _LEAST_SHARE * weights.sum())
        chosen = used[weights[used] >= least]
        if len(chosen) == 2 == len(used):
            chosen = chosen[1:]
        return LevelIndicators(j, chosen, n) if len(chosen) else None

    def _come_again(self, k):
        """Whether levels come in several folds; where hardly any row has one that does, they are identifiers."""
        counts = self._by_fold(k)[0]
        again = np.sum(counts > 0, axis=0) > 1
        return counts[:, again].sum() >= _IDENTIFIER * counts.sum()

    def _means(self, k):
        """Smoothed means of every level (folds + 1, levels + 2, c), without every fold and over all."""
        counts, sums = self._by_fold(k)
        total, weight = sums.sum(axis=0), counts.sum(axis=0)
        smoothing = self._smoothing(total, weight)
        without = [(total - sums[f], weight - counts[f]) for f in range(N_FOLDS)]
        held_out = np.stack([_smoothed(s, np.maximum(w, 0.0), smoothing) for s, w in without])
        seen = held_out[:, :-1][counts > 0]  # rows that are predicted have no mean beyond those that rows learned by
        means = np.clip(_smoothed(total, weight, smoothing), seen.min(axis=0), seen.max(axis=0))
        means[-1] = 0.0
        return on_grid(np.concatenate([held_out, means[None]]))

    def _by_fold(self, k):
        """Weights and sums of a column of categories by fold: of rows, or of copies that are draws."""
        if not self.are_draws:
            return self.counts[k], self.sums[k]
        hashes, _, weights, scores = self.groups
        shares = self._shares * weights[:, None]
        j, n = np.flatnonzero(self.is_category)[k], self.counts[k].shape[1]
        codes = self.contents[np.searchsorted(self.hashes, hashes), j]
        codes = np.where(np.isnan(codes), n - 1, codes).astype(np.int64)
        counts, sums = np.zeros_like(self.counts[k]), np.zeros_like(self.sums[k])
        for f in range(N_FOLDS):
            counts[f] = np.bincount(codes, shares[:, f], n)
            for c in range(self.n_scores):
                sums[f, :, c] = np.bincount(codes, shares[:, f] * scores[:, c], n)
        return counts, sums

    def _smoothing(self, total, weight):
        """Weight of the prior: the variance within levels over that between them (empirical Bayes, by moments)."""
        used, unit = weight > 0, self.unit
        w, s = weight[used], total[used]
        n, levels = w.sum() / unit, len(w)
        between = np.sum(s**2 / w[:, None], axis=0) - s.sum(axis=0) ** 2 / w.sum()
        within = np.maximum(self.squares - np.sum(s**2 / w[:, None], axis=0), 0.0)
        within = within.sum() / unit / max(n - levels, 1.0)
        spread = (n - np.sum((w / unit) ** 2) / n) / max(levels - 1, 1)
        variance = (between.sum() / unit / max(levels - 1, 1) - within) / max(spread, 1e-12)
        low, high = _SMOOTHING
        return unit * float(np.clip(within / variance if variance > 0 else high, low, high))


def _smoothed(sums, weights, smoothing):
    """Smoothed means of levels over the mean of all, which unseen ones have: 0."""
    prior = sums.sum(axis=0) / weights.sum() if weights.sum() > 0 else np.zeros(sums.shape[1])
    return np.vstack([(sums - weights[:, None] * prior) / (weights + smoothing)[:, None], 0 * prior])


def _grouped(hashes, groups, weights, scores):
    """Distinct contents and targets, with their weights."""
    _, first, place = np.unique(groups, return_index=True, return_inverse=True)
    return hashes[first], groups[first], np.bincount(place, weights, len(first)), scores[first]


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
        table = np.eye(n)[:, 1:] if n == 2 else np.eye(max(n, 1))
        return ClassScores(_narrow(table))
    coded = np.reshape(np.asarray(coded, dtype=np.float64), (len(coded), -1))
    used = np.ones(len(coded)) if weights is None else np.asarray(weights, dtype=np.float64)
    size = np.max(np.abs(coded), axis=0, initial=0.0)
    size = np.where(size > 0, size, 1.0)
    mean = used @ (coded / size) / used.sum()
    deviation = np.sqrt(used @ (coded / size - mean) ** 2 / used.sum())
    return NumberScores(size, mean, np.where(deviation > 0, deviation, 1.0), _projection(coded.shape[1]))


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
        return survey.with_rows(host(block.x), self.scores(self.coding.numbers(y)), self.coding.hashes(y), block.weight)
