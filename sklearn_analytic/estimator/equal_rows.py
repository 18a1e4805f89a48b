"""Equal rows of a raw table, each with a fold of its own: how many means were taken of, and how many came later."""

from dataclasses import dataclass, replace

import numpy as np

from sklearn_analytic.features._sampling import mix_bits

LATER = -1  # the number of a row of which no mean was taken


@dataclass(frozen=True, eq=False)
class EqualRows:
    """Counts of rows by content and target: number j of the first ones has the fold of j, later ones have none."""

    pairs: np.ndarray  # (m,) uint64, ascending
    first: np.ndarray  # (m,) int
    later: np.ndarray  # (m,) int
    exponent: int  # of the largest of the first targets, where these are numbers

    @classmethod
    def of(cls, pairs, exponent):
        """Return the counts of rows that means are taken of, by their hashes."""
        found, counts = np.unique(pairs, return_counts=True)
        return cls(found, counts, np.zeros(len(found), dtype=counts.dtype), exponent)

    def with_later(self, pairs):
        """Return the counts with rows that came later."""
        found, counts = np.unique(pairs, return_counts=True)
        return self.merge(replace(self, pairs=found, first=np.zeros_like(counts), later=counts))

    def emptied(self):
        """Return the counts of no rows."""
        return replace(self, pairs=self.pairs[:0], first=self.first[:0], later=self.later[:0])

    def merge(self, other):
        """Return the counts of both; None where means were taken of rows of both, whose folds are the same."""
        if np.any(self.first) and np.any(other.first):
            return None
        pairs, place = np.unique(np.concatenate([self.pairs, other.pairs]), return_inverse=True)
        first, later = (np.zeros(len(pairs), dtype=self.first.dtype) for _ in range(2))
        np.add.at(first, place, np.concatenate([self.first, other.first]))
        np.add.at(later, place, np.concatenate([self.later, other.later]))
        return replace(self, pairs=pairs, first=first, later=later)

    def leave(self, pairs):
        """Return the counts without rows, and the number of each: later ones leave first, the others from the end.

        None where there are fewer.
        """
        place = np.minimum(np.searchsorted(self.pairs, pairs), max(len(self.pairs) - 1, 0))
        gone = np.bincount(place, minlength=len(self.pairs))
        if np.any(self.pairs[place] != pairs) or np.any(gone > self.first + self.later):
            return None
        order = np.argsort(place, kind="stable")
        rank = np.empty(len(pairs), dtype=np.int64)
        starts = np.cumsum(gone) - gone
        rank[order] = np.arange(len(pairs)) - starts[place[order]]
        numbers = self.first[place] - 1 - (rank - self.later[place])
        left = np.maximum(gone - self.later, 0)
        counts = replace(self, first=self.first - left, later=np.maximum(self.later - gone, 0))
        return counts, np.where(rank < self.later[place], LATER, numbers)


def pairs_of(hashes, target_hashes):
    """Return what equal rows with equal targets have in common, and what their folds follow, both (n,)."""
    targets = mix_bits(target_hashes + np.uint64(1))
    return hashes[:, 0] ^ targets, hashes[:, 1] ^ targets
