"""
What does a layer learn when it is trained alone, and what does that save?
==========================================================================

``LayerwiseMLP`` trains one layer (or one partition of layers) at a time, each under a head of its
own, so that gradients, optimiser state and activations of one partition are in memory. Here a
network of eight hidden layers learns the digits whole (backpropagation), in two and four partitions
and layer by layer, with the same number of epochs in all.

The figure ``layerwise_layers.png`` shows what the layers of the last one learned: the score of
every head, the effective rank of the features, seconds and bytes. The figure
``layerwise_memory.png`` shows accuracy and the bytes that training needs besides the weights.

Run ``python examples/plot_11_layerwise.py`` (under a minute on two cores) with ``--out DIR`` for
the folder of the figures and ``--quick`` for few epochs and one seed.
"""

import argparse
import time
import warnings
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split

from sklearn_analytic import LayerDiagnosticsDisplay, LayerwiseMLP

warnings.simplefilter("ignore", ConvergenceWarning)  # the number of epochs is a setting here

NETWORK = (128,) * 8
PARTITIONS = {"backprop": 1, "2 partitions": 2, "4 partitions": 4, "layer by layer": None}
BATCH = 64

# %%
# Half of the digits are for testing. The number of epochs is that of all partitions together: layer
# by layer, each of eight layers gets an eighth of them.


def compare(n_seeds, epochs):
    """{name: (accuracies, seconds of each fit, the last model)}."""
    X, y = load_digits(return_X_y=True)
    X, X_test, y, y_test = train_test_split(X, y, test_size=0.5, stratify=y, random_state=0)
    LayerwiseMLP(NETWORK, max_iter=8, random_state=0).fit(X, y)  # loads compiled code
    results = {}
    for name, partitions in PARTITIONS.items():
        accuracies, seconds = [], []
        for seed in range(n_seeds):
            model = LayerwiseMLP(
                NETWORK,
                partitions=partitions,
                batch_size=BATCH,
                max_iter=epochs,
                n_iter_no_change=np.inf,
                random_state=seed,
            )
            start = time.perf_counter()
            model.fit(X, y)
            seconds.append(time.perf_counter() - start)
            accuracies.append(model.score(X_test, y_test))
        results[name] = accuracies, seconds, model
    return results


# %%
# The table: mean accuracy over seeds, the fastest fit, the bytes of the largest partition in
# training (gradients, optimiser state, activations), and the accuracy of every head on training rows.


def print_table(results):
    print(f"{'training':15s} accuracy  fit [s]  training MB  heads, bottom to top")
    for name, (accuracies, seconds, model) in results.items():
        heads = " ".join(f"{score:.3f}" for score in model.layer_scores_)
        print(f"{name:15s} {np.mean(accuracies):8.4f} {min(seconds):8.3f} {training_mb(model):12.3f}  {heads}")


def training_mb(model):
    return model.layer_bytes_.max() / 1e6


# %%
# The figures. ``LayerDiagnosticsDisplay`` draws the layers of one model.


def draw(results, folder):
    try:
        from matplotlib import pyplot
    except ImportError:
        print("No figure: matplotlib is not installed (pip install matplotlib).")
        return
    folder.mkdir(parents=True, exist_ok=True)
    display = LayerDiagnosticsDisplay.from_estimator(results["layer by layer"][2])
    display.figure_.savefig(folder / "layerwise_layers.png", dpi=130)

    figure, (memory, score) = pyplot.subplots(1, 2, figsize=(10, 4), layout="constrained")
    names = list(results)
    megabytes = [training_mb(results[name][2]) for name in names]
    memory.bar_label(memory.bar(names, megabytes, color="C1"), fmt="%.2f")
    memory.set_title("training memory besides the weights")
    memory.set_ylabel("MB: gradients, optimiser, activations")
    for place, name in enumerate(names):
        accuracies = results[name][0]
        spread = np.std(accuracies) / np.sqrt(max(len(accuracies) - 1, 1))
        score.errorbar(place, np.mean(accuracies), spread, fmt="o", capsize=3, color="C0")
    score.set_xticks(range(len(names)), names)
    score.set_title("digits, the same epochs in all")
    score.set_ylabel("test accuracy, with its standard error over seeds")
    for axis in (memory, score):
        axis.tick_params("x", rotation=15)
        axis.grid(alpha=0.3, axis="y")
    figure.savefig(folder / "layerwise_memory.png", dpi=130)


def main():
    parser = argparse.ArgumentParser(description="What does a layer learn alone, and what does that save?")
    parser.add_argument("--out", type=Path, default=Path(), help="folder of the figures")
    parser.add_argument("--quick", action="store_true", help="few epochs, one seed")
    options = parser.parse_args()
    results = compare(n_seeds=1 if options.quick else 5, epochs=32 if options.quick else 64)
    print_table(results)
    draw(results, options.out)


if __name__ == "__main__":
    main()
