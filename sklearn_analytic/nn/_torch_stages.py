"""A Sequential network as stages: a layer with weights, and what follows it up to the next one."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import nn
from torch.nn.modules import batchnorm, instancenorm

from sklearn_analytic.nn._torch_checks import check_sequential, is_chain
from sklearn_analytic.nn._torch_networks import RecurrentLayer, activation_of

_KINDS = {nn.Linear: "dense", nn.Conv2d: "conv", RecurrentLayer: "recurrent"}
_TAILS = (batchnorm._NormBase, instancenorm._InstanceNorm, nn.LayerNorm, nn.GroupNorm, nn.PReLU)
_RESHAPES = (nn.Flatten, nn.Unflatten)
_UNIT_BY_UNIT = (nn.Identity, nn.modules.dropout._DropoutNd, nn.GELU, nn.SiLU, nn.ELU)
_POOLS = (nn.MaxPool2d, nn.AvgPool2d)
BATCH_NORMS = batchnorm._BatchNorm

# {activation module: f'(z) from (the value h = f(z), the module)}; of others of the table, by NumPy
_SLOPES = {
    nn.ReLU: lambda h, module: (h > 0).to(h.dtype),
    nn.LeakyReLU: lambda h, module: torch.where(h > 0, 1.0, module.negative_slope).to(h.dtype),
    nn.Tanh: lambda h, module: 1 - h * h,
    nn.Sigmoid: lambda h, module: h * (1 - h),
}


class Watch(NamedTuple):
    """Functions that see what passes through a stage."""

    slope: Callable | None = None  # of the last activation's slope f'(z), if that is known
    layer: Callable | None = None  # of what the layer gives


_BLIND = Watch()


@dataclass(frozen=True, eq=False)
class Stage:
    """A layer with weights and the modules around it: reshapes before, activation, pooling, normalisation after."""

    modules: tuple
    layer: nn.Module

    def __call__(self, x, watch=_BLIND):
        """Return the stage's output, and let ``watch`` see what passes.

        What follows the activation (dropout, normalisation) changes the output, so f' cannot be told from there.
        """
        watched = None if watch.slope is None else self._activation()
        for k, module in enumerate(self.modules):
            x = module(x)
            if k == watched:
                watch.slope(_slope(module, x))
            if watch.layer is not None and module is self.layer:
                watch.layer(x)
        return x

    def _activation(self):
        """Place of the last activation with a known slope, or None."""
        return max((k for k, module in enumerate(self.modules) if _has_slope(module)), default=None)

    @property
    def kind(self):
        """ "dense", "conv" (in two dimensions), "recurrent" or "other"; parametrised layers are subclasses."""
        return next((kind for layer, kind in _KINDS.items() if isinstance(self.layer, layer)), "other")

    @property
    def pools(self):
        """Whether the stage ends at a lower resolution."""
        return any(isinstance(module, _POOLS) for module in self.modules)

    @property
    def reshapes(self):
        """Whether the layer reads in another shape what the stage is given."""
        return any(isinstance(module, _RESHAPES) for module in self.modules)

    @property
    def is_unit_by_unit(self):
        """Whether what follows the layer is known to give a value for each of its values."""
        rest = [module for module in self.modules if module is not self.layer and not isinstance(module, _RESHAPES)]
        return all(_has_slope(module) or isinstance(module, (*_TAILS, *_UNIT_BY_UNIT)) for module in rest)


@dataclass(frozen=True, eq=False)
class Segment:
    """Consecutive stages that one error passes through exactly."""

    stages: tuple

    def __call__(self, x, watch=_BLIND):
        """Return the output of the last stage, which ``watch`` belongs to."""
        for stage in self.stages[:-1]:
            x = stage(x)
        return self.last(x, watch)

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


def n_stages(network):
    """Return how many layers with weights a Sequential has."""
    return len(split(network))


def has_dense_hidden_layer(network):
    """Return whether a dense layer with units lies below the last layer: where "hybrid" injects its errors."""
    return any(stage.kind == "dense" for stage in split(network)[:-1])


def run_segments(segments, x, linked=(), watches=None):
    """Return (inputs, outputs) of segments that are cut from each other; ``linked`` inputs collect a gradient.

    ``watches`` is {index of a segment: :class:`Watch`}.
    """
    watches = watches or {}
    inputs, outputs = [], []
    for k, segment in enumerate(segments):
        x = x.detach()
        if k in linked:
            x.requires_grad_()
        inputs.append(x)
        x = segment(x, watches.get(k, _BLIND))
        outputs.append(x)
    return inputs, outputs


def send_back(outputs, errors):
    """Start one backward pass from all outputs, each with its error; an output that nothing trains needs none."""
    pairs = [(h, e.to(h.dtype)) for h, e in zip(outputs, errors, strict=True) if h.requires_grad]
    if pairs:
        outputs, errors = zip(*pairs, strict=True)
        with torch.enable_grad():
            _Above.apply(errors, *outputs).backward()


class _Above(torch.autograd.Function):
    """A number over outputs, whose gradients are given.

    torch.autograd.backward with gradients imports a library of symbols to compare shapes: .8 s of every first fit.
    """

    @staticmethod
    def forward(ctx, errors, *outputs):
        """Keep the errors."""
        if any(e.shape != h.shape for e, h in zip(errors, outputs, strict=True)):
            raise RuntimeError("every error must have the shape of its output")
        ctx.errors = errors
        return outputs[0].new_zeros(())

    @staticmethod
    def backward(ctx, _):
        """Give every output its error."""
        return None, *ctx.errors


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
    """Modules in order, with nested Sequentials opened; one that does more than its members do stays whole."""
    for module in network:
        if is_chain(module):
            yield from _leaves(module)
        else:
            yield module


def _has_slope(module):
    """Whether f' can be told from the value of an activation; the identity is none."""
    return type(module) in _SLOPES or (activation_of(module) is not None and type(module) is not nn.Identity)


@torch.no_grad()
def _slope(module, h):
    """f'(z) of an activation from its value, outside of the graph."""
    if type(module) in _SLOPES:
        return _SLOPES[type(module)](h, module)
    return torch.from_numpy(activation_of(module).slope(h.cpu().numpy())).to(h)


def _is_layer(module):
    """Whether a module starts a stage: it has parameters and is no normalisation."""
    return not isinstance(module, _TAILS) and next(module.parameters(), None) is not None


def _pair(value):
    """Kernel sizes come as one number or as one per axis."""
    return tuple(torch.atleast_1d(torch.as_tensor(value)).tolist())
