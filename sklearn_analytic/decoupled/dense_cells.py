"""Plain networks in modules on the CPU: products and kernels run without the GIL, side by side."""

from contextlib import contextmanager
from dataclasses import replace

import numpy as np

from sklearn_analytic.backend import one_blas_thread, training
from sklearn_analytic.decoupled.dense_space import Versions, WorkSpace
from sklearn_analytic.nn._activations import activation_codes
from sklearn_analytic.nn._flat import adam_ahead, apply_update, compiled_rows, flat_layers, flat_model, squared_weights
from sklearn_analytic.nn._mlp import products_are_small, raw_outputs
from sklearn_analytic.nn._passes import ExactChannel, backward, forward, output_error

_EXACT = ExactChannel()
_STATE = ("theta", "first", "second")  # arrays of a model that outlive a batch


class DenseCell:
    """A :class:`~sklearn_analytic.decoupled.pipeline.Cell` of consecutive dense layers [(W, b), ...].

    ``is_first`` reads the rows of a batch, ``is_last`` ends in the network's outputs and knows the targets. Weights
    are handed out as a :class:`Version`. Unless memory ``stays`` it is asked for anew with every batch.
    """

    def __init__(self, layers, activation, recipe, is_first, is_last, stays=True):
        self.optimizer, self.n_updates = recipe.optimizer, 0
        self._is_first, self._is_last, self._dtype = is_first, is_last, np.dtype(recipe.precision)
        codes = activation_codes((activation,) * (len(layers) - 1), len(layers), "identity" if is_last else activation)
        self._model = flat_model(layers, codes, recipe)
        self._versions, self._frozen = Versions(stays), None  # the latter while batches may read the live parameters
        self._space = WorkSpace(self._model.sizes, self._dtype, stays)
        self._row_bytes = sum(self._space.sizes[1:]) * self._dtype.itemsize  # kept of every row on its way
        self._kept, self._kept_bytes, self._n_summed, self._sum = {}, 0, 0, None

    def forward(self, batch, x, weights=None, keep=True):
        """Activations of all layers; the error takes the place of the last module's outputs."""
        m, model = len(batch.rows), self._model if weights is None else weights.model
        slot = self._space.slot(m)
        views = slot.views(m)
        outputs = views.outputs if keep else [*views.outputs[:-1], np.empty_like(views.outputs[-1])]
        views.inputs[0] = self._rows(batch) if self._is_first else x
        forward(model.layers, views.inputs, outputs)
        loss = output_error(outputs[-1], batch.data, batch.rows, model.loss) if self._is_last else 0.0
        if keep:
            self._kept[batch.index] = slot
            self._kept_bytes += m * self._row_bytes
        else:
            self._space.give_back(slot, views)
        return loss if self._is_last else outputs[-1]

    def backward(self, batch, error, weights=None):
        """Gradients of all layers, and the error for the module below."""
        m, model = len(batch.rows), self._model if weights is None else weights.model
        slot = self._kept.pop(batch.index)
        self._kept_bytes -= m * self._row_bytes
        views = slot.views(m)
        if self._n_summed == 1:
            self._sum = self._model.grad.copy()
        if self._is_first:
            views.inputs[0] = self._rows(batch)
        d = backward(model.layers, views, _EXACT, error=None if self._is_last else error)
        below = None if self._is_first else np.dot(d, model.layers[0].weights.T)
        if self._n_summed:
            self._sum += self._model.grad
        self._n_summed += 1
        self._space.give_back(slot, views)  # the module above has read the outputs before it sent the error
        return below

    def update(self, rate, scale):
        """One pass over the flat parameters."""
        self._part()
        model = self._model if self._n_summed == 1 else replace(self._model, grad=self._sum)
        if scale != 1:
            model.grad[:] *= self._dtype.type(scale)
        self.n_updates += 1
        apply_update(model, self.optimizer, float(rate), self.n_updates)
        self._n_summed = 0

    def frozen(self):
        """The flat parameters themselves: the next update goes to a copy."""
        if self._frozen is None:
            self._frozen = self._versions.lend(self._model)
        return self._frozen

    def _part(self):
        """Leave the parameters to batches on their way, before they change."""
        if self._frozen is not None:
            self._model = self._versions.another(self._model)
            self._model.theta[:] = self._frozen.model.theta
            self._frozen = None

    def replaced(self, tensors):
        """The one flat vector."""
        model = self._versions.another(self._model)
        model.theta[:] = tensors[0]
        return self._versions.lend(model)

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
        model = self._versions.another(self._model)
        adam_ahead(self._model, self.optimizer, float(distance), self.n_updates, model.theta)
        return self._versions.lend(model)

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

    def _rows(self, batch):
        """What the first module reads, copied out of the table."""
        rows = self._space.rows(len(batch.rows))
        training.gather(batch.data.x, batch.rows, rows)
        return rows


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
    stays : bool
        Whether modules keep memory from batch to batch, which is faster.
    """

    def __init__(self, layers, activation, recipe, ranges, alone=True, stays=True):
        last = len(layers)
        self.activation, self._dtype = activation, np.dtype(recipe.precision)
        sizes = np.array([layers[0][0].shape[0], *(bias.shape[0] for _, bias in layers)])
        self._one_thread = alone or products_are_small(recipe.batch_size, sizes)
        self.cells = [
            DenseCell(layers[first:stop], activation, recipe, first == 0, stop == last, stays) for first, stop in ranges
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
        with one_blas_thread(self._one_thread), np.errstate(over="ignore", invalid="ignore"):  # the loss shows both
            yield

    def outputs(self, x):
        """Raw outputs of host rows, in their dtype."""
        return raw_outputs(self.layers(), self.activation, x)

    def layers(self):
        """Return [(W, b), ...] of all modules as copies."""
        return [layer for cell in self.cells for layer in cell.layers()]
