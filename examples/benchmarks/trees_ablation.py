"""What every choice about the trees of ClosedFormMLP is worth, on numeric tables.

A run of ``accuracy.py`` on the suite "tabular" or "regression" whose contenders are the estimator
under changed constants of the package; options, protocol and rows are the same, with one thread
unless said otherwise::

    python examples/benchmarks/trees_ablation.py --suite tabular --data DIR --json trees_ablation_tabular.json
    python examples/benchmarks/trees_ablation.py --suite regression --data DIR --resume trees_ablation_regression.json
    python examples/benchmarks/trees_ablation.py --quick

The summary has differences to the estimator as it is over all sets and seeds, with the standard
errors of these pairs.
"""

import functools
import sys
from dataclasses import replace

import _accuracy_summary
import accuracy
from _ablation import AS_IT_IS, changed, report, summarise
from _accuracy_contenders import CONTENDERS, ours

from sklearn_analytic.closed_form import network, readout
from sklearn_analytic.export import calibration
from sklearn_analytic.features import GrowthPlan, LeafScores, _members, _trees, fit_leaf_scores

MEASURES = {
    "classification": ("accuracy", "log_loss", "fit_cpu_seconds", "predict_cpu_seconds"),
    "regression": ("r2", "rmse_over_std", "fit_cpu_seconds", "predict_cpu_seconds"),
}
ESTIMATORS = {"classification": "ClosedFormMLP", "regression": "ClosedFormMLPRegressor"}
DEFAULTS = {"--threads": ["1"]}
QUICK = (AS_IT_IS, "30 trees of 128 leaves, squared errors")


def main():
    kind = "regression" if "regression" in sys.argv else "classification"
    CONTENDERS[kind].clear()
    for name, change in (CHANGES | OF_KIND[kind]).items():
        CONTENDERS[kind][name] = changed(ours(ESTIMATORS[kind]), *change), False
    _accuracy_summary.summarise = functools.partial(summarise, MEASURES[kind])
    _accuracy_summary.report = functools.partial(report, "Trees", MEASURES[kind])
    added = [part for option, values in DEFAULTS.items() if option not in sys.argv for part in (option, *values)]
    if "--quick" in sys.argv and "--contenders" not in sys.argv:
        added += ["--contenders", *QUICK]
    sys.argv = [sys.argv[0], *sys.argv[1:], *added]
    accuracy.main()


def fixed(*arguments, **sides):
    """As many trees of one kind for all tables, by squared errors: those of the revision before."""
    return fit_leaf_scores(*arguments, GrowthPlan(), **sides | {"classes": False})


def squared(*arguments, **sides):
    """Trees of squared errors for classes too."""
    return fit_leaf_scores(*arguments, **sides | {"classes": False})


def kinds(function):
    """The table of kinds with every plan changed."""
    return {chances: tuple(map(function, plans)) for chances, plans in _members.KINDS.items()}


def alone(number):
    """One kind for all tables."""
    return [(_members, "KINDS", {key: (plans[number],) * 3 for key, plans in _members.KINDS.items()})]


CHANGES = {
    AS_IT_IS: [],
    "30 trees of 128 leaves, squared errors": [(network, "fit_leaf_scores", fixed)],
    "32 leaves alone": alone(0),
    "128 leaves alone": alone(1),
    "512 leaves alone": alone(2),
    "ten trees of each kind": [(_members, "_TRIAL", 10)],
    "kinds by the error on blind folds alone": [(_members, "_REST", 0.0)],
    "no handicap": [(_members, "_PLAIN_HANDICAP", {False: 0.0, True: 0.0}), (_members, "_ALL_HANDICAP", 0.0)],
    "all columns": [(_trees, "_COLUMN_SHARES", (1.0,))],
    "steps of .05": [(_members, "KINDS", kinds(lambda plan: replace(plan, step=0.05)))],
    "patience to the end": [(_members, "_WORTHWHILE", 1e-4)],
    "members as good as their mean": [(LeafScores, "averaged_out", 0.0)],
    "ten pseudo-rows of the blend": [(readout, "_PRIOR_ROWS", 10.0)],
}
OF_KIND = {
    "classification": {
        "squared errors": [(network, "fit_leaf_scores", squared)],
        "four sums of targets alone": [(_members, "_ALL_HANDICAP", 1e9)],
        "any slope of the link": [(calibration, "DEVIATION", 1e9)],
    },
    "regression": {"steps of .1": [(_members, "KINDS", kinds(lambda plan: replace(plan, step=0.1)))]},
}


if __name__ == "__main__":
    main()
