"""What a network is made of, as values: dense layers, convolutions or recurrences below them, or a Sequential of torch.

``network=None`` stands for dense layers alone. ``hidden_layer_sizes`` and ``activation`` stay parameters of their own.
Every value says, too, whether the network predicts with its outputs, or with a readout of all of its layers.
"""

import math
import numbers
from functools import partial
from typing import ClassVar

import numpy as np

from sklearn_analytic.estimator.checks import check_positive_integer, check_sizes, hidden_sizes, one_of
from sklearn_analytic.estimator.value import Value, standing_for, store
from sklearn_analytic.nn import torch_module

_CHECKS, _NETWORKS = "sklearn_analytic.nn._torch_checks", "sklearn_analytic.nn._torch_networks"
_STAGES = "sklearn_analytic.nn._torch_stages"
READOUTS = ("auto", "trained", "all_layers")
_READS = {"readout": one_of(READOUTS)}


class Network(Value):
    """What lies below the dense layers."""

    parameter = "network"
    earlier: ClassVar = dict.fromkeys(
        ("image_shape", "conv_layer_sizes", "batch_norm", "recurrent_layer_sizes", "sequence_length", "normalization")
    )
    is_plain = False  # dense layers alone
    is_given = False  # with weights of its own
    n_channels = 1  # of an image; one scale for everything else
    n_below = 0  # layers below the dense ones
    normalization = None

    @classmethod
    def of(cls, given):
        """Return ``network`` as a value."""
        if isinstance(given, cls):
            return given
        if isinstance(given, Value | str | numbers.Number | type):
            kinds = "DenseNetwork(...), ImageNetwork(...), SequenceNetwork(...), GivenNetwork(...)"
            raise ValueError(f"network must be {kinds}, a torch.nn.Sequential or None, got {given!r}.")
        return standing_for(DenseNetwork) if given is None else GivenNetwork(given)

    @classmethod
    def of_earlier(cls, state):
        """Return ``network`` as an earlier version says it."""
        image, conv, normed, recurrent, steps, normalization = (state.pop(name, None) for name in cls.earlier)
        if image is not None:  # ``batch_norm`` was of convolutions alone
            return ImageNetwork(image, conv, normalization="batch" if normed else normalization)
        if recurrent is not None:
            return SequenceNetwork(steps, recurrent)
        return DenseNetwork(normalization=normalization) if normalization is not None else state["network"]

    @classmethod
    def choices(cls):
        """Return what may lie below."""
        return [DenseNetwork, ImageNetwork, SequenceNetwork, GivenNetwork]

    @property
    def torch_for(self):
        """What needs torch, in words, or None."""
        return f"network={self!r}"

    def n_layers(self, hidden):
        """Return the number of hidden layers."""
        return self.n_below + len(hidden)

    def has_dense_hidden_layer(self, hidden):
        """Return whether projected errors have a layer to go to."""
        return len(hidden) > 0

    def check_columns(self, n_features):
        """Refuse rows of another shape."""
        return


class DenseNetwork(Network):
    """Dense layers alone, what ``network=None`` stands for; with a normalisation they need torch.

    Parameters
    ----------
    normalization : {"batch", "layer"} or None, default=None
        Normalisation of hidden layers, which tolerates older gradients. Moving averages are updated once per batch.
    readout : {"auto", "trained", "all_layers"}, default="auto"
        What predicts. "trained": the outputs of the network. "all_layers": these and ridge regression of the targets on
        the units of all layers, solved for after training, as one linear readout: ridge, shares and temperature are
        chosen on rows that the layers have not seen: a twentieth of all, at least 100 and at most 1000 and a quarter
        of all; or those held out by ``early_stopping``; or ``X_val`` (1000 of them, where they are more), which are not
        solved for. "auto" is the latter for layer-wise training of several partitions, and "trained" otherwise. Where
        such rows are fewer than 20, and in streams (``partial_fit``), the trained outputs predict. A warm start may
        know rows that were learned before: give ``X_val`` there.

    Examples
    --------
    >>> from sklearn_analytic import DecoupledMLPClassifier, DenseNetwork
    >>> DecoupledMLPClassifier(network=DenseNetwork(normalization="layer")).network.normalization
    'layer'
    """

    checks: ClassVar = _READS | {"normalization": one_of((None, "batch", "layer"))}
    is_plain = True

    def __init__(self, *, normalization=None, readout="auto"):
        store(self, locals())

    @property
    def torch_for(self):
        """What needs torch: normalised networks are written in it."""
        return None if self.normalization is None else f"network__normalization={self.normalization!r}"

    def builder(self, hidden, activation, n_inputs, n_outputs):
        """Return a function of a generator that builds the torch network."""
        sizes = (n_inputs, *hidden, n_outputs)
        return partial(torch_module(_NETWORKS).dense_network, sizes, activation, normalization=self.normalization)


class ImageNetwork(Network):
    """Blocks of 3x3 convolutions and 2x2 pooling below the dense layers; rows are flattened images. Needs torch.

    Parameters
    ----------
    image_shape : tuple of int
        (H, W) or (C, H, W).
    conv_layer_sizes : sequence of int or of sequences of int, default=(32, 64)
        Channels of the blocks; ((32, 32), (64, 64)) has two convolutions before each pooling. Modules of
        ``scheme="modular"`` end at poolings, so that sparse feedback between convolutions needs such blocks.
    normalization : {"batch"} or None, default=None
        Whether convolutions are normalised.
    readout : {"auto", "trained", "all_layers"}, default="auto"
        What predicts, as in :class:`DenseNetwork`; of convolutions a readout sees the means of maps, of recurrent
        layers those of steps.

    Examples
    --------
    >>> from sklearn_analytic import DFAClassifier, ImageNetwork
    >>> DFAClassifier((64,), network=ImageNetwork((8, 8), conv_layer_sizes=(16,))).network.image_shape
    (8, 8)
    """

    checks: ClassVar = _READS

    def __init__(self, image_shape, conv_layer_sizes=(32, 64), *, normalization=None, readout="auto"):
        store(self, locals())

    @property
    def conv(self):
        """Channels of the convolutions, in blocks between poolings."""
        return conv_blocks(self.conv_layer_sizes)

    @property
    def n_channels(self):
        """Channels of an image, each with a scale."""
        return self.image_shape[0] if len(self.image_shape) == 3 else 1

    @property
    def n_below(self):
        """Convolutions."""
        return sum(map(len, self.conv))

    def builder(self, hidden, activation, n_inputs, n_outputs):
        """Return a function of a generator that builds the torch network."""
        shape, conv, parts = tuple(self.image_shape), self.conv, torch_module(_NETWORKS)
        normalized = self.normalization == "batch"
        return lambda generator: parts.image_network(shape, conv, hidden, n_outputs, activation, normalized, generator)

    def check_columns(self, n_features):
        """Refuse rows that are no images of the given shape."""
        shape = tuple(self.image_shape)
        if math.prod(shape) != n_features:
            n_values = math.prod(shape)
            raise ValueError(f"network__image_shape={shape} has {n_values} values, but X has {n_features} features.")

    def check(self):
        """Refuse settings that mean nothing."""
        super().check()
        value = self.image_shape
        sides = value if isinstance(value, list | tuple | np.ndarray) else ()
        if len(sides) not in (2, 3) or not all(isinstance(v, int | np.integer) and v > 0 for v in sides):
            raise ValueError(f"network__image_shape must be (H, W) or (C, H, W), positive integers, got {value!r}.")
        if not (self.normalization is None or (isinstance(self.normalization, str) and self.normalization == "batch")):
            raise ValueError(
                f"network__normalization must be 'batch' or None over convolutions, got {self.normalization!r}: "
                "'layer' is for dense layers."
            )
        conv_blocks(self.conv_layer_sizes)


class SequenceNetwork(Network):
    """Recurrent tanh layers below the dense layers; rows are flattened sequences. Needs torch.

    Parameters
    ----------
    sequence_length : int
        Steps of a sequence.
    recurrent_layer_sizes : int or sequence of int, default=(64,)
        Units of the recurrent layers.
    readout : {"auto", "trained", "all_layers"}, default="auto"
        What predicts, as in :class:`DenseNetwork`; of convolutions a readout sees the means of maps, of recurrent
        layers those of steps.

    Examples
    --------
    >>> from sklearn_analytic import DFAClassifier, SequenceNetwork
    >>> DFAClassifier((32,), network=SequenceNetwork(8, 24)).network
    SequenceNetwork(recurrent_layer_sizes=24, sequence_length=8)
    """

    checks: ClassVar = _READS | {
        "sequence_length": check_positive_integer,
        "recurrent_layer_sizes": check_sizes,
    }

    def __init__(self, sequence_length, recurrent_layer_sizes=(64,), *, readout="auto"):
        store(self, locals())

    @property
    def n_below(self):
        """Recurrent layers."""
        return len(hidden_sizes(self.recurrent_layer_sizes))

    def builder(self, hidden, activation, n_inputs, n_outputs):
        """Return a function of a generator that builds the torch network."""
        parts, recurrent = torch_module(_NETWORKS), hidden_sizes(self.recurrent_layer_sizes)
        return lambda generator: parts.recurrent_network(
            self.sequence_length, n_inputs, recurrent, hidden, n_outputs, activation, generator
        )

    def check_columns(self, n_features):
        """Refuse rows that are no sequences of the given length."""
        if n_features % self.sequence_length:
            raise ValueError(
                f"network__sequence_length={self.sequence_length} does not divide the {n_features} features of a row: "
                "give the number of steps of a flattened sequence."
            )


class GivenNetwork(Network):
    """A Sequential of torch, trained from its own weights as a copy: what ``network=module`` stands for.

    Parameters
    ----------
    module : torch.nn.Sequential
        All layers: plain, without hooks or lazy layers, and with raw outputs.
    readout : {"auto", "trained", "all_layers"}, default="auto"
        What predicts, as in :class:`DenseNetwork`; of convolutions a readout sees the means of maps, of recurrent
        layers those of steps.

    Examples
    --------
    >>> from torch import nn
    >>> from sklearn_analytic import GivenNetwork, LayerwiseMLP
    >>> module = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))
    >>> LayerwiseMLP(network=GivenNetwork(module, readout="trained")).network.readout
    'trained'
    """

    checks: ClassVar = _READS
    is_given = True

    def __init__(self, module, *, readout="auto"):
        store(self, locals())

    @property
    def torch_for(self):
        """What needs torch."""
        return "network"

    def n_layers(self, hidden):
        """Return the number of hidden layers."""
        return torch_module(_STAGES).n_stages(self.module) - 1

    def has_dense_hidden_layer(self, hidden):
        """Return whether projected errors have a layer to go to."""
        return torch_module(_STAGES).has_dense_hidden_layer(self.module)

    def builder(self, hidden, activation, n_inputs, n_outputs):
        """Return a function of a generator that copies the network."""
        torch_module(_CHECKS).check_sequential(self.module)
        return partial(_copied, self.module, n_inputs, n_outputs)


def conv_blocks(value):
    """Return ``conv_layer_sizes`` as a tuple of tuples of positive integers."""
    try:
        blocks = [hidden_sizes(block) for block in value]
    except (TypeError, ValueError):
        blocks = [()]
    if not all(blocks):
        raise ValueError(
            "network__conv_layer_sizes must be a sequence of positive integers, or of sequences of them (several "
            f"convolutions before a pooling), got {value!r}."
        )
    return tuple(blocks)


def _copied(network, n_inputs, n_outputs, generator):
    """A copy of a given network, weights included, whose output was checked."""
    network = torch_module(_NETWORKS).trainable_copy(network)
    torch_module(_CHECKS).check_network(network, n_inputs, n_outputs)
    return network
