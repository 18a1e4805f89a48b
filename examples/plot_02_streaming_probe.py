"""
Can a probe learn from embeddings that stream, with classes that appear later?
==============================================================================

Yes: a linear probe by exact least squares ends where a fit on all rows ends, and meets a new class when it comes. A
probe is a small classifier on the outputs of a frozen network. The embeddings often come in blocks that are not kept,
and a second pass to choose the ridge is not possible. Three probes learn from such a stream:

* :class:`~sklearn_analytic.BRMPClassifier` with ``alpha="gcv"``, a linear probe: after every block its weights and its
  ridge are those of a fit on all rows so far, although no row was kept;
* :class:`~sklearn_analytic.CPNetClassifier`, a nonlinear one: its projections are frozen after the first block, and its
  readouts stay exact for them;
* ``SGDClassifier`` of scikit-learn, the usual answer, which has to know all classes at the start.

:doc:`/user_guide/streaming` and :doc:`/user_guide/class_incremental` have the rest.
"""

# %%
# Embeddings
# ----------
#
# The frozen network is one convolution with random filters on the images of digits, so that nothing is downloaded:
# filters of 3 by 3 pixels, a rectifier, and means over 2 by 2 positions.

import os

import matplotlib.pyplot as plt
import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from sklearn.datasets import load_digits
from sklearn.linear_model import SGDClassifier
from sklearn.model_selection import train_test_split

from sklearn_analytic import BRMPClassifier, CPNetClassifier

QUICK = bool(os.environ.get("SKLEARN_ANALYTIC_QUICK"))  # few filters, for tests


def embed(images, filters):
    """Embeddings of images, nine for each filter."""
    patches = sliding_window_view(images, (3, 3), axis=(1, 2))  # (n, 6, 6, 3, 3)
    maps = np.maximum(np.einsum("nijab,kab->nijk", patches, filters), 0)
    pooled = maps.reshape(len(images), 3, 2, 3, 2, -1).mean(axis=(2, 4))
    return pooled.reshape(len(images), -1)


images, y = load_digits(return_X_y=True)
filters = np.random.default_rng(0).normal(size=(4 if QUICK else 24, 3, 3)) / 3
X = embed(images.reshape(-1, 8, 8) / 16, filters).astype(np.float32)
X, X_test, y, y_test = train_test_split(X, y, test_size=0.3, stratify=y, random_state=0)
print(f"{len(X)} training rows of {X.shape[1]} columns, {len(X_test)} test rows")

# %%
# A stream with late classes
# --------------------------
#
# The stream has blocks of 96 rows. The digits 7, 8 and 9 appear in the second half only.

BLOCK, LATE = 96, 7
order = np.random.default_rng(1).permutation(len(y))
early = order[y[order] < LATE][: len(y) // 2]
order = np.concatenate([early, order[~np.isin(order, early)]])
blocks = [order[start : start + BLOCK] for start in range(0, len(y), BLOCK)]
late_block = 1 + [(y[rows] >= LATE).any() for rows in blocks].index(True)
print(f"{len(blocks)} blocks; the first with a 7, 8 or 9 is block {late_block}")

# %%
# Learn block by block
# --------------------
#
# Every probe sees every block once. After each, its accuracy is measured on test rows of all ten digits. Beside it
# stands that of a fit on all rows at once; for ``SGDClassifier`` this is many passes. All have their defaults.


def probes():
    """The three probes, not fitted."""
    return {
        "BRMP (linear)": BRMPClassifier(alpha="gcv"),
        "CPNet (nonlinear)": CPNetClassifier(random_state=0),
        "SGDClassifier": SGDClassifier(loss="log_loss", random_state=0),
    }


known = {"SGDClassifier": {"classes": np.unique(y)}}  # the others need not know them
streamed, curves = probes(), {}
for name, model in streamed.items():
    curves[name] = []
    for rows in blocks:
        model.partial_fit(X[rows], y[rows], **known.get(name, {}))
        curves[name].append(model.score(X_test, y_test))
at_once = {name: model.fit(X, y) for name, model in probes().items()}
full = {name: model.score(X_test, y_test) for name, model in at_once.items()}
for name, curve in curves.items():
    print(f"{name:20s} streamed {curve[-1]:.4f}   full fit {full[name]:.4f}")

# %%
# The streamed linear probe is the full fit
# -----------------------------------------
#
# It has the same ridge and, up to rounding, the same decision values.

in_blocks, whole = streamed["BRMP (linear)"], at_once["BRMP (linear)"]
expected = whole.decision_function(X_test)
gap = np.abs(in_blocks.decision_function(X_test) - expected).max() / np.abs(expected).max()
print(f"linear probe: largest relative difference of the decision values {gap:.1e}")
print(f"linear probe: ridge streamed {in_blocks.alpha_:.6g}, full fit {whole.alpha_:.6g}")

# %%
# Accuracy along the stream
# -------------------------
#
# Before the dashed line no probe can be right about three of the ten digits. Then the two probes of this package come
# within a point of their full fits, the dotted lines, in two blocks, and end level with them. Stochastic gradient
# descent jumps from block to block and does not get there in one pass.

figure, axis = plt.subplots(figsize=(7.2, 4.4), layout="constrained")
colors = ["#0072B2", "#009E73", "#D55E00"]
for color, (name, curve) in zip(colors, curves.items(), strict=True):
    axis.plot(range(1, len(curve) + 1), curve, marker="o", ms=4, color=color, label=name)
    axis.axhline(full[name], color=color, ls=":", lw=1)
axis.axvline(late_block, color="0.6", ls="--", lw=1)
axis.text(late_block + 0.15, 0.85, "digits 7, 8 and 9\nappear", va="center", color="0.3")
axis.plot([], [], ":", lw=1, color="0.3", label="fit on all rows at once")
axis.set(xlabel=f"blocks of {BLOCK} rows seen", ylabel="accuracy on all ten digits")
axis.legend(loc="lower right", frameon=False)
axis.grid(alpha=0.3)
plt.show()
