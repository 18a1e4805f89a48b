"""Layers judged on some rows: their features in blocks, where maps are wide, and the dimensions that these have.

A file of its own on the road of every fit: blocks of features are neither turns of partitions nor rows between them.
"""

import numpy as np

_ENTRIES = 2**22  # of features that are judged at once; layers that are not wide are one block
_WIDE = 4  # times as many entries as rows: there singular values come from the Gram matrix of rows


class Tops:
    """Features of rows above a partition, block by block, computed when asked for; the last block stays.

    Parameters
    ----------
    features : callable
        Function of row indices that returns their features.
    rows : ndarray of int
        Indices.
    width : int
        Entries of a row's features.
    widest : int or None
        The most entries that a row has on its way from what is known; None is ``width``.
    """

    def __init__(self, features, rows, width, widest=None):
        self._size, n = max(_ENTRIES // (widest or width), 1), max(len(rows), 1)
        self.blocks = _cut(rows, self._size if width > _WIDE * n else n)
        self._features, self._last = features, (None, None)

    def __len__(self):
        return len(self.blocks)

    def __getitem__(self, k):
        if self._last[0] != k:
            self._last = None, None  # its memory is free first
            parts = [self._features(part) for part in _cut(self.blocks[k], self._size)]
            self._last = k, parts[0] if len(parts) == 1 else np.concatenate(parts)
        return self._last[1]

    def take_only(self):
        """Return the features of the one block there is, which stay no longer."""
        found, self._last = self[0], (None, None)
        return found

    def outputs(self, head):
        """Return what a function of features gives for all rows."""
        parts = [head(self[k]) for k in range(len(self))]
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def gram(self):
        """Return the products of all pairs of rows, in float64, from two blocks at a time."""
        gram, ends = np.zeros((n := sum(map(len, self.blocks)), n)), np.cumsum([0, *map(len, self.blocks)])
        for i in range(len(self)):
            first = self[i]
            for j in range(i, len(self)):
                second = self[j]
                found = _products(first, second)
                gram[ends[i] : ends[i + 1], ends[j] : ends[j + 1]] = found
                gram[ends[j] : ends[j + 1], ends[i] : ends[i + 1]] = found.T
        return gram


def _cut(rows, size):
    """Rows in parts of a size; no rows are one part."""
    return [rows[start : start + size] for start in range(0, max(len(rows), 1), size)]


def rank_of(tops):
    """Return the effective rank of features in blocks; in one block it is :func:`effective_rank`."""
    if len(tops) == 1:
        return effective_rank(tops.take_only())
    gram = tops.gram()
    if not np.isfinite(gram).all():
        return 0.0
    return _entropy_rank(_roots(gram))


def effective_rank(features):
    """Return ``exp(H(p))`` of the singular values over their sum, p (Roy and Vetterli 2007); 0 where all are 0."""
    if not np.isfinite(features).all() or not features.any():
        return 0.0
    if features.shape[1] <= _WIDE * len(features):
        features = features.astype(np.float64)
        return _entropy_rank(np.linalg.svd(features, compute_uv=False))
    return _entropy_rank(_roots(_products(features, features)))


def _products(a, b):
    """``a b^T`` in float64, of a few columns at a time."""
    n = len(a)
    gram, size = np.zeros((n, len(b))), _WIDE * n
    for start in range(0, a.shape[1], size):
        part = a[:, start : start + size].astype(np.float64)
        gram += part @ (part if b is a else b[:, start : start + size].astype(np.float64)).T
    return gram


def _roots(gram):
    """Singular values from the Gram matrix of rows, which loses those with shares of nothing."""
    return np.sqrt(np.maximum(np.linalg.eigvalsh(gram), 0))


def _entropy_rank(values):
    """The exponential of the entropy of their shares."""
    if not values.any():
        return 0.0
    shares = values[values > 0] / values.sum()
    return float(np.exp(-np.sum(shares * np.log(shares))))
