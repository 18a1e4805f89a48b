"""Networks of torch modules over flat rows: dense, convolutional and recurrent, with weights drawn on the host."""

import contextlib
import copy
import math
from itertools import pairwise

import numpy as np
import torch
from torch import nn

from sklearn_analytic.nn._activations import ACTIVATIONS
from sklearn_analytic.nn._initializers import OUTPUT_GAIN
from sklearn_analytic.nn._torch_modes import in_own_modes, own_modes, own_randomness

# {normalization: modules for so many units}
_NORMS = {None: lambda n: [], "batch": lambda n: [nn.BatchNorm1d(n)], "layer": lambda n: [nn.LayerNorm(n)]}


def activation_of(module):
    """Return the row of the table whose module this is, or None."""
    rows = (row for row in ACTIVATIONS.values() if row.torch and type(module) is getattr(nn, row.torch))
    return next(rows, None)


BLOCK = 2048  # rows that are forwarded at once
_BLOCK_ENTRIES = 2**22  # and entries, where rows are wide


def block_of(widest):
    """Return how many rows are forwarded at once, where one has so many entries on its way."""
    return max(1, min(BLOCK, _BLOCK_ENTRIES // widest))


def outputs_of(function, x, device, dtype, size=BLOCK):
    """Return the outputs of host rows by a function of tensors, in their dtype, in blocks and without graphs."""
    x, found = np.asarray(x), None
    with torch.no_grad():
        for start in range(0, max(len(x), 1), size):
            block = torch.from_numpy(np.array(x[start : start + size])).to(device, dtype)
            part = function(block).cpu().numpy()
            found = np.empty((len(x), *part.shape[1:]), x.dtype) if found is None else found
            found[start : start + size] = part
    return found


class Forward:
    """A trained network in evaluation mode, over host rows."""

    def __init__(self, network, device):
        self.device = torch.device(device.removeprefix("torch:"))
        self._network = network.to(self.device).eval()

    @in_own_modes
    def outputs(self, x):
        """Return the raw outputs (n, c) of host rows, in their dtype, computed in that of the weights."""
        return outputs_of(self._network, x, self.device, next(self._network.parameters()).dtype)


def trainable_copy(network):
    """Return a copy of a network that can be trained, whatever mode it was made or is copied in."""
    with own_modes():
        return copy.deepcopy(network)


@contextlib.contextmanager
def _building():
    """Torch's modules draw weights of their own, from a global state; and weights are made to be trained."""
    with own_modes(), own_randomness(torch.device("cpu"), 0):
        yield


_unseeded = _building()


class LastStep(nn.Module):
    """Keep the last step (n, h) of sequences (n, T, h)."""

    def forward(self, x):
        """Return ``x[:, -1]``."""
        return x[:, -1]


class RecurrentLayer(nn.Module):
    """Elman's layer ``h_t = tanh(x_t W + h_{t-1} U + b)`` over sequences (n, T, f); the result is (n, T, h).

    ``time_feedback`` is None (the error goes back through time exactly) or a tuple of matrices (S_1, ..., S_{m-1}) of
    shape (h, h): the error inside a module of m steps comes from its last step, see :class:`ModularTime`, behind the
    slopes there where matrices follow the weights (``time_follows``).
    """

    def __init__(self, in_features, out_features):
        super().__init__()
        self.in_features, self.out_features = in_features, out_features
        self.weight = nn.Parameter(torch.zeros(out_features, in_features))
        self.recurrent_weight = nn.Parameter(torch.zeros(out_features, out_features))
        self.bias = nn.Parameter(torch.zeros(out_features))
        self.time_feedback, self.time_follows = None, False

    def forward(self, x):
        """Return all hidden states (n, T, h)."""
        if self.time_feedback is None:
            return torch.stack(_elman(x, self.weight, self.recurrent_weight, self.bias), dim=1)
        with torch.autocast(x.device.type, enabled=False):
            x = x.to(self.weight.dtype)
            paths = self.time_feedback, self.time_follows
            return ModularTime.apply(x, self.weight, self.recurrent_weight, self.bias, *paths)


def _elman(x, weight, recurrent, bias):
    """The explicit loop over time: a list of T states (n, h), the first one from a zero state."""
    driven = nn.functional.linear(x, weight, bias)
    states = [torch.tanh(driven[:, 0])]
    for t in range(1, x.shape[1]):
        states.append(torch.tanh(driven[:, t] + nn.functional.linear(states[-1], recurrent)))
    return states


class ModularTime(torch.autograd.Function):
    """Elman's layer whose error crosses modules of m steps exactly and is spread inside them by matrices of its own.

    Steps are grouped from the end: the last step s of a module, and s-1, ..., s-m+1 inside it. With the error g_t that
    arrives at h_t from above, and D_t = G_t * (1 - h_t^2),

        G_s       = g_s + D_{s+1} U          (s + 1 is the first step of the next module; g_s alone for s = T)
        G_{s-tau} = g_{s-tau} + G_s S_tau    (tau = 1, ..., m - 1)

    in row convention, U as stored (h_out, h_in); matrices that follow the weights are behind D_s in place of G_s, as U
    is. Errors from above at inner steps act there and, for the first step of a module, through the border; they are not
    carried between inner steps. With m = 1 this is backpropagation through time.
    """

    @staticmethod
    def forward(ctx, x, weight, recurrent, bias, feedback, follows):
        """Run the loop; the states are kept, nothing else."""
        states = torch.stack(_elman(x, weight, recurrent, bias), dim=1)
        ctx.save_for_backward(x, weight, recurrent, states)
        ctx.feedback, ctx.follows = feedback, follows
        return states

    @staticmethod
    def backward(ctx, grad):
        """Return the gradients of x, W, U and b from the errors D_t."""
        x, weight, recurrent, states = ctx.saved_tensors
        errors = _time_errors(grad, states, recurrent, ctx.feedback, ctx.follows)  # (n, T, h)
        flat = errors.flatten(0, 1)
        before = states[:, :-1].flatten(0, 1)
        return (
            errors @ weight,
            flat.T @ x.flatten(0, 1),
            errors[:, 1:].flatten(0, 1).T @ before,
            flat.sum(0),
            None,
            None,
        )


def _time_errors(grad, states, recurrent, feedback, follows):
    """D_t of every step, from the last to the first."""
    size, errors, border = len(feedback) + 1, [], None
    for back in range(states.shape[1]):
        t, tau = states.shape[1] - 1 - back, back % size
        if tau:
            total = grad[:, t] + border @ feedback[tau - 1]
        else:
            border = total = grad[:, t] + (errors[-1] @ recurrent if errors else 0)
        errors.append(total * (1 - states[:, t].square()))
        if follows and not tau:
            border = errors[-1]
    return torch.stack(errors[::-1], dim=1)


@_unseeded
def dense_network(sizes, activation, generator=None, normalization=None):
    """Return Linear and activation modules for layers of ``sizes``; nothing follows the last Linear.

    Parameters
    ----------
    sizes : sequence of int
        (n_features, hidden units ..., n_outputs).
    activation : str
        "identity", "relu", "leaky_relu" (slope 0.01), "tanh" or "logistic".
    generator : numpy.random.Generator or None
        Source of the weights, see :func:`initialize`; None is ``default_rng(0)``.
    normalization : {"batch", "layer"} or None
        What normalises hidden layers before their activation.

    Examples
    --------
    >>> from sklearn_analytic.nn._torch_networks import dense_network
    >>> len(dense_network((4, 8, 3), "tanh"))
    3
    """
    return _initialized(nn.Sequential(*_dense(sizes, activation, normalization)), generator)


@_unseeded
def image_network(
    image_shape, conv_layer_sizes, hidden_layer_sizes, n_outputs, activation="relu", batch_norm=False, generator=None
):
    """Return blocks of 3x3 convolution, normalisation, activation and 2x2 max pooling under a dense head.

    Parameters
    ----------
    image_shape : tuple of int
        (H, W) or (C, H, W); rows are flat images in this order.
    conv_layer_sizes : sequence of int or of sequences of int
        Channels of every block; a sequence in place of a number is a block of several convolutions.
    hidden_layer_sizes : sequence of int
        Units of every hidden dense layer.
    n_outputs : int
        Units of the last layer.
    activation : str
        As in :func:`dense_network`.
    batch_norm : bool
        Whether BatchNorm2d follows every convolution.
    generator : numpy.random.Generator or None
        Source of the weights.

    Raises
    ------
    ValueError
        If ``image_shape`` is no image shape, or the image is too small for so many poolings.
    """
    channels, height, width = _image_shape(image_shape)
    blocks = [tuple(np.atleast_1d(block).tolist()) for block in conv_layer_sizes]
    poolings = len(blocks)
    if min(height, width) >> poolings < 1:
        most = int(math.log2(min(height, width)))
        raise ValueError(
            f"conv_layer_sizes has {poolings} blocks, each of which halves the image, but images of {height} x {width} "
            f"allow {most}: give at most {most} blocks"
        )
    modules = [nn.Unflatten(1, (channels, height, width))]
    n_in = channels
    for block in blocks:
        for n_out in block:
            modules += _convolution(n_in, n_out, activation, batch_norm)
            n_in = n_out
        modules.append(nn.MaxPool2d(2))
    flat = n_in * (height >> poolings) * (width >> poolings)
    head = _dense((flat, *hidden_layer_sizes, n_outputs), activation)
    return _initialized(nn.Sequential(*modules, nn.Flatten(), *head), generator)


@_unseeded
def recurrent_network(
    sequence_length,
    n_features,
    recurrent_layer_sizes,
    hidden_layer_sizes,
    n_outputs,
    activation="tanh",
    generator=None,
):
    """Return stacked :class:`RecurrentLayer` modules; the last hidden state feeds a dense head.

    Parameters
    ----------
    sequence_length : int
        Steps T of a row.
    n_features : int
        Columns of a row: T times the features of a step, step by step.
    recurrent_layer_sizes, hidden_layer_sizes : sequence of int
        Units of the recurrent and of the dense hidden layers.
    n_outputs : int
        Units of the last layer.
    activation : str
        Of the dense hidden layers.
    generator : numpy.random.Generator or None
        Source of the weights.

    Raises
    ------
    ValueError
        If ``sequence_length`` does not divide ``n_features``.
    """
    if sequence_length < 1 or n_features % sequence_length:
        raise ValueError(
            f"sequence_length={sequence_length} does not divide the {n_features} features of a row: "
            "give the number of steps of a flattened sequence"
        )
    sizes = (n_features // sequence_length, *recurrent_layer_sizes)
    layers = [RecurrentLayer(n_in, n_out) for n_in, n_out in pairwise(sizes)]
    head = _dense((sizes[-1], *hidden_layer_sizes, n_outputs), activation)
    front = nn.Unflatten(1, (sequence_length, sizes[0]))
    return _initialized(nn.Sequential(front, *layers, LastStep(), *head), generator)


def initialize(network, generator):
    """Draw all weights on the host: uniform, of variance gain / fan-in, as the CPU path does.

    The gain is 2 before a rectifier (He et al. 2015), 1 otherwise, 1/3 for the last layer. Biases become zero;
    normalisations keep ones and zeros. Modules are visited in their order.
    """
    layers = [m for m in network.modules() if any(p.ndim > 1 for p in m.parameters(recurse=False))]
    modules = list(network.modules())
    for layer in layers:
        gain = OUTPUT_GAIN if layer is layers[-1] else _gain_after(modules[modules.index(layer) + 1 :])
        for parameter in layer.parameters(recurse=False):
            if parameter.ndim > 1:
                _draw(parameter, gain, generator)
            else:
                nn.init.zeros_(parameter)


def load_state(module, arrays):
    """Put a dict of NumPy arrays (parameters and buffers by name) into ``module``, on its device, in their dtype."""
    with own_modes():
        hosts = {name: np.asarray(a) for name, a in arrays.items()}  # torch reads what it may write, and copies it
        tensors = {name: torch.from_numpy(a if a.flags.writeable else a.copy()) for name, a in hosts.items()}
        floating = [t.dtype for t in tensors.values() if t.is_floating_point()]
        if floating:
            module.to(floating[0])
        module.load_state_dict(tensors)


def state_arrays(module):
    """Return copies of all parameters and buffers of ``module`` as a dict of NumPy arrays on the host."""
    return {name: array.copy() for name, array in state_views(module).items()}


def state_views(module):
    """Return them as arrays that share the memory of the module, where it is on the host."""
    return {name: t.detach().cpu().numpy() for name, t in module.state_dict().items()}


def _dense(sizes, activation, normalization=None):
    """Linear modules with normalisations and activations between them."""
    modules = []
    for n_in, n_out in pairwise(sizes[:-1]):
        modules += [nn.Linear(n_in, n_out), *_NORMS[normalization](n_out), *_activation(activation)]
    return [*modules, nn.Linear(*sizes[-2:])]


def _convolution(n_in, n_out, activation, batch_norm):
    """A convolution, perhaps normalisation, activation."""
    norm = [nn.BatchNorm2d(n_out)] if batch_norm else []
    return [nn.Conv2d(n_in, n_out, 3, padding=1), *norm, *_activation(activation)]


def _activation(name):
    """A list with the activation's module, or an empty one; an unknown name is refused."""
    known = [known for known, row in ACTIVATIONS.items() if row.torch]
    if name not in known:
        raise ValueError(f"activation={name!r} is unknown: choose one of {', '.join(known)}")
    return [] if name == "identity" else [getattr(nn, ACTIVATIONS[name].torch)()]


def _image_shape(shape):
    """(C, H, W), with one channel where none was given."""
    shape = tuple(int(s) for s in shape)
    if len(shape) not in (2, 3) or min(shape) < 1:
        raise ValueError(f"image_shape={shape} must be (height, width) or (channels, height, width), all positive")
    return (1,) * (3 - len(shape)) + shape


def _initialized(network, generator):
    """The network with drawn weights: torch's own draw depends on a global state."""
    initialize(network, np.random.default_rng(0) if generator is None else generator)
    return network


def _gain_after(rest):
    """The largest gain of activations before the next layer with weights of its own; 1 without any."""
    found = 1.0
    for module in rest:
        if any(p.ndim > 1 for p in module.parameters()):
            break
        row = activation_of(module)
        found = found if row is None else max(found, row.gain)
    return found


def _draw(parameter, gain, generator):
    """Uniform entries of variance gain / fan-in; the fan counts the receptive field of a kernel."""
    bound = math.sqrt(3 * gain / math.prod(parameter.shape[1:]))
    # drawn as (n_in, n_out) for matrices, as the CPU path draws them
    shape = tuple(parameter.shape[::-1]) if parameter.ndim == 2 else tuple(parameter.shape)
    values = generator.uniform(-bound, bound, shape)
    values = np.ascontiguousarray(values.T) if parameter.ndim == 2 else values
    with torch.no_grad():
        parameter.copy_(torch.from_numpy(values))
