"""Fitted models of scikit-learn itself, made of the weights of a computation."""

import numpy as np
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge, RidgeClassifier
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import LabelBinarizer, MinMaxScaler

from sklearn_analytic.backend._warn_user import warn_user
from sklearn_analytic.export.computation import ROWS, Classes, LabelSet, Numbers, Rule, Step
from sklearn_analytic.export.dense_chain import NotExpressible, dense_chain
from sklearn_analytic.features import InputEncoding
from sklearn_analytic.features._public_scale import PublicScale

_SOFTMAX = ("softmax", "expgb")  # rules under which probabilities are the softmax of the outputs


def sklearn_model(estimator, computation):
    """Return the fitted counterpart of an estimator; NotImplementedError names what has none."""
    if estimator._table is not None and not estimator._table.is_plain:
        raise NotImplementedError(
            f"to_sklearn: this {type(estimator).__name__} reads categories or missing values, which no counterpart "
            "does. Use to_onnx to run it elsewhere, or pickle, joblib or skops to keep it."
        )
    clipping, computation = _without_bounds(computation)
    try:
        chain = dense_chain(computation, estimator.n_features_in_)
    except NotExpressible as missing:
        name = type(estimator).__name__
        raise NotImplementedError(
            f"to_sklearn: this {name} computes with {missing}, which no estimator of scikit-learn does. "
            "Use to_onnx to run it elsewhere, or pickle, joblib or skops to keep it."
        ) from None
    _warn_of_probabilities(estimator, computation.head)
    model = _BUILD[type(computation.head), len(chain.layers) == 1](chain, computation.head, estimator)
    if clipping is None:
        return _with_features(model, estimator)
    scaler = _with_features(_scaler(clipping), estimator)
    model.n_features_in_ = estimator.n_features_in_
    return make_pipeline(scaler, model)


def _without_bounds(computation):
    """Split a clipping of columns off: scikit-learn's scaler does that; what it leaves out is scaled by 0."""
    first = computation.steps[0].value if computation.steps else None
    if type(first) is not PublicScale or first.bounds is None:
        return None, computation
    low, high = first.bounds
    ones = np.ones(len(low))
    varies = InputEncoding(np.arange(len(low)), 0 * ones, 1.0 * (high > low), 0, 0, ones, 0 * ones, False)
    fields = {**computation.__dict__, "steps": (Step(varies, ROWS), *computation.steps[1:])}
    return first.bounds, type(computation)(**fields)


def _scaler(bounds):
    """A scaler that clips to the bounds and maps them onto [-1, 1]."""
    return MinMaxScaler((-1, 1), clip=True).fit(np.stack(bounds))


def _warn_of_probabilities(estimator, head):
    """Say where labels are the same and probabilities are not."""
    links = (head.link,) if type(head) is Classes else getattr(head, "links", ())
    same = all(link is None or (type(link) is Rule and link.output in _SOFTMAX) for link in links)
    if not same:
        warn_user(
            f"to_sklearn: labels of the result are those of {type(estimator).__name__}, but its probabilities, if it "
            "has any, are not: scikit-learn has no such calibration. to_onnx keeps them."
        )


# ---- linear models ----


def _linear_regressor(chain, head, estimator):
    """Ridge where the estimator was one, least squares otherwise."""
    (weights, bias), alpha = chain.layers[-1], getattr(estimator, "alpha_", None)
    model = LinearRegression() if alpha is None else Ridge(alpha=alpha)
    model.coef_ = weights[:, 0].copy() if head.one_dimensional else weights.T.copy()
    model.intercept_ = float(bias[0]) if head.one_dimensional else bias.copy()
    model.n_iter_ = None
    return model


def _linear_classifier(chain, head, estimator):
    """Logistic regression where probabilities are those of a softmax, else a classifier that has none."""
    weights, bias = _scores(chain, head)
    if type(head.link) is Rule and head.link.output in _SOFTMAX:
        model = LogisticRegression()
        model.classes_, model.n_iter_ = head.labels, np.zeros(1, np.int32)
    else:
        model = _ridge_classifier(head.labels, float(getattr(estimator, "alpha_", 1.0)))
    model.coef_, model.intercept_ = weights.T.copy(), bias.copy()
    return model


def _linear_labels(chain, head, estimator):
    """A linear score per label, positive where the label holds."""
    weights, bias = chain.layers[-1]
    model = _ridge_classifier(_none_and_all(len(bias)), 1.0)
    model.coef_, model.intercept_ = weights.T.copy(), bias - 0.5
    return model


def _ridge_classifier(labels, alpha):
    """A classifier that has met these labels, on rows that do not matter: where it keeps them is its own affair."""
    return RidgeClassifier().fit(np.eye(len(labels)), labels).set_params(alpha=alpha)


# ---- networks ----


def _network_regressor(chain, head, estimator):
    """Outputs as they are."""
    return _network(MLPRegressor, chain, chain.layers[-1], "identity", estimator)


def _network_classifier(chain, head, estimator):
    """One logistic output for two classes, a softmax for more."""
    last = _scores(chain, head)
    model = _network(MLPClassifier, chain, last, "softmax" if len(last[1]) > 1 else "logistic", estimator)
    model._label_binarizer = LabelBinarizer().fit(head.labels)
    model.classes_ = head.labels
    return model


def _network_labels(chain, head, estimator):
    """A logistic output per label, above one half where the label holds."""
    weights, bias = chain.layers[-1]
    model = _network(MLPClassifier, chain, (weights, bias - 0.5), "logistic", estimator)
    model._label_binarizer = LabelBinarizer().fit(_none_and_all(len(bias)))
    model.classes_ = model._label_binarizer.classes_
    return model


def _network(kind, chain, last, out_activation, estimator):
    """A network with given layers, and whatever scikit-learn's own would know after its fit."""
    layers = (*chain.layers[:-1], last)
    model = kind(tuple(len(bias) for _, bias in layers[:-1]), activation=chain.activation)
    model.coefs_, model.intercepts_ = [weights.copy() for weights, _ in layers], [bias.copy() for _, bias in layers]
    model.n_layers_, model.n_outputs_, model.out_activation_ = len(layers) + 1, len(last[1]), out_activation
    model.loss_curve_ = [float(loss) for loss in getattr(estimator, "loss_curve_", [])]
    model.loss_ = model.loss_curve_[-1] if model.loss_curve_ else np.nan
    model.best_loss_ = min(model.loss_curve_, default=np.inf)
    model.n_iter_ = len(model.loss_curve_)
    model.t_, model.validation_scores_, model.best_validation_score_, model._no_improvement_count = 0, None, None, 0
    return model


# ---- what both share ----


def _scores(chain, head):
    """The last layer as scores of classes; for two classes that of the second less that of the first."""
    weights, bias = chain.layers[-1]
    if len(head.labels) < 2:
        raise NotImplementedError(
            f"to_sklearn: the classifier has met one class so far, {head.labels.tolist()[0]!r}; scikit-learn needs two."
        )
    if type(head.link) is Rule:
        weights, bias = weights / head.link.temperature, bias / head.link.temperature
    if len(head.labels) > 2:
        return weights, bias
    return weights[:, 1:] - weights[:, :1], bias[1:] - bias[:1]


def _none_and_all(n_labels):
    """Two rows of labels, by which scikit-learn knows their number."""
    return np.vstack([np.zeros(n_labels, int), np.ones(n_labels, int)])


def _with_features(model, estimator):
    """Record the columns that the estimator has read."""
    model.n_features_in_ = estimator.n_features_in_
    names = getattr(estimator, "feature_names_in_", None)
    if names is not None:
        model.feature_names_in_ = names.copy()
    return model


# {(what outputs are, whether there is no hidden layer): how the model is built}
_BUILD = {
    (Numbers, True): _linear_regressor,
    (Numbers, False): _network_regressor,
    (Classes, True): _linear_classifier,
    (Classes, False): _network_classifier,
    (LabelSet, True): _linear_labels,
    (LabelSet, False): _network_labels,
}
