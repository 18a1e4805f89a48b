"""Where a network is cut into modules: consecutive layers whose slowest group is fastest."""

from itertools import pairwise

import numpy as np

from sklearn_analytic.decoupled.pipeline import PipelineSchedule
from sklearn_analytic.decoupled.pipeline_execution import Pipeline
from sklearn_analytic.decoupled.pipeline_executors import Sequential
from sklearn_analytic.nn._cutting import balanced_partitions
from sklearn_analytic.nn._recipe import Rows

RECOMPUTED = 4 / 3  # cost of a module that runs forward twice: a backward pass costs two forward passes
_UPDATE = 140  # floating point operations in the time that one weight's update takes
_UNIT = 20  # the same for one unit's activation and its slope
_REPEATS = 5


def dense_costs(sizes, n_rows):
    """Return the cost of every dense layer for one batch, in operations; the first layer sends no error down."""
    found = []
    for layer, (n_in, n_out) in enumerate(pairwise(sizes)):
        products = 4 if layer == 0 else 6
        found.append(n_in * n_out * (products * n_rows + _UPDATE) + _UNIT * n_rows * n_out)
    return found


def balanced_modules(costs, n_modules, recomputed=False):
    """Return [(first, stop), ...]: consecutive layers whose largest cost is least.

    With ``recomputed`` all modules but the last cost a third more: equation (12).
    """
    if not recomputed or n_modules == 1:
        return balanced_partitions(costs, n_modules)
    n = len(costs)
    cuts = [(balanced_partitions(costs[:cut], n_modules - 1), cut) for cut in range(n_modules - 1, n)]

    def slowest(lower, cut):
        return max(*(RECOMPUTED * sum(costs[a:b]) for a, b in lower), sum(costs[cut:]))

    lower, cut = min(cuts, key=lambda found: slowest(*found))
    return [*lower, (cut, n)]


def given_modules(sizes, n_layers):
    """Return the ranges of modules of so many layers each; they must cover the network."""
    borders = np.cumsum([0, *sizes])
    if borders[-1] != n_layers:
        raise ValueError(
            f"pipeline__module_layers={tuple(sizes)} covers {borders[-1]} layers, but the network has {n_layers} (the "
            f"output layer counts): give numbers that add up to {n_layers}."
        )
    return list(zip(borders[:-1].tolist(), borders[1:].tolist(), strict=True))


def check_modules(n_modules, n_layers):
    """Refuse more modules than layers."""
    if n_modules > n_layers:
        raise ValueError(
            f"n_modules={n_modules} is more than the {n_layers} layers of the network (the output layer counts): give "
            f"at most {n_layers}, or more hidden layers."
        )


def measured_costs(stack_of, n_layers, x, y, recipe):
    """Return the median seconds of every layer's passes and update; ``stack_of(ranges)`` makes the cells."""
    stack = stack_of([(layer, layer + 1) for layer in range(n_layers)])
    pipeline = Pipeline(stack, PipelineSchedule("backprop"), recipe, Sequential())
    placed = pipeline.place(Rows(x, y))
    for _ in range(_REPEATS + 1):
        pipeline.epoch(placed, np.arange(len(x)), np.zeros(1))
    seconds = np.zeros((n_layers, _REPEATS + 1))
    for layer, worker in enumerate(pipeline.workers):
        for op in worker.operations:
            seconds[layer, op.batch] += op.end - op.begin
    return np.median(seconds[:, 1:], axis=1).tolist()  # the first is compilation
