"""
Are the predicted probabilities true?
=====================================

Of the rows that get the probability 0.8, four in five should be positive. ``ClosedFormMLP`` turns
scores into probabilities on leave-one-out predictions of at most 1000 audit rows, so no validation
split is set aside. Here it stands beside a network of backpropagation, a gradient-boosted ensemble
and ``GaussianNB``, on a generated problem whose labels are wrong in one of ten rows: nobody can be
certain, and whoever is certain is overconfident. The figure ``calibration.png`` shows the curves.

Run ``python examples/plot_05_calibration.py`` with ``--out DIR`` for the folder of the figure and
``--quick`` for few rows.
"""

import argparse
from pathlib import Path

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

BINS = 10


def load(n):
    X, y = make_classification(
        n, 20, n_informative=6, n_redundant=6, n_clusters_per_class=3, flip_y=0.2, random_state=0
    )  # a fifth of the labels is redrawn, half of them to what they were
    return train_test_split(X, y, test_size=0.7, stratify=y, random_state=0)


def models():
    return {
        "ClosedFormMLP": ClosedFormMLP(random_state=0),
        "MLP(100, 100)": make_pipeline(StandardScaler(), MLPClassifier((100, 100), max_iter=1000, random_state=0)),
        "HistGradientBoosting": HistGradientBoostingClassifier(random_state=0),
        "GaussianNB": GaussianNB(),
    }


# %%
# The expected calibration error is the mean distance of the curve from the diagonal, bins weighted
# by their rows. Log-loss and Brier score judge calibration and sharpness together.


def calibration_error(y, p):
    bins = np.minimum((p * BINS).astype(int), BINS - 1)
    gaps = np.bincount(bins, weights=y - p, minlength=BINS)
    return np.abs(gaps).sum() / len(y)


def measure(X, X_test, y, y_test):
    """{model: probabilities of the positive class on the test rows}, with a table on the way."""
    probabilities = {}
    print(f"{'':22s} accuracy  log-loss  Brier score  calibration error")
    for name, model in models().items():
        p = model.fit(X, y).predict_proba(X_test)[:, 1]
        scores = log_loss(y_test, p), brier_score_loss(y_test, p), calibration_error(y_test, p)
        print(f"{name:22s} {accuracy_score(y_test, p > 0.5):8.4f} {scores[0]:9.4f} {scores[1]:12.4f} {scores[2]:18.4f}")
        probabilities[name] = p
    return probabilities


# %%
# The figure: the diagonal is perfect; the histograms say how often each probability is given.


def draw(probabilities, y, folder):
    try:
        from matplotlib import pyplot
    except ImportError:
        print("No figure: matplotlib is not installed (pip install matplotlib).")
        return
    figure, (curves, counts) = pyplot.subplots(
        2, 1, figsize=(6, 7), height_ratios=(3, 1), sharex=True, layout="constrained"
    )
    curves.plot([0, 1], [0, 1], "--", color="0.6", lw=1)
    for name, p in probabilities.items():
        positive, predicted = calibration_curve(y, p, n_bins=BINS)
        curves.plot(predicted, positive, "o-", ms=4, label=name)
        counts.hist(p, bins=BINS, range=(0, 1), histtype="step", lw=1.5)
    curves.set(ylabel="share of positives", title="Calibration on test rows, a tenth of the labels wrong")
    counts.set(xlabel="predicted probability", ylabel="rows")
    curves.legend()
    curves.grid(alpha=0.3)
    folder.mkdir(parents=True, exist_ok=True)
    figure.savefig(folder / "calibration.png", dpi=130)


def main():
    parser = argparse.ArgumentParser(description="Are the predicted probabilities true?")
    parser.add_argument("--out", type=Path, default=Path(), help="folder of the figure")
    parser.add_argument("--quick", action="store_true", help="few rows")
    options = parser.parse_args()
    X, X_test, y, y_test = load(3000 if options.quick else 10_000)
    draw(measure(X, X_test, y, y_test), y_test, options.out)


if __name__ == "__main__":
    main()
