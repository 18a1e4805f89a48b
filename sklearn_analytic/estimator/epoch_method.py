"""What networks trained by steps have in common, as a value: parameters that scikit-learn's MLP has, and a few more."""

import math
from dataclasses import dataclass, fields
from functools import cached_property, partial
from typing import Any

import numpy as np

from sklearn_analytic.backend import get_backend
from sklearn_analytic.backend._warn_user import warn_user
from sklearn_analytic.estimator.base import check_choice, check_flag, check_positive_integer, check_real, hidden_sizes
from sklearn_analytic.estimator.epoch_rows import Reading, Scaling, held_out_rows
from sklearn_analytic.estimator.epochs import Method
from sklearn_analytic.features import ENCODINGS
from sklearn_analytic.nn import SCHEDULES, Optimizer, Plan, torch_module
from sklearn_analytic.nn._training import COOLED

_STEPS, _EPOCHS = 2000, (30, 200)  # max_iter="auto": about so many steps, in so few or many epochs
_SPLIT = 1  # the stream of random numbers that draws held-out rows
_CHECKS, _NETWORKS = "sklearn_analytic.nn._torch_checks", "sklearn_analytic.nn._torch_networks"
_BATCH = (16, 128)  # batch_size="auto": a fiftieth of the rows, within these
TOL_ERROR = 0.01  # where the class of a row has a probability above .993; measured in docs/theory/dfa.md
SKIPPED_OUTPUTS = ("softmax", "identity")  # others come near their targets from both sides


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


@dataclass(frozen=True, eq=False, kw_only=True)
class GradientMethod(Method):
    """Parameters of a network, of its steps and of their end; a subclass says who gets which error."""

    hidden_layer_sizes: Any
    activation: str
    solver: str
    learning_rate_init: Any
    learning_rate: str
    warmup_fraction: float
    momentum: float
    nesterovs_momentum: bool
    beta_1: float
    beta_2: float
    epsilon: float
    alpha: float
    batch_size: Any
    max_iter: Any
    early_stopping: bool
    validation_fraction: float
    n_iter_no_change: Any
    tol: float
    image_shape: Any
    conv_layer_sizes: Any
    network: Any
    input_encoding: Any
    warm_start: bool
    random_state: Any
    device: str
    precision: str
    output: str = "identity"  # the rule by which outputs are trained; that of classifiers is a parameter
    class_weight: Any = None

    # ---- the network and its rows ----

    @cached_property
    def architecture(self):
        """The network that the parameters mean."""
        return Architecture.of(self)

    @property
    def widest(self):
        """Units of the widest dense layer."""
        return max(self.architecture.hidden, default=0)

    @property
    def weight_dtype(self):
        """Dtype of weights on the host: bfloat16 is how products are computed, not how sums are kept."""
        return np.float64 if self.precision == "float64" else np.float32

    @cached_property
    def scaling(self):
        """The encoding of columns: pixels share a scale by channel, sequences and given networks one scale."""
        return Scaling(self.input_encoding, not self.architecture.is_plain, self.architecture.n_channels)

    @property
    def n_groups(self):
        """Groups of columns that wake up together, or None."""
        return self.scaling.groups_to_wake

    def check_columns(self, n_features):
        """Refuse rows that are no images or sequences of the given shape."""
        self.architecture.check_columns(n_features)

    def reading(self, X, weights, generator):
        """Return the encoding of training rows."""
        return Reading.begun(self.scaling.learned(X, weights, generator))

    def reading_of_source(self, rows, generator):
        """Return the encoding of rows in a source."""
        return Reading.begun(self.scaling.learned_of_blocks(rows, generator))

    def split(self, X, coded, weights, held_out, seed):
        """Return the training part and held-out rows; a warm start holds out the same."""
        if held_out is not None or not self.early_stopping:
            return (X, coded, weights), held_out
        chosen = held_out_rows(coded, self.validation_fraction, np.random.default_rng([seed, _SPLIT]))
        rest = ~chosen
        parts = [(X[mask], coded[mask], None if weights is None else weights[mask]) for mask in (rest, chosen)]
        return parts[0], parts[1]

    # ---- steps ----

    @property
    def optimizer(self):
        """The update rule as a value."""
        moments = (self.momentum, self.nesterovs_momentum, self.beta_1, self.beta_2, self.epsilon, self.alpha)
        return Optimizer(self.solver, *moments)

    @property
    def rate(self):
        """The largest learning rate."""
        return self.learning_rate_init

    @property
    def stream_rate(self):
        """The learning rate of a stream."""
        return self.rate

    def batch_size_of(self, n_rows):
        """Return rows per step: "auto" is a fiftieth of the rows, between 16 and 128."""
        if self.batch_size == "auto":
            return int(np.clip(n_rows // 50, min(_BATCH[0], n_rows), _BATCH[1]))
        return min(self.batch_size, n_rows)

    def warn_of_rows(self, n_rows):
        """Say that steps are fewer than asked for; blocks of a stream may well be small."""
        if self.batch_size != "auto" and self.batch_size > n_rows:
            warn_user(
                f"batch_size={self.batch_size} is larger than the {n_rows} training rows: every step sees all of them."
            )

    def n_epochs_of(self, n_rows, batch_size):
        """Return the epochs: "auto" aims at 2000 steps, in 30 to 200 epochs."""
        if self.max_iter == "auto":
            return int(np.clip(math.ceil(_STEPS * batch_size / n_rows), *_EPOCHS))
        return self.max_iter

    def plan(self, n_rows, recipe):
        """Return the plan of a fit."""
        return Plan(
            self.n_epochs_of(n_rows, recipe.batch_size),
            recipe.batch_size,
            self.rate,
            self.learning_rate,
            self.warmup_fraction,
            self.n_iter_no_change if self.early_stopping else None,
            self.tol,
            **self._loss_watch,
        )

    @property
    def _loss_watch(self):
        """Fields of a plan: how patient a fit is with its training loss, and from when on.

        Held-out rows are watched in its place where they stop training. ``max_iter="auto"`` lets the learning rate
        fall first: a loss that is flat at a large rate often falls again with it. A given number is watched from the
        end of the warm-up, as scikit-learn's MLP does.
        """
        patience = math.inf if self.early_stopping else self.n_iter_no_change
        warm = self.warmup_fraction
        cooled = COOLED[self.learning_rate] if self.max_iter == "auto" else 0.0
        return {"loss_patience": patience, "watch_after": warm + (1 - warm) * cooled}

    def outcome(self, execution, history):
        """Return bytes of activations."""
        return {"activation_bytes_": execution.activation_bytes()}

    @property
    def kind_of_output(self):
        """The rule of outputs, where there are several: it must stay while training goes on."""
        return {} if self.output == "identity" else {"output": self.output}

    def failure(self, history, outcome):
        """Return the error of a training that ended early."""
        if history.failure == "interrupted":
            return interrupt(outcome, history.where)
        return FloatingPointError(
            f"training{history.where} diverged: the loss became NaN or infinite with "
            f"learning_rate_init={self.rate}. Lower learning_rate_init (by 10, say), or scale the inputs "
            f"(input_encoding='standard'). {outcome}"
        )

    # ---- parameters ----

    def check(self):
        """Refuse parameters that mean nothing."""
        hidden_sizes(self.hidden_layer_sizes)
        check_patience(self.n_iter_no_change)
        for name in ("max_iter", "batch_size"):
            check_positive_integer(name, getattr(self, name), "auto")
        for name in ("early_stopping", "warm_start"):
            check_flag(name, getattr(self, name))
        check_real("learning_rate_init", self.rate, 0, math.inf, "above 0", open_low=True)
        check_real("warmup_fraction", self.warmup_fraction, 0, 1, "at least 0 and below 1", open_high=True)
        check_real("validation_fraction", self.validation_fraction, 0, 1, "between 0 and 1", True, True)
        check_real("alpha", self.alpha, 0, math.inf, "0 or more")
        check_real("tol", self.tol, 0, math.inf, "0 or more")
        for name in ("momentum", "beta_1", "beta_2"):
            check_real(name, getattr(self, name), 0, 1, "at least 0 and below 1", open_high=True)
        check_real("epsilon", self.epsilon, 0, 1, "above 0", open_low=True)
        check_flag("nesterovs_momentum", self.nesterovs_momentum)
        check_choice("solver", self.solver, ("sgd", "adam", "adamw"))
        check_choice("learning_rate", self.learning_rate, SCHEDULES)
        check_choice("precision", self.precision, ("float32", "float64", "bfloat16"))
        if self.input_encoding is not None:
            check_choice("input_encoding", self.input_encoding, ENCODINGS)
        check_device(self.device)
        wanted = self.torch_for
        if wanted is not None:
            torch_module("torch", wanted)

    @property
    def torch_for(self):
        """What of the parameters needs torch, in words, or None."""
        kinds = ("network", "image_shape", "recurrent_layer_sizes")
        given = [name for name in kinds if getattr(self.architecture, name) is not None]
        values = {"device": self.device != "cpu", "precision": self.precision == "bfloat16"}
        values["distributed"] = bool(getattr(self, "distributed", False))
        given += [f"{name}={getattr(self, name)!r}" for name, needs in values.items() if needs]
        return given[0] if given else None


def interrupt(outcome, where=""):
    """Return an interrupt of training that says what becomes of the estimator."""
    return KeyboardInterrupt(f"training{where} was interrupted. {outcome}")


def check_device(device):
    """Refuse a device that cannot be used, before anything is trained."""
    get_backend(device)
    if device.removeprefix("torch:").startswith("meta"):
        raise ValueError(f"device={device!r} holds no numbers: choose 'cpu', 'torch:cpu' or 'cuda'.")


def check_patience(value):
    """Refuse what is neither a positive integer nor infinity."""
    if not (isinstance(value, float) and value == math.inf):
        check_positive_integer("n_iter_no_change", value, math.inf)


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
