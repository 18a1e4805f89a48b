"""Decoupled training as a classifier and as a regressor."""

from sklearn_analytic.decoupled.method import DecoupledTraining
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

OWN = """
schedule : {"auto", "fdg", "ddg", "adl", "dtrp", "backprop"}
    Delay of module k = 1..K between its two passes over a batch. "fdg" (Zhuang et al. 2022) and "adl" (Zhuang et
    al. 2021; the same with ``accumulation_steps``): 2(K - k) batches. "ddg" (Huo et al. 2018): K - k, with a
    free-running forward pass. "dtrp" (Peng et al. 2023; its predictor is our reconstruction): as "fdg", with
    ``recompute`` and ``predictor``. "backprop": none; modules wait for each other. "auto" is the best that we
    measured: "ddg", above two modules with a ``predictor``. For two modules "fdg" and "ddg" are the same steps.
n_modules : int
    Modules K, at most as many as layers (the output layer counts); 1 is backpropagation. Without hidden layers, 2
    is 1: there is one layer.
pipeline : PipelineRule or None
    How the network is cut, how gradients wait for each other, and who computes; None is ``PipelineRule()``.
solver : {"adam", "adamw", "sgd"}, Adam, AdamW or SGD
    Update rule; every module has its own. :class:`Adam`, :class:`AdamW` and :class:`SGD` hold its constants, and a
    warm-up.
device : str or Device
    "cpu" compiles plain networks; "cuda", "torch:cpu" and the like train with torch. :class:`Device` holds the
    precision.
"""

OWN_FITTED = """
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
    The sum of ``module_activation_bytes_`` as "stored" and "exact"; "shared" is 0.
timeline_ : structured ndarray
    The last 600 operations of each module, after ``partial_fit`` those of the last block: module, kind ("forward",
    "backward", "update"), batch, begin and end in seconds, and the module's number of updates. See
    :class:`TimelineDisplay`.
"""

OWN_RAISES = """
FloatingPointError
    If the loss becomes NaN or infinite; the estimator keeps the weights of the last good epoch.
KeyboardInterrupt
    Is raised again; the estimator keeps the weights of the last whole epoch.
RuntimeError
    Names the module, if one of them fails; the others are stopped, and the estimator is as it was.
"""

FITTED = FITTED_WEIGHTS + FITTED_TRAINING + OWN_FITTED + FITTED_COLUMNS


@documented(parameters=NETWORK + OWN, attributes=FITTED_CLASSES + FITTED, warns=WARNS, raises=OWN_RAISES)
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

    _kind_of_method = DecoupledTraining

    def __init__(
        self,
        hidden_layer_sizes=(256, 256),
        *,
        schedule="auto",
        n_modules=2,
        activation="relu",
        solver="adam",
        learning_rate_init=1e-3,
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
        pipeline=None,
        input_encoding="auto",
        categorical_features="from_dtype",
        class_weight=None,
        device="cpu",
    ):
        store(self, locals())


@documented(parameters=NETWORK + OWN, attributes=FITTED, warns=WARNS, raises=OWN_RAISES)
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
    See :class:`DecoupledMLPClassifier`.

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

    _kind_of_method = DecoupledTraining

    def __init__(
        self,
        hidden_layer_sizes=(256, 256),
        *,
        schedule="auto",
        n_modules=2,
        activation="relu",
        solver="adam",
        learning_rate_init=1e-3,
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
        pipeline=None,
        input_encoding="auto",
        categorical_features="from_dtype",
        device="cpu",
    ):
        store(self, locals())
