"""What a fitted estimator computes, as a value: the one thing that every export reads.

An estimator says it once, in ``_computation()``; scikit-learn and ONNX are two readings of it.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import log_softmax, softmax

from sklearn_analytic.export.calibration import log_outputs
from sklearn_analytic.features import DenseLayer

ROWS = -1  # the step that is the rows themselves


@dataclass(frozen=True)
class Step:
    """One transformation of rows: an encoding, a layer or trees, and the number of the step that it reads."""

    value: Any
    reads: int


@dataclass(frozen=True)
class Standardised:
    """Columns as ``(x - shift) * slope``: what a layer reads of the layer before."""

    shift: np.ndarray  # (h,)
    slope: np.ndarray  # (h,)


@dataclass(frozen=True)
class Numbers:
    """Outputs that are predictions themselves."""

    one_dimensional: bool


@dataclass(frozen=True)
class Rule:
    """Probabilities of a network: softmax of the logarithm of its outputs under a rule, over a temperature."""

    output: str
    temperature: float

    def probabilities(self, outputs):
        """Return rows that sum to one."""
        return softmax(self._scores(outputs), axis=1)

    def log_probabilities(self, outputs):
        """Return the logarithms of the probabilities."""
        return log_softmax(self._scores(outputs), axis=1)

    def _scores(self, outputs):
        """Scores whose softmax is meant."""
        return log_outputs(outputs, self.output) / self.temperature


@dataclass(frozen=True)
class Classes:
    """The largest output names the class; ``link`` makes probabilities of outputs, None where there are none."""

    labels: np.ndarray
    link: Any


@dataclass(frozen=True)
class LabelSet:
    """Outputs above one half name the labels of a row; a link for each."""

    links: tuple


@dataclass(frozen=True)
class Computation:
    """Steps, and a linear readout ``[s_1, ..., s_k] @ coef + intercept`` of those that are ``read``, side by side."""

    steps: tuple
    read: tuple
    coef: np.ndarray  # (p, c)
    intercept: np.ndarray  # (c,)
    head: Any
    wide: bool = False  # the readout is summed in float64 whatever the rows are
    dtype: Any = None  # of the steps; None is that of the rows
    continuation: Any = None  # of the outputs, beyond the range of the rows


def chained(values):
    """Return values as steps that each read the one before, the first the rows."""
    return tuple(Step(value, number) for number, value in enumerate(values, start=ROWS))


def pruned(steps, read, sizes, coef):
    """Return steps, those that are read, and their rows of ``coef``, without what the readout multiplies by zero.

    ``sizes`` are the columns of every step that is read.
    """
    blocks = np.split(np.asarray(coef), np.cumsum(sizes)[:-1])
    kept = [k for k, block in enumerate(blocks) if np.any(block)] or [0]
    needed, waiting = set(), {read[k] for k in kept}
    while waiting - {ROWS}:
        needed |= waiting
        waiting = {steps[number].reads for number in waiting if number != ROWS} - needed
    renumbered = {ROWS: ROWS} | {number: k for k, number in enumerate(sorted(needed - {ROWS}))}
    left = tuple(Step(steps[number].value, renumbered[steps[number].reads]) for number in sorted(needed - {ROWS}))
    return left, tuple(renumbered[read[k]] for k in kept), np.concatenate([blocks[k] for k in kept])


def dense_computation(encodings, hidden, activation, last, head, n_read=1):
    """Return encodings, hidden dense layers (W, b) in turn, and the last, linear one, in the units of predictions.

    It reads the uppermost ``n_read`` layers side by side. The activation may be one that networks trained by steps
    alone have; nothing here applies it.
    """
    steps = chained((*encodings, *(DenseLayer(*layer, activation) for layer in hidden)))
    read = tuple(range(len(steps) + ROWS + 1 - n_read, len(steps) + ROWS + 1))
    return Computation(steps, read, *(np.asarray(part, np.float64) for part in last), head)
