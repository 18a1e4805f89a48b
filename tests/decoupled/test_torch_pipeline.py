"""Modules of torch networks in a pipeline: backpropagation bit for bit where nothing is delayed, and the laws of delay.

Oracles: :class:`TorchExecution` (one module), :class:`DenseCells` (all rules), derivatives by hand, and autograd on the
whole network.
"""

import contextlib
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

from sklearn_analytic.decoupled import torch_devices  # noqa: E402
from sklearn_analytic.decoupled.dense_cells import DenseCells  # noqa: E402
from sklearn_analytic.decoupled.pipeline import DELAYS, Batch, PipelineSchedule  # noqa: E402
from sklearn_analytic.decoupled.pipeline_execution import Pipeline  # noqa: E402
from sklearn_analytic.decoupled.pipeline_executors import Sequential, Threads  # noqa: E402
from sklearn_analytic.decoupled.torch_cells import TorchCells, one_thread  # noqa: E402
from sklearn_analytic.decoupled.torch_devices import Sent  # noqa: E402
from sklearn_analytic.nn import Optimizer, Rows  # noqa: E402
from sklearn_analytic.nn._initializers import initial_layers  # noqa: E402
from sklearn_analytic.nn._torch_execution import TorchExecution  # noqa: E402
from sklearn_analytic.nn._torch_networks import (  # noqa: E402
    state_arrays,
)
from sklearn_analytic.nn._torch_stages import n_stages  # noqa: E402
from tests.decoupled.torch_pipelines import (  # noqa: E402
    BATCH,
    RANGES,
    SIZES,
    N,
    Watch,
    assert_identical,
    fitted,
    make,
    make_recipe,
    make_rows,
    network_of,
    run,
    seeded,
    summed_gradients,
)

# ---- one module is backpropagation ----


@pytest.mark.parametrize(
    ("optimizer", "precision"),
    [
        (Optimizer("adam", alpha=0.1), "float32"),
        (Optimizer("adam"), "float64"),
        (Optimizer("sgd", alpha=0.1), "float32"),
        (Optimizer("sgd"), "bfloat16"),
        (Optimizer("sgd", 0.0, alpha=0.1), "float64"),
        (Optimizer("adamw", alpha=0.1), "float32"),
    ],
    ids=str,
)
def test_one_module_is_backpropagation_bit_for_bit(optimizer, precision):
    recipe = make_recipe(optimizer=optimizer, precision=precision)
    whole, cut = network_of("conv"), network_of("conv")
    rows = make_rows(weighted=True)
    expected = fitted(TorchExecution(whole, recipe), whole, rows)
    assert_identical(fitted(make(cut, [(0, 4)], recipe, alone=False), cut, rows), expected)
    assert not np.array_equal(expected[1]["1.weight"], state_arrays(network_of("conv"))["1.weight"])


@pytest.mark.parametrize(
    "choices",
    [{"precision": "bfloat16"}, {"activation_bits": 8}, {"tol_error": 0.3}, {"output": "identity"}],
    ids=str,
)
def test_one_module_takes_what_else_a_recipe_has(choices):
    recipe, rows = make_recipe(**choices), make_rows(output=choices.get("output", "softmax"))
    kind = "recurrent" if "precision" in choices else "dense"
    whole, cut = network_of(kind), network_of(kind)
    stages = n_stages(whole)
    expected = fitted(TorchExecution(whole, recipe), whole, rows)
    assert_identical(fitted(make(cut, [(0, stages)], recipe, alone=False), cut, rows), expected)


def test_modules_without_delay_are_backpropagation_bit_for_bit():
    whole, cut = network_of("conv"), network_of("conv")
    expected = fitted(TorchExecution(whole, make_recipe()), whole)
    found = run(cut, [(0, 1), (1, 3), (3, 4)], rule=PipelineSchedule("backprop"), alone=False)
    assert_identical(found, expected)


# ---- all rules, against compiled cells ----

RULES = [
    *(PipelineSchedule(schedule, forward_first=first) for schedule in DELAYS for first in (False, True)),
    *(PipelineSchedule(accumulation=3, average=average) for average in (False, True)),
    *(PipelineSchedule(stash=False, accumulation=m) for m in (1, 3)),
    *(PipelineSchedule(recompute=True, accumulation=m, drain=m == 1) for m in (1, 3)),
    *(PipelineSchedule(recompute=True, predictor=name, accumulation=3) for name in ("velocity", "difference", "adam")),
    PipelineSchedule(stash=False, predictor="difference", accumulation=2, forward_first=True),
    PipelineSchedule(predictor="velocity", regulator=0.5, drain=False),
    PipelineSchedule("ddg", stash=False, shrink=0.7, rate_rule="inverse", drain=False),
    PipelineSchedule("dtrp", recompute=True, shrink=0.7, forward_first=True, rate_rule="stability"),
]


def dense_pair(recipe, rule):
    """Compiled and torch pipelines of the same weights."""
    layers = initial_layers(SIZES, "tanh", np.random.default_rng(3))
    network = network_of()
    linear = [module for module in network if isinstance(module, nn.Linear)]
    with torch.no_grad():
        for module, (weight, bias) in zip(linear, layers, strict=True):
            module.weight.copy_(torch.from_numpy(weight.T.copy()))
            module.bias.copy_(torch.from_numpy(bias))
    dense = Pipeline(DenseCells(layers, "tanh", recipe, RANGES), rule, recipe, Sequential())
    return dense, make(network, RANGES, recipe, rule), linear


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_dense_networks_train_as_compiled_ones(rule):
    name = "adam" if rule.predictor == "adam" or rule.average else "sgd"
    dense, ours, linear = dense_pair(make_recipe(optimizer=Optimizer(name, alpha=0.01)), rule)
    expected, _ = fitted(dense, nn.Identity(), rate=0.02)
    found, _ = fitted(ours, nn.Identity(), rate=0.02)
    np.testing.assert_allclose(found, expected, rtol=1e-10)
    for module, (weight, bias) in zip(linear, dense.stack.layers(), strict=True):
        np.testing.assert_allclose(module.weight.detach().numpy().T, weight, rtol=0, atol=1e-10)
        np.testing.assert_allclose(module.bias.detach().numpy(), bias, rtol=0, atol=1e-10)
    for mine, theirs in zip(ours.workers, dense.workers, strict=True):
        assert mine.staleness == theirs.staleness
        assert mine.peak_versions == theirs.peak_versions
    np.testing.assert_allclose(ours.outputs(make_rows().x), dense.outputs(make_rows().x), rtol=0, atol=1e-9)


# ---- executors ----


@pytest.mark.parametrize(
    "rule",
    [
        PipelineSchedule(),
        PipelineSchedule(stash=False, accumulation=3, drain=False),
        PipelineSchedule(recompute=True, predictor="velocity", forward_first=True, shrink=0.7),
        PipelineSchedule(recompute=True, predictor="difference", drain=False),
    ],
    ids=str,
)
@pytest.mark.parametrize(("kind", "precision"), [("busy", "float32"), ("recurrent", "bfloat16")])
def test_threads_compute_the_same_bits(rule, kind, precision):
    ranges = RANGES if kind == "busy" else [(0, 1), (1, 2), (2, 3)]
    recipe = make_recipe(precision=precision, optimizer=Optimizer("adam"))
    expected = run(network_of(kind), ranges, recipe, rule)
    assert np.isfinite(expected[0]).all()
    assert_identical(run(network_of(kind), ranges, recipe, rule, Threads(3)), expected)


@pytest.mark.parametrize("executor", [Sequential, lambda: Threads(3)], ids=["sequential", "threads"])
def test_modules_compute_in_one_thread_each_and_leave_the_caller_his(executor):
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        network = network_of()
        network.insert(1, Watch())
        pipeline = make(network, RANGES, executor=executor())
        placed = pipeline.place(make_rows())
        network[1].seen.clear()
        pipeline.epoch(placed, np.arange(N), [0.1] * 5)
        assert network[1].seen == {(executor is Sequential, 1)}
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_fits_that_overlap_leave_later_threads_theirs():
    """What a thread sets is where later ones start, and the last fit to end has begun in the limit of another."""
    before, counts = torch.get_num_threads(), []

    def later():
        with ThreadPoolExecutor(1) as pool:
            return pool.submit(torch.get_num_threads).result()

    def overlapping(inside, leave):
        with one_thread(True):
            counts.append(torch.get_num_threads())
            inside.set()
            leave.wait(30)
        counts.append(torch.get_num_threads())

    torch.set_num_threads(2)
    try:
        events = [(threading.Event(), threading.Event()) for _ in range(2)]
        fits = [threading.Thread(target=overlapping, args=pair) for pair in events]
        for fit, (inside, _) in zip(fits, events, strict=True):
            fit.start()
            assert inside.wait(30)
        for fit, (_, leave) in zip(fits, events, strict=True):
            leave.set()
            fit.join(30)
        assert counts == [1, 1, 2, 2]
        assert torch.get_num_threads() == later() == 2
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize(
    "ambient",
    [torch.no_grad, torch.inference_mode, lambda: torch.autocast("cpu", torch.bfloat16)],
    ids=["no_grad", "inference", "autocast"],
)
@pytest.mark.parametrize("executor", [Sequential, lambda: Threads(3)], ids=["sequential", "threads"])
def test_modes_and_random_numbers_of_the_caller_do_not_matter(ambient, executor):
    rule = PipelineSchedule(recompute=True, predictor="difference", shrink=0.9)
    expected = run(network_of("busy"), RANGES, rule=rule)
    network = network_of("busy")
    with ambient():
        state = torch.get_rng_state()
        found = run(network, RANGES, rule=rule, executor=executor())
        assert torch.equal(state, torch.get_rng_state())
    assert_identical(found, expected)


def test_a_cell_relies_on_nothing_of_the_thread_that_calls_it():
    network = network_of()
    network.insert(1, Watch())
    stack = TorchCells(network, RANGES, make_recipe())
    batch = Batch(0, stack.place(make_rows()), stack.rows(np.arange(BATCH)), 0.1)
    network[1].seen.clear()

    def work():
        torch.set_num_threads(2)
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
            sent = stack.cells[0].forward(batch, None)
            stack.cells[0].backward(batch, Sent(torch.ones(BATCH, SIZES[1], dtype=torch.float64)))
            return sent.tensor.dtype, sent.tensor.is_inference(), network[0].weight.grad.is_inference()

    before = torch.get_num_threads()
    try:
        with ThreadPoolExecutor(1) as pool:
            assert pool.submit(work).result() == (torch.float64, False, False)
        assert network[1].seen == {(False, 1)}
    finally:
        torch.set_num_threads(before)  # what a thread sets, later ones start with


def test_several_devices_compute_the_same_bits():
    """Two names of one device: copies between devices, and checks of the network in one place, do run."""
    rule = PipelineSchedule(recompute=True, shrink=0.8)
    expected = run(network_of("busy"), RANGES, rule=rule)
    for devices in [("cpu",) * 3, ("cpu", "cpu:0", "cpu")]:
        assert_identical(run(network_of("busy"), RANGES, rule=rule, executor=Threads(3), devices=devices), expected)


class FakeStream:
    """A stream that notes what is asked of it; its events know where they come from."""

    def __init__(self, device):
        self.waited, self.entered = [], 0

    def record_event(self):
        return (self, object())

    def wait_event(self, event):
        assert event[0] is not self
        self.waited.append(event)

    def wait_stream(self, stream):
        assert stream is not self


def test_modules_with_streams_wait_for_what_they_receive(monkeypatch):
    """Streams are made up, as this must hold where there is no GPU: tensors cross with events, and are told of."""
    rules = [(PipelineSchedule(), 1), (PipelineSchedule(recompute=True, predictor="velocity"), 2)]
    expected = [run(network_of(), RANGES, rule=rule) for rule, _ in rules]
    used, caller, thread = [], FakeStream(None), threading.local()

    def current(device=None):
        return getattr(thread, "stream", caller)

    @contextlib.contextmanager
    def on(stream):
        stream.entered += 1
        before, thread.stream = current(), stream
        try:
            yield
        finally:
            thread.stream = before

    monkeypatch.setattr(torch_devices, "_stream", FakeStream)
    monkeypatch.setattr(torch.cuda, "stream", on)
    monkeypatch.setattr(torch.cuda, "current_stream", current)
    monkeypatch.setattr(torch.Tensor, "record_stream", lambda tensor, stream: used.append(stream), raising=False)
    for (rule, runs), without in zip(rules, expected, strict=True):
        network = network_of()
        pipeline = make(network, RANGES, rule=rule, executor=Threads(3))
        found = fitted(pipeline, network)
        assert_identical(found, without)
        streams = [cell.placement.stream for cell in pipeline.stack.cells]
        # 14 batches; the inputs of all modules but the first, which a module with a delay may read twice, and errors
        assert [len(stream.waited) for stream in streams] == [14, 14 * (runs + 1), 14]
        senders = [[streams.index(event[0]) for event in stream.waited] for stream in streams]
        assert [set(s) for s in senders] == [{1}, {0, 2}, {1}]
        assert all(stream.entered for stream in streams)
        assert set(used) >= set(streams)


def test_modules_are_dealt_out_to_all_gpus(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    found = [str(device) for device in torch_devices.devices_of(3, "cuda")]
    assert found == ["cuda:0", "cuda:1", "cuda:0"]
    assert [str(device) for device in torch_devices.devices_of(2, "cuda:1")] == ["cuda:1"] * 2
    assert [str(device) for device in torch_devices.devices_of(1, "cuda")] == ["cuda"]


# ---- gradients ----


def test_copies_of_weights_in_low_precision_are_those_of_the_forward_pass():
    recipe = make_recipe(precision="bfloat16")
    expected = run(network_of(), RANGES, recipe)
    assert_identical(run(network_of(), RANGES, recipe, PipelineSchedule(stash=False)), expected)
    with_current = run(network_of(), RANGES, rule=PipelineSchedule(stash=False))
    assert with_current[0] != run(network_of(), RANGES)[0]


@pytest.mark.parametrize("schedule", DELAYS)
@pytest.mark.parametrize("kind", ["dense", "busy"])
def test_gradients_of_resting_weights_are_exact(schedule, kind):
    if kind == "dense":
        network, rows = network_of(kind), make_rows()
        x, y = torch.from_numpy(rows.x), torch.from_numpy(rows.y)
        for k in range(-(-N // BATCH)):
            part = slice(k * N // 7, (k + 1) * N // 7)
            nn.functional.cross_entropy(network(x[part]), y[part]).backward()
        expected = {name: p.grad for name, p in network.named_parameters()}
    else:  # masks belong to a batch and a module, not to a schedule
        expected, _ = summed_gradients(network_of(kind), RANGES, {"schedule": "backprop"})
    for way in [{}, {"stash": False}, {"recompute": True}, {"recompute": True, "predictor": "velocity"}]:
        found, _ = summed_gradients(network_of(kind), RANGES, {"schedule": schedule, **way})
        assert found.keys() == expected.keys()
        for name, gradient in expected.items():
            torch.testing.assert_close(found[name], gradient, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("kind", ["current", "stashed", "predicted", "predicted, then current"])
def test_which_weights_and_activations_a_late_backward_pass_reads(kind):
    """h = w2 w1 x: dw2 = e a with the activation a of the forward pass, dw1 = e w2 x with w2 of now or of then."""
    network = seeded(*[lambda: nn.Linear(1, 1, bias=False)] * 3)
    with torch.no_grad():
        for module, value in zip(network, (2.0, 3.0, 1.0), strict=True):
            module.weight.fill_(value)
    stack = TorchCells(network, [(0, 2), (2, 3)], make_recipe(optimizer=Optimizer("sgd", 0.0), output="identity"))
    cell, rows = stack.cells[0], Rows(np.array([[1.5], [-0.5]]), np.zeros((2, 1)))
    batches = [Batch(i, stack.place(rows), stack.rows([i]), 0.1) for i in range(2)]
    weights = {
        "current": lambda: None,
        "stashed": cell.frozen,
        "predicted": lambda: cell.replaced([w + 4 for w in cell.tensors()]),
        "predicted, then current": lambda: cell.replaced([w + 4 for w in cell.tensors()]),
    }[kind]()
    w1, w2 = (6.0, 7.0) if "predicted" in kind else (2.0, 3.0)
    outputs = [cell.forward(batch, None, weights) for batch in batches]
    assert [sent.tensor.item() for sent in outputs] == [w1 * w2 * 1.5, w1 * w2 * -0.5]
    then = None if kind.endswith("current") else weights
    errors = [Sent(torch.full((1, 1), e, dtype=torch.float64)) for e in (0.2, 0.4)]
    seen = (2.0, 3.0) if then is None else (w1, w2)
    assert cell.backward(batches[0], errors[0], then) is None
    cell.update(0.1, 1.0)
    now = [2.0 - 0.1 * 0.2 * seen[1] * 1.5, 3.0 - 0.1 * 0.2 * (w1 * 1.5)]
    np.testing.assert_allclose([p.item() for p in cell.tensors()], now, rtol=1e-14)
    errors[1] *= 0.5
    cell.backward(batches[1], errors[1], then)
    cell.update(0.1, 2.0)
    w2_read = now[1] if then is None else w2
    later = [now[0] - 0.2 * 0.2 * w2_read * -0.5, now[1] - 0.2 * 0.2 * (w1 * -0.5)]
    np.testing.assert_allclose([p.item() for p in cell.tensors()], later, rtol=1e-14)
    assert cell.n_updates == 2
    if weights is not None:  # what others still read
        assert [w.item() for w in weights] == [w1, w2]
