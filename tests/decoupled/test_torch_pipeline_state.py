"""Modules of torch networks in a pipeline: statistics, random numbers, unusual weights, refusals, states and costs."""

import contextlib
import copy
import itertools

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

from sklearn_analytic.decoupled.pipeline import Batch, PipelineSchedule  # noqa: E402
from sklearn_analytic.decoupled.pipeline_executors import ModuleError, Sequential, Threads  # noqa: E402
from sklearn_analytic.decoupled.torch_cells import TorchCells  # noqa: E402
from sklearn_analytic.decoupled.torch_costs import measured_costs, stage_costs  # noqa: E402
from sklearn_analytic.decoupled.torch_devices import Sent  # noqa: E402
from sklearn_analytic.decoupled.torch_draws import may_draw  # noqa: E402
from sklearn_analytic.nn import Optimizer, Plan, Rows, train  # noqa: E402
from sklearn_analytic.nn._torch_execution import TorchExecution  # noqa: E402
from sklearn_analytic.nn._torch_networks import (  # noqa: E402
    LastStep,
    state_arrays,
)
from tests.decoupled.torch_pipelines import (  # noqa: E402
    BATCH,
    RANGES,
    Broken,
    C,
    D,
    N,
    Scaled,
    fitted,
    make,
    make_recipe,
    make_rows,
    network_of,
    run,
    seeded,
    summed_gradients,
)
from tests.layerwise.test_torch_faults import Noise  # noqa: E402

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
    found = run(cut, [(0, 1), (1, 4), (4, 7)], rule=PipelineSchedule("backprop"), alone=False)
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
    "rule",
    [PipelineSchedule("backprop"), PipelineSchedule(), PipelineSchedule(recompute=True, predictor="velocity")],
    ids=str,
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
    _, found = run(network, [(0, 1), (1, 4)], rule=PipelineSchedule(recompute=True))
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
        assert np.isfinite(run(copy.deepcopy(network), ranges, rule=PipelineSchedule(**way))[0]).all()


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
    recipe, rule, order = make_recipe(optimizer=Optimizer(name)), PipelineSchedule(accumulation=2), np.arange(N)
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
    one = (
        make(network_of(), RANGES, rule=PipelineSchedule("backprop")),
        make(network_of(), RANGES, rule=PipelineSchedule()),
    )
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
