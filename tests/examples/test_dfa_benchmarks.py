"""The benchmark of direct feedback alignment runs in quick mode, as a user runs it, and gives sane numbers."""

import importlib
import importlib.util
import itertools
import json

import numpy as np
import pytest

from sklearn_analytic import DFAClassifier, Feedback, ImageNetwork
from tests.examples.scripts import BENCHMARKS, ROOT, run_script


def run_suite(suite, folder, *options):
    """(record, printed text) of one suite, run away from the repository."""
    printed = run_script(BENCHMARKS / "dfa.py", "--suite", suite, "--json", "r.json", *options, cwd=folder)
    text = (folder / "r.json").read_text()
    assert str(ROOT) not in text
    record = json.loads(text)
    assert {"date", "packages", "cpu", "cores", "thread_pools"} <= record["environment"].keys()
    assert {"suite": suite, "quick": True}.items() <= record["settings"].items()
    assert [row for row in record["rows"] if row["error"] and not row["skipped"]] == []
    return record, printed


def has_torch():
    return importlib.util.find_spec("torch") is not None


def measured(record):
    return [row for row in record["rows"] if row["error"] is None]


@pytest.fixture(scope="module")
def accuracy(tmp_path_factory):
    folder = tmp_path_factory.mktemp("accuracy")
    return *run_suite("accuracy", folder, "--markdown", "a.md"), folder


def test_accuracy_rows(accuracy):
    record, _, _ = accuracy
    rows = {row["contender"]: row for row in record["rows"]}
    assert set(rows) == {"backprop", "dfa", "random", "binary", "dfa+4bit", "dfa+kfac"}
    for row in rows.values():
        assert row["accuracy"] > 0.8
        assert 0 < row["log_loss"] < 1
        assert row["seconds"] > 0
        assert row["epochs"] == record["settings"]["epochs"]
    assert rows["backprop"]["alignment"] is None
    assert rows["dfa"]["alignment"][-1] > 0.9  # the last hidden layer's feedback is a transpose, just refreshed
    assert all(0 < cosine < 0.9 for cosine in rows["random"]["alignment"])


def test_accuracy_summary_and_table(accuracy):
    record, text, folder = accuracy
    lines = {line["contender"]: line for line in record["summary"]}
    assert lines["backprop"]["difference"] == 0
    rows = {row["contender"]: row for row in record["rows"]}
    gap = 100 * (rows["binary"]["accuracy"] - rows["backprop"]["accuracy"])
    assert lines["binary"]["difference"] == pytest.approx(gap)
    assert (folder / "a.md").read_text().strip() in text
    assert all(f"| {name} |" in text for name in lines)


def test_accuracy_resumes_without_repeating(accuracy):
    record, _, folder = accuracy
    resumed, _ = run_suite("accuracy", folder, "--resume", "r.json", "--contenders", "dfa")
    assert resumed["rows"] == record["rows"]


@pytest.mark.slow
def test_speed(tmp_path):
    record, text = run_suite("speed", tmp_path)
    rows = {row["contender"]: row for row in measured(record)}
    assert {"mlp", "backprop", "dfa", "random", "binary"} <= set(rows)
    assert ("torch_loop" in rows) == ("torch_dfa_bf16" in rows) == has_torch()
    for row in rows.values():
        assert row["epoch_seconds"] > 0 or row["contender"] == "mlp"  # a difference of short fits may be noise
        assert row["fit_seconds_per_epoch"] > 0
        assert len(row["epoch_samples"]) == record["settings"]["repeats"]
    assert rows["mlp"]["epoch_timer"] == "difference of two fits"
    assert rows["dfa"]["epoch_timer"] == "epoch of the execution"
    assert "| threads |" in text


@pytest.fixture(scope="module")
def memory(tmp_path_factory):
    return run_suite("memory", tmp_path_factory.mktemp("memory"))[0]


@pytest.mark.slow
def test_memory_of_dense_networks(memory):
    lines = {(line["network"], line["bits"]): line for line in memory["summary"]}
    for network, bits in itertools.product(("2x256", "4x512"), ("exact", "8 bits", "4 bits")):
        line = lines[network, bits]
        assert line["accuracy"] > 0.8
        assert abs(line["difference"]) < 5
        assert line["ratio"] == pytest.approx({"exact": 1, "8 bits": 4, "4 bits": 8}[bits], rel=0.02)


@pytest.mark.slow
def test_peak_memory(memory):
    rows = [row for row in measured(memory) if row["kind"] == "peak"]
    assert len(rows) == (4 if has_torch() else 2)
    assert all(0 < row["peak_mb"] < 500 for row in rows)


@pytest.mark.slow
def test_memory_of_images(memory):
    pytest.importorskip("torch", exc_type=ImportError)
    lines = {line["bits"]: line for line in memory["summary"] if line["network"] == "cnn 32-64"}
    assert lines["4 bits"]["ratio"] > 6
    assert lines["4 bits"]["stored_mb"] < lines["8 bits"]["stored_mb"] < lines["exact"]["stored_mb"]


def test_skipping(tmp_path):
    record, _ = run_suite("skipping", tmp_path, "--contenders", "dfa")
    assert [line["feedback__tol_error"] for line in record["summary"]] == [0, 0.01, 0.03, 0.1]
    assert all(line["accuracy"] > 0.8 for line in record["summary"])


def test_kfac(tmp_path):
    record, _ = run_suite("kfac", tmp_path)
    lines = {line["contender"]: line for line in record["summary"] if line["place"] == "digits"}
    assert set(lines) == {"adam", "sgd", "kfac"}
    assert lines["adam"]["difference"] == 0 and lines["adam"]["time_adam"] == lines["sgd"]["time_sgd"] == 1
    curves = {row["contender"]: row for row in record["rows"] if row["place"] == "digits"}
    assert len(curves["kfac 0.003"]["curve"]) == 4 < len(curves["adam 0.003"]["curve"]) == 12
    for row in curves.values():
        assert row["curve"][-1][2] == row["accuracy"] > 0.9
    profiles = [row["parts"] for row in record["rows"] if row["place"] == "profile, digits"]
    for parts in profiles:
        names = ("factors", "decompositions", "solves", "clip", "rest")
        assert sum(parts[name] for name in names) == pytest.approx(parts["whole"])
    assert len(profiles) == 2 and min(parts["decompositions"] for parts in profiles) > 0


def test_online(tmp_path):
    record, _ = run_suite("online", tmp_path, "--contenders", "dfa", "binary", "mlp")
    rows = {row["contender"]: row for row in record["rows"]}
    assert set(rows) == {"dfa", "binary", "mlp"}
    assert all(row["accuracy"] > 0.2 for row in rows.values())  # chance is 0.1
    assert rows["dfa"]["before_turn"] > 0.4


@pytest.mark.slow
@pytest.mark.parametrize("suite, least", [("images", 0.8), ("sequences", 0.6)])
def test_torch_suites(tmp_path, suite, least):
    pytest.importorskip("torch", exc_type=ImportError)
    record, _ = run_suite(suite, tmp_path, "--contenders", "backprop", "hybrid")
    assert len(record["rows"]) == 2
    assert all(row["accuracy"] > least for row in record["rows"])


def test_differences_are_paired(monkeypatch):
    """A set or seed that the reference lacks does not count; the error is over seeds."""
    monkeypatch.syspath_prepend(BENCHMARKS)
    common = importlib.import_module("_dfa_common")
    reference = [{"dataset": "a", "seed": seed, "accuracy": 0.5} for seed in (0, 1)]
    rows = [
        {"dataset": name, "seed": seed, "accuracy": 0.5 + 0.1 * (seed + 1)} for name in ("a", "b") for seed in (0, 1)
    ]
    difference, error = common.paired_difference(rows, reference)
    assert difference == pytest.approx(0.15)
    assert error == pytest.approx(0.05)


def test_multiplications_are_counted_by_hand(monkeypatch):
    """Two convolutions and three dense layers on 8 x 8 pixels, maps of 8 x 8 and 4 x 4, and 12 values after pooling."""
    pytest.importorskip("torch", exc_type=ImportError)
    monkeypatch.syspath_prepend(BENCHMARKS)
    count = importlib.import_module("_dfa_multiplications").error_multiplications
    X, y = np.random.default_rng(0).standard_normal((20, 64)), np.arange(20) % 3
    whole = Feedback("sparse", init="product", density=1.0, refresh_interval=1)
    options = {"network": ImageNetwork((8, 8), (2, 3)), "max_iter": 1, "n_iter_no_change": np.inf, "random_state": 0}

    def counted(**parameters):
        return count(DFAClassifier((5, 4), **options, **parameters).fit(X, y), X, y)

    second, first_dense, second_dense, last = 9 * 2 * 3 * 16, 12 * 5, 5 * 4, 4 * 3
    exact = second + first_dense + second_dense + last
    assert counted(scheme="backprop") == (exact, exact)
    assert counted(scheme="hybrid") == (second + first_dense + 3 * (5 + 4), exact)
    assert counted(scheme="hybrid", feedback="binary") == (second + first_dense, exact)
    assert counted(scheme="modular", feedback=whole) == (exact, exact)
