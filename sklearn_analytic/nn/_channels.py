"""How the error of the outputs comes down to hidden layers of a plain network on the CPU."""

from functools import cached_property

import numpy as np

from sklearn_analytic.backend import training
from sklearn_analytic.backend._derived import WithDerived
from sklearn_analytic.nn._feedback import first_feedback, pack_signs


class ExactChannel:
    """Backpropagation: the error of the layer above through its weights."""

    matrices = None
    interval = 0  # steps between refreshes; 0 is never

    @property
    def arrays(self):
        """What a snapshot needs, by name."""
        return {}

    def send(self, k, error, d, weights, below):
        """Error at the outputs of hidden layer k, from ``error`` at the network's outputs and ``d`` one layer up."""
        np.dot(d, weights.T, below)


class DenseChannel(WithDerived):
    """Direct feedback: the error of the outputs times a matrix (C, n_k) for each hidden layer."""

    def __init__(self, matrices, interval, dtype):
        self._shapes, self.interval = [b.shape for b in matrices], interval
        self.dense = np.concatenate([b.ravel() for b in matrices]).astype(dtype)

    @cached_property
    def matrices(self):
        """Views of the matrices (C, n_k)."""
        parts = np.split(self.dense, np.cumsum([rows * columns for rows, columns in self._shapes])[:-1])
        return [part.reshape(shape) for part, shape in zip(parts, self._shapes, strict=True)]

    @property
    def arrays(self):
        """What a snapshot needs: it may have been refreshed or learned."""
        return {"feedback": self.dense}

    def send(self, k, error, d, weights, below):
        """One product with the error of the outputs."""
        np.dot(error, self.matrices[k], below)


class SignChannel(WithDerived):
    """Direct feedback of matrices of one size and packed signs: additions and subtractions."""

    interval = 0

    def __init__(self, matrices, is_drawn, dtype):
        self.signs, self._is_drawn = pack_signs(matrices), is_drawn
        self.scales = np.array([np.abs(b).max() for b in matrices], dtype)
        self._shapes = [b.shape for b in matrices]
        self._scratch = np.empty(max(b.size for b in matrices), dtype)

    @cached_property
    def _parts(self):
        """Views of the signs of each layer."""
        lengths = [rows * ((columns + 7) // 8) for rows, columns in self._shapes]
        return np.split(self.signs, np.cumsum(lengths)[:-1])

    @property
    def arrays(self):
        """What a snapshot needs: signs of first weights; drawn ones come back with the seed."""
        return {} if self._is_drawn else {"signs": self.signs, "scales": self.scales}

    @property
    def matrices(self):
        """Signs as numbers (C, n_k)."""
        found = []
        for part, scale, (rows, columns) in zip(self._parts, self.scales, self._shapes, strict=True):
            bits = np.unpackbits(part.reshape(rows, -1), axis=1, count=columns)
            found.append(scale * (2.0 * bits - 1))
        return found

    def send(self, k, error, d, weights, below):
        """A product of signs."""
        training.signed_projection(error, self._parts[k], below.shape[1], self.scales[k], self._scratch, below)


def channel(recipe, layers):
    """Return the channel of a recipe for layers [(W, b), ...] before the first step."""
    dtype, rule = np.dtype(recipe.precision), recipe.feedback
    if recipe.scheme == "backprop" or len(layers) == 1:
        return ExactChannel()
    matrices = first_feedback(rule, layers, np.random.default_rng(recipe.seed))
    if rule.name == "binary":
        return SignChannel(matrices, rule.init not in ("product", "sign_product"), dtype)
    return DenseChannel(matrices, rule.interval if rule.name == "refresh" else 0, dtype)
