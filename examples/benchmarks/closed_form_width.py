"""Accuracy and seconds of ClosedFormMLP against its width, and seconds against the number of rows.

Two questions about large data: does accuracy keep rising with width, and is a fit linear in n?::

    python examples/benchmarks/closed_form_width.py --data DIR --json width.json --figure width.png
    python examples/benchmarks/closed_form_width.py --quick

Sets are used in full, unless ``--max-train-rows`` says otherwise. Rows are counted at a fixed width, by
nested random parts of every set; ``row_exponents`` are the slopes of log seconds over log rows (1: linear).
"""

import argparse
import time

import numpy as np
from _common import data_folder, environment, load, markdown_table, write_json
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from threadpoolctl import threadpool_limits

from sklearn_analytic import ClosedFormMLP

SETS = ("connect4", "nsl_kdd", "adult")
WIDTHS = (512, 1024, 2048, 4096, 8192, 16384)
QUICK_WIDTHS = (64, 128)
SHARES = (0.125, 0.25, 0.5, 1.0)
ROWS_WIDTH = 1024
COLUMNS = {
    "set": ("dataset", "s"),
    "rows": ("n_train", "d"),
    "width": ("width", "d"),
    "accuracy": ("accuracy", ".4f"),
    "leave-one-out": ("loo", ".4f"),
    "fit s": ("fit_seconds", ".2f"),
}


def main():
    options = parse()
    settings = {"threads": options.threads, "seed": 0, "max_train_rows": options.max_train_rows}
    record = {"settings": settings, "rows": []}
    with threadpool_limits(options.threads):
        record["environment"] = environment()
        for name in ("digits",) if options.quick else options.only:
            measure(name, split(name, options), options, record)
    print(markdown_table(record["rows"], COLUMNS))
    print("seconds grow with rows to the power of", record["row_exponents"])
    if options.figure:
        draw(record["rows"], options.figure)


def measure(name, parts, options, record):
    """Every width on all rows of one set, then parts of the rows at one width."""
    X, X_test, y, y_test = parts
    fit(name, QUICK_WIDTHS[0], X[:500], X_test, y[:500], y_test)  # compiles
    for width in QUICK_WIDTHS if options.quick else options.widths:
        keep(record, fit(name, width, X, X_test, y, y_test), options)
    for share in SHARES[-2:] if options.quick else SHARES:
        some = int(share * len(y))
        width = QUICK_WIDTHS[0] if options.quick else ROWS_WIDTH
        keep(record, fit(name, width, X[:some], X_test, y[:some], y_test) | {"share": share}, options)


def row_exponents(rows):
    """{set: slope of log seconds over log rows, at the fixed width}, once there are two parts."""
    parts = [row for row in rows if "share" in row]
    groups = {name: [row for row in parts if row["dataset"] == name] for name in {row["dataset"] for row in parts}}
    return {
        name: float(np.polyfit(*np.log([(r["n_train"], r["fit_seconds"]) for r in group]).T, 1)[0])
        for name, group in sorted(groups.items())
        if len(group) > 1
    }


def parse():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--data", metavar="DIR", help="folder of .npz files")
    add("--only", nargs="+", metavar="NAME", default=SETS)
    add("--widths", nargs="+", type=int, default=WIDTHS)
    add("--max-train-rows", type=int, default=0, help="0: all")
    add("--quick", action="store_true", help="a bundled set and small widths, in seconds")
    add("--threads", type=int, default=2)
    add("--json", metavar="PATH")
    add("--figure", metavar="PATH")
    return parser.parse_args()


def split(name, options):
    """All rows of a set, shuffled: its own split or a quarter for the test."""
    if options.quick:
        return train_test_split(*load_digits(return_X_y=True), random_state=0)
    X, X_test, y, y_test = load(name, data_folder(options.data), 0)
    order = np.random.default_rng(0).permutation(len(y))[: options.max_train_rows or None]
    return X[order].astype(np.float32), X_test.astype(np.float32), y[order], y_test


def fit(name, width, X, X_test, y, y_test):
    """One fit with three layers side by side, as the automatic width has them."""
    start = time.perf_counter()
    model = ClosedFormMLP((width // 3, width // 3, width - 2 * (width // 3)), random_state=0).fit(X, y)
    seconds = time.perf_counter() - start
    return {
        "dataset": name,
        "n_train": len(y),
        "width": width,
        "accuracy": model.score(X_test, y_test),
        "loo": model.loo_score_,
        "exit": model.exit_,
        "alphas": model.alphas_.tolist(),
        "fit_seconds": seconds,
    }


def keep(record, row, options):
    record["rows"].append(row)
    record["row_exponents"] = row_exponents(record["rows"])
    print(
        f"{row['dataset']:12s} {row['n_train']:7d} {row['width']:6d} {row['accuracy']:.4f} {row['fit_seconds']:.2f} s"
    )
    if options.json:
        write_json(options.json, record)


def draw(rows, path):
    """Accuracy and seconds against width, seconds against rows."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 3, figsize=(12, 3.6), layout="constrained")
    widths = [row for row in rows if "share" not in row]
    for name in dict.fromkeys(row["dataset"] for row in widths):
        mine = [row for row in widths if row["dataset"] == name]
        axes[0].plot([r["width"] for r in mine], [r["accuracy"] for r in mine], "o-", label=name)
        axes[1].plot([r["width"] for r in mine], [r["fit_seconds"] for r in mine], "o-", label=name)
    parts = [row for row in rows if "share" in row]
    for name in dict.fromkeys(row["dataset"] for row in parts):
        mine = [row for row in parts if row["dataset"] == name]
        axes[2].plot([r["n_train"] for r in mine], [r["fit_seconds"] for r in mine], "o-", label=name)
    titles = (("width", "test accuracy"), ("width", "fit, seconds"), ("rows", "fit, seconds"))
    for axis, (x, y) in zip(axes, titles, strict=True):
        axis.set(xlabel=x, ylabel=y)
        axis.legend(frameon=False)
    axes[0].set_xscale("log", base=2)
    axes[1].set_xscale("log", base=2)
    axes[1].set_yscale("log")
    axes[2].set(xlim=(0, None), ylim=(0, None))
    figure.savefig(path, dpi=120)


if __name__ == "__main__":
    main()
