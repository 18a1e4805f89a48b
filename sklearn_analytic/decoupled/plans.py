"""Plans of networks in modules: what cuts them, builds the pipeline, and restores fitted outputs."""

import math
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from sklearn_analytic.backend import n_threads
from sklearn_analytic.decoupled.dense_cells import DenseCells
from sklearn_analytic.decoupled.pipeline import PipelineRule
from sklearn_analytic.decoupled.pipeline_execution import Pipeline
from sklearn_analytic.decoupled.pipeline_executors import Sequential, Threads
from sklearn_analytic.decoupled.splitting import (
    balanced_modules,
    check_modules,
    dense_costs,
    given_modules,
    measured_costs,
)
from sklearn_analytic.nn import torch_module, torch_parts
from sklearn_analytic.nn._initializers import initial_layers
from sklearn_analytic.nn._plans import (
    DenseNetwork,
    ModuleNetwork,
    TorchDenseNetwork,
    flat_weights,
    layers_of,
    torch_weights,
)

_WORK_FOR_THREADS = 4e6  # multiplications of a module for a batch: below, handing on costs more than it gives


@dataclass(frozen=True)
class Modules:
    """Into which modules a network is cut, and who calls them."""

    rule: PipelineRule
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


class _Unlogged:
    """Modules of one process send nothing to others."""

    def log_epoch(self, execution):
        """Nothing was sent."""

    def communication(self, execution):
        """Nothing was sent."""
        return {}


@dataclass(frozen=True)
class DenseModules(_Unlogged, DenseNetwork):
    """Dense layers in compiled modules; fitted they are ``coefs_`` and ``intercepts_``."""

    modules: Any = None

    def execution(self, recipe, generator):
        """Layers drawn on the host, cut into modules."""
        layers = initial_layers(self.sizes, self.activation, generator, recipe.precision)

        def stack_of(ranges):
            return DenseCells(layers, self.activation, recipe, ranges, self.modules.run_alone)

        def costs():
            if self.modules.is_measured:
                return _seconds(stack_of, self.sizes, recipe)
            return dense_costs(self.sizes, recipe.batch_size)

        ranges = self.modules.ranges(costs, len(layers))
        return self.modules.pipeline(stack_of(ranges), recipe, ranges)

    def rewritten(self, snapshot, fitted):
        """The flat parameters, cut where the modules are."""
        sizes = [len(cell["theta"]) for cell in snapshot["cells"]]
        parts = np.split(flat_weights(fitted), np.cumsum(sizes)[:-1])
        return _with_cells(snapshot, [{"theta": part} for part in parts])


@dataclass(frozen=True)
class TorchDenseModules(_Unlogged, TorchDenseNetwork):
    """Dense layers in modules of torch; fitted they are what the CPU's are, and need no torch."""

    modules: Any = None

    def execution(self, recipe, generator):
        """The same draws as on the CPU."""
        network = self._drawn(generator)
        counted = partial(dense_costs, self.sizes)  # cut as on the CPU
        return _torch_pipeline(network, self.modules, recipe, self.device, self.sizes[0], counted)

    def rewritten(self, snapshot, fitted):
        """Under the names of torch."""
        return _with_arrays(snapshot, torch_weights(layers_of(fitted)))


@dataclass(frozen=True)
class ModuleModules(_Unlogged, ModuleNetwork):
    """Any Sequential in modules of its stages; fitted it is ``network_state_``."""

    modules: Any = None
    n_inputs: int = 0

    def execution(self, recipe, generator):
        """The network, built anew."""
        network = self.build(generator)
        counted = partial(_torch_costs().stage_costs, network, self.n_inputs)
        return _torch_pipeline(network, self.modules, recipe, self.device, self.n_inputs, counted)

    def rewritten(self, snapshot, fitted):
        """Modules have names of their own, and the network's order."""
        return _with_arrays(snapshot, fitted["network_state_"].values())


def _torch_pipeline(network, modules, recipe, device, n_inputs, counted):
    """A pipeline of the stages of a torch network; ``counted(n_rows)`` are their costs."""
    parts, device = torch_parts(), device.removeprefix("torch:")

    def costs():
        n_rows = max(recipe.batch_size, 2)  # one row has no statistics
        if modules.is_measured:
            return _torch_costs().measured_costs(network, n_inputs, n_rows, recipe.precision, device)
        return counted(n_rows)

    ranges = modules.ranges(costs, parts.n_stages(network))
    stack = torch_module("sklearn_analytic.decoupled.torch_cells").TorchCells(
        network, ranges, recipe, device, recipe.seed, alone=modules.run_alone
    )
    return modules.pipeline(stack, recipe, ranges)


def _torch_costs():
    """What counts and measures stages of torch."""
    return torch_module("sklearn_analytic.decoupled.torch_costs")


def _with_arrays(snapshot, arrays):
    """A snapshot of torch's modules with these arrays, in the order of the network."""
    rest = iter(arrays)
    return _with_cells(snapshot, [{"network": {n: next(rest) for n in cell["network"]}} for cell in snapshot["cells"]])


def _with_cells(snapshot, changes):
    """A snapshot of a pipeline with other entries in each of its modules."""
    return snapshot | {"cells": [cell | new for cell, new in zip(snapshot["cells"], changes, strict=True)]}


def _seconds(stack_of, sizes, recipe):
    """Seconds of every dense layer, on noise."""
    generator = np.random.default_rng(0)
    x = generator.standard_normal((recipe.batch_size, sizes[0])).astype(recipe.precision)
    y = np.zeros(len(x), np.int64) if recipe.output != "identity" else np.zeros((len(x), sizes[-1]), x.dtype)
    return measured_costs(stack_of, len(sizes) - 1, x, y, recipe)
