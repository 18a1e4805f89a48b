"""One column of a raw table as numbers, or as categories with levels: of pandas, polars, Arrow, and arrays of objects.

None of the libraries is imported: where one is passed, it is there.
"""

import datetime
import numbers
from dataclasses import dataclass, replace
from decimal import Decimal

import numpy as np
from scipy import sparse

from sklearn_analytic.backend import is_tensor
from sklearn_analytic.io._checks import UnreadableColumnError, is_dataset, is_missing

NUMBERS, CATEGORIES, EMPTY = "numbers", "categories", "empty"  # what a column holds; "empty" is all missing
_LEVELS = (str, bool, int, float)
_DATES = (datetime.date, datetime.time, datetime.timedelta, np.datetime64, np.timedelta64)
_DATES_OF_PANDAS = ("Timestamp", "Timedelta", "Period")
_CONVERT = "turn the column into numbers or categories first"
_POINT_TO_SKRUB = (
    "dates and texts are read by skrub, make_pipeline(skrub.TableVectorizer(), model), or turn the column into "
    "numbers first (year, month, days since a date)"
)
NUMBERS_OF_ARROW = ("int", "uint", "half", "float", "double", "bool", "decimal")  # how its types begin
_DATES_OF_ARROW = ("date", "time", "duration", "month")


@dataclass(frozen=True, eq=False)
class RawColumn:
    """One column: numbers with NaN for what is missing, or the number of each row's level (-1 for missing)."""

    kind: str
    values: np.ndarray  # (n,)
    levels: list | None = None  # distinct values of categories, as they come
    declared: bool = False  # whether the dtype says that they are categories


def is_frame(x):
    """Whether X is a table with columns of their own dtypes: of pandas, polars or Arrow."""
    return _library(x) in ("pandas", "polars", "pyarrow") and len(getattr(x, "shape", ())) == 2


def is_plain(x):
    """Whether X is one array of numbers: nothing in it can be a name."""
    if is_tensor(x) or sparse.issparse(x) or is_dataset(x):
        return True
    if is_frame(x):
        return all(_is_plain_dtype(dtype) for dtype in _dtypes(x))
    return isinstance(x, np.ndarray) and x.dtype.kind in "biufc"


def names_of(x):
    """Return the names of the columns of a frame, or None."""
    if not is_frame(x):
        return None
    return list(x.column_names if _library(x) == "pyarrow" else x.columns)


def raw_columns(x, names=None):
    """Yield every column of a table as a :class:`RawColumn`; dates and sequences are refused by name."""
    framed = is_frame(x)
    if not framed:
        x = x if isinstance(x, np.ndarray) else np.array(x, dtype=object)
    names = names_of(x) if framed else names
    for j in range(x.shape[1]):
        where = j, None if names is None else names[j]
        try:
            yield _of_frame(x, j, where) if framed else _of_values(x[:, j], where)
        except UnreadableColumnError:
            raise
        except (TypeError, ValueError) as error:
            raise UnreadableColumnError(where, f"cannot be read ({error})", _CONVERT) from error


def _library(x):
    """The package that the type of x comes from."""
    return type(x).__module__.split(".")[0]


def _dtypes(x):
    """Dtypes of the columns of a frame."""
    return x.schema.types if _library(x) == "pyarrow" else list(x.dtypes)


def _is_plain_dtype(dtype):
    """Whether a column of NumPy's own numbers, or sparse ones."""
    return (isinstance(dtype, np.dtype) and dtype.kind in "biuf") or type(dtype).__name__ == "SparseDtype"


def _of_frame(x, j, where):
    """One column of a frame."""
    return {"pandas": _of_pandas, "polars": _of_polars, "pyarrow": _of_arrow}[_library(x)](x, j, where)


def _of_pandas(x, j, where):
    """One column of pandas, whose dtypes all have a kind."""
    series = x.iloc[:, j]
    dtype, kind = series.dtype, getattr(series.dtype, "kind", "O")
    if type(dtype).__name__ == "CategoricalDtype":
        levels = [level if isinstance(level, _LEVELS) else str(level) for level in series.cat.categories.tolist()]
        return RawColumn(CATEGORIES, series.cat.codes.to_numpy().astype(np.int64), levels, declared=True)
    if kind in "mM":
        raise UnreadableColumnError(where, f"has dtype {dtype}", _POINT_TO_SKRUB)
    if kind == "c":
        raise ValueError(f"Complex data not supported: column {where[0]} has dtype {dtype}.")
    if kind in "biuf":
        if isinstance(dtype, np.dtype) or type(dtype).__name__ == "SparseDtype":
            return _numbers(np.asarray(series))
        return _numbers(series.to_numpy(dtype=np.float64, na_value=np.nan))
    return _of_values(series.to_numpy(dtype=object), where, str(dtype))


def _of_polars(x, j, where):
    """One column of polars."""
    series = x.to_series(j) if hasattr(x, "to_series") else x[:, j]
    dtype = str(series.dtype)
    if series.dtype.is_temporal():
        raise UnreadableColumnError(where, f"has dtype {dtype}", _POINT_TO_SKRUB)
    if dtype == "Boolean" or series.dtype.is_numeric():
        return _numbers(np.array((series if dtype == "Float32" else series.cast(float)).to_numpy()))
    declared = dtype.startswith(("Categorical", "Enum"))
    return replace(_of_values(np.array([*series.to_list(), None], dtype=object)[:-1], where, dtype), declared=declared)


def _of_arrow(x, j, where):
    """One column of an Arrow table or record batch."""
    column, dtype = x.column(j), str(x.schema.types[j])
    if dtype.startswith(_DATES_OF_ARROW):
        raise UnreadableColumnError(where, f"has dtype {dtype}", _POINT_TO_SKRUB)
    if dtype.startswith(NUMBERS_OF_ARROW):
        column = column if dtype == "float" else column.cast("float64")
        in_pieces = hasattr(column, "num_chunks")
        return _numbers(np.array(column.to_numpy() if in_pieces else column.to_numpy(zero_copy_only=False)))
    declared = dtype.startswith("dictionary")
    column = column.cast(x.schema.types[j].value_type) if declared else column
    values = np.empty(len(column), dtype=object)
    values[:] = column.to_pylist()
    found = _of_values(values, where, dtype)
    if declared and found.kind == NUMBERS:
        found = leveled(found.values)
    return replace(found, declared=declared)


def _numbers(values):
    """Numbers as float32 or float64."""
    return RawColumn(NUMBERS, values if values.dtype in (np.float32, np.float64) else values.astype(np.float64))


def _of_values(values, where, dtype=None):
    """A column of objects: numbers where all are, categories otherwise."""
    if values.dtype.kind in "biuf":
        return _numbers(np.asarray(values))
    if values.dtype.kind in "mM":
        raise UnreadableColumnError(where, f"has dtype {values.dtype}", _POINT_TO_SKRUB)
    listed = values.tolist()
    try:
        distinct = list(dict.fromkeys(listed))
    except TypeError:
        raise _neither(next(value for value in listed if not _has_hash(value)), where, dtype or values.dtype) from None
    present = [value for value in distinct if not is_missing(value)]
    if all(is_number(value) for value in present):
        kind = NUMBERS if present else EMPTY
        return RawColumn(kind, _as_floats(listed))
    plain = _plain(present, where, dtype or str(values.dtype))
    levels = list(dict.fromkeys(plain))
    place = {level: k for k, level in enumerate(levels)}
    code = dict.fromkeys(distinct, -1) | {value: place[level] for value, level in zip(present, plain, strict=True)}
    return RawColumn(CATEGORIES, np.fromiter(map(code.__getitem__, listed), dtype=np.int64, count=len(listed)), levels)


def _plain(levels, where, dtype):
    """Levels as text or numbers of Python; refuse dates, and what is neither."""
    found = []
    for level in levels:
        level = level.decode() if isinstance(level, bytes) else level
        if isinstance(level, _DATES) or type(level).__name__ in _DATES_OF_PANDAS:
            held = f"has dtype {dtype} and holds dates, {level!s}"
            raise UnreadableColumnError(where, held, _POINT_TO_SKRUB)
        if isinstance(level, np.generic):
            level = level.item()
        if isinstance(level, Decimal):
            level = float(level)
        if not isinstance(level, _LEVELS):
            raise _neither(level, where, dtype)
        found.append(level)
    return found


def _neither(value, where, dtype):
    """The error of a value that is neither a number nor a category."""
    kind = type(value).__name__
    found = f"has dtype {dtype} and holds a {kind} (float() argument must be a string or a real number, not {kind!r})"
    return UnreadableColumnError(where, found, _CONVERT)


def _has_hash(value):
    """Whether a value can be told from others."""
    try:
        hash(value)
    except TypeError:
        return False
    return True


def is_number(value):
    """Whether a value is a real number by its type: text that looks like one is a level."""
    return isinstance(value, numbers.Real | Decimal | np.bool_)


def _as_floats(values):
    """Numbers of any types as float64, what is missing as NaN; beyond float64 it is infinity."""
    out = np.empty(len(values))
    for i, value in enumerate(values):
        try:
            out[i] = np.nan if is_missing(value) else float(value)
        except OverflowError:
            out[i] = np.inf
    return out


def leveled(values):
    """Numbers as the levels of a column of categories."""
    gaps = np.isnan(values)
    levels, codes = np.unique(values[~gaps], return_inverse=True)
    found = np.full(len(values), -1)
    found[~gaps] = codes
    return RawColumn(CATEGORIES, found, levels.tolist())
