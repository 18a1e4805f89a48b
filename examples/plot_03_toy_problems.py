"""
Does a closed-form network learn what backpropagation finds hard?
=================================================================

Two spirals, XOR, a checkerboard, concentric rings and a sine: small noiseless problems whose
boundaries wind. Networks without a gradient step (``ClosedFormMLP`` with its defaults, which blend
in trees, one layer of sampled pairs, and two literal closed-form constructions, "inverse" and
"hyperplane") against two hidden layers trained by backpropagation, with Adam and with plain
stochastic gradient descent. The figure ``toy_problems.png`` shows the decision regions.

Run ``python examples/plot_03_toy_problems.py`` with ``--out DIR`` for the folder of the figure
and ``--quick`` for fewer rows and epochs.
"""

import argparse
import time
import warnings
from pathlib import Path

import numpy as np
from sklearn.compose import TransformedTargetRegressor
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_analytic import ClosedFormMLP, ClosedFormMLPRegressor

# %%
# The problems. Every one draws n points of [-1, 1]^2 and their classes.


def spirals(n, rng):
    y = rng.integers(0, 2, n)
    radius = np.sqrt(rng.uniform(0.01, 1, n))
    angle = 6 * np.pi * radius + np.pi * y  # three turns
    return radius[:, None] * np.column_stack([np.cos(angle), np.sin(angle)]), y


def xor(n, rng):
    X = rng.uniform(-1, 1, (n, 2))
    return X, (X[:, 0] * X[:, 1] > 0).astype(int)


def checkerboard(n, rng):
    X = rng.uniform(-1, 1, (n, 2))
    return X, np.floor(3 * X).sum(axis=1).astype(int) % 2


def rings(n, rng):
    X = rng.uniform(-1, 1, (n, 2))
    return X, np.floor(5 * np.hypot(*X.T)).astype(int) % 2


def sine(n, rng):
    x = rng.uniform(-1, 1, (n, 1))
    return x, np.sin(8 * np.pi * x[:, 0])


PROBLEMS = {"two spirals": spirals, "XOR": xor, "checkerboard": checkerboard, "concentric rings": rings}

# %%
# The models. "inverse" carries targets back through pseudo-inverses, "hyperplane" places one unit
# per pair of class Gaussians; both are reconstructions of a literal closed-form network. The
# networks of backpropagation get scaled inputs and targets, and the batch sizes and learning rates
# that served them best among a few that we tried on these problems.

OURS = {
    "ClosedForm, default": {},
    "  hidden='sampled'": {"hidden_layer_sizes": 600, "hidden": "sampled", "input_encoding": "standard"},
    "  hidden='inverse'": {"hidden_layer_sizes": (100, 100), "hidden": "inverse", "input_encoding": "standard"},
    "  hidden='hyperplane'": {"hidden_layer_sizes": 600, "hidden": "hyperplane", "input_encoding": "standard"},
}
GRADIENT = {
    "MLP, Adam": {"solver": "adam", "batch_size": 32},
    "MLP, SGD": {"solver": "sgd", "learning_rate_init": 0.1, "momentum": 0.9},
}


def classifiers(epochs):
    models = {name: ClosedFormMLP(**settings, random_state=0) for name, settings in OURS.items()}
    for name, settings in GRADIENT.items():
        network = MLPClassifier((100, 100), **settings, max_iter=epochs, random_state=0)
        models[name] = make_pipeline(StandardScaler(), network)
    return models


def regressors(epochs):
    models = {name: ClosedFormMLPRegressor(**settings, random_state=0) for name, settings in OURS.items()}
    for name, settings in GRADIENT.items():
        network = MLPRegressor(hidden_layer_sizes=(100, 100), **settings, max_iter=epochs, random_state=0)
        scaled = make_pipeline(StandardScaler(), network)
        models[name] = TransformedTargetRegressor(scaled, transformer=StandardScaler())
    return models


# %%
# Ours are fitted once before anything is timed, because the first fit loads compiled code.


def measure(models, draw_points, n):
    """{model: (score on 2000 fresh points, seconds, fitted model)}."""
    X, y = draw_points(n, np.random.default_rng(0))
    X_test, y_test = draw_points(2000, np.random.default_rng(1))
    results = {}
    for name, model in models.items():
        start = time.perf_counter()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # the number of epochs is a setting here
            model.fit(X, y)
        seconds = time.perf_counter() - start
        results[name] = (model.score(X_test, y_test), seconds, model)
    return results


def print_table(results):
    print(f"{'score (seconds)':24s}" + "".join(f"{problem:>18s}" for problem in results))
    for name in next(iter(results.values())):
        cells = [f"{table[name][0]:.3f} ({table[name][1]:.2f})" for table in results.values()]
        print(f"{name:24s}" + "".join(f"{cell:>18s}" for cell in cells))


# %%
# The figure: decision regions, with the test accuracy above each.


def draw(results, n, folder):
    try:
        from matplotlib import pyplot
    except ImportError:
        print("No figure: matplotlib is not installed (pip install matplotlib).")
        return
    shape = len(results), len(next(iter(results.values())))
    figure, axes = pyplot.subplots(*shape, figsize=(2.1 * shape[1], 2.3 * shape[0]), layout="constrained")
    side = np.linspace(-1, 1, 150)
    grid = np.stack(np.meshgrid(side, side), axis=-1).reshape(-1, 2)
    for row, (problem, models) in zip(axes, results.items(), strict=True):
        X, y = PROBLEMS[problem](n, np.random.default_rng(0))
        for axis, (name, (accuracy, _, model)) in zip(row, models.items(), strict=True):
            region = model.predict(grid).reshape(len(side), -1)
            axis.imshow(region, extent=(-1, 1, -1, 1), origin="lower", cmap="coolwarm", alpha=0.5)
            axis.scatter(*X.T, c=y, cmap="coolwarm", s=1)
            axis.set(title=f"{name.strip()}\n{accuracy:.3f}", xticks=[], yticks=[])
            axis.title.set_fontsize(9)
        row[0].set_ylabel(problem)
    folder.mkdir(parents=True, exist_ok=True)
    figure.savefig(folder / "toy_problems.png", dpi=110)


def main():
    parser = argparse.ArgumentParser(description="Does a closed-form network learn what is hard for backpropagation?")
    parser.add_argument("--out", type=Path, default=Path(), help="folder of the figure")
    parser.add_argument("--quick", action="store_true", help="fewer rows and epochs")
    options = parser.parse_args()
    n, epochs = (300, 30) if options.quick else (800, 300)
    measure({name: model for name, model in classifiers(1).items() if name in OURS}, xor, 100)
    results = {name: measure(classifiers(epochs), points, n) for name, points in PROBLEMS.items()}
    print_table(results | {"sine (R2)": measure(regressors(epochs), sine, n)})
    draw(results, n, options.out)


if __name__ == "__main__":
    main()
