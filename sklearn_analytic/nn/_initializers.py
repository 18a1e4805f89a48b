"""First weights: variance by fan, drawn on the host, so that every device starts from the same network."""

import numpy as np

from sklearn_analytic.nn._activations import ACTIVATIONS

OUTPUT_GAIN = 1 / 3  # first outputs are small beside standardised targets


def initial_layers(sizes, activation, generator, dtype=np.float64):
    """Return [(W (n_in, n_out), b (n_out,)), ...]: uniform of variance gain / n_in, drawn in float64; biases are 0."""
    gains = [ACTIVATIONS[activation].gain] * (len(sizes) - 2) + [OUTPUT_GAIN]
    return [
        (_uniform(n_in, n_out, gain, generator).astype(dtype, copy=False), np.zeros(n_out, dtype))
        for n_in, n_out, gain in zip(sizes[:-1], sizes[1:], gains, strict=True)
    ]


def _uniform(n_in, n_out, gain, generator):
    """Uniform weights of variance gain / n_in."""
    bound = np.sqrt(3 * gain / n_in)
    return generator.uniform(-bound, bound, (n_in, n_out))
