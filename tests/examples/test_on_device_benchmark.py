"""The day's script for a GPU runs on the CPU in small sizes, and a part that fails costs no other part anything."""

import importlib
import json
import os
import subprocess
import sys

import pytest

from tests.examples.scripts import BENCHMARKS, ROOT, search_path

SECONDS = 600  # a bound against hanging
PATH = search_path()


@pytest.fixture(scope="module")
def record(tmp_path_factory):
    """What a quick run writes, as a user runs it."""
    pytest.importorskip("torch")
    folder = tmp_path_factory.mktemp("on_device")
    # budgets are for an idle machine: this one may be busy
    options = ["--device", "torch:cpu", "--quick", "--budget", "4650", "--json", "r.json"]
    command = [sys.executable, str(BENCHMARKS / "on_device.py"), *options]
    environment = os.environ | {"PYTHONPATH": PATH}
    result = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=SECONDS)
    assert result.returncode == 0, result.stderr[-3000:]
    assert "| part | budget, s | seconds | rows | error |" in result.stdout
    text = (folder / "r.json").read_text()
    assert str(ROOT) not in text
    return json.loads(text)


def rows_of(record, part, **wanted):
    found = [row for row in record["parts"][part]["rows"] if wanted.items() <= row.items()]
    assert found, f"no row of {part} has {wanted}"
    return found


# ------------------------------------------------------------------ parts


def test_every_part_ran_to_its_end(record):
    assert list(record["parts"]) == record["settings"]["parts"]
    assert len(record["parts"]) == 9
    for part in record["parts"].values():
        assert part["error"] is None and part["rows"]
        assert 0 < part["seconds"] < part["budget_s"]
    assert {"date", "packages", "cpu", "cores", "thread_pools"} <= record["environment"].keys()


def test_the_machine_is_told(record):
    (versions,) = rows_of(record, "machine", what="torch")
    assert versions["torch"] and versions["threads"] >= 1
    assert rows_of(record, "machine", what="first product")[0]["is_right"]


def test_tests_are_counted(record):
    (row,) = rows_of(record, "tests")
    assert row["selected"] == row["passed"] > 0
    assert row["failed"] == row["skipped"] == row["exit_status"] == 0


def test_errors_are_within_the_bounds_of_the_tests(record):
    rows = rows_of(record, "errors")
    assert all(row["within"] is not False for row in rows)
    for road, power in [("qr, cholesky", 1), ("qr, geqrf", 1), ("gram", 2)]:
        found = rows_of(record, "errors", family="condition", road=road)
        assert {row["noise"] for row in found} == {0.0, 1e-6}
        assert sum(row["within"] is True for row in found) >= (3 if power == 1 else 1)
        for row in found:
            assert row["error, device"] == pytest.approx(row["units, device"] * row["kappa"] ** power * 2.0**-52)
    awkward = [row for row in rows if row.get("unit") == "eps"]
    assert len(awkward) == 6 * 2 * 2  # families, roads, devices
    products = rows_of(record, "errors", family="products", device="torch:cpu")
    assert {row["precision"] for row in products} == {"float32", "tf32", "bfloat16"}
    (allowed,) = rows_of(record, "errors", family="products, the program allows TF32")
    (plain,) = rows_of(record, "errors", family="products", device="torch:cpu", precision="float32")
    assert allowed["gram, units"] == plain["gram, units"]


def test_roofline(record):
    rows = rows_of(record, "roofline", what="features + Gram")
    assert {row["precision"] for row in rows} == {"float32", "tf32", "bfloat16"}
    assert {row["chunk"] for row in rows} == {1024, 4096}  # as the package has it, and longer
    for row in rows:
        assert row["of_peak"] == pytest.approx(row["tflops"] / row["peak_tflops"])
        assert row["reached"] == (row["of_peak"] >= row["aim"] == 0.6)
        assert 0 < row["feature_share"] < 1
    (roads,) = rows_of(record, "roofline", what="roads to R")
    assert roads["cholesky_ms"] > 0 and roads["geqrf_ms"] > 0


@pytest.mark.parametrize(("part", "names"), [
    ("fits", {"ClosedFormMLP, random, float32", "CPNet", "ClosedFormMLP, random, bfloat16"}),
    ("stream", {"BRMP, gram", "BRMP, qr", "ClosedFormMLP, float32", "ClosedFormMLP, tf32", "CPNet"}),
])  # fmt: skip
def test_rates_are_told_beside_those_of_the_cpu(record, part, names):
    rows = rows_of(record, part)
    assert {row["contender"] for row in rows} == names and len(rows) == len(names)
    for row in rows:
        assert row["device_rows"] > row["cpu_rows"] > 0
        ratio = row["device_rows_per_s"] / row["cpu_rows_per_s"]
        assert row["rate_to_cpu"] == pytest.approx(ratio)
        close = 1e-6 if "BRMP" in row["contender"] else 0.1  # few rows, a ridge, bfloat16
        assert row["difference"] < close
    if part == "fits":
        assert all(min(row["device_accuracy"], row["cpu_accuracy"]) > 0.6 for row in rows)


def test_epochs(record):
    loop, *others = rows_of(record, "epochs")
    assert loop["contender"] == "torch loop"
    assert [row["contender"] for row in others] == [
        "backprop",
        "DFA",
        "DFA, bfloat16",
        "decoupled, 2 modules",
        "layer-wise, side by side",
        "layer-wise, in turns",
    ]
    assert all(0 < row["loss"] < 4 for row in (loop, *others))
    assert all(row["to_loop"] == pytest.approx(row["epoch_s"] / loop["epoch_s"]) for row in others)


def test_modules_on_one_device_give_the_losses_of_the_plain_loop(record):
    rows = rows_of(record, "executor", what="losses")
    assert all(row["is_equal"] and row["within"] for row in rows) and len(rows) == 5
    assert sum("gap, plain loop" in row for row in rows) == 1
    first, *timed = rows_of(record, "executor", what="seconds")
    assert first["contender"] == "torch loop"
    assert {row["executor"] for row in timed} == {"threads", "in turns"} and len(timed) == 10
    assert all(row["to_loop"] == pytest.approx(row["epoch_s"] / first["epoch_s"]) for row in timed)


def test_memory_is_null_where_torch_counts_none(record):
    rows = rows_of(record, "memory")
    assert {row["contender"] for row in rows} == {"torch backprop", "torch layer-wise"}
    assert all(row["peak_mb"] is None and row["reason"] and row["counted_mb"] > 0 for row in rows)


# ------------------------------------------------------------------ failures

MODULES = {
    "fine": "def run(settings, emit):\n    emit({'value': settings['value']})\n",
    "replaces": "def run(settings, emit):\n    [emit({'k': k}, 'same') for k in range(3)]\n    emit({'other': 1})\n",
    "hangs": "import time\ndef run(settings, emit):\n    emit({'so far': 1})\n    time.sleep(600)\n",
    "raises": "def run(settings, emit):\n    emit({'so far': 2})\n    raise ValueError('as told')\n",
    "dies": "import os\ndef run(settings, emit):\n    emit({'so far': 3})\n    os.abort()\n",
    "leaves": "def run(settings, emit):\n    import os; os._exit(7)\n",
    "prints": "def run(settings, emit):\n    print('no row')\n    emit({'nan': float('nan')})\n",
}


@pytest.fixture
def parts(tmp_path, monkeypatch):
    """(the module under test, a function that makes a part of one of the modules above)."""
    for name, text in MODULES.items():
        (tmp_path / f"part_that_{name}.py").write_text(text)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), PATH]))
    monkeypatch.syspath_prepend(BENCHMARKS)
    module = importlib.import_module("_on_device_parts")
    return module, lambda name, seconds=60.0: module.Part(name, f"part_that_{name}", seconds)


@pytest.mark.parametrize("together", [False, True])
def test_a_part_that_hangs_is_killed_and_the_others_go_on(parts, together):
    module, part = parts
    record, saved = {}, []
    chosen = [part("fine"), part("hangs", 1.5), part("raises"), part("dies"), part("leaves"), part("prints")]
    module.run_parts(chosen, {"value": 5}, record, lambda: saved.append(json.dumps(record)), together)
    assert list(record) == [one.name for one in chosen]
    assert record["fine"]["error"] is None and record["fine"]["rows"] == [{"value": 5}]
    assert record["hangs"]["error"] == "ran out of its 1.5 s"
    assert record["hangs"]["rows"] == [{"so far": 1}]  # what it had found stays
    assert "part_that_hangs.py" in record["hangs"]["stderr"]  # and where it was
    assert record["hangs"]["seconds"] < 30
    assert "ValueError: as told" in record["raises"]["error"] and record["raises"]["rows"] == [{"so far": 2}]
    assert record["dies"]["error"] == "the process ended with SIGABRT" and record["dies"]["rows"] == [{"so far": 3}]
    assert record["leaves"]["error"] == "the process ended with exit status 7" and record["leaves"]["rc"] == 7
    assert record["prints"]["error"] is None and len(record["prints"]["rows"]) == 1
    assert any('"so far": 1' in text and '"raises"' not in text for text in saved)  # written as it went
    assert str(ROOT) not in saved[-1]


def test_a_row_takes_the_place_of_one_with_its_key(parts):
    module, part = parts
    record = {}
    module.run_parts([part("replaces")], {}, record, lambda: None)
    assert record["replaces"]["rows"] == [{"k": 2}, {"other": 1}]


def test_budgets_are_below_eight_minutes_and_scale(parts, monkeypatch):
    script = importlib.import_module("on_device")
    assert sum(part.seconds for part in script.PARTS) == script.TOTAL == 465 < 480
    for part in script.PARTS:
        assert f"| {part.name} | {part.seconds} |" in script.__doc__
        assert (BENCHMARKS / f"{part.module}.py").is_file()
    assert script.PARTS[1].scaled(0.5).seconds == script.PARTS[1].seconds / 2


def test_the_plugin_tells_failures(parts):
    tests, told = importlib.import_module("_on_device_tests"), []
    recorder = tests.Recorder(lambda row, key=None: told.append(row))
    report = type(
        "Report", (), {"failed": True, "when": "setup", "nodeid": "a::b", "longrepr": "no CUDA", "skipped": 0}
    )
    recorder.pytest_runtest_logreport(report)
    assert told[0] == {"name": "a::b", "outcome": "failed", "when": "setup", "message": "no CUDA"}
    assert told[1]["failed"] == 1 and told[1]["passed"] == 0
