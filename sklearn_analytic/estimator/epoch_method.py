"""What networks trained by steps have in common, as a value: parameters that scikit-learn's MLP has, and a few more."""

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from sklearn_analytic.backend._warn_user import warn_user
from sklearn_analytic.estimator.checks import (
    NOT_NEGATIVE,
    POSITIVE,
    check_categorical,
    check_flag,
    check_positive_integer,
    check_sizes,
    check_verbose,
    hidden_sizes,
    one_of,
    positive_integer_or,
    real,
)
from sklearn_analytic.estimator.device import Device
from sklearn_analytic.estimator.epoch_rows import Reading, Scaling, held_out_rows
from sklearn_analytic.estimator.epochs import Method
from sklearn_analytic.estimator.networks import Network
from sklearn_analytic.estimator.solvers import Solver
from sklearn_analytic.features import ENCODINGS
from sklearn_analytic.nn import ACTIVATIONS, SCHEDULES, Plan, torch_module

_STEPS, _EPOCHS = 2000, (30, 200)  # max_iter="auto": about so many steps, in so few or many epochs
_SPLIT = 1  # the stream of random numbers that draws held-out rows
_BATCH = (16, 128)  # batch_size="auto": a fiftieth of the rows, within these
TOL_ERROR = 0.01  # where the class of a row has a probability above .993; measured in docs/theory/dfa.md
SKIPPED_OUTPUTS = ("softmax", "identity")  # others come near their targets from both sides


def check_patience(name, value):
    """Refuse what is neither a positive integer nor infinity."""
    if not (isinstance(value, float) and value == math.inf):
        check_positive_integer(name, value, math.inf)


@dataclass(frozen=True, eq=False, kw_only=True)
class GradientMethod(Method):
    """Parameters of a network, of its steps and of their end; a subclass says who gets which error."""

    hidden_layer_sizes: Any
    activation: str
    solver: Solver
    learning_rate_init: Any
    learning_rate: str
    alpha: float
    batch_size: Any
    max_iter: Any
    shuffle: bool
    early_stopping: bool
    validation_fraction: float
    n_iter_no_change: Any
    tol: float
    network: Network
    input_encoding: Any
    warm_start: bool
    verbose: Any
    random_state: Any
    device: Device
    output: str = "identity"  # the rule by which outputs are trained; that of classifiers is a parameter
    class_weight: Any = None
    categorical_features: Any = "from_dtype"

    kinds = (Solver, Network, Device)
    averages = False  # whether an exponential mean of the weights may predict
    checks: ClassVar = {
        "hidden_layer_sizes": check_sizes,
        "activation": one_of(ACTIVATIONS),
        "n_iter_no_change": check_patience,
        "max_iter": positive_integer_or("auto"),
        "batch_size": positive_integer_or("auto"),
        "shuffle": check_flag,
        "early_stopping": check_flag,
        "warm_start": check_flag,
        "verbose": check_verbose,
        "validation_fraction": real(0, 1, "between 0 and 1", open_low=True, open_high=True),
        "alpha": NOT_NEGATIVE,
        "tol": NOT_NEGATIVE,
        "learning_rate": one_of(SCHEDULES),
        "input_encoding": one_of((None,), ENCODINGS),
        "categorical_features": check_categorical,
    }

    # ---- the network and its rows ----

    @cached_property
    def hidden(self):
        """Units of the dense hidden layers."""
        return hidden_sizes(self.hidden_layer_sizes)

    @property
    def widest(self):
        """Units of the widest dense layer."""
        return max(self.hidden, default=0)

    @property
    def weight_dtype(self):
        """Dtype of weights on the host."""
        return self.device.weight_dtype

    @cached_property
    def scaling(self):
        """The encoding of columns: pixels share a scale by channel, sequences and given networks one scale."""
        return Scaling(self.input_encoding, not self.network.is_plain, self.network.n_channels)

    def builder(self, n_inputs, n_outputs):
        """Return a function of a generator that builds the torch network."""
        return self.network.builder(self.hidden, self.activation, n_inputs, n_outputs)

    @property
    def n_groups(self):
        """Groups of columns that wake up together, or None."""
        return self.scaling.groups_to_wake

    @property
    def reads_tables(self):
        """Whether columns of X may become several: not where they are pixels or steps, or a network is given."""
        return self.network.is_plain

    @property
    def reads_layers(self):
        """Whether a readout of all layers predicts after a fit."""
        return self.network.readout == "all_layers"

    def check_columns(self, n_features):
        """Refuse rows that are no images or sequences of the given shape."""
        self.network.check_columns(n_features)

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
        """The update rule as the core reads it."""
        return self.solver.optimizer(self.alpha)

    @property
    def rate(self):
        """The largest learning rate."""
        return self.learning_rate_init

    @property
    def stream_rate(self):
        """The learning rate of a stream."""
        return self.rate

    @property
    def _rate_as_given(self):
        """The largest learning rate in words, and what it may be where the parameter is one."""
        is_word = isinstance(self.learning_rate_init, str)
        return f"{self.learning_rate_init!r} (at most {self._largest_rate})" if is_word else f"{self.rate}"

    @property
    def _largest_rate(self):
        """The largest rate that a fit may have."""
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
            self.solver.warmup_fraction,
            self.n_iter_no_change if self.early_stopping else None,
            self.tol,
            shuffle=bool(self.shuffle),
            power_t=self.solver.power_t,
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
        warm = self.solver.warmup_fraction
        cooled = SCHEDULES[self.learning_rate].cooled if self.max_iter == "auto" else 0.0
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
            f"learning_rate_init={self._rate_as_given}. Lower learning_rate_init (by 10, say), or scale the inputs "
            f"(input_encoding='standard'). {outcome}"
        )

    # ---- parameters ----

    def check(self):
        """Refuse parameters that mean nothing."""
        super().check()
        POSITIVE("learning_rate_init", self.rate)
        if not self.averages:
            self.solver.refuse_mean()
        wanted = self.torch_for
        if wanted is not None:
            torch_module("torch", wanted)

    @property
    def torch_for(self):
        """What of the parameters needs torch, in words, or None."""
        return self.network.torch_for or self.device.torch_for


def interrupt(outcome, where=""):
    """Return an interrupt of training that says what becomes of the estimator."""
    return KeyboardInterrupt(f"training{where} was interrupted. {outcome}")
