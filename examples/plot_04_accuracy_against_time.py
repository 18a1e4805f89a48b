"""
What does another second of fitting buy?
========================================

Test accuracy against fit time: ``ClosedFormMLP`` at several widths (one line), beside models of
one point each. Digits and breast cancer come with scikit-learn; the third problem, 4000 rows of
``make_classification``, is generated. The figure is ``accuracy_against_time.png``.

Run ``python examples/plot_04_accuracy_against_time.py`` with ``--out DIR`` for the folder of the
figure and ``--quick`` for few rows, narrow layers.
"""

import argparse
from pathlib import Path

from sklearn.datasets import load_breast_cancer, load_digits, make_classification
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import ShuffleSplit, cross_validate
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_analytic import ClosedFormMLP

# %%
# The data.


def generated(n):
    return make_classification(
        n, 20, n_informative=10, n_classes=3, n_clusters_per_class=4, class_sep=1.2, random_state=0
    )


def load(n_generated):
    return {
        "digits": load_digits(return_X_y=True),
        "breast cancer": load_breast_cancer(return_X_y=True),
        f"generated, {n_generated} rows": generated(n_generated),
    }


# %%
# The models. The width is the one parameter that trades time for accuracy; "auto" follows
# the number of rows. Nothing else is tuned, for nobody.


def our_models(widths):
    models = {f"width {width}": ClosedFormMLP((width // 3,) * 3, random_state=0) for width in widths}
    return models | {"ClosedFormMLP()": ClosedFormMLP(random_state=0)}


def peer_models():
    network = MLPClassifier((256, 256), early_stopping=True, random_state=0)
    return {
        "LogisticRegression": make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000)),
        "MLP(256, 256)": make_pipeline(StandardScaler(), network),
        "HistGradientBoosting": HistGradientBoostingClassifier(random_state=0),
    }


# %%
# Random splits; a quarter of the rows is for the test.


def measure(model, X, y, n_splits):
    """(seconds, test accuracy), means over the splits."""
    found = cross_validate(model, X, y, cv=ShuffleSplit(n_splits, test_size=0.25, random_state=0))
    return found["fit_time"].mean(), found["test_score"].mean()


def compare(X, y, widths, n_splits):
    """{model: (seconds, accuracy)}, ours first."""
    return {name: measure(model, X, y, n_splits) for name, model in (our_models(widths) | peer_models()).items()}


def print_table(results):
    for dataset, models in results.items():
        print(f"\n{dataset:24s} fit [s]   accuracy")
        for name, (seconds, accuracy) in models.items():
            print(f"  {name:20s} {seconds:9.3f} {accuracy:10.4f}")


# %%
# The figure: up is better, left is cheaper.


def draw(results, folder):
    try:
        from matplotlib import pyplot
    except ImportError:
        print("No figure: matplotlib is not installed (pip install matplotlib).")
        return
    figure, axes = pyplot.subplots(1, len(results), figsize=(12, 4.2), layout="constrained")
    for axis, (dataset, models) in zip(axes, results.items(), strict=True):
        line = [point for name, point in models.items() if name.startswith("width")]
        axis.plot(*zip(*line, strict=True), "o-", ms=5, color="C0", label="ClosedFormMLP, wider and wider")
        axis.plot(*models["ClosedFormMLP()"], "*", ms=14, color="C0", label="ClosedFormMLP()")
        for color, name in enumerate(peer_models(), start=1):
            axis.plot(*models[name], "X", ms=9, color=f"C{color}", label=name)
        axis.set(title=dataset, xscale="log", xlabel="fit time [s]", ylabel="test accuracy")
        axis.grid(alpha=0.3)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=5)
    folder.mkdir(parents=True, exist_ok=True)
    figure.savefig(folder / "accuracy_against_time.png", dpi=130)


def main():
    parser = argparse.ArgumentParser(description="What does another second of fitting buy?")
    parser.add_argument("--out", type=Path, default=Path(), help="folder of the figure")
    parser.add_argument("--quick", action="store_true", help="few rows, narrow layers")
    options = parser.parse_args()
    n, widths, n_splits = (1000, (30, 90), 1) if options.quick else (4000, (30, 150, 750), 2)
    X, y = generated(300)
    ClosedFormMLP(random_state=0).fit(X, y)  # loads compiled code before anything is timed
    results = {name: compare(X, y, widths, n_splits) for name, (X, y) in load(n).items()}
    print_table(results)
    draw(results, options.out)


if __name__ == "__main__":
    main()
