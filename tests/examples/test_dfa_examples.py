"""The gallery of direct feedback runs in quick mode, as a user runs it, and shows what it says."""

import pytest

from tests.examples.test_examples import EXAMPLES, row_of, run_script


def test_dfa_example(tmp_path):
    """The default is close to backpropagation in accuracy, and its cosines are above those of fixed feedback."""
    pytest.importorskip("matplotlib")
    output = run_script(EXAMPLES / "plot_08_dfa.py", "--out", tmp_path, cwd=tmp_path)
    rows = {name: row_of(output, name) for name in ("backprop", "refresh", "product", "random", "binary", "learned")}
    assert rows["refresh"][0] > rows["backprop"][0] - 0.02
    assert rows["backprop"][3:] == [1.0, 1.0, 1.0]
    for name in ("product", "random", "binary"):
        assert min(rows["refresh"][3:]) > min(rows[name][3:])
    assert min(row[0] for row in rows.values()) > 0.85
    assert (tmp_path / "dfa.png").stat().st_size > 10_000


def test_online_example(tmp_path):
    """Learning on the way keeps more of the object in the box."""
    pytest.importorskip("matplotlib")
    pytest.importorskip("PIL")
    output = run_script(EXAMPLES / "plot_09_dfa_online.py", "--out", tmp_path, cwd=tmp_path)
    learners = [row_of(output, name)[0] for name in ("backprop", "direct feedback", "binary feedback")]
    assert max(learners) > row_of(output, "no update")[0]
    assert max(learners) > 0.5
    assert (tmp_path / "dfa_online.png").stat().st_size > 10_000


def test_images_of_dfa_example(tmp_path):
    """The hybrid keeps up with backpropagation, literal DFA does not; 4 bits need a sixth of the memory or less."""
    pytest.importorskip("matplotlib")
    pytest.importorskip("torch")
    output = run_script(EXAMPLES / "plot_10_dfa_images.py", "--out", tmp_path, cwd=tmp_path)
    output = output.replace(",", "")  # of the names too
    exact, hybrid, literal = (row_of(output, name) for name in ("backprop", "hybrid  ", "literal DFA"))
    packed = row_of(output, "hybrid 4 bits")
    assert hybrid[0] > exact[0] - 0.05
    assert hybrid[0] > literal[0]
    assert packed[0] > hybrid[0] - 0.05
    assert packed[-1] < exact[-1] / 6
    assert (tmp_path / "dfa_images.png").stat().st_size > 10_000


def test_every_example_of_direct_feedback_is_tested():
    with open(__file__, encoding="utf-8") as file:
        source = file.read()
    assert [path.name for path in EXAMPLES.glob("plot_*dfa*.py") if path.name not in source] == []
