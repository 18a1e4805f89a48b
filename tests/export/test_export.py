"""Exports to scikit-learn: the same predictions from its own estimators, and clear words where there are none."""

import pickle
import warnings

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits, load_iris
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge, RidgeClassifier
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_is_fitted

from sklearn_analytic import (
    BRMPClassifier,
    BRMPRegressor,
    ClosedFormMLP,
    ClosedFormMLPRegressor,
    CPNetClassifier,
    DecoupledMLPClassifier,
    DecoupledMLPRegressor,
    DenseNetwork,
    Device,
    DFAClassifier,
    DFARegressor,
    ImageNetwork,
    LayerwiseMLP,
    LayerwiseMLPRegressor,
    Partitions,
    PrivateDFAClassifier,
)

SEED = {"random_state": 0}
SHORT = {"max_iter": 5, **SEED}
STEPPED = {"input_encoding": "standard", **SEED}


def _fitted(estimator, data):
    """A fit; warnings about short training and tiny data are not this file's subject."""
    X, y = data
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return estimator.fit(X, y)


def _named(data):
    """The data with words for classes."""
    X, y = data
    return X, np.array(["nought", "one", "two", "three", "4", "5", "6", "7", "8", "nine"])[y]


IRIS, CANCER = load_iris(return_X_y=True), load_breast_cancer(return_X_y=True)
DIABETES, DIGITS = load_diabetes(return_X_y=True), load_digits(return_X_y=True)
SEVERAL = (DIABETES[0], np.column_stack([DIABETES[1], 1e4 - DIABETES[1] ** 2]))
COLUMN = (DIABETES[0], DIABETES[1][:, None])
LABELS = (IRIS[0], np.column_stack([IRIS[1] == 1, IRIS[0][:, 0] > 6]).astype(int))

CLASSIFIERS = [
    (BRMPClassifier(), IRIS, RidgeClassifier),
    (BRMPClassifier(), _named(CANCER), RidgeClassifier),
    (BRMPClassifier(30, **SEED), _named(DIGITS), MLPClassifier),
    (BRMPClassifier((20, 10), activation="relu", alpha=0.1, **SEED), CANCER, MLPClassifier),
    (BRMPClassifier(20, activation="triangle", alpha=0.1, **SEED), IRIS, MLPClassifier),
    (DFAClassifier(20, **SHORT), _named(DIGITS), MLPClassifier),
    (DFAClassifier((20, 10), activation="tanh", early_stopping=True, **SHORT), CANCER, MLPClassifier),
    (DFAClassifier(20, activation="leaky_relu", output="expgb", **SHORT), IRIS, MLPClassifier),
    (
        DFAClassifier(20, activation="logistic", device=Device(precision="float64"), **SHORT),
        _named(CANCER),
        MLPClassifier,
    ),
    (DFAClassifier((), scheme="backprop", **SHORT), _named(CANCER), LogisticRegression),
    (DFAClassifier((), scheme="backprop", input_encoding=None, **SHORT), IRIS, LogisticRegression),
    (LayerwiseMLP((20, 20), **SHORT), DIGITS, MLPClassifier),
    (LayerwiseMLP((20, 20), network=DenseNetwork(readout="trained"), **SHORT), DIGITS, MLPClassifier),
    (DFAClassifier((20, 10), network=DenseNetwork(readout="all_layers"), **SHORT), CANCER, MLPClassifier),
    (DecoupledMLPClassifier((20, 20), early_stopping=True, **SHORT), DIGITS, MLPClassifier),
    (PrivateDFAClassifier(20, epsilon=50.0, data_norm=None, max_iter=2), CANCER, Pipeline),
]
LABELS_ALONE = [
    (DFAClassifier(20, output="linear", **SHORT), CANCER, MLPClassifier),
    (LayerwiseMLP((20, 20), partitions=Partitions(refit_head=True), **SHORT), IRIS, MLPClassifier),
    (ClosedFormMLP((20, 10), hidden="sampled", activation="relu", **STEPPED), CANCER, MLPClassifier),
    (ClosedFormMLP(20, hidden="inverse", activation="identity", **STEPPED), IRIS, MLPClassifier),
    (ClosedFormMLP((15, 10), hidden="random", activation="relu", **STEPPED), LABELS, MLPClassifier),
    (
        CPNetClassifier(20, encoding="class", skip=False, exit="last", alpha=1.0, activation="tanh", **SEED),
        (1.0 * (DIGITS[0] > 7), DIGITS[1]),
        MLPClassifier,
    ),
]
REGRESSORS = [
    (BRMPRegressor(), DIABETES, Ridge),
    (BRMPRegressor(alpha=1.0), COLUMN, Ridge),
    (BRMPRegressor(alpha=1.0), SEVERAL, Ridge),
    (BRMPRegressor((20, 10), **SEED), DIABETES, MLPRegressor),
    (BRMPRegressor(20, activation="identity", alpha=1.0, **SEED), SEVERAL, MLPRegressor),
    (DFARegressor(20, **SHORT), SEVERAL, MLPRegressor),
    (DFARegressor((), scheme="backprop", **SHORT), DIABETES, LinearRegression),
    (LayerwiseMLPRegressor((20, 20), **SHORT), DIABETES, MLPRegressor),
    (LayerwiseMLPRegressor((20, 20), network=DenseNetwork(readout="trained"), **SHORT), DIABETES, MLPRegressor),
    (DecoupledMLPRegressor((20, 20), **SHORT), SEVERAL, MLPRegressor),
    (ClosedFormMLPRegressor((20, 10), hidden="sampled", activation="relu", **STEPPED), SEVERAL, MLPRegressor),
]


def _names(rows):
    return [f"{type(row[0]).__name__}-{number}" for number, row in enumerate(rows)]


@pytest.mark.parametrize(("estimator", "data", "kind"), CLASSIFIERS, ids=_names(CLASSIFIERS))
def test_classifiers_predict_the_same(estimator, data, kind):
    model = _fitted(estimator, data)
    plain = model.to_sklearn()
    assert type(plain) is kind
    np.testing.assert_array_equal(plain.predict(data[0]), model.predict(data[0]))
    np.testing.assert_array_equal(plain.classes_, model.classes_)
    if kind is not RidgeClassifier and type(model) is not BRMPClassifier:
        np.testing.assert_allclose(plain.predict_proba(data[0]), model.predict_proba(data[0]), rtol=0, atol=1e-10)


@pytest.mark.parametrize(("estimator", "data", "kind"), LABELS_ALONE, ids=_names(LABELS_ALONE))
def test_where_probabilities_have_no_counterpart_labels_are_the_same(estimator, data, kind):
    model = _fitted(estimator, data)
    with pytest.warns(UserWarning, match="probabilities"):
        plain = model.to_sklearn()
    assert type(plain) is kind
    np.testing.assert_array_equal(plain.predict(data[0]), model.predict(data[0]))


@pytest.mark.parametrize(("estimator", "data", "kind"), REGRESSORS, ids=_names(REGRESSORS))
def test_regressors_predict_the_same(estimator, data, kind):
    model = _fitted(estimator, data)
    plain = model.to_sklearn()
    assert type(plain) is kind
    expected = model.predict(data[0])
    np.testing.assert_allclose(plain.predict(data[0]), expected, rtol=0, atol=1e-10 * np.abs(expected).max())


@pytest.mark.parametrize(("estimator", "data", "kind"), CLASSIFIERS + REGRESSORS, ids=_names(CLASSIFIERS + REGRESSORS))
def test_the_result_is_a_plain_estimator(estimator, data, kind):
    model = _fitted(estimator, data)
    plain = model.to_sklearn()
    check_is_fitted(plain)
    assert plain.n_features_in_ == data[0].shape[1]
    again = pickle.loads(pickle.dumps(plain))
    np.testing.assert_array_equal(again.predict(data[0]), plain.predict(data[0]))
    assert type(clone(plain)) is kind
    assert np.isfinite(plain.score(*data))


def test_float32_rows_are_read_to_the_rounding_of_float32():
    X, y = DIGITS[0].astype(np.float32), DIGITS[1]
    model = _fitted(DFAClassifier(20, **SHORT), (X, y))
    np.testing.assert_allclose(model.to_sklearn().predict_proba(X), model.predict_proba(X), rtol=0, atol=1e-5)


def test_names_of_columns_are_kept():
    frame, y = load_iris(return_X_y=True, as_frame=True)
    for estimator in (BRMPClassifier(), DFAClassifier(5, **SHORT), PrivateDFAClassifier(5, max_iter=1)):
        plain = _fitted(estimator, (frame, y)).to_sklearn()
        assert plain.feature_names_in_.tolist() == frame.columns.tolist()
        plain.predict(frame)  # a warning about missing names would be an error
        with pytest.raises(ValueError, match="feature names"):
            plain.predict(frame[frame.columns[::-1]])


def test_training_goes_on_in_scikit_learn():
    model = _fitted(DFAClassifier(20, **SHORT), DIGITS)
    plain = model.to_sklearn()
    assert plain.loss_curve_ == model.loss_curve_
    before = plain.score(*DIGITS)
    for _ in range(3):
        plain.partial_fit(*DIGITS)
    assert plain.score(*DIGITS) > before


def test_public_bounds_clip_as_they_did():
    X = np.column_stack([IRIS[0], np.full(150, 7.0)])  # a constant column counts for nothing
    bounds = (np.array([5.0, 2.0, 1.0, 0.0, 7.0]), np.array([7.0, 4.0, 6.0, 2.0, 7.0]))
    model = PrivateDFAClassifier(10, bounds=bounds, classes=[0, 1, 2], max_iter=2).fit(X, IRIS[1])
    outside = np.vstack([X, X - 3, X + 3])
    np.testing.assert_allclose(
        model.to_sklearn().predict_proba(outside), model.predict_proba(outside), rtol=0, atol=1e-10
    )


NOT_EXPRESSIBLE = [
    (BRMPClassifier(10, hidden="rbf", **SEED), "RadialLayer"),
    (BRMPClassifier(10, activation="cos", **SEED), "activation='cos'"),
    (CPNetClassifier(20, **SEED), "RadialLayer|clips"),
    (ClosedFormMLP(20, **SEED), "clips"),
    (ClosedFormMLP(20, hidden="sampled", **STEPPED), "handed past a layer of tanh"),
    (ClosedFormMLP(20, hidden="leaf", **STEPPED), "LeafLayer"),
    (PrivateDFAClassifier(10, data_norm=1.0, max_iter=1), "PublicScale"),
    (DFAClassifier(10, input_encoding="quantile", **SHORT), "QuantileEncoding"),
]


@pytest.mark.parametrize(("estimator", "words"), NOT_EXPRESSIBLE)
def test_what_scikit_learn_does_not_compute_is_named(estimator, words):
    model = _fitted(estimator, IRIS)
    with pytest.raises(NotImplementedError, match=rf"to_sklearn: .*({words}).*to_onnx"):
        model.to_sklearn()


@pytest.mark.parametrize(("method", "needs"), [("to_sklearn", "torch"), ("to_onnx", "onnx")])
def test_networks_of_torch_are_refused(method, needs):
    pytest.importorskip("torch")
    pytest.importorskip(needs)
    few = (DIGITS[0][:50], DIGITS[1][:50])
    model = _fitted(DFAClassifier(10, network=ImageNetwork((8, 8), (2,)), **SHORT), few)
    with pytest.raises(NotImplementedError, match=r"network of torch.*torch\.onnx"):
        getattr(model, method)()


def test_one_class_is_too_few():
    model = BRMPClassifier().partial_fit(IRIS[0][:9], IRIS[1][:9])
    with pytest.raises(NotImplementedError, match="one class so far, 0"):
        model.to_sklearn()


def test_an_estimator_must_be_fitted():
    with pytest.raises(NotFittedError):
        BRMPRegressor().to_sklearn()
