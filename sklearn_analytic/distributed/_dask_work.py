"""What workers do to a partition: check its rows, map them, pick some, or add them up on one thread of BLAS."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from dask.sizeof import sizeof

from sklearn_analytic.backend._threads import one_blas_thread
from sklearn_analytic.io._checks import dense_rows, host, told_of
from sklearn_analytic.io._columns import Columns, medians_of_whole, raw_rows, rows_by
from sklearn_analytic.io._passes import Block, short_block_size
from sklearn_analytic.linalg import ClassSums, NormalEquations, TriangularFactor, WithColumns


@sizeof.register(NormalEquations)
@sizeof.register(TriangularFactor)
def statistic_bytes(statistic):
    """Return the bytes of a statistic: Dask places tasks and counts memory by it."""
    return sum(value.nbytes for value in vars(statistic).values() if isinstance(value, np.ndarray))


@sizeof.register(ClassSums)
def class_bytes(sums):
    """Return the bytes of the statistics of all classes."""
    return sum(statistic_bytes(part) for part in sums.parts)


@sizeof.register(WithColumns)
def both_bytes(both):
    """Return the bytes of a statistic with the moments of its columns and a sample of its rows."""
    beside = (part for part in (both.columns, both.rows) if part is not None)
    return sizeof(both.statistic) + sum(statistic_bytes(part) for part in beside)


def done_to(work, part, *given):
    """Return the work done: called by name, so that the work itself is an argument that tasks share."""
    return work(part, *given)


@dataclass(frozen=True)
class Work:
    """Something done to the rows of one partition, which are checked first."""

    columns: Columns
    missing: bool  # whether values may be

    def __call__(self, part, number, n_rows, *given):
        due = n_rows, len(self.columns.kinds)
        if part.shape != due:
            raise ValueError(
                f"Partition {number} of X has shape {part.shape}, but {due} was announced. Call "
                "compute_chunk_sizes() on a Dask array whose chunks are not what they say."
            )
        with one_blas_thread(), told_of(f"Partition {number} of X: "):
            return self.done(rows_by(self.columns, raw_rows(part)), *given)

    def dense(self, rows):
        """Return rows dense and checked, on the host."""
        return host(dense_rows(rows, self.missing))

    def pieces(self, rows):
        """Yield dense, checked pieces near 16 MiB with the slices that they are."""
        size = short_block_size(rows.shape[1])
        for start in range(0, rows.shape[0], size):
            yield self.dense(rows[start : start + size])


@dataclass(frozen=True)
class All(Work):
    """All rows."""

    def done(self, rows):
        """Return the rows, dense."""
        return np.concatenate(list(self.pieces(rows)))


@dataclass(frozen=True)
class Taken(Work):
    """Some rows."""

    def done(self, rows, index):
        """Return the rows at ``index``, dense."""
        return self.dense(rows[index])


@dataclass(frozen=True)
class Mapped(Work):
    """A function of the rows."""

    function: Any

    def done(self, rows, folds=None):
        """Return the function's results, concatenated."""
        parts, first = [], 0
        for piece in self.pieces(rows):
            given = () if folds is None else (folds[first : first + len(piece)],)
            parts.append(self.function(piece, *given))
            first += len(piece)
        return np.concatenate(parts)


@dataclass(frozen=True)
class Fold(Work):
    """A statistic of the rows, a block at a time."""

    start: Any
    step: Any
    backend: Any
    block_size: int

    def done(self, rows, y, weight, folds):
        """Return the statistic, on the host."""
        statistic = self.start.on(self.backend)
        for piece in Block(rows, y, weight, folds).pieces(self.block_size):
            block = replace(piece, x=self.dense(piece.x))
            statistic = self.step(statistic, block, self.backend)
        return statistic.to_host(self.backend)


def medians_of_part(part):
    """Return the medians of the columns of a partition, or None where any value is missing."""
    return medians_of_whole(raw_rows(part))


def merged(one, two):
    """Return the statistic of both."""
    with one_blas_thread():
        return one.merge(two)


def answers(part, estimator, method, empty):
    """Return what a method (name, options) of an estimator says of a partition; an empty one has no answers."""
    name, options = method
    if not part.shape[0]:
        return empty
    with one_blas_thread():
        return np.asarray(getattr(estimator, name)(part, **options), dtype=empty.dtype)


def n_rows_of(part):
    """Rows of a partition; a sparse matrix has no length."""
    return part.shape[0]
