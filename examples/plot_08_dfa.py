"""
Does direct feedback reach backpropagation?
===========================================

Direct feedback alignment sends the output error to every hidden layer at once, through a matrix of
its own, instead of backwards through the weights. Whether that works depends on the matrix. Here
the same network (three hidden layers) learns half of the digits by backpropagation and by five
kinds of feedback: ``"refresh"`` (the default: a product of the weights, renewed every 20 steps),
``"product"`` (that of the first weights, then fixed), ``"random"``, ``"binary"`` (random signs) and
``"learned"`` (moved towards the network's Jacobian). The figure ``dfa.png`` shows the cosine of
every layer's error to the true gradient, epoch by epoch, and what the fit costs and scores.

Run ``python examples/plot_08_dfa.py`` (well under a minute on two cores) with ``--out DIR`` for the
folder of the figure and ``--quick`` for few epochs and one seed.
"""

import argparse
import time
import warnings
from pathlib import Path

import numpy as np
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split

from sklearn_analytic import AlignmentDisplay, DFAClassifier, Feedback

warnings.simplefilter("ignore", ConvergenceWarning)  # the number of epochs is a setting here

CONTENDERS = {
    "backprop": {"scheme": "backprop", "feedback": Feedback()},
    "refresh": {"feedback": Feedback("refresh")},
    "product": {"feedback": Feedback("product")},
    "random": {"feedback": Feedback("random")},
    "binary": {"feedback": Feedback("binary")},
    "learned": {"feedback": Feedback("learned")},
}
NETWORK = (128, 128, 128)

# %%
# Half of the digits are for testing: with more rows for training, all of them come out nearly
# alike. Alignment is measured in a fit of its own, so that it does not count as time: it is a setting of
# ``Feedback``, which ``set_params`` reaches as ``feedback__alignment``.


def compare(n_seeds, epochs):
    """{contender: (accuracies, seconds of each fit, a model that watched its alignment)}."""
    X, y = load_digits(return_X_y=True)
    X, X_test, y, y_test = train_test_split(X, y, test_size=0.5, stratify=y, random_state=0)
    results = {}
    for name, parameters in CONTENDERS.items():
        model = DFAClassifier(NETWORK, max_iter=epochs, n_iter_no_change=np.inf, **parameters)
        watched = clone(model).set_params(feedback__alignment=True, random_state=0).fit(X, y)
        runs = [fit_once(clone(model).set_params(random_state=seed), X, y, X_test, y_test) for seed in range(n_seeds)]
        results[name] = (*np.transpose(runs), watched)
    return results


def fit_once(model, X, y, X_test, y_test):
    start = time.perf_counter()
    model.fit(X, y)
    return model.score(X_test, y_test), time.perf_counter() - start


# %%
# The table: the mean accuracy over seeds (weights, feedback and order of rows change, the split does
# not), its standard error, the fastest fit, and the cosines after the last epoch, bottom layer first.


def print_table(results):
    print(f"{'feedback':10s} accuracy  (error)  fit [s]  cosine to the true gradient")
    for name, (accuracies, seconds, watched) in results.items():
        error = np.std(accuracies, ddof=1) / np.sqrt(len(accuracies)) if len(accuracies) > 1 else 0.0
        cosines = "  ".join(f"{cosine:.2f}" for cosine in watched.alignment_[-1])
        print(f"{name:10s} {np.mean(accuracies):8.4f} ({error:.4f}) {np.min(seconds):8.3f}  {cosines}")


# %%
# The figure. ``AlignmentDisplay`` draws the curves of one model; here it gets axes to draw on.


def draw(results, folder):
    try:
        from matplotlib import pyplot
    except ImportError:
        print("No figure: matplotlib is not installed (pip install matplotlib).")
        return
    figure, axes = pyplot.subplot_mosaic(
        [["backprop", "refresh", "product", "score"], ["random", "binary", "learned", "score"]],
        figsize=(13, 5.5),
        width_ratios=(1, 1, 1, 1.7),
        layout="constrained",
    )
    for place, (name, (_, _, watched)) in enumerate(results.items()):
        display = AlignmentDisplay.from_estimator(watched, ax=axes[name], alpha=0.8)
        display.ax_.set(title=name, xlabel="epoch" if place > 2 else "")
        display.ax_.set_ylabel("cosine to the true gradient" if place % 3 == 0 else "")
        display.ax_.legend().set_visible(place == 0)
        display.ax_.grid(alpha=0.3)
    for name, (accuracies, seconds, _) in results.items():
        spread = np.std(accuracies) / np.sqrt(max(len(accuracies) - 1, 1))
        style = {"fmt": "o", "capsize": 3, "markersize": 8, "label": name}
        axes["score"].errorbar(np.min(seconds), np.mean(accuracies), spread, **style)
    axes["score"].set(title="digits: accuracy against time", xlabel="fit time [s]")
    axes["score"].set_ylabel("test accuracy, with its standard error over seeds")
    axes["score"].set_xlim(left=0)
    axes["score"].grid(alpha=0.3)
    axes["score"].legend()
    folder.mkdir(parents=True, exist_ok=True)
    figure.savefig(folder / "dfa.png", dpi=130)


def main():
    parser = argparse.ArgumentParser(description="Does direct feedback reach backpropagation?")
    parser.add_argument("--out", type=Path, default=Path(), help="folder of the figure")
    parser.add_argument("--quick", action="store_true", help="few epochs, one seed")
    options = parser.parse_args()
    results = compare(n_seeds=1 if options.quick else 5, epochs=15 if options.quick else 40)
    print_table(results)
    draw(results, options.out)


if __name__ == "__main__":
    main()
