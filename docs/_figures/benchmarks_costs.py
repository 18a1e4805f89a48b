"""Figures of the page of benchmarks: time, memory, messages, and what single choices are worth."""

import numpy as np
from benchmarks import SMALL
from make_figures import BACKPROP, FIFTH, OTHER, OURS, SIXTH, TREES, decades, figure, record_of
from matplotlib import pyplot as plt

# ------------------------------------------------------------------ small data, first fits

FITTED = {
    "ClosedFormMLP": (OURS, "o"),
    "CPNetClassifier": (SIXTH, "o"),
    "BRMPClassifier": (FIFTH, "o"),
    "LGBMClassifier": (TREES, "s"),
    "HistGradientBoostingClassifier": (OTHER, "s"),
    "MLPClassifier": (BACKPROP, "s"),
}
TASKS = {
    "iris": "iris\n150 x 4",
    "breast cancer": "breast cancer\n569 x 30",
    "2000 x 30, 2 classes": "2 classes\n2000 x 30",
    "2000 x 30, 5 classes": "5 classes\n2000 x 30",
    "2000 x 30, 10 classes": "10 classes\n2000 x 30",
}


@figure("bench_small", data=("small",))
def small():
    """Milliseconds of a fit and of an answer, by table."""
    rows = record_of("small")["rows"]
    drawn, (left, right) = plt.subplots(1, 2, figsize=(7.2, 3.6), sharey=True)
    for axes, what, title in ((left, "fit", "a fit, ms"), (right, "predict", "predict of one row, ms")):
        _timed(axes, [row for row in rows if row["what"] == what])
        axes.set_xlabel(title)
    decades(left, (1, 10, 100, 1000))
    decades(right, (0.1, 1, 10))
    left.set_yticks(range(len(TASKS)), TASKS.values(), fontsize=SMALL)
    left.invert_yaxis()
    drawn.legend(*left.get_legend_handles_labels(), loc="outside upper center", ncols=3, handletextpad=0.2)
    return drawn


def _timed(axes, rows):
    """A mark for each estimator and table, side by side."""
    for k, (name, (colour, marker)) in enumerate(FITTED.items()):
        found = {row["task"]: row["milliseconds"] for row in rows if row["estimator"] == name}
        places = np.arange(len(TASKS)) + 0.13 * (k - 2.5)
        style = {"color": colour, "marker": marker, "s": 40, "zorder": 3, "label": name}
        axes.scatter([found[task] for task in TASKS], places, **style)


@figure("bench_first_fit", data=("first_fit",))
def first_fit():
    """The first fit with an empty and a warm cache, and the second one."""
    rows = record_of("first_fit")["rows"][::-1]
    kinds = {"second": ("second fit", OURS), "warm_first": ("warm cache", SIXTH), "first": ("empty cache", BACKPROP)}
    drawn, axes = plt.subplots(figsize=(7.2, 2.8))
    places = np.arange(len(rows))
    axes.hlines(places, [row["second"] for row in rows], [row["first"] for row in rows], color=OTHER, lw=1)
    for key, (name, colour) in kinds.items():
        axes.scatter([row[key] for row in rows], places, color=colour, s=55, zorder=3, label=name)
    axes.set_yticks(places, [row["estimator"] for row in rows])
    decades(axes, (0.01, 0.1, 1, 10))
    axes.set_xlabel("a fit on breast cancer, processor seconds")
    drawn.legend(loc="outside upper right", ncols=3, handletextpad=0.2)
    return drawn


# ------------------------------------------------------------------ least squares on a file

LOOPS = {
    "bare_loop_f64": ("loop of BLAS calls", OTHER, "--"),
    "linear_regression": ("LinearRegression", BACKPROP, "-"),
    "ridge_cholesky": ("Ridge", SIXTH, "-"),
    "sgd": ("SGDRegressor", FIFTH, "-"),
    "brmp_qr": ('solver="qr"', TREES, "-"),
    "brmp_auto": ("BRMPRegressor", OURS, "-"),
}


@figure("bench_streaming", data=("streaming_least_squares",))
def streaming():
    """Time and memory by the number of rows."""
    rows = record_of("streaming_least_squares")["summary"]
    drawn, (left, right) = plt.subplots(1, 2, figsize=(7.2, 3.4))
    for key, (name, colour, line) in LOOPS.items():
        mine = [row for row in rows if row["contender"] == key]
        thousands = [row["rows"] / 1000 for row in mine]
        style = {"color": colour, "ls": line, "marker": "o", "ms": 4, "label": name}
        left.plot(thousands, [row["seconds"] for row in mine], **style)
        if key != "bare_loop_f64":
            right.plot(thousands, [row["peak_hwm"] for row in mine], **style)
    for axes in (left, right):
        decades(axes, (250, 500, 1000, 2000))
        axes.set_yscale("log")
        axes.set_xlabel("rows of 256 columns, thousands")
    right.annotate("LinearRegression\nand Ridge", (250, 1900), va="bottom", fontsize=SMALL)
    left.set_ylabel("seconds")
    right.set_ylabel("memory above import, MB")
    drawn.legend(*left.get_legend_handles_labels(), loc="outside upper center", ncols=3)
    return drawn


# ------------------------------------------------------------------ networks trained by steps

EPOCHS = {
    "mlp": ("MLPClassifier", OTHER),
    "torch_loop": ("PyTorch loop", FIFTH),
    "backprop": ('scheme="backprop"', BACKPROP),
    "dfa": ("DFAClassifier", OURS),
}


@figure("bench_dfa_speed", data=("dfa_speed",))
def dfa_speed():
    """Epoch times over those of MLPClassifier, by network."""
    lines = record_of("dfa_speed")["summary"]
    networks = list(dict.fromkeys(line["network"] for line in lines))
    drawn, axes = plt.subplots(figsize=(7.2, 3))
    for k, (key, (name, colour)) in enumerate(EPOCHS.items()):
        found = {line["network"]: line["to_mlp"] for line in lines if line["contender"] == key}
        places = np.arange(len(networks)) + 0.2 * (k - 1.5)
        bars = axes.bar(places, [found[network] for network in networks], 0.19, color=colour, label=name)
        axes.bar_label(bars, fmt="%.2f", fontsize=8)
    axes.set_xticks(range(len(networks)), [network.replace(", ", "\n") for network in networks])
    axes.set_ylabel("epoch / MLPClassifier's")
    axes.grid(axis="x", visible=False)
    drawn.legend(loc="outside upper center", ncols=4)
    return drawn


STEPS = {
    "torch backprop, 1 thread": ("PyTorch, 1 thread", OTHER),
    "backprop, 1 thread": ("backpropagation, 1 thread", BACKPROP),
    "torch backprop, 2 threads": ("PyTorch, 2 threads", OTHER),
    "data parallel, 2 threads": ("batch split over 2 threads", BACKPROP),
    "backprop, 2 BLAS threads": ("backpropagation, 2 BLAS threads", BACKPROP),
    "ddg": ("DDG, 2 modules", OURS),
    "fdg": ("FDG, 2 modules", OURS),
}


@figure("bench_decoupled_speed", data=("decoupled_speed",))
def decoupled_speed():
    """Milliseconds per batch of one large and one small network."""
    lines = record_of("decoupled_speed")["summary"]
    drawn, panels = plt.subplots(1, 2, figsize=(7.2, 3), sharey=True)
    for axes, network, form in zip(panels, ("8 x 512, batch 256", "8 x 64, batch 32"), ("%.1f", "%.2f"), strict=True):
        found = {line["contender"]: line["ms"] for line in lines if line["network"] == network}
        bars = axes.barh(range(len(STEPS)), [found[key] for key in STEPS], color=[c for _, c in STEPS.values()])
        axes.bar_label(bars, fmt=form, padding=3, fontsize=SMALL)
        axes.set_title(network, fontsize=10)
        axes.set_xlabel("ms per batch")
        axes.margins(x=0.2)
        axes.grid(axis="y", visible=False)
    panels[0].set_yticks(range(len(STEPS)), [name for name, _ in STEPS.values()], fontsize=SMALL)
    return drawn


@figure("bench_communication", data=("communication",))
def communication():
    """How many times fewer bytes coded gradients are, as payload and on the wire."""
    lines = [line for line in record_of("communication")["summary"] if line["compression"] == "entropy"]
    sets = list(dict.fromkeys(line["set"] for line in lines))
    kinds = {("payload_ratio", 2): ("payload", OTHER), ("wire_ratio", 2): ("wire, 2 processes", OURS)}
    kinds |= {("wire_ratio", 4): ("wire, 4 processes", SIXTH)}
    drawn, axes = plt.subplots(figsize=(7.2, 2.6))
    for k, ((key, workers), (name, colour)) in enumerate(kinds.items()):
        chosen = [line for line in lines if line["workers"] == workers and line["scheme"] == "dfa"]
        found = {line["set"]: line[key] for line in chosen}
        places = np.arange(len(sets)) + 0.26 * (k - 1)
        axes.bar_label(axes.bar(places, [found[one] for one in sets], 0.25, color=colour, label=name), fmt="%.0f")
    axes.set_xticks(range(len(sets)), ["MNIST" if one == "mnist" else one for one in sets])
    axes.set_ylabel("times fewer bytes")
    axes.margins(y=0.12)
    axes.grid(axis="x", visible=False)
    drawn.legend(loc="outside upper center", ncols=3)
    return drawn


# ------------------------------------------------------------------ ablations, peak

CHANGES = {
    "no pairs": "no pairs of columns",
    "no counts": "no counts of levels",
    "pairs of categories alone": "pairs of categories only",
    "prior of 10 rows": "prior of 10 rows",
    "prior of 1 row": "prior of 1 row",
    "3 folds": "3 folds",
    "10 folds": "10 folds",
}
GROWTHS = {
    "30 trees of 128 leaves, squared errors": "30 trees of 128 leaves",
    "32 leaves alone": "trees of 32 leaves only",
    "128 leaves alone": "trees of 128 leaves only",
    "512 leaves alone": "trees of 512 leaves only",
    "no handicap": "no handicap",
    "all columns": "all columns for every tree",
    "steps of .05": "steps of .05",
}


@figure("bench_changes", data=("categories_ablation", "trees_ablation_tabular"))
def changes():
    """What a changed choice adds to the log-loss, with standard errors."""
    drawn, panels = plt.subplots(1, 2, figsize=(7.2, 3))
    files = {"categories_ablation": ("categories, 10 raw tables", CHANGES)}
    files |= {"trees_ablation_tabular": ("trees, 9 tables", GROWTHS)}
    for axes, (file, (title, known)) in zip(panels, files.items(), strict=True):
        lines = {line["contender"]: line for line in record_of(file)["summary"]["variants"]}
        values, errors = ([lines[key][f"log_loss_difference{end}"] for key in known] for end in ("", "_se"))
        axes.axvline(0, color=OTHER, lw=1)
        axes.errorbar(values, range(len(known)), xerr=errors, fmt="o", color=OURS, capsize=3)
        axes.set_yticks(range(len(known)), known.values(), fontsize=SMALL)
        axes.invert_yaxis()
        axes.set_title(title, fontsize=10)
        axes.set_xlabel("log-loss less the default's")
    return drawn


@figure("bench_peak", data=("closed_form_speed",))
def peak():
    """The rate of the large products against a square product, and the share of BLAS, by width."""
    rows = record_of("closed_form_speed")["rows"]
    drawn, panels = plt.subplots(1, 2, figsize=(7.2, 2.8), sharey=True)
    titles = {"of_peak": "features and Gram matrix,\nshare of the peak", "blas_share": "BLAS,\nshare of a fit"}
    for axes, (key, title) in zip(panels, titles.items(), strict=True):
        for hidden, colour in (("random", OTHER), ("auto", OURS)):
            mine = [row for row in rows if row["hidden"] == hidden]
            axes.plot([row["width"] for row in mine], [row[key] for row in mine], "o-", color=colour, label=hidden)
        decades(axes, (1024, 2048, 4096))
        axes.set(xlabel="hidden units", ylim=(0, 1))
        axes.set_title(title, fontsize=10)
    handles, labels = panels[0].get_legend_handles_labels()
    drawn.legend(handles, [f'hidden="{label}"' for label in labels], loc="outside upper center", ncols=2)
    return drawn
