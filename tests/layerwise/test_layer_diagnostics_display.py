"""LayerDiagnosticsDisplay: what each panel shows, under which names, that text stays apart, and what is refused."""

import itertools

import numpy as np
import pytest
from sklearn.base import BaseEstimator
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_analytic import LayerDiagnosticsDisplay

pytestmark = pytest.mark.usefixtures("pyplot")

DIAGNOSTICS = {
    "scores": [0.8, 0.9125, 0.9],
    "effective_ranks": [21.25, 12.5, 8.44],
    "seconds": [1.5, 0.75, 0.5],
    "n_bytes": [4_000_000, 2_000_000, 500_000],
}
WIDTHS = [64, 32, 16]


class Layerwise(BaseEstimator):
    """A network that was trained in partitions, without the training."""

    def __init__(self, partitions=((0, 1), (1, 3), (3, 6))):
        self.partitions = partitions

    def fit(self, X=None, y=None):
        self.layer_scores_ = np.array(DIAGNOSTICS["scores"])
        self.effective_ranks_ = np.array(DIAGNOSTICS["effective_ranks"])
        self.layer_seconds_ = np.array(DIAGNOSTICS["seconds"])
        self.layer_bytes_ = np.array(DIAGNOSTICS["n_bytes"])
        self.partitions_ = list(self.partitions)
        return self


@pytest.fixture(scope="module")
def drawn():
    """One display for all tests that only look."""
    pytest.importorskip("matplotlib").use("Agg")
    return LayerDiagnosticsDisplay(**DIAGNOSTICS, widths=WIDTHS).plot()


def with_coefs(*sizes):
    model = Layerwise().fit()
    model.coefs_ = [np.zeros(shape) for shape in itertools.pairwise(sizes)]
    return model


def texts(labels):
    return [label.get_text() for label in labels]


def heights(bars):
    return [bar.get_height() for bar in bars]


def tick_names(ax):
    return texts(ax.get_xticklabels())


def random_display(n_layers, seed=0, **kwargs):
    rng = np.random.default_rng(seed)
    values = {"scores": rng.uniform(0.5, 1, n_layers), "effective_ranks": rng.uniform(0, 64, n_layers)}
    costs = {"seconds": rng.uniform(1, 2, n_layers), "n_bytes": rng.uniform(1e6, 1e7, n_layers)}
    return LayerDiagnosticsDisplay(**values, **costs, **kwargs)


# ---- what is drawn ----


def test_every_panel_shows_its_array(drawn):
    for line, name in ((drawn.score_line_, "scores"), (drawn.rank_line_, "effective_ranks")):
        assert line.get_xdata().tolist() == [0, 1, 2]
        assert line.get_ydata().tolist() == DIAGNOSTICS[name]
        assert line.get_marker() == "o"
    assert heights(drawn.seconds_bars_) == [1.5, 0.75, 0.5]
    assert heights(drawn.bytes_bars_) == [4.0, 2.0, 0.5]
    for bars in (drawn.seconds_bars_, drawn.bytes_bars_):
        assert [bar.get_x() + bar.get_width() / 2 for bar in bars] == pytest.approx([0, 1, 2])


def test_panels_in_their_order(drawn):
    assert [ax.get_ylabel() for ax in drawn.axes_] == ["score", "effective rank", "time (s)", "memory (MB)"]
    artists = (drawn.score_line_, drawn.rank_line_, drawn.seconds_bars_[0], drawn.bytes_bars_[0])
    assert [artist.axes for artist in artists] == drawn.axes_.tolist()
    assert all(ax.figure is drawn.figure_ for ax in drawn.axes_)
    assert len({ax.get_xlim() for ax in drawn.axes_}) == 1


def test_arrays_are_kept(drawn):
    for attribute in ("scores_", "effective_ranks_", "seconds_", "n_bytes_"):
        assert getattr(drawn, attribute).tolist() == DIAGNOSTICS[attribute[:-1]]
    assert drawn.widths_.tolist() == WIDTHS
    assert LayerDiagnosticsDisplay(**DIAGNOSTICS).widths_ is None


def test_widths_are_dashed_lines_over_the_layers(drawn):
    ends = [segment.tolist() for segment in drawn.width_lines_.get_segments()]
    assert ends == [[[k - 0.5, width], [k + 0.5, width]] for k, width in enumerate(WIDTHS)]
    assert drawn.width_lines_.axes is drawn.axes_[1]
    assert drawn.width_lines_.get_linestyle()[0][1] is not None  # dashes
    assert texts(drawn.axes_[1].get_legend().get_texts()) == ["width"]
    low, high = drawn.axes_[1].get_ylim()
    assert low == 0 and high > max(WIDTHS)


def test_without_widths_no_line_and_no_legend():
    display = LayerDiagnosticsDisplay(**DIAGNOSTICS).plot()
    assert display.width_lines_ is None
    assert display.axes_[1].get_legend() is None


@pytest.mark.parametrize("scores", [[0.9], [0.9, 0.9, 0.9], [-3.0, 0.2], [0.9, 0.90001]])
def test_score_limits_do_not_blow_up_small_differences(scores):
    n_layers = len(scores)
    display = LayerDiagnosticsDisplay(
        scores=scores, effective_ranks=[1.0] * n_layers, seconds=[0.0] * n_layers, n_bytes=[0] * n_layers
    ).plot()
    low, high = display.axes_[0].get_ylim()
    assert low <= min(scores) - 0.0099 and high >= max(scores) + 0.0099


@pytest.mark.parametrize("scores", [[0.999, 1.0, 1.0], [0.4, 0.98, 0.97], [-5.0, 1.0, 0.3]])
def test_no_tick_of_the_score_is_above_1(scores):
    """An accuracy and an R2 end at 1; a marker there is drawn whole all the same."""
    display = LayerDiagnosticsDisplay(**DIAGNOSTICS | {"scores": scores}).plot()
    display.figure_.draw_without_rendering()
    ax = display.axes_[0]
    ticks = [tick for tick in ax.get_yticks() if ax.get_ylim()[0] <= tick <= ax.get_ylim()[1]]
    assert ticks[-1] <= 1
    room = np.diff(ax.transData.transform([(0, max(scores)), (0, ax.get_ylim()[1])])[:, 1])
    assert room > display.score_line_.get_markersize() / 2 * display.figure_.dpi / 72


def test_scores_above_1_are_seen():
    high = max(LayerDiagnosticsDisplay(**DIAGNOSTICS | {"scores": [3.0, 5.0, 4.0]}).plot().axes_[0].get_ylim())
    assert high > 5


def test_a_missing_rank_is_a_gap():
    ranks = [20.0, np.nan, 8.0]
    display = LayerDiagnosticsDisplay(**DIAGNOSTICS | {"effective_ranks": ranks}).plot()
    np.testing.assert_array_equal(display.rank_line_.get_ydata(), ranks)


@pytest.mark.parametrize("widths", [None, WIDTHS])
def test_missing_ranks_are_said(drawn, widths):
    display = LayerDiagnosticsDisplay(**DIAGNOSTICS | {"effective_ranks": [np.nan] * 3}, widths=widths).plot()
    assert "not measured" in texts(display.axes_[1].texts)
    assert np.isfinite(display.axes_[1].get_ylim()).all()
    assert "not measured" not in texts(drawn.axes_[1].texts)


def test_style_of_lines_and_bars():
    display = LayerDiagnosticsDisplay(**DIAGNOSTICS)
    assert (
        display.plot(line_kwargs={"color": "red", "marker": "x"}, bar_kwargs={"color": "green", "width": 0.5})
        is display
    )
    for line in (display.score_line_, display.rank_line_):
        assert (line.get_color(), line.get_marker()) == ("red", "x")
    for bar in (*display.seconds_bars_, *display.bytes_bars_):
        assert bar.get_facecolor() == (0.0, 128 / 255, 0.0, 1.0)
        assert bar.get_width() == pytest.approx(0.5)


# ---- few layers and many ----


def test_one_layer_is_a_point_and_narrow_bars():
    display = random_display(1, widths=[64]).plot()
    assert len(display.score_line_.get_xdata()) == len(display.seconds_bars_) == 1
    assert tick_names(display.axes_[3]) == ["layer 1"]
    low, high = display.axes_[3].get_xlim()
    assert display.seconds_bars_[0].get_width() < (high - low) / 3


def test_sixteen_layers_all_have_their_names_and_of_many_the_top_one():
    display = random_display(16).plot()
    assert tick_names(display.axes_[3]) == [f"layer {k}" for k in range(1, 17)]
    names = tick_names(random_display(40).plot().axes_[3])
    assert len(names) == 20 and names[-1] == "layer 40"


@pytest.mark.parametrize(("n_layers", "angle"), [(3, 0), (16, 45), (40, 45)])
def test_names_do_not_overlap(n_layers, angle):
    display = random_display(n_layers).plot()
    display.figure_.draw_without_rendering()
    labels = display.axes_[3].get_xticklabels()
    assert {label.get_rotation() for label in labels} == {angle}
    places = display.axes_[3].transData.transform([(place, 0) for place in display.axes_[3].get_xticks()])[:, 0]
    size = labels[0].get_fontsize() * display.figure_.dpi / 72
    across = size if angle else max(label.get_window_extent().width for label in labels)
    assert (np.diff(places) * (np.sin(np.deg2rad(angle)) or 1) > across).all()


# ---- axes ----


@pytest.mark.parametrize("shape", [(2, 2), (4, 1)])
def test_draws_on_given_axes(pyplot, shape):
    figure, axes = pyplot.subplots(*shape)
    display = LayerDiagnosticsDisplay(**DIAGNOSTICS, estimator_name="ours").plot(axes)
    assert display.axes_.tolist() == axes.ravel().tolist()
    assert display.figure_ is figure
    assert pyplot.get_fignums() == [figure.number]
    assert figure.get_suptitle() == ""


def test_axes_can_be_a_list(pyplot):
    _, axes = pyplot.subplots(1, 4)
    assert LayerDiagnosticsDisplay(**DIAGNOSTICS).plot(list(axes)[::-1]).axes_[0] is axes[3]


@pytest.mark.parametrize("n_axes", [1, 2, 3, 5])
def test_another_number_of_axes_is_refused(pyplot, n_axes):
    _, axes = pyplot.subplots(1, n_axes)
    with pytest.raises(ValueError, match=rf"axes must be 4 matplotlib Axes, got {n_axes}"):
        LayerDiagnosticsDisplay(**DIAGNOSTICS).plot(axes)


def test_the_limits_hold_two_displays(pyplot):
    _, axes = pyplot.subplots(2, 2)
    LayerDiagnosticsDisplay(**DIAGNOSTICS).plot(axes)
    higher = {"scores": [0.1, 0.2, 0.3], "effective_ranks": [1.0, 2.0, 3.0]}
    second = LayerDiagnosticsDisplay(**DIAGNOSTICS | higher).plot(axes)
    low, high = second.axes_[0].get_ylim()
    assert low < 0.1 and high > 0.9125
    assert second.axes_[1].get_ylim()[1] > 21.25


# ---- from an estimator ----


def test_from_an_estimator():
    model = with_coefs(5, 64, 20, 32, 21, 22, 16, 2)
    display = LayerDiagnosticsDisplay.from_estimator(model, line_kwargs={"linewidth": 3}, bar_kwargs={"width": 0.3})
    assert display.scores_.tolist() == DIAGNOSTICS["scores"]
    assert display.effective_ranks_.tolist() == DIAGNOSTICS["effective_ranks"]
    assert display.seconds_.tolist() == DIAGNOSTICS["seconds"]
    assert display.n_bytes_.tolist() == DIAGNOSTICS["n_bytes"]
    assert display.widths_.tolist() == [64, 32, 16]  # of the top layer of each partition
    assert display.layer_names.tolist() == ["layer 1", "layers 2-3", "layers 4-6"]
    assert tick_names(display.axes_[3]) == ["layer 1", "layers 2-3", "layers 4-6"]
    assert display.figure_.get_suptitle() == "Layerwise"
    assert display.score_line_.get_linewidth() == 3
    assert display.seconds_bars_[0].get_width() == pytest.approx(0.3)


def test_from_an_estimator_on_given_axes(pyplot):
    _, axes = pyplot.subplots(2, 2)
    assert LayerDiagnosticsDisplay.from_estimator(Layerwise().fit(), axes=axes).axes_[3] is axes[1, 1]


@pytest.mark.parametrize("model", [Layerwise().fit(), with_coefs(5, 64, 2)], ids=["no coefs", "other layers"])
def test_widths_that_are_not_known_are_not_drawn(model):
    assert LayerDiagnosticsDisplay.from_estimator(model).width_lines_ is None


def test_names():
    assert LayerDiagnosticsDisplay(**DIAGNOSTICS).layer_names.tolist() == ["layer 1", "layer 2", "layer 3"]
    named = LayerDiagnosticsDisplay(**DIAGNOSTICS, layer_names=["low", "middle", 3]).plot()
    assert tick_names(named.axes_[3]) == ["low", "middle", "3"]
    assert named.figure_.get_suptitle() == ""


# ---- what is refused ----


@pytest.mark.parametrize("name", [*DIAGNOSTICS, "widths"])
@pytest.mark.parametrize("bad", ["high", [[1.0], [2.0, 3.0]], {"a": 1}])
def test_no_numbers_are_refused(name, bad):
    with pytest.raises(ValueError, match=f"{name} must be an array of numbers"):
        LayerDiagnosticsDisplay(**DIAGNOSTICS | {name: bad})


@pytest.mark.parametrize("name", [*DIAGNOSTICS, "widths"])
@pytest.mark.parametrize("bad", [1.0, [], np.ones((3, 1))])
def test_another_shape_is_refused(name, bad):
    with pytest.raises(ValueError, match=rf"{name} must have shape \(n_layers,\)"):
        LayerDiagnosticsDisplay(**DIAGNOSTICS | {name: bad})


@pytest.mark.parametrize("name", ["effective_ranks", "seconds", "n_bytes", "widths"])
def test_another_length_is_refused(name):
    with pytest.raises(ValueError, match=f"{name} has 2 values, but scores has 3"):
        LayerDiagnosticsDisplay(**DIAGNOSTICS | {name: [1.0, 2.0]})


@pytest.mark.parametrize(
    ("name", "bad", "words"),
    [
        ("scores", np.nan, "must be finite, got nan for layer 2"),
        ("scores", -np.inf, "must be finite, got -inf for layer 2"),
        ("effective_ranks", np.inf, "must be finite, at least 0, or NaN where it is not known, got inf for layer 2"),
        ("effective_ranks", -1.0, "got -1.0 for layer 2"),
        ("seconds", np.nan, "must be finite, at least 0, got nan for layer 2"),
        ("seconds", -0.1, "got -0.1 for layer 2"),
        ("n_bytes", -1, "got -1.0 for layer 2"),
        ("widths", -5, "got -5.0 for layer 2"),
    ],
)
def test_impossible_values_are_refused(name, bad, words):
    with pytest.raises(ValueError, match=f"{name} .*{words}"):
        LayerDiagnosticsDisplay(**DIAGNOSTICS | {name: [1.0, bad, 2.0]})


def test_another_number_of_names_is_refused():
    with pytest.raises(ValueError, match=r"layer_names has shape \(2,\), but there are 3 layers"):
        LayerDiagnosticsDisplay(**DIAGNOSTICS, layer_names=["a", "b"])


@pytest.mark.parametrize(
    "attribute", ["layer_scores_", "effective_ranks_", "layer_seconds_", "layer_bytes_", "partitions_"]
)
def test_a_missing_attribute_is_named(attribute):
    model = Layerwise().fit()
    delattr(model, attribute)
    with pytest.raises(AttributeError, match=f"Layerwise has no {attribute}: give an estimator that was trained layer"):
        LayerDiagnosticsDisplay.from_estimator(model)


@pytest.mark.parametrize("last", [LogisticRegression(), Layerwise()])
def test_of_a_pipeline_the_last_step_is_asked_for(last):
    model = make_pipeline(StandardScaler(), last).fit([[0.0], [1.0], [2.0]], [0, 1, 1])
    with pytest.raises(AttributeError, match="of a pipeline, give the last step"):
        LayerDiagnosticsDisplay.from_estimator(model)


def test_the_last_step_of_a_pipeline_is_drawn():
    model = make_pipeline(StandardScaler(), Layerwise()).fit([[0.0], [1.0], [2.0]], [0, 1, 1])
    assert LayerDiagnosticsDisplay.from_estimator(model[-1]).figure_.get_suptitle() == "Layerwise"


def test_an_estimator_must_be_fitted():
    with pytest.raises(NotFittedError):
        LayerDiagnosticsDisplay.from_estimator(Layerwise())
