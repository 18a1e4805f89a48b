"""Costs of modules, measured: in turns, where nothing disturbs them, and side by side; and of handing a batch on."""

import time
from queue import SimpleQueue
from threading import Thread

import numpy as np
from _decoupled_nets import pipeline, rows_of, seconds_per_batch

RULES = {
    "backprop": {"schedule": "backprop"},
    "fdg": {},
    "ddg": {"schedule": "ddg", "forward_first": True},
    "adl, M=4": {"schedule": "adl", "accumulation": 4},
    "dtrp": {"schedule": "dtrp", "recompute": True, "predictor": "adam"},
}
PAIRS = [(name, False) for name in RULES] + [("dtrp", True)]  # rule, compensated split
_PINGS = 2000


def measured(task):
    """Hand-off seconds, costs of one layer under every rule, and two modules in turns and side by side."""
    return {"hand_off": hand_off_seconds(), "layers": layer_costs(task), "pairs": pairs(task)}


def hand_off_seconds():
    """One way of a ball between two threads."""
    there, back = SimpleQueue(), SimpleQueue()

    def answer():
        for _ in range(_PINGS):
            there.get()
            back.put(None)

    thread = Thread(target=answer)
    thread.start()
    start = time.perf_counter()
    for _ in range(_PINGS):
        there.put(None)
        back.get()
    elapsed = time.perf_counter() - start
    thread.join()
    return elapsed / (2 * _PINGS)


def layer_costs(task):
    """{rule: median seconds of one inner layer that is a module, its operations in turns}, rules interleaved."""
    runs = {name: pipeline(task, rule, task["depth"] + 1, threads=False) for name, rule in RULES.items()}
    rounds(list(runs.values()), task)
    # the last hidden layers have no delay to speak of and the first sends no error: those in the middle are the rule
    inner = {name: module_costs(execution)[1 : task["depth"] - 1] for name, execution in runs.items()}
    return {
        name: {kind: float(np.median([costs[kind] for costs in found])) for kind in found[0]}
        for name, found in inner.items()
    }


def rounds(executions, task):
    """Wall seconds per batch of every execution, one list each, repeats interleaved; the first round is not kept."""
    placed, found = executions[0].place(rows_of(task)), [[] for _ in executions]
    for execution in executions:
        seconds_per_batch(execution, placed, task)
        for worker in execution.workers:
            worker.operations.clear()
    for _ in range(task["repeats"]):
        for execution, taken in zip(executions, found, strict=True):
            taken.append(seconds_per_batch(execution, placed, task))
    return found


def module_costs(execution):
    """Median seconds of every module's operations; the second forward pass of a recomputation is taken out."""
    timeline, found = execution.record()["timeline_"], []
    n_modules = len(execution.workers)
    for k in range(n_modules):
        mine = timeline[timeline["module"] == k]
        costs = {kind: _median(mine[mine["kind"] == kind]) for kind in ("forward", "backward", "update")}
        if execution.rule.recomputes(n_modules - 1 - k):
            costs["backward"] = max(costs["backward"] - costs["forward"], 0.0)
        found.append(costs)
    return found


def _median(operations):
    return float(np.median(operations["end"] - operations["begin"]))


def pairs(task):
    """Of every rule: costs of two modules in turns, and wall seconds per batch of the same two in two threads."""
    kinds = [(name, compensated, threads) for name, compensated in PAIRS for threads in (False, True)]
    runs = [pipeline(task, RULES[name], 2, threads, compensated) for name, compensated, threads in kinds]
    samples = rounds(runs, task)
    return [
        {
            "rule": name,
            "compensated": compensated,
            "costs": module_costs(runs[2 * k]),
            "in_turns_seconds": float(np.median(samples[2 * k])),
            "wall_seconds": float(np.median(samples[2 * k + 1])),
            "wall_samples": samples[2 * k + 1],
        }
        for k, (name, compensated) in enumerate(PAIRS)
    ]
