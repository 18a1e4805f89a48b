"""Plain networks on the CPU: flat parameters, whole epochs in compiled calls, and the slower steps in between."""

from itertools import pairwise

import numpy as np

from sklearn_analytic.backend import one_blas_thread, training
from sklearn_analytic.nn._activations import activation_codes
from sklearn_analytic.nn._alignment import alignment
from sklearn_analytic.nn._feedback import FEEDBACKS, first_feedback, pack_signs, tangent_feedback
from sklearn_analytic.nn._losses import OUTPUT_CODES
from sklearn_analytic.nn._preconditioner import KFACState
from sklearn_analytic.nn._ranks import Alone
from sklearn_analytic.nn._recipe import batch
from sklearn_analytic.nn._sides import start_side, with_buffers

_OPTIMIZER_CODES = {"sgd": training.SGD, "adam": training.ADAM, "adamw": training.ADAMW}
_TRAINED = ("theta", "first", "second")  # arrays of a model that are its state
_FEEDBACK_BETAS, _FEEDBACK_EPSILON = (0.9, 0.999), 1e-8
_WORK_PER_CALL = 2e10  # multiplications: a compiled call cannot be interrupted, so it lasts a second or less
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
        self._feedback = self._first_feedback(layers)
        self._learns = FEEDBACKS[recipe.feedback.name] == "learned" and self._feedback.kind != training.BACKPROP
        self._feedback_moments = np.zeros((2, len(self._feedback.dense) if self._learns else 0), self._dtype)
        self._rule = optimizer_rule(recipe)
        self._kfac = None if recipe.kfac is None else KFACState.start(recipe.kfac, self.sizes, self._dtype)
        self._side = start_side(side, self.sizes, self._dtype, generator)
        self._top = top
        self._steps, self._work, self._work_rows, self._batch_rows = 0, None, 0, 0

    # ---- the protocol ----

    def place(self, rows):
        """Return the rows as the compiled code reads them."""
        return compiled_rows(rows, self._dtype)

    def epoch(self, placed, order, rates):
        """One step per rate; see :class:`Execution`."""
        order = np.ascontiguousarray(order, dtype=np.int64)
        self._batch_rows = len(order) - (len(rates) - 1) * len(order) // len(rates)
        work = self._buffers(-(-len(order) // len(rates)))
        advance = self._single_steps if self._is_stepwise() else self._compiled_steps
        with one_blas_thread(products_are_small(self.recipe.batch_size, self.sizes)):
            total = advance(placed, order, np.ascontiguousarray(rates, dtype=np.float64), work)
        if self._kfac is not None:
            self._kfac = self._kfac.after_epoch()
        return total / len(order)

    def outputs(self, x):
        """Raw outputs of host rows, in their dtype."""
        return raw_outputs(self.layers(), self.activation, x)

    def layers(self):
        """Return [(W, b), ...] as copies."""
        return [(w.copy(), b.copy()) for w, b in self._layers()]

    def snapshot(self):
        """All that training changes, as copies."""
        state = {"theta": self._model.theta, "first": self._model.first, "second": self._model.second}
        state |= {"feedback": self._feedback.dense, "steps": np.array(self._steps)}
        state |= {"feedback_moments": self._feedback_moments}
        if self._signs_are_kept():
            state |= {"signs": self._feedback.signs, "scales": self._feedback.scales}
        if self._side.similarity > 0:
            state |= {f"projection_{name}": getattr(self._side.projection, name) for name in _TRAINED}
        if self._kfac is not None:
            state |= self._kfac.arrays()
        return {name: array.copy() for name, array in state.items()}

    def restore(self, snapshot):
        """Put a snapshot back."""
        for name in _TRAINED:
            getattr(self._model, name)[:] = snapshot[name]
            if self._side.similarity > 0:
                getattr(self._side.projection, name)[:] = snapshot[f"projection_{name}"]
        self._feedback.dense[:] = snapshot["feedback"]
        self._feedback_moments[:] = snapshot["feedback_moments"]
        if self._signs_are_kept():
            self._feedback.signs[:], self._feedback.scales[:] = snapshot["signs"], snapshot["scales"]
        self._steps = int(snapshot["steps"])
        if self._kfac is not None:
            self._kfac = self._kfac.loaded(snapshot)

    def _signs_are_kept(self):
        """Signs of the first weights are state; drawn ones come back with the seed."""
        made = self.recipe.feedback.init in ("product", "sign_product")
        return made and self._feedback.kind == training.SIGNS

    def is_finite(self):
        """Whether all weights are numbers."""
        return bool(np.isfinite(self._model.theta).all())

    def activation_bytes(self):
        """Bytes of hidden activations that one batch keeps for its backward pass."""
        hidden, item = int(self.sizes[1:-1].sum()), self._dtype.itemsize
        exact = self.recipe.batch_size * hidden * item
        if not self.recipe.activation_bits:
            return {"stored": exact, "shared": 0, "exact": exact}
        packed = self.recipe.batch_size * hidden * self.recipe.activation_bits // 8 + 8 * (len(self.sizes) - 2)
        shared = 2 * self.recipe.batch_size * int(self.sizes[1:-1].max(initial=0)) * item
        return {"stored": packed, "shared": shared, "exact": exact}

    def batch_features(self):
        """Return a view of the activations of layer ``top`` (0 is the input) for the last batch."""
        return self._inputs(self._work, self._batch_rows)[self._top]

    def training_bytes(self):
        """Bytes of gradients, optimiser state and work space for the largest batch so far."""
        model, side = self._model, self._side
        arrays = [model.grad, model.first, model.second, *side.projection[4:], *side[5:]]
        return sum(array.nbytes for array in (*arrays, *(self._work or ())))

    def alignment(self, x, y):
        """Return the mean cosine of every hidden layer's error to the true gradient, on encoded rows."""
        feedback = None if self._feedback.kind == training.BACKPROP else self.feedback_matrices()
        y = y if y.ndim == 1 else y.astype(np.float64)
        return alignment(self.layers(), self.activation, self.recipe.output, x, y, feedback)

    def feedback_matrices(self):
        """Return the feedback (C, n_l) of every hidden layer as it is now; packed signs are spread out."""
        n_out, start, found = self.sizes[-1], 0, []
        if self._feedback.kind == training.SIGNS:
            return [scale * signs for scale, signs in zip(self._feedback.scales, self._unpacked(), strict=True)]
        for n in self.sizes[1:-1]:
            found.append(self._feedback.dense[start : start + n_out * n].reshape(n_out, n))
            start += n_out * n
        return found

    # ---- steps ----

    def _compiled_steps(self, data, order, rates, work):
        """Calls of the compiled loop, each short enough that an interrupt is heard."""
        side = self._side_or_none()
        per_step = 3 * -(-len(order) // len(rates)) * int(np.sum(self.sizes[:-1] * self.sizes[1:]))
        stride, total = max(1, int(_WORK_PER_CALL / per_step)), 0.0
        for begin in range(0, len(rates), stride):
            end = min(begin + stride, len(rates))
            total += training.train_steps(
                data, order, rates, begin, end, self._steps, self._model, self._feedback, work, self._rule, side
            )
            if not np.isfinite(total):
                return total
        self._steps += len(rates)
        return total

    def _single_steps(self, data, order, rates, work):
        """Steps that need more than the compiled loop: learned feedback, a preconditioner, several ranks."""
        total, side = 0.0, self._side_or_none()
        for k, rate in enumerate(rates):
            rows = batch(order, k, len(rates))
            share, n_rows = self._share(rows)
            interval = self._feedback.interval
            refresh = interval > 0 and self._steps % interval == 0
            if refresh and self._ranks.size > 1:
                self._refresh_together(data, share, n_rows, work)
                refresh = False
            loss = training.gradient(data, share, self._model, self._feedback, work, self._rule, side, refresh)
            if self._ranks.size > 1:
                loss = self._average(loss * len(rows) / n_rows, len(share) / n_rows)
            total += loss
            if not np.isfinite(total):
                return total
            self._learn_feedback(data, share, work)
            if self._kfac is not None:
                self._precondition(work, len(share), n_rows, rate)
            self._steps += 1
            training.apply_update(self._model, self._rule, float(rate), self._steps)
        return total

    def _side_or_none(self):
        """The side loss as the kernels are told of it: None where there is none, so that nothing of it is compiled."""
        return self._side if self._side.layer else None

    def _share(self, rows):
        """This rank's rows of a batch, and how many rows all ranks count; too few to share are taken by all."""
        size = self._ranks.size
        if len(rows) < size:
            return np.ascontiguousarray(rows), len(rows) * size
        return np.ascontiguousarray(batch(rows, self._ranks.rank, size)), len(rows)

    def _average(self, loss, share):
        """Make gradient and loss those of the whole batch."""
        self._model.grad[:] *= share
        self._ranks.sum_(self._model.grad)
        losses = np.array([loss])
        self._ranks.sum_(losses)
        return float(losses[0])

    def _refresh_together(self, data, rows, n_rows, work):
        """Refresh the feedback with the mean slopes of the whole batch, not of this rank's share."""
        training.mean_slopes(data, rows, self._model, work, self._rule)
        work.slopes[:] *= len(rows) / n_rows
        self._ranks.sum_(work.slopes)
        training.refresh_feedback(self._model, self._feedback.dense, work.slopes, work.scratch)

    def _precondition(self, work, m, n_rows, rate):
        """Replace the gradient by its Kronecker-preconditioned version, from this batch's activations and errors."""
        inputs, errors = self._inputs(work, m), self._errors(work, m)
        gradients = [self._segment(self._model.grad, layer) for layer in range(len(self.sizes) - 1)]
        self._kfac = self._kfac.step(inputs, errors, n_rows, gradients, rate, self._ranks)

    def _learn_feedback(self, data, rows, work):
        """Move learned feedback by one step of its own rule."""
        rule = self.recipe.feedback
        if not self._learns:
            return
        matrices = self.feedback_matrices()
        if rule.name == "dkp":  # Webster et al. 2021
            error = work.output[: len(rows) * self.sizes[-1]].reshape(len(rows), -1)
            hidden = self._inputs(work, len(rows))[1:]
            pulls = [error.T @ h + rule.decay * b for b, h in zip(matrices, hidden, strict=True)]
        else:
            estimates = tangent_feedback(self._layers(), self.activation, data.x[rows], self._generator)
            pulls = [b - estimate for b, estimate in zip(matrices, estimates, strict=True)]
        self._step_feedback(np.concatenate([pull.ravel() for pull in pulls]))

    def _step_feedback(self, pull):
        """Adam on the feedback, at its own constant rate."""
        t, (first, second) = self._steps + 1, self._feedback_moments
        first += (1 - _FEEDBACK_BETAS[0]) * (pull - first)
        second += (1 - _FEEDBACK_BETAS[1]) * (pull * pull - second)
        root = np.sqrt(second / (1 - _FEEDBACK_BETAS[1] ** t)) + _FEEDBACK_EPSILON
        self._feedback.dense[:] -= self.recipe.feedback.rate * first / (1 - _FEEDBACK_BETAS[0] ** t) / root

    def _is_stepwise(self):
        """Whether Python looks at every step."""
        return self._kfac is not None or self._learns or self._ranks.size > 1

    # ---- layout ----

    def _first_feedback(self, layers):
        """The feedback of the recipe in the layout of the kernels."""
        none, no_signs, rule = np.zeros(0, self._dtype), np.zeros(0, np.uint8), self.recipe.feedback
        if self.recipe.scheme == "backprop" or len(self.sizes) == 2:
            return exact_feedback(self._dtype)
        matrices = first_feedback(rule, layers, np.random.default_rng(self.recipe.seed))
        if rule.name == "binary":
            scales = np.array([np.abs(b).max() for b in matrices], self._dtype)
            return training.Feedback(training.SIGNS, none, pack_signs(matrices), scales, 0)
        dense = np.concatenate([b.ravel() for b in matrices]).astype(self._dtype)
        interval = rule.interval if rule.name == "refresh" else 0
        return training.Feedback(training.PROJECTED, dense, no_signs, none, interval)

    def _unpacked(self):
        """Signs of the packed matrices as -1 and 1."""
        start, n_out = 0, int(self.sizes[-1])
        for n in self.sizes[1:-1]:
            n_bytes = (n + 7) // 8
            rows = self._feedback.signs[start : start + n_out * n_bytes].reshape(n_out, n_bytes)
            start += n_out * n_bytes
            yield 2.0 * np.unpackbits(rows, axis=1, count=int(n)) - 1

    def _buffers(self, m):
        """Work space for batches of ``m`` rows, kept between epochs."""
        if self._work is None or self._work_rows < m:
            self._work, self._work_rows = _work_space(self.sizes, self.recipe, m), m
            self._side = with_buffers(self._side, m, self.sizes)
        return self._work

    def _layers(self):
        """Views [(W, b), ...] of the parameters."""
        return flat_layers(self._model)

    def _segment(self, flat, layer):
        """One layer's [W; b] (n_in + 1, n_out) in a flat vector."""
        return _segment(flat, self.sizes, layer)

    def _inputs(self, work, m):
        """Views of what every layer read in the last batch (exact activations only)."""
        starts = m * np.concatenate([[0], np.cumsum(self.sizes[1:-1])])
        hidden = [work.hidden[a:b].reshape(m, -1) for a, b in pairwise(starts)]
        return [work.batch[: m * self.sizes[0]].reshape(m, -1), *hidden]

    def _errors(self, work, m):
        """Views of the error at every layer's pre-activations in the last batch."""
        starts = m * np.concatenate([[0], np.cumsum(self.sizes[1:])])
        return [work.kept[a:b].reshape(m, -1) for a, b in pairwise(starts)]


def flat_model(layers, codes, recipe):
    """Return layers [(W, b), ...] as the kernels' model, with moments of zero; plain steps have no second ones."""
    sizes = np.array([layers[0][0].shape[0], *(bias.shape[0] for _, bias in layers)], dtype=np.int64)
    theta = np.concatenate([part.ravel() for layer in layers for part in layer]).astype(np.dtype(recipe.precision))
    second = theta if recipe.optimizer.name != "sgd" else theta[:0]
    state = [np.zeros_like(part) for part in (theta, theta, second)]
    return training.Model(sizes, codes, OUTPUT_CODES[recipe.output], theta, *state)


def flat_layers(model):
    """Return views [(W, b), ...] of a model's parameters."""
    parts = [_segment(model.theta, model.sizes, layer) for layer in range(len(model.sizes) - 1)]
    return [(part[:-1], part[-1]) for part in parts]


def _segment(flat, sizes, layer):
    """One layer's [W; b] (n_in + 1, n_out) in a flat vector of all."""
    lengths = (sizes[:-1] + 1) * sizes[1:]
    start = int(lengths[:layer].sum())
    return flat[start : start + lengths[layer]].reshape(-1, sizes[layer + 1])


def exact_feedback(dtype):
    """Return the kernels' feedback of backpropagation: no matrices."""
    none = np.zeros(0, dtype)
    return training.Feedback(training.BACKPROP, none, np.zeros(0, np.uint8), none, 0)


def error_entries(sizes):
    """Return how many entries the errors of a row take on their way down: two neighbouring layers in turns."""
    return min(len(sizes) - 2, 2) * int(sizes[1:].max())


def compiled_rows(rows, dtype):
    """Return rows as the compiled code reads them."""
    x = np.ascontiguousarray(rows.x, dtype=dtype)
    coded = rows.y.ndim == 1
    codes = np.ascontiguousarray(rows.y if coded else np.zeros(0), dtype=np.int64)
    targets = np.ascontiguousarray(np.zeros((0, 0)) if coded else rows.y, dtype=dtype)
    weight = np.zeros(0, dtype) if rows.weight is None else rows.weight.astype(dtype)
    return training.Data(x, codes, targets, weight)


def products_are_small(batch_size, sizes):
    """Whether a second thread of BLAS would only wait."""
    return batch_size * int(np.max(sizes[:-1] * sizes[1:])) < _WORK_FOR_THREADS


def raw_outputs(layers, activation, x, last="identity"):
    """Return the outputs (n, c) of a plain network, in the dtype of ``x``; ``last`` activates them."""
    h = x
    for (weights, bias), code in zip(layers, activation_codes(activation, len(layers), last), strict=True):
        h = h @ weights.astype(x.dtype, copy=False)
        training.add_bias_and_activate(h, bias.astype(x.dtype, copy=False), code)
    return h


def optimizer_rule(recipe):
    """The recipe's numbers in the layout of the kernels."""
    o = recipe.optimizer
    numbers = (float(value) for value in (o.beta_1, o.beta_2, o.epsilon, o.alpha))
    kind = (_OPTIMIZER_CODES[o.name], float(o.momentum), bool(o.nesterov))
    # rows of small error are moved out of the way where nothing but the gradient reads the batch afterwards
    watched = recipe.kfac is not None or FEEDBACKS[recipe.feedback.name] == "learned"
    compact = not watched and not recipe.activation_bits
    return training.Rule(*kind, *numbers, recipe.activation_bits or 0, float(recipe.tol_error), compact)


def training_bytes(sizes, recipe, side):
    """Return what :meth:`MLPExecution.training_bytes` is for a batch of the recipe; nothing is filled in."""
    m, dtype = recipe.batch_size, np.dtype(recipe.precision)
    entries = int(np.sum((sizes[:-1] + 1) * sizes[1:]))
    moments = 2 if recipe.optimizer.name == "sgd" else 3
    state = with_buffers(start_side(side, sizes, dtype, np.random.default_rng(0)), m, sizes)
    arrays = [*state.projection[4:], *state[5:], *_work_space(sizes, recipe, m)]
    return moments * entries * dtype.itemsize + sum(array.nbytes for array in arrays)


def _work_space(sizes, recipe, m):
    """Buffers of one batch; with low bits two full-precision buffers in turn and packed copies of all layers."""
    dtype, bits, keep = np.dtype(recipe.precision), recipe.activation_bits or 0, recipe.kfac is not None
    hidden, widest = int(sizes[1:-1].sum()), int(sizes[1:].max())
    return training.Work(
        np.empty(m * sizes[0], dtype),
        np.empty(2 * m * widest if bits else m * hidden, dtype),
        np.empty((m * hidden * bits + 7) // 8 + len(sizes) if bits else 0, np.uint8),
        np.zeros(len(sizes), dtype),
        np.empty(m * sizes[-1], dtype),
        np.empty(m * error_entries(sizes), dtype),
        np.empty(sizes[-1] * int(sizes[1:-1].max(initial=0)), dtype),
        np.empty(m * int(sizes[1:].sum()) if keep else 0, dtype),
        np.zeros(hidden, dtype),
    )
