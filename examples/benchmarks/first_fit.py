"""How long does the first fit take, what does it compile, and what does a busy machine cost?

Three measurements, each in fresh processes:

* the first fit with an empty cache of compiled code, its functions and their seconds;
* the first fit with a warm cache, and the second one;
* wall seconds of a fit while another process keeps a core busy, with as many threads as there are cores and with one.

    python examples/benchmarks/first_fit.py --json docs/benchmarks/first_fit.json
"""

import argparse
import json
import multiprocessing
import os
import statistics
import subprocess
import sys
import tempfile
import time

from _common import environment, write_json

ESTIMATORS = (
    "ClosedFormMLP",
    "CPNetClassifier",
    "BRMPClassifier",
    "DFAClassifier",
    "LayerwiseMLP",
    "DecoupledMLPClassifier",
)
BY_STEPS = {"max_iter": 2, "n_iter_no_change": float("inf")}


def model_of(name, **parameters):
    """An estimator with its defaults but a seed."""
    import sklearn_analytic

    kind = getattr(sklearn_analytic, name)
    return kind(**({"random_state": 0} if "random_state" in kind().get_params() else {}) | parameters)


# ---- in a fresh process ----


def first_and_second(name):
    """Processor seconds of two fits on breast cancer, and of every function that was compiled on the way."""
    from numba.core import event
    from sklearn.datasets import load_breast_cancer

    compiled, running = [], []

    class Clock(event.Listener):
        def on_start(self, event):
            running.append(time.process_time())

        def on_end(self, event):
            seconds = time.process_time() - running.pop()
            function = event.data["dispatcher"].py_func
            if not running:  # what it calls is compiled inside
                compiled.append({"function": f"{function.__module__}.{function.__name__}", "seconds": seconds})

    model = model_of(name, **(BY_STEPS if name.startswith(("DFA", "Layer", "Decoup")) else {}))
    X, y = load_breast_cancer(return_X_y=True)
    event.register("numba:compile", Clock())
    fits = []
    for _ in range(2):
        start = time.process_time()
        model.fit(X, y)
        fits.append(time.process_time() - start)
    return {"estimator": name, "first": fits[0], "second": fits[1], "compiled": compiled}


def busy(name):
    """Wall seconds of fits on digits beside a busy process: {threads of BLAS: median of five}."""
    from sklearn.datasets import load_digits
    from threadpoolctl import threadpool_limits

    X, y = load_digits(return_X_y=True)
    model, seconds = model_of(name).fit(X, y), {1: [], os.cpu_count(): []}
    other = multiprocessing.get_context("spawn").Process(target=spin, daemon=True)
    other.start()
    time.sleep(1)
    for _ in range(5):
        for threads, found in seconds.items():
            with threadpool_limits(threads):
                start = time.perf_counter()
                model.fit(X, y)
                found.append(time.perf_counter() - start)
    other.terminate()
    return {"estimator": name, "seconds": {str(threads): statistics.median(s) for threads, s in seconds.items()}}


def spin():
    """Keep a core busy."""
    while True:
        pass


MEASUREMENTS = {"first_and_second": first_and_second, "busy": busy}


# ---- the parent ----


def in_fresh_process(measurement, name, cache, threads=1):
    """What a measurement returns in a process of its own."""
    variables = {f"{kind}_NUM_THREADS": str(threads) for kind in ("OPENBLAS", "OMP", "NUMBA")}
    command = [sys.executable, __file__, "--measure", measurement, name]
    done = subprocess.run(
        command, env=os.environ | variables | {"NUMBA_CACHE_DIR": cache}, check=True, capture_output=True, text=True
    )
    return json.loads(done.stdout)


def rows(names, repeats):
    """Print and return one record per estimator."""
    print(f"{'processor seconds':24s} {'empty':>7s} {'warm':>7s} {'second':>7s}  functions")
    found = []
    for name in names:
        cold, warm = [], []
        for _ in range(repeats):
            with tempfile.TemporaryDirectory() as cache:
                cold.append(in_fresh_process("first_and_second", name, cache))
                warm.append(in_fresh_process("first_and_second", name, cache))
        median = sorted(cold, key=lambda record: record["first"])[repeats // 2]
        record = median | {
            "warm_first": statistics.median(r["first"] for r in warm),
            "second": statistics.median(r["second"] for r in warm),
        }
        assert not any(r["compiled"] for r in warm)
        found.append(record)
        times = [record[key] for key in ("first", "warm_first", "second")]
        print(f"{name:24s} {times[0]:7.2f} {times[1]:7.2f} {times[2]:7.3f}  {len(record['compiled'])}", flush=True)
    return found


def main():
    parser = argparse.ArgumentParser(description="The first fit, and a fit on a busy machine.")
    parser.add_argument("--estimators", nargs="+", default=ESTIMATORS, help="names of estimators")
    parser.add_argument("--repeats", type=int, default=3, help="fresh processes per figure")
    parser.add_argument("--quick", action="store_true", help="one process per figure")
    parser.add_argument("--measure", nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--json", metavar="PATH")
    options = parser.parse_args()
    if options.measure:
        measurement, name = options.measure
        print(json.dumps(MEASUREMENTS[measurement](name)))
        return
    repeats = 1 if options.quick else options.repeats
    result = {"environment": environment(), "rows": rows(options.estimators, repeats), "busy": []}
    print(f"\n{'digits, a core is busy':24s} {'1 thread':>9s} {'all':>7s}   wall seconds")
    with tempfile.TemporaryDirectory() as cache:
        for name in options.estimators:
            record = in_fresh_process("busy", name, cache, os.cpu_count())
            result["busy"].append(record)
            one, every = record["seconds"].values()
            print(f"{name:24s} {one:9.2f} {every:7.2f}", flush=True)
    if options.json:
        write_json(options.json, result)


if __name__ == "__main__":
    main()
