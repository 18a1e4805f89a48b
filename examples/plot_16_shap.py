"""
Which columns decided about this row?
=====================================

SHAP's permutation explainer needs nothing of a model but a function of rows: it replaces columns by
those of background rows and shares the change of the output out among the columns. Here it explains
``predict_proba`` of a ``ClosedFormMLP`` that tells benign from malignant tumours. The figure
``shap.png`` shows the shares of the columns that matter most, a dot for every row, beside
``feature_importances_``, which the network gives without any explainer: the mean squared slope of
its scores. The two answer different questions. A slope counts wherever it is; a share counts by how
far it moved the probability, which hardly moves where the network is sure. With all rows both put
concavity first, and disagree on smoothness, which matters for a few rows alone.

Needs ``pip install shap``. Run ``python examples/plot_16_shap.py`` with ``--out DIR`` for the folder of
the figure and ``--quick`` for few rows.
"""

import argparse
from pathlib import Path

import numpy as np
from scipy.stats import spearmanr
from sklearn.datasets import load_breast_cancer
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_analytic import ClosedFormMLP

SHOWN = 8
COLUMNS = 10  # means of the cells; the others are their errors and extremes


def load(few):
    data = load_breast_cancer()
    X = data.data[:, :COLUMNS]
    parts = train_test_split(X, data.target, train_size=few, stratify=data.target, random_state=0)
    return *parts, [str(name) for name in data.feature_names[:COLUMNS]]


# %%
# The explainer sees a function of rows, and background rows to take replaced columns from. Whatever
# the model, the shares of a row sum to its probability less the mean over the background.


def explained(model, background, rows):
    """Shares (rows, columns) of the columns in the probability of class 1, and the probability that they add to."""
    import shap

    def probability(rows):
        return model.predict_proba(rows)[:, 1]

    explainer = shap.PermutationExplainer(probability, shap.maskers.Independent(background), seed=0)
    explanation = explainer(rows, silent=True)
    return explanation.values, explanation.base_values


def report(names, shares, importances):
    order = np.argsort(-np.abs(shares).mean(axis=0))
    print(f"{'column':24s} mean |SHAP|  feature_importances_")
    for k in order:
        print(f"{names[k]:24s} {np.abs(shares[:, k]).mean():11.4f} {importances[k]:21.4f}")
    print(f"rank correlation: {spearmanr(np.abs(shares).mean(axis=0), importances).statistic:.2f}")
    return order


# %%
# The figure: red dots are rows with a large value of the column.


def draw(names, order, rows, shares, importances, folder):
    try:
        from matplotlib import pyplot
    except ImportError:
        print("No figure: matplotlib is not installed (pip install matplotlib).")
        return
    figure, (dots, bars) = pyplot.subplots(
        1, 2, figsize=(10, 4.2), width_ratios=(2, 1), sharey=True, layout="constrained"
    )
    jitter = np.random.default_rng(0).uniform(-0.25, 0.25, len(rows))
    shown = order[:SHOWN][::-1]
    for place, k in enumerate(shown):
        ranks = rows[:, k].argsort().argsort() / (len(rows) - 1)
        points = dots.scatter(shares[:, k], place + jitter, c=ranks, cmap="coolwarm", s=12)
    dots.axvline(0, color="0.5", lw=1)
    dots.set_yticks(range(len(shown)), [names[k] for k in shown])
    dots.set(xlabel="share in the probability of a benign tumour", title="SHAP, a dot for every row")
    figure.colorbar(points, ax=dots, label="value of the column (rank)")
    bars.barh(range(len(shown)), importances[shown], color="C0", height=0.6)
    bars.set(xlabel="feature_importances_", title="Without an explainer")
    folder.mkdir(parents=True, exist_ok=True)
    figure.savefig(folder / "shap.png", dpi=130)


def main():
    parser = argparse.ArgumentParser(description="Which columns decided about this row?")
    parser.add_argument("--out", type=Path, default=Path(), help="folder of the figure")
    parser.add_argument("--quick", action="store_true", help="few rows")
    options = parser.parse_args()
    try:
        import shap  # noqa: F401
    except ImportError:
        print("Nothing to show: shap is not installed (pip install shap).")
        return
    X, X_test, y, y_test, names = load(200 if options.quick else 400)
    model = make_pipeline(StandardScaler(), ClosedFormMLP(100, hidden="random", random_state=0)).fit(X, y)
    print(f"accuracy on test rows: {model.score(X_test, y_test):.4f}")
    rows = X_test[: 20 if options.quick else 150]
    shares, base = explained(model, X[: 20 if options.quick else 50], rows)
    missing = np.abs(base + shares.sum(axis=1) - model.predict_proba(rows)[:, 1]).max()
    print(f"shares and base add up to the probability, but for {missing:.1e}")
    importances = model[-1].feature_importances_
    draw(names, report(names, shares, importances), rows, shares, importances, options.out)


if __name__ == "__main__":
    main()
