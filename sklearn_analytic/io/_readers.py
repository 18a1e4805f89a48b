"""Readers: how one kind of storage gives blocks of rows. A reader is a value; it opens its file for every pass."""

import importlib
import itertools
from abc import ABC, abstractmethod
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from scipy import sparse

from sklearn_analytic.io._passes import auto_block_size, release_pages
from sklearn_analytic.io._raw_columns import NUMBERS_OF_ARROW

_IN_MEMORY = ("numpy", "scipy", "torch", "pandas", "polars", "pyarrow")
# How X is made sliceable by position, and y and weights an array, by the library that they come from.
_SLICEABLE = {"builtins": np.asarray, "pandas": lambda x: x.reset_index(drop=True)}
_HELD = dict.fromkeys(("builtins", "pandas", "polars", "pyarrow"), np.asarray)
_TILE = 1024  # rows that are filled column by column while they stay in cache


class Reader(ABC):
    """Blocks (X, y, sample_weight) of one source, as often as wanted and always in the same order."""

    n_rows = None  # where it is known without reading
    n_blocks = None
    feature_names = None
    reads_files = True  # whether reading ahead pays

    @abstractmethod
    def read(self, start):
        """Yield (X, y, weight) from block number ``start`` on; weight may be None."""

    def targets(self):
        """Yield (y, weight) of every block; formats that can leave X alone do."""
        for _, y, weight in self.read(0):
            yield y, weight


@dataclass(frozen=True)
class ArrayReader(Reader):
    """Anything that is sliced by rows: arrays, memory maps, CSR, datasets of HDF5 and Zarr that are open."""

    x: Any
    y: Any
    weight: Any | None
    block_size: int

    def __post_init__(self):
        lengths = [part.shape[0] for part in (self.x, self.y, self.weight) if part is not None]
        if len(set(lengths)) != 1:
            raise ValueError(f"X, y and sample_weight must have as many rows as each other, got {lengths}.")

    @property
    def n_rows(self):
        """Rows of X."""
        return self.x.shape[0]

    @property
    def n_blocks(self):
        """Blocks of ``block_size`` rows, the last one perhaps shorter."""
        return -(-self.n_rows // self.block_size)

    @property
    def reads_files(self):
        """Rows in memory are there already."""
        return library(self.x) not in _IN_MEMORY or isinstance(self.x, np.memmap)

    def read(self, start):
        """Slices, copied where they come from a file, so that the reading happens here."""
        for rows in self._slices(start):
            weight = None if self.weight is None else np.asarray(self.weight[rows])
            x = np.array(self.x[rows]) if isinstance(self.x, np.memmap) else self.x[rows]
            release_pages(self.x, rows)
            yield x, decoded(self.y[rows]), weight

    def targets(self):
        """Slices of y alone."""
        for rows in self._slices(0):
            yield decoded(self.y[rows]), None if self.weight is None else np.asarray(self.weight[rows])

    def _slices(self, start):
        """Rows of every block from one on."""
        for first in range(start * self.block_size, self.n_rows, self.block_size):
            yield slice(first, first + self.block_size)


@dataclass(frozen=True)
class FileReader(Reader):
    """Arrays of a file that is opened for every pass: ``open`` returns a context of (X, y, weight)."""

    open: Any
    block_size: int | None

    def __post_init__(self):
        with self._arrays() as arrays:  # a wrong path or name is an error now
            object.__setattr__(self, "_shape", (arrays.n_rows, arrays.n_blocks))

    @property
    def n_rows(self):
        """Rows when the reader was made."""
        return self._shape[0]

    @property
    def n_blocks(self):
        """Blocks when the reader was made."""
        return self._shape[1]

    def read(self, start):
        """Slices of the open file."""
        with self._arrays() as arrays:
            yield from arrays.read(start)

    def targets(self):
        """Slices of y of the open file."""
        with self._arrays() as arrays:
            yield from arrays.targets()

    @contextmanager
    def _arrays(self):
        """The open file as arrays."""
        with self.open() as (x, y, weight):
            yield array_reader(x, y, weight, self.block_size)


def array_reader(x, y, weight, block_size):
    """Return the reader of arrays, with rows per block by the number of columns where none are given."""
    x = _SLICEABLE.get(library(x), _itself)(x)
    y, weight = (_HELD.get(library(part), _itself)(part) if part is not None else None for part in (y, weight))
    y = y.toarray() if sparse.issparse(y) else y
    for name, part, n_axes in (("X", x, (2,)), ("y", y, (1, 2)), ("sample_weight", weight, (1,))):
        shape = getattr(part, "shape", None)
        if part is not None and (shape is None or len(shape) not in n_axes):
            axes = " or ".join(str(n) for n in n_axes)
            found = type(part).__name__ if shape is None else f"shape {tuple(shape)}"
            raise ValueError(f"{name} must be an array of {axes} dimensions, rows first, got {found}.")
    return ArrayReader(x, y, weight, block_size or _whole_chunks(x))


def _whole_chunks(x):
    """Rows per block by the number of columns, of whole chunks where a file has some: or each is read twice."""
    size, chunks = auto_block_size(x.shape[1]), getattr(x, "chunks", None)
    rows = chunks[0] if chunks and isinstance(chunks[0], int) else 1
    return size // rows * rows or size


def _itself(part):
    """What needs no change."""
    return part


def library(x):
    """The name of the library that a value comes from; none is imported to find out."""
    return type(x).__module__.split(".")[0]


def decoded(y):
    """Labels that are bytes, as HDF5 keeps text, as strings; all else as it is."""
    kind = getattr(getattr(y, "dtype", None), "kind", "")
    if kind == "S":
        return np.char.decode(y, "utf-8")
    if kind == "O" and len(y) and isinstance(y.flat[0], bytes):
        return np.array([label.decode() for label in y.ravel()], dtype=object).reshape(y.shape)
    return y


@dataclass(frozen=True)
class NpyFiles:
    """Opens .npy files as memory maps."""

    x: Path
    y: Path
    weight: Path | None

    def __call__(self):
        """The maps; nothing needs closing."""
        return nullcontext(
            tuple(None if p is None else np.load(p, mmap_mode="r") for p in (self.x, self.y, self.weight))
        )


@dataclass(frozen=True)
class Hdf5File:
    """Opens three datasets of an HDF5 file."""

    path: Path
    names: tuple

    @contextmanager
    def __call__(self):
        """The datasets, while the file is open."""
        with needed("h5py", "io").File(self.path, "r") as file:
            yield tuple(None if name is None else member(file, name, self.path) for name in self.names)


@dataclass(frozen=True)
class ZarrGroup:
    """Opens three arrays of a Zarr group."""

    path: Path
    names: tuple

    @contextmanager
    def __call__(self):
        """The arrays."""
        group = needed("zarr", "io").open_group(str(self.path), mode="r")
        yield tuple(None if name is None else member(group, name, self.path) for name in self.names)


@dataclass(frozen=True)
class ArrowReader(Reader):
    """Columns of a dataset of Parquet, Arrow, ORC or CSV files, or of a table in memory."""

    dataset: Any
    x: tuple
    y: tuple  # one name gives a one-dimensional y
    weight: str | None
    block_size: int
    flat: bool

    @cached_property
    def n_rows(self):
        """Rows by the files' own counts; a filter or CSV needs a pass for them."""
        return self.dataset.count_rows()

    @property
    def n_blocks(self):
        """Blocks of ``block_size`` rows, the last one perhaps shorter."""
        return -(-self.n_rows // self.block_size)

    @property
    def feature_names(self):
        """Names of the columns of X."""
        return np.array(self.x, dtype=object)

    def read(self, start):
        """Blocks as row-major arrays, or as tables where not all is numbers; those before ``start`` are dropped."""
        for parts in itertools.islice(self._blocks([*self.x, *self.y]), start, None):
            x = matrix(parts, self.x) if self._all_numbers else table(parts, self.x)
            yield x, self._targets_of(parts), self._weight_of(parts)

    @property
    def _all_numbers(self):
        """Whether every column of X holds numbers."""
        return all(str(self.dataset.schema.field(name).type).startswith(NUMBERS_OF_ARROW) for name in self.x)

    def targets(self):
        """Blocks of the target columns alone."""
        for parts in self._blocks(self.y):
            yield self._targets_of(parts), self._weight_of(parts)

    def _blocks(self, columns):
        """Record batches cut and put together to blocks of one size, whatever groups, files and filters leave."""
        parts, missing = [], self.block_size
        for batch in self._batches(columns):
            while batch.num_rows:
                parts.append(batch.slice(0, missing))
                batch, missing = batch.slice(missing), missing - parts[-1].num_rows
                if missing == 0:
                    yield parts
                    parts, missing = [], self.block_size
        if parts:
            yield parts

    def _batches(self, columns):
        """Record batches, few ahead at most."""
        names = list(dict.fromkeys([*columns, *([self.weight] if self.weight else [])]))
        return self.dataset.to_batches(
            columns=names,
            batch_size=self.block_size,
            batch_readahead=1,
            fragment_readahead=1,
            fragment_scan_options=_streamed(self.dataset),
        )

    def _targets_of(self, parts):
        """One column as a vector, several as a matrix."""
        _refuse_missing(parts, self.y)
        return vector(parts, self.y[0]) if self.flat else matrix(parts, self.y)

    def _weight_of(self, parts):
        """Weights, where a column is named."""
        if self.weight is None:
            return None
        _refuse_missing(parts, (self.weight,))
        return np.asarray(vector(parts, self.weight), dtype=np.float64)


def _streamed(dataset):
    """Options of Parquet files: by default Arrow keeps all that it has read of a file until the file is done."""
    parts = getattr(dataset, "children", None) or [dataset]
    kinds = {getattr(getattr(part, "format", None), "default_extname", None) for part in parts}
    if kinds != {"parquet"}:
        return None
    return needed("pyarrow.dataset", "io").ParquetFragmentScanOptions(pre_buffer=False, use_buffered_stream=True)


@dataclass(frozen=True)
class IterableReader(Reader):
    """Blocks of any iterable that can be iterated again, or of a function that returns one."""

    source: Any
    reads_files = True

    def read(self, start):
        """The blocks as triples; those before ``start`` are made and dropped."""
        again = self.source() if callable(self.source) else self.source
        for number, block in itertools.islice(enumerate(again), start, None):
            yield unpacked(block, number)


def unpacked(block, number):
    """Return X, y, weight of one item of an iterable of blocks."""
    if not isinstance(block, tuple | list) or len(block) not in (2, 3):
        raise ValueError(f"Block {number} must be (X, y) or (X, y, sample_weight), got {type(block).__name__}.")
    return (*block, None) if len(block) == 2 else tuple(block)


def matrix(parts, names):
    """Columns of record batches as one row-major matrix, float32 where all of them are, float64 otherwise."""
    columns = [[_numbers(part, name) for name in names] for part in parts]
    dtype = np.float32 if _all_float32(columns) else np.float64
    out, first = np.empty((sum(part.num_rows for part in parts), len(names)), dtype), 0
    for part in columns:
        for start in range(0, len(part[0]), _TILE):
            tile = out[first + start : first + min(start + _TILE, len(part[0]))]
            for k, values in enumerate(part):
                tile[:, k] = values[start : start + _TILE]
        first += len(part[0])
    return out


def _all_float32(columns):
    """Whether no column has more digits; a small integer beside float32 has."""
    return all(values.dtype == np.float32 for part in columns for values in part)


def table(parts, names):
    """Columns of record batches as one table of Arrow."""
    return needed("pyarrow", "io").Table.from_batches(parts).select(list(names))


def vector(parts, name):
    """One column of record batches as an array."""
    return np.concatenate([column(part, name) for part in parts])


def column(batch, name):
    """One column as an array; missing numbers are NaN, dictionaries are decoded, text is text."""
    values = batch.column(name)
    if "dictionary" in str(values.type):
        values = values.cast(values.type.value_type)
    return decoded(values.to_numpy(zero_copy_only=False))


def _numbers(batch, name):
    """One column as numbers; decimals become float64, and what is no number is an error."""
    values, kind = batch.column(name), str(batch.column(name).type)
    if kind.startswith(("decimal", "bool")):
        values = values.cast("float64")
    values = values.to_numpy(zero_copy_only=False)
    if values.dtype.kind not in "biuf":
        raise TypeError(f"column {name!r} holds {kind}, not numbers: encode it before, or leave it out.")
    return values


def _refuse_missing(parts, names):
    """A row without target or weight cannot be learned from."""
    for name in names:
        n_missing = sum(part.column(name).null_count for part in parts)
        if n_missing:
            raise ValueError(f"column {name!r} has missing values: leave those rows out, for example by a filter.")


def member(group, name, path):
    """A named array of a file, or an error that lists the names."""
    if name not in group:
        raise ValueError(f"{path} has no array {name!r}; it has {sorted(group.keys())}.")
    return group[name]


def opened_dataset(source, format):
    """Paths, a table or a dataset as a dataset of Apache Arrow."""
    arrow = needed("pyarrow.dataset", "io")
    if format == "csv":  # by itself Arrow reads an empty cell of text as text
        options = needed("pyarrow.csv", "io").ConvertOptions(strings_can_be_null=True)
        format = arrow.CsvFileFormat(convert_options=options)
    if isinstance(source, arrow.Dataset):
        return source
    if isinstance(source, str | Path):
        return arrow.dataset(str(source), format=format)
    if isinstance(source, list | tuple):
        return arrow.dataset([str(path) for path in source], format=format)
    return arrow.dataset(source)


def needed(module, extra):
    """Import an optional library, or say what to install."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ImportError(f"reading this needs {module}: install sklearn_analytic[{extra}].") from error
