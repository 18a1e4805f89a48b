"""How long does the first fit take, what does it compile, and what does a busy machine cost?

Four measurements, each in fresh processes:

* the first fit with an empty cache of compiled code, its functions and their seconds;
* the first fit with a warm cache, and the second one;
* the first and the second fit in torch on the CPU;
* wall seconds of a fit while another process keeps a core busy, with as many threads as there are cores and with one.

    python examples/benchmarks/first_fit.py --json docs/benchmarks/first_fit.json
"""

import argparse
import os
import statistics
import tempfile
from pathlib import Path

from _common import environment, write_json
from _dfa_workers import in_fresh_process

ESTIMATORS = (
    "ClosedFormMLP",
    "CPNetClassifier",
    "BRMPClassifier",
    "DFAClassifier",
    "LayerwiseMLP",
    "DecoupledMLPClassifier",
)


IN_TORCH = ("DFAClassifier", "LayerwiseMLP", "DecoupledMLPClassifier")


def measured(kind, name, cache, threads=1):
    """What a worker finds in a process of its own, with its own cache of compiled code."""
    script = str(Path(__file__).with_name("_first_fit_workers.py"))
    return in_fresh_process(kind, {"estimator": name}, threads, script, {"NUMBA_CACHE_DIR": cache})


def rows(names, repeats):
    """Print and return one record per estimator."""
    print(f"{'processor seconds':24s} {'empty':>7s} {'warm':>7s} {'second':>7s}  functions")
    found = []
    for name in names:
        cold, warm = [], []
        for _ in range(repeats):
            with tempfile.TemporaryDirectory() as cache:
                cold.append(measured("first_and_second", name, cache))
                warm.append(measured("first_and_second", name, cache))
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


def torch_rows(names, repeats):
    """Print and return the fits in torch, medians per estimator."""
    print(f"\n{'in torch':24s} {'first':>7s} {'second':>7s}   processor seconds")
    found = []
    with tempfile.TemporaryDirectory() as cache:
        for name in names:
            runs = [measured("torch_fits", name, cache) for _ in range(repeats)]
            record = {key: statistics.median(run[key] for run in runs) for key in ("first", "second")}
            found.append({"estimator": name} | record)
            print(f"{name:24s} {record['first']:7.2f} {record['second']:7.3f}", flush=True)
    return found


def main():
    parser = argparse.ArgumentParser(description="The first fit, and a fit on a busy machine.")
    parser.add_argument("--estimators", nargs="+", default=ESTIMATORS, help="names of estimators")
    parser.add_argument("--torch", nargs="*", default=IN_TORCH, help="names of estimators to fit in torch")
    parser.add_argument("--repeats", type=int, default=3, help="fresh processes per figure")
    parser.add_argument("--quick", action="store_true", help="one process per figure")
    parser.add_argument("--json", metavar="PATH")
    options = parser.parse_args()
    repeats = 1 if options.quick else options.repeats
    result = {"environment": environment(), "rows": rows(options.estimators, repeats)}
    result |= {"torch": torch_rows(options.torch, repeats), "busy": []}
    print(f"\n{'digits, a core is busy':24s} {'1 thread':>9s} {'all':>7s}   wall seconds")
    with tempfile.TemporaryDirectory() as cache:
        for name in options.estimators:
            record = measured("busy", name, cache, os.cpu_count())
            result["busy"].append(record)
            one, every = record["seconds"].values()
            print(f"{name:24s} {one:9.2f} {every:7.2f}", flush=True)
    if options.json:
        write_json(options.json, result)


if __name__ == "__main__":
    main()
