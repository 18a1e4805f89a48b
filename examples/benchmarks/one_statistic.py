"""One statistic: balanced classes in streams, other priors without data, and rows that leave.

Classifiers with one statistic per class read imbalanced sets in ten blocks: beside the same stream without weights, a
whole fit, and rows that bring their weights. Rows that came later, and rows of a fit, are forgotten: beside models
that never had them. Figures are medians over the seeds, differences the largest ones; differences are those of scores
or predictions, relative to the largest. Seconds are of the processor where nothing else is said; the first fits,
which compile or load what is compiled, are not measured::

    python examples/benchmarks/one_statistic.py --data DIR --json one_statistic.json
    python examples/benchmarks/one_statistic.py --quick
"""

import argparse
import warnings

import _one_statistic_balance as balance
import _one_statistic_forget as forgetting
from _common import data_folder, environment, load, markdown_table, write_json
from _one_statistic_common import contenders
from threadpoolctl import threadpool_limits

ROWS = 6000
BALANCE = {
    "set": ("set", "s"),
    "estimator": ("contender", "s"),
    "balanced acc.": ("balanced_balanced_accuracy", ".4f"),
    "no weights": ("plain_balanced_accuracy", ".4f"),
    "whole fit": ("whole_balanced_accuracy", ".4f"),
    "log-loss, priors": ("natural_log_loss", ".3f"),
    "difference": ("difference", ".1e"),
    "of priors": ("priors_difference", ".1e"),
    "MB": ("mb", ".1f"),
    "seconds": ("cpu_seconds", ".2f"),
    "over no weights": ("times", ".2f"),
    "refit over priors": ("times_refit", ".1f"),
}
FORGET = {
    "set": ("set", "s"),
    "estimator": ("contender", "s"),
    "rows": ("rows", "s"),
    "share": ("share", ".2f"),
    "sums": ("sums", ".1e"),
    "predictions": ("predictions", ".1e"),
    "same audit rows": ("same_audit", ".1e"),
    "score": ("score", ".4f"),
    "expected": ("expected_score", ".4f"),
    "ms": ("ms", ".0f"),
    "refit over forget": ("times_refit", ".1f"),
    "bytes before": ("bytes_before", ".0f"),
    "after": ("bytes_after", ".0f"),
}


def main():
    options = parse()
    warnings.filterwarnings("ignore")  # traces in layers, classes that come later
    folder = None if options.quick else data_folder(options.data)
    settings = {"seeds": options.seeds, "threads": options.threads, "max_train_rows": ROWS, "blocks": balance.BLOCKS}
    record = {"settings": settings, "summary": {}, "rows": []}
    with threadpool_limits(options.threads):
        record["environment"] = environment()
        warm_up(options.quick)
        for part, module, columns in (("balance", balance, BALANCE), ("forget", forgetting, FORGET)):
            found = module.measured(folder, options.seeds, ROWS, options.quick)
            record["summary"][part] = module.summarised(found)
            record["rows"] += [{"part": part} | row for row in found]
            print(markdown_table(record["summary"][part], columns), flush=True)
            if options.json:
                write_json(options.json, record)


def parse():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--data", metavar="DIR", help="folder of .npz files")
    add("--seeds", type=int, nargs="+", default=[0, 1, 2], help="of splits and estimators")
    add("--threads", type=int, default=1, help="of BLAS")
    add("--quick", action="store_true")
    add("--json", metavar="PATH")
    options = parser.parse_args()
    if options.quick:
        options.seeds = [0]
    return options


def warm_up(quick):
    """Compile or load what is compiled."""
    for regression, name in ((False, "breast_cancer"), (True, "diabetes")):
        X, _, y, _ = load(name)
        for make in contenders(quick, regression).values():
            make(0).partial_fit(X[:60], y[:60]).forget(X[:20], y[:20])
            make(0).fit(X, y).forget(X[:20], y[:20])


if __name__ == "__main__":
    main()
