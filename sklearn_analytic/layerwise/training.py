"""Layer-wise training: partitions one after the other, once or in laps, each on the cached features of those below."""

import contextlib
import time
from dataclasses import dataclass, field, replace

import numpy as np

from sklearn_analytic.layerwise.feature_cache import CACHES
from sklearn_analytic.layerwise.redundancy import informative_rows
from sklearn_analytic.nn._losses import rule_of
from sklearn_analytic.nn._recipe import Rows, batch
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
            lap.cache.close()
        if history.failure:
            break
    return history


def described(history, layered, rows, watched, judge):
    """Return the history of a simultaneous run with what a sequential one has: scores and ranks of all partitions."""
    n = layered.stack.n_partitions
    full = LayerHistory(**vars(history), n_epochs=np.full(n, len(history.losses)), failed=layered.diverged)
    judged = judged_rows(rows, watched)
    layered.settle()
    x, h = rows.x[_spread(len(rows.x))], judged.x
    for k in range(n):
        x, h = (layered.stack.features(k, part) for part in (x, h))
        full.effective_ranks.append(effective_rank(x))
        full.layer_scores.append(judge(layered.stack.exit(k, h), judged.y, judged.weight))
    return full


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
        driven = execution if self.cache.in_memory else Streamed(execution, self.cache)
        local = train(driven, Rows(placed, self.y, self.weight), plan, generator, score=score, after_epoch=told)
        self.layered.end(k)
        self.layered.seconds[k] += time.perf_counter() - start
        history.losses += local.losses
        history.scores += local.scores
        history.n_epochs[k] += len(local.losses)
        history.ran_out |= local.ran_out
        history.layer_losses.append(local.losses[-1] if local.losses else np.nan)
        return local.failure

    def _look(self, k, history):
        """Judge partition k by its head, and tell how many dimensions its features have; an interrupt undoes it."""
        seen = _spread(len(self.cache))
        features = self.layered.stack.features(k, self.cache.take(seen))
        rank, held = effective_rank(features), self.watched
        if held is not None:
            held = judged = Rows(self.layered.stack.features(k, held.x), held.y, held.weight)
        else:
            judged = Rows(features, self.y[seen], None if self.weight is None else self.weight[seen])
        score = self.judge(self.layered.stack.exit(k, judged.x), judged.y, judged.weight)
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
        self.cache.advance(lambda x: stack.features(k, x))

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


class Streamed:
    """An execution whose rows come from a cache, batch by batch; the other verbs are those of the execution."""

    def __init__(self, execution, cache):
        self._execution, self._cache = execution, cache
        self.outputs, self.snapshot, self.restore = execution.outputs, execution.snapshot, execution.restore
        self.is_finite = execution.is_finite

    def place(self, rows):
        """Rows stay where they are."""
        return rows

    def epoch(self, placed, order, rates):
        """One step per rate, on batches that are fetched one at a time."""
        total = 0.0
        for k in range(len(rates)):
            rows = batch(order, k, len(rates))
            weight = None if placed.weight is None else placed.weight[rows]
            fetched = self._execution.place(Rows(self._cache.take(rows), placed.y[rows], weight))
            total += self._execution.epoch(fetched, np.arange(len(rows)), rates[k : k + 1]) * len(rows)
            if not np.isfinite(total):
                break
        return total / len(order)


def effective_rank(features):
    """Return ``exp(H(p))`` of the singular values over their sum, p (Roy and Vetterli 2007); 0 where all are 0."""
    if not np.isfinite(features).all() or not features.any():
        return 0.0
    values = _singular_values(features)
    shares = values[values > 0] / values.sum()
    return float(np.exp(-np.sum(shares * np.log(shares))))


def _singular_values(features):
    """Singular values; of wide features from the Gram matrix of rows, which loses those with shares of nothing."""
    n, width = features.shape
    if width <= 4 * n:
        return np.linalg.svd(features.astype(np.float64), compute_uv=False)
    gram = np.zeros((n, n))
    for start in range(0, width, 4 * n):
        part = features[:, start : start + 4 * n].astype(np.float64)
        gram += part @ part.T
    return np.sqrt(np.maximum(np.linalg.eigvalsh(gram), 0))


def _spread(n):
    """At most so many indices, evenly spread."""
    return np.linspace(0, n - 1, min(n, _SEEN)).astype(np.int64)


def _joined(history, local):
    """The history so far, with the epochs of the partition in training."""
    return History(history.losses + local.losses, history.scores + local.scores)
