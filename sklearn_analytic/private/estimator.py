"""Differentially private direct feedback alignment as a classifier."""

import math
from dataclasses import replace

import numpy as np

from sklearn_analytic.estimator import epochs
from sklearn_analytic.estimator.base import class_labels
from sklearn_analytic.estimator.callbacks import EpochTasks, with_callbacks
from sklearn_analytic.estimator.earlier import published
from sklearn_analytic.estimator.epoch_estimator import EpochEstimator, NetworkClassifier
from sklearn_analytic.estimator.epoch_rows import Reading
from sklearn_analytic.estimator.epoch_targets import NetworkClasses
from sklearn_analytic.estimator.learned import Trained, shapes
from sklearn_analytic.estimator.targets import listed_classes
from sklearn_analytic.estimator.texts import FITTED_COLUMNS, NETWORK, documented
from sklearn_analytic.estimator.value import store
from sklearn_analytic.features._public_scale import PublicScale
from sklearn_analytic.private.method import PrivacyLeakWarning, PrivateTraining, warn_of_leak
from sklearn_analytic.private.scale import checked_ends, column_ends
from sklearn_analytic.private.table import public_table

__all__ = ["PrivacyLeakWarning", "PrivateDFAClassifier"]

OWN = """
hidden_layer_sizes : int or sequence of int
    Units of the hidden layers; () is none (a private linear model).
epsilon : float > 0
    Budget of a fit. Infinity adds no noise: a baseline for comparisons and no guarantee.
delta : float in (0, 1)
    Probability that the guarantee may fail; choose it well below 1 / n.
data_norm : float or None
    Rows are scaled down to this L2 norm where they exceed it, then divided by ``data_norm / sqrt(d)``.
bounds : tuple (low, high) or None
    Ends of the columns, numbers or arrays of shape (d,): rows are clipped to them and mapped onto [-1, 1]. With
    neither ``bounds`` nor ``data_norm``, they are taken from the rows, with :class:`PrivacyLeakWarning`.
classes : array-like or None
    All labels that may appear. None takes them from y, with :class:`PrivacyLeakWarning`.
max_grad_norm : float > 0
    C, the norm to which the gradient of a row is clipped; of the output layer alone with :class:`Photonic`.
mechanism : {"gaussian"} or Photonic
    Where noise comes from. :class:`Photonic` is a simulation of an optical co-processor.
accountant : {"prv", "rdp"}
    Composition of the privacy loss itself, or Rényi bounds (faster, a little more noise). :class:`Photonic` has Rényi
    bounds alone.
scheme : {"dfa", "backprop"}
    Projected errors, or exact ones: ordinary DP-SGD.
feedback : {"refresh", "product", "random", "binary", "sparse"}
    The matrices B. "refresh" is the product of the noised weights every ``refresh_interval`` steps, which costs
    no privacy; "product" that of the initial ones; the others are drawn. Kinds that read rows are not offered.
feedback_scale : float > 0
    Factor of the feedback.
refresh_interval : int
    Steps between refreshes.
activation : {"tanh", "relu", "leaky_relu", "logistic", "identity"}
    Activation of hidden layers; bounded ones keep the norms of gradients small.
output : {"softmax", "linear", "expgb", "pow3gb"}
    What raw outputs mean, and which error is sent back: see :class:`DFAClassifier`. Clipping bounds what a row does
    under every rule.
solver : {"sgd", "adam"}, SGD or Adam
    Update rule on the noised gradient; "sgd" is ``SGD(nesterovs_momentum=False)``.
learning_rate_init : float > 0
    Largest learning rate.
learning_rate : {"cosine", "constant", "step", "invscaling"}
    Schedule, as of :class:`DFAClassifier`. None looks at losses.
batch_size : int or "auto"
    Expected rows per step; "auto" is a tenth of the rows, within 16 and 512.
max_iter : int or "auto"
    Passes over as many rows as there are; "auto" aims at 1500 steps within 5 to 100.
precision : {"float32", "float64"}
    Dtype of the weights.
random_state : int, RandomState or None
    None draws sampling and noise from fresh entropy of the system. A number (or a RandomState, which gives 31 bits)
    makes them reproducible, hence no protection against whoever knows or guesses it: for experiments alone.
"""


@documented(parameters=NETWORK + OWN, attributes=FITTED_COLUMNS)
class PrivateDFAClassifier(NetworkClassifier, EpochEstimator):
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
    {parameters}

    Other Parameters
    ----------------
    {others}

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        Class labels.
    epsilon_spent_ : float
        Budget spent at ``delta_`` by the steps that were taken; at most ``epsilon``, less after an interrupt.
    delta_ : float
        The delta of the guarantee.
    noise_multiplier_ : float
        Noise over ``max_grad_norm``; of the output layer with :class:`Photonic`.
    optical_noise_scale_ : float
        Standard deviation of the optical noise of a projected error; 0 with Gaussian noise.
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
    t_ : int
        Rows that all steps were to read, in expectation.
    n_layers_, n_outputs_ : int
        Layers, inputs and outputs included, and outputs: one for each class.
    out_activation_ : str
        "softmax", "identity", or the name of another output rule.
    {attributes}

    Raises
    ------
    ValueError
        If a parameter means nothing, a label is not in ``classes``, or no noise reaches the budget.
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

    _kind_of_method = PrivateTraining

    def __init__(
        self,
        hidden_layer_sizes=(128,),
        *,
        epsilon=1.0,
        delta=1e-5,
        bounds=None,
        data_norm=None,
        classes=None,
        max_grad_norm=1.0,
        learning_rate_init=0.1,
        max_iter="auto",
        random_state=None,
        verbose=False,
        activation="tanh",
        output="softmax",
        solver="sgd",
        learning_rate="cosine",
        batch_size="auto",
        scheme="dfa",
        feedback="refresh",
        feedback_scale=1.0,
        refresh_interval=1,
        mechanism="gaussian",
        accountant="prv",
        categorical_features="from_dtype",
        precision="float32",
    ):
        store(self, locals())

    def __sklearn_tags__(self):
        """Sparse rows are read; on a few dozen rows, noise within the default budget drowns what they say."""
        tags = super().__sklearn_tags__()
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
        method = self._checked_method()
        if self.random_state is not None and self.epsilon != math.inf:
            warn_of_leak("random_state is set: whoever knows it can draw the noise again and take it off")
        with self._unchanged_on_error():
            X = self._read_features(X, reset=True)
            y = class_labels(y, X)
            targets, ends = self._public_classes(y), self._public_ends(X)
            table, ends = public_table(X, ends)
            method = replace(method, ends=ends, n_rows=X.shape[0])
            method.refuse_budget(table.n_columns, targets.n_outputs)  # before anything is drawn
            tasks = EpochTasks(self, {"X": X, "y": y})
            rows = table.learned(X)
            trained, history = epochs.fit(method, targets, rows, y, None, tasks, table)
            self._keep(trained)
            tasks.end(dict)
        return self._finished(method, history)

    def _public_classes(self, y):
        """The given classes, or those of y, which are disclosed."""
        if self.classes is None:
            warn_of_leak("classes=None: the labels are taken from y. Pass classes=[...], all labels that may appear")
        classes = np.unique(y) if self.classes is None else listed_classes(self.classes)
        if len(classes) < 2:
            raise ValueError(f"there is one class, {classes.tolist()[0]!r}: a classifier needs at least two.")
        return NetworkClasses(classes, self.output, self.output)

    def _public_ends(self, X):
        """The given bounds as arrays, or those of X, which are disclosed; None where a norm is given."""
        if self.data_norm is not None:
            return None
        if self.bounds is None:
            warn_of_leak("bounds=None: the ranges of columns are taken from X. Pass bounds=(low, high) or data_norm")
        return checked_ends(column_ends(X) if self.bounds is None else self.bounds, X.shape[1])

    def _finished(self, method, history):
        """Raise what ended training early, with what it has spent; the estimator is already usable."""
        if history.failure == "interrupted":
            raise KeyboardInterrupt(
                f"training was interrupted after {self.n_steps_} steps and epsilon {self.epsilon_spent_:.3g}; the "
                "estimator has the weights of the last whole epoch"
            )
        if history.failure == "diverged":
            raise method.failure(history, f"epsilon {self.epsilon_spent_:.3g} is spent.")
        return self

    def __setstate__(self, state):
        """Take state of earlier versions, an attribute for each thing, too."""
        if "epsilon_spent_" in state and "_trained" not in state:
            output, weights = state["output"], ("coefs_", "intercepts_")
            targets = NetworkClasses(state["classes_"], output, output)
            reading = Reading(PublicScale(state["bounds_"], state["data_norm"]))
            own = {name: value for name, value in published(state).items() if name not in targets.published()}
            due = {name: shapes(state[name]) for name in weights}
            state = state | {"_trained": Trained(targets, reading, own, due).without_weights()}
        super().__setstate__(state)
