"""
Can a probe learn from embeddings that stream, with classes that appear later?
==============================================================================

A probe is a small classifier on the outputs of a frozen network. The embeddings often come in
blocks that are not kept, and nobody wants a second pass to choose the ridge. Here

* ``BRMPClassifier(alpha="gcv")`` is the linear probe: after every block its weights and its
  ridge are those of a fit on all rows so far, although no row was kept;
* ``CPNetClassifier`` is the nonlinear probe: its projections are frozen after the first block
  and its readouts stay exact for them;
* ``SGDClassifier`` is the usual answer; it has to be told all classes at the start.

The frozen network is one convolution with random filters on the digits images, so nothing is
downloaded. The digits 7, 8 and 9 appear only in the second half of the stream. The figure
``streaming_probe.png`` shows accuracy on all ten classes against blocks seen.

Run ``python examples/plot_02_streaming_probe.py`` with ``--out DIR`` for the folder of the
figure and ``--quick`` for fewer filters.
"""

import argparse
from pathlib import Path

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from sklearn.datasets import load_digits
from sklearn.linear_model import SGDClassifier
from sklearn.model_selection import train_test_split

from sklearn_analytic import BRMPClassifier, CPNetClassifier

BLOCK = 96
LATE = 7  # this class and those above it appear in the second half only

# %%
# The frozen network: 3 x 3 random filters, a rectifier, and 2 x 2 averages.


def embed(images, filters):
    patches = sliding_window_view(images, (3, 3), axis=(1, 2))  # (n, 6, 6, 3, 3)
    maps = np.maximum(np.einsum("nijab,kab->nijk", patches, filters), 0)
    pooled = maps.reshape(len(images), 3, 2, 3, 2, -1).mean(axis=(2, 4))
    return pooled.reshape(len(images), -1)  # (n, 9 k)


def make_embeddings(n_filters):
    images, y = load_digits(return_X_y=True)
    filters = np.random.default_rng(0).normal(size=(n_filters, 3, 3)) / 3
    X = embed(images.reshape(-1, 8, 8) / 16, filters).astype(np.float32)
    return train_test_split(X, y, test_size=0.3, stratify=y, random_state=0)


# %%
# The stream: half of the early classes first, then everything else, shuffled.


def stream(X, y):
    order = np.random.default_rng(1).permutation(len(y))
    early = order[y[order] < LATE][: len(y) // 2]
    order = np.concatenate([early, order[~np.isin(order, early)]])
    for start in range(0, len(y), BLOCK):
        block = order[start : start + BLOCK]
        yield X[block], y[block]


def probes():
    return {
        "BRMP (linear)": BRMPClassifier(alpha="gcv"),
        "CPNet (nonlinear)": CPNetClassifier(random_state=0),
        "SGDClassifier": SGDClassifier(loss="log_loss", random_state=0),
    }


def follow(models, X, y, X_test, y_test):
    """Accuracy on the whole test part after every block, for every probe."""
    known = {"SGDClassifier": {"classes": np.unique(y)}}  # ours meet a class when it comes
    curves = {name: [] for name in models}
    for X_block, y_block in stream(X, y):
        for name, model in models.items():
            model.partial_fit(X_block, y_block, **known.get(name, {}))
            curves[name].append(model.score(X_test, y_test))
    return curves


# %%
# The streamed linear probe is the full fit: same ridge, same weights, same predictions.


def compare_with_full_fit(models, curves, X, y, X_test, y_test):
    full = {}
    for name, model in probes().items():
        full[name] = model.fit(X, y).score(X_test, y_test)
        print(f"{name:20s} streamed {curves[name][-1]:.4f}   full fit {full[name]:.4f}")
    linear = BRMPClassifier(alpha="gcv").fit(X, y)
    streamed = models["BRMP (linear)"]
    expected = linear.decision_function(X_test)
    gap = np.abs(streamed.decision_function(X_test) - expected).max() / np.abs(expected).max()
    print(f"linear probe: largest relative difference of the decision values {gap:.1e}")
    print(f"linear probe: ridge streamed {streamed.alpha_:.6g}, full fit {linear.alpha_:.6g}")
    return full


def draw(curves, full, late_block, folder):
    try:
        from matplotlib import pyplot
    except ImportError:
        print("No figure: matplotlib is not installed (pip install matplotlib).")
        return
    figure, axis = pyplot.subplots(figsize=(7.5, 4.6), layout="constrained")
    for color, (name, curve) in enumerate(curves.items()):
        axis.plot(range(1, len(curve) + 1), curve, marker="o", ms=3, color=f"C{color}", label=name)
        axis.axhline(full[name], color=f"C{color}", ls=":", lw=1)
    axis.axvline(late_block, color="0.6", ls="--", lw=1)
    axis.annotate(" digits 7, 8, 9 appear", (late_block, axis.get_ylim()[0]), va="bottom")
    axis.set(xlabel=f"blocks of {BLOCK} rows seen", ylabel="accuracy on all ten digits")
    axis.set_title("Probes on a stream of embeddings (dotted: fit on all rows at once)")
    axis.legend(loc="lower right")
    axis.grid(alpha=0.3)
    folder.mkdir(parents=True, exist_ok=True)
    figure.savefig(folder / "streaming_probe.png", dpi=150)


def main():
    parser = argparse.ArgumentParser(description="Probes on a stream of embeddings.")
    parser.add_argument("--out", type=Path, default=Path(), help="folder of the figure")
    parser.add_argument("--quick", action="store_true", help="fewer filters")
    options = parser.parse_args()
    X, X_test, y, y_test = make_embeddings(n_filters=4 if options.quick else 24)
    models = probes()
    curves = follow(models, X, y, X_test, y_test)
    full = compare_with_full_fit(models, curves, X, y, X_test, y_test)
    late_block = 1 + next(i for i, (_, labels) in enumerate(stream(X, y)) if labels.max() >= LATE)
    draw(curves, full, late_block, options.out)


if __name__ == "__main__":
    main()
