"""Differentially private direct feedback alignment as a classifier."""

import math
from dataclasses import replace
from functools import lru_cache

import numpy as np
from sklearn.base import ClassifierMixin
from sklearn.utils.validation import check_is_fitted

from sklearn_analytic.backend._warn_user import warn_user
from sklearn_analytic.estimator.base import (
    AnalyticEstimator,
    check_choice,
    check_positive_integer,
    check_real,
    class_labels,
    hidden_sizes,
    seed_of,
)
from sklearn_analytic.estimator.callbacks import CallbackSupportMixin, EpochTasks, with_callbacks
from sklearn_analytic.estimator.gradient_classifier import GradientClassifierMixin
from sklearn_analytic.estimator.targets import listed_classes
from sklearn_analytic.export.computation import PublicScale, dense_computation
from sklearn_analytic.io._checks import dense_rows, host
from sklearn_analytic.io._passes import short_block_size
from sklearn_analytic.nn import SCHEDULES, Feedback, Optimizer, Plan, Recipe, Rows, train
from sklearn_analytic.nn._initializers import initial_layers
from sklearn_analytic.nn._losses import CLASS_OUTPUTS
from sklearn_analytic.nn._mlp import raw_outputs
from sklearn_analytic.private.scale import checked_ends, column_ends, scaled
from sklearn_analytic.private.training import (
    SLOPES,
    GaussianMechanism,
    PhotonicMechanism,
    PrivateExecution,
    photonic_bounds,
)

_STEPS, _EPOCHS = 1500, (5, 100)  # max_iter="auto": about so many steps, in so few or many epochs
_BATCH = (16, 512)  # batch_size="auto": a tenth of the rows, within these
_FEEDBACKS = ("refresh", "product", "random", "binary", "sparse")


class PrivacyLeakWarning(UserWarning):
    """Something was taken from the rows, or set, that the reported privacy budget does not cover.

    Examples
    --------
    >>> from sklearn_analytic import PrivacyLeakWarning
    >>> issubclass(PrivacyLeakWarning, UserWarning)
    True
    """


class PrivateDFAClassifier(GradientClassifierMixin, ClassifierMixin, CallbackSupportMixin, AnalyticEstimator):
    r"""Neural network trained with differential privacy, by direct feedback alignment or by backpropagation.

    Minimises the mean cross-entropy (or another loss: ``output``) by noised steps. With the errors :math:`D_L = e`,
    :math:`D_l = (e B_l) \odot f'(z_l)` (or those of backpropagation) and Poisson-sampled batches of expected size
    :math:`qn`,

    .. math:: \hat g_l = \frac1{qn}\Big(\sum_i c_i [h_{l-1,i}, 1]^T D_{l,i} + \sigma C\, \xi_l\Big), \qquad
        c_i = \min(1, C / n_i), \qquad n_i^2 = \sum_l \|D_{l,i}\|^2 (\|h_{l-1,i}\|^2 + 1).

    The noise multiplier :math:`\sigma` is found before training, so that all steps together stay within the budget.

    **Guarantee.** ``coefs_`` and ``intercepts_`` (and every iterate of them) are (epsilon, delta)-private for data
    sets that differ in one row, added or removed. Taken as public: the number of rows n, the number of features,
    ``classes``, ``bounds`` or ``data_norm``, and all parameters. A second fit on the same rows spends again: budgets
    add (or compose a little better), and so does every training of a search for parameters. What is not covered is
    listed in docs/theory/privacy.md.

    Parameters
    ----------
    hidden_layer_sizes : int or sequence of int, default=(128,)
        Units of the hidden layers; () is none (a private linear model).
    epsilon : float, default=1.0
        Budget of a fit. Infinity adds no noise: a baseline for comparisons and no guarantee.
    delta : float, default=1e-5
        Probability that the guarantee may fail; choose it well below 1 / n.
    data_norm : float or None, default=None
        Rows are scaled down to this L2 norm where they exceed it, then divided by ``data_norm / sqrt(d)``.
    bounds : tuple (low, high) or None, default=None
        Ends of the columns, numbers or arrays of shape (d,): rows are clipped to them and mapped onto [-1, 1]. With
        neither ``bounds`` nor ``data_norm``, they are taken from the rows, with :class:`PrivacyLeakWarning`.
    classes : array-like or None, default=None
        All labels that may appear. None takes them from y, with :class:`PrivacyLeakWarning`.
    max_grad_norm : float, default=1.0
        C, the norm to which the gradient of a row is clipped; of the output layer alone with "photonic".
    mechanism : {"gaussian", "photonic"}, default="gaussian"
        "photonic" is a simulation of an optical co-processor: projected errors carry Gaussian noise, an electronic
        floor is added to the sums, and the output layer gets Gaussian noise. Our derivation after Ohana et al.
    accountant : {"prv", "rdp"}, default="prv"
        Composition of the privacy loss itself, or Rényi bounds (faster, a little more noise). "photonic" has Rényi
        bounds alone.
    scheme : {"dfa", "backprop"}, default="dfa"
        Projected errors, or exact ones: ordinary DP-SGD.
    feedback : {"refresh", "product", "random", "binary", "sparse"}, default="refresh"
        The matrices B. "refresh" is the product of the noised weights every ``refresh_interval`` steps, which costs
        no privacy; "product" that of the initial ones; the others are drawn. Kinds that read rows are not offered.
    feedback_scale : float, default=1.0
        Factor of the feedback.
    refresh_interval : int, default=1
        Steps between refreshes.
    activation : {"tanh", "relu", "leaky_relu", "logistic", "identity"}, default="tanh"
        Activation of hidden layers; bounded ones keep the norms of gradients small.
    output : {"softmax", "linear", "expgb", "pow3gb"}, default="softmax"
        What raw outputs mean, and which error is sent back: see :class:`DFAClassifier`. Clipping bounds what a row does
        under every rule.
    solver : {"sgd", "adam"}, default="sgd"
        Update rule on the noised gradient.
    learning_rate_init : float, default=0.1
        Largest learning rate.
    learning_rate : {"cosine", "constant", "step"}, default="cosine"
        Schedule.
    momentum : float, default=0.9
        Of "sgd".
    batch_size : int or "auto", default="auto"
        Expected rows per step; "auto" is a tenth of the rows, within 16 and 512.
    max_iter : int or "auto", default="auto"
        Passes over as many rows as there are; "auto" aims at 1500 steps within 5 to 100.
    optical_floor : float, default=0.0
        Of "photonic": variance of the electronic noise over that of the optical noise. It must be positive, or nothing
        is private; 10,000 leaves room for most budgets.
    optical_input_norm, optical_error_norm : float, default=1.0, 0.5
        Of "photonic": norms to which what a layer reads (with the 1 of the bias) and projected errors are clipped.
    precision : {"float32", "float64"}, default="float32"
        Dtype of the weights.
    random_state : int, RandomState or None, default=None
        None draws sampling and noise from fresh entropy of the system. A number (or a RandomState, which gives 31 bits)
        makes them reproducible, hence no protection against whoever knows or guesses it: for experiments alone.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        Class labels.
    epsilon_spent_ : float
        Budget spent at ``delta_`` by the steps that were taken; at most ``epsilon``, less after an interrupt.
    delta_ : float
        The delta of the guarantee.
    noise_multiplier_ : float
        Noise over ``max_grad_norm``; of the output layer with "photonic".
    optical_noise_scale_ : float
        Standard deviation of the optical noise of a projected error; 0 with "gaussian".
    sample_rate_ : float
        Chance of a row to be in a batch.
    n_steps_ : int
        Steps that read rows.
    n_iter_ : int
        Whole epochs whose steps the weights hold.
    bounds_ : tuple of ndarray or None
        Ends of the columns (d,), where ``data_norm`` was not given.
    coefs_, intercepts_ : list of ndarray
        Weights (n_in, n_out) and biases.
    temperature_ : float
        Always 1: probabilities are not calibrated, since that reads rows.
    n_features_in_ : int
        Number of features.
    feature_names_in_ : ndarray of str
        Names of the features, where X had any.

    Raises
    ------
    ValueError
        If a parameter means nothing, a label is not in ``classes``, no noise reaches the budget, or
        ``mechanism="photonic"`` has no positive ``optical_floor``.
    FloatingPointError
        If the weights become NaN or infinite; the estimator keeps those of the last good epoch.
    KeyboardInterrupt
        Is raised again; the estimator keeps the weights of the last whole epoch and the budget spent so far.

    Warns
    -----
    PrivacyLeakWarning
        If bounds or classes are taken from the rows, ``delta`` is not below 1 / n, or ``random_state`` is set.

    Notes
    -----
    There is no sample_weight and no class_weight (a weight would scale what clipping bounds), no validation and no
    early stopping (they read rows), no training loss and no ``tol`` to watch it (where training ends would disclose
    rows, and no budget covers that: all ``max_iter`` epochs are taken), and no ``partial_fit``: a stream is more than
    one fit. Callbacks of scikit-learn that look at scores of X disclose them.

    References
    ----------
    M. Abadi et al., "Deep learning with differential privacy", CCS 2016, arXiv 1607.00133. J. Lee, D. Kifer,
    "Differentially private deep learning with direct feedback alignment", arXiv 2010.03701. R. Ohana et al., "Photonic
    differential privacy with direct feedback alignment", NeurIPS 2021, arXiv 2106.03645. S. Gopi, Y. T. Lee,
    L. Wutschitz, "Numerical composition of differential privacy", NeurIPS 2021, arXiv 2106.02848.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn.model_selection import train_test_split
    >>> from sklearn_analytic import PrivateDFAClassifier
    >>> X, X_test, y, y_test = train_test_split(*load_digits(return_X_y=True), random_state=0)
    >>> model = PrivateDFAClassifier(epsilon=3.0, bounds=(0, 16), classes=range(10), accountant="rdp")
    >>> bool(model.fit(X, y).score(X_test, y_test) > 0.8)
    True
    >>> bool(2.9 < model.epsilon_spent_ <= 3.0)
    True
    """

    device = "cpu"  # where predictions are computed; not a parameter

    def __init__(
        self,
        hidden_layer_sizes=(128,),
        *,
        epsilon=1.0,
        delta=1e-5,
        data_norm=None,
        bounds=None,
        classes=None,
        max_grad_norm=1.0,
        mechanism="gaussian",
        accountant="prv",
        scheme="dfa",
        feedback="refresh",
        feedback_scale=1.0,
        refresh_interval=1,
        activation="tanh",
        output="softmax",
        solver="sgd",
        learning_rate_init=0.1,
        learning_rate="cosine",
        momentum=0.9,
        batch_size="auto",
        max_iter="auto",
        optical_floor=0.0,
        optical_input_norm=1.0,
        optical_error_norm=0.5,
        precision="float32",
        random_state=None,
    ):
        self.hidden_layer_sizes = hidden_layer_sizes
        self.epsilon = epsilon
        self.delta = delta
        self.data_norm = data_norm
        self.bounds = bounds
        self.classes = classes
        self.max_grad_norm = max_grad_norm
        self.mechanism = mechanism
        self.accountant = accountant
        self.scheme = scheme
        self.feedback = feedback
        self.feedback_scale = feedback_scale
        self.refresh_interval = refresh_interval
        self.activation = activation
        self.output = output
        self.solver = solver
        self.learning_rate_init = learning_rate_init
        self.learning_rate = learning_rate
        self.momentum = momentum
        self.batch_size = batch_size
        self.max_iter = max_iter
        self.optical_floor = optical_floor
        self.optical_input_norm = optical_input_norm
        self.optical_error_norm = optical_error_norm
        self.precision = precision
        self.random_state = random_state

    def __sklearn_tags__(self):
        """Sparse rows are read; on a few dozen rows, noise within the default budget drowns what they say."""
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.classifier_tags.poor_score = True
        return tags

    @with_callbacks
    def fit(self, X, y):
        """Train within the budget. Every call spends it anew.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n, d)
            Rows.
        y : array-like of shape (n,)
            Labels of at least two classes.

        Returns
        -------
        PrivateDFAClassifier
            Itself.
        """
        self._check_parameters()
        if self.random_state is not None and self.epsilon != math.inf:
            _warn_of_leak("random_state is set: whoever knows it can draw the noise again and take it off")
        with self._unchanged_on_error():
            X = self._read_features(X, reset=True)
            y = class_labels(y, X)
            self._settle_classes(y)
            self._settle_scale(X)
            failure = self._train(X, y)
        return self._finished(failure)

    # ---- what is public ----

    def _settle_classes(self, y):
        """Take the given classes, or disclose those of y."""
        if self.classes is None:
            _warn_of_leak("classes=None: the labels are taken from y. Pass classes=[...], all labels that may appear")
        self.classes_ = np.unique(y) if self.classes is None else listed_classes(self.classes)
        self.temperature_ = 1.0
        if len(self.classes_) < 2:
            raise ValueError(f"there is one class, {self.classes_.tolist()[0]!r}: a classifier needs at least two.")

    def _settle_scale(self, X):
        """Take the given bounds as arrays, or disclose those of X."""
        self.bounds_ = None
        if self.data_norm is not None:
            return
        if self.bounds is None:
            _warn_of_leak("bounds=None: the ranges of columns are taken from X. Pass bounds=(low, high) or data_norm")
        self.bounds_ = checked_ends(column_ends(X) if self.bounds is None else self.bounds, X.shape[1])

    # ---- training ----

    def _train(self, X, y):
        """Settle the noise, take the steps, keep weights and budget; return what ended training early, or None."""
        rows = Rows(self._encoded(X, np.dtype(self.precision)), self._coded_targets(y))
        n, batch_size = len(rows.x), self._batch_size(len(rows.x))
        if self.delta * n >= 1:
            _warn_of_leak(f"delta={self.delta} is not below 1 / {n}: publishing a random row would satisfy it")
        rate, n_epochs = batch_size / n, self._n_epochs(n, batch_size)
        sizes = (rows.x.shape[1], *hidden_sizes(self.hidden_layer_sizes), len(self.classes_))
        mechanism = self._mechanism(sizes, rate, n_epochs * -(-n // batch_size))
        drawn, noise = _generators(self.random_state)
        recipe = replace(self._recipe(batch_size), seed=int(drawn.integers(2**31)))
        layers = initial_layers(sizes, self.activation, drawn)
        execution = PrivateExecution(layers, self.activation, recipe, mechanism, rate, noise)
        plan = Plan(n_epochs, batch_size, self.learning_rate_init, self.learning_rate)
        tasks = EpochTasks(self, {"X": X, "y": y})
        tasks.begin(n_epochs)
        history = train(
            execution,
            rows,
            plan,
            drawn,
            after_epoch=lambda epoch, history: tasks.epoch(lambda: self._fitted(execution, history)),
        )
        for name, value in self._fitted(execution, history).items():
            setattr(self, name, value)
        tasks.end(dict)
        return history.failure

    def _mechanism(self, sizes, sample_rate, n_steps):
        """The mechanism of least noise within the budget."""
        budget = (float(self.epsilon), float(self.delta), sample_rate, n_steps, float(self.max_grad_norm))
        if self.mechanism == "gaussian":
            return _within(GaussianMechanism, *budget, self.accountant)
        norms = (float(self.optical_input_norm), float(self.optical_error_norm))
        return _within(PhotonicMechanism, *budget, photonic_bounds(sizes, self.activation, *norms, self.optical_floor))

    def _recipe(self, batch_size):
        """The parameters as values."""
        return Recipe(
            scheme=self.scheme,
            output=self.output,
            optimizer=Optimizer(self.solver, momentum=self.momentum, nesterov=False),
            feedback=Feedback(self.feedback, scale=self.feedback_scale, interval=self.refresh_interval),
            batch_size=batch_size,
            precision=self.precision,
        )

    def _fitted(self, execution, history):
        """Fitted attributes with the weights and the budget as they are."""
        mechanism, layers = execution.mechanism, execution.layers()
        spent = mechanism.epsilon(self.delta, execution.sample_rate, execution.n_steps, self.accountant)
        photonic = self.mechanism == "photonic"
        return {
            "coefs_": [w for w, _ in layers],
            "intercepts_": [b for _, b in layers],
            "epsilon_spent_": float(spent),
            "delta_": float(self.delta),
            "noise_multiplier_": float(mechanism.output_noise_multiplier if photonic else mechanism.noise_multiplier),
            "optical_noise_scale_": float(mechanism.noise_scale) if photonic else 0.0,
            "sample_rate_": float(execution.sample_rate),
            "n_steps_": int(execution.n_steps),
            "n_iter_": len(history.losses),
        }

    def _finished(self, failure):
        """Raise what ended training early; the estimator is already usable."""
        if failure == "interrupted":
            raise KeyboardInterrupt(
                f"training was interrupted after {self.n_steps_} steps and epsilon {self.epsilon_spent_:.3g}; the "
                "estimator has the weights of the last whole epoch"
            )
        if failure == "diverged":
            raise FloatingPointError(
                "training diverged: weights became NaN or infinite with "
                f"learning_rate_init={self.learning_rate_init}. Lower it (by 10, say). The estimator keeps the weights "
                f"of the last good epoch; epsilon {self.epsilon_spent_:.3g} is spent."
            )
        return self

    def _batch_size(self, n):
        """Expected rows per step; never more than there are."""
        if self.batch_size == "auto":
            return int(np.clip(n // 10, min(_BATCH[0], n), _BATCH[1]))
        return min(int(self.batch_size), n)

    def _n_epochs(self, n, batch_size):
        """Epochs: "auto" aims at 1500 steps."""
        if self.max_iter == "auto":
            return int(np.clip(math.ceil(_STEPS * batch_size / n), *_EPOCHS))
        return int(self.max_iter)

    # ---- rows ----

    def _encoded(self, X, dtype):
        """Return rows scaled by what is public, on the host, read in checked blocks."""
        size = short_block_size(X.shape[1])
        parts = []
        for start in range(0, X.shape[0], size):
            rows = host(dense_rows(X[start : start + size]))
            parts.append(scaled(rows, self.bounds_, self.data_norm).astype(dtype, copy=False))
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def _computation(self):
        """The public scale, hidden layers in turn, and the last layer."""
        scale = PublicScale(self.bounds_, self.data_norm)
        *hidden, last = zip(self.coefs_, self.intercepts_, strict=True)
        return dense_computation((scale,), hidden, self.activation, self._units(*last), self._head())

    def _raw_outputs(self, X):
        """Raw outputs (n, c) of checked rows, in the kind and on the device of X."""
        check_is_fitted(self)
        layers = list(zip(self.coefs_, self.intercepts_, strict=True))

        def outputs(rows, backend):
            encoded = self._encoded(rows, host(rows).dtype)
            return backend.asarray(raw_outputs(layers, self.activation, encoded))

        return self._map_blocks(X, outputs)

    # ---- parameters ----

    def _check_parameters(self):
        """Refuse parameters that mean nothing."""
        hidden_sizes(self.hidden_layer_sizes)
        choices = {
            "mechanism": ("gaussian", "photonic"),
            "accountant": ("prv", "rdp"),
            "scheme": ("dfa", "backprop"),
            "activation": SLOPES,
            "output": CLASS_OUTPUTS,
            "solver": ("sgd", "adam"),
            "learning_rate": SCHEDULES,
            "precision": ("float32", "float64"),
        }
        for name, allowed in choices.items():
            check_choice(name, getattr(self, name), allowed)
        _check_feedback(self.feedback)
        self._check_numbers()
        if self.mechanism == "photonic" and (self.scheme != "dfa" or not hidden_sizes(self.hidden_layer_sizes)):
            raise ValueError("mechanism='photonic' projects errors: it needs scheme='dfa' and a hidden layer.")

    def _check_numbers(self):
        """Refuse numbers out of their range."""
        check_positive_integer("refresh_interval", self.refresh_interval)
        for name in ("max_iter", "batch_size"):
            check_positive_integer(name, getattr(self, name), "auto")
        names = ("max_grad_norm", "feedback_scale", "learning_rate_init", "optical_input_norm", "optical_error_norm")
        for name in names + (("epsilon",) if self.epsilon != math.inf else ()):
            check_real(name, getattr(self, name), 0, math.inf, "above 0", open_low=True)
        check_real("optical_floor", self.optical_floor, 0, math.inf, "above 0 ('photonic') or 0 ('gaussian')")
        check_real("delta", self.delta, 0, 1, "above 0 and below 1", True, True)
        check_real("momentum", self.momentum, 0, 1, "at least 0 and below 1", open_high=True)
        if self.data_norm is not None:
            check_real("data_norm", self.data_norm, 0, math.inf, "above 0", open_low=True)
        if self.data_norm is not None and self.bounds is not None:
            raise ValueError("data_norm and bounds exclude each other: give one of them.")


@lru_cache(maxsize=64)
def _within(mechanism, *budget):
    """Return the mechanism of least noise. The search takes up to a second; tuning of learning rates repeats it."""
    return mechanism.within(*budget)


def _generators(random_state):
    """Return generators of the public draws and of sampling and noise; fresh ones share no entropy."""
    if random_state is None:  # 128 bits each, from the system: the 32 bits of a seed could be searched
        return np.random.default_rng(), np.random.default_rng()
    return tuple(np.random.default_rng(child) for child in np.random.SeedSequence(seed_of(random_state)).spawn(2))


def _check_feedback(name):
    """Refuse feedback that reads rows, and say why."""
    if name in ("dkp", "learned"):
        raise ValueError(
            f"feedback={name!r} learns from rows outside of the noised gradient and is not private; choose one of "
            f"{_FEEDBACKS}."
        )
    check_choice("feedback", name, _FEEDBACKS)


def _warn_of_leak(message):
    """Warn of what the budget does not cover."""
    warn_user(f"{message}; the reported budget does not cover it.", PrivacyLeakWarning)
