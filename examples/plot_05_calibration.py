"""
Are the predicted probabilities true?
=====================================

Of the rows that get the probability 0.8, four in five should be positive. :class:`~sklearn_analytic.ClosedFormMLP`
turns scores into probabilities on leave-one-out predictions of at most 1000 audit rows, so that no validation split is
set aside. Here it stands beside a network trained by backpropagation, gradient boosting and ``GaussianNB``, on a
generated problem where one label in ten is wrong: no model can be certain, and one that is, is overconfident. The guide
:doc:`/user_guide/calibration` has the rest.
"""

# %%
# Labels that nobody can be sure of
# ---------------------------------
#
# A fifth of the labels is redrawn, half of them to what they were.

import os

import matplotlib.pyplot as plt
import numpy as np
from sklearn.calibration import calibration_curve
from sklearn.datasets import make_classification
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import accuracy_score, brier_score_loss, log_loss
from sklearn.model_selection import train_test_split
from sklearn.naive_bayes import GaussianNB
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_analytic import ClosedFormMLP

QUICK = bool(os.environ.get("SKLEARN_ANALYTIC_QUICK"))  # few rows, for tests
n = 3000 if QUICK else 10_000
kind = {"n_informative": 6, "n_redundant": 6, "n_clusters_per_class": 3, "flip_y": 0.2}
X, y = make_classification(n, 20, **kind, random_state=0)
X, X_test, y, y_test = train_test_split(X, y, test_size=0.7, stratify=y, random_state=0)
print(f"{len(X)} training rows, {len(X_test)} test rows")

# %%
# Four models and their probabilities
# -----------------------------------

network = MLPClassifier((100, 100), max_iter=1000, random_state=0)
models = {
    "ClosedFormMLP": ClosedFormMLP(random_state=0),
    "MLP(100, 100)": make_pipeline(StandardScaler(), network),
    "HistGradientBoosting": HistGradientBoostingClassifier(random_state=0),
    "GaussianNB": GaussianNB(),
}
probabilities = {}
for name, model in models.items():
    p = probabilities[name] = model.fit(X, y).predict_proba(X_test)[:, 1]
    certain = (np.abs(p - 0.5) > 0.45).mean()
    print(f"{name:22s} surer than 95 % about {certain:4.0%} of the test rows")

# %%
# Four scores
# -----------
#
# The expected calibration error is the mean distance of a model's curve from the diagonal in the figure below, bins
# weighted by their rows. Log-loss and Brier score judge calibration and sharpness together. Of all but the accuracy,
# less is better.

BINS = 10


def calibration_error(y, p):
    """Mean distance between predicted and observed shares, over bins of equal width."""
    bins = np.minimum((p * BINS).astype(int), BINS - 1)
    gaps = np.bincount(bins, weights=y - p, minlength=BINS)
    return np.abs(gaps).sum() / len(y)


print(f"{'':22s} accuracy  log-loss  Brier score  calibration error")
for name, p in probabilities.items():
    right, loss = accuracy_score(y_test, p > 0.5), log_loss(y_test, p)
    brier, error = brier_score_loss(y_test, p), calibration_error(y_test, p)
    print(f"{name:22s} {right:8.4f} {loss:9.4f} {brier:12.4f} {error:18.4f}")

# %%
# Curves and histograms
# ---------------------
#
# The diagonal is perfect. The network trained by backpropagation and naive Bayes are far too sure: among the rows that
# they give almost 1, a quarter is negative. ClosedFormMLP is somewhat too cautious in the middle, with a curve steeper
# than the diagonal, and slightly too sure in the first and the last bin. Boosting comes closest to the diagonal, and
# is too sure in these two bins as well. The histograms show how often each probability is given: a model that is never
# sure of anything can be calibrated, too, but says little.

colors = ["#0072B2", "#D55E00", "#009E73", "#7F7F7F"]
figure, (curves, counts) = plt.subplots(2, 1, sharex=True, height_ratios=(3, 1))
figure.set(figwidth=6.4, figheight=7, layout_engine="constrained")
curves.plot([0, 1], [0, 1], "--", color="0.6", lw=1)
for (name, p), color in zip(probabilities.items(), colors, strict=True):
    positive, predicted = calibration_curve(y_test, p, n_bins=BINS)
    curves.plot(predicted, positive, "o-", ms=4, color=color, label=name)
    counts.hist(p, bins=BINS, range=(0, 1), histtype="step", lw=1.5, color=color)
curves.set(ylabel="share of positives")
counts.set(xlabel="predicted probability", ylabel="rows")
curves.legend(frameon=False)
curves.grid(alpha=0.3)
plt.show()
