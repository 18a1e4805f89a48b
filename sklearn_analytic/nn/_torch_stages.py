"""A Sequential network as stages: a layer with weights, and what follows it up to the next one."""

from dataclasses import dataclass

import torch
from torch import nn
from torch.nn.modules import batchnorm, instancenorm

from sklearn_analytic.nn._torch_networks import RecurrentLayer, check_sequential

_KINDS = {nn.Linear: "dense", nn.Conv2d: "conv", RecurrentLayer: "recurrent"}
_TAILS = (batchnorm._NormBase, instancenorm._InstanceNorm, nn.LayerNorm, nn.GroupNorm, nn.PReLU)
_RESHAPES = (nn.Flatten, nn.Unflatten)
_POOLS = (nn.MaxPool2d, nn.AvgPool2d)
BATCH_NORMS = batchnorm._BatchNorm

# {activation module: f'(z) from (the value h = f(z), the module)}
_SLOPES = {
    nn.ReLU: lambda h, module: (h > 0).to(h.dtype),
    nn.LeakyReLU: lambda h, module: torch.where(h > 0, 1.0, module.negative_slope).to(h.dtype),
    nn.Tanh: lambda h, module: 1 - h * h,
    nn.Sigmoid: lambda h, module: h * (1 - h),
}


@dataclass(frozen=True, eq=False)
class Stage:
    """A layer with weights and the modules around it: reshapes before, activation, pooling, normalisation after."""

    modules: tuple
    layer: nn.Module

    def __call__(self, x):
        """Return the stage's output."""
        for module in self.modules:
            x = module(x)
        return x

    @property
    def kind(self):
        """ "dense", "conv" (in two dimensions), "recurrent" or "other"."""
        return _KINDS.get(type(self.layer), "other")

    @property
    def pools(self):
        """Whether the stage ends at a lower resolution."""
        return any(isinstance(module, _POOLS) for module in self.modules)

    def slope(self, output):
        """Return f'(z) of the stage's last activation, from the stage's output; ones where it cannot be told."""
        for module in reversed(self.modules):
            if type(module) in _SLOPES:
                return _SLOPES[type(module)](output, module)
        return torch.ones_like(output)


@dataclass(frozen=True, eq=False)
class Segment:
    """Consecutive stages that one error passes through exactly."""

    stages: tuple

    def __call__(self, x):
        """Return the output of the last stage."""
        for stage in self.stages:
            x = stage(x)
        return x

    @property
    def last(self):
        """The stage whose output receives the error."""
        return self.stages[-1]


def split(network):
    """Return the stages of a Sequential; reshapes go with the layer after them, all else with the layer before.

    Raises
    ------
    ValueError
        If the network is no Sequential, or has no layer with weights.
    """
    check_sequential(network)
    groups, waiting = [], []
    for module in _leaves(network):
        if isinstance(module, _RESHAPES) or (not groups and not _is_layer(module)):
            waiting.append(module)
        elif _is_layer(module):
            groups.append(([*waiting, module], module))
            waiting = []
        else:
            groups[-1][0].extend([*waiting, module])
            waiting = []
    if not groups:
        raise ValueError("the network has no layer with weights: add a torch.nn.Linear")
    groups[-1][0].extend(waiting)
    return [Stage(tuple(modules), layer) for modules, layer in groups]


def run_segments(segments, x, linked=()):
    """Return (inputs, outputs) of segments that are cut from each other; ``linked`` inputs collect a gradient."""
    inputs, outputs = [], []
    for k, segment in enumerate(segments):
        x = x.detach()
        if k in linked:
            x.requires_grad_()
        inputs.append(x)
        x = segment(x)
        outputs.append(x)
    return inputs, outputs


def receptive_field(stages):
    """Return the receptive field, in pixels of the first stage's input, of one pixel of the last one's output."""
    field, jump = 1, 1
    for module in (m for stage in stages for m in stage.modules):
        kernel = max(_pair(getattr(module, "kernel_size", 1)))
        dilation = max(_pair(getattr(module, "dilation", 1)))
        field += (kernel - 1) * dilation * jump
        jump *= max(_pair(getattr(module, "stride", 1)))
    return field


def _leaves(network):
    """Modules in order, with nested Sequentials opened."""
    for module in network:
        if isinstance(module, nn.Sequential):
            yield from _leaves(module)
        else:
            yield module


def _is_layer(module):
    """Whether a module starts a stage: it has parameters and is no normalisation."""
    return not isinstance(module, _TAILS) and next(module.parameters(), None) is not None


def _pair(value):
    """Kernel sizes come as one number or as one per axis."""
    return tuple(torch.atleast_1d(torch.as_tensor(value)).tolist())
