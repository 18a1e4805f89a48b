"""The gallery of searches and explanations runs in quick mode, as a user runs it, and shows what it says."""

import importlib.util
import re

import pytest

from tests.examples.test_examples import EXAMPLES, run_script

NUMBER = re.compile(r"-?\d+\.\d+(?:e-?\d+)?")


def numbers_after(output, start):
    """The decimal numbers of the line that starts with some words."""
    line = next(line for line in output.splitlines() if line.startswith(start))
    return [float(number) for number in NUMBER.findall(line)]


def test_search_example(tmp_path):
    """Halving spends about half of what the grid spends, and its winner is about as good on new rows."""
    pytest.importorskip("matplotlib")
    output = run_script(EXAMPLES / "plot_14_search.py", "--out", tmp_path, cwd=tmp_path)
    for resource in ("rows", "width", "epochs"):
        halving, grid = (numbers_after(output, f"{resource:8s} {kind:8s}") for kind in ("halving", "grid"))
        assert halving[0] < 0.6 * grid[0]
        assert halving[3] > grid[3] - 0.05 and min(halving[3], grid[3]) > 0.85
    assert (tmp_path / "search.png").stat().st_size > 10_000


@pytest.mark.skipif(importlib.util.find_spec("optuna") is None, reason="needs optuna")
def test_optuna_example(tmp_path):
    """The best trial of either sampler is a network that is right about most new rows."""
    pytest.importorskip("matplotlib")
    output = run_script(EXAMPLES / "plot_15_optuna.py", "--out", tmp_path, cwd=tmp_path)
    for sampler in ("TPE", "random"):
        left_out, score = numbers_after(output, f"{sampler:8s}")[:2]
        assert left_out > 0.9 and score > 0.85
    assert (tmp_path / "optuna.png").stat().st_size > 10_000


@pytest.mark.skipif(importlib.util.find_spec("shap") is None, reason="needs shap")
def test_shap_example(tmp_path):
    """The shares add up to the probability; on few rows they rank the columns as the network's importances do."""
    pytest.importorskip("matplotlib")
    output = run_script(EXAMPLES / "plot_16_shap.py", "--out", tmp_path, cwd=tmp_path)
    assert numbers_after(output, "accuracy")[0] > 0.88
    assert numbers_after(output, "shares and base")[0] < 1e-9
    assert numbers_after(output, "rank correlation")[0] > 0.7
    assert (tmp_path / "shap.png").stat().st_size > 10_000


@pytest.mark.parametrize(("script", "library"), [("plot_15_optuna.py", "optuna"), ("plot_16_shap.py", "shap")])
def test_examples_say_what_is_missing(script, library, tmp_path, monkeypatch):
    """Without the library there is a sentence and no error."""
    (tmp_path / f"{library}.py").write_text(f"raise ImportError('no {library} here')\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    output = run_script(EXAMPLES / script, cwd=tmp_path, fresh=True)
    assert output == f"Nothing to show: {library} is not installed (pip install {library}).\n"


def test_every_example_of_searches_and_explanations_is_tested():
    with open(__file__, encoding="utf-8") as file:
        source = file.read()
    names = [path.name for pattern in ("search", "optuna", "shap") for path in EXAMPLES.glob(f"plot_*{pattern}*.py")]
    assert len(names) == 3 and [name for name in names if name not in source] == []
