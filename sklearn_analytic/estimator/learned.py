"""What a closed-form fit leaves behind, as values: the sums of all rows, what judges them, and what predicts."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from sklearn_analytic.features._audit import Audit, Contents


@dataclass(frozen=True)
class Learned:
    """All that rows have left behind: the one state of a fit, from which it is solved and goes on."""

    targets: Any  # what y means
    network: Any = None  # layers, which stay once they are built
    statistic: Any = None  # sums of all rows; None in a shard that has seen none
    judges: Any = None  # of networks that leave-one-out chooses
    first: Any = None  # rows of a young stream, from which layers are to be built anew


@dataclass(frozen=True)
class Judges:
    """How the rows of a network are told apart, and those on which leave-one-out chooses."""

    seed: int
    contents: Contents
    audit: Audit | None  # None in a shard that has seen no rows
    first_audit: int  # audit rows of those that built the layers
    network_id: int  # shards of one fit share it
    shard: int = 0  # by which shards draw other copies into the audit
    n_shards: int = 0  # that were made of this one


@dataclass(frozen=True)
class FirstRows:
    """Rows with labels or targets and sample weights, on the host."""

    x: np.ndarray
    y: np.ndarray
    weight: np.ndarray | None
    built: int  # rows of positive weight when layers were last built


@dataclass(frozen=True)
class Stage:
    """One linear readout of all features, and the calibration of its scores."""

    coef: np.ndarray  # (p, c)
    intercept: np.ndarray  # (c,)
    link: Any = None


@dataclass(frozen=True)
class Solved:
    """What predicts: the readout that was chosen, and those of all exits."""

    chosen: Stage
    stages: tuple = ()
