"""Part "executor" of ``on_device.py``: modules of a network on streams of one device.

First a small network: its losses with a thread and a stream for each module, with the modules in turns, on the CPU,
where there are no streams, and, without delays, of the plain loop. Threads and turns must give the same numbers, bit
for bit; the others the same up to rounding. A tensor that is read before it is there shows as a difference. Then a
large network: seconds per epoch against the plain loop.
"""

import numpy as np
from _on_device_clock import plain, timed
from _on_device_loop import RATE, Loop, network_of

from sklearn_analytic.decoupled.pipeline import PipelineSchedule
from sklearn_analytic.decoupled.pipeline_execution import Pipeline
from sklearn_analytic.decoupled.pipeline_executors import Sequential, Threads
from sklearn_analytic.decoupled.splitting import balanced_modules, dense_costs
from sklearn_analytic.decoupled.torch_cells import TorchCells
from sklearn_analytic.nn import Optimizer, Recipe, Rows

CLASSES = 10
# {name: (rule, modules)}
RULES = {
    "backprop, 2 modules": (PipelineSchedule("backprop"), 2),
    "ddg, 2 modules": (PipelineSchedule("ddg", forward_first=True), 2),
    "fdg, 4 modules": (PipelineSchedule("fdg"), 4),
    "dtrp, 4 modules": (PipelineSchedule("dtrp", recompute=True, predictor="adam"), 4),
    "velocity, 4 modules": (PipelineSchedule("fdg", predictor="velocity"), 4),
}
CHECK = {"width": 128, "depth": 7, "batch": 128, "batches": 12, "epochs": 3}
LARGE = {"width": 2048, "depth": 8, "batch": 512, "batches": 40, "epochs": 3}
QUICK_CHECK = {"width": 12, "depth": 3, "batch": 16, "batches": 5, "epochs": 2}
QUICK = {"width": 16, "depth": 3, "batch": 16, "batches": 4, "epochs": 1}
CLOSE = 1e-4  # of a loss, after some dozens of steps of Adam in float32


def run(settings, emit):
    """Losses, then seconds."""
    check, large = (QUICK_CHECK, QUICK) if settings["quick"] else (CHECK, LARGE)
    for name in RULES:
        emit(losses(name, settings["device"], check))
    for row in seconds(settings["device"], large):
        emit(row)


def pipeline(rule, n_modules, sizes, device, threads):
    """The network in modules, as the estimator builds it."""
    recipe = Recipe(scheme="backprop", optimizer=Optimizer("adam"), batch_size=sizes["batch"])
    layers = _sizes(sizes)
    ranges = balanced_modules(dense_costs(layers, sizes["batch"]), n_modules)
    alone = rule.lag(n_modules - 1) > 0
    stack = TorchCells(network_of(layers), ranges, recipe, plain(device), 0, alone=alone)
    return Pipeline(stack, rule, recipe, Threads(n_modules) if threads else Sequential(), ranges)


def _sizes(sizes):
    """Units of all layers, those of the rows first."""
    return (*(sizes["width"],) * (sizes["depth"] + 1), CLASSES)


def rows_of(sizes):
    """Noise, and classes of a linear teacher."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((sizes["batch"] * sizes["batches"], sizes["width"]), dtype=np.float32)
    teacher = rng.standard_normal((sizes["width"], CLASSES))
    return Rows(x, (x @ teacher).argmax(axis=1))


def curve(execution, sizes):
    """Losses of all epochs."""
    placed = execution.place(rows_of(sizes))
    return [float(execution.epoch(placed, order, _rates(sizes))) for order in _orders(sizes)]


def _orders(sizes):
    """The order of rows in every epoch, the same for all."""
    rng = np.random.default_rng(1)
    return [rng.permutation(sizes["batch"] * sizes["batches"]) for _ in range(sizes["epochs"])]


def _rates(sizes):
    return np.full(sizes["batches"], RATE)


def losses(name, device, sizes):
    """Losses of a rule under every executor, and how far they are from each other."""
    rule, n_modules = RULES[name]
    found = {
        "threads": curve(pipeline(rule, n_modules, sizes, device, True), sizes),
        "in turns": curve(pipeline(rule, n_modules, sizes, device, False), sizes),
        "on the CPU": curve(pipeline(rule, n_modules, sizes, "torch:cpu", False), sizes),
    }
    if rule.schedule == "backprop":
        found["plain loop"] = loop_curve(device, sizes)
    gaps = {f"gap, {key}": _gap(found["threads"], found[key]) for key in found if key != "threads"}
    row = {"what": "losses", "contender": name, "losses": found["threads"]} | gaps
    return row | {"is_equal": gaps["gap, in turns"] == 0.0, "within": bool(max(gaps.values()) < CLOSE)}


def _gap(one, two):
    """Largest relative difference; infinite where one of them is no number."""
    one, two = np.array(one), np.array(two)
    gap = np.max(np.abs(one - two) / np.abs(two))
    return float(gap) if np.isfinite(gap) else float("inf")


def loop_curve(device, sizes):
    """Losses of the plain loop."""
    rows = rows_of(sizes)
    loop = Loop(network_of(_sizes(sizes)), rows.x, rows.y, sizes["batch"], plain(device))
    return [loop.epoch(order) for order in _orders(sizes)]


def seconds(device, sizes):
    """Rows of seconds per epoch; the loop first."""
    rows, order = rows_of(sizes), _orders(sizes)[0]
    loop = Loop(network_of(_sizes(sizes)), rows.x, rows.y, sizes["batch"], plain(device))
    _, first = timed(device, lambda: loop.epoch(order), sizes["epochs"])
    kept = {key: sizes[key] for key in ("width", "depth", "batch", "batches")}
    yield {"what": "seconds", "contender": "torch loop", "epoch_s": first} | kept
    for name, (rule, n_modules) in RULES.items():
        for executor in ("threads", "in turns"):
            execution = pipeline(rule, n_modules, sizes, device, executor == "threads")
            placed = execution.place(rows)
            run = lambda execution=execution, placed=placed: execution.epoch(placed, order, _rates(sizes))  # noqa: E731
            _, taken = timed(device, run, sizes["epochs"])
            row = {"what": "seconds", "contender": name, "executor": executor, "epoch_s": taken}
            yield row | {"to_loop": taken / first} | kept
