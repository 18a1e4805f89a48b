"""
What does a fit cost, and what does it score?
=============================================

``ClosedFormMLP`` in four lines, then in a Pipeline and a GridSearchCV. After that every estimator
of this package beside the models that one would otherwise try: accuracy and seconds on digits and
breast cancer, and a regression on diabetes. The figure ``quickstart.png`` shows accuracy against
fit time.

Run ``python examples/plot_01_quickstart.py`` (under a minute on two cores, loops still to be
compiled), with ``--out DIR`` for the folder of the figure and ``--quick`` for small models.
"""

import argparse
import time
from pathlib import Path

from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits
from sklearn.decomposition import PCA
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression, RidgeCV
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from sklearn_analytic import (
    BRMPClassifier,
    BRMPRegressor,
    ClosedFormMLP,
    ClosedFormMLPRegressor,
    CPNetClassifier,
    DecoupledMLPClassifier,
    DecoupledMLPRegressor,
    DFAClassifier,
    DFARegressor,
    LayerwiseMLP,
    LayerwiseMLPRegressor,
    warmup,
)

DATASETS = {"digits": load_digits, "breast cancer": load_breast_cancer}

# %%
# Four lines: import, fit, score, probabilities. No scaler, learning rate, epochs or validation
# split; the fit chooses by leave-one-out.


def first_steps(X_train, X_test, y_train, y_test):
    model = ClosedFormMLP(random_state=0).fit(X_train, y_train)
    print(f"ClosedFormMLP on breast cancer: accuracy {model.score(X_test, y_test):.4f}")
    print(f"  P(benign) of three tumours: {model.predict_proba(X_test[:3])[:, 1].round(3)}")


# %%
# A Pipeline and a grid search see an ordinary estimator. Here a PCA comes first, and the search
# chooses how many components to keep and which layer to build.


def search(units):
    X, y = load_digits(return_X_y=True)
    X_train, X_test, y_train, y_test = train_test_split(X, y, stratify=y, random_state=0)
    pipeline = Pipeline([("pca", PCA(random_state=0)), ("mlp", ClosedFormMLP(units, random_state=0))])
    grid = {"pca__n_components": [20, 40], "mlp__hidden": ["sampled", "laplace"]}
    found = GridSearchCV(pipeline, grid, cv=3).fit(X_train, y_train)
    print(f"GridSearchCV on digits: {found.best_params_}")
    print(f"  accuracy of the best: {found.score(X_test, y_test):.4f}")


# %%
# The models to compare. BRMP is exact least squares, linear or on a random hidden layer, with the
# ridge chosen by generalised cross-validation; CPNet stacks modules of two such layers; DFA takes
# gradient steps, but sends the output error straight to every layer; LayerwiseMLP trains one layer
# after the other; DecoupledMLP trains two modules side by side, each on the error of an older batch.


def our_models(units):
    return {
        "ClosedFormMLP": ClosedFormMLP(random_state=0),
        "BRMP, linear": BRMPClassifier(alpha="gcv"),
        f"BRMP, {units} tanh": BRMPClassifier((units,), alpha="gcv", random_state=0),
        "CPNet": CPNetClassifier(random_state=0),
        f"DFA({units}, {units})": DFAClassifier((units, units), random_state=0),
        f"Layerwise({units}, {units})": LayerwiseMLP((units, units), random_state=0),
        f"Decoupled({units}, {units})": DecoupledMLPClassifier((units, units), random_state=0),
    }


def peer_models(units):
    return {
        "LogisticRegression": LogisticRegression(max_iter=1000),
        "SVC(C=10)": SVC(C=10),
        f"MLP({units}, {units})": MLPClassifier((units, units), early_stopping=True, random_state=0),
        "RandomForest": RandomForestClassifier(random_state=0),
    }


# %%
# Measuring one model: the seconds include the scaler. What numba still has to compile is compiled
# before, by ``warmup``, so that the seconds are those of every later fit. Each row is printed once
# it is there.


def table(title, column, models, X, y, stratify=None):
    """Print and return {model: (score, seconds)} on one data set."""
    X_train, X_test, y_train, y_test = train_test_split(X, y, stratify=stratify, random_state=0)
    warmup(*(model for model in models.values() if is_ours(model)), X=X_train[:64], y=y_train[:64])
    print(f"\n{title:22s} {column:>8s}     fit [s]")
    found = {}
    for name, model in models.items():
        start = time.perf_counter()
        fitted = make_pipeline(StandardScaler(), model).fit(X_train, y_train)
        seconds = time.perf_counter() - start
        found[name] = fitted.score(X_test, y_test), seconds
        print(f"  {name:20s} {found[name][0]:8.4f} {seconds:11.4f}", flush=True)
    return found


def is_ours(model):
    return type(model).__module__.startswith("sklearn_analytic")


def compare(title, load, units):
    """{model: (accuracy, seconds, whether it is ours)} on one data set."""
    X, y = load(return_X_y=True)
    models = our_models(units) | peer_models(units)
    found = table(title, "accuracy", models, X, y, stratify=y)
    return {name: (*row, is_ours(models[name])) for name, row in found.items()}


def regress(units):
    X, y = load_diabetes(return_X_y=True)
    models = {
        "ClosedFormMLP": ClosedFormMLPRegressor(random_state=0),
        "BRMP, linear": BRMPRegressor(alpha="gcv"),
        f"BRMP, {units} tanh": BRMPRegressor((units,), alpha="gcv", random_state=0),
        f"DFA({units})": DFARegressor((units,), activation="tanh", early_stopping=True, random_state=0),
        f"Layerwise({units})": LayerwiseMLPRegressor((units,), activation="tanh", early_stopping=True, random_state=0),
        f"Decoupled({units})": DecoupledMLPRegressor((units,), activation="tanh", early_stopping=True, random_state=0),
        "RidgeCV": RidgeCV(),
    }
    table("diabetes", "R2", models, X, y)


# %%
# The figure: up is better, left is cheaper.


def draw(results, folder):
    try:
        from matplotlib import pyplot
    except ImportError:
        print("No figure: matplotlib is not installed (pip install matplotlib).")
        return
    figure, axes = pyplot.subplots(1, len(results), figsize=(11, 4.2), layout="constrained")
    colors = pyplot.get_cmap("tab20").colors[::2] + pyplot.get_cmap("tab20").colors[1::2]
    for axis, (dataset, models) in zip(axes, results.items(), strict=True):
        for color, (name, (accuracy, seconds, ours)) in zip(colors, models.items(), strict=False):
            style = {"marker": "o", "s": 80} if ours else {"marker": "x", "s": 50}
            axis.scatter(seconds, accuracy, color=color, label=name, **style)
        axis.set(title=dataset, xscale="log", xlabel="fit time [s]", ylabel="test accuracy")
        axis.grid(alpha=0.3)
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside right center", title="circles: this package")
    folder.mkdir(parents=True, exist_ok=True)
    figure.savefig(folder / "quickstart.png", dpi=150)


def main():
    parser = argparse.ArgumentParser(description="What does a fit cost, and what does it score?")
    parser.add_argument("--out", type=Path, default=Path(), help="folder of the figure")
    parser.add_argument("--quick", action="store_true", help="small models")
    options = parser.parse_args()
    units = 64 if options.quick else 256
    X, y = load_breast_cancer(return_X_y=True)
    first_steps(*train_test_split(X, y, stratify=y, random_state=0))
    search(4 * units)
    results = {name: compare(name, load, units) for name, load in DATASETS.items()}
    regress(units)
    draw(results, options.out)


if __name__ == "__main__":
    main()
