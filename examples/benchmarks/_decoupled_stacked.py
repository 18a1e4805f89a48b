"""Suite "stacked" of ``decoupled.py``: equal modules in one batched product, for small networks and one thread."""

from pathlib import Path

from _common import geometric_mean
from _dfa_common import Suite, finished, torch_or_skip
from _dfa_workers import in_fresh_process

NETWORKS = {
    f"8 x {width}, batch {m}": {"width": width, "batch_size": m, "depth": 7, "batches": 300}
    for width in (16, 32, 64)
    for m in (16, 32, 128)
}
CONTENDERS = (
    "torch autograd, backprop",
    "torch by hand, backprop",
    "torch stacked, 4 modules",
    "torch stacked, 8 modules",
    "compiled backprop",
    "compiled, in turns, 4 modules",
    "compiled, in turns, 8 modules",
)
_, TORCH, _, _, COMPILED, *_ = CONTENDERS
COLUMNS = {
    "network": ("network", "s"),
    "contender": ("contender", "s"),
    "us per batch": ("us", ".0f"),
    "speed-up to torch by hand": ("to_torch", ".2f"),
    "speed-up to compiled backprop": ("to_compiled", ".2f"),
}


def jobs(options):
    """All contenders of one network share a process."""
    return [{"network": name} for name in options.only]


def run(job, options):
    """One row per contender."""
    torch_or_skip(1)
    task = NETWORKS[job["network"]] | {"contenders": options.contenders, "repeats": options.repeats}
    if options.quick:
        task |= {"batches": 10}
    return in_fresh_process("stacked", task, 1, str(Path(__file__).with_name("_decoupled_workers.py")))


def summarise(rows):
    """Ratios of medians within each process."""
    rows = finished(rows)
    known = {(row["network"], row["contender"]): row["seconds"] for row in rows}

    def over(peer, row):
        reference = known.get((row["network"], peer))
        return reference / row["seconds"] if reference else None

    return [
        {"network": row["network"], "contender": row["contender"], "us": 1e6 * row["seconds"]}
        | {"to_torch": over(TORCH, row), "to_compiled": over(COMPILED, row)}
        for row in rows
    ]


def verdict(lines):
    """Whether a stacked executor would pay."""
    found = []
    for name in CONTENDERS[2:4]:
        mine = [line for line in lines if line["contender"] == name]
        if mine and all(line["to_torch"] and line["to_compiled"] for line in mine):
            to_torch, to_compiled = (geometric_mean(line[key] for line in mine) for key in ("to_torch", "to_compiled"))
            wins = sum(line["to_compiled"] > 1 for line in mine)
            text = f"{to_torch:.2f} times as fast as torch by hand, {to_compiled:.2f} times as compiled backprop"
            found.append(
                f"* {name}: {text} (geometric means); faster than the latter on {wins} of {len(mine)} networks"
            )
    return "\n".join(found) + "\n"


SUITE = Suite(
    jobs=jobs,
    run=run,
    summarise=summarise,
    columns=COLUMNS,
    names=tuple(NETWORKS),
    quick_names=("8 x 16, batch 16",),
    contenders=CONTENDERS,
    quick_contenders=CONTENDERS,
    defaults={"repeats": 7},
    quick={"repeats": 1},
    extra=verdict,
    note=(
        "Eight square layers, as many classes as units, Adam, one thread; medians of interleaved repeats of a pass. "
        "By hand: forward and backward products written out, fused Adam on one tensor of all weights. Stacked: one "
        "batched product per layer of a module for all modules of a tick of FDG, at the weights of now. 'In turns' is "
        "the sequential executor with the same rule."
    ),
)
