"""The example of decoupled training runs as a notebook, and what it says is what it shows."""

from tests.examples.notebooks import run_notebook
from tests.examples.test_closed_form_examples import numbers_after

ACCURACY, STALENESS, VERSIONS, KEPT = range(4)
PUBLISHED = ("fdg", "ddg", "adl", "dtrp")


def test_decoupled_example(tmp_path):
    """Two modules of "fdg" and "ddg" are one program; more modules are staler; recomputation keeps less."""
    text = run_notebook("plot_12_decoupled", tmp_path).text
    fits = [("backprop", 1), *((name, n) for name in (*PUBLISHED, "auto") for n in (2, 4))]
    rows = {(name, n): numbers_after(text, f"{name:8s}  {n:7d}") for name, n in fits}
    assert rows["fdg", 2] == rows["ddg", 2] == rows["auto", 2]
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
