"""Private training as a value: a mechanism within the budget, and steps whose noise it covers."""

import math
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any, ClassVar

import numpy as np

from sklearn_analytic.backend._warn_user import warn_user
from sklearn_analytic.estimator.base import seed_of
from sklearn_analytic.estimator.checks import (
    POSITIVE,
    check_categorical,
    check_choice,
    check_positive_integer,
    check_sizes,
    check_verbose,
    hidden_sizes,
    one_of,
    or_word,
    positive_integer_or,
    real,
)
from sklearn_analytic.estimator.epoch_rows import Reading
from sklearn_analytic.estimator.epochs import Method
from sklearn_analytic.estimator.solvers import Solver
from sklearn_analytic.features._public_scale import PublicScale
from sklearn_analytic.nn import ACTIVATIONS, FEEDBACKS, SCHEDULES, FeedbackRecipe, Plan, Recipe
from sklearn_analytic.nn._losses import class_outputs
from sklearn_analytic.nn._plans import CompiledDense, Whole
from sklearn_analytic.private.training import (
    GaussianMechanism,
    PhotonicMechanism,
    PrivateExecution,
    photonic_bounds,
)
from sklearn_analytic.private.values import Photonic, PrivateSolver

_STEPS, _EPOCHS = 1500, (5, 100)  # max_iter="auto": about so many steps, in so few or many epochs
_BATCH = (16, 512)  # batch_size="auto": a tenth of the rows, within these


class PrivacyLeakWarning(UserWarning):
    """Something was taken from the rows, or set, that the reported privacy budget does not cover.

    Examples
    --------
    >>> from sklearn_analytic import PrivacyLeakWarning
    >>> issubclass(PrivacyLeakWarning, UserWarning)
    True
    """


def _check_feedback(name, value):
    """Refuse feedback that reads rows, and say why."""
    private = [known for known, kind in FEEDBACKS.items() if kind.changes != "learned"]
    if isinstance(value, str) and value in FEEDBACKS and value not in private:
        raise ValueError(
            f"{name}={value!r} learns from rows outside of the noised gradient and is not private; choose one of "
            f"{private}."
        )
    check_choice(name, value, private)


def _check_activation(name, value):
    """Refuse an activation whose slope has no known bound."""
    check_choice(name, value, [known for known, row in ACTIVATIONS.items() if row.steepest is not None])


def _check_schedule(name, value):
    """Refuse a schedule that looks at losses, and say why."""
    if isinstance(value, str) and value == "adaptive":
        raise ValueError(f"{name}='adaptive' reads losses, which disclose rows: choose 'cosine' or another.")
    check_choice(name, value, [known for known in SCHEDULES if known != "adaptive"])


def _check_epsilon(name, value):
    """Refuse a budget that is none; infinity is one for comparisons."""
    if value != math.inf:
        POSITIVE(name, value)


@dataclass(frozen=True, eq=False, kw_only=True)
class PrivateTraining(Method):
    """Steps of a plain network whose gradients are clipped and noised; training is never gone on from."""

    hidden_layer_sizes: Any
    epsilon: float
    delta: float
    data_norm: float | None
    max_grad_norm: float
    bounds: Any
    mechanism: Photonic | None  # None is Gaussian noise
    accountant: str
    scheme: str
    feedback: str
    feedback_scale: float
    refresh_interval: int
    activation: str
    output: str
    solver: Solver
    learning_rate_init: float
    learning_rate: str
    batch_size: Any
    max_iter: Any
    precision: str
    verbose: Any
    random_state: Any
    categorical_features: Any = "from_dtype"
    # settled by a fit
    ends: Any = None  # of columns, which are public
    n_rows: int = 0

    goes_on = False
    kinds = (PrivateSolver, Photonic)
    checks: ClassVar = {
        "hidden_layer_sizes": check_sizes,
        "epsilon": _check_epsilon,
        "delta": real(0, 1, "above 0 and below 1", True, True),
        "data_norm": or_word(POSITIVE, None),
        "max_grad_norm": POSITIVE,
        "accountant": one_of(("prv", "rdp")),
        "scheme": one_of(("dfa", "backprop")),
        "feedback": _check_feedback,
        "feedback_scale": POSITIVE,
        "refresh_interval": check_positive_integer,
        "activation": _check_activation,
        "output": lambda name, value: check_choice(name, value, class_outputs()),
        "learning_rate_init": POSITIVE,
        "learning_rate": _check_schedule,
        "batch_size": positive_integer_or("auto"),
        "max_iter": positive_integer_or("auto"),
        "precision": one_of(("float32", "float64")),
        "verbose": check_verbose,
        "categorical_features": check_categorical,
    }

    @cached_property
    def draws(self):
        """Generators of what is public, and of sampling and noise."""
        return _generators(self.random_state)

    # ---- the network ----

    def network_plan(self, n_inputs, n_outputs, before=None):
        """Return the plan of the network, in the mechanism of least noise within the budget."""
        sizes = (n_inputs, *hidden_sizes(self.hidden_layer_sizes), n_outputs)
        return PrivateNetwork(CompiledDense(sizes, self.activation), self)

    def mechanism_of(self, sizes):
        """Return the mechanism of least noise within the budget."""
        rate, batch_size = self.sample_rate, self.batch_size_of(self.n_rows)
        n_steps = self.n_epochs_of(self.n_rows, batch_size) * -(-self.n_rows // batch_size)
        budget = (float(self.epsilon), float(self.delta), rate, n_steps, float(self.max_grad_norm))
        optical = self.mechanism
        if optical is None:
            return _within(GaussianMechanism, *budget, self.accountant)
        norms = (float(optical.input_norm), float(optical.error_norm))
        bounds = photonic_bounds(sizes, self.activation, *norms, optical.floor)
        return _within(PhotonicMechanism, *budget, bounds)

    def refuse_budget(self, n_inputs, n_outputs):
        """Refuse a budget that no noise reaches."""
        self.mechanism_of((n_inputs, *hidden_sizes(self.hidden_layer_sizes), n_outputs))

    @property
    def sample_rate(self):
        """Chance of a row to be in a batch."""
        return self.batch_size_of(self.n_rows) / self.n_rows

    def recipe(self, n_rows):
        """Return the parameters as values."""
        return Recipe(
            scheme=self.scheme,
            output=self.output,
            optimizer=self.solver.optimizer(alpha=0.0),
            feedback=FeedbackRecipe(self.feedback, scale=self.feedback_scale, interval=self.refresh_interval),
            batch_size=self.batch_size_of(n_rows),
            precision=self.precision,
        )

    def plan(self, n_rows, recipe):
        """Return the plan of a fit: all its epochs are taken."""
        n_epochs = self.n_epochs_of(n_rows, recipe.batch_size)
        paces = {"warmup": self.solver.warmup_fraction, "power_t": self.solver.power_t}
        return Plan(n_epochs, recipe.batch_size, self.learning_rate_init, self.learning_rate, **paces)

    def batch_size_of(self, n):
        """Return the expected rows per step; never more than there are."""
        if self.batch_size == "auto":
            return int(np.clip(n // 10, min(_BATCH[0], n), _BATCH[1]))
        return min(int(self.batch_size), n)

    def n_epochs_of(self, n, batch_size):
        """Return the epochs: "auto" aims at 1500 steps."""
        if self.max_iter == "auto":
            return int(np.clip(math.ceil(_STEPS * batch_size / n), *_EPOCHS))
        return int(self.max_iter)

    # ---- what the driver asks ----

    @property
    def widest(self):
        """Units of the widest layer."""
        return max(hidden_sizes(self.hidden_layer_sizes), default=0)

    @property
    def weight_dtype(self):
        """Dtype of weights."""
        return np.dtype(self.precision).type

    def reading(self, X, weights, generator):
        """Return the scaling by what is public."""
        return Reading(PublicScale(self.ends, self.data_norm))

    def begun(self):
        """Return a seed of what is public, and the generator of its draws."""
        drawn, _ = self.draws
        return int(drawn.integers(2**31)), drawn

    def warn_of_rows(self, n_rows):
        """Say that delta means nothing for so few rows."""
        if self.delta * n_rows >= 1:
            warn_of_leak(f"delta={self.delta} is not below 1 / {n_rows}: publishing a random row would satisfy it")

    def curve(self, losses):
        """Return the epochs: losses would disclose rows."""
        return {"n_iter_": len(losses)}

    def outcome(self, execution, history):
        """Return the public ends of columns."""
        return {"bounds_": self.ends}

    def spent(self, execution):
        """Return the budget that the steps so far have spent, and their noise, as fitted attributes."""
        mechanism, photonic = execution.mechanism, self.mechanism is not None
        spent = mechanism.epsilon(self.delta, execution.sample_rate, execution.n_steps, self.accountant)
        return {
            "epsilon_spent_": float(spent),
            "delta_": float(self.delta),
            "noise_multiplier_": float(mechanism.output_noise_multiplier if photonic else mechanism.noise_multiplier),
            "optical_noise_scale_": float(mechanism.noise_scale) if photonic else 0.0,
            "sample_rate_": float(execution.sample_rate),
            "n_steps_": int(execution.n_steps),
        }

    def failure(self, history, outcome):
        """Return the error of a training that diverged, with what it has spent."""
        return FloatingPointError(
            "training diverged: weights became NaN or infinite with "
            f"learning_rate_init={self.learning_rate_init}. Lower it (by 10, say). The estimator keeps the weights "
            f"of the last good epoch; {outcome}"
        )

    # ---- parameters ----

    def check(self):
        """Refuse parameters that mean nothing."""
        super().check()
        self.solver.refuse_mean()
        hidden = hidden_sizes(self.hidden_layer_sizes)
        if self.mechanism is not None and (self.scheme != "dfa" or not hidden):
            raise ValueError("mechanism=Photonic(...) projects errors: it needs scheme='dfa' and a hidden layer.")
        if self.data_norm is not None and self.bounds is not None:
            raise ValueError("data_norm and bounds exclude each other: give one of them.")


@dataclass(frozen=True)
class PrivateNetwork(Whole):
    """Dense layers trained in private; fitted they come with the budget that is spent."""

    method: Any

    def execution(self, recipe, generator):
        """Layers drawn in public, steps that are not."""
        form, method = self.form, self.method
        layers, mechanism, noise = form.layers(generator), method.mechanism_of(form.sizes), method.draws[1]
        return PrivateExecution(layers, form.activation, recipe, mechanism, method.sample_rate, noise)

    def fitted(self, execution):
        """Weights and budget."""
        return super().fitted(execution) | self.method.spent(execution)


@lru_cache(maxsize=64)
def _within(mechanism, *budget):
    """Return the mechanism of least noise. The search takes up to a second; tuning of learning rates repeats it."""
    return mechanism.within(*budget)


def _generators(random_state):
    """Return generators of the public draws and of sampling and noise; fresh ones share no entropy."""
    if random_state is None:  # 128 bits each, from the system: the 32 bits of a seed could be searched
        return np.random.default_rng(), np.random.default_rng()
    return tuple(np.random.default_rng(child) for child in np.random.SeedSequence(seed_of(random_state)).spawn(2))


def warn_of_leak(message):
    """Warn of what the budget does not cover."""
    warn_user(f"{message}; the reported budget does not cover it.", PrivacyLeakWarning)
