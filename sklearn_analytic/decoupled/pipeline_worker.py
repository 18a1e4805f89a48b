"""One module at work: operations in the order of its program, versions of weights, accumulation, and what happened."""

import math
import time
from collections import deque
from typing import Any, NamedTuple

from sklearn_analytic.decoupled.pipeline import BACKWARD, FORWARD, UPDATE, Batch
from sklearn_analytic.decoupled.predictors import PREDICTORS

_REMEMBERED = 600  # operations of a module in its record, a few hundred batches


class Diverged(ArithmeticError):
    """The loss of a batch is no finite number."""


class Kept(NamedTuple):
    """A batch on its way: what went in, and which weights it saw."""

    batch: Batch
    x: Any  # None where the input can be read again
    weights: Any  # None for the live ones
    version: int


class Operation(NamedTuple):
    """What a module did: ``version`` counts the updates before it."""

    kind: str
    batch: int
    begin: float  # seconds
    end: float
    version: int


class PipelineWorker:
    """A module with its cell, its channels, its program and its record.

    Parameters
    ----------
    cell : Cell
        What computes.
    rule : PipelineSchedule
        How modules work together.
    above : int
        Modules above this one.
    channels : Channels
        ``inputs`` from below (None for the first module), ``errors`` from above (None for the last), and where outputs
        and errors go.
    """

    def __init__(self, cell, rule, above, channels):
        self.cell, self.rule, self.above, self.channels = cell, rule, above, channels
        self._factor = rule.rate_factor(above, cell.optimizer.name)
        self._shrink, self._pays = rule.error_factor(cell.optimizer.name), bool(cell.optimizer.penalty)
        self._recomputes, self._freezes = rule.recomputes(above), rule.freezes(above)
        self._keeps_input = self._recomputes or (channels.inputs is not None and rule.recomputes(above + 1))
        self._work = {FORWARD: self._forward, BACKWARD: self._backward}
        self.seconds = 0.0
        self.peak_bytes = self.peak_kept = self.peak_versions = self.stale_updates = self.n_backward = 0
        self.operations, self.staleness = deque(maxlen=_REMEMBERED), deque(maxlen=_REMEMBERED)
        self.clear()

    def clear(self):
        """Forget all batches on their way, gradients that wait, and how the weights moved."""
        self._kept, self._n_waiting, self._frozen = {}, 0, None
        self._input_bytes, self._versions = 0, {}  # {version: batches on their way that saw it}
        predicts = self.rule.predicts(self.above)
        self._predictor = PREDICTORS[self.rule.predictor](self.cell) if predicts else None
        self.version = 0

    # ---- what an executor calls ----

    def begin(self, batches, first, start):
        """Take the batches of an epoch; ``first`` is the oldest one on its way."""
        self._batches = {batch.index: batch for batch in batches}
        self._program = iter(self.rule.program(self.above, first, start, len(batches)))
        self._next, self.losses, self.squares = next(self._program, None), [], []

    @property
    def is_done(self):
        """Whether the program is over."""
        return self._next is None

    @property
    def is_ready(self):
        """Whether the next operation has what it waits for."""
        source = self._source(self._next[0])
        return source is None or not source.is_empty()

    def work(self, wait):
        """Do one operation after the other, to the end, or, unless told to ``wait``, while inputs are there.

        Returns how many.
        """
        count = 0
        while self._next is not None and (wait or self.is_ready):
            self._step(*self._next)
            count += 1
        return count

    def _step(self, kind, index):
        """Do the next operation; wait for what it needs."""
        source = self._source(kind)
        received = None if source is None else source.get()
        begin = time.perf_counter()
        self._work[kind](index, received)
        self._log(kind, index, begin, self.version)
        if kind == BACKWARD and self._n_waiting == self.rule.accumulation:
            self._update(index)
        self._next = next(self._program, None)
        if self._next is None and self.rule.drain and self._n_waiting:
            self._update(index)  # nothing waits at the end of an epoch

    def _source(self, kind):
        """Where an operation gets what it needs from another module, or None."""
        return self.channels.inputs if kind == FORWARD else self.channels.errors

    # ---- operations ----

    def _forward(self, index, received):
        """Forward a batch with the weights of now, of a copy of them, or of a guess."""
        batch, x = (self._batches.pop(index), None) if received is None else received
        weights = self._forward_weights(batch)
        if self._pays:
            self.squares.append(self.cell.squared_weights())
        output = self.cell.forward(batch, x, weights, keep=not self._recomputes)
        stashed = None if self._recomputes or not self.rule.stash else weights
        self._keep(index, Kept(batch, x if self._keeps_input else None, stashed, self.version))
        if self._recomputes:
            self._frozen = None  # a guess is of no use to the backward pass
        if self.channels.outputs is not None:
            self.channels.outputs.put((batch, output))
            return
        self.losses.append(output)
        if not math.isfinite(output):
            raise Diverged

    def _backward(self, index, error):
        """Send a batch back: at the weights that its forward pass saw, or at those of now."""
        kept = self._kept[index]
        if self._recomputes:
            self.cell.forward(kept.batch, kept.x)
            self._measure()
        if error is not None and self._shrink != 1:
            error *= self._shrink  # equation (6)
        below = self.cell.backward(kept.batch, error, kept.weights)
        self._forget(index)
        stale = self.version - kept.version
        self.staleness.append(stale)
        self.stale_updates += stale
        self.n_backward += 1
        self._n_waiting += 1
        self._last_rate = kept.batch.rate
        if self.channels.errors_below is not None:
            self.channels.errors_below.put(below)

    def _update(self, index):
        """Take the accumulated step: equation (7)."""
        begin = time.perf_counter()
        scale = 1 / self._n_waiting if self.rule.average else 1.0
        self.cell.update(self._last_rate * self._factor, scale)
        self._n_waiting, self._frozen = 0, None
        self.version += 1
        if self._predictor is not None:
            self._predictor.observe()
        self._log(UPDATE, index, begin, self.version)

    def _forward_weights(self, batch):
        """The weights of a forward pass: live ones (None), or one copy per version."""
        if self._frozen is None and self._predictor is not None:
            horizon = self.rule.regulator * self.rule.mean_staleness(self.above)
            self._frozen = self._predictor.predict(batch.rate * self._factor, horizon)
        elif self._frozen is None and self._freezes:
            self._frozen = self.cell.frozen()
        return self._frozen

    # ---- the record ----

    def _log(self, kind, index, begin, version):
        """Note an operation that is over."""
        end = time.perf_counter()
        self.seconds += end - begin
        self.operations.append(Operation(kind, index, begin, end, version))

    def _keep(self, index, kept):
        """Remember a batch on its way."""
        self._kept[index] = kept
        self._input_bytes += 0 if kept.x is None else kept.x.nbytes
        if kept.weights is not None:
            self._versions[kept.version] = self._versions.get(kept.version, 0) + 1
        self._measure()

    def _forget(self, index):
        """Forget a batch that is through."""
        kept = self._kept.pop(index)
        self._input_bytes -= 0 if kept.x is None else kept.x.nbytes
        if kept.weights is not None:
            self._versions[kept.version] -= 1
            if not self._versions[kept.version]:
                del self._versions[kept.version]

    def _measure(self):
        """Note the most that was kept at once; live weights are a version, too, and so is a guess that is not kept."""
        n_bytes, n_kept = self._input_bytes + self.cell.kept_bytes(), len(self._kept)
        versions = len(self._versions) + (self.version not in self._versions)
        versions += self._frozen is not None and not self._versions
        self.peak_bytes = n_bytes if n_bytes > self.peak_bytes else self.peak_bytes  # faster than max()
        self.peak_kept = n_kept if n_kept > self.peak_kept else self.peak_kept
        self.peak_versions = versions if versions > self.peak_versions else self.peak_versions
