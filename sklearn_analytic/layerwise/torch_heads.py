"""Throw-away heads of partitions: features to a row of units, hidden layers, outputs."""

import copy
import math
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import nn
from torch.nn.modules import batchnorm, instancenorm

from sklearn_analytic.nn._torch_checks import output_shape
from sklearn_analytic.nn._torch_modes import kept_modes, own_modes, own_randomness
from sklearn_analytic.nn._torch_networks import LastStep, initialize
from sklearn_analytic.nn._torch_stages import split

_POOLED_UNITS = 2048  # that maps are averaged to, about (Nokland and Eidnes 2019)
_ACTIVATIONS = (nn.ReLU, nn.LeakyReLU, nn.Tanh, nn.Sigmoid, nn.GELU, nn.SiLU, nn.ELU)
# what a network without activations may hold between its layers
_LINEAR = (nn.Linear, nn.Identity, nn.Dropout, nn.Flatten, nn.Unflatten)
_NORMS = (batchnorm._NormBase, instancenorm._InstanceNorm, nn.LayerNorm, nn.GroupNorm)


@dataclass(frozen=True)
class StageOutput:
    """What one row becomes in a hidden stage."""

    name: str  # of its layer in the network
    reads: tuple  # shape that the layer is given, after reshapes
    shape: tuple  # of the output
    widest: int  # entries of the widest of the stage's modules: what is kept before a pooling

    @property
    def units(self):
        """Entries of the output."""
        return math.prod(self.shape)


def hidden_outputs(network, n_features):
    """Return a :class:`StageOutput` of every hidden stage, bottom to top, from two zero rows in evaluation mode.

    Parameters
    ----------
    network : torch.nn.Sequential
        Its last stage, the output layer, is not hidden.
    n_features : int
        Columns of a row.

    Raises
    ------
    ValueError
        If the network does not accept such rows.

    Examples
    --------
    >>> from sklearn_analytic.layerwise.torch_heads import hidden_outputs
    >>> from sklearn_analytic.nn._torch_networks import image_network
    >>> [stage.shape for stage in hidden_outputs(image_network((8, 8), (4,), (5,), 3), 64)]
    [(4, 4, 4), (5,)]
    """
    output_shape(network, n_features)
    names = {id(module): name for name, module in network.named_modules()}
    p, found = next(network.parameters()), []
    with kept_modes(network), own_modes(p.device.type), own_randomness(p.device, 0), torch.no_grad():
        network.eval()
        h = torch.zeros((2, n_features), dtype=p.dtype, device=p.device)
        for stage in split(network)[:-1]:
            place = stage.modules.index(stage.layer)
            h = nn.Sequential(*stage.modules[:place])(h)
            reads, widths = tuple(h.shape[1:]), []
            for module in stage.modules[place:]:
                h = module(h)
                widths.append(h[0].numel())
            found.append(StageOutput(names[id(stage.layer)], reads, tuple(h.shape[1:]), max(widths)))
    return found


def width_of(network):
    """Return the columns of a row that a network reads, where its first modules tell; None where they do not."""
    for module in split(network)[0].modules:
        if type(module) in _WIDTHS:
            return _WIDTHS[type(module)](module)
    return None


_WIDTHS = {
    nn.Unflatten: lambda module: math.prod(module.unflattened_size),
    nn.Linear: lambda module: module.in_features,
}


def fresh_copies(modules):
    """Return copies of modules that can be trained, with normalisations as they are made."""
    copies = copy.deepcopy(list(modules))
    for module in nn.ModuleList(copies).modules():
        if isinstance(module, _NORMS):
            module.reset_parameters()
    nn.ModuleList(copies).train().requires_grad_()
    return copies


def head_modules(shape, layer, activation, rule, n_outputs):
    """Return modules from features of ``shape`` to outputs: a read-out, hidden layers of the rule, the last layer.

    ``layer`` is the one that the features come from.
    """
    readout, units = _readout(shape, layer)
    sizes, modules = (units, *rule.head_sizes(units, n_outputs), n_outputs), []
    for n_in, n_out in pairwise(sizes):
        modules += [nn.Linear(n_in, n_out), copy.deepcopy(activation)]
    return [*readout, *modules[:-1]]


def drawn(modules, generator):
    """Return modules in a row, all of whose weights are drawn on the host."""
    head = nn.Sequential(*modules).double()  # as the host draws
    initialize(head, generator)
    return head


def activation_of(stages):
    """Return the last known activation of the first of some stages that has one; ReLU where none is known.

    Stages of dense layers and nothing else have none on purpose: the identity.
    """
    for stage in stages:
        known = [m for m in stage.modules if type(m) in _ACTIVATIONS]
        if known:
            return known[-1]
    is_linear = all(isinstance(m, _LINEAR) for stage in stages for m in stage.modules)
    return nn.Identity() if is_linear else nn.ReLU()


def _readout(shape, layer):
    """(modules, units): features as a row. Maps are averaged to a few pixels, of sequences the last step is kept."""
    if len(shape) == 3:
        side = max(1, min(math.isqrt(_POOLED_UNITS // shape[0]), *shape[1:]))
        pool = [] if shape[1:] == (side, side) else [nn.AdaptiveAvgPool2d(side)]
        return [*pool, nn.Flatten()], shape[0] * side * side
    if len(shape) == 2 and isinstance(layer, nn.Conv1d):
        length = max(1, min(_POOLED_UNITS // shape[0], shape[1]))
        return [nn.AdaptiveAvgPool1d(length), nn.Flatten()], shape[0] * length
    if len(shape) == 2:
        return [LastStep()], shape[1]
    return ([] if len(shape) == 1 else [nn.Flatten()]), math.prod(shape)
