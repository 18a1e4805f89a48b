"""Audit rows: a small fixed sample, by content, on which leave-one-out chooses and calibrates."""

import zlib
from dataclasses import dataclass

import numpy as np

from sklearn_analytic.features import hash_keys

MOST = 1000
_SHARE = 4  # at most one distinct row in four
_REPEATED, _MOST_COPIES = 6.0, 8.0  # mean copies of a row, none counted above the most, of which all rows judge
_SHARED = 0.75  # distinct rows over distinct pairs of row and target, below which rows are few and targets noisy


@dataclass(frozen=True)
class Audit:
    """Distinct rows with the smallest hashes of their content; weights of equal rows are added."""

    x: np.ndarray
    y: np.ndarray
    weights: np.ndarray
    hashes: np.ndarray

    def head(self, size):
        """Return the ``size`` rows with the smallest hashes."""
        return Audit(self.x[:size], self.y[:size], self.weights[:size], self.hashes[:size])

    def merge(self, other, size):
        """Return the ``size`` rows of both with the smallest hashes; a row in both counts once, with both weights."""
        hashes, first, inverse = np.unique(
            np.concatenate([self.hashes, other.hashes]), return_index=True, return_inverse=True
        )
        weights = np.bincount(inverse, np.concatenate([self.weights, other.weights]))
        kept = first[:size]
        x, y = np.concatenate([self.x, other.x]), np.concatenate([self.y, other.y])
        return Audit(x[kept], y[kept], weights[:size], hashes[:size])


def content_hashes(keys, y):
    """Return a 64-bit hash of each row and its label, from the row's key."""
    classes, codes = np.unique(y, return_inverse=True)
    labels = np.array([zlib.crc32(str(label).encode()) for label in classes.tolist()], dtype=np.uint64)
    return hash_keys(keys) ^ (labels[codes] << np.uint64(16))


def candidates(hashes, weights):
    """Return the threshold of the rows that may enter the audit of any larger sample: the most that one can have."""
    distinct = np.unique(hashes if weights is None else hashes[weights > 0])
    return distinct[min(MOST, len(distinct)) - 1]


def audit_size(n_distinct):
    """Number of audit rows of a sample with so many distinct rows."""
    return int(max(1, min(MOST, n_distinct // _SHARE)))


def few_distinct(hashes, keys, weights):
    """Whether rows repeat much, with different targets: then one copy can judge, and every row must."""
    weights = np.ones(len(hashes)) if weights is None else np.asarray(weights, dtype=np.float64)
    used = weights > 0
    distinct, inverse = np.unique(hashes[used], return_inverse=True)
    copies = np.minimum(np.bincount(inverse, weights[used]), _MOST_COPIES)
    return bool(np.mean(copies) >= _REPEATED and len(np.unique(keys[used])) <= _SHARED * len(distinct))


def choose_audit(hashes, weights):
    """Return the threshold below which a row's hash makes it an audit row, weights of zero left out."""
    distinct = np.unique(hashes if weights is None else hashes[weights > 0])
    return distinct[audit_size(len(distinct)) - 1]


def take_audit(x, y, weights, hashes):
    """Return an audit of given rows, equal rows as one."""
    empty = Audit(x[:0], y[:0], np.zeros(0), hashes[:0])
    weights = np.ones(len(hashes)) if weights is None else np.asarray(weights, dtype=np.float64)
    return empty.merge(Audit(x, y, weights, hashes), len(hashes))
