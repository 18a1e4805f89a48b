"""
What does a network gain from knowing that its rows are images?
===============================================================

``image_shape=(8, 8)`` tells ``ClosedFormMLP`` that 64 columns are an image. Then ``hidden="patch"``
(the default for images) whitens random patches and uses them as the filters of one convolution
with pooling, and ``hidden="masked"`` gives every unit a random rectangle to look at. Both are
closed-form, as is the flat network that sees 64 unrelated columns. Test error on the digits, for
a growing number of training images; the figure is ``images.png``.

Run ``python examples/plot_07_images.py`` with ``--out DIR`` for the folder of the figure and
``--quick`` for narrow layers.
"""

import argparse
import time
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from sklearn.svm import SVC

from sklearn_analytic import ClosedFormMLP

SIZES = (100, 200, 400, 800)


# %%
# The same number of units for every layer, and an SVC as a yardstick: on digits, it is hard to beat.


def models(width):
    image = {"image_shape": (8, 8), "random_state": 0}
    return {
        "flat, sampled pairs": ClosedFormMLP(width, hidden="sampled", random_state=0),
        "flat, default": ClosedFormMLP(random_state=0),
        "masked": ClosedFormMLP(width, hidden="masked", **image),
        "patch": ClosedFormMLP(width, hidden="patch", **image),
        "SVC(C=10), flat": SVC(C=10),
    }


def errors_of(width):
    """{model: test error in % for every size}, with the seconds of the last fit."""
    X, y = load_digits(return_X_y=True)
    X, X_test, y, y_test = train_test_split(X, y, train_size=SIZES[-1], stratify=y, random_state=0)
    errors, seconds = {}, {}
    for name, model in models(width).items():
        errors[name] = []
        for n in SIZES:
            start = time.perf_counter()
            model.fit(X[:n], y[:n])
            seconds[name] = time.perf_counter() - start
            errors[name].append(100 * (1 - model.score(X_test, y_test)))
    return errors, seconds


def print_table(errors, seconds):
    print(f"{'test error [%]':22s}" + "".join(f"{n:>7d}" for n in SIZES) + f"   fit of {SIZES[-1]} images [s]")
    for name, row in errors.items():
        print(f"{name:22s}" + "".join(f"{error:7.2f}" for error in row) + f"{seconds[name]:12.2f}")


def draw(errors, folder):
    try:
        from matplotlib import pyplot
    except ImportError:
        print("No figure: matplotlib is not installed (pip install matplotlib).")
        return
    figure, axis = pyplot.subplots(figsize=(6.5, 4.5), layout="constrained")
    for name, row in errors.items():
        axis.plot(SIZES, row, "x:" if name.startswith("SVC") else "o-", label=name)
    axis.set(xscale="log", yscale="log", xlabel="training images", ylabel="test error [%]", title="8 x 8 digits")
    axis.set_xticks(SIZES, SIZES)
    ticks = [tick for tick in (0.5, 1, 2, 5, 10, 20) if np.min(list(errors.values())) <= tick]
    axis.set_yticks(ticks, ticks)
    axis.minorticks_off()
    axis.grid(alpha=0.3)
    axis.legend()
    folder.mkdir(parents=True, exist_ok=True)
    figure.savefig(folder / "images.png", dpi=130)


def main():
    parser = argparse.ArgumentParser(description="What does a network gain from knowing that rows are images?")
    parser.add_argument("--out", type=Path, default=Path(), help="folder of the figure")
    parser.add_argument("--quick", action="store_true", help="narrow layers")
    options = parser.parse_args()
    errors, seconds = errors_of(width=300 if options.quick else 1500)
    print_table(errors, seconds)
    draw(errors, options.out)


if __name__ == "__main__":
    main()
