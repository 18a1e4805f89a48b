"""Laws that hold for every estimator: across splits, orders, weights, devices and dtypes."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.base import clone, is_classifier
from sklearn.datasets import load_iris

from sklearn_analytic import BRMPClassifier, BRMPRegressor, CPNetClassifier
from tests import reference
from tests.checks import assert_close

ESTIMATORS = [
    BRMPRegressor(alpha=0.1),
    BRMPRegressor((25,), hidden="random", alpha="gcv", random_state=0),
    BRMPRegressor((25,), hidden="rbf", alpha=0.1, random_state=0),
    BRMPRegressor((25,), hidden="sampled", alpha=0.1, random_state=0),
    BRMPClassifier(alpha=0.1),
    BRMPClassifier((25,), hidden="rbf", alpha=0.1, random_state=0),
    CPNetClassifier(random_state=0),
    CPNetClassifier(encoding="mask", random_state=0),
    CPNetClassifier(encoding="forward", skip=False, random_state=0),
]
# Streams equal a fit where no construction looks at rows.
EXACT_STREAMS = [
    BRMPRegressor(alpha=0.1),
    BRMPRegressor(solver="gram", alpha="gcv"),
    BRMPRegressor((25,), hidden="random", alpha=0.1, random_state=0),
    BRMPClassifier(alpha=0.1),
    BRMPClassifier((25,), hidden="random", alpha="gcv", random_state=0),
]


def data(estimator):
    X, y = load_iris(return_X_y=True)
    return X, (y if is_classifier(estimator) else X @ np.array([1.0, -1.0, 2.0, 0.5]) + y)


def outputs(model, X):
    return model.decision_function(X) if is_classifier(model) else model.predict(X)


@pytest.mark.parametrize("estimator", ESTIMATORS, ids=repr)
def test_weights_are_repetitions_in_any_order(estimator, rng):
    X, y = data(estimator)
    weight = rng.integers(0, 4, len(X))
    Xr, yr = reference.repeated(X, y, weight)
    order = rng.permutation(len(Xr))
    one = clone(estimator).fit(X, y, sample_weight=weight)
    two = clone(estimator).fit(Xr[order], yr[order])
    assert_close(outputs(one, X), outputs(two, X), np.float64, 1e5)


@given(data_=st.data())
@pytest.mark.parametrize("estimator", EXACT_STREAMS, ids=repr)
def test_a_stream_in_any_split_is_a_fit(estimator, data_):
    X, y = data(estimator)
    rng = np.random.default_rng(data_.draw(st.integers(0, 1000), label="seed"))
    order = rng.permutation(len(X))
    cuts = np.sort(data_.draw(st.lists(st.integers(1, len(X) - 1), max_size=5, unique=True), label="cuts"))
    stream = clone(estimator)
    for part in np.split(order, cuts):
        stream.partial_fit(X[part], y[part])
    blocks = clone(estimator).fit_blocks((X[part], y[part]) for part in np.split(order, cuts))
    expected = outputs(clone(estimator).fit(X, y), X)
    assert_close(outputs(stream, X), expected, np.float64, 1e5)
    assert_close(outputs(blocks, X), expected, np.float64, 1e5)


@pytest.mark.parametrize("estimator", ESTIMATORS, ids=repr)
def test_devices_are_one_experiment_in_either_dtype(estimator, device, dtype):
    X, y = data(estimator)
    X = X.astype(dtype)
    expected = outputs(clone(estimator).fit(X, y), X)
    result = outputs(clone(estimator).set_params(device=device).fit(X, y), X)
    # Small ridges magnify rounding: ten digits are left in float64, two and a half in float32.
    assert_close(result, expected, dtype, 1e5 if dtype == np.float64 else 30, size=max(1.0, np.abs(expected).max()))


@pytest.mark.parametrize("estimator", EXACT_STREAMS, ids=repr)
def test_merged_shards_and_forgotten_rows(estimator):
    X, y = data(estimator)
    shards = [clone(estimator).partial_fit(X[i::3], y[i::3]) for i in range(3)]
    merged = shards[0].merge(shards[1]).merge(shards[2])
    assert_close(outputs(merged, X), outputs(clone(estimator).fit(X, y), X), np.float64, 1e5)
    merged.forget(X[2::3], y[2::3])
    rest = np.setdiff1d(np.arange(len(X)), np.arange(2, len(X), 3))
    assert_close(outputs(merged, X), outputs(clone(estimator).fit(X[rest], y[rest]), X), np.float64, 1e6)
