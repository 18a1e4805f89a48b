"""Rows in blocks, and what is done with them: passes that map, take or reduce, wherever the rows live."""

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy import sparse
from sklearn.utils import assert_all_finite, check_array

from sklearn_analytic.backend import is_tensor
from sklearn_analytic.io import auto_block_size, short_block_size
from sklearn_analytic.io._pages import release_pages

__all__ = [
    "FLOATS",
    "ArrayBlocks",
    "Block",
    "RowBlocks",
    "RowSource",
    "auto_block_size",
    "checked_array",
    "dense_rows",
    "host",
    "rows_in_blocks",
    "short_block_size",
]

FLOATS = (np.float64, np.float32)
_NO_ROWS = {  # what only reads as X, by the name of its type
    "LazyFrame": "a LazyFrame: call .collect() first, or pass its batches to fit_blocks",
    "Blocks": "Blocks, which fit_blocks takes; predict the rows of one block after the other",
}
_OBJECT = "what is no number"
_DATASETS = ("h5py", "zarr")  # whose arrays are sliced, never loaded whole


@dataclass(frozen=True)
class Block:
    """Rows that belong together: features, coded targets, weights."""

    x: Any  # (m, d)
    y: Any  # (m,) or (m, c)
    weight: Any | None  # (m,)

    def pieces(self, size):
        """Yield the block in parts of at most ``size`` rows."""
        for start in range(0, len(self.y), size):
            rows = slice(start, start + size)
            yield Block(self.x[rows], self.y[rows], None if self.weight is None else self.weight[rows])


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

    def rows_before(self, n_blocks):
        """Return the number of rows, of whatever weight, in the first blocks of a pass."""
        raise NotImplementedError(f"{type(self).__name__} cannot go on in the middle.")

    def after(self, n_blocks, n_rows):
        """Return the same rows without the first ``n_blocks`` blocks of a pass, which should have ``n_rows`` rows."""
        raise NotImplementedError(f"{type(self).__name__} cannot go on in the middle.")

    def reduce(self, start, step, backend, after_block=None):
        """Return ``step(statistic, block, backend)`` folded over all blocks, begun on the backend and brought home.

        ``after_block(statistic)`` is told of every block that is done.
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
        """Return ``function(rows)`` of every block, concatenated: one pass that keeps only the results."""
        parts = []
        with closing(iter(self)) as blocks:
            for block in blocks:
                parts.append(function(host(block.x)))
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


@dataclass(frozen=True)
class ArrayBlocks(RowBlocks):
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
            refuse_gaps(y, "y")
            yield Block(dense_rows(self.x[rows]), y, weight)
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
        return host(dense_rows(self.x[unique]))[inverse], self.y[indices]


class RowSource(ABC):
    """Features that are not one array, but are read in passes as if they were: with a shape, and in blocks."""

    @property
    @abstractmethod
    def shape(self):
        """Rows and columns."""

    @abstractmethod
    def in_blocks(self, y, weight, block_size):
        """Return :class:`RowBlocks` of these features with coded targets and weights."""


def rows_in_blocks(x, y, weight, block_size):
    """Return rows of an array or of a :class:`RowSource`, with their coded targets and weights, in blocks."""
    if isinstance(x, RowSource):
        return x.in_blocks(y, weight, block_size)
    return ArrayBlocks(x, y, weight, block_size)


def checked_array(x, estimator=None):
    """Return X such that slices of it can be checked one by one: arrays and CSR as they are, frames as arrays.

    Errors name the estimator where they know it.
    """
    if isinstance(x, RowSource):
        return x
    if is_tensor(x):
        return _readable_tensor(x, estimator)
    if sparse.issparse(x):
        return x.tocsr()
    refuse_kinds(x, "X", "a table of numbers of shape (n_samples, n_features)", estimator)
    if type(x).__name__ in _NO_ROWS:
        raise TypeError(f"X is {_NO_ROWS[type(x).__name__]}.")
    sliceable = isinstance(x, np.ndarray) or is_dataset(x)
    if sliceable and x.ndim == 2 and x.dtype.kind in "biuf" and x.shape[0] > 0:
        return x
    try:
        return _finite_sparse_frame(x) if _has_sparse_columns(x) else _finite_array(x, estimator=estimator)
    except UnreadableValueError:
        raise
    except (ValueError, TypeError, OverflowError) as error:
        if "inhomogeneous" in str(error):
            raise ValueError(f"X has rows of different lengths, or sequences for values: {error}") from error
        found = None if "Complex data" in str(error) else _first_of_no_number(x)
        if found is None:
            raise
        raise found from error


def refuse_kinds(values, input_name, due, estimator=None):
    """Refuse what holds no values in an order, or holds them once: NumPy would make one object of it."""
    if values is None or isinstance(values, str | bytes | dict | set | frozenset) or callable(values):
        found = "None" if values is None else f"a {type(values).__name__}"
    elif isinstance(values, Iterator):
        found = f"a {type(values).__name__}, which can be read once: make a list of it"
    else:
        return
    error = ValueError if values is None or isinstance(values, str | bytes) else TypeError
    raise error(f"{input_name} is {found}. {'The estimator' if estimator is None else estimator} takes {due}.")


def _first_of_no_number(x):
    """Return the error that names the first value of X that NumPy reads no number from, or None where all are."""
    try:
        framed = hasattr(x, "iloc") and x.ndim == 2
        columns = [np.asarray(x.iloc[:, j]) for j in range(x.shape[1])] if framed else None
        columns = list(np.atleast_2d(np.array(x, dtype=object)).T) if columns is None else columns
    except (ValueError, TypeError):
        return None
    for j, column in enumerate(columns):
        if column.ndim == 1 and column.dtype.kind in "OUS":
            for i, value in enumerate(column):
                if not _is_number(value):
                    return UnreadableValueError("X", str(value) if isinstance(value, str | bytes) else value, i, j)
    return None


def _is_number(value):
    """Whether NumPy reads a number from a value of a column of objects."""
    try:
        number = np.float64(value)
    except (ValueError, TypeError, OverflowError):
        return False
    return np.ndim(number) == 0 and not isinstance(value, complex)


def _has_sparse_columns(x):
    """Whether X is a frame with columns that are stored sparsely; pandas is not imported to find out."""
    dtypes = x.dtypes if hasattr(x, "iloc") and x.ndim == 2 else ()
    return any(type(dtype).__name__ == "SparseDtype" for dtype in dtypes)


def _finite_sparse_frame(x):
    """A frame of sparse columns as CSR where all are, and leave out zeros; as an array otherwise."""
    if all(type(dtype).__name__ == "SparseDtype" and dtype.fill_value == 0 for dtype in x.dtypes):
        return _finite_array(x.sparse.to_coo().tocsr(), accept_sparse="csr")
    return _finite_array(np.column_stack([np.asarray(x.iloc[:, j]) for j in range(x.shape[1])]))


def _finite_array(x, **options):
    """Check an array; what is missing or infinite has an error that says where."""
    with np.errstate(over="ignore", invalid="ignore"):  # of casts to float32 and float64
        x = check_array(x, dtype=FLOATS, ensure_all_finite=False, **options)
    refuse_gaps(x, "X")
    return x


def refuse_gaps(x, input_name):
    """Refuse NaN and infinity, saying where the first is; a search follows only where a check of all has failed."""
    try:
        with np.errstate(over="ignore", invalid="ignore"):  # of the sum by which scikit-learn looks for infinities
            assert_all_finite(x, input_name=input_name)
    except ValueError as error:
        raise first_gap(x, input_name) from error


def first_gap(x, input_name):
    """Return the error that says where the first NaN or infinity of an array or a sparse matrix is."""
    if sparse.issparse(x):
        x = x.tocoo()
        at = np.flatnonzero(~np.isfinite(x.data))[0]
        return UnreadableValueError(input_name, x.data[at], int(x.row[at]), int(x.col[at]))
    x = np.asarray(x)
    missing = ~np.isfinite(x) if x.dtype.kind in "fc" else np.array(x != x, dtype=bool)
    where = np.argwhere(missing)
    if not len(where):
        return UnreadableValueError(input_name, math.nan, None, None)
    row, *column = (int(i) for i in where[0])
    return UnreadableValueError(
        input_name, x[tuple(where[0])], row, column[0] if column and input_name == "X" else None
    )


class UnreadableValueError(ValueError):
    """A value that no estimator reads, and where it is: an estimator adds its name and that of the column."""

    def __init__(self, input_name, value, row, column, place=""):
        super().__init__(input_name, value, row, column, place)

    def __str__(self):
        return self._said()

    def within(self, place):
        """Return the error with words before it that say of which rows it counts."""
        return UnreadableValueError(*self.args[:-1], place + self.args[-1])

    def named(self, estimator, names):
        """Return the error with the name of the estimator, and of the column where columns have names."""
        column = self.args[3]
        name = None if names is None or column is None or column >= len(names) else names[column]
        kind = TypeError if _kind(self.args[1]) == _OBJECT else ValueError  # as NumPy has it
        return kind(self._said(estimator, name))

    def _said(self, *names):
        """Return the words of the error."""
        *what, place = self.args
        return place + _unreadable(*what, *names)


@contextmanager
def told_of(place):
    """Let errors begin with words that say of which rows they speak."""
    try:
        yield
    except UnreadableValueError as error:
        raise error.within(place) from error.__cause__
    except ValueError as error:
        raise ValueError(f"{place}{error}") from error


def _unreadable(input_name, value, row, column, estimator=None, column_name=None):
    """Say what was found, where, and what to do."""
    text, kind = isinstance(value, str | bytes), _kind(value)
    place = "" if row is None else f" in row {row}"
    if column is not None:
        place = f" in column {column}{'' if column_name is None else f' ({column_name!r})'}, first{place}"
    who = "The estimator" if estimator is None else estimator
    if text:
        remedy = (
            f"takes numbers (could not convert string to float: {value!r}): encode the column first, with "
            "OneHotEncoder or OrdinalEncoder in a pipeline, say"
        )
    elif input_name != "X":
        due = {"y": "target", "sample_weight": "weight"}[input_name]
        remedy = f"needs a finite {due} in every row: leave out the rows without one"
    elif kind == _OBJECT:
        remedy = (
            f"takes numbers (float() argument must be a string or a real number, not {type(value).__name__!r}): turn "
            "the column into some first"
        )
    elif kind == "NaN":
        remedy = "does not take missing values: fill them first, with SimpleImputer in a pipeline, say"
    else:
        remedy = "takes finite values, float64 at most 1.8e308 and float32 3.4e38: clip or scale the column first"
    return f"Input {input_name} contains {kind}{place}. {who} {remedy}."


def _kind(value):
    """Words for a value that cannot be read."""
    if isinstance(value, str | bytes):
        return f"text, {value!r},"
    if is_missing(value):
        return "NaN"
    return "infinity" if isinstance(value, float | np.floating | int) else _OBJECT


def is_missing(value):
    """Whether a value stands for none: None, NaN, pandas' NA and NaT."""
    return value is None or type(value).__name__ == "NAType" or bool(np.isscalar(value) and value != value)


def is_dataset(x):
    """Whether X is an array in an open file of HDF5 or Zarr; neither library is imported to find out."""
    return type(x).__module__.split(".")[0] in _DATASETS


def dense_rows(x):
    """Check one block of rows: dense, two-dimensional, finite, float64 or float32."""
    if is_tensor(x):
        return checked_tensor(x)
    x = _finite_array(x, accept_sparse="csr", order="C")
    return x.toarray(order="C") if sparse.issparse(x) else x


def _readable_tensor(x, estimator):
    """Refuse tensors that are no table of real numbers, in the words for arrays."""
    if x.is_complex():
        raise ValueError("Complex data not supported: X is a complex tensor.")
    if str(x.layout) != "torch.strided":
        raise TypeError(f"X is a tensor of layout {x.layout}: pass x.to_dense(), or a SciPy matrix.")
    if x.ndim < 2:
        raise ValueError(
            f"Expected 2D array, got a {x.ndim}D tensor instead. Use X.reshape(-1, 1) if it holds one feature, "
            "X.reshape(1, -1) if it holds one row."
        )
    if x.ndim > 2:
        who = "" if estimator is None else f" by {estimator}"
        raise ValueError(f"Found array with dim {x.ndim}, while dim <= 2 is required{who}.")
    return x


def checked_tensor(x):
    """Refuse tensors that are not finite rows; integers become float64."""
    if x.ndim != 2 or x.shape[0] == 0 or x.shape[1] == 0:
        raise ValueError(f"X must be a non-empty (n_samples, n_features) tensor, got shape {tuple(x.shape)}.")
    x = x if str(x.dtype) in ("torch.float32", "torch.float64") else x.double()
    if not bool(x.isfinite().all()):
        raise first_gap(host(x), "X")
    return x


def host(x):
    """Return rows as a NumPy array, wherever they are."""
    return x.detach().cpu().numpy() if is_tensor(x) else x
