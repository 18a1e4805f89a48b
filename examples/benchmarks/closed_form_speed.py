"""How much of a ClosedFormMLP fit is BLAS, and how fast that is against this machine's own product.

The script wraps the package's large products and factorisations and adds up their seconds and
floating-point operations; the peak is a square float32 product through the same library, measured
before every fit. Rates are of the time inside the products; the last column divides all operations
counted by the seconds of the whole fit, activations, trees and copies included::

    python examples/benchmarks/closed_form_speed.py --json speed.json
    python examples/benchmarks/closed_form_speed.py --quick
"""

import argparse
import time
from collections import defaultdict

import numpy as np
from _common import environment, markdown_table, median, write_json
from scipy.linalg import blas, lapack
from sklearn.datasets import make_classification
from threadpoolctl import threadpool_limits

from sklearn_analytic import ClosedFormMLP
from sklearn_analytic.backend._numpy import NumpyBackend

WIDTHS = (1024, 2048, 4096)
ROWS, FEATURES, CLASSES = 40_000, 64, 10
PEAK_SIZE = 2048
COLUMNS = {
    "hidden": ("hidden", "s"),
    "width": ("width", "d"),
    "fit s": ("fit_seconds", ".2f"),
    "BLAS share": ("blas_share", ".2f"),
    "features + Gram GFLOP/s": ("gram_gflops", ".0f"),
    "peak GFLOP/s": ("peak_gflops", ".0f"),
    "of the peak": ("of_peak", ".2f"),
    "whole fit, of the peak": ("fit_of_peak", ".2f"),
}


class Meter:
    """Seconds and operations of wrapped functions; calls within calls count once."""

    def __init__(self):
        self.seconds, self.operations, self._inside = defaultdict(float), defaultdict(float), False

    def wrap(self, name, function, operations):
        def timed(*arguments, **keywords):
            if self._inside:
                return function(*arguments, **keywords)
            self._inside, start = True, time.perf_counter()
            try:
                return function(*arguments, **keywords)
            finally:
                self.seconds[name] += time.perf_counter() - start
                self.operations[name] += operations(*arguments)
                self._inside = False

        return timed


def main():
    options = parse()
    kept = ("widths", "rows", "repeats", "threads")
    record = {"settings": {key: getattr(options, key) for key in kept} | {"features": FEATURES}, "rows": []}
    with threadpool_limits(options.threads):
        record["environment"] = environment()
        X, y = make_classification(options.rows, FEATURES, n_informative=20, n_classes=CLASSES, random_state=0)
        X = X.astype(np.float32)
        for hidden in ("random", "auto"):
            ClosedFormMLP(60, hidden=hidden, random_state=0).fit(X[:500], y[:500])  # compiles
            for width in options.widths:
                runs = [measure(hidden, width, X, y) for _ in range(options.repeats)]
                record["rows"].append(summary(runs))
                if options.json:
                    write_json(options.json, record)
    print(markdown_table(record["rows"], COLUMNS))


def parse():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--widths", nargs="+", type=int, default=WIDTHS)
    add("--rows", type=int, default=ROWS)
    add("--repeats", type=int, default=3, help="medians of so many")
    add("--threads", type=int, default=2)
    add("--quick", action="store_true")
    add("--json", metavar="PATH")
    options = parser.parse_args()
    if options.quick:
        options.widths, options.rows, options.repeats = [64], 1000, 1
    return options


def measure(hidden, width, X, y):
    """One fit under the meter, and the peak just before it."""
    peak = peak_gflops()
    meter = Meter()
    saved = install(meter)
    start = time.perf_counter()
    try:
        ClosedFormMLP(width, hidden=hidden, random_state=0).fit(X, y)
    finally:
        seconds = time.perf_counter() - start
        for owner, name, function in saved:
            setattr(owner, name, function)
    main_part = ("matmul", "gram")
    busy = sum(meter.seconds[name] for name in main_part)
    return {
        "hidden": hidden,
        "width": width,
        "fit_seconds": seconds,
        "blas_share": sum(meter.seconds.values()) / seconds,
        "gram_gflops": sum(meter.operations[name] for name in main_part) / busy / 1e9,
        "peak_gflops": peak,
        "fit_gflops": sum(meter.operations.values()) / seconds / 1e9,
        "seconds": dict(meter.seconds),
        "gflop": {name: value / 1e9 for name, value in meter.operations.items()},
    }


def install(meter):
    """Wrap the verbs and the routines of the solve; return what to put back."""
    wrapped = [
        (NumpyBackend, "matmul", lambda self, a, b: 2.0 * a.shape[0] * a.shape[1] * b.shape[1]),
        (NumpyBackend, "gram", lambda self, a: float(a.shape[0]) * a.shape[1] * (a.shape[1] + 1)),
        (NumpyBackend, "cross", lambda self, a, b: 2.0 * a.shape[0] * a.shape[1] * b.shape[1]),
        (lapack, "dpotrf", lambda a: len(a) ** 3 / 3),
        *((blas, name, lambda alpha, a, b: len(a) ** 2 * float(b.shape[1])) for name in ("strsm", "dtrsm")),
    ]
    saved = [(owner, name, getattr(owner, name)) for owner, name, _ in wrapped]
    for owner, name, operations in wrapped:
        setattr(owner, name, meter.wrap(name, getattr(owner, name), operations))
    return saved


def peak_gflops():
    """Best of three square float32 products."""
    a = np.asfortranarray(np.random.default_rng(0).random((PEAK_SIZE, PEAK_SIZE), dtype=np.float32))
    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        blas.sgemm(1.0, a, a)
        seconds.append(time.perf_counter() - start)
    return 2 * PEAK_SIZE**3 / min(seconds) / 1e9


def summary(runs):
    """The run of the median time, with the medians of the rates beside it."""
    row = dict(sorted(runs, key=lambda run: run["fit_seconds"])[len(runs) // 2])
    for key in ("blas_share", "gram_gflops", "peak_gflops", "fit_gflops"):
        row[key] = median([run[key] for run in runs])
    row["of_peak"] = median([run["gram_gflops"] / run["peak_gflops"] for run in runs])
    row["fit_of_peak"] = median([run["fit_gflops"] / run["peak_gflops"] for run in runs])
    return row


if __name__ == "__main__":
    main()
