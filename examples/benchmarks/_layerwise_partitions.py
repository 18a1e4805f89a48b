"""Suite "partitions" of ``layerwise.py``: fewer layers at a time, and the batches that the same memory then holds."""

import numpy as np
from _common import mean
from _dfa_common import Suite, finished, rotated
from _layerwise_common import (
    TRAINED,
    WatchedLayerwise,
    capped_split,
    differences,
    layer_facts,
    mean_over_sets,
    paired_ratio,
    warm_up,
    watched_fit,
)

from sklearn_analytic import LayerwiseMLP, Partitions

NETWORK = (256,) * 8
COUNTS = (1, 2, 4, 8)
BUDGETS = ("batch of backprop", "bytes of backprop")
COLUMNS = {
    "partitions": ("n_partitions", "d"),
    "what is equal": ("budget", "s"),
    "batch sizes": ("batches", "s"),
    "mean accuracy": ("accuracy", ".4f"),
    "points to 1": ("difference", "+.2f"),
    "standard error": ("difference_se", ".2f"),
    "seconds / those of 1": ("time_ratio", ".2f"),
    "MB": ("mb", ".2f"),
    "bytes / those of 1": ("bytes_ratio", ".2f"),
}


def jobs(options):
    """Numbers of partitions innermost, their order rotated by seed."""
    for name in options.only:
        for seed in options.seeds:
            found = [{"n_partitions": k, "budget": budget} for budget in BUDGETS for k in COUNTS]
            found = [one for one in found if one["n_partitions"] > 1 or one["budget"] == BUDGETS[0]]
            yield from rotated([{"dataset": name, "seed": seed} | one for one in found], seed)


def run(job, options):
    """One timed fit; each partition has as many epochs as backprop has for all layers."""
    split = capped_split(job, options)
    network = NETWORK if not options.quick else (32,) * len(NETWORK)
    parameters = {"hidden_layer_sizes": network, "partitions": job["n_partitions"], "batch_size": options.batch_size}
    parameters |= {"learning_rate_init": options.rate, "max_iter": job["n_partitions"] * options.epochs} | TRAINED
    warm_up(WatchedLayerwise, parameters)
    allowed = None
    if job["budget"] == BUDGETS[1]:
        allowed = backprop_bytes(parameters, split)
        parameters["partitions"] = Partitions(job["n_partitions"], memory_budget=allowed)
    model = WatchedLayerwise(random_state=job["seed"], **parameters)
    row = watched_fit(model, split)
    row = {key: value for key, value in row.items() if not key.startswith("curve")}
    return [row | layer_facts(model) | {"allowed_bytes": allowed}]


def backprop_bytes(parameters, split):
    """What one partition of all layers needs, told by a fit of one epoch on two batches."""
    X, _, y, _ = split
    few = np.concatenate([np.unique(y, return_index=True)[1], np.arange(2 * parameters["batch_size"])])
    model = LayerwiseMLP(**(parameters | {"partitions": 1, "max_iter": 1, "random_state": 0}))
    return int(model.fit(X[few], y[few]).layer_bytes_.max())


def summarise(rows):
    """One line per number of partitions and kind of budget."""
    rows = finished(rows)
    kinds = dict.fromkeys((row["budget"], row["n_partitions"]) for row in rows)
    ordered = sorted(kinds, key=lambda kind: (BUDGETS.index(kind[0]), kind[1]))
    reference = [row for row in rows if row["n_partitions"] == 1]
    return [_line(rows, budget, k, reference) for budget, k in ordered]


def _line(rows, budget, k, reference):
    mine = [row for row in rows if (row["budget"], row["n_partitions"]) == (budget, k)]
    gap, error, _ = differences(mine, reference)
    return {
        "n_partitions": k,
        "budget": budget,
        "batches": " / ".join(dict.fromkeys(_range(row["batch_sizes"]) for row in mine)),
        "accuracy": mean_over_sets(mine),
        "accuracy_by_set": {row["dataset"]: mean_over_sets([row]) for row in mine},
        "difference": gap,
        "difference_se": error,
        "time_ratio": paired_ratio(mine, reference),
        "mb": mean(row["bytes"] for row in mine) / 1e6,
        "bytes_ratio": paired_ratio(mine, reference, "bytes"),
        "n_runs": len(mine),
    }


def _range(sizes):
    """Smallest and largest batch, as text."""
    return f"{min(sizes)} to {max(sizes)}" if min(sizes) < max(sizes) else f"{sizes[0]}"


SUITE = Suite(
    jobs=jobs,
    run=run,
    summarise=summarise,
    columns=COLUMNS,
    names=("letter", "mnist"),
    defaults={"epochs": 10, "max_train_rows": 5000, "seeds": [0, 1]},
    quick={"epochs": 2},
    note=(
        "8 layers of 256 units. The memory budget is what backprop needs at its batch; no batch is larger than a "
        "twentieth of the rows. Each partition has as many epochs as backprop. Seconds are those of the processor."
    ),
)
