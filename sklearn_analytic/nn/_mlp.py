"""Plain networks in training on the CPU: see :mod:`sklearn_analytic.nn._passes` for the steps' mathematics."""

import numpy as np

from sklearn_analytic.backend import one_blas_thread, training
from sklearn_analytic.nn._activations import activation_codes, add_bias_and_activate
from sklearn_analytic.nn._alignment import alignment
from sklearn_analytic.nn._feedback import FEEDBACKS, tangent_feedback
from sklearn_analytic.nn._flat import (
    Buffers,
    apply_update,
    compiled_rows,
    flat_layers,
    flat_model,
    layers_in,
    read_rows,
    segment,
    squared_weights,
)
from sklearn_analytic.nn._kfac import is_judged
from sklearn_analytic.nn._passes import (
    Gradient,
    backward,
    channel,
    forward,
    large_errors,
    mean_slopes,
    output_error,
    refresh_feedback,
)
from sklearn_analytic.nn._preconditioner import KFACState
from sklearn_analytic.nn._ranks import Alone
from sklearn_analytic.nn._recipe import batch, micro_batches
from sklearn_analytic.nn._sides import Side

_TRAINED = ("theta", "first", "second")  # arrays of a model that are its state
_FEEDBACK_BETAS, _FEEDBACK_EPSILON = (0.9, 0.999), 1e-8
_WORK_FOR_THREADS = 1.6e7  # of the largest product: below, a second thread costs more than it gives


class MLPExecution:
    """A plain network in training with NumPy and numba: see :class:`Execution`.

    ``activation`` is a name, or one for each hidden layer; ``side`` is a :class:`SideLoss` or None. ``top`` is the
    hidden layer whose activations :meth:`batch_features` returns.
    """

    def __init__(self, layers, activation, recipe, generator, ranks=None, side=None, top=0):
        self.recipe, self.activation = recipe, activation
        self._dtype = np.dtype(recipe.precision)
        self._ranks, self._generator = Alone() if ranks is None else ranks, generator
        self._model = flat_model(layers, activation_codes(activation, len(layers)), recipe)
        self.sizes = self._model.sizes
        self._feedback = channel(recipe, layers)
        self._learns = FEEDBACKS[recipe.feedback.name].changes == "learned" and self._feedback.matrices is not None
        self._feedback_moments = np.zeros((2, len(self._feedback.dense) if self._learns else 0), self._dtype)
        self._kfac = None if recipe.kfac is None else KFACState.start(recipe.kfac, self.sizes, self._dtype)
        self._mean, self._averaged = self._model.theta.copy() if recipe.optimizer.ema_decay else None, 0
        self._side = None if side is None else Side(side, self.sizes, self._dtype, generator)
        self._top = top
        self._steps, self._buffers, self._batch = 0, None, None

    # ---- the protocol ----

    def place(self, rows):
        """Return the rows as the kernels read them."""
        return compiled_rows(rows, self._dtype)

    def epoch(self, placed, order, rates):
        """One step per rate; see :class:`Execution`."""
        order = np.ascontiguousarray(order, dtype=np.int64)
        total, is_small = 0.0, products_are_small(self.recipe.rows_at_once, self.sizes)
        with one_blas_thread(is_small), np.errstate(over="ignore", invalid="ignore"):  # the loss shows both
            for k, rate in enumerate(np.asarray(rates, dtype=np.float64).tolist()):
                total += self._step(placed, batch(order, k, len(rates)), rate)
                if not np.isfinite(total):
                    break
        if self._kfac is not None:
            self._kfac = self._kfac.after_epoch()
        return total / len(order)

    def outputs(self, x):
        """Raw outputs of host rows, in their dtype."""
        return raw_outputs(layers_in(self._predicting, self.sizes), self.activation, x)

    def layers(self):
        """Return [(W, b), ...] with which the network predicts, as copies."""
        return list(self.each_layer())

    def each_layer(self):
        """Yield them one by one."""
        for w, b in layers_in(self._predicting, self.sizes):
            yield w.copy(), b.copy()

    @property
    def _predicting(self):
        """The parameters with which the network predicts, flat."""
        return self._model.theta if self._mean is None else self._mean

    def snapshot(self):
        """All that training changes, as copies."""
        state = self._state() | ({} if self._kfac is None else self._kfac.arrays())
        counted = {"steps": self._steps} | ({} if self._mean is None else {"averaged": self._averaged})
        return {name: np.array(value) for name, value in (state | counted).items()}

    def restore(self, snapshot):
        """Put a snapshot back."""
        for name, array in self._state().items():
            array[:] = snapshot["theta" if name == "mean" and name not in snapshot else name]
        self._steps, self._averaged = int(snapshot["steps"]), int(snapshot.get("averaged", 0))
        if self._kfac is not None:
            self._kfac = self._kfac.loaded(snapshot)

    def _state(self):
        """Arrays that are written when a snapshot is put back, by its names."""
        state = {name: getattr(self._model, name) for name in _TRAINED}
        state |= self._feedback.arrays | {"feedback_moments": self._feedback_moments}
        state |= {} if self._mean is None else {"mean": self._mean}
        if self._side is not None and self._side.projection is not None:
            state |= {f"projection_{name}": getattr(self._side.projection, name) for name in _TRAINED}
        return state

    def is_finite(self):
        """Whether all weights are numbers."""
        return bool(np.isfinite(self._model.theta).all())

    def activation_bytes(self):
        """Bytes of hidden activations that one batch, or a part of it, keeps for its backward pass."""
        hidden, item, m = int(self.sizes[1:-1].sum()), self._dtype.itemsize, self.recipe.rows_at_once
        exact = m * hidden * item
        if not self.recipe.activation_bits:
            return {"stored": exact, "shared": 0, "exact": exact}
        packed = m * hidden * self.recipe.activation_bits // 8 + 8 * (len(self.sizes) - 2)
        shared = 2 * m * int(self.sizes[1:-1].max(initial=0)) * item
        return {"stored": packed, "shared": shared, "exact": exact}

    def batch_features(self):
        """Return a view of the activations of layer ``top`` (0 is the input) for the last batch."""
        return self._batch.inputs[self._top]

    def drop_buffers(self):
        """Give the work space of a batch back, until the next one."""
        self._buffers = self._batch = None

    def training_bytes(self):
        """Bytes of gradients, optimiser state and work space for the largest batch so far."""
        parts = (self._model.grad, self._model.first, self._model.second, self._mean, self._side, self._buffers)
        return sum(part.nbytes for part in parts if part is not None)

    def alignment(self, x, y):
        """Return the mean cosine of every hidden layer's error to the true gradient, on encoded rows."""
        y = y if y.ndim == 1 else y.astype(np.float64)
        layers = flat_layers(self._model)  # that are trained, whichever predict
        return alignment(layers, self.activation, self.recipe.output, x, y, self.feedback_matrices())

    def feedback_matrices(self):
        """Return the feedback (C, n_l) of every hidden layer as it is now, None of backpropagation."""
        return self._feedback.matrices

    # ---- steps ----

    def _step(self, data, rows, rate):
        """Gradient, what else follows from it, update; return the loss, which moves nothing if it is not finite."""
        share, n_rows = self._share(rows)
        interval = self._feedback.interval
        loss = self._gradient(data, share, interval > 0 and self._steps % interval == 0, len(share) / n_rows)
        if self._ranks.size > 1:
            loss = self._average(loss * len(rows) / n_rows, len(share) / n_rows)
        measured = loss
        if self.recipe.optimizer.penalty:
            loss = self.recipe.optimizer.penalised(loss, len(rows), self._squared_weights())
        if not np.isfinite(loss):
            return loss
        if self._learns:
            self._learn_feedback(data, share)
        if self._kfac is not None:
            self._precondition(n_rows, rate)
            if is_judged(self._steps, self.recipe.kfac):
                self._judge(data, share, measured / len(rows), n_rows)
        self._steps += 1
        apply_update(self._model, self.recipe.optimizer, rate, self._steps)
        if self._mean is not None:
            self._averaged += 1
            training.move_towards(self._mean, self._model.theta, self.recipe.optimizer.share_of_mean(self._averaged))
        if self._side is not None:
            self._side.update(self.recipe.optimizer, rate, self._steps)
        return loss

    def _gradient(self, data, rows, refresh=False, share=1.0):
        """Fill the model's gradient with that of one batch, or what stands for it; return the sum of its losses.

        Mean slopes for a refresh count by ``share``, this rank's part of the batch. Micro-batches add up in the
        gradient itself.
        """
        parts, loss, gradient = micro_batches(rows, self.recipe.micro_batch), 0.0, Gradient()
        for number, part in enumerate(parts):
            if len(parts) > 1:
                gradient = Gradient(len(part) / len(rows), is_first=number == 0)
            loss += self._gradient_of(data, part, gradient, refresh, share)
            if not np.isfinite(loss):
                break
        return loss

    def _gradient_of(self, data, rows, gradient, refresh, share):
        """That of rows that pass at once."""
        recipe, layers, m = self.recipe, self._model.layers, len(rows)
        self._batch = views = self._work_space(m).views(m)
        read_rows(data.x, rows, views.inputs[0])
        forward(layers, views.inputs, views.outputs, views.packed)
        loss = output_error(views.outputs[-1], data, rows, self._model.loss)
        if self._side is not None:
            loss = self._side.loss(loss, views.inputs[self._side.layer], views.inputs[0], data, rows)
        if refresh and (np.isfinite(loss) or self._ranks.size > 1):
            self._refresh(mean_slopes(layers, views), share)
        if np.isfinite(loss):
            if recipe.tol_error > 0:
                views = large_errors(views, recipe.tol_error / m, self._rows_may_move())
            backward(layers, views, self._feedback, self._side, gradient=gradient)
        return loss

    def _squared_weights(self):
        """The squared weights of every layer, and of the projection that a side loss has."""
        side = None if self._side is None else self._side.projection
        return [square for model in (self._model, side) if model is not None for square in squared_weights(model)]

    def _rows_may_move(self):
        """Rows of small error are moved out of the way where nothing but the gradient reads the batch afterwards."""
        return self._kfac is None and not self._learns and not self.recipe.activation_bits

    def _share(self, rows):
        """This rank's rows of a batch, and how many rows all ranks count; too few to share are taken by all."""
        size = self._ranks.size
        if size == 1 or len(rows) < size:
            return rows, len(rows) * size
        return np.ascontiguousarray(batch(rows, self._ranks.rank, size)), len(rows)

    def _average(self, loss, share):
        """Make gradient and loss those of the whole batch."""
        self._model.grad[:] *= share
        self._ranks.sum_(self._model.grad)
        losses = np.array([loss])
        self._ranks.sum_(losses)
        return float(losses[0])

    def _refresh(self, slopes, share):
        """Refresh the feedback with the mean slopes of the whole batch, over all ranks."""
        if self._ranks.size > 1 and slopes:
            ends = np.cumsum([len(part) for part in slopes])[:-1]
            together = np.concatenate(slopes)
            together *= share
            self._ranks.sum_(together)
            slopes = np.split(together, ends)
        refresh_feedback(self._model.layers, slopes, self._feedback.keep)

    def _precondition(self, n_rows, rate):
        """Replace the gradient by its Kronecker-preconditioned version, from this batch's activations and errors."""
        gradients = [segment(self._model.grad, self.sizes, layer) for layer in range(len(self.sizes) - 1)]
        errors = [*self._batch.errors, self._batch.outputs[-1]]
        self._kfac = self._kfac.step(self._batch.inputs, errors, n_rows, gradients, rate, self._ranks)

    def _judge(self, data, rows, loss, n_rows):
        """Take the full preconditioned step on trial, and let the damping follow what it does to the batch's loss.

        ``loss`` is the mean of the rows' losses before it, over all ranks.
        """
        model, views = self._model, self._batch
        if self._kfac.scale == 0:  # of an infinite product: there is no step to try
            return
        kept = model.theta.copy()
        model.theta[:] -= model.grad / self._kfac.scale
        forward(model.layers, views.inputs, views.outputs)
        trial = np.array([output_error(views.outputs[-1], data, rows, model.loss)])
        model.theta[:] = kept
        if self._ranks.size > 1:
            self._ranks.sum_(trial)
        self._kfac = self._kfac.judged(loss - float(trial[0]) / n_rows)

    def _learn_feedback(self, data, rows):
        """Move learned feedback by one step of its own rule."""
        rule, matrices = self.recipe.feedback, self._feedback.matrices
        if rule.name == "dkp":  # Webster et al. 2021
            error, hidden = self._batch.outputs[-1], self._batch.inputs[1:]
            pulls = [error.T @ h + rule.decay * b for b, h in zip(matrices, hidden, strict=True)]
        else:
            layers = flat_layers(self._model)
            estimates = tangent_feedback(layers, self.activation, data.x[rows], self._generator)
            pulls = [b - estimate for b, estimate in zip(matrices, estimates, strict=True)]
        self._step_feedback(np.concatenate([pull.ravel() for pull in pulls]))

    def _step_feedback(self, pull):
        """Adam on the feedback, at its own constant rate."""
        t, (first, second) = self._steps + 1, self._feedback_moments
        first += (1 - _FEEDBACK_BETAS[0]) * (pull - first)
        second += (1 - _FEEDBACK_BETAS[1]) * (pull * pull - second)
        root = np.sqrt(second / (1 - _FEEDBACK_BETAS[1] ** t)) + _FEEDBACK_EPSILON
        self._feedback.dense[:] -= self.recipe.feedback.rate * first / (1 - _FEEDBACK_BETAS[0] ** t) / root

    def _work_space(self, m):
        """Buffers for batches of ``m`` rows, kept between epochs."""
        if self._buffers is None or self._buffers.n_rows < m:
            self._buffers = _buffers(self.sizes, self.recipe, m)
            if self._side is not None:
                self._side.resize(m)
        return self._buffers


def products_are_small(batch_size, sizes):
    """Whether a second thread of BLAS would only wait."""
    return batch_size * int(np.max(sizes[:-1] * sizes[1:])) < _WORK_FOR_THREADS


def raw_outputs(layers, activation, x, last="identity"):
    """Return the outputs (n, c) of a plain network, in the dtype of ``x``; ``last`` activates them."""
    h = x
    for (weights, bias), code in zip(layers, activation_codes(activation, len(layers), last), strict=True):
        h = h @ weights.astype(x.dtype, copy=False)
        add_bias_and_activate(h, bias.astype(x.dtype, copy=False), code)
    return h


def training_bytes(sizes, recipe, side):
    """Return what :meth:`MLPExecution.training_bytes` is for a batch of the recipe; nothing is filled in."""
    m, dtype = recipe.rows_at_once, np.dtype(recipe.precision)
    entries = int(np.sum((sizes[:-1] + 1) * sizes[1:]))
    moments = 2 if recipe.optimizer.name == "sgd" else 3
    total = moments * entries * dtype.itemsize + _buffers(sizes, recipe, m).nbytes
    if side is not None:
        state = Side(side, sizes, dtype, np.random.default_rng(0))
        state.resize(m)
        total += state.nbytes
    return total


def _buffers(sizes, recipe, m):
    """Buffers for batches of ``m`` rows; a preconditioner reads the errors of all layers."""
    return Buffers(sizes, m, np.dtype(recipe.precision), recipe.activation_bits or 0, recipe.kfac is not None)
