"""Features of all training rows between partitions: kept in memory, in half precision, in a file, or computed anew."""

import contextlib
import os
import tempfile
from abc import ABC, abstractmethod

import numpy as np

from sklearn_analytic.layerwise.file_rows import FileRows

_BLOCK_ENTRIES, _MOST_ENTRIES = 1e6, 2**21  # that are forwarded at once, and that they may become


class FeatureCache(ABC):
    """Rows of the partition in training. It starts with the encoded inputs, which are never copied."""

    def __init__(self, x, folder=None):
        self._x, self._folder, self._index = x, folder, None

    def __len__(self):
        return len(self._x if self._index is None else self._index)

    in_memory = False  # whether the rows are one array

    @abstractmethod
    def take(self, rows):
        """Return the features of some rows (indices or a slice), in the dtype of the inputs."""

    def fill(self, rows, out):
        """Put the features of some rows (indices) into the buffer of a batch."""
        out[:] = self.take(rows)

    @abstractmethod
    def advance(self, forward, width=1):
        """Replace the features by ``forward`` of them, whose rows have up to ``width`` entries on the way."""

    def restrict(self, rows):
        """Go on with these rows alone."""
        self._index = rows if self._index is None else self._index[rows]

    def aside(self, layers):
        """Return layers [(W, b), ...] that are not read for long, where features lie: until :meth:`close`."""
        return layers

    def close(self):  # noqa: B027 - most caches have nothing outside of memory
        """Drop what is outside of memory."""

    def _stored(self, rows):
        """What is kept of some rows."""
        return self._x[rows if self._index is None else self._index[rows]]

    def blocks(self, width=1):
        """Slices of rows that are short where rows are wide, or what they become."""
        size = max(1, int(min(_BLOCK_ENTRIES // max(self._x.shape[1], 1), _MOST_ENTRIES // width)))
        return [slice(start, min(start + size, len(self))) for start in range(0, len(self), size)]

    def _replace(self, x):
        """Keep new features of the rows that were left."""
        self._x, self._index = x, None


class MemoryCache(FeatureCache):
    """All features in memory, in the dtype of the inputs."""

    in_memory = True

    def take(self, rows):
        """Index the array; all rows are the array itself."""
        return self._x if isinstance(rows, slice) and rows == slice(None) else self._x[rows]

    def restrict(self, rows):
        """Copy the rows."""
        self._x = self._x[rows]

    def advance(self, forward, width=1):
        """Fill a new array block by block."""
        new = None
        for rows in self.blocks(width):
            part = forward(self._x[rows])
            new = np.empty((len(self), part.shape[1]), self._x.dtype) if new is None else new
            new[rows] = part
        self._replace(new)


class HalfCache(FeatureCache):
    """Features in half precision: half the memory, eleven bits."""

    def __init__(self, x, folder=None):
        super().__init__(x, folder)
        self._dtype = x.dtype

    def take(self, rows):
        """Index the array, and widen."""
        return self._stored(rows).astype(self._dtype, copy=False)

    def advance(self, forward, width=1):
        """Fill a new array of half floats; a feature beyond their range is an error."""
        new, largest = None, np.finfo(np.float16).max
        for rows in self.blocks(width):
            part = forward(self.take(rows))
            size = np.abs(part).max(initial=0)
            if size > largest:
                raise ValueError(
                    f"partitions__cache='float16' holds features up to {largest:.0f}, but a layer put out {size:.3g}: "
                    "use partitions__cache='memory' or 'memmap', or scale the inputs (input_encoding='standard')."
                )
            new = np.empty((len(self), part.shape[1]), np.float16) if new is None else new
            new[rows] = part
        self._replace(new)


class FileCache(FeatureCache):
    """Features in a file, of which rows are read when they are asked for."""

    def __init__(self, x, folder=None):
        super().__init__(x, folder)
        self._path, self._aside = None, []

    def take(self, rows):
        """Read the rows."""
        return np.array(self._stored(rows), copy=None if self._path else True)

    def fill(self, rows, out):
        """Read them where they are wanted, in their dtype."""
        if self._path is None or out.dtype != self._x.dtype:
            super().fill(rows, out)
        else:
            self._x.fill(rows if self._index is None else self._index[rows], out)

    def advance(self, forward, width=1):
        """Write a new file."""
        old, dtype, units = self._path, self._x.dtype, None
        path = None
        try:
            handle, path = tempfile.mkstemp(prefix="features-", suffix=".bin", dir=self._folder)
            with os.fdopen(handle, "wb") as file:
                for rows in self.blocks(width):
                    part = np.ascontiguousarray(forward(self.take(rows)), dtype=dtype)
                    units = part.shape[1]
                    file.write(part.data)
        except OSError as error:
            _remove(path)
            raise self._disk_error(error, units) from error
        except BaseException:
            _remove(path)
            raise
        n = len(self)
        self._close()
        self._replace(FileRows(path, dtype, (n, units)))
        self._path = path
        _remove(old)

    def _close(self):
        """Close the file that is read, so that it may be removed on every system."""
        if self._path is not None:
            self._x.close()

    def aside(self, layers):
        """Write weights to a file of their own; biases are small."""
        return [(self._written(weights), bias) for weights, bias in layers]

    def _written(self, array):
        """A map of a file that holds an array."""
        try:
            handle, path = tempfile.mkstemp(prefix="head-", suffix=".bin", dir=self._folder)
            self._aside.append(path)
            with os.fdopen(handle, "wb") as file:
                file.write(np.ascontiguousarray(array).data)
        except OSError as error:
            raise self._disk_error(error, None) from error
        return np.memmap(path, array.dtype, "r", shape=array.shape)

    def _disk_error(self, error, width):
        """What failed, how much space it takes, what to do."""
        needed = f"{len(self) * width * self._x.dtype.itemsize:,} bytes" if width else "space"
        folder = self._folder or tempfile.gettempdir()
        return OSError(
            error.errno,
            f"the features of one layer need {needed} in {folder!r}, and writing them failed "
            f"({error.strerror}): free space there, point the variable TMPDIR to another folder, or use "
            "partitions__cache='float16', 'memory' or None",
        )

    def close(self):
        """Remove the files."""
        self._close()
        for path in (self._path, *self._aside):
            _remove(path)
        self._path, self._aside = None, []


class NoCache(FeatureCache):
    """Nothing is kept: each batch goes through the layers below again."""

    def __init__(self, x, folder=None):
        super().__init__(x, folder)
        self._below = []

    def take(self, rows):
        """Forward the inputs of the rows through all layers below."""
        h = self._stored(rows)
        for forward in self._below:
            h = forward(h)
        return h

    def advance(self, forward, width=1):
        """Remember one more partition."""
        self._below.append(forward)


# {cache=: its class}
CACHES = {"memory": MemoryCache, "float16": HalfCache, "memmap": FileCache, None: NoCache}


def _remove(path):
    """Take a file away, if there is one."""
    if path is not None:
        with contextlib.suppress(FileNotFoundError):
            os.remove(path)
