"""A whole epoch of a plain network in one compiled call without the GIL: BLAS for products, one pass for the rest.

Parameters are one flat vector: of every layer its weights (n_in, n_out), then its bias. Gradient and moments have the
same layout, feedback matrices (C, n_l) of all hidden layers are one flat vector too. Activation codes and rules are
those of ``nn._activations``; nn holds the naive story, tests compare the two.
"""

from collections import namedtuple

import numpy as np
from numba import njit

from sklearn_analytic.backend._numba_optimizers import ADAM, ADAMW, SGD, adam_ahead, apply_update
from sklearn_analytic.backend._numba_outputs import (
    EXPGB,
    LINEAR,
    POW3GB,
    SOFTMAX,
    SQUARED,
    output_error,
)
from sklearn_analytic.backend._numba_sides import Side, add_side_error, side_error
from sklearn_analytic.backend._numba_units import (
    COMPILED,
    IDENTITY,
    LEAKY,
    LOGISTIC,
    RELU,
    TANH,
    add_bias_and_activate,
    mean_slope,
    quantise,
    restore,
    times_slope,
)

__all__ = [
    "ADAM",
    "ADAMW",
    "BACKPROP",
    "EXPGB",
    "IDENTITY",
    "LEAKY",
    "LINEAR",
    "LOGISTIC",
    "POW3GB",
    "PROJECTED",
    "RELU",
    "SGD",
    "SIGNS",
    "SOFTMAX",
    "SQUARED",
    "TANH",
    "Data",
    "Feedback",
    "Model",
    "Rule",
    "Side",
    "Work",
    "adam_ahead",
    "add_bias_and_activate",
    "apply_update",
    "gradient",
    "mean_slopes",
    "quantise",
    "refresh_feedback",
    "restore",
    "train_steps",
]

BACKPROP, PROJECTED, SIGNS = range(3)

# What is trained on, what is trained, where intermediate results live, how. Tuples of arrays compile to structs.
# A side loss that is None compiles to nothing, and none of what it would call is compiled at all.
Data = namedtuple("Data", "x codes targets weight")
Model = namedtuple("Model", "sizes activations loss theta grad first second")
Feedback = namedtuple("Feedback", "kind dense signs scales interval")
Work = namedtuple("Work", "batch hidden packed steps output errors scratch kept slopes")
Rule = namedtuple("Rule", "optimizer momentum nesterov beta_1 beta_2 epsilon alpha bits tol_error compact")


@njit(**COMPILED)
def _matrix(flat, start, rows, columns):
    """A contiguous part of a flat buffer as a matrix."""
    return flat[start : start + rows * columns].reshape(rows, columns)


@njit(**COMPILED)
def _first(flat, rows, columns):
    """The beginning of a flat buffer as a matrix."""
    return flat[: rows * columns].reshape(rows, columns)


@njit(**COMPILED)
def _fill(flat, value):
    """Set all entries of a vector."""
    for k in range(len(flat)):
        flat[k] = value


@njit(**COMPILED)
def gather(x, rows, out):
    """Copy the rows of a batch, in the dtype of the work buffers."""
    for i in range(len(rows)):
        source = x[rows[i]]
        for j in range(out.shape[1]):
            out[i, j] = source[j]


# ---- which error reaches which layer ----


@njit(**COMPILED, fastmath={"contract"})
def signed_projection(e, signs, n_units, scale, scratch, out):
    """``out = scale * e S`` for a matrix S of packed signs (C, n / 8): each entry of e is added or subtracted.

    A class's signs are spread out in ``scratch`` while they are used; four classes share a pass over the rows. A
    product with plus or minus one is how vector units add or subtract, and as exact.
    """
    n_bytes, n_classes = (n_units + 7) // 8, e.shape[1]
    plus = out.dtype.type(scale)
    for c in range(n_classes):
        for j in range(n_units):
            bit = (signs[c * n_bytes + (j >> 3)] >> (7 - (j & 7))) & 1
            scratch[c * n_units + j] = plus if bit else -plus
    whole = n_classes - n_classes % 4
    for i in range(e.shape[0]):
        row, error = out[i], e[i]
        for j in range(n_units):
            row[j] = 0
        for c in range(0, whole, 4):
            p, q, r, s = error[c], error[c + 1], error[c + 2], error[c + 3]
            start = c * n_units
            sp, sq = scratch[start : start + n_units], scratch[start + n_units : start + 2 * n_units]
            start += 2 * n_units
            sr, ss = scratch[start : start + n_units], scratch[start + n_units : start + 2 * n_units]
            for j in range(n_units):
                row[j] += (p * sp[j] + q * sq[j]) + (r * sr[j] + s * ss[j])
        for c in range(whole, n_classes):
            p, sp = error[c], scratch[c * n_units : (c + 1) * n_units]
            for j in range(n_units):
                row[j] += p * sp[j]


@njit(**COMPILED)
def refresh_feedback(model, dense, slopes, scratch):
    """The mean-field product: ``B_last = W_L^T``, ``B_l = (B_{l+1} diag(mean f'_{l+1})) W_{l+1}^T``, top down.

    ``slopes`` are the mean slopes of all hidden layers, in their order.
    """
    sizes = model.sizes
    n_layers, n_out = len(sizes) - 1, sizes[-1]
    end_theta, end_dense, end_slopes = len(model.theta), len(dense), len(slopes)
    for layer in range(n_layers - 1, 0, -1):
        n_in, n_here = sizes[layer], sizes[layer + 1]
        end_theta -= (n_in + 1) * n_here
        weights = _matrix(model.theta, end_theta, n_in, n_here)
        below = _matrix(dense, end_dense - n_out * n_in, n_out, n_in)
        if layer == n_layers - 1:
            for c in range(n_out):
                for j in range(n_in):
                    below[c, j] = weights[j, c]
        else:
            above = _matrix(dense, end_dense, n_out, n_here)
            scaled = _first(scratch, n_out, n_here)
            end_slopes -= n_here
            for c in range(n_out):
                for j in range(n_here):
                    scaled[c, j] = above[c, j] * slopes[end_slopes + j]
            np.dot(scaled, weights.T, below)
        end_dense -= n_out * n_in


@njit(**COMPILED)
def _large_errors(model, work, m, tol_error, compact):
    """Move the rows of large output error to the front of all stored activations; return how many there are.

    Where rows cannot be moved (not ``compact``), the errors of the others become zero: the same gradient.
    """
    if tol_error <= 0:
        return m
    n_out = model.sizes[-1]
    error = _first(work.output, m, n_out)
    kept, bound = 0, (tol_error / m) ** 2
    for i in range(m):
        size = 0.0
        for j in range(n_out):
            size += np.float64(error[i, j]) ** 2
        if size < bound and compact:
            continue
        if size < bound:
            for j in range(n_out):
                error[i, j] = 0
        if kept < i:
            _move_row(error, i, kept)
            _move_row(_first(work.batch, m, model.sizes[0]), i, kept)
            start = 0
            for layer in range(1, len(model.sizes) - 1):
                _move_row(_matrix(work.hidden, start, m, model.sizes[layer]), i, kept)
                start += m * model.sizes[layer]
        kept += 1
    return kept


@njit(**COMPILED)
def _move_row(matrix, source, target):
    """Copy one row over another."""
    for j in range(matrix.shape[1]):
        matrix[target, j] = matrix[source, j]


@njit(**COMPILED)
def _is_signed(activation):
    """Whether an activation has negative values."""
    return activation != RELU and activation != LOGISTIC


@njit(**COMPILED)
def _pack(h, bits, signed, packed, start):
    """Keep a low-bit copy of activations; return its step."""
    return quantise(h, bits, signed, packed[start : start + (h.size * bits + 7) // 8])


@njit(**COMPILED)
def _unpack(packed, start, bits, signed, step, out):
    """Bring activations back from their low-bit copy."""
    restore(packed[start : start + (out.size * bits + 7) // 8], bits, signed, step, out)


@njit(**COMPILED)
def forward(model, work, rule, m):
    """Fill the activations of the batch in ``work.batch``; with low bits only their packed copies remain."""
    sizes = model.sizes
    n_layers = len(sizes) - 1
    here = _first(work.batch, m, sizes[0])
    start = start_theta = start_packed = 0
    for layer in range(n_layers):
        n_in, n_out = sizes[layer], sizes[layer + 1]
        weights = _matrix(model.theta, start_theta, n_in, n_out)
        bias = model.theta[start_theta + n_in * n_out : start_theta + (n_in + 1) * n_out]
        start_theta += (n_in + 1) * n_out
        last, code = layer == n_layers - 1, model.activations[layer]
        if last:
            after = _first(work.output, m, n_out)
        elif rule.bits > 0:  # two buffers in turn
            after = _matrix(work.hidden, (layer & 1) * (len(work.hidden) // 2), m, n_out)
        else:
            after = _matrix(work.hidden, start, m, n_out)
        np.dot(here, weights, after)
        add_bias_and_activate(after, bias, code)
        if not last and rule.bits > 0:
            work.steps[layer] = _pack(after, rule.bits, _is_signed(code), work.packed, start_packed)
            start_packed += (m * n_out * rule.bits + 7) // 8
        start += m * n_out
        here = after


@njit(**COMPILED)
def _store_slopes(model, work, rule, m):
    """Mean slopes of all hidden layers, from what is stored of their activations; with low bits a layer at a time."""
    start = start_slopes = start_packed = 0
    for layer in range(1, len(model.sizes) - 1):
        n, code = model.sizes[layer], model.activations[layer - 1]
        h = _matrix(work.hidden, start, m, n)
        if rule.bits > 0:
            _unpack(work.packed, start_packed, rule.bits, _is_signed(code), work.steps[layer - 1], h)
            start_packed += (m * n * rule.bits + 7) // 8
        else:
            start += m * n
        mean_slope(h, code, work.slopes[start_slopes : start_slopes + n])
        start_slopes += n


@njit(**COMPILED)
def mean_slopes(data, rows, model, work, rule):
    """Fill ``work.slopes`` with the mean slopes of a batch: what ranks average before they refresh."""
    m = len(rows)
    gather(data.x, rows, _first(work.batch, m, model.sizes[0]))
    forward(model, work, rule, m)
    _store_slopes(model, work, rule, m)


@njit(**COMPILED)
def _keep_error(d, kept, start):
    """Keep the error of a layer for those who ask for it."""
    if len(kept) > 0:
        out = _matrix(kept, start, d.shape[0], d.shape[1])
        for i in range(d.shape[0]):
            for j in range(d.shape[1]):
                out[i, j] = d[i, j]


@njit(**COMPILED)
def _add_side_error(error, h, work, side, layer, m, n_in):
    """Add the errors of the side losses where they are."""
    if side is not None and layer == side.layer:
        add_side_error(error, h, _first(work.batch, m, n_in), side)


@njit(**COMPILED)
def backward(model, feedback, work, rule, side, m, m_stored):
    """Gradient of every layer, top down: ``D_L = e``; below it backpropagation or a projection of e, times the slope.

    ``m`` rows remain of the ``m_stored`` for which buffers are laid out. ``side`` adds an error at one layer.
    """
    sizes = model.sizes
    n_layers, n_out = len(sizes) - 1, sizes[-1]
    error = _first(work.output, m, n_out)
    half = len(work.errors) // 2
    d = error
    end_theta, end, end_packed, end_kept, end_dense, end_signs = len(model.theta), 0, 0, 0, 0, 0
    for layer in range(1, n_layers):
        end += m_stored * sizes[layer]
        end_packed += (m_stored * sizes[layer] * rule.bits + 7) // 8
        end_dense += n_out * sizes[layer]
        end_signs += n_out * ((sizes[layer] + 7) // 8)
    for layer in range(n_layers):
        end_kept += m * sizes[layer + 1]
    for layer in range(n_layers - 1, -1, -1):
        n_in, n_here = sizes[layer], sizes[layer + 1]
        end_theta -= (n_in + 1) * n_here
        if layer == 0:
            h = _first(work.batch, m, n_in)
        elif rule.bits > 0:
            end_packed -= (m_stored * n_in * rule.bits + 7) // 8
            h = _first(work.hidden, m, n_in)
            signed = _is_signed(model.activations[layer - 1])
            _unpack(work.packed, end_packed, rule.bits, signed, work.steps[layer - 1], h)
        else:
            end -= m_stored * n_in
            h = _matrix(work.hidden, end, m, n_in)
        weights = _matrix(model.theta, end_theta, n_in, n_here)
        np.dot(h.T, d, _matrix(model.grad, end_theta, n_in, n_here))
        _column_sums(d, model.grad[end_theta + n_in * n_here : end_theta + (n_in + 1) * n_here])
        end_kept -= m * n_here
        _keep_error(d, work.kept, end_kept)
        if layer > 0:
            below = _matrix(work.errors, (layer & 1) * half if n_layers > 2 else 0, m, n_in)
            end_dense -= n_out * n_in
            end_signs -= n_out * ((n_in + 7) // 8)
            if feedback.kind == BACKPROP:
                np.dot(d, weights.T, below)
            elif feedback.kind == PROJECTED:
                np.dot(error, _matrix(feedback.dense, end_dense, n_out, n_in), below)
            else:
                signs = feedback.signs[end_signs : end_signs + n_out * ((n_in + 7) // 8)]
                signed_projection(error, signs, n_in, feedback.scales[layer - 1], work.scratch, below)
            _add_side_error(below, h, work, side, layer, m, sizes[0])
            times_slope(below, h, model.activations[layer - 1])
            d = below


@njit(**COMPILED)
def _column_sums(d, out):
    """``out = sum_i d_i``, row by row: vector additions."""
    _fill(out, 0)
    for i in range(d.shape[0]):
        for j in range(d.shape[1]):
            out[j] += d[i, j]


@njit(**COMPILED, inline="always")
def gradient(data, rows, model, feedback, work, rule, side, refresh):
    """Fill ``model.grad`` with the gradient (or what stands for it) of one batch; return the sum of its losses."""
    m = len(rows)
    gather(data.x, rows, _first(work.batch, m, model.sizes[0]))
    forward(model, work, rule, m)
    loss = output_error(_first(work.output, m, model.sizes[-1]), data, rows, model.loss)
    loss = _with_side_loss(loss, data, rows, model, work, side, m)
    if not np.isfinite(loss):
        return loss
    if refresh:
        _store_slopes(model, work, rule, m)
        refresh_feedback(model, feedback.dense, work.slopes, work.scratch)
    kept = _large_errors(model, work, m, rule.tol_error, rule.compact)
    if kept == 0:
        _fill(model.grad, 0)
    else:
        backward(model, feedback, work, rule, side, kept, m)
    return loss


@njit(**COMPILED)
def _with_side_loss(loss, data, rows, model, work, side, m):
    """The loss with those of the side layer, whose errors wait there for the backward pass."""
    if side is None:
        return loss
    if side.layer == 0:
        return loss
    start = 0
    for layer in range(1, side.layer):
        start += m * model.sizes[layer]
    h = _matrix(work.hidden, start, m, model.sizes[side.layer])
    batch = _first(work.batch, m, model.sizes[0])
    return side.share * loss + side_error(h, batch, data, rows, model.sizes[-1], side)


@njit(**COMPILED)
def _update_side(side, rule, rate, step):
    """One step of the projection that similarities are compared by."""
    if side is not None and side.similarity > 0:
        apply_update(side.projection, rule, rate, step)


@njit(**COMPILED)
def train_steps(data, order, rates, begin, end, step, model, feedback, work, rule, side):
    """Batches ``begin .. end`` of ``order``, one per rate: gradient, update, a refresh every ``interval`` steps.

    ``step`` is the number of steps taken before the first batch of ``order``. Returns the sum of the losses; NaN or
    infinity ends the epoch before the weights see it.
    """
    total = 0.0
    for k in range(begin, end):
        start = (k * len(order)) // len(rates)
        stop = ((k + 1) * len(order)) // len(rates)
        refresh = feedback.interval > 0 and (step + k) % feedback.interval == 0
        loss = gradient(data, order[start:stop], model, feedback, work, rule, side, refresh)
        total += loss
        if not np.isfinite(loss):
            break
        apply_update(model, rule, rates[k], step + k + 1)
        _update_side(side, rule, rates[k], step + k + 1)
    return total
