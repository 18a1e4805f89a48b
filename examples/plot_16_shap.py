"""
Which columns decided about this row?
=====================================

SHAP's permutation explainer needs nothing of a model but a function of rows. It replaces columns by
those of background rows, and divides the change of the output among the columns. Here it explains
``predict_proba`` of a ``ClosedFormMLP`` that separates benign from malignant tumours.

Beside the shares stand two importances of columns: ``feature_importances_``, the mean squared slope of
the scores, and permutation importance, the loss of score where a column is permuted. The three answer
different questions. See :doc:`/user_guide/ecosystem` for where each of them works.
Needs ``pip install shap``.
"""

# %%
# The model
# ---------
# Ten columns: the means over the cells of a sample. The other columns of this data set are their errors
# and extremes.

import os
import warnings

import matplotlib.pyplot as plt
import numpy as np
from scipy.stats import spearmanr
from sklearn.datasets import load_breast_cancer
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_analytic import ClosedFormMLP, FeatureImportanceDisplay

warnings.filterwarnings("ignore", "IProgress not found")  # bars need ipywidgets; none is drawn here
import shap  # noqa: E402

QUICK = bool(os.environ.get("SKLEARN_ANALYTIC_QUICK"))  # few rows, for tests
N_TRAIN, N_EXPLAINED, N_BACKGROUND = (200, 20, 20) if QUICK else (400, 100, 25)

data = load_breast_cancer()
X, y, names = data.data[:, :10], data.target, [str(name) for name in data.feature_names[:10]]
split = {"train_size": N_TRAIN, "stratify": y, "random_state": 0}
X_train, X_test, y_train, y_test = train_test_split(X, y, **split)
model = make_pipeline(StandardScaler(), ClosedFormMLP(100, hidden="random", random_state=0))
model.fit(X_train, y_train)
print(f"accuracy on test rows: {model.score(X_test, y_test):.4f}")

# %%
# One row
# -------
# Whatever the model is, the shares of a row add up to its probability less the mean probability of the
# background. The largest shares answer the question of the title, here for the first test row.


def probability(rows):
    """The probability of a benign tumour."""
    return model.predict_proba(rows)[:, 1]


rows = X_test[:N_EXPLAINED]
background = shap.maskers.Independent(X_train[:N_BACKGROUND])
explainer = shap.PermutationExplainer(probability, background, seed=0)
explanation = explainer(rows, silent=True)
shares, base = explanation.values, explanation.base_values
missing = np.abs(base + shares.sum(axis=1) - probability(rows)).max()
print(f"shares and base add up to the probability, but for {missing:.1e}")
print(f"probability {probability(rows)[0]:.3f}, mean of the background {base[0]:.3f}")
for k in np.argsort(-np.abs(shares[0]))[:4]:
    print(f"{names[k]:24s} {shares[0, k]:+.3f}")

# %%
# All rows
# --------
# A dot for every row, red where the value of the column is large. For most columns, large values speak
# against a benign tumour.

order = np.argsort(-np.abs(shares).mean(axis=0))
jitter = np.random.default_rng(0).uniform(-0.25, 0.25, len(rows))
figure, axis = plt.subplots(figsize=(7.2, 4.2), layout="constrained")
for place, k in enumerate(order):
    ranks = rows[:, k].argsort().argsort() / (len(rows) - 1)
    points = axis.scatter(shares[:, k], place + jitter, c=ranks, cmap="coolwarm", s=12)
axis.axvline(0, color="0.5", lw=1)
axis.set_yticks(range(len(order)), [names[k] for k in order])
axis.invert_yaxis()
axis.set_xlabel("share in the probability of a benign tumour")
figure.colorbar(points, ax=axis, label="value of the column (rank)")
plt.show()

# %%
# Importances of columns
# ----------------------
# The mean of absolute shares is an importance of the column. A slope counts wherever it is. A share
# counts by how far it moved the probability, which hardly moves where the network is sure: smoothness
# has steep slopes and small shares.

importances = model[-1].feature_importances_
print(f"{'column':24s} mean |SHAP|  feature_importances_")
for k in order:
    print(f"{names[k]:24s} {np.abs(shares[:, k]).mean():11.4f} {importances[k]:21.4f}")
print(f"rank correlation: {spearmanr(np.abs(shares).mean(axis=0), importances).statistic:.2f}")

# %%
# :class:`~sklearn_analytic.FeatureImportanceDisplay` draws two importances of the pipeline without an
# explainer: slopes of its last step, and the loss of score where a column is permuted before all steps.
# Radius, perimeter and area say nearly the same, so that the score loses little where one of them is
# permuted; black lines are standard deviations over five permutations.

figure, (slopes, permuted) = plt.subplots(1, 2, figsize=(11, 4), layout="constrained")
FeatureImportanceDisplay.from_estimator(model, feature_names=names, ax=slopes)
FeatureImportanceDisplay.from_permutation(
    model, X_test, y_test, scoring="neg_log_loss", random_state=0, feature_names=names, ax=permuted
)
plt.show()
