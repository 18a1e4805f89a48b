"""Figures of the guides about data and machines: raw tables, files, clusters, devices, saving, reliability."""

import numpy as np
from make_figures import BACKPROP, FIFTH, OTHER, OURS, SIXTH, TREES, figure, record_of
from matplotlib import pyplot as plt
from schematics import INK, arrow, box, canvas


def at_end(ax, text, point, colour, shift=(6, 0)):
    """The name of a line beside its last point."""
    ax.annotate(text, point, shift, textcoords="offset points", va="center", color=colour, fontsize=9)


# ------------------------------------------------------------------ raw tables

# (heading, three values, colour, [(heading, three values) of what the network reads])
COLUMNS = [
    ("age", "34", "NaN", "51", OURS, [("age", "34", "42", "51"), ("age\nmissing", "0", "1", "0")]),
    ("heated", "yes", "no", "yes", TREES, [("heated\nis yes", "1", "0", "1")]),
    ("kind", "flat", "house", "room", FIFTH, [("flat", *"100"), ("house", *"010"), ("room", *"001")]),
    (
        "town",
        "Delft",
        "Gouda",
        "Delft",
        BACKPROP,
        [("mean of\ntown", "0.2", "−0.1", "0.2"), ("log rows\nof town", "3.1", "2.4", "3.1")],
    ),
    ("row id", "a1", "b7", "c3", OTHER, []),
]


def column_of_cells(ax, x, y, width, heading, values, colour):
    """One column of a table: a heading and three cells below it."""
    ax.text(x + width / 2, y + 1.1, heading, ha="center", va="bottom", fontsize=10, color=colour, weight="bold")
    for row, value in enumerate(values):
        ax.add_patch(plt.Rectangle((x, y - 4.2 * (row + 1)), width, 4.2, fc=colour + "18", ec="white"))
        ax.text(x + width / 2, y - 4.2 * (row + 0.5), value, ha="center", va="center", fontsize=10, color=INK)


@figure("raw_tables_encoding")
def raw_tables_encoding():
    """Three rows of a table, and the columns that the network reads of them."""
    drawn, ax = canvas(100, 54)
    place = 0.7
    for number, (heading, *values, colour, read) in enumerate(COLUMNS):
        left = 5 + 18.7 * number
        column_of_cells(ax, left, 48, 15.3, heading, values, colour)
        for name, *coded in read:
            column_of_cells(ax, place, 15.3, 11.1, name, coded, colour)
            arrow(ax, (left + 7.6, 34.7), (place + 5.5, 22.5), colour)
            place += 11.4
        place += 1.4
    ax.text(87.4, 31.5, "ignored", ha="center", fontsize=10, color=OTHER)
    ax.text(0, 52.8, "the table", fontsize=10, color=INK, style="italic")
    ax.text(0, 0, "what the network reads", fontsize=10, color=INK, style="italic")
    return drawn


MIXED = {
    "n-grams beside + ours": ("ClosedFormMLP, with n-grams", OURS),
    "ours native": ("ClosedFormMLP", OURS),
    "skrub + ours": ("TableVectorizer, ClosedFormMLP", OURS),
    "target encoder + ours": ("TargetEncoder, ClosedFormMLP", OURS),
    "catboost": ("CatBoost", TREES),
    "lightgbm": ("LightGBM", TREES),
    "hist_gb": ("HistGradientBoosting", TREES),
    "xgboost": ("XGBoost", TREES),
    "linear": ("OneHotEncoder, linear model", OTHER),
}


def mixed_panel(ax, rows, score, title):
    """Scores as dots, with the processor seconds of a fit beside them."""
    for place, (name, (_, colour)) in enumerate(MIXED.items()):
        ax.plot(rows[name][score], -place, "o", color=colour, ms=7)
        seconds = rows[name]["fit_cpu_seconds"]
        text = f"{seconds:.0f} s" if seconds > 10 else f"{seconds:.1f} s" if seconds >= 0.95 else f"{seconds:.2f} s"
        ax.text(1.02, -place, text, transform=ax.get_yaxis_transform(), va="center", fontsize=9, color=INK)
    ax.set(xlabel=title, yticks=-np.arange(len(MIXED)), ylim=(-len(MIXED) + 0.4, 0.6))
    ax.text(1.02, 1.01, "fit", transform=ax.transAxes, fontsize=9, color=INK)
    ax.margins(x=0.12)


@figure("raw_tables_scores", data=("accuracy_mixed",))
def raw_tables_scores():
    """What estimators score on raw tables, and what a fit of them takes."""
    summary = record_of("accuracy_mixed")["summary"]
    drawn, axes = plt.subplots(1, 2, figsize=(7.2, 3.4), sharey=True)
    for ax, part, score, title in (
        (axes[0], "classification", "mean_accuracy", "accuracy, 10 tables"),
        (axes[1], "regression", "mean_r2", "R², 6 tables"),
    ):
        mixed_panel(ax, {row["contender"]: row for row in summary[part]}, score, title)
    axes[0].set_yticklabels([name for name, _ in MIXED.values()])
    return drawn


# ------------------------------------------------------------------ files larger than memory

SOURCES = {
    "arrays": ("fit on arrays", BACKPROP),
    "parquet": ("Parquet", SIXTH),
    "zarr": ("Zarr", FIFTH),
    "hdf5": ("HDF5", TREES),
    "npy": (".npy", OURS),
}


def memory_of_sources(ax, rows):
    """Peak memory of a linear fit against the size of the rows."""
    for row in rows:
        if row["estimator"] == "brmp gram":
            name, colour = SOURCES[row["source"]]
            peaks = [row["peak_mb"], row["peak_mb_of_4n"]]
            ax.plot([100, 400], peaks, "o-", color=colour)
            shift = (7, {"npy": -5, "zarr": 5, "arrays": 6}.get(row["source"], 0))
            at_end(ax, name, (400, peaks[1]), colour, shift)
    ax.plot([0, 430], [0, 430], ":", color=OTHER)
    ax.text(305, 255, "size of the rows", color=OTHER, fontsize=9)
    ax.set(xlabel="size of the rows (MB)", ylabel="peak memory above imports (MB)", xlim=(0, 560), ylim=(0, 460))
    ax.set_xticks([0, 100, 200, 300, 400])


def reading_speed(ax, rows):
    """How much of each format a processor second reads."""
    for place, row in enumerate(rows):
        _, colour = SOURCES[row["source"]]
        speed = row["megabytes_per_cpu_second"]
        ax.barh(-place, speed, color=colour, height=0.6)
        ax.text(speed * 1.1, -place, f"{speed:.0f}", va="center", fontsize=9)
    ax.set(xscale="log", xlim=(100, 9000), xlabel="MB read per processor second", yticks=-np.arange(len(rows)))
    ax.set_yticklabels([SOURCES[row["source"]][0] for row in rows])
    ax.grid(axis="y", visible=False)


@figure("out_of_core", data=("out_of_core",))
def out_of_core():
    """Memory stays flat while rows grow, and what reading costs."""
    tables = record_of("out_of_core")["tables"]
    drawn, axes = plt.subplots(1, 2, figsize=(7.2, 3.2), width_ratios=(1.25, 1))
    memory_of_sources(axes[0], tables["memory"])
    reading_speed(axes[1], tables["reading"])
    return drawn


# ------------------------------------------------------------------ clusters


@figure("dask_reduction")
def dask_reduction():
    """Partitions become statistics where they are, statistics merge in pairs, one solve gives the weights."""
    drawn, ax = canvas(100, 38)
    heights, pairs, middle = (32, 23.5, 15, 6.5), (27.75, 10.75), 19.25
    for number, y in enumerate(heights):
        box(ax, (10, y), (18.8, 6.4), f"partition {number + 1}", OTHER)
        box(ax, (35.4, y), (15.3, 6.4), "statistic", OURS)
        arrow(ax, (19.7, y), (27.5, y))
        arrow(ax, (43.3, y), (50.4, pairs[number // 2] + (0.8 if number % 2 == 0 else -0.8)))
    for y in pairs:
        box(ax, (56.6, y), (11.8, 6.4), "merge", OURS)
        arrow(ax, (62.8, y), (69.1, middle + (0.8 if y > middle else -0.8)))
    box(ax, (75.3, middle), (11.8, 6.4), "merge", OURS)
    box(ax, (92.7, middle), (13.2, 6.4), "solve", TREES)
    arrow(ax, (81.5, middle), (85.8, middle))
    for x, y, words, colour in ((10, 0, "rows stay here", OTHER), (43, 0, "sums of fixed size", OURS)):
        ax.text(x, y, words, ha="center", fontsize=10, color=colour)
    ax.text(92.7, 12.3, "weights", ha="center", fontsize=10, color=TREES)
    return drawn


def measured_and_modelled(ax, rows):
    """A pass on one machine against what its costs predict."""
    workers = [row["workers"] for row in rows]
    modelled = [row["model_s"] for row in rows]
    for row in rows:
        repeats = [one["pass_s"] for one in row["repetitions"]]
        ax.plot([row["workers"]] * len(repeats), repeats, "o", color=OURS, ms=6, label="measured")
    ax.plot(workers, modelled, "_", color=BACKPROP, ms=26, mew=2.5, label="predicted")
    handles, labels = ax.get_legend_handles_labels()
    ax.legend(handles[-2:], labels[-2:], loc="lower left", fontsize=9)
    ax.set(xscale="log", xticks=workers, xlim=(0.7, 5.8), ylim=(0, None))
    ax.set(xlabel="workers on two busy cores", ylabel="seconds of a pass")
    ax.set_xticks(workers, [str(count) for count in workers])
    ax.minorticks_off()


def plan_of_a_cluster(ax, plan):
    """The parts of a pass over a billion rows, by the same model."""
    workers = [row["workers"] for row in plan]
    for key, name, colour, place in (
        ("pass_s", "the pass", OURS, (1.3, 45000)),
        ("read_s", "reading", SIXTH, (1.05, 350)),
        ("tasks_s", "scheduler", OTHER, (1.05, 26)),
        ("merges_s", "merges", TREES, (1.3, 3.2)),
    ):
        ax.plot(workers, [row[key] for row in plan], "o-", color=colour, ms=4)
        ax.text(*place, name, color=colour, fontsize=9)
    ax.set(xscale="log", yscale="log", xlabel="workers (predicted, not run)", ylim=(0.08, 2e5))
    ax.set_xticks(workers, [str(count) for count in workers])
    ax.minorticks_off()


@figure("dask_scaling", data=("dask_scaling",))
def dask_scaling():
    """The model of a pass against measurements, and what it predicts for a cluster."""
    record = record_of("dask_scaling")
    drawn, axes = plt.subplots(1, 2, figsize=(7.2, 3.2))
    measured_and_modelled(axes[0], record["rows"])
    plan_of_a_cluster(axes[1], record["plan"])
    axes[0].set_title("100 million numbers, measured", fontsize=10)
    axes[1].set_title("$10^{12}$ numbers, seconds", fontsize=10)
    return drawn


# ------------------------------------------------------------------ devices and precision


def cost_of_bfloat16(ax, rows):
    """Change of the score by bfloat16, for each set and kind of network."""
    names = list(dict.fromkeys(row["set"] for row in rows))
    for hidden, colour, shift in (("random", OTHER, 0.16), ("auto", OURS, -0.16)):
        chosen = {row["set"]: 100 * row["difference"] for row in rows if row["hidden"] == hidden}
        places = [shift - number for number in range(len(names))]
        ax.plot([chosen[name] for name in names], places, "o", color=colour, ms=7, label=f'hidden="{hidden}"')
    ax.axvline(0, color=INK, lw=0.8)
    ax.set(xlabel="bfloat16 less float32\n(points of accuracy or R²)", yticks=-np.arange(len(names)), xlim=(-1, 0.25))
    ax.set_yticklabels([name.removesuffix("_20k").replace("_", "\n") for name in names])
    ax.legend(loc="center left", fontsize=9, handletextpad=0.1)


def share_of_the_peak(ax, rows):
    """How near the sums of a fit come to the fastest product of the processor."""
    kinds = [("cpu", "float32"), ("cpu", "float64"), ("torch:cpu", "float32"), ("torch:cpu", "float64")]
    for place, kind in enumerate(kinds):
        for row in rows:
            if (row["device"], row["precision"]) == kind and row["threads"] == 1:
                size = {512: 4, 1024: 7, 2000: 10}[row["width"]]
                ax.plot(
                    row["of_peak"], -place, "o", color=OURS if kind[0] == "cpu" else SIXTH, ms=size, mfc="none", mew=2
                )
    ax.axvline(0.7, color=OTHER, ls=":")
    ax.text(0.69, 0.45, "aim", ha="right", color=OTHER, fontsize=9)
    ax.set(xlabel="share of the peak, one thread\n(larger rings: wider networks)", xlim=(0, 1), ylim=(-3.6, 0.8))
    ax.set_yticks(-np.arange(len(kinds)), [f"{device}\n{precision}" for device, precision in kinds])


@figure("precision", data=("roofline",))
def precision():
    """What bfloat16 costs in accuracy, and how fast sums are."""
    record = record_of("roofline")
    drawn, axes = plt.subplots(1, 2, figsize=(7.2, 3.4))
    cost_of_bfloat16(axes[0], record["accuracy"])
    share_of_the_peak(axes[1], record["rows"])
    return drawn


# ------------------------------------------------------------------ saving

CHOICES = [
    ("Will it run without Python, or in\nany version from now on?", "to_onnx", BACKPROP),
    ("Will it run where there is\nscikit-learn alone?", "to_sklearn", TREES),
    ("Are only its sums wanted,\nto merge or to solve anew?", "save_statistics", SIXTH),
    ("Will someone load it who does\nnot trust its sender?", "skops", FIFTH),
    ("It stays with this package,\nand may learn on.", "pickle, joblib", OURS),
]


@figure("saving")
def saving():
    """Which of the ways to save a model fits."""
    drawn, ax = canvas(100, 60)
    last = len(CHOICES) - 1
    for number, (question, answer, colour) in enumerate(CHOICES):
        y = 54.6 - 12.2 * number
        box(ax, (29.5, y), (57.6, 8.6), question, OTHER, fontsize=11)
        box(ax, (85, y), (28.5, 8.6), answer, colour, fontsize=11, weight="bold")
        arrow(ax, (58.6, y), (70.4, y))
        if number < last:
            ax.text(64, y + 0.9, "yes", ha="center", fontsize=10, color=INK)
            arrow(ax, (29.2, y - 4.5), (29.2, y - 7.7))
            ax.text(30.6, y - 7, "no", fontsize=10, color=INK)
    return drawn


# ------------------------------------------------------------------ reliability

PARTS = ("soak", "fuzz", "orders", "threads", "reproducibility", "faults", "memory", "pickles")
PEAKS = {
    "closed form": ("ClosedFormMLP", OURS),
    "cpnet": ("CPNetClassifier", FIFTH),
    "dfa": ("DFAClassifier", TREES),
    "brmp qr": ("BRMPRegressor", BACKPROP),
}


def trials_and_violations(ax, summary):
    """Trials of each part, and how many broke a promise."""
    rows = {row["part"]: row for row in summary}
    for place, part in enumerate(PARTS):
        trials, broken = rows[part]["trials"], rows[part]["violations"]
        ax.barh(-place, trials, color=OURS, height=0.6)
        ax.text(trials * 1.2, -place, f"{broken} of {trials:,}", va="center", fontsize=9)
    ax.set(xscale="log", xlim=(1, 2e6), xlabel="violations of trials", xticks=[1, 100, 10000])
    ax.set_yticks(-np.arange(len(PARTS)), PARTS)
    ax.grid(axis="y", visible=False)


def peaks_of_blocks(ax, rows):
    """Peak memory of fits from blocks against the size of their rows."""
    for kind, (name, colour) in PEAKS.items():
        chosen = [row for row in rows if row["estimator"] == kind]
        sizes, peaks = [row["data_mb"] for row in chosen], [row["peak_hwm"] for row in chosen]
        ax.plot(sizes, peaks, "o-", color=colour, ms=4)
        at_end(ax, name, (sizes[-1], peaks[-1]), colour)
    ax.plot([0, 330], [0, 330], ":", color=OTHER)
    ax.text(215, 165, "size of the rows", color=OTHER, fontsize=9)
    ax.set(xlabel="size of the rows (MB)", ylabel="peak above imports (MB)", xlim=(0, 560), ylim=(0, 480))
    ax.set_xticks([0, 100, 200, 300])


@figure("reliability", data=("reliability",))
def reliability():
    """Trials and violations of the campaign, and memory of fits from blocks."""
    record = record_of("reliability")
    drawn, axes = plt.subplots(1, 2, figsize=(7.2, 3.2), width_ratios=(1, 1.15))
    trials_and_violations(axes[0], record["summary"])
    peaks_of_blocks(axes[1], record["details"]["memory"])
    return drawn


# ------------------------------------------------------------------ exactness

SOLVERS = {
    "gram": ('solver="gram"', BACKPROP, (4e5, 3e-5), "right"),
    "recursive": ('solver="recursive",\nrefused beyond $10^6$', SIXTH, (1.4e6, 1e-8), "left"),
    "qr": ('solver="qr"', OURS, (4e11, 2e-5), "right"),
    "scipy.linalg.lstsq": ("LAPACK, all rows at once", OTHER, (2e8, 3e-12), "left"),
}


@figure("conditioning", data=("conditioning",))
def conditioning():
    """Error of the weights against the condition number, by solver."""
    record = record_of("conditioning")
    drawn, ax = plt.subplots(figsize=(7.2, 3.6))
    for solver, (name, colour, place, side) in SOLVERS.items():
        errors = record["errors"]["consistent"][solver]
        known = [(kappa, error) for kappa, error in zip(record["kappas"], errors, strict=True) if error is not None]
        line = "--" if solver.startswith("scipy") else "-"
        ax.plot(*zip(*known, strict=True), color=colour, ms=5, marker="o", ls=line)
        ax.text(*place, name, color=colour, ha=side)
    ax.axhline(1, color=INK, lw=0.8)
    ax.text(1.2e2, 2, "no digit is right", fontsize=9)
    ax.set(xscale="log", yscale="log", ylim=(1e-16, 1e3))
    ax.set(xlabel="condition number of the features", ylabel="relative error of the weights")
    return drawn
