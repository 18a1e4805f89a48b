"""Examples and benchmarks run in quick mode, as a user runs them, and give sane numbers."""

import importlib
import itertools
import json

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

import sklearn_analytic
from tests.examples.scripts import BENCHMARKS, run_script

ALONE = ("--threads", "1")  # other tests have the other cores


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
    run_script(BENCHMARKS / "accuracy.py", *ALONE, *options, cwd=folder)
    return folder, read_json(folder / "a.json")


def test_accuracy_has_every_row(accuracy):
    _, record = accuracy
    rows = {(row["dataset"], row["contender"]): row for row in record["rows"]}
    datasets = ("digits", "breast_cancer", "wine", "iris")
    contenders = ("closed_form", "cpnet", "brmp_linear", "brmp_hidden", "mlp", "logistic")
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
    run_script(BENCHMARKS / "accuracy.py", *ALONE, *options, cwd=folder)
    finished = [row for row in record["rows"] if row["error"] is None]
    assert read_json(folder / "a.json")["rows"] == finished


@pytest.fixture(scope="module")
def regression(tmp_path_factory):
    folder = tmp_path_factory.mktemp("regression")
    options = ("--suite", "regression", "--json", folder / "r.json", "--markdown", folder / "r.md")
    run_script(BENCHMARKS / "accuracy.py", *ALONE, *options, cwd=folder)
    return folder, read_json(folder / "r.json")


def test_regression_has_every_row(regression):
    _, record = regression
    rows = {row["contender"]: row for row in record["rows"]}
    assert set(rows) == {"closed_form", "brmp_linear", "brmp_hidden", "mlp", "ridge"}
    assert {row["dataset"] for row in rows.values()} == {"diabetes"}
    for row in rows.values():
        assert (row["error"] is None) == (row["r2"] is not None)
        assert row["error"] or row["r2"] == pytest.approx(1 - row["rmse_over_std"] ** 2)
    # Two ridge regressions with all but the same penalty; an MLP on raw targets scores below 0.
    assert rows["ridge"]["r2"] == pytest.approx(0.36, abs=0.03)
    assert rows["mlp"]["r2"] > 0.2


@needs("BRMPRegressor")
def test_regression_of_brmp(regression):
    _, record = regression
    rows = {row["contender"]: row for row in record["rows"]}
    assert rows["brmp_linear"]["r2"] == pytest.approx(rows["ridge"]["r2"], abs=0.03)


@needs("ClosedFormMLP", "ClosedFormMLPRegressor")
def test_accuracy_of_closed_form(accuracy, regression):
    scores = {
        row["dataset"]: row
        for _, record in (accuracy, regression)
        for row in record["rows"]
        if row["contender"] == "closed_form"
    }
    assert scores["digits"]["accuracy"] > 0.95
    assert scores["diabetes"]["r2"] > 0.25


def test_regression_summary_and_table(regression):
    folder, record = regression
    lines = {line["contender"]: line for line in record["summary"]}
    assert lines["mlp"]["fit_ratio"] == pytest.approx(1)
    assert lines["mlp"]["fit_ratio_large"] is None
    text = (folder / "r.md").read_text()
    assert "| R2 |" in text
    assert "| RMSE / std |" in text
    assert "LightGBM" not in text  # it did not run, so its columns are left out


@pytest.mark.parametrize("suite", ["tabular", "regression"])
def test_accuracy_of_trees_and_of_a_missing_peer(suite, tmp_path, monkeypatch):
    """An optional peer scores or is listed; one that cannot be imported is listed, no crash."""
    (tmp_path / "xrfm.py").write_text("raise ImportError('not here')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    dataset = {"tabular": "wine", "regression": "diabetes"}[suite]
    options = ("--suite", suite, "--only", dataset, "--json", tmp_path / "t.json", "--contenders")
    peers = ("hist_gb", "random_forest", "lightgbm", "xgboost", "xrfm")
    output = run_script(BENCHMARKS / "accuracy.py", *ALONE, *options, *peers, cwd=tmp_path, fresh=True)
    errors = {row["contender"]: row["error"] for row in read_json(tmp_path / "t.json")["rows"]}
    assert errors["hist_gb"] is None
    assert errors["random_forest"] is None
    assert errors["xrfm"] == "ImportError: not here"
    assert f"* {dataset}, xrfm: ImportError: not here" in output
    assert all(errors[name] is None or "No module" in errors[name] for name in ("lightgbm", "xgboost"))


def test_accuracy_suites_of_a_folder(tmp_path):
    """Real targets are the regression suite, classes the tabular one; split 0 of given masks."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((60, 3)).astype(np.float32)
    masks = np.array([np.arange(60) < 9, np.arange(60) < 30])
    np.savez(tmp_path / "real.npz", X=X, y=X[:, 0] * 1e-4, test_masks=masks)
    np.savez(tmp_path / "classes.npz", X=X, y=(X[:, 0] > 0).astype(np.int64))
    found = {suite: rows_of(suite, tmp_path) for suite in ("tabular", "regression")}
    assert [row["dataset"] for row in found["tabular"]] == ["classes"]
    assert [row["dataset"] for row in found["regression"]] == ["real"]
    assert [row["n_test"] for row in found["regression"]] == [9]
    assert found["regression"][0]["r2"] > 0.99


def rows_of(suite, folder):
    """The rows of a run over the sets of a folder."""
    options = ("--suite", suite, "--data", folder, "--json", folder / f"{suite}.json", "--contenders")
    run_script(BENCHMARKS / "accuracy.py", *ALONE, *options, "brmp_linear", "hist_gb", cwd=folder, quick=False)
    rows = read_json(folder / f"{suite}.json")["rows"]
    return [row for row in rows if row["contender"] == "brmp_linear"]


@pytest.fixture
def benchmark_module(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    return importlib.import_module


def test_summary_of_large_sets(benchmark_module):
    """The second ratio of fit times sees only sets of 20,000 training rows or more."""
    kind = benchmark_module("_accuracy_suites").REGRESSION
    scores = {"r2": 0.5, "rmse_over_std": 0.7, "predict_seconds": 1.0, "error": None, "seed": 0}
    rows = [
        scores | {"dataset": name, "n_train": n_train, "contender": contender, "fit_seconds": seconds}
        for name, n_train, ours in (("small", 19_999, 5.0), ("large", 20_000, 1.0), ("larger", 90_000, 4.0))
        for contender, seconds in (("mlp", 10.0), ("closed_form", ours))
    ]
    lines = {line["contender"]: line for line in benchmark_module("_accuracy_summary").summarise(rows, kind)}
    assert lines["closed_form"]["fit_ratio"] == pytest.approx((0.5 * 0.1 * 0.4) ** (1 / 3))
    assert lines["closed_form"]["fit_ratio_large"] == pytest.approx(0.2)
    assert lines["closed_form"]["n_fit_ratio_large"] == 2


def test_relabelled_hides_a_missing_class(benchmark_module):
    X = np.array([[0.0], [0.1], [1.0], [1.1]])
    inner = LogisticRegression(C=1e3)
    model = benchmark_module("_accuracy_adapters").Relabelled(inner).fit(X, np.array([3, 3, 7, 7]))
    assert inner.classes_.tolist() == [0, 1]
    assert model.classes_.tolist() == [3, 7]
    assert model.predict(X).tolist() == [3, 3, 7, 7]
    assert model.predict_proba(X).argmax(axis=1).tolist() == [0, 0, 1, 1]


@pytest.fixture(scope="module")
def streaming(tmp_path_factory):
    folder = tmp_path_factory.mktemp("streaming")
    script = BENCHMARKS / "streaming_least_squares.py"
    run_script(script, *ALONE, "--json", folder / "s.json", "--dir", folder, cwd=folder)
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


def test_first_fit(tmp_path):
    options = ("--estimators", "BRMPClassifier", "--torch", "DFAClassifier", "--json", tmp_path / "f.json")
    run_script(BENCHMARKS / "first_fit.py", *options, cwd=tmp_path)
    record = read_json(tmp_path / "f.json")
    (torched,) = record["torch"]
    assert torched["estimator"] == "DFAClassifier" and 0 < torched["second"] <= torched["first"]
    (row,), (busy,) = record["rows"], record["busy"]
    assert row["compiled"] == [] and 0 < row["second"] <= row["first"]
    assert all(seconds > 0 for seconds in busy["seconds"].values()) and "1" in busy["seconds"]


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


def test_ablation(tmp_path):
    script = BENCHMARKS / "closed_form_ablation.py"
    run_script(script, *ALONE, "--json", "a.json", cwd=tmp_path)
    record = read_json(tmp_path / "a.json")
    assert set(record["suites"]) == {"tabular", "regression"}
    for suite, score, least in (("tabular", "accuracy", 0.8), ("regression", "r2", 0.2)):
        part = record["suites"][suite]
        assert part["settings"]["max_train_rows"] == 3000
        assert {row["contender"] for row in part["rows"]} == {"auto", "random", "leaf"}
        assert {row["seed"] for row in part["rows"]} == {0, 1}
        assert all(row["error"] is None and row[score] > least for row in part["rows"])
    run_script(script, *ALONE, "--resume", "a.json", cwd=tmp_path)  # nothing is left to run
    assert read_json(tmp_path / "a.json") == record


def test_width_benchmark(tmp_path):
    run_script(BENCHMARKS / "closed_form_width.py", *ALONE, "--json", "w.json", "--figure", "w.png", cwd=tmp_path)
    rows = read_json(tmp_path / "w.json")["rows"]
    assert [row["width"] for row in rows if "share" not in row] == [64, 128]
    assert all(row["accuracy"] > 0.9 and row["fit_seconds"] > 0 for row in rows)
    assert (tmp_path / "w.png").stat().st_size > 5000


def test_speed_benchmark(tmp_path):
    run_script(BENCHMARKS / "closed_form_speed.py", *ALONE, "--json", "s.json", cwd=tmp_path)
    for row in read_json(tmp_path / "s.json")["rows"]:
        assert 0 < row["blas_share"] < 1
        assert row["gflop"]["gram"] > 0
        assert 0 < row["of_peak"] < 1.5


def test_small_benchmark(tmp_path):
    run_script(BENCHMARKS / "small.py", "--json", "s.json", cwd=tmp_path)
    record = read_json(tmp_path / "s.json")
    fits = {(row["task"], row["estimator"]) for row in record["rows"] if row["what"] == "fit"}
    assert {("iris", "ClosedFormMLP"), ("iris", "MLPClassifier"), ("diabetes", "BRMPRegressor")} <= fits
    assert {row["what"] for row in record["rows"]} == {"fit", "predict", "predict_proba", "decision_function"}
    assert all(row["milliseconds"] >= row["least"] >= 0 for row in record["rows"])
    assert all(row["products"] + row["factorisations"] + row["trees"] < row["whole"] for row in record["parts"])


def test_intervals_benchmark(tmp_path):
    """Own intervals and sets cover; a peer that is not installed is listed; a part that runs again keeps the others."""
    script = BENCHMARKS / "intervals.py"
    text = run_script(script, *ALONE, "--json", "i.json", cwd=tmp_path)
    record = read_json(tmp_path / "i.json")
    rows = {row["contender"]: row for row in record["regression"]}
    for name in ("closed_form", "brmp_linear"):
        assert 0.8 < rows[name]["coverage"] < 1 and len(rows[name]["coverage_by_size"]) == 3
        assert 0 < rows[name]["width"] < rows[name]["interval_score"]
    sets = {(row["contender"], row["asked"]): row for row in record["classification"]}
    assert all(sets["closed_form", asked]["coverage"] > asked - 0.05 for asked in (0.9, 0.95))
    assert sets["cpnet", 0.9]["size"] >= 1 and sets["cpnet", 0.9]["empty"] == 0
    assert "audit rows" in sets["closed_form_by_class", 0.95]["error"] and "audit rows" in text
    assert all(row["error"] or row["largest_difference"] < 1e-9 for row in record["equal_fits"])
    assert {row["error"] and row["error"].split(":")[0] for row in rows.values()} <= {None, "ModuleNotFoundError"}
    run_script(script, *ALONE, "--parts", "equal_fits", "--json", "i.json", cwd=tmp_path)
    assert read_json(tmp_path / "i.json")["regression"] == record["regression"]


def test_measures_of_intervals_and_sets(benchmark_module):
    measures = benchmark_module("_intervals_measures")
    ends, y = np.array([[0.0, 1.0]] * 6), np.array([0.5, 0.5, 2.0, 0.5, -1.0, 0.5])
    found = measures.of_intervals(ends, y, np.arange(6)[::-1], 0.9)
    assert found["coverage_by_size"] == [0.5, 0.5, 1.0] and found["coverage"] == pytest.approx(4 / 6)
    assert found["width"] == 1 and found["interval_score"] == pytest.approx(1 + 20 * 2 / 6)
    sets = np.repeat([[True, False], [True, True], [False, False]], 20, axis=0)
    found = measures.of_sets(sets, np.array([3, 7]), np.repeat([3, 7, 9], 20))  # no set has the class 9
    assert (found["coverage"], found["worst_class"]) == (pytest.approx(2 / 3), 0)
    assert (found["size"], found["singletons"], found["empty"]) == (1, pytest.approx(1 / 3), pytest.approx(1 / 3))
