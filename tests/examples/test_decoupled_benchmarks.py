"""The benchmark of decoupled training runs in quick mode, as a user runs it, and gives sane numbers."""

import importlib
import json
import sys
from pathlib import Path

import numpy as np
import pytest

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
        command = ["decoupled.py", "--quick", "--suite", suite, "--json", str(path), *options]
        monkeypatch.setattr(sys, "argv", command)
        module("_suites").run_script(module("decoupled").SCRIPT)
        text = path.read_text()
        assert str(ROOT) not in text
        record = json.loads(text)
        assert {"date", "packages", "cpu", "cores", "thread_pools"} <= record["environment"].keys()
        assert {"suite": suite, "quick": True}.items() <= record["settings"].items()
        assert [row for row in record["rows"] if row["error"]] == []
        return record, capsys.readouterr().out

    return run


def lines_of(record, *keys):
    return {tuple(line[key] for key in keys): line for line in record["summary"]}


def assert_table(text, columns):
    assert "| " + " | ".join(columns) + " |" in text


# ------------------------------------------------------------------ suites


def test_accuracy(run_suite, module):
    record, text = run_suite("accuracy")
    assert_table(text, module("_decoupled_common").COLUMNS)
    lines = lines_of(record, "n_modules", "contender")
    assert set(lines) == {(1, "backprop"), *((n, name) for n in (2, 4, 8) for name in ("fdg", "dtrp"))}
    assert all(0.1 < line["accuracy"] < 1 and line["diverged"] == 0 for line in lines.values())
    plain = lines[1, "backprop"]
    assert plain["staleness"] == plain["difference"] == 0
    for (n, _), line in lines.items():
        assert line["difference"] == pytest.approx(100 * (line["accuracy"] - plain["accuracy"]))
        assert line["staleness"] <= max(2 * n - 3, 0)


def test_accuracy_with_momentum(run_suite):
    record, _ = run_suite("accuracy_sgd", "--contenders", "backprop", "fdg, inverse rates")
    assert record["settings"]["rate"] == 0.02
    assert len(record["summary"]) == 4
    assert all(line["accuracy"] > 0.1 for line in record["summary"])


def test_images(run_suite):
    pytest.importorskip("torch", exc_type=ImportError)
    record, _ = run_suite("images")
    assert [(row["n_modules"], row["contender"]) for row in record["rows"]] == [
        (1, "backprop"),
        (2, "dtrp"),
        (4, "dtrp"),
    ]
    for row in record["rows"]:
        assert len(row["modules"]) == row["n_modules"]
        assert row["modules"][-1][1] == 8  # stages
        assert np.isfinite(row["loss"])


def test_speed(run_suite, module):
    record, text = run_suite("speed")
    speed = module("_decoupled_speed")
    assert_table(text, speed.COLUMNS)
    assert "Where decoupling wins" in text
    lines = lines_of(record, "contender")
    assert lines[speed.ONE,]["speedup"] == 1
    assert all(line["ms"] > 0 for line in lines.values())
    for row in record["rows"]:
        assert row["threads"] == (1 if row["contender"] in (speed.ONE, "fdg, in turns") else 2)
        assert len(row["samples"]) == record["settings"]["repeats"]
        in_modules = row["contender"] in ("fdg", "dtrp", "fdg, in turns")
        assert len(row["busy"] or ()) == 2 * in_modules
        assert all(0 < share <= 1 for share in row["busy"] or ())


def test_memory_in_a_fresh_process(run_suite, module):
    record, text = run_suite("memory", "--contenders", "fdg, stashed weights")
    assert_table(text, module("_decoupled_memory").COLUMNS)
    (row,), (line,) = record["rows"], record["summary"]
    assert line["versions"] == "6 4 2 1"  # what 5, 3, 1 and no updates between two passes leave, and the live ones
    assert row["peak_mb"] is None or row["peak_mb"] < 100  # of a network so small it may be nothing
    widths = [64] * 9 + [10]
    weights = [
        sum((a + 1) * b for a, b in zip(widths[i:j], widths[i + 1 : j + 1], strict=True)) for i, j in row["modules"]
    ]
    assert row["other_weight_bytes"] == 4 * (5 * weights[0] + 3 * weights[1] + weights[2])
    hidden = [sum(widths[i + 1 : j + 1]) for i, j in row["modules"]]
    # backward comes first in a step: a batch for every step of the delay is on its way, and one where there is none
    assert row["activation_bytes"] == 4 * 64 * sum(n * units for n, units in zip((6, 4, 2, 1), hidden, strict=True))


def test_simulation(run_suite, module):
    record, text = run_suite("simulation")
    simulation = module("_decoupled_simulation")
    assert_table(text, simulation.COLUMNS)
    checked = [row for row in record["rows"] if row.get("measured_seconds")]
    assert [row["contender"] for row in checked] == [*simulation.RULES, "dtrp, compensated split"]
    assert all(row["seconds"] > 0 and row["measured_seconds"] > 0 for row in checked)
    chain = [row for row in record["rows"] if row["part"].startswith("chain")]
    assert {row["hand_off"] for row in chain} == {"queue", "network"}
    assert len(chain) == 2 * 2 * len(simulation.CONTENDERS)


@pytest.mark.slow
def test_synchronous(run_suite, module):
    torch = pytest.importorskip("torch", exc_type=ImportError)
    if not (torch.distributed.is_available() and torch.distributed.is_gloo_available()):
        pytest.skip("needs gloo")
    record, text = run_suite("synchronous", "--contenders", "1F1B, 4 micro-batches")
    assert_table(text, module("_decoupled_synchronous").COLUMNS)
    (row,) = record["rows"]
    assert row["gradient_gap"] < 1e-6 * max(row["largest_gradient"], 1)
    assert row["loss_gap"] < 1e-6
    assert row["seconds"] > 0


@pytest.mark.slow
def test_stacked(run_suite, module):
    pytest.importorskip("torch", exc_type=ImportError)
    record, text = run_suite("stacked")
    stacked = module("_decoupled_stacked")
    assert_table(text, stacked.COLUMNS)
    lines = lines_of(record, "contender")
    assert len(lines) == len(stacked.CONTENDERS)
    assert lines[stacked.TORCH,]["to_torch"] == lines[stacked.COMPILED,]["to_compiled"] == 1
    assert "torch stacked, 8 modules" in stacked.verdict(record["summary"])


# ------------------------------------------------------------------ contenders of the benchmark's own


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_data_parallel_threads_are_one_thread(module, optimizer):
    nets = module("_decoupled_nets")
    task = {"width": 16, "depth": 3, "batch_size": 33, "batches": 4}
    one, two = nets.compiled_backprop(task, optimizer), nets.DataParallel(task, optimizer=optimizer)
    rows, rates = nets.rows_of(task), np.full(4, 1e-2)
    order = np.random.default_rng(0).permutation(len(rows.x))
    for _ in range(2):
        expected = one.epoch(one.place(rows), order, rates)
        assert two.epoch(two.place(rows), order, rates) == pytest.approx(expected, rel=1e-5)
    for layer, peer in zip(one.layers(), two.layers(), strict=True):
        for a, b in zip(layer, peer, strict=True):
            np.testing.assert_allclose(a, b, atol=1e-5)


@pytest.mark.parametrize("n_modules", [1, 2, 4, 8])
def test_stacked_modules_send_the_gradient_of_backprop(module, n_modules):
    """Without updates, gradients of all ticks add up to backpropagation's; the pipeline is emptied by empty ticks."""
    torch = pytest.importorskip("torch", exc_type=ImportError)
    stack = module("_decoupled_stack").StackedModules(8, 6, n_modules, batch_size=5)
    generator = torch.Generator().manual_seed(1)
    stack.biases.normal_(generator=generator)
    batches = [(torch.randn(5, 6, generator=generator), torch.arange(5)) for _ in range(4)]
    weights, biases, losses = torch.zeros_like(stack.weights), torch.zeros_like(stack.biases), []
    for x, y in batches + [(None, None)] * (2 * n_modules - 2):
        losses.append(stack.tick(x, y))
        weights += stack.weights.grad
        biases += stack.biases.grad
    live = [part.clone().reshape(8, -1, 6).requires_grad_() for part in (stack.weights, stack.biases)]
    total = 0.0
    for x, y in batches:
        for k in range(8):
            x = x @ live[0][k] + live[1][k]
            x = x.relu() if k < 7 else x
        total = total + torch.nn.functional.cross_entropy(x, y)
    total.backward()
    torch.testing.assert_close(weights.reshape(8, 6, 6), live[0].grad, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(biases.reshape(8, 1, 6), live[1].grad, rtol=1e-4, atol=1e-5)
    assert sum(loss.item() for loss in losses if loss is not None) == pytest.approx(total.item(), rel=1e-5)


# ------------------------------------------------------------------ tables


def fit_row(contender, n_modules, seed, accuracy, name="a"):
    """A row of the suite "accuracy"; without an accuracy it diverged."""
    row = {"dataset": name, "seed": seed, "contender": contender, "n_modules": n_modules, "error": None}
    row |= {"diverged": accuracy is None, "accuracy": accuracy, "log_loss": accuracy}
    return row if accuracy is None else row | {"staleness": [1.0, 0.0]}


def test_divergences_are_counted_and_score_nothing(module):
    common = module("_decoupled_common")
    rows = [fit_row("backprop", 1, seed, 0.9) for seed in range(3)]
    rows += [fit_row("fdg", 4, seed, score) for seed, score in enumerate((0.8, 0.9, None))]
    rows += [fit_row("fdg", 8, seed, None) for seed in range(3)]
    lines = {(line["n_modules"], line["contender"]): line for line in common.summarise(rows)}
    assert list(lines) == [(1, "backprop"), (4, "fdg"), (8, "fdg")]
    some, none = lines[4, "fdg"], lines[8, "fdg"]
    assert (some["n_runs"], some["diverged"], some["accuracy"]) == (3, 1, pytest.approx(0.85))
    assert some["difference"] == pytest.approx(-5)
    assert some["difference_se"] == pytest.approx(5)  # of -10 and 0
    assert (none["diverged"], none["accuracy"], none["difference"]) == (3, None, None)
    assert "| 8 | fdg | - |" in common.by_set(list(lines.values()))


def test_a_diverging_fit_is_a_row(module, monkeypatch):
    common = module("_decoupled_common")

    class Diverging:
        def fit(self, X, y):
            raise FloatingPointError("diverged")

    monkeypatch.setattr(common, "capped_split", lambda job, options: (np.zeros((4, 1)),) * 2 + (np.zeros(4),) * 2)
    row = common.scored_fit(Diverging(), {}, None)
    assert row["diverged"]
    assert row["accuracy"] is row["log_loss"] is None


def test_speed_summary_names_the_winner(module):
    speed = module("_decoupled_speed")
    seconds = {speed.ONE: 4.0, speed.TWO: 3.0, speed.PARALLEL: 2.5, "fdg": 2.0, "dtrp": 5.0}
    rows = [
        {"network": "a", "contender": name, "threads": 2, "seconds": value, "busy": [0.5, 1.0], "error": None}
        | {"processor_seconds": 4.0 if name == speed.ONE else 4.5}
        for name, value in seconds.items()
    ]
    lines = speed.summarise(rows)
    fdg = next(line for line in lines if line["contender"] == "fdg")
    assert (fdg["speedup"], fdg["to_two"], fdg["to_parallel"], fdg["busy"]) == (2.0, 1.5, 1.25, "50% / 100%")
    assert fdg["extra_us"] == 0.25e6
    assert f"| a | {speed.PARALLEL} | 1.25 | yes |" in speed.winners(lines)
    slow = [line | {"ms": 5000.0} if line["contender"] == "fdg" else line for line in lines]
    assert f"| a | {speed.PARALLEL} | 0.50 | no |" in speed.winners(slow)


def test_memory_summary(module):
    memory = module("_decoupled_memory")
    fixed = {"network": "n", "error": None, "seconds": 1.0, "weight_versions": [2, 1]}
    kinds = [(memory.BACKPROP, 1, 10.0, 0.0), (memory.STASH, 4, 30.0, 10.0), ("dtrp", 4, 12.0, 6.0)]
    rows = [
        fixed | {"contender": name, "n_modules": n, "activation_bytes": a, "other_weight_bytes": w, "peak_mb": a + w}
        for name, n, a, w in kinds
    ]
    _, stash, dtrp = memory.summarise(rows)
    assert (stash["to_backprop"], stash["to_stash"]) == (4.0, 1.0)
    assert (dtrp["to_stash"], dtrp["activation_to_stash"], dtrp["peak_to_stash"]) == pytest.approx((0.45, 0.4, 0.45))
    assert "dtrp, n, 4 modules: 0.45 of stashing (within 0.5)" in memory.verdict([dtrp])


def test_simulated_chains_meet_the_theory(module):
    """Equal layers, free hand-offs: K modules are K times as fast, and a second forward pass costs a quarter of it."""
    simulation = module("_decoupled_simulation")
    layers = {name: {"forward": 1.0, "backward": 2.0, "update": 0.0} for name in ("backprop", "fdg", "dtrp")}

    def speedup(contender, n, batches=400):
        return simulation.chained(layers, contender, n, "queue", 0.0, batches)["speedup"]

    assert speedup("backprop", 4) == pytest.approx(1)
    assert speedup("fdg", 4) == pytest.approx(4, rel=0.03)
    assert speedup("dtrp, even split", 4) == pytest.approx(3, rel=0.03)
    assert speedup("dtrp, compensated split", 4) == pytest.approx(13 / 4, rel=0.03)
    formulas = {row["contender"]: row["speedup"] for row in simulation.formulas(4)}
    assert formulas["GPipe, 1F1B, 8 micro-batches"] == pytest.approx(32 / 11)
    assert formulas["zero bubble, bound"] == 4


def test_costs_of_a_recomputing_module_count_its_second_forward_pass_once(module):
    costs = module("_decoupled_costs")
    task = {"width": 8, "depth": 3, "batch_size": 8, "batches": 6, "repeats": 1}
    execution = module("_decoupled_nets").pipeline(task, costs.RULES["dtrp"], 2, threads=False)
    costs.rounds([execution], task)
    timeline = execution.record()["timeline_"]
    lower = timeline[(timeline["module"] == 0) & (timeline["kind"] == "backward")]
    found = costs.module_costs(execution)[0]
    whole = float(np.median(lower["end"] - lower["begin"]))
    assert found["forward"] + found["backward"] == pytest.approx(max(whole, found["forward"]))


def test_last_error_is_the_one_that_names_an_exception(module):
    last_error = module("_decoupled_synchronous").last_error
    assert last_error("Traceback\n  x\nValueError: too few\n[rank0] bye") == "ValueError: too few"
    assert last_error("killed\n") == "killed"
