"""Direct feedback alignment as a classifier and as a regressor."""

from sklearn_analytic.estimator.base import store
from sklearn_analytic.estimator.epoch_estimator import EpochClassifier, EpochRegressor
from sklearn_analytic.feedback.method import DirectFeedback


class DFAClassifier(EpochClassifier):
    r"""Neural network trained by direct feedback alignment: the output error goes straight to every hidden layer.

    Minimises the mean cross-entropy (or another loss: ``output``). With :math:`h_l = f(h_{l-1} W_l + b_l)` and the
    output error :math:`e = p - y`,

    .. math:: D_L = e, \qquad D_l = (e B_l) \odot f'(z_l), \qquad \Delta W_l \propto -h_{l-1}^T D_l ,

    where backpropagation has :math:`D_{l+1} W_{l+1}^T` in place of :math:`e B_l`. The default feedback follows the
    weights, which was the best that we measured; every fixed and learned kind is a parameter.

    Parameters
    ----------
    hidden_layer_sizes : int or sequence of int, default=(256, 256)
        Units of the dense hidden layers (of the dense head, under convolutions or recurrences); () is none.
    scheme : {"auto", "dfa", "hybrid", "modular", "backprop"}, default="auto"
        Who gets which error. "dfa": every hidden layer a projection of the output error. "hybrid" (Han & Yoo 2019):
        hidden dense layers a projection, convolutions and recurrences the exact gradient of the first one's error.
        "modular" (Han et al. 2020, reconstruction): modules of ``module_size`` layers or time steps, exact errors at
        their borders, sparse feedback inside. "backprop": exact everywhere. "auto" is "dfa" for plain networks,
        "hybrid" for all others ("backprop" where these have no hidden dense layer).
    feedback : {"refresh", "random", "binary", "sparse", "product", "dkp", "learned"}, default="refresh"
        The matrices B. Drawn and fixed: "random" (Nokland 2016), "binary" (signs, kept as packed bits, added and
        subtracted), "sparse". From the weights: "product" of the initial ones, "refresh", the mean-field product
        :math:`B_{L-1} = W_L^T, B_l = (B_{l+1} \operatorname{diag} E[f'(z_{l+1})]) W_{l+1}^T` every
        ``refresh_interval`` steps. Learned: "dkp" (Kolen-Pollack), "learned" (forward-mode estimates).
    feedback_init : {"normal", "uniform", "zeros", "product", "sign_product"}, default="normal"
        First matrices of the drawn and learned kinds: normal of variance 1 / (C n), uniform in [-1, 1] / sqrt(n),
        zeros ("learned" as published), the product of the forward weights, or its signs (a reconstruction of
        Han & Yoo's initialisation from the forward weights).
    feedback_shared : bool, default=False
        One random matrix for all layers, sliced and rescaled by layer (Launay et al. 2019).
    feedback_density : float, default=0.1
        Share of non-zero entries of "sparse" feedback and of the sparse steps of "modular".
    feedback_scale : float, default=1.0
        Factor of fixed feedback; Adam makes it irrelevant.
    feedback_learning_rate : float, default=1e-4
        Rate of "dkp" and "learned".
    refresh_interval : int, default=20
        Steps between refreshes.
    module_size : int, default=2
        Layers (time steps, in a recurrent layer) of a module; 1 is backpropagation.
    activation : {"relu", "leaky_relu", "tanh", "logistic", "identity"}, default="relu"
        Activation of hidden layers.
    output : {"softmax", "linear", "expgb", "pow3gb"}, default="softmax"
        What raw outputs z mean, and the error e that is sent back: with one-hot targets t, :math:`e = o(z) - t`, and o
        the softmax (cross-entropy), z itself ("linear", half the squared error), :math:`0.1 e^z` ("expgb") or
        :math:`0.001 z^3` ("pow3gb"). The last three are not normalised; the rules are those of Oland et al. 2017, by a
        second-hand account (docs/theory/outputs.md). "pow3gb" has outputs of the size of 10.
    solver : {"adam", "adamw", "sgd"}, default="adam"
        Update rule.
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
    preconditioner : {"kfac"} or None, default=None
        Kronecker-factored preconditioning of the gradients (or of what feedback makes of them) before the solver.
    kfac_params : dict or None, default=None
        Any of damping (0.003), kl_clip (0.001), factor_decay (0.95), factor_interval (5), eigen_interval (25),
        milestones (epochs), interval_growth and damping_decay (factors at each of them).
    activation_bits : {4, 8} or None, default=None
        Bits of the copies of hidden activations that are kept for the backward pass; the forward pass and the slopes
        of rectifiers stay exact. ``activation_bytes_`` says what is stored. Made for "relu" and "leaky_relu": slopes of
        "tanh" and "logistic" are approximate in compiled networks, and keep their exact values, hence more bytes, in
        torch.
    tol_error : float or "auto", default="auto"
        Rows with an output error of smaller norm do not count in a step; 0 leaves out none. Compiled networks drop
        them before the backward products, unless low bits, K-FAC or learned feedback read the batch. "auto" is 0.01
        where that saves time with the default feedback (scheme "dfa", feedback "refresh", output "softmax"), else 0:
        all published modes see all rows.
    batch_size : int or "auto", default="auto"
        Rows per step; "auto" is a fiftieth of the rows, within 16 and 128.
    max_iter : int or "auto", default="auto"
        Epochs; "auto" aims at 2000 steps within 30 to 200 epochs.
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
        Channels of the blocks; ((32, 32), (64, 64)) has two convolutions before each pooling. Modules of "modular" end
        at poolings, so that sparse feedback between convolutions needs such blocks.
    batch_norm : bool, default=False
        Whether convolutions are normalised.
    recurrent_layer_sizes : int, sequence of int or None, default=None
        Units of recurrent tanh layers over rows that are flattened sequences.
    sequence_length : int or None, default=None
        Steps of a sequence.
    network : torch.nn.Sequential or None, default=None
        A network to train instead, from its own weights; it is copied. A plain Sequential without hooks or lazy
        layers, whose last layer gives raw outputs; Sequentials of another class inside count as one layer.
    alignment : bool, default=False
        Measure, every epoch, the cosine between what each hidden layer gets and its true gradient, on at most 512
        training rows (the mean over rows' errors in compiled networks, of the weights' gradient in torch), and warn
        of a bottleneck.
    input_encoding : {"auto", "standard", "robust", "quantile", "piecewise_linear"} or None, default="auto"
        How columns are restated. "auto" is "standard" for plain networks (one scale for all columns where there are
        many, non-negative and of one range, as pixels are), one scale per channel for images, one scale for sequences
        and given networks. ``partial_fit`` learns it from its first block.
    class_weight : dict, "balanced" or None, default=None
        Weights of classes; "balanced" needs all rows at once (``fit``).
        A dict that leaves classes out (they weigh 1) has no other keys, one that weighs every class may have further.
    warm_start : bool, default=False
        Whether ``fit`` goes on from the weights of the last one.
    distributed : bool or "entropy", default=False
        Every process of the initialised torch.distributed group calls ``fit`` with the same rows; each computes its
        share of every mini-batch, and the eigendecompositions of its layers. The result is that of one process, but
        for dropout and batch normalisation in a given network, which see their share. "entropy" sends gradients as
        entropy-coded symbols of few bits (with torch: ``device="torch:cpu"`` or a GPU).
        :func:`sklearn_analytic.distributed.data_parallel` starts the processes by itself.
    random_state : int, RandomState or None, default=None
        Seed of weights, feedback and order.
    device : str, default="cpu"
        "cpu" compiles plain networks; "cuda", "torch:cpu" and the like train with torch.
    precision : {"float32", "float64", "bfloat16"}, default="float32"
        Dtype of the weights; "bfloat16" multiplies in bfloat16 where the device has units for it, with float32 weights.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        Class labels.
    temperature_ : float
        Factor that divides the log-probabilities before they are normalised (the outputs, with "softmax" and "expgb"):
        of least log-loss on held-out rows, 1 without any.
    coefs_, intercepts_ : list of ndarray
        Weights (n_in, n_out) and biases of plain networks; training goes on from what is written into them.
    network_state_ : dict of ndarray
        Parameters and buffers of all other networks.
    n_iter_ : int
        Epochs, of the last ``fit`` and the ``partial_fit`` calls after it.
    loss_, loss_curve_ : float, list of float
        Mean training loss of the last and of every epoch.
    validation_scores_, best_validation_score_ : list of float, float
        Scores of held-out rows, where there were any.
    alignment_ : ndarray of shape (n_epochs, n_hidden)
        Mean cosine to the true gradient, with ``alignment=True``.
    activation_bytes_ : dict
        Bytes of hidden activations of one batch: "stored", "shared" (work buffers) and "exact" (in full precision).
    communication_ : dict
        What torch's processes sent, with ``distributed``: see :class:`sklearn_analytic.distributed.DataParallel`.
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

    References
    ----------
    A. Nokland, "Direct feedback alignment provides learning in deep neural networks", NeurIPS 2016. D. Han, H.-J. Yoo,
    "Direct feedback alignment based convolutional neural network training for low-power online learning processor",
    ICCVW 2019, arXiv 1901.01986. D. Han et al., "Extension of direct feedback alignment to convolutional and recurrent
    neural network for bio-plausible deep learning", arXiv 2006.12830. J. Launay et al., "Principled training of neural
    networks with direct feedback alignment", arXiv 1906.04554. J. G. Pauloski et al., "Convolutional neural network
    training with distributed K-FAC", arXiv 2007.00784. A. Chakrabarti, B. Moseley, "Backprop with approximate
    activations for memory-efficient network training", arXiv 1901.07988. A. Oland et al., "Be careful what you
    backpropagate: a case for linear output activations & gradient boosting", arXiv 1707.04199.

    Examples
    --------
    >>> from sklearn.datasets import load_breast_cancer
    >>> from sklearn.model_selection import train_test_split
    >>> from sklearn_analytic import DFAClassifier
    >>> X, X_test, y, y_test = train_test_split(*load_breast_cancer(return_X_y=True), random_state=0)
    >>> model = DFAClassifier((64, 64), random_state=0).fit(X, y)
    >>> bool(model.score(X_test, y_test) > 0.95)
    True
    """

    def __init__(
        self,
        hidden_layer_sizes=(256, 256),
        *,
        scheme="auto",
        feedback="refresh",
        feedback_init="normal",
        feedback_shared=False,
        feedback_density=0.1,
        feedback_scale=1.0,
        feedback_learning_rate=1e-4,
        refresh_interval=20,
        module_size=2,
        activation="relu",
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
        preconditioner=None,
        kfac_params=None,
        activation_bits=None,
        tol_error="auto",
        batch_size="auto",
        max_iter="auto",
        early_stopping=False,
        validation_fraction=0.1,
        n_iter_no_change=10,
        tol=1e-4,
        image_shape=None,
        conv_layer_sizes=(32, 64),
        batch_norm=False,
        recurrent_layer_sizes=None,
        sequence_length=None,
        network=None,
        alignment=False,
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
        return DirectFeedback.of(self)


class DFARegressor(EpochRegressor):
    r"""Neural network trained by direct feedback alignment: the output error goes straight to every hidden layer.

    Minimises half the mean squared error of standardised targets. With :math:`h_l = f(h_{l-1} W_l + b_l)` and the
    output error :math:`e = \hat y - y`,

    .. math:: D_L = e, \qquad D_l = (e B_l) \odot f'(z_l), \qquad \Delta W_l \propto -h_{l-1}^T D_l ,

    where backpropagation has :math:`D_{l+1} W_{l+1}^T` in place of :math:`e B_l`. The default feedback follows the
    weights, which was the best that we measured; every fixed and learned kind is a parameter.

    Parameters
    ----------
    hidden_layer_sizes : int or sequence of int, default=(256, 256)
        Units of the dense hidden layers (of the dense head, under convolutions or recurrences); () is none.
    scheme : {"auto", "dfa", "hybrid", "modular", "backprop"}, default="auto"
        Who gets which error. "dfa": every hidden layer a projection of the output error. "hybrid" (Han & Yoo 2019):
        hidden dense layers a projection, convolutions and recurrences the exact gradient of the first one's error.
        "modular" (Han et al. 2020, reconstruction): modules of ``module_size`` layers or time steps, exact errors at
        their borders, sparse feedback inside. "backprop": exact everywhere. "auto" is "dfa" for plain networks,
        "hybrid" for all others ("backprop" where these have no hidden dense layer).
    feedback : {"refresh", "random", "binary", "sparse", "product", "dkp", "learned"}, default="refresh"
        The matrices B. Drawn and fixed: "random" (Nokland 2016), "binary" (signs, kept as packed bits, added and
        subtracted), "sparse". From the weights: "product" of the initial ones, "refresh", the mean-field product
        :math:`B_{L-1} = W_L^T, B_l = (B_{l+1} \operatorname{diag} E[f'(z_{l+1})]) W_{l+1}^T` every
        ``refresh_interval`` steps. Learned: "dkp" (Kolen-Pollack), "learned" (forward-mode estimates).
    feedback_init : {"normal", "uniform", "zeros", "product", "sign_product"}, default="normal"
        First matrices of the drawn and learned kinds: normal of variance 1 / (C n), uniform in [-1, 1] / sqrt(n),
        zeros ("learned" as published), the product of the forward weights, or its signs (a reconstruction of
        Han & Yoo's initialisation from the forward weights).
    feedback_shared : bool, default=False
        One random matrix for all layers, sliced and rescaled by layer (Launay et al. 2019).
    feedback_density : float, default=0.1
        Share of non-zero entries of "sparse" feedback and of the sparse steps of "modular".
    feedback_scale : float, default=1.0
        Factor of fixed feedback; Adam makes it irrelevant.
    feedback_learning_rate : float, default=1e-4
        Rate of "dkp" and "learned".
    refresh_interval : int, default=20
        Steps between refreshes.
    module_size : int, default=2
        Layers (time steps, in a recurrent layer) of a module; 1 is backpropagation.
    activation : {"relu", "leaky_relu", "tanh", "logistic", "identity"}, default="relu"
        Activation of hidden layers.
    solver : {"adam", "adamw", "sgd"}, default="adam"
        Update rule.
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
    preconditioner : {"kfac"} or None, default=None
        Kronecker-factored preconditioning of the gradients (or of what feedback makes of them) before the solver.
    kfac_params : dict or None, default=None
        Any of damping (0.003), kl_clip (0.001), factor_decay (0.95), factor_interval (5), eigen_interval (25),
        milestones (epochs), interval_growth and damping_decay (factors at each of them).
    activation_bits : {4, 8} or None, default=None
        Bits of the copies of hidden activations that are kept for the backward pass; the forward pass and the slopes
        of rectifiers stay exact. ``activation_bytes_`` says what is stored. Made for "relu" and "leaky_relu": slopes of
        "tanh" and "logistic" are approximate in compiled networks, and keep their exact values, hence more bytes, in
        torch.
    tol_error : float or "auto", default="auto"
        Rows with an output error of smaller norm do not count in a step; 0 leaves out none. Compiled networks drop
        them before the backward products, unless low bits, K-FAC or learned feedback read the batch. "auto" is 0.01
        where that saves time with the default feedback (scheme "dfa", feedback "refresh"), else 0: all published
        modes see all rows.
    batch_size : int or "auto", default="auto"
        Rows per step; "auto" is a fiftieth of the rows, within 16 and 128.
    max_iter : int or "auto", default="auto"
        Epochs; "auto" aims at 2000 steps within 30 to 200 epochs.
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
        Channels of the blocks; ((32, 32), (64, 64)) has two convolutions before each pooling. Modules of "modular" end
        at poolings, so that sparse feedback between convolutions needs such blocks.
    batch_norm : bool, default=False
        Whether convolutions are normalised.
    recurrent_layer_sizes : int, sequence of int or None, default=None
        Units of recurrent tanh layers over rows that are flattened sequences.
    sequence_length : int or None, default=None
        Steps of a sequence.
    network : torch.nn.Sequential or None, default=None
        A network to train instead, from its own weights; it is copied. A plain Sequential without hooks or lazy
        layers, whose last layer gives raw outputs; Sequentials of another class inside count as one layer.
    alignment : bool, default=False
        Measure, every epoch, the cosine between what each hidden layer gets and its true gradient, on at most 512
        training rows (the mean over rows' errors in compiled networks, of the weights' gradient in torch), and warn
        of a bottleneck.
    input_encoding : {"auto", "standard", "robust", "quantile", "piecewise_linear"} or None, default="auto"
        How columns are restated. "auto" is "standard" for plain networks (one scale for all columns where there are
        many, non-negative and of one range, as pixels are), one scale per channel for images, one scale for sequences
        and given networks. ``partial_fit`` learns it from its first block.
    warm_start : bool, default=False
        Whether ``fit`` goes on from the weights of the last one.
    distributed : bool or "entropy", default=False
        Every process of the initialised torch.distributed group calls ``fit`` with the same rows; each computes its
        share of every mini-batch, and the eigendecompositions of its layers. The result is that of one process, but
        for dropout and batch normalisation in a given network, which see their share. "entropy" sends gradients as
        entropy-coded symbols of few bits (with torch: ``device="torch:cpu"`` or a GPU).
        :func:`sklearn_analytic.distributed.data_parallel` starts the processes by itself.
    random_state : int, RandomState or None, default=None
        Seed of weights, feedback and order.
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
    n_iter_ : int
        Epochs, of the last ``fit`` and the ``partial_fit`` calls after it.
    loss_, loss_curve_ : float, list of float
        Mean training loss of the last and of every epoch.
    validation_scores_, best_validation_score_ : list of float, float
        Scores of held-out rows, where there were any.
    alignment_ : ndarray of shape (n_epochs, n_hidden)
        Mean cosine to the true gradient, with ``alignment=True``.
    activation_bytes_ : dict
        Bytes of hidden activations of one batch: "stored", "shared" (work buffers) and "exact" (in full precision).
    communication_ : dict
        What torch's processes sent, with ``distributed``: see :class:`sklearn_analytic.distributed.DataParallel`.
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

    References
    ----------
    A. Nokland, "Direct feedback alignment provides learning in deep neural networks", NeurIPS 2016. D. Han, H.-J. Yoo,
    "Direct feedback alignment based convolutional neural network training for low-power online learning processor",
    ICCVW 2019, arXiv 1901.01986. D. Han et al., "Extension of direct feedback alignment to convolutional and recurrent
    neural network for bio-plausible deep learning", arXiv 2006.12830. J. Launay et al., "Principled training of neural
    networks with direct feedback alignment", arXiv 1906.04554. J. G. Pauloski et al., "Convolutional neural network
    training with distributed K-FAC", arXiv 2007.00784. A. Chakrabarti, B. Moseley, "Backprop with approximate
    activations for memory-efficient network training", arXiv 1901.07988.

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from sklearn.model_selection import train_test_split
    >>> from sklearn_analytic import DFARegressor
    >>> X, X_test, y, y_test = train_test_split(*load_diabetes(return_X_y=True), random_state=0)
    >>> model = DFARegressor((32,), early_stopping=True, random_state=0).fit(X, y)
    >>> bool(model.score(X_test, y_test) > 0.3)
    True
    """

    def __init__(
        self,
        hidden_layer_sizes=(256, 256),
        *,
        scheme="auto",
        feedback="refresh",
        feedback_init="normal",
        feedback_shared=False,
        feedback_density=0.1,
        feedback_scale=1.0,
        feedback_learning_rate=1e-4,
        refresh_interval=20,
        module_size=2,
        activation="relu",
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
        preconditioner=None,
        kfac_params=None,
        activation_bits=None,
        tol_error="auto",
        batch_size="auto",
        max_iter="auto",
        early_stopping=False,
        validation_fraction=0.1,
        n_iter_no_change=10,
        tol=1e-4,
        image_shape=None,
        conv_layer_sizes=(32, 64),
        batch_norm=False,
        recurrent_layer_sizes=None,
        sequence_length=None,
        network=None,
        alignment=False,
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
        return DirectFeedback.of(self)
