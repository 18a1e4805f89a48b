"""The example of layer-wise training runs as a notebook, and what it says is what it shows."""

from tests.examples.notebooks import run_notebook
from tests.examples.test_closed_form_examples import numbers_after


def test_layerwise_example(tmp_path):
    """Layer by layer it takes a fraction of backpropagation's memory and is about as accurate; heads get better."""
    text = run_notebook("plot_11_layerwise", tmp_path).text
    names = ("backprop", "2 partitions", "4 partitions", "layer by layer")
    rows = [numbers_after(text, name) for name in names]
    memory = [row[-1] for row in rows]
    assert memory == sorted(memory, reverse=True)
    assert memory[-1] < memory[0] / 3
    assert rows[-1][0] > rows[0][0] - 0.03
    train, test = (numbers_after(text, name) for name in ("training rows", "test rows"))
    assert len(train) == len(test) == 8
    assert train[-1] > train[0] and test[1] > test[0] + 0.02
    assert abs(test[-1] - test[1]) < 0.05  # the layers above the second gain nothing to speak of
