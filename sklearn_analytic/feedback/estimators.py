"""Direct feedback alignment as a classifier and as a regressor."""

from sklearn_analytic.estimator.epoch_estimator import EpochClassifier, EpochRegressor
from sklearn_analytic.estimator.texts import (
    FITTED_CLASSES,
    FITTED_COLUMNS,
    FITTED_TRAINING,
    FITTED_WEIGHTS,
    NETWORK,
    RAISES,
    WARNS,
    documented,
)
from sklearn_analytic.estimator.value import store
from sklearn_analytic.feedback.method import DirectFeedback

OWN = """
learning_rate_init : float > 0 or "auto"
    Largest learning rate. "auto" follows the length of a fit in plain networks with Adam: .003 for 30 epochs of batches
    of 128 and up to 4000 steps, less for more epochs or steps (as 1 / epochs, 1 / sqrt(steps)) and for smaller batches
    (as sqrt(batch)), at least .001; constant .003 in ``partial_fit``; .001 in other networks and with "sgd"; .3 in
    fits with "sgd" behind K-FAC.
scheme : {"auto", "dfa", "hybrid", "modular", "backprop"}
    Who gets which error. "dfa": every hidden layer a projection of the output error. "hybrid" (Han & Yoo 2019):
    hidden dense layers a projection, convolutions and recurrences the exact gradient of the first one's error.
    "modular" (Han et al. 2020, reconstruction): modules of some layers or time steps, exact errors at their borders,
    sparse feedback inside. "backprop": exact everywhere. "auto" is "dfa" for plain networks, "hybrid" for all others
    ("backprop" where these have no hidden dense layer).
feedback : {"refresh", "random", "binary", "sparse", "product", "dkp", "learned"} or Feedback
    The matrices B. "refresh" follows the weights, which was the best that we measured; "random", "binary" and "sparse"
    are drawn and fixed, or follow the weights too, "product" is that of the initial weights, "dkp" and "learned" are
    learned. :class:`Feedback` says how they begin, when they are renewed, which rows count, and whether their alignment
    with the true gradient is measured.
activation : {"relu", "leaky_relu", "tanh", "logistic", "identity"} or ApproximateActivation
    Activation of hidden layers. :class:`ApproximateActivation` keeps 4 or 8 bits of it for the backward pass.
preconditioner : {"kfac"}, KFAC or None
    Kronecker-factored preconditioning of the gradients (or of what feedback makes of them) before the solver: best
    with ``SGD(ema_decay=0.9)``, ``alpha=0.003`` and ``batch_size=256``.
"""

OWN_FITTED = """
alignment_ : ndarray of shape (n_epochs, n_hidden)
    Mean cosine to the true gradient, with ``Feedback(alignment=True)``.
communication_ : dict
    What torch's processes sent, with ``Device(distributed=...)``: see
    :class:`sklearn_analytic.distributed.DataParallel`.
"""

FITTED = FITTED_WEIGHTS + FITTED_TRAINING + OWN_FITTED + FITTED_COLUMNS


@documented(parameters=NETWORK + OWN, attributes=FITTED_CLASSES + FITTED, warns=WARNS, raises=RAISES)
class DFAClassifier(EpochClassifier):
    r"""Neural network trained by direct feedback alignment: the output error goes straight to every hidden layer.

    Minimises the mean cross-entropy (or another loss: ``output``). With :math:`h_l = f(h_{l-1} W_l + b_l)` and the
    output error :math:`e = p - y`,

    .. math:: D_L = e, \qquad D_l = (e B_l) \odot f'(z_l), \qquad \Delta W_l \propto -h_{l-1}^T D_l ,

    where backpropagation has :math:`D_{l+1} W_{l+1}^T` in place of :math:`e B_l`. The default feedback follows the
    weights, which was the best that we measured; every fixed and learned kind is a parameter.

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
    >>> bool(model.score(X_test, y_test) > 0.93)
    True
    """

    _kind_of_method = DirectFeedback

    def __init__(
        self,
        hidden_layer_sizes=(256, 256),
        *,
        scheme="auto",
        feedback="refresh",
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
        preconditioner=None,
        input_encoding="auto",
        categorical_features="from_dtype",
        class_weight=None,
        device="cpu",
    ):
        store(self, locals())


@documented(parameters=NETWORK + OWN, attributes=FITTED, warns=WARNS, raises=RAISES)
class DFARegressor(EpochRegressor):
    r"""Neural network trained by direct feedback alignment: the output error goes straight to every hidden layer.

    Minimises half the mean squared error of standardised targets. With :math:`h_l = f(h_{l-1} W_l + b_l)` and the
    output error :math:`e = \hat y - y`,

    .. math:: D_L = e, \qquad D_l = (e B_l) \odot f'(z_l), \qquad \Delta W_l \propto -h_{l-1}^T D_l ,

    where backpropagation has :math:`D_{l+1} W_{l+1}^T` in place of :math:`e B_l`. The default feedback follows the
    weights, which was the best that we measured; every fixed and learned kind is a parameter.

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
    See :class:`DFAClassifier`.

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

    _kind_of_method = DirectFeedback

    def __init__(
        self,
        hidden_layer_sizes=(256, 256),
        *,
        scheme="auto",
        feedback="refresh",
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
        preconditioner=None,
        input_encoding="auto",
        categorical_features="from_dtype",
        device="cpu",
    ):
        store(self, locals())
