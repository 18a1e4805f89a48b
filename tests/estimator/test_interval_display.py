"""IntervalDisplay: which intervals and targets are drawn where, what the legend says, and what is refused."""

import numpy as np
import pytest
import scipy.sparse
from sklearn.datasets import load_diabetes
from sklearn.decomposition import PCA
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import Ridge
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_analytic import BRMPClassifier, BRMPRegressor, ClosedFormMLPRegressor, IntervalDisplay

pytestmark = pytest.mark.usefixtures("pyplot")

PREDICTIONS = np.array([3.0, 1.0, 2.0, 4.0])
INTERVALS = PREDICTIONS[:, None] + [-1.0, 1.0]
TARGETS = np.array([3.5, 2.0, 9.0, 4.0])  # the second on an end, the third outside


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((160, 4))
    return X, X @ np.array([0.0, 2.0, 0.0, 1.0]) + rng.standard_normal(160)


@pytest.fixture(scope="module")
def model(data):
    X, y = data
    return BRMPRegressor(alpha=1.0).fit(X[:100], y[:100])


def bars(display):
    """Places (n,) and ends (n, 2) of the bars."""
    segments = np.array(display.bars_.get_segments())
    return segments[:, 0, 0], segments[:, :, 1]


def labels(display):
    return [text.get_text() for text in display.ax_.get_legend().get_texts()]


# ---- what is drawn ----


def test_rows_stand_at_their_predictions():
    display = IntervalDisplay(PREDICTIONS, INTERVALS, targets=TARGETS, coverage=0.8).plot()
    at, ends = bars(display)
    np.testing.assert_array_equal(at, np.sort(PREDICTIONS))
    np.testing.assert_array_equal(ends, INTERVALS[np.argsort(PREDICTIONS)])
    np.testing.assert_array_equal(display.line_.get_xdata(), display.line_.get_ydata())
    assert display.inside_.tolist() == [True, True, False, True]
    assert display.found_coverage_ == 0.75
    assert display.inside_points_.get_xdata().tolist() == [1.0, 3.0, 4.0]
    assert display.outside_points_.get_ydata().tolist() == [9.0]
    assert display.inside_points_.get_color() != display.outside_points_.get_color()
    assert display.ax_.get_xlabel() == "prediction" and display.ax_.get_ylabel() == "target"
    assert labels(display) == ["80 % intervals", "prediction", "inside: 75 %", "outside: 25 %"]


def test_without_targets_there_are_no_points():
    display = IntervalDisplay(PREDICTIONS, INTERVALS).plot()
    assert display.inside_ is display.found_coverage_ is display.targets_ is None
    assert display.inside_points_ is display.outside_points_ is None
    assert labels(display) == ["intervals", "prediction"]


def test_a_band_joins_rows_in_the_order_of_their_values():
    values = np.array([1.0, np.nan, 0.0, 2.0])
    display = IntervalDisplay(PREDICTIONS, INTERVALS, targets=TARGETS, values=values).plot(band=True)
    assert display.bars_ is None
    corners = display.band_.get_paths()[0].vertices
    for row in (0, 2, 3):
        for end in INTERVALS[row]:
            assert (corners == [values[row], end]).all(axis=1).any()
    assert display.line_.get_xdata().tolist() == [0.0, 1.0, 2.0]  # not the row without a value
    assert display.line_.get_ydata().tolist() == [2.0, 3.0, 4.0]
    assert display.inside_points_.get_xdata().tolist() == [1.0, 2.0]
    assert display.found_coverage_ == 0.75  # of all rows
    assert display.ax_.get_xlabel() == "value"


@pytest.mark.parametrize(("max_rows", "shown"), [(1, 1), (7, 7), (200, 50), (None, 50), (np.int64(3), 3)])
def test_max_rows(max_rows, shown):
    values = np.arange(50.0)[::-1]
    display = IntervalDisplay(values, np.column_stack([values - 1, values + 1]), targets=values + 3)
    at, _ = bars(display.plot(max_rows=max_rows))
    assert len(at) == len(display.outside_points_.get_xdata()) == shown
    if shown > 1:
        assert at[0] == 0 and at[-1] == 49
    assert len(display.plot(band=True, max_rows=max_rows).line_.get_xdata()) == 50  # the band is whole


def test_draws_on_given_axes(pyplot):
    figure, axes = pyplot.subplots(1, 2)
    display = IntervalDisplay(PREDICTIONS, INTERVALS, targets=TARGETS)
    assert display.plot(axes[1], ms=9) is display
    assert display.ax_ is axes[1] and display.figure_ is figure
    assert display.outside_points_.get_markersize() == 9
    assert pyplot.get_fignums() == [figure.number]


def test_the_legend_hides_no_target():
    display = IntervalDisplay(PREDICTIONS, INTERVALS, targets=TARGETS).plot()
    display.figure_.canvas.draw()
    low = display.ax_.get_legend().get_window_extent().transformed(display.ax_.transData.inverted()).y0
    assert TARGETS.max() < low


def test_an_interval_with_crossed_ends_holds_nothing():
    display = IntervalDisplay([1.0], [[1.1, 0.9]], targets=[1.0]).plot()
    assert display.found_coverage_ == 0.0


# ---- estimators ----


def test_intervals_are_those_of_the_estimator(model, data):
    X, y = data
    display = IntervalDisplay.from_estimator(model, X[100:], y[100:], coverage=0.8)
    np.testing.assert_array_equal(display.intervals_, model.predict_interval(X[100:], coverage=0.8))
    np.testing.assert_array_equal(display.predictions_, model.predict(X[100:]))
    np.testing.assert_array_equal(display.targets_, y[100:])
    assert display.ax_.get_title() == "BRMPRegressor"
    assert labels(display)[0] == "80 % intervals"
    assert labels(display)[2] == f"inside: {100 * display.found_coverage_:.1f} %".replace(".0", "")


def test_a_closed_form_network_has_intervals():
    X, y = load_diabetes(return_X_y=True)
    model = ClosedFormMLPRegressor(50, hidden="random", random_state=0).fit(X[:300], y[:300])
    display = IntervalDisplay.from_estimator(model, X[300:], y[300:], estimator_name="ours", target_name="progression")
    assert display.ax_.get_title() == "ours" and display.ax_.get_ylabel() == "progression"
    assert 0.8 < display.found_coverage_ < 1


@pytest.mark.parametrize("feature", [1, np.int64(1), "x1"])
def test_along_a_column(feature, model, data):
    X, y = data
    display = IntervalDisplay.from_estimator(model, X[100:], y[100:], feature=feature)
    np.testing.assert_array_equal(display.values_, X[100:, 1])
    assert display.ax_.get_xlabel() == "x1"
    assert display.band_ is None  # rows differ in other columns, too
    np.testing.assert_array_equal(bars(display)[0], np.sort(X[100:, 1]))


def test_one_column_has_a_band(data):
    X, y = data
    model = BRMPRegressor(alpha=1.0).fit(X[:100, 1:2], y[:100])
    display = IntervalDisplay.from_estimator(model, X[100:, 1:2], y[100:])
    assert display.bars_ is None and display.band_ is not None
    np.testing.assert_array_equal(display.line_.get_xdata(), np.sort(X[100:, 1]))
    assert display.ax_.get_xlabel() == "x0"
    assert IntervalDisplay.from_estimator(model, X[100:, 1:2], band=False).band_ is None


def test_one_of_several_targets(data):
    X, y = data
    Y = np.column_stack([y, 10 * y])
    model = BRMPRegressor(alpha=1.0).fit(X[:100], Y[:100])
    display = IntervalDisplay.from_estimator(model, X[100:], Y[100:], target=1)
    np.testing.assert_array_equal(display.intervals_, model.predict_interval(X[100:])[:, 1])
    np.testing.assert_array_equal(display.targets_, Y[100:, 1])
    assert display.ax_.get_ylabel() == "target 1"
    for bad in (2, -1, 0.0, True, "y"):
        with pytest.raises(ValueError, match=r"target=.*, but there are 2 targets, counted from 0"):
            IntervalDisplay.from_estimator(model, X[100:], target=bad)
    with pytest.raises(ValueError, match=r"y has shape \(60,\), but the estimator predicts 2 targets"):
        IntervalDisplay.from_estimator(model, X[100:], y[100:])


@pytest.mark.parametrize("as_search", [False, True], ids=["pipeline", "search"])
def test_pipelines_and_searches_stand_for_what_they_predict_with(as_search, data):
    X, y = data
    pipeline = make_pipeline(StandardScaler(), make_pipeline(PCA(3), BRMPRegressor(alpha=1.0)))
    outer = GridSearchCV(pipeline, {"pipeline__pca__n_components": [2, 3]}, cv=2) if as_search else pipeline
    outer.fit(X[:100], y[:100])
    best = outer.best_estimator_ if as_search else outer
    rows = best[-1][0].transform(best[0].transform(X[100:]))
    for given in (outer, FrozenEstimator(outer)):
        display = IntervalDisplay.from_estimator(given, X[100:], y[100:], feature=3)
        np.testing.assert_array_equal(display.intervals_, best[-1][-1].predict_interval(rows))
        np.testing.assert_allclose(display.predictions_, outer.predict(X[100:]), rtol=1e-12)
        np.testing.assert_array_equal(display.values_, X[100:, 3])  # of the table, before any step
        assert display.ax_.get_title() == "BRMPRegressor"


# ---- tables ----

LIBRARIES = {
    "pandas": lambda frame: frame,
    "polars": lambda frame: pytest.importorskip("polars").from_pandas(frame),
    "arrow": lambda frame: pytest.importorskip("pyarrow").Table.from_pandas(frame, preserve_index=False),
}


@pytest.mark.parametrize("library", LIBRARIES)
def test_names_of_tables(library, data):
    pandas = pytest.importorskip("pandas")
    X, y = data
    frame = pandas.DataFrame(X, columns=["age", "bmi", "$a{$", "bp"]).assign(sex=np.where(X[:, 2] > 0, "f", "m"))
    table = LIBRARIES[library](frame)
    model = BRMPRegressor(alpha=1.0).fit(table, y)
    display = IntervalDisplay.from_estimator(model, table, pandas.Series(y, name="sugar"), feature="$a{$")
    np.testing.assert_array_equal(display.values_, X[:, 2])
    display.figure_.canvas.draw()  # "$" begins no formula
    assert display.ax_.get_xlabel() == "$a{$" and display.ax_.get_ylabel() == "sugar"
    assert IntervalDisplay.from_estimator(model, table, pandas.DataFrame({"mmol": y})).target_name == "mmol"
    with pytest.raises(ValueError, match="X has no column 'size', its columns are age, bmi"):
        IntervalDisplay.from_estimator(model, table, feature="size")
    with pytest.raises(ValueError, match="column 'sex' must be an array of numbers"):
        IntervalDisplay.from_estimator(model, table, feature="sex")


def test_gaps_in_a_column_are_not_drawn(model, data):
    X = data[0][100:].copy()
    X[:10, 1] = np.nan
    fitted = BRMPRegressor(alpha=1.0).fit(X, data[1][100:])
    display = IntervalDisplay.from_estimator(fitted, X, feature=1)
    assert len(bars(display)[0]) == 50 and len(display.intervals_) == 60


def test_sparse_rows_and_tensors(model, data):
    X, y = data
    plain = IntervalDisplay.from_estimator(model, X[100:], y[100:])
    display = IntervalDisplay.from_estimator(model, scipy.sparse.csr_array(X[100:]), y[100:])
    np.testing.assert_allclose(display.intervals_, plain.intervals_, rtol=1e-12)
    with pytest.raises(TypeError, match="dense data is required"):
        IntervalDisplay.from_estimator(model, scipy.sparse.csr_array(X[100:]), feature=0)
    torch = pytest.importorskip("torch")
    display = IntervalDisplay.from_estimator(model, torch.from_numpy(X[100:]), torch.from_numpy(y[100:]), feature=0)
    np.testing.assert_allclose(display.intervals_, plain.intervals_, rtol=1e-12)


# ---- what is refused ----


@pytest.mark.parametrize("kind", [Ridge, BRMPClassifier])
def test_without_intervals_the_error_says_what_to_give(kind, data):
    X, y = data
    fitted = make_pipeline(StandardScaler(), kind()).fit(X, y > 0)
    with pytest.raises(AttributeError, match=rf"{kind.__name__} has no predict_interval: give a fitted BRMPRegressor"):
        IntervalDisplay.from_estimator(fitted, X)


@pytest.mark.parametrize("unfitted", [BRMPRegressor(), make_pipeline(StandardScaler(), BRMPRegressor())])
def test_an_estimator_must_be_fitted(unfitted, data):
    with pytest.raises(NotFittedError):
        IntervalDisplay.from_estimator(unfitted, data[0])


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"predictions": [[1.0]]}, "predictions must have shape"),
        ({"predictions": [1.0, np.nan, 2.0, 3.0]}, "predictions must be finite"),
        ({"intervals": INTERVALS[:3]}, r"intervals must have shape \(4, 2\), got \(3, 2\)"),
        ({"intervals": INTERVALS.T}, r"intervals must have shape \(4, 2\), got \(2, 4\)"),
        ({"intervals": INTERVALS + np.inf}, "intervals must be finite"),
        ({"targets": TARGETS[:2]}, r"targets has shape \(2,\), but there are 4 predictions"),
        ({"targets": [np.nan] * 4}, "targets must be finite"),
        ({"values": ["a", "b", "c", "d"]}, "values must be an array of numbers"),
        ({"values": [1.0]}, r"values has shape \(1,\), but there are 4 predictions"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else None,
)
def test_arrays_can_be_drawn(wrong, message):
    with pytest.raises(ValueError, match=message):
        IntervalDisplay(**{"predictions": PREDICTIONS, "intervals": INTERVALS} | wrong)


@pytest.mark.parametrize("bad", [0, -1, 2.5, "all", True])
def test_max_rows_is_a_number_of_rows(bad):
    with pytest.raises(ValueError, match="max_rows"):
        IntervalDisplay(PREDICTIONS, INTERVALS).plot(max_rows=bad)
    with pytest.raises(ValueError, match="band must be True or False"):
        IntervalDisplay(PREDICTIONS, INTERVALS).plot(band=str(bad))


def test_wrong_arguments_of_the_estimator_are_refused(model, data):
    X, y = data
    for feature in (4, -1, 1.0, True):
        with pytest.raises(ValueError, match=r"feature=.*, but there are 4 columns, counted from 0"):
            IntervalDisplay.from_estimator(model, X, feature=feature)
    with pytest.raises(ValueError, match="coverage must be a number between 0 and 1"):
        IntervalDisplay.from_estimator(model, X, coverage=90)
    with pytest.raises(ValueError, match=r"targets has shape \(3,\), but there are 160 predictions"):
        IntervalDisplay.from_estimator(model, X, y[:3])
    with pytest.raises(TypeError, match="axes must be matplotlib Axes"):
        IntervalDisplay.from_estimator(model, X, ax="left")
