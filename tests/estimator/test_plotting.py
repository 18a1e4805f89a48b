"""What all displays share: figures on demand, and arguments beside those of the estimator."""

import sys

import numpy as np
import pytest

import sklearn_analytic as sa
from sklearn_analytic.estimator.plotting import EstimatorDisplay, epoch_lines

RECORD = {"n_workers": 2, "compression": None, "layers": ["0.weight"], "weight_entropy": [[6.0]]}
RECORD |= {name: [8.0] for name in ("payload_bytes", "wire_bytes", "uncompressed_bytes")}
DRAWN = {
    sa.AlignmentDisplay: lambda: sa.AlignmentDisplay([[0.5]]).plot(),
    sa.CommunicationDisplay: lambda: sa.CommunicationDisplay(RECORD).plot(),
    sa.FeatureImportanceDisplay: lambda: sa.FeatureImportanceDisplay([0.5]).plot(),
    sa.IntervalDisplay: lambda: sa.IntervalDisplay([0.5], [[0.0, 1.0]]).plot(),
    sa.LayerDiagnosticsDisplay: lambda: sa.LayerDiagnosticsDisplay(
        scores=[1], effective_ranks=[1], seconds=[1], n_bytes=[1]
    ).plot(),
    sa.TimelineDisplay: sa.TimelineDisplay.from_schedule,
}


@pytest.mark.parametrize("kind", DRAWN, ids=lambda kind: kind.__name__)
def test_without_matplotlib_the_error_names_the_extra(kind, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ImportError, match=rf'{kind.__name__} needs .*pip install "sklearn_analytic\[plot\]"'):
        DRAWN[kind]()


def test_every_display_is_here():
    assert set(DRAWN) == {getattr(sa, name) for name in sa.__all__ if name.endswith("Display")}
    assert all(issubclass(kind, EstimatorDisplay) for kind in DRAWN)


def test_arguments_of_the_display_come_before_what_the_estimator_says(pyplot):
    X = np.arange(40.0).reshape(20, 2)
    model = sa.DFAClassifier((4, 3), feedback=sa.Feedback(alignment=True), max_iter=2, random_state=0)
    model.fit(X, X[:, 0] > 20)
    display = sa.AlignmentDisplay.from_estimator(model, layer_names=["low", "high"], estimator_name=None, color="red")
    assert [line.get_label() for line in display.lines_] == ["low", "high"]
    assert display.estimator_name == "DFAClassifier"  # None is no argument
    assert {line.get_color() for line in display.lines_} == {"red"}


@pytest.mark.parametrize("n_epochs", [1, 2, 50])
def test_ticks_are_whole_epochs(pyplot, n_epochs):
    _, ax = pyplot.subplots()
    epoch_lines(ax, ["a"], [np.ones(n_epochs)], {})
    ticks = ax.get_xticks()
    assert len(ticks) and np.array_equal(ticks, ticks.round())
