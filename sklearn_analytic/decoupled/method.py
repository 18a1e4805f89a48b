"""Decoupled training as a value: its parameters as a rule of the pipeline, and what was measured of it."""

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar

from sklearn_analytic.decoupled.pipeline import DELAYS
from sklearn_analytic.decoupled.plans import Modules, Piped
from sklearn_analytic.decoupled.splitting import RECOMPUTED
from sklearn_analytic.decoupled.values import PipelineRule
from sklearn_analytic.estimator.checks import check_positive_integer, one_of
from sklearn_analytic.estimator.epoch_method import GradientMethod
from sklearn_analytic.nn import Recipe
from sklearn_analytic.nn._plans import TorchSequential, dense_form

_MODULES = 2  # the default


@dataclass(frozen=True, eq=False, kw_only=True)
class DecoupledTraining(GradientMethod):
    """Modules that train side by side on errors of older batches: plain, convolutional and given networks."""

    schedule: str
    n_modules: int
    pipeline: PipelineRule

    kinds = (*GradientMethod.kinds, PipelineRule)
    checks: ClassVar = GradientMethod.checks | {
        "schedule": one_of(("auto",), DELAYS),
        "n_modules": check_positive_integer,
    }

    # ---- the network and how its modules work ----

    def network_plan(self, n_inputs, n_outputs, before=None):
        """Return the plan of the network; plain ones on the CPU are compiled, all others are torch's."""
        if self.network.torch_for is not None:
            form = TorchSequential(self.builder(n_inputs, n_outputs), self.device.name)
        else:
            sizes, needs_torch = (n_inputs, *self.hidden, n_outputs), self.device.precision == "bfloat16"
            form = dense_form(sizes, self.activation, self.device.name, needs_torch=needs_torch)
        return Piped(form, self._modules(n_inputs, n_outputs, before), n_inputs)

    def _modules(self, n_inputs, n_outputs, before=None):
        """The parameters of modules as values; a network that goes on keeps its modules."""
        n_modules, rule, given = self._n_modules(), self.rule(), self.pipeline
        known = None if before is None else before.attributes.get("modules_")
        return Modules(
            rule,
            n_modules,
            given.layers,
            given.balance == "measured",
            given.batch_compensation == "split" and rule.recompute,
            "cuda" if given.executor == "auto" and self.device.name.startswith("cuda") else given.executor,
            self._products(n_inputs, n_outputs),
            None if known is None else tuple(known),
        )

    def rule(self):
        """Return the schedule with its settings."""
        return self.pipeline.schedule(self.schedule, self.solver.name, self._n_modules())

    def _n_modules(self):
        """Modules of the network; its output layer alone is one, and not the two of the default."""
        if self.pipeline.layers is not None:
            return len(self.pipeline.layers)
        is_one_layer = self.network.is_plain and not self.hidden
        return 1 if is_one_layer and self.n_modules == _MODULES else self.n_modules

    def _products(self, n_inputs, n_outputs):
        """Multiplications of a plain network for one row; others are always work enough for threads."""
        sizes = (n_inputs, *self.hidden, n_outputs)
        return float(sum(a * b for a, b in pairwise(sizes))) if self.network.is_plain else math.inf

    def recipe(self, n_rows):
        """Return the parameters as values."""
        return Recipe(
            scheme="backprop",
            output=self.output,
            optimizer=self.optimizer,
            batch_size=self.batch_size_of(n_rows),
            precision=self.device.precision,
        )

    def batch_size_of(self, n_rows):
        """Return rows per batch; compensated, as many as take the time of a batch that is not forwarded twice."""
        usual = super().batch_size_of(n_rows)
        if self.pipeline.batch_compensation == "batch" and self.rule().recompute:
            return min(round(RECOMPUTED * usual), n_rows)
        return usual

    def kind(self):
        """Return what the kept weights and optimisers belong to; outputs keep their meaning."""
        found = {
            "solver": self.solver.name,
            "activation": self.activation,
            "network__normalization": self.network.normalization,
            "device__precision": self.device.precision,
            "n_modules": self.n_modules,
            "pipeline__balance": self.pipeline.balance,
            "pipeline__module_layers": self.pipeline.layers,
        }
        return found | self.kind_of_output

    # ---- training ----

    def train_block(self, pipeline, rows, plan, run):
        """Train on a block of a stream, which leaves nothing on its way."""
        pipeline.drain_always()
        return super().train_block(pipeline, rows, plan, run)

    def outcome(self, pipeline, history):
        """Return what was measured of the modules."""
        return super().outcome(pipeline, history) | pipeline.record()

    def failure(self, history, outcome):
        """Return the error of a training that ended early: a divergence names what keeps delayed gradients stable."""
        if history.failure == "interrupted":
            return super().failure(history, outcome)
        stale = self.rule().mean_staleness(self._n_modules() - 1)
        advice = "Lower learning_rate_init (by 10, say)"
        if stale > 0:
            tried = [name for name, used in self._remedies().items() if not used]
            advice += f", or, as gradients are up to {stale:g} updates old, " + ", ".join(tried)
        return FloatingPointError(
            f"training{history.where} diverged: the loss became NaN or infinite with schedule={self.schedule!r}, "
            f"learning_rate_init={self.rate} and pipeline__module_rates={self.pipeline.module_rates!r}. {advice}, or "
            f"scale the inputs (input_encoding='standard'). {outcome}"
        )

    def _remedies(self):
        """What tames stale gradients, and whether it is already in use."""
        given, solver = self.pipeline, self.solver
        return {
            "choose pipeline__module_rates='inverse'": given.module_rates in ("inverse", "stability"),
            "pipeline__shrink=0.7": given.shrink < 1,
            "a smaller solver__momentum": solver.name != "sgd" or solver.momentum == 0,
            "schedule='auto' (half the delay, and prediction)": self.schedule in ("auto", "ddg"),
            "fewer modules (n_modules)": False,
        }

    # ---- parameters ----

    def check(self):
        """Refuse parameters that mean nothing."""
        super().check()
        given, device = self.pipeline, self.device
        if given.predictor == "adam" and self.solver.name == "sgd":
            raise ValueError(
                "pipeline__predictor='adam' reads Adam's moments, but solver='sgd' has none: choose 'velocity'."
            )
        if given.executor == "cuda" and not device.name.startswith("cuda"):
            raise ValueError(
                f"pipeline__executor='cuda' needs device='cuda', got device={device.name!r}: choose 'threads'."
            )
        if device.distributed:
            raise ValueError(
                f"device__distributed={device.distributed!r} shares mini-batches out over processes, but modules share "
                "out layers: leave it False, or train a DFAClassifier or a LayerwiseMLP (or their regressors)."
            )
        if given.batch_compensation is not None and not self.rule().recompute:
            raise ValueError(
                f"pipeline__batch_compensation={given.batch_compensation!r} makes up for the second forward pass of "
                "pipeline__recompute=True, which is off: choose that or schedule='dtrp', or no compensation."
            )
