"""
What does another second of fitting buy?
========================================

Test accuracy against fit time: :class:`~sklearn_analytic.ClosedFormMLP` with one layer of several widths, a line, and
with its defaults, which blend three layers with trees. Beside them stand a linear model, a network trained by
backpropagation and gradient boosting. Digits and breast cancer come with scikit-learn; the third problem, 4000 rows of
``make_classification``, is generated.
"""

# %%
# The data
# --------

import os

import matplotlib.pyplot as plt
from matplotlib.ticker import LogLocator, NullFormatter
from sklearn.datasets import load_breast_cancer, load_digits, make_classification
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import ShuffleSplit, cross_validate
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_analytic import ClosedFormMLP, warmup

QUICK = bool(os.environ.get("SKLEARN_ANALYTIC_QUICK"))  # few rows, narrow layers, for tests
n, widths, n_splits = (1000, (50, 200), 1) if QUICK else (4000, (50, 200, 800, 1600), 2)
kind = {"n_informative": 10, "n_classes": 3, "n_clusters_per_class": 4, "class_sep": 1.2}
generated = make_classification(n, 20, **kind, random_state=0)
data = {
    "digits": load_digits(return_X_y=True),
    "breast cancer": load_breast_cancer(return_X_y=True),
    f"generated, {n} rows": generated,
}
for name, (X, y) in data.items():
    print(f"{name:24s} {len(X):5d} rows, {X.shape[1]:3d} columns, {len(set(y)):3d} classes")

# %%
# The models
# ----------
#
# With one layer of sampled units, the width trades time for accuracy. With the defaults most of the time goes to the
# trees and to the choice of layers, whatever the width. Nothing is tuned, in any model.

one_layer = {"hidden": "sampled", "random_state": 0}
ours = {f"width {width}": ClosedFormMLP(width, **one_layer) for width in widths}
network = MLPClassifier((256, 256), early_stopping=True, random_state=0)
linear = LogisticRegression(max_iter=1000)
models = ours | {
    "ClosedFormMLP()": ClosedFormMLP(random_state=0),
    "LogisticRegression": make_pipeline(StandardScaler(), linear),
    "MLP(256, 256)": make_pipeline(StandardScaler(), network),
    "HistGradientBoosting": HistGradientBoostingClassifier(random_state=0),
}
print(f"{len(ours)} widths of one layer, {len(models) - len(ours)} other models")

# %%
# Seconds and accuracy
# --------------------
#
# Means over random splits; a quarter of the rows is for the test. What numba has to compile is compiled before.

warmup(ClosedFormMLP())
splits = ShuffleSplit(n_splits, test_size=0.25, random_state=0)
results = {}
for dataset, (X, y) in data.items():
    print(f"\n{dataset:24s} fit [s]   accuracy")
    results[dataset] = {}
    for name, model in models.items():
        found = cross_validate(model, X, y, cv=splits)
        seconds, accuracy = found["fit_time"].mean(), found["test_score"].mean()
        results[dataset][name] = seconds, accuracy
        print(f"  {name:20s} {seconds:9.3f} {accuracy:10.4f}")

# %%
# The figure
# ----------
#
# Up is better, left is cheaper. On the digits a wide layer scores more than all others, the defaults included. On the
# generated problem, where eight of 20 columns are noise, wider layers score more and more, but only the defaults, with
# trees, reach the top. On breast cancer seconds buy next to nothing: logistic regression is one test row behind.

looks = {
    "ClosedFormMLP()": {"marker": "*", "ms": 15, "color": "#0072B2"},
    "LogisticRegression": {"marker": "s", "ms": 8, "color": "#7F7F7F"},
    "MLP(256, 256)": {"marker": "X", "ms": 9, "color": "#D55E00"},
    "HistGradientBoosting": {"marker": "^", "ms": 9, "color": "#009E73"},
}
figure, axes = plt.subplots(2, 2, figsize=(7.2, 6), layout="constrained")
for axis, (dataset, found) in zip(axes.flat, results.items(), strict=False):
    line = zip(*(found[name] for name in ours), strict=True)
    axis.plot(*line, "o-", ms=5, color="#0072B2", label="one layer, wider and wider")
    for name, look in looks.items():
        axis.plot(*found[name], ls="", label=name, **look)
    axis.set(title=dataset, xscale="log", xlabel="fit [s]", ylabel="test accuracy")
    axis.xaxis.set_major_locator(LogLocator(subs=(1, 3)))
    axis.xaxis.set_major_formatter("{x:g}")
    axis.xaxis.set_minor_formatter(NullFormatter())
    axis.grid(alpha=0.3)
axes[1, 1].set_axis_off()
axes[1, 1].legend(*axis.get_legend_handles_labels(), loc="center", frameon=False)
plt.show()
