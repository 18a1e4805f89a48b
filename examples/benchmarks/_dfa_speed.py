"""Suite "speed" of ``dfa.py``: epochs of the same network, batches and rows, in one process per number of threads."""

from _common import markdown_table
from _dfa_common import Suite, finished
from _dfa_workers import in_fresh_process

SMALL = {"features": 30, "hidden": [64, 64], "classes": 3, "rows": 20_000}
LARGE = {"features": 784, "hidden": [256, 256], "classes": 10, "rows": 12_000}
# {network: its task}; "asked" is the share of MLPClassifier's epoch that an epoch of ours may take
TASKS = {
    "30-64-64-3, batch 32": SMALL | {"batch_size": 32, "asked": 0.2},
    "30-64-64-3, batch 200": SMALL | {"batch_size": 200, "asked": 0.2},
    "784-256-256-10, batch 200": LARGE | {"batch_size": 200, "asked": 0.6},
    "784-256-256-10, batch 1024": LARGE | {"batch_size": 1024, "asked": 0.7},
}
CONTENDERS = (
    "mlp",
    "torch_loop",
    "backprop",
    "dfa",
    "random",
    "binary",
    "torch_backprop",
    "torch_dfa",
    "torch_backprop_bf16",
    "torch_dfa_bf16",
)
COLUMNS = {
    "network": ("network", "s"),
    "threads": ("threads", "d"),
    "contender": ("contender", "s"),
    "epoch, ms": ("epoch_ms", ".1f"),
    "/ MLPClassifier": ("to_mlp", ".3f"),
    "asked": ("asked", ".1f"),
    "/ torch loop": ("to_torch_loop", ".2f"),
    "/ our backprop": ("to_backprop", ".2f"),
    "fit per epoch, ms": ("fit_ms", ".1f"),
    "fit / MLPClassifier": ("fit_to_mlp", ".3f"),
}


def jobs(options):
    """All contenders of one network and one number of threads share a process: their ratios are of one run."""
    return [{"network": name, "threads": threads} for threads in options.threads for name in options.only]


def run(job, options):
    """One row per contender."""
    task = TASKS[job["network"]] | {"contenders": options.contenders, "repeats": options.repeats}
    if options.quick:
        task |= {"rows": 1000}
    rows = in_fresh_process("speed", task | {"epochs": options.epochs}, job["threads"])
    kept = {key: task[key] for key in ("rows", "batch_size", "asked")}
    return [kept | row for row in rows]


def summarise(rows):
    """Ratios of medians within each process."""
    rows = finished(rows)
    lines = []
    for row in rows:
        peers = [peer for peer in rows if all(peer[key] == row[key] for key in ("network", "threads"))]
        by_name = {peer["contender"]: peer for peer in peers}
        line = {key: row[key] for key in ("network", "threads", "contender")}
        line |= {"epoch_ms": 1000 * row["epoch_seconds"], "fit_ms": 1000 * row["fit_seconds_per_epoch"]}
        line["asked"] = row["asked"] if row["contender"] in ("backprop", "dfa", "random", "binary") else None
        line |= {f"to_{name}": ratio(row, by_name.get(name)) for name in ("mlp", "torch_loop", "backprop")}
        line["fit_to_mlp"] = ratio(row, by_name.get("mlp"), "fit_seconds_per_epoch")
        lines.append(line)
    return lines


def ratio(row, peer, key="epoch_seconds"):
    """A row's seconds over a peer's, or None where the peer did not run."""
    return row[key] / peer[key] if peer else None


def missed(lines):
    """What takes more than was asked of it."""
    late = [line for line in lines if line["asked"] and line["to_mlp"] and line["to_mlp"] > line["asked"]]
    columns = {key: COLUMNS[key] for key in ("network", "threads", "contender", "/ MLPClassifier", "asked")}
    return "Slower than asked:\n\n" + markdown_table(late, columns) if late else "Nothing is slower than asked.\n"


SUITE = Suite(
    jobs=jobs,
    run=run,
    summarise=summarise,
    columns=COLUMNS,
    names=tuple(TASKS),
    quick_names=("30-64-64-3, batch 200",),
    contenders=CONTENDERS,
    quick_contenders=CONTENDERS,
    defaults={"epochs": 2},
    quick={"epochs": 1},
    extra=missed,
    note=(
        "Medians of interleaved repeats. An epoch of MLPClassifier is the difference of two fits; of ours, a call of "
        "the execution that fit uses; of the plain loop, a pass. 'fit per epoch' is a whole fit over its epochs."
    ),
)
