"""Blocks: where rows live. Memory, memmap, sparse matrix, frame, tensor or any iterable, read a block at a time."""

import mmap
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import sparse
from sklearn.utils import assert_all_finite, check_array

from sklearn_analytic.backend import is_tensor

_BLOCK_BYTES = 16 << 20  # of float64 working copy: in cache reach, and small beside any Gram
_MIN_ROWS, _MAX_ROWS = 256, 65536
FLOATS = (np.float64, np.float32)


@dataclass(frozen=True)
class Block:
    """Rows that belong together: features, coded targets, weights."""

    x: Any  # (m, d)
    y: Any  # (m, c)
    weight: Any | None  # (m,)


@dataclass(frozen=True)
class ArrayBlocks:
    """Rows of one array, as often as wanted; a memmap is read block by block and never held."""

    x: Any
    y: Any
    weight: Any | None
    block_size: int

    def __iter__(self):
        for start in range(0, self.n_rows, self.block_size):
            rows = slice(start, start + self.block_size)
            weight = None if self.weight is None else self.weight[rows]
            y = self.y[rows]
            assert_all_finite(y, input_name="y")
            yield Block(dense_rows(self.x[rows]), y, weight)
            release_pages(self.x, rows)
            release_pages(self.y, rows)

    @property
    def n_rows(self):
        """Number of rows in all blocks."""
        return self.x.shape[0]

    def take(self, indices):
        """Return the rows and targets at ``indices``, dense, on the host."""
        unique, inverse = np.unique(indices, return_inverse=True)
        return host(dense_rows(self.x[unique]))[inverse], self.y[indices]

    def map_rows(self, function):
        """Return ``function(rows)`` of every block, concatenated: one pass that keeps only the results."""
        return np.concatenate([function(host(block.x)) for block in self])


def reduce_blocks(blocks, statistic, backend):
    """Accumulate blocks [x | y] into a statistic on the backend and bring the result home."""
    statistic = statistic.on(backend)
    for block in blocks:
        statistic = statistic.accumulate(block.x, block.y, block.weight, backend)
    return statistic.to_host(backend)


def checked_array(x):
    """Return X such that slices of it can be checked one by one: arrays and CSR as they are, frames as arrays."""
    if is_tensor(x):
        return x
    if sparse.issparse(x):
        return x.tocsr()
    if type(x).__name__ == "LazyFrame":
        raise TypeError("X is a LazyFrame: call .collect() first, or pass its batches to fit_blocks.")
    if isinstance(x, np.ndarray) and x.ndim == 2 and x.dtype != object and x.shape[0] > 0:
        return x
    return check_array(x, dtype=FLOATS)


def dense_rows(x):
    """Check one block of rows: dense, two-dimensional, finite, float64 or float32."""
    if is_tensor(x):
        return checked_tensor(x)
    x = check_array(x, accept_sparse="csr", dtype=FLOATS, order="C")
    return x.toarray(order="C") if sparse.issparse(x) else x


def checked_tensor(x):
    """Refuse tensors that are not finite rows; integers become float64."""
    if x.ndim != 2 or x.shape[0] == 0 or x.shape[1] == 0:
        raise ValueError(f"X must be a non-empty (n_samples, n_features) tensor, got shape {tuple(x.shape)}.")
    x = x if str(x.dtype) in ("torch.float32", "torch.float64") else x.double()
    if not bool(x.isfinite().all()):
        raise ValueError("Input X contains NaN or infinity.")
    return x


def host(x):
    """Return rows as a NumPy array, wherever they are."""
    return x.detach().cpu().numpy() if is_tensor(x) else x


def auto_block_size(n_columns):
    """Rows per block so that a float64 working copy stays near 16 MiB, or twice the columns where they are many.

    A block then costs more than the square matrices that it updates, and memory stays of their order.
    """
    rows = _BLOCK_BYTES // (8 * max(n_columns, 1))
    return int(np.clip(max(rows, min(2 * n_columns, 8192)), _MIN_ROWS, _MAX_ROWS))


def short_block_size(n_columns):
    """Rows per block so that a float64 copy stays near 16 MiB: for passes that update no square matrix."""
    return int(np.clip(_BLOCK_BYTES // (8 * max(n_columns, 1)), _MIN_ROWS, _MAX_ROWS))


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
