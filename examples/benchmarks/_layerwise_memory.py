"""Suite "memory" of ``layerwise.py``: bytes of training by backpropagation, with checkpoints, and layer by layer."""

from pathlib import Path

from _common import markdown_table, mean
from _dfa_common import SkipJob, Suite, finished, torch_or_skip
from _dfa_workers import in_fresh_process

DENSE = {"features": 256, "classes": 10, "rows": 4096, "batch_size": 1024, "image_shape": None, "conv": []}
IMAGES = {"features": 3072, "classes": 10, "image_shape": [3, 32, 32]}
VGG = IMAGES | {"conv": [[32, 32], [64, 64], [128, 128]], "hidden": [256], "rows": 1024, "batch_size": 256}
NETWORKS = {f"{n} x 1024": DENSE | {"hidden": [1024] * n, "layers": n} for n in (4, 8, 16)} | {
    "8 x 2048": DENSE | {"hidden": [2048] * 8, "layers": 8},
    "vgg": VGG | {"layers": 7},
}
QUICK_NETWORKS = {
    "4 x 128": DENSE | {"features": 32, "hidden": [128] * 4, "layers": 4, "rows": 512, "batch_size": 128},
    "small vgg": VGG | {"conv": [[8, 8], [16, 16]], "hidden": [32], "rows": 64, "batch_size": 32, "layers": 5},
}
WIDE = "8 x 2048"
ALL_NETWORKS = NETWORKS | QUICK_NETWORKS

# freed memory goes back to the system at once, so that peaks are those of what is in use
MALLOC = {"MALLOC_ARENA_MAX": "1", "MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"}


def estimator(backend, n_partitions, cache="memmap", interlayer="window", micro_batch="auto"):
    """A contender that is LayerwiseMLP; "window", the default, trains one layer more at a time."""
    settings = {"cache": cache, "interlayer": interlayer, "micro_batch": micro_batch}
    partitions = {"n_partitions": n_partitions} | settings
    return {"backend": backend, "kind": "estimator", "partitions": partitions}


# {contender: who trains, with what, and settings of its partitions}
CONTENDERS = {
    "compiled backprop": estimator("compiled", 1, "memory", micro_batch=None),
    "compiled backprop, micro-batches": estimator("compiled", 1, "memory"),
    "compiled, 2 partitions": estimator("compiled", 2),
    "compiled, 4 partitions": estimator("compiled", 4),
    "compiled layer-wise": estimator("compiled", None),
    "compiled layer-wise, whole batches": estimator("compiled", None, micro_batch=None),
    "compiled layer-wise, no cache": estimator("compiled", None, None),
    "compiled layer-wise, no window": estimator("compiled", None, interlayer=None),
    "torch backprop": {"backend": "torch", "kind": "loop", "partitions": {}},
    "torch checkpointing": {"backend": "torch", "kind": "checkpointing", "partitions": {}},
    "torch, 1 partition": estimator("torch", 1, "memory", micro_batch=None),
    "torch, 2 partitions": estimator("torch", 2),
    "torch, 4 partitions": estimator("torch", 4),
    "torch layer-wise": estimator("torch", None),
    "torch layer-wise, no window": estimator("torch", None, interlayer=None),
}
REFERENCES = {"compiled": "compiled backprop", "torch": "torch backprop"}
SAME_CODE = {"compiled": "compiled backprop", "torch": "torch, 1 partition"}
COLUMNS = {
    "network": ("network", "s"),
    "contender": ("contender", "s"),
    "weights MB": ("weight_mb", ".1f"),
    "counted MB": ("counted_mb", ".1f"),
    "peak MB": ("peak_mb", ".1f"),
    "counted / backprop": ("counted_ratio", ".3f"),
    "times partitions": ("counted_times", ".2f"),
    "peak / backprop": ("peak_ratio", ".3f"),
    "times partitions ": ("peak_times", ".2f"),
    "peak with all weights / backprop": ("whole_ratio", ".3f"),
    "peak / checkpointing": ("to_checkpointing", ".3f"),
    "peak / 1 partition, times partitions": ("own_times", ".2f"),
    "seconds": ("seconds", ".1f"),
}
ASKED = 1.3  # ratio to backprop times partitions


def jobs(options):
    """All contenders on every network; the compiled ones have dense layers on the CPU."""
    for network in options.only:
        dense = ALL_NETWORKS[network]["image_shape"] is None
        for name in options.contenders:
            contender = CONTENDERS[name]
            few = not options.quick and ((dense and contender["backend"] == "torch") or network == WIDE)
            if few and contender["partitions"].get("n_partitions") in (2, 4):
                continue  # time: the compiled ones tell
            if dense or contender["backend"] == "torch":
                yield {"network": network, "contender": name}


def run(job, options):
    """One fit in a process of its own."""
    contender = CONTENDERS[job["contender"]]
    needs_torch = contender["backend"] == "torch"
    if needs_torch:
        torch_or_skip(options.threads[0])
    elif options.device != "cpu":
        raise SkipJob("compiled code runs on the CPU")
    task = ALL_NETWORKS[job["network"]] | contender | {"epochs": options.epochs, "device": options.device}
    device = {"cpu": "torch:cpu"}.get(options.device, options.device) if needs_torch else "cpu"
    task |= {"needs_torch": needs_torch, "estimator_device": device, "weight_bytes": 4 * n_weights(task)}
    script = str(Path(__file__).with_name("_layerwise_workers.py"))
    row = in_fresh_process("peak", task, options.threads[0], script, MALLOC)
    if row["n_weights"] != n_weights(task):
        raise RuntimeError(f"the network has {row['n_weights']} weights, not the {n_weights(task)} of the others")
    return [row | {"weight_mb": task["weight_bytes"] / 1e6, "counted_mb": row["counted_bytes"] / 1e6}]


def n_weights(task):
    """Weights and biases of a task's network."""
    total, n_in = 0, task["features"]
    if task["image_shape"]:
        n_in, side = task["image_shape"][:2]
        for channels in (c for block in task["conv"] for c in block):
            total, n_in = total + (9 * n_in + 1) * channels, channels
        n_in *= (side // 2 ** len(task["conv"])) ** 2
    for n_out in (*task["hidden"], task["classes"]):
        total, n_in = total + (n_in + 1) * n_out, n_out
    return total


def summarise(rows):
    """One line per network and contender, against the backpropagation of the same backend."""
    rows = finished(rows)
    places = {(row["network"], row["contender"]): row for row in rows}
    ordered = [(net, name) for net in ALL_NETWORKS for name in CONTENDERS if (net, name) in places]
    return [_line(places, net, name) for net, name in ordered]


def _line(places, network, name):
    row = places[network, name]
    peer = places.get((network, REFERENCES[CONTENDERS[name]["backend"]]))
    own = places.get((network, SAME_CODE[CONTENDERS[name]["backend"]]))
    checkpoints = places.get((network, "torch checkpointing"))
    n = row["n_partitions"]
    line = {key: row[key] for key in ("network", "contender", "n_partitions", "weight_mb", "counted_mb", "peak_mb")}
    line |= {"seconds": row["seconds"], "wall_seconds": row["wall_seconds"]}
    if peer:
        line |= {f"{key}_ratio": row[f"{key}_mb"] / peer[f"{key}_mb"] for key in ("counted", "peak")}
        line |= {f"{key}_times": n * line[f"{key}_ratio"] for key in ("counted", "peak")}
        line["whole_ratio"] = (row["peak_mb"] + row["weight_mb"]) / (peer["peak_mb"] + peer["weight_mb"])
    if own and CONTENDERS[name]["kind"] == "estimator":
        line["own_times"] = n * row["peak_mb"] / own["peak_mb"]
    if checkpoints and CONTENDERS[name]["backend"] == "torch":
        line["to_checkpointing"] = row["peak_mb"] / checkpoints["peak_mb"]
    return line


def missed(lines):
    """What needs more than was asked of it."""
    parts = [line for line in lines if line["n_partitions"] > 1]
    late = [line for line in parts if max(line.get("counted_times", 0), line.get("peak_times", 0)) > ASKED]
    columns = {key: COLUMNS[key] for key in ("network", "contender", "times partitions", "times partitions ")}
    if not late:
        return f"No ratio times partitions is above {ASKED}.\n"
    share = mean(line in late for line in parts)
    return f"Above {ASKED} / partitions ({share:.0%} of those in partitions):\n\n" + markdown_table(late, columns)


SUITE = Suite(
    jobs=jobs,
    run=run,
    summarise=summarise,
    columns=COLUMNS,
    names=tuple(NETWORKS),
    quick_names=tuple(QUICK_NETWORKS),
    contenders=tuple(CONTENDERS),
    quick_contenders=("compiled backprop", "compiled layer-wise", "torch backprop", "torch layer-wise"),
    defaults={"epochs": 2, "seeds": [0]},
    quick={"epochs": 1},
    extra=missed,
    note=(
        "Counted: gradients, optimiser state and what one batch keeps, of the largest partition. Peak: the resident "
        "memory of the process above that of the same process before the fit, with rows and all weights. 'With all "
        "weights' adds these to both sides; '1 partition' is the same estimator's backpropagation. Each partition has "
        "as many epochs as backprop. 'No window' is Partitions(interlayer=None); all others train one layer more. "
        "Backpropagation passes whole batches where it does not say micro-batches, layer-wise training micro-batches "
        "where it does not say whole batches. Seconds are those of the processor, one thread."
    ),
)
