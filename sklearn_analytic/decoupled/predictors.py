"""Weights that a module will have when a batch comes back: guesses for the forward pass.

The published predictor of DTRP is not public; these are reconstructions of its kind (docs/theory/decoupled.md).
"""

_MEMORY = 0.9  # of the running mean of differences


class Velocity:
    """``w - lr d v``, v the optimiser's first moment: what momentum alone would do in d updates."""

    def __init__(self, cell):
        self._cell = cell

    def predict(self, rate, horizon):
        """Return predicted weights."""
        pairs = zip(self._cell.tensors(), self._cell.moments(), strict=True)
        return self._cell.replaced([w - rate * horizon * v for w, (v, _) in pairs])

    def observe(self):
        """An update was taken: the optimiser's moments say all."""


class AdamStep(Velocity):
    """``w - lr d m / (sqrt(v) + eps)``, with Adam's corrected moments."""

    def predict(self, rate, horizon):
        """Return predicted weights; before the first update the live ones."""
        return self._cell.frozen() if self._cell.n_updates == 0 else self._cell.adam_ahead(rate * horizon)


class Difference:
    """``w + d E[w_t - w_(t-1)]``, a running mean over past updates, corrected for its start."""

    def __init__(self, cell):
        self._cell = cell
        self._last = [w + 0 for w in cell.tensors()]
        self._mean, self._count = [0 * w for w in self._last], 0

    def predict(self, rate, horizon):
        """Return predicted weights."""
        scale = horizon / max(1 - _MEMORY**self._count, 1 - _MEMORY)
        pairs = zip(self._cell.tensors(), self._mean, strict=True)
        return self._cell.replaced([w + scale * mean for w, mean in pairs])

    def observe(self):
        """Take the last update into the mean."""
        now = [w + 0 for w in self._cell.tensors()]
        moves = [w - last for w, last in zip(now, self._last, strict=True)]
        self._mean = [_MEMORY * mean + (1 - _MEMORY) * move for mean, move in zip(self._mean, moves, strict=True)]
        self._last, self._count = now, self._count + 1


PREDICTORS = {"velocity": Velocity, "difference": Difference, "adam": AdamStep}
