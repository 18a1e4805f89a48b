"""Raw tables in ONNX: an input for each column, levels looked up in a table, medians for what is missing."""

import numbers

import numpy as np
from onnx import numpy_helper

from sklearn_analytic.export.onnx_graph import TREES, Value
from sklearn_analytic.features import PairMeans

_OUTPUTS = ("label", "probabilities", "scores", "variable")  # names that outputs have
_INDICES = np.dtype(np.int64)


def table_inputs(g, table, names, dtype):
    """Return the inputs of a model {name: (value, columns)} and its rows as numbers without gaps.

    A table of numbers is one input "X". With categories every column is an input (rows, 1), under its name or "x0",
    "x1" and so on ("label_in" where an output is called "label"): text is strings, of which "" is missing; levels that
    are numbers come as numbers, and NaN.
    """
    if table is None:
        source = Value("X", dtype)
        return {"X": (source, len(names))}, source
    encoding = table.encoding
    if not table.columns.has_categories:
        source = Value("X", dtype)
        return {"X": (source, encoding.n_raw)}, _numbers(g, encoding, source, source)
    free = _free_names(names)
    of_columns = [Value(name, _dtype_of(table.columns, j, dtype)) for j, name in enumerate(free)]
    parts = []
    if len(encoding.numbers):
        wide = g.concatenate([of_columns[j] for j in encoding.numbers])
        parts.append(_numbers(g, encoding, wide, None))
    for part in encoding.categories:
        place = _places_of(g, part, of_columns, table.columns.levels)
        parts.append(g.op("Gather", g.held(part.table.astype(dtype)), place, axis=0))
    sources = {value.name: (value, 1) for value in of_columns}
    return sources, g.concatenate(parts) if parts else _zeros(g, of_columns[0], dtype)


def _free_names(names):
    """Names of inputs: those of the columns, with an ending where one is taken or says nothing."""
    found = []
    for name in names:
        free = name
        while not free or free in (*_OUTPUTS, *found) or (free != name and free in names):
            free += "_in"
        found.append(free)
    return found


def _dtype_of(columns, j, dtype):
    """Dtype of the input of a column."""
    levels = columns.levels[j]
    if levels is None or all(isinstance(level, numbers.Real) for level in levels):
        return np.dtype(dtype)
    if all(isinstance(level, str) for level in levels):
        return np.dtype(object)
    raise NotImplementedError(
        f"to_onnx: {columns.described(j)} has levels that are numbers and others that are text, and an input of ONNX "
        "has one type: make all of them text before the fit."
    )


def _numbers(g, encoding, x, whole):
    """Columns of numbers with medians for gaps, and indicators of gaps beside them; ``whole`` has all columns."""
    if whole is not None and not encoding.is_plain:
        x = g.op("Gather", whole, encoding.numbers, axis=1)
    missing = g.op("IsNaN", x, dtype=bool)
    filled = g.op("Where", missing, g.held(encoding.fills.astype(x.dtype)), x, dtype=x.dtype)
    if not len(encoding.lacking):
        return filled
    return g.concatenate([filled, g.cast(g.op("Gather", missing, encoding.lacking, axis=1), x.dtype)])


def _places_of(g, part, of_columns, levels):
    """The row (n,) of the table of a part for every row: its level, or its pair of levels."""
    if not isinstance(part, PairMeans):
        return _places(g, of_columns[part.column], levels[part.column])
    first, second = (_places_of_factor(g, factor, of_columns, levels) for factor in (part.first, part.second))
    number = g.op("Add", g.op("Mul", first, np.array(part.second.n_levels + 2)), second, dtype=_INDICES)
    return _looked_up(g, number, len(part.cells) - 1, keys_int64s=part.cells.tolist())


def _places_of_factor(g, factor, of_columns, levels):
    """The number (n,) of the level of a factor: numbers are compared in float32."""
    column = of_columns[factor.column]
    if factor.values is None:
        return _places(g, column, levels[factor.column])
    return _places(g, g.cast(column, np.float32), factor.values)


def _places(g, column, levels):
    """The number (n,) of the level of every row; missing values follow the levels, then unseen ones."""
    n = len(levels)
    if column.dtype == object:
        keys = [*levels, *([] if "" in levels else [""])]
        found = _looked_up(g, column, n, keys_strings=keys)
    else:
        known = _numbers_looked_up(g, column, np.array(levels, dtype=np.float64))
        found = g.op("Where", g.op("IsNaN", column, dtype=bool), np.array(n), known, dtype=_INDICES)
    return g.op("Reshape", found, np.array([-1]))


def _numbers_looked_up(g, column, levels):
    """Numbers of levels that are numbers: whole ones of any size, others in the digits of float32."""
    n, whole = len(levels), np.all(levels == np.floor(levels)) and np.all(np.abs(levels) < 2.0**53)
    kept = levels.astype(column.dtype if whole else np.float32)
    if len(np.unique(kept)) < n:
        raise NotImplementedError(
            f"to_onnx: levels such as {levels[-1]!r} are too near each other for {kept.dtype}: use dtype='float64', or "
            "make them text before the fit."
        )
    if not whole:
        return _looked_up(g, g.cast(column, np.float32), n, keys_floats=kept.tolist())
    floor = g.cast(column, np.int64)
    known = _looked_up(g, floor, n, keys_int64s=levels.astype(np.int64).tolist())
    same = g.op("Equal", g.cast(floor, column.dtype), column, dtype=bool)
    return g.op("Where", same, known, np.array(n + 1), dtype=_INDICES)


def _looked_up(g, column, n, **keys):
    """Numbers of levels by their values."""
    numbered = {"values_int64s": list(range(len(next(iter(keys.values()))))), "default_int64": n + 1}
    return g.op("LabelEncoder", column, dtype=_INDICES, domain=TREES, **keys, **numbered)


def _zeros(g, column, dtype):
    """One column of zeros, as many as there are rows: of a table that says nothing."""
    shape = g.op("Shape", column, dtype=_INDICES)
    return g.op("ConstantOfShape", shape, dtype=dtype, value=numpy_helper.from_array(np.zeros(1, dtype)))
