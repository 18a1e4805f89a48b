"""A sample of all rows that were seen, of bounded size: a fixed one by content, whatever their blocks and order."""

from dataclasses import dataclass, replace

import numpy as np

from sklearn_analytic.features._sampling import mix_bits

_CHUNK_BYTES = 1 << 18  # of bits that are mixed at a time: what stays in cache
_EVERYTHING = np.uint64(2**64 - 1)
_ROUNDING = 1e-9  # of sums of weights


@dataclass(frozen=True, eq=False)
class RowSample:
    """The rows with the smallest hashes of features and targets, equal rows as one, with the weight of all of them.

    Parameters
    ----------
    size : int
        How many rows it holds at most.
    x : ndarray of shape (m, d)
        Rows.
    y : ndarray of shape (m, c)
        Their targets.
    weights : ndarray of shape (m,)
        Sums of the weights of equal rows.
    hashes : ndarray of shape (m,), uint64
        Ascending.
    limit : int
        Hash from which on later rows are not taken, for an earlier one had no room.
    sure : int
        Hash below which all rows are in the sample. It is the limit, until a sample that has lost half of its rows lets
        in more of those that come.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_analytic.features import RowSample
    >>> X = np.arange(9.0)[:, None]
    >>> parts = [RowSample.empty(4, 1, 1).accumulate(X[i::2], X[i::2], X[i::2]) for i in range(2)]
    >>> both = RowSample.empty(4, 1, 1).accumulate(X, X, X)
    >>> bool(np.all(parts[0].merge(parts[1]).x == both.x)), len(both.x)
    (True, 4)
    """

    size: int
    x: np.ndarray
    y: np.ndarray
    weights: np.ndarray
    hashes: np.ndarray
    limit: int = int(_EVERYTHING)
    sure: int = int(_EVERYTHING)

    @classmethod
    def empty(cls, size, n_columns, n_targets):
        """Return the sample of no rows."""
        none = np.zeros(0)
        return cls(size, np.zeros((0, n_columns)), np.zeros((0, n_targets)), none, none.astype(np.uint64))

    def accumulate(self, x, y, told_by, weights=None):
        """Return the sample with rows among which there may be new ones; targets are hashed as ``told_by`` (n, k)."""
        hashes = row_hashes(x, told_by)
        chosen = hashes < np.uint64(self.limit)
        if weights is not None:
            chosen &= np.asarray(weights) > 0
        index = np.flatnonzero(chosen)
        found, limit = np.unique(hashes[index]), self.limit
        if len(found) > self.size:
            limit = int(found[self.size])
            index = index[hashes[index] < found[self.size]]
        own = np.ones(len(index)) if weights is None else np.asarray(weights, dtype=np.float64)[index]
        fresh = replace(self, x=np.asarray(x)[index], y=np.asarray(y)[index], weights=own, hashes=hashes[index])
        return self.merge(replace(fresh, limit=limit, sure=min(self.sure, limit)))

    def merge(self, other):
        """Return the sample of both sets of rows, of the smaller size."""
        size, limit = min(self.size, other.size), min(self.limit, other.limit)
        hashes = np.concatenate([self.hashes, other.hashes])
        _, first, inverse = np.unique(hashes, return_index=True, return_inverse=True)
        weights = np.bincount(inverse, np.concatenate([self.weights, other.weights]), minlength=len(first))
        x, y = (np.concatenate(pair)[first] for pair in ((self.x, other.x), (self.y, other.y)))
        hashes = hashes[first]
        if len(hashes) > size:
            limit = min(limit, int(hashes[size]))
        kept = np.flatnonzero(hashes[:size] < np.uint64(limit))
        return RowSample(size, x[kept], y[kept], weights[kept], hashes[kept], limit, min(self.sure, other.sure, limit))

    def remove(self, x, told_by, weights=None):
        """Return the sample without rows that were in, and which rows of (n,) it should have had, but has not."""
        hashes, own = row_hashes(x, told_by), np.ones(len(x)) if weights is None else np.asarray(weights)
        place = np.minimum(np.searchsorted(self.hashes, hashes), max(len(self.hashes) - 1, 0))
        known = self.hashes[place] == hashes if len(self.hashes) else np.zeros(len(hashes), dtype=bool)
        left = self.weights - np.bincount(place[known], own[known], minlength=len(self.hashes))
        lacking = left < -_ROUNDING * self.weights
        strange = (hashes < np.uint64(self.sure)) & (own > 0) & ~known
        strange[known] = lacking[place[known]]
        kept = np.flatnonzero(left > _ROUNDING * self.weights)
        parts = {name: getattr(self, name)[kept] for name in ("x", "y", "hashes")}
        limit = min(2 * self.limit, int(_EVERYTHING)) if 2 * len(kept) < self.size else self.limit
        return replace(self, weights=left[kept], limit=limit, **parts), strange

    def add_targets(self, values):
        """Return the sample with further targets that were constant, ``values``, in all rows so far."""
        return replace(self, y=np.hstack([self.y, np.tile(values, (len(self.y), 1))]))

    def permute_targets(self, order):
        """Return the sample with its targets in another order."""
        return replace(self, y=self.y[:, order])


def row_uniforms(x):
    """Return a number (n,) of every row, uniform in [0, 1), that depends on its numbers alone."""
    return row_hashes(x, x[:, :0]) / 2.0**64


def row_hashes(x, told_by):
    """Return a 64-bit hash (n,) of the numbers of each row and of those that tell its target: the same in any block."""
    return mix_bits(_summed_bits(x, 0) + _summed_bits(told_by, 1))


def _summed_bits(x, salt):
    """Sums over columns of the bits of numbers times odd words: integers, whose sum no order or block changes."""
    n, d = x.shape
    words = np.random.default_rng(salt).integers(0, 1 << 63, size=d, dtype=np.uint64) * np.uint64(2) + np.uint64(1)
    out, size = np.empty(n, dtype=np.uint64), max(1, _CHUNK_BYTES // (8 * max(d, 1)))
    for start in range(0, n, size):
        part = np.add(x[start : start + size], 0.0, order="C", dtype=np.float64)  # -0.0 is 0.0
        bits = part.view(np.uint64)
        bits ^= bits >> np.uint64(32)  # low bits of round numbers are all zero
        out[start : start + size] = np.einsum("ij,j->i", bits, words)
    return out
