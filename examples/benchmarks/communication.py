"""What data-parallel training sends, what that costs in accuracy, and what it takes in time.

One command trains every contender on every set and prints a Markdown table::

    python examples/benchmarks/communication.py --data DIR --json communication.json
    python examples/benchmarks/communication.py --quick      # digits, two processes, in seconds

DIR holds pendigits.npz, letter.npz and mnist.npz (see accuracy.py); the environment variable
SKLEARN_ANALYTIC_DATA may name it instead. digits come with scikit-learn.

Contenders: one process, and 2 and 4 processes, uncompressed and with entropy-coded gradients, on
torch's CPU path with one mini-batch for all processes together. Recorded: accuracy on the test
rows, bytes per worker (payload, and what the collective sends), the ratio to a ring of float32
gradients, seconds of a fit (of which processes take several to start), the largest difference of
a weight to the single process, and the entropy of the weights in the first and the last epoch.
"""

import argparse
import time
from pathlib import Path

import numpy as np
from _common import DATA_VARIABLE, data_folder, environment, load, markdown_table, mean, write_json
from sklearn.base import clone
from threadpoolctl import threadpool_limits

from sklearn_analytic import CommunicationDisplay, DFAClassifier, Feedback
from sklearn_analytic.distributed import data_parallel

EPOCHS = {"digits": 30, "pendigits": 10, "letter": 12, "mnist": 8}
MOST_ROWS = 10_000  # of training, the first ones
SCHEMES = ("backprop", "dfa")
WAYS = (None, "entropy")
PATHS = ("data", "json", "markdown", "figure")  # options that are paths of this machine
COLUMNS = {
    "set": ("set", ""),
    "scheme": ("scheme", ""),
    "workers": ("workers", "d"),
    "compression": ("compression", ""),
    "accuracy": ("accuracy", ".4f"),
    "difference to one process (points)": ("points", "+.2f"),
    "payload, kB per step": ("payload_kb", ".1f"),
    "payload ratio": ("payload_ratio", ".1f"),
    "wire ratio": ("wire_ratio", ".1f"),
    "seconds": ("seconds", ".1f"),
    "largest weight difference": ("weight_difference", ".1e"),
}


def main():
    options = parse()
    kept = {key: value for key, value in vars(options).items() if key not in PATHS}
    record = {"settings": kept, "environment": environment(), "rows": []}
    with threadpool_limits(1):
        for name in options.sets:
            for scheme in options.schemes:
                for seed in options.seeds:
                    run_set(name, scheme, seed, options, record)
                    if options.json:
                        write_json(options.json, record)
    record["summary"] = summary(record["rows"])
    if options.json:
        write_json(options.json, record)
    text = markdown_table(record["summary"], COLUMNS)
    print(text)
    if options.markdown:
        Path(options.markdown).write_text(text)


def parse():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--data", metavar="DIR", help=f"folder of .npz files; default: the variable {DATA_VARIABLE}")
    add("--quick", action="store_true", help="digits, two processes, few epochs")
    add("--sets", nargs="+", choices=EPOCHS)
    add("--schemes", nargs="+", choices=SCHEMES)
    add("--workers", nargs="+", type=int)
    add("--seeds", nargs="+", type=int, default=[0])
    add("--hidden", nargs="+", type=int, default=[256, 256])
    add("--batch-size", type=int, default=128, help="of all processes together")
    add("--json", metavar="PATH")
    add("--markdown", metavar="PATH")
    add("--figure", metavar="PATH", help="CommunicationDisplay of the last compressed fit")
    options = parser.parse_args()
    options.sets = options.sets or (["digits"] if options.quick else list(EPOCHS))
    options.schemes = options.schemes or (["backprop"] if options.quick else list(SCHEMES))
    options.workers = options.workers or ([2] if options.quick else [2, 4])
    return options


def run_set(name, scheme, seed, options, record):
    """All contenders on one set, one after the other."""
    folder = None if name == "digits" else data_folder(options.data)
    X, X_test, y, y_test = load(name, folder, seed=0)
    X, y = X[:MOST_ROWS], y[:MOST_ROWS]
    estimator = DFAClassifier(
        tuple(options.hidden),
        scheme=scheme,
        batch_size=options.batch_size,
        max_iter=5 if options.quick else EPOCHS[name],
        n_iter_no_change=np.inf,
        feedback=Feedback(tol_error=0.0),
        device="torch:cpu",
        random_state=seed,
    )
    shared = {"set": name, "scheme": scheme, "seed": seed}
    alone, seconds = timed(clone(estimator), X, y)
    score = alone.score(X_test, y_test)
    record["rows"].append({**shared, "workers": 1, "compression": None, "accuracy": score, "seconds": seconds})
    for workers in options.workers:
        for way in WAYS:
            model, seconds = timed(data_parallel(estimator, workers, compression=way), X, y)
            row = {**shared, "workers": workers, "compression": way, "accuracy": model.score(X_test, y_test)}
            row |= {"points": 100 * (row["accuracy"] - score), "seconds": seconds}
            row["weight_difference"] = difference(alone, model.estimator_)
            row |= traffic(model.communication_, -(-len(X) // options.batch_size))
            record["rows"].append(row)
            print(row, flush=True)
    if options.figure:
        CommunicationDisplay.from_estimator(model).figure_.savefig(options.figure, dpi=120)


def timed(model, X, y):
    """The fitted model and the seconds of its fit."""
    start = time.perf_counter()
    return model.fit(X, y), time.perf_counter() - start


def difference(one, other):
    """Largest difference of a weight."""
    pairs = zip(one.coefs_ + one.intercepts_, other.coefs_ + other.intercepts_, strict=True)
    return max(float(np.abs(a - b).max()) for a, b in pairs)


def traffic(record, steps_per_epoch):
    """Sums of bytes over the fit, ratios to a ring of float32 gradients, and entropies of the weights."""
    sums = {key: sum(record[key]) for key in ("payload_bytes", "wire_bytes", "uncompressed_bytes", "other_bytes")}
    n, steps = record["n_workers"], steps_per_epoch * len(record["wire_bytes"])
    floats = sums["uncompressed_bytes"] * n / (2 * (n - 1))  # payload of a worker that compresses nothing
    return sums | {
        "payload_kb": sums["payload_bytes"] / steps / 1000,
        "payload_ratio": floats / sums["payload_bytes"],
        "wire_ratio": sums["uncompressed_bytes"] / sums["wire_bytes"],
        "payload_per_epoch": record["payload_bytes"],
        "entropy_first": record["weight_entropy"][0],
        "entropy_last": record["weight_entropy"][-1],
        "relative_entropy_first": record["relative_entropy"][0],
        "relative_entropy_last": record["relative_entropy"][-1],
    }


def summary(rows):
    """Means over seeds of every contender on every set."""
    keys = ("set", "scheme", "workers", "compression")
    groups = {}
    for row in rows:
        groups.setdefault(tuple(row[key] for key in keys), []).append(row)
    numbers = ("accuracy", "points", "payload_kb", "payload_ratio", "wire_ratio", "seconds", "weight_difference")
    return [
        dict(zip(keys, group, strict=True)) | {key: mean([row.get(key) for row in members]) for key in numbers}
        for group, members in groups.items()
    ]


if __name__ == "__main__":
    main()
