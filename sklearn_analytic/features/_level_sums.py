"""Sums of targets by level and fold of a column, and the smoothed means that they give: a reduction, which merges."""

from dataclasses import dataclass, replace

import numpy as np

_IDENTIFIER = 0.05  # share of the rows, below which levels that come again are chance
_DOUBT = 2.0  # standard deviations by which means differ that are no chance
GRID = 2.0**-36  # of means, in units of deviations: the order of sums must not tell rows apart
_SMOOTHING = (1.0, 1000.0)  # rows of prior, at least and at most


@dataclass(frozen=True, eq=False)
class LevelSums:
    """Weight and weighted targets of every level in every fold.

    Parameters
    ----------
    counts : ndarray of shape (folds, n)
        Weights of the rows.
    sums : ndarray of shape (folds, n, c)
        Weighted targets.
    squares : ndarray of shape (folds, c)
        Weighted squares of the targets of all levels.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_analytic.features._level_sums import LevelSums
    >>> found = LevelSums.of(np.array([0, 0, 1]), 2, np.array([0, 1, 1]), np.ones((3, 1)), np.ones(3), n_folds=2)
    >>> found.counts
    array([[1., 0.],
           [1., 1.]])
    """

    counts: np.ndarray
    sums: np.ndarray
    squares: np.ndarray

    @classmethod
    def empty(cls, n_folds, n, n_scores):
        """Return the sums of no rows."""
        return cls(np.zeros((n_folds, n)), np.zeros((n_folds, n, n_scores)), np.zeros((n_folds, n_scores)))

    @classmethod
    def of(cls, places, n, folds, scores, weights, n_folds):
        """Return the sums of rows with levels below n, folds, targets (m, c) and weights."""
        cell, c = folds * n + places, scores.shape[1]
        counts = np.bincount(cell, weights, n_folds * n).reshape(n_folds, n)
        sums, squares = np.zeros((n_folds, n, c)), np.zeros((n_folds, c))
        for k, column in enumerate(scores.T):
            sums[..., k] = np.bincount(cell, weights * column, n_folds * n).reshape(n_folds, n)
            squares[:, k] = np.bincount(folds, weights * column**2, n_folds)
        return cls(counts, sums, squares)

    @property
    def n_folds(self):
        """Folds of the rows."""
        return len(self.counts)

    @property
    def weight(self):
        """Weight of all rows."""
        return self.counts.sum()

    def merge(self, other):
        """Return the sums of the rows of both."""
        return replace(
            self,
            counts=self.counts + other.counts,
            sums=self.sums + other.sums,
            squares=self.squares + other.squares,
        )

    def placed(self, places, n):
        """Return the sums with levels at these places among n."""
        counts, sums = np.zeros((self.n_folds, n)), np.zeros((self.n_folds, n, self.sums.shape[2]))
        counts[:, places], sums[:, places] = self.counts, self.sums
        return replace(self, counts=counts, sums=sums)

    def tell(self, unit):
        """Return whether levels tell of targets: they come in several folds, unlike identifiers, and means differ.

        ``unit`` weight counts as one row.
        """
        again = np.sum(self.counts > 0, axis=0) > 1
        if self.counts[:, again].sum() < _IDENTIFIER * self.weight:
            return False
        within, between, n_within, n_between, _ = self._total().variances(unit)
        return between > within * (1 + _DOUBT * np.sqrt(2 / n_within + 2 / n_between))

    def means(self, unit, with_counts=False, without=None):
        """Return smoothed means of every level over the mean of all rows (folds + 1, n + 1, c), last of unseen levels.

        The first are those without every fold, the last those of all rows; none has the targets of the fold
        ``without``. ``with_counts`` adds a column, the logarithm of one plus the rows of the level, were they of as
        many rows as there are.
        """
        whole, rows = self._total(without), self.weight / unit if with_counts else None
        smoothing = whole.smoothing(unit)  # one for all folds, or it would tell them apart
        held_out = np.stack([self._total(without, fold).table(smoothing, rows) for fold in range(self.n_folds)])
        over_all = whole.table(smoothing, rows)
        seen = held_out[:, :-1][self.counts > 0]
        if len(seen):  # rows that are predicted have no mean beyond those that rows learned by
            over_all[:-1] = np.clip(over_all[:-1], seen.min(axis=0), seen.max(axis=0))
        return np.round(np.concatenate([held_out, over_all[None]]) / GRID) * GRID

    def _total(self, *left_out):
        """Sums over all folds but some."""
        kept = np.setdiff1d(np.arange(self.n_folds), [fold for fold in left_out if fold is not None])
        return _Sums(self.counts[kept].sum(axis=0), self.sums[kept].sum(axis=0), self.squares[kept].sum(axis=0))


@dataclass(frozen=True, eq=False)
class _Sums:
    """Weight (n,) and weighted targets (n, c) of every level, and squares (c,) of the targets of all."""

    counts: np.ndarray
    sums: np.ndarray
    squares: np.ndarray

    def table(self, smoothing, rows=None):
        """Return smoothed means of levels over the mean of all, which unseen ones have: 0.

        A column beside them is the logarithm of one plus the rows of a level, were they of so many ``rows``.
        """
        weight = self.counts.sum()
        if not weight > 0:
            return np.zeros((len(self.counts) + 1, self.sums.shape[1] + (rows is not None)))
        prior = self.sums.sum(axis=0) / weight
        columns = [(self.sums - self.counts[:, None] * prior) / (self.counts + smoothing)[:, None]]
        if rows is not None:
            columns.append(np.log1p(self.counts * (rows / weight))[:, None])
        found = np.hstack(columns)
        return np.vstack([found, np.zeros(found.shape[1])])

    def smoothing(self, unit):
        """Return the weight of the prior: the variance within levels over that between them (empirical Bayes)."""
        low, high = _SMOOTHING
        if not self.counts.any():
            return unit * high
        within, between, _, _, size = self.variances(unit)
        variance = (between - within) / size
        return unit * float(np.clip(within / variance if variance > 0 else high, low, high))

    def variances(self, unit):
        """Return mean squares within and between levels, their degrees of freedom, and the typical size of a level."""
        used = self.counts > 0
        w, s = self.counts[used], self.sums[used]
        n, n_between = w.sum() / unit, max(len(w) - 1, 1)
        explained = np.sum(s**2 / w[:, None], axis=0)
        between = np.sum(explained - s.sum(axis=0) ** 2 / w.sum()) / unit / n_between
        n_within = max(n - len(w), 1.0)
        within = np.sum(np.maximum(self.squares - explained, 0.0)) / unit / n_within
        size = (n - np.sum((w / unit) ** 2) / n) / n_between
        return within, between, n_within, n_between, max(size, 1e-12)
