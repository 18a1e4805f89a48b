"""Plain networks in modules on the CPU: products and kernels run without the GIL, side by side."""

from contextlib import contextmanager
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from sklearn_analytic.backend import one_blas_thread, training
from sklearn_analytic.nn._activations import activation_codes
from sklearn_analytic.nn._flat import (
    Views,
    adam_ahead,
    apply_update,
    compiled_rows,
    error_entries,
    flat_layers,
    flat_model,
    in_turn,
    squared_weights,
)
from sklearn_analytic.nn._mlp import products_are_small, raw_outputs
from sklearn_analytic.nn._passes import ExactChannel, backward, forward, output_error

_STATE = ("theta", "first", "second")  # arrays of a model that outlive a batch


class _Kept(NamedTuple):
    """What a batch leaves for its backward pass."""

    x: Any  # None where the rows can be read again
    outputs: list


class DenseCell:
    """A :class:`~sklearn_analytic.decoupled.pipeline.Cell` of consecutive dense layers [(W, b), ...].

    ``is_first`` reads the rows of a batch, ``is_last`` ends in the network's outputs and knows the targets.
    """

    def __init__(self, layers, activation, recipe, is_first, is_last):
        self.optimizer, self.n_updates = recipe.optimizer, 0
        self._is_first, self._is_last, self._dtype = is_first, is_last, np.dtype(recipe.precision)
        codes = activation_codes((activation,) * (len(layers) - 1), len(layers), "identity" if is_last else activation)
        self._model = flat_model(layers, codes, recipe)
        self._sizes = [int(n) for n in self._model.sizes]
        self._kept, self._kept_bytes, self._n_summed, self._sum = {}, 0, 0, None
        self._is_frozen = False  # whether batches on their way hold the live parameters

    def forward(self, batch, x, weights=None, keep=True):
        """Activations of all layers; the error takes the place of the last module's outputs."""
        m, x = len(batch.rows), None if self._is_first else x
        outputs = [np.empty((m, n), self._dtype) for n in self._sizes[1:]]
        model = self._with(weights)
        with np.errstate(over="ignore", invalid="ignore"):  # the loss shows both
            forward(model.layers, [self._inputs(batch, x), *outputs[:-1]], outputs)
        loss = output_error(outputs[-1], batch.data, batch.rows, model.loss) if self._is_last else 0.0
        if keep:
            self._kept[batch.index] = _Kept(x, outputs)
            self._kept_bytes += _bytes(outputs)
        return loss if self._is_last else outputs[-1]

    def backward(self, batch, error, weights=None):
        """Gradients of all layers, and the error for the module below."""
        (x, outputs), m = self._kept.pop(batch.index), len(batch.rows)
        self._kept_bytes -= _bytes(outputs)
        if self._n_summed == 1:
            self._sum = self._model.grad.copy()
        layers, inner = self._with(weights).layers, self._sizes[1:-1]
        errors = in_turn(np.empty(m * error_entries(self._sizes), self._dtype), m, inner)
        views = Views([self._inputs(batch, x), *outputs[:-1]], outputs, errors, None)
        with np.errstate(over="ignore", invalid="ignore"):
            d = backward(layers, views, ExactChannel(), error=None if self._is_last else error)
            below = None if self._is_first else d @ layers[0].weights.T
        if self._n_summed:
            self._sum += self._model.grad
        self._n_summed += 1
        return below

    def update(self, rate, scale):
        """One pass over the flat parameters."""
        total = self._model.grad if self._n_summed == 1 else self._sum
        if scale != 1:
            total *= self._dtype.type(scale)
        self.n_updates += 1
        self._part()
        apply_update(replace(self._model, grad=total), self.optimizer, float(rate), self.n_updates)
        self._n_summed = 0

    def frozen(self):
        """The flat parameters themselves: the next update goes to a copy."""
        self._is_frozen = True
        return self._model.theta

    def _part(self):
        """Leave the parameters to batches on their way, before they change."""
        if self._is_frozen:
            self._model, self._is_frozen = replace(self._model, theta=self._model.theta.copy()), False

    def replaced(self, tensors):
        """The one flat vector."""
        return tensors[0].astype(self._dtype, copy=False)

    def squared_weights(self):
        """Of flat layers."""
        return squared_weights(self._model)

    def tensors(self):
        """The one flat vector, a view."""
        return [self._model.theta]

    def moments(self):
        """Moments of the flat vector; zeros for those that the optimiser does not use, as in torch."""
        first, second = self._model.first, self._model.second
        is_plain = self.optimizer.name == "sgd" and self.optimizer.momentum == 0
        return [(np.zeros_like(first) if is_plain else first, second if len(second) else np.zeros_like(first))]

    def adam_ahead(self, distance):
        """One pass over the flat parameters."""
        out = np.empty_like(self._model.theta)
        adam_ahead(self._model, self.optimizer, float(distance), self.n_updates, out)
        return out

    def kept_bytes(self):
        """Activations of all layers, which the next module reads too."""
        return self._kept_bytes

    def is_finite(self):
        """Whether all weights are numbers."""
        return bool(np.isfinite(self._model.theta).all())

    def state(self):
        """Parameters, moments, updates."""
        return {name: getattr(self._model, name).copy() for name in _STATE} | {"n_updates": self.n_updates}

    def load(self, state):
        """Put a state back."""
        self._part()
        for name in _STATE:
            getattr(self._model, name)[:] = state[name]
        self.n_updates, self._kept, self._n_summed = int(state["n_updates"]), {}, 0
        self._kept_bytes = 0

    def layers(self):
        """Return [(W, b), ...] as copies."""
        return [(weights.copy(), bias.copy()) for weights, bias in flat_layers(self._model)]

    # ---- parts ----

    def _with(self, weights):
        """The model at other weights; gradients go to the live one's buffer."""
        return self._model if weights is None else replace(self._model, theta=weights)

    def _inputs(self, batch, x):
        """What the module reads: the first one the rows of the batch, others what came from below."""
        if not self._is_first:
            return x
        rows = np.empty((len(batch.rows), self._sizes[0]), self._dtype)
        training.gather(batch.data.x, batch.rows, rows)
        return rows


def _bytes(arrays):
    """Bytes of a list of arrays."""
    return sum(array.nbytes for array in arrays)


class DenseCells:
    """A plain network cut into :class:`DenseCell` modules.

    Parameters
    ----------
    layers : list of (ndarray, ndarray)
        Weights (n_in, n_out) and biases of all layers.
    activation : str
        Of all hidden layers.
    recipe : Recipe
        Optimiser, output rule, precision.
    ranges : list of tuple of int
        Half-open ranges of layers that cover them all.
    alone : bool
        Whether each operation is to use one thread of BLAS, as modules run beside each other.
    """

    def __init__(self, layers, activation, recipe, ranges, alone=True):
        last = len(layers)
        self.activation, self._dtype = activation, np.dtype(recipe.precision)
        sizes = np.array([layers[0][0].shape[0], *(bias.shape[0] for _, bias in layers)])
        self._one_thread = alone or products_are_small(recipe.batch_size, sizes)
        self.cells = [
            DenseCell(layers[first:stop], activation, recipe, first == 0, stop == last) for first, stop in ranges
        ]

    def place(self, rows):
        """Return the rows as the kernels read them."""
        return compiled_rows(rows, self._dtype)

    def rows(self, indices):
        """Row numbers as the kernels read them."""
        return np.ascontiguousarray(indices, dtype=np.int64)

    @contextmanager
    def training(self, epoch, least):
        """One thread of BLAS for each module, and where more would only wait."""
        with one_blas_thread(self._one_thread):
            yield

    def outputs(self, x):
        """Raw outputs of host rows, in their dtype."""
        return raw_outputs(self.layers(), self.activation, x)

    def layers(self):
        """Return [(W, b), ...] of all modules as copies."""
        return [layer for cell in self.cells for layer in cell.layers()]
