"""What pipelines of processes are compared with: one process, one or two threads."""

import numpy as np
from _decoupled_contenders import Compiled, TorchLoop
from _decoupled_nets import compiled_backprop, pipeline, recipe_of, sizes_of
from _decoupled_ranks import layers_of_torch
from torch import nn

from sklearn_analytic.decoupled.pipeline import PipelineSchedule
from sklearn_analytic.decoupled.pipeline_execution import Pipeline
from sklearn_analytic.decoupled.pipeline_executors import Threads
from sklearn_analytic.decoupled.splitting import balanced_modules, dense_costs
from sklearn_analytic.decoupled.torch_cells import TorchCells


def torch_pipeline(task):
    """Two modules of torch layers in two threads."""
    recipe = recipe_of(task)
    ranges = balanced_modules(dense_costs(sizes_of(task), task["batch_size"]), 2)
    stack = TorchCells(nn.Sequential(*layers_of_torch(task)), ranges, recipe, "cpu", 0)
    return Pipeline(stack, PipelineSchedule(), recipe, Threads(2), ranges)


PEERS = {
    "torch backprop, 1 process": TorchLoop(1),
    "torch fdg, 2 threads": Compiled(torch_pipeline),
    "compiled backprop, 1 thread": Compiled(compiled_backprop),
    "compiled fdg, 2 threads": Compiled(lambda task: pipeline(task, {})),
}


def timed(task):
    """Wall seconds per batch of one of them."""
    runner = PEERS[task["contender"]]
    runner.prepare(task)
    samples = [runner.sample() for _ in range(task["samples"])]
    return {"seconds": float(np.median(samples)), "samples": samples}
