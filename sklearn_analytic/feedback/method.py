"""Direct feedback alignment as a value: parameters as a recipe, networks, alignment."""

import math
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from sklearn_analytic.backend._warn_user import warn_user
from sklearn_analytic.estimator.checks import POSITIVE, one_of, or_word
from sklearn_analytic.estimator.epoch_method import SKIPPED_OUTPUTS, TOL_ERROR, GradientMethod
from sklearn_analytic.feedback.values import KFAC, ApproximateActivation, Feedback
from sklearn_analytic.nn import Recipe
from sklearn_analytic.nn._alignment import bottleneck
from sklearn_analytic.nn._plans import TorchSequential, Whole, check_distributed, dense_form

SCHEMES = ("auto", "dfa", "hybrid", "modular", "backprop")
_LARGEST_RATE, _LEAST_RATE, _STREAM_RATE = 3e-3, 1e-3, 3e-3  # of learning_rate_init="auto"
_CLIPPED_RATE = 0.3  # of the same, where K-FAC bounds the steps of SGD: measured in docs/theory/kfac.md
_WATCHED = 512  # rows on which alignment is measured


def rate_of(plan, n_rows):
    """Return the largest rate of Adam for a plan on so many rows.

    Where the steps are many, smaller ones reach as far; where rows come often, larger ones fit them too well; the
    noise of a batch shrinks with its root. Measured in docs/theory/dfa.md.
    """
    epochs, batch = plan.n_epochs, plan.batch_size
    steps = epochs * math.ceil(n_rows / batch)
    shares = math.sqrt(batch / 128), 30 / epochs, math.sqrt(4000 / steps)
    return max(_LARGEST_RATE * math.prod(min(share, 1.0) for share in shares), _LEAST_RATE)


@dataclass(frozen=True, eq=False, kw_only=True)
class DirectFeedback(GradientMethod):
    """Direct feedback alignment for plain, convolutional, recurrent and given networks."""

    scheme: str
    feedback: Feedback
    preconditioner: KFAC | None
    activation_bits: Any = None  # of an approximate activation

    kinds = (*GradientMethod.kinds, Feedback, KFAC, ApproximateActivation)
    checks: ClassVar = GradientMethod.checks | {
        "scheme": one_of(SCHEMES),
        "learning_rate_init": or_word(POSITIVE, "auto"),
    }
    in_processes = True
    averages = True
    watched_names = ("alignment_",)

    @classmethod
    def _settled(cls, given):
        """An activation is its name, and its bits."""
        given = super()._settled(given)
        return given | {"activation": given["activation"].name, "activation_bits": given["activation"].bits}

    # ---- networks ----

    def network_plan(self, n_inputs, n_outputs, before=None):
        """Return the plan of the network; plain ones on the CPU are compiled, all others are torch's."""
        shared = {"device": self.device.name, "distributed": self.device.distributed}
        if self.network.torch_for is not None:
            return Whole(TorchSequential(self.builder(n_inputs, n_outputs), **shared))
        sizes = (n_inputs, *self.hidden, n_outputs)
        needs_torch = self.device.precision == "bfloat16" or self.used_scheme == "modular"
        return Whole(dense_form(sizes, self.activation, **shared, needs_torch=needs_torch))

    @property
    def used_scheme(self):
        """The scheme that "auto" means: exact gradients in convolutions and recurrences, projected errors above."""
        if self.scheme != "auto":
            return self.scheme
        if self.network.is_plain:
            return "dfa"
        return "hybrid" if self.network.has_dense_hidden_layer(self.hidden) else "backprop"

    @property
    def torch_for(self):
        """What needs torch: modular schemes are written in it."""
        return super().torch_for or ("scheme='modular'" if self.scheme == "modular" else None)

    def recipe(self, n_rows):
        """Return the parameters as the core reads them."""
        batch_size = self.batch_size_of(n_rows)
        return Recipe(
            scheme=self.used_scheme if not (self.network.is_plain and self.scheme == "hybrid") else "dfa",
            output=self.output,
            optimizer=self.optimizer,
            feedback=self.feedback.recipe(-(-n_rows // batch_size)),
            kfac=None if self.preconditioner is None else self.preconditioner.recipe(),
            batch_size=batch_size,
            activation_bits=self.activation_bits,
            tol_error=self._skipped_below(),
            module_size=self.feedback.module_size,
            precision=self.device.precision,
        )

    def _skipped_below(self):
        """The error below which rows are skipped: "auto" skips where that is free, and leaves published modes alone."""
        if self.feedback.tol_error != "auto":
            return self.feedback.tol_error
        free = self.activation_bits is None and self.preconditioner is None and self.output in SKIPPED_OUTPUTS
        return TOL_ERROR if free and self.used_scheme == "dfa" and self.feedback.name == "refresh" else 0.0

    def kind(self):
        """Return what the kept state of optimiser and feedback belongs to; outputs keep their meaning."""
        sent = self.feedback
        found = {
            "scheme": self.used_scheme,
            "solver": self.solver.name,
            "preconditioner": None if self.preconditioner is None else "kfac",
            "activation": self.activation,
            "device__precision": self.device.precision,
        }
        if self.used_scheme != "backprop":
            found |= {"feedback": sent.name, "feedback__init": sent.init, "feedback__shared": sent.shared}
        if self.used_scheme == "modular" and sent.refresh_interval != "auto":
            found |= {"feedback__refresh_interval": "a number"}  # paths of another kind
        return found | self.kind_of_output

    # ---- rates ----

    @property
    def rate(self):
        """The learning rate that was given, or that of a stream."""
        if not self._has_automatic_rate:
            return self.learning_rate_init
        return _STREAM_RATE if self._has_rule else _LEAST_RATE

    @property
    def _largest_rate(self):
        """The largest rate of a fit: "auto" trusts a bound on K-FAC's steps."""
        return _CLIPPED_RATE if self._is_bounded else self.rate

    @property
    def _is_bounded(self):
        """Whether K-FAC bounds the steps of SGD, at an automatic rate."""
        is_clipped = self.preconditioner is not None and math.isfinite(self.preconditioner.kl_clip)
        return self._has_automatic_rate and self.solver.name == "sgd" and is_clipped

    def of_stream(self):
        """Return the method with the solver of a stream."""
        return replace(self, solver=self.solver.of_stream())

    def stretch_rate(self, whole):
        """The rate of the run, whose length is known."""
        return whole.rate

    @property
    def _has_automatic_rate(self):
        """Whether the length of a fit settles its learning rate."""
        return isinstance(self.learning_rate_init, str) and self.learning_rate_init == "auto"

    def plan(self, n_rows, recipe):
        """Return the plan of a fit: an automatic rate is large for few epochs of large batches."""
        plan = super().plan(n_rows, recipe)
        if not self._has_automatic_rate:
            return plan
        if self._is_bounded:
            return replace(plan, rate=self._largest_rate)
        return replace(plan, rate=rate_of(plan, n_rows) if self._has_rule else _LEAST_RATE)

    @property
    def _has_rule(self):
        """Whether there is a rule for automatic rates: for Adam in plain networks."""
        return self.network.is_plain and self.solver.name != "sgd"

    # ---- alignment ----

    def watch(self, execution, rows):
        """Return the angle to the true gradient where it was asked for."""
        if not self.feedback.alignment:
            return {}
        return {"alignment_": execution.alignment(rows.x[:_WATCHED], rows.y[:_WATCHED])}

    def advise(self, trained):
        """Name the narrow layer that spoils alignment (Launay et al. 2019)."""
        if not {"coefs_", "alignment_"} <= trained.attributes.keys():
            return
        coefs, aligned = trained.attributes["coefs_"], trained.attributes["alignment_"][-1]
        sizes = (len(coefs[0]), *(weights.shape[1] for weights in coefs))
        layer = bottleneck(sizes, aligned)
        if layer is not None:
            warn_user(
                f"hidden layer {layer + 1} is a bottleneck: {sizes[layer + 1]} units between {sizes[layer]} and "
                f"{sizes[layer + 2]}, and alignment with the true gradient up to it is "
                f"{min(aligned[: layer + 1]):.2f}. Widen it, or use feedback='refresh' with a shorter "
                "feedback__refresh_interval."
            )

    # ---- parameters ----

    def check(self):
        """Refuse parameters that mean nothing."""
        super().check()
        ApproximateActivation(self.activation, bits=self.activation_bits).check()
        self._check_pairs()
        check_distributed(self.device.distributed, self.random_state)

    def _check_pairs(self):
        """Refuse parameters that cannot be combined."""
        learned, packed = self.feedback.is_learned and self.used_scheme != "backprop", self.activation_bits is not None
        if self.feedback.name == "dkp" and learned and packed:
            raise ValueError("feedback='dkp' reads exact activations: activation__bits must be None.")
        if self.device.distributed and (learned or packed):
            raise ValueError(
                f"device__distributed={self.device.distributed!r} gives the network of one process, but feedback='dkp' "
                "or 'learned' and approximate activations look at each process's share alone. Choose another feedback, "
                "and activation__bits=None."
            )
        renewed = self.feedback.refresh_interval != "auto"
        if self.used_scheme == "modular" and renewed and self.feedback.name != "sparse":
            raise ValueError(
                f"feedback__refresh_interval={self.feedback.refresh_interval} with scheme='modular' renews sparse "
                "paths alone: give Feedback('sparse', init='product', refresh_interval=...), or leave it out."
            )
        if self.preconditioner is not None and packed:
            raise ValueError("preconditioner=KFAC(...) needs exact activations: activation__bits must be None.")
