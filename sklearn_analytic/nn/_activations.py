"""Activations whose slope can be told from their value, so that no pre-activation is kept."""

import numpy as np

LEAK = 0.01


def _relu(z):
    return np.maximum(z, 0)


def _leaky_relu(z):
    return np.where(z > 0, z, LEAK * z)


def _logistic(z):
    return 1 / (1 + np.exp(-np.clip(z, -700, None)))


# {name: (f(z), f'(z) from h = f(z))}; the order is that of the compiled kernels' codes.
ACTIVATIONS = {
    "identity": (lambda z: z, np.ones_like),
    "relu": (_relu, lambda h: (h > 0).astype(h.dtype)),
    "leaky_relu": (_leaky_relu, lambda h: np.where(h > 0, 1, LEAK).astype(h.dtype)),
    "tanh": (np.tanh, lambda h: 1 - h * h),
    "logistic": (_logistic, lambda h: h * (1 - h)),
}
PASSING = ("identity", "relu", "leaky_relu", "tanh")  # f(f(z)) is f(z), or near it
ACTIVATION_CODES = {name: code for code, name in enumerate(ACTIVATIONS)}


def activation_codes(activation, n_layers, last="identity"):
    """Return the codes of all layers: one name for all hidden layers or a name for each, then ``last``."""
    names = (activation,) * (n_layers - 1) if isinstance(activation, str) else tuple(activation)
    return np.array([ACTIVATION_CODES[name] for name in (*names, last)][:n_layers], dtype=np.int64)
