"""Output rules: what raw outputs mean, and the error that training sends back for them."""

import numpy as np
from scipy.special import softmax


def cross_entropy(outputs, codes):
    """Return ``-log p`` of every row's class."""
    top = outputs.max(axis=1, keepdims=True)
    total = np.log(np.exp(outputs - top).sum(axis=1)) + top[:, 0]
    return total - outputs[np.arange(len(outputs)), codes]


def cross_entropy_error(outputs, codes):
    """Return the derivative of :func:`cross_entropy` by the outputs: ``p - y``."""
    error = softmax(outputs, axis=1)
    error[np.arange(len(outputs)), codes] -= 1
    return error


def half_squared_error(outputs, targets):
    """Return ``|f - y|^2 / 2`` of every row."""
    return 0.5 * np.sum((outputs - targets) ** 2, axis=1)


def squared_error(outputs, targets):
    """Return the derivative of :func:`half_squared_error`: ``f - y``."""
    return outputs - targets


# {name: (loss of each row, error of each row)}; the order is that of the compiled kernels' codes.
OUTPUTS = {
    "softmax": (cross_entropy, cross_entropy_error),
    "identity": (half_squared_error, squared_error),
}
OUTPUT_CODES = {name: code for code, name in enumerate(OUTPUTS)}


def mean_loss(outputs, rows, output):
    """Return the weighted mean loss of raw outputs for rows."""
    losses = OUTPUTS[output][0](outputs.astype(np.float64), rows.y)
    return float(np.average(losses, weights=rows.weight))
