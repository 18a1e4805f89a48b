"""Small pipelines, and cells that pass on, watch, or hold one number: for the tests of pipelines."""

from contextlib import nullcontext

import numpy as np

from sklearn_analytic.decoupled.dense_cells import DenseCells
from sklearn_analytic.decoupled.pipeline import PipelineSchedule
from sklearn_analytic.decoupled.pipeline_execution import Pipeline
from sklearn_analytic.decoupled.pipeline_executors import Sequential, Threads
from sklearn_analytic.nn import Optimizer, Recipe, Rows
from sklearn_analytic.nn._cutting import balanced_partitions
from sklearn_analytic.nn._initializers import initial_layers
from sklearn_analytic.nn._recipe import batch

SIZES = (5, 7, 6, 8, 6, 3)
N_ROWS, N_BATCHES = 23, 7  # batches of three rows and of four
SGD = Optimizer("sgd", momentum=0.9)
EXECUTORS = {"sequential": lambda n: Sequential(), "threads": Threads}


def rows_of(output="softmax", n=N_ROWS, seed=0):
    """Rows with weights and targets of their own."""
    rng = np.random.default_rng(seed)
    y = rng.integers(3, size=n) if output == "softmax" else rng.standard_normal((n, 3))
    return Rows(rng.standard_normal((n, 5)), y, rng.uniform(0.5, 2, n))


def first_layers(activation="tanh", seed=1):
    """Layers whose biases are not zero."""
    rng = np.random.default_rng(seed)
    return [(w, rng.normal(0, 0.3, b.shape)) for w, b in initial_layers(SIZES, activation, rng)]


def recipe_of(**given):
    """A recipe in float64."""
    return Recipe(**{"scheme": "backprop", "precision": "float64", "optimizer": SGD} | given)


def pipeline(n_modules=3, executor="sequential", watch=None, activation="tanh", recipe=None, **rule):
    """A network of five layers in modules; ``watch`` is a function (module, operation, batch) or None."""
    recipe = recipe_of() if recipe is None else recipe
    ranges, stays = balanced_partitions([1] * 5, n_modules), not rule.get("recompute")
    stack = DenseCells(first_layers(activation), activation, recipe, ranges, stays=stays)
    if watch is not None:
        stack.cells = [Watched(cell, k, watch) for k, cell in enumerate(stack.cells)]
    return Pipeline(stack, PipelineSchedule(**rule), recipe, EXECUTORS[executor](n_modules))


def layers_of(found):
    """Weights of a pipeline as one vector for each module, through the cells' public state."""
    return [cell.state()["theta"] for cell in found.stack.cells]


def flat(layers):
    """Layers as one vector."""
    return np.concatenate([part.ravel() for layer in layers for part in layer])


def orders(n_epochs, n=N_ROWS, seed=2):
    """Row orders of epochs."""
    rng = np.random.default_rng(seed)
    return [rng.permutation(n) for _ in range(n_epochs)]


def run(found, rows, n_epochs=2, rates=(0.1,) * N_BATCHES):
    """Train for epochs; return the losses."""
    placed = found.place(rows)
    return [found.epoch(placed, order, np.array(rates)) for order in orders(n_epochs, len(rows.x))]


def batches_of(rows, order, rates):
    """What the oracle reads: [(X, y, weight, rate), ...]."""
    parts = [batch(order, i, len(rates)) for i in range(len(rates))]
    return [(rows.x[part], rows.y[part], rows.weight[part], rate) for part, rate in zip(parts, rates, strict=True)]


def assert_same(found, expected):
    """Two lists of arrays are equal, bit for bit."""
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_array_equal(a, b)


class Watched:
    """A cell each of whose operations is announced to ``watch(module, operation, batch)``, which may raise."""

    def __init__(self, cell, k, watch):
        self._cell, self._k, self._watch = cell, k, watch

    def __getattr__(self, name):
        return getattr(self._cell, name)

    def forward(self, batch, *rest, **given):
        self._watch(self._k, "forward", batch)
        return self._cell.forward(batch, *rest, **given)

    def backward(self, batch, *rest, **given):
        self._watch(self._k, "backward", batch)
        return self._cell.backward(batch, *rest, **given)

    def update(self, rate, scale):
        self._watch(self._k, "update", None)
        self._cell.update(rate, scale)


class Passing:
    """A module that hands row numbers on, up and down, and checks that they are those of the batch."""

    optimizer = SGD

    def __init__(self, is_first, is_last):
        self.is_first, self.is_last, self.n_updates, self.n_summed = is_first, is_last, 0, 0

    def forward(self, batch, x, weights=None, keep=True):
        assert self.is_first or np.array_equal(x, batch.rows)
        return float(np.sum(batch.rows)) if self.is_last else np.array(batch.rows, dtype=float)

    def backward(self, batch, error, weights=None):
        assert self.is_last or np.array_equal(error, batch.rows)
        self.n_summed += 1
        return None if self.is_first else np.array(batch.rows, dtype=float)

    def update(self, rate, scale):
        self.n_updates, self.n_summed = self.n_updates + 1, 0

    def frozen(self):
        return self.n_updates

    def kept_bytes(self):
        return 0


class Quadratic(Passing):
    """A lowest module with one number, whose gradient is the number at the weights of the forward pass."""

    def __init__(self):
        super().__init__(True, False)
        self.theta, self.gradient, self.history = 1.0, 0.0, []

    def backward(self, batch, error, weights=None):
        self.gradient += self.theta if weights is None else weights

    def update(self, rate, scale):
        self.theta -= rate * scale * self.gradient
        self.gradient = 0.0
        self.history.append(self.theta)

    def frozen(self):
        return self.theta


class Passers:
    """Modules without weights; ``lowest`` is another first cell, or None."""

    def __init__(self, n_modules, lowest=None):
        self.cells = [Passing(k == 0, k == n_modules - 1) for k in range(n_modules)]
        if lowest is not None:
            self.cells[0] = lowest

    def place(self, rows):
        return rows

    def rows(self, indices):
        return indices

    def training(self, epoch, least):
        return nullcontext()


def passing(n_modules, n_batches, executor="sequential", lowest=None, n_epochs=1, rate=0.0, **rule):
    """A pipeline of passing modules after epochs with two rows per batch."""
    found = Pipeline(Passers(n_modules, lowest), PipelineSchedule(**rule), None, EXECUTORS[executor](n_modules))
    for order in orders(n_epochs, 2 * n_batches):
        found.epoch(None, order, np.full(n_batches, rate))
    return found
