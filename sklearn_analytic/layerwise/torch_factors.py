"""Layers as two linear ones in a row while they train, and as one again afterwards: a bias of depth, without depth."""

import numpy as np
import torch
from torch import nn


def can_factor(module):
    """Return whether :func:`factors` knows the layer: itself, no subclass, in one group, and not frozen."""
    return type(module) in _FACTORS and getattr(module, "groups", 1) == 1 and module.weight.requires_grad


def factors(layer):
    """Return two layers whose product is ``layer``: U sqrt(S) and sqrt(S) V^T of its singular value decomposition.

    The first one of a convolution has its kernel, and the second one is 1 x 1. Where there is a bias both have one,
    that of the first from zero.
    """
    flat = layer.weight.detach().flatten(1).T.cpu().numpy()  # (n_in, n_out), or (n_in k k, n_out)
    u, s, v = np.linalg.svd(flat, full_matrices=False)
    root = np.sqrt(s)
    below, above = (factor.to(layer.weight) for factor in _FACTORS[type(layer)](layer, len(s)))
    with torch.no_grad():
        below.weight.copy_(torch.from_numpy((u * root).T).reshape(below.weight.shape))
        above.weight.copy_(torch.from_numpy((root[:, None] * v).T).reshape(above.weight.shape))
        if layer.bias is not None:
            nn.init.zeros_(below.bias)
            above.bias.copy_(layer.bias)
    return [below, above]


@torch.no_grad()
def collapse(layer, below, above):
    """Put the product of two factors into ``layer``."""
    matrix = above.weight.flatten(1)  # (n_out, r)
    layer.weight.copy_((matrix @ below.weight.flatten(1)).reshape(layer.weight.shape))
    if layer.bias is not None:
        layer.bias.copy_(matrix @ below.bias + above.bias)


def _linear(layer, rank):
    """Linear layers of ``rank`` units between them."""
    bias = layer.bias is not None
    return nn.Linear(layer.in_features, rank, bias), nn.Linear(rank, layer.out_features, bias)


def _conv2d(layer, rank):
    """The same kernel size, then one pixel; the padding is before the first bias, so the product is exact."""
    bias = layer.bias is not None
    names = ("kernel_size", "stride", "padding", "dilation", "padding_mode")
    below = nn.Conv2d(layer.in_channels, rank, bias=bias, **{name: getattr(layer, name) for name in names})
    return below, nn.Conv2d(rank, layer.out_channels, 1, bias=bias)


_FACTORS = {nn.Linear: _linear, nn.Conv2d: _conv2d}
