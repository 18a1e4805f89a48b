"""Networks, rows and pipelines that the tests of modules in torch share."""

import threading

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

from sklearn_analytic.decoupled.pipeline import PipelineSchedule  # noqa: E402
from sklearn_analytic.decoupled.pipeline_execution import Pipeline  # noqa: E402
from sklearn_analytic.decoupled.pipeline_executors import Sequential  # noqa: E402
from sklearn_analytic.decoupled.torch_cells import TorchCells  # noqa: E402
from sklearn_analytic.nn import Optimizer, Plan, Recipe, Rows, train  # noqa: E402
from sklearn_analytic.nn._torch_networks import (  # noqa: E402
    dense_network,
    image_network,
    recurrent_network,
    state_arrays,
)

D, C, N, BATCH = 16, 3, 50, 8
SIZES = (D, 9, 8, 7, 6, C)
RANGES = [(0, 1), (1, 3), (3, 5)]  # three modules of the five stages of SIZES


class Broken(nn.Module):
    """A module that fails in its fourth forward pass."""

    calls = None  # while the network is checked

    def forward(self, x):
        self.calls = None if self.calls is None else self.calls + 1
        if self.calls == 4:
            raise ZeroDivisionError("as asked")
        return x


class Watch(nn.Module):
    """A module that notes in which threads, and with how many threads of torch, it runs."""

    def __init__(self):
        super().__init__()
        self.seen = set()

    def forward(self, x):
        self.seen.add((threading.current_thread() is threading.main_thread(), torch.get_num_threads()))
        return x


class Scaled(nn.Module):
    """A normalisation that a user wrote: it changes in place what its graph has kept."""

    def __init__(self):
        super().__init__()
        self.register_buffer("size", torch.ones(8))

    def forward(self, x):
        if self.training:
            self.size.mul_(0.9).add_(0.1 * x.detach().abs().mean(0))
        return x / self.size


def make_rows(weighted=False, output="softmax"):
    generator = np.random.default_rng(0)
    y = generator.integers(C, size=N) if output == "softmax" else generator.standard_normal((N, C))
    weight = generator.uniform(0.5, 1.5, N) if weighted else None
    return Rows(generator.standard_normal((N, D)), y, weight)


def make_recipe(**choices):
    defaults = {"scheme": "backprop", "precision": "float64", "batch_size": BATCH, "optimizer": Optimizer("sgd")}
    return Recipe(**(defaults | choices))


def seeded(*modules):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.Sequential(*(module() for module in modules)).double()


def busy_network():
    """Five stages with normalisations, dropout of two kinds, and rectifiers that work in place."""
    return seeded(
        lambda: nn.Linear(D, 9),
        lambda: nn.BatchNorm1d(9),
        lambda: nn.ReLU(inplace=True),
        lambda: nn.Dropout(0.3),
        lambda: nn.Linear(9, 8),
        nn.Tanh,
        lambda: nn.Linear(8, 7),
        lambda: nn.AlphaDropout(0.2),
        lambda: nn.Linear(7, 6),
        lambda: nn.BatchNorm1d(6),
        nn.ReLU,
        lambda: nn.Linear(6, C),
    )


def network_of(kind="dense"):
    made = {
        "dense": lambda: dense_network(SIZES, "tanh"),
        "conv": lambda: image_network((4, 4), (3, 4), (5,), C, batch_norm=True),
        "recurrent": lambda: recurrent_network(4, D, (5, 4), (), C),
        "busy": busy_network,
    }
    return made[kind]().double()


def make(network, ranges, recipe=None, rule=None, executor=None, **choices):
    recipe = recipe or make_recipe()
    stack = TorchCells(network, ranges, recipe, **choices)
    return Pipeline(stack, rule or PipelineSchedule(), recipe, executor or Sequential())


def fitted(execution, network, rows=None, epochs=2, rate=0.05):
    """(losses, weights and buffers)."""
    history = train(execution, rows or make_rows(), Plan(epochs, BATCH, rate), np.random.default_rng(1))
    return history.losses, state_arrays(network)


def run(network, ranges, recipe=None, rule=None, executor=None, **choices):
    return fitted(make(network, ranges, recipe, rule, executor, **choices), network)


def assert_identical(found, expected):
    assert found[0] == expected[0]
    assert len(found[0]) == 2
    for key, value in expected[1].items():
        np.testing.assert_array_equal(found[1][key], value, err_msg=key)


def summed_gradients(network, ranges, rule):
    """Gradients of one epoch at weights that stay, by name."""
    found = {}
    n_batches = -(-N // BATCH)
    rule = PipelineSchedule(**{**rule, "accumulation": n_batches})
    pipeline = make(network, ranges, make_recipe(optimizer=Optimizer("sgd", 0.0)), rule)
    names = {id(p): name for name, p in network.named_parameters()}
    for cell in pipeline.stack.cells:
        step = cell.update

        def update(rate, scale, cell=cell, step=step):
            found.update({names[id(p)]: p.grad.clone() for p in cell.network.parameters()})
            step(rate, scale)

        cell.update = update
    pipeline.epoch(pipeline.place(make_rows()), np.arange(N), [0.0] * n_batches)
    return found, pipeline
