"""What estimators use of torch, in one import that may fail."""

import copy

import numpy as np
import torch

from sklearn_analytic.nn._torch_checks import check_network, check_sequential
from sklearn_analytic.nn._torch_execution import TorchExecution
from sklearn_analytic.nn._torch_modes import in_own_modes, own_modes
from sklearn_analytic.nn._torch_networks import (
    dense_network,
    image_network,
    load_state,
    recurrent_network,
    state_arrays,
)
from sklearn_analytic.nn._torch_ranks import Ranks, check_gpus
from sklearn_analytic.nn._torch_stages import split

__all__ = [
    "Forward",
    "Ranks",
    "TorchExecution",
    "check_gpus",
    "check_network",
    "check_sequential",
    "deepcopy",
    "dense_network",
    "has_dense_hidden_layer",
    "image_network",
    "load_state",
    "n_stages",
    "recurrent_network",
    "state_arrays",
]

_BLOCK = 2048


def deepcopy(network):
    """Return a copy of a network that can be trained, whatever mode it was made or is copied in."""
    with own_modes():
        return copy.deepcopy(network)


def has_dense_hidden_layer(network):
    """Return whether a dense layer with units lies below the last layer: where "hybrid" injects its errors."""
    return any(stage.kind == "dense" for stage in split(network)[:-1])


def n_stages(network):
    """Return how many layers with weights a Sequential has."""
    return len(split(network))


class Forward:
    """A trained network in evaluation mode, over host rows."""

    def __init__(self, network, device):
        self.device = torch.device(device.removeprefix("torch:"))
        self._network = network.to(self.device).eval()

    @in_own_modes
    def outputs(self, x):
        """Return the raw outputs (n, c) of host rows, in their dtype, computed in that of the weights."""
        dtype = next(self._network.parameters()).dtype
        parts = []
        with torch.no_grad():
            for start in range(0, len(x), _BLOCK):
                block = torch.from_numpy(np.array(x[start : start + _BLOCK])).to(self.device, dtype)
                parts.append(self._network(block).cpu().numpy())
        return np.concatenate(parts).astype(x.dtype, copy=False)
