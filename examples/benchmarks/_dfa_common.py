"""What the suites of ``dfa.py`` share: a suite as a value, data sets, one timed fit, the estimator's insides."""

import importlib.util
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
from _accuracy_suites import IMAGES, log_loss
from _common import data_folder, given_epochs, load, mean
from accuracy import cap, channels_first

from sklearn_analytic import DFAClassifier, Feedback
from sklearn_analytic.nn import Rows

TABLES = ("letter", "pendigits", "optdigits", "satimage", "segment")
BUNDLED = ("digits", "breast_cancer", "wine", "iris")  # scikit-learn's own: no folder is needed
SIGNS = Feedback("binary", init="sign_product", refresh_interval=5)  # of the weights' products
SIDES = {784: (28, 28), 3072: (3, 32, 32), 64: (8, 8)}  # {features of an image: its shape}


@dataclass(frozen=True)
class Suite:
    """One question of the script.

    ``jobs(options)`` yields what identifies a measurement, a dict; ``run(job, options)`` returns its rows, dicts of
    numbers; ``summarise(rows)`` returns the lines of the table and ``columns`` how they print. ``names`` is what
    --only chooses from, ``defaults`` and ``quick`` are options, ``extra(lines)`` is one more table.
    """

    jobs: Callable
    run: Callable
    summarise: Callable
    columns: dict
    names: tuple
    quick_names: tuple = ("digits",)
    contenders: tuple = ()
    quick_contenders: tuple = ()
    defaults: dict = field(default_factory=dict)
    quick: dict = field(default_factory=dict)
    extra: Callable | None = None
    note: str = ""


# ------------------------------------------------------------------ data


def split_of(name, seed, options):
    """X, X_test, y, y_test of one set, rows capped and pixels in [0, 1]."""
    folder = None if name in BUNDLED else data_folder(options.data)
    X, X_test, y, y_test = load(name, folder, seed)
    X, y = cap(X, y, options.max_train_rows, seed)
    if name in IMAGES:
        X, X_test = (channels_first(part) / np.float32(255) for part in (X, X_test))
    return np.asarray(X, np.float32), np.asarray(X_test, np.float32), y, y_test


def image_shape(X):
    """(H, W) or (C, H, W) of flattened images, known by their number of values."""
    return SIDES[X.shape[1]]


def rotated(jobs, shift):
    """The same jobs from another one on, so that a slow minute of the machine hits all contenders alike."""
    shift %= max(len(jobs), 1)
    return jobs[shift:] + jobs[:shift]


def datasets_by_contenders(options):
    """One job per data set, seed and contender, contenders innermost."""
    for k, name in enumerate(options.only):
        for seed in options.seeds:
            jobs = [{"dataset": name, "seed": seed, "contender": contender} for contender in options.contenders]
            yield from rotated(jobs, k + seed)


# ------------------------------------------------------------------ measurements


def measured_fit(model, split):
    """Scores, seconds and the sizes of a split."""
    X, X_test, y, y_test = split
    network = model[-1] if hasattr(model, "steps") else model
    given_epochs(network)
    start, processor = time.perf_counter(), time.process_time()
    model.fit(X, y)
    seconds, processor = time.perf_counter() - start, time.process_time() - processor
    return {
        "n_train": len(y),
        "n_test": len(y_test),
        "n_features": X.shape[1],
        "accuracy": float(np.mean(model.predict(X_test) == y_test)),
        "log_loss": log_loss(model, None, X_test, y_test),
        "loss": float(network.loss_),
        "seconds": seconds,
        "cpu_seconds": processor,
        "epochs": network.n_iter_,
    }


def execution_of(model, X, y):
    """(execution, rows) of a fitted estimator, as training left them: what a public fit does not keep apart."""
    method, trained = model._method(), model._trained
    dtype, targets = method.weight_dtype, trained.targets
    rows = Rows(trained.reading.encoded(X, dtype), targets.coded(y, dtype))
    recipe = replace(method.recipe(len(X)), seed=trained.seed)
    plan = method.network_plan(rows.x.shape[1], targets.n_outputs, trained)
    execution = plan.execution(recipe, np.random.default_rng(0))
    execution.restore(trained.snapshot)
    return execution, rows


def final_alignment(model, X, y, n_rows=512):
    """Cosine to the true gradient, layer by layer, after training: outside of the timed fit."""
    execution, rows = execution_of(model, X, y)
    return [float(value) for value in execution.alignment(rows.x[:n_rows], rows.y[:n_rows])]


def warm_up(variants):
    """Compile what will be timed: a small fit of every variant, untimed."""
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((64, 4)).astype(np.float32), np.arange(64) % 3
    for parameters in variants:
        small = {"hidden_layer_sizes": (8, 8), "max_iter": 1, "batch_size": 16}
        DFAClassifier(**(parameters | small)).fit(X, y)


def torch_or_skip(threads):
    """Torch with so many threads; SkipJob where it is not installed."""
    if importlib.util.find_spec("torch") is None:
        raise SkipJob("torch is not installed")
    import torch

    torch.set_num_threads(threads)
    return torch


class SkipJob(Exception):
    """A measurement that this machine cannot make; listed, not failed."""


# ------------------------------------------------------------------ summaries


def standard_error(values):
    """Standard error of the mean, or None of fewer than two values."""
    return float(np.std(values, ddof=1) / np.sqrt(len(values))) if len(values) > 1 else None


def finished(rows):
    """Rows that hold a measurement."""
    return [row for row in rows if row["error"] is None]


def paired_difference(rows, reference_rows, key="accuracy", pairs=("dataset", "seed")):
    """(mean, standard error over seeds) of the difference of paired rows, averaged over data sets within a seed."""
    reference = {tuple(row[name] for name in pairs): row[key] for row in reference_rows}
    by_seed = {}
    for row in rows:
        place = tuple(row[name] for name in pairs)
        if place in reference:
            by_seed.setdefault(row["seed"], []).append(row[key] - reference[place])
    means = [mean(values) for values in by_seed.values()]
    return mean(means), standard_error(means)


def in_points(value):
    """A share as percentage points, or None."""
    return None if value is None else 100 * value


def log(message):
    print(message, file=sys.stderr, flush=True)
