"""Every example of the gallery runs as a notebook, in quick mode, and what it says is what it shows."""

import ast
import re
from pathlib import Path

import numpy as np
import pytest

from tests.examples.notebooks import number_after, numbers_after, run_notebook
from tests.examples.scripts import EXAMPLES, run_script

SCRIPTS = sorted(EXAMPLES.glob("plot_*.py"))
ACCURACY, STALENESS, VERSIONS, KEPT = range(4)
PUBLISHED = ("fdg", "ddg", "adl", "dtrp")


def test_every_example_is_run_once():
    run = re.findall(r'run_notebook\(\s*"(\w+)"', Path(__file__).read_text())
    assert sorted(run) == [path.stem for path in SCRIPTS]


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_examples_ask_a_question_in_flat_cells(script):
    text = script.read_text()
    tree = ast.parse(text)
    title = ast.get_docstring(tree).splitlines()[0]
    assert title.endswith("?") or script.stem == "plot_00_messy_csv"
    assert "argparse" not in text and "sys.argv" not in text and "__main__" not in text
    assert len(re.findall(r"^# %%", text, flags=re.M)) >= 3
    assert "SKLEARN_ANALYTIC_QUICK" in text and "plt.show()" in text


def test_messy_csv(tmp_path):
    """A raw file is read better than at random, the search improves it, and what serves it gives one answer."""
    pytest.importorskip("pandas")
    text = run_notebook("plot_00_messy_csv", tmp_path).text
    assert numbers_after(text, "ClosedFormMLP")[2] > 0.65
    assert number_after(text, "pipeline ") > max(number_after(text, "four lines "), 0.7)
    assert all(f"{column!r}" in text for column in ("since", "fee")) and "Feature names unseen at fit time" in text
    assert "the same probabilities: True" in text
    answer = number_after(text, "answer:")
    assert 0 < answer < 1
    if "ONNX: " in text:  # where it is installed
        assert number_after(text, "ONNX:") == pytest.approx(answer, abs=1e-3)


def test_quickstart(tmp_path):
    text = run_notebook("plot_01_quickstart", tmp_path).text
    assert text.startswith("ClosedFormMLP on breast cancer")  # what a user meets first
    assert "GridSearchCV" in text
    for name in ("ClosedFormMLP ", "BRMP, linear", "BRMP, 64 tanh", "DFA", "DecoupledMLP", "MLP "):
        assert text.count(f"  {name}") == 3  # two sets of classes, one of numbers
    assert numbers_after(text, "ClosedFormMLP  ")[0] > 0.95  # on digits


def test_streaming_probe(tmp_path):
    """A streamed linear probe is the fit on all rows."""
    text = run_notebook("plot_02_streaming_probe", tmp_path).text
    assert number_after(text, "of the decision values") < 1e-5
    streamed, full = re.search(r"BRMP.* streamed (\S+) +full fit (\S+)", text).groups()
    assert float(streamed) == pytest.approx(float(full), abs=2e-3)


def test_toy_problems(tmp_path):
    """The claim of the thesis: closed form solves what backpropagation finds hard."""
    text = run_notebook("plot_03_toy_problems", tmp_path).text
    ours = numbers_after(text, "ClosedForm, default")[::2]  # scores; seconds stand between them
    peers = [numbers_after(text, name)[::2] for name in ("MLP, Adam", "MLP, SGD")]
    assert np.mean(ours) > np.mean(peers, axis=1).max()
    assert numbers_after(text, "hidden='inverse'")[0] > 0.9
    assert numbers_after(text, "hidden='hyperplane'")[0] > 0.9


def test_accuracy_against_time(tmp_path):
    """Wide layers score more than narrow ones on digits, and the defaults more than a linear model."""
    text = run_notebook("plot_04_accuracy_against_time", tmp_path).text
    ours, linear = (numbers_after(text, name)[1] for name in ("ClosedFormMLP()", "LogisticRegression"))  # on digits
    assert ours > max(0.95, linear)
    assert numbers_after(text, "width 200")[1] > numbers_after(text, "width 50")[1]


def test_calibration_example(tmp_path):
    """Accuracy, log-loss, Brier score and calibration error."""
    text = run_notebook("plot_05_calibration", tmp_path).text
    scores = text[text.index("calibration error") :]
    ours, network = numbers_after(scores, "ClosedFormMLP"), numbers_after(scores, "MLP(100, 100)")
    assert 0 < ours[3] < network[3] / 2
    assert ours[1] < network[1]


def test_quickstart_is_a_script(tmp_path, monkeypatch):
    """What the first command of README.md runs leaves a figure on a machine without a display."""
    monkeypatch.setenv("SKLEARN_ANALYTIC_QUICK", "1")
    output = run_script(EXAMPLES / "plot_01_quickstart.py", cwd=tmp_path, quick=False, fresh=True)
    assert output.startswith("ClosedFormMLP on breast cancer") and "quickstart.png" in output
    assert (tmp_path / "quickstart.png").stat().st_size > 10_000


def test_feature_importances_example(tmp_path):
    """Both measures put the same columns first, and both show less of a column that is there twice."""
    text = run_notebook("plot_06_feature_importances", tmp_path).text
    rows = text.split("column  importance")[1].splitlines()[1:11]
    assert {row.split()[0] for row in rows[:2]} == {"bmi", "s5"}
    assert numbers_after(text, "rank correlation:")[0] > 0.3
    once, both = (numbers_after(text, name) for name in ("bmi alone", "sum of the two"))
    assert both[0] < once[0]
    assert both[1] / once[1] < both[0] / once[0]  # permutation importance loses more


def test_images_example(tmp_path):
    """A network that knows that rows are images errs less at every size, and more once pixels are shuffled."""
    text = run_notebook("plot_07_images", tmp_path).text
    flat, patch = (np.array(numbers_after(text, name, 3)) for name in ("flat, sampled pairs", "patch"))
    assert (patch < flat).all()
    after = text.split("shuffled")[1]
    assert numbers_after(after, "patch")[0] == pytest.approx(patch[-1])
    shuffled = {name: numbers_after(after, name)[1] for name in ("flat, sampled pairs", "patch")}
    assert shuffled["patch"] > shuffled["flat, sampled pairs"]


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
        _, left_out, score = numbers_after(text, f"{sampler:8s}")[:3]
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


def test_intervals_example(tmp_path):
    """Intervals and sets cover about what was asked for, and are wider where the noise is larger."""
    text = run_notebook("plot_18_intervals", tmp_path).text
    assert numbers_after(text, "all  ")[0] == pytest.approx(0.9, abs=0.04)
    widths = [numbers_after(text, f"{left} to {left + 2:2d} ")[1] for left in range(0, 10, 2)]
    assert widths == sorted(widths) and widths[-1] > 3 * widths[0]
    asked = np.array(numbers_after(text, "asked  "))
    for name in ("ClosedFormMLPRegressor", "BRMPRegressor, linear"):
        assert np.abs(np.array(numbers_after(text, name)) - asked).max() < 0.1
    after = text.split("sets of one")[1]
    shares, sizes = zip(*((numbers_after(after, f"{level:.2f}  ")[:2]) for level in (0.9, 0.95, 0.98)), strict=True)
    assert (np.array(shares) > [0.88, 0.93, 0.96]).all()
    assert sizes[0] == 1 < sizes[1] < sizes[2]
