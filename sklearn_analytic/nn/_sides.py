"""Second losses at one hidden layer, in the layout of the kernels: what teaches a layer beside the error from above."""

import math
from dataclasses import dataclass

import numpy as np

from sklearn_analytic.backend import training
from sklearn_analytic.nn._activations import ACTIVATION_CODES


@dataclass(frozen=True)
class SideLoss:
    """Losses at hidden layer ``layer`` (1 is the first): ``share`` of the error from above, and two of its own.

    ``similarity`` weighs the mean squared difference of the similarities of rows and of targets (Nokland and Eidnes
    2019), ``pull`` half the mean squared distance of the layer from the partition's input.
    """

    layer: int
    share: float = 1.0
    similarity: float = 0.0
    pull: float = 0.0


def start_side(loss, sizes, dtype, generator):
    """Return the kernels' state of a side loss, without the buffers of a batch; None is no loss."""
    empty = np.zeros(0, dtype)
    if loss is None:
        return training.Side(0, 1.0, 0.0, 0.0, _projection(0, dtype, None), empty, empty, empty, empty)
    units = int(sizes[loss.layer]) if loss.similarity > 0 else 0
    projection = _projection(units, dtype, generator)
    return training.Side(
        loss.layer, float(loss.share), float(loss.similarity), float(loss.pull), projection, empty, empty, empty, empty
    )


def with_buffers(side, m, sizes):
    """Return the state with buffers for batches of ``m`` rows."""
    if side.layer == 0:
        return side
    dtype, units = side.u.dtype, int(sizes[side.layer])
    similar = side.similarity > 0
    return side._replace(
        u=np.empty(m * units if similar else 0, dtype),
        gram=np.empty(m * m if similar else 0, dtype),
        error=np.empty(m * units if similar else 0, dtype),
        pulls=np.empty(m, dtype),
    )


def _projection(units, dtype, generator):
    """A bias-free layer (units, units) of variance 1 / units, as a model with a bias that stays 0."""
    sizes = np.array([units, units], dtype=np.int64)
    theta = np.zeros(units * (units + 1), dtype)
    if units:
        bound = math.sqrt(3 / units)
        theta[: units * units] = generator.uniform(-bound, bound, units * units)
    codes = np.array([ACTIVATION_CODES["identity"]], dtype=np.int64)
    return training.Model(
        sizes, codes, training.SQUARED, theta, np.zeros_like(theta), np.zeros_like(theta), np.zeros_like(theta)
    )
