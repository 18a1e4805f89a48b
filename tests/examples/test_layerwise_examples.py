"""The gallery of layer-wise training runs in quick mode, as a user runs it, and shows what it says."""

import pytest

from tests.examples.test_examples import EXAMPLES, row_of, run_script


def test_layerwise_example(tmp_path):
    """Layer by layer it takes a fraction of backpropagation's memory and is about as accurate; heads get better."""
    pytest.importorskip("matplotlib")
    output = run_script(EXAMPLES / "plot_11_layerwise.py", "--out", tmp_path, cwd=tmp_path)
    names = ("backprop", "2 partitions", "4 partitions", "layer by layer")
    rows = [row_of(output, name) for name in names]
    memory = [row[2] for row in rows]
    assert memory == sorted(memory, reverse=True)
    assert memory[-1] < memory[0] / 3
    assert rows[-1][0] > rows[0][0] - 0.03
    heads = rows[-1][3:]
    assert len(heads) == 8
    assert heads[-1] >= heads[0]
    for name in ("layerwise_layers.png", "layerwise_memory.png"):
        assert (tmp_path / name).stat().st_size > 10_000
