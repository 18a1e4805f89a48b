"""The gallery of decoupled training runs in quick mode, as a user runs it, and shows what it says."""

import pytest

from tests.examples.test_examples import EXAMPLES, row_of, run_script

ACCURACY, STALENESS, VERSIONS, KEPT = range(4)
PUBLISHED = ("fdg", "ddg", "adl", "dtrp")


def test_decoupled_example(tmp_path):
    """Two modules of "fdg" and "ddg" are one program; more modules are staler; recomputation keeps less."""
    pytest.importorskip("matplotlib")
    output = run_script(EXAMPLES / "plot_12_decoupled.py", "--out", tmp_path, cwd=tmp_path)
    fits = [("backprop", 1), *((name, n) for name in (*PUBLISHED, "auto") for n in (2, 4))]
    rows = {(name, n): row_of(output, f"{name:8s}  {n:7d}") for name, n in fits}
    assert rows["fdg", 2][:-1] == rows["ddg", 2][:-1]  # all but the seconds
    assert rows["auto", 2][:-1] == rows["fdg", 2][:-1]
    assert rows["auto", 4][STALENESS] == rows["ddg", 4][STALENESS]
    assert rows["backprop", 1][STALENESS] == 0
    for name in PUBLISHED:
        assert 0 < rows[name, 2][STALENESS] < rows[name, 4][STALENESS]
    assert rows["ddg", 4][STALENESS] < rows["fdg", 4][STALENESS] == rows["dtrp", 4][STALENESS]
    for n in (2, 4):
        assert rows["dtrp", n][KEPT] < rows["fdg", n][KEPT] and rows["dtrp", n][VERSIONS] == 2  # live and predicted
        assert all(
            rows[name, n][ACCURACY] > rows["backprop", 1][ACCURACY] - 0.05 for name in ("auto", "fdg", "ddg", "dtrp")
        )
    for name in ("decoupled_schedules.png", "decoupled_timeline.png", "decoupled_accuracy.png"):
        assert (tmp_path / name).stat().st_size > 10_000
