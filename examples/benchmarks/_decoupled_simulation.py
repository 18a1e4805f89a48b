"""Suite "simulation" of ``decoupled.py``: many modules from measured costs, checked against the wall time of two."""

from pathlib import Path

import numpy as np
from _decoupled_costs import RULES
from _dfa_common import Suite, finished
from _dfa_workers import in_fresh_process

from sklearn_analytic.decoupled.pipeline import PipelineSchedule
from sklearn_analytic.decoupled.simulation import ModuleCosts, simulate
from sklearn_analytic.decoupled.splitting import balanced_modules

NETWORKS = {"512, batch 256": {"width": 512, "batch_size": 256, "batches": 40}}
QUICK = {"32, batch 32": {"width": 32, "batch_size": 32, "batches": 10}}
CHAIN, COUNTS = 128, (2, 4, 8, 16, 32, 64)  # layers, modules
MICRO_BATCHES = (4, 8, 32)
CONTENDERS = ("backprop", "fdg", "ddg", "dtrp, even split", "dtrp, compensated split")
COLUMNS = {
    "what": ("part", "s"),
    "hand-off": ("hand_off", "s"),
    "modules": ("n_modules", "d"),
    "schedule": ("contender", "s"),
    "ms per batch, simulated": ("ms", ".2f"),
    "speed-up, simulated": ("speedup", ".2f"),
    "ms per batch, measured": ("measured_ms", ".2f"),
    "speed-up, measured": ("measured_speedup", ".2f"),
    "simulated / measured": ("ratio", ".3f"),
    "busy, mean": ("busy", ".0%"),
}


def jobs(options):
    """One process measures; the rest is arithmetic."""
    return [{"network": name} for name in options.only]


def run(job, options):
    """The check with two modules, the chain of many layers, and formulas of synchronous pipelines."""
    task = (NETWORKS | QUICK)[job["network"]] | {"depth": 8, "repeats": options.repeats}
    script = str(Path(__file__).with_name("_decoupled_workers.py"))
    found = in_fresh_process("costs", task, 2, script)
    few = options.quick
    hand_offs = {"queue": found["hand_off"], "network": options.network_us / 1e6}
    rows = [checked(one, found, task["batches"]) for one in found["pairs"]]
    for name, seconds in hand_offs.items():
        for n in COUNTS[:2] if few else COUNTS:
            batches = 50 if few else 400
            rows += [chained(found["layers"], contender, n, name, seconds, batches) for contender in CONTENDERS]
    rows += [row for n in (COUNTS[:2] if few else COUNTS) for row in formulas(n)]
    kept = {"hand_off_seconds": hand_offs, "layer_costs": found["layers"]}
    return [rows[0] | kept, *rows[1:]]


def rule_of(name):
    """The rule of a measurement's name, without its predictor: that is in the costs."""
    return PipelineSchedule(**{key: value for key, value in RULES[name].items() if key != "predictor"})


def checked(pair, found, batches):
    """Two modules: the model against two threads."""
    costs = [ModuleCosts(**one, transfer=found["hand_off"]) for one in pair["costs"]]
    timeline = simulate(rule_of(pair["rule"]), costs, batches)
    plain = next(one for one in found["pairs"] if one["rule"] == "backprop")
    simulated = float(timeline["end"].max()) / batches
    split = ", compensated split" if pair["compensated"] else ""
    return {
        "part": "8 layers, checked",
        "hand_off": "queue",
        "n_modules": 2,
        "contender": pair["rule"] + split,
        "seconds": simulated,
        "speedup": plain["in_turns_seconds"] / simulated,
        "measured_seconds": pair["wall_seconds"],
        "measured_speedup": plain["in_turns_seconds"] / pair["wall_seconds"],
        "wall_samples": pair["wall_samples"],
        "costs": pair["costs"],
        "busy": busy_of(timeline),
    }


def chained(layers, contender, n_modules, hand_off, seconds, batches):
    """A chain of equal layers in modules with a processor each."""
    name = contender.split(",")[0]
    ranges = balanced_modules([1.0] * CHAIN, n_modules, "compensated" in contender)
    unit = layers[name]
    costs = [ModuleCosts(**{k: (b - a) * v for k, v in unit.items()}, transfer=seconds) for a, b in ranges]
    timeline = simulate(rule_of(name), costs, batches)
    simulated = float(timeline["end"].max()) / batches
    return {
        "part": f"chain of {CHAIN} layers",
        "hand_off": hand_off,
        "n_modules": n_modules,
        "contender": contender,
        "seconds": simulated,
        "speedup": CHAIN * sum(layers["backprop"].values()) / simulated,
        "busy": busy_of(timeline),
    }


def busy_of(timeline):
    """Mean share of time in which a module works."""
    worked = (timeline["end"] - timeline["begin"]).sum()
    return float(worked / timeline["end"].max() / len(np.unique(timeline["module"])))


def formulas(n_modules):
    """Ideal speed-ups of pipelines with exact gradients, their micro-batches as fast per row as whole batches."""
    line = {"part": "formula", "hand_off": "free", "n_modules": n_modules}
    for m in MICRO_BATCHES:
        speedup = n_modules * m / (m + n_modules - 1)
        yield line | {"contender": f"GPipe, 1F1B, {m} micro-batches", "speedup": speedup, "busy": speedup / n_modules}
    yield line | {"contender": "zero bubble, bound", "speedup": float(n_modules), "busy": 1.0}


def summarise(rows):
    """Lines as they are, in milliseconds."""
    kept = ("part", "hand_off", "n_modules", "contender", "speedup", "measured_speedup", "busy")
    return [{key: row.get(key) for key in kept} | _milliseconds(row) for row in finished(rows)]


def _milliseconds(row):
    simulated, wall = row.get("seconds"), row.get("measured_seconds")
    line = {"ms": simulated and 1000 * simulated, "measured_ms": wall and 1000 * wall}
    return line | {"ratio": simulated / wall if wall else None}


SUITE = Suite(
    jobs=jobs,
    run=run,
    summarise=summarise,
    columns=COLUMNS,
    names=tuple(NETWORKS),
    quick_names=tuple(QUICK),
    defaults={"repeats": 5},
    quick={"repeats": 1},
    note=(
        "Costs are medians of operations in turns; 'queue' hands a batch on as threads do, 'network' in --network-us "
        "microseconds. Speed-ups are over one processor that does the same by backpropagation: measured in turns for 8 "
        "layers, the sum of its costs for the chain. Costs are measured under every rule and differ by a few percent, "
        "so that a speed-up may lie a little above the number of modules. Every module of the chain has a processor of "
        "its own. Formulas: K m / (m + K - 1) for K modules and m micro-batches (Huang et al. 2019; Narayanan et al. "
        "2019), and no more than K for zero-bubble schedules (Qi et al. 2024); hand-offs and smaller products are left "
        "out of them."
    ),
)
