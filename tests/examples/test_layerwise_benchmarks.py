"""The benchmark of layer-wise training runs in quick mode, as a user runs it, and gives sane numbers."""

import importlib
import json
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import sklearn_analytic

ROOT = Path(__file__).resolve().parents[2]
BENCHMARKS = ROOT / "examples" / "benchmarks"


@pytest.fixture
def module(monkeypatch):
    """A function that imports a script of the benchmarks."""
    monkeypatch.syspath_prepend(BENCHMARKS)
    return importlib.import_module


@pytest.fixture
def run_suite(module, monkeypatch, tmp_path, capsys):
    """A function that runs one suite by its command line, in this process: its record and what it printed."""

    def run(suite, *options):
        path = tmp_path / f"{suite}.json"
        command = ["layerwise.py", "--quick", "--suite", suite, "--json", str(path), *options]
        monkeypatch.setattr(sys, "argv", command)
        module("_suites").run_script(module("layerwise").SCRIPT)
        text = path.read_text()
        assert str(ROOT) not in text
        record = json.loads(text)
        assert {"date", "packages", "cpu", "cores", "thread_pools"} <= record["environment"].keys()
        assert {"suite": suite, "quick": True}.items() <= record["settings"].items()
        assert [row for row in record["rows"] if row["error"]] == []
        return record, capsys.readouterr().out

    return run


def lines_of(record, key="contender"):
    return {line[key]: line for line in record["summary"]}


def assert_table(text, columns):
    assert "| " + " | ".join(columns) + " |" in text


def test_accuracy(run_suite, module):
    record, text = run_suite("accuracy")
    assert_table(text, module("_layerwise_accuracy").COLUMNS)
    lines, rows = lines_of(record), {row["contender"]: row for row in record["rows"]}
    assert set(lines) == {"backprop", "sequential", "2 partitions", "refit_head"}
    epochs = record["settings"]["epochs"]
    for name, line in lines.items():
        assert line["accuracy"] > 0.8
        assert 0 < line["log_loss"] < 1
        assert line["epochs"] == epochs
        gap = 100 * (rows[name]["accuracy"] - rows["backprop"]["accuracy"])
        assert line["difference"] == pytest.approx(gap)
        assert line["time_ratio"] > 0
    assert lines["backprop"]["time_ratio"] == lines["backprop"]["bytes_ratio"] == lines["backprop"]["reached"] == 1
    assert 0 < lines["backprop"]["time_to"] <= 1
    for row in rows.values():
        assert len(row["curve_accuracy"]) == len(row["curve_seconds"]) == epochs + 1
        assert row["curve_seconds"] == sorted(row["curve_seconds"])
        assert row["curve_accuracy"][-1] == row["accuracy"]  # fewer test rows than the curve looks at
    assert len(rows["sequential"]["layer_epochs"]) == 3


def test_ablation(run_suite, module):
    record, text = run_suite("ablation", "--contenders", "backprop", "head 0", "predsim")
    assert_table(text, module("_layerwise_ablation").COLUMNS)
    lines = lines_of(record)
    assert [row["budget"] for row in record["rows"]] == ["epochs", "epochs", "time", "epochs", "time"]
    for name in ("head 0", "predsim"):
        assert lines[name]["accuracy"] > 0.6
        assert lines[name]["accuracy_time"] > 0.6
        assert 1 < lines[name]["rank"] <= 256
        assert 0 < lines[name]["bytes_ratio"] < 1.5
    assert lines["backprop"]["difference"] == 0


def test_partitions(run_suite, module):
    record, text = run_suite("partitions")
    assert_table(text, module("_layerwise_partitions").COLUMNS)
    lines = {(line["n_partitions"], line["budget"]): line for line in record["summary"]}
    assert len(lines) == 7
    same = [lines[k, "batch of backprop"]["bytes_ratio"] for k in (1, 2, 4, 8)]
    assert same == sorted(same, reverse=True)
    assert same[-1] < 0.5
    for row in record["rows"]:
        most = row["n_train"] // 20  # no batch of a budget is larger
        if row["allowed_bytes"] is not None:
            assert row["bytes"] <= row["allowed_bytes"]
            assert max(row["batch_sizes"]) <= max(most, record["settings"]["batch_size"])
        else:
            assert set(row["batch_sizes"]) == {record["settings"]["batch_size"]}


def test_outputs(run_suite, module):
    record, text = run_suite("outputs", "--contenders", "layer-wise")
    outputs = module("_layerwise_outputs")
    assert_table(text, outputs.COLUMNS)
    assert_table(text, outputs.MARK_COLUMNS)
    lines = {(line["rate"], line["output"]): line for line in record["summary"]}
    assert len(lines) == 8
    assert all(line["accuracy"] > 0.6 for line in lines.values())
    for rate in outputs.RATES:
        softmax = lines[rate, "softmax"]
        assert softmax["difference"] == 0
        assert softmax["reached_5"] == softmax["time_5"] == 1
        assert 1 <= softmax["epochs_5"] <= 5
        assert softmax["reached_20"] is None  # six epochs in a quick run


def test_subsample(run_suite):
    record, _ = run_suite("subsample")
    assert [line["contender"] for line in record["summary"]] == [f"subsample={s}" for s in ("1", "0.75", "0.5", "0.25")]
    assert record["summary"][0]["difference"] == 0
    assert all(line["accuracy"] > 0.8 for line in record["summary"])


# ------------------------------------------------------------------ memory


def test_memory_in_a_fresh_process(run_suite, module):
    record, text = run_suite("memory", "--only", "4 x 128", "--contenders", "compiled layer-wise")
    assert_table(text, module("_layerwise_memory").COLUMNS)
    (row,) = record["rows"]
    assert row["n_partitions"] == 4
    assert row["counted_mb"] < row["before_mb"]
    assert 0 < row["peak_mb"] < 100
    assert row["seconds"] > 0


def memory_task(module, **changes):
    """A small task of the suite."""
    memory = module("_layerwise_memory")
    return memory.QUICK_NETWORKS["4 x 128"] | {"epochs": 1, "device": "cpu", "partitions": {}} | changes


def test_plain_loop_counts_what_autograd_keeps(module):
    """Rows, rectified units, logarithms of probabilities and labels of a batch; three arrays beside the weights."""
    pytest.importorskip("torch", exc_type=ImportError)
    task, loop = memory_task(module), module("_layerwise_loop")
    X, y = module("_layerwise_workers").data(task)
    m, n_weights = task["batch_size"], module("_layerwise_memory").n_weights(task)
    kept = 4 * m * (task["features"] + sum(task["hidden"]) + task["classes"]) + 8 * m
    found = loop.counted_bytes(task, X, y, checkpointing=False)
    assert found - 3 * 4 * n_weights == pytest.approx(kept, abs=64)  # a scalar or two
    assert loop.weight_bytes(loop.network_of(task)) == 4 * n_weights


def test_checkpoints_keep_less_and_train_alike(module):
    torch = pytest.importorskip("torch", exc_type=ImportError)
    task, loop = memory_task(module, hidden=[64] * 16, layers=16), module("_layerwise_loop")
    X, y = module("_layerwise_workers").data(task)
    plain, checked = (loop.train(task, X, y, on) for on in (False, True))
    for a, b in zip(plain.parameters(), checked.parameters(), strict=True):
        torch.testing.assert_close(a, b)
    weights = 3 * loop.weight_bytes(plain)
    kept, less = (loop.counted_bytes(task, X, y, on) - weights for on in (False, True))
    assert 0.2 * kept < less < 0.7 * kept


def test_loop_is_adam(module):
    torch = pytest.importorskip("torch", exc_type=ImportError)
    loop, start = module("_layerwise_loop"), np.linspace(-1, 1, 5, dtype=np.float32)
    ours, theirs = (torch.nn.Parameter(torch.from_numpy(start.copy())) for _ in range(2))
    own, peer = loop.Adam([ours]), torch.optim.Adam([theirs], lr=loop.RATE)
    for step in range(4):
        for parameter in (ours, theirs):
            parameter.grad = torch.sin(torch.arange(5.0) + step)
        own.step()
        peer.step()
    torch.testing.assert_close(ours, theirs)


def test_memory_summary(module):
    """Ratios are those to backpropagation of the same backend, times the partitions."""
    memory = module("_layerwise_memory")
    sizes = {"compiled backprop": (40.0, 80.0, 1), "compiled layer-wise": (15.0, 20.0, 4)}
    fixed = {"network": "4 x 1024", "error": None, "weight_mb": 20.0, "seconds": 1.0, "wall_seconds": 2.0}
    rows = [
        fixed | {"contender": name, "counted_mb": counted, "peak_mb": peak, "n_partitions": n}
        for name, (counted, peak, n) in sizes.items()
    ]
    line = lines_of({"summary": memory.summarise(rows)})["compiled layer-wise"]
    assert line["counted_times"] == pytest.approx(1.5)
    assert line["peak_times"] == pytest.approx(1.0)
    assert line["whole_ratio"] == pytest.approx(0.4)
    assert "compiled layer-wise" in memory.missed([line])


# ------------------------------------------------------------------ parts


def test_differences_are_over_sets_and_seeds(module):
    common = module("_layerwise_common")
    rows = [{"dataset": name, "seed": s, "accuracy": 0.5} for name in "ab" for s in (0, 1)]
    better = [row | {"accuracy": 0.5 + gap} for row, gap in zip(rows, (0.0, 0.02, 0.04, 0.06), strict=True)]
    gap, error, worst = common.differences([*better, {"dataset": "c", "seed": 0, "accuracy": 0}], rows)
    assert gap == pytest.approx(3.0)
    assert error == pytest.approx(np.std([0, 2, 4, 6], ddof=1) / 2)
    assert worst == pytest.approx(1.0)


def test_arrival_is_the_first_point_at_or_above_the_level(module):
    accuracy = module("_layerwise_accuracy")
    place = {"dataset": "a", "seed": 0, "seconds": 4.0}
    peer = place | {"curve_seconds": [2.0, 4.0], "curve_accuracy": [0.9, 0.8]}
    row = place | {"curve_seconds": [1.0, 2.0, 3.0], "curve_accuracy": [0.7, 0.8, 0.9]}
    never = place | {"curve_seconds": [1.0], "curve_accuracy": [0.7]}
    assert accuracy.arrivals([row, never, row | {"seed": 1}], [peer]) == [0.5, None]


def test_looking_at_held_out_rows_changes_nothing(module):
    """The curve's estimator is the plain one."""
    common = module("_layerwise_common")
    X = np.random.default_rng(0).standard_normal((96, 4)).astype(np.float32)
    split = (X[:64], X[64:], (X[:64, 0] > 0).astype(int), (X[64:, 0] > 0).astype(int))
    for interlayer in (None, "window"):
        partitions = sklearn_analytic.Partitions(interlayer=interlayer)
        parameters = {"hidden_layer_sizes": (8, 8), "max_iter": 4, "partitions": partitions, "random_state": 0}
        watched = common.WatchedLayerwise(**parameters)
        row = common.watched_fit(watched, split)
        plain = common.LayerwiseMLP(**parameters).fit(split[0], split[2])
        for a, b in zip(watched.coefs_, plain.coefs_, strict=True):
            np.testing.assert_array_equal(a, b)
        assert len(row["curve_accuracy"]) == 5


def test_equal_time_is_measured_once(module, monkeypatch):
    ablation, calls = module("_layerwise_ablation"), []
    monkeypatch.setattr(ablation, "capped_split", lambda job, options: None)
    monkeypatch.setattr(ablation, "fitted", lambda *parts: calls.append(parts) or {"seconds": 2.0})
    frozen = ablation._Frozen(SimpleNamespace(epochs=3))
    assert [ablation.backprop_seconds("a", 0, frozen) for _ in range(2)] == [2.0, 2.0]
    assert len(calls) == 1
