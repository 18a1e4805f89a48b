"""Suite "speed" of ``decoupled.py``: wall time per batch with two threads on two cores."""

import os
from pathlib import Path

from _common import markdown_table
from _dfa_common import Suite, finished
from _dfa_workers import in_fresh_process

DEPTH = 8
BATCHES = {64: 200, 128: 150, 256: 80, 512: 40, 1024: 16}  # of an epoch: a sample lasts a fraction of a second or more
NETWORKS = {f"8 x {width}, batch 256": {"width": width, "batch_size": 256} for width in BATCHES}
NETWORKS |= {f"8 x {width}, batch {m}": {"width": width, "batch_size": m} for width in (64, 128, 256) for m in (32, 64)}
QUICK = {"8 x 32, batch 32": {"width": 32, "batch_size": 32}}
CONTENDERS = (
    "backprop, 1 thread",
    "backprop, 2 BLAS threads",
    "data parallel, 2 threads",
    "two networks, 2 threads",
    "fdg",
    "fdg, 4 modules",
    "ddg",
    "adl, M=4",
    "dtrp",
    "dtrp, compensated split",
    "fdg, in turns",
    "torch backprop, 1 thread",
    "torch backprop, 2 threads",
)
ONE, TWO, PARALLEL = CONTENDERS[:3]
COLUMNS = {
    "network": ("network", "s"),
    "contender": ("contender", "s"),
    "threads": ("threads", "d"),
    "ms per batch": ("ms", ".3f"),
    "speed-up to backprop, 1 thread": ("speedup", ".2f"),
    "to 2 BLAS threads": ("to_two", ".2f"),
    "to data parallel": ("to_parallel", ".2f"),
    "busy, by module": ("busy", "s"),
    "extra us": ("extra_us", ".0f"),
}
WINNER_COLUMNS = {
    "network": ("network", "s"),
    "fastest with exact gradients": ("exact", "s"),
    "speed-up of fdg to it": ("ratio", ".2f"),
    "fdg wins": ("verdict", "s"),
}
_ALONE = (ONE, "fdg, in turns", "torch backprop, 1 thread")


def jobs(options):
    """All contenders of one network share a process: their ratios are of one run."""
    return [{"network": name} for name in options.only]


def run(job, options):
    """One row per contender."""
    task = (NETWORKS | QUICK)[job["network"]] | {"depth": DEPTH}
    batches = 10 if options.quick else BATCHES[task["width"]] * (256 // task["batch_size"]) ** 0.5
    task |= {"contenders": options.contenders, "repeats": options.repeats, "batches": int(batches)}
    script = str(Path(__file__).with_name("_decoupled_workers.py"))
    load = os.getloadavg()[0]
    rows = in_fresh_process("speed", task, 2, script)
    kept = {key: task[key] for key in ("width", "batch_size", "batches")} | {"load_before": load}
    return [kept | row | {"threads": 1 if row["contender"] in _ALONE else 2} for row in rows]


def summarise(rows):
    """Ratios of medians within each process."""
    rows = finished(rows)
    known = {(row["network"], row["contender"]): row for row in rows}

    def over(peer, row):
        reference = known.get((row["network"], peer))
        return reference["seconds"] / row["seconds"] if reference else None

    def extra(row):
        reference = known.get((row["network"], ONE))
        if not reference or not row["busy"]:
            return None
        return 1e6 * (row["processor_seconds"] - reference["processor_seconds"]) / len(row["busy"])

    return [
        {key: row[key] for key in ("network", "contender", "threads")}
        | {"ms": 1000 * row["seconds"], "speedup": over(ONE, row)}
        | {"to_two": over(TWO, row), "to_parallel": over(PARALLEL, row)}
        | {"busy": " / ".join(f"{share:.0%}" for share in row["busy"]) if row["busy"] else "-", "extra_us": extra(row)}
        for row in rows
    ]


def winners(lines):
    """FDG against the fastest contender with exact gradients, network by network."""
    found = []
    for network in dict.fromkeys(line["network"] for line in lines):
        mine = {line["contender"]: line for line in lines if line["network"] == network}
        exact = [mine[name] for name in (ONE, TWO, PARALLEL) if name in mine]
        if exact and "fdg" in mine:
            best = min(exact, key=lambda line: line["ms"])
            ratio = best["ms"] / mine["fdg"]["ms"]
            line = {"network": network, "exact": best["contender"], "ratio": ratio}
            found.append(line | {"verdict": "yes" if ratio > 1 else "no"})
    return "Where decoupling wins:\n\n" + markdown_table(found, WINNER_COLUMNS)


SUITE = Suite(
    jobs=jobs,
    run=run,
    summarise=summarise,
    columns=COLUMNS,
    names=tuple(NETWORKS),
    quick_names=tuple(QUICK),
    contenders=CONTENDERS,
    quick_contenders=(ONE, PARALLEL, "fdg", "dtrp", "fdg, in turns"),
    defaults={"repeats": 5},
    quick={"repeats": 1},
    extra=winners,
    note=(
        "Medians of interleaved repeats of an epoch in wall time, two cores; two modules, a pipeline drained at the "
        "end of each epoch. Inputs are as wide as the layers, ten classes. Modules and data-parallel threads use one "
        "thread of BLAS each. The package keeps backpropagation to one thread where its products are small, however "
        "many there are. Data parallel: half of the batch for each thread, a sum, and half of the update each. Two "
        "networks that have nothing to do with each other show what two threads give at the most: theirs are half of "
        "the milliseconds that both take. Four modules have a thread each, on two cores. 'In turns' is the sequential "
        "executor; ADL updates a quarter as often. 'Busy' is a module's share of the time, 'extra' the processor's "
        "microseconds above those of one-thread backpropagation, by module and batch."
    ),
)
