"""Layer-wise training as a classifier and as a regressor."""

import numpy as np

from sklearn_analytic.estimator.base import store
from sklearn_analytic.estimator.epoch_estimator import EpochClassifier, EpochRegressor
from sklearn_analytic.io._checks import host
from sklearn_analytic.layerwise.method import LayerwiseTraining


class LayerwiseMLP(EpochClassifier):
    r"""Neural network trained one layer, or one partition of layers, at a time.

    Partition k maps features :math:`h_{k-1}` to :math:`h_k = f_k(h_{k-1}; \theta_k)` and is trained under a head
    :math:`g_k` of its own, which is thrown away,

    .. math:: \min_{\theta_k, \phi_k} \sum_i w_i\, \ell(g_k(h_k(x_i); \phi_k), y_i) ,

    by backpropagation inside the partition, while all partitions below are frozen. Gradients, optimiser state and
    activations of one partition are in memory at a time; one partition of all layers is backpropagation, bit for bit.

    Parameters
    ----------
    hidden_layer_sizes : int or sequence of int, default=(256, 256)
        Units of the dense hidden layers (of the dense head, under convolutions); () is none.
    order : {"sequential", "simultaneous", "laps"}, default="sequential"
        "sequential": one partition after the other, each to its end, on the cached features of those below: gradients,
        optimiser and activations of one partition in memory at a time. "simultaneous": all partitions take a step on
        every batch, and no error crosses a border. "laps": ``n_laps`` rounds of "sequential" with shorter turns (Karkar
        et al. 2023).
    n_laps : int, default=3
        Rounds of "laps".
    n_partitions : int or None, default=None
        Groups of consecutive hidden layers, balanced by their activations, each trained by backpropagation under a
        head of its own; None is one for every layer, 1 is backpropagation. The output layer belongs to the last one.
    local_loss : {"pred", "sim", "predsim"}, default="pred"
        What teaches a partition below the last (Nokland & Eidnes 2019). "pred": the prediction error of its head.
        "sim": similarities of its features should be those of the targets. "predsim": .01 of the first, .99 of the
        second.
    head_depth : int, default=0
        Hidden layers of the heads of partitions below the last, 0 to 3 (Belilovsky et al. 2019). Heads serve
        ``staged_predict`` and are otherwise thrown away.
    head_width : int or None, default=None
        Their units; None is an eighth of the units below, at least 32.
    layer_start : {"identity", "random"}, default="identity"
        First weights of a layer above the first partition: near the identity where its width is that of the layer
        below, so that it begins where that one ended, and under its head where that has the same shape; or random.
        A given ``network`` keeps its own weights.
    interlayer : {None, "overparametrise", "lookahead", "transport", "window"}, default="window"
        What stands for the layers above while they are not there: candidates for the thesis's simulated interlayer
        regularisation (reconstruction). "overparametrise": each layer trains as two linear factors and is multiplied
        out afterwards. "lookahead": the head begins with a copy of the next layer, which is thrown away. "window": the
        next layer itself is trained along and goes on from there. "transport": features pay for their distance from
        the partition's input, where widths agree. "window" scored best and takes the memory of one layer more; None
        and "transport" take the least. With "simultaneous" and in ``partial_fit``, "window" is "lookahead".
    memory_budget : int or None, default=None
        Bytes for gradients, optimiser state and activations of the partition in training (weights, rows and cached
        features are not counted): each partition takes the largest batch that fits, at most a twentieth of the rows,
        and its learning rate grows with the root of the batch. ``partial_fit`` does not look at it.
    cache : {"memory", "float16", "memmap"} or None, default="memory"
        Where features of all rows wait between partitions: in memory, in half precision, in a file in the folder for
        temporary files (TMPDIR), or nowhere: then every batch passes the layers below again.
    subsample : float, default=1.0
        Share of its rows that a partition hands to the next one: rows of large output error first, weighted so that
        sums over all rows stay unbiased (ours, after the thesis's data filtering). 1 hands on all, as "simultaneous"
        and ``partial_fit`` always do.
    refit_head : bool, default=False
        Solve the last layer by ridge regression on the last features, the ridge by generalised cross-validation.
    activation : {"relu", "leaky_relu", "tanh", "logistic", "identity"}, default="relu"
        Of all hidden layers.
    output : {"softmax", "linear", "expgb", "pow3gb"}, default="softmax"
        Output rule (Oland et al. 2017): cross-entropy of a softmax, or outputs that are not normalised, trained by the
        error o - t with o = z, 0.1 exp(z) or 0.001 z^3. See docs/theory/outputs.md.
    solver : {"adam", "adamw", "sgd"}, default="adam"
        Optimiser; each partition has its own.
    learning_rate_init : float or "auto", default="auto"
        Largest learning rate. "auto" is .001 for one partition and for "simultaneous", and .001 times their number, at
        most .004, for partitions that take turns: each has its share of the epochs alone.
    learning_rate : {"cosine", "constant", "step"}, default="cosine"
        Schedule over the epochs of each partition.
    warmup_fraction : float, default=0.0
        Share of a partition's steps over which the rate rises.
    momentum, nesterovs_momentum : float, bool, default=0.9, True
        Of "sgd".
    beta_1, beta_2, epsilon : float, default=0.9, 0.999, 1e-8
        Of "adam" and "adamw".
    alpha : float, default=0.0
        L2 penalty of the weights (decoupled for "adamw").
    batch_size : int or "auto", default="auto"
        Rows per step; "auto" is a fiftieth of the rows, within 16 and 128.
    max_iter : int or "auto", default="auto"
        Epochs of all partitions together, shared out evenly, each at least one; with "simultaneous", epochs. "auto" is
        about 2000 steps, in 30 to 200 epochs, as for backpropagation.
    early_stopping : bool, default=False
        Hold out ``validation_fraction`` of the rows. A partition stops after ``n_iter_no_change`` epochs without a
        score better by ``tol`` and keeps its best weights; training ends with the first partition that is no better
        than those below it, and the best one predicts. ``X_val, y_val`` in ``fit`` are watched in any case.
    validation_fraction : float, default=0.1
        Share of every class that is held out.
    n_iter_no_change : int or inf, default=10
        Patience, in epochs; infinity never stops early. With ``early_stopping`` it is patience with the score. Without,
        a partition ends where its training loss has not fallen by ``tol`` in more epochs than that in a row:
        scikit-learn's rule. A given ``max_iter`` is watched from the end of the warm-up; "auto" lets the learning rate
        fall to a tenth first, as larger steps keep a loss up that still falls with them.
    tol : float, default=1e-4
        Least gain of the score, or least fall of the training loss.
    image_shape : tuple of int or None, default=None
        (H, W) or (C, H, W) of rows that are flattened images: blocks of 3x3 convolution and 2x2 pooling come first.
    conv_layer_sizes : sequence of int or of sequences of int, default=(32, 64)
        Channels of the blocks; ((32, 32), (64, 64)) has two convolutions before each pooling.
    batch_norm : bool, default=False
        Whether convolutions are normalised.
    network : torch.nn.Sequential or None, default=None
        A network to train instead, from its own weights; it is copied. Its last layer gives raw outputs.
    input_encoding : {"auto", "standard", "robust", "quantile", "piecewise_linear"} or None, default="auto"
        How columns are restated. "auto" is "standard" for plain networks (one scale for all columns where they are
        pixels), one scale per channel for images, one scale for given networks. ``partial_fit`` learns it from its
        first block.
    class_weight : dict, "balanced" or None, default=None
        Weights of classes; "balanced" needs all rows at once (``fit``).
        A dict that leaves classes out (they weigh 1) has no other keys, one that weighs every class may have further.
    warm_start : bool, default=False
        Whether ``fit`` goes on from the weights of the last one. Optimisers go on with "simultaneous" alone: those of
        partitions that take turns are forgotten after each turn, that of a single one (backpropagation) included.
    distributed : bool or "entropy", default=False
        Every process of the initialised torch.distributed group calls ``fit`` with the same rows and computes its
        share of every mini-batch; "entropy" compresses the gradients that it sends. See
        :func:`sklearn_analytic.distributed.data_parallel`, which starts the processes.
    random_state : int, RandomState or None, default=None
        Seed of weights, heads and order.
    device : str, default="cpu"
        "cpu" compiles plain networks; "cuda", "torch:cpu" and the like train with torch.
    precision : {"float32", "float64", "bfloat16"}, default="float32"
        Dtype of the weights; "bfloat16" multiplies in bfloat16 where the device has units for it, with float32 weights.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        Class labels.
    temperature_ : float
        Factor that divides the logarithms of the outputs: of least log-loss on held-out rows, 1 without any.
    coefs_, intercepts_ : list of ndarray
        Weights (n_in, n_out) and biases of plain networks; training goes on from what is written into them.
    network_state_ : dict of ndarray
        Parameters and buffers of all other networks.
    heads_ : list of dict
        Weights of the heads below the one that predicts.
    partitions_ : list of tuple of int
        Half-open ranges of hidden layers.
    exit_ : int
        Index of the partition whose head predicts: the last, unless training ended before it.
    layer_scores_ : ndarray of shape (n_partitions_trained,)
        Accuracy of every head, on held-out rows or else on at most 1000 training rows.
    effective_ranks_ : ndarray of shape (n_partitions_trained,)
        exp of the entropy of the singular values of every partition's features (Roy & Vetterli 2007), on those rows.
    layer_seconds_, layer_bytes_ : ndarray of shape (n_partitions_trained,)
        Seconds, and bytes of gradients, optimiser state and activations.
    layer_n_iter_ : ndarray of shape (n_partitions,)
        Epochs of every partition.
    batch_sizes_ : list of int
        Rows per batch of every partition.
    n_iter_ : int
        Epochs of all partitions, of the last ``fit`` and the ``partial_fit`` calls after it.
    loss_, loss_curve_ : float, list of float
        Mean training loss of the last and of every epoch.
    validation_scores_, best_validation_score_ : list of float, float
        Scores of held-out rows in every epoch, and the best of a partition, where there were any.
    activation_bytes_ : dict
        Bytes of hidden activations of one batch of the largest partition.
    communication_ : dict
        What processes sent, with ``distributed``.
    n_features_in_ : int
        Number of features.
    feature_names_in_ : ndarray of str
        Names of the features, where X had any.

    Warns
    -----
    ConvergenceWarning
        If a given ``max_iter`` is reached before ``n_iter_no_change`` and ``tol`` end training; "auto" is no bound.

    Raises
    ------
    FloatingPointError
        If the loss of a partition becomes NaN or infinite. The message names its layers; the estimator predicts from
        the last good weights, or from the partition below.
    KeyboardInterrupt
        Is raised again; the estimator keeps what was trained.
    OSError
        If the disk under ``cache="memmap"`` is full; the estimator is as it was.

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

    def __init__(
        self,
        hidden_layer_sizes=(256, 256),
        *,
        order="sequential",
        n_laps=3,
        n_partitions=None,
        local_loss="pred",
        head_depth=0,
        head_width=None,
        layer_start="identity",
        interlayer="window",
        memory_budget=None,
        cache="memory",
        subsample=1.0,
        refit_head=False,
        activation="relu",
        output="softmax",
        solver="adam",
        learning_rate_init="auto",
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
        batch_norm=False,
        network=None,
        input_encoding="auto",
        class_weight=None,
        warm_start=False,
        distributed=False,
        random_state=None,
        device="cpu",
        precision="float32",
    ):
        store(self, locals())

    def _method(self):
        """What the parameters say, as a value."""
        return LayerwiseTraining.of(self)

    def staged_predict(self, X):
        """Yield the labels that every partition's head predicts, bottom to top.

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
        """Yield the probabilities of every partition's head, bottom to top.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n, d)
            Rows.

        Yields
        ------
        ndarray of shape (n, n_classes)
            Probabilities at the temperature of the last head; the last ones are those of :meth:`predict_proba`.
        """
        stages, targets = _staged_outputs(self, X), self._trained.targets
        for k, outputs in enumerate(stages):
            yield targets.probabilities(outputs, targets.link if k == len(stages) - 1 else targets.output)


class LayerwiseMLPRegressor(EpochRegressor):
    r"""Neural network trained one layer, or one partition of layers, at a time, for numeric targets.

    Partition k maps features :math:`h_{k-1}` to :math:`h_k = f_k(h_{k-1}; \theta_k)` and is trained under a head
    :math:`g_k` of its own, which is thrown away,

    .. math:: \min_{\theta_k, \phi_k} \tfrac12 \sum_i w_i\, \lVert g_k(h_k(x_i); \phi_k) - y_i \rVert^2 ,

    by backpropagation inside the partition, while all partitions below are frozen; targets are standardised. One
    partition of all layers is backpropagation, bit for bit.

    Parameters
    ----------
    hidden_layer_sizes : int or sequence of int, default=(256, 256)
        Units of the dense hidden layers (of the dense head, under convolutions); () is none.
    order : {"sequential", "simultaneous", "laps"}, default="sequential"
        "sequential": one partition after the other, each to its end, on the cached features of those below: gradients,
        optimiser and activations of one partition in memory at a time. "simultaneous": all partitions take a step on
        every batch, and no error crosses a border. "laps": ``n_laps`` rounds of "sequential" with shorter turns (Karkar
        et al. 2023).
    n_laps : int, default=3
        Rounds of "laps".
    n_partitions : int or None, default=None
        Groups of consecutive hidden layers, balanced by their activations, each trained by backpropagation under a
        head of its own; None is one for every layer, 1 is backpropagation. The output layer belongs to the last one.
    local_loss : {"pred", "sim", "predsim"}, default="pred"
        What teaches a partition below the last (Nokland & Eidnes 2019). "pred": the prediction error of its head.
        "sim": similarities of its features should be those of the targets. "predsim": .01 of the first, .99 of the
        second.
    head_depth : int, default=0
        Hidden layers of the heads of partitions below the last, 0 to 3 (Belilovsky et al. 2019). Heads serve
        ``staged_predict`` and are otherwise thrown away.
    head_width : int or None, default=None
        Their units; None is an eighth of the units below, at least 32.
    layer_start : {"identity", "random"}, default="identity"
        First weights of a layer above the first partition: near the identity where its width is that of the layer
        below, so that it begins where that one ended, and under its head where that has the same shape; or random.
        A given ``network`` keeps its own weights.
    interlayer : {None, "overparametrise", "lookahead", "transport", "window"}, default="window"
        What stands for the layers above while they are not there: candidates for the thesis's simulated interlayer
        regularisation (reconstruction). "overparametrise": each layer trains as two linear factors and is multiplied
        out afterwards. "lookahead": the head begins with a copy of the next layer, which is thrown away. "window": the
        next layer itself is trained along and goes on from there. "transport": features pay for their distance from
        the partition's input, where widths agree. "window" scored best and takes the memory of one layer more; None
        and "transport" take the least. With "simultaneous" and in ``partial_fit``, "window" is "lookahead".
    memory_budget : int or None, default=None
        Bytes for gradients, optimiser state and activations of the partition in training (weights, rows and cached
        features are not counted): each partition takes the largest batch that fits, at most a twentieth of the rows,
        and its learning rate grows with the root of the batch. ``partial_fit`` does not look at it.
    cache : {"memory", "float16", "memmap"} or None, default="memory"
        Where features of all rows wait between partitions: in memory, in half precision, in a file in the folder for
        temporary files (TMPDIR), or nowhere: then every batch passes the layers below again.
    subsample : float, default=1.0
        Share of its rows that a partition hands to the next one: rows of large output error first, weighted so that
        sums over all rows stay unbiased (ours, after the thesis's data filtering). 1 hands on all, as "simultaneous"
        and ``partial_fit`` always do.
    refit_head : bool, default=False
        Solve the last layer by ridge regression on the last features, the ridge by generalised cross-validation.
    activation : {"relu", "leaky_relu", "tanh", "logistic", "identity"}, default="relu"
        Of all hidden layers.
    solver : {"adam", "adamw", "sgd"}, default="adam"
        Optimiser; each partition has its own.
    learning_rate_init : float or "auto", default="auto"
        Largest learning rate. "auto" is .001 for one partition and for "simultaneous", and .001 times their number, at
        most .004, for partitions that take turns: each has its share of the epochs alone.
    learning_rate : {"cosine", "constant", "step"}, default="cosine"
        Schedule over the epochs of each partition.
    warmup_fraction : float, default=0.0
        Share of a partition's steps over which the rate rises.
    momentum, nesterovs_momentum : float, bool, default=0.9, True
        Of "sgd".
    beta_1, beta_2, epsilon : float, default=0.9, 0.999, 1e-8
        Of "adam" and "adamw".
    alpha : float, default=0.0
        L2 penalty of the weights (decoupled for "adamw").
    batch_size : int or "auto", default="auto"
        Rows per step; "auto" is a fiftieth of the rows, within 16 and 128.
    max_iter : int or "auto", default="auto"
        Epochs of all partitions together, shared out evenly, each at least one; with "simultaneous", epochs. "auto" is
        about 2000 steps, in 30 to 200 epochs, as for backpropagation.
    early_stopping : bool, default=False
        Hold out ``validation_fraction`` of the rows. A partition stops after ``n_iter_no_change`` epochs without a
        score better by ``tol`` and keeps its best weights; training ends with the first partition that is no better
        than those below it, and the best one predicts. ``X_val, y_val`` in ``fit`` are watched in any case.
    validation_fraction : float, default=0.1
        Share of the rows that is held out.
    n_iter_no_change : int or inf, default=10
        Patience, in epochs; infinity never stops early. With ``early_stopping`` it is patience with the score. Without,
        a partition ends where its training loss has not fallen by ``tol`` in more epochs than that in a row:
        scikit-learn's rule. A given ``max_iter`` is watched from the end of the warm-up; "auto" lets the learning rate
        fall to a tenth first, as larger steps keep a loss up that still falls with them.
    tol : float, default=1e-4
        Least gain of the score, or least fall of the training loss.
    image_shape : tuple of int or None, default=None
        (H, W) or (C, H, W) of rows that are flattened images: blocks of 3x3 convolution and 2x2 pooling come first.
    conv_layer_sizes : sequence of int or of sequences of int, default=(32, 64)
        Channels of the blocks; ((32, 32), (64, 64)) has two convolutions before each pooling.
    batch_norm : bool, default=False
        Whether convolutions are normalised.
    network : torch.nn.Sequential or None, default=None
        A network to train instead, from its own weights; it is copied. Its last layer gives raw outputs.
    input_encoding : {"auto", "standard", "robust", "quantile", "piecewise_linear"} or None, default="auto"
        How columns are restated. "auto" is "standard" for plain networks (one scale for all columns where they are
        pixels), one scale per channel for images, one scale for given networks. ``partial_fit`` learns it from its
        first block.
    warm_start : bool, default=False
        Whether ``fit`` goes on from the weights of the last one. Optimisers go on with "simultaneous" alone: those of
        partitions that take turns are forgotten after each turn, that of a single one (backpropagation) included.
    distributed : bool or "entropy", default=False
        Every process of the initialised torch.distributed group calls ``fit`` with the same rows and computes its
        share of every mini-batch; "entropy" compresses the gradients that it sends. See
        :func:`sklearn_analytic.distributed.data_parallel`, which starts the processes.
    random_state : int, RandomState or None, default=None
        Seed of weights, heads and order.
    device : str, default="cpu"
        "cpu" compiles plain networks; "cuda", "torch:cpu" and the like train with torch.
    precision : {"float32", "float64", "bfloat16"}, default="float32"
        Dtype of the weights; "bfloat16" multiplies in bfloat16 where the device has units for it, with float32 weights.

    Attributes
    ----------
    coefs_, intercepts_ : list of ndarray
        Weights (n_in, n_out) and biases of plain networks; training goes on from what is written into them.
    network_state_ : dict of ndarray
        Parameters and buffers of all other networks.
    heads_ : list of dict
        Weights of the heads below the one that predicts.
    partitions_ : list of tuple of int
        Half-open ranges of hidden layers.
    exit_ : int
        Index of the partition whose head predicts: the last, unless training ended before it.
    layer_scores_ : ndarray of shape (n_partitions_trained,)
        One less the mean squared error (standardised targets) of every head, on held-out rows or else on at most 1000
        training rows.
    effective_ranks_ : ndarray of shape (n_partitions_trained,)
        exp of the entropy of the singular values of every partition's features (Roy & Vetterli 2007), on those rows.
    layer_seconds_, layer_bytes_ : ndarray of shape (n_partitions_trained,)
        Seconds, and bytes of gradients, optimiser state and activations.
    layer_n_iter_ : ndarray of shape (n_partitions,)
        Epochs of every partition.
    batch_sizes_ : list of int
        Rows per batch of every partition.
    n_iter_ : int
        Epochs of all partitions, of the last ``fit`` and the ``partial_fit`` calls after it.
    loss_, loss_curve_ : float, list of float
        Mean training loss of the last and of every epoch.
    validation_scores_, best_validation_score_ : list of float, float
        Scores of held-out rows in every epoch, and the best of a partition, where there were any.
    activation_bytes_ : dict
        Bytes of hidden activations of one batch of the largest partition.
    communication_ : dict
        What processes sent, with ``distributed``.
    n_features_in_ : int
        Number of features.
    feature_names_in_ : ndarray of str
        Names of the features, where X had any.

    Warns
    -----
    ConvergenceWarning
        If a given ``max_iter`` is reached before ``n_iter_no_change`` and ``tol`` end training; "auto" is no bound.

    Raises
    ------
    FloatingPointError
        If the loss of a partition becomes NaN or infinite. The message names its layers; the estimator predicts from
        the last good weights, or from the partition below.
    KeyboardInterrupt
        Is raised again; the estimator keeps what was trained.
    OSError
        If the disk under ``cache="memmap"`` is full; the estimator is as it was.

    References
    ----------
    A. Oland, "Neural networks and their training: on squashing outputs, layers and communication", thesis, of which the
    abstract is public: what is taken from it is a reconstruction. A. Nokland, L. H. Eidnes, "Training neural networks
    with local error signals", ICML 2019. E. Belilovsky, M. Eickenberg, E. Oyallon, "Greedy layerwise learning can scale
    to ImageNet", ICML 2019. S. Karkar et al., "Module-wise training of neural networks via the minimizing movement
    scheme", NeurIPS 2023.

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

    def __init__(
        self,
        hidden_layer_sizes=(256, 256),
        *,
        order="sequential",
        n_laps=3,
        n_partitions=None,
        local_loss="pred",
        head_depth=0,
        head_width=None,
        layer_start="identity",
        interlayer="window",
        memory_budget=None,
        cache="memory",
        subsample=1.0,
        refit_head=False,
        activation="relu",
        solver="adam",
        learning_rate_init="auto",
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
        batch_norm=False,
        network=None,
        input_encoding="auto",
        warm_start=False,
        distributed=False,
        random_state=None,
        device="cpu",
        precision="float32",
    ):
        store(self, locals())

    def _method(self):
        """What the parameters say, as a value."""
        return LayerwiseTraining.of(self)

    def staged_predict(self, X):
        """Yield the targets that every partition's head predicts, bottom to top.

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
    """Raw outputs (n, c) of every head, bottom to top, on the host."""

    def forward(network, fitted):
        staged = network.staged_forward(fitted)
        return lambda x: np.hstack(list(staged(x)))

    found = host(model._raw_outputs(X, forward))
    return np.split(found, found.shape[1] // model._trained.targets.n_outputs, axis=1)
