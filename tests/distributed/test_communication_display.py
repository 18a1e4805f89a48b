"""CommunicationDisplay: what is drawn, under which names, and what is refused."""

import numpy as np
import pytest
from sklearn.exceptions import NotFittedError

from sklearn_analytic import CommunicationDisplay, DFAClassifier

pytestmark = pytest.mark.usefixtures("pyplot")

RECORD = {
    "n_workers": 4,
    "compression": "entropy",
    "payload_bytes": [10.0, 8.0, 7.0],
    "wire_bytes": [30.0, 24.0, 21.0],
    "uncompressed_bytes": [400.0, 400.0, 400.0],
    "layers": ["0.weight", "2.weight"],
    "weight_entropy": [[6.0, 5.0], [5.9, 5.1], [5.8, 5.2]],
}


class Trained(DFAClassifier):
    """An estimator that has a record."""

    def __init__(self):
        self.communication_ = RECORD

    def __sklearn_is_fitted__(self):
        return True


def legend(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()]


def test_two_panels():
    display = CommunicationDisplay.from_estimator(Trained())
    left, right = display.axes_
    assert legend(left) == ["uncompressed", "sent", "payload"]
    assert legend(right) == RECORD["layers"]
    drawn = [RECORD["uncompressed_bytes"], RECORD["wire_bytes"], RECORD["payload_bytes"]]
    for line, values in zip(display.bytes_lines_, drawn, strict=True):
        assert line.get_xdata().tolist() == [1, 2, 3]
        assert line.get_ydata().tolist() == values
    for line, values in zip(display.entropy_lines_, np.transpose(RECORD["weight_entropy"]), strict=True):
        assert line.get_ydata().tolist() == values.tolist()
    assert left.get_yscale() == "log" and right.get_yscale() == "linear"
    assert left.get_title() == "Trained: 4 workers, entropy"
    assert display.figure_ is left.figure is right.figure


def test_given_axes_and_style(pyplot):
    figure, axes = pyplot.subplots(2)
    display = CommunicationDisplay(RECORD)
    assert display.plot(axes, color="red") is display
    assert display.figure_ is figure
    assert {line.get_color() for line in display.bytes_lines_ + display.entropy_lines_} == {"red"}
    assert display.axes_[0].get_title() == "4 workers, entropy"
    with pytest.raises(ValueError, match="axes must be 2 matplotlib Axes, got 1"):
        display.plot(axes[:1])


def test_uncompressed_and_a_single_epoch():
    record = {key: value[:1] if isinstance(value, list) and key != "layers" else value for key, value in RECORD.items()}
    record |= {"compression": None, "wire_bytes": [0.0], "payload_bytes": [0.0], "uncompressed_bytes": [0.0]}
    display = CommunicationDisplay(record).plot()
    assert display.axes_[0].get_title() == "4 workers, uncompressed"
    assert display.axes_[0].get_yscale() == "linear"  # nothing was sent: there is no logarithm
    assert display.bytes_lines_[0].get_marker() == "o"


def test_wrong_records_are_refused():
    with pytest.raises(ValueError, match=r"it lacks \['layers'\]"):
        CommunicationDisplay({key: value for key, value in RECORD.items() if key != "layers"})
    with pytest.raises(ValueError, match="must be the dict communication_"):
        CommunicationDisplay([1, 2])
    with pytest.raises(ValueError, match="no epoch"):
        CommunicationDisplay(RECORD | {"wire_bytes": []})


def test_estimators_without_a_record_are_refused():
    with pytest.raises(NotFittedError):
        CommunicationDisplay.from_estimator(DFAClassifier())
    model = DFAClassifier((4,), max_iter=1, random_state=0).fit([[0.0], [1.0], [2.0]], [0, 1, 1])
    with pytest.raises(AttributeError, match="data_parallel"):
        CommunicationDisplay.from_estimator(model)
