"""Does it break? A campaign that counts trials, violations of what is promised, and clear errors.

Parts: fuzzed fits, random orders of partial_fit / forget / merge, faults from outside, ceilings of memory,
reproducibility, threads, ten thousand calls of partial_fit, and files of earlier versions. Every case follows from
``--seed``; a violation is listed with the command that repeats it (``--case PART:...``).

Run ``python reliability.py --json ../../docs/benchmarks/reliability.json`` (about ten minutes), or with ``--quick``.
"""

import argparse
import importlib
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # the checks of tests/ are the judges

from _common import environment, markdown_table, write_json

# {part: its file}; each has run(seed, seconds, cases) and repeat(case), and returns a Ledger
PARTS = {
    "fuzz": "_reliability_fuzz",
    "orders": "_reliability_orders",
    "faults": "_reliability_faults",
    "memory": "_reliability_memory",
    "reproducibility": "_reliability_bits",
    "threads": "_reliability_threads",
    "soak": "_reliability_soak",
    "pickles": "_reliability_pickles",
}
SECONDS, QUICK_SECONDS, QUICK_CASES = 60.0, 5.0, 1
COLUMNS = {
    "part": ("part", "s"),
    "trials": ("trials", "d"),
    "violations": ("violations", "d"),
    "clear errors": ("clear_errors", "d"),
    "seconds": ("seconds", ".1f"),
}


def main(arguments=None):
    """Run the chosen parts in order; write the file after each."""
    options = parsed(arguments)
    if options.case:
        part, _, case = options.case.partition(":")
        return show(importlib.import_module(PARTS[part]).repeat(case))
    settings = {"seed": options.seed, "seconds_per_part": options.seconds_per_part, "quick": options.quick}
    record = {"environment": environment(), "settings": settings} | kept(options)
    for part in options.parts:
        ledger = importlib.import_module(PARTS[part]).run(
            options.seed, options.seconds_per_part, QUICK_CASES if options.quick else None
        )
        record["summary"].append(ledger.summary())
        record["violations"] += ledger.violations
        record["details"][part] = ledger.details
        record["summary"].sort(key=lambda row: [*PARTS].index(row["part"]))
        show(ledger)
        if options.json:
            write_json(options.json, record)
    print(markdown_table(record["summary"], COLUMNS))
    return None


def kept(options):
    """Parts of an earlier run that this one does not repeat, where it resumes; else nothing."""
    if not options.resume or not Path(options.json).exists():
        return {"summary": [], "violations": [], "details": {}}
    old = json.loads(Path(options.json).read_text())
    rows = {key: [row for row in old[key] if row["part"] not in options.parts] for key in ("summary", "violations")}
    return rows | {"details": {part: rows for part, rows in old["details"].items() if part not in options.parts}}


def parsed(arguments):
    """Options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", help="file to write")
    parser.add_argument("--quick", action="store_true", help="a smoke test: one round of every part")
    parser.add_argument("--seconds-per-part", type=float, help="of the parts that go on while there is time")
    parser.add_argument("--resume", action="store_true", help="keep the other parts of the file")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--parts", nargs="+", choices=[*PARTS], default=[*PARTS])
    parser.add_argument("--case", help="repeat one trial, as a violation names it")
    options = parser.parse_args(arguments)
    if options.seconds_per_part is None:
        options.seconds_per_part = QUICK_SECONDS if options.quick else SECONDS
    return options


def show(ledger):
    """Print one part."""
    print(ledger.summary())
    for violation in ledger.violations:
        print(f"  {violation['what']}\n    {violation['repeat']}")


if __name__ == "__main__":
    main()
