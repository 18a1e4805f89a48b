"""Direct feedback alignment against backpropagation: accuracy, speed, memory, images, sequences, streams.

One command runs one suite, writes one record per run and prints a Markdown table::

    python examples/benchmarks/dfa.py --suite accuracy --data DIR --seeds 0 1 2 3 4 --json accuracy.json
    python examples/benchmarks/dfa.py --suite speed --json speed.json
    python examples/benchmarks/dfa.py --quick            # bundled sets, no --data, seconds

DIR holds one .npz per data set, as for ``accuracy.py``; the environment variable SKLEARN_ANALYTIC_DATA may name it
instead. ``--resume PATH`` goes on with the runs of an interrupted file.

Protocol. Within a suite all contenders have the same network, rows, batches, epochs and schedule, and the same
optimiser (Adam; K-FAC stands in front of SGD with momentum, at --kfac-rate). Order rotates by data set and seed. Code
is compiled before anything is timed. Tables are standardised by the estimator itself, pixels are divided by 255.

accuracy   every feedback, low-bit activations and K-FAC: accuracy, log-loss, seconds, cosine to the true gradient
speed      epoch and fit times against MLPClassifier and a plain torch loop, a fresh process per number of threads
memory     bytes of stored activations and the accuracy they cost; peak memory of a fresh process
images     a small convolutional network: backprop, hybrid, hybrid + binary, modular (torch)
sequences  a recurrent network over rows of pixels: backprop, hybrid, modular (torch)
online     ``partial_fit`` on a drifting stream, every block predicted before it is learned
skipping   rows of small output error left out of the backward products (``tol_error``)
"""

import argparse
import json
import os
import time
import warnings
from pathlib import Path

import _dfa_accuracy
import _dfa_memory
import _dfa_online
import _dfa_skipping
import _dfa_speed
import _dfa_torch_suites
from _common import environment, markdown_table, write_json
from _dfa_common import SkipJob
from threadpoolctl import threadpool_limits

SUITES = {
    "accuracy": _dfa_accuracy.SUITE,
    "speed": _dfa_speed.SUITE,
    "memory": _dfa_memory.SUITE,
    "images": _dfa_torch_suites.IMAGES,
    "sequences": _dfa_torch_suites.SEQUENCES,
    "online": _dfa_online.SUITE,
    "skipping": _dfa_skipping.SUITE,
}
DEFAULTS = {"epochs": 20, "max_train_rows": 0, "batch_size": 128, "seeds": [0, 1, 2, 3, 4], "repeats": 5, "rate": 1e-3}
QUICK = {"epochs": 3, "max_train_rows": 1000, "batch_size": 32, "seeds": [0], "repeats": 1, "threads": [1]}
SETTINGS = ("suite", "quick", "epochs", "batch_size", "rate", "kfac_rate", "max_train_rows", "repeats", "threads")


def main():
    options = parse()
    suite = SUITES[options.suite]
    record = {"settings": {key: getattr(options, key) for key in SETTINGS}, "rows": resume(options)}
    with threadpool_limits(options.threads[0]), warnings.catch_warnings():
        # Peers warn that a few epochs are no convergence; the table is the message here.
        warnings.simplefilter("ignore")
        for job in unfinished(suite.jobs(options), record["rows"]):
            record["environment"] = environment()  # again: pools appear when a peer is imported
            record["rows"] += run(suite, job, options)
            save(options, suite, record)
    record.setdefault("environment", environment())
    save(options, suite, record)
    text = report(suite, record)
    print(text)
    if options.markdown:
        Path(options.markdown).write_text(text)


def parse():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--suite", choices=SUITES, default="accuracy")
    add("--data", metavar="DIR", help="folder of .npz files")
    add("--quick", action="store_true", help="bundled sets and few contenders, in seconds")
    add("--only", nargs="+", metavar="NAME", help="these data sets (networks, of speed) only")
    add("--contenders", nargs="+", metavar="NAME", help="these only")
    add("--seeds", nargs="+", type=int)
    add("--epochs", type=int)
    add("--batch-size", type=int)
    add("--rate", type=float, help="largest learning rate")
    add("--kfac-rate", type=float, default=3e-2, help="the same, of SGD behind K-FAC")
    add("--max-train-rows", type=int, help="0: all")
    add("--repeats", type=int, help="of timings that are medians")
    add("--threads", nargs="+", type=int, help="default: 1; of speed: 1 and all")
    add("--json", metavar="PATH")
    add("--markdown", metavar="PATH")
    add("--resume", metavar="PATH", help="go on with the rows of this file; failures run again")
    return settled(parser.parse_args())


def settled(options):
    """Options that were not given, from the suite's table."""
    suite = SUITES[options.suite]
    values = DEFAULTS | suite.defaults | (QUICK | suite.quick if options.quick else {})
    for key, value in values.items():
        if getattr(options, key, None) is None:
            setattr(options, key, value)
    options.only = chosen("--only", options.only, suite.names, suite.quick_names if options.quick else None)
    few = suite.quick_contenders if options.quick else None
    options.contenders = chosen("--contenders", options.contenders, suite.contenders, few)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    options.threads = options.threads or (sorted({1, cores}) if options.suite == "speed" else [1])
    options.json = options.json or options.resume
    return options


def chosen(option, given, names, few):
    """The names that were given, after a check; else the few of a quick run; else all."""
    unknown = sorted(set(given or ()) - {*names, *(few or ())})
    if unknown:
        raise SystemExit(f"{option}: not in this suite: {unknown}; there are {list(names)}.")
    return list(given or few or names)


def resume(options):
    """Finished rows of an earlier run."""
    if not options.resume or not Path(options.resume).exists():
        return []
    record = json.loads(Path(options.resume).read_text())
    if record["settings"] != {key: getattr(options, key) for key in SETTINGS}:
        raise SystemExit(f"--resume: made with other settings: {record['settings']}.")
    return [row for row in record["rows"] if row["error"] is None]


def unfinished(jobs, rows):
    """Jobs that no row has the identity of."""
    rows = list(rows)
    return [job for job in jobs if not any(job.items() <= row.items() for row in rows)]


def run(suite, job, options):
    """The rows of one job; an exception becomes the text of its row."""
    start = time.perf_counter()
    try:
        rows = [job | {"error": None, "skipped": False} | row for row in suite.run(job, options)]
    except SkipJob as reason:
        rows = [job | {"error": str(reason), "skipped": True}]
    except Exception as error:  # any failure of any contender is a result to be listed
        text = f"{type(error).__name__}: {error}".replace(str(options.data), "DIR")
        rows = [job | {"error": text[:300], "skipped": False}]
    progress(job, rows, time.perf_counter() - start)
    return rows


def progress(job, rows, seconds):
    score = " ".join(f"{row['accuracy']:.4f}" for row in rows if row.get("accuracy") is not None)
    error = next((row["error"] for row in rows if row["error"]), "")
    print(" ".join(f"{value!s:14s}" for value in job.values()), f"{seconds:8.1f} s", score, error, flush=True)


def save(options, suite, record):
    record["summary"] = suite.summarise(record["rows"])
    if options.json:
        write_json(options.json, record)


def report(suite, record):
    """The summary as Markdown, and what did not run."""
    parts = [markdown_table(record["summary"], suite.columns)]
    if suite.extra:
        parts.append(suite.extra(record["summary"]))
    parts.append(suite.note + "\n")
    missing = dict.fromkeys(f"* {place(row)}: {row['error']}" for row in record["rows"] if row["error"])
    return "\n".join([*parts, "\n".join(missing)])


def place(row):
    return ", ".join(str(value) for key, value in row.items() if key not in ("error", "skipped"))


if __name__ == "__main__":
    main()
