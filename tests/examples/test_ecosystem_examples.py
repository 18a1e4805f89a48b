"""The gallery of searches, explanations and progress runs as notebooks, and shows what it says."""

import re

import pytest

from tests.examples.notebooks import EXAMPLES, run_notebook

NUMBER = re.compile(r"-?\d+\.\d+(?:e-?\d+)?")


def numbers_after(text, start):
    """The decimal numbers of the line that starts with some words."""
    line = next(line for line in text.splitlines() if line.startswith(start))
    return [float(number) for number in NUMBER.findall(line)]


def test_search_example(tmp_path):
    """Halving spends about half of what the grid spends, and its winner is about as good on new rows."""
    text = run_notebook("plot_14_search", tmp_path).text
    for resource in ("rows", "width", "epochs"):
        halving, grid = (numbers_after(text, f"{resource:8s} {kind:8s}") for kind in ("halving", "grid"))
        assert halving[0] < 0.6 * grid[0]
        assert halving[3] > grid[3] - 0.05 and min(halving[3], grid[3]) > 0.85


def test_optuna_example(tmp_path):
    """The best trial of either sampler is a network that is right about most new rows."""
    pytest.importorskip("optuna")
    text = run_notebook("plot_15_optuna", tmp_path).text
    for sampler in ("TPE", "random"):
        left_out, score = numbers_after(text, f"{sampler:8s}")[:2]
        assert left_out > 0.9 and score > 0.85


def test_shap_example(tmp_path):
    """The shares add up to the probability; on few rows they rank the columns as the network's importances do."""
    pytest.importorskip("shap")
    text = run_notebook("plot_16_shap", tmp_path).text
    assert numbers_after(text, "accuracy")[0] > 0.88
    assert numbers_after(text, "shares and base")[0] < 1e-9
    assert numbers_after(text, "rank correlation")[0] > 0.7


def test_progress_example(tmp_path):
    """Messages and scores of every epoch, fits that a callback ends, and curves from two processes."""
    pytest.importorskip("sklearn.callback", reason="callbacks are new in scikit-learn 1.9")
    pytest.importorskip("rich")
    text = run_notebook("plot_17_progress", tmp_path).text
    assert [f"DFAClassifier: epoch {k} of 5, loss" in text for k in range(1, 7)] == [True] * 5 + [False]
    assert "ClosedFormMLP: accumulate, block 3 of 3" in text
    whole, stopped = (re.search(rf"{words} +(\d+) epochs", text)[1] for words in ("all epochs:", "stopped at 99 %:"))
    assert int(stopped) < int(whole) / 2
    assert all(int(n_epochs) < int(whole) / 2 for n_epochs in re.search(r"folds: \[(.+)\]", text)[1].split(","))
    assert numbers_after(text, "rows of the fit")[1] > numbers_after(text, "held-out rows")[1] > 0.85
    assert "7 fits with" in text


def test_every_example_of_searches_and_explanations_is_tested():
    with open(__file__, encoding="utf-8") as file:
        source = file.read()
    patterns = ("search", "optuna", "shap", "progress")
    names = [path.stem for pattern in patterns for path in EXAMPLES.glob(f"plot_*{pattern}*.py")]
    assert len(names) == len(patterns) and [name for name in names if f'"{name}"' not in source] == []
