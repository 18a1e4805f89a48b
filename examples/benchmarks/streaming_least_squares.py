"""Least squares on a file that should not be held in memory: seconds, peak memory, error.

::

    python examples/benchmarks/streaming_least_squares.py --json streaming.json   # 2,000,000 rows
    python examples/benchmarks/streaming_least_squares.py --quick                 # seconds

A float32 memory-mapped file (columns with nonzero means, known coefficients, noise) is fitted
by this package, by scikit-learn and by a bare loop, the lower bound: it copies the same blocks
into a buffer and calls BLAS syrk and gemm, nothing else. The bare loop in float64 is the
reference of the ratios, because the Gram statistic of this package adds in float64 whatever the
dtype of the rows; the float32 loop is there for orientation.

Protocol. Every measurement is a fresh process that imports, fits a few rows
(some libraries load or compile code at first use), notes its memory, fits all rows, and reports
the seconds of that fit and the peaks above the note. File pages that are mapped count as
resident memory although the kernel can drop them at any time, so anonymous and file-backed
memory are also listed apart. The page cache is warmed first: disks are not measured. The
contenders of one repeat run in turn (round robin), and medians are reported. The number of
rows doubles three times, from rows / 8, to show how time and memory grow. Errors are relative
to a float64 solution (normal equations of shifted data, one refinement from the residuals).
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from _common import environment, markdown_table, median, write_json
from _streaming_contenders import CONTENDERS, ONCE, REFERENCE, measure
from _streaming_data import make_files, open_rows, solve_references, warm

THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
COLUMNS = {
    "rows": ("rows", ",d"),
    "contender": ("contender", "s"),
    "seconds": ("seconds", ".2f"),
    "/ bare loop": ("ratio", ".2f"),
    "peak MB above import": ("peak_hwm", ".0f"),
    "anonymous MB": ("peak_anon", ".0f"),
    "file MB": ("peak_file", ".0f"),
    "coefficient error": ("error", ".1e"),
    "road": ("road", "s"),
    "runs": ("runs", "d"),
}


def main():
    options = parse()
    if options.measure:
        folder, name, rows = options.measure
        print(json.dumps(measure(name, Path(folder), int(rows))))
        return
    with tempfile.TemporaryDirectory(dir=options.dir) as folder:
        record = run(Path(folder), options)
    if options.json:
        write_json(options.json, record)
    print(markdown_table(record["summary"], COLUMNS))
    for name, failure in sorted({(r["contender"], r["failure"]) for r in record["rows_failed"]}):
        print(f"* failed: {name}: {failure}")


def parse():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--rows", type=int, default=2_000_000)
    add("--features", type=int, default=256)
    add("--targets", type=int, default=4)
    add("--repeats", type=int, default=3)
    add("--threads", type=int, default=2, help="of BLAS and OpenMP, in every measurement")
    add("--contenders", nargs="+", choices=CONTENDERS, default=list(CONTENDERS))
    add("--dir", metavar="DIR", help="where the data file is made (rows x features x 4 bytes)")
    add("--timeout", type=float, default=1800, help="seconds for one measurement")
    add("--json", metavar="PATH")
    add("--quick", action="store_true", help="20,000 x 32, one doubling, one repeat")
    add("--measure", nargs=3, help=argparse.SUPPRESS)  # the fresh process
    options = parser.parse_args()
    if options.quick:
        options.rows, options.features, options.repeats = 20_000, 32, 1
    return options


def run(folder, options):
    """Make the data, measure everything, and return the record."""
    os.environ.update(dict.fromkeys(THREAD_VARIABLES, str(options.threads)))
    make_files(folder, options.rows, options.features, options.targets)
    sizes = [options.rows // part for part in ((2, 1) if options.quick else (8, 4, 2, 1))]
    solve_references(folder, sizes)
    rows = []
    for repeat in range(options.repeats):
        for size in sizes:
            warm(open_rows(folder, size))
            for name in plan(options.contenders, repeat):
                rows.append(fresh(name, folder, size, options) | {"repeat": repeat})
                progress(rows[-1])
    keys = ("rows", "features", "targets", "repeats", "threads", "quick")
    return {
        "settings": {key: getattr(options, key) for key in keys} | {"page_cache": "warmed"},
        "environment": environment(),
        "summary": summarise(rows, sizes, options.contenders),
        "rows": rows,
        "rows_failed": [row for row in rows if row["failure"]],
    }


def plan(contenders, repeat):
    """The order of one repeat: rotated, and slow peers only in the first one."""
    shift = repeat % len(contenders)
    order = contenders[shift:] + contenders[:shift]
    return [name for name in order if repeat == 0 or name not in ONCE]


def fresh(name, folder, rows, options):
    """One measurement in a new process."""
    command = [sys.executable, str(Path(__file__).resolve())]
    command += ["--measure", str(folder), name, str(rows)]
    row = {"contender": name, "rows": rows, "failure": None}
    try:
        result = subprocess.run(command, capture_output=True, text=True, timeout=options.timeout)
    except subprocess.TimeoutExpired:
        return row | {"failure": f"more than {options.timeout} s"}
    if result.returncode:
        return row | {"failure": (result.stderr.strip().splitlines() or ["killed"])[-1][:300]}
    return row | json.loads(result.stdout.splitlines()[-1])


def progress(row):
    text = row["failure"] or f"{row['seconds']:8.2f} s  {row['peak_hwm']:7.0f} MB"
    print(f"{row['rows']:>10,d} {row['contender']:18s} {text}", flush=True)


def summarise(rows, sizes, contenders):
    """Medians over the repeats, one record per number of rows and contender."""
    numbers = ("seconds", "peak_hwm", "peak_rss", "peak_anon", "peak_file", "error")
    summary = []
    for size in sizes:
        for name in contenders:
            group = [r for r in rows if (r["rows"], r["contender"]) == (size, name)]
            done = [row for row in group if not row["failure"]]
            line = {"rows": size, "contender": name, "runs": len(done)}
            line |= {key: median(row[key] for row in done) for key in numbers}
            line["road"] = next((row["road"] for row in done if row["road"]), None)
            summary.append(line)
    return [line | {"ratio": _ratio(line, summary)} for line in summary]


def _ratio(line, summary):
    """Seconds over those of the bare float64 loop on the same rows."""
    key = (line["rows"], REFERENCE)
    base = [other["seconds"] for other in summary if (other["rows"], other["contender"]) == key]
    return line["seconds"] / base[0] if base and base[0] and line["seconds"] else None


if __name__ == "__main__":
    main()
