"""Achieved operations per second of features and Gram over the device's own peak product of the same dtype.

One block after another goes through a hidden layer (product, bias, relu) into the normal equations (stack, means,
centring, Gram, merge), through the package's own functions. n rows of d columns and h units count
``2 n d h + n h (h + 1)`` operations: the Gram is symmetric, and its second half is no work. The peak is a square
product through the same backend, measured before every run. Medians over repeats; ratios are taken within a repeat.
``of peak`` is of wall time; ``of peak, processor`` is of processor time, which other jobs on the machine disturb
less, and which means something with one thread only. The second table times the two roads by which a block enters a
triangular factor. With ``--data`` a third one says what bfloat16 features cost in accuracy::

    python examples/benchmarks/roofline.py --data DIR --json roofline.json
    python examples/benchmarks/roofline.py --device cuda --precisions float32 tf32 bfloat16 --json roofline_gpu.json
    python examples/benchmarks/roofline.py --quick
"""

import argparse
import sys

from _common import data_folder, environment, markdown_table, median, write_json
from _roofline_accuracy import SETS, accuracy_rows
from _roofline_clock import threads
from _roofline_path import Path, peak, qr_roads

from sklearn_analytic.io._passes import auto_block_size

SHAPES = ((256, 512), (512, 1024), (784, 2000))  # columns of X, units
COLUMNS = {
    "device": ("device", "s"),
    "threads": ("threads", "d"),
    "precision": ("precision", "s"),
    "columns": ("features", "d"),
    "units": ("width", "d"),
    "rows": ("block_rows", "d"),
    "peak GFLOP/s": ("peak_gflops", ".0f"),
    "GFLOP/s": ("gflops", ".0f"),
    "of peak": ("of_peak", ".2f"),
    "of peak, processor": ("of_peak_cpu", ".2f"),
    "features, share of time": ("feature_share", ".2f"),
}
QR_COLUMNS = {
    "device": ("device", "s"),
    "threads": ("threads", "d"),
    "rows": ("rows", "d"),
    "columns": ("columns", "d"),
    "preconditioned Cholesky, ms": ("cholesky_ms", ".1f"),
    "geqrf, ms": ("geqrf_ms", ".1f"),
    "processor: Cholesky / geqrf": ("ratio_cpu", ".2f"),
}
ACCURACY_COLUMNS = {
    "set": ("set", "s"),
    "hidden": ("hidden", "s"),
    "score": ("score", "s"),
    "float32": ("float32", ".4f"),
    "bfloat16": ("bfloat16", ".4f"),
    "difference": ("difference", "+.4f"),
    "largest of a seed": ("largest_difference", ".4f"),
}


def main():
    options = parse()
    settings = {key: value for key, value in vars(options).items() if key not in ("json", "data")}
    record = {"settings": settings, "rows": [], "qr": [], "accuracy": []}
    record["environment"] = environment()
    for device in options.device:
        for n_threads in options.threads:
            with threads(n_threads, device):
                for case in cases(options, device):
                    record["rows"].append({"device": device, "threads": n_threads} | measure(options, device, *case))
                    save(options, record)
                for rows, columns in options.qr:
                    found = qr(device, rows, columns, options.repeats)
                    record["qr"].append({"device": device, "threads": n_threads} | found)
                    save(options, record)
    if options.data:
        for row in accuracy_rows(data_folder(options.data), options.sets, options.seeds):
            record["accuracy"].append(row)
            save(options, record)
    record["load_average_at_end"] = environment()["load_average"]
    save(options, record)
    print(markdown_table(record["rows"], COLUMNS))
    print(markdown_table(record["qr"], QR_COLUMNS))
    print(markdown_table(record["accuracy"], ACCURACY_COLUMNS))


def parse():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--device", nargs="*", default=["cpu", "torch:cpu"])
    add("--precisions", nargs="+", default=["float32", "float64", "bfloat16"])
    add("--threads", nargs="+", type=int, default=[1, 2])
    add("--blocks", type=int, default=3, help="blocks of a run")
    add("--repeats", type=int, default=7, help="medians of so many")
    add("--peak-size", type=int, default=1536)
    add("--data", metavar="DIR", help="folder of .npz files: measure the accuracy, too")
    add("--sets", nargs="+", default=SETS)
    add("--seeds", type=int, default=2)
    add("--quick", action="store_true")
    add("--json", metavar="PATH")
    options = parser.parse_args()
    options.shapes, options.qr = SHAPES, ((4096, 256), (4096, 512), (4096, 1024))
    if options.quick:
        options.device, options.threads, options.repeats, options.blocks = options.device[:1], [1], 1, 1
        options.shapes, options.qr, options.peak_size = ((16, 32),), ((64, 8),), 64
    return options


def cases(options, device):
    """Precision, columns, units; NumPy has neither bfloat16 nor TF32."""
    wanted = [name for name in options.precisions if device != "cpu" or name in ("float32", "float64")]
    return [(name, *shape) for name in wanted for shape in options.shapes]


def measure(options, device, precision, n_features, width):
    """Medians over repeats of peak and path, one right after the other."""
    rows = auto_block_size(width + 1) if not options.quick else 256
    path = Path(device, precision, n_features, width, rows, options.blocks)
    path.run()  # compiles
    runs = []
    for _ in range(options.repeats):
        top, parts = peak(device, precision, options.peak_size), path.run()
        seconds = {clock: sum(part[clock] for part in parts.values()) for clock in top}
        runs.append(
            {
                "peak_gflops": top["wall"] / 1e9,
                "gflops": path.operations / seconds["wall"] / 1e9,
                "of_peak": path.operations / seconds["wall"] / top["wall"],
                "of_peak_cpu": path.operations / max(seconds["cpu"], 1e-9) / top["cpu"],
                "feature_share": parts["features"]["wall"] / seconds["wall"],
            }
        )
    row = {"precision": precision, "features": n_features, "width": width, "block_rows": rows}
    spread = {"of_peak_range": [min(run["of_peak"] for run in runs), max(run["of_peak"] for run in runs)]}
    return row | {key: median([run[key] for run in runs]) for key in runs[0]} | spread


def qr(device, rows, columns, repeats):
    """Medians over repeats of both roads, one right after the other."""
    qr_roads(device, rows, columns)
    runs = [qr_roads(device, rows, columns) for _ in range(repeats)]
    times = {f"{road}_ms": 1e3 * median([run[road]["wall"] for run in runs]) for road in runs[0]}
    ratio = median([run["cholesky"]["cpu"] / max(run["geqrf"]["cpu"], 1e-9) for run in runs])
    return {"rows": rows, "columns": columns} | times | {"ratio_cpu": ratio}


def save(options, record):
    """Write what there is, if it is wanted."""
    if options.json:
        write_json(options.json, record)


if __name__ == "__main__":
    sys.exit(main())
