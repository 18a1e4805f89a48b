"""FeatureImportanceDisplay: what is drawn, in which order, under which names, and what is refused."""

import numpy as np
import pytest
from sklearn.ensemble import RandomForestRegressor
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_analytic import ClosedFormMLP, ClosedFormMLPRegressor, FeatureImportanceDisplay

pytestmark = pytest.mark.usefixtures("pyplot")

IMPORTANCES = np.array([0.1, 0.5, 0.0, 0.4])
NAMES = ["age", "bmi", "sex", "bp"]


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((120, 4))
    return X, X @ np.array([0.0, 2.0, 0.0, 1.0])


def labels(display):
    return [label.get_text() for label in display.ax_.get_yticklabels()]


def lengths(display):
    return [bar.get_width() for bar in display.bars_]


def test_largest_come_first_and_on_top():
    display = FeatureImportanceDisplay(IMPORTANCES, feature_names=NAMES).plot()
    assert labels(display) == ["bmi", "bp", "age", "sex"]
    assert lengths(display) == [0.5, 0.4, 0.1, 0.0]
    assert display.ax_.yaxis_inverted()
    assert display.ax_.get_xlabel() == "feature importance"
    np.testing.assert_array_equal(display.importances_, IMPORTANCES)
    assert display.feature_names.tolist() == NAMES


@pytest.mark.parametrize(("max_features", "shown"), [(2, 2), (4, 4), (99, 4), (None, 4), (np.int64(1), 1)])
def test_max_features(max_features, shown):
    display = FeatureImportanceDisplay(IMPORTANCES).plot(max_features=max_features)
    assert labels(display) == ["x1", "x3", "x0", "x2"][:shown]


def test_equal_importances_keep_their_order():
    display = FeatureImportanceDisplay(np.zeros(4), feature_names=NAMES).plot()
    assert labels(display) == NAMES


def test_draws_on_given_axes(pyplot):
    figure, axes = pyplot.subplots(1, 2)
    display = FeatureImportanceDisplay(IMPORTANCES)
    assert display.plot(axes[1], color="red", label="ours") is display
    assert display.ax_ is axes[1]
    assert display.figure_ is figure
    assert display.bars_[0].get_facecolor() == (1.0, 0.0, 0.0, 1.0)
    assert pyplot.get_fignums() == [figure.number]


@pytest.mark.parametrize(
    "model",
    [
        ClosedFormMLPRegressor(20, random_state=0),
        ClosedFormMLP(20, hidden="sampled", random_state=0),
        RandomForestRegressor(5, random_state=0),
    ],
)
def test_from_any_estimator_with_importances(model, data):
    X, y = data
    model.fit(X, y if "Regressor" in type(model).__name__ else y > 0)
    display = FeatureImportanceDisplay.from_estimator(model, feature_names=NAMES, max_features=2)
    np.testing.assert_array_equal(display.importances_, model.feature_importances_)
    assert labels(display) == ["bmi", "bp"]
    assert display.ax_.get_title() == type(model).__name__


def test_names_of_the_frame(data):
    pandas = pytest.importorskip("pandas")
    X, y = data
    model = RandomForestRegressor(5, random_state=0).fit(pandas.DataFrame(X, columns=NAMES), y)
    assert FeatureImportanceDisplay.from_estimator(model).feature_names.tolist() == NAMES
    named = FeatureImportanceDisplay.from_estimator(model, feature_names=list("abcd"))
    assert named.feature_names.tolist() == list("abcd")


def test_wrong_arguments_are_refused(data):
    with pytest.raises(ValueError, match=r"feature_names has shape \(3,\), but there are 4"):
        FeatureImportanceDisplay(IMPORTANCES, feature_names=NAMES[:3])
    with pytest.raises(ValueError, match="must have shape"):
        FeatureImportanceDisplay(np.ones((2, 2)))
    for bad in (0, -1, 2.5, "all", True):
        with pytest.raises(ValueError, match="max_features"):
            FeatureImportanceDisplay(IMPORTANCES).plot(max_features=bad)


@pytest.mark.parametrize("model", [Ridge(), make_pipeline(StandardScaler(), RandomForestRegressor(5))])
def test_without_importances_the_error_says_what_to_do(model, data):
    with pytest.raises(AttributeError, match="give the last step of a pipeline, or take"):
        FeatureImportanceDisplay.from_estimator(model.fit(*data))


@pytest.mark.parametrize("model", [ClosedFormMLP(), RandomForestRegressor()])
def test_an_estimator_must_be_fitted(model):
    with pytest.raises(NotFittedError):
        FeatureImportanceDisplay.from_estimator(model)
