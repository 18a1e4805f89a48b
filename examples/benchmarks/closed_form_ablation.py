"""Every construction and every choice of ClosedFormMLP on every set: what each of them is worth.

A run of ``accuracy.py`` whose contenders are the variants of one estimator; options, protocol and
records are the same, but for both suites in one file, at most 3000 training rows, and two seeds,
unless said otherwise::

    python examples/benchmarks/closed_form_ablation.py --data DIR --json ablation.json
    python examples/benchmarks/closed_form_ablation.py --data DIR --suites regression --only yacht
    python examples/benchmarks/closed_form_ablation.py --data DIR --resume ablation.json
    python examples/benchmarks/closed_form_ablation.py --quick

The file is written after every set, and ``--resume`` goes on from there. Named constructions have
1000 units in one layer, standardised as the estimator does by itself. Fewer than 2000 training rows
leave out the joint ridge, one of the four experts of the automatic network. ``alpha="gcv"`` is left
out: its decompositions take too long for every set.
"""

import argparse
import json
import sys
import warnings
from pathlib import Path

import accuracy
from _accuracy_contenders import CONTENDERS, ours
from _accuracy_suites import SUITES
from _accuracy_summary import report, summarise
from _common import data_folder, environment, write_json
from threadpoolctl import threadpool_limits

UNITS = 1000
CONSTRUCTIONS = (
    "random",
    "sampled",
    "laplace",
    "lpq",
    "leaf",
    "residual",
    "forward",
    "inverse",
    "hyperplane",
    "gated",
)
CHOICES = {
    "auto": {},
    "auto, standard": {"input_encoding": "standard"},
    "auto, robust": {"input_encoding": "robust"},
    "auto, quantile": {"input_encoding": "quantile"},
    "auto, piecewise_linear": {"input_encoding": "piecewise_linear"},
    "auto, 0 refits": {"n_refits": 0},
    "auto, 1 refit": {"n_refits": 1},
    "auto, 2 refits": {"n_refits": 2},
}
TABLES = ("tabular", "regression")
DEFAULTS = {"--max-train-rows": ["3000"], "--seeds": ["0", "1"]}
QUICK = ("auto", "random", "leaf")
ESTIMATORS = {"classification": "ClosedFormMLP", "regression": "ClosedFormMLPRegressor"}


def main():
    for kind, estimator in ESTIMATORS.items():
        CONTENDERS[kind].clear()
        CONTENDERS[kind].update(variants(estimator))
    own, rest = parse()
    whole = {"suites": {}}
    if own.resume and Path(own.resume).exists():
        whole = json.loads(Path(own.resume).read_text())
    for suite in own.suites:
        run_suite(suite, accuracy_options(suite, rest), whole, own.json or own.resume)


def parse():
    """Options of this script, and those that go on to ``accuracy.py``."""
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0], epilog="Further options: accuracy.py --help.", allow_abbrev=False
    )
    parser.add_argument("--suites", nargs="+", choices=TABLES, default=TABLES)
    parser.add_argument("--json", metavar="PATH")
    parser.add_argument("--resume", metavar="PATH", help="go on with the rows of this file; failures run again")
    return parser.parse_known_args()


def accuracy_options(suite, rest):
    """What ``accuracy.py`` makes of the remaining options, under the defaults of this script."""
    added = [part for option, values in DEFAULTS.items() if option not in rest for part in (option, *values)]
    if "--quick" in rest and "--contenders" not in rest:
        added += ["--contenders", *QUICK]
    sys.argv = [sys.argv[0], "--suite", suite, *rest, *added]
    return accuracy.parse()


def run_suite(suite, options, whole, path):
    """All variants on all sets of one suite; the file is whole after every set."""
    kind = SUITES[suite].kind
    folder = None if options.quick else data_folder(options.data)
    record = continued(whole["suites"].get(suite), options)
    with threadpool_limits(options.threads), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for index, name in enumerate(accuracy.select_sets(options, folder)):
            before = len(record["rows"])
            accuracy.run_set(name, index, folder, options, record)
            if len(record["rows"]) > before:  # what is resumed keeps the record of its own machine
                record["environment"] = environment()
            record["summary"] = summarise(record["rows"], kind)
            whole["suites"][suite], whole["environment"] = record, record["environment"]
            if path:
                write_json(path, whole)
    print(report(record, kind))


def continued(record, options):
    """The record of one suite with its finished rows; those that failed are dropped and so run again."""
    settings = accuracy.settings(options)
    if record is None:
        return {"settings": settings, "rows": []}
    if record["settings"] != settings:
        raise SystemExit(f"--resume: made with other settings: {record['settings']}.")
    return record | {"rows": [row for row in record["rows"] if row["error"] is None]}


def variants(estimator):
    """{name: (builder, False)}: the estimator encodes its own input."""
    named = {name: {"hidden": name, "hidden_layer_sizes": UNITS} for name in CONSTRUCTIONS}
    return {name: (ours(estimator, **parameters), False) for name, parameters in (CHOICES | named).items()}


if __name__ == "__main__":
    main()
