"""Rows in a file that are read one by one: a map of the file would count as memory of this process, page by page."""

import io

import numpy as np


class FileRows:
    """A matrix in a file, of which rows are read when they are asked for.

    Parameters
    ----------
    path : str
        The file: rows one after the other.
    dtype : dtype
        Of its entries.
    shape : (int, int)
        Rows and entries of a row.
    """

    def __init__(self, path, dtype, shape):
        self._file, self.dtype, self.shape = io.FileIO(path), np.dtype(dtype), shape

    def __len__(self):
        return self.shape[0]

    def __getitem__(self, rows):
        """Return rows (indices or a slice) as an array of their own."""
        indices = np.arange(len(self))[rows]
        found = np.empty((len(indices), self.shape[1]), self.dtype)
        self.fill(indices, found)
        return found

    def fill(self, indices, out):
        """Read rows into a contiguous array of their dtype."""
        starts = np.flatnonzero(np.diff(indices, prepend=-2) != 1)  # of runs of neighbours, each of which is one read
        for start, stop in zip(starts, [*starts[1:], len(indices)], strict=False):
            self._read(int(indices[start]), memoryview(out[start:stop]).cast("B"))

    def close(self):
        """Close the file."""
        self._file.close()

    def _read(self, row, out):
        """Fill memory from a row on; a file may give less than it is asked for."""
        self._file.seek(row * self.shape[1] * self.dtype.itemsize)
        done = 0
        while done < len(out):
            got = self._file.readinto(out[done:])
            if not got:
                raise OSError("the file of features ends before its last row: something else has shortened it")
            done += got
