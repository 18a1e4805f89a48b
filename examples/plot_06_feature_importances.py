"""
Which columns does a network use?
=================================

``feature_importances_`` of :class:`~sklearn_analytic.ClosedFormMLP` and
:class:`~sklearn_analytic.ClosedFormMLPRegressor` says how much the prediction changes when a value
moves a little up and down within its column. It is computed from rows that the fit keeps, so that it
needs no further data and no further fit. Permutation importance says how much the score on test rows
falls when a column is shuffled. On the diabetes data both put the same two columns first. Of a column
that is there twice, both show too little.
"""

import os

import matplotlib.pyplot as plt
import numpy as np
from scipy.stats import spearmanr
from sklearn.datasets import load_diabetes
from sklearn.inspection import permutation_importance
from sklearn.model_selection import train_test_split

from sklearn_analytic import ClosedFormMLPRegressor, FeatureImportanceDisplay

QUICK = bool(os.environ.get("SKLEARN_ANALYTIC_QUICK"))  # small data and few epochs, for tests
N_REPEATS = 3 if QUICK else 20  # shuffles of each column

# %%
# The fit
# -------
# Ten columns of 442 patients; the target is the progression of the disease after a year.

data = load_diabetes()
names = np.array(data.feature_names)
X_train, X_test, y_train, y_test = train_test_split(data.data, data.target, random_state=0)
model = ClosedFormMLPRegressor(random_state=0).fit(X_train, y_train)
print(f"R2 on test rows: {model.score(X_test, y_test):.3f}")

# %%
# Importances of the network
# --------------------------
# They are shares that sum to 1. ``bmi`` (body mass index) and ``s5`` (a blood value) have more than
# half of the sum.

FeatureImportanceDisplay.from_estimator(model, feature_names=names)
plt.show()

# %%
# Against permutation importance
# ------------------------------
# Rows of the table are in the order of the network's importances. The order by permutation is nearly
# the same, as the rank correlation shows.

importances = model.feature_importances_
permuted = permutation_importance(model, X_test, y_test, n_repeats=N_REPEATS, random_state=0)
print("column  importance  permutation (fall of R2)")
for k in np.argsort(-importances):
    print(f"{names[k]:6s}  {importances[k]:10.3f}  {permuted.importances_mean[k]:11.3f}")
print(f"rank correlation: {spearmanr(importances, permuted.importances_mean).statistic:.2f}")

# %%
# Each point on the right is one shuffle. Where the mean is near zero and points lie on both sides of
# it, shuffling the column changes the score no more than chance does. The network's shares of these
# five columns are small as well. The two orders differ most about ``s1``, which is third for the
# network and fifth by permutation.

order = np.argsort(importances)
figure, (left, right) = plt.subplots(1, 2, figsize=(8, 4), sharey=True, layout="constrained")
left.barh(names[order], importances[order])
left.set_xlabel("importance of the network (share)")
for place, k in enumerate(order):
    right.plot(permuted.importances[k], np.full(N_REPEATS, place), "o", color="C0", alpha=0.3)
    right.plot(permuted.importances_mean[k], place, "|", color="C1", markersize=16, markeredgewidth=3)
right.axvline(0, color="0.6", linewidth=0.8)
right.set_xlabel("fall of R2 on test rows (line: mean)")
right.set_yticks(range(len(order)), names[order])
plt.show()

# %%
# What both miss: a column that is there twice
# --------------------------------------------
# With a copy of ``bmi`` in the table, the network reads both columns. The slope is divided between
# them, and importances are squared slopes: the two together get less than ``bmi`` alone. Permutation
# importance loses more still, since the other copy holds the value that was shuffled. Columns that
# say nearly the same are therefore better judged together.


def importances_of(X, y, X_test, y_test):
    """Fit on a table and measure both kinds of importance for each column."""
    model = ClosedFormMLPRegressor(random_state=0).fit(X, y)
    permuted = permutation_importance(model, X_test, y_test, n_repeats=N_REPEATS, random_state=0)
    return np.array([model.feature_importances_, permuted.importances_mean])


bmi = list(names).index("bmi")
twice = [np.column_stack([X, X[:, bmi]]) for X in (X_train, X_test)]
once = importances[bmi], permuted.importances_mean[bmi]
copied = importances_of(twice[0], y_train, twice[1], y_test)[:, [bmi, -1]]
print("                importance  permutation")
print("bmi alone       {:10.3f}  {:11.3f}".format(*once))
print("bmi of two      {:10.3f}  {:11.3f}".format(*copied[:, 0]))
print("its copy        {:10.3f}  {:11.3f}".format(*copied[:, 1]))
print("sum of the two  {:10.3f}  {:11.3f}".format(*copied.sum(axis=1)))
