"""
Which layers of a convolutional network need the exact gradient?
================================================================

Direct feedback alone falls behind on convolutions: a kernel is shared by all places, and has too few
weights to align with a random matrix. ``scheme="hybrid"`` of
:class:`~sklearn_analytic.DFAClassifier` (Han and Yoo 2019) keeps the exact gradient for the
convolutions, from the error of the first dense layer, and gives dense layers a projection of the
output error. On 8 x 8 digits it reaches backpropagation. Schemes with fixed random feedback learn
more slowly and fall short in a few epochs; where the signs, or the largest entries, follow the weights,
they do not. Kept in 4 bits, activations take a ninth of the memory at
nearly the same accuracy. See :doc:`/user_guide/dfa` for all schemes.

Needs ``pip install torch``.
"""

import os
import warnings

import matplotlib.pyplot as plt
import numpy as np
import torch
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split
from torch import nn

from sklearn_analytic import ApproximateActivation, DFAClassifier, Feedback, ImageNetwork

QUICK = bool(os.environ.get("SKLEARN_ANALYTIC_QUICK"))  # small data and few epochs, for tests
SEEDS, EPOCHS = (1, 4) if QUICK else (2, 12)

warnings.simplefilter("ignore", ConvergenceWarning)  # the number of epochs is fixed, and the same for all

# %%
# One fit
# -------
# ``ImageNetwork`` puts blocks of 3 x 3 convolution, rectifier and 2 x 2 pooling under a dense head.
# Rows stay flat; the network knows their shape. After the fit, ``activation_bytes_`` says what a batch
# keeps for its backward pass.

X, y = load_digits(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=0.5, stratify=y, random_state=0)
training = {"max_iter": EPOCHS, "n_iter_no_change": np.inf, "batch_size": 32, "learning_rate_init": 2e-3}
images = {"hidden_layer_sizes": (64,), "network": ImageNetwork((8, 8), (16, 32))}
model = DFAClassifier(**images, scheme="hybrid", **training, random_state=0).fit(X_train, y_train)
print(f"hybrid: accuracy {model.score(X_test, y_test):.4f}, {model.activation_bytes_['stored']} bytes kept")

# %%
# All schemes
# -----------
# ``feedback="binary"`` takes random signs, so that the projection only adds and subtracts; with
# ``init="sign_product"`` and a ``refresh_interval`` they are the signs of the forward weights, renewed
# every few steps. ``scheme="modular"`` (after Han et al. 2020, a reconstruction) carries the error
# exactly from module to module, and inside a module by one sparse dilated convolution, or by the
# largest entries of the forward weights. Literal direct feedback gives every
# layer, convolutions too, a random projection. ``ApproximateActivation`` keeps activations in 4 bits
# for the backward pass (Chakrabarti and Moseley 2019).
#
# ``stacked`` is a network of torch in which two convolutions follow each other before the pooling: they
# are one module, and the lower one receives its error by a path of its own.

signs = Feedback("binary", init="sign_product", refresh_interval=5)
largest = Feedback("sparse", init="product", density=0.2, refresh_interval=5)
schemes = {
    "backprop": {"scheme": "backprop"},
    "hybrid": {"scheme": "hybrid"},
    "hybrid, binary": {"scheme": "hybrid", "feedback": "binary"},
    "hybrid, signs": {"scheme": "hybrid", "feedback": signs},
    "hybrid, 4 bits": {"scheme": "hybrid", "activation": ApproximateActivation("relu", bits=4)},
    "modular": {"scheme": "modular"},
    "literal DFA": {"scheme": "dfa", "feedback": "random"},
    "stacked, backprop": {"scheme": "backprop"},
    "stacked, modular": {"scheme": "modular"},
    "stacked, largest": {"scheme": "modular", "feedback": largest},
}


def stacked(seed):
    """A convolutional network over flat rows of 64 pixels; the classifier starts from its weights."""
    torch.manual_seed(seed)
    return nn.Sequential(
        *(nn.Unflatten(1, (1, 8, 8)), nn.Conv2d(1, 16, 3, padding=1), nn.ReLU()),
        *(nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten()),
        *(nn.Linear(512, 64), nn.ReLU(), nn.Linear(64, 10)),
    )


results = {}
print("scheme             accuracy  (least)   bytes kept by a batch")
for name, scheme in schemes.items():
    accuracies = []
    for seed in range(SEEDS):
        network = {"network": stacked(seed)} if name.startswith("stacked") else images
        model = DFAClassifier(**network, **scheme, **training, random_state=seed).fit(X_train, y_train)
        accuracies.append(model.score(X_test, y_test))
    results[name] = accuracies, model.activation_bytes_["stored"]
    print(f"{name:17s}  {np.mean(accuracies):8.4f}  ({min(accuracies):.4f})  {results[name][1]:12d}")

# %%
# Each point is a seed, each bar the mean: ``"hybrid"`` is level with backpropagation, with activations
# of 4 bits too. The others are behind, literal direct feedback most. Memory depends on the network and
# on the bits alone, not on the scheme.

figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.8), sharey=True, layout="constrained")
colors = ["C1" if name.startswith("stacked") else "C0" for name in results]
for name, color in zip(results, colors, strict=True):
    accuracies, _ = results[name]
    left.plot(accuracies, [name] * SEEDS, "o", color=color, alpha=0.5)
    left.plot(np.mean(accuracies), name, "|", color=color, markersize=20, markeredgewidth=3)
right.barh(list(results), [stored / 1024 for _, stored in results.values()], color=colors)
left.set_xlabel("test accuracy")
right.set_xlabel("KiB kept by a batch for its backward pass")
left.invert_yaxis()
for axis in (left, right):
    axis.grid(alpha=0.3, axis="x")
plt.show()
