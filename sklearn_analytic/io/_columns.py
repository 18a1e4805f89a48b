"""Columns of raw tables: numbers with gaps and categories as one matrix of numbers, in which levels are numbered."""

import numbers
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from scipy import sparse

from sklearn_analytic.io._checks import (
    LazyRows,
    UnreadableColumnError,
    checked_array,
    dense_rows,
    host,
    is_dataset,
    refuse_kinds,
)
from sklearn_analytic.io._raw_columns import (
    CATEGORIES,
    EMPTY,
    NUMBERS,
    is_frame,
    is_plain,
    leveled,
    names_of,
    raw_columns,
)

UNSEEN = -1.0  # the code of a level that is not among those that were learned
_TO_NUMBERS = 'pandas.to_numeric(column, errors="coerce") turns text into numbers or, where it is none, missing values'
_TO_TEXT = "astype(str) turns numbers into text"
_ONE_KIND = "a column holds numbers in all blocks and calls, or categories in all; "


@dataclass(frozen=True, eq=False)
class Columns:
    """How the columns of a table become numbers: those of categories have numbered levels.

    Parameters
    ----------
    kinds : tuple of str
        What every column holds: "numbers", "categories" or "empty".
    levels : tuple of (tuple or None)
        Distinct values of every column of categories.
    names : tuple of str or None, default=None
        Names of the columns, for errors.
    declared : tuple of (tuple or None), default=()
        Levels that the dtype of every column of categories lists, whatever rows have.
    """

    kinds: tuple
    levels: tuple
    names: tuple | None = None
    declared: tuple = ()

    @property
    def has_categories(self):
        """Whether any column holds categories."""
        return CATEGORIES in self.kinds

    @property
    def are_numbers(self):
        """Whether every column holds numbers."""
        return set(self.kinds) == {NUMBERS}

    def merged(self, other):
        """Return the columns of two parts of a table; levels of the other follow those of this one."""
        kinds, levels = [], []
        for j, (one, two) in enumerate(zip(self.kinds, other.kinds, strict=True)):
            if EMPTY not in (one, two) and one != two:
                found = f"holds {one} in some rows and {two} in others"
                raise UnreadableColumnError(self._column(j), found, f"{_ONE_KIND}{_TO_NUMBERS}, and {_TO_TEXT}")
            kinds.append(two if one == EMPTY else one)
            mine, theirs = self.levels[j] or (), other.levels[j] or ()
            self._refuse_other_type(j, mine, theirs)
            levels.append(tuple(dict.fromkeys((*mine, *theirs))) if kinds[-1] == CATEGORIES else None)
        return replace(self, kinds=tuple(kinds), levels=tuple(levels))

    def in_order(self):
        """Return the columns with sorted levels: the order of rows does not number them."""
        return replace(
            self, levels=tuple(None if own is None else tuple(sorted(own, key=_rank)) for own in self.levels)
        )

    def described(self, j):
        """Return what an error calls a column."""
        return f"Column {j}" if self.names is None else f"Column {j} ({self.names[j]!r})"

    def coded(self, x):
        """Return the rows (n, d) of a table as numbers; NaN is missing, and -1 an unseen level."""
        names = names_of(x) or self.names
        named = self if names is self.names else replace(self, names=tuple(names))
        parts = [named._numbers_of(j, column) for j, column in enumerate(raw_columns(x, names))]
        # Means of targets need all digits, whatever numbers are beside them in a block.
        narrow = not self.has_categories and all(part.dtype == np.float32 for part in parts)
        out = np.empty((len(x), len(parts)), dtype=np.float32 if narrow else np.float64)
        for j, part in enumerate(parts):
            out[:, j] = part
        return out

    def _numbers_of(self, j, column):
        """One column as numbers; refuse what the fit has known as something else."""
        kind = self.kinds[j]
        if EMPTY in (column.kind, kind) or (column.kind == NUMBERS != kind and np.isnan(column.values).all()):
            return np.full(len(column.values), np.nan)
        if kind == NUMBERS:
            if column.kind == NUMBERS:
                return column.values
            values, text = _read_as_numbers(column)
            if text is not None:
                raise self._other_type(j, text, NUMBERS)
            return values
        if column.kind == NUMBERS:
            column = leveled(column.values)
        self._refuse_other_type(j, self.levels[j], column.levels)
        known = self._numbers_of_levels[j]
        codes = np.array([*(known.get(level, UNSEEN) for level in column.levels), np.nan], dtype=np.float64)
        return codes[column.values]

    @cached_property
    def _numbers_of_levels(self):
        """The number of every level, by column: single rows ask for them, too."""
        return [levels and {level: k for k, level in enumerate(levels)} for levels in self.levels]

    @cached_property
    def _are_text(self):
        """Whether all levels of a column are text, or none is, by column; None where some are."""
        return [None if levels is None else _are_text(levels) for levels in self.levels]

    def _refuse_other_type(self, j, known, levels):
        """Refuse numbers where all levels were text, and text where all were numbers: none would be known again."""
        if not known or not levels:
            return
        before = self._are_text[j] if known is self.levels[j] else _are_text(known)
        if {before, _are_text(levels)} == {True, False}:
            raise self._other_type(j, levels[0], "text" if before else NUMBERS)

    def _other_type(self, j, value, kind):
        """The error for a value that a column of another kind cannot hold, with the conversion that repairs it."""
        remedy = _TO_NUMBERS if kind == NUMBERS else _TO_TEXT
        return UnreadableColumnError(self._column(j), f"holds {value!r}, and held {kind} before", _ONE_KIND + remedy)

    def _column(self, j):
        """The number of a column and its name."""
        return j, None if self.names is None else self.names[j]


@dataclass(frozen=True, eq=False)
class CodedRows(LazyRows):
    """Rows of numbers with gaps, and how they came to be: what an encoding is learned from."""

    x: np.ndarray  # (n, d)
    columns: Columns

    @property
    def shape(self):
        """Rows and columns."""
        return self.x.shape

    def __getitem__(self, rows):
        return replace(self, x=self.x[rows])

    def dense(self):
        """Return the rows as they are, with their gaps."""
        return self.x

    def recoded(self, columns):
        """Return the rows with the levels of other columns, among which some may not be."""
        if columns is self.columns:
            return self
        x = np.array(self.x)
        for j, (theirs, own) in enumerate(zip(columns.levels, self.columns.levels, strict=True)):
            if own is not None and own != theirs:
                known = {level: k for k, level in enumerate(theirs or ())}
                place = np.array([known.get(level, UNSEEN) for level in own], dtype=x.dtype)
                there = x[:, j] >= 0
                x[there, j] = place[x[there, j].astype(np.int64)]
        return CodedRows(x, columns)

    def joined(self, first):
        """Return the rows below others that were coded by columns with the same levels, or the first of them."""
        return replace(self, x=np.concatenate([first, self.x]))


# ---- how the columns of a table are read ----


def raw_rows(x, estimator=None):
    """Return X such that its columns can be read: arrays of numbers are checked, tables and objects as they are."""
    if isinstance(x, CodedRows) or (is_frame(x) and not is_plain(x)):
        return x
    if isinstance(x, np.ndarray):
        is_table = x.dtype.kind in "OSUTmM" and x.size
        return _with_rows_and_columns(x) if is_table else checked_array(x, estimator)
    if is_plain(x) or is_frame(x) or not hasattr(x, "__len__"):
        return checked_array(x, estimator)
    refuse_kinds(x, "X", "a table of shape (n_samples, n_features)", estimator)
    try:
        found = np.asarray(x)
    except (ValueError, TypeError):
        return checked_array(x, estimator)
    if found.dtype.kind in "biufc" or not found.size:
        return checked_array(x, estimator)
    return _with_rows_and_columns(found if found.ndim != 2 else np.array(x, dtype=object))


def _with_rows_and_columns(x):
    """Refuse objects that are no table, in the words for arrays of numbers."""
    if x.ndim != 2:
        raise ValueError(
            f"Expected 2D array, got {x.ndim}D array instead. Reshape your data with X.reshape(-1, 1) if it holds one "
            "feature, X.reshape(1, -1) if it holds one row."
        )
    return x


def marked_columns(categorical, n_columns, names):
    """Return "from_dtype", or a mask of the columns that hold categories."""
    if categorical is None:
        return np.zeros(n_columns, dtype=bool)
    if isinstance(categorical, str):
        return categorical
    given = list(categorical)
    marked = np.zeros(n_columns, dtype=bool)
    if given and all(isinstance(value, bool | np.bool_) for value in given):
        if len(given) != n_columns:
            raise ValueError(f"categorical_features is a mask of {len(given)} columns, but X has {n_columns}.")
        return np.array(given, dtype=bool)
    for value in given:
        if isinstance(value, numbers.Integral) and not isinstance(value, bool):
            if not -n_columns <= value < n_columns:
                raise ValueError(f"categorical_features has {value}, but X has {n_columns} columns.")
            marked[value] = True
        elif names is not None and value in names:
            marked[list(names).index(value)] = True
        else:
            known = "X has no names of columns" if names is None else f"the columns of X are {list(names)}"
            raise ValueError(f"categorical_features has {value!r}, but {known}.")
    return marked


def columns_of_rows(X, categorical, names=None):
    """Return how the columns of rows in memory, which have these names or none, are read."""
    marks = marked_columns(categorical, X.shape[1], names)
    if is_plain(X) and (isinstance(marks, str) or not marks.any()):
        columns = plain_columns(X.shape[1], names)
        return replace(columns, kinds=tuple(EMPTY if missing else NUMBERS for missing in _all_missing(X)))
    return learned_columns(_in_memory(X) if is_plain(X) else X, marks, names)


def rows_by(columns, X):
    """Return rows as numbers by columns that are known; None are those of models that read numbers alone."""
    if isinstance(X, CodedRows):
        return X if columns is None else X.recoded(columns)
    if columns is None:
        return checked_array(X)
    if is_plain(X) and not columns.has_categories:
        return X
    return _coded(_in_memory(X) if is_plain(X) else X, columns)


def plain_columns(n_columns, names=None):
    """Return the columns of a table of numbers."""
    return Columns((NUMBERS,) * n_columns, (None,) * n_columns, None if names is None else tuple(names))


def _coded(X, columns):
    """Rows with numbered levels; an array of numbers where there are none."""
    x = columns.coded(X)
    return x if columns.are_numbers else CodedRows(x, columns)


def medians_of_whole(X):
    """Return the medians of columns of numbers in memory, or None where any is missing, or is no number."""
    if not is_plain(X):
        return None
    x = host(dense_rows(X, missing=True))
    return None if np.isnan(x).any() else medians(x)


def medians(x):
    """Return the medians (d,) of rows: the mean of the two in the middle, which may be as large as numbers are."""
    low, high = (np.quantile(x, 0.5, axis=0, method=method) for method in ("lower", "higher"))
    return 0.5 * low.astype(np.float64) + 0.5 * high.astype(np.float64)


def _all_missing(X):
    """Whether nothing is in a column of numbers, by column: the first row tells of most that something is."""
    if not X.shape[0]:  # of an example
        return np.zeros(X.shape[1], dtype=bool)
    first = dense_rows(X[:1], missing=True)
    found = np.isnan(np.asarray(host(first)))[0]
    for j in np.flatnonzero(found):
        column = X[:, [j]].toarray() if sparse.issparse(X) else host(X[:, j])
        found[j] = np.isnan(np.asarray(column, dtype=np.float64)).all()
    return found


def _in_memory(X):
    """An array of numbers in memory, whose columns are to be read one by one."""
    X = checked_array(X)
    return X.toarray() if sparse.issparse(X) else np.asarray(X[:] if is_dataset(X) else host(X))


def learned_columns(x, marks, names=None):
    """Return how the columns of a table are read: ``marks`` are "from_dtype", or a mask of columns of categories."""
    marked = None if isinstance(marks, str) else marks
    names = names_of(x) if is_frame(x) else names
    columns = raw_columns(x, names)
    kinds, levels, declared = [], [], []
    for j, column in enumerate(columns):
        kind = column.kind
        declared.append(tuple(column.levels) if column.declared else None)
        if marked is not None and marked[j] and kind == NUMBERS:
            column, kind = leveled(column.values), CATEGORIES
        elif marked is not None and not marked[j] and kind == CATEGORIES:
            text = _read_as_numbers(column)[1]
            if text is not None:
                raise UnreadableColumnError(
                    (j, None if names is None else names[j]),
                    f"holds text (could not convert string to float: {text!r})",
                    "name it in categorical_features, or leave that at 'from_dtype'",
                )
            kind = NUMBERS
        if kind == NUMBERS and column.kind == NUMBERS and np.isnan(column.values).all():
            kind = EMPTY
        kinds.append(kind)
        levels.append(None if kind != CATEGORIES else _used(column))
    return Columns(tuple(kinds), tuple(levels), None if names is None else tuple(names), tuple(declared))


def _read_as_numbers(column):
    """Text that says numbers as such, where no categories are thought of; or None, and the first that does not."""
    found = []
    for level in column.levels:
        try:
            found.append(float(level))
        except ValueError:
            return None, level
    return np.array([*found, np.nan])[column.values], None


def _used(column):
    """Levels that any row has: a dtype may list more."""
    used = np.unique(column.values[column.values >= 0])
    return tuple(column.levels[k] for k in used)


def _rank(level):
    """Order of levels of all types: numbers first, then text."""
    return (0, level, "") if isinstance(level, numbers.Real) else (1, 0, str(level))


def _are_text(levels):
    """Whether all levels are text, or none is; None where some are."""
    found = {isinstance(level, str) for level in levels}
    return found.pop() if len(found) == 1 else None
