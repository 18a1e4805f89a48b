"""What the estimators of decoupled training share: their parameters as a rule of the pipeline, and its record."""

import math
from functools import partial
from itertools import pairwise

import numpy as np

from sklearn_analytic.decoupled.pipeline import DELAYS, ORDERS, RATE_RULES, published_rule
from sklearn_analytic.decoupled.plans import DenseModules, ModuleModules, Modules, TorchDenseModules
from sklearn_analytic.decoupled.predictors import PREDICTORS
from sklearn_analytic.decoupled.splitting import RECOMPUTED
from sklearn_analytic.estimator.architecture import ArchitectureMixin
from sklearn_analytic.estimator.base import (
    check_choice,
    check_flag,
    check_positive_integer,
    check_real,
    hidden_sizes,
    seed_of,
)
from sklearn_analytic.estimator.epochs import GradientEstimator, check_device
from sklearn_analytic.nn import ACTIVATIONS, Recipe, torch_parts

EXECUTORS = ("auto", "sequential", "threads", "cuda")
_MODULES = 2  # the default
_PREDICTORS = {"adam": "adam", "adamw": "adam", "sgd": "velocity"}


class DecoupledBase(ArchitectureMixin, GradientEstimator):
    """Modules that train side by side on errors of older batches: plain, convolutional and given networks."""

    _output = "identity"

    def __init__(
        self,
        hidden_layer_sizes=(256, 256),
        *,
        schedule="auto",
        n_modules=_MODULES,
        module_layers=None,
        balance="counted",
        operation_order="auto",
        shrink=1.0,
        accumulation_steps=1,
        accumulation="sum",
        weight_version="stash",
        recompute="auto",
        predictor="auto",
        regulator=1.0,
        batch_compensation=None,
        module_rates="equal",
        drain=True,
        executor="auto",
        activation="relu",
        normalization=None,
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
        batch_size="auto",
        max_iter="auto",
        early_stopping=False,
        validation_fraction=0.1,
        n_iter_no_change=10,
        tol=1e-4,
        image_shape=None,
        conv_layer_sizes=(32, 64),
        network=None,
        input_encoding="auto",
        warm_start=False,
        random_state=None,
        device="cpu",
        precision="float32",
    ):
        self.hidden_layer_sizes = hidden_layer_sizes
        self.schedule = schedule
        self.n_modules = n_modules
        self.module_layers = module_layers
        self.balance = balance
        self.operation_order = operation_order
        self.shrink = shrink
        self.accumulation_steps = accumulation_steps
        self.accumulation = accumulation
        self.weight_version = weight_version
        self.recompute = recompute
        self.predictor = predictor
        self.regulator = regulator
        self.batch_compensation = batch_compensation
        self.module_rates = module_rates
        self.drain = drain
        self.executor = executor
        self.activation = activation
        self.normalization = normalization
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
        self.batch_size = batch_size
        self.max_iter = max_iter
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.tol = tol
        self.image_shape = image_shape
        self.conv_layer_sizes = conv_layer_sizes
        self.network = network
        self.input_encoding = input_encoding
        self.warm_start = warm_start
        self.random_state = random_state
        self.device = device
        self.precision = precision

    # ---- the network and how its modules work ----

    def _network(self, n_inputs):
        """The plan of the network; plain ones on the CPU are compiled, all others are torch's."""
        modules = self._modules(n_inputs)
        if not self._is_plain():
            build = self._builder(n_inputs)
            return ModuleModules(build, self.device, modules=modules, n_inputs=n_inputs)
        sizes = (n_inputs, *hidden_sizes(self.hidden_layer_sizes), self._n_outputs())
        if self.normalization is not None:
            build = partial(torch_parts().dense_network, sizes, self.activation, normalization=self.normalization)
            return ModuleModules(build, self.device, modules=modules, n_inputs=n_inputs)
        if self.device != "cpu" or self.precision == "bfloat16":
            return TorchDenseModules(sizes, self.activation, device=self.device, modules=modules)
        return DenseModules(sizes, self.activation, modules=modules)

    @property
    def batch_norm(self):
        """Whether convolutions are normalised."""
        return self.normalization == "batch"

    def _modules(self, n_inputs):
        """The parameters of modules as values; a network that goes on keeps its modules."""
        n_modules, layers, rule = self._n_modules(), self.module_layers, self._rule()
        known = getattr(self, "modules_", None)
        return Modules(
            rule,
            n_modules,
            None if layers is None else tuple(int(n) for n in layers),
            self.balance == "measured",
            self.batch_compensation == "split" and rule.recompute,
            "cuda" if self.executor == "auto" and self.device.startswith("cuda") else self.executor,
            self._products(n_inputs),
            None if known is None else tuple(known),
        )

    def _rule(self):
        """The schedule and what goes with it; "auto" is as published, and for a schedule the best that we measured."""
        schedule = "ddg" if self.schedule == "auto" else self.schedule  # for two modules, "fdg" is the same program
        predicts = schedule == "dtrp" or (self.schedule == "auto" and self._n_modules() > 2)
        predictor = self.predictor
        if predictor == "auto":
            predictor = _PREDICTORS[self.solver] if predicts else None
        return published_rule(
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
        is_one_layer = self._is_plain() and not hidden_sizes(self.hidden_layer_sizes)
        return 1 if is_one_layer and self.n_modules == _MODULES else self.n_modules

    def _products(self, n_inputs):
        """Multiplications of a plain network for one row; others are always work enough for threads."""
        sizes = (n_inputs, *hidden_sizes(self.hidden_layer_sizes), self._n_outputs())
        return float(sum(a * b for a, b in pairwise(sizes))) if self._is_plain() else math.inf

    def _recipe(self, n_rows):
        """The parameters as values."""
        return Recipe(
            scheme="backprop",
            output=self._output,
            optimizer=self._optimizer(),
            batch_size=self._batch_size(n_rows),
            precision=self.precision,
            seed=seed_of(self.random_state),
        )

    def _batch_size(self, n_rows):
        """Rows per batch; compensated, as many as take the time of a batch that is not forwarded twice."""
        usual = super()._batch_size(n_rows)
        if self.batch_compensation == "batch" and self._rule().recompute:
            return min(round(RECOMPUTED * usual), n_rows)
        return usual

    def _kind(self):
        """What the kept weights and optimisers belong to."""
        names = ("solver", "activation", "normalization", "precision", "n_modules", "balance")
        layers = None if self.module_layers is None else tuple(int(n) for n in self.module_layers)
        return {name: getattr(self, name) for name in names} | {"module_layers": layers}

    # ---- training ----

    def _fit_rows(self, X, y, weights, held_out):
        """A fit that does not go on cuts its network anew."""
        if not self._goes_on():
            self.__dict__.pop("modules_", None)
        return super()._fit_rows(X, y, weights, held_out)

    def _train_block(self, pipeline, rows, plan, generator):
        """A block of a stream leaves nothing on its way."""
        pipeline.drain_always()
        return super()._train_block(pipeline, rows, plan, generator)

    def _keep(self, network, execution, history, scored):
        """What was measured of the modules, beside the weights."""
        super()._keep(network, execution, history, scored)
        for name, value in execution.record().items():
            setattr(self, name, value)

    def _raise(self, history, outcome):
        """A divergence names what keeps delayed gradients stable."""
        if history.failure == "interrupted":
            super()._raise(history, outcome)
        rule = self._rule()
        stale = rule.mean_staleness(self._n_modules() - 1)
        advice = "Lower learning_rate_init (by 10, say)"
        if stale > 0:
            tried = [name for name, used in self._remedies().items() if not used]
            advice += f", or, as gradients are up to {stale:g} updates old, " + ", ".join(tried)
        raise FloatingPointError(
            f"training{history.where} diverged: the loss became NaN or infinite with schedule={self.schedule!r}, "
            f"learning_rate_init={self._rate()} and module_rates={self.module_rates!r}. {advice}, or scale the inputs "
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

    def _check_parameters(self):
        """Refuse parameters that mean nothing."""
        self._check_training_parameters()
        check_device(self.device)
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
        self._check_architecture()

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
        if self.batch_compensation is not None and not self._rule().recompute:
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
