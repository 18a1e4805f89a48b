"""Methods of every estimator that make models for other programs of what it says of itself in ``_computation()``."""

from sklearn.utils.validation import check_is_fitted


def to_sklearn(self):
    """Return a fitted estimator of scikit-learn itself with these weights and the same predictions.

    Linear models become ``Ridge``, ``LinearRegression``, ``RidgeClassifier`` or ``LogisticRegression``, plain
    networks ``MLPClassifier`` or ``MLPRegressor``. Scaling of inputs and targets and the temperature of
    probabilities are folded into the weights, which are float64. Public bounds, which clip, become a
    ``MinMaxScaler`` in a ``Pipeline``. Layers of "leaky_relu" or "triangle" units, and inputs that are handed past
    a layer of (leaky) ReLUs, are written as a few more ReLUs.

    Returns
    -------
    estimator : object
        Fitted. Where an output rule has no counterpart (see Warns), ``predict`` alone is the same. A column vector
        of targets is predicted by ``MLPRegressor`` as a vector.

    Raises
    ------
    NotImplementedError
        If scikit-learn has no such computation; the message says what is in the way.

    Warns
    -----
    UserWarning
        If ``predict_proba`` of the result is not that of this estimator: calibrated probabilities of a closed-form
        network, and output rules "linear" and "pow3gb".

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn_analytic import BRMPClassifier
    >>> X, y = load_iris(return_X_y=True)
    >>> model = BRMPClassifier(20, random_state=0).fit(X, y)
    >>> plain = model.to_sklearn()
    >>> type(plain).__name__, bool((plain.predict(X) == model.predict(X)).all())
    ('MLPClassifier', True)
    """
    from sklearn_analytic.export.to_sklearn import sklearn_model  # scikit-learn's models take time to import

    check_is_fitted(self)
    return sklearn_model(self, self._computation())


def to_onnx(self, path=None, *, dtype="float32"):
    """Return the fitted estimator as an ONNX model, which runs without Python.

    The model has one input "X" of any number of rows. Classifiers have the outputs "label" and "probabilities"
    (``BRMPClassifier``, which has none: "scores"), regressors "variable" of shape (n, n_targets), as skl2onnx names
    them. Needs the extra: ``pip install sklearn_analytic[onnx]``.

    Parameters
    ----------
    path : str or path-like, default=None
        Where to write the model, in one piece or not at all; None writes nothing.
    dtype : {"float32", "float64"}, default="float32"
        Dtype of the input, of probabilities and of predictions. Trees and readouts of closed-form networks are
        exact for float32 rows; scores of trees are rounded to float32 in either.

    Returns
    -------
    model : onnx.ModelProto
        The model: opset 18, and 3 of "ai.onnx.ml" where there are trees.

    Raises
    ------
    ImportError
        If onnx is not installed.
    NotImplementedError
        If a part of the estimator has no counterpart in ONNX, networks of torch for one.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn_analytic import ClosedFormMLP
    >>> model = ClosedFormMLP(20, random_state=0).fit(*load_iris(return_X_y=True))
    >>> [output.name for output in model.to_onnx().graph.output]  # doctest: +SKIP
    ['label', 'probabilities']
    """
    check_is_fitted(self)
    try:
        import onnx  # noqa: F401
    except ImportError as error:
        raise ImportError("to_onnx needs onnx: install sklearn_analytic[onnx].") from error
    from sklearn_analytic.export.onnx_model import onnx_model, write_model

    model = onnx_model(self, self._computation(), dtype)
    if path is not None:
        write_model(model, path)
    return model
