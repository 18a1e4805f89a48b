"""Update rules as values: what ``solver="adam"`` stands for, and their constants."""

from typing import ClassVar

from sklearn.base import clone

from sklearn_analytic.estimator.checks import FACTOR, NOT_NEGATIVE, check_flag, or_word, real
from sklearn_analytic.estimator.value import Value, defaults_of, standing_for, store
from sklearn_analytic.nn import Optimizer


class Solver(Value):
    """An update rule: its constants, and those of its learning rates."""

    parameter = "solver"
    earlier: ClassVar = dict.fromkeys(
        ("momentum", "nesterovs_momentum", "beta_1", "beta_2", "epsilon", "warmup_fraction")
    )
    checks: ClassVar = {
        "power_t": NOT_NEGATIVE,
        "warmup_fraction": real(0, 1, "at least 0 and below 1", open_high=True),
        "ema_decay": FACTOR,
    }

    @classmethod
    def of(cls, given):
        """Return ``solver`` as a value."""
        if isinstance(given, cls):
            return given
        if isinstance(given, str) and given in SOLVERS:
            return standing_for(SOLVERS[given])
        raise ValueError(f"solver must be one of {sorted(SOLVERS)}, Adam(...), AdamW(...) or SGD(...), got {given!r}.")

    @classmethod
    def of_earlier(cls, state):
        """Return ``solver`` as an earlier version says it, which had the constants of all rules."""
        given = {name: state.pop(name) for name in cls.earlier if name in state}
        if given.get("beta_1") == Adam._USUAL:
            del given["beta_1"]
        own = SOLVERS.get(state["solver"]) if isinstance(state["solver"], str) else None
        usual = {} if own is None else defaults_of(own)
        said = {name: value for name, value in given.items() if name in usual and value != usual[name]}
        return own(**said) if said else state["solver"]

    def of_stream(self):
        """Return the rule for rows that are seen once."""
        return self

    def refuse_mean(self):
        """Refuse a mean of the weights where nothing predicts with it."""
        if self.ema_decay:
            raise ValueError(
                f"solver__ema_decay={self.ema_decay} is for networks that are trained in one piece, DFAClassifier and "
                "DFARegressor: leave it at 0."
            )

    @classmethod
    def choices(cls):
        """Return the rules."""
        return list(SOLVERS.values())


class Adam(Solver):
    """Adam, what ``solver="adam"`` stands for.

    Parameters
    ----------
    beta_1 : float in [0, 1) or "auto", default="auto"
        Decay of the mean of the gradient. "auto" is .9, and .7 in the blocks that ``partial_fit`` of
        :class:`DFAClassifier` and :class:`DFARegressor` sees once: a shorter memory learns a stream faster.
    beta_2 : float in [0, 1), default=0.999
        Decay of the mean of its square.
    epsilon : float > 0, default=1e-8
        Added to the root of the latter.
    power_t : float >= 0, default=0.5
        Exponent of ``learning_rate="invscaling"``.
    warmup_fraction : float in [0, 1), default=0.0
        Share of the steps in which the rate rises linearly.
    ema_decay : float in [0, 1), default=0.0
        Decay of an exponential mean of the weights over the steps, with which the network predicts: it makes a constant
        rate safe. 0 predicts with the last weights. For :class:`DFAClassifier` and :class:`DFARegressor`.

    References
    ----------
    D. P. Kingma, J. Ba, "Adam: a method for stochastic optimization", ICLR 2015.

    Examples
    --------
    >>> from sklearn_analytic import Adam, DFAClassifier
    >>> DFAClassifier(solver=Adam(beta_1=0.8)).get_params()["solver__beta_1"]
    0.8
    """

    name = "adam"
    _USUAL, _IN_STREAMS = 0.9, 0.7  # of beta_1="auto": measured in docs/theory/dfa.md
    checks: ClassVar = Solver.checks | {
        "beta_1": or_word(FACTOR, "auto"),
        "beta_2": FACTOR,
        "epsilon": real(0, 1, "above 0", open_low=True),
    }

    def __init__(self, *, beta_1="auto", beta_2=0.999, epsilon=1e-8, power_t=0.5, warmup_fraction=0.0, ema_decay=0.0):
        store(self, locals())

    def optimizer(self, alpha):
        """Return the rule with a penalty, as the core reads it."""
        constants = {name: getattr(self, name) for name in ("beta_2", "epsilon", "ema_decay")}
        beta_1 = self._USUAL if self.beta_1 == "auto" else self.beta_1
        return Optimizer(self.name, alpha=alpha, beta_1=beta_1, **constants)

    def of_stream(self):
        """Return the rule for rows that are seen once."""
        return clone(self).set_params(beta_1=self._IN_STREAMS) if self.beta_1 == "auto" else self


class AdamW(Adam):
    """Adam with decoupled weight decay, what ``solver="adamw"`` stands for: ``alpha`` shrinks weights beside the steps.

    Parameters
    ----------
    beta_1, beta_2, epsilon, power_t, warmup_fraction, ema_decay : float
        As in :class:`Adam`.

    References
    ----------
    I. Loshchilov, F. Hutter, "Decoupled weight decay regularization", ICLR 2019.

    Examples
    --------
    >>> from sklearn_analytic import AdamW, DFAClassifier
    >>> DFAClassifier(solver=AdamW(warmup_fraction=0.1), alpha=0.01).solver.warmup_fraction
    0.1
    """

    name = "adamw"


class SGD(Solver):
    """Stochastic gradient descent with momentum, what ``solver="sgd"`` stands for.

    Parameters
    ----------
    momentum : float in [0, 1), default=0.9
        Decay of the mean of past steps.
    nesterovs_momentum : bool, default=True
        Whether a step looks ahead.
    power_t, warmup_fraction, ema_decay : float
        As in :class:`Adam`.

    Examples
    --------
    >>> from sklearn_analytic import DFAClassifier, SGD
    >>> DFAClassifier(solver=SGD(momentum=0.5), learning_rate_init=0.1).solver
    SGD(momentum=0.5)
    """

    name = "sgd"
    checks: ClassVar = Solver.checks | {"momentum": FACTOR, "nesterovs_momentum": check_flag}

    def __init__(self, *, momentum=0.9, nesterovs_momentum=True, power_t=0.5, warmup_fraction=0.0, ema_decay=0.0):
        store(self, locals())

    def optimizer(self, alpha):
        """Return the rule with a penalty, as the core reads it."""
        return Optimizer(self.name, self.momentum, self.nesterovs_momentum, alpha=alpha, ema_decay=self.ema_decay)


SOLVERS = {kind.name: kind for kind in (Adam, AdamW, SGD)}
