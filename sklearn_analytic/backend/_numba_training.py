"""Compiled kernels of networks trained by steps: all that is neither a product of matrices nor a decision.

Each is compiled when it is first called, alone: a step of a network is a loop in Python over them (``nn._passes``), so
that nothing is compiled that a fit does not use. None allocates, none holds the GIL.
"""

from sklearn_analytic.backend._numba_optimizers import adam, adam_ahead, sgd
from sklearn_analytic.backend._numba_outputs import (
    EXPGB,
    LINEAR,
    N_RULES,
    POW3GB,
    SOFTMAX,
    SQUARED,
    link_error,
    softmax_error,
    squared_error,
)
from sklearn_analytic.backend._numba_sides import gram_error, pull_loss, through_unit_lengths, to_unit_lengths
from sklearn_analytic.backend._numba_units import (
    IDENTITY,
    LEAKY,
    LOGISTIC,
    N_ACTIVATIONS,
    RELU,
    TANH,
    add_bias_and_activate,
    gather,
    keep_large_rows,
    mean_slope,
    move_rows,
    quantise,
    restore,
    signed_projection,
    times_slope,
)

__all__ = [
    "EXPGB",
    "IDENTITY",
    "LEAKY",
    "LINEAR",
    "LOGISTIC",
    "N_ACTIVATIONS",
    "N_RULES",
    "POW3GB",
    "RELU",
    "SOFTMAX",
    "SQUARED",
    "TANH",
    "adam",
    "adam_ahead",
    "add_bias_and_activate",
    "gather",
    "gram_error",
    "keep_large_rows",
    "link_error",
    "mean_slope",
    "move_rows",
    "pull_loss",
    "quantise",
    "restore",
    "sgd",
    "signed_projection",
    "softmax_error",
    "squared_error",
    "through_unit_lengths",
    "times_slope",
    "to_unit_lengths",
]
