"""Scores and times of this package and its peers, on many data sets.

One command runs every contender on every set of a suite and prints a Markdown table::

    python examples/benchmarks/accuracy.py --suite tabular --data DIR --json tabular.json
    python examples/benchmarks/accuracy.py --suite regression --data DIR --json regression.json
    python examples/benchmarks/accuracy.py --suite images --data DIR --only mnist
    python examples/benchmarks/accuracy.py --suite mixed --data DIR --seeds 0 1 2 --threads 1
    python examples/benchmarks/accuracy.py --quick              # bundled sets, no --data

DIR holds one .npz per set (``X, y``, with ``test_masks`` or without, or ``X_train, y_train,
X_test, y_test``); the environment variable SKLEARN_ANALYTIC_DATA may name it instead. Integer
targets are classes, floating-point targets are regression. The mixed suite reads raw tables from
DIR/mixed, as ``_accuracy_mixed_tables.py`` says.

Scores: accuracy and log-loss; in regression R2 and the root mean squared error in standard
deviations of the test targets. Mixed tables also have the area under the ROC curve (two classes)
or the error in units of the target. Seconds are those of the wall, and in ``*_cpu_seconds`` those
of the processor in all threads of the process.

Protocol. A set's own split where it has one (the first of several), else a random quarter for
the test (seeded, stratified by class). At most 10,000 training rows of a table, every row of an
image set (``--max-train-rows``, 0 for all). The data set is the outer loop and the contender the
inner one, in an order rotated by data set, so that a slow minute of the machine hits all alike.
Tabular inputs are standardised inside the timed fit, but for trees and for estimators that
encode their own input; pixels are divided by 255 for all; raw tables go to every contender as they
are. MLP, SVR and xRFM get standardised regression targets. A contender that fails or is left out
scores null and is listed.
"""

import argparse
import json
import time
import warnings
from pathlib import Path

import _accuracy_mixed_summary
import _accuracy_summary
import numpy as np
from _accuracy_contenders import CONTENDERS, Task, build
from _accuracy_mixed_contenders import MIXED_CONTENDERS
from _accuracy_mixed_tables import load_table
from _accuracy_suites import CLIP, SUITES, suite_names
from _common import data_folder, environment, load, write_json
from sklearn.model_selection import train_test_split
from threadpoolctl import threadpool_limits

CONTENDERS["mixed"] = MIXED_CONTENDERS
SECONDS = ("fit_seconds", "predict_seconds", "fit_cpu_seconds", "predict_cpu_seconds")


def main():
    options = parse()
    folder = None if options.quick else data_folder(options.data)
    names = select_sets(options, folder)
    record = {"settings": settings(options), "rows": resume(options)}
    with threadpool_limits(options.threads), warnings.catch_warnings():
        # Peers warn about iterations and component counts; the table is the message here.
        warnings.simplefilter("ignore")
        for index, name in enumerate(names):
            record["environment"] = environment()  # again: pools appear when a peer is imported
            run_set(name, index, folder, options, record)
    save(options, record)
    text = summary(options).report(record, SUITES[options.suite].kind)
    print(text)
    if options.markdown:
        Path(options.markdown).write_text(text)


def parse():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--suite", choices=SUITES, default="tabular")
    add("--data", metavar="DIR", help="folder of .npz files")
    add("--quick", action="store_true", help="bundled sets and few contenders, in seconds")
    add("--only", nargs="+", metavar="NAME", help="these data sets only")
    add("--contenders", nargs="+", metavar="NAME", help="these only")
    add("--seeds", nargs="+", type=int, default=[0])
    add("--max-train-rows", type=int, help="0: all; default 10000, of images 0")
    add("--max-test-rows", type=int, default=0, help="0: all")
    add("--threads", type=int, default=2, help="of BLAS and OpenMP pools")
    add("--json", metavar="PATH")
    add("--markdown", metavar="PATH")
    add("--resume", metavar="PATH", help="go on with the rows of this file; failures run again")
    options = parser.parse_args()
    if options.max_train_rows is None:
        options.max_train_rows = SUITES[options.suite].train_rows
    options.contenders = select_contenders(options)
    options.json = options.json or options.resume
    return options


def select_contenders(options):
    kind = SUITES[options.suite].kind
    known = CONTENDERS[kind.name]
    unknown = sorted(set(options.contenders or ()) - set(known))
    if unknown:
        raise SystemExit(f"--contenders: not for {kind.name}: {unknown}; there are {list(known)}.")
    return options.contenders or list(kind.quick_contenders if options.quick else known)


def settings(options):
    keys = ("suite", "quick", "max_train_rows", "max_test_rows", "threads")
    return {key: getattr(options, key) for key in keys} | {"probability_clip": CLIP}


def select_sets(options, folder):
    bundled = SUITES[options.suite].kind.bundled
    names = bundled if options.quick else suite_names(options.suite, folder)
    unknown = sorted(set(options.only or ()) - set(names))
    if unknown:
        raise SystemExit(f"--only: not in this suite: {unknown}; the suite has {list(names)}.")
    return [name for name in names if not options.only or name in options.only]


def resume(options):
    """Finished rows of an earlier run; those that failed are dropped and so run again."""
    if not options.resume or not Path(options.resume).exists():
        return []
    record = json.loads(Path(options.resume).read_text())
    if record["settings"] != settings(options):
        raise SystemExit(f"--resume: made with other settings: {record['settings']}.")
    return [row for row in record["rows"] if row["error"] is None]


def save(options, record):
    record["summary"] = summary(options).summarise(record["rows"], SUITES[options.suite].kind)
    if options.json:
        write_json(options.json, record)


def summary(options):
    """The module that summarises the suite."""
    return _accuracy_mixed_summary if SUITES[options.suite].raw else _accuracy_summary


def run_set(name, index, folder, options, record):
    """All contenders on one set, in an order rotated by the set's index."""
    finished = {(row["dataset"], row["contender"], row["seed"]) for row in record["rows"]}
    shift = index % len(options.contenders)
    order = options.contenders[shift:] + options.contenders[:shift]
    for seed in options.seeds:
        todo = [key for key in order if (name, key, seed) not in finished]
        split = prepare(name, folder, seed, options) if todo else None
        for contender in todo:
            row = {"dataset": name, "contender": contender, "seed": seed}
            record["rows"].append(row | measure(contender, split, seed, options))
            save(options, record)
            progress(record["rows"][-1], SUITES[options.suite].kind)


def prepare(name, folder, seed, options):
    """The split of one set, with rows capped and images scaled to [0, 1]; a raw table stays a frame."""
    raw = SUITES[options.suite].raw
    X, X_test, y, y_test = (load_table if raw else load)(name, folder, seed)
    X, y = cap(X, y, options.max_train_rows, seed)
    X_test, y_test = cap(X_test, y_test, options.max_test_rows, seed)
    if raw:
        return X, X_test, y, y_test
    if pixels(options):
        X, X_test = (channels_first(part).astype(np.float32) / np.float32(255) for part in (X, X_test))
    return np.asarray(X, np.float32), np.asarray(X_test, np.float32), y, y_test


def channels_first(images):
    """Colour images of 32 x 32 come channels last; the order of pixels is all the same to the others."""
    if images.shape[1] != 3 * 32 * 32:
        return images
    return images.reshape(-1, 32, 32, 3).transpose(0, 3, 1, 2).reshape(len(images), -1)


def pixels(options):
    """Whether inputs are pixels; the bundled sets of a quick run count as tables."""
    return SUITES[options.suite].pixels and not options.quick


def cap(X, y, rows, seed):
    """A seeded subset of `rows` rows, stratified where every class can be; 0 keeps all."""
    if not rows or len(y) <= rows:
        return X, y
    counts = class_counts(y)
    feasible = min(counts, default=0) > 1 and min(rows, len(y) - rows) >= len(counts)
    stratify = y if feasible else None
    X, _, y, _ = train_test_split(X, y, train_size=rows, random_state=seed, stratify=stratify)
    return X, y


def class_counts(y):
    """Rows of each class; none where targets are real numbers."""
    return np.unique(y, return_counts=True)[1] if y.dtype.kind in "iu" else ()


def measure(contender, split, seed, options):
    """Scores and seconds of one contender; an exception becomes the text of the row."""
    X, X_test, y, y_test = split
    counts = class_counts(y)
    suite = SUITES[options.suite].kind
    kind = suite.of(len(counts))
    row = {"n_train": len(y), "n_test": len(y_test), "n_features": X.shape[1]}
    row |= {"n_classes": len(counts), "error": None}
    row |= dict.fromkeys((*kind.recorded(), *SECONDS))
    task = Task(len(y), min(counts, default=0), pixels(options), X.shape[1], seed, options.threads)
    try:
        row |= score(build(suite.name, contender, task), kind, X, X_test, y, y_test)
    except Exception as error:  # any failure of any contender is a result to be listed
        row["error"] = f"{type(error).__name__}: {error}"[:300]
    return row


def score(model, kind, X, X_test, y, y_test):
    _, fit, fit_cpu = timed(model.fit, X, y)
    prediction, predict, predict_cpu = timed(model.predict, X_test)
    scores = {name: function(model, prediction, X_test, y_test) for name, function in kind.recorded().items()}
    return scores | dict(zip(SECONDS, (fit, predict, fit_cpu, predict_cpu), strict=True))


def timed(function, *arguments):
    """What a call returns, its wall seconds and its processor seconds."""
    wall, processor = time.perf_counter(), time.process_time()
    value = function(*arguments)
    return value, time.perf_counter() - wall, time.process_time() - processor


def progress(row, kind):
    score = kind.of(row["n_classes"]).score.__name__
    done = f"{row[score]:.4f} {row['fit_seconds']:8.2f} s" if row["error"] is None else ""
    print(f"{row['dataset']:18s} {row['contender']:14s} {done}{row['error'] or ''}", flush=True)


if __name__ == "__main__":
    main()
