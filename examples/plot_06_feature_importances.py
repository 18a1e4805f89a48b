"""
Which columns does a network use?
=================================

``feature_importances_`` of ``ClosedFormMLP`` and ``ClosedFormMLPRegressor`` says how much the
prediction changes when a value moves a little up and down within its column, from the rows that
the fit kept for its leave-one-out choices; no further data and no fit is needed.
Permutation importance says how much the score on held-out rows falls when a column is shuffled.
On diabetes the two are compared, with ``FeatureImportanceDisplay``; the figure is
``feature_importances.png``.

Run ``python examples/plot_06_feature_importances.py`` with ``--out DIR`` for the folder of the
figure and ``--quick`` for fewer shuffles.
"""

import argparse
from pathlib import Path

import numpy as np
from scipy.stats import spearmanr
from sklearn.datasets import load_diabetes
from sklearn.inspection import permutation_importance
from sklearn.model_selection import train_test_split

from sklearn_analytic import ClosedFormMLPRegressor, FeatureImportanceDisplay


def draw(model, permuted, names, folder):
    try:
        from matplotlib import pyplot
    except ImportError:
        print("No figure: matplotlib is not installed (pip install matplotlib).")
        return
    figure, (left, right) = pyplot.subplots(1, 2, figsize=(9, 4), layout="constrained")
    FeatureImportanceDisplay.from_estimator(model, feature_names=names, ax=left)
    shuffled = FeatureImportanceDisplay(permuted, feature_names=names, estimator_name="permutation importance")
    shuffled.plot(right, color="C1").ax_.set_xlabel("fall of R2 on test rows")
    folder.mkdir(parents=True, exist_ok=True)
    figure.savefig(folder / "feature_importances.png", dpi=130)


# %%
# The two need not agree. Of two columns that say the same, a network reads both, while shuffling
# one hurts little; and a column may move predictions without improving them.


def main():
    parser = argparse.ArgumentParser(description="Which columns does a network use?")
    parser.add_argument("--out", type=Path, default=Path(), help="folder of the figure")
    parser.add_argument("--quick", action="store_true", help="fewer shuffles")
    options = parser.parse_args()
    data = load_diabetes()
    names = data.feature_names
    X, X_test, y, y_test = train_test_split(data.data, data.target, random_state=0)
    model = ClosedFormMLPRegressor(random_state=0).fit(X, y)
    repeats = 3 if options.quick else 20
    permuted = permutation_importance(model, X_test, y_test, n_repeats=repeats, random_state=0).importances_mean
    importances = model.feature_importances_
    print(f"{'column':8s} importance   permutation   (test R2 {model.score(X_test, y_test):.3f})")
    for k in np.argsort(-importances):
        print(f"{names[k]:8s} {importances[k]:10.3f} {permuted[k]:13.3f}")
    print(f"rank correlation of the two: {spearmanr(importances, permuted).statistic:.2f}")
    draw(model, permuted, names, options.out)


if __name__ == "__main__":
    main()
