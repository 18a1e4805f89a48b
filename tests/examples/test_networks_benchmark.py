"""The benchmark of networks by gradients runs in quick mode, goes on with a file, and pairs what it compares."""

import importlib
import json

import pytest

from tests.examples.scripts import BENCHMARKS, ROOT, run_script


def run(folder, *options):
    """(record, printed text) of a run away from the repository."""
    printed = run_script(BENCHMARKS / "networks.py", *options, cwd=folder)
    text = (folder / "r.json").read_text()
    assert str(ROOT) not in text
    record = json.loads(text)
    assert [row for row in record["rows"] if row["error"] and not row["skipped"]] == []
    return record, printed


def test_quick_run_and_resume(tmp_path):
    record, text = run(tmp_path, "--json", "r.json")
    assert {"date", "packages", "cpu", "cores", "thread_pools"} <= record["environment"].keys()
    rows = {row["contender"]: row for row in record["rows"]}
    assert set(rows) == {"closed_form", "dfa", "mlp", "dfa, tuned"}
    for row in rows.values():
        assert row["accuracy"] > 0.8 and 0 < row["log_loss"] < 1
        assert row["fit_seconds"] > 0 and row["fit_cpu_seconds"] > 0
    assert rows["dfa, tuned"]["refit_cpu_seconds"] < rows["dfa, tuned"]["fit_cpu_seconds"]
    assert "| dfa, tuned |" in text
    resumed, _ = run(tmp_path, "--resume", "r.json", "--contenders", "dfa", "mlp, 2x256")
    assert resumed["rows"][:4] == record["rows"]
    assert [row["contender"] for row in resumed["rows"][4:]] == ["mlp, 2x256"]


@pytest.mark.slow
def test_every_contender(tmp_path):
    others = ("layerwise", "decoupled", "dfa, all layers", "torch_loop", "mlp, tuned")
    record, _ = run(tmp_path, "--json", "r.json", "--contenders", *others)
    assert all(row["accuracy"] > 0.7 for row in record["rows"] if not row["skipped"])


def test_lines_are_paired_by_set_and_seed(monkeypatch):
    """A set without the reference does not count; seeds are averaged before sets."""
    monkeypatch.syspath_prepend(BENCHMARKS)
    summary = importlib.import_module("_networks_summary")

    def row(contender, dataset, seed, accuracy, loss):
        scores = {"accuracy": accuracy, "log_loss": loss, "fit_cpu_seconds": 2.0, "predict_cpu_seconds": 1.0}
        return {"contender": contender, "dataset": dataset, "seed": seed, "error": None} | scores

    rows = [row("mlp", name, seed, 0.5, 1.0) for name in "ab" for seed in (0, 1)]
    rows += [row("dfa", "a", seed, 0.6, 0.5 + seed) for seed in (0, 1)]
    rows += [row("dfa", "b", 0, 0.4, 3.0), row("dfa", "c", 0, 0.9, 1.0)]
    first, last = summary.summarise(rows)
    assert (first["contender"], first["n_sets"], "points_to_mlp" in last) == ("dfa", 3, False)
    assert first["points_to_mlp"] == pytest.approx(0)
    assert first["points_to_mlp_se"] == pytest.approx(10)
    assert (first["points_to_mlp_won"], first["loss_to_mlp_won"]) == (1, 0)
    assert first["points_to_closed_form"] is None and first["time_ratio"] == 1
