"""Figures of the page of benchmarks: accuracy on tables and images, data set by data set."""

from statistics import mean

import numpy as np
from make_figures import BACKPROP, FIFTH, OTHER, OURS, SIXTH, TREES, decades, figure, record_of
from matplotlib import pyplot as plt

SMALL = 9  # points, of labels at marks

# {key in the files: (name, colour)}
MODELS = {
    "closed_form": ("ClosedFormMLP", OURS),
    "cpnet": ("CPNetClassifier", SIXTH),
    "catboost": ("CatBoost", TREES),
    "xgboost": ("XGBoost", OTHER),
    "lightgbm": ("LightGBM", FIFTH),
    "lightgbm_mcw1": ("LightGBM (min_child_weight=1)", FIFTH),
}


def points(rows, key, score):
    """{data set: 100 times the mean score over splits} of one model."""
    found = {}
    for row in rows:
        if row["contender"] == key:
            found.setdefault(row["dataset"], []).append(100 * row[score])
    return {name: mean(values) for name, values in found.items()}


def differences(rows, score, other, ours="closed_form"):
    """Points of one model less those of another, by data set, smallest first."""
    mine, theirs = points(rows, ours, score), points(rows, other, score)
    return dict(sorted(((name, mine[name] - theirs[name]) for name in mine), key=lambda pair: pair[1]))


def shown(name):
    """A data set as readers see it."""
    return name.replace("_", " ")


# ------------------------------------------------------------------ tables of numbers


@figure("bench_tabular", data=("accuracy_boosting_tabular",))
def tabular():
    """Classification sets: the difference to two boosters, set by set."""
    rows = record_of("accuracy_boosting_tabular")["rows"]
    return _by_set(rows, "accuracy", ("catboost", "lightgbm_mcw1"), "lead of ClosedFormMLP,\npoints of accuracy")


@figure("bench_regression", data=("accuracy_boosting_regression",))
def regression():
    """Regression sets: the same of R²."""
    rows = record_of("accuracy_boosting_regression")["rows"]
    return _by_set(rows, "r2", ("catboost", "lightgbm"), "lead of ClosedFormMLP-\nRegressor, hundredths of R²")


def _by_set(rows, score, rivals, unit):
    """A panel of sorted differences for each rival, with the counts of both sides."""
    drawn, panels = plt.subplots(1, len(rivals), figsize=(7.2, 3), sharey=True)
    for axes, key in zip(panels, rivals, strict=True):
        found = differences(rows, score, key)
        values = np.array(list(found.values()))
        axes.bar(range(len(values)), values, color=np.where(values > 0, OURS, TREES), width=0.8)
        ahead = int(np.sum(values > 0))
        axes.set_title(f"over {MODELS[key][0]}", fontsize=10)
        axes.text(0.03, 0.95, f"ahead on {ahead} of {len(values)} sets", transform=axes.transAxes, color=OURS, va="top")
        axes.set(xticks=[], xlabel="data sets, sorted")
        axes.margins(y=0.12)
        _name_ends(axes, found)
    panels[0].set_ylabel(unit)
    return drawn


def _name_ends(axes, found):
    """The names of the sets at both ends; at the lower one where it is a loss."""
    (first, low), *_, (last, high) = found.items()
    style = {"textcoords": "offset points", "fontsize": SMALL}
    if low < 0:
        axes.annotate(shown(first), (-0.4, low), (0, -3), **style, ha="left", va="top", color=TREES)
    axes.annotate(shown(last), (len(found) - 1, high), (-8, -2), **style, ha="right", va="center", color=OURS)


# ------------------------------------------------------------------ raw tables, large tables


@figure("bench_raw_tables", data=("accuracy_mixed",))
def raw_tables():
    """Every raw table: the frame as it is against CatBoost, with standard errors of the seeds."""
    rows = record_of("accuracy_mixed")["rows"]
    drawn, panels = plt.subplots(1, 2, figsize=(7.2, 3.6))
    for axes, score, unit in zip(panels, ("accuracy", "r2"), ("points of accuracy", "hundredths of R²"), strict=True):
        chosen = [row for row in rows if row.get(score) is not None]
        found = _paired(chosen, score)
        places = range(len(found))
        values, errors = zip(*found.values(), strict=True)
        colours = [OURS if value > 0 else TREES for value in values]
        axes.barh(places, values, xerr=errors, color=colours, ecolor=OTHER, height=0.7)
        axes.set_yticks(places, [shown(name) for name in found], fontsize=SMALL)
        axes.set_xlabel(f"lead over CatBoost,\n{unit}")
        axes.grid(axis="y", visible=False)
    return drawn


def _paired(rows, score):
    """{table: mean and standard error of the paired differences over seeds}, smallest first."""
    known = {(row["dataset"], row["seed"], row["contender"]): 100 * row[score] for row in rows}
    gaps = {}
    for (name, seed, model), value in known.items():
        if model == "ours native" and (name, seed, "catboost") in known:
            gaps.setdefault(name, []).append(value - known[name, seed, "catboost"])
    found = {name: (mean(values), _standard_error(values)) for name, values in gaps.items()}
    return dict(sorted(found.items(), key=lambda pair: pair[1]))


def _standard_error(values):
    """Of the mean; none for one value."""
    return np.std(values, ddof=1) / np.sqrt(len(values)) if len(values) > 1 else 0.0


@figure("bench_large", data=("accuracy_large",))
def large():
    """Large tables: accuracy less that of CatBoost, set by set, and the seconds of a fit."""
    rows = record_of("accuracy_large")["rows"]
    drawn, (left, right) = plt.subplots(1, 2, figsize=(7.2, 3.4), sharey=True)
    reference = points(rows, "catboost", "accuracy")
    sets = sorted(reference, key=lambda name: points(rows, "closed_form", "accuracy")[name] - reference[name])
    for key in ("lightgbm_mcw1", "xgboost", "catboost", "closed_form"):
        name, colour = MODELS[key]
        found = points(rows, key, "accuracy")
        seconds = {row["dataset"]: row["fit_cpu_seconds"] for row in rows if row["contender"] == key}
        style = {"color": colour, "s": 60 if colour == OURS else 35, "zorder": 3, "label": name}
        left.scatter([found[one] - reference[one] for one in sets], range(len(sets)), **style)
        right.scatter([seconds[one] for one in sets], range(len(sets)), **style)
    decades(right, (0.1, 1, 10, 100))
    sizes = {row["dataset"]: row["n_train"] for row in rows}
    left.set_yticks(range(len(sets)), [f"{shown(one)}, {sizes[one]:,}" for one in sets], fontsize=SMALL)
    left.set_xlabel("lead over CatBoost,\npoints of accuracy")
    right.set_xlabel("fit,\nprocessor seconds")
    drawn.legend(*right.get_legend_handles_labels(), loc="outside upper right", ncols=4, handletextpad=0.2)
    return drawn


# ------------------------------------------------------------------ images

IMAGE_SETS = {"mnist": "MNIST", "fashion_mnist": "Fashion-MNIST", "cifar10_jpeg_10k": "CIFAR-10, 10,000 images"}
IMAGE_MODELS = {
    "closed_form_patch": ("ClosedFormMLP,\nimage_shape", OURS, "^"),
    "closed_form": ("ClosedFormMLP", OURS, "o"),
    "cpnet": ("CPNetClassifier", SIXTH, "o"),
    "mlp": ("MLPClassifier", BACKPROP, "s"),
}


@figure("bench_images", data=("accuracy_images",))
def images():
    """Three sets of images: accuracy against the seconds of a fit."""
    rows = record_of("accuracy_images")["rows"]
    drawn, panels = plt.subplots(1, 3, figsize=(7.2, 2.9))
    for axes, (dataset, title) in zip(panels, IMAGE_SETS.items(), strict=True):
        for key, (name, colour, marker) in IMAGE_MODELS.items():
            (row,) = [row for row in rows if (row["dataset"], row["contender"]) == (dataset, key)]
            place = row["fit_seconds"], row["accuracy"]
            axes.scatter(*place, color=colour, marker=marker, s=60, zorder=3, label=name.replace("\n", " "))
        decades(axes, (3, 10, 30, 100))
        axes.set_title(title, fontsize=10)
        axes.set_xlabel("fit, s")
        axes.margins(0.12)
    panels[0].set_ylabel("accuracy")
    drawn.legend(
        *panels[0].get_legend_handles_labels(), loc="outside upper center", ncols=4, handletextpad=0.1, columnspacing=1
    )
    return drawn
