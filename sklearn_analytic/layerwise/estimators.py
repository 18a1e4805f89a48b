"""Layer-wise training as a classifier and as a regressor."""

import numpy as np

from sklearn_analytic.estimator.epoch_estimator import EpochClassifier, EpochRegressor
from sklearn_analytic.estimator.texts import (
    FITTED_CLASSES,
    FITTED_COLUMNS,
    FITTED_TRAINING,
    FITTED_WEIGHTS,
    NETWORK,
    WARNS,
    documented,
)
from sklearn_analytic.estimator.value import store
from sklearn_analytic.io._checks import host
from sklearn_analytic.layerwise.method import LayerwiseTraining

OWN = """
order : {"sequential", "simultaneous", "laps"}
    "sequential": one partition after the other, each to its end, on the cached features of those below: gradients,
    optimiser and activations of one partition in memory at a time. "simultaneous": all partitions take a step on
    every batch, and no error crosses a border. "laps": some rounds of "sequential" with shorter turns (Karkar et al.
    2023).
partitions : int, Partitions or None
    Groups of consecutive hidden layers that train together; None is one for every layer, 1 is backpropagation.
    :class:`Partitions` says how they are taught, what stands for the layers above them, and how much memory they take.
solver : {"adam", "adamw", "sgd"}, Adam, AdamW or SGD
    Update rule; each partition has its own. :class:`Adam`, :class:`AdamW` and :class:`SGD` hold its constants, and a
    warm-up.
learning_rate_init : float > 0 or "auto"
    Largest learning rate. "auto" is .001 for one partition and for "simultaneous", and .001 times their number, at
    most .004, for partitions that take turns: each has its share of the epochs alone.
learning_rate : {"cosine", "constant", "step", "invscaling", "adaptive"}
    Schedule of each partition's epochs. "step" divides by 10 after half and three quarters of them. The last two are
    scikit-learn's: "invscaling" divides by :math:`(1 + t)^p`, t being the rows that it has seen before the epoch and p
    the solver's ``power_t``; "adaptive" divides by 5 where training would end for want of progress, and ends at 1e-6.
max_iter : int or "auto"
    Epochs of all partitions together, shared out evenly, each at least one; with "simultaneous", epochs. "auto" is
    about 2000 steps, in 30 to 200 epochs, as for backpropagation.
early_stopping : bool
    Hold out ``validation_fraction`` of the rows. A partition stops after ``n_iter_no_change`` epochs without a
    score better by ``tol`` and keeps its best weights; training ends with the first partition that is no better
    than those below it, and the best one predicts. ``X_val, y_val`` in ``fit`` are watched in any case.
warm_start : bool
    Whether ``fit`` goes on from the weights of the last one. Optimisers go on with "simultaneous" alone: those of
    partitions that take turns are forgotten after each turn, that of a single one (backpropagation) included.
"""

OWN_FITTED = """
n_iter_ : int
    Epochs of all partitions, of the last ``fit`` and the ``partial_fit`` calls after it.
loss_, loss_curve_ : float, list of float
    Mean training loss of the last and of every epoch, with the penalty: of the partition in training under its head,
    or with ``order="simultaneous"`` of the one that predicts.
activation_bytes_ : dict
    Bytes of hidden activations of one batch of the largest partition.
heads_ : list of dict
    Weights of the heads below the one that predicts.
partitions_ : list of tuple of int
    Half-open ranges of hidden layers.
exit_ : int
    Index of the partition whose head predicts: the last, unless training ended before it.
layer_scores_ : ndarray of shape (n_partitions_trained,)
    Accuracy (of a regressor, one less the mean squared error of standardised targets) of the readouts of the layers up
    to every partition, each row predicted without itself, on rows that the layers have not seen. Without readouts, of
    every head, on held-out rows or else on at most 1000 training rows.
effective_ranks_ : ndarray of shape (n_partitions_trained,)
    exp of the entropy of the singular values of every partition's features (Roy & Vetterli 2007), on those rows.
layer_seconds_, layer_bytes_ : ndarray of shape (n_partitions_trained,)
    Seconds, and bytes of gradients, optimiser state and activations.
layer_n_iter_ : ndarray of shape (n_partitions,)
    Epochs of every partition.
batch_sizes_ : list of int
    Rows per batch of every partition.
communication_ : dict
    What processes sent, with ``Device(distributed=...)``.
"""

OWN_RAISES = """
FloatingPointError
    If the loss of a partition becomes NaN or infinite. The message names its layers; the estimator predicts from
    the last good weights, or from the partition below.
KeyboardInterrupt
    Is raised again; the estimator keeps what was trained.
OSError
    If the disk under ``Partitions(cache="memmap")`` is full; the estimator is as it was.
"""

FITTED = FITTED_WEIGHTS + FITTED_TRAINING + OWN_FITTED + FITTED_COLUMNS


@documented(parameters=NETWORK + OWN, attributes=FITTED_CLASSES + FITTED, warns=WARNS, raises=OWN_RAISES)
class LayerwiseMLP(EpochClassifier):
    r"""Neural network trained one layer, or one partition of layers, at a time.

    Partition k maps features :math:`h_{k-1}` to :math:`h_k = f_k(h_{k-1}; \theta_k)` and is trained under a head
    :math:`g_k` of its own, which is thrown away,

    .. math:: \min_{\theta_k, \phi_k} \sum_i w_i\, \ell(g_k(h_k(x_i); \phi_k), y_i) ,

    by backpropagation inside the partition, while all partitions below are frozen. Gradients, optimiser state and
    activations of one partition are in memory at a time; one partition of all layers is backpropagation, bit for bit.

    Parameters
    ----------
    {parameters}

    Other Parameters
    ----------------
    {others}

    Attributes
    ----------
    {attributes}

    Warns
    -----
    {warns}

    Raises
    ------
    {raises}

    References
    ----------
    A. Oland, "Neural networks and their training: on squashing outputs, layers and communication", thesis, of which the
    abstract is public: what is taken from it is a reconstruction. A. Nokland, L. H. Eidnes, "Training neural networks
    with local error signals", ICML 2019. E. Belilovsky, M. Eickenberg, E. Oyallon, "Greedy layerwise learning can scale
    to ImageNet", ICML 2019. S. Karkar et al., "Module-wise training of neural networks via the minimizing movement
    scheme", NeurIPS 2023. A. Oland et al., "Be careful what you backpropagate: a case for linear output
    activations & gradient boosting", arXiv 1707.04199.

    Examples
    --------
    >>> from sklearn.datasets import load_breast_cancer
    >>> from sklearn.model_selection import train_test_split
    >>> from sklearn_analytic import LayerwiseMLP
    >>> X, X_test, y, y_test = train_test_split(*load_breast_cancer(return_X_y=True), random_state=0)
    >>> model = LayerwiseMLP((64, 64), random_state=0).fit(X, y)
    >>> bool(model.score(X_test, y_test) > 0.95)
    True
    >>> [bool((stage == y_test).mean() > 0.9) for stage in model.staged_predict(X_test)]
    [True, True]
    """

    _kind_of_method = LayerwiseTraining

    def __init__(
        self,
        hidden_layer_sizes=(256, 256),
        *,
        order="sequential",
        partitions=None,
        activation="relu",
        solver="adam",
        learning_rate_init="auto",
        batch_size="auto",
        max_iter="auto",
        early_stopping=False,
        random_state=None,
        warm_start=False,
        verbose=False,
        network=None,
        output="softmax",
        learning_rate="cosine",
        alpha=0.0,
        shuffle=True,
        tol=1e-4,
        n_iter_no_change=10,
        validation_fraction=0.1,
        input_encoding="auto",
        categorical_features="from_dtype",
        class_weight=None,
        device="cpu",
    ):
        store(self, locals())

    def staged_predict(self, X):
        """Yield the labels that every partition's readout, or head, predicts, bottom to top.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n, d)
            Rows.

        Yields
        ------
        ndarray of shape (n,)
            Labels; the last ones are those of :meth:`predict`.
        """
        for outputs in _staged_outputs(self, X):
            yield self._trained.targets.predicted(outputs)

    def staged_predict_proba(self, X):
        """Yield the probabilities of every partition's readout, or head, bottom to top.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n, d)
            Rows.

        Yields
        ------
        ndarray of shape (n, n_classes)
            Probabilities; the last ones are those of :meth:`predict_proba`. Heads share a temperature.
        """
        stages = _staged_outputs(self, X)
        for outputs, reader in zip(stages, self._trained.readers(len(stages)), strict=True):
            yield self._trained.targets.probabilities(outputs, reader)


@documented(parameters=NETWORK + OWN, attributes=FITTED, warns=WARNS, raises=OWN_RAISES)
class LayerwiseMLPRegressor(EpochRegressor):
    r"""Neural network trained one layer, or one partition of layers, at a time, for numeric targets.

    Partition k maps features :math:`h_{k-1}` to :math:`h_k = f_k(h_{k-1}; \theta_k)` and is trained under a head
    :math:`g_k` of its own, which is thrown away,

    .. math:: \min_{\theta_k, \phi_k} \tfrac12 \sum_i w_i\, \lVert g_k(h_k(x_i); \phi_k) - y_i \rVert^2 ,

    by backpropagation inside the partition, while all partitions below are frozen; targets are standardised. One
    partition of all layers is backpropagation, bit for bit.

    Parameters
    ----------
    {parameters}

    Other Parameters
    ----------------
    {others}

    Attributes
    ----------
    {attributes}

    Warns
    -----
    {warns}

    Raises
    ------
    {raises}

    References
    ----------
    See :class:`LayerwiseMLP`.

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from sklearn.model_selection import train_test_split
    >>> from sklearn_analytic import LayerwiseMLPRegressor
    >>> X, X_test, y, y_test = train_test_split(*load_diabetes(return_X_y=True), random_state=0)
    >>> model = LayerwiseMLPRegressor((32, 32), early_stopping=True, random_state=0).fit(X, y)
    >>> bool(model.score(X_test, y_test) > 0.3)
    True
    """

    _kind_of_method = LayerwiseTraining

    def __init__(
        self,
        hidden_layer_sizes=(256, 256),
        *,
        order="sequential",
        partitions=None,
        activation="relu",
        solver="adam",
        learning_rate_init="auto",
        batch_size="auto",
        max_iter="auto",
        early_stopping=False,
        random_state=None,
        warm_start=False,
        verbose=False,
        network=None,
        learning_rate="cosine",
        alpha=0.0,
        shuffle=True,
        tol=1e-4,
        n_iter_no_change=10,
        validation_fraction=0.1,
        input_encoding="auto",
        categorical_features="from_dtype",
        device="cpu",
    ):
        store(self, locals())

    def staged_predict(self, X):
        """Yield the targets that every partition's readout, or head, predicts, bottom to top.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n, d)
            Rows.

        Yields
        ------
        ndarray of shape (n,) or (n, c)
            Targets; the last ones are those of :meth:`predict`.
        """
        for outputs in _staged_outputs(self, X):
            yield self._trained.targets.predicted(outputs)


def _staged_outputs(model, X):
    """Raw outputs (n, c) of every head or readout, bottom to top, on the host."""

    def forward(trained, network, fitted):
        staged = trained.staged_forward(network, fitted)
        return lambda x: np.hstack(list(staged(x)))

    found = host(model._raw_outputs(X, forward))
    return np.split(found, found.shape[1] // model._trained.targets.n_outputs, axis=1)
