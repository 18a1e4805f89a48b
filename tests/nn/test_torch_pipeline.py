"""Modules of torch networks in a pipeline: backpropagation bit for bit where nothing is delayed, and the laws of delay.

Oracles: :class:`TorchExecution` (one module), :class:`DenseCells` (all rules), derivatives by hand, and autograd on the
whole network.
"""

import contextlib
import copy
import itertools
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

from sklearn_analytic.nn import Optimizer, Plan, Recipe, Rows, initial_layers, torch_parts, train  # noqa: E402
from sklearn_analytic.nn import _torch_devices as torch_devices  # noqa: E402
from sklearn_analytic.nn._dense_cells import DenseCells  # noqa: E402
from sklearn_analytic.nn._pipeline import DELAYS, Batch, PipelineRule  # noqa: E402
from sklearn_analytic.nn._pipeline_execution import Pipeline  # noqa: E402
from sklearn_analytic.nn._pipeline_executors import ModuleError, Sequential, Threads  # noqa: E402
from sklearn_analytic.nn._torch_cells import TorchCells  # noqa: E402
from sklearn_analytic.nn._torch_costs import measured_costs, stage_costs  # noqa: E402
from sklearn_analytic.nn._torch_devices import Sent  # noqa: E402
from sklearn_analytic.nn._torch_draws import may_draw  # noqa: E402
from sklearn_analytic.nn._torch_execution import TorchExecution  # noqa: E402
from sklearn_analytic.nn._torch_networks import (  # noqa: E402
    LastStep,
    dense_network,
    image_network,
    recurrent_network,
    state_arrays,
)
from tests.nn.test_torch_faults import Noise  # noqa: E402

D, C, N, BATCH = 16, 3, 50, 8
SIZES = (D, 9, 8, 7, 6, C)
RANGES = [(0, 1), (1, 3), (3, 5)]  # three modules of the five stages of SIZES


class Broken(nn.Module):
    """A module that fails in its fourth forward pass."""

    calls = None  # while the network is checked

    def forward(self, x):
        self.calls = None if self.calls is None else self.calls + 1
        if self.calls == 4:
            raise ZeroDivisionError("as asked")
        return x


class Watch(nn.Module):
    """A module that notes in which threads, and with how many threads of torch, it runs."""

    def __init__(self):
        super().__init__()
        self.seen = set()

    def forward(self, x):
        self.seen.add((threading.current_thread() is threading.main_thread(), torch.get_num_threads()))
        return x


class Scaled(nn.Module):
    """A normalisation that a user wrote: it changes in place what its graph has kept."""

    def __init__(self):
        super().__init__()
        self.register_buffer("size", torch.ones(8))

    def forward(self, x):
        if self.training:
            self.size.mul_(0.9).add_(0.1 * x.detach().abs().mean(0))
        return x / self.size


def make_rows(weighted=False, output="softmax"):
    generator = np.random.default_rng(0)
    y = generator.integers(C, size=N) if output == "softmax" else generator.standard_normal((N, C))
    weight = generator.uniform(0.5, 1.5, N) if weighted else None
    return Rows(generator.standard_normal((N, D)), y, weight)


def make_recipe(**choices):
    defaults = {"scheme": "backprop", "precision": "float64", "batch_size": BATCH, "optimizer": Optimizer("sgd")}
    return Recipe(**(defaults | choices))


def seeded(*modules):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.Sequential(*(module() for module in modules)).double()


def busy_network():
    """Five stages with normalisations, dropout of two kinds, and rectifiers that work in place."""
    return seeded(
        lambda: nn.Linear(D, 9),
        lambda: nn.BatchNorm1d(9),
        lambda: nn.ReLU(inplace=True),
        lambda: nn.Dropout(0.3),
        lambda: nn.Linear(9, 8),
        nn.Tanh,
        lambda: nn.Linear(8, 7),
        lambda: nn.AlphaDropout(0.2),
        lambda: nn.Linear(7, 6),
        lambda: nn.BatchNorm1d(6),
        nn.ReLU,
        lambda: nn.Linear(6, C),
    )


def network_of(kind="dense"):
    made = {
        "dense": lambda: dense_network(SIZES, "tanh"),
        "conv": lambda: image_network((4, 4), (3, 4), (5,), C, batch_norm=True),
        "recurrent": lambda: recurrent_network(4, D, (5, 4), (), C),
        "busy": busy_network,
    }
    return made[kind]().double()


def make(network, ranges, recipe=None, rule=None, executor=None, **choices):
    recipe = recipe or make_recipe()
    stack = TorchCells(network, ranges, recipe, **choices)
    return Pipeline(stack, rule or PipelineRule(), recipe, executor or Sequential())


def fitted(execution, network, rows=None, epochs=2, rate=0.05):
    """(losses, weights and buffers)."""
    history = train(execution, rows or make_rows(), Plan(epochs, BATCH, rate), np.random.default_rng(1))
    return history.losses, state_arrays(network)


def run(network, ranges, recipe=None, rule=None, executor=None, **choices):
    return fitted(make(network, ranges, recipe, rule, executor, **choices), network)


def assert_identical(found, expected):
    assert found[0] == expected[0]
    assert len(found[0]) == 2
    for key, value in expected[1].items():
        np.testing.assert_array_equal(found[1][key], value, err_msg=key)


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
    stages = torch_parts().n_stages(whole)
    expected = fitted(TorchExecution(whole, recipe), whole, rows)
    assert_identical(fitted(make(cut, [(0, stages)], recipe, alone=False), cut, rows), expected)


def test_modules_without_delay_are_backpropagation_bit_for_bit():
    whole, cut = network_of("conv"), network_of("conv")
    expected = fitted(TorchExecution(whole, make_recipe()), whole)
    found = run(cut, [(0, 1), (1, 3), (3, 4)], rule=PipelineRule("backprop"), alone=False)
    assert_identical(found, expected)


# ---- all rules, against compiled cells ----

RULES = [
    *(PipelineRule(schedule, forward_first=first) for schedule in DELAYS for first in (False, True)),
    *(PipelineRule(accumulation=3, average=average) for average in (False, True)),
    *(PipelineRule(stash=False, accumulation=m) for m in (1, 3)),
    *(PipelineRule(recompute=True, accumulation=m, drain=m == 1) for m in (1, 3)),
    *(PipelineRule(recompute=True, predictor=name, accumulation=3) for name in ("velocity", "difference", "adam")),
    PipelineRule(stash=False, predictor="difference", accumulation=2, forward_first=True),
    PipelineRule(predictor="velocity", regulator=0.5, drain=False),
    PipelineRule("ddg", stash=False, shrink=0.7, rate_rule="inverse", drain=False),
    PipelineRule("dtrp", recompute=True, shrink=0.7, forward_first=True, rate_rule="stability"),
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
        PipelineRule(),
        PipelineRule(stash=False, accumulation=3, drain=False),
        PipelineRule(recompute=True, predictor="velocity", forward_first=True, shrink=0.7),
        PipelineRule(recompute=True, predictor="difference", drain=False),
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


@pytest.mark.parametrize(
    "ambient",
    [torch.no_grad, torch.inference_mode, lambda: torch.autocast("cpu", torch.bfloat16)],
    ids=["no_grad", "inference", "autocast"],
)
@pytest.mark.parametrize("executor", [Sequential, lambda: Threads(3)], ids=["sequential", "threads"])
def test_modes_and_random_numbers_of_the_caller_do_not_matter(ambient, executor):
    rule = PipelineRule(recompute=True, predictor="difference", shrink=0.9)
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
    rule = PipelineRule(recompute=True, shrink=0.8)
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
    rules = [(PipelineRule(), 1), (PipelineRule(recompute=True, predictor="velocity"), 2)]
    expected = [run(network_of(), RANGES, rule=rule) for rule, _ in rules]
    used, caller = [], FakeStream(None)

    @contextlib.contextmanager
    def on(stream):
        stream.entered += 1
        yield

    monkeypatch.setattr(torch_devices, "_stream", FakeStream)
    monkeypatch.setattr(torch.cuda, "stream", on)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: caller)
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
    assert_identical(run(network_of(), RANGES, recipe, PipelineRule(stash=False)), expected)
    with_current = run(network_of(), RANGES, rule=PipelineRule(stash=False))
    assert with_current[0] != run(network_of(), RANGES)[0]


def summed_gradients(network, ranges, rule):
    """Gradients of one epoch at weights that stay, by name."""
    found = {}
    n_batches = -(-N // BATCH)
    rule = PipelineRule(**{**rule, "accumulation": n_batches})
    pipeline = make(network, ranges, make_recipe(optimizer=Optimizer("sgd", 0.0)), rule)
    names = {id(p): name for name, p in network.named_parameters()}
    for cell in pipeline.stack.cells:
        step = cell.update

        def update(rate, scale, cell=cell, step=step):
            found.update({names[id(p)]: p.grad.clone() for p in cell.network.parameters()})
            step(rate, scale)

        cell.update = update
    pipeline.epoch(pipeline.place(make_rows()), np.arange(N), [0.0] * n_batches)
    return found, pipeline


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


# ---- running statistics, random numbers ----


@pytest.mark.parametrize(
    "rule", [{}, {"recompute": True}, {"recompute": True, "predictor": "velocity"}, {"predictor": "velocity"}], ids=str
)
def test_running_statistics_see_every_batch_once(rule):
    network, whole = network_of("conv"), network_of("conv")
    ranges = [(0, 1), (1, 2), (2, 4)]
    _, pipeline = summed_gradients(network, ranges, rule)
    execution = TorchExecution(whole, make_recipe())
    execution.epoch(execution.place(make_rows()), np.arange(N), [0.0] * 7)
    found, expected = state_arrays(network), state_arrays(whole)
    assert [int(v) for k, v in found.items() if k.endswith("tracked")] == [7, 7]
    for key, value in expected.items():
        np.testing.assert_array_equal(found[key], value, err_msg=key)
    assert all(cell.kept_bytes() == 0 for cell in pipeline.stack.cells)


def test_statistics_that_a_graph_reads_are_those_of_its_forward_pass():
    """Module 1 normalises by a running size, and x / size is differentiated at the size that its batch has seen."""
    networks = [network_of() for _ in range(4)]
    for network in networks:
        network.insert(3, Scaled().double())
    ways = [{"schedule": "backprop"}, {}, {"stash": False}]
    expected, *found = (summed_gradients(n, RANGES, way)[0] for n, way in zip(networks, ways, strict=False))
    for gradients in found:
        for name, gradient in expected.items():
            torch.testing.assert_close(gradients[name], gradient, rtol=1e-12, atol=1e-14)
    whole = TorchExecution(networks[3], make_recipe(optimizer=Optimizer("sgd", 0.0)))
    whole.epoch(whole.place(make_rows()), np.arange(N), [0.0] * 7)
    for network in networks[:3]:
        assert torch.equal(network[3].size, networks[3][3].size)
        assert network[3].size.max() != 1


def test_masks_differ_between_batches_modules_and_epochs():
    network = seeded(
        lambda: nn.Linear(D, D), lambda: nn.Dropout(0.5), lambda: nn.Linear(D, D), lambda: nn.Dropout(0.5), nn.Flatten
    )
    with torch.no_grad():
        for module in (network[0], network[2]):
            module.weight.copy_(torch.eye(D))
            module.bias.fill_(0)
    stack = TorchCells(network, [(0, 1), (1, 2)], make_recipe(output="identity"))
    ones = stack.place(Rows(np.ones((2, D)), np.zeros((2, D))))
    masks = []
    for epoch, index in itertools.product(range(2), range(2)):
        with stack.training(epoch, 2):
            batch = Batch(index, ones, stack.rows([0, 1]), 0.1)
            sent = stack.cells[0].forward(batch, None, keep=False)
            again = stack.cells[0].forward(batch, None)
            assert torch.equal(sent.tensor, again.tensor)
            stack.cells[0].backward(batch, Sent(torch.ones_like(sent.tensor)))
            batch = Batch(index, ones, stack.rows([0, 1]), 0.1)
            stack.cells[1].forward(batch, Sent(torch.ones(2, D, dtype=torch.float64)))
            masks += [sent.tensor, stack.cells[1]._kept[index].output.detach()]
            stack.cells[1].load(stack.cells[1].state())
    for one, other in itertools.combinations(masks, 2):
        assert not torch.equal(one, other)


class _Sampled(nn.Linear):
    """A layer that a user wrote."""


@pytest.mark.parametrize(
    ("module", "draws"),
    [
        (lambda: nn.Dropout(0.1), True),
        (lambda: nn.Dropout(0.0), False),
        (lambda: nn.FeatureAlphaDropout(0.1), True),
        (nn.RReLU, True),
        (lambda: nn.LSTM(2, 2, 2, dropout=0.1), True),
        (lambda: nn.LSTM(2, 2, 2), False),
        (lambda: nn.MultiheadAttention(2, 1, dropout=0.1), True),
        (lambda: nn.TransformerEncoderLayer(2, 1, dropout=0.0), False),
        (lambda: nn.FractionalMaxPool2d(2, 2), True),
        (lambda: nn.BatchNorm2d(2), False),
        (LastStep, False),
        (Noise, True),
        (lambda: _Sampled(2, 2), True),
        (lambda: nn.utils.parametrizations.weight_norm(nn.Linear(2, 2)), False),
    ],
)
def test_which_modules_may_draw(module, draws):
    made = module()
    assert may_draw(nn.Sequential(made)) == draws
    made.register_forward_hook(lambda module, inputs, output: None)
    assert may_draw(made)


# ---- weights of unusual kinds ----


def test_a_module_may_tie_weights_inside_and_not_two_modules():
    def tied():
        network = network_of("busy")
        network[6] = nn.Linear(8, 8).double()
        network.insert(7, network[6])
        network.append(nn.Linear(C, C).double())
        network[9] = nn.Linear(8, 6).double()
        return network

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        whole = tied()
    for module in whole.modules():
        module.p = 0.0  # the whole draws its masks from another seed
    cut = copy.deepcopy(whole)
    expected = fitted(TorchExecution(whole, make_recipe()), whole)
    found = run(cut, [(0, 1), (1, 4), (4, 7)], rule=PipelineRule("backprop"), alone=False)
    for key, value in expected[1].items():
        np.testing.assert_allclose(found[1][key], value, rtol=1e-12, atol=1e-14, err_msg=key)
    assert np.isfinite(run(copy.deepcopy(cut), [(0, 1), (1, 4), (4, 7)])[0]).all()
    with pytest.raises(ValueError, match=r"modules 2 and 3 share a weight.*one module holds both"):
        make(cut, [(0, 1), (1, 3), (3, 7)])


def test_running_statistics_of_two_modules_are_refused():
    norm = nn.BatchNorm1d(8, affine=False)
    network = nn.Sequential(nn.Linear(D, 8), norm, nn.Linear(8, 8), norm, nn.Linear(8, C))
    with pytest.raises(ValueError, match="modules 1 and 2 share"):
        make(network, [(0, 1), (1, 3)])


@pytest.mark.parametrize("frozen", [(0, 4, 6), (2, 4), (8,)], ids=str)
@pytest.mark.parametrize(
    "rule", [PipelineRule("backprop"), PipelineRule(), PipelineRule(recompute=True, predictor="velocity")], ids=str
)
def test_frozen_weights_stay_and_let_errors_pass(frozen, rule):
    whole = network_of()
    for k in frozen:
        whole[k].requires_grad_(False)
    start, cut = state_arrays(whole), copy.deepcopy(whole)
    found = run(cut, RANGES, rule=rule)
    for k, module in enumerate(cut):
        for name, p in module.named_parameters():
            assert np.array_equal(p.detach().numpy(), start[f"{k}.{name}"]) == (k in frozen)
    if rule.schedule == "backprop":
        expected = fitted(TorchExecution(whole, make_recipe()), whole)
        np.testing.assert_allclose(found[0], expected[0], rtol=1e-12)
        for key, value in expected[1].items():
            np.testing.assert_allclose(found[1][key], value, rtol=1e-10, atol=1e-13, err_msg=key)


def test_frozen_normalisations_stay_as_they_are():
    network = network_of("conv")
    network[2].eval().requires_grad_(False)
    start = state_arrays(network)
    _, found = run(network, [(0, 1), (1, 4)], rule=PipelineRule(recompute=True))
    for key in start:
        assert np.array_equal(found[key], start[key]) == key.startswith("2."), key


class _Recurrent(nn.Module):
    """An LSTM that returns its last state."""

    def __init__(self):
        super().__init__()
        self.layer = nn.LSTM(4, 5, batch_first=True)

    def forward(self, x):
        return self.layer(x)[0][:, -1]


@pytest.mark.parametrize(
    "layer",
    [
        lambda: nn.Sequential(nn.Unflatten(1, (4, 4)), _Recurrent()),
        lambda: nn.utils.parametrizations.weight_norm(nn.Linear(D, 5)),
        lambda: nn.utils.parametrizations.spectral_norm(nn.Linear(D, 5)),
    ],
    ids=["lstm", "weight_norm", "spectral_norm"],
)
def test_layers_that_make_their_weights_train_alike_stashed_and_recomputed(layer):
    """At one rate zero the three ways of a delay are one; and all of them train."""
    network = seeded(layer, nn.Tanh, lambda: nn.Linear(5, 6), nn.Tanh, lambda: nn.Linear(6, C))
    ranges = [(0, 1), (1, 2), (2, 3)]
    expected, _ = summed_gradients(copy.deepcopy(network), ranges, {"schedule": "backprop"})
    has_statistics = any(True for _ in network.buffers())  # of older batches, where a module runs for the first time
    for way in [{}, {"stash": False}, {"recompute": True}]:
        found, _ = summed_gradients(copy.deepcopy(network), ranges, way)
        for name, gradient in expected.items():
            limits = (1e-6, 1e-7) if has_statistics and "recompute" in way else (1e-10, 1e-13)
            torch.testing.assert_close(found[name], gradient, rtol=limits[0], atol=limits[1])
        assert np.isfinite(run(copy.deepcopy(network), ranges, rule=PipelineRule(**way))[0]).all()


# ---- refusals and failures ----


@pytest.mark.parametrize("ranges", [[(0, 2), (2, 4)], [(0, 3), (2, 5)], [(0, 2), (2, 2), (2, 5)], [(1, 5)], []])
def test_ranges_must_cover_the_stages(ranges):
    with pytest.raises(ValueError, match="consecutive, non-empty ranges of the network's 5 stages"):
        make(network_of(), ranges)


def test_refusals_name_what_is_wrong():
    with pytest.raises(ValueError, match="devices has 2 entries for 3 modules"):
        make(network_of(), RANGES, devices=("cpu", "cpu"))
    with pytest.raises(ValueError, match="all are frozen"):
        make(network_of().requires_grad_(False), RANGES)
    with pytest.raises(ValueError, match=r"shape \(2, 3\), expected \(2, 5\)"):
        make(network_of(), RANGES).place(Rows(np.zeros((4, D)), np.zeros((4, 5))))
    pipeline = make(network_of("busy"), RANGES)
    placed = pipeline.place(make_rows())
    with pytest.raises(ValueError, match="one row, and batch normalisation needs two"):
        pipeline.epoch(placed, np.arange(9), [0.1] * 5)


@pytest.mark.parametrize("place", [1, 4, 9])
@pytest.mark.parametrize("executor", [Sequential, lambda: Threads(3)], ids=["sequential", "threads"])
def test_a_module_that_fails_is_named_and_stops_all(place, executor):
    network = network_of()
    network.insert(place, Broken())
    pipeline = make(network, RANGES, executor=executor())
    placed = pipeline.place(make_rows())
    network[place].calls = 0
    module = 1 + sum(place > border for border in (1, 5))
    message = f"module {module} of 3 failed, and the others were stopped: ZeroDivisionError: as asked"
    with pytest.raises(ModuleError, match=message):
        pipeline.epoch(placed, np.arange(N), [0.1] * 10)


def test_a_loss_that_is_no_number_ends_with_the_last_good_weights():
    network = network_of("busy")
    pipeline = make(network, RANGES, executor=Threads(3))
    rows = make_rows()
    history = train(pipeline, rows, Plan(1, BATCH, 0.05), np.random.default_rng(1))
    good = state_arrays(network)
    rows.x[3] = np.nan
    history = train(pipeline, rows, Plan(1, BATCH, 0.05), np.random.default_rng(1))
    assert history.failure == "diverged"
    for key, value in state_arrays(network).items():
        np.testing.assert_array_equal(value, good[key], err_msg=key)


# ---- state, sizes, costs ----


@pytest.mark.parametrize("name", ["sgd", "adam", "adamw"])
def test_states_go_on_bit_for_bit(name):
    recipe, rule, order = make_recipe(optimizer=Optimizer(name)), PipelineRule(accumulation=2), np.arange(N)
    pipelines = [make(network_of("conv"), [(0, 2), (2, 3), (3, 4)], recipe, rule) for _ in range(2)]
    placed = [pipeline.place(make_rows()) for pipeline in pipelines]
    pipelines[0].epoch(placed[0], order, [0.05] * 6)
    state = pipelines[0].snapshot()
    pipelines[1].restore(state)
    assert [cell.n_updates for cell in pipelines[1].stack.cells] == [3, 3, 3]
    losses = [p.epoch(rows, order[::-1], [0.05] * 6) for p, rows in zip(pipelines, placed, strict=True)]
    assert losses[0] == losses[1]
    finals = [state_arrays(pipeline.stack.network) for pipeline in pipelines]
    for key, value in finals[0].items():
        np.testing.assert_array_equal(finals[1][key], value, err_msg=key)
    pipelines[1].restore(state)  # a state never changes
    again = pipelines[1].epoch(placed[1], order[::-1], [0.05] * 6)
    assert again == losses[0]


@pytest.mark.parametrize(
    ("optimizer", "names"),
    [
        (Optimizer("sgd"), ("momentum_buffer", None)),
        (Optimizer("sgd", momentum=0.0), (None, None)),
        (Optimizer("adam"), ("exp_avg", "exp_avg_sq")),
    ],
    ids=["momentum", "plain", "adam"],
)
def test_moments_are_those_of_the_optimiser_and_zeros_at_first(optimizer, names):
    network = network_of()
    network[2].requires_grad_(False)
    pipeline = make(network, RANGES, make_recipe(optimizer=optimizer))
    cell = pipeline.stack.cells[1]
    assert [t.shape for t in cell.tensors()] == [p.shape for p in network[4].parameters()]
    assert all(not m.any() for pair in cell.moments() for m in pair)
    pipeline.epoch(pipeline.place(make_rows()), np.arange(N), [0.1] * 5)
    kept = cell.state()["optimizer"]["state"]
    for k, pair in enumerate(cell.moments()):
        for name, found in zip(names, pair, strict=True):
            expected = np.zeros(found.shape) if name is None else kept[k][name]
            np.testing.assert_array_equal(found.numpy(), expected)
            assert name is None or found.any()


def test_kept_bytes_are_those_of_autograd():
    network, whole = network_of(), network_of()
    m, item = BATCH, 8
    pipeline = make(network, [(0, 5)])
    placed = pipeline.place(make_rows())
    pipeline.epoch(placed, np.arange(N)[: 2 * m], [0.1] * 2)
    execution = TorchExecution(whole, make_recipe())
    execution.place(make_rows())
    rows_and_outputs = m * (D + C) * item
    assert pipeline.activation_bytes()["stored"] == execution.activation_bytes()["stored"] + rows_and_outputs
    one = make(network_of(), RANGES, rule=PipelineRule("backprop")), make(network_of(), RANGES, rule=PipelineRule())
    for other in one:
        other.epoch(other.place(make_rows()), np.arange(6 * m), [0.1] * 6)
    single, delayed = (p.record()["module_activation_bytes_"] for p in one)
    np.testing.assert_array_equal(single, m * item * np.array([D + 9, 8 + 7, 6 + C]))
    np.testing.assert_array_equal(delayed, single * [4, 2, 1])


def test_stage_costs_count_operations():
    network = network_of("conv")
    before, flags = state_arrays(network), [m.training for m in network.modules()]
    found = stage_costs(network, D, n_rows=2)
    # first stage: forward and weight gradient; 2 rows, 4 x 4 places, 3 channels of 3 x 3 weights; four modules above
    first = 2 * 2 * (2 * 16 * 3 * 9) + 64 * 2 * (16 + 3 * (16 * 3) + 3 * 4)
    # last stage: a dense layer of 5 x 3, forward and both gradients
    assert (found[0], found[-1]) == (first, 3 * 2 * 2 * 15 + 64 * 2 * 3)
    assert found == stage_costs(network, D, n_rows=2)
    measured = measured_costs(network, D, 4, "bfloat16", repeats=2)
    assert len(measured) == len(found) == 4
    assert min(measured) > 0
    for key, value in state_arrays(network).items():
        np.testing.assert_array_equal(value, before[key], err_msg=key)
    assert [m.training for m in network.modules()] == flags
    assert all(p.grad is None for p in network.parameters())


def test_costs_of_kernels_that_are_not_counted_are_guessed():
    network = nn.Sequential(nn.Unflatten(1, (4, 4)), _Recurrent(), nn.Linear(5, C))
    weights = 4 * 5 * (4 + 5)
    assert stage_costs(network, D, n_rows=2)[0] >= 2 * 2 * weights


def test_a_context_ends_with_its_epoch():
    stack = TorchCells(network_of(), RANGES, make_recipe())
    with contextlib.suppress(KeyError), torch.inference_mode(), stack.training(0, 8):
        assert not torch.is_inference_mode_enabled()
        raise KeyError
    assert not torch.is_inference_mode_enabled()
