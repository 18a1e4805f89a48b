"""What does a fit from files cost in memory and time, against arrays, and against reading the files alone?

Four suites in one record, on rows of ``--columns`` float32 columns in .npy, HDF5, Zarr and Parquet files:

* memory: the peak of ``fit_blocks`` above the imports, each in a fresh process, for ``--memory-rows`` and four times
  as many;
* reading: one pass over a file, and over its targets alone;
* fits: ``fit_blocks`` with 0, 1 and 2 blocks read ahead, against the same blocks held in memory; also from "waiting",
  a source in memory that waits for every block as long as it is computed on, as a slow disk or a network would;
* estimators: a whole fit of each, from a .npy file and from arrays.

Times are medians over rounds in which all contenders take turns: seconds by the clock, and of the processor (all
threads of the process), which other work on the machine disturbs less. The files have just been written: they are in
the cache of the system, so that reading means copying and decoding, not the disk. ``--folder`` keeps the files.

Run ``python out_of_core.py --json ../../docs/benchmarks/out_of_core.json`` (about ten minutes), or with ``--quick``.
"""

import argparse
import importlib
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from _common import MemorySampler, environment, markdown_table, median, write_json
from threadpoolctl import threadpool_limits

from sklearn_analytic import Blocks, BRMPRegressor, ClosedFormMLPRegressor, CPNetClassifier
from sklearn_analytic.io import auto_block_size

MANY = 4  # times the rows of the second size
AHEAD = (0, 1, 2)
NEEDS = {"npy": "numpy", "hdf5": "h5py", "zarr": "zarr", "parquet": "pyarrow"}
# {name: (estimator, target, passes over X beside that over the targets)}
ESTIMATORS = {
    "brmp gram": (lambda: BRMPRegressor(solver="gram"), "y", 1),
    "brmp qr": (lambda: BRMPRegressor(solver="qr"), "y", 1),
    "brmp gram, 200 random units": (lambda: BRMPRegressor((200,), solver="gram", random_state=0), "y", 1),
    "cpnet": (lambda: CPNetClassifier((60,), n_modules=3, random_state=0), "c", 4),
    "closed form, random": (
        lambda: ClosedFormMLPRegressor((200,), hidden="random", alpha=1.0, random_state=0),
        "y",
        4,
    ),
}
WAITING = "waiting"
OVERLAPPED = "brmp gram, 200 random units"


# ------------------------------------------------------------------ files


def write_rows(folder, n_rows, n_columns, kinds):
    """The same rows in every format, written block by block; what is there already stays."""
    folder = Path(folder) / f"{n_rows}x{n_columns}"
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "X.npy").exists():
        X = np.lib.format.open_memmap(folder / "X.npy", "w+", np.float32, (n_rows, n_columns))
        y = np.empty(n_rows)
        for first, x in _drawn(n_rows, n_columns):
            X[first : first + len(x)] = x
            y[first : first + len(x)] = x[:, 0] - x[:, 1] + np.sin(3 * x[:, 2])
        del X
        np.save(folder / "y.npy", y)
        np.save(folder / "c.npy", (y > 0).astype(np.int64))
    for kind in kinds:
        if kind != "npy" and not (folder / f"rows.{kind}").exists():
            WRITERS[kind](folder / f"rows.{kind}", *(np.load(folder / f"{n}.npy", mmap_mode="r") for n in "Xyc"))
    return folder


def _drawn(n_rows, n_columns, size=20_000):
    """Blocks of normal rows with their first row's number."""
    generator = np.random.default_rng(0)
    for first in range(0, n_rows, size):
        yield first, generator.standard_normal((min(size, n_rows - first), n_columns), dtype=np.float32)


def write_hdf5(path, X, y, c):
    with importlib.import_module("h5py").File(path, "w") as file:
        file.create_dataset("X", data=X, chunks=(min(2048, len(X)), X.shape[1]))
        file["y"], file["c"] = y, c


def write_zarr(path, X, y, c):
    group = importlib.import_module("zarr").open_group(str(path), mode="w")
    for name, values in {"X": X, "y": y, "c": c}.items():
        group.create_array(name, data=np.asarray(values), chunks=(min(20_000, len(X)),) + values.shape[1:])


def write_parquet(path, X, y, c):
    pa = importlib.import_module("pyarrow")
    pq = importlib.import_module("pyarrow.parquet")
    writer = None
    for first in range(0, len(X), 20_000):
        rows = slice(first, first + 20_000)
        columns = {f"x{k}": np.ascontiguousarray(X[rows, k]) for k in range(X.shape[1])}
        table = pa.table(columns | {"y": np.asarray(y[rows]), "c": np.asarray(c[rows])})
        writer = writer or pq.ParquetWriter(path, table.schema)
        writer.write_table(table)
    writer.close()


WRITERS = {"hdf5": write_hdf5, "zarr": write_zarr, "parquet": write_parquet}


def blocks_of(folder, kind, target, prefetch=1):
    """Blocks of one format."""
    folder, path = Path(folder), Path(folder) / f"rows.{kind}"
    if kind == "npy":
        return Blocks.from_npy(folder / "X.npy", folder / f"{target}.npy", prefetch=prefetch)
    if kind == "parquet":
        n_columns = int(folder.name.split("x")[1])
        return Blocks.from_parquet(path, [f"x{k}" for k in range(n_columns)], target, prefetch=prefetch)
    return {"hdf5": Blocks.from_hdf5, "zarr": Blocks.from_zarr}[kind](path, "X", target, prefetch=prefetch)


def arrays_of(folder, target):
    return np.load(Path(folder) / "X.npy"), np.load(Path(folder) / f"{target}.npy")


# ------------------------------------------------------------------ memory, each in a fresh process


def memory_rows(options, folders):
    """Peaks for both sizes: every format with one estimator, every estimator from one format, and arrays."""
    tasks = [(kind, "brmp gram") for kind in [*options.kinds, "arrays"]]
    tasks += [("npy", name) for name in ESTIMATORS if name != "brmp gram"]
    for kind, name in tasks:
        for folder in folders:
            task = {"folder": str(folder), "kind": kind, "estimator": name, "threads": options.threads}
            yield {"suite": "memory", "n_rows": _rows_in(folder)} | task | in_fresh_process(task)


def _rows_in(folder):
    return int(folder.name.split("x")[0])


def in_fresh_process(task):
    """The answer of this script, run again with one task."""
    command = [sys.executable, str(Path(__file__).resolve()), "--task", json.dumps(task)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=dict(os.environ))
    return json.loads(done.stdout)


def measured_memory(task):
    """Peak of one fit above a process that has fitted a few rows of the same width."""
    make, target, _ = ESTIMATORS[task["estimator"]]
    source = (task["folder"], task["kind"], target)
    with threadpool_limits(task["threads"]):
        few = np.random.default_rng(0).standard_normal((400, int(Path(task["folder"]).name.split("x")[1])))
        make().fit_blocks(Blocks.from_arrays(few, (few[:, 0] > 0).astype(float)))
        if task["kind"] == "arrays":
            work = lambda: make().fit(*arrays_of(task["folder"], target))  # noqa: E731
        else:
            next(blocks_of(*source, prefetch=0).read())  # imports what reads
            work = lambda: make().fit_blocks(blocks_of(*source))  # noqa: E731
        with MemorySampler() as memory:
            work()
    return memory.above_start


# ------------------------------------------------------------------ time, in turns


def times_of(work):
    """Seconds by the clock and of the processor."""
    start, cpu = time.perf_counter(), time.process_time()
    work()
    return {"seconds": time.perf_counter() - start, "cpu_seconds": time.process_time() - cpu}


class Waiting:
    """Blocks in memory that are there only after a while."""

    def __init__(self, blocks):
        self.blocks, self.pause = blocks, 0.0

    def __iter__(self):
        for block in self.blocks:
            time.sleep(self.pause)
            yield block


def exhaust(iterable):
    for _ in iterable:
        pass


def timed_jobs(options, folder):
    """{what is timed: work}, in the order of a round."""
    jobs = {}
    for kind in options.kinds:
        jobs["reading", kind, "X and y"] = lambda kind=kind: exhaust(blocks_of(folder, kind, "y", prefetch=0))
        jobs["reading", kind, "y"] = lambda kind=kind: exhaust(blocks_of(folder, kind, "y").targets())
    make, target, _ = ESTIMATORS[OVERLAPPED]
    held = list(blocks_of(folder, "npy", target, prefetch=0))
    jobs["fits", "memory", 0] = lambda: make().fit_blocks(Blocks.from_iterable(held, prefetch=0))
    slow = Waiting(held)
    slow.pause = times_of(jobs["fits", "memory", 0])["seconds"] / len(held)
    jobs["reading", WAITING, "X and y"] = lambda: exhaust(slow)
    for ahead in AHEAD:
        source = Blocks.from_iterable(slow, prefetch=ahead)
        # Read once: the clock is to show one pass, not that over the targets.
        jobs["fits", WAITING, ahead] = lambda source=source: make().fit_blocks(iter(source))
    for kind in options.kinds:
        for ahead in AHEAD:
            jobs["fits", kind, ahead] = lambda kind=kind, ahead=ahead: make().fit_blocks(
                blocks_of(folder, kind, target, ahead)
            )
    arrays = {name: arrays_of(folder, name) for name in ("y", "c")}
    for name, (model, column, _) in ESTIMATORS.items():
        jobs["estimators", name, "arrays"] = lambda model=model, column=column: model().fit(*arrays[column])
        jobs["estimators", name, "npy"] = lambda model=model, column=column: model().fit_blocks(
            blocks_of(folder, "npy", column)
        )
    return jobs


def timed_rows(options, folder):
    """One row for each job and round."""
    jobs = timed_jobs(options, folder)
    with threadpool_limits(options.threads):
        for work in jobs.values():  # code is compiled and files are in the cache
            work()
        for number in range(options.rounds):
            for (suite, what, how), work in jobs.items():
                yield {"suite": suite, "what": what, "how": how, "round": number} | times_of(work)


# ------------------------------------------------------------------ tables


def summary_of(tables):
    """All tables as one list of records."""
    lines = [{"suite": "memory"} | line for line in tables["memory"]]
    lines += [{"suite": "reading"} | line for line in tables["reading"]]
    for line in tables["fits"]:
        for ahead in AHEAD:
            fit = {"source": line["source"], "ahead": ahead, "seconds": line[f"ahead_{ahead}"]}
            lines.append({"suite": "fits"} | fit | {"cpu_seconds": line[f"cpu_ahead_{ahead}"]})
    for line in tables["estimators"]:
        for how in ("arrays", "npy"):
            fit = {"source": how, "estimator": line["estimator"], "seconds": line[f"{how}_seconds"]}
            lines.append({"suite": "estimators"} | fit | {"cpu_seconds": line[f"{how}_cpu_seconds"]})
    return lines


def tables_of(rows, options):
    """Medians; megabytes by seconds of the processor; what reading ahead saves of the shorter of two times."""
    times, cpu = medians(rows, "seconds"), medians(rows, "cpu_seconds")
    megabytes = options.rows * options.columns * 4 / 1e6
    reading = [
        {
            "source": kind,
            "seconds": times["reading", kind, "X and y"],
            "cpu_seconds": cpu["reading", kind, "X and y"],
            "megabytes_per_cpu_second": megabytes / cpu["reading", kind, "X and y"],
            "targets_cpu_seconds": cpu["reading", kind, "y"],
        }
        for kind in options.kinds
        if times
    ]
    estimators = [
        {"estimator": name, "passes": ESTIMATORS[name][2]}
        | {f"{how}_seconds": times["estimators", name, how] for how in ("arrays", "npy")}
        | {f"{how}_cpu_seconds": cpu["estimators", name, how] for how in ("arrays", "npy")}
        for name in ESTIMATORS
        if times
    ]
    fits = [_overlap(kind, times, cpu) for kind in (WAITING, *options.kinds) if times]
    return {"reading": reading, "fits": fits, "estimators": estimators, "memory": _memory_summary(rows, options)}


def medians(rows, key):
    """{job: median over its rounds}."""
    found = {}
    for row in rows:
        if row["suite"] != "memory":
            found.setdefault((row["suite"], row["what"], row["how"]), []).append(row[key])
    return {job: median(values) for job, values in found.items()}


def _overlap(kind, times, cpu):
    """Seconds with 0, 1 and 2 blocks ahead, against reading and computing alone."""
    read, compute = times["reading", kind, "X and y"], times["fits", "memory", 0]
    line = {"source": kind, "read": read, "compute": compute, "sum": read + compute, "larger": max(read, compute)}
    line |= {f"ahead_{n}": times["fits", kind, n] for n in AHEAD}
    return line | {f"cpu_ahead_{n}": cpu["fits", kind, n] for n in AHEAD}


def _memory_summary(rows, options):
    """Peaks of both sizes side by side."""
    found = {}
    for row in rows:
        if row["suite"] == "memory":
            size = "peak_mb" if row["n_rows"] == options.memory_rows else "peak_mb_of_4n"
            line = found.setdefault((row["kind"], row["estimator"]), {})
            line |= {"source": row["kind"], "estimator": row["estimator"], size: row["peak_hwm"]}
    return list(found.values())


TABLES = {
    "memory": {
        "source": ("source", ""),
        "estimator": ("estimator", ""),
        "MB": ("peak_mb", ".0f"),
        "MB, 4 n": ("peak_mb_of_4n", ".0f"),
    },
    "reading": {
        "source": ("source", ""),
        "seconds": ("seconds", ".3f"),
        "processor": ("cpu_seconds", ".3f"),
        "MB per second of it": ("megabytes_per_cpu_second", ".0f"),
        "targets alone": ("targets_cpu_seconds", ".3f"),
    },
    "fits": {
        "source": ("source", ""),
        "reading": ("read", ".3f"),
        "computing": ("compute", ".3f"),
        "0 ahead": ("ahead_0", ".3f"),
        "1 ahead": ("ahead_1", ".3f"),
        "2 ahead": ("ahead_2", ".3f"),
        "processor, 0": ("cpu_ahead_0", ".3f"),
        "processor, 1": ("cpu_ahead_1", ".3f"),
    },
    "estimators": {
        "estimator": ("estimator", ""),
        "passes": ("passes", "d"),
        "arrays": ("arrays_seconds", ".3f"),
        "npy": ("npy_seconds", ".3f"),
        "arrays, processor": ("arrays_cpu_seconds", ".3f"),
        "npy, processor": ("npy_cpu_seconds", ".3f"),
    },
}


def parsed():
    parser = argparse.ArgumentParser(description="Memory and time of fits from files.")
    add = parser.add_argument
    add("--rows", type=int, default=100_000, help="of what is timed")
    add("--memory-rows", type=int, default=250_000, help="of the peaks of memory, and four times as many")
    add("--columns", type=int, default=100)
    add("--rounds", type=int, default=5, help="of timings that are medians")
    add("--threads", type=int, default=1, help="of BLAS; one leaves a core to the reader")
    add("--folder", help="where the files go and stay; a temporary folder unless given")
    add("--quick", action="store_true", help="few rows, one round, .npy and one process: a smoke test")
    add("--part", choices=("time", "memory"), help="this part alone; the other is kept as it is in --json")
    add("--json", metavar="PATH")
    add("--task", help=argparse.SUPPRESS)
    options = parser.parse_args()
    options.kinds = [kind for kind, module in NEEDS.items() if importlib.util.find_spec(module)]
    if options.quick:
        options.rows, options.memory_rows, options.rounds, options.kinds = 2_000, 2_000, 1, ["npy"]
    return options


def run(options, folder):
    """All suites; what has been timed is saved before memory is measured."""
    rows = kept_rows(options)
    if options.part != "memory":
        small = write_rows(folder, options.rows, options.columns, options.kinds)
        rows += timed_rows(options, small)
        save(options, rows)
    if options.quick:
        task = {"folder": str(small), "kind": "npy", "estimator": "brmp gram", "threads": options.threads}
        rows.append({"suite": "memory", "n_rows": options.rows} | task | measured_memory(task))
    elif options.part != "time":
        sizes = (options.memory_rows, MANY * options.memory_rows)
        rows += memory_rows(options, [write_rows(folder, n, options.columns, options.kinds) for n in sizes])
    return save(options, rows)


def kept_rows(options):
    """Rows of the part that is not measured again."""
    if options.part is None or not options.json or not Path(options.json).exists():
        return []
    old = json.loads(Path(options.json).read_text())["rows"]
    return [row for row in old if (row["suite"] == "memory") != (options.part == "memory")]


def save(options, rows):
    """The record, written where it is asked for; folders are nobody's business."""
    settings = {key: value for key, value in vars(options).items() if key not in ("json", "task", "folder", "part")}
    settings["block_size"] = auto_block_size(options.columns)
    rows = [{key: value for key, value in row.items() if key != "folder"} for row in rows]
    tables = tables_of(rows, options)
    record = {"settings": settings, "rows": rows, "summary": summary_of(tables), "tables": tables}
    record["environment"] = environment()
    if options.json:
        write_json(options.json, record)
    return record


def main():
    options = parsed()
    if options.task:
        print(json.dumps(measured_memory(json.loads(options.task))))
        return
    with tempfile.TemporaryDirectory() as temporary:
        record = run(options, options.folder or temporary)
    for name, columns in TABLES.items():
        print(name, markdown_table(record["tables"][name], columns), sep="\n\n")


if __name__ == "__main__":
    main()
