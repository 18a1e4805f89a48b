"""First weights near the identity: a stage that begins by passing on what it reads."""

import torch
from torch import nn

from sklearn_analytic.layerwise.partitions import START_NOISE
from sklearn_analytic.nn._torch_networks import activation_of


def can_pass(stage):
    """Return whether a stage may begin as the identity: as many outputs as inputs, nothing after the activation.

    Frozen weights stay what they are.
    """
    layer = stage.layer
    others = [module for module in stage.modules if module is not layer]
    if not all(map(_repeats, others)):
        return False
    if not all(parameter.requires_grad for parameter in layer.parameters()):
        return False
    if type(layer) is nn.Linear:
        return layer.in_features == layer.out_features
    return type(layer) is nn.Conv2d and _keeps_maps(layer)


def _repeats(module):
    """Whether a module without weights applied twice is, or nearly is, applied once; dropout does not predict."""
    row = activation_of(module)
    return type(module) is nn.Dropout or (row is not None and row.repeats)


@torch.no_grad()
def start_as_identity(stage):
    """Make the weights those of the identity and a share of the random ones; the bias is zero already."""
    weight = stage.layer.weight
    one = torch.zeros_like(weight)
    if weight.ndim == 2:
        one.fill_diagonal_(1)
    else:
        nn.init.dirac_(one)
    weight.copy_(START_NOISE * weight + one)


def _keeps_maps(layer):
    """Whether a convolution puts out maps of the size and number that it reads."""
    same = layer.padding == "same" or all(
        2 * p == d * (k - 1) for p, d, k in zip(layer.padding, layer.dilation, layer.kernel_size, strict=True)
    )
    odd = all(k % 2 for k in layer.kernel_size)
    return same and odd and set(layer.stride) == {1} and layer.groups == 1 and layer.in_channels == layer.out_channels
