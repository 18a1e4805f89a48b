"""Figures of the guides about scikit-learn's tools: progress, importances in pipelines, searches."""

import warnings

import numpy as np
from make_figures import BACKPROP, FIFTH, OTHER, OURS, TREES, figure
from matplotlib import pyplot as plt
from schematics import INK, canvas, frame
from sklearn.datasets import load_diabetes, load_digits
from sklearn.decomposition import PCA
from sklearn.exceptions import ConvergenceWarning
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.model_selection import GridSearchCV, HalvingGridSearchCV, KFold, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_analytic import BRMPRegressor, ClosedFormMLPRegressor, DFAClassifier, FeatureImportanceDisplay


def label(ax, text, point, shift, colour=INK, **style):
    """A text beside a point."""
    ax.annotate(text, point, shift, textcoords="offset points", color=colour, **style)


# ------------------------------------------------------------------ progress


# (words, what their arrow points to, height of the words, colour)
SETTERS = (
    ("search.set_callbacks(\n    ProgressBar())", (63.2, 41), 41, OTHER),
    ("pipeline[-1].set_callbacks(\n    ScoringMonitor(...),\n    your own)", (55.5, 18.8), 24.3, OURS),
    ("verbose=True:\na message for each epoch", (55.5, 11.1), 8.3, OURS),
)


@figure("progress_tasks")
def progress_tasks():
    """The tasks of a search, one in the other, and on which estimator each tool is set."""
    drawn, ax = canvas(100, 47.2)
    frame(ax, (0.7, 1.4), (62.5, 44.4), "GridSearchCV", OTHER)
    for shift in (3.3, 1.7, 0):
        text = "" if shift else "Pipeline, for each candidate and fold"
        frame(ax, (3.5 + shift, 3.5 + shift), (54.2, 33.3), text, TREES)
    frame(ax, (5.5, 24.3), (50, 5.8), "StandardScaler", FIFTH)
    frame(ax, (5.5, 5.5), (50, 16.7), "network, the last step", OURS)
    _draw_epochs(ax)
    for words, to, y, colour in SETTERS:
        pointer = {"arrowstyle": "-|>", "color": colour, "relpos": (0, 0.5)}
        ax.annotate(words, to, (67.4, y), va="center", fontsize=9, color=INK, arrowprops=pointer)
    return drawn


def _draw_epochs(ax):
    """The epochs of a network, numbered."""
    for number in range(6):
        left = 7.6 + 7.8 * number
        ax.add_patch(plt.Rectangle((left, 7.6), 6.4, 6.9, fc=OURS, ec="white"))
        ax.text(left + 3.2, 11.1, f"{number + 1}", ha="center", va="center", color="white", fontsize=10)
    ax.text(7.6, 15.7, "epochs", va="bottom", fontsize=9, color=OURS)


@figure("progress_curve")
def progress_curve():
    """Accuracy after every epoch, on the rows of the fit and on others, and where a callback ends the fit."""
    from sklearn.callback import ScoringMonitor  # not in scikit-learn before 1.9

    X, X_test, y, y_test = train_test_split(*load_digits(return_X_y=True), random_state=0)
    monitor = ScoringMonitor(scoring=lambda model, X, y: {"fit": model.score(X, y), "new": model.score(X_test, y_test)})
    DFAClassifier((64,), random_state=0).set_callbacks(monitor).fit(X, y)
    rows = [row for row in monitor.get_logs().data if row["task_name"] == "epoch"]
    drawn, ax = plt.subplots(figsize=(7.2, 3.2))
    for score, text, colour in (("fit", "rows of the fit", OURS), ("new", "new rows", BACKPROP)):
        curve = [row[score] for row in rows]
        ax.plot(np.arange(1, len(curve) + 1), curve, color=colour)
        label(ax, text, (len(curve), curve[-1]), (0, -14), colour, ha="right")
    enough = next(number for number, row in enumerate(rows, start=1) if row["fit"] >= 0.98)
    ax.axvline(enough, color=OTHER, linestyle="--", linewidth=1)
    label(ax, "98 % of the rows of the fit:\na callback may stop here", (enough, 0.8), (6, 0))
    ax.set(xlabel="epoch", ylabel="accuracy")
    return drawn


# ------------------------------------------------------------------ importances


@figure("ecosystem_importances")
def ecosystem_importances():
    """Of one pipeline: importances of what its last step reads, and of the columns of the table."""
    X, y = load_diabetes(return_X_y=True, as_frame=True)
    X_train, X_test, y_train, y_test = train_test_split(X, y, random_state=0)
    model = make_pipeline(StandardScaler(), PCA(5), ClosedFormMLPRegressor(random_state=0)).fit(X_train, y_train)
    drawn, (left, right) = plt.subplots(1, 2, figsize=(7.2, 3.4))
    FeatureImportanceDisplay.from_estimator(model, ax=left, color=OURS)
    FeatureImportanceDisplay.from_permutation(
        model, X_test, y_test, n_repeats=20, random_state=0, ax=right, color=OURS, ecolor=INK
    )
    left.set(title="from_estimator", xlabel="importance")
    right.set(title="from_permutation", xlabel="decrease of R²")
    for ax in (left, right):
        ax.grid(axis="y", visible=False)
    return drawn


# ------------------------------------------------------------------ searches


@figure("search_ridge_path")
def search_ridge_path():
    """Fifty ridges from one fit, and the error of five folds at eleven of them."""
    X, y = load_diabetes(return_X_y=True)
    X, folds = X / X.std(axis=0), KFold(5, shuffle=True, random_state=0)
    path = BRMPRegressor((200,), alpha=np.logspace(-3, 4, 50), random_state=0).fit(X, y)
    few = np.logspace(-3, 4, 11)
    search = GridSearchCV(
        BRMPRegressor((200,), random_state=0), {"alpha": few}, cv=folds, scoring="neg_mean_squared_error"
    ).fit(X, y)
    drawn, ax = plt.subplots(figsize=(7.2, 3.2))
    ax.plot(few, -search.cv_results_["mean_test_score"] / y.var(), "s", color=BACKPROP)
    ax.plot(path.gcv_path_["alpha"], path.gcv_path_["gcv"], color=OURS)
    ax.plot(path.alpha_, path.gcv_path_["gcv"].min(), "o", color=OURS, markersize=9)
    label(ax, "chosen", (path.alpha_, path.gcv_path_["gcv"].min()), (0, -18), OURS, ha="center")
    label(ax, "one fit, 50 ridges", (1e-3, path.gcv_path_["gcv"][0]), (0, 6), OURS)
    label(
        ax,
        "five folds, a fit for each point",
        (few[1], -search.cv_results_["mean_test_score"][1] / y.var()),
        (8, 2),
        BACKPROP,
    )
    ax.set(xscale="log", xlabel="alpha", ylabel="squared error / variance of y", ylim=(0.3, 1.5))
    return drawn


@figure("search_halving")
def search_halving():
    """What halving drops: a line for each candidate, which ends where it is dropped."""
    search = _halved()
    drawn, ax = plt.subplots(figsize=(7.2, 3.4))
    best = tuple(search.best_params_[key] for key in RATES)
    for name, path in _paths(search).items():
        style = {"color": OURS, "lw": 2.5, "zorder": 3} if name == best else {"color": OTHER, "lw": 1}
        ax.plot(*path, "o-", markersize=4, **style)
        if name == best:
            label(ax, "best", (path[0][-1], path[1][-1]), (8, -3), OURS)
    counts = [f"{n} epochs\n{k} candidates" for n, k in zip(search.n_resources_, search.n_candidates_, strict=True)]
    ax.set(xscale="log", yscale="log", ylabel="wrong predictions (%)", xlim=(4.5, 50))
    ax.set_xticks(search.n_resources_, counts)
    ax.set_yticks([5, 10, 20, 50, 100], ["5", "10", "20", "50", "100"])
    ax.minorticks_off()
    return drawn


RATES = {"learning_rate_init": [1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2], "alpha": [0, 1e-2]}


def _halved():
    """A fitted search by halving over epochs."""
    amounts = {"resource": "max_iter", "factor": 2, "min_resources": 5, "max_resources": 40}
    search = HalvingGridSearchCV(DFAClassifier((64,), random_state=0), RATES, **amounts, cv=3, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # the number of epochs is a setting here
        return search.fit(*load_digits(return_X_y=True))


def _paths(search):
    """{candidate: (its epochs, its errors in percent)}."""
    results = search.cv_results_
    names = [tuple(given[key] for key in RATES) for given in results["params"]]
    errors, found = 100 * (1 - results["mean_test_score"]), {}
    for name in dict.fromkeys(names):
        rounds = [k for k, other in enumerate(names) if other == name]
        found[name] = results["n_resources"][rounds], errors[rounds]
    return found
