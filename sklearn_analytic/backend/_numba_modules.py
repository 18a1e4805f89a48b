"""One module of a network: its rows, the loss at its top, and the error that it hands down."""

import numpy as np
from numba import njit

from sklearn_analytic.backend._numba_outputs import output_error
from sklearn_analytic.backend._numba_training import backward, forward, gather
from sklearn_analytic.backend._numba_units import COMPILED, times_slope


@njit(**COMPILED)
def module_forward(data, rows, model, work, rule, is_first, is_last):
    """Fill the activations of a batch, whose rows the first module reads; of the last one return the sum of losses."""
    if is_first:
        gather(data.x, rows, work.batch.reshape(len(rows), model.sizes[0]))
    forward(model, work, rule, len(rows))
    if not is_last:
        return 0.0
    return output_error(work.output.reshape(len(rows), model.sizes[-1]), data, rows, model.loss)


@njit(**COMPILED)
def module_backward(data, rows, model, feedback, work, rule, side, is_first, values, below):
    """Fill ``model.grad`` from the error in ``work.output``, and ``below`` (m, n_0), empty in the first module.

    ``values`` (m, n_top) are the module's outputs, whose slope the error still needs; empty for the last module.
    """
    sizes, m = model.sizes, len(rows)
    n_layers = len(sizes) - 1
    if is_first:
        gather(data.x, rows, work.batch.reshape(m, sizes[0]))
    if values.size > 0:
        times_slope(work.output.reshape(values.shape), values, model.activations[n_layers - 1])
    backward(model, feedback, work, rule, side, m, m)
    if not is_first:
        n_in, n_here = sizes[0], sizes[1]
        half = len(work.errors) // 2
        error = work.output if n_layers == 1 else work.errors[half if n_layers > 2 else 0 :]
        d = error[: m * n_here].reshape(m, n_here)
        np.dot(d, model.theta[: n_in * n_here].reshape(n_in, n_here).T, below)
