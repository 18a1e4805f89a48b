"""Fits by steps, epoch by epoch over a source of blocks, which is what the one loop trains.

:func:`fit_source` is the whole story; a block is absorbed as one of a stream is (:mod:`epochs`).
"""

import math
from contextlib import closing
from dataclasses import replace

import numpy as np

from sklearn_analytic.estimator.base import seed_of
from sklearn_analytic.estimator.epoch_rows import positive_rows
from sklearn_analytic.estimator.epochs import (
    BEFORE_FIT,
    LAST_GOOD,
    Stretch,
    absorb,
    all_layers_read,
    encoded_rows,
    so_far,
    with_attributes,
    with_scores,
)
from sklearn_analytic.estimator.layer_readout import apart_in_block, n_apart
from sklearn_analytic.estimator.learned import Trained
from sklearn_analytic.estimator.table import Coding
from sklearn_analytic.io._checks import UnreadableValueError
from sklearn_analytic.io._passes import rows_in_blocks
from sklearn_analytic.nn import Rows
from sklearn_analytic.nn._training import Pace, train_by


def fit_source(method, targets, source, y, weights, tasks, judge=None, watched=None):
    """Train on blocks that are read again in every epoch; return what that leaves behind, the history, and an error.

    ``judge(trained)`` is the score of rows that are watched, ``watched(trained)`` are these rows, as the table of
    ``trained`` encodes them. An error, an interrupt too, is handed back beside the last
    good weights. Values that are missing where the first block has not shown it let training begin anew, once.
    """
    try:
        trained, history, error = _over_source(method, targets, source, y, weights, tasks, judge, watched)
        if source.lacks or history.losses or not getattr(error, "is_gap", False):
            return trained, history, error
    except UnreadableValueError as gap:
        if source.lacks or not gap.is_gap:
            raise
    return _over_source(method, targets, replace(source, lacks=True), y, weights, tasks, judge, watched)


def _over_source(method, targets, source, y, weights, tasks, judge, watched):
    """Training over all epochs, by a table that is learned first."""
    seed, coding = seed_of(method.random_state), Coding.of(targets, is_coded=False)
    table = method.table(source, y, weights, coding)
    method.check_columns(table.n_columns)
    rows = rows_in_blocks(table.rows(source, table.folds_of(source, y, weights, coding)), y, weights, max(source.sizes))
    reading = replace(method.reading_of_source(rows, np.random.default_rng(seed)), table=table)
    n = rows.n_rows if rows.weight is None else int(np.sum(rows.weight > 0))
    plan = method.plan(n, method.recipe(n))
    share = n_apart(n) / n if method.reads_layers and watched is None else 0.0
    stream = _Stream(method, targets, rows, source.sizes, plan, Trained(targets, reading, seed=seed), share)
    if not tasks.begun:
        tasks.begin(plan.n_epochs)
    score = None if judge is None else lambda: judge(stream.trained)
    told = lambda epoch, history: tasks.epoch(lambda: so_far(stream.trained, history))  # noqa: E731
    history = train_by(stream.epoch, stream, plan, stream.pace, score=score, after_epoch=told)
    learned = n - stream.n_apart
    trained = with_attributes(stream.trained, method.curve(history.losses) | {"t_": learned * len(history.losses)})
    trained = trained if judge is None else with_scores(trained, history)
    if method.reads_layers and stream.error is None and history.failure is None:
        network = method.network_plan(reading.width(rows.n_columns), targets.n_outputs, trained)
        units = network.layer_units(trained.attributes)
        try:
            given = None if watched is None else encoded_rows(method, trained.reading, *watched(trained))
            trained = all_layers_read(method, trained, units, stream.blocks(), given)
        except (Exception, KeyboardInterrupt) as error:  # what was trained predicts
            stream.error = error
    return trained, history, stream.error


class _Stream:
    """A source of blocks as what the one loop trains: its state is what all blocks so far leave behind."""

    def __init__(self, method, targets, rows, sizes, plan, begun, share_apart=0.0):
        self._method, self._targets, self._rows, self._plan = method, targets, rows, plan
        self._share_apart, self.n_apart = share_apart, 0  # rows that no step learns
        self._steps = [-(-size // plan.batch_size) for size in sizes if size]
        self.trained, self.error, self.pace = begun, None, Pace(plan)

    def epoch(self, number):
        """Train on every block once; return the mean loss. What fails is kept for the end."""
        before = self.trained
        try:
            loss = self._pass(number)
        except (Exception, KeyboardInterrupt) as error:
            self.trained, self.error = before, error
            return math.nan
        losses = [*before.attributes.get("loss_curve_", ()), loss]  # of epochs, where those of blocks stand
        self.trained = with_attributes(self.trained, self._method.curve(losses))
        return loss

    def _pass(self, number):
        """One pass over the blocks."""
        loss = weight = 0.0
        n_apart = 0
        per_epoch = sum(self._steps)
        first, total = number * per_epoch, self._plan.n_epochs * per_epoch
        outcome, seen = LAST_GOOD if number else BEFORE_FIT, number * self._rows.n_rows
        with closing(iter(self._rows)) as blocks:
            for k, block in enumerate(blocks):
                x, y, w = positive_rows(block.x, block.y, block.weight)
                if self._share_apart:
                    apart = self._apart(k, len(x))
                    n_apart, (x, y, w) = n_apart + int(apart.sum()), _some(~apart, x, y, w)
                if len(x):
                    stretch = Stretch(first, total, seen, self.pace.factor, self._plan)
                    found = absorb(
                        self._method, self._targets, x, y, w, before=self.trained, stretch=stretch, outcome=outcome
                    )
                    self.trained, share = found, len(x) if w is None else w.sum()
                    loss, weight = loss + share * found.attributes["loss_"], weight + share
                first += self._steps[k]
                del block, x, y, w  # or they would stay while the next ones are read
        self.n_apart = n_apart
        return loss / weight

    def _apart(self, number, n_rows):
        """A mask of the rows of a block that no step learns."""
        return apart_in_block(self.trained.seed, number, n_rows, self._share_apart)

    def blocks(self):
        """Yield encoded rows once more, with a mask of those that no step has learned."""
        method, reading = self._method, self.trained.reading
        with closing(iter(self._rows)) as blocks:
            for k, block in enumerate(blocks):
                x, y, w = positive_rows(block.x, block.y, block.weight)
                if len(x):
                    coded = self._targets.coded(y, method.weight_dtype)
                    yield Rows(reading.encoded(x, method.weight_dtype), coded, w), self._apart(k, len(x))

    def snapshot(self):
        """Return what all blocks so far leave behind."""
        return self.trained

    def restore(self, trained):
        """Take the state of an earlier epoch."""
        self.trained = trained

    def is_finite(self):
        """Whether weights are numbers: a block that breaks them raises."""
        return True


def _some(chosen, *parts):
    """Rows of some arrays, which may be missing."""
    return [None if part is None else part[chosen] for part in parts]
