"""Suite "skipping" of ``dfa.py``: what it saves and costs to leave out rows that are right already."""

from _common import geometric_mean, mean
from _dfa_common import Suite, finished, in_points, measured_fit, paired_difference, rotated, split_of, warm_up

from sklearn_analytic import DFAClassifier, Feedback

NETWORK = (256, 256)
SCHEMES = {"dfa": {}, "backprop": {"scheme": "backprop"}}
TOLERANCES = (0.0, 0.01, 0.03, 0.1)
COLUMNS = {
    "contender": ("contender", "s"),
    "feedback__tol_error": ("feedback__tol_error", "g"),
    "mean accuracy": ("accuracy", ".4f"),
    "points to those of 0": ("difference", "+.2f"),
    "standard error": ("difference_se", ".2f"),
    "log-loss": ("log_loss", ".4f"),
    "seconds / those of 0": ("time_ratio", ".2f"),
}


def jobs(options):
    """Tolerances innermost, their order rotated by seed."""
    for name in options.only:
        for seed in options.seeds:
            found = [
                {"dataset": name, "seed": seed, "contender": contender, "feedback__tol_error": tolerance}
                for contender in options.contenders
                for tolerance in TOLERANCES
            ]
            yield from rotated(found, seed)


def run(job, options):
    """One timed fit."""
    feedback = Feedback(tol_error=job["feedback__tol_error"])
    parameters = SCHEMES[job["contender"]] | {"feedback": feedback, "learning_rate_init": options.rate}
    parameters |= {"hidden_layer_sizes": NETWORK, "max_iter": options.epochs, "batch_size": options.batch_size}
    warm_up([parameters])
    model = DFAClassifier(random_state=job["seed"], **parameters)
    return [measured_fit(model, split_of(job["dataset"], job["seed"], options))]


def summarise(rows):
    """One line per scheme and tolerance, paired with the exact run."""
    rows = finished(rows)
    pairs = dict.fromkeys((row["contender"], row["feedback__tol_error"]) for row in rows)
    return [_line(rows, *pair) for pair in sorted(pairs, key=lambda pair: (list(SCHEMES).index(pair[0]), pair[1]))]


def _line(rows, contender, tolerance):
    mine = [row for row in rows if row["contender"] == contender]
    exact = [row for row in mine if row["feedback__tol_error"] == 0]
    mine = [row for row in mine if row["feedback__tol_error"] == tolerance]
    difference, error = paired_difference(mine, exact)
    seconds = {(row["dataset"], row["seed"]): row["seconds"] for row in exact}
    ratios = [row["seconds"] / seconds[at] for row in mine if (at := (row["dataset"], row["seed"])) in seconds]
    return {
        "contender": contender,
        "feedback__tol_error": tolerance,
        "accuracy": mean(row["accuracy"] for row in mine),
        "difference": in_points(difference),
        "difference_se": in_points(error),
        "log_loss": mean(row["log_loss"] for row in mine),
        "time_ratio": geometric_mean(ratios),
    }


SUITE = Suite(
    jobs=jobs,
    run=run,
    summarise=summarise,
    columns=COLUMNS,
    names=("pendigits", "letter", "fashion_mnist"),
    contenders=tuple(SCHEMES),
    defaults={"epochs": 25, "max_train_rows": 20_000, "seeds": [0, 1, 2]},
    quick={"epochs": 10},
    note="A row is left out where the norm of its output error is below feedback__tol_error. Whole fits are timed.",
)
