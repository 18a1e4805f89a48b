"""What the suites of ``decoupled.py`` share: one fit that may diverge, lines paired with backpropagation."""

import time

import numpy as np
from _accuracy_suites import log_loss
from _common import CONTENDER, mean, table_by_set
from _dfa_common import finished, rotated
from _layerwise_common import capped_split, differences, mean_over_sets

BACKPROP = "backprop"
COUNTS = (2, 4, 8)  # modules
COLUMNS = {
    "modules": ("n_modules", "d"),
    "contender": ("contender", "s"),
    "runs": ("n_runs", "d"),
    "diverged": ("diverged", "d"),
    "mean accuracy": ("accuracy", ".4f"),
    "points to backprop": ("difference", "+.2f"),
    "standard error": ("difference_se", ".2f"),
    "worst set, points": ("worst", "+.2f"),
    "log-loss": ("log_loss", ".4f"),
    "mean staleness, first module": ("staleness", ".2f"),
}


def jobs_by_counts(references, counts):
    """A function that yields one job per set, seed, number of modules and contender; references have one module."""

    def jobs(options):
        for k, name in enumerate(options.only):
            for seed in options.seeds:
                found = [
                    {"dataset": name, "seed": seed, "contender": contender, "n_modules": n}
                    for contender in options.contenders
                    for n in ((1,) if contender in references else counts)
                ]
                yield from rotated(found, k + seed)

    return jobs


def scored_fit(model, job, options):
    """One row: scores on held-out rows, or that the loss became no number, which is a result and no failure."""
    X, X_test, y, y_test = capped_split(job, options)
    start = time.process_time()
    row = {"n_train": len(y), "n_test": len(y_test), "diverged": False, "accuracy": None, "log_loss": None}
    try:
        model.fit(X, y)
    except FloatingPointError:
        return row | {"diverged": True, "seconds": time.process_time() - start}
    return row | {
        "accuracy": float(np.mean(model.predict(X_test) == y_test)),
        "log_loss": log_loss(model, None, X_test, y_test),
        "loss": float(model.loss_),
        "seconds": time.process_time() - start,
        "epochs": model.n_iter_,
        "staleness": [float(value) for value in model.staleness_],
        "weight_versions": [int(value) for value in model.weight_versions_],
    }


def summarise(rows):
    """One line per number of modules and contender, paired with backpropagation on the same sets and seeds."""
    rows = finished(rows)
    reference = [row for row in rows if row["contender"] == BACKPROP and not row["diverged"]]
    kinds = dict.fromkeys((row["n_modules"], row["contender"]) for row in rows)
    return [_line(kind, rows, reference) for kind in sorted(kinds, key=lambda kind: kind[0])]


def _line(kind, rows, reference):
    mine = [row for row in rows if (row["n_modules"], row["contender"]) == kind]
    scored = [row for row in mine if not row["diverged"]]
    gap, error, worst = differences(scored, reference)
    sets = dict.fromkeys(row["dataset"] for row in mine)
    return {
        "n_modules": kind[0],
        "contender": kind[1],
        "n_runs": len(mine),
        "diverged": sum(row["diverged"] for row in mine),
        "accuracy": mean_over_sets(scored),
        "accuracy_by_set": {one: mean(row["accuracy"] for row in scored if row["dataset"] == one) for one in sets},
        "difference": gap,
        "difference_se": error,
        "worst": worst,
        "log_loss": mean_over_sets(scored, "log_loss"),
        "staleness": mean(row["staleness"][0] for row in scored),
    }


def by_set(lines):
    """A second table: mean accuracy of every line on every set."""
    return table_by_set(lines, columns={"modules": ("n_modules", "d")} | CONTENDER)
