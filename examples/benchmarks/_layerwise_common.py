"""What the suites of ``layerwise.py`` share: rows, a timed fit with its curve on held-out rows, paired lines."""

import time
from dataclasses import dataclass
from typing import Any

import numpy as np
from _accuracy_suites import log_loss
from _common import geometric_mean, given_epochs, mean
from _dfa_common import in_points, split_of, standard_error
from accuracy import cap

from sklearn_analytic import DenseNetwork, DFAClassifier, LayerwiseMLP
from sklearn_analytic.feedback.method import DirectFeedback
from sklearn_analytic.layerwise.method import LayerwiseTraining

SETS = ("mnist", "fashion_mnist", "letter", "pendigits", "satimage", "cifar10_jpeg_10k")
BACKPROP = "backprop"
TRAINED = {"network": DenseNetwork(readout="trained")}  # networks that predict as they were trained
_CURVE_ROWS = 2000  # held-out rows of the curve: looking costs a little more than a tenth of an epoch


def capped_split(job, options):
    """X, X_test, y, y_test of a job's set, both parts capped."""
    X, X_test, y, y_test = split_of(job["dataset"], job["seed"], options)
    X_test, y_test = cap(X_test, y_test, options.max_test_rows, job["seed"])
    return X, X_test, y, y_test


# ------------------------------------------------------------------ curves


class Curve:
    """Accuracy on held-out rows after every epoch, and the processor seconds of training until then.

    Processor time of one thread, as the machine may be busy; the looking itself does not count.
    """

    def __init__(self, X, y, classes):
        self.X, self.y, self.classes = X[:_CURVE_ROWS], y[:_CURVE_ROWS], classes
        self.seconds, self.accuracy, self.looking, self._encoded = [], [], 0.0, None
        self.reading = None  # how columns are read, once it has been learned

    def start(self):
        """The clock runs from here."""
        self._start = time.process_time()

    def now(self):
        """Processor seconds of training so far."""
        return time.process_time() - self._start - self.looking

    def note(self, execution, dtype):
        """Look at a network in training, by the head that predicts at this time."""
        seconds, begin = self.now(), time.process_time()
        if self._encoded is None:
            self._encoded = self.reading.encoded(self.X, dtype)
        guess = self.classes[execution.outputs(self._encoded).argmax(axis=1)]
        self._append(seconds, guess)
        self.looking += time.process_time() - begin

    def finish(self, model):
        """The fitted estimator is the last point."""
        self.total = self.now()
        self._append(self.total, model.predict(self.X))

    def _append(self, seconds, guess):
        self.seconds.append(seconds)
        self.accuracy.append(float(np.mean(guess == self.y)))


class _Shown:
    """A method that shows every epoch to ``observer``, a :class:`Curve`."""

    def reading(self, X, weights, generator):
        found = super().reading(X, weights, generator)
        if self.observer is not None:
            self.observer.reading = found
        return found

    def watch(self, execution, rows):
        if self.observer is not None:
            self.observer.note(execution, self.weight_dtype)
        return super().watch(execution, rows)


@dataclass(frozen=True, eq=False, kw_only=True)
class _ShownLayerwise(_Shown, LayerwiseTraining):
    observer: Any = None


@dataclass(frozen=True, eq=False, kw_only=True)
class _ShownFeedback(_Shown, DirectFeedback):
    observer: Any = None


class WatchedLayerwise(LayerwiseMLP):
    """Shows every epoch to ``observer``, which is not a parameter."""

    observer = None
    _kind_of_method = _ShownLayerwise


class WatchedDFA(DFAClassifier):
    """Shows every epoch to ``observer``, which is not a parameter."""

    observer = None
    _kind_of_method = _ShownFeedback


def watched_fit(model, split):
    """Scores, seconds and the curve of one fit; ``seconds`` are the processor's, looking left out."""
    X, X_test, y, y_test = split
    given_epochs(model).observer = curve = Curve(X_test, y_test, np.unique(y))
    start = time.perf_counter()
    curve.start()
    model.fit(X, y)
    curve.finish(model)
    model.observer = None
    return {
        "n_train": len(y),
        "n_test": len(y_test),
        "n_features": X.shape[1],
        "accuracy": float(np.mean(model.predict(X_test) == y_test)),
        "log_loss": log_loss(model, None, X_test, y_test),
        "seconds": curve.total,
        "wall_seconds": time.perf_counter() - start,
        "epochs": model.n_iter_,
        "curve_seconds": [round(value, 4) for value in curve.seconds],
        "curve_accuracy": curve.accuracy,
    }


def layer_facts(model):
    """Diagnostics of a fitted layer-wise estimator; sides by side, bytes of all partitions count together."""
    together = model.order == "simultaneous"
    return {
        "bytes": int(model.layer_bytes_.sum() if together else model.layer_bytes_.max()),
        "batch_sizes": [int(size) for size in model.batch_sizes_],
        "layer_epochs": [int(count) for count in model.layer_n_iter_],
        "layer_scores": [float(score) for score in model.layer_scores_],
        "effective_ranks": [float(rank) for rank in model.effective_ranks_],
    }


def warm_up(estimator, parameters):
    """Compile what will be timed: a small fit of the same kind of network, untimed."""
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((64, 4)).astype(np.float32), np.arange(64) % 3
    small = {"hidden_layer_sizes": (8,) * len(parameters["hidden_layer_sizes"]), "max_iter": 1, "batch_size": 16}
    estimator(**(parameters | small | {"random_state": 0})).fit(X, y)


# ------------------------------------------------------------------ summaries


def differences(rows, reference_rows, key="accuracy", pairs=("dataset", "seed")):
    """(mean, standard error over sets and seeds, smallest mean of a set), in points, of paired rows."""
    reference = {tuple(row[name] for name in pairs): row[key] for row in reference_rows}
    found = [(row, tuple(row[name] for name in pairs)) for row in rows]
    gaps = [(row["dataset"], row[key] - reference[at]) for row, at in found if at in reference]
    by_set = [mean(gap for name, gap in gaps if name == one) for one in dict.fromkeys(name for name, _ in gaps)]
    values = [gap for _, gap in gaps]
    return in_points(mean(values)), in_points(standard_error(values)), in_points(min(by_set, default=None))


def paired_ratio(rows, reference_rows, key="seconds", pairs=("dataset", "seed")):
    """Geometric mean of the ratios of paired rows."""
    reference = {tuple(row[name] for name in pairs): row[key] for row in reference_rows}
    found = [(row, tuple(row[name] for name in pairs)) for row in rows]
    return geometric_mean(row[key] / reference[at] for row, at in found if reference.get(at))


def mean_over_sets(rows, key="accuracy"):
    """Mean over sets of the mean over seeds."""
    sets = dict.fromkeys(row["dataset"] for row in rows)
    return mean(mean(row[key] for row in rows if row["dataset"] == one) for one in sets)


def first_reaching(seconds, scores, level):
    """When scores first reach a level, or None."""
    return next((at for at, score in zip(seconds, scores, strict=True) if score >= level), None)
