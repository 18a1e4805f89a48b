"""Pairs of columns as one category: how their levels are numbered, sums of the pairs of a table, and their means."""

from dataclasses import dataclass, replace

import numpy as np

from sklearn_analytic.features._level_sums import LevelSums
from sklearn_analytic.features._table_encoding import N_FOLDS, Means, RowFolds, level_places
from sklearn_analytic.io._checks import host

_MOST_VALUES = 1_000_000  # sums of a pair in a fold: 48 MB of means


@dataclass(frozen=True, eq=False)
class Factor:
    """A column as a number of levels: one of categories, or one of numbers that takes few values.

    Parameters
    ----------
    column : int
        Of the table.
    n_levels : int
        Missing values and unseen levels apart.
    values : ndarray of shape (n_levels,), float32, or None, default=None
        Levels of a column of numbers, sorted; None of one of categories.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_analytic.features import Factor
    >>> Factor(0, 2, np.float32([1, 5])).places(np.array([[5.0], [np.nan], [4.0]]))
    array([1, 2, 3])
    """

    column: int
    n_levels: int
    values: np.ndarray | None = None

    def places(self, x):
        """Return the level (n,) of coded rows; missing values follow the levels, then unseen ones."""
        codes = x[:, self.column]
        if self.values is not None:
            codes = self._coded(codes)
        return level_places(codes, self.n_levels)

    def _coded(self, numbers):
        """Numbers as numbers of levels."""
        with np.errstate(over="ignore"):
            near = numbers.astype(np.float32)
        codes = np.minimum(np.searchsorted(self.values, near), self.n_levels - 1).astype(np.float64)
        codes[self.values[codes.astype(np.int64)] != near] = -1.0
        codes[np.isnan(numbers)] = np.nan
        return codes


@dataclass(frozen=True, eq=False)
class PairMeans(Means):
    """Smoothed means of the target per pair of levels of two columns, as :class:`LevelMeans` has them per level.

    Parameters
    ----------
    first, second : Factor
        The columns.
    cells : ndarray of shape (n_cells,), int64
        Numbers of the pairs that training rows had, sorted (:func:`cell_numbers`).
    means : ndarray of shape (n_folds + 1, n_cells + 1, c)
        Without every fold, and over all rows; of every pair, and of those that no row had.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_analytic.features import Factor, PairMeans
    >>> means = np.array([[[2.0], [3.0], [0.0]]] * 6)
    >>> pair = PairMeans(Factor(0, 2), Factor(1, 2), np.array([0, 5]), means)
    >>> pair.transform(np.array([[0.0, 0.0], [1.0, 1.0], [0.0, 1.0]]), None).ravel()
    array([2., 3., 0.])
    """

    first: Factor
    second: Factor
    cells: np.ndarray
    means: np.ndarray

    @property
    def columns(self):
        """Columns of the table that it is made of."""
        return self.first.column, self.second.column

    def places(self, x):
        """Return the pair of levels (n,) of coded rows."""
        return known_cells(self.cells, cell_numbers(self.first, self.second, x))


def cell_numbers(first, second, x):
    """Return a number (n,) for the pair of levels that every coded row has in two columns."""
    return first.places(x) * (second.n_levels + 2) + second.places(x)


def known_cells(cells, numbers):
    """Return the places (n,) of pairs among sorted ones, ``len(cells)`` of those that are not there."""
    found = np.minimum(np.searchsorted(cells, numbers), len(cells) - 1)
    return np.where(cells[found] == numbers, found, len(cells))


@dataclass(frozen=True, eq=False)
class PairSurvey:
    """Sums per pair of levels over rows of a table: a statistic with what :class:`RowBlocks` ask of one.

    Parameters
    ----------
    folds : RowFolds
        Of the rows.
    pairs : tuple of (Factor, Factor)
        The pairs.
    cells : tuple of ndarray
        Numbers of the pairs of levels that rows have, sorted.
    levels : tuple of LevelSums
        Sums of these.
    n_rows : int
        Of positive weight.
    """

    folds: RowFolds
    pairs: tuple
    cells: tuple
    levels: tuple
    n_rows: int = 0

    @classmethod
    def empty(cls, folds, pairs, n_scores):
        """Return the sums of no rows."""
        nothing = tuple(np.zeros(0, dtype=np.int64) for _ in pairs)
        return cls(folds, tuple(pairs), nothing, tuple(LevelSums.empty(N_FOLDS, 0, n_scores) for _ in pairs))

    @property
    def n_features(self):
        """Columns that are read, for advice on memory."""
        return 2 * len(self.pairs)

    def on(self, backend):
        """Return the sums: they live on the host."""
        return self

    def to_host(self, backend):
        """Return the sums."""
        return self

    def with_rows(self, x, scores, weights):
        """Return the sums with coded rows (m, d), their targets (m, c), and weights or None."""
        weights = np.ones(len(x)) if weights is None else np.asarray(weights, dtype=np.float64)
        kept = weights > 0
        x, scores, weights = x[kept], scores[kept], weights[kept]
        if not len(x):
            return self
        folds, cells, levels = self.folds.of(x), [], []
        for first, second in self.pairs:
            own, places = np.unique(cell_numbers(first, second, x), return_inverse=True)
            cells.append(own)
            levels.append(LevelSums.of(places, len(own), folds, scores, weights, N_FOLDS))
        return self.merge(replace(self, cells=tuple(cells), levels=tuple(levels), n_rows=len(x)))

    def merge(self, other):
        """Return the sums of the rows of both."""
        cells, levels = [], []
        for mine, theirs, one, two in zip(self.cells, other.cells, self.levels, other.levels, strict=True):
            both = np.union1d(mine, theirs)
            cells.append(both)
            places = np.searchsorted(both, mine), np.searchsorted(both, theirs)
            levels.append(one.placed(places[0], len(both)).merge(two.placed(places[1], len(both))))
        return replace(self, cells=tuple(cells), levels=tuple(levels), n_rows=self.n_rows + other.n_rows)

    def bounded(self):
        """Return the sums without pairs that have too many pairs of levels to be kept, as rows without end may have."""
        kept = [k for k, sums in enumerate(self.levels) if sums.sums[0].size <= _MOST_VALUES]
        pairs, cells, levels = (tuple(part[k] for k in kept) for part in (self.pairs, self.cells, self.levels))
        return replace(self, pairs=pairs, cells=cells, levels=levels)

    def means(self, unit, counted, without=None):
        """Return the means of every pair, also without the targets of a fold; ``unit`` weight is one row."""
        parts = []
        for (first, second), cells, sums in zip(self.pairs, self.cells, self.levels, strict=True):
            table = sums.means(unit, counted, without)
            parts.append(PairMeans(first, second, cells, table))
        return tuple(parts)


@dataclass(frozen=True, eq=False)
class PairStep:
    """Adds a block of coded rows to the sums of pairs; ``scores`` are those of ``coding`` of targets."""

    scores: object
    coding: object

    def __call__(self, survey, block, backend):
        """Return the sums with the block."""
        return survey.with_rows(host(block.x), self.scores(self.coding.numbers(np.asarray(block.y))), block.weight)
