"""Examples of direct feedback run as notebooks, and what they say is what they show."""

import pytest

from tests.examples.notebooks import EXAMPLES, run_notebook
from tests.examples.test_closed_form_examples import numbers_after


def test_dfa_example(tmp_path):
    """The default is close to backpropagation in accuracy, and its cosines are above those of fixed feedback."""
    text = run_notebook("plot_08_dfa", tmp_path).text
    names = ("backprop", "refresh", "product", "random", "binary", "learned")
    rows = {name: numbers_after(text, name) for name in names}
    assert rows["refresh"][0] > rows["backprop"][0] - 0.02
    assert rows["backprop"][3:] == [1.0, 1.0, 1.0]
    for name in ("product", "random", "binary"):
        assert min(rows["refresh"][3:]) > min(rows[name][3:])
    assert min(row[0] for row in rows.values()) > 0.85


def test_online_example(tmp_path):
    """Learning on the way keeps the tracker on the object, whichever error it learns from."""
    pytest.importorskip("PIL")
    text = run_notebook("plot_09_dfa_online", tmp_path).text
    learners = [numbers_after(text, name)[0] for name in ("backprop", "direct feedback", "binary feedback")]
    assert min(learners) > 0.9
    assert min(learners) > numbers_after(text, "no update")[0]


def test_images_of_dfa_example(tmp_path):
    """The hybrid keeps up with backpropagation, literal DFA does not; 4 bits need a sixth of the memory or less."""
    pytest.importorskip("torch")
    table = run_notebook("plot_10_dfa_images", tmp_path).text.split("bytes kept by a batch")[1]
    exact, hybrid, literal = (numbers_after(table, name) for name in ("backprop", "hybrid  ", "literal DFA"))
    packed = numbers_after(table, "hybrid, 4 bits")
    assert hybrid[0] > exact[0] - 0.05
    assert hybrid[0] > literal[0]
    assert packed[0] > hybrid[0] - 0.05
    assert packed[-1] < exact[-1] / 6


def test_every_example_of_direct_feedback_is_tested():
    with open(__file__, encoding="utf-8") as file:
        source = file.read()
    assert [path.stem for path in EXAMPLES.glob("plot_*dfa*.py") if path.stem not in source] == []
