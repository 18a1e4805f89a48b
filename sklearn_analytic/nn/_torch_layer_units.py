"""The units of all layers of a Sequential of torch, maps and steps by their means: what a readout sees of it."""

import numpy as np
import torch
from torch.nn.modules.conv import _ConvNd

from sklearn_analytic.nn._torch_modes import in_own_modes
from sklearn_analytic.nn._torch_networks import block_of, outputs_of
from sklearn_analytic.nn._torch_stages import split


class LayerUnits:
    """A trained network in evaluation mode, over host rows: the means of every hidden stage, and the outputs."""

    def __init__(self, network, device):
        self.device = torch.device(device.removeprefix("torch:"))
        self._network = network.to(self.device).eval()
        self._stages = split(self._network)
        self._dtype = next(self._network.parameters()).dtype
        self._widths, self._widest = None, 1

    @in_own_modes
    def of(self, x):
        """Return layers [(n, w_k), ...] of host rows, in their dtype, computed in that of the weights."""
        if self._widths is None:
            outputs_of(self._measured, x[:1], self.device, self._dtype)
        found = outputs_of(self._side_by_side, x, self.device, self._dtype, block_of(self._widest))
        return np.split(found, np.cumsum(self._widths)[:-1], axis=1)

    def _measured(self, x):
        """Note how wide layers are, from a row."""
        layers = list(self._layers(x))
        self._widest = max(1, *(h[0].numel() for h, _ in layers))
        self._widths = [means.shape[1] for _, means in layers]
        return layers[-1][1]

    def _side_by_side(self, x):
        """All layers of rows."""
        return torch.cat([means for _, means in self._layers(x)], dim=1)

    def _layers(self, x):
        """Yield what every stage gives, and its means (n, w)."""
        for stage in self._stages:
            x = stage(x)
            yield x, _means(x, stage.layer)


def _means(x, layer):
    """Means over places: of maps (n, C, ...) after convolutions, of steps (n, T, ..., C) after all else."""
    if x.ndim == 2:
        return x
    return x.flatten(2).mean(2) if isinstance(layer, _ConvNd) else x.flatten(1, -2).mean(1)
