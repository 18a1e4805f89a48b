"""One block of rows, seen through hidden layers, on its way into a statistic."""

from dataclasses import dataclass

import numpy as np

from sklearn_analytic.features import apply_layers
from sklearn_analytic.linalg import ColumnMoments, WithColumns
from sklearn_analytic.linalg._rounding import unit_of


@dataclass(frozen=True)
class HiddenStep:
    """Adds a block, seen through the hidden layers, to a statistic."""

    layers: tuple
    n_classes: int | None  # of codes that stand for rows of +1 and -1

    def __call__(self, statistic, block, backend):
        if isinstance(statistic, WithColumns):
            columns = statistic.columns.merge(self.moments(block, backend))
            return WithColumns(self(statistic.statistic, block, backend), columns)
        return statistic.accumulate(self.hidden(block, backend), self.targets(block.y), block.weight, backend)

    def moments(self, block, backend):
        """Moments of the columns that the layers read, and of targets that have units."""
        columns = ColumnMoments.of(backend.to_numpy(block.x), block.weight)
        return columns if self.n_classes is not None else columns.beside(ColumnMoments.of(block.y, block.weight))

    def hidden(self, block, backend):
        """What the readout sees of a block; equal rows look equal, which products of many rows do not promise."""
        x = backend.asarray(block.x)
        if self.layers and len(x) > 1 and _all_equal(x):
            return apply_layers(self.layers, x[:1], backend)[np.zeros(len(x), dtype=int)]
        return apply_layers(self.layers, x, backend)

    def targets(self, y):
        """Targets as a matrix."""
        return y if self.n_classes is None else 2 * np.eye(self.n_classes)[y] - 1


def _all_equal(x):
    """Whether all rows are the first but for its rounding; two rows tell of most blocks that they are not."""
    limit = abs(x[:1]) * (2 * unit_of(x))
    return not bool((abs(x[-1:] - x[:1]) > limit).any()) and not bool((abs(x - x[:1]) > limit).any())
