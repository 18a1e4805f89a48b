"""What a pass over a Dask collection costs and moves, measured, modelled, and planned for larger clusters.

One command measures passes on 1, 2 and 4 processes of this machine, checks the model against them, and plans::

    python examples/benchmarks/dask_scaling.py --json docs/benchmarks/dask_scaling.json
    python examples/benchmarks/dask_scaling.py --quick      # seconds; a smoke test
    python examples/benchmarks/dask_scaling.py --plan-only docs/benchmarks/dask_scaling.json --plan-rows 1e8

A fit is ``BRMPRegressor(solver="gram")``: one pass, whose statistic is a matrix of columns and targets. The rows are
in the memory of the workers before the clock starts. The model of a pass has five measured costs: the sums of one
partition and the merge of two statistics (in a plain loop on all workers at once, as long as a pass, before and after
it, so that other work on the machine slows both alike), a task that does nothing, the way of a statistic between two
workers, and the solve. What the model has to tell is what Dask adds to the loop. A plan takes the processor's time of
the sums and of the merge on one core that does nothing else, and what the options say of tasks, network and storage.
"""

import argparse
import json
import math
import time
from pathlib import Path

import dask
import dask.array as da
import numpy as np
from _common import environment, markdown_table, median, write_json
from distributed import Client, LocalCluster, wait
from sklearn.utils import check_array
from threadpoolctl import threadpool_limits

from sklearn_analytic import BRMPRegressor
from sklearn_analytic.io import auto_block_size
from sklearn_analytic.linalg import NormalEquations

PATHS = ("json", "plan_only")  # options that are paths of this machine
TASKS_PER_PARTITION = 2  # its sums, and a merge
MEASURED = {
    "workers": ("workers", "d"),
    "sums of a partition (s)": ("fold_s", ".3f"),
    "merge (s)": ("merge_s", ".4f"),
    "empty task (ms)": ("task_ms", ".2f"),
    "pass, measured (s)": ("pass_s", ".2f"),
    "pass, modelled (s)": ("model_s", ".2f"),
    "measured / modelled": ("ratio", ".2f"),
    "sent by workers, measured (MB)": ("moved_mb", ".1f"),
    "modelled, least and most (MB)": ("moved_bounds", ""),
}
PLAN = {
    "workers": ("workers", "d"),
    "sums (s)": ("sums_s", ".0f"),
    "merges (s)": ("merges_s", ".1f"),
    "tasks (s)": ("tasks_s", ".0f"),
    "pass (s)": ("pass_s", ".0f"),
    "reading, per worker (s)": ("read_s", ".0f"),
    "targets to workers (GB)": ("targets_gb", ".1f"),
    "statistics, least (GB)": ("least_gb", ".2f"),
    "statistics, most (GB)": ("most_gb", ".2f"),
}


def main():
    options = parse()
    if options.plan_only:
        record = json.loads(Path(options.plan_only).read_text())
        print(markdown_table(plan(record["costs"], options), PLAN))
        return
    kept = {key: value for key, value in vars(options).items() if key not in PATHS}
    record = {"settings": kept, "environment": environment(), "rows": []}
    with threadpool_limits(1):
        record["costs"] = costs_of_a_core(options)
    for n_workers in options.workers:
        record["rows"].append(measure(n_workers, options))
    record["plan"] = plan(record["costs"], options)
    if options.json:
        write_json(options.json, record)
    print(markdown_table(record["rows"], MEASURED))
    print(markdown_table(record["plan"], PLAN))


def parse():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--quick", action="store_true", help="little data, one repetition, threads for processes")
    add("--workers", nargs="+", type=int, default=[1, 2, 4])
    add("--partitions", type=int, default=12)
    add("--rows", type=int, default=16384, help="of a partition")
    add("--columns", type=int, default=512)
    add("--targets", type=int, default=1)
    add("--repeats", type=int, default=3)
    add("--plan-rows", type=float, default=1e9)
    add("--plan-columns", type=int, default=1000)
    add("--plan-partition", type=int, default=100_000, help="rows of a partition of the plan")
    add("--plan-workers", nargs="+", type=int, default=[1, 10, 100, 1000])
    add("--task", type=float, default=1e-3, help="seconds of the scheduler for each task of the plan")
    add("--network", type=float, default=1.25e9, help="bytes per second between two workers")
    add("--storage", type=float, default=1e9, help="bytes per second that a worker reads")
    add("--json")
    add("--plan-only", metavar="JSON", help="only plan, from the costs in this file")
    options = parser.parse_args()
    if options.quick:
        options.partitions, options.rows, options.columns, options.repeats = 3, 500, 8, 1
        options.plan_columns = 16
    return options


# ---- costs ----


def fold(x, y):
    """Sums of one partition, as a fit adds them up."""
    statistic = NormalEquations.empty(x.shape[1], y.shape[1])
    size = auto_block_size(x.shape[1])
    for start in range(0, len(x), size):
        rows = slice(start, start + size)
        statistic = statistic.accumulate(check_array(x[rows], dtype=(np.float64, np.float32)), y[rows])
    return statistic


def fold_and_merge_seconds(x, y, clock=time.perf_counter):
    """Seconds of the sums of a partition, and of a merge."""
    with threadpool_limits(1):
        begun = clock()
        statistic = fold(x, y)
        folded = clock()
        statistic.merge(statistic)
        return folded - begun, clock() - folded


def costs_of_a_core(options):
    """Processor seconds of sums, per row, and of a merge, with the columns of the plan; and an empty task's."""
    generator = np.random.default_rng(0)
    n = 4 * auto_block_size(options.plan_columns)
    x = generator.standard_normal((n, options.plan_columns), dtype=np.float32)
    y = generator.standard_normal((n, options.targets))
    found = [fold_and_merge_seconds(x, y, time.process_time) for _ in range(options.repeats)]
    folds, merges = zip(*found, strict=True)
    return {"columns": options.plan_columns, "fold_s_per_row": min(folds) / n, "merge_s": min(merges)}


def nothing(number):
    return number


def moved(dask_worker):
    return dask_worker.transfer_outgoing_bytes_total


def measure(n_workers, options):
    """Passes on so many processes of this machine, with the costs of the model."""
    settings = {"n_workers": n_workers, "threads_per_worker": 1, "processes": not options.quick}
    with LocalCluster(**settings, dashboard_address=None) as cluster, Client(cluster) as client:
        x, y = rows_on(client, options)
        BRMPRegressor(solver="gram").fit(x, y)  # workers import the package
        found = []
        for _ in range(options.repeats):
            before, start = busy_costs(client, options), sum(client.run(moved).values())
            begun = time.perf_counter()
            BRMPRegressor(solver="gram").fit(x, y)
            row = {"pass_s": time.perf_counter() - begun, "moved": sum(client.run(moved).values()) - start}
            after = busy_costs(client, options)
            row |= {name: (before[name] + after[name]) / 2 for name in before} | {"solve_s": solve_seconds(options)}
            row["model_s"] = modelled(row, n_workers, options)
            found.append(row)
    return summary(n_workers, found, options)


def rows_on(client, options):
    """Rows in the memory of the workers, and targets here."""
    n = options.partitions * options.rows
    normal = da.random.default_rng(0).standard_normal
    x = normal((n, options.columns), chunks=(options.rows, -1), dtype=np.float32).persist()
    wait(x)
    return x, np.random.default_rng(1).standard_normal((n, options.targets))


def busy_costs(client, options):
    """Seconds of the sums and of a merge while all workers do them, of an empty task, and of a statistic's way."""
    workers = list(client.scheduler_info(n_workers=-1)["workers"])
    made = [client.submit(partition, k, options.rows, options, workers=[w], pure=False) for k, w in enumerate(workers)]
    wait(made)
    each = math.ceil(options.partitions / len(workers))
    timed = [client.submit(busy, part, each, workers=[w], pure=False) for part, w in zip(made, workers, strict=True)]
    folds, merges = zip(*client.gather(timed), strict=True)
    n_tasks = 20 if options.quick else 200
    begun = time.perf_counter()
    client.gather(client.map(nothing, range(n_tasks), pure=False))
    task = (time.perf_counter() - begun) / n_tasks
    way = way_seconds(client, workers, options)
    return {"fold_s": max(folds), "merge_s": max(merges), "task_s": task, "way_s": way}


def partition(seed, n, options):
    """Rows and targets of one partition."""
    generator = np.random.default_rng(seed)
    x = generator.standard_normal((n, options.columns), dtype=np.float32)
    return x, generator.standard_normal((n, options.targets))


def busy(part, times):
    """Mean seconds of sums and of merges, so many times in a loop."""
    return tuple(np.mean([fold_and_merge_seconds(*part) for _ in range(times)], axis=0).tolist())


def way_seconds(client, workers, options):
    """Seconds of a statistic from one worker to another."""
    if len(workers) == 1:
        return 0.0
    p = options.columns + options.targets
    here = client.submit(np.ones, (p, p), workers=[workers[0]], pure=False)
    wait(here)
    begun = time.perf_counter()
    wait(client.submit(np.shape, here, workers=[workers[1]], pure=False))
    return time.perf_counter() - begun


def solve_seconds(options):
    """Seconds of the checks and the solve that follow the last merge."""
    x, y = partition(0, 4 * options.columns, options)
    statistic = NormalEquations.from_rows(x, y)
    begun = time.perf_counter()
    with threadpool_limits(1):
        statistic.equilibrated_condition(True)
        statistic.solve_equilibrated(True)
        statistic.condition(True)
    return time.perf_counter() - begun


def summary(n_workers, found, options):
    """Medians of the repetitions, and what the model says of bytes."""
    middle = {key: median([row[key] for row in found]) for key in found[0]}
    statistic = 8 * (options.columns + options.targets) ** 2 / 1e6
    least, most = (transfers * statistic for transfers in ways(options.partitions, n_workers))
    return middle | {
        "workers": n_workers,
        "task_ms": 1e3 * middle["task_s"],
        "ratio": median([row["pass_s"] / row["model_s"] for row in found]),
        "moved_mb": middle["moved"] / 1e6,
        "moved_bounds": f"{least:.1f}, {most:.1f}",
        "repetitions": found,
    }


# ---- the model ----


def seconds(n_partitions, n_workers, fold_s, merge_s, task_s, way_s):
    """Seconds of sums, of merges (all of which wait for the other statistic), and of a scheduler, task by task."""
    each = math.ceil(n_partitions / n_workers)
    merges = each - 1 + math.ceil(math.log2(n_workers))
    way_s = way_s if n_workers > 1 else 0.0
    return each * fold_s, merges * (merge_s + way_s), n_partitions * TASKS_PER_PARTITION * task_s


def ways(n_partitions, n_workers):
    """How many statistics travel at least (neighbours on one worker) and at most.

    The sum goes to the client, and the empty statistic to all workers but the one that has it.
    """
    if n_workers == 1:
        return 1, 1
    return 1 + 2 * (n_workers - 1), n_partitions + n_workers - 1


def modelled(row, n_workers, options):
    """Seconds of a fit: a pass and a solve."""
    names = ("fold_s", "merge_s", "task_s", "way_s")
    return sum(seconds(options.partitions, n_workers, *(row[name] for name in names))) + row["solve_s"]


def plan(costs, options):
    """A pass over very many rows on N workers of one core, from the costs of a core."""
    n, p = options.plan_rows, costs["columns"] + options.targets
    n_partitions = math.ceil(n / options.plan_partition)
    statistic = 8 * p * p
    fold_s = costs["fold_s_per_row"] * options.plan_partition
    rows = []
    for n_workers in options.plan_workers:
        parts = seconds(n_partitions, n_workers, fold_s, costs["merge_s"], options.task, statistic / options.network)
        least, most = ways(n_partitions, n_workers)
        rows.append(
            {"workers": n_workers, "pass_s": sum(parts)}
            | dict(zip(("sums_s", "merges_s", "tasks_s"), parts, strict=True))
            | {
                "read_s": n * costs["columns"] * 4 / n_workers / options.storage,
                "targets_gb": n * 8 * options.targets / 1e9,
                "least_gb": least * statistic / 1e9,
                "most_gb": most * statistic / 1e9,
            }
        )
    return rows


if __name__ == "__main__":
    dask.config.set({"distributed.admin.large-graph-warning-threshold": "1 TiB"})
    main()
