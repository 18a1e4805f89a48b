"""
Does direct feedback reach backpropagation?
===========================================

Direct feedback alignment sends the output error to every hidden layer at once, through a matrix of
its own, instead of backwards through the weights. Whether that works depends on the matrix. Here the
same network learns half of the digits by backpropagation and by five kinds of feedback of
:class:`~sklearn_analytic.DFAClassifier`. The default, ``"refresh"``, is within half a percentage
point of backpropagation in less time; fixed random matrices are further behind.
See :doc:`/user_guide/dfa` for how to choose.
"""

import os
import time
import warnings

import matplotlib.pyplot as plt
import numpy as np
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split

from sklearn_analytic import AlignmentDisplay, DFAClassifier, Feedback

QUICK = bool(os.environ.get("SKLEARN_ANALYTIC_QUICK"))  # small data and few epochs, for tests
SEEDS, EPOCHS = (1, 15) if QUICK else (5, 40)

warnings.simplefilter("ignore", ConvergenceWarning)  # the number of epochs is fixed, and the same for all

# %%
# Alignment of one fit
# --------------------
# ``Feedback(alignment=True)`` measures in every epoch how well the error that a hidden layer receives
# agrees with the true gradient: the cosine is 1 for backpropagation, and 0 for an error that says
# nothing. With fixed random matrices it begins near 0 and rises. The weights turn until the feedback
# is of use to them, hence the name feedback *alignment*.

X, y = load_digits(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=0.5, stratify=y, random_state=0)
training = {"max_iter": EPOCHS, "n_iter_no_change": np.inf, "random_state": 0}
watched = DFAClassifier((128, 128, 128), feedback=Feedback("random", alignment=True), **training)
watched.fit(X_train, y_train)
AlignmentDisplay.from_estimator(watched)
plt.show()

# %%
# Six kinds of error
# ------------------
# ``"refresh"`` is a product of the weights above, renewed every few steps; ``"product"`` is that of the
# first weights, then fixed; ``"random"`` and ``"binary"`` are normal draws and random signs;
# ``"learned"`` is moved towards the Jacobian of the network. The matrices of ``"refresh"`` are soon
# close to the gradient in all layers. Those of ``"learned"`` come near it late. Fixed ones stay further
# away, except in the top layer under ``"product"``.

networks = {"backprop": DFAClassifier((128, 128, 128), scheme="backprop", feedback=Feedback(), **training)}
for name in ("refresh", "product", "random", "binary", "learned"):
    networks[name] = DFAClassifier((128, 128, 128), feedback=Feedback(name), **training)
cosines = {}
figure, axes = plt.subplots(2, 3, figsize=(9, 5), sharex=True, sharey=True, layout="constrained")
for axis, (name, network) in zip(axes.flat, networks.items(), strict=True):
    watched = clone(network).set_params(feedback__alignment=True).fit(X_train, y_train)
    cosines[name] = watched.alignment_[-1]
    AlignmentDisplay.from_estimator(watched, ax=axis)
    axis.set(title=name, xlabel="", ylabel="")
    axis.get_legend().set_visible(name == "backprop")
    axis.grid(alpha=0.3)
figure.supxlabel("epoch")
figure.supylabel("cosine to the true gradient")
plt.show()

# %%
# Accuracy and time
# -----------------
# The same fits without measuring alignment, which costs time. Seeds change the weights, the feedback
# and the order of rows; the split stays. The table shows the mean accuracy, its standard error over
# seeds, the processor time of the fastest fit, and the last cosines, bottom layer first.


def accuracy_and_seconds(model):
    """Fit once; accuracy on test rows, and processor time."""
    start = time.process_time()
    model.fit(X_train, y_train)
    seconds = time.process_time() - start
    return model.score(X_test, y_test), seconds


fits = {name: [] for name in networks}
for seed in range(SEEDS):  # kinds take turns, so that a busy minute of the machine hits all of them
    for name, network in networks.items():
        fits[name].append(accuracy_and_seconds(clone(network).set_params(random_state=seed)))
results = {}
print("feedback  accuracy  (error)  fit (s)  cosines")
for name in networks:
    accuracies, seconds = np.transpose(fits[name])
    error = np.std(accuracies, ddof=1) / np.sqrt(SEEDS) if SEEDS > 1 else 0.0
    results[name] = accuracies.mean(), error, seconds.min()
    last = " ".join(f"{cosine:.2f}" for cosine in cosines[name])
    print(f"{name:8s}  {accuracies.mean():8.4f} ({error:.4f})  {seconds.min():7.3f}  {last}")

# %%
# Backpropagation is the most accurate and ``"refresh"`` next, in a little less time. ``"learned"`` comes
# near too, but takes about three times as long: each of its steps adds noise to all layers, follows it
# to the outputs and moves the matrices. Fixed feedback is about as fast as ``"refresh"`` and less
# accurate.

accuracies, errors, seconds = np.transpose(list(results.values()))
figure, (score, cost) = plt.subplots(1, 2, figsize=(9, 3.4), sharey=True, layout="constrained")
score.errorbar(100 * accuracies, list(results), xerr=100 * errors, fmt="o", capsize=3)
score.set_xlabel("test accuracy in % (bars: standard error over seeds)")
score.grid(alpha=0.3, axis="x")
score.invert_yaxis()
cost.bar_label(cost.barh(list(results), seconds, color="C1"), fmt=" %.2f")
cost.set(xlabel="processor time of the fastest fit (s)", xlim=(0, 1.15 * max(seconds)))
plt.show()
