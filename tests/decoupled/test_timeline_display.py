"""TimelineDisplay: what is drawn, which window, and what is refused."""

from itertools import pairwise

import numpy as np
import pytest
from sklearn.exceptions import NotFittedError

from sklearn_analytic import DecoupledMLPClassifier, DFAClassifier, PipelineRule, TimelineDisplay
from sklearn_analytic.decoupled.pipeline import PipelineSchedule
from sklearn_analytic.decoupled.simulation import ModuleCosts, simulate

pytestmark = pytest.mark.usefixtures("pyplot")

KINDS = ("forward", "backward", "update")


@pytest.fixture(scope="module")
def fitted():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((160, 6))
    model = DecoupledMLPClassifier((8, 8, 8), schedule="fdg", n_modules=3, batch_size=16, max_iter=3, random_state=0)
    return model.fit(X, X[:, 0] > 0)


def spans(bars):
    """[(row, begin, end), ...] of bars."""
    return [(round(bar.get_y() + bar.get_height() / 2, 9), bar.get_x(), bar.get_x() + bar.get_width()) for bar in bars]


def legend(display):
    return [text.get_text() for text in display.ax_.get_legend().get_texts()]


def test_bars_are_the_operations_of_the_schedule():
    """Two modules of FDG by hand: forward 1, backward 2; module 1 sends batch b - 2 back before it forwards batch b."""
    display = TimelineDisplay.from_schedule("fdg", n_modules=2, n_batches=3)
    assert spans(display.bars_["forward"]) == [(0, 0, 1), (0, 1, 2), (1, 1, 2), (1, 4, 5), (0, 6, 7), (1, 7, 8)]
    assert spans(display.bars_["backward"]) == [(1, 2, 4), (0, 4, 6), (1, 5, 7), (0, 7, 9), (1, 8, 10), (0, 10, 12)]
    assert all(begin == end for _, begin, end in spans(display.bars_["update"]))
    assert display.ax_.get_xlabel() == "time (forward passes of a module)"
    assert display.ax_.get_title() == "schedule='fdg', ideal"
    assert sorted(text.get_text() for text in display.numbers_) == list("000011112222")
    assert display.batches_.tolist() == [0, 1, 2] and display.n_modules_ == 2


@pytest.mark.parametrize("schedule", ["backprop", "ddg", "fdg", "adl", "dtrp"])
def test_every_schedule_is_that_of_the_model(schedule):
    display = TimelineDisplay.from_schedule(schedule, n_modules=3, n_batches=5, accumulation_steps=2)
    rule = PipelineSchedule(schedule, schedule == "ddg", accumulation=2, recompute=schedule == "dtrp")
    timeline = simulate(rule, [ModuleCosts(1, 2)] * 3, 5)
    for kind in KINDS:
        mine = timeline[timeline["kind"] == kind]
        assert spans(display.bars_[kind]) == [(op["module"], op["begin"], op["end"]) for op in mine]
    backward = "backward, with recomputation" if schedule == "dtrp" else "backward"
    assert legend(display) == ["forward", backward, "update", "batch 2"]


def test_options_of_a_schedule_reach_it():
    usual = TimelineDisplay.from_schedule("ddg", n_modules=2, n_batches=4)
    late = TimelineDisplay.from_schedule("ddg", n_modules=2, n_batches=4, operation_order="backward_first")
    again = TimelineDisplay.from_schedule("ddg", n_modules=2, n_batches=4, recompute=True)
    ends = [display.timeline_["end"].max() for display in (usual, late, again)]
    # module 2 works without a gap between; both wait for each other; module 1: F F . B F B F B B, its first B at 4
    assert ends == [1 + 4 * 3 + 2, 4 * 6, 4 + 3 + (1 + 3) + (1 + 3) + 3]


def test_a_batch_is_followed_up_and_down():
    display = TimelineDisplay.from_schedule("fdg", n_modules=3, n_batches=6, follow=2)
    assert display.followed_ == 2 and legend(display)[-1] == "batch 2"
    starts, ends = ([getattr(arrow, name) for arrow in display.path_] for name in ("xyann", "xy"))
    assert [round(2 * y) for _, y in starts] == [1, 3, 3, 1]  # 2 y: between the rows 0, 1, 2, up and then down
    assert all(b[0] >= a[0] for a, b in zip(starts, ends, strict=True))
    assert all(later[0] >= earlier[0] for earlier, later in pairwise(starts))
    assert TimelineDisplay.from_schedule(n_modules=3, n_batches=6).followed_ == 3
    plain = TimelineDisplay.from_schedule(follow=None, legend=False)
    assert plain.path_ == [] and plain.followed_ is None and plain.ax_.get_legend() is None
    with pytest.raises(ValueError, match="follow=6 is no batch of those shown, 0 to 5"):
        TimelineDisplay.from_schedule(n_batches=6, follow=6)


def test_estimator_shows_its_last_batches_in_milliseconds(fitted):
    display = TimelineDisplay.from_estimator(fitted, n_batches=4)
    timeline = fitted.timeline_
    assert display.batches_.tolist() == [26, 27, 28, 29]  # of three epochs of ten
    mine = timeline[np.isin(timeline["batch"], display.batches_)]
    begin, end = mine["begin"].min(), mine["end"].max()
    shown = timeline[(timeline["end"] >= begin) & (timeline["begin"] <= end)]
    for kind in KINDS:
        ops = shown[shown["kind"] == kind]
        drawn = np.array(spans(display.bars_[kind]))
        np.testing.assert_array_equal(drawn[:, 0], ops["module"])
        np.testing.assert_allclose(drawn[:, 1], (ops["begin"] - begin) * 1e3, atol=1e-9)
        np.testing.assert_allclose(drawn[:, 2], (ops["end"] - begin) * 1e3, atol=1e-9)
    low, high = display.ax_.get_xlim()
    assert low <= 0 < 0.99 * high < (end - begin) * 1e3 <= high
    assert display.ax_.get_xlabel() == "time (ms)"
    assert display.ax_.get_title() == "DecoupledMLPClassifier(schedule='fdg')"
    assert [label.get_text() for label in display.ax_.get_yticklabels()] == ["module 1", "module 2", "module 3 (loss)"]


def test_a_window_can_be_chosen(fitted):
    assert TimelineDisplay.from_estimator(fitted).batches_.tolist() == list(range(18, 30))
    display = TimelineDisplay.from_estimator(fitted, first_batch=3, n_batches=2, follow=4)
    assert display.batches_.tolist() == [3, 4] and display.followed_ == 4
    assert set(display.timeline_["batch"].tolist()) > {3, 4}  # a gap in a row is time in which the module waits
    with pytest.raises(ValueError, match="first_batch=30 is not kept in full: give a batch of 0 to 29"):
        TimelineDisplay.from_estimator(fitted, first_batch=30)
    with pytest.raises(ValueError, match="n_batches"):
        TimelineDisplay.from_estimator(fitted, n_batches=0)


@pytest.mark.parametrize(
    ("parameters", "again"),
    [
        ({"schedule": "dtrp"}, True),
        ({"schedule": "fdg", "pipeline": PipelineRule(recompute=True)}, True),
        ({"schedule": "auto"}, False),
    ],
)
def test_the_legend_says_what_the_estimator_recomputes(parameters, again):
    X = np.arange(64.0)[:, None]
    model = DecoupledMLPClassifier((4, 4), batch_size=8, max_iter=1, random_state=0, **parameters).fit(X, X[:, 0] > 30)
    display = TimelineDisplay.from_estimator(model, n_batches=2)
    assert legend(display)[1] == ("backward, with recomputation" if again else "backward")


def test_batches_that_never_came_back_are_not_whole():
    rule = PipelineSchedule("fdg", drain=False)
    timeline = simulate(rule, [ModuleCosts(1, 2)] * 3, 9)
    assert TimelineDisplay(timeline).batches_.tolist() == [0, 1, 2, 3, 4]  # 2 (K - 1) are still on their way
    with pytest.raises(ValueError, match="pipeline__drain=True"):
        TimelineDisplay(timeline[timeline["batch"] > 4])


def test_numbers_are_drawn_where_there_is_room():
    few = TimelineDisplay.from_schedule(n_modules=2, n_batches=4)
    assert len(few.numbers_) == 2 * 2 * 4
    many = TimelineDisplay.from_schedule(n_modules=2, n_batches=150)
    assert many.numbers_ == []


def test_numbers_fit_into_their_bars():
    display = TimelineDisplay.from_schedule("dtrp", n_modules=4, n_batches=14)
    display.figure_.canvas.draw()
    bars = [bar.get_window_extent() for kind in KINDS[:2] for bar in display.bars_[kind]]
    for number in display.numbers_:
        box = number.get_window_extent()
        assert any(bar.x0 <= box.x0 and box.x1 <= bar.x1 and bar.y0 <= box.y0 and box.y1 <= bar.y1 for bar in bars), (
            number.get_text()
        )


def test_legend_covers_no_bar():
    display = TimelineDisplay.from_schedule("dtrp")
    display.figure_.canvas.draw()
    assert display.ax_.get_legend().get_window_extent().x0 > display.ax_.get_window_extent().x1


def test_colours_differ_in_grey():
    from matplotlib.colors import to_rgb

    display = TimelineDisplay.from_schedule()
    grey = sorted(np.dot(to_rgb(display.bars_[kind][0].get_facecolor()), (0.299, 0.587, 0.114)) for kind in KINDS)
    assert np.diff(grey).min() > 0.15


def test_given_axes_and_style(pyplot, fitted):
    figure, axes = pyplot.subplots(2)
    display = TimelineDisplay.from_estimator(fitted, ax=axes[1])
    assert display.ax_ is axes[1] and display.figure_ is figure
    assert display.plot(axes[0], bar_kwargs={"alpha": 0.5}) is display
    assert display.ax_ is axes[0]
    assert {bar.get_alpha() for kind in KINDS for bar in display.bars_[kind]} == {0.5}


def test_wrong_timelines_are_refused(fitted):
    with pytest.raises(ValueError, match="structured array with the fields"):
        TimelineDisplay([1, 2])
    with pytest.raises(ValueError, match="no operation"):
        TimelineDisplay(fitted.timeline_[:0])
    with pytest.raises(ValueError, match="schedule"):
        TimelineDisplay.from_schedule("gpipe")
    with pytest.raises(ValueError, match="n_modules"):
        TimelineDisplay.from_schedule(n_modules=0)
    with pytest.raises(ValueError, match="operation_order"):
        TimelineDisplay.from_schedule(operation_order="first")


def test_estimators_without_a_timeline_are_refused():
    with pytest.raises(NotFittedError):
        TimelineDisplay.from_estimator(DecoupledMLPClassifier())
    model = DFAClassifier((4,), max_iter=1, random_state=0).fit([[0.0], [1.0], [2.0]], [0, 1, 1])
    with pytest.raises(AttributeError, match="DFAClassifier has no timeline_: give a DecoupledMLPClassifier"):
        TimelineDisplay.from_estimator(model)
