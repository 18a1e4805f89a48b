"""Prediction intervals and prediction sets: how many targets they cover, how wide they are, and what they cost.

``predict_interval`` is in closed form; peers refit their estimator for each fold, or split the rows. One command runs
three parts, and prints a table of each::

    OPENBLAS_NUM_THREADS=1 OMP_NUM_THREADS=1 NUMBA_NUM_THREADS=1 python examples/benchmarks/intervals.py \\
        --data DIR --json intervals.json
    python examples/benchmarks/intervals.py --data DIR --parts regression --only yacht abalone
    python examples/benchmarks/intervals.py --data DIR --parts regression --contenders brmp_linear --json intervals.json
    python examples/benchmarks/intervals.py --quick             # bundled sets, no --data

``regression``: intervals for 90 % of the targets of every set of DIR with real targets. ``equal_fits``: the intervals
of a ridge, with one scale for all rows, against those of MAPIE's jackknife+, which fits it once more without each row;
at most 400 training rows. ``classification``: sets for 90 % and 95 % of the classes of twelve sets with three classes
or more. ``--parts`` and ``--contenders`` keep the other parts, and rows, of the file.

Protocol. A random quarter is the test, whatever split a set comes with, as coverage is promised for rows that are
exchangeable; by class, where that can be. At most 4000 training rows and 2000 of the test (``--max-train-rows``,
``--max-test-rows``, 0 for all). Real targets are in deviations of the training rows, for all. The data set is the outer
loop and the contender the inner one, in an order rotated by data set. One small fit of every contender comes first, so
that nothing compiles on the clock. A contender that fails has null and a reason.

Measures. The interval score is the width and, for a target outside, 2 / (1 - coverage) times the distance. "Thirds
off" is the mean distance of the coverage from what was asked, by thirds of the distance of a row from the mean of all,
in standardised columns. Coverage by class is that of classes with 20 rows of the test or more. Seconds of the fit and
of the answers are kept apart, of the wall and (``*_cpu_seconds``) of the processor; what a peer refits is in its fit.
"""

import argparse
import json
import logging
import warnings
from pathlib import Path

import numpy as np
from _common import data_folder, environment, is_classification, write_json
from _intervals_contenders import CALIBRATION, FOLDS, INTERVALS, SET_FOLDS, SETS, Task
from _intervals_measures import ALPHA, EQUAL_ROWS, equal_fits, of_intervals, of_sets, sizes, timed
from _intervals_summary import report, summarise
from accuracy import cap
from sklearn import datasets
from sklearn.model_selection import train_test_split
from threadpoolctl import threadpool_limits

COVERAGE, COVERAGES = 0.9, (0.9, 0.95)  # of intervals, and of sets
CLASS_SETS = (
    "cnae9",
    "connect4",
    "covertype_20k",
    "dry_bean",
    "glass",
    "letter",
    "page_blocks",
    "satimage",
    "splice",
    "vehicle",
    "vowel",
    "waveform40",
)
SECONDS = ("fit_seconds", "fit_cpu_seconds", "answer_seconds", "answer_cpu_seconds")
QUICK_ROWS = 300


def main():
    options = parse()
    logging.disable(logging.INFO)  # a peer tells of quantiles that cross
    folder = None if options.quick else data_folder(options.data)
    record = kept(options) | {"settings": settings(options)}
    with threadpool_limits(options.threads), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # peers warn of few rows; the table is the message here
        warm_up(options)
        record["environment"] = environment()
        for part in options.parts:
            record[part] = kept_rows(part, options)
            for index, name in enumerate(sets_of(part, folder, options)):
                for seed in seeds_of(part, options):
                    PARTS[part](name, index, seed, folder, options, record[part])
                    save(options, record)
    save(options, record)
    print(report(record))


def parse():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--data", metavar="DIR", help="folder of .npz files")
    add("--quick", action="store_true", help="bundled sets and few rows, in seconds")
    add("--parts", nargs="+", choices=PARTS, default=list(PARTS), help="these only; the file keeps the others")
    add("--only", nargs="+", metavar="NAME", help="these data sets only")
    add("--contenders", nargs="+", choices=INTERVALS, help="of intervals; the file keeps the rows of the others")
    add("--seeds", nargs="+", type=int, default=[0, 1, 2], help="of intervals; sets take the first two")
    add("--max-train-rows", type=int, default=4000, help="0: all")
    add("--max-test-rows", type=int, default=2000, help="0: all")
    add("--threads", type=int, default=1, help="of BLAS and OpenMP pools")
    add("--json", metavar="PATH")
    options = parser.parse_args()
    if options.quick:
        options.seeds, options.max_train_rows = [0], QUICK_ROWS
    return options


def settings(options):
    """What the numbers depend on, besides the machine."""
    keys = ("quick", "seeds", "max_train_rows", "max_test_rows", "threads")
    fixed = {"coverage": COVERAGE, "coverages_of_sets": COVERAGES, "folds": FOLDS, "folds_of_sets": SET_FOLDS}
    fixed |= {"share_of_calibration": CALIBRATION, "equal_fits": {"max_train_rows": EQUAL_ROWS, "alpha": ALPHA}}
    return {key: getattr(options, key) for key in keys} | fixed | {"seeds_of_sets": options.seeds[:2]}


def kept(options):
    """Parts of an earlier run that this one leaves out."""
    if not options.json or not Path(options.json).exists():
        return {}
    record = json.loads(Path(options.json).read_text())
    return {part: record[part] for part in PARTS if part in record and part not in options.parts}


def kept_rows(part, options):
    """Rows of an earlier run whose contenders this one leaves out."""
    if part != "regression" or not (options.contenders and options.json and Path(options.json).exists()):
        return []
    rows = json.loads(Path(options.json).read_text())[part]
    return [row for row in rows if row["contender"] not in options.contenders]


def save(options, record):
    record["summary"] = summarise(record)
    if options.json:
        write_json(options.json, record)


def warm_up(options):
    """Fit all contenders to few rows, whatever comes of it: compiled code is compiled then."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((120, 4)).astype(np.float32)
    for contenders, y, coverages in (
        (INTERVALS, X[:, 0] + rng.standard_normal(120), (COVERAGE,)),
        (SETS, np.arange(120) % 3, COVERAGES),
    ):
        for build in contenders.values():
            row_of(build, (X, X, y, y), Task(coverages, 0, options.threads))


# ------------------------------------------------------------------ data


def sets_of(part, folder, options):
    """Names of the data sets of a part."""
    if folder is None:
        names = ("digits",) if part == "classification" else ("diabetes",)
    elif part == "classification":
        names = CLASS_SETS
    else:
        names = [path.stem for path in sorted(folder.glob("*.npz")) if not is_classification(path)]
    return [name for name in names if not options.only or name in options.only]


def seeds_of(part, options):
    """Seeds of the splits of a part."""
    return options.seeds[: {"regression": None, "equal_fits": 1, "classification": 2}[part]]


def split_of(name, folder, seed, options):
    """Rows and targets of training and test, by the protocol."""
    X, y = pooled(name, folder)
    real = y.dtype.kind == "f"
    stratify = None if real or np.unique(y, return_counts=True)[1].min() < 2 else y
    X, X_test, y, y_test = train_test_split(X, y, test_size=0.25, random_state=seed, stratify=stratify)
    X, y = cap(X, y, options.max_train_rows, seed)
    X_test, y_test = cap(X_test, y_test, options.max_test_rows, seed)
    if real:
        level, unit = y.mean(), y.std()
        y, y_test = (y - level) / unit, (y_test - level) / unit
    return np.asarray(X, np.float32), np.asarray(X_test, np.float32), y, y_test


def pooled(name, folder):
    """All rows of a set, those of its own test among them."""
    if folder is None:
        return getattr(datasets, f"load_{name}")(return_X_y=True)
    with np.load(folder / f"{name}.npz") as file:
        parts = [("X", "y")] if "X" in file else [("X_train", "y_train"), ("X_test", "y_test")]
        X, y = (np.concatenate([file[pair[k]] for pair in parts]) for k in (0, 1))
    return X, y.astype(np.float64) if y.dtype.kind == "f" else y


# ------------------------------------------------------------------ parts


def run_intervals(name, index, seed, folder, options, rows):
    """Intervals of all contenders for one split."""
    split = split_of(name, folder, seed, options)
    for contender in rotated(options.contenders or INTERVALS, index):
        task = Task((COVERAGE,), seed, options.threads)
        rows += [head(name, contender, seed, split) | row for row in row_of(INTERVALS[contender], split, task)]
        progress(rows[-1])


def run_sets(name, index, seed, folder, options, rows):
    """Sets of all contenders for one split."""
    split = split_of(name, folder, seed, options)
    for contender in rotated(SETS, index):
        task = Task(COVERAGES, seed, options.threads)
        found = [head(name, contender, seed, split) | row for row in row_of(SETS[contender], split, task)]
        rows += [row | {"n_classes": len(np.unique(split[2]))} for row in found]
        progress(rows[-1])


def run_equal_fits(name, index, seed, folder, options, rows):
    """Closed form and refits for one split."""
    row = {"dataset": name, "seed": seed, "error": None}
    try:
        row |= equal_fits(split_of(name, folder, seed, options), COVERAGE)
    except ImportError as error:  # the peer is not installed
        row["error"] = described(error)
    rows.append(row)
    progress(row)


PARTS = {"regression": run_intervals, "equal_fits": run_equal_fits, "classification": run_sets}


def rotated(contenders, index):
    """Names in an order that begins elsewhere for every data set."""
    names = list(contenders)
    return names[index % len(names) :] + names[: index % len(names)]


def head(name, contender, seed, split):
    """What identifies a row."""
    X, X_test, _, _ = split
    counts = {"n_train": len(X), "n_test": len(X_test), "n_features": X.shape[1]}
    return {"dataset": name, "contender": contender, "seed": seed} | counts


def row_of(build, split, task):
    """A row for every coverage; an exception becomes their text."""
    try:
        return measured(build(task), split, task)
    except Exception as error:  # any failure of any contender is a result to be listed
        return [{"asked": coverage, "error": described(error)} for coverage in task.coverages]


def measured(model, split, task):
    """Seconds and measures of one contender."""
    X, X_test, y, y_test = split
    _, *fit = timed(model.fit, X, y)
    found, *answer = timed(model.sets if hasattr(model, "sets") else model.ends, X_test)
    seconds = dict(zip(SECONDS, (*fit, *answer), strict=True))
    if not hasattr(model, "sets"):
        return [
            {"asked": task.coverage, "error": None}
            | of_intervals(found, y_test, sizes(X, X_test), task.coverage)
            | seconds
        ]
    pairs = zip(task.coverages, found, strict=True)
    return [{"asked": asked} | told(sets, model.classes, y_test) | seconds for asked, sets in pairs]


def told(sets, classes, y):
    """Measures of the sets of one coverage, or the reason why there are none."""
    if isinstance(sets, ValueError):
        return {"error": described(sets)}
    return {"error": None} | of_sets(sets, classes, y)


def described(error):
    """An exception in few words."""
    return f"{type(error).__name__}: {error}"[:300]


def progress(row):
    """One line on the terminal."""
    score = row.get("coverage", row.get("largest_difference"))
    done = row["error"] or f"{score:.4g} {row['fit_cpu_seconds']:8.2f} s"
    print(f"{row['dataset']:18s} {row.get('contender', 'refits'):24s} {row['seed']} {done}", flush=True)


if __name__ == "__main__":
    main()
