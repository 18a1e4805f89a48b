"""Suite "accuracy" of ``dfa.py``: every kind of feedback against backpropagation, all else the same."""

from _common import geometric_mean, mean, table_by_set
from _dfa_common import (
    SIGNS,
    TABLES,
    Suite,
    datasets_by_contenders,
    final_alignment,
    finished,
    in_points,
    measured_fit,
    paired_difference,
    split_of,
    warm_up,
)

from sklearn_analytic import KFAC, ApproximateActivation, DFAClassifier, Feedback

NETWORK = (256, 256)
REFERENCE = "backprop"
# The paper's settings; the rate is --kfac-rate. What the defaults do: the suite "kfac".
PAPER = KFAC(damping=0.003, kl_clip=0.001, factor_decay=0.95, eigen_interval=25, solver="eigen", start="identity")
BY_CURVATURE = {"preconditioner": PAPER, "solver": "sgd"}
FOUR_BITS, EIGHT_BITS = ({"activation": ApproximateActivation("relu", bits=bits)} for bits in (4, 8))

# {contender: parameters of DFAClassifier}
CONTENDERS = {
    REFERENCE: {"scheme": "backprop"},
    "dfa": {},
    "dfa, all rows": {"feedback": Feedback(tol_error=0.0)},
    "random": {"feedback": "random"},
    "binary": {"feedback": "binary"},
    "sparse": {"feedback": "sparse"},
    "signs": {"feedback": SIGNS},
    "largest": {"feedback": Feedback("sparse", init="product", refresh_interval=5)},
    "product": {"feedback": "product"},
    "dkp": {"feedback": "dkp"},
    "learned": {"feedback": "learned"},
    "backprop+4bit": {"scheme": "backprop", **FOUR_BITS},
    "dfa+4bit": FOUR_BITS,
    "dfa+8bit": EIGHT_BITS,
    "backprop+kfac": {"scheme": "backprop", **BY_CURVATURE},
    "random+kfac": {"feedback": "random", **BY_CURVATURE},
    "dfa+kfac": BY_CURVATURE,
}

COLUMNS = {
    "contender": ("contender", "s"),
    "mean accuracy": ("accuracy", ".4f"),
    "points to backprop": ("difference", "+.2f"),
    "standard error": ("difference_se", ".2f"),
    "worst set, points": ("worst", "+.2f"),
    "log-loss": ("log_loss", ".4f"),
    "seconds / backprop's": ("time_ratio", ".2f"),
    "cosine, first layer": ("cosine_first", ".2f"),
    "cosine, last layer": ("cosine_last", ".2f"),
}


def parameters_of(contender, options):
    """Parameters of one contender, the common ones included."""
    shared = {"hidden_layer_sizes": NETWORK, "max_iter": options.epochs, "batch_size": options.batch_size}
    own = CONTENDERS[contender]
    rate = options.kfac_rate if "preconditioner" in own else options.rate
    return shared | {"learning_rate_init": rate} | own


def run(job, options):
    """One fit, timed; alignment is measured on the trained network afterwards."""
    split = split_of(job["dataset"], job["seed"], options)
    parameters = parameters_of(job["contender"], options)
    warm_up([parameters])
    model = DFAClassifier(random_state=job["seed"], **parameters)
    row = measured_fit(model, split)
    X, _, y, _ = split
    aligned = None if parameters.get("scheme") == "backprop" else final_alignment(model, X, y)
    return [row | {"alignment": aligned, "activation_bytes": model.activation_bytes_}]


def summarise(rows):
    """One line per contender, paired with backpropagation on the same sets and seeds."""
    rows = finished(rows)
    reference = [row for row in rows if row["contender"] == REFERENCE]
    names = dict.fromkeys(row["contender"] for row in rows)
    ordered = [name for name in CONTENDERS if name in names]
    return [_line(name, [row for row in rows if row["contender"] == name], reference) for name in ordered]


def _line(name, rows, reference):
    difference, error = paired_difference(rows, reference)
    by_set = [paired_difference([r for r in rows if r["dataset"] == one], reference)[0] for one in _sets(rows)]
    seconds = {(row["dataset"], row["seed"]): row["seconds"] for row in reference}
    ratios = [row["seconds"] / seconds[place] for row in rows if (place := (row["dataset"], row["seed"])) in seconds]
    aligned = [row["alignment"] for row in rows if row["alignment"]]
    return {
        "contender": name,
        "accuracy": mean(mean(r["accuracy"] for r in rows if r["dataset"] == one) for one in _sets(rows)),
        "accuracy_by_set": {one: mean(r["accuracy"] for r in rows if r["dataset"] == one) for one in _sets(rows)},
        "difference": in_points(difference),
        "difference_se": in_points(error),
        "worst": in_points(min((value for value in by_set if value is not None), default=None)),
        "log_loss": mean(row["log_loss"] for row in rows),
        "time_ratio": geometric_mean(ratios),
        "cosine_first": mean(values[0] for values in aligned),
        "cosine_last": mean(values[-1] for values in aligned),
        "n_runs": len(rows),
    }


def _sets(rows):
    return list(dict.fromkeys(row["dataset"] for row in rows))


SUITE = Suite(
    jobs=datasets_by_contenders,
    run=run,
    summarise=summarise,
    columns=COLUMNS,
    names=(*TABLES, "mnist", "fashion_mnist"),
    contenders=tuple(CONTENDERS),
    quick_contenders=("backprop", "dfa", "random", "binary", "dfa+4bit", "dfa+kfac"),
    defaults={"epochs": 25, "max_train_rows": 20_000, "batch_size": 128},
    quick={"epochs": 12, "batch_size": 32},
    extra=table_by_set,
    note="Differences are paired by set and seed, averaged over sets, in percentage points; the error is over seeds.",
)
