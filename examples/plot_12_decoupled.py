"""
What does each module do, when, and what does it cost in accuracy?
==================================================================

:class:`~sklearn_analytic.DecoupledMLPClassifier` cuts a network into modules that work side by side:
while a module forwards one batch, the modules above still have older ones, and the error of an older
batch comes back. No module waits, and gradients are some updates old. The first two figures show who
works when, ideally and measured; the last one shows accuracy against the age of gradients. On digits,
the default schedule costs no accuracy with two, four or eight modules.
See :doc:`/user_guide/decoupled` for how to choose.
"""

import os
import warnings

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits, make_classification
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split

from sklearn_analytic import DecoupledMLPClassifier, PipelineRule, TimelineDisplay

QUICK = bool(os.environ.get("SKLEARN_ANALYTIC_QUICK"))  # small data and few epochs, for tests
MODULES, SEEDS, EPOCHS, WIDTH = ((2, 4), 1, 6, 128) if QUICK else ((2, 4, 8), 3, 20, 512)

warnings.simplefilter("ignore", ConvergenceWarning)  # the number of epochs is fixed, and the same for all

# %%
# Who works when: three modules on ideal machines
# -----------------------------------------------
# ``TimelineDisplay.from_schedule`` needs no fit. With backpropagation one module works at a time.
# Under ``"ddg"`` a batch comes back to module k of K after K - k others, under ``"fdg"`` after twice as
# many. ``"dtrp"`` has the order of ``"fdg"``, but keeps the input of a batch in place of its
# activations, and runs forward again before it goes back. Follow the outlined batch.


def show_schedules(schedules):
    """Draw one panel for each schedule, on a common axis of time."""
    figure, axes = plt.subplots(len(schedules), 1, figsize=(9, 8), sharex=True, layout="constrained")
    for axis, schedule in zip(axes, schedules, strict=True):
        follow = 1 if schedule == "backprop" else 4
        display = TimelineDisplay.from_schedule(schedule, n_modules=3, follow=follow, legend=False, ax=axis)
        axis.set(title=f'schedule="{schedule}"', xlabel="", xlim=(-0.2, 38.2))
    axes[-1].set_xlabel("time (forward passes of a module)")
    add_legend(figure, display)


def add_legend(figure, display):
    """Explain the colours once, below all panels."""
    handles, _ = display.ax_.get_legend_handles_labels()
    labels = ["forward", "backward", "update", "one batch"]
    figure.legend(handles, labels, loc="outside lower center", ncols=4, frameon=False)


show_schedules(["backprop", "fdg", "ddg", "dtrp"])
plt.show()

# %%
# Measured: two modules on two threads
# ------------------------------------
# The eight batches of an epoch, as the fit recorded them. The layers are wide enough for a second
# thread to pay. Under ``"backprop"`` the modules take turns; under ``"fdg"`` they overlap, and the epoch
# ends earlier where two cores are free.

X_wide, y_wide = make_classification(2048, 64, n_informative=20, n_classes=5, random_state=0)
wide = {"hidden_layer_sizes": (WIDTH,) * 7, "batch_size": 256, "max_iter": 3, "random_state": 0}
on_threads = PipelineRule(executor="threads")
figure, axes = plt.subplots(2, 1, figsize=(9, 4.6), sharex=True, layout="constrained")
end = 0.0
for axis, schedule in zip(axes, ("backprop", "fdg"), strict=True):
    model = DecoupledMLPClassifier(**wide, schedule=schedule, pipeline=on_threads).fit(X_wide, y_wide)
    display = TimelineDisplay.from_estimator(model, n_batches=8, legend=False, ax=axis)
    shares = " and ".join(f"{100 * share:.0f} %" for share in model.utilisation_)
    end = max(end, axis.get_xlim()[1])
    axis.set_title(f'schedule="{schedule}": modules worked {shares} of the time')
axes[0].set(xlabel="", xlim=(-0.005 * end, end))
add_legend(figure, display)
plt.show()

# %%
# Staleness, memory and accuracy
# ------------------------------
# A network of eight layers learns half of the digits. ``staleness_`` is measured: the mean number of
# updates that a module took between the two passes of a batch, here of the lowest module, which has
# most. The table also shows the copies of its weights, and the kilobytes of activations that waited
# for a backward pass, in all modules together. ``"auto"`` is ``"fdg"`` for two modules, and ``"ddg"`` with
# predicted weights for more.

X, y = load_digits(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=0.5, stratify=y, random_state=0)
training = {"batch_size": 32, "max_iter": EPOCHS, "n_iter_no_change": np.inf}
in_turns = PipelineRule(executor="sequential")
schedules = dict.fromkeys(("auto", "fdg", "ddg", "adl", "dtrp"), in_turns)
schedules["adl"] = PipelineRule(executor="sequential", accumulation_steps=4)


def fitted(schedule, n_modules, seed):
    """A fitted network of eight layers in so many modules; one thread does the work of all."""
    pipeline = schedules.get(schedule, in_turns)
    rule = {"schedule": schedule, "n_modules": n_modules, "pipeline": pipeline}
    return DecoupledMLPClassifier((128,) * 7, **rule, **training, random_state=seed).fit(X_train, y_train)


results = []
print("schedule  modules  accuracy  staleness  versions  kept kB")
for schedule, n_modules in [("backprop", 1), *((name, n) for name in schedules for n in MODULES)]:
    models = [fitted(schedule, n_modules, seed) for seed in range(SEEDS)]
    accuracies = [model.score(X_test, y_test) for model in models]
    staleness, versions = models[-1].staleness_[0], models[-1].weight_versions_[0]
    results.append((schedule, n_modules, staleness, accuracies))
    row = f"{schedule:8s}  {n_modules:7d}  {np.mean(accuracies):8.4f}  {staleness:9.2f}  {versions:8d}"
    print(f"{row}  {models[-1].activation_bytes_['stored'] / 1e3:7.0f}")

# %%
# Each line goes from two modules on the left to the largest number on the right; the dashed line is
# backpropagation, with its standard error. Of the schedules that step on every batch, none falls below
# it by more than the errors; ``"fdg"``, without prediction, comes lowest where staleness is largest.
# ``"adl"`` steps on every fourth batch alone, and with a quarter of the steps it is a little behind.


def spread(accuracies):
    """Standard error of the mean."""
    return np.std(accuracies, ddof=1) / np.sqrt(SEEDS) if SEEDS > 1 else 0.0


figure, axis = plt.subplots(figsize=(7.5, 4.2), layout="constrained")
reference = results[0][-1]
axis.axhline(np.mean(reference), color="0.4", linestyle="--", label="backprop")
axis.axhspan(np.mean(reference) - spread(reference), np.mean(reference) + spread(reference), color="0.9")
for schedule, style in zip(schedules, ("v-", "o-", "s--", "^-.", "D:"), strict=True):
    found = [(staleness, accuracies) for name, _, staleness, accuracies in results if name == schedule]
    means, errors = [np.mean(a) for _, a in found], [spread(a) for _, a in found]
    axis.errorbar([s for s, _ in found], means, errors, fmt=style, capsize=3, label=schedule)
axis.set(xlabel="staleness of the lowest module (updates)", ylabel="test accuracy (bars: standard error)")
axis.grid(alpha=0.3)
axis.legend(loc="upper left", bbox_to_anchor=(1.01, 1.0), frameon=False)
plt.show()
