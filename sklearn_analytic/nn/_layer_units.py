"""What a readout sees of a network: the units of all its layers, many of them through a fixed random projection.

Of layers ``[h_1, ..., h_L, o]``, o being the network's own outputs, a readout is ``sum_k h_k C_k + b``: its
coefficients are those of all units side by side, whether or not it was solved for in a projection of them.
"""

from dataclasses import dataclass

import numpy as np

# A readout costs the square of its columns for every row, and in memory.
_MOST_UNITS, _PROJECTED = 768, 640  # of all hidden layers: that are read as they are, and columns that stand for more


@dataclass(frozen=True, eq=False)
class Sketch:
    """Layers as few enough columns: ``[h_1 P_1, ..., h_L P_L, o]``, P_k of Gaussian numbers, or the identity."""

    widths: tuple  # w_k, the outputs last
    projections: tuple  # of (w_k, m_k), or None where a layer is read as it is

    @classmethod
    def of(cls, widths, seed):
        """Return the sketch of layers of so many units; each hidden one has its share of the columns."""
        hidden, total = widths[:-1], sum(widths[:-1])
        if total <= _MOST_UNITS:
            return cls(tuple(widths), (None,) * len(widths))
        generator = np.random.default_rng(seed)
        sizes = [(width, max(1, _PROJECTED * width // total)) for width in hidden]
        drawn = (generator.standard_normal(size) / np.sqrt(size[0]) for size in sizes)
        return cls(tuple(widths), (*drawn, None))

    @property
    def sizes(self):
        """Columns of every layer."""
        pairs = zip(self.widths, self.projections, strict=True)
        return [width if projection is None else projection.shape[1] for width, projection in pairs]

    def columns(self, layers):
        """Return layers, an iterable of (n, w_k), side by side: (n, q)."""
        pairs = zip(layers, self.projections, strict=True)
        return np.hstack([h if projection is None else h @ projection.astype(h.dtype) for h, projection in pairs])

    def unfolded(self, coef):
        """Return the coefficients of all units of those of columns; the last layers may be missing."""
        parts = np.split(coef, np.cumsum(self.sizes)[:-1])
        pairs = zip(parts, self.projections, strict=True)
        return np.concatenate([part if p is None else p @ part for part, p in pairs if len(part)])


def read(layers, coef, intercept):
    """Return ``sum_k h_k C_k + b`` (n, c) in the dtype of the layers; layers beyond the coefficients are not read."""
    total, start = intercept, 0
    for h in layers:
        if start == len(coef):
            break
        total = total + h @ coef[start : start + h.shape[1]].astype(h.dtype)
        start += h.shape[1]
    return total.astype(layers[0].dtype, copy=False)
