"""Means and deviations of columns beside another statistic: what a hidden layer no longer tells of its inputs."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

_CHUNK = 512
_TINY = 1e-280


@dataclass(frozen=True)
class ColumnMoments:
    """Weight, means and deviations of columns; blocks merge, and leave again. No sum leaves the range of the columns.

    Parameters
    ----------
    weight : float
        Sum of the weights of the rows.
    mean : ndarray of shape (p,)
        Weighted means.
    deviation : ndarray of shape (p,)
        Roots of the weighted mean squares about the mean.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_analytic.linalg import ColumnMoments
    >>> X = np.array([[0.0], [2.0], [4.0]])
    >>> ColumnMoments.of(X[:1]).merge(ColumnMoments.of(X[1:])).deviation.round(3)
    array([1.633])
    """

    weight: float
    mean: np.ndarray
    deviation: np.ndarray

    @classmethod
    def empty(cls, n_columns):
        """Return the moments of no rows."""
        return cls(0.0, np.zeros(n_columns), np.zeros(n_columns))

    @classmethod
    def of(cls, x, weights=None):
        """Return the moments of rows on the host."""
        x = np.asarray(x, dtype=np.float64)
        weights = np.ones(len(x)) if weights is None else np.asarray(weights, dtype=np.float64)
        largest = np.max(weights, initial=0.0)
        if largest == 0:
            return cls.empty(x.shape[1])
        shares = weights / largest
        weight = float(shares.sum()) * largest
        shares /= shares.sum()  # no sum of weights can overflow
        mean = shares @ x
        square = np.zeros(x.shape[1])
        with np.errstate(over="ignore", invalid="ignore"):
            for start in range(0, len(x), _CHUNK):  # what stays in cache
                centred = x[start : start + _CHUNK] - mean
                centred *= centred
                square += shares[start : start + _CHUNK] @ centred
        deviation, unsure = np.sqrt(square), ~((square > _TINY) & (square < np.inf))
        deviation[unsure] = _scaled_deviation(x[:, unsure], mean[unsure], shares)
        return cls(weight, mean, deviation)

    def beside(self, other):
        """Return the moments of these columns and of others of the same rows."""
        mean, deviation = (np.append(getattr(self, name), getattr(other, name)) for name in ("mean", "deviation"))
        return replace(self, mean=mean, deviation=deviation)

    def merge(self, other):
        """Return the moments of both sets of rows."""
        if self.weight == 0 or other.weight == 0:
            return other if self.weight == 0 else self
        larger = max(self.weight, other.weight)
        mine, theirs = self.weight / larger, other.weight / larger
        mine, theirs = mine / (mine + theirs), theirs / (mine + theirs)
        between = _halfway(self.mean, other.mean) * (2 * np.sqrt(mine * theirs))
        within = np.hypot(np.sqrt(mine) * self.deviation, np.sqrt(theirs) * other.deviation)
        return ColumnMoments(
            self.weight + other.weight, mine * self.mean + theirs * other.mean, np.hypot(within, between)
        )

    def remove(self, other):
        """Return the moments without the rows of ``other``, which were in."""
        weight = self.weight - other.weight
        if other.weight == 0 or weight <= 0:
            return self if other.weight == 0 else ColumnMoments.empty(len(self.mean))
        gone = other.weight / self.weight
        mean = self.mean + (self.mean - other.mean) * (other.weight / weight)
        size = np.where(self.deviation > 0, self.deviation, 1.0)
        between = _halfway(other.mean, mean) / size * (2 * np.sqrt(gone * (1 - gone)))
        left = 1 - gone * (other.deviation / size) ** 2 - between**2
        return ColumnMoments(weight, mean, self.deviation * np.sqrt(np.maximum(left, 0) / (1 - gone)))


def _halfway(one, two):
    """Half the distance: the whole one, between the ends of the range, is no number."""
    return np.abs(one / 2 - two / 2)


def _scaled_deviation(x, mean, shares):
    """Deviations of columns whose squares leave the range; halved, for the way between its ends is no number."""
    centred = x / 2 - mean / 2
    size = np.max(np.abs(centred), axis=0, initial=0.0)
    centred /= np.where(size > 0, size, 1.0)
    return size * (2 * np.sqrt(shares @ (centred * centred)))


@dataclass(frozen=True)
class WithColumns:
    """A statistic of what a readout reads, and beside it moments of the columns and a sample of the rows.

    Parameters
    ----------
    statistic : object
        NormalEquations, TriangularFactor or RecursiveLeastSquares.
    columns : ColumnMoments or None
        Of the inputs of hidden layers; on the host wherever the statistic is.
    rows : RowSample or None, default=None
        Some of the rows, on the host, too.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_analytic.linalg import ColumnMoments, NormalEquations, WithColumns
    >>> both = WithColumns(NormalEquations.empty(3, 1), ColumnMoments.empty(2))
    >>> both.merge(both).n_features
    3
    """

    statistic: Any
    columns: ColumnMoments | None
    rows: Any = None

    @property
    def n_features(self):
        """Columns that the statistic sees."""
        return self.statistic.n_features

    @property
    def n_rows(self):
        """Rows of positive weight."""
        return self.statistic.n_rows

    def merge(self, other):
        """Return all that both sets of rows have; what either lacks, both lack."""
        columns, rows = (_merged(getattr(self, name), getattr(other, name)) for name in ("columns", "rows"))
        return with_columns(self.statistic.merge(other.statistic), columns, rows)

    def add_targets(self, values):
        """Return the same value with targets that were constant so far."""
        rows = None if self.rows is None else self.rows.add_targets(values)
        return replace(self, statistic=self.statistic.add_targets(values), rows=rows)

    def permute_targets(self, order):
        """Return the same value with its targets in another order."""
        rows = None if self.rows is None else self.rows.permute_targets(order)
        return replace(self, statistic=self.statistic.permute_targets(order), rows=rows)

    def on(self, backend):
        """Return the same value with the statistic on the backend's device."""
        return replace(self, statistic=self.statistic.on(backend))

    def to_host(self, backend):
        """Return the same value with the statistic on the host."""
        return replace(self, statistic=self.statistic.to_host(backend))


def with_columns(statistic, columns, rows=None):
    """Return a statistic with moments of columns and a sample of rows beside it, where there are any."""
    return statistic if columns is None and rows is None else WithColumns(statistic, columns, rows)


def _merged(one, two):
    """Both merged, or None."""
    return None if one is None or two is None else one.merge(two)
