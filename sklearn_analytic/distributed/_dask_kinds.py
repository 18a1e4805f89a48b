"""Dask arrays and dataframes alike: an example row, tasks for the partitions, their lengths, lazy answers."""

import math
from dataclasses import dataclass
from typing import Any

import dask.array as da
import numpy as np
from dask import delayed

from sklearn_analytic.distributed._dask_work import n_rows_of


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

    def parts(self):
        """Return a task for each chunk of rows."""
        return self._by_rows().to_delayed().ravel().tolist()

    def sizes(self):
        """Return the rows of each chunk, or a task that counts them."""
        sizes = self.x.chunks[0]
        if any(math.isnan(size) for size in sizes):
            return delayed(list, pure=False)([delayed(n_rows_of, pure=False)(part) for part in self.parts()])
        return sizes

    def mapped(self, function, estimator, name, empty):
        """Return a lazy array with the chunks of the rows."""
        columns = {"drop_axis": 1} if empty.ndim == 1 else {"chunks": (self.x.chunks[0], empty.shape[1:])}
        return da.map_blocks(
            function, self._by_rows(), estimator, name, empty, dtype=empty.dtype, meta=empty, **columns
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
        dtype = np.result_type(*dtypes) if dtypes and len(dtypes) == self.n_columns else np.float64
        frame = type(self.x._meta)
        return frame(np.zeros((1, self.n_columns), dtype), columns=self.x.columns)

    def parts(self):
        """Return a task for each partition."""
        return list(self.x.to_delayed())

    def sizes(self):
        """Return the rows of each partition, which are counted when computed."""
        return self.x.map_partitions(len)

    def mapped(self, function, estimator, name, empty):
        """Return a lazy array of unknown lengths."""
        return self.x.map_partitions(function, estimator, name, empty, meta=empty)


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
