"""Rows in blocks, and what is done with them: passes that map, take or reduce, wherever the rows live."""

import mmap
from abc import ABC, abstractmethod
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from sklearn_analytic.io._checks import RowSource, dense_rows, host, is_dataset, refuse_gaps

_BLOCK_BYTES = 16 << 20  # of float64 working copy: in cache reach, and small beside any Gram
_MIN_ROWS, _MAX_ROWS = 256, 65536


@dataclass(frozen=True)
class Block:
    """Rows that belong together: features, coded targets, weights."""

    x: Any  # (m, d)
    y: Any  # (m,) or (m, c)
    weight: Any | None  # (m,)
    folds: Any | None = None  # (m,) of rows that means of targets are taken of, where their content does not tell

    def pieces(self, size):
        """Yield the block in parts of at most ``size`` rows."""
        for start in range(0, len(self.y), size):
            rows = slice(start, start + size)
            weight, folds = (None if part is None else part[rows] for part in (self.weight, self.folds))
            yield Block(self.x[rows], self.y[rows], weight, folds)


class RowBlocks(ABC):
    """Rows with coded targets and weights, read in passes; every pass gives the same rows in the same order.

    ``y`` and ``weight`` (or None) are arrays on the host: a few bytes per row are always at hand.
    """

    @abstractmethod
    def __iter__(self):
        """Blocks of dense, checked rows."""

    @property
    @abstractmethod
    def n_rows(self):
        """Number of rows in all blocks."""

    @property
    @abstractmethod
    def n_columns(self):
        """Number of columns."""

    @property
    def n_blocks(self):
        """Number of blocks of a pass, or None where it is not known."""
        return None

    def resized(self, block_size):
        """Return the same rows, at most ``block_size`` of which are computed on at a time."""
        return replace(self, block_size=block_size)

    def reweighted(self, weight):
        """Return the same rows with other weights."""
        return replace(self, weight=weight)

    def rows_before(self, n_blocks):
        """Return the number of rows, of whatever weight, in the first blocks of a pass."""
        raise NotImplementedError(f"{type(self).__name__} cannot go on in the middle.")

    def after(self, n_blocks, n_rows):
        """Return the same rows without the first ``n_blocks`` blocks of a pass, which should have ``n_rows`` rows."""
        raise NotImplementedError(f"{type(self).__name__} cannot go on in the middle.")

    def reduce(self, start, step, backend, after_block=None):
        """Return ``step(statistic, block, backend)`` folded over all blocks, begun on the backend and brought home.

        ``after_block(statistic)`` is notified of every block that is done.
        """
        # Closed at once when a step fails: who reads ahead must not wait until the error is forgotten.
        with backend.memory_advice(self.block_size, start.n_features), closing(iter(self)) as blocks:
            statistic = start.on(backend)
            for block in backend.stream(blocks):
                for piece in block.pieces(self.block_size):
                    statistic = step(statistic, piece, backend)
                if after_block is not None:
                    after_block(statistic)
                block = piece = None  # or it would stay while the next one is read
            return statistic.to_host(backend)

    def map_rows(self, function):
        """Return ``function(rows)`` of every block, concatenated: one pass that keeps only the results.

        Of rows that have folds it is ``function(rows, folds)``.
        """
        parts = []
        with closing(iter(self)) as blocks:
            for block in blocks:
                parts.append(function(host(block.x), *(() if block.folds is None else (block.folds,))))
                del block  # or it would stay while the next one is read
        return np.concatenate(parts)

    def take(self, indices):
        """Return the rows and targets at ``indices``, dense, on the host: one pass."""
        unique, inverse = np.unique(indices, return_inverse=True)
        parts, first = [np.empty((0, self.n_columns))], 0
        with closing(iter(self)) as blocks:
            for block in blocks:
                inside = unique[(unique >= first) & (unique < first + len(block.y))]
                if len(inside):
                    parts.append(host(block.x)[inside - first])
                first += len(block.y)
                del block
        kept = parts[1:] or parts
        return np.concatenate(kept)[inverse], self.y[indices]

    def raw_hashes(self):
        """Return the hashes (n, 2) of rows of a table with folds that trees are blind to, or None: a pass."""
        return None


@dataclass(frozen=True)
class ArrayBlocks(RowBlocks):
    """Rows of one array, as often as wanted; a memmap is read block by block and never held."""

    x: Any
    y: Any
    weight: Any | None
    block_size: int
    missing: bool = False  # whether values may be
    folds: Any | None = None

    def __iter__(self):
        for start in range(0, self.n_rows, self.block_size):
            rows = slice(start, start + self.block_size)
            weight, folds = (None if part is None else part[rows] for part in (self.weight, self.folds))
            y = self.y[rows]
            refuse_gaps(y, "y")
            yield Block(dense_rows(self.x[rows], self.missing), y, weight, folds)
            release_pages(self.x, rows)
            release_pages(self.y, rows)

    @property
    def n_rows(self):
        """Number of rows in all blocks."""
        return self.x.shape[0]

    @property
    def n_columns(self):
        """Number of columns."""
        return self.x.shape[1]

    @property
    def n_blocks(self):
        """Number of blocks of a pass."""
        return -(-self.n_rows // self.block_size)

    def take(self, indices):
        """Return the rows and targets at ``indices``: arrays are indexed, datasets in files are read through."""
        if is_dataset(self.x):
            return super().take(indices)
        unique, inverse = np.unique(indices, return_inverse=True)
        return host(dense_rows(self.x[unique], self.missing))[inverse], self.y[indices]


def rows_in_blocks(x, y, weight, block_size, missing=False, folds=None):
    """Return rows of an array or of a :class:`RowSource`, with their coded targets and weights, in blocks.

    NaN is an error unless values may be ``missing``; blocks have their part of ``folds``.
    """
    if isinstance(x, RowSource):
        return x.in_blocks(y, weight, block_size, missing, folds)
    return ArrayBlocks(x, y, weight, block_size, missing, folds)


def auto_block_size(n_columns):
    """Rows per block so that a float64 working copy stays near 16 MiB, or twice the columns where they are many.

    A block then costs more than the square matrices that it updates, and memory stays of their order.

    Parameters
    ----------
    n_columns : int
        Columns of the widest matrix that is computed of a block.

    Returns
    -------
    int
        Between 256 and 65536.

    Examples
    --------
    >>> from sklearn_analytic.io import auto_block_size
    >>> auto_block_size(1000)
    2097
    """
    rows = _BLOCK_BYTES // (8 * max(n_columns, 1))
    return int(min(max(rows, min(2 * n_columns, 8192), _MIN_ROWS), _MAX_ROWS))


def short_block_size(n_columns):
    """Rows per block so that a float64 copy stays near 16 MiB: for passes that update no square matrix.

    Parameters
    ----------
    n_columns : int
        Columns of the widest matrix that is computed of a block.

    Returns
    -------
    int
        Between 256 and 65536.

    Examples
    --------
    >>> from sklearn_analytic.io import short_block_size
    >>> short_block_size(10_000)
    256
    """
    return int(min(max(_BLOCK_BYTES // (8 * max(n_columns, 1)), _MIN_ROWS), _MAX_ROWS))


def release_pages(x, rows):
    """Tell the system that the rows just read of a file mapping need not stay in memory (a no-op elsewhere)."""
    mapping = _mapping(x)
    if mapping is None or not hasattr(mmap, "MADV_DONTNEED"):
        return
    part = x[rows]
    start = part.__array_interface__["data"][0] - np.frombuffer(mapping, dtype=np.uint8).ctypes.data
    page = mmap.ALLOCATIONGRANULARITY
    first = start // page * page
    length = min(start + part.nbytes, len(mapping)) - first
    mapping.madvise(mmap.MADV_DONTNEED, first, length)


def _mapping(x):
    """The shared, row-contiguous file mapping under a NumPy memmap, or None; copy-on-write pages must stay."""
    if not isinstance(x, np.memmap) or x.mode == "c" or not x.flags.c_contiguous:
        return None
    return getattr(x, "_mmap", None)
