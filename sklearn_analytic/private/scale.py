"""Public ends of columns: those that are given, or those of the rows, which are disclosed."""

import numpy as np

from sklearn_analytic.io._checks import dense_rows, host
from sklearn_analytic.io._passes import short_block_size


def column_ends(X):
    """Least and largest value of every column, read in checked blocks; 0 where all of it is missing."""
    size = short_block_size(X.shape[1])
    blocks = (host(dense_rows(X[start : start + size], missing=True)) for start in range(0, X.shape[0], size))
    ends = [(np.fmin.reduce(rows, axis=0), np.fmax.reduce(rows, axis=0)) for rows in blocks]
    low, high = (np.stack(part) for part in zip(*ends, strict=True))
    return np.nan_to_num(np.fmin.reduce(low, axis=0)), np.nan_to_num(np.fmax.reduce(high, axis=0))


def checked_ends(bounds, n_columns):
    """Return the ends of columns as two arrays (d,), or raise."""
    try:
        low, high = (np.broadcast_to(np.asarray(end, dtype=np.float64), n_columns).copy() for end in bounds)
    except (TypeError, ValueError):
        raise ValueError(
            f"bounds must be a pair (low, high) of numbers or of arrays with {n_columns} numbers, got {bounds!r}."
        ) from None
    if not (np.isfinite(low).all() and np.isfinite(high).all() and np.all(low <= high)):
        raise ValueError(f"bounds must be finite, low at most high, got {bounds!r}.")
    return low, high
