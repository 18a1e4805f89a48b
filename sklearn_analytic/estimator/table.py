"""Raw tables on their way into an estimator: how columns are read, and how categories and gaps become numbers.

A :class:`Table` is learned with the layers and stays with them. Behind it all rows are numbers without gaps.
"""

import math
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from scipy import sparse

from sklearn_analytic.backend import get_backend, is_tensor
from sklearn_analytic.estimator.encoded_rows import EncodedSource
from sklearn_analytic.estimator.equal_rows import LATER, EqualRows, pairs_of
from sklearn_analytic.estimator.weights import weights_in_range
from sklearn_analytic.features import RowFolds, TableEncoding
from sklearn_analytic.features._audit import NEVER_IN, UNKNOWN_COPIES
from sklearn_analytic.features._table_crosses import chosen_pairs
from sklearn_analytic.features._table_encoding import level_keys, target_hashes
from sklearn_analytic.features._table_pairs import PairStep, PairSurvey
from sklearn_analytic.features._table_survey import Survey, SurveyStep, score_columns, weighted_medians
from sklearn_analytic.io._checks import RowSource, dense_rows, host, is_finished
from sklearn_analytic.io._columns import CodedRows, Columns, medians, plain_columns
from sklearn_analytic.io._passes import auto_block_size, release_pages, rows_in_blocks, short_block_size
from sklearn_analytic.io._raw_columns import CATEGORIES

_SAMPLE = 10_000  # rows at equal distances, of which medians are taken where nothing is missing


@dataclass(frozen=True, eq=False)
class Coding:
    """What targets say to an encoding: numbers of classes, or numbers."""

    classes: np.ndarray | None = None  # sorted; None of numbers
    is_coded: bool = True  # whether targets are numbers of classes already

    def numbers(self, y):
        """Return numbers of classes, or numbers as they are."""
        if self.classes is None or y.ndim > 1 or self.is_coded:
            return y
        return np.searchsorted(self.classes, y)

    def hashes(self, y):
        """Return a hash of every target: of labels, not of their numbers, which change when classes come."""
        if self.classes is None or y.ndim > 1:
            return target_hashes(y)
        return target_hashes(self.classes)[self.numbers(y)]

    def hashes_of_all(self, y, exponent):
        """Return a hash of every target, which no power-of-two unit of numbers changes that are scaled by their own."""
        return self.hashes(np.ldexp(y, -exponent) if y.dtype.kind == "f" else y)

    @staticmethod
    def exponent_of(y):
        """Return the power of two near the largest target of a whole fit, 0 of classes."""
        return int(np.frexp(np.max(np.abs(y), initial=0.0))[1]) if y.dtype.kind == "f" else 0

    @classmethod
    def of(cls, targets, is_coded=True):
        """Return the coding of what y means to an estimator."""
        return cls(getattr(targets, "classes", None), is_coded)


@dataclass(frozen=True, eq=False)
class Table:
    """How rows of a raw table become numbers without gaps.

    Parameters
    ----------
    columns : Columns
        What every column holds, and its levels.
    encoding : TableEncoding
        Columns of numbers for what is missing and for categories.
    blind : callable or None, default=None
        The encoding without the targets of a fold, until trees have grown.
    equal : EqualRows or None, default=None
        Counts of equal rows, where each has a fold of its own.
    """

    columns: Columns
    encoding: TableEncoding
    blind: Any = None
    equal: Any = None

    def settled(self):
        """Return the table as it stays, when trees have grown."""
        return replace(self, blind=None)

    @property
    def n_columns(self):
        """Columns of encoded rows."""
        return self.encoding.n_columns

    @property
    def is_plain(self):
        """Whether a table of numbers without gaps stays as it is."""
        return self.encoding.is_plain

    @property
    def changes_nothing(self):
        """Whether all rows that it was learned from are numbers without gaps."""
        return self.is_plain and not self.encoding.lacks

    @property
    def lacking(self):
        """Encoded columns (q, 2) of numbers with that of their gaps; None where rows stay as they are."""
        return None if self.is_plain else self.encoding.gap_columns

    def by_column(self, shares):
        """Return shares of encoded columns as those of the columns of the table."""
        return shares if self.is_plain else self.encoding.by_column(shares)

    # ---- rows that are predicted ----

    def dense(self, X):
        """Return checked rows of the estimator's columns, encoded: an array, or a tensor on its device."""
        if is_tensor(X):
            x = dense_rows(X, missing=True)
            if self.is_plain and bool(x.isfinite().all()):
                return x
            return x.new_tensor(self.encoding.transform(host(x)))
        if self.is_plain and is_finished(X):
            return X
        x = dense_rows(self._by_my_columns(X), missing=True)
        return self.encoding.transform(x) if self._has_work(x) else x

    def all_dense(self, X):
        """Return all rows encoded as one array."""
        size = short_block_size(max(X.shape[1], self.n_columns))
        parts = [host(self.dense(X[start : start + size])) for start in range(0, X.shape[0], size)]
        return np.concatenate(parts)

    def _has_work(self, x):
        """Whether encoding changes the rows."""
        with np.errstate(over="ignore", invalid="ignore"):
            return not self.is_plain or not math.isfinite(x.sum())

    # ---- rows that are learned from ----

    def learned(self, X, folds=None):
        """Return rows of a fit as one array (X itself where nothing changes): no row's own target is in it."""
        if self._stays(X):
            return X
        if is_tensor(X):
            return X.new_tensor(self.encoded(dense_rows(X, missing=True), folds))
        X, size = self._by_my_columns(X), short_block_size(max(X.shape[1], self.n_columns))
        parts = []
        for start in range(0, X.shape[0], size):
            part = slice(start, start + size)
            parts.append(self.encoded(dense_rows(X[part], missing=True), None if folds is None else folds[part]))
        return np.concatenate(parts)

    def rows(self, X, folds=None):
        """Return rows of a fit to be read in passes, encoded block by block; X itself where nothing changes."""
        if isinstance(X, RowSource):
            return X if self.changes_nothing else EncodedSource(X, self, folds)
        return X if self._stays(X) else EncodedSource(self._by_my_columns(X), self, folds)

    def folds_of(self, X, y, weights, coding):
        """Return the folds of all rows that means are taken of, where copies are draws: a pass; or None."""
        if self.encoding.folds is None or not self.encoding.folds.are_draws:
            return None
        return _copies_in_folds(self.encoding.folds, self._by_my_columns(X), y, weights, coding)[0]

    def with_later(self, X, y, weights, coding):
        """Return the table that has counted rows of which no mean is taken."""
        if self.equal is None:
            return self
        pairs, _, counted = self._pairs(X, y, weights, coding)
        return replace(self, equal=self.equal.with_later(pairs[counted]))

    def leaving(self, X, y, weights, coding):
        """Return rows that were in, with the folds that they came with, and the table without them."""
        if self.encoding.folds is None or not self.encoding.folds.are_draws:
            return self.rows(X), self
        if self.equal is None:
            raise ValueError(UNKNOWN_COPIES)
        pairs, draws, counted = self._pairs(X, y, weights, coding)
        found = self.equal.leave(pairs[counted])
        if found is None:
            raise ValueError(NEVER_IN.format("Some"))
        numbers = np.full(len(pairs), LATER)
        numbers[counted] = found[1]
        return self.rows(X, self.encoding.folds.of_numbers(draws, numbers)), replace(self, equal=found[0])

    def of_shard(self):
        """Return the table of a shard: none of its rows are those that means were taken of."""
        return self if self.equal is None else replace(self, equal=self.equal.emptied())

    def merged(self, other):
        """Return the table of two fits that become one."""
        if self.equal is None or other is None or other.equal is None:
            return replace(self, equal=None)
        return replace(self, equal=self.equal.merge(other.equal))

    def _pairs(self, X, y, weights, coding):
        """Hashes of content and target of rows, what draws follow, and which rows have weight."""
        return _pairs_of_rows(self.encoding.folds, self._by_my_columns(X), y, weights, coding, self.equal.exponent)

    def _by_my_columns(self, X):
        """Rows with levels numbered as here."""
        return X.recoded(self.columns) if isinstance(X, CodedRows) else X

    def _stays(self, X):
        """Whether all rows stay as they are; a pass over them."""
        return self.is_plain and not isinstance(X, CodedRows) and not has_gaps(X)

    def encoded(self, x, folds=None):
        """Return coded rows of a fit, encoded."""
        x = host(x)
        return self.encoding.learned(x, folds) if self._has_work(x) else x

    def encoded_block(self, block):
        """Return a block of a fit, encoded, with the folds that trees are blind to, if any."""
        folds, blinds = block.folds, self.encoding.blinds
        if blinds:
            folds = self.encoding.folds.of(host(block.x))
        return replace(block, x=self.encoded(block.x, folds), folds=folds if blinds else None)


def has_gaps(X):
    """Whether any number is missing: a pass over floats, and over nothing else."""
    if is_tensor(X):
        return X.is_floating_point() and bool(X.isnan().any())
    if sparse.issparse(X):
        return bool(np.isnan(X.data).any()) if X.dtype.kind == "f" else False
    if X.dtype.kind != "f":
        return False
    size = short_block_size(X.shape[1])
    for start in range(0, X.shape[0], size):
        rows = slice(start, start + size)
        part = np.asarray(X[rows])
        with np.errstate(over="ignore", invalid="ignore"):
            if not math.isfinite(part.sum()) and np.isnan(part).any():
                return True
        release_pages(X, rows)
    return False


def learn_table(X, y, weights, coding, indicators=True, crosses=False):
    """Return the table of rows that are learned from, with their targets and weights.

    ``indicators=False`` keeps one column for each of X: of images and sequences. ``crosses`` are for networks with
    trees: pairs of columns and counts of levels are read, too, and trees are blind to the folds of the rows.
    """
    columns = X.columns if isinstance(X, CodedRows | RowSource) else plain_columns(X.shape[1])
    columns = columns.in_order()
    if isinstance(X, RowSource) and not X.lacks:
        return Table(columns, _of_numbers(X.fills))
    if not isinstance(X, CodedRows | RowSource) and not has_gaps(X):
        return Table(columns, _of_numbers(_sampled_medians(X, weights)))
    if columns.has_categories and not indicators:
        raise ValueError(
            f"{columns.described(columns.kinds.index(CATEGORIES))} holds categories, but images, sequences and given "
            "networks read numbers alone: encode the column first, or leave network and image_shape out."
        )
    keys = tuple(None if levels is None else level_keys(levels) for levels in columns.levels)
    scores, weights = score_columns(coding.numbers(y), weights), weights_in_range(weights)
    rows, size = X.recoded(columns) if isinstance(X, CodedRows) else X, auto_block_size(X.shape[1])

    def reduced(start, step, folds=None):
        blocks = rows_in_blocks(rows, y, weights, size, missing=True, folds=folds)
        return blocks.reduce(start, step, get_backend("cpu"))

    survey = partial(reduced, Survey.empty(keys, scores.n_columns), SurveyStep(scores, coding))
    found, equal = survey(), None
    if found.needs_folds:
        folds, equal = _copies_in_folds(RowFolds(keys, are_draws=True), rows, y, weights, coding)
        found = survey(folds)
    encoding = found.encoding(indicators, crosses)
    if not (crosses and columns.has_categories) or found.are_draws:
        return Table(columns, encoding, equal=None if encoding.folds is None else equal)
    sums, pairs = None, chosen_pairs(found, encoding)
    if pairs:
        start = PairSurvey.empty(RowFolds(keys), pairs, scores.n_columns)
        sums = reduced(start, PairStep(scores, coding)).bounded()
    encoding = found.crossed(encoding, sums)
    return Table(columns, encoding, partial(found.blind, encoding, sums) if encoding.blinds else None)


def in_passes(learned, X, y, weights, is_first, indicators=True, crosses=False):
    """Return rows of a closed-form fit to be read in passes, and the table that encodes them.

    The table of what was ``learned``; rows that come before there is any layer settle a new one.
    """
    coding, table = Coding.of(learned.targets), learned.table
    if learned.network is None:
        table = learn_table(X, y, weights, coding, indicators, crosses)
        if table.changes_nothing:
            return X, table
    if table is None:  # of a model of an earlier version
        return X, None
    if is_first:
        return table.rows(X, table.folds_of(X, y, weights, coding)), table
    return table.rows(X), table.with_later(X, y, weights, coding)


def leaving(learned, X, y, weights):
    """Return rows that were in a closed-form fit and leave it, as they came, and the table without them."""
    if learned.table is None:
        return X, None
    return learned.table.leaving(X, y, weights, Coding.of(learned.targets))


def _copies_in_folds(folds, rows, y, weights, coding):
    """The fold of every row that has weight, by content, target and number among its equals, and how many these are."""
    exponent = coding.exponent_of(np.asarray(y))
    pairs, draws, counted = _pairs_of_rows(folds, rows, y, weights, coding, exponent)
    return folds.of_copies(pairs, draws, counted), EqualRows.of(pairs[counted], exponent)


def _pairs_of_rows(folds, rows, y, weights, coding, exponent):
    """Hashes of content and target of rows, what draws follow, and which rows have weight."""
    blocks = rows_in_blocks(rows, y, weights, auto_block_size(rows.shape[1]), missing=True)
    pairs, draws = pairs_of(blocks.map_rows(folds.hashes), coding.hashes_of_all(np.asarray(y), exponent))
    return pairs, draws, np.ones(len(pairs), dtype=bool) if weights is None else np.asarray(weights) > 0


def _of_numbers(fills):
    """The encoding of numbers of which none is missing: medians for what comes later."""
    d = len(fills)
    return TableEncoding(d, np.arange(d), np.asarray(fills, dtype=np.float64), np.zeros(0, dtype=np.int64), ())


def _sampled_medians(X, weights):
    """Medians of rows at equal distances: of all, where there are few."""
    some = slice(None, None, -(-X.shape[0] // _SAMPLE))
    x = np.asarray(host(dense_rows(X[some])), dtype=np.float64)
    if weights is None or not np.any(weights[some] > 0):
        return medians(x)
    used = weights[some] > 0
    return weighted_medians(x[used], weights[some][used])
