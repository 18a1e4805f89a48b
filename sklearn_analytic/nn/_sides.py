"""Second losses at one hidden layer: what teaches a layer beside the error from above.

With h (m, n) the layer, A (n, n) a projection that is trained along and thrown away, and u_i the centred rows of hA
over their lengths, similarity matching is ``sum_ij w_i w_j (u_i . u_j - S_ij)^2 / m^2``; S tells which targets are
alike.
"""

import math
from dataclasses import dataclass

import numpy as np

from sklearn_analytic.backend import training
from sklearn_analytic.nn._activations import activation_codes
from sklearn_analytic.nn._flat import FlatModel, apply_update


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


class Side:
    """A side loss in training: its projection (None without similarity matching), and buffers of a batch."""

    def __init__(self, loss, sizes, dtype, generator):
        self.layer, self._loss, self._dtype = loss.layer, loss, dtype
        self._n, self._n_outputs = int(sizes[loss.layer]), int(sizes[-1])
        self.projection = _projection(self._n, dtype, generator) if loss.similarity > 0 else None
        self.resize(0)

    def resize(self, m):
        """Take buffers for batches of up to ``m`` rows."""
        similar = m if self.projection is not None else 0
        shapes = [(similar, self._n), (similar * similar,), (similar, self._n), (similar,), (m,)]
        self._u, self._gram, self._error, self._inverses, self._factors = (np.empty(s, self._dtype) for s in shapes)

    @property
    def nbytes(self):
        """Bytes of the buffers, and of the projection's gradient and moments."""
        buffers = (self._u, self._gram, self._error, self._inverses, self._factors)
        p = self.projection
        return sum(part.nbytes for part in (*buffers, *(() if p is None else (p.grad, p.first, p.second))))

    def loss(self, loss, h, below, data, rows):
        """The loss of a batch with ``loss`` from above; the gradients wait for :meth:`add_error` and :meth:`update`.

        ``h`` (m, n) is the layer, ``below`` (m, n) the input of the partition. Losses are sums over the batch, errors
        those of the mean.
        """
        loss *= self._loss.share
        if self.projection is not None:
            loss += self._loss.similarity * self._similarity(h, data, rows)
        if self._loss.pull > 0:
            loss += training.pull_loss(h, below, data.weight, rows, float(self._loss.pull), self._factors)
        return loss

    def add_error(self, error, h, below):
        """``error = share error + side errors`` in place."""
        m = len(error)
        error *= self._dtype.type(self._loss.share)
        if self.projection is not None:
            error += self._error[:m]
        if self._loss.pull > 0:
            error += self._factors[:m, None] * (h - below)

    def update(self, optimizer, rate, step):
        """One step of the projection."""
        if self.projection is not None:
            apply_update(self.projection, optimizer, rate, step)

    def _similarity(self, h, data, rows):
        """Similarity matching; the error goes to its buffer, the projection's gradient to its model."""
        m, (projection,) = len(h), self.projection.layers
        u, gram, error, inverses = self._u[:m], self._gram[: m * m].reshape(m, m), self._error[:m], self._inverses[:m]
        np.dot(h, projection.weights, u)
        training.to_unit_lengths(u, inverses)
        np.dot(u, u.T, gram)
        targets = (data.codes, data.targets, data.weight)
        loss = training.gram_error(gram, *targets, rows, self._n_outputs, float(self._loss.similarity))
        np.dot(gram, u, error)
        training.through_unit_lengths(error, u, inverses)
        np.dot(h.T, error, projection.d_weights)
        np.dot(error, projection.weights.T, u)
        error[:] = u
        return loss


def _projection(units, dtype, generator):
    """A bias-free layer (units, units) of variance 1 / units, as a model with a bias that stays 0."""
    sizes = np.array([units, units], dtype=np.int64)
    theta = np.zeros(units * (units + 1), dtype)
    bound = math.sqrt(3 / units)
    theta[: units * units] = generator.uniform(-bound, bound, units * units)
    codes = activation_codes("identity", 1)
    state = (np.zeros_like(theta) for _ in range(3))
    return FlatModel(sizes, codes, training.SQUARED, theta, *state)
