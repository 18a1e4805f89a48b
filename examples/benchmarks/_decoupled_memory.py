"""Suite "memory" of ``decoupled.py``: activations and weights that stashing and recomputation keep."""

from pathlib import Path

from _dfa_common import Suite, finished
from _dfa_workers import in_fresh_process
from _layerwise_memory import MALLOC

BACKPROP, STASH = "backprop", "fdg, stashed weights"
NETWORKS = {f"8 x {width}, batch 256": {"width": width, "batch_size": 256} for width in (512, 1024)}
NARROW = "8 x 512, batch 256"  # at all numbers of modules; the others at four
QUICK = {"8 x 64, batch 64": {"width": 64, "batch_size": 64}}
COUNTS, FEW = (2, 4, 8), (4,)
DDG = {"schedule": "ddg", "forward_first": True}
# {contender: parameters of PipelineSchedule}
CONTENDERS = {
    BACKPROP: {"schedule": "backprop"},
    STASH: {},
    "fdg, current weights": {"stash": False},
    "ddg, stashed weights": DDG,
    "ddg, recomputed": DDG | {"recompute": True},
    "adl, M=4": {"schedule": "adl", "accumulation": 4},
    "fdg, recomputed": {"recompute": True},
    "dtrp": {"schedule": "dtrp", "recompute": True, "predictor": "adam"},
}
COLUMNS = {
    "network": ("network", "s"),
    "modules": ("n_modules", "d"),
    "contender": ("contender", "s"),
    "activations MB": ("activation_mb", ".1f"),
    "other weights MB": ("weight_mb", ".1f"),
    "weight versions, by module": ("versions", "s"),
    "sum / backprop": ("to_backprop", ".2f"),
    "activations / stash": ("activation_to_stash", ".2f"),
    "sum / stash": ("to_stash", ".2f"),
    "peak MB": ("peak_mb", ".0f"),
    "peak / backprop": ("peak_to_backprop", ".2f"),
    "peak / stash": ("peak_to_stash", ".2f"),
}
ASKED = 0.5  # of stashing, at four modules


def jobs(options):
    """All contenders at every number of modules; backpropagation is one module."""
    for network in options.only:
        for n in (1, *(COUNTS if network == NARROW else FEW)):
            for name in options.contenders:
                if (n == 1) == (name == BACKPROP):
                    yield {"network": network, "contender": name, "n_modules": n}


def run(job, options):
    """One training in a process of its own."""
    task = (NETWORKS | QUICK)[job["network"]] | {"depth": 8, "batches": 40}
    task |= {"rule": CONTENDERS[job["contender"]], "n_modules": job["n_modules"]}
    script = str(Path(__file__).with_name("_decoupled_workers.py"))
    return [in_fresh_process("peak", task, options.threads[0], script, MALLOC)]


def summarise(rows):
    """One line per network, number of modules and contender."""
    rows = finished(rows)
    known = {(row["network"], row["n_modules"], row["contender"]): row for row in rows}
    return [_line(row, known) for row in rows]


def _line(row, known):
    place = (row["network"], row["n_modules"])
    plain, stash = known.get((row["network"], 1, BACKPROP)), known.get((*place, STASH))
    line = {key: row[key] for key in ("network", "n_modules", "contender", "peak_mb", "seconds")}
    line |= {"activation_mb": row["activation_bytes"] / 1e6, "weight_mb": row["other_weight_bytes"] / 1e6}
    line["versions"] = " ".join(str(n) for n in row["weight_versions"])
    if plain:
        line |= {"to_backprop": counted(row) / counted(plain), "peak_to_backprop": _ratio(row, plain)}
    if stash:
        line["activation_to_stash"] = row["activation_bytes"] / stash["activation_bytes"]
        line |= {"to_stash": counted(row) / counted(stash), "peak_to_stash": _ratio(row, stash)}
    return line


def _ratio(row, other):
    """Of two peaks, where both were seen: a small one is below the grain of the kernel's count."""
    return row["peak_mb"] / other["peak_mb"] if row["peak_mb"] and other["peak_mb"] else None


def counted(row):
    """Bytes of activations and of weights beside the live ones."""
    return row["activation_bytes"] + row["other_weight_bytes"]


def verdict(lines):
    """Whether recomputation keeps at most half of what stashing keeps, where that is asked."""
    asked = [line for line in lines if line["n_modules"] == 4 and line["contender"] in ("fdg, recomputed", "dtrp")]
    found = [
        f"{line['contender']}, {line['network']}, 4 modules: {line['to_stash']:.2f} of stashing "
        f"({'within' if line['to_stash'] <= ASKED else 'above'} {ASKED})"
        for line in asked
        if "to_stash" in line
    ]
    return "\n".join(f"* {text}" for text in found) + "\n"


SUITE = Suite(
    jobs=jobs,
    run=run,
    summarise=summarise,
    columns=COLUMNS,
    names=tuple(NETWORKS),
    quick_names=tuple(QUICK),
    contenders=tuple(CONTENDERS),
    quick_contenders=(BACKPROP, STASH, "fdg, recomputed", "dtrp"),
    defaults={"seeds": [0]},
    extra=verdict,
    note=(
        "Inputs as wide as the layers, ten classes. Activations: the sum over modules of the most that waits for "
        "backward passes at once, inputs of recomputing modules included. Other weights: versions beside the live one, "
        "predicted ones included. Peak: the most resident memory of an epoch in a fresh process, above that of the "
        "same process with rows, live weights, gradients and moments, which are the same for all; freed memory goes "
        "back to the system at once. The executor takes turns. Backprop's row is the same code with one module."
    ),
)
