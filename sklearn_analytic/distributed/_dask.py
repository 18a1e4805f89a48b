"""Dask collections: fits as a tree of sums over their partitions, predictions that stay lazy."""

from dataclasses import dataclass
from typing import Any

import dask
import numpy as np
from dask import delayed
from sklearn.utils.validation import check_is_fitted

from sklearn_analytic.distributed._dask_kinds import known_collection
from sklearn_analytic.distributed._dask_work import All, Fold, Mapped, Taken, answers, done_to, medians_of_part, merged
from sklearn_analytic.estimator.statistics_file import detached
from sklearn_analytic.features._table_pairs import PairSurvey
from sklearn_analytic.features._table_survey import Survey
from sklearn_analytic.io._checks import RowSource, refuse_gaps
from sklearn_analytic.io._columns import Columns
from sklearn_analytic.io._passes import Block, RowBlocks
from sklearn_analytic.linalg import ClassSums, NormalEquations, TriangularFactor, WithColumns

_MERGEABLE = (NormalEquations, TriangularFactor, ClassSums, Survey, PairSurvey)
_FRAMES = "dask.dataframe"
# Targets travel to the workers with the tasks: they can be sent again when a worker is lost, scattered data cannot.
_LARGE_GRAPHS = "distributed.admin.large-graph-warning-threshold"


def opened(x, y, sample_weight, check, columns_of):
    """Return :class:`DaskRows`, and all targets and weights on the host; features stay where they are."""
    collection = known_collection(x)
    for name, other in (("y", y), ("sample_weight", sample_weight)):
        _check_divisions(x, other, name)
    check(collection.example())
    parts = collection.parts()
    y, sample_weight, sizes = _brought(y, sample_weight, collection.sizes())
    sizes = np.asarray(sizes).tolist()
    if not sum(sizes):
        raise ValueError(f"Found no rows in the {len(parts)} partitions of X while a minimum of 1 is required.")
    filled = [number for number, size in enumerate(sizes) if size]
    chosen = [tuple(values[number] for number in filled) for values in (parts, sizes, range(len(parts)))]
    columns = collection.columns(columns_of)
    fills = None if columns.has_categories else _computed(delayed(medians_of_part, pure=False)(chosen[0][0]))[0]
    return DaskRows(*chosen, collection.n_columns, columns, fills is None, fills), y, sample_weight


def _check_divisions(x, other, name):
    """Refuse frames whose indices are known to be others: they belong together by position alone."""
    mine, theirs = (getattr(part, "divisions", None) for part in (x, other))
    if not mine or not theirs or None in (*mine, *theirs) or (mine[0], mine[-1]) == (theirs[0], theirs[-1]):
        return
    raise ValueError(
        f"X has the index {mine[0]!r} to {mine[-1]!r} and {name} {theirs[0]!r} to {theirs[-1]!r}: rows go together by "
        f"position. Align them first, or call {name}.reset_index(drop=True) on both where positions are right."
    )


def mapped(estimator, name, x, options):
    """Return the lazy array of a method's answers; the method answers one row now, for shape and dtype."""
    check_is_fitted(estimator)
    collection = known_collection(x)
    example = np.asarray(getattr(estimator, name)(collection.example(), **options))
    return collection.mapped(answers, _kept(detached(estimator)), (name, options), example[:0])


def _brought(*values):
    """Return values with Dask's among them computed: those of frames in one graph, all others in another."""
    found = list(values)
    for of_frames in (True, False):  # Dask does not compute both kinds together well
        chosen = [k for k, value in enumerate(values) if type(value).__module__.startswith(_FRAMES) == of_frames]
        for k, value in zip(chosen, _computed(*(values[k] for k in chosen)), strict=True):
            found[k] = value
    return found


@dataclass(frozen=True)
class DaskRows(RowSource):
    """Partitions that have rows, each a task that has not run."""

    parts: tuple
    sizes: tuple  # rows of every partition
    numbers: tuple  # of the partitions in the collection, for messages
    n_columns: int
    columns: Columns  # how those of every partition are read
    lacks: bool = True  # whether any value may be missing
    fills: Any = None  # medians of the first partition, where none of it is

    @property
    def shape(self):
        """Rows and columns."""
        return sum(self.sizes), self.n_columns

    def in_blocks(self, y, weight, block_size, missing=False, folds=None):
        """Return the rows with coded targets and weights."""
        refuse_gaps(y, "y")
        return DaskBlocks(self, y, weight, block_size, missing, folds)


@dataclass(frozen=True)
class DaskBlocks(RowBlocks):
    """Rows in partitions, with targets and weights that go to the workers with the tasks of a pass.

    Every pass is one graph, computed on the active ``distributed.Client`` or, without one, by Dask's default
    scheduler. It reads the collection again: persist what fits in the memory of the workers.
    """

    source: DaskRows
    y: Any
    weight: Any | None
    block_size: int
    missing: bool = False  # whether values may be
    folds: Any | None = None

    @property
    def _reading(self):
        """How a worker reads rows."""
        return self.source.columns, self.missing

    def __iter__(self):
        for part, number, rows in self._spans():
            x = _computed(_run(_kept(All(*self._reading)), part, number, rows.stop - rows.start))[0]
            yield Block(x, self.y[rows], *self._parts(rows))

    @property
    def n_rows(self):
        """Number of rows in all partitions."""
        return sum(self.source.sizes)

    @property
    def n_columns(self):
        """Number of columns."""
        return self.source.n_columns

    @property
    def n_blocks(self):
        """One: those who watch a fit are notified of a pass when it is over."""
        return 1

    def reduce(self, start, step, backend, after_block=None):
        """Return ``step`` folded over every partition from an empty ``start``, and the folds merged in a tree."""
        inner = start.statistic if isinstance(start, WithColumns) else start
        if type(inner) not in _MERGEABLE or start.n_rows:
            raise ValueError(
                "A fit on a Dask collection adds up partitions, and needs sums that start empty and can be merged: "
                "the recursion cannot be. Use solver='auto', 'qr' or 'gram'."
            )
        work = _kept(Fold(*self._reading, start, step, backend, self.block_size))
        sums = []
        for part, number, rows in self._spans():
            sums.append(_run(work, part, number, rows.stop - rows.start, self.y[rows], *self._parts(rows)))
        total = _computed(_tree(sums))[0]
        if after_block is not None:
            after_block(total.on(backend))
        return total

    def map_rows(self, function):
        """Return ``function(rows)`` of all partitions, concatenated: one pass that brings only the results."""
        work, tasks = _kept(Mapped(*self._reading, function)), []
        for part, number, rows in self._spans():
            given = () if self.folds is None else (self.folds[rows],)
            tasks.append(_run(work, part, number, rows.stop - rows.start, *given))
        return np.concatenate(_computed(*tasks))

    def take(self, indices):
        """Return the rows and targets at ``indices``: one pass over the partitions that hold any."""
        unique, inverse = np.unique(indices, return_inverse=True)
        work, tasks = _kept(Taken(*self._reading)), []
        for part, number, rows in self._spans():
            inside = unique[(unique >= rows.start) & (unique < rows.stop)] - rows.start
            if len(inside):
                tasks.append(_run(work, part, number, rows.stop - rows.start, inside))
        found = _computed(*tasks) or [np.empty((0, self.n_columns))]
        return np.concatenate(found)[inverse], self.y[indices]

    def _parts(self, rows):
        """Weights and folds of some rows, or None."""
        return (None if part is None else part[rows] for part in (self.weight, self.folds))

    def _spans(self):
        """Every partition with its number and the slice of its rows among all."""
        ends = np.cumsum(self.source.sizes).tolist()
        for part, number, size, end in zip(
            self.source.parts, self.source.numbers, self.source.sizes, ends, strict=True
        ):
            yield part, number, slice(end - size, end)


def _kept(value):
    """Return a task that holds a value, so that all tasks that use it share one copy."""
    return delayed(value, pure=False, traverse=False)


def _run(work, part, *given):
    """Return a task that does work to a partition."""
    return delayed(done_to, pure=False)(work, part, *given)


def _tree(sums):
    """Return neighbours merged in pairs until one is left: the same order, and the same bits, in every run."""
    while len(sums) > 1:
        pairs = [delayed(merged, pure=False)(*sums[i : i + 2]) for i in range(0, len(sums) - 1, 2)]
        sums = pairs + sums[2 * len(pairs) :]
    return sums[0]


def _computed(*values):
    """Return values with Dask's among them computed, in one graph."""
    known = dask.config.get(_LARGE_GRAPHS, None) is not None  # a key set before distributed is imported would shadow it
    with dask.config.set({_LARGE_GRAPHS: "1 TiB"} if known else {}):
        return dask.compute(*values, traverse=False)
