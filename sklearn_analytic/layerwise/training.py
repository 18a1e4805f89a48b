"""Layer-wise training: partitions one after the other, once or in laps, each on the cached features of those below."""

import contextlib
import time
from dataclasses import dataclass, field, replace
from functools import partial, reduce

import numpy as np

from sklearn_analytic.layerwise.feature_cache import CACHES
from sklearn_analytic.layerwise.judging import Tops, rank_of
from sklearn_analytic.layerwise.redundancy import informative_rows
from sklearn_analytic.nn._losses import rule_of
from sklearn_analytic.nn._recipe import Rows
from sklearn_analytic.nn._training import History, train

_SEEN = 1000  # rows on which a layer without held-out rows is judged, and effective ranks are told


@dataclass(frozen=True)
class LayerTurns:
    """How the partitions take turns."""

    plans: list  # laps of lists of Plan, one for each partition
    cache: str | None = "memory"
    subsample: float = 1.0  # share of the rows of a partition that the next one trains on
    stop_early: bool = False  # end with the first partition that is no better than those below
    tol: float = 1e-4
    fresh: bool = True  # whether partitions have not been trained before


@dataclass
class LayerHistory(History):
    """What happened: epochs of all partitions in their order, and one entry per partition of the last lap."""

    layer_scores: list = field(default_factory=list)
    layer_losses: list = field(default_factory=list)
    effective_ranks: list = field(default_factory=list)
    n_epochs: np.ndarray | None = None
    failed: int | None = None  # the partition in training when training ended early
    batch_sizes: list = field(default_factory=list)
    is_solved: bool = False  # whether the readout was solved for


def train_layers(layered, rows, plan, generator, *, judge, watched=None, after_epoch=None, folder=None):
    """Train the partitions of ``layered.stack`` in place, bottom to top, and return the history.

    Parameters
    ----------
    layered : Layered
        The network; what each partition needed is noted there, and which partition predicts.
    rows : Rows
        Training rows.
    plan : LayerTurns
        How the partitions take turns.
    generator : numpy.random.Generator
        Order of the rows.
    judge : callable
        Function of (outputs, y, weight), larger being better.
    watched : Rows or None
        Held-out rows; the weights of a partition are those of its best epoch on them.
    after_epoch : callable or None
        ``after_epoch(partition, epoch, history)`` may return True to end the partition.
    folder : str or None
        Where a cache on disk lives; None is the system's folder for temporary files.

    Returns
    -------
    LayerHistory
        With a ``failure`` the partition that failed keeps the weights of its last good epoch; without one, the
        partition below predicts.
    """
    history = LayerHistory(n_epochs=np.zeros(layered.stack.n_partitions, dtype=np.int64))
    layered.rest()
    for number, plans in enumerate(plan.plans):
        history.layer_scores, history.layer_losses, history.effective_ranks = [], [], []
        history.ran_out = False  # by any partition of the last lap
        lap = _Lap(layered, rows, replace(plan, fresh=plan.fresh and number == 0), judge, watched, folder)
        try:
            lap.run(plans, generator, history, after_epoch)
        finally:
            lap.close()
        if history.failure:
            break
    return history


def described(history, layered, rows, watched, judge):
    """Return the history of a simultaneous run with what a sequential one has: scores and ranks of all partitions."""
    n = layered.stack.n_partitions
    full = LayerHistory(**vars(history), n_epochs=np.full(n, len(history.losses)), failed=layered.diverged)
    judged = judged_rows(rows, watched)
    layered.settle()
    x = rows.x[_spread(len(rows.x))]
    for tops, held in zip(_all_tops(layered.stack, x), _all_tops(layered.stack, judged.x), strict=True):
        outputs = held.outputs(partial(layered.stack.exit, len(full.layer_scores)))
        full.layer_scores.append(judge(outputs, judged.y, judged.weight))
        full.effective_ranks.append(rank_of(tops))
    return full


def _all_tops(stack, x):
    """Yield features above every partition, bottom to top; those that are one block are read by the next one."""
    base, known = x, 0
    for k in range(stack.n_partitions):
        widest = max(stack.widest(j) for j in range(known, k + 1))
        tops = Tops(_passing(stack, base, known, k), np.arange(len(x)), stack.units(k), widest)
        if len(tops) == 1:
            base, known = tops[0], k + 1
        yield tops


def _passing(stack, base, first, last):
    """The function of row indices that passes them through some partitions."""
    return lambda rows: reduce(lambda h, k: stack.features(k, h), range(first, last + 1), base[rows])


def judged_rows(rows, watched):
    """Return the rows on which heads are scored: held-out rows, or else at most 1000 training rows."""
    if watched is not None:
        return watched
    seen = _spread(len(rows.x))
    return Rows(rows.x[seen], rows.y[seen], None if rows.weight is None else rows.weight[seen])


class _Lap:
    """One round over the partitions: where training and held-out rows are on their way up."""

    def __init__(self, layered, rows, plan, judge, watched, folder):
        self.layered, self.plan, self.judge = layered, plan, judge
        self.cache = CACHES[plan.cache](rows.x, folder)
        self.y, self.weight = rows.y, rows.weight
        self.watched = watched

    def run(self, plans, generator, history, after_epoch):
        """Train partition by partition until the last, a failure, or one that gains nothing."""
        for k, plan in enumerate(plans):
            failure = self._train(k, plan, generator, history, after_epoch)
            if failure is not None:
                history.failure, history.failed = failure, k
                self.layered.last = k if history.n_epochs[k] or not k else k - 1
                if self.layered.last == k:
                    self._look(k, history)
                return
            try:
                self._look(k, history)
                if self.plan.stop_early and self._gains_nothing(history):
                    self.layered.last = int(np.argmax(history.layer_scores))
                    return
                if k + 1 < len(plans):
                    self._move_up(k, generator)
            except KeyboardInterrupt:  # partition k is complete, and predicts
                history.failure, history.failed = "interrupted", k
                if len(history.layer_scores) == k:  # it was not judged yet
                    with contextlib.suppress(KeyboardInterrupt):
                        self._look(k, history)
                return

    def _train(self, k, plan, generator, history, after_epoch):
        """One partition; return what ended it early, or None."""
        start, execution = time.perf_counter(), self.layered.begin(k, plan.batch_size)
        score = None
        if self.watched is not None:
            held = self.watched
            score = lambda: self.judge(execution.outputs(held.x), held.y, held.weight)  # noqa: E731
        told = None if after_epoch is None else lambda epoch, local: after_epoch(k, epoch, _joined(history, local))
        placed = self.cache.take(slice(None)) if self.cache.in_memory else self.cache
        turn = Turn(self.layered.stack, k, execution)
        local = train(turn, Rows(placed, self.y, self.weight), plan, generator, score=score, after_epoch=told)
        self.layered.end(k, turn.go_back)
        self.layered.seconds[k] += time.perf_counter() - start
        history.losses += local.losses
        history.scores += local.scores
        history.n_epochs[k] += len(local.losses)
        history.ran_out |= local.ran_out
        history.layer_losses.append(local.losses[-1] if local.losses else np.nan)
        return local.failure

    def _look(self, k, history):
        """Judge partition k by its head, and tell how many dimensions its features have; an interrupt undoes it."""
        stack, seen = self.layered.stack, _spread(len(self.cache))
        tops = Tops(lambda rows: stack.features(k, self.cache.take(rows)), seen, stack.units(k), stack.widest(k))
        held = self.watched
        if held is not None:
            held = Rows(stack.features(k, held.x), held.y, held.weight)
            score = self.judge(stack.exit(k, held.x), held.y, held.weight)
        else:
            weight = None if self.weight is None else self.weight[seen]
            score = self.judge(tops.outputs(partial(stack.exit, k)), self.y[seen], weight)
        rank = rank_of(tops)
        self.watched = held
        history.layer_scores.append(score)
        history.effective_ranks.append(rank)
        if history.layer_scores[-1] > history.best_score:
            history.best_score, history.best_epoch = history.layer_scores[-1], int(history.n_epochs.sum()) - 1

    def _gains_nothing(self, history):
        """Whether the newest partition is no better than the best one below it."""
        *below, newest = history.layer_scores
        return bool(below) and newest <= max(below) + self.plan.tol

    def _move_up(self, k, generator):
        """Let rows pass partition k; with ``subsample`` only those that still teach something."""
        stack = self.layered.stack
        if self.plan.fresh:
            stack.hand_on(k)
        if self.plan.subsample < 1:
            chosen, factor = informative_rows(self._errors(k), self.plan.subsample, generator)
            self.cache.restrict(chosen)
            self.y = self.y[chosen]
            weight = factor if self.weight is None else self.weight[chosen] * factor
            self.weight = weight / weight.mean()
        self.cache.advance(lambda x: stack.features(k, x), stack.widest(k))
        stack.put_aside(k, self.cache.aside)

    def close(self):
        """Bring the heads back, and remove files."""
        for k in range(self.layered.stack.n_partitions - 1):
            self.layered.stack.put_aside(k, _in_memory)
        self.cache.close()

    def _errors(self, k):
        """Size of the output error of every row at partition k's head."""
        stack = self.layered.stack
        error_of = rule_of(stack.recipe.output)[1]
        parts = []
        for rows in self.cache.blocks():
            outputs = stack.exit(k, stack.features(k, self.cache.take(rows)))
            parts.append(np.linalg.norm(error_of(outputs, self.y[rows]), axis=1))
        sizes = np.concatenate(parts)
        return sizes if self.weight is None else sizes * self.weight


class Turn:
    """An execution whose state to go back to is its weights: its optimiser is forgotten after the turn."""

    def __init__(self, stack, k, execution):
        self._stack, self._k, self._execution = stack, k, execution
        self.place, self.is_finite, self._is_new = execution.place, execution.is_finite, True
        self.go_back = None  # what puts the weights of a better epoch into the stack, where training ends with others

    def epoch(self, placed, order, rates):
        """One step per rate."""
        return self._execution.epoch(placed, order, rates)

    def snapshot(self):
        """Note the weights; those before the first epoch are the stack's."""
        is_new, self._is_new = self._is_new, False
        return _stay if is_new else self._stack.noted(self._k, self._execution)

    def restore(self, noted):
        """Let the stack take them in the end."""
        self.go_back = noted


def _stay():
    """Leave the stack as it is."""


def _in_memory(layers):
    """Layers out of files; those in memory are no copies."""
    return [(np.array(w) if isinstance(w, np.memmap) else w, b) for w, b in layers]


def _spread(n):
    """At most so many indices, evenly spread."""
    return np.linspace(0, n - 1, min(n, _SEEN)).astype(np.int64)


def _joined(history, local):
    """The history so far, with the epochs of the partition in training."""
    return History(history.losses + local.losses, history.scores + local.scores)
