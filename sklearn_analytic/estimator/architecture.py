"""Which network an estimator trained by steps means: plain, convolutional, recurrent, or one that is given."""

import math
from dataclasses import dataclass, fields
from functools import partial
from typing import Any

import numpy as np

from sklearn_analytic.estimator.base import check_positive_integer, hidden_sizes
from sklearn_analytic.nn import torch_module

_CHECKS, _NETWORKS = "sklearn_analytic.nn._torch_checks", "sklearn_analytic.nn._torch_networks"


@dataclass(frozen=True, eq=False)
class Architecture:
    """Parameters of a network as a value; a method leaves out the kinds that it does not have."""

    hidden_layer_sizes: Any
    activation: str
    image_shape: Any = None
    conv_layer_sizes: Any = None
    batch_norm: bool = False
    recurrent_layer_sizes: Any = None
    sequence_length: int | None = None
    network: Any = None

    @classmethod
    def of(cls, parameters):
        """Return the architecture that a method's fields say."""
        known = {field.name: getattr(parameters, field.name, field.default) for field in fields(cls)}
        return cls(**known)

    @property
    def is_plain(self):
        """Whether the network has dense layers alone."""
        return self.network is None and self.image_shape is None and self.recurrent_layer_sizes is None

    @property
    def hidden(self):
        """Units of the dense hidden layers."""
        return hidden_sizes(self.hidden_layer_sizes)

    @property
    def conv(self):
        """Channels of the convolutions, in blocks between poolings."""
        return conv_blocks(self.conv_layer_sizes)

    @property
    def n_channels(self):
        """Channels of an image; one scale for everything else."""
        return self.image_shape[0] if self.image_shape is not None and len(self.image_shape) == 3 else 1

    def builder(self, n_inputs, n_outputs):
        """Return a function of a generator that builds the torch network."""
        if self.network is not None:
            torch_module(_CHECKS).check_sequential(self.network)
            return partial(_copied, self.network, n_inputs, n_outputs)
        parts, sizes = torch_module(_NETWORKS), self.hidden
        if self.image_shape is not None:
            shape, conv = tuple(self.image_shape), self.conv
            return lambda generator: parts.image_network(
                shape, conv, sizes, n_outputs, self.activation, self.batch_norm, generator
            )
        recurrent = hidden_sizes(self.recurrent_layer_sizes)
        return lambda generator: parts.recurrent_network(
            self.sequence_length, n_inputs, recurrent, sizes, n_outputs, self.activation, generator
        )

    def check_columns(self, n_features):
        """Refuse rows that are no images or sequences of the given shape."""
        if self.image_shape is not None and math.prod(self.image_shape) != n_features:
            shape = tuple(self.image_shape)
            raise ValueError(f"image_shape={shape} has {math.prod(shape)} values, but X has {n_features} features.")
        if self.sequence_length is not None and n_features % self.sequence_length:
            raise ValueError(
                f"sequence_length={self.sequence_length} does not divide the {n_features} features of a row: "
                "give the number of steps of a flattened sequence."
            )

    def check(self):
        """Refuse two kinds of network at once, and half of a recurrent one."""
        names = ("network", "image_shape", "recurrent_layer_sizes")
        kinds = [name for name in names if getattr(self, name) is not None]
        if len(kinds) > 1:
            raise ValueError(f"{' and '.join(kinds)} exclude each other: give one of them.")
        if (self.recurrent_layer_sizes is None) != (self.sequence_length is None):
            raise ValueError("recurrent_layer_sizes and sequence_length must be given together.")
        if self.sequence_length is not None:
            check_positive_integer("sequence_length", self.sequence_length)
        if self.image_shape is not None:
            _check_image_shape(self.image_shape)


def _check_image_shape(value):
    """Refuse what is not two or three positive integers."""
    numbers = value if isinstance(value, list | tuple | np.ndarray) else ()
    if len(numbers) not in (2, 3) or not all(isinstance(v, int | np.integer) and v > 0 for v in numbers):
        raise ValueError(f"image_shape must be (H, W) or (C, H, W), positive integers, got {value!r}.")


def conv_blocks(value):
    """Return ``conv_layer_sizes`` as a tuple of tuples of positive integers."""
    try:
        blocks = [hidden_sizes(block) for block in value]
    except (TypeError, ValueError):
        blocks = [()]
    if not all(blocks):
        raise ValueError(
            "conv_layer_sizes must be a sequence of positive integers, or of sequences of them (several convolutions "
            f"before a pooling), got {value!r}."
        )
    return tuple(blocks)


def _copied(network, n_inputs, n_outputs, generator):
    """A copy of a given network, weights included, whose output was checked."""
    network = torch_module(_NETWORKS).trainable_copy(network)
    torch_module(_CHECKS).check_network(network, n_inputs, n_outputs)
    return network
