"""What every ingredient of the encoding of categories is worth, on raw tables.

A run of ``accuracy.py --suite mixed`` whose contenders are ClosedFormMLP with one ingredient left
out or changed, and LightGBM with both kinds of splits on categories; options, protocol and rows are
the same, with three seeds and one thread unless said otherwise::

    python examples/benchmarks/categories_ablation.py --data DIR --json categories_ablation.json
    python examples/benchmarks/categories_ablation.py --data DIR --resume categories_ablation.json
    python examples/benchmarks/categories_ablation.py --quick

The summary has differences to the first contender over all sets and seeds, with the standard errors
of these pairs. Variants change constants of the package while they fit.
"""

import functools
import sys

import _accuracy_mixed_summary
import accuracy
import numpy as np
from _ablation import AS_IT_IS, changed, report, summarise
from _accuracy_contenders import CONTENDERS, optional
from _accuracy_mixed_contenders import _lightgbm, either, network
from sklearn.base import BaseEstimator, clone

from sklearn_analytic.estimator import table as tables
from sklearn_analytic.features import (
    TableEncoding,
    _level_sums,
    _table_crosses,
    _table_encoding,
    _table_pairs,
    _table_survey,
)
from sklearn_analytic.io._columns import columns_of_rows, rows_by

FOLDED = (_table_encoding, _table_survey, _table_crosses, _table_pairs)
BLIND_ROWS = TableEncoding.blind_rows
MEASURES = ("accuracy", "log_loss", "auc", "r2", "fit_cpu_seconds")
DEFAULTS = {"--seeds": ["0", "1", "2"], "--threads": ["1"]}
QUICK = (AS_IT_IS, "no pairs")


def main():
    CONTENDERS["mixed"].clear()
    CONTENDERS["mixed"].update(variants())
    _accuracy_mixed_summary.summarise = functools.partial(summarise, MEASURES)
    _accuracy_mixed_summary.report = functools.partial(report, "Categories", MEASURES)
    added = [part for option, values in DEFAULTS.items() if option not in sys.argv for part in (option, *values)]
    if "--quick" in sys.argv and "--contenders" not in sys.argv:
        added += ["--contenders", *QUICK]
    sys.argv = [sys.argv[0], "--suite", "mixed", *sys.argv[1:], *added]
    accuracy.main()


# ---- the contenders ----


def variants():
    """{name: (builder, False)}: the estimator with changed constants while it fits, and LightGBM."""
    changes = {
        AS_IT_IS: [],
        "no pairs": [(tables, "chosen_pairs", lambda survey, encoding: [])],
        "no counts": [(_table_survey, "_COUNTED", np.inf)],
        "neither": [(tables, "chosen_pairs", lambda survey, encoding: []), (_table_survey, "_COUNTED", np.inf)],
        "counts of fewer rows": [(_table_survey, "_COUNTED", 0)],
        "six pairs": [(_table_crosses, "_MOST", 6)],
        "pairs by 1 %": [(_table_crosses, "_GAIN", 0.01)],
        "pairs of categories alone": [(_table_crosses, "_few_values", lambda numbers: None)],
        "pairs of numbers as of others": [(_table_crosses, "_GAIN_OF_NUMBERS", 0.003)],
        "prior of 10 rows": [(_level_sums, "_SMOOTHING", (10.0, 10.0))],
        "prior of 1 row": [(_level_sums, "_SMOOTHING", (1.0, 1.0))],
        "3 folds": folds(3),
        "10 folds": folds(10),
        "members see targets of their fold": [(TableEncoding, "blind_rows", sighted_rows)],
    }
    found = {name: (either(*(changed(network, *change),) * 2), False) for name, change in changes.items()}
    peers = {"lightgbm, levels sorted in a node": _lightgbm(), "lightgbm, means of levels": _lightgbm_by_means}
    return found | {name: (builder, False) for name, builder in peers.items()}


def folds(n):
    """Another number of folds, and of members."""
    found = [(module, name, n) for module in FOLDED for name in ("N_FOLDS", "ALL") if hasattr(module, name)]
    return found


def sighted_rows(encoding, x, hashes, without):
    """Rows as members read them who see targets of their own fold through the means of other rows."""
    return BLIND_ROWS(encoding, x, hashes, lambda fold: encoding)


def _lightgbm_by_means(task):
    names = ("LGBMClassifier", "LGBMRegressor")
    (model,) = either(*(optional("lightgbm", name, verbosity=-1) for name in names))(task)
    return (ByMeans(model),)


class ByMeans(BaseEstimator):
    """A model of the columns that our estimators read of a raw table, without pairs and counts."""

    def __init__(self, model):
        self.model = model

    def fit(self, X, y):
        classes = np.unique(y) if y.dtype.kind in "iu" else None
        rows = rows_by(columns_of_rows(X, "from_dtype", list(X)), X)
        coded = y if classes is not None else y[:, None]
        self.table_ = tables.learn_table(rows, coded, None, tables.Coding(classes))
        self.model_ = clone(self.model).fit(self.table_.learned(rows), y)
        self.classes_ = classes
        return self

    def predict(self, X):
        return self.model_.predict(self._read(X))

    def predict_proba(self, X):
        return self.model_.predict_proba(self._read(X))

    def _read(self, X):
        return self.table_.all_dense(rows_by(self.table_.columns, X))


if __name__ == "__main__":
    main()
