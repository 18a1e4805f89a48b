"""Rows of every kind for the fuzzed estimators: shapes, dtypes, layouts, containers, scales, targets and weights.

``arguments`` draws them from one generator, so that a seed is a case. What is drawn may be unfit for any estimator: the
campaign asks for a fit that is right or for an error that is clear.
"""

import importlib.util
import tempfile
from pathlib import Path

import numpy as np
from scipy import sparse

ROWS, COLUMNS = (1, 2, 3, 5, 12, 30, 60), (1, 2, 4, 9, 40)


def arguments(generator, classifier, weighted=True):
    """X, y and sample_weight (or None) as an estimator would get them, and what they are in words."""
    n, d = int(generator.choice(ROWS, p=(0.05, 0.05, 0.05, 0.1, 0.25, 0.25, 0.25))), int(generator.choice(COLUMNS))
    values, words = _values(generator, n, d)
    y, target = (_labels if classifier else _numbers)(generator, values, n)
    weight, weights = _weights(generator, n) if weighted else (None, "no")
    X, form = _contained(generator, values)
    return (X, y, weight), f"{n}x{d} {words} {form}, {target} targets, {weights} weights"


def _values(generator, n, d):
    """Numbers in float64, and what is special about them."""
    X = generator.standard_normal((n, d))
    kind = str(generator.choice(("normal", "duplicated", "constant", "zero", "whole", "spoiled"), p=KINDS))
    X = VALUES[kind](X, generator)
    if generator.random() < 0.3:
        X = X * 10.0 ** generator.uniform(-150, 150, size=d if generator.random() < 0.5 else 1)
        kind += " scaled"
    return X, kind


def _duplicated(X, generator):
    return X[generator.integers(len(X), size=len(X))]


def _constant(X, generator):
    return np.where(generator.random(X.shape[1]) < 0.5, X[0], X)


def _spoiled(X, generator):
    """One entry that is no number."""
    row, column = (int(generator.integers(size)) for size in X.shape)
    X[row, column] = generator.choice([np.nan, np.inf, -np.inf])
    return X


VALUES = {
    "normal": lambda X, generator: X,
    "duplicated": _duplicated,
    "constant": _constant,
    "zero": lambda X, generator: 0.0 * X,
    "whole": lambda X, generator: np.round(3 * X),
    "spoiled": _spoiled,
}
KINDS = (0.5, 0.12, 0.12, 0.06, 0.12, 0.08)


# ------------------------------------------------------------------ targets and weights


def _signal(X):
    """The first column between -1 and 1, whatever its scale: something to learn."""
    first = np.where(np.isfinite(X[:, 0]), X[:, 0], 0.0)
    return first / (np.abs(first).max() or 1.0)


def _labels(generator, X, n):
    """Class labels of some type."""
    codes = np.digitize(_signal(X), [-0.3, 0.3])
    codes = codes if generator.random() < 0.7 else generator.integers(int(generator.choice([2, 3, 7])), size=n)
    kind = str(generator.choice(tuple(LABELS), p=(0.35, 0.2, 0.1, 0.1, 0.1, 0.1, 0.05)))
    return LABELS[kind](codes), kind


LABELS = {
    "int": lambda codes: codes,
    "str": lambda codes: np.array([f"class {code}" for code in codes]),
    "bool": lambda codes: codes > 0,
    "float": lambda codes: codes.astype(float),
    "negative": lambda codes: -7 * codes.astype(np.int8),
    "object": lambda codes: np.array([f"c{code}" for code in codes], dtype=object),
    "one class": lambda codes: 0 * codes,
}


def _numbers(generator, X, n):
    """Targets of a regression."""
    score = _signal(X) + 0.1 * generator.standard_normal(n)
    kind = str(generator.choice(tuple(NUMBERS), p=(0.4, 0.1, 0.1, 0.15, 0.1, 0.1, 0.05)))
    return NUMBERS[kind](score, generator), kind


def _holed(y, generator):
    """One target is missing."""
    y[int(generator.integers(len(y)))] = np.nan
    return y


NUMBERS = {
    "float": lambda y, generator: y,
    "constant": lambda y, generator: np.full(len(y), 3.25),
    "int": lambda y, generator: np.round(5 * y).astype(np.int64),
    "several": lambda y, generator: np.column_stack([y, -y, y**2]),
    "scaled": lambda y, generator: y * 10.0 ** generator.uniform(-150, 150),
    "float32": lambda y, generator: y.astype(np.float32),
    "holed": _holed,
}


def _weights(generator, n):
    """Sample weights, or None."""
    kind = str(generator.choice(tuple(WEIGHTS), p=(0.5, 0.1, 0.1, 0.1, 0.1, 0.03, 0.03, 0.02, 0.02)))
    return WEIGHTS[kind](generator, n), kind


WEIGHTS = {
    "no": lambda generator, n: None,
    "uniform": lambda generator, n: generator.uniform(0.1, 2, n),
    "some zero": lambda generator, n: generator.integers(2, size=n).astype(float),
    "integer": lambda generator, n: generator.integers(4, size=n),
    "distant": lambda generator, n: 10.0 ** generator.uniform(-12, 12, n),
    "all zero": lambda generator, n: np.zeros(n),
    "negative": lambda generator, n: generator.standard_normal(n),
    "too few": lambda generator, n: np.ones(n - 1),
    "NaN": lambda generator, n: np.full(n, np.nan),
}


# ------------------------------------------------------------------ dtypes, layouts and containers


def _contained(generator, X):
    """X in some dtype, layout and container."""
    dtype = str(generator.choice(tuple(DTYPES), p=(0.5, 0.2, 0.06, 0.06, 0.06, 0.06, 0.06)))
    with np.errstate(all="ignore"):
        X = DTYPES[dtype](X)
    form = str(generator.choice(tuple(LAYOUTS if generator.random() < 0.6 else CONTAINERS)))
    return (LAYOUTS | CONTAINERS)[form](X), f"{dtype} {form}"


def _as_int(X, kind):
    """Whole numbers; what has none becomes 0."""
    return np.clip(np.nan_to_num(np.round(X), posinf=0, neginf=0), -100, 100).astype(kind)


DTYPES = {
    "float64": lambda X: X,
    "float32": lambda X: X.astype(np.float32),
    "float16": lambda X: X.astype(np.float16),
    "int64": lambda X: _as_int(X, np.int64),
    "uint8": lambda X: np.abs(_as_int(X, np.int64)).astype(np.uint8),
    "bool": lambda X: X > 0,
    "object": lambda X: X.astype(object),
}


def _strided(X):
    """Every second row and column of a larger array."""
    large = np.zeros((2 * X.shape[0], 2 * X.shape[1]), X.dtype)
    large[::2, ::2] = X
    return large[::2, ::2]


def _read_only(X):
    X = X.copy()
    X.flags.writeable = False
    return X


def _mapped(X):
    """A memory map of a file that is gone, as systems allow it; objects cannot be mapped."""
    if X.dtype == object:
        return X
    with tempfile.TemporaryDirectory() as folder:
        np.save(Path(folder) / "X.npy", X)
        return np.load(Path(folder) / "X.npy", mmap_mode="r")


def _frame(X):
    return importlib.import_module("pandas").DataFrame(X, columns=[f"x{k}" for k in range(X.shape[1])])


def _polars(X):
    X = X.astype(np.float64) if X.dtype == object else X
    return importlib.import_module("polars").DataFrame(X, schema=[f"x{k}" for k in range(X.shape[1])])


def _sparse(X):
    return sparse.csr_array(X.astype(np.float64) if X.dtype in (object, np.float16) else X)


def _tensor(X):
    return importlib.import_module("torch").tensor(X.astype(np.float64) if X.dtype == object else X)


LAYOUTS = {
    "C": np.ascontiguousarray,
    "F": np.asfortranarray,
    "strided": _strided,
    "read-only": _read_only,
    "mapped": _mapped,
}
NEEDS = {"pandas": "pandas", "polars": "polars", "tensor": "torch"}  # what is not installed is left out
MADE = {"list": lambda X: X.tolist(), "pandas": _frame, "polars": _polars, "CSR": _sparse, "tensor": _tensor}
CONTAINERS = {
    name: made for name, made in MADE.items() if importlib.util.find_spec(NEEDS.get(name, "numpy")) is not None
}


def bytes_of(value):
    """What an input holds, to see whether it was changed: dense values, and the parts of a sparse matrix."""
    if value is None:
        return b""
    if sparse.issparse(value):
        return b"".join(part.tobytes() for part in (value.data, value.indices, value.indptr))
    array = np.asarray(value)
    return repr(array.tolist()).encode() if array.dtype == object else array.tobytes()
