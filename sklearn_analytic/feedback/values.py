"""Settings of direct feedback alignment as values: feedback, the K-FAC preconditioner, approximate activations."""

import numbers
from typing import ClassVar

from sklearn_analytic.estimator.checks import (
    FACTOR,
    NOT_NEGATIVE,
    POSITIVE,
    SHARE,
    check_flag,
    check_positive_integer,
    one_of,
    or_word,
    positive_integer_or,
    real,
)
from sklearn_analytic.estimator.value import Value, standing_for, store
from sklearn_analytic.nn import FEEDBACKS, INITS, FeedbackRecipe, KFACRecipe
from sklearn_analytic.nn._feedback import can_follow
from sklearn_analytic.nn._kfac import DAMPING_RULES, STARTS
from sklearn_analytic.nn._preconditioner import SOLVERS

_EARLIER_INTERVAL = 20  # of every kind of feedback where none was given
# Settings of the K-FAC of versions that had no others.
_EARLIER_KFAC = {"damping": 0.003, "kl_clip": 0.001, "factor_decay": 0.95, "eigen_interval": 25}
_EARLIER_KFAC |= {"solver": "eigen", "start": "identity"}
_RENEWS = "_renews"  # in state: that it is not of such a version


class Feedback(Value):
    r"""How the output error reaches hidden layers: ``feedback="sparse"`` stands for ``Feedback("sparse")``.

    Parameters
    ----------
    name : {"refresh", "random", "binary", "sparse", "product", "dkp", "learned"}, default="refresh"
        The matrices B. Drawn and fixed: "random" (Nokland 2016), "binary" (signs, kept as packed bits, added and
        subtracted), "sparse". From the weights: "product" of the initial ones, "refresh", the mean-field product
        :math:`B_{L-1} = W_L^T, B_l = (B_{l+1} \operatorname{diag} E[f'(z_{l+1})]) W_{l+1}^T` every
        ``refresh_interval`` steps. Learned: "dkp" (Kolen-Pollack), "learned" (forward-mode estimates).
    init : {"normal", "uniform", "zeros", "product", "sign_product"}, default="normal"
        First matrices of the drawn and learned kinds: normal of variance 1 / (C n), uniform in [-1, 1] / sqrt(n),
        zeros ("learned" as published), the product of the forward weights, or its signs (a reconstruction of
        Han & Yoo's initialisation from the forward weights).
    shared : bool, default=False
        One random matrix for all layers, sliced and rescaled by layer (Launay et al. 2019).
    density : float in (0, 1], default=0.1
        Share of non-zero entries of "sparse" feedback and of the sparse steps of ``scheme="modular"``.
    scale : float > 0, default=1.0
        Factor of fixed feedback; Adam makes it irrelevant.
    learning_rate : float in [0, 1], default=1e-4
        Rate of "dkp" and "learned".
    refresh_interval : int or "auto", default="auto"
        Steps between refreshes. With ``init="product"`` or "sign_product" a number lets drawn kinds follow the weights
        too: "binary" takes the signs of their products, "sparse" their largest entries (a share ``density``), "random"
        all. "auto" is 2 for "refresh", more where that would cost more than a fifth of backpropagation's error, but at
        least one refresh in every epoch, or block of a stream; it leaves drawn kinds as they began.
    module_size : int, default=2
        With ``scheme="modular"``: layers (time steps, in a recurrent layer) of a module; 1 is backpropagation.
    tol_error : float >= 0 or "auto", default="auto"
        Rows with an output error of smaller norm do not count in a step; 0 leaves out none. Compiled networks drop
        them before the backward products, unless low bits, K-FAC or learned feedback read the batch. "auto" is 0.01
        where that saves time with the default feedback (scheme "dfa", feedback "refresh", output "softmax" or that of
        regressors), else 0: all published modes see all rows.
    alignment : bool, default=False
        Measure, every epoch, the cosine between what each hidden layer gets and its true gradient, on at most 512
        training rows (the mean over rows' errors in compiled networks, of the weights' gradient in torch), and warn
        of a bottleneck.

    Examples
    --------
    >>> from sklearn_analytic import DFAClassifier, Feedback
    >>> model = DFAClassifier(feedback=Feedback("sparse", density=0.2))
    >>> model.set_params(feedback__density=0.3).feedback
    Feedback(density=0.3, name='sparse')
    """

    parameter, first = "feedback", "name"
    checks: ClassVar = {
        "name": one_of(FEEDBACKS),
        "init": one_of(INITS),
        "shared": check_flag,
        "density": SHARE,
        "scale": POSITIVE,
        "learning_rate": real(0, 1, "between 0 and 1"),
        "refresh_interval": positive_integer_or("auto"),
        "module_size": check_positive_integer,
        "tol_error": or_word(NOT_NEGATIVE, "auto"),
        "alignment": check_flag,
    }
    earlier: ClassVar = {f"feedback_{name}": name for name in ("init", "shared", "density", "scale", "learning_rate")}
    earlier |= {name: name for name in ("refresh_interval", "module_size", "tol_error", "alignment")}

    def __init__(
        self,
        name="refresh",
        *,
        init="normal",
        shared=False,
        density=0.1,
        scale=1.0,
        learning_rate=1e-4,
        refresh_interval="auto",
        module_size=2,
        tol_error="auto",
        alignment=False,
    ):
        store(self, locals())

    def __getstate__(self):
        """Mark the state as one whose interval means what it says."""
        return super().__getstate__() | {_RENEWS: True}

    def __setstate__(self, state):
        """Take state of earlier versions, which had an interval for every kind and renewed "refresh" alone."""
        kept = {name: value for name, value in state.items() if name != _RENEWS}
        if _RENEWS not in state and kept.get("name", "refresh") != "refresh":
            kept.pop("refresh_interval", None)
        super().__setstate__(kept)

    @classmethod
    def of_earlier(cls, state):
        """Return ``feedback`` as an earlier version says it, which had an interval for every kind."""
        if state.get("feedback", "refresh") != "refresh" or state.get("refresh_interval") == _EARLIER_INTERVAL:
            state.pop("refresh_interval", None)
        return super().of_earlier(state)

    @property
    def is_learned(self):
        """Whether training changes it by a rule of its own."""
        return FEEDBACKS[self.name].changes == "learned"

    def recipe(self, n_steps):
        """Return the feedback as the core reads it, for epochs of so many steps."""
        drawn = (self.name, self.init, self.shared, self.density, self.scale)
        interval = None if self.refresh_interval == "auto" else self.refresh_interval
        return FeedbackRecipe(*drawn, interval, n_steps, self.learning_rate)

    def check(self):
        """Refuse settings that mean nothing, or nothing together."""
        super().check()
        if self.init == "zeros" and FEEDBACKS[self.name].changes == "fixed":
            raise ValueError(
                f"feedback__init='zeros' with feedback={self.name!r} would never train a hidden layer; zeros are "
                "for feedback='learned' or 'dkp'."
            )
        if self.refresh_interval != "auto" and not can_follow(self.name, self.init):
            raise ValueError(
                f"feedback__refresh_interval={self.refresh_interval} with feedback={self.name!r} and "
                f"feedback__init={self.init!r} would renew nothing: 'refresh' follows the weights, and so do 'random', "
                "'binary' and 'sparse' with feedback__init='product' or 'sign_product'."
            )


def _check_milestones(name, value):
    """Refuse what is no epochs."""
    if not (isinstance(value, list | tuple) and all(isinstance(m, int) and m >= 0 for m in value)):
        raise ValueError(f"{name} must be a sequence of epochs, got {value!r}.")


def _check_clip(name, value):
    """Refuse what bounds nothing; infinity is no bound."""
    if not (isinstance(value, int | float) and not isinstance(value, bool) and value > 0):
        raise ValueError(f"{name} must be a number above 0 (inf clips nothing), got {value!r}.")


class KFAC(Value):
    """Kronecker-factored preconditioning of the gradients (or of what feedback makes of them) before the solver.

    Best before ``SGD(ema_decay=0.9)`` with ``alpha=0.003``, which shrinks weights beside the preconditioned step, and
    batches of 256. The paper's settings are ``KFAC(damping=0.003, kl_clip=0.001, factor_decay=0.95, eigen_interval=25,
    solver="eigen", start="identity")``.

    Parameters
    ----------
    damping : float > 0, default=0.05
        Added to the products of the factors' eigenvalues; what is added to the factors themselves with "cholesky".
    kl_clip : float > 0, default=0.005
        Bound of the step's Kullback-Leibler divergence; infinity clips nothing.
    factor_decay : float in [0, 1), default=0.9
        Decay of the running factors.
    factor_interval, eigen_interval : int, default=5, 10
        Steps between updates of the factors, and between their decompositions.
    milestones : sequence of int, default=()
        Epochs at which intervals and damping change.
    interval_growth, damping_decay : float > 0, default=1.0
        Factors of the intervals and of the damping at each milestone.
    solver : {"cholesky", "eigen"}, default="cholesky"
        "cholesky" damps each factor and solves with its Cholesky factor: cheap decompositions, and half the work of a
        step. "eigen" is the paper's: eigendecompositions, of which the damped product is exact.
    start : {"mean", "identity"}, default="mean"
        What the running factors start from: the mean of the batches so far, or the identity, as in the paper.
    damping_rule : {"constant", "levenberg_marquardt"}, default="constant"
        "levenberg_marquardt" tries the full step on the batch every 5 steps, and lowers or raises the damping where
        the loss falls as far as the quadratic model says, or not: Martens & Grosse (2015).

    References
    ----------
    J. G. Pauloski et al., "Convolutional neural network training with distributed K-FAC", arXiv 2007.00784.
    J. Martens, R. Grosse, "Optimizing neural networks with Kronecker-factored approximate curvature", ICML 2015.

    Examples
    --------
    >>> from sklearn_analytic import DFAClassifier, KFAC
    >>> DFAClassifier(preconditioner=KFAC(damping=0.01), solver="sgd").preconditioner
    KFAC(damping=0.01)
    """

    parameter = "preconditioner"
    earlier: ClassVar = {"kfac_params": None}
    checks: ClassVar = {
        "damping": POSITIVE,
        "kl_clip": _check_clip,
        "factor_decay": FACTOR,
        "factor_interval": check_positive_integer,
        "eigen_interval": check_positive_integer,
        "milestones": _check_milestones,
        "interval_growth": POSITIVE,
        "damping_decay": POSITIVE,
        "solver": one_of(SOLVERS),
        "start": one_of(STARTS),
        "damping_rule": one_of(DAMPING_RULES),
    }

    def __init__(
        self,
        *,
        damping=0.05,
        kl_clip=0.005,
        factor_decay=0.9,
        factor_interval=5,
        eigen_interval=10,
        milestones=(),
        interval_growth=1.0,
        damping_decay=1.0,
        solver="cholesky",
        start="mean",
        damping_rule="constant",
    ):
        store(self, locals())

    def __setstate__(self, state):
        """Take state of earlier versions, which knew the paper's settings alone."""
        super().__setstate__(_EARLIER_KFAC | state)

    @classmethod
    def of(cls, given):
        """Return ``preconditioner`` as a value, or None."""
        if given is None or isinstance(given, cls):
            return given
        if isinstance(given, str) and given == "kfac":
            return standing_for(cls)
        raise ValueError(f"preconditioner must be 'kfac', KFAC(...) or None, got {given!r}.")

    @classmethod
    def of_earlier(cls, state):
        """Return ``preconditioner`` as an earlier version says it, with a dict beside."""
        constants = state.pop("kfac_params", None)
        return cls(**_EARLIER_KFAC | constants) if constants and state["preconditioner"] else state["preconditioner"]

    def recipe(self):
        """Return the constants as the core reads them."""
        constants = self.get_params(deep=False)
        return KFACRecipe(**constants | {"milestones": tuple(self.milestones)})


class ApproximateActivation(Value):
    """An activation of which few bits are kept for the backward pass: ``activation="relu"`` keeps all of them.

    The forward pass and the slopes of rectifiers stay exact; ``activation_bytes_`` says what is stored. Made for "relu"
    and "leaky_relu": slopes of "tanh" and "logistic" are approximate in compiled networks, and keep their exact values,
    hence more bytes, in torch.

    Parameters
    ----------
    name : {"relu", "leaky_relu", "tanh", "logistic", "identity"}, default="relu"
        Activation of hidden layers.
    bits : {4, 8} or None, default=4
        Bits of the copies of hidden activations; None keeps them exact.

    References
    ----------
    A. Chakrabarti, B. Moseley, "Backprop with approximate activations for memory-efficient network training",
    arXiv 1901.07988.

    Examples
    --------
    >>> from sklearn_analytic import ApproximateActivation, DFAClassifier
    >>> DFAClassifier(activation=ApproximateActivation("relu", bits=4)).activation.bits
    4
    """

    parameter, first = "activation", "name"
    earlier: ClassVar = {"activation_bits": "bits"}

    def __init__(self, name="relu", *, bits=4):
        store(self, locals())

    @classmethod
    def of(cls, given):
        """Return ``activation`` as a value: a name alone keeps all bits."""
        return standing_for(cls, given, bits=None) if isinstance(given, str) else super().of(given)

    @classmethod
    def of_earlier(cls, state):
        """Return ``activation`` as an earlier version says it."""
        bits = state.pop("activation_bits", None)
        return state["activation"] if bits is None else cls(state["activation"], bits=bits)

    def check(self):
        """Refuse other bits."""
        if not (self.bits is None or (isinstance(self.bits, numbers.Integral) and self.bits in (4, 8))):
            raise ValueError(f"activation__bits must be 4, 8 or None, got {self.bits!r}.")
