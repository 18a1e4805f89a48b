"""Suites "accuracy" and "subsample" of ``layerwise.py``: layer-wise training against backpropagation."""

from _common import geometric_mean, mean, table_by_set
from _dfa_common import Suite, datasets_by_contenders, finished
from _layerwise_common import (
    BACKPROP,
    SETS,
    TRAINED,
    WatchedLayerwise,
    capped_split,
    differences,
    first_reaching,
    layer_facts,
    mean_over_sets,
    paired_ratio,
    warm_up,
    watched_fit,
)

from sklearn_analytic import DenseNetwork, Partitions

NETWORK = (256, 256, 256)
ALL_LAYERS = {"network": DenseNetwork(readout="all_layers")}
# {contender: (parameters of LayerwiseMLP, epochs over those of backprop)}
CONTENDERS = {
    BACKPROP: ({"partitions": 1}, 1),
    "backprop, rate .003": ({"partitions": 1, "learning_rate_init": 3e-3}, 1),
    "backprop, all layers": ({"partitions": 1} | ALL_LAYERS, 1),
    "sequential": ({}, 1),
    "sequential, trained outputs": (TRAINED, 1),
    "transport": ({"partitions": Partitions(interlayer="transport")}, 1),
    "simultaneous": ({"order": "simultaneous"}, 1),
    "laps": ({"order": "laps"}, 1),
    "2 partitions": ({"partitions": 2}, 1),
    "refit_head": ({"partitions": Partitions(refit_head=True)}, 1),
    "subsample=0.5": ({"partitions": Partitions(subsample=0.5)}, 1),
}
SHARES = {
    f"subsample={share:g}": ({"partitions": Partitions(subsample=share)} | TRAINED, 1)
    for share in (1.0, 0.75, 0.5, 0.25)
}
ALL = CONTENDERS | SHARES

COLUMNS = {
    "contender": ("contender", "s"),
    "epochs": ("epochs", ".0f"),
    "mean accuracy": ("accuracy", ".4f"),
    "points to backprop": ("difference", "+.2f"),
    "standard error": ("difference_se", ".2f"),
    "worst set, points": ("worst", "+.2f"),
    "log-loss": ("log_loss", ".4f"),
    "seconds / backprop's": ("time_ratio", ".2f"),
    "bytes / backprop's": ("bytes_ratio", ".2f"),
    "reach backprop's accuracy": ("reached", ".0%"),
    "time to it / backprop's fit": ("time_to", ".2f"),
}


def parameters_of(contender, options):
    """Parameters of one contender, the common ones included."""
    own, times = ALL[contender]
    shared = {"hidden_layer_sizes": NETWORK, "batch_size": options.batch_size}
    return shared | {"max_iter": times * options.epochs} | own


def run(job, options):
    """One fit, timed, and its curve."""
    parameters = parameters_of(job["contender"], options)
    warm_up(WatchedLayerwise, parameters)
    model = WatchedLayerwise(random_state=job["seed"], **parameters)
    row = watched_fit(model, capped_split(job, options))
    return [row | layer_facts(model)]


def summarise(rows, contenders=tuple(CONTENDERS), reference=BACKPROP):
    """One line per contender, paired with the reference on the same sets and seeds."""
    rows = finished(rows)
    peers = [row for row in rows if row["contender"] == reference]
    names = [name for name in contenders if any(row["contender"] == name for row in rows)]
    return [_line(name, [row for row in rows if row["contender"] == name], peers) for name in names]


def _line(name, rows, reference):
    difference, error, worst = differences(rows, reference)
    reached = arrivals(rows, reference)
    sets = dict.fromkeys(row["dataset"] for row in rows)
    return {
        "contender": name,
        "epochs": mean(row["epochs"] for row in rows),
        "accuracy": mean_over_sets(rows),
        "accuracy_by_set": {one: mean(row["accuracy"] for row in rows if row["dataset"] == one) for one in sets},
        "difference": difference,
        "difference_se": error,
        "worst": worst,
        "log_loss": mean_over_sets(rows, "log_loss"),
        "time_ratio": paired_ratio(rows, reference),
        "bytes_ratio": paired_ratio(rows, reference, "bytes"),
        "reached": mean(at is not None for at in reached) if reached else None,
        "time_to": geometric_mean(reached),
        "n_runs": len(rows),
    }


def arrivals(rows, reference):
    """Seconds to the reference's final accuracy over the seconds of its fit, or None, for every paired row."""
    known = {(row["dataset"], row["seed"]): row for row in reference}
    pairs = [(row, known[at]) for row in rows if (at := (row["dataset"], row["seed"])) in known]
    found = []
    for row, peer in pairs:
        at = first_reaching(row["curve_seconds"], row["curve_accuracy"], peer["curve_accuracy"][-1])
        found.append(None if at is None else at / peer["seconds"])
    return found


def summarise_shares(rows):
    """The same, against all rows."""
    return summarise(rows, tuple(SHARES), "subsample=1")


SUITE = Suite(
    jobs=datasets_by_contenders,
    run=run,
    summarise=summarise,
    columns=COLUMNS,
    names=SETS,
    contenders=tuple(CONTENDERS),
    quick_contenders=(BACKPROP, "sequential", "2 partitions", "refit_head"),
    defaults={"epochs": 30, "max_train_rows": 3000, "seeds": [0, 1, 2]},
    quick={"epochs": 9},
    extra=table_by_set,
    note=(
        "Seconds are those of the processor, one thread. 'long' has as many epochs for every partition as backprop has "
        "for all. The accuracy to be reached is that of backprop's last epoch, on at most 2000 held-out rows; times to "
        "it are geometric means over the runs that reach it."
    ),
)
_SHARE_COLUMNS = {"points to backprop": "points to all rows", "seconds / backprop's": "seconds / all rows'"}
SUBSAMPLE = Suite(
    jobs=datasets_by_contenders,
    run=run,
    summarise=summarise_shares,
    columns={
        _SHARE_COLUMNS.get(title, title): column
        for title, column in COLUMNS.items()
        if column[0] in ("contender", "epochs", "accuracy", "difference", "difference_se", "log_loss", "time_ratio")
    },
    names=("mnist", "letter", "satimage"),
    contenders=tuple(SHARES),
    defaults={"epochs": 30, "max_train_rows": 5000, "seeds": [0, 1]},
    quick={"epochs": 9},
    extra=table_by_set,
    note="The share of its rows that a partition hands to the next one. Seconds are those of the processor.",
)
