"""The one training loop: epochs in random order, learning rates over a run, a score or the loss to watch."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

STEP_FRACTIONS, STEP_FACTOR = (0.5, 0.75), 0.1
SLOWER, SLOWEST = 5.0, 1e-6  # what divides an adaptive rate, and the rate with which it ends: scikit-learn's


class Schedule(NamedTuple):
    """How the learning rate falls over a run."""

    factor: Callable = np.ones_like  # of the rate where a share ``done`` (0..1) of the run is over
    cooled: float = 0.0  # share of the run after which the rate has at most a tenth of itself to fall


def _cosine(done):
    return 0.5 * (1 + np.cos(np.pi * np.minimum(done, 1)))


def _step(done):
    return STEP_FACTOR ** np.searchsorted(STEP_FRACTIONS, done, side="right")


SCHEDULES = {
    "constant": Schedule(),
    "cosine": Schedule(_cosine, 0.8),
    "step": Schedule(_step, STEP_FRACTIONS[-1]),
    "invscaling": Schedule(),  # falls with the rows that were seen: see Pace
    "adaptive": Schedule(),  # falls where the loss, or the score, no longer gets better
}


def rates(name, rate, first, n_steps, total, warmup=0):
    """Return the rates of steps ``first .. first + n_steps`` out of ``total``, after ``warmup`` linear steps."""
    steps = np.arange(first, first + n_steps, dtype=np.float64)
    done = (steps - warmup) / max(total - warmup, 1)
    factors = SCHEDULES[name].factor(np.clip(done, 0.0, 1.0))
    rising = np.minimum((steps + 1) / max(warmup, 1), 1.0)
    return rate * np.where(steps < warmup, rising, factors)


@dataclass(frozen=True)
class Plan:
    """How long to train, at which rates, and when to stop."""

    n_epochs: int
    batch_size: int
    rate: float
    schedule: str = "constant"
    warmup: float = 0.0  # share of all steps
    patience: float | None = None  # epochs without a better score; None never stops early
    tol: float = 1e-4
    loss_patience: float = math.inf  # more epochs than that without a smaller training loss end training
    watch_after: float = 0.0  # share of all steps in which the loss is not watched yet
    first: int = 0  # step of a longer run with which this one begins
    total: int | None = None  # steps of that run; None: this is the whole
    seen: int = 0  # rows that it has read before
    shuffle: bool = True  # whether every epoch has an order of its own
    power_t: float = 0.5  # exponent of "invscaling"


class Pace:
    """The rate that a schedule begins an epoch with, as scikit-learn's MLP sets it: by rows seen, or by progress."""

    def __init__(self, plan):
        self._plan, self.factor = plan, 1.0

    def rate(self, seen):
        """Return the rate of an epoch before which so many rows were seen."""
        plan = self._plan
        return plan.rate * self.factor * ((1 + seen) ** -plan.power_t if plan.schedule == "invscaling" else 1.0)

    def slow_down(self):
        """Return whether training goes on where nothing gets better: an adaptive rate falls, and ends some time."""
        if self._plan.schedule != "adaptive" or self._plan.rate * self.factor <= SLOWEST:
            return False
        self.factor /= SLOWER
        return True


@dataclass
class History:
    """What happened, an entry per epoch."""

    losses: list = field(default_factory=list)
    scores: list = field(default_factory=list)
    best_score: float = -math.inf
    best_epoch: int = -1  # none yet
    ran_out: bool = False  # whether all epochs passed and nothing ended training before
    failure: str | None = None  # "diverged" or "interrupted": the weights are the last good ones
    where: str = ""  # the part of the network that failed, as in "training of layer 2 diverged"


class LossWatch:
    """Whether the training loss still falls, by the rule of scikit-learn's MLP, from a share ``after`` of a run on."""

    def __init__(self, patience, tol, after=0.0):
        self._patience, self._tol, self._after = patience, tol, after
        self._best, self._stale = math.inf, 0

    def is_flat(self, loss, done=1, total=1):
        """Take the loss of an epoch; return whether the last ``patience`` and one were not better by ``tol``.

        ``done`` of ``total`` steps (or epochs) of the run are over; before the share that it begins with, none counts.
        """
        if done <= self._after * total:
            return False
        self._stale = self._stale + 1 if loss > self._best - self._tol else 0
        self._best = min(self._best, loss)
        return self._stale > self._patience

    def wait(self):
        """Be patient anew; return the epochs without progress, which are none."""
        self._stale = 0
        return self._stale


def train(execution, rows, plan, generator, *, score=None, after_epoch=None):
    """Train in place and return the history; the weights are the best by ``score`` where there is one.

    ``score`` is a function without arguments, larger being better. ``after_epoch(epoch, history)`` may return True to
    stop. An interrupt or a loss that is not finite ends training with the weights of the last good epoch and
    ``history.failure``: the caller decides what to raise once they are safe.
    """
    placed, n = execution.place(rows), len(rows.x)
    per_epoch = -(-n // plan.batch_size)
    total = per_epoch * plan.n_epochs if plan.total is None else plan.total
    warmup, pace = round(plan.warmup * total), Pace(plan)

    def epoch(number):
        rate = pace.rate(plan.seen + number * n)
        steps = rates(plan.schedule, rate, plan.first + number * per_epoch, per_epoch, total, warmup)
        return execution.epoch(placed, generator.permutation(n) if plan.shuffle else np.arange(n), steps)

    def done(number):
        return plan.first + (number + 1) * per_epoch, total

    return train_by(epoch, execution, plan, pace, score=score, after_epoch=after_epoch, done=done)


def train_by(epoch, execution, plan, pace, *, score=None, after_epoch=None, done=None):
    """Train by ``epoch(number)``, which returns a loss, as :func:`train` does by an epoch over rows.

    ``done(number)`` are the steps after an epoch and those of the run; None counts epochs.
    """
    history, back, stale = History(), WayBack(execution), 0
    watch = LossWatch(plan.loss_patience, plan.tol, plan.watch_after)
    try:
        for number in range(plan.n_epochs):
            back.leave()
            loss = epoch(number)
            if not (math.isfinite(loss) and execution.is_finite()):
                history.failure = "diverged"
                break
            judged = None if score is None else score()  # interrupted, it leaves no trace of the epoch
            history.losses.append(loss)
            stale = 0 if judged is None else _judge(history, judged, plan.tol, number, stale)
            if history.best_epoch in (-1, number):
                back.stay()
            flat = watch.is_flat(loss, *(done(number) if done else (number + 1, plan.n_epochs)))
            if after_epoch is not None and after_epoch(number, history):
                break
            if flat or (plan.patience is not None and stale >= plan.patience):
                if not pace.slow_down():
                    break
                stale = watch.wait()
        else:
            history.ran_out = True
    except KeyboardInterrupt:
        history.failure = "interrupted"
    back.go()
    return history


class WayBack:
    """The state to which training goes back in the end: that of the best epoch, of the last good one, or the first.

    A copy is made when an epoch is about to leave that state, and there is never more than one.
    """

    def __init__(self, execution):
        self._execution, self._kept, self._is_there = execution, None, True

    def leave(self):
        """Begin an epoch."""
        if self._is_there:
            self._kept = None  # its memory is free before the next one is taken
            self._kept = self._execution.snapshot()
            self._is_there = False

    def stay(self):
        """Say that the state is now the one to go back to."""
        self._is_there = True

    def go(self):
        """Go back."""
        if not self._is_there:
            self._execution.restore(self._kept)


def _judge(history, score, tol, epoch, stale):
    """Record a score; return how many epochs the best is old. Any gain is kept, a gain above ``tol`` resets."""
    history.scores.append(score)
    gained = score - history.best_score
    if gained > 0:
        history.best_score, history.best_epoch = score, epoch
    return 0 if gained > tol else stale + 1
