"""What a torch network must be to be trained here, and the errors that say so."""

import math
from itertools import chain

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from sklearn_analytic.nn._losses import LINKS
from sklearn_analytic.nn._torch_modes import kept_modes, own_modes, own_randomness

_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
_PASSIVE = (nn.Identity, nn.Flatten, nn.Dropout)
_PROBABILITIES = (nn.Softmax, nn.Softmax2d, nn.Sigmoid)


def is_chain(module):
    """Return whether a module is its members in a row and nothing else, so that they may be called one by one."""
    own = type(module).forward is nn.Sequential.forward and "forward" not in vars(module)
    return isinstance(module, nn.Sequential) and own and not any(getattr(module, name) for name in _HOOKS)


def check_sequential(network):
    """Refuse anything but a non-empty nn.Sequential with known shapes, whose layers can be told apart."""
    if not isinstance(network, nn.Sequential) or not len(network):
        raise ValueError(
            f"the network must be a non-empty torch.nn.Sequential, got {type(network).__name__}: "
            "wrap its layers in their order"
        )
    if not is_chain(network):
        raise ValueError(
            f"the network is a {type(network).__name__} with a forward of its own or with hooks, so its layers in "
            "their order are not what it computes: wrap it in a torch.nn.Sequential, or move what it adds into a layer"
        )
    if any(is_lazy(tensor) for tensor in chain(network.parameters(), network.buffers())):
        raise ValueError(
            "the network has lazy layers, whose weights are not drawn yet: run one batch through the network first"
        )


def check_network(network, n_features, n_outputs):
    """Refuse a network that does not map (n, n_features) to (n, n_outputs).

    Raises
    ------
    ValueError
        If the network is not a Sequential, its input shape does not fit the rows, or its output has another shape.
    """
    shape = output_shape(network, n_features)
    if shape != (2, n_outputs):
        raise ValueError(
            f"the network's output for 2 rows has shape {shape}, expected (2, {n_outputs}): "
            f"end it with {n_outputs} outputs per row"
        )


def output_shape(network, n_features):
    """Return the shape of the outputs of two zero rows; a network that refuses them is refused by a ValueError."""
    check_sequential(network)
    first = network[0]
    if isinstance(first, nn.Unflatten) and math.prod(first.unflattened_size) != n_features:
        raise ValueError(
            f"image_shape (or the shape of a sequence) {tuple(first.unflattened_size)} has "
            f"{math.prod(first.unflattened_size)} values, but rows have n_features={n_features}"
        )
    p = next(network.parameters(), torch.zeros(()))
    try:
        with kept_modes(network), own_modes(p.device.type), own_randomness(p.device, 0), torch.no_grad():
            outputs = network.eval()(torch.zeros((2, n_features), dtype=p.dtype, device=p.device))
    except Exception as error:  # of any module that a user wrote
        cause = f"{type(error).__name__}: {error}"
        raise ValueError(f"the network does not accept rows of n_features={n_features}: {cause}") from error
    if not isinstance(outputs, torch.Tensor):
        raise ValueError(
            f"the network returns a {type(outputs).__name__}, expected a tensor: add a module that picks the outputs"
        )
    return tuple(outputs.shape)


def check_stages(network, stages, x):
    """Refuse a network whose stages do not compute what it computes; ``x`` is a few rows on its device."""
    with kept_modes(network), torch.no_grad():
        network.eval()
        with own_randomness(x.device, 0):
            expected = network(x)
        h = x
        with own_randomness(x.device, 0):
            for stage in stages:
                h = stage(h)
    if h.shape != expected.shape or not torch.allclose(h, expected, rtol=1e-4, atol=1e-5, equal_nan=True):
        raise ValueError(
            "the network computes something else than its modules called in their order: give a torch.nn.Sequential "
            "that keeps to its members' order and counts nothing in evaluation mode"
        )


def check_trainable(network):
    """Refuse a network in which nothing can be trained."""
    parameters = list(network.parameters())
    if not any(p.requires_grad for p in parameters):
        raise ValueError(
            "the network has no parameter to train, all are frozen: call requires_grad_(True) on some of its layers"
        )
    if any(tensor.is_inference() for tensor in chain(parameters, network.buffers())):
        raise ValueError(
            "the network was made under torch.inference_mode, and such weights cannot be trained: "
            "give a copy.deepcopy of it, made outside of that mode"
        )


def check_last(stages, output):
    """Refuse probabilities where the loss takes raw outputs."""
    modules = [m for m in stages[-1].modules if not isinstance(m, _PASSIVE)]
    name = type(modules[-1]).__name__
    if output in LINKS and isinstance(modules[-1], (*_PROBABILITIES, nn.LogSoftmax)):
        raise ValueError(
            f"the network ends in {name}, but output={output!r} is a rule of outputs that are not normalised: remove "
            f"{name}, or choose output='softmax'"
        )
    if output == "softmax" and isinstance(modules[-1], _PROBABILITIES):
        raise ValueError(
            f"the network ends in {name}, but classifiers apply the softmax themselves to its outputs: remove {name} "
            "(or end in LogSoftmax, which a softmax does not change)"
        )
