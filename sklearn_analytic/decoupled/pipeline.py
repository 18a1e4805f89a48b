"""A network in modules, each with its own optimiser: which of them works on which batch, and when.

Modules are numbered from the bottom, k = 0 .. K-1; K-1-k lie ``above`` module k. In step i of its own, a module
forwards batch i and sends batch i - delay back. A schedule is these delays and an order; nothing else tells FDG from
backpropagation. docs/theory/decoupled.md numbers the equations that are cited here.
"""

import math
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

FORWARD, BACKWARD, UPDATE = "forward", "backward", "update"

# {schedule: delay of a module, in batches, from the modules above it}: equation (1)
DELAYS = {
    "backprop": lambda above: 0,
    "ddg": lambda above: above,
    "fdg": lambda above: 2 * above,
    "adl": lambda above: 2 * above,
    "dtrp": lambda above: 2 * above,
}
# {rule: factor of a module's learning rate, from the mean staleness of its gradients}: equation (8)
RATE_RULES = {
    "equal": lambda staleness: 1.0,
    "root": lambda staleness: (1 + staleness) ** -0.5,
    "inverse": lambda staleness: 1 / (1 + staleness),
    "stability": lambda staleness: math.sin(math.pi / (2 * (2 * staleness + 1))),
}
ORDERS = ("auto", "backward_first", "forward_first")
_FORWARD_FIRST, _RECOMPUTING = ("ddg",), ("dtrp",)  # as published
_SCALE_FREE = ("adam", "adamw")  # optimisers that a factor on the gradient leaves as they are


@dataclass(frozen=True)
class PipelineSchedule:
    """How the modules of a network work together."""

    schedule: str = "fdg"  # a key of DELAYS
    forward_first: bool = False  # within a module's step; without a delay it always is
    shrink: float = 1.0  # beta: of the error, at every border that it crosses
    accumulation: int = 1  # M: backward passes per update
    average: bool = False  # of the M gradients, in place of their sum
    stash: bool = True  # backward at the weights of the forward pass; False: at those of now, with old activations
    recompute: bool = False  # a module with a delay keeps its input alone
    predictor: str | None = None  # a key of PREDICTORS: of the weights that the forward pass reads
    regulator: float = 1.0  # share of the horizon that is predicted
    rate_rule: str = "equal"  # a key of RATE_RULES
    drain: bool = True  # empty the pipeline at the end of an epoch

    def delay(self, above):
        """Batches between a module's forward and backward pass."""
        return DELAYS[self.schedule](above)

    def lag(self, above):
        """Opportunities to update that lie between the two: equation (2)."""
        delay = self.delay(above)
        return delay if self.forward_first else max(delay - 1, 0)

    def mean_staleness(self, above):
        """Mean number of updates between the two: equation (4)."""
        return self.lag(above) / self.accumulation

    def rate_factor(self, above, optimizer):
        """Factor of a module's learning rate; where a shrunk gradient would change nothing, the rate shrinks."""
        shrink = self.shrink**above if optimizer in _SCALE_FREE else 1.0
        return shrink * RATE_RULES[self.rate_rule](self.mean_staleness(above))

    def error_factor(self, optimizer):
        """Factor of the error at every border."""
        return 1.0 if optimizer in _SCALE_FREE else self.shrink

    def recomputes(self, above):
        """Whether a module runs twice; without a delay it has no reason to."""
        return self.recompute and self.delay(above) > 0

    def freezes(self, above):
        """Whether forward passes read weights that the next update must not touch."""
        return self.stash and self.lag(above) > 0 and not self.recompute

    def predicts(self, above):
        """Whether forward passes read weights that are not there yet."""
        return self.predictor is not None and self.lag(above) > 0 and self.regulator > 0

    def program(self, above, first, start, n_batches):
        """Yield the (operation, batch) of one module for batches ``start .. start + n_batches``.

        ``first`` is the oldest batch that is on its way; the pipeline is drained where the rule says so.
        """
        delay, stop = self.delay(above), start + n_batches
        for step in range(start, stop + (delay if self.drain else 0)):
            forward = [(FORWARD, step)] if step < stop else []
            backward = [(BACKWARD, step - delay)] if step - delay >= first else []
            yield from forward + backward if self.forward_first or delay == 0 else backward + forward


def published_schedule(schedule, order="auto", recompute="auto", **choices):
    """Return the rule of a schedule; an "auto" order (one of ORDERS) and recomputation are as published."""
    forward_first = schedule in _FORWARD_FIRST if order == "auto" else order == "forward_first"
    again = schedule in _RECOMPUTING if recompute == "auto" else bool(recompute)
    return PipelineSchedule(schedule, forward_first, recompute=again, **choices)


def staleness_counts(lag, accumulation, n_batches):
    """Return the updates between forward and backward pass of every batch, filling in included: equation (3)."""
    batches = np.arange(n_batches)
    return batches // accumulation - np.maximum((batches - lag) // accumulation, 0)


@dataclass(frozen=True, eq=False)
class Batch:
    """Rows on their way through the modules, with all that belongs to them."""

    index: int
    data: Any  # what place returned
    rows: np.ndarray
    rate: float  # of the learning-rate schedule


class Cell(Protocol):
    """One module in training: its weights, its optimiser, and what it keeps of batches on their way.

    ``weights`` is None for the live ones, or what :meth:`frozen`, :meth:`replaced` or :meth:`adam_ahead` returned.
    """

    optimizer: Any  # constants, an Optimizer
    n_updates: int  # taken so far, by this cell and those that its state came from

    def forward(self, batch, x, weights=None, keep=True):
        """Return the module's output; of the last module the sum of the batch's losses, a float.

        ``x`` is the output of the module below; None for the first one, which reads the rows of the batch. What
        :meth:`backward` needs is kept under ``batch.index`` where ``keep``; where not, nothing of the module changes.
        """

    def backward(self, batch, error, weights=None):
        """Add the batch's gradient to the sum, forget the batch, return the error of ``x`` (None for the first module).

        ``error`` is the gradient of the loss by the output, which may be overwritten; None for the last module.
        """

    def update(self, rate, scale):
        """Take an optimiser step with ``scale`` times the sum of gradients, which then is zero."""

    def squared_weights(self):
        """Return the squared weights of now of every layer, bottom to top, each a sum."""

    def frozen(self):
        """Return the weights of now, which no later update changes."""

    def replaced(self, tensors):
        """Return weights made of other values, in the order of :meth:`tensors`."""

    def tensors(self):
        """Return the live weights as a list of arrays of one kind."""

    def moments(self):
        """Return (first, second) of the optimiser for each of :meth:`tensors`; zeros before the first update."""

    def adam_ahead(self, distance):
        """Return weights ``distance`` learning rates ahead along Adam's last step; after one update at least."""

    def kept_bytes(self):
        """Return bytes that are kept for backward passes now: activations and not weights."""

    def is_finite(self):
        """Return whether all weights are finite numbers."""

    def state(self):
        """Return weights, optimiser and counters as nested dicts and lists of host arrays, copied."""

    def load(self, state):
        """Put such a state back, bit for bit, with no batch on its way and no gradient waiting."""


class CellStack(Protocol):
    """A network cut into cells, and what is of all of them together."""

    cells: list  # of Cell, bottom to top

    def place(self, rows):
        """Return the rows where cells read them, as :class:`~sklearn_analytic.nn._recipe.Execution` does."""

    def rows(self, indices):
        """Return row numbers as the cells' device reads them."""

    def training(self, epoch, least):
        """Return the context of an epoch whose smallest batch has ``least`` rows: threads, modes, random numbers."""

    def outputs(self, x):
        """Return the raw outputs (n, c) of host rows in their dtype, in evaluation mode."""
