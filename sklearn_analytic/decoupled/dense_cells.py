"""Plain networks in modules on the CPU: every operation of a module is one compiled call without the GIL."""

from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np

from sklearn_analytic.backend import modules, one_blas_thread, training
from sklearn_analytic.nn._activations import activation_codes
from sklearn_analytic.nn._mlp import (
    compiled_rows,
    error_entries,
    exact_feedback,
    flat_layers,
    flat_model,
    optimizer_rule,
    products_are_small,
    raw_outputs,
)

_STATE = ("theta", "first", "second")  # arrays of a model that outlive a batch


class _Kept(NamedTuple):
    """What a batch leaves for its backward pass."""

    x: Any  # None where the rows can be read again
    hidden: np.ndarray
    output: np.ndarray


class DenseCell:
    """A :class:`~sklearn_analytic.decoupled.pipeline.Cell` of consecutive dense layers [(W, b), ...].

    ``is_first`` reads the rows of a batch, ``is_last`` ends in the network's outputs and knows the targets.
    """

    def __init__(self, layers, activation, recipe, is_first, is_last):
        self.optimizer, self.n_updates = recipe.optimizer, 0
        self._is_first, self._is_last, self._dtype = is_first, is_last, np.dtype(recipe.precision)
        codes = activation_codes((activation,) * (len(layers) - 1), len(layers), "identity" if is_last else activation)
        self._model = flat_model(layers, codes, recipe)
        sizes = self._model.sizes
        self._rule, self._feedback = optimizer_rule(recipe), exact_feedback(self._dtype)
        self._none, self._no_bytes = self._feedback.dense, self._feedback.signs
        self._no_rows = np.empty((0, 0), self._dtype)
        self._kept, self._kept_bytes, self._n_summed, self._sum = {}, 0, 0, None
        self._is_frozen = False  # whether batches on their way hold the live parameters
        self._n_in, self._n_hidden, self._n_out = int(sizes[0]), int(sizes[1:-1].sum()), int(sizes[-1])
        self._n_errors = error_entries(sizes)

    def forward(self, batch, x, weights=None, keep=True):
        """Activations of all layers; the error takes the place of the last module's outputs."""
        m = len(batch.rows)
        hidden, output = np.empty(m * self._n_hidden, self._dtype), np.empty(m * self._n_out, self._dtype)
        work = self._work_space(m, x, hidden, output, self._none)
        model, ends = self._with(weights), (self._is_first, self._is_last)
        loss = modules.module_forward(batch.data, batch.rows, model, work, self._rule, *ends)
        if keep:
            self._kept[batch.index] = _Kept(x, hidden, output)
            self._kept_bytes += hidden.nbytes + output.nbytes
        return loss if self._is_last else output.reshape(m, -1)

    def backward(self, batch, error, weights=None):
        """One call for all layers."""
        kept, m = self._kept.pop(batch.index), len(batch.rows)
        self._kept_bytes -= kept.hidden.nbytes + kept.output.nbytes
        below = self._no_rows if self._is_first else np.empty((m, self._n_in), self._dtype)
        output = kept.output if self._is_last else error.reshape(-1)
        values = self._no_rows if self._is_last else kept.output.reshape(m, -1)
        work = self._work_space(m, kept.x, kept.hidden, output, np.empty(m * self._n_errors, self._dtype))
        if self._n_summed == 1:
            self._sum = self._model.grad.copy()
        how = (self._feedback, work, self._rule, None)
        modules.module_backward(batch.data, batch.rows, self._with(weights), *how, self._is_first, values, below)
        if self._n_summed:
            self._sum += self._model.grad
        self._n_summed += 1
        return None if self._is_first else below

    def update(self, rate, scale):
        """One pass over the flat parameters."""
        total = self._model.grad if self._n_summed == 1 else self._sum
        if scale != 1:
            total *= self._dtype.type(scale)
        self.n_updates += 1
        self._part()
        training.apply_update(self._model._replace(grad=total), self._rule, float(rate), self.n_updates)
        self._n_summed = 0

    def frozen(self):
        """The flat parameters themselves: the next update goes to a copy."""
        self._is_frozen = True
        return self._model.theta

    def _part(self):
        """Leave the parameters to batches on their way, before they change."""
        if self._is_frozen:
            self._model, self._is_frozen = self._model._replace(theta=self._model.theta.copy()), False

    def replaced(self, tensors):
        """The one flat vector."""
        return tensors[0].astype(self._dtype, copy=False)

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
        training.adam_ahead(self._model, self._rule, float(distance), self.n_updates, out)
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
        return self._model if weights is None else self._model._replace(theta=weights)

    def _work_space(self, m, x, hidden, output, errors):
        """Buffers of one batch; the first module reads its rows into the first of them."""
        inputs = np.empty(m * self._n_in, self._dtype) if self._is_first else x.reshape(-1)
        none = self._none
        return training.Work(inputs, hidden, self._no_bytes, none, output, errors, none, none, none)


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
        """Return the rows as the compiled code reads them."""
        return compiled_rows(rows, self._dtype)

    def rows(self, indices):
        """Row numbers as the compiled code reads them."""
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
