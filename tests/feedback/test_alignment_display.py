"""AlignmentDisplay: what is drawn, under which names, and what is refused."""

import numpy as np
import pytest
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_analytic import AlignmentDisplay, DFAClassifier, DFARegressor, Feedback, ImageNetwork

pytestmark = pytest.mark.usefixtures("pyplot")

ALIGNMENT = np.array([[0.1, 0.4, 0.9], [0.2, 0.5, 0.95], [0.3, 0.6, 0.97], [0.35, 0.7, 0.98]])
WATCHED = {"feedback": Feedback(alignment=True), "max_iter": 3, "random_state": 0}


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((120, 4))
    return X, X @ np.array([0.0, 2.0, 0.0, 1.0]) > 0


def legend(display):
    return [text.get_text() for text in display.ax_.get_legend().get_texts()]


def test_a_line_for_every_layer_against_the_epoch():
    display = AlignmentDisplay(ALIGNMENT, estimator_name="ours").plot()
    assert legend(display) == ["layer 1", "layer 2", "layer 3"]
    assert len(display.lines_) == 3
    for line, cosines in zip(display.lines_, ALIGNMENT.T, strict=True):
        assert line.get_xdata().tolist() == [1, 2, 3, 4]
        np.testing.assert_array_equal(line.get_ydata(), cosines)
    assert display.ax_.get_xlabel() == "epoch"
    assert display.ax_.get_ylabel() == "cosine to the true gradient"
    assert display.ax_.get_title() == "ours"
    np.testing.assert_array_equal(display.alignment_, ALIGNMENT)


@pytest.mark.parametrize("least", [0.5, 0.0, -0.7])
def test_limits_show_zero_one_and_all_cosines(least):
    low, high = AlignmentDisplay([[least, 0.6], [0.6, 1.0]]).plot().ax_.get_ylim()
    assert low < min(least, 0.0)
    assert high > 1.0


def test_one_epoch_is_a_point_that_can_be_seen():
    assert AlignmentDisplay(ALIGNMENT[:1]).plot().lines_[0].get_marker() == "o"
    assert AlignmentDisplay(ALIGNMENT).plot().lines_[0].get_marker() == "None"
    assert AlignmentDisplay(ALIGNMENT[:1]).plot(marker="x").lines_[0].get_marker() == "x"


def test_cosines_that_are_no_numbers_leave_gaps():
    display = AlignmentDisplay([[np.nan, 0.5], [0.2, 0.6]]).plot()
    assert np.isfinite(display.ax_.get_ylim()).all()


def test_draws_on_given_axes(pyplot):
    figure, axes = pyplot.subplots(1, 2)
    display = AlignmentDisplay(ALIGNMENT, layer_names=["low", "middle", "high"])
    assert display.plot(axes[1], color="red", linestyle=":") is display
    assert display.ax_ is axes[1]
    assert display.figure_ is figure
    assert {line.get_color() for line in display.lines_} == {"red"}
    assert {line.get_linestyle() for line in display.lines_} == {":"}
    assert legend(display) == ["low", "middle", "high"]
    assert pyplot.get_fignums() == [figure.number]


@pytest.mark.parametrize("model", [DFAClassifier((8, 5), **WATCHED), DFARegressor((8, 5), **WATCHED)])
def test_from_a_plain_network_with_widths(model, data):
    X, y = data
    model.fit(X, y if "Classifier" in type(model).__name__ else y.astype(float))
    display = AlignmentDisplay.from_estimator(model, linewidth=3)
    np.testing.assert_array_equal(display.alignment_, model.alignment_)
    assert display.alignment_.shape == (3, 2)
    assert legend(display) == ["layer 1 (8 units)", "layer 2 (5 units)"]
    assert display.ax_.get_title() == type(model).__name__
    assert display.lines_[0].get_linewidth() == 3


def test_from_a_network_without_coefs(data):
    pytest.importorskip("torch")
    X, y = data
    model = DFAClassifier((6,), network=ImageNetwork((2, 2), (4,)), **WATCHED).fit(X, y)
    display = AlignmentDisplay.from_estimator(model)
    assert legend(display) == [f"layer {k + 1}" for k in range(model.alignment_.shape[1])]


def test_wrong_arguments_are_refused():
    with pytest.raises(ValueError, match=r"layer_names has shape \(2,\), but there are 3"):
        AlignmentDisplay(ALIGNMENT, layer_names=["a", "b"])
    for bad in (0.5, [0.5, 0.6], np.ones((2, 2, 2)), np.ones((0, 3)), np.ones((3, 0))):
        with pytest.raises(ValueError, match=r"shape \(n_epochs, n_hidden\)"):
            AlignmentDisplay(bad)
    for bad in ("true", None, [[1.0], [2.0, 3.0]], {"a": 1}):
        with pytest.raises(ValueError, match="alignment must"):
            AlignmentDisplay(bad)


def test_fitted_without_alignment_the_error_says_what_to_do(data):
    model = DFAClassifier((8,), max_iter=1).fit(*data)
    with pytest.raises(AttributeError, match=r"set feedback=Feedback\(alignment=True\) and fit again"):
        AlignmentDisplay.from_estimator(model)


@pytest.mark.parametrize("model", [LogisticRegression(), make_pipeline(StandardScaler(), DFAClassifier(8, **WATCHED))])
def test_an_estimator_without_alignment_is_refused(model, data):
    with pytest.raises(AttributeError, match="of a pipeline, give the last step"):
        AlignmentDisplay.from_estimator(model.fit(*data))


def test_an_alignment_that_is_no_array_is_refused(data):
    model = DFAClassifier((8,), **WATCHED).fit(*data)
    model.alignment_ = "high"
    with pytest.raises(ValueError, match="alignment must be an array of numbers"):
        AlignmentDisplay.from_estimator(model)


@pytest.mark.parametrize("model", [DFAClassifier(feedback=Feedback(alignment=True)), DFARegressor()])
def test_an_estimator_must_be_fitted(model):
    with pytest.raises(NotFittedError):
        AlignmentDisplay.from_estimator(model)
