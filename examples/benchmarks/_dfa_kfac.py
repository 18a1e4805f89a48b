"""Suite "kfac" of ``dfa.py``: how soon K-FAC has the accuracy with which Adam and SGD end, and what does how much.

Adam, SGD and K-FAC have two settings each (rates; of K-FAC, at the rate that "auto" means, weight decays); on every set
the one of better mean accuracy at the end counts. K-FAC runs a third of the epochs. Accuracy is measured on the test
part after every epoch, off the clock: processor seconds until it is first as high as the other's at its end.
"""

import argparse
import time
from functools import lru_cache

import numpy as np
from _common import geometric_mean, given_epochs, mean
from _dfa_accuracy import PAPER
from _dfa_common import Suite, finished, image_shape, in_points, rotated, split_of, torch_or_skip, warm_up
from _dfa_kfac_profile import profiled
from _layerwise_common import first_reaching

from sklearn_analytic import KFAC, SGD, AdamW, DFAClassifier, ImageNetwork
from sklearn_analytic.feedback.method import DirectFeedback

MLP, CNN = "mlp", "cnn"
PLACES = {name: (name, MLP) for name in ("segment", "optdigits", "satimage", "pendigits", "letter", "digits")}
ALL_TABLES = tuple(PLACES)
PLACES |= {"fashion_mnist": ("fashion_mnist", MLP)}
PLACES |= {"fashion_mnist, cnn": ("fashion_mnist", CNN), "mnist, cnn": ("mnist", CNN)}
HIDDEN = {MLP: (256, 256), CNN: (128,)}
CHANNELS, CNN_ROWS, CNN_SHARE, N_TEST = (8, 16), 3000, 0.625, 3000
BATCH, SHORT = 256, 1 / 3  # of K-FAC: rows of a batch, share of the epochs

GROWING = KFAC(factor_interval=4, eigen_interval=8, milestones=tuple(range(1, 100)), interval_growth=1.4)
OURS = {"preconditioner": "kfac", "solver": SGD(ema_decay=0.9), "alpha": 0.003, "batch_size": BATCH, "share": SHORT}

# {family: settings of which one counts}
FAMILIES = {
    "adam": {f"adam {rate:g}": {"learning_rate_init": rate} for rate in (1e-3, 3e-3)},
    "sgd": {f"sgd {rate:g}": {"solver": "sgd", "learning_rate_init": rate} for rate in (0.03, 0.1)},
    "kfac": {f"kfac {alpha:g}": OURS | {"alpha": alpha} for alpha in (3e-3, 1e-2)},
}
# {contender: parameters of DFAClassifier and its share of the epochs}: of K-FAC with one thing changed, and beside it
OTHERS = {
    "paper": {"preconditioner": PAPER, "solver": "sgd", "learning_rate_init": 0.03},
    "eigen": OURS | {"preconditioner": KFAC(solver="eigen")},
    "identity": OURS | {"preconditioner": KFAC(start="identity")},
    "paper's damping": OURS | {"preconditioner": KFAC(damping=0.003)},
    "levenberg_marquardt": OURS | {"preconditioner": KFAC(damping_rule="levenberg_marquardt")},
    "growing intervals": OURS | {"preconditioner": GROWING},
    "no decay": OURS | {"alpha": 0.0},
    "no mean": OURS | {"solver": "sgd"},
    "batches of 128": OURS | {"batch_size": 128},
    "short adam": {"learning_rate_init": 3e-3, "share": SHORT},
    "short adamw": {"solver": AdamW(ema_decay=0.9), "alpha": 0.1, "learning_rate_init": 3e-3, "share": SHORT},
}
CONTENDERS = {name: own for family in FAMILIES.values() for name, own in family.items()} | OTHERS
OF_IMAGES = (*(name for family in FAMILIES.values() for name in family), "paper", "short adam")

# {profile: place} of short fits whose seconds are taken apart
PROFILED = {f"profile, {place}": place for place in ("optdigits", "mnist, cnn", "digits")}

COLUMNS = {
    "data set": ("place", "s"),
    "contender": ("contender", "s"),
    "accuracy": ("accuracy", ".4f"),
    "points to Adam": ("difference", "+.2f"),
    "log-loss to Adam's": ("log_loss_difference", "+.3f"),
    "reached Adam's": ("reached_adam", "s"),
    "time / Adam's to there": ("time_adam", ".2f"),
    "time / SGD's": ("time_sgd", ".2f"),
    "time / Adam's run": ("run_adam", ".2f"),
    "epoch / Adam's": ("epoch_ratio", ".2f"),
}


class Clock:
    """Seconds of the epochs of a fit, with the scores after each, which are off the clock."""

    def __init__(self, rows, codes):
        self._rows, self._codes = rows, codes
        self.curve, self._spent, self._start = [], (0.0, 0.0), self._now()

    def lap(self, execution):
        """An epoch is over."""
        spent = tuple(a + b - c for a, b, c in zip(self._spent, self._now(), self._start, strict=True))
        outputs = execution.outputs(self._rows).astype(np.float64)
        outputs -= outputs.max(axis=1, keepdims=True)
        outputs -= np.log(np.exp(outputs).sum(axis=1, keepdims=True))
        accuracy = float(np.mean(outputs.argmax(axis=1) == self._codes))
        log_loss = float(-np.mean(outputs[np.arange(len(self._codes)), self._codes]))
        self.curve.append([*spent, accuracy, log_loss])
        self._spent, self._start = spent, self._now()

    @staticmethod
    def _now():
        return time.process_time(), time.perf_counter()


class Watched(DFAClassifier):
    """A network that is scored after every epoch."""

    clock = None

    class _kind_of_method(DirectFeedback):
        def watch(self, execution, rows):
            Watched.clock.lap(execution)
            return {}


@lru_cache(maxsize=2)
def prepared(name, network, seed, settings):
    """(X, y, test rows as the network reads them, their codes)."""
    options = dict(settings)
    options = type("Options", (), options)
    X, X_test, y, y_test = split_of(name, seed, options)
    X_test, y_test = X_test[:N_TEST], y_test[:N_TEST]
    small = DFAClassifier(8, network=network_of(network, X, (1,)), max_iter=1, random_state=seed)
    given_epochs(small)
    small.fit(X, y)
    rows = small._trained.reading.encoded(X_test, small._method().weight_dtype)
    return X, y, rows, np.searchsorted(small.classes_, y_test)


def network_of(network, X, channels):
    """Convolutions, or nothing."""
    return ImageNetwork(image_shape(X), channels) if network == CNN else None


def jobs(options):
    """Contenders innermost, their order rotated by set and seed."""
    for k, place in enumerate(options.only):
        for seed in options.seeds:
            names = [name for name in options.contenders if place in ALL_TABLES or name in OF_IMAGES]
            found = [{"place": place, "seed": seed, "contender": name} for name in names]
            yield from rotated(found, k + seed)
    for profile, place in PROFILED.items():
        for contender in ("paper", "kfac 0.003") if place in options.only else ():
            yield {"place": profile, "seed": options.seeds[0], "contender": contender}


def taken_apart(job, options):
    """Milliseconds of 128 rows by part, and those of Adam."""
    place = PROFILED[job["place"]]
    options = argparse.Namespace(**vars(options) | {"epochs": max(options.epochs // 4, 2)})
    with profiled(PLACES[place][1]) as spent:
        (row,) = run(job | {"place": place}, options)
    (adam,) = run(job | {"place": place, "contender": "adam 0.001"}, options)
    of_128 = {one: 1e3 * 128 / (run["epochs"] * run["n_train"]) for one, run in (("own", row), ("adam", adam))}
    parts = {part: seconds * of_128["own"] for part, seconds in spent.items()}
    whole = row["cpu_seconds"] * of_128["own"]
    ends = {"rest": whole - sum(parts.values()), "whole": whole, "adam": adam["cpu_seconds"] * of_128["adam"]}
    return [{"parts": parts | ends}]


def run(job, options):
    """One fit, with its curve."""
    if job["place"] in PROFILED:
        return taken_apart(job, options)
    name, network = PLACES[job["place"]]
    if network == CNN:
        torch_or_skip(options.threads[0])
    n_rows = min(options.max_train_rows, CNN_ROWS) if network == CNN else options.max_train_rows
    X, y, rows, codes = prepared(name, network, job["seed"], (("data", options.data), ("max_train_rows", n_rows)))
    own = dict(CONTENDERS[job["contender"]])
    epochs = round(options.epochs * own.pop("share", 1) * (CNN_SHARE if network == CNN else 1))
    shared = {"hidden_layer_sizes": HIDDEN[network], "batch_size": options.batch_size, "scheme": "backprop"}
    parameters = shared | own | {"max_iter": max(epochs, 1)}
    if network == MLP:
        warm_up([parameters])
    model = Watched(**parameters, network=network_of(network, X, CHANNELS), random_state=job["seed"])
    given_epochs(model)
    Watched.clock = Clock(rows, codes)
    model.fit(X, y)
    curve = Watched.clock.curve
    seconds, wall, accuracy, log_loss = curve[-1]
    ends = {"accuracy": accuracy, "log_loss": log_loss, "cpu_seconds": seconds, "seconds": wall, "epochs": len(curve)}
    return [{"n_train": len(y), "n_test": len(codes), "n_features": X.shape[1]} | ends | {"curve": curve}]


# ------------------------------------------------------------------ summaries


def reached(row, accuracy):
    """Processor seconds until a run first had an accuracy; None of one that never has."""
    seconds, _, scores, _ = zip(*row["curve"], strict=True)
    return first_reaching(seconds, scores, accuracy)


def best_of(rows, family):
    """{seed: row} of the setting of a family with the better mean accuracy on these rows."""
    found = [{row["seed"]: row for row in rows if row["contender"] == name} for name in FAMILIES[family]]
    return max(found, key=lambda runs: mean(row["accuracy"] for row in runs.values()) or 0.0)


def compared(mine, other):
    """What the runs of one set give beside the other's, by seed: a list of dicts."""
    found = []
    for seed, row in mine.items():
        if seed not in other:
            continue
        peer = other[seed]
        spent = reached(row, peer["accuracy"])
        found.append(
            {
                "difference": row["accuracy"] - peer["accuracy"],
                "log_loss_difference": row["log_loss"] - peer["log_loss"],
                "ratio": None if spent is None else spent / reached(peer, peer["accuracy"]),
                "of_run": None if spent is None else spent / peer["cpu_seconds"],
                "epoch_ratio": row["cpu_seconds"] / row["epochs"] / (peer["cpu_seconds"] / peer["epochs"]),
            }
        )
    return found


def line(place, contender, mine, adam, sgd):
    """One line from the comparisons with Adam and with SGD, which may be of several sets."""
    hits = [found for found in adam if found["ratio"] is not None]
    sgd_hits = [found for found in sgd if found["ratio"] is not None]
    return {
        "place": place,
        "contender": contender,
        "accuracy": mean(row["accuracy"] for row in mine),
        "log_loss": mean(row["log_loss"] for row in mine),
        "difference": in_points(mean(found["difference"] for found in adam)),
        "log_loss_difference": mean(found["log_loss_difference"] for found in adam),
        "reached_adam": f"{len(hits)} of {len(adam)}",
        "time_adam": geometric_mean(found["ratio"] for found in hits) if hits else None,
        "run_adam": geometric_mean(found["of_run"] for found in hits) if hits else None,
        "reached_sgd": f"{len(sgd_hits)} of {len(sgd)}",
        "time_sgd": geometric_mean(found["ratio"] for found in sgd_hits) if sgd_hits else None,
        "epoch_ratio": geometric_mean(found["epoch_ratio"] for found in adam) if adam else None,
    }


def summarise(rows):
    """Families on every set, then every contender over all tables."""
    rows = finished(rows)
    by_place = {place: [row for row in rows if row["place"] == place] for place in PLACES}
    by_place = {place: found for place, found in by_place.items() if found}
    best = {place: {family: best_of(found, family) for family in FAMILIES} for place, found in by_place.items()}
    lines = []
    for place, chosen in best.items():
        for family, mine in chosen.items():
            pairs = compared(mine, chosen["adam"]), compared(mine, chosen["sgd"])
            lines += [line(place, family, mine.values(), *pairs)] if mine else []
    tables = {place: found for place, found in by_place.items() if place in ALL_TABLES}
    for name in CONTENDERS:
        mine = {
            place: {row["seed"]: row for row in found if row["contender"] == name} for place, found in tables.items()
        }
        pairs = [
            [one for place, runs in mine.items() for one in compared(runs, best[place][family])]
            for family in ("adam", "sgd")
        ]
        runs = [row for found in mine.values() for row in found.values()]
        lines += [line("all tables", name, runs, *pairs)] if runs else []
    return lines


SUITE = Suite(
    jobs=jobs,
    run=run,
    summarise=summarise,
    columns=COLUMNS,
    names=tuple(place for place in PLACES if place != "digits"),
    contenders=tuple(CONTENDERS),
    quick_contenders=("adam 0.003", "sgd 0.1", "kfac 0.003", "levenberg_marquardt"),
    defaults={"epochs": 24, "max_train_rows": 6000, "seeds": [0, 1, 2]},
    quick={"epochs": 12},
    note="Times are processor seconds until the accuracy of the other's last epoch is first reached, where it is.",
)
