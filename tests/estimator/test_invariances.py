"""What must not matter to closed-form networks: units of targets and columns, factors on weights; and rare classes."""

import numpy as np
import pytest
from sklearn.datasets import load_breast_cancer, load_diabetes, make_classification, make_friedman1
from sklearn.metrics import log_loss, roc_auc_score
from sklearn.model_selection import StratifiedKFold, TunedThresholdClassifierCV, cross_val_predict

from sklearn_analytic import ClosedFormMLP, ClosedFormMLPRegressor, CPNetClassifier

FRIEDMAN = make_friedman1(300, n_features=6, noise=1.0, random_state=0)


@pytest.mark.parametrize("data", [load_diabetes(return_X_y=True), FRIEDMAN], ids=["diabetes", "friedman"])
@pytest.mark.parametrize("unit, level", [(1024.0, 0.0), (1.0, 1e6), (-0.5, 7.0), (1e-200, 0.0)])
def test_the_unit_of_the_targets_does_not_choose_the_model(data, unit, level):
    X, y = data
    expected = ClosedFormMLPRegressor(random_state=0).fit(X[:200], y[:200]).predict(X[200:])
    found = ClosedFormMLPRegressor(random_state=0).fit(X[:200], unit * y[:200] + level).predict(X[200:])
    # A split of a tree between two equal gains may fall the other way.
    np.testing.assert_allclose((found - level) / unit, expected, atol=0.05 * y.std())


def test_several_targets_have_units_of_their_own():
    X, y = FRIEDMAN
    expected = ClosedFormMLPRegressor(random_state=0).fit(X, np.column_stack([y, y**2])).predict(X)
    found = ClosedFormMLPRegressor(random_state=0).fit(X, np.column_stack([1e-6 * y, 1e6 + y**2])).predict(X)
    np.testing.assert_allclose(found / [1e-6, 1] - [0, 1e6], expected, atol=0.05 * (y**2).std())


@pytest.mark.parametrize("make", [ClosedFormMLPRegressor, ClosedFormMLP, CPNetClassifier])
@pytest.mark.parametrize("change", ["power of two", "float32"])
def test_neither_a_power_of_two_nor_single_precision_choose_the_model(make, change):
    X, y = FRIEDMAN
    y = y if make is ClosedFormMLPRegressor else (y > np.median(y)).astype(int)
    other = 1024 * X if change == "power of two" else X.astype(np.float32)
    scores = "predict" if make is ClosedFormMLPRegressor else "decision_function"
    one = getattr(make(random_state=0).fit(X[:200], y[:200]), scores)(X[200:])
    two = getattr(make(random_state=0).fit(other[:200], y[:200]), scores)(other[200:])
    np.testing.assert_allclose(two, one, atol=1e-6 * y.std() if change == "power of two" else 0.05 * y.std())


@pytest.mark.parametrize("make", [ClosedFormMLP, CPNetClassifier])
@pytest.mark.parametrize("total", [1.0, 1e9])
def test_a_factor_on_all_weights_changes_nothing(make, total, rng):
    X, y = make_classification(600, 8, n_informative=5, n_classes=3, class_sep=0.8, random_state=0)
    weight = rng.uniform(0.5, 1.5, 300)
    one, two = (make(random_state=0).fit(X[:300], y[:300], sample_weight=w) for w in (weight, weight * total / 300))
    losses = [log_loss(y[300:], model.predict_proba(X[300:])) for model in (one, two)]
    assert losses[1] == pytest.approx(losses[0], rel=0.02)


def test_a_factor_on_the_weights_of_numbers_changes_nothing(rng):
    X, y = FRIEDMAN
    weight = rng.uniform(0.5, 1.5, 300)
    one, two = (ClosedFormMLPRegressor(random_state=0).fit(X, y, sample_weight=w) for w in (weight, weight / 2**20))
    np.testing.assert_allclose(two.predict(X), one.predict(X), atol=1e-6)


@pytest.fixture(scope="module")
def few_positives():
    X, y = load_breast_cancer(return_X_y=True)
    rows = np.concatenate([np.flatnonzero(y == 0), np.flatnonzero(y == 1)[::50][:7]])
    return X[rows][:, :5], y[rows]


@pytest.mark.parametrize("make", [ClosedFormMLP, CPNetClassifier])
def test_probabilities_rank_a_rare_class(make, few_positives):
    X, y = few_positives
    areas = []
    for seed in range(4):
        folds = StratifiedKFold(3, shuffle=True, random_state=seed)
        chance = cross_val_predict(make(random_state=0), X, y, cv=folds, method="predict_proba")[:, 1]
        for _, test in folds.split(X, y):
            assert np.ptp(chance[test]) > 1e-4
            areas.append(roc_auc_score(y[test], chance[test]))
    assert np.mean(areas) > 0.965


def test_a_threshold_can_be_tuned_on_a_rare_class(few_positives):
    X, y = few_positives
    model = TunedThresholdClassifierCV(ClosedFormMLP(random_state=0), cv=3, scoring="balanced_accuracy").fit(X, y)
    assert model.score(X, y) > 0.9
