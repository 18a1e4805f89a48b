"""Rows as users give them: recognised, read as arrays, and refused in words that say where and what to do."""

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from functools import wraps
from importlib import import_module
from inspect import signature

import numpy as np
from scipy import sparse
from sklearn.utils import assert_all_finite, check_array

from sklearn_analytic.backend import is_tensor

FLOATS = (np.float64, np.float32)
_NO_ROWS = {  # what only reads as X, by the name of its type
    "LazyFrame": "a LazyFrame: call .collect() first, or pass its batches to fit_blocks",
    "Blocks": "Blocks, which fit_blocks takes; predict the rows of one block after the other",
}
_OBJECT = "what is no number"
_DATASETS = ("h5py", "zarr")  # whose arrays are sliced, never loaded whole
# {library: the module that opens its collections}. Imported at call time: the library is installed where one is passed.
_OPENERS = {"dask": "sklearn_analytic.distributed._dask"}


class RowSource(ABC):
    """Features that are not one array, but are read in passes as if they were: with a shape, and in blocks.

    Where columns are all numbers and the first block lacks none, no other is thought to: ``lacks`` is False, and
    ``fills`` are the medians of that block.
    """

    lacks = True
    fills = None

    @property
    @abstractmethod
    def shape(self):
        """Rows and columns."""

    @abstractmethod
    def in_blocks(self, y, weight, block_size, missing=False, folds=None):
        """Return :class:`RowBlocks` of these features with coded targets, weights and folds; NaN may be ``missing``."""


class LazyRows(ABC):
    """Rows that are sliced like an array, and made only when they are read."""

    @abstractmethod
    def dense(self):
        """Return the rows as an array."""


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
        return _sparse_frame(x) if _has_sparse_columns(x) else _array(x, estimator=estimator)
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


def _sparse_frame(x):
    """A frame of sparse columns as CSR where all are, and leave out zeros; as an array otherwise."""
    if all(type(dtype).__name__ == "SparseDtype" and dtype.fill_value == 0 for dtype in x.dtypes):
        return _array(x.sparse.to_coo().tocsr(), accept_sparse="csr")
    return _array(np.column_stack([np.asarray(x.iloc[:, j]) for j in range(x.shape[1])]))


def _array(x, **options):
    """Check an array, but for gaps; what is infinite has an error that says where."""
    with np.errstate(over="ignore", invalid="ignore"):  # of casts to float32 and float64
        x = check_array(x, dtype=FLOATS, ensure_all_finite=False, **options)
    refuse_infinity(x)
    return x


def refuse_gaps(x, input_name):
    """Refuse NaN and infinity, saying where the first is; a search follows only where a check of all has failed."""
    try:
        with np.errstate(over="ignore", invalid="ignore"):  # of the sum by which scikit-learn looks for infinities
            if type(x) is np.ndarray and x.dtype in FLOATS and math.isfinite(x.sum()):
                return
            assert_all_finite(x, input_name=input_name)
    except ValueError as error:
        raise first_gap(x, input_name) from error


def is_finished(x):
    """Whether a block of rows is dense and finite as it comes; False may mean that a longer look is due."""
    with np.errstate(over="ignore", invalid="ignore"):
        return _is_dense(x) and math.isfinite(x.sum())


def _is_dense(x):
    """Whether rows are a row-major array of floats: all but its values is as it should be."""
    return type(x) is np.ndarray and x.dtype in FLOATS and x.ndim == 2 and x.size > 0 and x.flags.c_contiguous


def refuse_infinity(x):
    """Refuse infinity in X, saying where the first is; NaN is what is missing."""
    data = x.data if sparse.issparse(x) else x
    with np.errstate(over="ignore", invalid="ignore"):
        if not math.isfinite(data.sum()) and np.isinf(data).any():
            raise first_gap(x, "X", np.isinf)


def first_gap(x, input_name, is_gap=None):
    """Return the error that says where the first NaN or infinity of an array or a sparse matrix is."""
    if sparse.issparse(x):
        x = x.tocoo()
        at = np.flatnonzero(~np.isfinite(x.data) if is_gap is None else is_gap(x.data))[0]
        return UnreadableValueError(input_name, x.data[at], int(x.row[at]), int(x.col[at]))
    x = np.asarray(x)
    missing = ~np.isfinite(x) if x.dtype.kind in "fc" else np.array(x != x, dtype=bool)
    missing = missing if is_gap is None else is_gap(x)
    where = np.argwhere(missing)
    if not len(where):
        return UnreadableValueError(input_name, math.nan, None, None)
    row, *column = (int(i) for i in where[0])
    return UnreadableValueError(
        input_name,
        x[tuple(where[0])],
        row,
        column[0] if column and input_name == "X" else None,
        int(missing.any(axis=tuple(range(1, x.ndim))).sum()),
    )


class UnreadableColumnError(TypeError, ValueError):
    """A column whose type no estimator reads, what it holds, and what to do: an error of type and of value."""

    def __init__(self, column, found, remedy):
        super().__init__(column, found, remedy)

    def __str__(self):
        (number, name), found, remedy = self.args
        return f"Column {number}{'' if name is None else f' ({name!r})'} of X {found}: {remedy}."


class UnreadableValueError(ValueError):
    """A value that no estimator reads, and where it is: an estimator adds its name and that of the column."""

    def __init__(self, input_name, value, row, column, n_rows=1, place=""):
        super().__init__(input_name, value, row, column, n_rows, place)

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

    @property
    def is_gap(self):
        """Whether a value of X is missing."""
        return self.args[0] == "X" and _kind(self.args[1]) == "NaN"

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


def _unreadable(input_name, value, row, column, n_rows, estimator=None, column_name=None):
    """Say what was found, where, and what to do."""
    text, kind = isinstance(value, str | bytes), _kind(value)
    place = "" if row is None else f" in row {row}"
    if n_rows > 1 and input_name != "X":
        place = f" in {n_rows} rows, first{place}"
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


def dense_rows(x, missing=False):
    """Check one block of rows: dense, two-dimensional, float64 or float32, finite (but for NaN, if ``missing``)."""
    if is_tensor(x):
        return checked_tensor(x, missing)
    x = x.dense() if isinstance(x, LazyRows) else x
    is_dense = _is_dense(x)
    if not is_dense:  # infinity is refused on the way
        x = _array(x, accept_sparse="csr", order="C")
        x = x.toarray(order="C") if sparse.issparse(x) else x
    if missing and is_dense:
        refuse_infinity(x)
    elif not missing:
        refuse_gaps(x, "X")  # all that is left to check: a single row is not worth more
    return x


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


def checked_tensor(x, missing=False):
    """Refuse tensors that are not finite rows (but for NaN, if it may be missing); integers become float64."""
    if x.ndim != 2 or x.shape[0] == 0 or x.shape[1] == 0:
        raise ValueError(f"X must be a non-empty (n_samples, n_features) tensor, got shape {tuple(x.shape)}.")
    x = x if str(x.dtype) in ("torch.float32", "torch.float64") else x.double()
    if not bool(x.isfinite().all()):
        if not missing:
            raise first_gap(host(x), "X")
        refuse_infinity(host(x))
    return x


def host(x):
    """Return rows as a NumPy array, wherever they are."""
    return x.detach().cpu().numpy() if is_tensor(x) else x


def is_collection(x):
    """Whether x is a collection of a library in the table; no library is imported to find out."""
    return _library(x) in _OPENERS


def opened_collection(x, y, sample_weight, check, columns_of):
    """Return the features as a ``RowSource``, and targets and weights on the host.

    ``check(example)`` is shown one row of X with the names of its columns; ``columns_of(rows, names)`` says how columns
    are read.
    """
    return import_module(_OPENERS[_library(x)]).opened(x, y, sample_weight, check, columns_of)


def lazily(method):
    """Let a method of one X (and options) answer a collection by a lazy collection, computed partition by partition."""

    @wraps(method)
    def on_any(self, X, *args, **options):
        if is_collection(X):
            given = signature(method).bind(self, X, *args, **options).arguments
            options = {name: value for name, value in given.items() if name not in ("self", "X")}
            args = ()
            if not options.get("return_std"):  # which is two collections
                return import_module(_OPENERS[_library(X)]).mapped(self, method.__name__, X, options)
        return method(self, X, *args, **options)

    return on_any


def refuse_collection(estimator, x):
    """Refuse a collection where rows in memory are needed; say what takes one, and what to do."""
    if is_collection(x):
        kind = f"{type(x).__module__.split('.')[0]} {type(x).__name__}"
        raise TypeError(
            f"{type(estimator).__name__} needs rows in memory here, got a {kind}. Closed-form estimators take it in "
            "fit, all estimators in predict and transform. Otherwise pass one computed partition after the other to "
            "partial_fit, or Blocks to fit_blocks; sklearn_analytic.distributed.data_parallel trains networks by "
            "steps in several processes on rows in memory."
        )


def _library(x):
    """The package that the type of x comes from."""
    return type(x).__module__.split(".")[0]
