"""Suite "default" of ``dfa.py``: the default against backpropagation and scikit-learn's network at equal epochs.

Sets that a few epochs do not exhaust, and what of the default does how much: rates, schedules, intervals, means of
weights.
"""

from _accuracy_suites import IMAGES
from _common import geometric_mean, mean, table_by_set
from _dfa_common import (
    Suite,
    datasets_by_contenders,
    finished,
    in_points,
    measured_fit,
    paired_difference,
    split_of,
    warm_up,
)
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_analytic import Adam, DFAClassifier, Feedback

NETWORK = (256, 256)
REFERENCE, PEER = "backprop", "mlp"
EVERY_20 = {"feedback": Feedback(refresh_interval=20)}
CONSTANT = {"learning_rate": "constant", "learning_rate_init": 1e-3}
# {contender: parameters of DFAClassifier}
CONTENDERS = {
    REFERENCE: {"scheme": "backprop"},
    "backprop, constant .001": {"scheme": "backprop", **CONSTANT},
    "dfa": {},
    "before": {"learning_rate_init": 1e-3, **EVERY_20},
    "constant .001": CONSTANT | EVERY_20,
    "constant .001, mean": CONSTANT | EVERY_20 | {"solver": Adam(ema_decay=0.98)},
    "rate by length": EVERY_20,
    "rate by length, every step": {"feedback": Feedback(refresh_interval=1)},
    "constant .003, mean": {"learning_rate": "constant", "learning_rate_init": 3e-3, "solver": Adam(ema_decay=0.98)},
}
COLUMNS = {
    "contender": ("contender", "s"),
    "mean accuracy": ("accuracy", ".4f"),
    "points to backprop": ("difference", "+.2f"),
    "standard error": ("difference_se", ".2f"),
    "points to MLPClassifier": ("to_peer", "+.2f"),
    "its standard error": ("to_peer_se", ".2f"),
    "log-loss": ("log_loss", ".4f"),
    "seconds / backprop's": ("time_ratio", ".2f"),
}


def build(contender, seed, options, name):
    """A model at equal epochs; scikit-learn's gets standardised columns, and pixels between 0 and 1."""
    shared = {"batch_size": options.batch_size, "max_iter": options.epochs, "random_state": seed}
    if contender == PEER:
        network = MLPClassifier(NETWORK, **shared)
        return network if name in IMAGES else make_pipeline(StandardScaler(), network)
    return DFAClassifier(NETWORK, **shared | CONTENDERS[contender])


def run(job, options):
    """One timed fit."""
    split = split_of(job["dataset"], job["seed"], options)
    if job["contender"] != PEER:
        warm_up([CONTENDERS[job["contender"]]])
    return [measured_fit(build(job["contender"], job["seed"], options, job["dataset"]), split)]


def summarise(rows):
    """One line per contender, paired with backpropagation and with scikit-learn's network."""
    rows = finished(rows)
    of = {name: [row for row in rows if row["contender"] == name] for name in (*CONTENDERS, PEER)}
    return [_line(name, mine, of[REFERENCE], of[PEER]) for name, mine in of.items() if mine]


def _line(name, rows, reference, peer):
    sets = list(dict.fromkeys(row["dataset"] for row in rows))
    seconds = {(row["dataset"], row["seed"]): row["cpu_seconds"] for row in reference}
    places = [(row["dataset"], row["seed"]) for row in rows]
    ratios = [r["cpu_seconds"] / seconds[p] for r, p in zip(rows, places, strict=True) if p in seconds]
    (difference, error), (to_peer, its_error) = (paired_difference(rows, other) for other in (reference, peer))
    by_set = {one: mean(row["accuracy"] for row in rows if row["dataset"] == one) for one in sets}
    return {
        "contender": name,
        "accuracy": mean(by_set.values()),
        "accuracy_by_set": by_set,
        "difference": in_points(difference),
        "difference_se": in_points(error),
        "to_peer": in_points(to_peer),
        "to_peer_se": in_points(its_error),
        "log_loss": geometric_mean([row["log_loss"] for row in rows]),
        "time_ratio": geometric_mean(ratios),
    }


SUITE = Suite(
    jobs=datasets_by_contenders,
    run=run,
    summarise=summarise,
    columns=COLUMNS,
    names=(
        *("letter", "vowel", "satimage", "optdigits", "eeg_eye_state", "covertype_20k", "connect4", "electricity"),
        *("fashion_mnist", "mnist"),
    ),
    contenders=(*CONTENDERS, PEER),
    quick_contenders=(REFERENCE, "dfa", PEER),
    defaults={"epochs": 30, "seeds": [0, 1, 2], "max_train_rows": 10_000},
    quick={"epochs": 12},
    extra=table_by_set,
    note="Points are paired by set and seed, averaged over sets, with errors over seeds; seconds are the processor's.",
)
