"""The gallery of scale runs as a notebook, and shows what it says."""

import pytest

from tests.examples.notebooks import run_notebook


def test_out_of_core_example(tmp_path):
    """The second job reads the blocks that the first one did not, and ends with the same model."""
    pytest.importorskip("sklearn.callback", reason="callbacks are new in scikit-learn 1.9")
    text = run_notebook("plot_13_out_of_core", tmp_path).text
    rows = [line.split() for line in text.splitlines() if line.startswith(("first ", "second "))]
    assert [int(row[1]) for row in rows] == [400 * k for k in range(1, 21)]
    assert [row[0] for row in rows] == ["first"] * 12 + ["second"] * 8
    assert float(rows[-1][2]) > float(rows[0][2]) > 0.2
    assert "the same coefficients as without the interruption: True" in text
    assert "checkpoint left behind: False" in text
