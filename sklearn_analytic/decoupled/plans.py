"""Plans of networks in modules: what cuts them, builds the pipeline, and restores fitted outputs."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from sklearn_analytic.backend import n_threads
from sklearn_analytic.decoupled.dense_cells import DenseCells
from sklearn_analytic.decoupled.pipeline import PipelineSchedule
from sklearn_analytic.decoupled.pipeline_execution import Pipeline
from sklearn_analytic.decoupled.pipeline_executors import Sequential, Threads
from sklearn_analytic.decoupled.splitting import (
    balanced_modules,
    check_modules,
    dense_costs,
    given_modules,
    measured_costs,
)
from sklearn_analytic.nn import torch_module
from sklearn_analytic.nn._plans import NetworkPlan, flat_weights

_WORK_FOR_THREADS = 4e6  # multiplications of a module for a batch: below, handing on costs more than it gives


@dataclass(frozen=True)
class Modules:
    """Into which modules a network is cut, and who calls them."""

    rule: PipelineSchedule
    n_modules: int
    layers: tuple | None = None  # of each module; None balances costs
    is_measured: bool = False  # costs in seconds, in place of counted operations
    is_compensated: bool = False  # modules that run forward twice get fewer layers
    executor: str = "sequential"  # or "threads", "cuda", or "auto"
    products: float = math.inf  # multiplications of the network for one row
    known: tuple | None = None  # ranges of a network that goes on: costs change with the batch size, its modules do not

    def ranges(self, costs_of, n_layers):
        """Return half-open ranges of layers; ``costs_of()`` are the layers' costs."""
        if self.layers is not None:
            return given_modules(self.layers, n_layers)
        if self.known is not None and (len(self.known), self.known[-1][1]) == (self.n_modules, n_layers):
            return list(self.known)
        check_modules(self.n_modules, n_layers)
        costs = costs_of() if self.n_modules > 1 else [1.0] * n_layers  # one module needs no cut, and no trial
        return balanced_modules(costs, self.n_modules, self.is_compensated)

    @property
    def run_alone(self):
        """Whether every operation keeps to one thread: modules run beside each other, or give the same bits."""
        return self.rule.lag(self.n_modules - 1) > 0  # the lowest module waits most

    def pipeline(self, stack, recipe, ranges):
        """The modules as an execution."""
        n = len(ranges)
        executor = Threads(n) if n > 1 and self._takes_threads(recipe.batch_size) else Sequential()
        return Pipeline(stack, self.rule, recipe, executor, ranges)

    def _takes_threads(self, batch_size):
        """Whether modules have threads of their own: "auto" asks whether they overlap, for cores, and for work."""
        if self.executor != "auto":
            return self.executor != "sequential"
        is_large = self.products * batch_size / self.n_modules > _WORK_FOR_THREADS
        return self.run_alone and is_large and n_threads() > 1


@dataclass(frozen=True)
class Piped(NetworkPlan):
    """A way to train: modules side by side, on errors of older batches."""

    form: Any
    modules: Modules
    n_inputs: int

    def execution(self, recipe, generator):
        """The network, cut into modules."""
        if self.form.is_compiled:
            return self._compiled(self.form.layers(generator, recipe.precision), recipe)
        return self._torch(self.form.network(generator), recipe)

    def _compiled(self, layers, recipe):
        """Dense layers in compiled modules."""
        form, modules = self.form, self.modules

        def stack_of(ranges):
            return DenseCells(layers, form.activation, recipe, ranges, modules.run_alone, not modules.rule.recompute)

        def costs():
            return _seconds(stack_of, form.sizes, recipe) if modules.is_measured else self._counted(recipe.batch_size)

        ranges = modules.ranges(costs, len(layers))
        return modules.pipeline(stack_of(ranges), recipe, ranges)

    def _torch(self, network, recipe):
        """Stages of a torch network in modules, cut as on the CPU where it is plain."""
        modules, device = self.modules, self.form.device.removeprefix("torch:")

        def costs():
            n_rows, costs = max(recipe.batch_size, 2), _torch("torch_costs")  # one row has no statistics
            if modules.is_measured:
                return costs.measured_costs(network, self.n_inputs, n_rows, recipe.precision, device)
            return self._counted(n_rows, network)

        n_stages = torch_module("sklearn_analytic.nn._torch_stages").n_stages(network)
        ranges = modules.ranges(costs, n_stages)
        cells = _torch("torch_cells").TorchCells
        stack = cells(network, ranges, recipe, device, recipe.seed, alone=modules.run_alone)
        return modules.pipeline(stack, recipe, ranges)

    def _counted(self, n_rows, network=None):
        """Operations of every layer."""
        if hasattr(self.form, "sizes"):
            return dense_costs(self.form.sizes, n_rows)
        return _torch("torch_costs").stage_costs(network, self.n_inputs, n_rows)

    def log_epoch(self, execution):
        """Modules of one process send nothing to others."""

    def communication(self, execution):
        """Nothing was sent."""
        return {}

    def rewritten(self, snapshot, fitted):
        """The flat parameters, cut where the modules are; torch's modules have names of their own."""
        if self.form.is_compiled:
            sizes = [len(cell["theta"]) for cell in snapshot["cells"]]
            parts = np.split(flat_weights(fitted), np.cumsum(sizes)[:-1])
            return _with_cells(snapshot, [{"theta": part} for part in parts])
        rest = iter(self.form.arrays(self.form.found(fitted)))
        changes = [{"network": {name: next(rest) for name in cell["network"]}} for cell in snapshot["cells"]]
        return _with_cells(snapshot, changes)


def _torch(name):
    """A module of this folder that needs torch."""
    return torch_module(f"sklearn_analytic.decoupled.{name}")


def _with_cells(snapshot, changes):
    """A snapshot of a pipeline with other entries in each of its modules."""
    return snapshot | {"cells": [cell | new for cell, new in zip(snapshot["cells"], changes, strict=True)]}


def _seconds(stack_of, sizes, recipe):
    """Seconds of every dense layer, on noise."""
    generator = np.random.default_rng(0)
    x = generator.standard_normal((recipe.batch_size, sizes[0])).astype(recipe.precision)
    y = np.zeros(len(x), np.int64) if recipe.output != "identity" else np.zeros((len(x), sizes[-1]), x.dtype)
    return measured_costs(stack_of, len(sizes) - 1, x, y, recipe)
