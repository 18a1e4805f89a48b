"""Benchmarks of scale run in quick mode, as a user runs them, and give sane numbers."""

import itertools
import json

import pytest

from tests.examples.scripts import BENCHMARKS, ROOT, run_script


def run_benchmark(name, folder, *options, fresh=False):
    """(record, printed text) of one script in quick mode, run away from the repository."""
    printed = run_script(BENCHMARKS / name, "--json", "r.json", *options, cwd=folder, fresh=fresh)
    text = (folder / "r.json").read_text()
    assert str(ROOT) not in text
    record = json.loads(text)
    assert {"date", "packages", "cpu", "cores", "thread_pools"} <= record["environment"].keys()
    return record, printed


@pytest.mark.parametrize(("device", "precisions"), [
    ("cpu", {"float32", "float64"}),
    pytest.param("torch:cpu", {"float32", "float64", "bfloat16"}, marks=pytest.mark.slow),
])  # fmt: skip
def test_roofline(tmp_path, device, precisions):
    if device != "cpu":
        pytest.importorskip("torch")
    record, text = run_benchmark("roofline.py", tmp_path, "--device", device, fresh=True)
    assert {row["precision"] for row in record["rows"]} == precisions
    for row in record["rows"]:
        assert row["device"] == device and row["threads"] == 1
        assert 0 < row["gflops"] < row["peak_gflops"]
        assert 0 < row["feature_share"] < 1
        low, high = row["of_peak_range"]
        assert 0 < low <= row["of_peak"] <= high
    (qr,) = record["qr"]
    assert qr["cholesky_ms"] > 0 and qr["geqrf_ms"] > 0
    assert "of peak" in text


def test_dask_scaling(tmp_path):
    pytest.importorskip("distributed")
    record, text = run_benchmark("dask_scaling.py", tmp_path, "--workers", "1")
    (row,) = record["rows"]
    assert row["workers"] == 1 and row["moved_bounds"] == "0.0, 0.0"  # in MB, of 9 x 9 numbers
    assert all(row[name] > 0 for name in ("fold_s", "merge_s", "task_ms", "pass_s", "model_s"))
    plan = record["plan"]
    assert [line["workers"] for line in plan] == [1, 10, 100, 1000]
    assert all(a["sums_s"] > b["sums_s"] and a["most_gb"] <= b["most_gb"] for a, b in itertools.pairwise(plan))
    assert all(line["targets_gb"] == 8 for line in plan)  # one target of 8 bytes for each of 1e9 rows
    assert "measured / modelled" in text


def test_out_of_core(tmp_path):
    record, text = run_benchmark("out_of_core.py", tmp_path)
    tables = record["tables"]
    assert [line["source"] for line in tables["reading"]] == ["npy"]
    assert [line["source"] for line in tables["fits"]] == ["waiting", "npy"]
    assert {line["estimator"]: line["passes"] for line in tables["estimators"]} == {
        "brmp gram": 1,
        "brmp qr": 1,
        "brmp gram, 200 random units": 1,
        "cpnet": 4,
        "closed form, random": 4,
    }
    assert all(row["seconds"] > 0 for row in record["rows"] if row["suite"] != "memory")
    assert all("folder" not in row for row in record["rows"])
    assert {line["suite"] for line in record["summary"]} == {"memory", "reading", "fits", "estimators"}
    assert "| source | estimator | MB | MB, 4 n |" in text


def test_parallel_search(tmp_path):
    record, text = run_benchmark("parallel_search.py", tmp_path)
    (row,) = record["rows"]
    assert row["estimator"] == "DFAClassifier" and row["backend"] == "threading"
    assert {n: len(times) for n, times in row["samples"].items()} == {"1": 1, "2": 1}
    assert all(row["samples"][n] == [row[f"seconds_{n}"]] for n in ("1", "2"))
    assert row["ratio_2"] == row["seconds_2"] / row["seconds_1"] > 0
    assert "4 jobs over 1" in text
