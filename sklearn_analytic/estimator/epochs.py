"""The driver of fits by steps: rows become a trained network, at once or block by block.

:func:`fit`, :func:`absorb` and ``fit_source`` (``epoch_source.py``, over sources) are the whole story, and
:class:`Trained` is all that they leave behind, beside the history of its epochs; a :class:`Method` says how.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from sklearn_analytic.backend import one_blas_thread, rows_are_few
from sklearn_analytic.estimator.base import FromParameters, seed_of
from sklearn_analytic.estimator.epoch_rows import called, most_encoded, relative
from sklearn_analytic.estimator.layer_readout import judging, set_apart, solved
from sklearn_analytic.estimator.learned import Trained, layout, shapes
from sklearn_analytic.estimator.table import Coding, learn_table
from sklearn_analytic.estimator.written_weights import take_written
from sklearn_analytic.nn import Plan, Rows, train

_LEAST_WEIGHT = 1e-4  # over the mean: of a row that is not skipped before it is learned
_LARGEST_WEIGHT = 1e30  # float32 ends at 3e38
_SCORES = ("validation_scores_", "best_validation_score_")
BEFORE_FIT = "The estimator is as it was before this fit."
BEFORE_BLOCK = "The estimator is as it was before this block."
LAST_GOOD = "The estimator keeps the weights of the last good epoch."


@dataclass(frozen=True)
class Run:
    """What training is told beside its rows."""

    recipe: Any
    generator: np.random.Generator
    judge: Callable  # of (outputs, y, weight); larger is better
    n_outputs: int
    watched: Rows | None = None
    tasks: Any = None  # is notified of epochs
    after_epoch: Callable | None = None  # of a history; True stops
    goes_on: bool = False

    def score(self, execution):
        """Return the score of the rows that are watched."""
        return self.judge(execution.outputs(self.watched.x), self.watched.y, self.watched.weight)

    def told(self, epoch, history):
        """Hand on that an epoch is over; return whether to stop."""
        return self.after_epoch(history)


class Method(FromParameters, ABC):
    """How a network is trained by steps: a frozen value with a field for each parameter of its estimators."""

    in_processes = False  # whether several may share its batches
    goes_on = True  # whether what training leaves behind can be trained further

    # ---- what a method says ----

    @abstractmethod
    def network_plan(self, n_inputs, n_outputs, before=None):
        """Return what builds a network (``nn/_plans.py``), anew or as what was trained ``before``."""

    @abstractmethod
    def recipe(self, n_rows):
        """Return the recipe of a fit on so many rows; the driver sets its seed."""

    @abstractmethod
    def plan(self, n_rows, recipe):
        """Return the plan of a fit."""

    @abstractmethod
    def reading(self, X, weights, generator):
        """Return how columns are read, learned from training rows."""

    @property
    @abstractmethod
    def weight_dtype(self):
        """Return the dtype of weights on the host."""

    @property
    @abstractmethod
    def widest(self):
        """Return the units of the widest layer that was asked for."""

    # ---- what it may change ----

    n_groups = None  # of columns that wake up together
    stream_rate = None  # the learning rate of a stream
    early_stopping = False  # whether the score of held-out rows ends training
    shuffle = True  # whether rows come in another order in every epoch
    watched_names = ()  # of fitted attributes that :meth:`watch` adds rows to

    reads_tables = True  # whether columns of X may become several
    reads_layers = False  # whether a readout of all layers predicts, after a fit

    def of_stream(self):
        """Return the method for blocks that are seen once."""
        return self

    def stretch_rate(self, whole):
        """Return the learning rate of blocks that are read again in every epoch of a whole plan."""
        return self.stream_rate

    def table(self, X, y, weights, coding):
        """Return how raw rows become numbers, learned from training rows."""
        return learn_table(X, y, weights, coding, self.reads_tables)

    def check_columns(self, n_features):
        """Refuse rows that do not have the shape that parameters tell."""
        return

    def begun(self):
        """Return the seed of a fit, and the generator of its draws."""
        seed = seed_of(self.random_state)
        return seed, np.random.default_rng(seed)

    def reading_of_source(self, rows, generator):
        """Return how columns are read, learned from rows in a source; streams and sources are not for all methods."""
        raise NotImplementedError

    def split(self, X, coded, weights, held_out, seed):
        """Return the training part (X, coded, weights) and held-out rows or None."""
        return (X, coded, weights), held_out

    def warn_of_rows(self, n_rows):
        """Say what is odd about so many rows."""
        return

    def kind(self):
        """Return the parameters that must not change while training goes on, by name."""
        return {}

    def train(self, execution, rows, run):
        """Train in place and return the history."""
        plan = self.plan(len(rows.x), run.recipe)
        run.tasks.begin(plan.n_epochs)
        score = None if run.watched is None else partial(run.score, execution)
        return train(execution, rows, plan, run.generator, score=score, after_epoch=run.told)

    def train_block(self, execution, rows, plan, run):
        """Train in place on one block of a stream and return the history."""
        return train(execution, rows, plan, run.generator)

    def watch(self, execution, rows):
        """Return what was seen of the network after an epoch: rows of fitted attributes by name."""
        return {}

    def curve(self, losses):
        """Return the losses of all epochs as fitted attributes by name, those of scikit-learn's MLP."""
        best = None if self.early_stopping else min(losses, default=math.nan)
        found = {"loss_curve_": list(losses), "loss_": losses[-1] if losses else math.nan, "best_loss_": best}
        return found | {"n_iter_": len(losses)}

    def outcome(self, execution, history):
        """Return what was measured, as fitted attributes by name."""
        return {}

    def exits(self, attributes, n_layers):
        """Return how many of all layers, the outputs among them, each readout reads."""
        return [n_layers]

    def with_readouts(self, readouts):
        """Return what readouts of all layers are published as, by name."""
        return readouts.published()

    def link(self, history):
        """Return the rule by which outputs are read; None is that by which they were trained."""
        return None

    def advise(self, trained):
        """Warn of what a fit has shown."""
        return

    @abstractmethod
    def failure(self, history, outcome):
        """Return the error of a training that ended early, with what became of the estimator."""


# ---- all rows at once ----


def in_numbers(method, targets, X, y, weights, before=None):
    """Return the table of rows of a fit, that of ``before`` if there is one, and the rows as it encodes them."""
    coding = Coding.of(targets, is_coded=False)
    if before is None:
        table = method.table(X, y, weights, coding)
        return table, X if table.changes_nothing else table.learned(X, table.folds_of(X, y, weights, coding))
    table = before.reading.table
    return table, X if table is None else table.learned(X)


def fit(method, targets, X, y, weights, tasks, table, held_out=None, before=None, written=None):
    """Train on all rows, which come as ``table`` encodes them; return what that leaves behind, and the history.

    It goes on from ``before``, with the weights that were ``written`` since. ``held_out`` are rows to watch.
    """
    method.check_columns(X.shape[1])
    coded, named = targets.coded(y, method.weight_dtype), "X" if held_out is None else "X_val"
    seed, generator = method.begun() if before is None else (before.seed, _generator_of(before))
    is_given = held_out is not None
    part, held_out = method.split(X, coded, weights, held_out, seed)
    reading = _reading(method, part[0], part[2], generator, table) if before is None else before.reading
    if before is not None or len(part[1]) > most_encoded(X.shape[1]):
        reading = reading.woken(part[0], part[2], method.n_groups)
    every = rows = encoded_rows(method, reading, *part)
    n_seen = len(rows.x)
    if method.reads_layers and held_out is None:
        rows, n_seen = set_apart(every, seed)
    method.warn_of_rows(n_seen)
    network = _Network(method, targets, reading, rows, seed, generator, before)
    if before is not None:
        network.go_on(before, written)
    with called("X", named):
        watched = None if held_out is None else encoded_rows(method, reading, *held_out)

    def after_epoch(history):
        network.epoch_is_over(rows)
        return tasks.epoch(lambda: so_far(network.predicting(history), history))

    run = replace(network.run, watched=watched, tasks=tasks, after_epoch=after_epoch, goes_on=before is not None)
    with one_blas_thread(rows_are_few(rows.x.shape, method.widest)):
        history = method.train(network.execution, rows, run)
    trained = network.trained(history)
    if watched is not None:
        trained, outputs = with_scores(trained, history), network.execution.outputs(watched.x)
        trained = replace(trained, targets=trained.targets.calibrated(outputs, watched.y, watched.weight))
    if method.reads_layers and history.failure is None:
        blocks = [(every, np.arange(len(every.x)) >= n_seen)]
        if watched is not None and not is_given:  # they are training rows, which the layers have not seen
            of_all = watched if part[2] is None else _weighing(watched, held_out[2].mean() / part[2].mean())
            blocks, watched = [*blocks, (of_all, judging(len(of_all.x)))], None
        try:
            trained = all_layers_read(method, trained, network.units(trained), blocks, watched)
        except KeyboardInterrupt:  # what was trained predicts
            history.failure = "interrupted"
    return trained, history


def all_layers_read(method, trained, units, blocks, watched):
    """Return what was trained, with readouts of all layers where they can be chosen."""
    exits_of = partial(method.exits, trained.attributes)
    found = solved(trained.targets, units, exits_of, blocks, trained.seed, watched)
    if found is None:
        return trained
    readouts, targets = found
    return with_attributes(replace(trained, readouts=readouts, targets=targets), method.with_readouts(readouts))


# ---- block by block ----


@dataclass(frozen=True)
class Stretch:
    """Which of all steps of a run a block is trained in: what its learning rates follow."""

    first: int
    total: int
    seen: int  # rows before the epoch
    slower: float  # factor of an adaptive rate
    whole: Plan  # of the run

    def plan(self, n_rows, rate):
        """Return the plan of a block of so many rows."""
        whole, n = self.whole, min(self.whole.batch_size, n_rows)
        place = {"first": self.first, "total": self.total, "seen": self.seen}
        kept = {"shuffle": whole.shuffle, "power_t": whole.power_t}
        return Plan(1, n, rate * self.slower, whole.schedule, whole.warmup, **place, **kept)


def _reading(method, X, weights, generator, table):
    """How columns are read that a table has encoded."""
    return replace(method.reading(X, weights, generator), table=table)


def absorb(method, targets, X, y, weights, table=None, before=None, written=None, stretch=None, outcome=BEFORE_BLOCK):
    """Train on one block of a stream, an epoch of its own; return what all blocks so far leave behind.

    Rows come as ``table`` encodes them. The first block settles the encoding and the network; in a fit over many a
    block has a stretch of its steps, and all that is settled comes with ``before``. ``outcome`` says what becomes of
    the estimator where the block ends early.
    """
    method = method.of_stream() if stretch is None else method
    method.check_columns(X.shape[1])
    seed = seed_of(method.random_state) if before is None else before.seed
    generator = np.random.default_rng([seed, 0]) if before is None else _generator_of(before)
    coded = targets.coded(y, method.weight_dtype)
    if before is None:
        reading = _reading(method, X, weights, generator, table)
    else:
        reading = before.reading.woken(X, weights, method.n_groups)
    _refuse_far(weights)
    rows = Rows(reading.encoded(X, method.weight_dtype), coded, weights)
    is_first = before is None or before.snapshot is None
    drawn = np.random.default_rng(seed) if is_first else generator
    network = _Network(method, targets, reading, rows, seed, drawn, before)
    if not is_first:
        network.go_on(before, written)
    n = len(rows.x)
    if stretch is None:
        plan = Plan(1, min(network.run.recipe.batch_size, n), method.stream_rate, shuffle=method.shuffle)
    else:
        plan = stretch.plan(n, method.stretch_rate(stretch.whole))
    history = method.train_block(network.execution, rows, plan, replace(network.run, generator=generator))
    if history.failure:
        raise method.failure(history, outcome)
    earlier = {} if before is None else before.attributes
    network.seen |= {name: list(earlier[name]) for name in method.watched_names if name in earlier}
    network.epoch_is_over(rows)
    kept = {name: earlier[name] for name in _SCORES if name in earlier}
    curve = method.curve([*earlier.get("loss_curve_", []), *history.losses])
    return with_attributes(network.trained(history), kept | curve)


def _generator_of(before):
    """The generator of what goes on: no two blocks have the same draws."""
    return np.random.default_rng([before.seed, before.blocks])


def _refuse_far(weights):
    """Refuse weights of a stream beyond the range: they are absolute, as no block knows their mean."""
    if weights is not None and weights.max() > _LARGEST_WEIGHT:
        largest = float(weights.max())
        raise ValueError(f"sample_weight has {largest:.3g}: weights of a stream must be below {_LARGEST_WEIGHT}.")


# ---- what it leaves behind ----


def so_far(trained, history):
    """Return the attributes with which an estimator predicts, for callbacks that ask."""
    trained = with_scores(trained, history) if history.scores else trained
    return {"_trained": trained} | trained.published()


def with_attributes(trained, attributes):
    """Return what was trained with further attributes."""
    return replace(trained, attributes=trained.attributes | attributes)


def with_scores(trained, history):
    """Return what was trained with the scores of the rows that were watched."""
    return with_attributes(trained, dict(zip(_SCORES, (list(history.scores), history.best_score), strict=True)))


class _Network:
    """A network in training, and what it belongs to."""

    def __init__(self, method, targets, reading, rows, seed, generator, before):
        recipe = _of_lightest(replace(method.recipe(len(rows.x)), seed=seed), rows.weight)
        self._method, self._targets, self._reading, self.seen = method, targets, reading, {}
        self._counted = {"seed": seed, "blocks": 1 if before is None else before.blocks + 1}
        self._n_rows, self._seen = len(rows.x), 0 if before is None else before.attributes.get("t_", 0)
        self._plan = method.network_plan(rows.x.shape[1], targets.n_outputs, before)
        self.execution = self._plan.execution(recipe, generator)
        self.run = Run(recipe, generator, targets.score, targets.n_outputs)

    def go_on(self, before, written):
        """Become what an earlier network was, with weights that were written since; other shapes are an error."""
        kind = self._method.kind()
        message = (
            f"the network or its optimiser has changed since the last fit: {', '.join(kind)} and the shape of "
            "the network must stay as they were to go on (warm_start or partial_fit), and device may not change "
            "between 'cpu' and those of torch."
        )
        if before.kind != kind or self._layout(self._plan.fitted(self.execution)) != before.layout:
            raise ValueError(message)
        try:
            self.execution.restore(before.snapshot)
        except (KeyError, ValueError, RuntimeError) as error:
            raise ValueError(f"{message} ({error})") from error
        if written is not None:
            take_written(written, self._plan, self.execution)

    def epoch_is_over(self, rows):
        """Note what was sent, and what the method wants to see."""
        self._plan.log_epoch(self.execution)
        for name, row in self._method.watch(self.execution, rows).items():
            self.seen.setdefault(name, []).append(row)

    def predicting(self, history):
        """Return what predicts and is published, with the weights as they are."""
        return self._published(self._plan.fitted(self.execution), history)

    def _published(self, fitted, history, link=None):
        """That of some weights."""
        records = {name: np.vstack(rows) for name, rows in self.seen.items()}
        due = {name: shapes(fitted[name]) for name in self._plan.names}
        seen = {"t_": self._seen + self._n_rows * len(history.losses)}
        attributes = fitted | self._method.curve(history.losses) | seen | records
        return Trained(self._targets.read_by(link), self._reading, attributes, due)

    def units(self, trained):
        """Return the function of encoded rows that gives the units of all layers."""
        return self._plan.layer_units(trained.attributes)

    def trained(self, history):
        """Return what training leaves behind."""
        method, execution = self._method, self.execution
        fitted, snapshot = self._plan.finished(execution)
        found = self._published(fitted, history, method.link(history))
        found = with_attributes(found, self._plan.communication(execution) | method.outcome(execution, history))
        if not method.goes_on:
            return found
        going = {"snapshot": snapshot, "layout": self._layout(found.attributes), "kind": method.kind()}
        return replace(found, **going, **self._counted)

    def _layout(self, fitted):
        """Shapes of all weights."""
        return [layout(fitted[name]) for name in self._plan.names]


# ---- rows ----


def encoded_rows(method, reading, X, coded, weights):
    """Return encoded rows in the dtype of the weights, with weights of mean 1."""
    if weights is not None:
        weights = relative(weights)
        weights = weights * (len(weights) / weights.sum())
    return Rows(reading.encoded(X, method.weight_dtype), coded, weights)


def _weighing(rows, factor):
    """Rows whose weights are multiplied."""
    return replace(rows, weight=rows.weight * factor)


def _of_lightest(recipe, weight):
    """Skip rows by the error of the lightest one: an error counts with its weight, and light rows shall be learned.

    Rows below the least weight that counts are noise beside the others, and may go unlearned.
    """
    if weight is None:
        return recipe
    return replace(recipe, tol_error=recipe.tol_error * min(1.0, max(float(weight.min()), _LEAST_WEIGHT)))
