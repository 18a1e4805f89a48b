"""A network cut into partitions: which layers go together, how each is taught, how large its batches may be."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from sklearn_analytic.nn._recipe import Execution

LOCAL_LOSSES = {"pred": (1.0, 0.0), "sim": (0.0, 1.0), "predsim": (0.01, 0.99)}  # (share of pred, weight of sim)
INTERLAYER = ("overparametrise", "lookahead", "transport", "window")
STARTS = ("identity", "random")
START_NOISE = 0.1  # share of the random first weights that an identity start keeps: units must not stay copies
AHEAD = 1  # layers above a partition that "lookahead" and "window" train along
_PULL = 0.1  # 1 / tau of "transport"
# micro_batch="auto": fewer rows are slower where layers are dense or narrow, more take memory
_MICRO, _LEAST_MICRO, _LEAST_ENTRIES, _MOST_ENTRIES = 256, 16, 2**18, 2**22
_HEAD_SHARE, _LEAST_HEAD = 8, 32  # a throw-away layer has an eighth of the units below it, and no fewer than this


@dataclass(frozen=True)
class LocalRule:
    """How a partition is taught while the layers above it are not there."""

    loss: str = "pred"  # a key of LOCAL_LOSSES
    head_depth: int = 1  # hidden layers of a throw-away head
    head_width: int | None = None
    start: str = "identity"  # "identity" or "random"; see Stack.hand_on
    interlayer: str | None = None  # one of INTERLAYER
    micro_batch: int | str | None = None  # rows that pass at once: so many, "auto", or None for whole batches

    @property
    def share(self):
        """Factor of the prediction error that reaches the partition."""
        return LOCAL_LOSSES[self.loss][0]

    @property
    def similarity(self):
        """Weight of similarity matching."""
        return LOCAL_LOSSES[self.loss][1]

    @property
    def pull(self):
        """Weight of the distance that features travel."""
        return _PULL if self.interlayer == "transport" else 0.0

    @property
    def ahead(self):
        """Layers of the network above the partition that are trained along."""
        return AHEAD if self.interlayer in ("lookahead", "window") else 0

    @property
    def compares(self):
        """Whether the rows of a batch are compared with each other, so that it cannot be split."""
        return self.similarity > 0

    def micro_rows(self, widest):
        """Rows of a batch that pass at once, None for all, where the widest layer has so many entries a row."""
        if self.micro_batch != "auto":
            return self.micro_batch
        few, many = max(_LEAST_MICRO, _MOST_ENTRIES // widest), _LEAST_ENTRIES // widest
        return max(min(_MICRO, few), many)

    def head_sizes(self, n_units, n_outputs):
        """Units of the hidden layers of a throw-away head."""
        automatic = max(min(n_units, max(n_units // _HEAD_SHARE, _LEAST_HEAD)), n_outputs)
        return (automatic if self.head_width is None else self.head_width,) * self.head_depth


class LocalExecution(Execution, Protocol):
    """A partition in training under its head: an :class:`Execution` whose outputs are the head's."""

    def batch_features(self) -> Any:
        """Return what the partition's top put out for the last batch, as the next partition's ``place`` reads it."""

    def drop_buffers(self) -> None:
        """Give back what a batch takes, until the next one."""

    def training_bytes(self) -> int:
        """Return bytes of gradients, optimiser state and what one batch keeps: all of training but the weights."""


class Stack(Protocol):
    """A network of partitions, of which one (or each) is in training; the others are weights alone."""

    n_partitions: int
    kind: str  # of its states: "compiled" or "torch"
    recipe: Any  # the Recipe of all partitions, but for their batch sizes

    def begin(self, k, batch_size, together=False) -> LocalExecution:
        """Return partition k in training, from its present weights and those of its head.

        ``together`` with others, it skips no rows: all of their features are asked for.
        """

    def keep(self, k, execution) -> None:
        """Take the weights of partition k and its head back."""

    def noted(self, k, execution) -> Callable:
        """Note the weights of partition k in training as they are; return what puts them into the stack."""

    def hand_on(self, k) -> None:
        """Start what is new in partition k + 1 near the identity, under partition k's head, where shapes allow it."""

    def features(self, k, x) -> np.ndarray:
        """Return the output (n, units) of partition k for host rows of its input, in their dtype."""

    def units(self, k) -> int:
        """Return the entries of a row above partition k."""

    def widest(self, k) -> int:
        """Return the most entries that a row has in partition k, its input included."""

    def exit(self, k, features) -> np.ndarray:
        """Return the raw outputs (n, c) of partition k's head for its features."""

    def readout_inputs(self, k, features) -> np.ndarray:
        """Return what the last layer of partition k's head reads."""

    def set_readout(self, k, weights, bias) -> None:
        """Replace the last layer of partition k's head by weights (n, c) and bias (c,)."""

    def put_aside(self, k, aside) -> None:
        """Let a function of its layers [(W, b), ...] say where partition k's head waits, if it is made of such."""

    def state(self) -> dict:
        """Return the weights of network and heads as nested dicts and lists of host arrays that never change."""

    def load(self, state) -> None:
        """Put such a state back, bit for bit."""

    def bytes_of(self, k, batch_size) -> int:
        """Return what ``training_bytes`` of partition k would be."""


def largest_batch(bytes_of, budget, most):
    """Return the largest batch of at most ``most`` rows whose training fits ``budget`` bytes, 0 where one row does not.

    ``bytes_of`` grows with the batch; where batches are split it does so in teeth, and a larger one may fit as well.
    """
    if bytes_of(1) > budget:
        return 0
    low, high = 1, most
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if bytes_of(middle) <= budget else (low, middle - 1)
    return low
