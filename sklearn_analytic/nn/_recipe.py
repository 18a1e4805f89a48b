"""What a training run is told, as values: nothing here computes, and nothing here changes."""

from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np


@dataclass(frozen=True)
class Optimizer:
    """An update rule and its constants; the rate of each step comes from the schedule."""

    name: str = "adam"  # "sgd", "adam", "adamw"
    momentum: float = 0.9
    nesterov: bool = True
    beta_1: float = 0.9
    beta_2: float = 0.999
    epsilon: float = 1e-8
    alpha: float = 0.0  # L2 penalty alpha / 2 |W|^2 of the mean loss; decoupled decay for "adamw"
    ema_decay: float = 0.0  # of the exponential mean of the weights that predicts; 0: the last weights do

    def share_of_mean(self, step):
        """Return the share of the weights after so many steps in their exponential mean, which has no start."""
        return (1 - self.ema_decay) / (1 - self.ema_decay**step)

    @property
    def penalty(self):
        """Factor of the squared weights in what is minimised; decoupled decay minimises nothing."""
        return 0.0 if self.name == "adamw" else 0.5 * self.alpha

    def penalised(self, loss, n_rows, squares):
        """Return a sum of rows' losses with their penalties; ``squares`` are those of layers, bottom to top."""
        return loss + n_rows * self.penalty * sum(squares) if self.penalty else loss


@dataclass(frozen=True)
class FeedbackRecipe:
    """How the output error reaches hidden layers."""

    name: str = "refresh"  # a key of nn.FEEDBACKS
    init: str = "normal"  # "normal", "uniform", "product", "sign_product"
    shared: bool = False  # one matrix for all layers, sliced (Launay)
    density: float = 0.1  # of "sparse"
    scale: float = 1.0
    interval: int | None = None  # steps between refreshes; None: by what they cost, of "refresh" alone
    most_steps: int | None = None  # of an automatic interval: those of an epoch, or of a block
    rate: float = 1e-4  # learning rate of "dkp" and "learned"
    decay: float = 1e-6  # weight decay of "dkp"


@dataclass(frozen=True)
class KFACRecipe:
    """Constants of the Kronecker-factored preconditioner; those of Pauloski et al. 2020 unless told otherwise."""

    damping: float = 0.003
    kl_clip: float = 0.001
    factor_decay: float = 0.95
    factor_interval: int = 5
    eigen_interval: int = 25
    interval_growth: float = 1.0  # at each milestone, both intervals are multiplied by this
    damping_decay: float = 1.0  # ... and the damping by this
    milestones: tuple = ()  # epochs
    solver: str = "eigen"  # a key of nn._preconditioner.SOLVERS
    start: str = "identity"  # of the factors; "mean": of the batches so far, until the decay takes over
    damping_rule: str = "constant"  # or "levenberg_marquardt"


@dataclass(frozen=True)
class Recipe:
    """One way to train: who gets which error, through which optimiser, in which batches."""

    scheme: str = "dfa"  # "dfa", "backprop", "hybrid", "modular"
    output: str = "softmax"  # "identity" for numbers (half the squared error); "softmax" or a key of nn.LINKS for codes
    optimizer: Optimizer = field(default_factory=Optimizer)
    feedback: FeedbackRecipe = field(default_factory=FeedbackRecipe)
    kfac: KFACRecipe | None = None
    batch_size: int = 128
    activation_bits: int | None = None
    tol_error: float = 0.0
    module_size: int = 2  # layers (or time steps) per module of "modular"
    precision: str = "float32"
    micro_batch: int | None = None  # rows of a batch that pass at once, of gradients that are sums over them; None: all
    seed: int = 0

    @property
    def rows_at_once(self):
        """Rows of a batch that pass at once: those of the largest of its even parts."""
        m, most = self.batch_size, self.micro_batch
        return m if most is None else -(-m // -(-m // most))


@dataclass(frozen=True)
class Rows:
    """Training rows on the host: features, class codes (n,) or targets (n, c), weights of mean 1 or None."""

    x: np.ndarray  # (n, d), float32 or float64
    y: np.ndarray  # (n,) int64, or (n, c) in the dtype of x
    weight: np.ndarray | None = None  # (n,)


def batch(order, k, n_batches):
    """Return the k-th of ``n_batches`` even parts of ``order``."""
    return order[k * len(order) // n_batches : (k + 1) * len(order) // n_batches]


def micro_batches(rows, most):
    """Return the rows of a batch in even parts of at most ``most``; with None in one."""
    n = 1 if most is None else max(-(-len(rows) // most), 1)
    return [batch(rows, k, n) for k in range(n)]


class Execution(Protocol):
    """One network in training on one device: the same mathematics on the CPU and in torch."""

    def place(self, rows: Rows) -> Any:
        """Return the rows where :meth:`epoch` reads them; once per fit."""

    def epoch(self, placed, order, rates) -> float:
        """Take a step per batch of ``order`` (row indices), one per rate; return the mean loss, with the penalty.

        Step k is at ``rates[k]`` on ``batch(order, k, len(rates))``: batches differ by at most one row. A loss that is
        not finite ends the epoch before the weights see it, and is what is returned.
        """

    def outputs(self, x) -> np.ndarray:
        """Return the raw outputs (n, c) of host rows, in their dtype."""

    def snapshot(self) -> Any:
        """Return a copy of the weights and of the optimiser's and the feedback's state, as host arrays."""

    def restore(self, snapshot) -> None:
        """Put a snapshot back, bit for bit."""

    def is_finite(self) -> bool:
        """Return whether all weights are finite numbers."""

    def alignment(self, x, y) -> list:
        """Return the mean cosine of every hidden layer's error to the true gradient, bottom to top, on host rows."""

    def activation_bytes(self) -> dict:
        """Return bytes of one batch's hidden activations: "stored", "shared" (buffers), "exact" (in full precision)."""
