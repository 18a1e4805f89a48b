"""The tables of the benchmark files: which records, named how, in which columns.

A column is a heading and a template that is filled with the values of a record, ``"{accuracy:.4f}"``; ``short`` is a
format of two or three digits without exponent. A layout with ``across`` is a grid: the values of that template head
further columns, and ``cell`` is filled with means over the records of a place.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import benchmark_names as names


def part(*path):
    """A function that returns the records at a path of a file."""

    def records(record):
        """The records of one file."""
        for key in path:
            record = record[key]
        return record

    return records


SUMMARY, ROWS = part("summary"), part("rows")


@dataclass(frozen=True)
class Layout:
    """One table of a file."""

    columns: dict  # {heading: template}
    across: str = ""
    cell: str = ""
    names: dict = field(default_factory=dict)  # {key: {value: its name}}
    keep: dict = field(default_factory=dict)  # {key: values}: other records are left to the file
    order: str = ""  # the key by which records are sorted, largest first
    caption: str = ""
    records: Callable = SUMMARY


def _scores(titles, known, order, seconds="fit_cpu_seconds", records=None):
    """Means over data sets: two scores, the rank, and both times."""
    own = {title: f"{{{key}:{form}}}" for title, (key, form) in titles.items()}
    times = {"fit, s": f"{{{seconds}:.2f}}", "predict, s": "{predict_seconds:.3f}"}
    columns = {"model": "{contender}"} | own | {"mean rank": "{mean_rank:.2f}"} | times
    return Layout(columns, names={"contender": known}, order=order, records=records or SUMMARY)


CLASSES = {"accuracy": ("mean_accuracy", ".4f"), "log-loss": ("mean_log_loss", ".3f")}
NUMBERS = {"R²": ("mean_r2", ".4f"), "RMSE / deviation": ("mean_rmse_over_std", ".3f")}


def classification(known=names.CLASSIFIERS, **options):
    """Accuracy and log-loss over data sets."""
    return _scores(CLASSES, known, "mean_accuracy", **options)


def regression(known=names.REGRESSORS, **options):
    """R² and the error in deviations over data sets."""
    return _scores(NUMBERS, known, "mean_r2", **options)


def _images():
    """A grid of models and sets of images."""
    known = {"contender": names.CLASSIFIERS, "dataset": names.SETS}
    cell = "{accuracy:.4f}, {fit_seconds:short} s"
    return Layout({"model": "{contender}"}, "{dataset}", cell, known, records=ROWS)


# ------------------------------------------------------------------ small data, first fits, files


def _small(what, tasks, caption):
    """Milliseconds of estimators by table."""
    keep = {"what": (what,), "task": tasks}
    known = {"task": names.SMALL_SETS}
    columns = {"estimator": "`{estimator}`"}
    return Layout(columns, "{task}", "{milliseconds:short}", known, keep, caption=caption, records=ROWS)


TASKS = tuple(name for name in names.SMALL_SETS if name == "iris" or "classes" in name or "cancer" in name)
NUMERIC = ("diabetes", "2000 x 30, numbers")
PARTS = {"products": "products", "factorisations": "factorisations", "trees": "trees", "the rest": "rest"}
SMALL = (
    _small("fit", TASKS, "A fit, processor milliseconds (2, 5 and 10 classes: 2000 rows of 30 columns):"),
    _small("fit", NUMERIC, "A fit of a regressor, processor milliseconds:"),
    _small("predict", TASKS, "`predict` of one row, processor milliseconds:"),
    _small("predict_proba", TASKS, "`predict_proba` of one row, processor milliseconds:"),
    Layout(
        {"table": "{task}", "whole": "{whole:short}"} | {title: f"{{{key}:short}}" for title, key in PARTS.items()},
        names={"task": names.SMALL_PARTS},
        caption="Where a fit of `ClosedFormMLP` or its regressor spends them:",
        records=part("parts"),
    ),
)
FIRST_FIT = (
    Layout(
        {
            "estimator": "`{estimator}`",
            "first fit, empty cache, s": "{first:.2f}",
            "first fit, warm cache, s": "{warm_first:.2f}",
            "second fit, s": "{second:.3f}",
        },
        records=ROWS,
        caption="Processor seconds of a fit on breast cancer:",
    ),
    Layout(
        {"estimator": "`{estimator}`", "first fit, s": "{first:.2f}", "second fit, s": "{second:.2f}"},
        records=part("torch"),
        caption="The same in PyTorch on the CPU:",
    ),
    Layout(
        {"estimator": "`{estimator}`", "one BLAS thread, s": "{seconds_1:.2f}", "two, s": "{seconds_2:.2f}"},
        records=part("busy"),
        caption="Wall seconds of a fit on digits while another process keeps one of two cores busy:",
    ),
)
STREAMING = Layout(
    {
        "model": "{contender}",
        "seconds": "{seconds:.1f}",
        "/ float64 loop": "{ratio:.2f}",
        "memory, MB": "{peak_hwm:,.0f}",
        "without the file, MB": "{peak_anon:,.0f}",
        "relative error": "{error:.0e}",
    },
    names={"contender": names.STREAMING},
    keep={"rows": (2_000_000,)},
)
SHOWN_KAPPAS = (1e2, 1e4, 1e6, 1e8, 1e12)


def _errors(system):
    """Records of one system of the file on condition numbers."""

    def records(record):
        """A record for each solver and condition number."""
        rows = record["errors"][system].items()
        pairs = [(solver, zip(record["kappas"], errors, strict=True)) for solver, errors in rows]
        return [{"solver": solver, "kappa": kappa, "error": error} for solver, found in pairs for kappa, error in found]

    return records


CONDITIONING = tuple(
    Layout(
        {"solver": "{solver}"},
        "{kappa}",
        "{error:.0e}",
        {"solver": names.SOLVERS, "kappa": names.KAPPAS},
        {"kappa": SHOWN_KAPPAS},
        caption=f"{title}:",
        records=_errors(system),
    )
    for system, title in {"consistent": "Consistent systems", "noisy": "Noise of 1e-6 of the target"}.items()
)
READING = {"source": names.SOURCES, "estimator": names.BLOCKWISE}
OUT_OF_CORE = (
    Layout(
        {
            "source": "{source}",
            "estimator": "{estimator}",
            "250,000 rows, MB": "{peak_mb:.0f}",
            "1,000,000 rows, MB": "{peak_mb_of_4n:.0f}",
        },
        names=READING,
        keep={"suite": ("memory",)},
        caption="Peak of memory above the imports (the rows are 100 and 400 MB):",
    ),
    Layout(
        {
            "source": "{source}",
            "one pass, s": "{seconds:.2f}",
            "processor, s": "{cpu_seconds:.3f}",
            "MB per processor second": "{megabytes_per_cpu_second:,.0f}",
            "targets only, processor s": "{targets_cpu_seconds:.3f}",
        },
        names={"source": names.SOURCES},
        keep={"suite": ("reading",)},
        caption="Reading 100,000 rows:",
    ),
    Layout(
        {"source": "{source}"},
        "{ahead}",
        "{seconds:.2f}",
        {"source": names.SOURCES, "ahead": names.AHEAD},
        {"suite": ("fits",)},
        caption="Wall seconds of a fit, by the number of blocks that are read ahead:",
    ),
    Layout(
        {"estimator": "{estimator}"},
        "{source}",
        "{cpu_seconds:.2f}",
        READING,
        {"suite": ("estimators",)},
        caption="Processor seconds of a fit, from arrays and from a file:",
    ),
)
DASK = (
    Layout(
        {
            "workers": "{workers}",
            "sums of a partition, s": "{fold_s:.2f}",
            "merge, s": "{merge_s:.3f}",
            "pass, measured, s": "{pass_s:.2f}",
            "pass, modelled, s": "{model_s:.2f}",
            "sent, MB": "{moved_mb:.1f}",
        },
        records=ROWS,
        caption="Measured, and as the model has it:",
    ),
    Layout(
        {
            "workers": "{workers}",
            "sums, s": "{sums_s:,.0f}",
            "merges, s": "{merges_s:.1f}",
            "tasks, s": "{tasks_s:.0f}",
            "pass, s": "{pass_s:,.0f}",
            "reading, s per worker": "{read_s:,.0f}",
        },
        records=part("plan"),
        caption="Planned by the model for 10⁹ rows of 1000 columns:",
    ),
)
SEARCH = Layout(
    {
        "estimator": "`{estimator}`",
        "workers": "{backend}",
        "1 job, s": "{seconds_1:.2f}",
        "2 jobs, s": "{seconds_2:.2f}",
        "4 jobs, s": "{seconds_4:.2f}",
        "range of 1 job, s": "{fastest_1:.2f} to {slowest_1:.2f}",
    },
    names={"backend": names.WORKERS},
    records=ROWS,
)
COMMUNICATION = Layout(
    {
        "data set": "{set}",
        "errors": "{scheme}",
        "processes": "{workers}",
        "points": "{points:+.2f}",
        "payload": "{payload_ratio:.1f}",
        "wire": "{wire_ratio:.1f}",
    },
    names={"set": names.SETS, "scheme": names.DFA_ERRORS},
    keep={"compression": ("entropy",)},
)

# ------------------------------------------------------------------ intervals and sets


def _sets_of_classes(asked, caption):
    """Sets of one coverage."""
    columns = {
        "sets": "{contender}",
        "coverage": "{coverage:.3f}",
        "worst class": "{worst_class:.3f}",
        "classes in a set": "{size:.2f}",
        "sets of one class": "{singletons:.2f}",
        "fit + sets, s": "{fit_cpu_seconds:.2f} + {answer_cpu_seconds:.2f}",
    }
    keep = {"asked": (asked,), "contender": tuple(names.SETS_OF_CLASSES)}
    known = {"contender": names.SETS_OF_CLASSES}
    return Layout(columns, names=known, keep=keep, caption=caption, records=part("summary", "sets"))


SHOWN_INTERVALS = ("closed_form", "brmp_linear", "closed_form_cv_plus", "lightgbm_cv_plus", "lightgbm_quantiles_split")
INTERVALS = (
    Layout(
        {
            "intervals": "{contender}",
            "coverage": "{coverage:.3f}",
            "off by thirds": "{thirds_off:.3f}",
            "width, interval score": "{width:.3f}, {interval_score:.3f}",
            "score / ours": "{score_ratio:.3f}",
            "fit + intervals, s": "{fit_cpu_seconds:.2f} + {answer_cpu_seconds:.2f}",
        },
        names={"contender": names.INTERVALS},
        records=part("summary", "intervals"),
        caption="Intervals for 90 % of the targets, means over sets and splits:",
    ),
    Layout(
        {
            "estimator": "{contender}",
            "`predict_interval`, s": "{own_seconds:.3f}",
            "refits of CV+ and answer, s": "{refit_seconds:.2f}",
            "ratio": "{ratio:.2f}",
            "largest ratio": "{largest_ratio:.2f}",
        },
        names={"contender": names.REFITTED},
        records=part("summary", "refits"),
        caption="Processor seconds beyond the one fit, with the same estimator:",
    ),
    Layout(
        {"data set": "{dataset}"},
        "{contender}",
        "{interval_score:.3f} ({coverage:.3f})",
        {"dataset": names.SETS, "contender": names.INTERVALS},
        {"contender": SHOWN_INTERVALS},
        caption="Interval score, and coverage in brackets, by data set:",
        records=part("regression"),
    ),
    Layout(
        {
            "data set": "{dataset}",
            "rows": "{n_train}",
            "largest difference": "{largest_difference:.0e}",
            "closed form, s": "{closed_form_cpu_seconds:.3f}",
            "refits, s": "{refits_cpu_seconds:.2f}",
        },
        names={"dataset": names.SETS},
        records=part("equal_fits"),
        caption="The jackknife+ of a ridge with one scale, in closed form and by a refit without each row:",
    ),
    _sets_of_classes(0.9, "Sets for 90 % of the rows:"),
    _sets_of_classes(0.95, "Sets for 95 % of the rows:"),
    Layout(
        {
            "sets": "{contender}",
            "asked": "{asked:.2f}",
            "coverage": "{coverage:.3f}",
            "mean class": "{mean_class:.3f}",
            "worst class": "{worst_class:.3f}",
            "classes in a set": "{size:.2f}",
        },
        names={"contender": names.BY_CLASS},
        records=part("summary", "by_class"),
        caption="`ClosedFormMLP().predict_set` for every class by itself, on the splits that have the rows for it:",
    ),
)

# ------------------------------------------------------------------ networks trained by steps


def _to(other):
    """Points to another model, their standard error, and the sets that are won."""
    return f"{{points_to_{other}:+.2f}} ± {{points_to_{other}_se:.2f}} ({{points_to_{other}_won}})"


SHOWN_NETWORKS = ("closed_form", "dfa", "layerwise", "mlp", "mlp, tuned")
NETWORKS = (
    Layout(
        {
            "model": "{contender}",
            "accuracy": "{accuracy:.4f}",
            "log-loss": "{log_loss:.3f}",
            "to `MLPClassifier()` (won)": _to("mlp"),
            "to `ClosedFormMLP()` (won)": _to("closed_form"),
            "fit, s": "{fit_cpu_seconds:.2f} ({time_ratio:.2f})",
        },
        names={"contender": names.NETWORKS},
        order="accuracy",
    ),
    Layout(
        {"data set (rows x columns)": "{dataset} ({n_train} x {n_features})"},
        "{contender}",
        "{accuracy:.3f}, {log_loss:.2f}",
        {"contender": names.NETWORKS, "dataset": names.SETS},
        {"contender": SHOWN_NETWORKS, "error": (None,)},
        caption="Accuracy and log-loss by data set:",
        records=ROWS,
    ),
)
GAP = "{difference:+.2f} ± {difference_se:.2f}"


def _feedback(known):
    """Kinds of feedback against backpropagation."""
    columns = {
        "feedback": "{contender}",
        "accuracy": "{accuracy:.4f}",
        "points": GAP,
        "log-loss": "{log_loss:.3f}",
        "fit time": "{time_ratio:.2f}",
        "cosines": "{cosine_first:.2f}, {cosine_last:.2f}",
    }
    return Layout(columns, names={"contender": known})


SCHEMES = Layout(
    {
        "scheme": "{contender}",
        "accuracy": "{accuracy:.4f}",
        "points": "{difference:+.2f}",
        "log-loss": "{log_loss:.3f}",
        "saved": "{saved:.2f}",
        "fit, s": "{seconds:.1f}",
    },
    names={"contender": names.SCHEMES},
)
EQUAL_EPOCHS = Layout(
    {
        "model": "{contender}",
        "accuracy": "{accuracy:.4f}",
        "to backpropagation": GAP,
        "to `MLPClassifier`": "{to_peer:+.2f} ± {to_peer_se:.2f}",
        "log-loss": "{log_loss:.3f}",
        "fit time": "{time_ratio:.2f}",
    },
    names={"contender": names.DFA_AT_EQUAL_EPOCHS},
    order="accuracy",
)
TRANSFER = tuple(
    Layout(
        {"feedback": "{contender}"},
        "{n_train} images",
        "{accuracy:.4f} ({difference:+.2f})",
        {"contender": names.DFA_TRANSFER},
        {"dataset": (name,)},
        caption=caption,
    )
    for name, caption in (("fashion_mnist", "Fashion-MNIST"), ("cifar10_jpeg_10k", "CIFAR-10"))
)


EPOCHS = Layout({"training": "{contender}"}, "{network}", "{to_mlp:.3f}", {"contender": names.DFA_SPEED})
DFA_MEMORY = (
    Layout(
        {
            "network": "{network}",
            "errors": "{contender}",
            "activations": "{bits}",
            "stored, MB": "{stored_mb:.3f}",
            "times less (all buffers)": "{ratio:.1f} ({ratio_with_shared:.2f})",
            "points": "{difference:+.2f}",
        },
        names={"network": names.DFA_NETWORKS, "contender": names.DFA_ERRORS},
        keep={"network": ("2x256", "4x512")},
    ),
    Layout(
        {
            "trained by": "{network}",
            "activations": "{bits}",
            "stored, MB": "{stored_mb:.1f}",
            "peak of a fit, MB": "{peak_mb:.0f}",
        },
        names={"network": names.DFA_NETWORKS},
        keep={"network": ("compiled", "torch")},
        caption="Peak of a process with large batches:",
    ),
)
SKIPPING = Layout(
    {
        "`tol_error`": "{feedback__tol_error:g}",
        "accuracy": "{accuracy:.4f}",
        "points": GAP,
        "log-loss": "{log_loss:.3f}",
        "fit time": "{time_ratio:.2f}",
    }
)
KFAC_NAMES = {"contender": names.DFA_KFAC, "place": names.KFAC_PLACES}
KFAC_SETS = tuple(place for place in names.KFAC_PLACES if "profile" not in place and place != "all tables")
KFAC = (
    Layout(
        {"set": "{place}", "optimiser": "{contender}"}
        | {"accuracy": "{accuracy:.4f}", "log-loss": "{log_loss:.3f}"}
        | {"time to Adam's accuracy (runs)": "{time_adam:.2f} ({reached_adam})"}
        | {"to SGD's (runs)": "{time_sgd:.2f} ({reached_sgd})"},
        names=KFAC_NAMES,
        keep={"place": KFAC_SETS},
    ),
    Layout(
        {"optimiser": "{contender}", "points to Adam": "{difference:+.2f}"}
        | {"log-loss to Adam's": "{log_loss_difference:+.3f}"}
        | {"time to Adam's accuracy (runs)": "{time_adam:.2f} ({reached_adam})", "epoch": "{epoch_ratio:.2f}"},
        names=KFAC_NAMES,
        keep={"place": ("all tables",)},
        caption="Means over the five tables, all but what is named as in the line of K-FAC:",
    ),
    Layout(
        {"network": "{place}", "optimiser": "{contender}"}
        | {
            "factors, decompositions": "{parts_factors:.2f}, {parts_decompositions:.2f}",
            "solves, clip": "{parts_solves:.2f}, {parts_clip:.2f}",
            "the rest": "{parts_rest:.2f}",
            "whole (Adam)": "{parts_whole:.2f} ({parts_adam:.2f})",
        },
        names=KFAC_NAMES,
        keep={"place": tuple(place for place in names.KFAC_PLACES if "profile" in place)},
        records=ROWS,
        caption="Processor milliseconds of 128 rows:",
    ),
)
ONLINE = Layout(
    {
        "model": "{contender}",
        "accuracy": "{accuracy:.4f} ± {accuracy_se:.4f}",
        "just after a turn": "{after_turn:.3f}",
        "just before one": "{before_turn:.3f}",
        "ms per block": "{block_ms:.1f}",
    },
    names={"contender": names.ONLINE},
)
BUDGETS = Layout({"method": "{method}"}, "ε = {epsilon}", "{accuracy:.3f}", {"method": names.PRIVACY}, records=ROWS)
LAYERWISE = Layout(
    {
        "training": "{contender}",
        "accuracy": "{accuracy:.4f}",
        "points (worst set)": f"{GAP} ({{worst:+.2f}})",
        "log-loss": "{log_loss:.3f}",
        "fit time": "{time_ratio:.2f}",
        "bytes": "{bytes_ratio:.2f}",
    },
    names={"contender": names.LAYERWISE},
)
LAYERWISE_MEMORY = Layout(
    {"training": "{contender}"},
    "{network}",
    "{counted_mb:.0f} / {peak_mb:.0f}",
    {"contender": names.LAYERWISE_MEMORY, "network": names.DEPTHS},
)
LAYERWISE_ABLATION = Layout(
    {
        "training": "{contender}",
        "points, equal epochs": GAP,
        "fit time": "{time_ratio:.2f}",
        "points, equal time": "{difference_time:+.2f} ± {difference_time_se:.2f}",
        "effective rank": "{rank:.0f}",
        "bytes": "{bytes_ratio:.2f}",
    },
    names={"contender": names.LAYERWISE_ABLATION},
)
PARTITIONS = Layout(
    {
        "partitions": "{n_partitions}",
        "what is equal": "{budget}",
        "rows of a batch": "{batches}",
        "points": GAP,
        "fit time": "{time_ratio:.2f}",
        "bytes": "{bytes_ratio:.2f}",
    },
    names={"budget": names.BUDGETS},
)
OUTPUTS = Layout(
    {"training": "{contender}, rate {rate}"},
    "{output}",
    "{accuracy:.4f} ({log_loss:.3f})",
    {"contender": names.OUTPUT_NETWORKS, "output": names.OUTPUT_RULES},
)
SUBSAMPLE = Layout(
    {
        "share of the rows": "{contender}",
        "accuracy": "{accuracy:.4f}",
        "points": GAP,
        "log-loss": "{log_loss:.3f}",
        "fit time": "{time_ratio:.2f}",
    },
    names={"contender": names.SHARES},
)


def _modules(counts=(2, 4, 8)):
    """Schedules by the number of modules."""
    keep = {"n_modules": counts}
    return Layout({"schedule": "{contender}"}, "{n_modules} modules", GAP, {"contender": names.DECOUPLED}, keep)


SPEED_NAMES = {"contender": names.DECOUPLED_SPEED}
DECOUPLED_SPEED = (
    Layout(
        {
            "training": "{contender}",
            "threads": "{threads}",
            "ms per batch": "{ms:.1f}",
            "speed-up": "{speedup:.2f}",
            "modules busy": "{busy}",
        },
        names=SPEED_NAMES,
        keep={"network": ("8 x 512, batch 256",)},
        caption="Eight hidden layers of 512 units, batches of 256 rows, two modules:",
    ),
    Layout(
        {"layers and batch": "{network}"},
        "{contender}",
        "{ms:.2f}",
        {"contender": names.DECOUPLED_SIZES},
        {"contender": tuple(names.DECOUPLED_SIZES)},
        caption="Milliseconds per batch by the size of the network; FDG and DDG in two modules:",
    ),
)
DECOUPLED_MEMORY = (
    Layout(
        {"schedule": "{contender}"},
        "{n_modules} modules",
        "{activation_mb:.1f} + {weight_mb:.1f}, {peak_mb:.0f}",
        {"contender": names.DECOUPLED_MEMORY},
        {"network": ("8 x 512, batch 256",), "n_modules": (2, 4, 8)},
        caption="Layers of 512: activations + other weights, peak, in MB (backpropagation: 4.2 + 0, 6):",
    ),
    Layout(
        {
            "schedule": "{contender}",
            "activations, MB": "{activation_mb:.1f}",
            "other weights, MB": "{weight_mb:.1f}",
            "weight versions, by module": "{versions}",
            "peak, MB": "{peak_mb:.0f}",
            "peak / backpropagation": "{peak_to_backprop:.2f}",
        },
        names={"contender": names.DECOUPLED_MEMORY},
        keep={"network": ("8 x 1024, batch 256",)},
        caption="Layers of 1024, four modules:",
    ),
)
CHAIN = ("fdg", "ddg", "dtrp, even split", "dtrp, compensated split", "GPipe, 1F1B, 32 micro-batches")
SIMULATION = (
    Layout(
        {
            "schedule": "{contender}",
            "ms per batch, simulated": "{ms:.1f}",
            "measured": "{measured_ms:.1f}",
            "simulated / measured": "{ratio:.2f}",
            "speed-up, simulated": "{speedup:.2f}",
            "speed-up, measured": "{measured_speedup:.2f}",
        },
        names=SPEED_NAMES,
        keep={"part": ("8 layers, checked",)},
        caption="Eight layers in two modules, simulated and measured:",
    ),
    Layout(
        {"modules": "{n_modules}"},
        "{contender}",
        "{speedup:.1f}",
        SPEED_NAMES,
        {"contender": CHAIN, "hand_off": ("queue", "free"), "part": ("chain of 128 layers", "formula")},
        caption="A chain of 128 layers with a processor for every module, speed-up over one processor:",
    ),
)
SYNCHRONOUS = Layout(
    {
        "training": "{contender}",
        "gradients": "{gradients}",
        "ms per batch": "{ms:.1f}",
        "speed-up": "{speedup:.2f}",
        "to compiled": "{to_compiled:.2f}",
        "gradient gap": "{gradient_gap:.0e}",
    },
    names={"contender": names.SYNCHRONOUS},
)
STACKED_KINDS = tuple(names.STACKED)[1:-1]  # without autograd, and eight modules in turns
STACKED = Layout(
    {"layers and batch": "{network}"},
    "{contender}",
    "{us:,.0f}",
    {"contender": names.STACKED},
    {"contender": STACKED_KINDS},
    caption="Microseconds per batch: backpropagation by hand in PyTorch, its modules stacked, and compiled code:",
)

# ------------------------------------------------------------------ ablations, peak, reliability


def _differences(known, scores):
    """Changes of a default: differences to it, with standard errors, and the time of a fit."""
    cells = {title: f"{{{key}_difference:+.4f}} ± {{{key}_difference_se:.4f}}" for title, key in scores.items()}
    columns = {"change": "{contender}"} | cells | {"fit, s": "{fit_cpu_seconds:.2f}"}
    return Layout(columns, names={"contender": known}, records=part("summary", "variants"))


CLASS_SCORES = {"accuracy": "accuracy", "log-loss": "log_loss"}
NUMBER_SCORES = {"R²": "r2", "RMSE / deviation": "rmse_over_std"}
RAW_SCORES = CLASS_SCORES | {"area under the curve": "auc", "R²": "r2"}
PEAK = Layout(
    {
        "network": "{hidden}",
        "units": "{width}",
        "fit, s": "{fit_seconds:.1f}",
        "share of BLAS": "{blas_share:.2f}",
        "features and Gram matrix, GFLOP/s": "{gram_gflops:.0f}",
        "of the peak": "{of_peak:.2f}",
    },
    names={"hidden": names.HIDDEN},
    records=ROWS,
)
ROOFLINE = (
    Layout(
        {"device": "{device}", "threads": "{threads}", "dtype": "{precision}"},
        "{features} columns, {width} units",
        "{of_peak:.2f}",
        {"device": names.DEVICES},
        records=ROWS,
        caption="Features and Gram matrix, share of the rate of a square product:",
    ),
    Layout(
        {
            "device": "{device}",
            "columns": "{columns}",
            "preconditioned Cholesky, ms": "{cholesky_ms:.0f}",
            "Householder QR, ms": "{geqrf_ms:.0f}",
            "ratio, processor": "{ratio_cpu:.2f}",
        },
        names={"device": names.DEVICES},
        records=part("qr"),
        caption="Two ways to add 4096 rows to a triangular factor:",
    ),
    Layout(
        {
            "data set": "{set}",
            "network": "{hidden}",
            "score": "{score}",
            "float32": "{float32:.4f}",
            "bfloat16": "{bfloat16:.4f}",
            "largest difference": "{largest_difference:.4f}",
        },
        names={
            "set": names.SETS,
            "hidden": names.HIDDEN,
            "score": {"accuracy": "accuracy", "R2": "R²"},
        },
        records=part("accuracy"),
        caption="Scores with features in bfloat16:",
    ),
)
_LATER = {"rows": ("later",), "share": (0.1, 0.5)}
ONE_STATISTIC = (
    Layout(
        {
            "data set": "{set}",
            "estimator": "{contender}",
            "stream without weights": "{plain_balanced_accuracy:.3f}",
            "balanced stream": "{balanced_balanced_accuracy:.3f}",
            "balanced fit of all rows": "{whole_balanced_accuracy:.3f}",
            "difference to weighed rows": "{difference:.0e}",
        },
        names={"set": names.BALANCED_SETS, "contender": names.ONE_STATISTIC},
        records=part("summary", "balance"),
        caption="Balanced accuracy, and the largest difference to rows that bring their weights, on the same layers:",
    ),
    Layout(
        {
            "data set": "{set}",
            "estimator": "{contender}",
            "stream, s": "{cpu_seconds:.2f} ({times:.2f})",
            "statistic, MB": "{mb:.1f} ({plain_mb:.1f})",
            "refit / other priors": "{times_refit:.1f}",
            "difference of priors": "{priors_difference:.0e}",
        },
        names={"set": names.BALANCED_SETS, "contender": names.ONE_STATISTIC},
        records=part("summary", "balance"),
        caption="Processor seconds (over those without weights), megabytes (without), and other priors:",
    ),
    Layout(
        {
            "data set": "{set}",
            "estimator": "{contender}",
            "forgotten": "{share:.0%}",
            "sums": "{sums:.0e}",
            "predictions, same audit rows": "{same_audit:.0e}",
            "predictions": "{predictions:.0e}",
        },
        names={"set": names.FORGETTING_SETS, "contender": names.ONE_STATISTIC},
        keep=_LATER,
        records=part("summary", "forget"),
        caption="Rows that came later leave again: largest differences to a model that never had them:",
    ),
    Layout(
        {"estimator": "{contender}"},
        "{share:.0%} forgotten",
        "{ms:.0f} ms ({times_refit:.1f})",
        {"contender": names.ONE_STATISTIC},
        keep={"rows": ("of the fit",)},
        records=part("summary", "forget"),
        caption="Rows of a whole fit leave: processor time, means over sets (a refit over it):",
    ),
)
RELIABILITY = Layout(
    {
        "part": "{part}",
        "trials": "{trials:,}",
        "violations": "{violations}",
        "clear errors": "{clear_errors}",
        "seconds": "{seconds:.0f}",
    },
    names={"part": names.PARTS},
)

# ------------------------------------------------------------------ files

LAYOUTS = {
    "accuracy_boosting_tabular": (classification(),),
    "accuracy_tabular": (classification(seconds="fit_seconds"),),
    "accuracy_mixed": (
        classification(names.RAW_CLASSIFIERS, records=part("summary", "classification")),
        regression(names.RAW_REGRESSORS, records=part("summary", "regression")),
    ),
    "accuracy_large": (
        classification(),
        Layout(
            {"data set": "{dataset}"},
            "{contender}",
            "{accuracy:.4f}",
            {"dataset": names.SETS, "contender": names.CLASSIFIERS},
            records=ROWS,
            caption="Accuracy by data set:",
        ),
    ),
    "accuracy_boosting_regression": (regression(),),
    "accuracy_regression": (regression(seconds="fit_seconds"),),
    "accuracy_images": (_images(),),
    "accuracy_images_cpnet": (_images(),),
    "intervals": INTERVALS,
    "small": SMALL,
    "first_fit": FIRST_FIT,
    "streaming_least_squares": (STREAMING,),
    "conditioning": CONDITIONING,
    "one_statistic": ONE_STATISTIC,
    "out_of_core": OUT_OF_CORE,
    "dask_scaling": DASK,
    "parallel_search": (SEARCH,),
    "communication": (COMMUNICATION,),
    "networks": NETWORKS,
    "dfa_accuracy_default": (_feedback(names.DFA_DEFAULT),),
    "dfa_accuracy": (_feedback(names.FEEDBACK),),
    "dfa_accuracy_images": (_feedback(names.FEEDBACK),),
    "dfa_speed": (EPOCHS,),
    "dfa_speed_2threads": (EPOCHS,),
    "dfa_memory": DFA_MEMORY,
    "dfa_images": (SCHEMES,),
    "dfa_images_10epochs": (SCHEMES,),
    "dfa_images_cifar": (SCHEMES,),
    "dfa_images_cifar_5epochs": (SCHEMES,),
    "dfa_sequences": (SCHEMES,),
    "dfa_sequences_mnist": (SCHEMES,),
    "dfa_transfer": TRANSFER,
    "dfa_default": (EQUAL_EPOCHS,),
    "dfa_skipping": (SKIPPING,),
    "dfa_kfac": KFAC,
    "dfa_online": (ONLINE,),
    "dfa_privacy": (BUDGETS,),
    "layerwise_accuracy": (LAYERWISE,),
    "layerwise_memory": (LAYERWISE_MEMORY,),
    "layerwise_partitions": (PARTITIONS,),
    "layerwise_outputs": (OUTPUTS,),
    "layerwise_subsample": (SUBSAMPLE,),
    "layerwise_ablation": (LAYERWISE_ABLATION,),
    "decoupled_accuracy": (_modules(),),
    "decoupled_accuracy_sgd": (_modules(),),
    "decoupled_images": (_modules(counts=(2, 4)),),
    "decoupled_images_long": (_modules(counts=(2, 4)),),
    "decoupled_speed": DECOUPLED_SPEED,
    "decoupled_memory": DECOUPLED_MEMORY,
    "decoupled_simulation": SIMULATION,
    "decoupled_synchronous": (SYNCHRONOUS,),
    "decoupled_stacked": (STACKED,),
    "trees_ablation_tabular": (_differences(names.TREES, CLASS_SCORES),),
    "trees_ablation_regression": (_differences(names.TREES, NUMBER_SCORES),),
    "closed_form_ablation_tabular": (classification(names.CONSTRUCTIONS, seconds="fit_seconds"),),
    "closed_form_ablation_regression": (regression(names.CONSTRUCTIONS, seconds="fit_seconds"),),
    "categories_ablation": (_differences(names.CATEGORIES, RAW_SCORES),),
    "closed_form_speed": (PEAK,),
    "roofline": ROOFLINE,
    "reliability": (RELIABILITY,),
}
