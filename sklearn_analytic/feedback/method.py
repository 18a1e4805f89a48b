"""Direct feedback alignment as a value: parameters as a recipe, networks, alignment."""

import math
from dataclasses import asdict, dataclass, fields
from typing import Any

from sklearn_analytic.backend._warn_user import warn_user
from sklearn_analytic.estimator.base import check_choice, check_flag, check_positive_integer, check_real
from sklearn_analytic.estimator.epoch_method import SKIPPED_OUTPUTS, TOL_ERROR, GradientMethod
from sklearn_analytic.nn import ACTIVATIONS, FEEDBACKS, INITS, FeedbackRecipe, KFACRecipe, Recipe, torch_module
from sklearn_analytic.nn._alignment import bottleneck
from sklearn_analytic.nn._plans import TorchSequential, Whole, check_distributed, dense_form

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


@dataclass(frozen=True, eq=False, kw_only=True)
class DirectFeedback(GradientMethod):
    """Direct feedback alignment for plain, convolutional, recurrent and given networks."""

    scheme: str
    feedback: str
    feedback_init: str
    feedback_shared: bool
    feedback_density: float
    feedback_scale: float
    feedback_learning_rate: float
    refresh_interval: int
    module_size: int
    preconditioner: str | None
    kfac_params: dict | None
    activation_bits: int | None
    tol_error: Any
    batch_norm: bool
    recurrent_layer_sizes: Any
    sequence_length: int | None
    alignment: bool
    distributed: Any

    watched_names = ("alignment_",)

    # ---- networks ----

    def network_plan(self, n_inputs, n_outputs, before=None):
        """Return the plan of the network; plain ones on the CPU are compiled, all others are torch's."""
        shared = {"device": self.device, "distributed": self.distributed}
        if not self.architecture.is_plain:
            return Whole(TorchSequential(self.architecture.builder(n_inputs, n_outputs), **shared))
        sizes = (n_inputs, *self.architecture.hidden, n_outputs)
        needs_torch = self.precision == "bfloat16" or self.used_scheme == "modular"
        return Whole(dense_form(sizes, self.activation, **shared, needs_torch=needs_torch))

    @property
    def used_scheme(self):
        """The scheme that "auto" means: exact gradients in convolutions and recurrences, projected errors above."""
        if self.scheme != "auto":
            return self.scheme
        if self.architecture.is_plain:
            return "dfa"
        return "hybrid" if self._has_dense_hidden_layer() else "backprop"

    @property
    def torch_for(self):
        """What needs torch: modular schemes are written in it."""
        return super().torch_for or ("scheme='modular'" if self.scheme == "modular" else None)

    def _has_dense_hidden_layer(self):
        """Whether projected errors have a layer to go to."""
        if self.network is None:
            return len(self.architecture.hidden) > 0
        return torch_module("sklearn_analytic.nn._torch_stages").has_dense_hidden_layer(self.network)

    def recipe(self, n_rows):
        """Return the parameters as values."""
        feedback = FeedbackRecipe(
            self.feedback,
            self.feedback_init,
            self.feedback_shared,
            self.feedback_density,
            self.feedback_scale,
            self.refresh_interval,
            self.feedback_learning_rate,
        )
        return Recipe(
            scheme=self.used_scheme if not (self.architecture.is_plain and self.scheme == "hybrid") else "dfa",
            output=self.output,
            optimizer=self.optimizer,
            feedback=feedback,
            kfac=KFACRecipe(**(self.kfac_params or {})) if self.preconditioner == "kfac" else None,
            batch_size=self.batch_size_of(n_rows),
            activation_bits=self.activation_bits,
            tol_error=self._skipped_below(),
            module_size=self.module_size,
            precision=self.precision,
        )

    def _skipped_below(self):
        """The error below which rows are skipped: "auto" skips where that is free, and leaves published modes alone."""
        if self.tol_error != "auto":
            return self.tol_error
        free = self.activation_bits is None and self.preconditioner is None and self.output in SKIPPED_OUTPUTS
        return TOL_ERROR if free and self.used_scheme == "dfa" and self.feedback == "refresh" else 0.0

    def kind(self):
        """Return what the kept state of optimiser and feedback belongs to; outputs keep their meaning."""
        names = ("solver", "preconditioner", "activation", "precision")
        projected = ("feedback", "feedback_init", "feedback_shared") if self.used_scheme != "backprop" else ()
        found = {"scheme": self.used_scheme} | {name: getattr(self, name) for name in names + projected}
        return found | self.kind_of_output

    # ---- alignment ----

    def watch(self, execution, rows):
        """Return the angle to the true gradient where it was asked for."""
        if not self.alignment:
            return {}
        return {"alignment_": execution.alignment(rows.x[:_WATCHED], rows.y[:_WATCHED])}

    def advise(self, trained):
        """Name the narrow layer that spoils alignment (Launay et al. 2019)."""
        if not self.architecture.is_plain or "alignment_" not in trained.attributes:
            return
        coefs, aligned = trained.attributes["coefs_"], trained.attributes["alignment_"][-1]
        sizes = (len(coefs[0]), *(weights.shape[1] for weights in coefs))
        layer = bottleneck(sizes, aligned)
        if layer is not None:
            warn_user(
                f"hidden layer {layer + 1} is a bottleneck: {sizes[layer + 1]} units between {sizes[layer]} and "
                f"{sizes[layer + 2]}, and alignment with the true gradient up to it is "
                f"{min(aligned[: layer + 1]):.2f}. Widen it, or use feedback='refresh' with a shorter "
                "refresh_interval."
            )

    # ---- parameters ----

    def check(self):
        """Refuse parameters that mean nothing."""
        super().check()
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
        if self.feedback_init == "zeros" and FEEDBACKS[self.feedback].changes == "fixed":
            raise ValueError(
                f"feedback_init='zeros' with feedback={self.feedback!r} would never train a hidden layer; zeros are "
                "for feedback='learned' or 'dkp'."
            )
        self._check_kfac()
        self._check_pairs()
        self.architecture.check()
        check_distributed(self.distributed, self.random_state)

    def _check_pairs(self):
        """Refuse parameters that cannot be combined."""
        learned = FEEDBACKS[self.feedback].changes == "learned" and self.used_scheme != "backprop"
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
        unknown = set(self.kfac_params or {}) - {field.name for field in fields(KFACRecipe)}
        if unknown:
            raise ValueError(
                f"kfac_params has unknown keys {sorted(unknown)}; it may have {sorted(asdict(KFACRecipe()))}."
            )
        for name, (words, accepts) in _KFAC_RANGES.items():
            value = (self.kfac_params or {}).get(name, getattr(KFACRecipe(), name))
            if not (isinstance(value, int | float) and accepts(value)):
                raise ValueError(f"kfac_params[{name!r}] must be {words}, got {value!r}.")
        milestones = (self.kfac_params or {}).get("milestones", ())
        if not (isinstance(milestones, list | tuple) and all(isinstance(m, int) and m >= 0 for m in milestones)):
            raise ValueError(f"kfac_params['milestones'] must be a sequence of epochs, got {milestones!r}.")
        if self.preconditioner == "kfac" and self.activation_bits is not None:
            raise ValueError("preconditioner='kfac' needs exact activations: set activation_bits=None.")
