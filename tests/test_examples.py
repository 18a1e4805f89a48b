"""Examples and benchmarks run in quick mode, as a user runs them, and give sane numbers."""

import itertools
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import sklearn_analytic

ROOT = Path(__file__).resolve().parents[1]
EXAMPLES = ROOT / "examples"
BENCHMARKS = EXAMPLES / "benchmarks"
SECONDS = 300  # a bound against hanging; the scripts take seconds on a free machine


def run_script(script, *options, cwd):
    """Run a script in a fresh process, away from the repository; its standard output."""
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    environment = os.environ | {"PYTHONPATH": path, "MPLBACKEND": "Agg"}
    command = [sys.executable, str(script), "--quick", *map(str, options)]
    result = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=SECONDS)
    assert result.returncode == 0, result.stderr[-3000:]
    return result.stdout


def read_json(path):
    record = json.loads(path.read_text())
    assert {"date", "packages", "cpu", "cores", "thread_pools"} <= record["environment"].keys()
    return record


def needs(*names):
    """Skip where an estimator is not part of the package (yet)."""
    missing = [name for name in names if not hasattr(sklearn_analytic, name)]
    return pytest.mark.skipif(bool(missing), reason=f"not in the package: {missing}")


@pytest.fixture(scope="module")
def accuracy(tmp_path_factory):
    folder = tmp_path_factory.mktemp("accuracy")
    options = ("--json", folder / "a.json", "--markdown", folder / "a.md")
    run_script(BENCHMARKS / "accuracy.py", *options, cwd=folder)
    return folder, read_json(folder / "a.json")


def test_accuracy_has_every_row(accuracy):
    _, record = accuracy
    rows = {(row["dataset"], row["contender"]): row for row in record["rows"]}
    datasets = ("digits", "breast_cancer", "wine", "iris")
    contenders = ("cpnet", "brmp_linear", "brmp_hidden", "mlp", "logistic")
    assert set(rows) == set(itertools.product(datasets, contenders))
    for row in rows.values():
        assert (row["error"] is None) == (row["accuracy"] is not None)
        assert row["error"] or (row["accuracy"] > 0.5 and row["fit_seconds"] > 0)
    assert 0 < rows["digits", "logistic"]["log_loss"] < 0.5


@needs("BRMPClassifier")
def test_accuracy_of_brmp(accuracy):
    _, record = accuracy
    scores = {(r["dataset"], r["contender"]): r["accuracy"] for r in record["rows"]}
    assert scores["digits", "brmp_linear"] > 0.9
    assert scores["digits", "brmp_hidden"] > 0.95


@needs("CPNetClassifier")
def test_accuracy_of_cpnet(accuracy):
    _, record = accuracy
    rows = {row["dataset"]: row for row in record["rows"] if row["contender"] == "cpnet"}
    assert rows["digits"]["accuracy"] > 0.95
    assert 0 < rows["digits"]["log_loss"] < 0.5


def test_accuracy_summary_and_table(accuracy):
    folder, record = accuracy
    lines = {line["contender"]: line for line in record["summary"]}
    assert lines["mlp"]["fit_ratio"] == pytest.approx(1)
    assert lines["logistic"]["mean_accuracy"] == pytest.approx(
        np.mean([r["accuracy"] for r in record["rows"] if r["contender"] == "logistic"])
    )
    text = (folder / "a.md").read_text()
    assert all(f"| {name} |" in text for name in lines)


def test_accuracy_resumes_without_repeating(accuracy):
    folder, record = accuracy
    options = ("--resume", folder / "a.json", "--only", "iris", "--contenders", "logistic")
    run_script(BENCHMARKS / "accuracy.py", *options, cwd=folder)
    finished = [row for row in record["rows"] if row["error"] is None]
    assert read_json(folder / "a.json")["rows"] == finished


@pytest.fixture(scope="module")
def streaming(tmp_path_factory):
    folder = tmp_path_factory.mktemp("streaming")
    script = BENCHMARKS / "streaming_least_squares.py"
    run_script(script, "--json", folder / "s.json", "--dir", folder, cwd=folder)
    return read_json(folder / "s.json")


def lines_of(record, name):
    return [line for line in record["summary"] if line["contender"] == name]


def test_streaming_reference_and_peers(streaming):
    errors = {line["contender"]: line["error"] for line in streaming["summary"]}
    assert errors["bare_loop_f64"] < 1e-12
    assert errors["bare_loop_f32"] < 1e-3
    assert errors["linear_regression"] < 1e-4
    assert all(line["ratio"] == 1 for line in lines_of(streaming, "bare_loop_f64"))


@needs("BRMPRegressor")
@pytest.mark.parametrize("name", ["brmp_gram", "brmp_qr", "brmp_auto"])
def test_streaming_of_brmp(streaming, name):
    lines = lines_of(streaming, name)
    assert [line["rows"] for line in lines] == [10_000, 20_000]
    for line in lines:
        assert line["error"] < 1e-9
        assert line["seconds"] > 0
        assert line["peak_hwm"] < 300


@needs("BRMPRegressor")
def test_conditioning(tmp_path):
    options = ("--json", tmp_path / "c.json", "--figure", tmp_path / "c.png")
    run_script(BENCHMARKS / "conditioning.py", *options, cwd=tmp_path)
    record = read_json(tmp_path / "c.json")
    kappa = np.array(record["kappas"])
    for panel in ("consistent", "noisy"):
        errors = {k: np.array(v, float) for k, v in record["errors"][panel].items()}
        assert (errors["scipy.linalg.lstsq"] < 1e-13 * kappa).all()
        assert (errors["qr"] < 1e-12 * kappa).all()
        assert errors["gram"][0] < 1e-9
        assert errors["recursive"][0] < 1e-9
    assert (tmp_path / "c.png").stat().st_size > 10_000


@needs("BRMPClassifier", "BRMPRegressor", "CPNetClassifier")
def test_quickstart(tmp_path):
    output = run_script(EXAMPLES / "plot_01_quickstart.py", "--out", tmp_path, cwd=tmp_path)
    for name in ("digits", "breast cancer", "diabetes", "CPNet", "BRMP, linear", "GridSearchCV"):
        assert name in output
    assert (tmp_path / "quickstart.png").stat().st_size > 10_000


@needs("BRMPClassifier", "CPNetClassifier")
def test_streaming_probe(tmp_path):
    output = run_script(EXAMPLES / "plot_02_streaming_probe.py", "--out", tmp_path, cwd=tmp_path)
    gap = float(output.split("decision values")[1].split()[0])
    assert gap < 1e-5
    assert (tmp_path / "streaming_probe.png").stat().st_size > 10_000
