"""Suite "ablation" of ``layerwise.py``: what teaches a layer while those above it are not there, and in which order."""

from functools import lru_cache

from _common import mean
from _dfa_common import Suite, datasets_by_contenders, finished
from _layerwise_common import (
    BACKPROP,
    SETS,
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

from sklearn_analytic import Partitions

NETWORK = (256, 256, 256)
# All that varies is said, so that rows do not change with the defaults; what is not named in a title is this.
BASE = {"interlayer": None, "head_depth": 0, "layer_start": "identity"}


def partitions(**changes):
    """The parameter of a contender that differs from the others in so much."""
    return {"partitions": Partitions(**(BASE | changes))}


TRANSPORT, WINDOW = (partitions(interlayer=name) for name in ("transport", "window"))
CONTENDERS = {
    BACKPROP: {"partitions": 1},
    "backprop, rate .003": {"partitions": 1, "learning_rate_init": 3e-3},
    "head 0": partitions(),
    "head 0, rate .001": partitions() | {"learning_rate_init": 1e-3},
    "head 1": partitions(head_depth=1),
    "head 2": partitions(head_depth=2),
    "head 0, random start": partitions(layer_start="random"),
    "head 1, random start": partitions(layer_start="random", head_depth=1),
    "overparametrise": partitions(interlayer="overparametrise"),
    "lookahead": partitions(interlayer="lookahead"),
    "lookahead, head 1": partitions(interlayer="lookahead", head_depth=1),
    "window": WINDOW,
    "window, rate .001": WINDOW | {"learning_rate_init": 1e-3},
    "window, head 1": partitions(interlayer="window", head_depth=1),
    "transport": TRANSPORT,
    "sim": partitions(local_loss="sim"),
    "predsim": partitions(local_loss="predsim"),
    "transport, simultaneous": TRANSPORT | {"order": "simultaneous"},
    "window, laps": WINDOW | {"order": "laps"},
}
COLUMNS = {
    "contender": ("contender", "s"),
    "accuracy, equal epochs": ("accuracy", ".4f"),
    "points to backprop": ("difference", "+.2f"),
    "standard error": ("difference_se", ".2f"),
    "accuracy, equal time": ("accuracy_time", ".4f"),
    "points to backprop, equal time": ("difference_time", "+.2f"),
    "its standard error": ("difference_time_se", ".2f"),
    "time ratio, equal epochs": ("time_ratio", ".2f"),
    "time ratio, equal time": ("time_ratio_time", ".2f"),
    "effective rank, last layer": ("rank", ".1f"),
    "bytes / backprop's": ("bytes_ratio", ".2f"),
}
_MOST_TIMES = 6  # epochs of equal time over those of backprop


def run(job, options):
    """Two fits: as many epochs as backprop in all, and as many as take its time."""
    split = capped_split(job, options)
    row = fitted(job, options, split, options.epochs)
    rows = [row | {"budget": "epochs"}]
    if job["contender"] != BACKPROP:
        times = min(backprop_seconds(job["dataset"], job["seed"], _Frozen(options)) / row["seconds"], _MOST_TIMES)
        rows.append(fitted(job, options, split, max(1, round(options.epochs * times))) | {"budget": "time"})
    return rows


def fitted(job, options, split, epochs):
    """One timed fit."""
    parameters = {"hidden_layer_sizes": NETWORK, "batch_size": options.batch_size} | TRAINED
    parameters |= CONTENDERS[job["contender"]] | {"max_iter": epochs}
    warm_up(WatchedLayerwise, parameters)
    model = WatchedLayerwise(random_state=job["seed"], **parameters)
    row = watched_fit(model, split)
    return {key: value for key, value in row.items() if not key.startswith("curve")} | layer_facts(model)


class _Frozen:
    """Options as a key: there is one set of them in a run."""

    def __init__(self, options):
        self.options = options

    def __hash__(self):
        return id(self.options)

    def __eq__(self, other):
        return self.options is other.options


@lru_cache
def backprop_seconds(dataset, seed, frozen):
    """Processor seconds of backprop's fit, measured once."""
    job = {"dataset": dataset, "seed": seed, "contender": BACKPROP}
    return fitted(job, frozen.options, capped_split(job, frozen.options), frozen.options.epochs)["seconds"]


def summarise(rows):
    """One line per contender, both budgets beside each other."""
    rows = finished(rows)
    reference = [row for row in rows if row["contender"] == BACKPROP]
    names = [name for name in CONTENDERS if any(row["contender"] == name for row in rows)]
    return [_line(name, [row for row in rows if row["contender"] == name], reference) for name in names]


def _line(name, rows, reference):
    equal = [row for row in rows if row["budget"] == "epochs"]
    timed = [row for row in rows if row["budget"] == "time"]
    (gap, error, _), (timed_gap, timed_error, _) = differences(equal, reference), differences(timed, reference)
    return {
        "contender": name,
        "accuracy": mean_over_sets(equal),
        "difference": gap,
        "difference_se": error,
        "accuracy_time": mean_over_sets(timed),
        "difference_time": timed_gap,
        "difference_time_se": timed_error,
        "time_ratio": paired_ratio(equal, reference),
        "time_ratio_time": paired_ratio(timed, reference),
        "rank": mean(row["effective_ranks"][-1] for row in equal),
        "bytes_ratio": paired_ratio(equal, reference, "bytes"),
        "n_runs": len(equal),
    }


SUITE = Suite(
    jobs=datasets_by_contenders,
    run=run,
    summarise=summarise,
    columns=COLUMNS,
    names=SETS,
    contenders=tuple(CONTENDERS),
    quick_contenders=(BACKPROP, "head 0", "overparametrise", "window", "predsim"),
    defaults={"epochs": 20, "max_train_rows": 1500, "max_test_rows": 3000, "seeds": [0, 1]},
    quick={"epochs": 9, "max_train_rows": 600},
    note=(
        "Heads of no hidden layer and starts near the identity where a title says nothing else. Equal epochs: all "
        "partitions together have backprop's. Equal time: epochs by the processor seconds of the first run. Effective "
        "rank is that of equal epochs. Bytes are gradients, optimiser state and activations."
    ),
)
