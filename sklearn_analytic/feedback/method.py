"""What the estimators of direct feedback alignment share: their parameters as a recipe, networks, alignment."""

import math
from dataclasses import asdict, fields

import numpy as np

from sklearn_analytic.backend._warn_user import warn_user
from sklearn_analytic.estimator.architecture import ArchitectureMixin
from sklearn_analytic.estimator.base import (
    check_choice,
    check_flag,
    check_positive_integer,
    check_real,
    hidden_sizes,
    seed_of,
)
from sklearn_analytic.estimator.epochs import SKIPPED_OUTPUTS, TOL_ERROR, GradientEstimator, check_device
from sklearn_analytic.nn import ACTIVATIONS, FEEDBACKS, INITS, KFAC, Feedback, Recipe, torch_parts
from sklearn_analytic.nn._alignment import bottleneck
from sklearn_analytic.nn._plans import ModuleNetwork, check_distributed, dense_plan

SCHEMES = ("auto", "dfa", "hybrid", "modular", "backprop")
# {key of kfac_params: (what it must be, whether a number is)}
_KFAC_RANGES = {
    "damping": ("a finite number above 0", lambda v: 0 < v < math.inf),
    "kl_clip": ("a number above 0 (inf clips nothing)", lambda v: v > 0),
    "factor_decay": ("a number at least 0 and below 1", lambda v: 0 <= v < 1),
    "factor_interval": ("a positive integer", lambda v: v == int(v) and v >= 1),
    "eigen_interval": ("a positive integer", lambda v: v == int(v) and v >= 1),
    "interval_growth": ("a finite number above 0", lambda v: 0 < v < math.inf),
    "damping_decay": ("a finite number above 0", lambda v: 0 < v < math.inf),
}
_WATCHED = 512  # rows on which alignment is measured


class DFABase(ArchitectureMixin, GradientEstimator):
    """Direct feedback alignment for plain, convolutional, recurrent and given networks."""

    _output = "identity"  # the output rule; that of classifiers is a parameter

    def __init__(
        self,
        hidden_layer_sizes=(256, 256),
        *,
        scheme="auto",
        feedback="refresh",
        feedback_init="normal",
        feedback_shared=False,
        feedback_density=0.1,
        feedback_scale=1.0,
        feedback_learning_rate=1e-4,
        refresh_interval=20,
        module_size=2,
        activation="relu",
        solver="adam",
        learning_rate_init=1e-3,
        learning_rate="cosine",
        warmup_fraction=0.0,
        momentum=0.9,
        nesterovs_momentum=True,
        beta_1=0.9,
        beta_2=0.999,
        epsilon=1e-8,
        alpha=0.0,
        preconditioner=None,
        kfac_params=None,
        activation_bits=None,
        tol_error="auto",
        batch_size="auto",
        max_iter="auto",
        early_stopping=False,
        validation_fraction=0.1,
        n_iter_no_change=10,
        tol=1e-4,
        image_shape=None,
        conv_layer_sizes=(32, 64),
        batch_norm=False,
        recurrent_layer_sizes=None,
        sequence_length=None,
        network=None,
        alignment=False,
        input_encoding="auto",
        warm_start=False,
        distributed=False,
        random_state=None,
        device="cpu",
        precision="float32",
    ):
        self.hidden_layer_sizes = hidden_layer_sizes
        self.scheme = scheme
        self.feedback = feedback
        self.feedback_init = feedback_init
        self.feedback_shared = feedback_shared
        self.feedback_density = feedback_density
        self.feedback_scale = feedback_scale
        self.feedback_learning_rate = feedback_learning_rate
        self.refresh_interval = refresh_interval
        self.module_size = module_size
        self.activation = activation
        self.solver = solver
        self.learning_rate_init = learning_rate_init
        self.learning_rate = learning_rate
        self.warmup_fraction = warmup_fraction
        self.momentum = momentum
        self.nesterovs_momentum = nesterovs_momentum
        self.beta_1 = beta_1
        self.beta_2 = beta_2
        self.epsilon = epsilon
        self.alpha = alpha
        self.preconditioner = preconditioner
        self.kfac_params = kfac_params
        self.activation_bits = activation_bits
        self.tol_error = tol_error
        self.batch_size = batch_size
        self.max_iter = max_iter
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.tol = tol
        self.image_shape = image_shape
        self.conv_layer_sizes = conv_layer_sizes
        self.batch_norm = batch_norm
        self.recurrent_layer_sizes = recurrent_layer_sizes
        self.sequence_length = sequence_length
        self.network = network
        self.alignment = alignment
        self.input_encoding = input_encoding
        self.warm_start = warm_start
        self.distributed = distributed
        self.random_state = random_state
        self.device = device
        self.precision = precision

    # ---- networks ----

    def _network(self, n_inputs):
        """The plan of the network; plain ones on the CPU are compiled, all others are torch's."""
        shared = {"device": self.device, "distributed": self.distributed}
        if not self._is_plain():
            return ModuleNetwork(self._builder(n_inputs), **shared)
        sizes = (n_inputs, *hidden_sizes(self.hidden_layer_sizes), self._n_outputs())
        needs_torch = self.precision == "bfloat16" or self._scheme() == "modular"
        return dense_plan(sizes, self.activation, **shared, needs_torch=needs_torch)

    def _scheme(self):
        """The scheme that "auto" means: exact gradients in convolutions and recurrences, projected errors above."""
        if self.scheme != "auto":
            return self.scheme
        if self._is_plain():
            return "dfa"
        return "hybrid" if self._has_dense_hidden_layer() else "backprop"

    def _has_dense_hidden_layer(self):
        """Whether projected errors have a layer to go to."""
        if self.network is None:
            return len(hidden_sizes(self.hidden_layer_sizes)) > 0
        parts = torch_parts()
        parts.check_sequential(self.network)
        return parts.has_dense_hidden_layer(self.network)

    def _recipe(self, n_rows):
        """The parameters as values."""
        feedback = Feedback(
            self.feedback,
            self.feedback_init,
            self.feedback_shared,
            self.feedback_density,
            self.feedback_scale,
            self.refresh_interval,
            self.feedback_learning_rate,
        )
        return Recipe(
            scheme=self._scheme() if not (self._is_plain() and self.scheme == "hybrid") else "dfa",
            output=self._output,
            optimizer=self._optimizer(),
            feedback=feedback,
            kfac=KFAC(**(self.kfac_params or {})) if self.preconditioner == "kfac" else None,
            batch_size=self._batch_size(n_rows),
            activation_bits=self.activation_bits,
            tol_error=self._tol_error(),
            module_size=self.module_size,
            precision=self.precision,
            seed=seed_of(self.random_state),
        )

    def _tol_error(self):
        """The error below which rows are skipped: "auto" skips where that is free, and leaves published modes alone."""
        if self.tol_error != "auto":
            return self.tol_error
        free = self.activation_bits is None and self.preconditioner is None and self._output in SKIPPED_OUTPUTS
        return TOL_ERROR if free and self._scheme() == "dfa" and self.feedback == "refresh" else 0.0

    def _kind(self):
        """What the kept state of optimiser and feedback belongs to."""
        names = ("solver", "preconditioner", "activation", "precision")
        projected = ("feedback", "feedback_init", "feedback_shared") if self._scheme() != "backprop" else ()
        return {"scheme": self._scheme()} | {name: getattr(self, name) for name in names + projected}

    # ---- alignment ----

    def _begin_watching(self):
        """Alignment of an earlier fit is not that of this one."""
        self.__dict__.pop("alignment_", None)

    def _watch(self, execution, rows):
        """Measure the angle to the true gradient where it was asked for."""
        if not self.alignment:
            return
        aligned = execution.alignment(rows.x[:_WATCHED], rows.y[:_WATCHED])
        self.alignment_ = np.vstack([*getattr(self, "alignment_", []), aligned])

    def _warn_of_bottleneck(self):
        """Name the narrow layer that spoils alignment (Launay et al. 2019)."""
        if not self._is_plain() or not hasattr(self, "alignment_"):
            return
        sizes = (self._encoded_width(), *hidden_sizes(self.hidden_layer_sizes), self._n_outputs())
        layer = bottleneck(sizes, self.alignment_[-1])
        if layer is not None:
            warn_user(
                f"hidden layer {layer + 1} is a bottleneck: {sizes[layer + 1]} units between {sizes[layer]} and "
                f"{sizes[layer + 2]}, and alignment with the true gradient up to it is "
                f"{min(self.alignment_[-1][: layer + 1]):.2f}. Widen it, or use feedback='refresh' with a shorter "
                "refresh_interval."
            )

    # ---- parameters ----

    def _check_parameters(self):
        """Refuse parameters that mean nothing."""
        self._check_training_parameters()
        check_device(self.device)
        choices = {
            "scheme": SCHEMES,
            "feedback": FEEDBACKS,
            "feedback_init": INITS,
            "activation": ACTIVATIONS,
        }
        for name, allowed in choices.items():
            check_choice(name, getattr(self, name), allowed)
        for name in ("feedback_shared", "batch_norm", "alignment"):
            check_flag(name, getattr(self, name))
        for name in ("refresh_interval", "module_size"):
            check_positive_integer(name, getattr(self, name))
        check_real("feedback_density", self.feedback_density, 0, 1, "above 0 and at most 1", open_low=True)
        check_real("feedback_scale", self.feedback_scale, 0, math.inf, "above 0", open_low=True)
        check_real("feedback_learning_rate", self.feedback_learning_rate, 0, 1, "between 0 and 1")
        if self.tol_error != "auto":
            check_real("tol_error", self.tol_error, 0, math.inf, "0 or more")
        if self.activation_bits not in (None, 4, 8):
            raise ValueError(f"activation_bits must be 4, 8 or None, got {self.activation_bits!r}.")
        if self.feedback_init == "zeros" and FEEDBACKS[self.feedback] == "fixed":
            raise ValueError(
                f"feedback_init='zeros' with feedback={self.feedback!r} would never train a hidden layer; zeros are "
                "for feedback='learned' or 'dkp'."
            )
        self._check_kfac()
        self._check_pairs()
        self._check_architecture()
        check_distributed(self.distributed, self.random_state)

    def _check_pairs(self):
        """Refuse parameters that cannot be combined."""
        learned = FEEDBACKS[self.feedback] == "learned" and self._scheme() != "backprop"
        if self.feedback == "dkp" and learned and self.activation_bits is not None:
            raise ValueError("feedback='dkp' reads exact activations: set activation_bits=None.")
        if self.distributed and (learned or self.activation_bits is not None):
            raise ValueError(
                f"distributed={self.distributed!r} gives the network of one process, but feedback='dkp' or 'learned' "
                "and activation_bits look at each process's share alone. Choose another feedback, and "
                "activation_bits=None."
            )

    def _check_kfac(self):
        """Refuse a preconditioner that is unknown, or combined with packed activations it cannot read."""
        if self.preconditioner not in (None, "kfac"):
            raise ValueError(f"preconditioner must be 'kfac' or None, got {self.preconditioner!r}.")
        unknown = set(self.kfac_params or {}) - {field.name for field in fields(KFAC)}
        if unknown:
            raise ValueError(f"kfac_params has unknown keys {sorted(unknown)}; it may have {sorted(asdict(KFAC()))}.")
        for name, (words, accepts) in _KFAC_RANGES.items():
            value = (self.kfac_params or {}).get(name, getattr(KFAC(), name))
            if not (isinstance(value, int | float) and accepts(value)):
                raise ValueError(f"kfac_params[{name!r}] must be {words}, got {value!r}.")
        milestones = (self.kfac_params or {}).get("milestones", ())
        if not (isinstance(milestones, list | tuple) and all(isinstance(m, int) and m >= 0 for m in milestones)):
            raise ValueError(f"kfac_params['milestones'] must be a sequence of epochs, got {milestones!r}.")
        if self.preconditioner == "kfac" and self.activation_bits is not None:
            raise ValueError("preconditioner='kfac' needs exact activations: set activation_bits=None.")
