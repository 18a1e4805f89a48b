"""Seconds of a GridSearchCV with 1, 2 and 4 jobs: do several jobs get in each other's way?

The same search (4 candidates, 2 folds, no refit) with joblib's processes ("loky", scikit-learn's
default) or threads. Before the timed searches untimed ones on few rows warm the pool:
workers are started, modules imported, compiled code loaded. Numbers of jobs take turns within every
round, so that the load of the machine falls on all of them, and medians over rounds are compared. With
one BLAS thread a job is a core; without the variables one job may use every core through BLAS, and
joblib gives each of its processes the cores divided by the jobs::

    export OPENBLAS_NUM_THREADS=1 OMP_NUM_THREADS=1 OMP_WAIT_POLICY=PASSIVE
    python examples/benchmarks/parallel_search.py --json docs/benchmarks/parallel_search.json
    python examples/benchmarks/parallel_search.py --quick
"""

import argparse
import math
import time

import joblib
import numpy as np
from _common import environment, markdown_table, median, write_json
from sklearn.base import clone
from sklearn.datasets import make_classification
from sklearn.model_selection import GridSearchCV

from sklearn_analytic import ClosedFormMLP, CPNetClassifier, DFAClassifier, LayerwiseMLP

EPOCHS = {"max_iter": 40, "n_iter_no_change": math.inf, "random_state": 0}  # all of them, whatever the loss does
RATES = {"learning_rate_init": [1e-4, 3e-4, 1e-3, 3e-3]}
ESTIMATORS = {
    "ClosedFormMLP": (ClosedFormMLP(n_refits=0, random_state=0), {"alpha": [0.1, 1.0, 10.0, 100.0]}),
    "CPNetClassifier": (CPNetClassifier(random_state=0), {"alpha": [0.1, 1.0, 10.0, 100.0]}),
    "DFAClassifier": (DFAClassifier(**EPOCHS), RATES),
    "LayerwiseMLP": (LayerwiseMLP(**EPOCHS), RATES),
}
JOBS = (1, 2, 4)
ROWS, FEATURES, FOLDS = 200, 20, 2
WARM = 60  # rows of the untimed searches
QUICK = {"rows": 120, "rounds": 1, "jobs": (1, 2), "backends": ["threading"], "only": ["DFAClassifier"]}
COLUMNS = {
    "estimator": ("estimator", "s"),
    "backend": ("backend", "s"),
    **{f"{n} job{'s' * (n > 1)}": (f"seconds_{n}", ".2f") for n in JOBS},
    "slowest round, 1 job": ("slowest_1", ".2f"),
    "4 jobs over 1": ("ratio_4", ".2f"),
}


def main():
    options = parse()
    kept = ("rows", "rounds", "jobs", "backends")
    record = {"settings": {name: getattr(options, name) for name in kept}, "environment": environment(), "rows": []}
    record["settings"] |= {"features": FEATURES, "candidates": 4, "folds": FOLDS}
    X, y = make_classification(options.rows, FEATURES, n_informative=10, n_classes=3, random_state=0)
    X = X.astype(np.float32)
    samples = {(name, backend): {n: [] for n in options.jobs} for name in options.only for backend in options.backends}
    for _ in range(options.rounds):
        for backend in options.backends:
            for n_jobs in options.jobs:
                for name in options.only:  # all of them first: a change of n_jobs starts other workers
                    search(name, backend, n_jobs, X[:WARM], y[:WARM])
                for name in options.only:
                    samples[name, backend][n_jobs].append(search(name, backend, n_jobs, X, y))
        record["rows"] = [summary(*key, seconds) for key, seconds in samples.items()]
        if options.json:
            write_json(options.json, record)
    print(markdown_table(record["rows"], COLUMNS))


def parse():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=ROWS)
    parser.add_argument("--rounds", type=int, default=3, help="timed searches of each kind")
    parser.add_argument("--jobs", type=int, nargs="+", default=JOBS)
    parser.add_argument("--backends", nargs="+", default=["loky", "threading"], choices=("loky", "threading"))
    parser.add_argument("--only", nargs="+", default=list(ESTIMATORS), choices=ESTIMATORS)
    parser.add_argument("--json", help="write the record here after every round")
    parser.add_argument("--quick", action="store_true", help="a smoke test of seconds, in threads")
    options = parser.parse_args()
    for name, value in QUICK.items() if options.quick else ():
        setattr(options, name, value)
    return options


def search(name, backend, n_jobs, X, y):
    """Seconds of one search."""
    model, grid = ESTIMATORS[name]
    search = GridSearchCV(clone(model), grid, cv=FOLDS, n_jobs=n_jobs, refit=False)
    with joblib.parallel_config(backend):
        start = time.perf_counter()
        search.fit(X, y)
    return time.perf_counter() - start


def summary(name, backend, seconds):
    """Medians over rounds, and what the same search took at most: differences within that are noise."""
    row = {"estimator": name, "backend": backend, "samples": seconds}
    row |= {f"seconds_{n}": median(times) for n, times in seconds.items()}
    row |= {f"ratio_{n}": row[f"seconds_{n}"] / row["seconds_1"] for n in seconds}
    return row | {"slowest_1": max(seconds[1]), "fastest_1": min(seconds[1])}


if __name__ == "__main__":
    main()
