"""Where copies of rows lie that were spread over folds, so that they can leave the folds that they came into."""

from dataclasses import dataclass, replace

import numpy as np

from sklearn_analytic.features._copies import SNAP, Copies, snapped

_ROUNDING = 1e-9


@dataclass(frozen=True, eq=False)
class CopyLedger:
    """For every content and target the stretch of its copies that were spread, and the length of those that came later.

    Parameters
    ----------
    pairs : ndarray of shape (m,), uint64
        Hashes of content and target, ascending.
    begin, end : ndarray of shape (m,)
        Where its copies lie within the content, in units.
    later : ndarray of shape (m,)
        Length of copies that no fold has.
    n_folds : int
        Number of folds.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_analytic.features import CopyLedger
    >>> pairs = np.array([3], dtype=np.uint64)
    >>> ledger = CopyLedger(pairs, np.zeros(1), np.array([2.0]), np.array([1.0]), 4)
    >>> left, lengths, lacking = ledger.leave(pairs, pairs, np.array([2.0]))
    >>> left.end.tolist(), left.later.tolist(), lengths.sum(axis=1).tolist(), lacking.tolist()
    ([1.0], [0.0], [2.0], [False])
    """

    pairs: np.ndarray
    begin: np.ndarray
    end: np.ndarray
    later: np.ndarray
    n_folds: int

    @classmethod
    def of_spread(cls, copies, pairs):
        """Return the ledger of copies that were laid, whose rows have these hashes of content and target."""
        found, place = np.unique(pairs[copies.rows], return_inverse=True)
        begin, end = np.full(len(found), np.inf), np.zeros(len(found))
        np.minimum.at(begin, place, copies.begin)
        np.maximum.at(end, place, copies.end)
        return cls(found, begin, end, np.zeros(len(found)), copies.n_folds)

    @classmethod
    def of_later(cls, pairs, lengths, n_folds):
        """Return the ledger of copies that no fold has."""
        found, place = np.unique(pairs[lengths > 0], return_inverse=True)
        later = np.bincount(place, lengths[lengths > 0], minlength=len(found))
        return cls(found, np.zeros(len(found)), np.zeros(len(found)), later, n_folds)

    def merge(self, other):
        """Return the ledger of both; None where both have spread copies, whose places are the same."""
        if np.any(self.end > self.begin) and np.any(other.end > other.begin):
            return None
        found, place = np.unique(np.concatenate([self.pairs, other.pairs]), return_inverse=True)

        def summed(name):  # at most one has spread copies
            both = np.concatenate([getattr(self, name), getattr(other, name)])
            return np.bincount(place, both, minlength=len(found))

        return CopyLedger(found, summed("begin"), summed("end"), summed("later"), self.n_folds)

    def emptied(self):
        """Return the ledger of no copies."""
        return replace(self, **{name: getattr(self, name)[:0] for name in ("pairs", "begin", "end", "later")})

    def leave(self, pairs, contents, lengths):
        """Return the ledger without copies of rows, their lengths (n, folds + 1), and which rows (n,) it lacks.

        Later copies, the last column, leave first, then those that were spread, from their end. ``contents`` (n,) are
        hashes of the rows' contents.
        """
        place = np.minimum(np.searchsorted(self.pairs, pairs), max(len(self.pairs) - 1, 0))
        known = self.pairs[place] == pairs if len(self.pairs) else np.zeros(len(pairs), dtype=bool)
        lengths = np.where(known, lengths, 0.0)
        order = np.argsort(place, kind="stable")
        until = np.empty(len(pairs))
        until[order] = _sums_within(place[order], lengths[order])
        total = np.bincount(place, lengths, minlength=len(self.pairs)) if len(self.pairs) else np.zeros(0)
        there = self.later + self.end - self.begin
        lacking = ~known
        lacking[known] = (total > there * (1 + _ROUNDING) + 1 / SNAP)[place[known]]
        out = np.zeros((len(pairs), self.n_folds + 1))
        if not np.any(lacking):
            later = self.later[place]
            out[:, -1] = np.clip(later - (until - lengths), 0, lengths)
            begin = self.end[place] - np.maximum(until - later, 0)
            end = self.end[place] - np.maximum(until - lengths - later, 0)
            spread = np.flatnonzero(end - begin > 1 / SNAP)
            laid = Copies(spread, contents[spread], snapped(begin[spread]), snapped(end[spread]), self.n_folds)
            out[:, :-1] = laid.shares(np.where(end > begin, end - begin, 0.0))
        end = snapped(self.end - np.maximum(total - self.later, 0))
        left = replace(self, end=np.maximum(end, self.begin), later=np.maximum(self.later - total, 0))
        kept = np.flatnonzero(left.later + left.end - left.begin > 1 / SNAP)
        parts = {name: getattr(left, name)[kept] for name in ("pairs", "begin", "end", "later")}
        return replace(left, **parts), out, lacking

    def lengths(self, pairs, contents):
        """Return the lengths (n, folds + 1) of all copies of contents and targets."""
        place = np.searchsorted(self.pairs, pairs)
        rows = np.arange(len(pairs))
        laid = Copies(rows, contents, self.begin[place], self.end[place], self.n_folds)
        return np.column_stack([laid.shares(self.end[place] - self.begin[place]), self.later[place]])


def _sums_within(groups, lengths):
    """Cumulative sums within stretches of equal numbers."""
    sums = np.cumsum(lengths)
    fresh = np.append(True, groups[1:] != groups[:-1]) if len(groups) else np.zeros(0, dtype=bool)
    before = np.append(0.0, sums)[:-1][fresh]
    return sums - np.repeat(before, np.diff(np.append(np.flatnonzero(fresh), len(groups))))
