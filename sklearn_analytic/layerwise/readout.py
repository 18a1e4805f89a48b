"""The last layer of a trained network in closed form: ridge regression of the targets on the features below it."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from sklearn_analytic.backend import get_backend
from sklearn_analytic.io._passes import Block, short_block_size
from sklearn_analytic.linalg._solvers import Problem, accumulated, solve

_GCV = Problem("gcv", True, None)


def refit_readout(layered, rows, n_outputs):
    """Replace the last layer of the head that predicts: ridge regression, the ridge by generalised cross-validation.

    Targets are one-hot classes or the standardised numbers; features are read in blocks and never kept.
    """
    targets = np.eye(n_outputs)[rows.y] if rows.y.ndim == 1 else rows.y.astype(np.float64)
    blocks = FeatureBlocks(layered.stack, layered.last, rows.x, targets, rows.weight)
    width = blocks.readout_inputs(slice(0, 1)).shape[1]
    statistic = accumulated("auto", blocks.reduce, len(rows.x), width, n_outputs, _GCV)
    solution = solve(statistic, _GCV)
    layered.set_readout(solution.coef, solution.intercept)


@dataclass(frozen=True)
class FeatureBlocks:
    """What a head's last layer reads of all rows, in blocks, as often as wanted."""

    stack: Any
    last: int
    x: np.ndarray
    y: np.ndarray
    weight: np.ndarray | None

    def reduce(self, start):
        """Return the statistic of all rows, added to one."""
        for block in self:
            start = start.accumulate(block.x, block.y, block.weight, get_backend("cpu"))
        return start

    def readout_inputs(self, rows):
        """Rows after all partitions and all but the last layer of the head."""
        h = self.x[rows]
        for k in range(self.last + 1):
            h = self.stack.features(k, h)
        return self.stack.readout_inputs(self.last, h)

    def __iter__(self):
        size = short_block_size(self.x.shape[1])
        for start in range(0, len(self.x), size):
            rows = slice(start, start + size)
            weight = None if self.weight is None else self.weight[rows]
            yield Block(self.readout_inputs(rows), self.y[rows], weight)
