"""
What does a layer learn when it is trained alone, and what does that save?
==========================================================================

:class:`~sklearn_analytic.LayerwiseMLP` trains one layer (or one partition of layers) at a time, each
under a head of its own, so that only the gradients, optimiser state and activations of one partition
are in memory. Here a network of eight hidden layers is trained whole (backpropagation), in partitions
and layer by layer, with the same number of epochs in all. Layer by layer it needs less than a third of
the memory and is as accurate; and the heads show that two layers would have been enough. At the end all
layers are read at once, as they are by default.
See :doc:`/user_guide/layerwise` for the settings.
"""

import os
import time
import warnings

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import make_classification
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import log_loss
from sklearn.model_selection import train_test_split

from sklearn_analytic import DenseNetwork, LayerDiagnosticsDisplay, LayerwiseMLP

QUICK = bool(os.environ.get("SKLEARN_ANALYTIC_QUICK"))  # small data and few epochs, for tests
SEEDS, EPOCHS, ROWS = (1, 32, 2000) if QUICK else (5, 48, 4000)

warnings.simplefilter("ignore", ConvergenceWarning)  # the number of epochs is fixed, and the same for all

# %%
# One fit, layer by layer
# -----------------------
# Five classes of six clusters each, in 20 columns; half of the rows are for testing. ``max_iter``
# counts the epochs of all layers together, so that each of the eight gets an eighth of them.
# ``readout="trained"`` predicts with the heads as they were trained; ``staged_predict`` yields what each of
# them says, from the bottom layer to the top one.

columns = {"n_features": 20, "n_informative": 10, "n_redundant": 5}
classes = {"n_classes": 5, "n_clusters_per_class": 6, "class_sep": 2.0}
X, y = make_classification(ROWS, **columns, **classes, random_state=0)
X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=0.5, stratify=y, random_state=0)
LayerwiseMLP((8, 8), max_iter=2).fit(X_train, y_train)  # compiles; times below are of training alone
network = {"hidden_layer_sizes": (128,) * 8, "batch_size": 64, "network": DenseNetwork(readout="trained")}
training = {"max_iter": EPOCHS, "n_iter_no_change": np.inf}
model = LayerwiseMLP(**network, **training, random_state=0).fit(X_train, y_train)
on_test = np.array([np.mean(predicted == y_test) for predicted in model.staged_predict(X_test)])
print("head            " + " ".join(f"{k:5d}" for k in range(1, 9)))
print("training rows   " + " ".join(f"{score:.3f}" for score in model.layer_scores_))
print("test rows       " + " ".join(f"{score:.3f}" for score in on_test))

# %%
# On training rows the heads get better layer by layer. On test rows the second layer gains some
# points over the first, and those above it gain nothing.

places = np.arange(1, 9)
figure, axis = plt.subplots(figsize=(7, 3.6), layout="constrained")
for scores, label in ((model.layer_scores_, "training rows"), (on_test, "test rows")):
    axis.plot(places, scores, "o-")
    axis.annotate(label, (8, scores[-1]), (0, -16), textcoords="offset points", ha="right")
axis.set(xlabel="hidden layer", ylabel="accuracy of its head", xticks=places)
axis.grid(alpha=0.3)
plt.show()

# %%
# What each layer has, and what it costs
# --------------------------------------
# :class:`~sklearn_analytic.LayerDiagnosticsDisplay` draws the layers of a model: scores, here those on
# test rows, effective rank, time and memory of the training. The rank falls from the fourth layer on:
# the features of upper layers vary along ever fewer directions. All layers but the first and the last
# take the same memory.

LayerDiagnosticsDisplay.from_estimator(model, scores=on_test)
plt.show()

# %%
# Against backpropagation
# -----------------------
# ``partitions=1`` is backpropagation, ``None`` a partition for each layer. The table shows the mean
# accuracy over seeds with its standard error, the processor time of the fastest fit, and the bytes of
# the largest partition in training: gradients, optimiser state and activations.

partitions = {"backprop": 1, "2 partitions": 2, "4 partitions": 4, "layer by layer": None}


def compared(number, seed):
    """Fit once; accuracy on test rows, processor time, and megabytes of training besides the weights."""
    start = time.process_time()
    model = LayerwiseMLP(**network, **training, partitions=number, random_state=seed).fit(X_train, y_train)
    seconds = time.process_time() - start
    return model.score(X_test, y_test), seconds, model.layer_bytes_.max() / 1e6


results = {}
print("training        accuracy  (error)  fit (s)  training (MB)")
for name, number in partitions.items():
    accuracies, seconds, megabytes = np.transpose([compared(number, seed) for seed in range(SEEDS)])
    error = np.std(accuracies, ddof=1) / np.sqrt(SEEDS) if SEEDS > 1 else 0.0
    results[name] = accuracies.mean(), error, megabytes[0]
    print(f"{name:14s}  {accuracies.mean():8.4f} ({error:.4f})  {seconds.min():7.2f}  {megabytes[0]:13.3f}")

# %%
# Memory falls with the size of a partition. Accuracy does not: on this table all three networks of
# partitions are above backpropagation, that of four partitions (two layers each) most.

names = list(results)
means, errors, megabytes = np.transpose(list(results.values()))
figure, (memory, score) = plt.subplots(1, 2, figsize=(9, 3.4), sharey=True, layout="constrained")
memory.bar_label(memory.barh(names, megabytes, color="C1"), fmt=" %.2f")
memory.set(xlabel="training memory besides the weights (MB)", xlim=(0, 1.15 * max(megabytes)))
memory.invert_yaxis()
score.errorbar(means, names, xerr=errors, fmt="o", capsize=3)
score.set_xlabel("test accuracy (bars: standard error over seeds)")
score.grid(alpha=0.3, axis="x")
plt.show()

# %%
# Fewer layers
# ------------
# The heads said that two layers are enough. ``early_stopping=True`` chooses a number by itself. It
# holds out a tenth of the training rows, ends training with the first layer that does not improve the
# score on them, and lets the best layer predict: one of layers 2 to 5, depending on the seed. The
# rows held out are missed, and accuracy is about a percentage point lower.

network |= {"max_iter": EPOCHS, "early_stopping": True}
stopped = [LayerwiseMLP(**network, random_state=seed).fit(X_train, y_train) for seed in range(SEEDS)]
print(f"layers that predict: {[model.exit_ + 1 for model in stopped]}")
print(f"accuracy {np.mean([model.score(X_test, y_test) for model in stopped]):.4f}", end="; ")
print(f"of eight layers {results['layer by layer'][0]:.4f}")

# %%
# All layers at once
# ------------------
# Heads that were trained to the end are too sure of themselves. By default, all layers are read at once:
# a ridge regression on the units of all of them, blended with the outputs as trained. How, is chosen on a
# few rows that the layers have not seen: labels are hardly others, and probabilities can be believed.

network |= {"early_stopping": False, "n_iter_no_change": np.inf}
print("what predicts   accuracy  log-loss")
for readout, name in (("trained", "the last head"), ("auto", "all layers")):
    network["network"] = DenseNetwork(readout=readout)
    models = [LayerwiseMLP(**network, random_state=seed).fit(X_train, y_train) for seed in range(SEEDS)]
    accuracy = np.mean([model.score(X_test, y_test) for model in models])
    print(f"{name:14s}  {accuracy:8.4f}  {np.mean([log_loss(y_test, m.predict_proba(X_test)) for m in models]):8.3f}")
