"""One statistic for each class: weights of classes are then a matter of the solve."""

from dataclasses import dataclass, replace
from functools import reduce

import numpy as np


@dataclass(frozen=True)
class ClassSums:
    """Statistics of the rows of every class, from which that of all rows follows under any weights of the classes.

    The memory is that of one statistic times the classes.

    Parameters
    ----------
    parts : tuple
        A NormalEquations or TriangularFactor for every class, in their order; targets are indicators of the classes
        and, after them, any others.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_analytic.linalg import ClassSums, NormalEquations
    >>> X, codes = np.array([[0.0], [1.0], [3.0]]), np.array([0, 0, 1])
    >>> sums = ClassSums.begun(NormalEquations.empty(1, 2), 2).accumulate(X, np.eye(2)[codes], codes)
    >>> sums.masses.tolist(), float(sums.weighted(np.array([1.0, 2.0])).mean[0])
    ([2.0, 1.0], 1.75)
    """

    parts: tuple

    @classmethod
    def begun(cls, empty, n_classes):
        """Return the sums of no rows, from a statistic of none."""
        return cls((empty,) * n_classes)

    def emptied(self):
        """Return the sums of no rows."""
        part = self.parts[0]
        return ClassSums.begun(type(part).empty(part.n_features, part.n_targets), len(self.parts))

    @property
    def n_features(self):
        """Number of columns that belong to X."""
        return self.parts[0].n_features

    @property
    def n_rows(self):
        """Rows of positive weight."""
        return sum(part.n_rows for part in self.parts)

    @property
    def masses(self):
        """Weight of the rows of every class (C,)."""
        return np.array([float(part.weight) for part in self.parts])

    def accumulate(self, x, y, codes, sample_weight=None, backend=None, **options):
        """Return the sums with a block of rows added whose classes have these numbers."""
        parts = list(self.parts)
        for number in np.unique(codes):
            rows = np.flatnonzero(codes == number)
            weight = None if sample_weight is None else sample_weight[rows]
            parts[number] = parts[number].accumulate(x[rows], y[rows], weight, backend, **options)
        return ClassSums(tuple(parts))

    def counted(self, before, n_rows):
        """Return the sums with the rows of ``before`` counted, and so many more of every class (C,)."""
        pairs = zip(self.parts, before.parts, n_rows, strict=True)
        return ClassSums(tuple(replace(part, n_rows=old.n_rows + int(n)) for part, old, n in pairs))

    def merge(self, other):
        """Return the sums of both sets of rows."""
        return ClassSums(tuple(one.merge(two) for one, two in zip(self.parts, other.parts, strict=True)))

    def remove(self, other, **options):
        """Return the sums without the rows of ``other``; ValueError where they were never in."""
        return ClassSums(tuple(one.remove(two, **options) for one, two in zip(self.parts, other.parts, strict=True)))

    def weighted(self, factors):
        """Return the statistic of all rows, those of a class times its factor (C,)."""
        pairs = zip(self.parts, factors, strict=True)
        used = [part.reweighted(float(factor)) for part, factor in pairs if factor > 0 and part.n_rows]
        return reduce(lambda one, two: one.merge(two), used) if used else self.parts[0]

    def add_targets(self, values):
        """Return the sums with further classes, whose columns come last and were constant, ``values``, so far."""
        empty = type(self.parts[0]).empty(self.n_features, self.parts[0].n_targets + len(values))
        grown = [part.add_targets(values) if part.n_rows else empty for part in self.parts]
        return ClassSums((*grown, *(empty for _ in values)))

    def permute_targets(self, order):
        """Return the sums with their target columns, and the classes with them, in another order."""
        own = np.asarray(order)[: len(self.parts)]
        parts = [self.parts[number] for number in np.argsort(np.argsort(own))]
        return ClassSums(tuple(part.permute_targets(order) for part in parts))

    def on(self, backend):
        """Return the same value with its arrays on the backend's device."""
        return self._map(lambda part: part.on(backend))

    def to_host(self, backend):
        """Return the same value with NumPy arrays."""
        return self._map(lambda part: part.to_host(backend))

    def as_normal(self):
        """Return the same with normal equations."""
        return self._map(lambda part: part.as_normal())

    def _map(self, function):
        """The same of every class."""
        return replace(self, parts=tuple(function(part) for part in self.parts))
