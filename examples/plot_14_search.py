"""
Which budget does a search need?
================================

A grid search fits every candidate with all rows and all epochs. Successive halving fits all
candidates with little of a resource, keeps the better half, doubles the resource, and so on. Any
parameter that is a positive integer may be the resource: rows for every estimator, the width of the
hidden layer of a closed-form network, epochs of a network that is trained by steps.

Here halving competes with the full grid for each of the three resources. It spends half of what the
grid spends, in twice as many fits. That saves time where a fit takes as long as its resource says, as
with epochs. An eighth of the rows does not make a closed-form fit eight times faster, and on data as
small as these the grid is the faster way. See :doc:`/user_guide/hyperparameter_search` for what is
worth a search.
"""

# %%
# Candidates
# ----------
# Two underscores lead into a parameter that is a value: ``feedback__density`` is the density of the
# value ``Feedback("sparse")``. There are 12 candidates of each estimator, and two folds judge them.

import os
import time
import warnings

import matplotlib.pyplot as plt
import numpy as np
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.model_selection import GridSearchCV, HalvingGridSearchCV, StratifiedKFold, train_test_split

from sklearn_analytic import ClosedFormMLP, DFAClassifier, Feedback

QUICK = bool(os.environ.get("SKLEARN_ANALYTIC_QUICK"))  # small data and few epochs, for tests
N_ROWS, WIDTH, EPOCHS = (240, 64, 8) if QUICK else (1200, 400, 120)

warnings.simplefilter("ignore", ConvergenceWarning)  # the number of epochs is a setting here

X, y = load_digits(return_X_y=True)
X, X_test, y, y_test = train_test_split(X, y, train_size=N_ROWS, stratify=y, random_state=0)
folds = StratifiedKFold(2, shuffle=True, random_state=0)

solved = ClosedFormMLP(WIDTH, hidden="random", random_state=0)
ridges = {"alpha": [0.01, 1.0, 100.0, 10_000.0], "activation": ["relu", "tanh", "identity"]}
trained = DFAClassifier((64,), feedback=Feedback("sparse"), n_iter_no_change=np.inf, random_state=0)
rates = {"learning_rate_init": [1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2], "feedback__density": [0.1, 0.5]}
print(f"{len(X)} rows to search with, {len(X_test)} rows that no search sees")

# %%
# One search by halving
# ---------------------
# The resource is the number of rows. Every round doubles it and drops half of the candidates.


def halved(model, grid, resource, most):
    """A search by halving that ends with the whole resource."""
    amounts = {"resource": resource, "min_resources": most // 8, "max_resources": most, "factor": 2}
    return HalvingGridSearchCV(model, grid, **amounts, cv=folds, random_state=0)


search = halved(solved, ridges, "n_samples", len(X)).fit(X, y)
for n_candidates, n_rows in zip(search.n_candidates_, search.n_resources_, strict=True):
    print(f"{n_candidates:2d} candidates with {n_rows:4d} rows")

# %%
# Halving beside the grid
# -----------------------
# ``spent`` counts the resource of all fits of a fold, in units of what one candidate of the full grid
# gets. Halving spends 6.5 where the grid spends 12, and finds candidates that are about as good on the
# test rows. Only with epochs does it take less processor time, too.


def timed(search):
    """The fitted search, and the processor seconds that it took."""
    start = time.process_time()
    return search.fit(X, y), time.process_time() - start


def line_of(search, seconds, resource, most):
    """What a search spent and found."""
    results = search.cv_results_
    spent = np.sum(results.get("n_resources", most * len(results["params"]))) / most
    best = {key: value for key, value in search.best_params_.items() if key != resource}
    winner = ", ".join(f"{key}={value}" for key, value in best.items())
    scores = f"{search.best_score_:15.4f} {search.score(X_test, y_test):11.4f}"
    return f"{spent:6.1f} {seconds:8.1f} {scores}  {winner}"


resources = {
    "rows": (solved, ridges, "n_samples", len(X)),
    "width": (solved, ridges, "hidden_layer_sizes", WIDTH),
    "epochs": (trained, rates, "max_iter", EPOCHS),
}
clone(trained).set_params(max_iter=1).fit(X, y)  # loads compiled code, which is not compared
found = {}
print(f"{'resource':8s} search    spent  seconds  score of folds  test score  winner")
for name, (model, grid, resource, most) in resources.items():
    found[name], seconds = timed(halved(model, grid, resource, most))
    print(f"{name:8s} halving  {line_of(found[name], seconds, resource, most)}")
    whole = {} if resource == "n_samples" else {resource: most}
    full, seconds = timed(GridSearchCV(clone(model).set_params(**whole), grid, cv=folds))
    print(f"{name:8s} grid     {line_of(full, seconds, resource, most)}")

# %%
# How far each candidate came
# ---------------------------
# A line ends where its candidate was dropped. With epochs lines cross: the candidate that wins with all
# of them is not the best of the first round. With rows and width none cross. Bad learning rates show
# in the first round, and with few rows the largest ridge does. The other ridges and activations are
# closer to each other, so that the first round decides by small differences.


def paths_of(search):
    """{candidate: (its resources, its errors)}, in the order of the rounds."""
    results, paths = search.cv_results_, {}
    columns = (results[name] for name in ("params", "n_resources", "mean_test_score"))
    for given, amount, score in zip(*columns, strict=True):
        candidate = tuple(value for key, value in given.items() if key != search.resource)
        paths.setdefault(candidate, ([], []))
        paths[candidate][0].append(int(amount))
        paths[candidate][1].append(1 - float(score))
    return paths


figure, axes = plt.subplots(1, 3, figsize=(11, 4), sharey=True, layout="constrained")
for axis, (name, search) in zip(axes, found.items(), strict=True):
    best = tuple(value for key, value in search.best_params_.items() if key != search.resource)
    for candidate, path in paths_of(search).items():
        style = {"color": "0.6", "lw": 1}
        if candidate == best:
            style = {"color": "#0072B2", "lw": 2.5, "zorder": 3, "label": "the winner"}
        axis.plot(*path, "o-", ms=4, **style)
    axis.set(title=f"{type(search.estimator).__name__}: {name}", xlabel=f"{name} of a fit")
    axis.set(xscale="log", yscale="log")
    axis.set_xticks(search.n_resources_, [str(amount) for amount in search.n_resources_])
    axis.set_yticks([0.05, 0.1, 0.2, 0.5, 1.0], ["5 %", "10 %", "20 %", "50 %", "100 %"])
    axis.minorticks_off()
    axis.grid(alpha=0.3)
axes[0].set_ylabel("wrong predictions (mean of 2 folds)")
axes[0].legend()
plt.show()
