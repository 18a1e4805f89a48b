"""
What does each module do, when, and what does it cost in accuracy?
==================================================================

``DecoupledMLPClassifier`` cuts a network into modules that work side by side: while a module
forwards one batch, the modules above still have older ones, and the error of an older batch comes
back. No module waits, and gradients are some updates old. Here a network of eight layers learns the
digits whole (backpropagation) and in two, four and eight modules, under five schedules.

The figure ``decoupled_schedules.png`` shows what three modules do on ideal machines,
``decoupled_timeline.png`` what two modules of a larger network did on two threads, measured, and
``decoupled_accuracy.png`` the accuracy against the number of updates by which gradients were old.

Run ``python examples/plot_12_decoupled.py`` (about a minute on two cores) with ``--out DIR`` for the
folder of the figures and ``--quick`` for few epochs, one seed and at most four modules.
"""

import argparse
import time
import warnings
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits, make_classification
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split

from sklearn_analytic import DecoupledMLPClassifier, PipelineRule, TimelineDisplay

warnings.simplefilter("ignore", ConvergenceWarning)  # the number of epochs is a setting here

NETWORK = (128,) * 7  # and the output layer
BATCH = 32
SCHEDULES = {"auto": {}, "fdg": {}, "ddg": {}, "adl": {"accumulation_steps": 4}, "dtrp": {}}
MODULES = (2, 4, 8)

# %%
# The schedules, without measuring anything. With backpropagation one module works at a time. Under
# "ddg" a batch comes back to module k of K after K - k others, under "fdg" after twice as many;
# "adl" takes a step every few batches; "dtrp" keeps the input of a batch in place of its activations,
# and runs forward again before it goes back.


def draw_schedules(pyplot, path):
    shown = {"backprop": {}} | {name: options for name, options in SCHEDULES.items() if name != "auto"}
    figure, axes = pyplot.subplots(len(shown), 1, figsize=(10, 11), sharex=True, layout="constrained")
    for axis, (schedule, options) in zip(axes, shown.items(), strict=True):
        follow = 1 if schedule == "backprop" else 4
        display = TimelineDisplay.from_schedule(
            schedule, n_modules=3, n_batches=8, **options, follow=follow, legend=False, ax=axis
        )
        words = [f'schedule="{schedule}"', *(f"{name}={value}" for name, value in options.items())]
        axis.set(title=", ".join(words), xlim=(-0.2, 38.2), xlabel="")
    axes[-1].set_xlabel("time (forward passes of a module)")
    handles, _ = display.ax_.get_legend_handles_labels()
    labels = ["forward", 'backward ("dtrp": forward again, then backward)', "update", "a batch on its way"]
    figure.legend(handles, labels, loc="outside lower center", ncols=4, frameon=False)
    figure.savefig(path, dpi=130)


# %%
# A measured timeline of an epoch's eight batches. The modules are large enough that two threads pay.
# Under "backprop" they take turns.


def draw_timelines(pyplot, path, width):
    X, y = make_classification(2048, 64, n_informative=20, n_classes=5, random_state=0)
    end = 0.0
    figure, axes = pyplot.subplots(2, 1, figsize=(11, 5), sharex=True, layout="constrained")
    for axis, schedule in zip(axes, ("backprop", "fdg"), strict=True):
        pipeline = PipelineRule(executor="threads")
        model = DecoupledMLPClassifier(
            (width,) * 7, schedule=schedule, pipeline=pipeline, batch_size=256, max_iter=3, random_state=0
        ).fit(X, y)
        display = TimelineDisplay.from_estimator(model, n_batches=8, legend=False, ax=axis)
        shares = " and ".join(f"{100 * share:.0f} %" for share in model.utilisation_)
        axis.set_title(f'schedule="{schedule}": modules worked {shares} of the time')
        end = max(end, axis.get_xlim()[1])
    axes[0].set(xlim=(-0.005 * end, end), xlabel="")
    handles, _ = display.ax_.get_legend_handles_labels()
    labels = ["forward", "backward", "update", "a batch on its way"]
    figure.legend(handles, labels, loc="outside lower center", ncols=4, frameon=False)
    figure.savefig(path, dpi=130)


# %%
# Accuracy on half of the digits. ``staleness_`` is measured: the mean number of updates that a module
# took between the two passes of a batch, here of the lowest module, which has most. The pipeline is
# emptied after every epoch of 29 batches, so that it is a little below its steady value. "auto" is
# "fdg" for two modules, and "ddg" with predicted weights for more. "adl" takes a quarter of the steps
# in the same epochs, and is behind for that.


def compare(modules, n_seeds, epochs):
    """{(schedule, modules): (accuracies, the last model, seconds of the fastest fit)}."""
    X, y = load_digits(return_X_y=True)
    split = train_test_split(X, y, test_size=0.5, stratify=y, random_state=0)
    common = {"batch_size": BATCH, "max_iter": epochs, "n_iter_no_change": np.inf}
    in_turns = PipelineRule(executor="sequential")
    DecoupledMLPClassifier(NETWORK, **common | {"max_iter": 1}).fit(split[0], split[2])  # loads compiled code
    alone = {"schedule": "backprop", "n_modules": 1, "pipeline": in_turns}
    results = {("backprop", 1): measure(split, n_seeds, **alone, **common)}
    for schedule, options in SCHEDULES.items():
        pipeline = PipelineRule(executor="sequential", **options)
        for n_modules in modules:
            rule = {"schedule": schedule, "n_modules": n_modules, "pipeline": pipeline}
            results[schedule, n_modules] = measure(split, n_seeds, **rule, **common)
    return results


def measure(split, n_seeds, **parameters):
    X, X_test, y, y_test = split
    accuracies, seconds = [], []
    for seed in range(n_seeds):
        model = DecoupledMLPClassifier(NETWORK, **parameters, random_state=seed)
        start = time.perf_counter()
        model.fit(X, y)
        seconds.append(time.perf_counter() - start)
        accuracies.append(model.score(X_test, y_test))
    return accuracies, model, min(seconds)


# %%
# The table: mean accuracy, staleness of the lowest module, copies of its weights, kilobytes of
# activations that waited for backward passes in all modules, and seconds on one thread.


def print_table(results):
    print("schedule  modules  accuracy  staleness  versions  kept kB  fit [s]")
    for (schedule, n_modules), (accuracies, model, seconds) in results.items():
        kept = model.activation_bytes_["stored"] / 1e3
        numbers = f"{np.mean(accuracies):8.4f}  {model.staleness_[0]:9.2f}  {model.weight_versions_[0]:8d}"
        print(f"{schedule:8s}  {n_modules:7d}  {numbers}  {kept:7.0f}  {seconds:7.3f}")


def draw_accuracy(pyplot, path, results):
    figure, axis = pyplot.subplots(figsize=(7.5, 4.2), layout="constrained")
    style = {"backprop": "k*", "auto": "C4v-", "fdg": "C0o-", "ddg": "C1s--", "adl": "C2^-.", "dtrp": "C3D:"}
    for schedule in style:
        found = [(m.staleness_[0], a) for (name, _), (a, m, _) in results.items() if name == schedule]
        means = [np.mean(accuracies) for _, accuracies in found]
        spreads = [np.std(a) / np.sqrt(max(len(a) - 1, 1)) for _, a in found]
        axis.errorbar([s for s, _ in found], means, spreads, fmt=style[schedule], capsize=3, label=schedule)
    axis.set_xlabel("staleness of the lowest module (updates)")
    axis.set_ylabel("test accuracy, with its standard error over seeds")
    counts = ", ".join(str(n) for n in sorted({n for _, n in results} - {1}))
    axis.set_title(f"digits, the same epochs; {counts} modules, left to right")
    axis.grid(alpha=0.3)
    axis.legend(loc="upper left", bbox_to_anchor=(1.01, 1.0), frameon=False)
    figure.savefig(path, dpi=130)


def main():
    parser = argparse.ArgumentParser(description="What does each module do, when, and what does it cost?")
    parser.add_argument("--out", type=Path, default=Path(), help="folder of the figures")
    parser.add_argument("--quick", action="store_true", help="few epochs, one seed, at most four modules")
    options = parser.parse_args()
    modules, n_seeds, epochs, width = (MODULES[:2], 1, 6, 128) if options.quick else (MODULES, 3, 20, 512)
    results = compare(modules, n_seeds, epochs)
    print_table(results)
    try:
        from matplotlib import pyplot
    except ImportError:
        print("No figure: matplotlib is not installed (pip install matplotlib).")
        return
    options.out.mkdir(parents=True, exist_ok=True)
    draw_schedules(pyplot, options.out / "decoupled_schedules.png")
    draw_timelines(pyplot, options.out / "decoupled_timeline.png", width)
    draw_accuracy(pyplot, options.out / "decoupled_accuracy.png", results)


if __name__ == "__main__":
    main()
