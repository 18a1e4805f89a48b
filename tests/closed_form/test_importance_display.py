"""FeatureImportanceDisplay: what is drawn, in which order, under which names, and what is refused."""

import numpy as np
import pytest
import scipy.sparse
from sklearn.compose import make_column_transformer
from sklearn.decomposition import PCA
from sklearn.ensemble import RandomForestRegressor
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.inspection import permutation_importance
from sklearn.linear_model import Ridge
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler

from sklearn_analytic import BRMPRegressor, ClosedFormMLP, ClosedFormMLPRegressor, FeatureImportanceDisplay

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


# ---- pipelines and searches ----


def forest():
    return RandomForestRegressor(5, random_state=0)


@pytest.mark.parametrize(
    ("steps", "names"),
    [
        ([StandardScaler()], ["x0", "x1", "x2", "x3"]),
        ([StandardScaler(), PCA(2)], ["pca0", "pca1"]),
        ([FunctionTransformer(lambda X: X[:, 1:])], ["x0", "x1", "x2"]),  # says no names: plain ones
        ([], ["x0", "x1", "x2", "x3"]),
        (["passthrough", PCA(3)], ["pca0", "pca1", "pca2"]),
    ],
    ids=["scaler", "pca", "nameless", "one step", "passthrough"],
)
def test_a_pipeline_stands_for_its_last_step(steps, names, data):
    pipeline = make_pipeline(*steps, forest()).fit(*data)
    display = FeatureImportanceDisplay.from_estimator(pipeline)
    np.testing.assert_array_equal(display.importances_, pipeline[-1].feature_importances_)
    assert display.feature_names.tolist() == names
    assert display.ax_.get_title() == "RandomForestRegressor"


def test_steps_name_the_columns_of_a_frame(data):
    pandas = pytest.importorskip("pandas")
    X, y = data
    frame = pandas.DataFrame(X, columns=NAMES).assign(sex=np.where(X[:, 2] > 0, "f", "m"))
    steps = make_column_transformer((OneHotEncoder(), ["sex"]), remainder=StandardScaler())
    pipeline = make_pipeline(steps, make_pipeline(StandardScaler(), ClosedFormMLPRegressor(10, random_state=0)))
    display = FeatureImportanceDisplay.from_estimator(pipeline.fit(frame, y))
    assert display.feature_names.tolist() == pipeline[0].get_feature_names_out().tolist()
    np.testing.assert_array_equal(display.importances_, pipeline[-1][-1].feature_importances_)
    named = FeatureImportanceDisplay.from_estimator(pipeline, feature_names=list("abcde"))
    assert named.feature_names.tolist() == list("abcde")


def test_a_search_stands_for_its_best_estimator(data):
    search = GridSearchCV(make_pipeline(PCA(), forest()), {"pca__n_components": [2, 3]}, cv=2).fit(*data)
    display = FeatureImportanceDisplay.from_estimator(search)
    np.testing.assert_array_equal(display.importances_, search.best_estimator_[-1].feature_importances_)
    assert display.feature_names.tolist() == [f"pca{k}" for k in range(search.best_params_["pca__n_components"])]
    inner = make_pipeline(StandardScaler(), GridSearchCV(forest(), {"max_depth": [2]}, cv=2)).fit(*data)
    assert FeatureImportanceDisplay.from_estimator(inner).estimator_name == "RandomForestRegressor"


def search_without_refit():
    return GridSearchCV(forest(), {"max_depth": [2]}, cv=2, refit=False)


@pytest.mark.parametrize("model", [Ridge(), make_pipeline(StandardScaler(), Ridge())])
def test_without_importances_the_error_says_what_to_do(model, data):
    with pytest.raises(AttributeError, match=r"Ridge has no feature_importances_: .*from_permutation"):
        FeatureImportanceDisplay.from_estimator(model.fit(*data))
    assert labels(FeatureImportanceDisplay.from_permutation(model, *data))[0] == "x1"  # the advice holds


@pytest.mark.parametrize("model", [search_without_refit(), make_pipeline(StandardScaler(), search_without_refit())])
def test_a_search_without_refit_has_no_estimator(model, data):
    model.fit(*data)
    for call in (FeatureImportanceDisplay.from_estimator, FeatureImportanceDisplay.from_permutation):
        with pytest.raises(NotFittedError, match="GridSearchCV with refit=False leaves no estimator"):
            call(model, *(data if call.__name__ == "from_permutation" else ()))


class KeepsMeans(Ridge):
    """Predicts, though its ``refit`` is off, as LogisticRegressionCV does."""

    refit = False


def test_what_predicts_without_a_refit_is_an_estimator(data):
    assert labels(FeatureImportanceDisplay.from_permutation(KeepsMeans().fit(*data), *data))[0] == "x1"


def test_a_frozen_estimator_stands_for_what_it_holds(data):
    pipeline = make_pipeline(PCA(2), forest()).fit(*data)
    display = FeatureImportanceDisplay.from_estimator(FrozenEstimator(pipeline))
    assert display.feature_names.tolist() == ["pca0", "pca1"]
    assert display.estimator_name == "RandomForestRegressor"


def test_a_pipeline_may_end_in_a_passthrough(data):
    pipeline = make_pipeline(StandardScaler(), "passthrough").fit(*data)
    with pytest.raises(AttributeError, match="Pipeline has no feature_importances_"):
        FeatureImportanceDisplay.from_estimator(pipeline)


class Silent(FunctionTransformer):
    """Names no columns, by an error."""

    def get_feature_names_out(self, input_features=None):
        raise NotImplementedError


class WithoutArgument(FunctionTransformer):
    """Names columns without asking how they were called before."""

    def get_feature_names_out(self):
        return ["a", "b", "c", "d"]


@pytest.mark.parametrize("step", [Silent(), WithoutArgument()])
def test_steps_that_cannot_name_columns_are_no_error(step, data):
    pipeline = make_pipeline(step, forest()).fit(*data)
    assert FeatureImportanceDisplay.from_estimator(pipeline).feature_names.tolist() == ["x0", "x1", "x2", "x3"]
    assert labels(FeatureImportanceDisplay.from_permutation(pipeline, *data, max_features=1)) == ["x1"]


@pytest.mark.parametrize(
    "model",
    [ClosedFormMLP(), RandomForestRegressor(), make_pipeline(StandardScaler(), forest()), search_without_refit()],
)
def test_an_estimator_must_be_fitted(model, data):
    with pytest.raises(NotFittedError):
        FeatureImportanceDisplay.from_estimator(model)
    with pytest.raises(NotFittedError):
        FeatureImportanceDisplay.from_permutation(model, *data)


# ---- permutation importance ----


@pytest.mark.parametrize("given", [{}, {"scoring": "neg_mean_absolute_error", "n_repeats": 3, "n_jobs": 1}], ids=str)
@pytest.mark.parametrize(
    "model", [BRMPRegressor(), make_pipeline(StandardScaler(), PCA(2), Ridge())], ids=["one", "pipe"]
)
def test_permutation_importances_are_those_of_scikit_learn(model, given, data):
    model.fit(*data)
    weight = np.arange(len(data[1])) % 3.0
    display = FeatureImportanceDisplay.from_permutation(
        model, *data, random_state=0, sample_weight=weight, max_features=3, color="red", **given
    )
    expected = permutation_importance(model, *data, random_state=0, sample_weight=weight, **given)
    np.testing.assert_array_equal(display.importances_, expected.importances_mean)
    np.testing.assert_array_equal(display.errors_, expected.importances_std)
    assert labels(display)[0] == "x1" and len(display.bars_) == 3
    assert given.get("scoring", "the score") in display.ax_.get_xlabel()


def test_permutation_takes_raw_columns_and_their_names(data):
    pandas = pytest.importorskip("pandas")
    X, y = data
    frame = pandas.DataFrame(X, columns=NAMES)
    pipeline = make_pipeline(StandardScaler(), PCA(2), forest()).fit(frame, y)
    display = FeatureImportanceDisplay.from_permutation(pipeline, frame, y, random_state=0)
    assert display.feature_names.tolist() == NAMES
    assert display.ax_.get_title() == "RandomForestRegressor"
    with pytest.raises(ValueError, match="feature names"):
        FeatureImportanceDisplay.from_permutation(pipeline, frame[NAMES[:3]], y)
    with pytest.raises(ValueError, match="3 features"):
        FeatureImportanceDisplay.from_permutation(Ridge().fit(X, y), X[:, :3], y)


def test_error_bars_go_with_their_bars(pyplot):
    display = FeatureImportanceDisplay(IMPORTANCES, errors=[0.01, 0.02, 0.0, 0.03], quantity="loss").plot()
    (lines,) = display.bars_.errorbar.lines[2]
    ends = np.array([segment[:, 0] for segment in lines.get_segments()])
    np.testing.assert_allclose(ends.mean(axis=1), lengths(display))
    np.testing.assert_allclose(np.ptp(ends, axis=1) / 2, [0.02, 0.03, 0.01, 0.0])
    assert display.ax_.get_xlabel() == "loss"


def test_errors_are_as_many_and_scores_are_one(data):
    with pytest.raises(ValueError, match=r"errors has shape \(3,\), but there are 4 importances"):
        FeatureImportanceDisplay(IMPORTANCES, errors=[0.1] * 3)
    for bad in (["r2", "max_error"], {"r2": "r2"}, 3):
        with pytest.raises(ValueError, match="scoring must be None, one name or one callable"):
            FeatureImportanceDisplay.from_permutation(Ridge().fit(*data), *data, scoring=bad)


# ---- what is refused, before anything is permuted ----


class Scores:
    """A scorer that returns one value, and counts its calls."""

    def __init__(self, value):
        self.value, self.n_calls = value, 0

    def __call__(self, estimator, X, y):
        self.n_calls += 1
        return self.value


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"max_features": 0}, "max_features"),
        ({"feature_names": ["a"]}, r"feature_names has shape \(1,\), but there are 4 columns"),
        ({"ax": [None, None]}, "axes must be 1 matplotlib Axes, got 2"),
        ({"ax": "left"}, "axes must be matplotlib Axes, got 'left'"),
    ],
)
def test_wrong_arguments_cost_no_permutation(wrong, message, data):
    scoring = Scores(1.0)
    with pytest.raises((TypeError, ValueError), match=message):
        FeatureImportanceDisplay.from_permutation(Ridge().fit(*data), *data, scoring=scoring, **wrong)
    assert scoring.n_calls == 0


@pytest.mark.parametrize(
    ("value", "message"),
    [({"r2": 1.0, "bias": 0.0}, r"one number, got those of \['bias', 'r2'\]"), (np.nan, "finite number, got nan")],
)
def test_a_score_is_one_finite_number(value, message, data):
    scoring = Scores(value)
    with pytest.raises(ValueError, match=message):
        FeatureImportanceDisplay.from_permutation(Ridge().fit(*data), *data, scoring=scoring)
    assert scoring.n_calls == 1


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"importances": [0.1, np.nan]}, "importances must be finite"),
        ({"importances": [0.1, 0.2], "errors": [0.1, -0.1]}, "errors must be 0 or more"),
        ({"importances": [0.1, 0.2], "errors": [0.1, np.inf]}, "errors must be finite"),
    ],
)
def test_bars_can_be_drawn(wrong, message):
    with pytest.raises(ValueError, match=message):
        FeatureImportanceDisplay(**wrong)


def test_sparse_rows_are_refused(data):
    X = scipy.sparse.csr_array(data[0])
    with pytest.raises(TypeError, match="dense data is required"):
        FeatureImportanceDisplay.from_permutation(Ridge().fit(X, data[1]), X, data[1])


def test_max_samples_is_that_of_scikit_learn(data):
    how = {"max_samples": 30, "random_state": 0}
    model = Ridge().fit(*data)
    display = FeatureImportanceDisplay.from_permutation(model, *data, **how)
    np.testing.assert_array_equal(display.importances_, permutation_importance(model, *data, **how).importances_mean)


def test_dollars_begin_no_formula():
    display = FeatureImportanceDisplay([0.5], feature_names=["$a{$"]).plot()
    display.figure_.canvas.draw()
    assert labels(display) == ["$a{$"]


# ---- tables of other libraries ----


def tables(data):
    """A frame of pandas with a column of words, its targets, and names."""
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(data[0], columns=NAMES).assign(sex=np.where(data[0][:, 2] > 0, "f", "m"))
    return frame, data[1] + (frame["sex"] == "f").to_numpy()


def steps_by_name():
    """Columns chosen by their names."""
    return make_column_transformer((OneHotEncoder(), ["sex"]), remainder="passthrough")


LIBRARIES = {
    "polars": lambda frame: pytest.importorskip("polars").from_pandas(frame),
    "arrow": lambda frame: pytest.importorskip("pyarrow").Table.from_pandas(frame, preserve_index=False),
}
MODELS = {
    "alone": lambda: ClosedFormMLPRegressor(10, random_state=0),
    "by name": lambda: make_pipeline(steps_by_name(), Ridge()),
}


@pytest.mark.parametrize(("library", "model"), [("polars", "alone"), ("polars", "by name"), ("arrow", "alone")])
def test_tables_have_the_importances_of_pandas(library, model, data):
    frame, y = tables(data)
    table = LIBRARIES[library](frame)
    ours, theirs = (
        FeatureImportanceDisplay.from_permutation(MODELS[model]().fit(X, y), X, y, random_state=0)
        for X in (table, frame)
    )
    assert ours.feature_names.tolist() == NAMES
    np.testing.assert_allclose(ours.importances_, theirs.importances_, atol=1e-12)


class TableWithoutPandas:
    """A table as Arrow has it: names beside ``columns`` that hold values, and no way to pandas."""

    def __init__(self, X):
        self.column_names, self.columns, self.X = NAMES, list(X.T), X

    def __array__(self, dtype=None, copy=None):
        return self.X

    def to_pandas(self):
        raise ImportError("pandas is not installed")


def test_a_table_without_pandas_is_an_array_with_names(data):
    X, y = data
    display = FeatureImportanceDisplay.from_permutation(Ridge().fit(X, y), TableWithoutPandas(X), y, random_state=0)
    assert labels(display)[0] == "bmi"
