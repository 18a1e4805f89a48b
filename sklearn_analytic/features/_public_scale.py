"""Scaling that reads no statistics of the rows: by public bounds of columns, or by a public norm of rows."""

import math
from dataclasses import dataclass

import numpy as np

_SQUARES = 1e150  # values whose squares still add up


@dataclass(frozen=True, eq=False)
class PublicScale:
    """Rows scaled by public bounds of columns, (low, high), or by a public norm of rows."""

    bounds: tuple | None
    data_norm: float | None

    n_columns = None  # as many as there are

    def transform(self, rows, backend=None):
        """Return rows of the host clipped to the bounds and mapped onto [-1, 1], or clipped to the norm.

        By a norm, entries are brought near 1.
        """
        if self.bounds is None:
            size = np.max(np.abs(rows), axis=1, keepdims=True).astype(np.float64)
            far = np.where(size > _SQUARES, size, 1.0)  # whose squares leave the range
            rows = rows / far.astype(rows.dtype)
            norms = np.linalg.norm(rows.astype(np.float64), axis=1, keepdims=True)
            return rows * (math.sqrt(rows.shape[1]) / np.maximum(norms, self.data_norm / far))
        low, high = self.bounds
        width = np.where(high > low, high - low, 1.0)
        return np.where(high > low, 2 * ((np.clip(rows, low, high) - low) / width) - 1, 0.0)
