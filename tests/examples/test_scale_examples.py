"""The gallery of scale runs in quick mode, as a user runs it, and shows what it says."""

import pytest

from tests.examples.test_examples import EXAMPLES, run_script


def test_out_of_core_example(tmp_path):
    """The second job reads the blocks that the first one did not, and ends with the same model."""
    pytest.importorskip("matplotlib")
    pytest.importorskip("sklearn.callback")
    output = run_script(EXAMPLES / "plot_13_out_of_core.py", "--out", tmp_path, cwd=tmp_path)
    rows = [line.split() for line in output.splitlines()[1:-1]]
    assert [int(row[1]) for row in rows] == [400 * k for k in range(1, 21)]
    assert [row[0] for row in rows] == ["first"] * 12 + ["second"] * 8
    assert float(rows[-1][2]) > float(rows[0][2]) > 0.2
    assert output.splitlines()[-1] == "the same coefficients as without the interruption: True"
    assert (tmp_path / "out_of_core.png").stat().st_size > 10_000
