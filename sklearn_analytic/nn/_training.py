"""The one training loop: epochs in random order, a schedule, a score to watch, and the best weights kept."""

import math
from dataclasses import dataclass, field

from sklearn_analytic.nn._schedules import rates


@dataclass(frozen=True)
class Plan:
    """How long to train, at which rates, and when to stop."""

    n_epochs: int
    batch_size: int
    rate: float
    schedule: str = "constant"
    warmup: float = 0.0  # share of all steps
    patience: int | None = None  # epochs without a better score; None never stops early
    tol: float = 1e-4
    first: int = 0  # step of a longer run with which this one begins
    total: int | None = None  # steps of that run; None: this is the whole


@dataclass
class History:
    """What happened, an entry per epoch."""

    losses: list = field(default_factory=list)
    scores: list = field(default_factory=list)
    best_score: float = -math.inf
    best_epoch: int = -1  # none yet
    failure: str | None = None  # "diverged" or "interrupted": the weights are the last good ones
    where: str = ""  # the part of the network that failed, as in "training of layer 2 diverged"


def train(execution, rows, plan, generator, *, score=None, after_epoch=None):
    """Train in place and return the history; the weights are the best by ``score`` where there is one.

    ``score`` is a function without arguments, larger being better. ``after_epoch(epoch, history)`` may return True to
    stop. An interrupt or a loss that is not finite ends training with the weights of the last good epoch and
    ``history.failure``: the caller decides what to raise once they are safe.
    """
    history, placed, n = History(), execution.place(rows), len(rows.x)
    per_epoch = -(-n // plan.batch_size)
    total = per_epoch * plan.n_epochs if plan.total is None else plan.total
    warmup = round(plan.warmup * total)
    good, best, stale = execution.snapshot(), None, 0
    try:
        for epoch in range(plan.n_epochs):
            steps = rates(plan.schedule, plan.rate, plan.first + epoch * per_epoch, per_epoch, total, warmup)
            loss = execution.epoch(placed, generator.permutation(n), steps)
            if not (math.isfinite(loss) and execution.is_finite()):
                history.failure = "diverged"
                break
            history.losses.append(loss)
            good = execution.snapshot()
            if score is not None:
                stale = _judge(history, score(), plan.tol, epoch, stale)
                best = good if history.best_epoch == epoch else best
            if after_epoch is not None and after_epoch(epoch, history):
                break
            if plan.patience is not None and stale >= plan.patience:
                break
    except KeyboardInterrupt:
        history.failure = "interrupted"
    if best is not None:
        execution.restore(best)
    elif history.failure is not None:
        execution.restore(good)
    return history


def _judge(history, score, tol, epoch, stale):
    """Record a score; return how many epochs the best is old. Any gain is kept, a gain above ``tol`` resets."""
    history.scores.append(score)
    gained = score - history.best_score
    if gained > 0:
        history.best_score, history.best_epoch = score, epoch
    return 0 if gained > tol else stale + 1
