"""The command line of scripts that are made of suites: options, jobs, resuming, tables and files.

A script is a :class:`Script`; ``run_script`` is its ``main``. Suites are values of ``_dfa_common.Suite``.
"""

import argparse
import json
import os
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from _common import environment, markdown_table, write_json
from _dfa_common import SkipJob
from threadpoolctl import threadpool_limits


@dataclass(frozen=True)
class Script:
    """What one script has of its own."""

    title: str
    suites: dict  # {name: Suite}
    default_suite: str
    defaults: dict  # of options that nobody gave
    quick: dict  # the same, of --quick
    settings: tuple  # options that the record holds, and that a resumed file must agree with
    own_options: Callable = lambda add: None  # adds options to the parser


def run_script(script):
    """Run the jobs of one suite that are not done, save after each, print the table."""
    options = parse(script)
    suite = script.suites[options.suite]
    record = {"settings": settings(script, options), "rows": resume(script, options)}
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


def parse(script):
    """The options, completed."""
    parser = argparse.ArgumentParser(description=script.title)
    add = parser.add_argument
    add("--suite", choices=script.suites, default=script.default_suite)
    add("--data", metavar="DIR", help="folder of .npz files")
    add("--quick", action="store_true", help="bundled sets and few contenders, in seconds")
    add("--only", nargs="+", metavar="NAME", help="these data sets (or networks) only")
    add("--contenders", nargs="+", metavar="NAME", help="these only")
    add("--seeds", nargs="+", type=int)
    add("--epochs", type=int)
    add("--batch-size", type=int)
    add("--rate", type=float, help="largest learning rate")
    add("--max-train-rows", type=int, help="0: all")
    add("--repeats", type=int, help="of timings that are medians")
    add("--threads", nargs="+", type=int, help="default: 1; of speed: 1 and all")
    add("--json", metavar="PATH")
    add("--markdown", metavar="PATH")
    add("--resume", metavar="PATH", help="go on with the rows of this file; failures run again")
    script.own_options(add)
    return settled(script, parser.parse_args())


def settled(script, options):
    """Options that were not given, from the suite's table."""
    suite = script.suites[options.suite]
    values = script.defaults | suite.defaults | (script.quick | suite.quick if options.quick else {})
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


def settings(script, options):
    """The options that decide what rows mean."""
    return {key: getattr(options, key) for key in script.settings}


def resume(script, options):
    """Finished rows of an earlier run."""
    if not options.resume or not Path(options.resume).exists():
        return []
    record = json.loads(Path(options.resume).read_text())
    if record["settings"] != settings(script, options):
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
    """One line on the terminal."""
    score = " ".join(f"{row['accuracy']:.4f}" for row in rows if row.get("accuracy") is not None)
    error = next((row["error"] for row in rows if row["error"]), "")
    print(" ".join(f"{value!s:14s}" for value in job.values()), f"{seconds:8.1f} s", score, error, flush=True)


def save(options, suite, record):
    """Write what there is."""
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
    """What identifies a row that did not run."""
    return ", ".join(str(value) for key, value in row.items() if key not in ("error", "skipped"))
