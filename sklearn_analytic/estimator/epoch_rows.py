"""Rows on their way into a network trained by steps: their weights, and the encoding that is learned from them."""

import math
import re
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from sklearn_analytic.backend import get_backend
from sklearn_analytic.estimator.late_scales import fresh_moments, is_listening, shared_scale, with_constants, woken
from sklearn_analytic.estimator.weights import refuse_no_weight, weights_in_range
from sklearn_analytic.features import ENCODINGS, fit_input_encoding, standard_encoding
from sklearn_analytic.io._checks import dense_rows, host
from sklearn_analytic.io._passes import short_block_size

_BLOCK_ENTRIES = 2e6  # of X in a source, from which an encoding is learned: memory does not follow its rows
_ENCODED_ENTRIES = 2e7  # entries of X from which an encoding is learned; more rows than that are drawn from
_LEAST_ROWS, _SEEN_ROWS = 50, 2000  # on which columns are found to be pixels


@dataclass(frozen=True, eq=False)
class Reading:
    """How columns are read: their encoding, and what is known of those that have not varied yet."""

    encoding: Any = None  # None: as they are
    moments: Any = None  # (3, d) of columns that may wake up; None where none can
    table: Any = None  # how raw rows become numbers, before all that

    @classmethod
    def begun(cls, encoding):
        """Return a reading by a new encoding: columns that it leaves at 0 are asleep."""
        return cls(encoding, None if encoding is None else fresh_moments(encoding))

    def width(self, n_columns):
        """Return the number of columns after the encoding of so many."""
        own = None if self.encoding is None else self.encoding.n_columns
        return n_columns if own is None else own

    def encoded(self, X, dtype):
        """Return encoded rows on the host, read in checked blocks; refuse what the dtype cannot hold."""
        size = short_block_size(X.shape[1])
        found = np.empty((X.shape[0], self.width(X.shape[1])), dtype)
        for start in range(0, X.shape[0], size):
            rows = host(dense_rows(X[start : start + size]))
            part = rows if self.encoding is None else self.encoding.transform(rows, get_backend("cpu"))
            found[start : start + size] = narrowed(part, dtype, "X holds magnitudes")
        return found

    def woken(self, X, weights, n_groups):
        """Return the reading with scales of columns that were constant and vary here: a pass where there are any.

        With ``n_groups``, the columns of a group have one scale.
        """
        if self.moments is None or not is_listening(self.moments):
            return self
        weights, size = weights_in_range(weights), short_block_size(X.shape[1])
        blocks = (
            (host(dense_rows(X[start : start + size])), None if weights is None else weights[start : start + size])
            for start in range(0, X.shape[0], size)
        )
        return Reading(*woken(self.encoding, self.moments, blocks, n_groups), self.table)


@dataclass(frozen=True)
class Scaling:
    """Which encoding is to be learned, and what is known of the columns beforehand."""

    name: str | None  # of ``ENCODINGS``, or "auto"
    is_shared: bool = False  # "auto" is one scale for all columns of a group: pixels, sequences
    n_groups: int = 1

    @property
    def groups_to_wake(self):
        """Groups of columns that wake up together, or None."""
        return self.n_groups if self.name == "auto" and self.is_shared else None

    def learned(self, X, weights, generator):
        """Return the encoding of training rows, learned from a draw of them where there are very many."""
        if self.name is None:
            return None
        n, most = X.shape[0], most_encoded(X.shape[1])
        index = np.arange(n) if n <= most else np.sort(generator.choice(n, most, replace=False))
        rows = np.asarray(host(dense_rows(X[index])), dtype=np.float64)
        weights = None if weights is None else weights_in_range(weights[index])
        if self.name == "auto" and (self.is_shared or _are_pixels(rows)):
            return shared_scale(rows, weights, self.n_groups)
        name = "standard" if self.name == "auto" else self.name
        if name != "quantile" and np.array_equal(rows.min(axis=0), rows.max(axis=0)):
            return with_constants(standard_encoding(rows, weights), rows)
        return with_constants(ENCODINGS[name](rows, weights), rows)

    def learned_of_blocks(self, rows, generator):
        """Return the encoding of rows in a source: learned from all of them, or from a draw where they are many."""
        if self.name is None:  # no pass, and no rows in memory
            return None
        n, most = rows.n_rows, max(int(_BLOCK_ENTRIES) // rows.n_columns, 1000)
        index = np.arange(n) if n <= most else np.sort(generator.choice(n, most, replace=False))
        if rows.weight is not None:
            index = index[rows.weight[index] > 0]
        weights = None if rows.weight is None else rows.weight[index]
        return self.learned(rows.take(index)[0], weights, generator)


def most_encoded(n_columns):
    """Return how many rows an encoding is learned from, at most."""
    return max(int(_ENCODED_ENTRIES) // n_columns, 1000)


def weighing_rows(X, y, weights):
    """Return the rows of positive weight, of which there must be some."""
    return positive_rows(X, y, refuse_no_weight(weights))


def positive_rows(X, y, weights):
    """Return the rows of positive weight: a row without weight is no row."""
    if weights is None or np.all(weights > 0):
        return X, y, weights
    kept = np.flatnonzero(weights > 0)
    return X[kept], y[kept], weights[kept]


def relative(weights):
    """Return weights over the largest: sums of the largest numbers are none."""
    return None if weights is None else weights / weights.max()


def narrowed(values, dtype, what):
    """Return values in the dtype of the weights; refuse those that it cannot hold, which no training survives."""
    with np.errstate(over="ignore"):
        found = values.astype(dtype, copy=False)
    if not np.isfinite(found).all():
        raise ValueError(
            f"{what} that {np.dtype(dtype).name} cannot hold: use precision='float64' (of PrivateDFAClassifier, else "
            "of device=Device(...)), or an input_encoding for X and a smaller unit for y."
        )
    return found


def held_out_rows(coded, fraction, generator):
    """Return a mask of held-out rows: the same share of every class, and of no class all rows."""
    n = len(coded)
    order = generator.permutation(n)
    chosen = np.zeros(n, dtype=bool)
    labels = coded if coded.ndim == 1 else np.zeros(n, dtype=np.int64)
    for label in np.unique(labels):
        members = order[labels[order] == label]
        chosen[members[: min(math.ceil(fraction * len(members)), len(members) - 1)]] = True
    if not chosen.any():
        raise ValueError(
            f"early_stopping=True needs rows to hold out, but {n} rows have none to spare: "
            "pass X_val and y_val, or early_stopping=False."
        )
    return chosen


def _are_pixels(rows):
    """Whether many columns are non-negative and on one scale; a few rows cannot tell."""
    return len(rows) >= _LEAST_ROWS and fit_input_encoding(rows[:_SEEN_ROWS]).on_common_scale


# ---- rows to watch are read as X, y and weights are ----


@contextmanager
def called(was, name):
    """Let an error about the input ``was`` speak of the argument ``name``."""
    try:
        yield
    except (ValueError, TypeError) as error:
        if was == name:
            raise
        kind = TypeError if isinstance(error, TypeError) else ValueError
        raise kind(_renamed(str(error), was, name)) from error


def _renamed(text, was, name):
    """Return the words with the input's name in place of the first of the other; labels in quotes are no names."""
    if re.search(rf"\b{name}\b", text):
        return text
    found, n = re.subn(rf"(?<!['\"])\b{was}\b(?!['\"])", name, text, count=1)
    return found if n else f"{name}: {text}"
