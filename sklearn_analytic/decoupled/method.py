"""Decoupled training as a value: its parameters as a rule of the pipeline, and what was measured of it."""

import math
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np

from sklearn_analytic.decoupled.pipeline import DELAYS, ORDERS, RATE_RULES, published_schedule
from sklearn_analytic.decoupled.plans import Modules, Piped
from sklearn_analytic.decoupled.predictors import PREDICTORS
from sklearn_analytic.decoupled.splitting import RECOMPUTED
from sklearn_analytic.estimator.base import check_choice, check_flag, check_positive_integer, check_real
from sklearn_analytic.estimator.epoch_method import GradientMethod
from sklearn_analytic.nn import ACTIVATIONS, Recipe, torch_module
from sklearn_analytic.nn._plans import TorchSequential, dense_form

EXECUTORS = ("auto", "sequential", "threads", "cuda")
_MODULES = 2  # the default
_PREDICTORS = {"adam": "adam", "adamw": "adam", "sgd": "velocity"}


@dataclass(frozen=True, eq=False, kw_only=True)
class DecoupledTraining(GradientMethod):
    """Modules that train side by side on errors of older batches: plain, convolutional and given networks."""

    schedule: str
    n_modules: int
    module_layers: Any
    balance: str
    operation_order: str
    shrink: float
    accumulation_steps: int
    accumulation: str
    weight_version: str
    recompute: Any
    predictor: str | None
    regulator: float
    batch_compensation: str | None
    module_rates: str
    drain: bool
    executor: str
    normalization: str | None

    # ---- the network and how its modules work ----

    def network_plan(self, n_inputs, n_outputs, before=None):
        """Return the plan of the network; plain ones on the CPU are compiled, all others are torch's."""
        sizes = (n_inputs, *self.architecture.hidden, n_outputs)
        if not self.architecture.is_plain:
            form = TorchSequential(self.architecture.builder(n_inputs, n_outputs), self.device)
        elif self.normalization is not None:
            network = torch_module("sklearn_analytic.nn._torch_networks").dense_network
            build = partial(network, sizes, self.activation, normalization=self.normalization)
            form = TorchSequential(build, self.device)
        else:
            form = dense_form(sizes, self.activation, self.device, needs_torch=self.precision == "bfloat16")
        return Piped(form, self._modules(n_inputs, n_outputs, before), n_inputs)

    @property
    def torch_for(self):
        """What needs torch: normalised networks are written in it."""
        named = f"normalization={self.normalization!r}"
        return super().torch_for or (None if self.normalization is None else named)

    @property
    def batch_norm(self):
        """Whether convolutions are normalised."""
        return self.normalization == "batch"

    def _modules(self, n_inputs, n_outputs, before=None):
        """The parameters of modules as values; a network that goes on keeps its modules."""
        n_modules, layers, rule = self._n_modules(), self.module_layers, self.rule()
        known = None if before is None else before.attributes.get("modules_")
        return Modules(
            rule,
            n_modules,
            None if layers is None else tuple(int(n) for n in layers),
            self.balance == "measured",
            self.batch_compensation == "split" and rule.recompute,
            "cuda" if self.executor == "auto" and self.device.startswith("cuda") else self.executor,
            self._products(n_inputs, n_outputs),
            None if known is None else tuple(known),
        )

    def rule(self):
        """Return the schedule and its settings; "auto" is as published, for a schedule the best that we measured."""
        schedule = "ddg" if self.schedule == "auto" else self.schedule  # for two modules, "fdg" is the same program
        predicts = schedule == "dtrp" or (self.schedule == "auto" and self._n_modules() > 2)
        predictor = self.predictor
        if predictor == "auto":
            predictor = _PREDICTORS[self.solver] if predicts else None
        return published_schedule(
            schedule,
            self.operation_order,
            self.recompute,
            shrink=float(self.shrink),
            accumulation=self.accumulation_steps,
            average=self.accumulation == "mean",
            stash=self.weight_version == "stash",
            predictor=predictor,
            regulator=float(self.regulator),
            rate_rule=self.module_rates,
            drain=bool(self.drain),
        )

    def _n_modules(self):
        """Modules of the network; its output layer alone is one, and not the two of the default."""
        if self.module_layers is not None:
            return len(self.module_layers)
        is_one_layer = self.architecture.is_plain and not self.architecture.hidden
        return 1 if is_one_layer and self.n_modules == _MODULES else self.n_modules

    def _products(self, n_inputs, n_outputs):
        """Multiplications of a plain network for one row; others are always work enough for threads."""
        sizes = (n_inputs, *self.architecture.hidden, n_outputs)
        return float(sum(a * b for a, b in pairwise(sizes))) if self.architecture.is_plain else math.inf

    def recipe(self, n_rows):
        """Return the parameters as values."""
        return Recipe(
            scheme="backprop",
            output=self.output,
            optimizer=self.optimizer,
            batch_size=self.batch_size_of(n_rows),
            precision=self.precision,
        )

    def batch_size_of(self, n_rows):
        """Return rows per batch; compensated, as many as take the time of a batch that is not forwarded twice."""
        usual = super().batch_size_of(n_rows)
        if self.batch_compensation == "batch" and self.rule().recompute:
            return min(round(RECOMPUTED * usual), n_rows)
        return usual

    def kind(self):
        """Return what the kept weights and optimisers belong to; outputs keep their meaning."""
        names = ("solver", "activation", "normalization", "precision", "n_modules", "balance")
        layers = None if self.module_layers is None else tuple(int(n) for n in self.module_layers)
        return {name: getattr(self, name) for name in names} | {"module_layers": layers} | self.kind_of_output

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
            f"learning_rate_init={self.rate} and module_rates={self.module_rates!r}. {advice}, or scale the inputs "
            f"(input_encoding='standard'). {outcome}"
        )

    def _remedies(self):
        """What tames stale gradients, and whether it is already in use."""
        return {
            "choose module_rates='inverse'": self.module_rates in ("inverse", "stability"),
            "shrink=0.7": self.shrink < 1,
            "a smaller momentum": self.solver != "sgd" or self.momentum == 0,
            "schedule='auto' (half the delay, and prediction)": self.schedule in ("auto", "ddg"),
            "fewer modules (n_modules)": False,
        }

    # ---- parameters ----

    def check(self):
        """Refuse parameters that mean nothing."""
        super().check()
        choices = {
            "schedule": ("auto", *DELAYS),
            "balance": ("counted", "measured"),
            "operation_order": ORDERS,
            "accumulation": ("sum", "mean"),
            "weight_version": ("stash", "current"),
            "predictor": ("auto", None, *PREDICTORS),
            "batch_compensation": (None, "batch", "split"),
            "module_rates": RATE_RULES,
            "executor": EXECUTORS,
            "activation": ACTIVATIONS,
            "normalization": (None, "batch", "layer"),
        }
        for name, allowed in choices.items():
            check_choice(name, getattr(self, name), allowed)
        for name in ("drain", *(("recompute",) if self.recompute != "auto" else ())):
            check_flag(name, getattr(self, name))
        for name in ("n_modules", "accumulation_steps"):
            check_positive_integer(name, getattr(self, name))
        check_real("shrink", self.shrink, 0, 1, "above 0 and at most 1", open_low=True)
        check_real("regulator", self.regulator, 0, 1, "at least 0 and at most 1")
        self._check_modules()
        self._check_pairs()
        self.architecture.check()

    def _check_pairs(self):
        """Refuse parameters that exclude each other."""
        if self.predictor == "adam" and self.solver == "sgd":
            raise ValueError("predictor='adam' reads Adam's moments, but solver='sgd' has none: choose 'velocity'.")
        if self.executor == "cuda" and not self.device.startswith("cuda"):
            raise ValueError(f"executor='cuda' needs device='cuda', got device={self.device!r}: choose 'threads'.")
        if self.normalization is not None and self.network is not None:
            raise ValueError("normalization is of networks that are built here: put such layers into network itself.")
        if self.normalization == "layer" and self.image_shape is not None:
            raise ValueError("normalization='layer' is for dense layers; with image_shape choose 'batch'.")
        if self.batch_compensation is not None and not self.rule().recompute:
            raise ValueError(
                f"batch_compensation={self.batch_compensation!r} makes up for the second forward pass of "
                "recompute=True, which is off: choose schedule='dtrp' or recompute=True, or batch_compensation=None."
            )

    def _check_modules(self):
        """Refuse modules that do not add up, where the layers are known."""
        if self.module_layers is not None:
            found = self.module_layers if isinstance(self.module_layers, list | tuple | np.ndarray) else ()
            numbers = [isinstance(n, int | np.integer) and not isinstance(n, bool) and n > 0 for n in found]
            if not numbers or not all(numbers):
                raise ValueError(
                    f"module_layers must be a sequence of positive integers, layers of every module, got "
                    f"{self.module_layers!r}."
                )
