"""Low-bit copies of hidden activations for the backward pass; the forward pass stays exact.

Only the weight gradients see the copies; the error that travels down needs weights and exact one-bit masks, so no
rounding error passes from layer to layer (docs/theory/approximate_activations.md).
"""

import contextlib
import math
from functools import partial

import torch
from torch import nn
from torch.nn import functional as F

from sklearn_analytic.nn._torch_modes import kept_modes, own_modes, own_randomness, train
from sklearn_analytic.nn._torch_stages import split

BITS = (4, 8)


def quantize(h, bits):
    """Return (codes uint8, packed; step; signed) of a tensor (equations 1 to 4).

    Non-negative tensors: ``q = ceil(h / step)``, ``step = max / (2^bits - 1)``, zero kept zero. Others:
    ``q = round(h / step) + 2^(bits-1)``, ``step = max|h| / (2^(bits-1) - 1)``. Nothing is read back to the host.
    """
    signed = h.amin() < 0
    levels = torch.where(signed, 2 ** (bits - 1) - 1, 2**bits - 1)
    step = h.abs().amax() / levels
    scaled = h / torch.where(step > 0, step, 1)
    q = torch.where(signed, scaled.round() + 2 ** (bits - 1), scaled.ceil()).clamp_(0, 2**bits - 1)
    return pack(q.to(torch.uint8), bits), step, signed


def dequantize(packed, step, signed, shape, bits):
    """Return the tensor that codes stand for: the middle of each cell, zero for zero."""
    q = unpack(packed, math.prod(shape), bits).to(step.dtype)
    return (torch.where(signed, q - 2 ** (bits - 1), (q - 0.5).clamp_(min=0)) * step).reshape(shape)


def pack(codes, bits):
    """Return uint8 codes below ``2^bits`` (1, 2, 4 or 8 bits) packed, 8 / bits of them in a byte."""
    per_byte = 8 // bits
    flat = F.pad(codes.flatten(), (0, -codes.numel() % per_byte)).reshape(-1, per_byte)
    out = flat[:, 0].clone()
    for k in range(1, per_byte):
        out |= flat[:, k] << (bits * k)
    return out


def unpack(packed, count, bits):
    """Return the first ``count`` codes of :func:`pack`, flat."""
    codes = [(packed >> (bits * k)) & (2**bits - 1) for k in range(8 // bits)]
    return torch.stack(codes, dim=1).flatten()[:count]


class PackedLinear(torch.autograd.Function):
    """``x W^T + b`` that keeps a packed copy of ``x``."""

    @staticmethod
    def forward(ctx, x, weight, bias, bits):
        """Return the exact product."""
        ctx.save_for_backward(weight, *quantize(x, bits))
        ctx.shape, ctx.bits = x.shape, bits
        return F.linear(x, weight, bias)

    @staticmethod
    def backward(ctx, grad):
        """Exact error below and bias gradient; weight gradient from the copy."""
        weight, *codes = ctx.saved_tensors
        below = grad @ weight if ctx.needs_input_grad[0] else None
        flat = grad.flatten(0, -2)
        x = dequantize(*codes, ctx.shape, ctx.bits).flatten(0, -2)
        return below, flat.T @ x, flat.sum(0) if ctx.needs_input_grad[2] else None, None


class PackedConv2d(torch.autograd.Function):
    """A convolution that keeps a packed copy of its input."""

    @staticmethod
    def forward(ctx, x, weight, bias, geometry, bits):
        """Return the exact convolution."""
        ctx.save_for_backward(weight, *quantize(x, bits))
        ctx.shape, ctx.geometry, ctx.bits = x.shape, geometry, bits
        return F.conv2d(x, weight, bias, *geometry)

    @staticmethod
    def backward(ctx, grad):
        """Exact error below and bias gradient; weight gradient from the copy."""
        weight, *codes = ctx.saved_tensors
        geometry = ctx.geometry
        below = None
        if ctx.needs_input_grad[0]:
            below = nn.grad.conv2d_input(ctx.shape, weight, grad, *geometry)
        x = dequantize(*codes, ctx.shape, ctx.bits)
        weights = nn.grad.conv2d_weight(x, weight.shape, grad.contiguous(), *geometry)
        return below, weights, grad.sum((0, 2, 3)) if ctx.needs_input_grad[2] else None, None, None


class PackedReLU(torch.autograd.Function):
    """A (leaky) rectifier that keeps one bit per entry; exact."""

    @staticmethod
    def forward(ctx, x, slope):
        """Return ``max(x, slope x)``."""
        positive = x > 0
        ctx.save_for_backward(pack(positive.to(torch.uint8), 1))
        ctx.shape, ctx.slope = x.shape, slope
        return torch.where(positive, x, slope * x)

    @staticmethod
    def backward(ctx, grad):
        """Return ``grad * f'``."""
        (packed,) = ctx.saved_tensors
        positive = unpack(packed, math.prod(ctx.shape), 1).reshape(ctx.shape).bool()
        return torch.where(positive, grad, ctx.slope * grad), None


class PackedMaxPool2d(torch.autograd.Function):
    """A max pooling that keeps the places of the maxima in 16 bits, and not its input; exact."""

    @staticmethod
    def forward(ctx, x, geometry):
        """Return the maxima."""
        out, places = F.max_pool2d(x, *geometry, return_indices=True)
        small = x.shape[2] * x.shape[3] < 2**15
        ctx.save_for_backward(places.to(torch.int16) if small else places)
        ctx.shape = x.shape
        return out

    @staticmethod
    def backward(ctx, grad):
        """Send every error to the place of its maximum."""
        places = ctx.saved_tensors[0].to(torch.int64).flatten(2)
        below = grad.new_zeros(ctx.shape).flatten(2)
        return below.scatter_add_(2, places, grad.flatten(2)).reshape(ctx.shape), None


def _linear(module, bits, x):
    return PackedLinear.apply(x, module.weight, module.bias, bits)


def _conv2d(module, bits, x):
    geometry = (module.stride, numeric_padding(module), module.dilation, module.groups)
    return PackedConv2d.apply(x, module.weight, module.bias, geometry, bits)


def _relu(module, bits, x):
    return PackedReLU.apply(x, getattr(module, "negative_slope", 0.0))


def _max_pool2d(module, bits, x):
    geometry = (module.kernel_size, module.stride, module.padding, module.dilation, module.ceil_mode)
    return PackedMaxPool2d.apply(x, geometry)


# {module: its forward with packed copies}; other modules keep what torch keeps
_PACKED = {
    nn.Linear: _linear,
    nn.Conv2d: _conv2d,
    nn.ReLU: _relu,
    nn.LeakyReLU: _relu,
    nn.MaxPool2d: _max_pool2d,
}


@contextlib.contextmanager
def packed(network, bits):
    """Run the network's modules with packed copies inside the block; ``bits`` None changes nothing.

    The input of the first layer is data, not activation: it is not copied at all.
    """
    replaced = _replaceable(network) if bits else []
    for module in replaced:
        module.forward = _exact_types(module, bits)  # the class's method is back when the attribute goes
    try:
        yield
    finally:
        for module in replaced:
            del module.forward


def activation_bytes(network, x, bits, still=()):
    """Return bytes kept for the backward pass of the batch ``x``: with ``bits`` ("stored") and without ("exact").

    Counted from what autograd saves in a training forward pass, each memory once, without parameters and ``x``.
    "shared" is the room for the largest copy spread out again, which one layer at a time needs. Modules in ``still``
    stay in evaluation mode.
    """
    buffers = [b.clone() for b in network.buffers()]
    with kept_modes(network), own_modes(x.device.type), own_randomness(x.device, 0):
        train(network, still)
        stored, shared = _saved_bytes(network, x, bits)
        exact, _ = _saved_bytes(network, x, None)
    for buffer, value in zip(network.buffers(), buffers, strict=True):
        buffer.copy_(value)
    return {"stored": stored, "shared": shared, "exact": exact}


def has_even_padding(module):
    """Return whether a module pads with zeros, as much on one side as on the other; what does not pad does so."""
    if getattr(module, "padding", None) != "same":
        return getattr(module, "padding_mode", "zeros") == "zeros"
    return module.padding_mode == "zeros" and not any(extent % 2 for extent in _extents(module))


def numeric_padding(module):
    """Return the padding of an evenly padded convolution as numbers, "same" and "valid" included."""
    if module.padding == "valid":
        return (0, 0)
    if module.padding == "same":
        return tuple(extent // 2 for extent in _extents(module))
    return module.padding


def _extents(module):
    """Zeros that "same" adds along each axis, on both sides together."""
    return [d * (k - 1) for d, k in zip(module.dilation, module.kernel_size, strict=True)]


def _replaceable(network):
    """Modules with a packed form, except the first layer and convolutions that pad unevenly or by other than zeros."""
    first = split(network)[0].layer
    return [m for m in network.modules() if type(m) in _PACKED and m is not first and has_even_padding(m)]


def _exact_types(module, bits):
    """The packed forward outside of autocast: the custom backward computes in the dtype of the weights."""
    run = partial(_PACKED[type(module)], module, bits)

    def forward(x):
        if not torch.is_grad_enabled():
            return type(module).forward(module, x)  # nothing is kept: predictions, and probes in forward mode
        weight = getattr(module, "weight", None)  # a hook may just have made it
        with torch.autocast(x.device.type, enabled=False):
            return run(x if weight is None else x.to(weight.dtype))

    return forward


def _saved_bytes(network, x, bits):
    """Bytes of distinct memory that autograd saves in one forward pass, and of the largest input of a packed layer."""
    known = {t.untyped_storage().data_ptr() for t in (x, *network.parameters(), *network.buffers())}
    sizes, alive, spread = {}, [], [0]

    def keep(tensor):
        tensor = tensor.detach()  # a graph that saves its own output would keep itself alive
        address = tensor.untyped_storage().data_ptr()
        if address not in known:
            sizes[address] = tensor.untyped_storage().nbytes()
            alive.append(tensor)  # or its address might be given to another tensor
        return tensor

    def measure(module, inputs):
        spread.append(inputs[0].numel() * inputs[0].element_size())

    watched = [m for m in _replaceable(network) if type(m) in (nn.Linear, nn.Conv2d)] if bits else []
    handles = [module.register_forward_pre_hook(measure) for module in watched]
    with packed(network, bits), torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        network(x)
    for handle in handles:
        handle.remove()
    return sum(sizes.values()), max(spread)
