"""
What does a network gain from knowing that its rows are images?
===============================================================

``image_shape=(8, 8)`` makes an image of the 64 columns that
:class:`~sklearn_analytic.ClosedFormMLP` reads. Then ``hidden="patch"`` (the default for images)
whitens random patches and uses them as the filters of one convolution with pooling, and
``hidden="masked"`` gives every unit a random rectangle to look at. Both are solved in closed form,
as is the flat network that sees 64 unrelated columns. On the digits, ``"patch"`` errs less than the
flat network at every number of training images from 100 to 800, and what it gains is lost once the
pixels are shuffled.
"""

import os
import time

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from sklearn.svm import SVC

from sklearn_analytic import ClosedFormMLP

QUICK = bool(os.environ.get("SKLEARN_ANALYTIC_QUICK"))  # small data and few epochs, for tests
WIDTH, SPLITS, SIZES = (300, 1, (100, 200, 400)) if QUICK else (1500, 3, (100, 200, 400, 800))

# %%
# The rows
# --------
# Rows stay flat, whatever the layer: ``image_shape`` only says which columns are neighbours.

X, y = load_digits(return_X_y=True)
figure, axes = plt.subplots(1, 8, figsize=(8, 1.2), layout="constrained")
for axis, row, label in zip(axes, X, y, strict=False):
    axis.imshow(row.reshape(8, 8), cmap="gray_r")
    axis.set(xticks=[], yticks=[], title=str(label))
plt.show()

# %%
# Error against the number of images
# ----------------------------------
# The layers have the same number of units, except for the default, which chooses its own. The SVC is
# strong on digits and serves as reference. All models see the same splits, and errors are means over
# them.

image = {"image_shape": (8, 8), "random_state": 0}
models = {
    "flat, sampled pairs": ClosedFormMLP(WIDTH, hidden="sampled", random_state=0),
    "flat, default": ClosedFormMLP(random_state=0),
    "masked": ClosedFormMLP(WIDTH, hidden="masked", **image),
    "patch": ClosedFormMLP(WIDTH, hidden="patch", **image),
    "SVC(C=10)": SVC(C=10),
}


def errors_of(model, X):
    """Test error in percent for every split and size, and seconds of the last fit."""
    errors = np.empty((SPLITS, len(SIZES)))
    for split in range(SPLITS):
        parts = train_test_split(X, y, train_size=SIZES[-1], stratify=y, random_state=split)
        X_train, X_test, y_train, y_test = parts
        for place, n in enumerate(SIZES):
            start = time.perf_counter()
            model.fit(X_train[:n], y_train[:n])
            seconds = time.perf_counter() - start
            errors[split, place] = 100 * (1 - model.score(X_test, y_test))
    return errors.mean(axis=0), seconds


results = {name: errors_of(model, X) for name, model in models.items()}
print(f"{'test error (%)':20s}" + "".join(f"{n:>7d}" for n in SIZES) + f"   fit of {SIZES[-1]} (s)")
for name, (errors, seconds) in results.items():
    print(f"{name:20s}" + "".join(f"{error:7.2f}" for error in errors) + f"{seconds:12.2f}")

# %%
# The same numbers as curves. ``"patch"`` errs least up to 400 images, and with half as many images it
# comes near to the flat networks. With 800 images it is level with ``"masked"`` and the SVC: the three
# are a test image apart.

colors = dict(zip(results, ("C2", "C4", "C1", "C0", "0.5"), strict=True))
figure, axis = plt.subplots(figsize=(7, 4.2), layout="constrained")
for name, (errors, _) in results.items():
    axis.plot(SIZES, errors, "o:" if name.startswith("SVC") else "o-", color=colors[name], label=name)
axis.set(xscale="log", yscale="log", xlabel="training images", ylabel="test error (%)")
axis.set_xticks(SIZES, SIZES)
axis.set_yticks([2, 5, 10], [2, 5, 10])
axis.minorticks_off()
axis.grid(alpha=0.3)
axis.legend()
plt.show()

# %%
# Is it the neighbourhood?
# ------------------------
# Put the 64 columns in a random order, the same for all rows. The flat network has what it had
# before. The filters of ``"patch"`` now see pixels that are no neighbours, and it errs more than the
# flat network: give ``image_shape`` to images alone.

shuffled = X[:, np.random.default_rng(0).permutation(64)]
print(f"{SIZES[-1]} images: error (%)  as they are  shuffled")
for name in ("flat, sampled pairs", "patch"):
    again, _ = errors_of(models[name], shuffled)
    print(f"{name:22s}{results[name][0][-1]:15.2f}{again[-1]:10.2f}")
