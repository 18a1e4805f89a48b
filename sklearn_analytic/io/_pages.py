"""Pages of memory maps: what has been read need not stay in memory."""

import mmap

import numpy as np


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
