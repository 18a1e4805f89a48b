"""Dask arrays and dataframes alike: an example row, tasks for the partitions, their lengths, lazy answers."""

import functools
import math
from dataclasses import dataclass
from typing import Any

import dask
import dask.array as da
import numpy as np
from dask import delayed

from sklearn_analytic.distributed._dask_work import n_rows_of
from sklearn_analytic.io._columns import raw_rows
from sklearn_analytic.io._raw_columns import is_plain


@dataclass(frozen=True)
class _Array:
    """A Dask array."""

    x: Any

    @property
    def n_columns(self):
        """Number of columns."""
        return self.x.shape[1]

    def example(self):
        """Return one row of the dtype."""
        kind = self.x.dtype if self.x.dtype.kind in "biuf" else np.float64
        return np.zeros((1, self.n_columns), kind)

    def columns(self, columns_of):
        """Return how the columns are read: as those of arrays of numbers."""
        if self.x.dtype.kind not in "biuf":
            return merged_columns(self.parts(), columns_of, None)
        return columns_of(self.example())

    def parts(self):
        """Return a task for each chunk of rows."""
        return self._by_rows().to_delayed().ravel().tolist()

    def sizes(self):
        """Return the rows of each chunk, or a task that counts them."""
        sizes = self.x.chunks[0]
        if any(math.isnan(size) for size in sizes):
            return delayed(list, pure=False)([delayed(n_rows_of, pure=False)(part) for part in self.parts()])
        return sizes

    def mapped(self, function, estimator, method, empty):
        """Return a lazy array with the chunks of the rows."""
        columns = {"chunks": (self.x.chunks[0], *empty.shape[1:])} if empty.ndim > 1 else {"drop_axis": 1}
        if empty.ndim > 2:
            columns["new_axis"] = list(range(2, empty.ndim))
        return da.map_blocks(
            function, self._by_rows(), estimator, method, empty, dtype=empty.dtype, meta=empty, **columns
        )

    def _by_rows(self):
        """The array with all columns of a row in one chunk."""
        return self.x.rechunk({1: -1})


@dataclass(frozen=True)
class _Frame:
    """A Dask dataframe."""

    x: Any

    @property
    def n_columns(self):
        """Number of columns."""
        return len(self.x.columns)

    def example(self):
        """Return one row with the names of the columns."""
        dtypes = [dtype for dtype in self.x.dtypes if isinstance(dtype, np.dtype) and dtype.kind in "biuf"]
        frame = type(self.x._meta)
        if not self._is_plain:  # what is missing can always be read
            return frame(np.full((1, self.n_columns), None, dtype=object), columns=self.x.columns)
        dtype = np.result_type(*dtypes) if dtypes and len(dtypes) == self.n_columns else np.float64
        return frame(np.zeros((1, self.n_columns), dtype), columns=self.x.columns)

    @property
    def _is_plain(self):
        """Whether all columns hold NumPy's own numbers."""
        return is_plain(self.x._meta)

    def columns(self, columns_of):
        """Return how the columns are read: by all partitions, where some are no numbers."""
        names = list(self.x.columns)
        found = columns_of(self.x._meta, names) if self._is_plain else None
        if found is None or found.has_categories:
            return merged_columns(self.parts(), columns_of, names)
        return found

    def parts(self):
        """Return a task for each partition."""
        return list(self.x.to_delayed())

    def sizes(self):
        """Return the rows of each partition, which are counted when computed."""
        return self.x.map_partitions(len)

    def mapped(self, function, estimator, method, empty):
        """Return a lazy array of unknown lengths."""
        return self.x.map_partitions(function, estimator, method, empty, meta=empty)


def merged_columns(parts, columns_of, names):
    """Return how the columns of all partitions are read: one pass, which brings back their levels alone."""
    found = dask.compute(*(delayed(_columns_of_part, pure=False)(part, columns_of, names) for part in parts))
    found = [columns for columns in found if columns is not None]
    return functools.reduce(type(found[0]).merged, found).in_order()


def _columns_of_part(part, columns_of, names):
    """How the columns of a partition with rows are read."""
    return columns_of(raw_rows(part), names) if part.shape[0] else None


_KINDS = {"Array": _Array, "DataFrame": _Frame}


def known_collection(x):
    """Return X by its kind; refuse what has no rows and columns that are known."""
    kind = _KINDS.get(type(x).__name__)
    if kind is None:
        raise TypeError(f"X must be a dask.array or a dask.dataframe, got {type(x).__module__}.{type(x).__name__}.")
    if x.ndim != 2:
        raise ValueError(f"Expected 2D array, got {x.ndim}D Dask array instead: X must have rows and columns.")
    if kind is _Array and math.isnan(x.shape[1]):
        raise ValueError("X has an unknown number of columns: call X.compute_chunk_sizes() first.")
    return kind(x)
