"""Figures of the guides of the networks: schematics of what is fitted, and what the benchmark files say of it."""

from itertools import pairwise

import numpy as np
from make_figures import BACKPROP, FIFTH, OTHER, OURS, SIXTH, TREES, decades, figure, record_of, summary_of
from matplotlib import pyplot
from schematics import WIDTH, arrow, box, canvas, plain
from sklearn.calibration import calibration_curve
from sklearn.datasets import load_digits, make_classification
from sklearn.metrics import log_loss
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_analytic import (
    BRMPClassifier,
    ClosedFormMLP,
    ClosedFormMLPRegressor,
    CPNetClassifier,
    DFAClassifier,
    TimelineDisplay,
)

# ------------------------------------------------------------------ schematics


@figure("closed_form_fit")
def closed_form_fit():
    """What a fit does: encode, build and grow, solve once, choose by leave-one-out."""
    drawn, axes = canvas(100, 46)
    box(axes, (8, 29), (15, 14), "columns:\nnumbers,\ntext, gaps")
    box(axes, (31, 29), (20, 14), "1  Encode\nbins + robust\nz-scores", OURS)
    box(axes, (59, 38.5), (24, 13), "2  Hidden layers\nbuilt from rows,\nnot trained", OURS)
    box(axes, (59, 19.5), (24, 13), "3  Boosted trees\nscores of rows\nnot seen", TREES)
    box(axes, (88, 29), (23, 14), "4  One ridge solve\nof all output\nweights", OURS)
    box(axes, (64, 4.5), (71, 8), "leave-one-out predictions choose ridge, blend, depth, probabilities", SIXTH)
    for start, end in [((15.5, 29), (21, 29)), ((41, 29), (76.5, 29))]:
        arrow(axes, start, end)
    for y, at in ((31, 38.5), (27, 19.5)):
        arrow(axes, (41, y), (47, at))
        arrow(axes, (71, at), (76.5, y))
    arrow(axes, (85, 22), (85, 8.5), SIXTH)
    arrow(axes, (92, 8.5), (92, 22), SIXTH)
    axes.text(59, 30, "encoded columns", ha="center", va="bottom", fontsize=8.5, color="#444444")
    return drawn


@figure("streaming_statistic")
def streaming_statistic():
    """Blocks are added to a statistic of fixed size, shards are merged into it, rows are taken out of it."""
    drawn, axes = canvas(100, 46)
    for number, y in enumerate((39.5, 28.5, 17.5)):
        box(axes, (11, y), (20, 8.5), f"block {number + 1}")
        arrow(axes, (21, y), (38, (32, 28.5, 25)[number]), OURS)
    axes.text(28.5, 39.5, "add", color=OURS, ha="center")
    box(axes, (52, 28.5), (28, 17), "statistic\n$X^\\top X$,  $X^\\top y$\nor a triangular factor", OURS)
    box(axes, (89, 28.5), (20, 12), "coefficients", TREES)
    arrow(axes, (66, 28.5), (79, 28.5), TREES)
    axes.text(72.5, 30.5, "solve", color=TREES, ha="center")
    box(axes, (30, 4.8), (38, 8.5), "statistic of another machine")
    arrow(axes, (40, 9.05), (47, 20), FIFTH)
    axes.text(41.5, 14.5, "merge", color=FIFTH, ha="right")
    box(axes, (77, 4.8), (30, 8.5), "rows to forget")
    arrow(axes, (67, 9.05), (58, 20), BACKPROP)
    axes.text(65, 14.5, "subtract", color=BACKPROP)
    return drawn


@figure("dfa_feedback")
def dfa_feedback():
    """Where the output error goes, and what the feedback matrices look like."""
    drawn = pyplot.figure(figsize=(WIDTH, 3.9))
    left, right = drawn.subfigures(1, 2, width_ratios=(1.55, 1))
    for axes, direct in zip(left.subplots(1, 2), (False, True), strict=True):
        _draw_errors(axes, direct)
    for axes, (title, values) in zip(right.subplots(2, 2).flat, _feedback_matrices().items(), strict=True):
        axes.imshow(values, cmap="RdBu_r", vmin=-2.5, vmax=2.5, interpolation="nearest")
        axes.set_title(title, fontsize=9)
        axes.set(xticks=[], yticks=[])
        axes.grid(visible=False)
        axes.spines[:].set_visible(False)
    return drawn


def _feedback_matrices():
    """{title: a small matrix of each kind}; that of "refresh" is a product of weights, of low rank here."""
    rng = np.random.default_rng(0)
    signs = rng.choice([-1.8, 1.8], size=(10, 10))
    return {
        '"refresh"\nproduct of weights': rng.normal(size=(10, 3)) @ rng.normal(size=(3, 10)),
        '"random"\nnormal draws': rng.normal(size=(10, 10)),
        '"binary"\nsigns': signs,
        '"sparse"\nfew signs': signs * (rng.random((10, 10)) < 0.15),
    }


def _draw_errors(axes, direct):
    """A network of two hidden layers, the forward pass and the way of its error."""
    plain(axes, 48, 84)
    names, heights = ("input", "hidden 1", "hidden 2", "output", "error"), (5, 22, 39, 56, 71)
    for name, y in zip(names, heights, strict=True):
        box(axes, (15, y), (26, 8.5), name, BACKPROP if name == "error" else OTHER)
    for low, high in pairwise(heights):
        arrow(axes, (15, low + 4.25), (15, high - 4.25))
    color = OURS if direct else BACKPROP
    layers = ((71, 57.5, 34, ""), (54.5, 40.5, 34, "$W_3$"), (37.5, 22, 34, "$W_2$"))
    for start, end, x, name in ((72, 39, 32, "$B_2$"), (72, 22, 41, "$B_1$")) if direct else layers:
        axes.plot([28, x, x], [start, start, end], color=color, lw=1.4, solid_joinstyle="round")
        arrow(axes, (x, end), (28, end), color)
        axes.text(x + 1, end + 6 if direct else (start + end) / 2, name, color=color, va="center", fontsize=11)
    axes.text(20, 81, "direct feedback" if direct else "backpropagation", color=color, ha="center", va="center")


@figure("layerwise_partitions")
def layerwise_partitions():
    """What is trained when: everything by backpropagation, two layers and a head in each phase of the default."""
    drawn, axes = canvas(106, 50)
    for column in range(5):
        centre, phase = 10 + 21 * column + 2 * (column > 0), column - 1
        axes.text(centre, 1, f"phase {column}" if column else "backprop", ha="center")
        for layer in range(4):
            if column == 0 or layer <= phase + 1:
                fixed = 0 <= layer < phase
                edge, name = (OTHER, "fixed") if fixed else (OURS if column else BACKPROP, "trained")
                box(axes, (centre, 10 + 9 * layer), (19, 7), f"{layer + 1}: {name}", edge)
        top = min(phase + 1, 3) if column else 3
        box(axes, (centre, 19 + 9 * top), (13, 5.6), "head", SIXTH)
    axes.axvline(21.5, color="#444444", lw=0.8, ls=":")
    return drawn


# ------------------------------------------------------------------ benchmark files


ESTIMATORS = {
    "closed_form": ("ClosedFormMLP", OURS, (0, 9)),
    "cpnet": ("CPNetClassifier", FIFTH, (8, -6)),
    "catboost": ("CatBoost", TREES, (0, -15)),
    "xgboost": ("XGBoost", TREES, (8, -1)),
    "lightgbm": ("LightGBM", TREES, (8, -1)),
    "lightgbm_mcw1": ("LightGBM (min_child_weight=1)", TREES, (8, -3)),
}


@figure("closed_form_boosting", data=("accuracy_boosting_tabular", "accuracy_boosting_regression"))
def closed_form_boosting():
    """Scores against fit times, beside boosted trees."""
    drawn, pair = pyplot.subplots(1, 2, figsize=(WIDTH, 3.4))
    panels = (
        ("accuracy_boosting_tabular", "mean_accuracy", "38 classification sets", "mean accuracy"),
        ("accuracy_boosting_regression", "mean_r2", "18 regression sets", "mean R²"),
    )
    for axes, (name, score, title, label) in zip(pair, panels, strict=True):
        for who, row in summary_of(name).items():
            text, color, shift = ESTIMATORS[who]
            axes.semilogx(row["fit_cpu_seconds"], row[score], "o", color=color, ms=9 if color == OURS else 7)
            side = "left" if shift[0] else "center"
            text = text.replace("MLP", "MLPRegressor") if score == "mean_r2" else text
            at = (row["fit_cpu_seconds"], row[score])
            axes.annotate(text, at, shift, textcoords="offset points", color=color, ha=side, fontsize=9)
        axes.set(title=title, ylabel=label, xlabel="CPU seconds of a fit, mean", xlim=(0.08, 15))
        axes.set(xticks=(0.1, 1, 10), xticklabels=("0.1", "1", "10"))
        axes.margins(y=0.15)
        axes.locator_params(axis="y", nbins=5)
    return drawn


FEEDBACKS = {
    "backprop": "backpropagation",
    "dfa, all rows": '"refresh", all rows',
    "signs": "signs of the weights",
    "largest": "largest of the weights",
    "product": '"product"',
    "learned": '"learned"',
    "dkp": '"dkp"',
    "random": '"random"',
    "binary": '"binary"',
    "sparse": '"sparse"',
}


@figure("dfa_accuracy", data=("dfa_accuracy_default", "dfa_accuracy"))
def dfa_accuracy():
    """Accuracy and fit time of each kind of feedback, compared with backpropagation."""
    found = summary_of("dfa_accuracy")
    rows = {name: found[who] for who, name in FEEDBACKS.items()}
    rows = {"backpropagation": rows.pop("backpropagation"), "default": summary_of("dfa_accuracy_default")["dfa"]} | rows
    colors = [{"backpropagation": BACKPROP, "default": OURS}.get(name, OTHER) for name in rows]
    drawn, (left, right) = pyplot.subplots(1, 2, sharey=True, figsize=(WIDTH, 3.4))
    places = range(len(rows))
    points, spread, times = (
        [row[key] for row in rows.values()] for key in ("difference", "difference_se", "time_ratio")
    )
    left.hlines(places, points, 0, color=colors, lw=2)
    left.errorbar(points, places, xerr=spread, fmt="none", ecolor="#444444", elinewidth=1, capsize=2)
    left.scatter(points, places, color=colors, s=45, zorder=3)
    left.set(yticks=places, yticklabels=list(rows), xlabel="accuracy, points from backpropagation")
    left.invert_yaxis()
    bars = right.barh(places, times, color=colors, height=0.6)
    right.bar_label(bars, fmt="%.2f", padding=3)
    right.set(xlabel="fit time / backpropagation's", xlim=(0, 2.9))
    return drawn


PARTITIONS = {
    "compiled backprop": ("backpropagation", BACKPROP),
    "compiled, 2 partitions": ("2 partitions", OTHER),
    "compiled layer-wise": ("default (window)", OURS),
    "compiled layer-wise, no window": ("interlayer=None", TREES),
}
ORDERS = {
    "backprop, rate .003": ("backpropagation, rate .003", BACKPROP),
    "backprop": ("backpropagation, rate .001", BACKPROP),
    "backprop, all layers": ("... all layers read", BACKPROP),
    "sequential": ("default (all layers read)", OURS),
    "sequential, trained outputs": ('... readout="trained"', OURS),
    "transport": ('interlayer="transport"', TREES),
    "2 partitions": ("2 partitions", OTHER),
    "simultaneous": ('order="simultaneous"', OTHER),
    "laps": ('order="laps"', OTHER),
    "subsample=0.5": ("subsample=0.5", OTHER),
}


@figure("layerwise_memory", data=("layerwise_memory", "layerwise_accuracy"))
def layerwise_memory():
    """Memory against depth, and accuracy against fit time."""
    drawn, (left, right) = pyplot.subplots(1, 2, figsize=(WIDTH, 4.4))
    _draw_memory(left)
    _draw_orders(right)
    return drawn


def _draw_memory(axes):
    """Peak memory against the number of layers."""
    depths = (4, 8, 16)
    rows = {(row["network"], row["contender"]): row["peak_mb"] for row in record_of("layerwise_memory")["rows"]}
    for who, (name, color) in PARTITIONS.items():
        peaks = [rows[f"{depth} x 1024", who] for depth in depths]
        axes.plot(depths, peaks, "o-", color=color)
        shift = {"compiled backprop": (-8, -2), "compiled layer-wise": (0, 6)}.get(who, (0, 7))
        style = {"textcoords": "offset points", "color": color, "ha": "right", "fontsize": 9}
        axes.annotate(name, (16, peaks[-1]), shift, **style)
    axes.set(xticks=depths, xlabel="hidden layers of 1024", ylabel="peak memory of the fit (MB)", ylim=(0, 400))


def _draw_orders(axes):
    """Points from backpropagation with standard errors, and the time of a fit beside each name."""
    rows = summary_of("layerwise_accuracy")
    names = [f"{name}\n{rows[who]['time_ratio']:.2f} of the time" for who, (name, _) in ORDERS.items()]
    for place, (who, (_, color)) in enumerate(ORDERS.items()):
        found = rows[who]
        axes.errorbar(found["difference"], place, xerr=found["difference_se"], fmt="o", color=color, capsize=2)
    axes.axvline(0, color=BACKPROP, lw=1, ls=":")
    axes.set_yticks(range(len(names)), names, fontsize=8.5)
    axes.set(xlabel="accuracy, points from\nbackpropagation at rate .001", xlim=(-1.25, 1.05))
    axes.set_ylim(len(names) - 0.5, -0.5)


@figure("decoupled_timelines")
def decoupled_timelines():
    """Who works when, under backpropagation and under the two schedules of the default."""
    schedules = {
        "backprop": "backprop: one module works at a time",
        "fdg": "fdg: all modules work; the gradients of module 1 are oldest",
        "ddg": "ddg: all modules work; batches are on their way for a shorter time",
    }
    drawn, rows = pyplot.subplots(3, 1, figsize=(WIDTH, 4.8), sharex=True)
    for axes, (schedule, title) in zip(rows, schedules.items(), strict=True):
        n_batches, follow = (3, 1) if schedule == "backprop" else (6, 3)
        TimelineDisplay.from_schedule(schedule, n_modules=3, n_batches=n_batches, follow=follow, legend=False, ax=axes)
        axes.set_title("")
        axes.set_title(title, fontsize=10, loc="left")
        axes.set(xlim=(-0.1, 27), xlabel="")
        axes.grid(visible=False)
    axes.set_xlabel("time (forward passes of a module)")
    handles, _ = axes.get_legend_handles_labels()
    names = ["forward", "backward", "update", "one batch on its way"]
    drawn.legend(handles, names, loc="outside lower center", ncols=4, frameon=False)
    return drawn


@figure("decoupled_cost", data=("decoupled_speed", "decoupled_accuracy"))
def decoupled_cost():
    """What two threads gain on networks of several widths, and what more modules cost in accuracy."""
    drawn, (left, right) = pyplot.subplots(1, 2, figsize=(WIDTH, 3.5))
    _draw_speed(left)
    _draw_accuracy(right)
    return drawn


def _draw_speed(axes):
    """Speed-up over one thread against the width of the layers."""
    gains = {(row["network"], row["contender"]): row["speedup"] for row in record_of("decoupled_speed")["summary"]}
    widths = (64, 128, 256, 512, 1024)
    lines = (
        ("fdg", 256, OURS, "o-", "2 modules, batches of 256"),
        ("backprop, 2 BLAS threads", 256, BACKPROP, "^-", "2 BLAS threads, batches of 256"),
        ("fdg", 64, OURS, "s--", "2 modules, batches of 64"),
    )
    for who, batch, color, look, name in lines:
        found = {width: gains.get((f"8 x {width}, batch {batch}", who)) for width in widths}
        axes.plot(*zip(*[pair for pair in found.items() if pair[1]], strict=True), look, color=color, ms=5, label=name)
    axes.axhline(1, color=BACKPROP, lw=1)
    axes.set_xscale("log", base=2)
    axes.set(xticks=widths, xticklabels=widths, ylim=(0, 2.6))
    axes.set(xlabel="width of the 8 layers", ylabel="speed-up over 1 thread")
    axes.legend(loc="upper left", fontsize=8.5)


def _draw_accuracy(axes):
    """Accuracy against the number of modules."""
    rows = record_of("decoupled_accuracy")["summary"]
    for who, color, look in (("default", OURS, "o-"), ("ddg", TREES, "^--"), ("fdg", SIXTH, "s--")):
        mine = [row for row in rows if row["contender"] == who]
        x, y, spread = ([row[key] for row in mine] for key in ("n_modules", "difference", "difference_se"))
        axes.errorbar(x, y, yerr=spread, fmt=look, color=color, capsize=2)
        axes.annotate(who, (x[-1], y[-1]), (8, -3), textcoords="offset points", color=color)
    axes.axhline(0, color=BACKPROP, lw=1)
    axes.text(9.6, 0.06, "backpropagation", color=BACKPROP, ha="right", fontsize=9)
    axes.set(xticks=(2, 4, 8), xlim=(1.5, 9.8), xlabel="modules", ylabel="accuracy, points from backprop")


METHODS = {
    "dp_sgd": ('scheme="backprop" (DP-SGD)', BACKPROP, "o-"),
    "dfa_refresh": ("default", OURS, "s-"),
    "photonic": ("Photonic(1e4)", FIFTH, "v--"),
    "dfa_random": ('feedback="random"', OTHER, "^--"),
}


@figure("privacy_accuracy", data=("dfa_privacy",))
def privacy_accuracy():
    """Test accuracy against the budget."""
    drawn, axes = pyplot.subplots(figsize=(WIDTH, 3.4))
    rows, budgets = record_of("dfa_privacy")["rows"], ("1", "3", "8")
    for method, (name, color, look) in METHODS.items():
        runs = [[row["accuracy"] for row in rows if (row["method"], row["epsilon"]) == (method, e)] for e in budgets]
        axes.plot([float(e) for e in budgets], np.mean(runs, axis=1), look, color=color, label=name)
    decades(axes, (1, 3, 8))
    axes.set(xlabel="budget ε (smaller: more private)", ylabel="test accuracy", ylim=(0.4, 1))
    axes.legend(loc="lower right")
    return drawn


# ------------------------------------------------------------------ small fits


@figure("closed_form_trend")
def closed_form_trend():
    """Predictions beyond the training rows: the slope goes on, then it is level."""
    year = np.arange(1960, 2019)
    people = 22.15 + 0.5 * (year - 1960) + 0.0165 * (year - 1960) ** 2
    model = ClosedFormMLPRegressor(random_state=0).fit(year[:53, None], people[:53])
    later = np.arange(1960, 2045)
    drawn, axes = pyplot.subplots(figsize=(WIDTH, 3.1))
    axes.axvspan(1960, 2012, color=OTHER, alpha=0.12, lw=0)
    axes.text(1986, 128, "training rows", ha="center", color="#555555")
    axes.plot(year, people, color="black", lw=4, alpha=0.25, label="truth, known to 2018")
    axes.plot(later, model.predict(later[:, None]), color=OURS, label="ClosedFormMLPRegressor")
    axes.axvline(2025, color=BACKPROP, lw=1, ls=":")
    axes.text(2025.6, 24, "a quarter of the range:\nlevel from here on", color=BACKPROP, fontsize=9)
    axes.set(xlabel="year", ylabel="million people", xlim=(1960, 2044), ylim=(15, 140))
    axes.legend(loc="upper left", bbox_to_anchor=(0, 0.85))
    return drawn


@figure("class_incremental_accuracy")
def class_incremental_accuracy():
    """Accuracy on the digits seen so far, as one digit after another arrives."""
    X, y = load_digits(return_X_y=True)
    X_train, X_test, y_train, y_test = train_test_split(X, y, random_state=0, stratify=y)
    models = {
        "ClosedFormMLP": (ClosedFormMLP(500, hidden="sampled", random_state=0), OURS, "o-"),
        "CPNetClassifier": (CPNetClassifier(random_state=0), FIFTH, "s-"),
        "BRMPClassifier": (BRMPClassifier((500,), alpha=1.0, random_state=0), TREES, "^-"),
        "DFAClassifier": (DFAClassifier((128, 64), random_state=0), BACKPROP, "v--"),
    }
    drawn, axes = pyplot.subplots(figsize=(WIDTH, 3.4))
    for name, (model, color, look) in models.items():
        scores = []
        for digit in range(10):
            rows, seen = y_train == digit, y_test <= digit
            model.partial_fit(X_train[rows], y_train[rows], classes=np.arange(10))
            scores.append(model.score(X_test[seen], y_test[seen]))
        axes.plot(range(10), scores, look, color=color, label=name, ms=5)
    axes.set(xticks=range(10), ylim=(0, 1.05), xlabel="latest digit of the stream", ylabel="accuracy on digits seen")
    axes.legend(loc="center right")
    return drawn


@figure("calibration_curves")
def calibration_curves():
    """Reliability curves of networks trained by steps, with and without held-out rows, and of the closed form."""
    shape = {"n_informative": 6, "n_redundant": 6, "n_clusters_per_class": 3, "flip_y": 0.2}
    X, y = make_classification(13_000, 20, **shape, random_state=0)
    X_train, X_test, y_train, y_test = train_test_split(X, y, train_size=3000, random_state=0, stratify=y)
    mlp = MLPClassifier((64, 64), max_iter=1000, random_state=0)
    models = {
        "MLPClassifier,\nscaled": (make_pipeline(StandardScaler(), mlp), BACKPROP),
        "DFAClassifier": (DFAClassifier((64, 64), random_state=0), OURS),
        "DFAClassifier,\nrows held out": (DFAClassifier((64, 64), early_stopping=True, random_state=0), OURS),
        "ClosedFormMLP": (ClosedFormMLP(random_state=0), OURS),
    }
    drawn, row = pyplot.subplots(1, 4, figsize=(WIDTH, 2.45), sharey=True)
    for axes, (name, (model, color)) in zip(row, models.items(), strict=True):
        found = model.fit(X_train[:1000], y_train[:1000]).predict_proba(X_test)[:, 1]
        share, mean = calibration_curve(y_test, found, n_bins=10, strategy="quantile")
        axes.plot([0, 1], [0, 1], color="#444444", lw=1, ls=":")
        axes.plot(mean, share, "o-", color=color, ms=4)
        axes.text(0.97, 0.05, f"log-loss\n{log_loss(y_test, found):.2f}", ha="right", fontsize=9)
        axes.set(xlim=(0, 1), ylim=(0, 1), aspect="equal", xticks=(0, 1), yticks=(0, 0.5, 1))
        axes.set_title(name, fontsize=9.5)
    row[0].set_ylabel("share that is positive")
    drawn.supxlabel("predicted probability", fontsize=10)
    return drawn
