"""Gradients of all ranks as entropy-coded symbols, with the error of the quantiser fed back."""

import math

import numpy as np
import torch

from sklearn_analytic.nn._compression import EntropyScheme, bits_of, quantised, read_values, step_of, write_symbols

_NUMPY = {torch.float32: np.float32, torch.float64: np.float64}


class EntropyExchange:
    """Sums gradients over ranks from symbols of few bits; what a step leaves out, a rank adds to its next gradient.

    Parameters
    ----------
    ranks : Ranks
        The processes.
    scheme : EntropyScheme
        Constants of the quantiser.
    """

    def __init__(self, ranks, scheme=None):
        self._ranks, self._scheme = ranks, scheme or EntropyScheme()
        self._tensors = {}  # {parameter: its state}

    @torch.no_grad()
    def sum_(self, parameters, gradients):
        """Replace the gradients, each named by its parameter, by their sums: the same bits on every rank."""
        states = [self._state(p, g) for p, g in zip(parameters, gradients, strict=True)]
        payload = b"".join(state.message(g.reshape(-1)) for state, g in zip(states, gradients, strict=True))
        sizes, dtype = [g.numel() for g in gradients], _NUMPY[gradients[0].dtype]
        readers = [read_values(part, sizes, dtype) for part in self._ranks.gather(payload)]
        for state, gradient, values in zip(states, gradients, zip(*readers, strict=True), strict=True):
            total = sum(values[1:], start=values[0])  # in the order of ranks, everywhere
            gradient.copy_(state.restored(torch.from_numpy(total)).reshape(gradient.shape))

    def _state(self, parameter, gradient):
        """What this rank remembers of a tensor."""
        if parameter not in self._tensors:
            self._tensors[parameter] = _TensorState(gradient, self._scheme)
        return self._tensors[parameter]


class _TensorState:
    """One tensor over the steps: the error left out (the rank's own), and scales and a reference for the grid."""

    def __init__(self, gradient, scheme):
        self._scheme, self._steps, self._reference = scheme, 0, 0.0
        self._error = torch.zeros_like(gradient).reshape(-1)
        self._squares = torch.zeros_like(self._error)  # running mean of squared sums: the same on every rank
        self._scale = torch.ones_like(self._error)

    def message(self, gradient):
        """Code a flat gradient and the error of earlier steps; keep the error of this one."""
        wanted = gradient + self._error
        scaled = wanted / self._scale
        bits, step = self._grid(scaled)
        least = torch.finfo(scaled.dtype).tiny  # a smaller step may be 0 in the dtype: 0 / 0
        if not least <= step < math.inf:  # nothing to send, or nothing that can be sent: NaN everywhere
            return write_symbols(np.zeros(scaled.numel(), np.int8), 0.0 if step < least else math.nan, bits)
        symbols = quantised(scaled, step, bits)
        self._error = wanted - symbols * step * self._scale
        return write_symbols(symbols.to(torch.int8).cpu().numpy(), step, bits)

    def _grid(self, scaled):
        """(bits, step): more bits for a larger RMS, whose reference is the mean of the first steps."""
        scheme = self._scheme
        if scaled.numel() <= scheme.small:
            return scheme.most_bits, step_of(float(scaled.abs().max()), scheme.most_bits)
        rms = float(torch.linalg.vector_norm(scaled, dtype=torch.float64)) / math.sqrt(scaled.numel())
        if self._steps < scheme.reference_steps and 0 < rms < math.inf:
            self._reference += (rms - self._reference) / (self._steps + 1)
        bits = bits_of(rms, self._reference, scheme)
        return bits, step_of(scheme.width * rms, bits)

    def restored(self, total):
        """Return the sum of all ranks in the units of the gradient; it sets the scales of the next step."""
        total = total.to(self._scale) * self._scale
        self._steps += 1
        weight = 1 / min(self._steps, self._scheme.horizon)
        self._squares += weight * (total.square() - self._squares)
        sizes = self._squares.sqrt()
        mean = self._squares.mean().sqrt()
        self._scale = (sizes / mean).clamp(min=self._scheme.floor) if mean > 0 else self._scale
        return total
