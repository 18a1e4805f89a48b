"""Memory of a dense module in training: lent to batches on their way, taken back, and not asked for twice.

To make the views of layers takes longer than products of small ones: each is made once and stays with its memory.
Where memory is what matters (recomputation), nothing stays, so that modules that take turns use the same.
That no other part has such memory to lend is why this is a file on the road of a fit.
"""

from collections import deque
from dataclasses import replace

import numpy as np

from sklearn_analytic.nn._flat import Views, error_entries, in_a_row, in_turn


class Slot:
    """Activations of one batch of up to ``n_rows`` rows."""

    def __init__(self, space):
        self.n_rows, self._space, self._views = space.n_rows, space, {}
        self._hidden = np.empty(space.n_rows * sum(space.sizes[1:]), space.dtype)

    def views(self, m):
        """Return what the passes of ``m`` rows read and write; what goes into the module is not there yet."""
        if m not in self._views:
            outputs = in_a_row(self._hidden, m, self._space.sizes[1:])
            self._views[m] = Views([None, *outputs[:-1]], outputs, self._space.errors(m), None)
        return self._views[m]


class WorkSpace:
    """Slots of a module of ``sizes``, and what its passes use within one batch; unless it ``stays``, anew each time."""

    def __init__(self, sizes, dtype, stays):
        self.sizes, self.dtype, self.n_rows = [int(n) for n in sizes], dtype, 0
        self._stays = stays
        self._grow(0)

    def slot(self, m):
        """Return a slot for ``m`` rows that no batch uses."""
        if m > self.n_rows:
            self._grow(m)
        return self._spare.pop() if self._spare else Slot(self)

    def give_back(self, slot, views):
        """Take a slot back whose batch is through."""
        views.inputs[0] = None  # of the module below
        if not self._stays:
            self._grow(0)
        elif slot.n_rows == self.n_rows:
            self._spare.append(slot)

    def rows(self, m):
        """Return space for ``m`` rows that go into the module."""
        if m > self.n_rows:
            self._grow(m)
        return self._rows[: m * self.sizes[0]].reshape(m, -1)

    def errors(self, m):
        """Return space for the errors of all layers but the last."""
        return in_turn(self._errors, m, self.sizes[1:-1])

    def _grow(self, m):
        """Begin anew with room for ``m`` rows."""
        self.n_rows, self._spare = m, []
        self._rows = np.empty(m * self.sizes[0], self.dtype)
        self._errors = np.empty(m * error_entries(self.sizes), self.dtype)


class Version:
    """Parameters that batches on their way read: with the last of them, their memory becomes spare."""

    __slots__ = ("_spare", "model")

    def __init__(self, model, spare):
        self.model, self._spare = model, spare

    def __del__(self):
        self._spare.append(self.model)


class Versions:
    """Models that differ in their parameters alone; spare ones are kept if memory ``stays``."""

    def __init__(self, stays):
        self._spare = [] if stays else deque(maxlen=0)

    def lend(self, model):
        """Return a model for batches to read."""
        return Version(model, self._spare)

    def another(self, model):
        """Return a model whose parameters nobody reads, to be filled in."""
        return self._spare.pop() if self._spare else replace(model, theta=np.empty_like(model.theta))
