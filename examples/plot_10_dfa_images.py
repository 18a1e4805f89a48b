"""
Which layers of a convolutional network need the exact gradient?
================================================================

Direct feedback alone falls behind on convolutions: a kernel is shared by all places, and has too
few weights to align with a random matrix. Two remedies keep exact gradients where they are needed.
``scheme="hybrid"`` (Han and Yoo 2019) gives the convolutions the exact gradient of the first dense
layer's error, and the dense layers a projection of the output error; with ``feedback="binary"``
that projection adds and subtracts only. ``scheme="modular"`` (after Han et al. 2020, a
reconstruction) carries the error exactly from module to module, and inside a module by one sparse
dilated convolution. All of them are set here beside backpropagation and literal direct feedback,
on 8 x 8 digits with ``network=ImageNetwork((8, 8))``, and once with activations kept in 4 bits
(Chakrabarti and Moseley 2019). The table shows accuracy, seconds, and the bytes that a batch keeps
for its backward pass; the figure is ``dfa_images.png``. The default of the hybrid keeps up with
backpropagation; fixed feedback (binary, modular, literal) learns more slowly, and in so few epochs
falls short.

Run ``python examples/plot_10_dfa_images.py`` (needs torch; under a minute on two cores) with
``--out DIR`` for the folder of the figure and ``--quick`` for fewer epochs and one seed.
"""

import argparse
import time
import warnings
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split

from sklearn_analytic import ApproximateActivation, DFAClassifier, ImageNetwork

warnings.simplefilter("ignore", ConvergenceWarning)  # the number of epochs is a setting here

# %%
# ``ImageNetwork`` puts blocks of 3 x 3 convolution, rectifier and 2 x 2 pooling under a dense head.
# A pooling ends a module, so in this network only the head has a layer inside a module. The last two
# rows of the table therefore train a given network in which two convolutions follow each other: they
# are one module, and the lower one receives its error by a fixed path.

CONTENDERS = {
    "backprop": {"scheme": "backprop"},
    "hybrid": {"scheme": "hybrid"},
    "hybrid, binary": {"scheme": "hybrid", "feedback": "binary"},
    "hybrid, 4 bits": {"scheme": "hybrid", "activation": ApproximateActivation("relu", bits=4)},
    "modular": {"scheme": "modular"},
    "literal DFA": {"scheme": "dfa", "feedback": "random"},
}
GIVEN = {"given, backprop": {"scheme": "backprop"}, "given, modular": {"scheme": "modular"}}


def given_network(seed):
    """A convolutional network over flat rows of 64 pixels; DFAClassifier starts from its weights."""
    import torch
    from torch import nn

    torch.manual_seed(seed)
    return nn.Sequential(
        *(nn.Unflatten(1, (1, 8, 8)), nn.Conv2d(1, 16, 3, padding=1), nn.ReLU()),
        *(nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten()),
        *(nn.Linear(512, 64), nn.ReLU(), nn.Linear(64, 10)),
    )


def model_of(name, seed, epochs):
    """A classifier that is not fitted."""
    shared = {"max_iter": epochs, "n_iter_no_change": np.inf, "batch_size": 32, "learning_rate_init": 2e-3}
    shared["random_state"] = seed
    if name in GIVEN:
        return DFAClassifier(network=given_network(seed), **GIVEN[name], **shared)
    return DFAClassifier((64,), network=ImageNetwork((8, 8), (16, 32)), **CONTENDERS[name], **shared)


# %%
# Half of the digits are for testing. Seeds change weights, feedback and the order of rows.


def compare(n_seeds, epochs):
    """{contender: (accuracies, seconds, bytes that a batch keeps)}."""
    X, y = load_digits(return_X_y=True)
    X, X_test, y, y_test = train_test_split(X, y, test_size=0.5, stratify=y, random_state=0)
    model_of("backprop", 0, 1).fit(X, y)  # loads torch
    results = {}
    for name in (*CONTENDERS, *GIVEN):
        accuracies, seconds = [], []
        for seed in range(n_seeds):
            model = model_of(name, seed, epochs)
            start = time.perf_counter()
            model.fit(X, y)
            seconds.append(time.perf_counter() - start)
            accuracies.append(model.score(X_test, y_test))
        results[name] = (accuracies, min(seconds), model.activation_bytes_["stored"])
    return results


def print_table(results):
    print(f"{'scheme':18s} accuracy  (least)  fit [s]  bytes kept by a batch")
    for name, (accuracies, seconds, stored) in results.items():
        print(f"{name:18s} {np.mean(accuracies):8.4f} ({min(accuracies):.4f}) {seconds:7.2f} {stored:12,d}")


# %%
# The figure: accuracy, a point per seed and a bar at the mean, and the bytes beside it.


def draw(results, folder):
    try:
        from matplotlib import pyplot
    except ImportError:
        print("No figure: matplotlib is not installed (pip install matplotlib).")
        return
    figure, axes = pyplot.subplots(1, 2, figsize=(11, 3.8), sharey=True, layout="constrained")
    places = np.arange(len(results))
    colors = ["C1" if name in GIVEN else "C0" for name in results]
    for place, color, (accuracies, _, _) in zip(places, colors, results.values(), strict=True):
        axes[0].plot(accuracies, np.full(len(accuracies), place), "o", color=color, alpha=0.5)
        axes[0].plot(np.mean(accuracies), place, "|", color=color, markersize=22, markeredgewidth=3)
    axes[1].barh(places, [stored / 1024 for _, _, stored in results.values()], color=colors)
    axes[0].set(xlabel="test accuracy, a point per seed", title="8 x 8 digits")
    axes[1].set(xlabel="KiB kept by a batch for the backward pass", title="orange: the given network")
    axes[0].set_yticks(places, list(results))
    axes[0].set_ylim(len(results) - 0.4, -0.6)
    for axis in axes:
        axis.grid(alpha=0.3, axis="x")
    folder.mkdir(parents=True, exist_ok=True)
    figure.savefig(folder / "dfa_images.png", dpi=130)


def main():
    parser = argparse.ArgumentParser(description="Which layers of a convolutional network need the exact gradient?")
    parser.add_argument("--out", type=Path, default=Path(), help="folder of the figure")
    parser.add_argument("--quick", action="store_true", help="fewer epochs, one seed")
    options = parser.parse_args()
    results = compare(n_seeds=1 if options.quick else 2, epochs=4 if options.quick else 12)
    print_table(results)
    draw(results, options.out)


if __name__ == "__main__":
    main()
