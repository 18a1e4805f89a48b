"""Networks, rows and executions of the timed suites of ``decoupled.py``, below the estimators: no fit around them."""

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import pairwise
from threading import Barrier

import numpy as np

from sklearn_analytic.backend import one_blas_thread
from sklearn_analytic.decoupled.dense_cells import DenseCells
from sklearn_analytic.decoupled.pipeline import PipelineSchedule
from sklearn_analytic.decoupled.pipeline_execution import Pipeline
from sklearn_analytic.decoupled.pipeline_executors import Sequential, Threads
from sklearn_analytic.decoupled.splitting import balanced_modules, dense_costs
from sklearn_analytic.nn import Optimizer, Recipe, Rows
from sklearn_analytic.nn._flat import apply_update
from sklearn_analytic.nn._initializers import initial_layers
from sklearn_analytic.nn._mlp import MLPExecution

RATE = 1e-5  # labels are noise: weights stay near their start, so that no batch is cheaper than another
CLASSES = 10


def sizes_of(task):
    """Units of all layers, those of the inputs first."""
    return (task["width"], *(task["width"],) * task["depth"], task.get("classes", CLASSES))


def rows_of(task):
    """Noise with labels of noise."""
    rng, n = np.random.default_rng(0), task["batch_size"] * task["batches"]
    x = rng.standard_normal((n, task["width"]), dtype=np.float32)
    return Rows(x, rng.integers(task.get("classes", CLASSES), size=n))


def layers_of(task):
    """First weights, the same for all."""
    return initial_layers(sizes_of(task), "relu", np.random.default_rng(0), np.float32)


def recipe_of(task, optimizer="adam"):
    """Adam, as in the estimators."""
    return Recipe(scheme="backprop", optimizer=Optimizer(optimizer), batch_size=task["batch_size"])


def compiled_backprop(task, optimizer="adam"):
    """The package's own backpropagation."""
    return MLPExecution(layers_of(task), "relu", recipe_of(task, optimizer), np.random.default_rng(0))


def pipeline(task, rule, n_modules=2, threads=True, compensated=False):
    """Modules of compiled layers under a rule."""
    recipe = recipe_of(task)
    ranges = balanced_modules(dense_costs(sizes_of(task), task["batch_size"]), n_modules, compensated)
    stack = DenseCells(layers_of(task), "relu", recipe, ranges, stays=not rule.get("recompute"))
    return Pipeline(stack, PipelineSchedule(**rule), recipe, Threads(n_modules) if threads else Sequential(), ranges)


class DataParallel:
    """Threads with a share of every batch each: the same gradient as one thread's, summed, and one update.

    All threads share the weights. After a barrier each of them sums and updates its own part of the parameters, and
    after another one the next batch begins.
    """

    def __init__(self, task, n_threads=2, optimizer="adam"):
        self._parts = [compiled_backprop(task, optimizer) for _ in range(n_threads)]
        self._pool, self._barrier = ThreadPoolExecutor(n_threads), Barrier(n_threads)
        shared = self._parts[0]._model
        for part in self._parts:
            part._model = replace(shared, grad=np.zeros_like(shared.grad))
        borders = [k * len(shared.theta) // n_threads for k in range(n_threads + 1)]
        self._slices = [slice(a, b) for a, b in pairwise(borders)]
        self._steps = 0

    def place(self, rows):
        """Rows as the compiled code reads them."""
        return self._parts[0].place(rows)

    def layers(self):
        """Weights as copies."""
        return self._parts[0].layers()

    def epoch(self, placed, order, rates):
        """One step per rate."""
        order = np.ascontiguousarray(order, dtype=np.int64)
        with one_blas_thread():
            losses = list(self._pool.map(lambda k: self._run(k, placed, order, rates), range(len(self._parts))))
        self._steps += len(rates)
        return sum(losses) / len(order)

    def _run(self, k, placed, order, rates):
        """What one thread does in an epoch."""
        part, n, total = self._parts[k], len(self._parts), 0.0
        for step, rate in enumerate(rates):
            rows = order[step * len(order) // len(rates) : (step + 1) * len(order) // len(rates)]
            own = rows[k * len(rows) // n : (k + 1) * len(rows) // n]
            total += part._gradient(placed, own)
            part._model.grad[:] *= np.float32(len(own) / len(rows))
            self._barrier.wait()
            self._update(k, rate, self._steps + step + 1)
            self._barrier.wait()
        return total

    def _update(self, k, rate, step):
        """Sum and update one part of the parameters."""
        at, mine = self._slices[k], self._parts[k]._model
        total = sum(part._model.grad[at] for part in self._parts)
        second = mine.second[at] if len(mine.second) else mine.second
        part = replace(mine, theta=mine.theta[at], first=mine.first[at], second=second, grad=total)
        part = replace(part, sizes=np.array([len(total) - 1, 1], dtype=np.int64))  # as if it were one layer
        apply_update(part, self._parts[k].recipe.optimizer, float(rate), step)


class TwoNetworks:
    """Two networks that have nothing to do with each other, a thread each: what two threads give at the most."""

    def __init__(self, task):
        self._parts, self._pool = [compiled_backprop(task) for _ in range(2)], ThreadPoolExecutor(2)

    def place(self, rows):
        """Rows as the compiled code reads them."""
        return self._parts[0].place(rows)

    def epoch(self, placed, order, rates):
        """One half of the batches for each."""
        half, rows = len(rates) // 2, len(order) // 2
        shares = [(part, order[:rows], rates[:half]) for part in self._parts]
        with one_blas_thread():
            losses = list(self._pool.map(lambda share: share[0].epoch(placed, *share[1:]), shares))
        return sum(losses) / 2


def seconds_per_batch(execution, placed, task):
    """Wall seconds of an epoch over its batches."""
    n, rates = task["batch_size"] * task["batches"], np.full(task["batches"], RATE)
    start = time.perf_counter()
    execution.epoch(placed, np.arange(n), rates)
    return (time.perf_counter() - start) / task["batches"]
