"""Suite "outputs" of ``layerwise.py``: how soon each output rule reaches what softmax reaches."""

from _common import geometric_mean, markdown_table, mean
from _dfa_common import Suite, finished, rotated, split_of
from _layerwise_common import TRAINED, WatchedDFA, WatchedLayerwise, differences, first_reaching, warm_up, watched_fit
from sklearn.model_selection import train_test_split

NETWORK = (256, 256)
ESTIMATORS = {
    "backprop": (WatchedDFA, {"scheme": "backprop"}),
    "layer-wise": (WatchedLayerwise, TRAINED),
}
OUTPUTS = ("softmax", "linear", "expgb", "pow3gb")
RATES = (1e-3, 3e-3)
MARKS = (5, 10, 20)  # epochs at which softmax's accuracy is the mark to reach
PLACE = {"estimator": ("contender", "s"), "rate": ("rate", "g"), "output": ("output", "s")}
COLUMNS = PLACE | {
    "mean accuracy": ("accuracy", ".4f"),
    "points to softmax": ("difference", "+.2f"),
    "standard error": ("difference_se", ".2f"),
    "log-loss": ("log_loss", ".4f"),
}
_MARK_COLUMNS = {"epochs to": ("epochs", ".1f"), "reach": ("reached", ".0%"), "seconds / softmax's to": ("time", ".2f")}
MARK_COLUMNS = PLACE | {
    f"{title} {mark}": (f"{key}_{mark}", form) for title, (key, form) in _MARK_COLUMNS.items() for mark in MARKS
}


def jobs(options):
    """Outputs innermost, their order rotated by seed."""
    for name in options.only:
        for seed in options.seeds:
            place = {"dataset": name, "seed": seed}
            for contender in options.contenders:
                for rate in RATES:
                    found = [{"contender": contender, "rate": rate, "output": output} for output in OUTPUTS]
                    yield from rotated([place | one for one in found], seed)


def run(job, options):
    """One fit and its curve on a quarter of the training part."""
    estimator, own = ESTIMATORS[job["contender"]]
    parameters = {"hidden_layer_sizes": NETWORK, "batch_size": options.batch_size, "max_iter": options.epochs}
    parameters |= own | {"output": job["output"], "learning_rate_init": job["rate"]}
    X, _, y, _ = split_of(job["dataset"], job["seed"], options)
    split = train_test_split(X, y, test_size=0.25, random_state=job["seed"], stratify=y)
    warm_up(estimator, parameters)
    return [watched_fit(estimator(random_state=job["seed"], **parameters), split)]


def summarise(rows):
    """One line per estimator, rate and output, paired with softmax."""
    rows = finished(rows)
    kinds = dict.fromkeys((row["contender"], row["rate"], row["output"]) for row in rows)
    ordered = sorted(kinds, key=lambda kind: (list(ESTIMATORS).index(kind[0]), kind[1], OUTPUTS.index(kind[2])))
    return [_line(rows, *kind) for kind in ordered]


def _line(rows, contender, rate, output):
    here = [row for row in rows if (row["contender"], row["rate"]) == (contender, rate)]
    mine = [row for row in here if row["output"] == output]
    softmax = [row for row in here if row["output"] == "softmax"]
    gap, error, _ = differences(mine, softmax)
    line = {"contender": contender, "rate": rate, "output": output, "difference": gap, "difference_se": error}
    line |= {key: mean(row[key] for row in mine) for key in ("accuracy", "log_loss")} | {"n_runs": len(mine)}
    for mark in MARKS:
        line |= _arrivals(mine, softmax, mark)
    return line


def _arrivals(rows, softmax, mark):
    """Mean epochs to softmax's accuracy at an epoch, the share that reach it, and seconds over softmax's own."""
    known = {(row["dataset"], row["seed"]): row for row in softmax}
    epochs, ratios, n_pairs = [], [], 0
    for row in rows:
        peer = known.get((row["dataset"], row["seed"]))
        if peer is None or len(peer["curve_accuracy"]) < mark:
            continue
        n_pairs, level = n_pairs + 1, peer["curve_accuracy"][mark - 1]
        epoch = first_reaching(range(1, len(row["curve_accuracy"]) + 1), row["curve_accuracy"], level)
        if epoch is not None:
            own = first_reaching(peer["curve_seconds"], peer["curve_accuracy"], level)
            epochs.append(epoch)
            ratios.append(row["curve_seconds"][epoch - 1] / own)
    reached = len(epochs) / n_pairs if n_pairs else None
    return {f"epochs_{mark}": mean(epochs), f"reached_{mark}": reached, f"time_{mark}": geometric_mean(ratios)}


def to_the_marks(lines):
    """A second table: epochs and seconds to the marks."""
    return markdown_table(lines, MARK_COLUMNS)


SUITE = Suite(
    jobs=jobs,
    run=run,
    summarise=summarise,
    columns=COLUMNS,
    names=("letter", "pendigits", "satimage", "mnist"),
    contenders=tuple(ESTIMATORS),
    quick_contenders=tuple(ESTIMATORS),
    defaults={"epochs": 20, "max_train_rows": 10_000, "seeds": [0, 1, 2]},
    quick={"epochs": 6, "max_train_rows": 600},
    extra=to_the_marks,
    note=(
        "Marks are softmax's accuracies at epochs 5, 10 and 20 of its own run (same estimator, rate, set and seed), on "
        "held-out rows; epochs and times are means over the runs that reach them, times over those of softmax to the "
        "same mark, in processor seconds. Epochs of layer-wise training are those of all partitions together."
    ),
)
