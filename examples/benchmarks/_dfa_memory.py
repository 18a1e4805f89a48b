"""Suite "memory" of ``dfa.py``: what low-bit copies of activations save, and what accuracy they cost.

Three kinds of rows: "dense" and "image" networks report the bytes that a batch keeps and the accuracy; "peak" is the
resident memory of a whole fit in a fresh process, above its start, with large batches.
"""

from _common import markdown_table, mean
from _dfa_common import (
    Suite,
    finished,
    image_shape,
    in_points,
    measured_fit,
    paired_difference,
    rotated,
    split_of,
    torch_or_skip,
    warm_up,
)
from _dfa_workers import in_fresh_process

from sklearn_analytic import ApproximateActivation, DFAClassifier, ImageNetwork

BITS = {"exact": None, "8 bits": 8, "4 bits": 4}
SCHEMES = {"backprop": {"scheme": "backprop"}, "dfa": {}}
# {network: (dense layers, convolutions below them, which need torch)}
NETWORKS = {
    "2x256": ((256, 256), ()),
    "4x512": ((512,) * 4, ()),
    "cnn 32-64": ((256, 128), (32, 64)),
}
DENSE_SETS, IMAGE_SETS = ("pendigits", "letter"), ("mnist", "fashion_mnist")
PEAKS = ("compiled", "torch")  # who trains the large network
COLUMNS = {
    "network": ("network", "s"),
    "contender": ("contender", "s"),
    "activations": ("bits", "s"),
    "stored MB": ("stored_mb", ".3f"),
    "less storage": ("ratio", ".2f"),
    "less, shared buffers included": ("ratio_with_shared", ".2f"),
    "mean accuracy": ("accuracy", ".4f"),
    "points to exact": ("difference", "+.2f"),
    "seconds / exact": ("time_ratio", ".2f"),
    "peak MB of a fit": ("peak_mb", ".0f"),
}


def jobs(options):
    """Accuracy jobs of all networks, then the peaks."""
    for network, (_, convolutions) in NETWORKS.items():
        for name in sets_of(convolutions, options):
            yield from fits(network, name, options)
    for network in PEAKS:
        for bits in ("exact", "4 bits"):
            yield {"kind": "peak", "network": network, "contender": "dfa", "bits": bits}


def sets_of(convolutions, options):
    """The sets that were chosen, of those that suit the network; a quick run has one for all."""
    if options.quick:
        return options.only
    return [name for name in options.only if name in (IMAGE_SETS if convolutions else DENSE_SETS)]


def fits(network, name, options):
    """Numbers of bits innermost, in an order rotated by seed."""
    for seed in options.seeds[:1] if NETWORKS[network][1] else options.seeds:
        for contender in options.contenders:
            job = {"kind": "fit", "network": network, "dataset": name, "seed": seed, "contender": contender}
            yield from rotated([job | {"bits": bits} for bits in BITS], seed)


def run(job, options):
    """One row."""
    return [run_peak(job, options) if job["kind"] == "peak" else run_fit(job, options)]


def run_fit(job, options):
    """Accuracy, seconds and bytes; convolutions get a fifth of the epochs."""
    split = split_of(job["dataset"], job["seed"], options)
    hidden, convolutions = NETWORKS[job["network"]]
    parameters = {"batch_size": options.batch_size, "learning_rate_init": options.rate, "max_iter": options.epochs}
    parameters |= {"hidden_layer_sizes": hidden, "activation": ApproximateActivation("relu", bits=BITS[job["bits"]])}
    parameters |= SCHEMES[job["contender"]]
    if convolutions:
        torch_or_skip(options.threads[0])
        network = ImageNetwork(image_shape(split[0]), convolutions)
        parameters |= {"network": network, "max_iter": max(options.epochs // 5, 1)}
    else:
        warm_up([parameters])
    model = DFAClassifier(random_state=job["seed"], **parameters)
    return measured_fit(model, split) | in_megabytes(model.activation_bytes_)


def in_megabytes(sizes):
    """Bytes of one batch, and how many times less than exact activations they are."""
    return {
        "stored_mb": sizes["stored"] / 1e6,
        "shared_mb": sizes["shared"] / 1e6,
        "exact_mb": sizes["exact"] / 1e6,
        "ratio": sizes["exact"] / sizes["stored"],
        "ratio_with_shared": sizes["exact"] / (sizes["stored"] + sizes["shared"]),
    }


def run_peak(job, options):
    """Resident memory of a fit of 8 layers of 1024 (4 of 128, in a quick run) in a process of its own."""
    if job["network"] == "torch":
        torch_or_skip(options.threads[0])
    task = {
        "layers": [128] * 4 if options.quick else [1024] * 8,
        "batch_size": 512 if options.quick else 4096,
        "activation__bits": BITS[job["bits"]],
        "device": "cpu" if job["network"] == "compiled" else "torch:cpu",
    }
    measured = in_fresh_process("peak", task, options.threads[0])
    sizes = measured.pop("activation_bytes")
    return task | measured | in_megabytes(sizes)


def summarise(rows):
    """One line per network, scheme and number of bits, paired with exact activations."""
    rows = finished(rows)
    keys = ("kind", "network", "contender", "bits")
    found = dict.fromkeys(tuple(row[key] for key in keys) for row in rows)
    order = [*NETWORKS, *PEAKS]
    ordered = sorted(found, key=lambda at: (at[0], order.index(at[1]), at[2], list(BITS).index(at[3])))
    return [_line(rows, dict(zip(keys, at, strict=True))) for at in ordered]


def _line(rows, place):
    mine = [row for row in rows if place.items() <= row.items()]
    exact = [row for row in rows if (place | {"bits": "exact"}).items() <= row.items()]
    keys = ("stored_mb", "ratio", "ratio_with_shared", "accuracy", "peak_mb")
    line = place | {key: mean(row.get(key) for row in mine) for key in keys}
    if place["kind"] == "fit":
        seconds = [sum(row["seconds"] for row in part) for part in (mine, exact)]
        line["difference"] = in_points(paired_difference(mine, exact)[0])
        line["time_ratio"] = seconds[0] / seconds[1] if len(mine) == len(exact) else None
    return line


def of_four_bits(lines):
    """A second table, of what is asked of 4 bits."""
    few = [line for line in lines if line["bits"] == "4 bits" and line["kind"] == "fit"]
    columns = {key: COLUMNS[key] for key in ("network", "contender", "less storage", "points to exact")}
    return "4 bits; at least 6 times less within 0.3 points is asked:\n\n" + markdown_table(few, columns)


SUITE = Suite(
    jobs=jobs,
    run=run,
    summarise=summarise,
    columns=COLUMNS,
    names=(*DENSE_SETS, *IMAGE_SETS),
    contenders=tuple(SCHEMES),
    quick_contenders=("dfa",),
    defaults={"epochs": 25, "max_train_rows": 20_000, "seeds": [0, 1, 2]},
    quick={"epochs": 8, "max_train_rows": 500},
    extra=of_four_bits,
    note="Bytes are those of one batch; 'shared' buffers hold one layer at a time. Peaks: 8 x 1024 units, batch 4096.",
)
