"""
Which budget does a search need?
================================

A grid search fits every candidate with all rows and all epochs. Successive halving fits all of them
with little of a resource, keeps the better half, doubles the resource, and so on. Any parameter that
is a positive integer may be the resource: rows for every estimator, the width of the hidden layers
of a closed-form network, epochs (``max_iter``) of one that is trained by steps. Here 12 candidates of
``ClosedFormMLP`` compete for rows and for width, and 12 of ``DFAClassifier`` (learning rates, and
densities of a sparse feedback) for epochs, each beside the full grid. Halving spends half of the
resource of the grid in twice as many fits: it saves time where the time of a fit follows the
resource, as with epochs. A closed-form fit of an eighth of the rows or units is not eight times
cheaper, and on data as small as these the grid is the faster way. The figure ``search.png`` shows the
score of every candidate as far as it came.

Run ``python examples/plot_14_search.py`` with ``--out DIR`` for the folder of the figure and
``--quick`` for few rows.
"""

import argparse
import time
import warnings
from pathlib import Path

import numpy as np
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.model_selection import GridSearchCV, HalvingGridSearchCV, StratifiedKFold, train_test_split

from sklearn_analytic import ClosedFormMLP, DFAClassifier, Feedback

warnings.simplefilter("ignore", ConvergenceWarning)  # the number of epochs is a setting here

FOLDS = StratifiedKFold(2, shuffle=True, random_state=0)
RIDGES = {"alpha": [0.01, 1.0, 100.0, 10_000.0], "activation": ["relu", "tanh", "identity"]}
RATES = {"learning_rate_init": [1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2], "feedback__density": [0.1, 0.5]}

# %%
# One row for a search: an estimator, its candidates, the resource and how much of it the full grid
# spends on a candidate. ``n_samples`` is the number of rows; it has no value in the estimator. Two
# underscores lead into a parameter that is a value: ``feedback__density`` is the density of ``feedback``.


def searches(n_rows, width, n_epochs):
    network = ClosedFormMLP(width, hidden="random", random_state=0)
    by_steps = DFAClassifier((64,), feedback=Feedback("sparse"), n_iter_no_change=np.inf, random_state=0)
    return {
        "rows": (network, RIDGES, "n_samples", n_rows),
        "width": (network, RIDGES, "hidden_layer_sizes", width),
        "epochs": (by_steps, RATES, "max_iter", n_epochs),
    }


def halved(model, grid, resource, most, X, y):
    """A search by halving that ends with the whole resource."""
    search = HalvingGridSearchCV(
        model,
        grid,
        resource=resource,
        min_resources=most // 8,
        max_resources=most,
        factor=2,
        cv=FOLDS,
        return_train_score=False,
        random_state=0,
    )
    return timed(search, X, y)


def full(model, grid, resource, most, X, y):
    """The grid with the whole resource for every candidate."""
    whole = {} if resource == "n_samples" else {resource: most}
    return timed(GridSearchCV(clone(model).set_params(**whole), grid, cv=FOLDS), X, y)


def timed(search, X, y):
    start = time.perf_counter()
    search.fit(X, y)
    return search, time.perf_counter() - start


# %%
# ``spent`` is the resource of all fits of a fold, in units of what one candidate of the full grid gets.


def measure(X, X_test, y, y_test, sizes):
    """{resource: fitted search by halving}, with a table on the way."""
    found = {}
    print(f"{'resource':8s} search    spent  seconds  score of folds  test score  winner")
    for name, (model, grid, resource, most) in searches(len(X), *sizes).items():
        for kind, run in (("halving", halved), ("grid", full)):
            search, seconds = run(model, grid, resource, most, X, y)
            results = search.cv_results_
            spent = np.sum(results["n_resources"]) / most if kind == "halving" else len(results["params"])
            scores = search.best_score_, search.score(X_test, y_test)
            winner = ", ".join(f"{key}={value}" for key, value in search.best_params_.items() if key != resource)
            print(f"{name:8s} {kind:8s} {spent:6.1f} {seconds:8.1f} {scores[0]:15.4f} {scores[1]:11.4f}  {winner}")
            if kind == "halving":
                found[name] = search
    return found


# %%
# The figure: a line ends where its candidate was dropped.


def draw(found, folder):
    try:
        from matplotlib import pyplot
    except ImportError:
        print("No figure: matplotlib is not installed (pip install matplotlib).")
        return
    figure, axes = pyplot.subplots(1, len(found), figsize=(12, 4.2), sharey=True, layout="constrained")
    for axis, (name, search) in zip(axes, found.items(), strict=True):
        best = {key: value for key, value in search.best_params_.items() if key != search.resource}
        for candidate, (resources, scores) in paths(search).items():
            is_best = candidate == str(best)
            style = {"color": "C3", "lw": 2.5, "zorder": 3} if is_best else {"color": "0.6", "lw": 1}
            axis.plot(resources, scores, "o-", ms=4, label="the winner" if is_best else None, **style)
        axis.set(xlabel=f"{name} of a fit", title=f"{type(search.estimator).__name__}: {name}", xscale="log")
        axis.set_xticks(search.n_resources_, [str(n) for n in search.n_resources_], minor=False)
        axis.minorticks_off()
        axis.grid(alpha=0.3)
    axes[0].set_ylabel("accuracy (mean of 2 folds)")
    axes[0].legend()
    folder.mkdir(parents=True, exist_ok=True)
    figure.savefig(folder / "search.png", dpi=130)


def paths(search):
    """{candidate: (its resources, its scores)}, in the order of the rounds."""
    results, found = search.cv_results_, {}
    for i, given in enumerate(results["params"]):
        candidate = str({key: value for key, value in given.items() if key != search.resource})
        resources, scores = found.setdefault(candidate, ([], []))
        resources.append(int(results["n_resources"][i]))
        scores.append(float(results["mean_test_score"][i]))
    return found


def main():
    parser = argparse.ArgumentParser(description="Which budget does a search need?")
    parser.add_argument("--out", type=Path, default=Path(), help="folder of the figure")
    parser.add_argument("--quick", action="store_true", help="few rows")
    options = parser.parse_args()
    X, y = load_digits(return_X_y=True)
    few, sizes = (240, (64, 8)) if options.quick else (1200, (400, 40))
    X, X_test, y, y_test = train_test_split(X, y, train_size=few, stratify=y, random_state=0)
    draw(measure(X, X_test, y, y_test, sizes), options.out)


if __name__ == "__main__":
    main()
