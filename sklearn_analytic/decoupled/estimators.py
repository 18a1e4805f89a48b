"""Decoupled training as a classifier and as a regressor."""

from sklearn_analytic.decoupled.method import DecoupledTraining
from sklearn_analytic.estimator.base import store
from sklearn_analytic.estimator.epoch_estimator import EpochClassifier, EpochRegressor


class DecoupledMLPClassifier(EpochClassifier):
    r"""Neural network in modules that train side by side, each on the error of an older batch.

    Minimises the cross-entropy (or another ``output`` rule). Module k of K maps :math:`h_{k-1}` to
    :math:`h_k = f_k(h_{k-1}; \theta_k)`. While it forwards batch b, it sends back batch b - D_k,

    .. math:: g_k = \Big(\frac{\partial f_k}{\partial \theta_k}\Big)^T \beta\, \delta_{k+1} ,\qquad
        \theta_k \leftarrow \theta_k - \eta_k \sum_{M} g_k ,\qquad D_k = 2 (K - k) ,

    so that no module waits for another: modules work at the same time, on K threads or devices, and pay with gradients
    that are some updates old. docs/theory/decoupled.md has the schedules and what they cost.

    Parameters
    ----------
    hidden_layer_sizes : int or sequence of int, default=(256, 256)
        Units of the dense hidden layers (of the dense head, under convolutions); () is none.
    schedule : {"auto", "fdg", "ddg", "adl", "dtrp", "backprop"}, default="auto"
        Delay of module k = 1..K between its two passes over a batch. "fdg" (Zhuang et al. 2022) and "adl" (Zhuang et
        al. 2021; the same with ``accumulation_steps``): 2(K - k) batches. "ddg" (Huo et al. 2018): K - k, with a
        free-running forward pass. "dtrp" (Peng et al. 2023; its predictor is our reconstruction): as "fdg", with
        ``recompute`` and ``predictor``. "backprop": none; modules wait for each other. "auto" is the best that we
        measured: "ddg", above two modules with a ``predictor``. For two modules "fdg" and "ddg" are the same steps.
    n_modules : int, default=2
        Modules K, at most as many as layers (the output layer counts); 1 is backpropagation. Without hidden layers, 2
        is 1: there is one layer.
    module_layers : sequence of int or None, default=None
        Layers of every module, bottom to top, in place of ``n_modules``; None balances the modules' costs.
    balance : {"counted", "measured"}, default="counted"
        Costs of layers: operations, which are the same on every machine, or seconds measured before training, whose cut
        (``modules_``) may differ from run to run.
    operation_order : {"auto", "backward_first", "forward_first"}, default="auto"
        What a module with a delay does first in a step; "auto" is "forward_first" for "ddg" and else
        "backward_first", which saves one update of staleness. Backward first, "ddg" leaves no work to overlap.
    shrink : float, default=1.0
        Factor beta in (0, 1] of the error at every border between modules; it is applied to the learning rate under
        "adam" and "adamw", which no factor on a gradient changes.
    accumulation_steps : int, default=1
        Backward passes M per update: gradients are then at most ceil(delay / M) updates old.
    accumulation : {"sum", "mean"}, default="sum"
        Of the M gradients; the sum is as published. The penalty ``alpha`` counts once per update in either case.
    weight_version : {"stash", "current"}, default="stash"
        Weights of the backward pass: a copy of those that the batch's forward pass saw (the published formula), or
        those of now with the old activations (what the authors' code did).
    recompute : bool or "auto", default="auto"
        Whether a module with a delay keeps the inputs of batches on their way and runs forward again before it sends
        one back, at its weights of then; "auto" is True for "dtrp".
    predictor : {"auto", "velocity", "difference", "adam"} or None, default="auto"
        Weights that forward passes read: those expected when the batch comes back, by the optimiser's momentum, by the
        mean of past updates, or by Adam's step. "auto" is "velocity" with "sgd" and else "adam" for the schedules that
        predict ("dtrp", and "auto" above two modules), and None for all others.
    regulator : float, default=1.0
        Share of that horizon, from 0 to 1.
    batch_compensation : {"batch", "split"} or None, default=None
        What makes up for the second forward pass (reconstruction): batches a third larger, or fewer layers in the
        modules that run twice.
    module_rates : {"equal", "root", "inverse", "stability"}, default="equal"
        Factor of a module's learning rate whose gradients are s updates old in the mean: 1, 1 / sqrt(1 + s),
        1 / (1 + s), or the share of the stable rates that is left, sin(pi / (2 (2 s + 1))).
    drain : bool, default=True
        Whether the pipeline is emptied at the end of every epoch; as published it is not, and the last gradients of a
        fit are dropped. Blocks of a stream are always drained.
    executor : {"auto", "sequential", "threads", "cuda"}, default="auto"
        One thread in turns, a thread for each module, or one with a stream or a GPU of its own. Turns and threads give
        the same bits; "auto" takes threads where BLAS may use several and modules have work enough for them (all of
        torch do).
    activation : {"relu", "leaky_relu", "tanh", "logistic", "identity"}, default="relu"
        Activation of hidden layers.
    normalization : {"batch", "layer"} or None, default=None
        Normalisation of hidden layers (with torch), which tolerates older gradients; "batch" alone with
        ``image_shape``. Moving averages are updated once per batch.
    output : {"softmax", "linear", "expgb", "pow3gb"}, default="softmax"
        What raw outputs mean, and the error that is sent back, as in :class:`DFAClassifier`.
    solver : {"adam", "adamw", "sgd"}, default="adam"
        Update rule; every module has its own.
    learning_rate_init : float, default=1e-3
        Largest learning rate; ``partial_fit`` keeps it constant.
    learning_rate : {"cosine", "constant", "step"}, default="cosine"
        Schedule of a fit; "step" divides by 10 after half and three quarters of it.
    warmup_fraction : float, default=0.0
        Share of the steps in which the rate rises linearly.
    momentum, nesterovs_momentum : float, bool, default=0.9, True
        Of "sgd".
    beta_1, beta_2, epsilon : float, default=0.9, 0.999, 1e-8
        Of "adam" and "adamw".
    alpha : float, default=0.0
        L2 penalty ``alpha / 2 ||W||^2`` of the mean loss; decoupled weight decay with "adamw".
    batch_size : int or "auto", default="auto"
        Rows per batch; "auto" is a fiftieth of the rows, within 16 and 128.
    max_iter : int or "auto", default="auto"
        Epochs; "auto" aims at 2000 batches within 30 to 200 epochs.
    early_stopping : bool, default=False
        Hold out ``validation_fraction`` of the rows and stop after ``n_iter_no_change`` epochs without a score better
        by ``tol``. The best weights are kept. ``X_val, y_val`` in ``fit`` are watched in any case.
    validation_fraction : float, default=0.1
        Share of every class that is held out.
    n_iter_no_change : int or inf, default=10
        Patience, in epochs; infinity never stops early. With ``early_stopping`` it is patience with the score. Without,
        training ends where the training loss has not fallen by ``tol`` in more epochs than that in a row:
        scikit-learn's rule. A given ``max_iter`` is watched from the end of the warm-up; "auto" lets the learning rate
        fall to a tenth first, as larger steps keep a loss up that still falls with them.
    tol : float, default=1e-4
        Least gain of the score, or least fall of the training loss.
    image_shape : tuple of int or None, default=None
        (H, W) or (C, H, W) of rows that are flattened images: blocks of 3x3 convolution and 2x2 pooling come first.
    conv_layer_sizes : sequence of int or of sequences of int, default=(32, 64)
        Channels of the blocks; ((32, 32), (64, 64)) has two convolutions before each pooling.
    network : torch.nn.Sequential or None, default=None
        A network to train instead, from its own weights; it is copied. A plain Sequential without hooks or lazy
        layers, whose last layer gives raw outputs; Sequentials of another class inside count as one layer.
    input_encoding : {"auto", "standard", "robust", "quantile", "piecewise_linear"} or None, default="auto"
        How columns are restated. "auto" is "standard" for plain networks (one scale for all columns where there are
        many, non-negative and of one range, as pixels are), one scale per channel for images, one scale for given
        networks. ``partial_fit`` learns it from its first block.
    class_weight : dict, "balanced" or None, default=None
        Weights of classes; "balanced" needs all rows at once (``fit``).
        A dict that leaves classes out (they weigh 1) has no other keys, one that weighs every class may have further.
    warm_start : bool, default=False
        Whether ``fit`` goes on from the weights of the last one.
    random_state : int, RandomState or None, default=None
        Seed of weights and order.
    device : str, default="cpu"
        "cpu" compiles plain networks; "cuda", "torch:cpu" and the like train with torch.
    precision : {"float32", "float64", "bfloat16"}, default="float32"
        Dtype of the weights; "bfloat16" multiplies in bfloat16 where the device has units for it, with float32 weights.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        Class labels.
    temperature_ : float
        Factor that divides the log-probabilities before they are normalised: of least log-loss on held-out rows, 1
        without any.
    coefs_, intercepts_ : list of ndarray
        Weights (n_in, n_out) and biases of plain networks; training goes on from what is written into them.
    network_state_ : dict of ndarray
        Parameters and buffers of all other networks.
    modules_ : list of tuple of int
        Half-open ranges of layers, bottom to top.
    staleness_ : ndarray of shape (K,)
        Mean number of updates that a module took between the two passes of a batch, measured.
    weight_versions_ : ndarray of shape (K,)
        Most versions of a module's weights in memory at once.
    module_seconds_, utilisation_ : ndarray of shape (K,)
        Seconds that each module worked (on a GPU: launched its work), and their share of the time of training.
    module_activation_bytes_ : ndarray of shape (K,)
        Most bytes of activations that waited for backward passes at once.
    activation_bytes_ : dict
        Their sum as "stored" and "exact"; "shared" is 0.
    timeline_ : structured ndarray
        The last 600 operations of each module, after ``partial_fit`` those of the last block: module, kind ("forward",
        "backward", "update"), batch, begin and end in seconds, and the module's number of updates. See
        :class:`TimelineDisplay`.
    n_iter_ : int
        Epochs, of the last ``fit`` and the ``partial_fit`` calls after it.
    loss_, loss_curve_ : float, list of float
        Mean training loss of the last and of every epoch.
    validation_scores_, best_validation_score_ : list of float, float
        Scores of held-out rows, where there were any.
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
        If the loss becomes NaN or infinite; the estimator keeps the weights of the last good epoch.
    KeyboardInterrupt
        Is raised again; the estimator keeps the weights of the last whole epoch.
    RuntimeError
        Names the module, if one of them fails; the others are stopped, and the estimator is as it was.

    References
    ----------
    H. Zhuang, Y. Wang, Q. Liu, S. Zhang, Z. Lin, "Fully decoupled neural network learning using delayed gradients",
    IEEE TNNLS 2022, arXiv 1906.09108. H. Zhuang, Z. Weng, F. Luo, K.-A. Toh, H. Li, Z. Lin, "Accumulated decoupled
    learning with gradient staleness mitigation for convolutional neural networks", ICML 2021. J. Peng, Y. Xu, Z. Lin,
    Z. Weng, Z. Yang, H. Zhuang, "Decoupled neural network training with re-computation and weight prediction", PLoS ONE
    18(2) e0276427, 2023. Z. Huo, B. Gu, Q. Yang, H. Huang, "Decoupled parallel backpropagation with convergence
    guarantee", ICML 2018.

    Examples
    --------
    >>> from sklearn.datasets import load_breast_cancer
    >>> from sklearn.model_selection import train_test_split
    >>> from sklearn_analytic import DecoupledMLPClassifier
    >>> X, X_test, y, y_test = train_test_split(*load_breast_cancer(return_X_y=True), random_state=0)
    >>> model = DecoupledMLPClassifier((64, 64), random_state=0).fit(X, y)
    >>> bool(model.score(X_test, y_test) > 0.95)
    True
    """

    def __init__(
        self,
        hidden_layer_sizes=(256, 256),
        *,
        schedule="auto",
        n_modules=2,
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
        output="softmax",
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
        class_weight=None,
        warm_start=False,
        random_state=None,
        device="cpu",
        precision="float32",
    ):
        store(self, locals())

    def _method(self):
        """What the parameters say, as a value."""
        return DecoupledTraining.of(self)


class DecoupledMLPRegressor(EpochRegressor):
    r"""Neural network in modules that train side by side, each on the error of an older batch, for numeric targets.

    Minimises half the mean squared error of standardised targets. Module k of K maps :math:`h_{k-1}` to
    :math:`h_k = f_k(h_{k-1}; \theta_k)`. While it forwards batch b, it sends back batch b - D_k,

    .. math:: g_k = \Big(\frac{\partial f_k}{\partial \theta_k}\Big)^T \beta\, \delta_{k+1} ,\qquad
        \theta_k \leftarrow \theta_k - \eta_k \sum_{M} g_k ,\qquad D_k = 2 (K - k) ,

    so that no module waits for another: modules work at the same time, on K threads or devices, and pay with gradients
    that are some updates old. docs/theory/decoupled.md has the schedules and what they cost.

    Parameters
    ----------
    hidden_layer_sizes : int or sequence of int, default=(256, 256)
        Units of the dense hidden layers (of the dense head, under convolutions); () is none.
    schedule : {"auto", "fdg", "ddg", "adl", "dtrp", "backprop"}, default="auto"
        Delay of module k = 1..K between its two passes over a batch. "fdg" (Zhuang et al. 2022) and "adl" (Zhuang et
        al. 2021; the same with ``accumulation_steps``): 2(K - k) batches. "ddg" (Huo et al. 2018): K - k, with a
        free-running forward pass. "dtrp" (Peng et al. 2023; its predictor is our reconstruction): as "fdg", with
        ``recompute`` and ``predictor``. "backprop": none; modules wait for each other. "auto" is the best that we
        measured: "ddg", above two modules with a ``predictor``. For two modules "fdg" and "ddg" are the same steps.
    n_modules : int, default=2
        Modules K, at most as many as layers (the output layer counts); 1 is backpropagation. Without hidden layers, 2
        is 1: there is one layer.
    module_layers : sequence of int or None, default=None
        Layers of every module, bottom to top, in place of ``n_modules``; None balances the modules' costs.
    balance : {"counted", "measured"}, default="counted"
        Costs of layers: operations, which are the same on every machine, or seconds measured before training, whose cut
        (``modules_``) may differ from run to run.
    operation_order : {"auto", "backward_first", "forward_first"}, default="auto"
        What a module with a delay does first in a step; "auto" is "forward_first" for "ddg" and else
        "backward_first", which saves one update of staleness. Backward first, "ddg" leaves no work to overlap.
    shrink : float, default=1.0
        Factor beta in (0, 1] of the error at every border between modules; it is applied to the learning rate under
        "adam" and "adamw", which no factor on a gradient changes.
    accumulation_steps : int, default=1
        Backward passes M per update: gradients are then at most ceil(delay / M) updates old.
    accumulation : {"sum", "mean"}, default="sum"
        Of the M gradients; the sum is as published. The penalty ``alpha`` counts once per update in either case.
    weight_version : {"stash", "current"}, default="stash"
        Weights of the backward pass: a copy of those that the batch's forward pass saw (the published formula), or
        those of now with the old activations (what the authors' code did).
    recompute : bool or "auto", default="auto"
        Whether a module with a delay keeps the inputs of batches on their way and runs forward again before it sends
        one back, at its weights of then; "auto" is True for "dtrp".
    predictor : {"auto", "velocity", "difference", "adam"} or None, default="auto"
        Weights that forward passes read: those expected when the batch comes back, by the optimiser's momentum, by the
        mean of past updates, or by Adam's step. "auto" is "velocity" with "sgd" and else "adam" for the schedules that
        predict ("dtrp", and "auto" above two modules), and None for all others.
    regulator : float, default=1.0
        Share of that horizon, from 0 to 1.
    batch_compensation : {"batch", "split"} or None, default=None
        What makes up for the second forward pass (reconstruction): batches a third larger, or fewer layers in the
        modules that run twice.
    module_rates : {"equal", "root", "inverse", "stability"}, default="equal"
        Factor of a module's learning rate whose gradients are s updates old in the mean: 1, 1 / sqrt(1 + s),
        1 / (1 + s), or the share of the stable rates that is left, sin(pi / (2 (2 s + 1))).
    drain : bool, default=True
        Whether the pipeline is emptied at the end of every epoch; as published it is not, and the last gradients of a
        fit are dropped. Blocks of a stream are always drained.
    executor : {"auto", "sequential", "threads", "cuda"}, default="auto"
        One thread in turns, a thread for each module, or one with a stream or a GPU of its own. Turns and threads give
        the same bits; "auto" takes threads where BLAS may use several and modules have work enough for them (all of
        torch do).
    activation : {"relu", "leaky_relu", "tanh", "logistic", "identity"}, default="relu"
        Activation of hidden layers.
    normalization : {"batch", "layer"} or None, default=None
        Normalisation of hidden layers (with torch), which tolerates older gradients; "batch" alone with
        ``image_shape``. Moving averages are updated once per batch.
    solver : {"adam", "adamw", "sgd"}, default="adam"
        Update rule; every module has its own.
    learning_rate_init : float, default=1e-3
        Largest learning rate; ``partial_fit`` keeps it constant.
    learning_rate : {"cosine", "constant", "step"}, default="cosine"
        Schedule of a fit; "step" divides by 10 after half and three quarters of it.
    warmup_fraction : float, default=0.0
        Share of the steps in which the rate rises linearly.
    momentum, nesterovs_momentum : float, bool, default=0.9, True
        Of "sgd".
    beta_1, beta_2, epsilon : float, default=0.9, 0.999, 1e-8
        Of "adam" and "adamw".
    alpha : float, default=0.0
        L2 penalty ``alpha / 2 ||W||^2`` of the mean loss; decoupled weight decay with "adamw".
    batch_size : int or "auto", default="auto"
        Rows per batch; "auto" is a fiftieth of the rows, within 16 and 128.
    max_iter : int or "auto", default="auto"
        Epochs; "auto" aims at 2000 batches within 30 to 200 epochs.
    early_stopping : bool, default=False
        Hold out ``validation_fraction`` of the rows and stop after ``n_iter_no_change`` epochs without a score better
        by ``tol``. The best weights are kept. ``X_val, y_val`` in ``fit`` are watched in any case.
    validation_fraction : float, default=0.1
        Share of the rows that is held out.
    n_iter_no_change : int or inf, default=10
        Patience, in epochs; infinity never stops early. With ``early_stopping`` it is patience with the score. Without,
        training ends where the training loss has not fallen by ``tol`` in more epochs than that in a row:
        scikit-learn's rule. A given ``max_iter`` is watched from the end of the warm-up; "auto" lets the learning rate
        fall to a tenth first, as larger steps keep a loss up that still falls with them.
    tol : float, default=1e-4
        Least gain of the score, or least fall of the training loss.
    image_shape : tuple of int or None, default=None
        (H, W) or (C, H, W) of rows that are flattened images: blocks of 3x3 convolution and 2x2 pooling come first.
    conv_layer_sizes : sequence of int or of sequences of int, default=(32, 64)
        Channels of the blocks; ((32, 32), (64, 64)) has two convolutions before each pooling.
    network : torch.nn.Sequential or None, default=None
        A network to train instead, from its own weights; it is copied. A plain Sequential without hooks or lazy
        layers, whose last layer gives raw outputs; Sequentials of another class inside count as one layer.
    input_encoding : {"auto", "standard", "robust", "quantile", "piecewise_linear"} or None, default="auto"
        How columns are restated. "auto" is "standard" for plain networks (one scale for all columns where there are
        many, non-negative and of one range, as pixels are), one scale per channel for images, one scale for given
        networks. ``partial_fit`` learns it from its first block.
    warm_start : bool, default=False
        Whether ``fit`` goes on from the weights of the last one.
    random_state : int, RandomState or None, default=None
        Seed of weights and order.
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
    modules_ : list of tuple of int
        Half-open ranges of layers, bottom to top.
    staleness_ : ndarray of shape (K,)
        Mean number of updates that a module took between the two passes of a batch, measured.
    weight_versions_ : ndarray of shape (K,)
        Most versions of a module's weights in memory at once.
    module_seconds_, utilisation_ : ndarray of shape (K,)
        Seconds that each module worked (on a GPU: launched its work), and their share of the time of training.
    module_activation_bytes_ : ndarray of shape (K,)
        Most bytes of activations that waited for backward passes at once.
    activation_bytes_ : dict
        Their sum as "stored" and "exact"; "shared" is 0.
    timeline_ : structured ndarray
        The last 600 operations of each module, after ``partial_fit`` those of the last block: module, kind ("forward",
        "backward", "update"), batch, begin and end in seconds, and the module's number of updates. See
        :class:`TimelineDisplay`.
    n_iter_ : int
        Epochs, of the last ``fit`` and the ``partial_fit`` calls after it.
    loss_, loss_curve_ : float, list of float
        Mean training loss of the last and of every epoch.
    validation_scores_, best_validation_score_ : list of float, float
        Scores of held-out rows, where there were any.
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
        If the loss becomes NaN or infinite; the estimator keeps the weights of the last good epoch.
    KeyboardInterrupt
        Is raised again; the estimator keeps the weights of the last whole epoch.
    RuntimeError
        Names the module, if one of them fails; the others are stopped, and the estimator is as it was.

    References
    ----------
    H. Zhuang, Y. Wang, Q. Liu, S. Zhang, Z. Lin, "Fully decoupled neural network learning using delayed gradients",
    IEEE TNNLS 2022, arXiv 1906.09108. H. Zhuang, Z. Weng, F. Luo, K.-A. Toh, H. Li, Z. Lin, "Accumulated decoupled
    learning with gradient staleness mitigation for convolutional neural networks", ICML 2021. J. Peng, Y. Xu, Z. Lin,
    Z. Weng, Z. Yang, H. Zhuang, "Decoupled neural network training with re-computation and weight prediction", PLoS ONE
    18(2) e0276427, 2023. Z. Huo, B. Gu, Q. Yang, H. Huang, "Decoupled parallel backpropagation with convergence
    guarantee", ICML 2018.

    Examples
    --------
    >>> from sklearn.datasets import make_friedman1
    >>> from sklearn.model_selection import train_test_split
    >>> from sklearn_analytic import DecoupledMLPRegressor
    >>> X, X_test, y, y_test = train_test_split(*make_friedman1(2000, random_state=0), random_state=0)
    >>> model = DecoupledMLPRegressor((64, 64), random_state=0).fit(X, y)
    >>> bool(model.score(X_test, y_test) > 0.9)
    True
    """

    def __init__(
        self,
        hidden_layer_sizes=(256, 256),
        *,
        schedule="auto",
        n_modules=2,
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
        store(self, locals())

    def _method(self):
        """What the parameters say, as a value."""
        return DecoupledTraining.of(self)
