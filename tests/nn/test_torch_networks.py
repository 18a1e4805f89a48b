"""Torch networks and their execution: builders, states, batches, precision, low-bit activations."""

import copy

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

from sklearn_analytic.nn._initializers import initial_layers  # noqa: E402
from sklearn_analytic.nn._recipe import FeedbackRecipe, KFACRecipe, Optimizer, Recipe, Rows  # noqa: E402
from sklearn_analytic.nn._torch_activations import (  # noqa: E402
    activation_bytes,
    dequantize,
    pack,
    packed,
    quantize,
    unpack,
)
from sklearn_analytic.nn._torch_checks import check_network  # noqa: E402
from sklearn_analytic.nn._torch_execution import TorchExecution  # noqa: E402
from sklearn_analytic.nn._torch_networks import (  # noqa: E402
    RecurrentLayer,
    dense_network,
    image_network,
    load_state,
    recurrent_network,
    state_arrays,
)

NETWORKS = {
    "dense": lambda: dense_network((16, 9, 8, 3), "relu"),
    "image": lambda: image_network((4, 4), (4, 6), (8,), 3, "relu", batch_norm=True),
    "recurrent": lambda: recurrent_network(4, 16, (5, 6), (8,), 3),
}


def _rows(n=40, d=16, c=3, dtype=np.float64):
    generator = np.random.default_rng(0)
    x = generator.standard_normal((n, d)).astype(dtype)
    return Rows(x, generator.integers(c, size=n), generator.uniform(0.5, 1.5, n).astype(dtype))


def _train(execution, rows, n_epochs, rate=0.01, size=10, seed=1):
    """Epochs over shuffled rows; the last loss."""
    generator, placed = np.random.default_rng(seed), execution.place(rows)
    for _ in range(n_epochs):
        loss = execution.epoch(placed, generator.permutation(len(rows.x)), np.full(-(-len(rows.x) // size), rate))
    return loss


# ---- builders ----


@pytest.mark.parametrize("activation", ["identity", "relu", "leaky_relu", "tanh", "logistic"])
def test_dense_network_ends_with_a_linear_layer_and_draws_on_the_host(activation):
    one, two = (dense_network((4, 6, 5, 3), activation, np.random.default_rng(3)) for _ in range(2))
    assert isinstance(one[-1], nn.Linear)
    assert sum(isinstance(m, nn.Linear) for m in one) == 3
    for a, b in zip(state_arrays(one).values(), state_arrays(two).values(), strict=True):
        np.testing.assert_array_equal(a, b)
    assert not state_arrays(one)["0.bias"].any()
    linear = [m for m in one if isinstance(m, nn.Linear)]
    on_cpu = initial_layers((4, 6, 5, 3), activation, np.random.default_rng(3))
    for module, (weight, _) in zip(linear, on_cpu, strict=True):
        np.testing.assert_allclose(module.weight.detach().numpy(), weight.T, atol=1e-7)


@pytest.mark.parametrize("shape", [(6, 8), (1, 6, 8)])
def test_image_network_maps_flat_rows(shape):
    network = image_network(shape, (3, 5), (7,), 4, "tanh")
    check_network(network, 48, 4)
    assert network(torch.zeros(3, 48)).shape == (3, 4)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: image_network((4, 4), (2, 2, 2), (), 3), "at most 2 blocks"),
        (lambda: image_network((4,), (2,), (), 3), "height, width"),
        (lambda: recurrent_network(3, 16, (4,), (), 3), "sequence_length=3 does not divide"),
        (lambda: dense_network((4, 3, 2), "swish"), "activation='swish' is unknown"),
        (lambda: check_network(image_network((4, 4), (2,), (), 3), 20, 3), "has 16 values.*n_features=20"),
        (lambda: check_network(dense_network((4, 3), "relu"), 4, 5), r"\(2, 3\), expected \(2, 5\)"),
        (lambda: check_network(dense_network((4, 3), "relu"), 7, 3), "does not accept rows of n_features=7"),
        (lambda: check_network(nn.Linear(4, 3), 4, 3), "torch.nn.Sequential, got Linear"),
        (lambda: TorchExecution(nn.Sequential(nn.ReLU()), Recipe()), "no layer with weights"),
        (lambda: TorchExecution(dense_network((4, 3), "relu"), Recipe(scheme="magic")), "scheme='magic'"),
        (lambda: TorchExecution(dense_network((4, 3), "relu"), Recipe(activation_bits=3)), "activation_bits=3"),
    ],
)
def test_errors_say_what_to_do(build, message):
    with pytest.raises(ValueError, match=message):
        build()


def test_codes_beyond_the_outputs_are_refused():
    execution = TorchExecution(dense_network((16, 3), "relu"), Recipe(scheme="backprop"))
    rows = _rows()
    with pytest.raises(ValueError, match=r"expected \(2, 5\)"):
        execution.place(Rows(rows.x, rows.y + 2))


def test_recurrent_layer_equals_torch_rnn():
    layer, reference = RecurrentLayer(3, 5), nn.RNN(3, 5, batch_first=True)
    load_state(
        layer,
        {
            "weight": reference.weight_ih_l0.detach().numpy(),
            "recurrent_weight": reference.weight_hh_l0.detach().numpy(),
            "bias": (reference.bias_ih_l0 + reference.bias_hh_l0).detach().numpy(),
        },
    )
    x = torch.randn(4, 6, 3)
    torch.testing.assert_close(layer(x), reference(x)[0])


@pytest.mark.parametrize("name", NETWORKS)
def test_state_goes_there_and_back(name):
    one, two = NETWORKS[name](), NETWORKS[name]()
    with torch.no_grad():
        for parameter in one.parameters():
            parameter.normal_()
    load_state(two, state_arrays(one))
    for a, b in zip(state_arrays(one).values(), state_arrays(two).values(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_loaded_state_keeps_its_dtype():
    network = NETWORKS["image"]()
    arrays = {k: a.astype(np.float64) + 1e-12 if "num" not in k else a for k, a in state_arrays(network).items()}
    load_state(network, arrays)
    np.testing.assert_array_equal(network[-1].weight.detach().numpy(), [*arrays.values()][-2])


# ---- execution ----


def test_dropout_depends_on_the_seed_only():
    def train(seed):
        network = dense_network((16, 9, 3), "relu")
        execution = TorchExecution(nn.Sequential(*network[:2], nn.Dropout(0.5), network[2]), Recipe("dfa"), "cpu", seed)
        _train(execution, _rows(dtype=np.float32), 2)
        return execution.network[0].weight.detach().numpy()

    np.testing.assert_array_equal(train(0), train(0))
    assert not np.array_equal(train(0), train(1))


def test_torch_random_state_is_left_alone():
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    execution = TorchExecution(NETWORKS["image"](), Recipe(scheme="dfa", activation_bits=4))
    _train(execution, _rows(dtype=np.float32), 1)
    execution.activation_bytes()
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw"])
@pytest.mark.parametrize("name", NETWORKS)
def test_backprop_equals_plain_torch(name, optimizer):
    network, rows = NETWORKS[name](), _rows()
    twin = copy.deepcopy(network).double().train()
    o = Optimizer(optimizer, alpha=0.1)
    execution = TorchExecution(network, Recipe(scheme="backprop", optimizer=o, precision="float64"))
    order = np.random.default_rng(1).permutation(40)
    loss = execution.epoch(execution.place(rows), order, [0.1, 0.05, 0.02, 0.01])

    groups = [([p for p in twin.parameters() if p.ndim > 1], 0.1), ([p for p in twin.parameters() if p.ndim < 2], 0.0)]
    groups = [{"params": members, "weight_decay": decay} for members, decay in groups]
    kinds = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam, "adamw": torch.optim.AdamW}
    keywords = {"momentum": 0.9, "nesterov": True} if optimizer == "sgd" else {}
    plain = kinds[optimizer](groups, lr=0.1, fused=True, **keywords)
    penalty, total = 0.0 if optimizer == "adamw" else 0.1, 0.0  # decoupled decay is no part of the loss
    for part, rate in zip(order.reshape(4, 10), [0.1, 0.05, 0.02, 0.01], strict=True):
        losses = nn.functional.cross_entropy(
            twin(torch.from_numpy(rows.x[part])), torch.from_numpy(rows.y[part]), reduction="none"
        )
        mean = (losses * torch.from_numpy(rows.weight[part])).mean()
        squares = sum(p.detach().square().sum().item() for p in groups[0]["params"])
        for group in plain.param_groups:
            group["lr"] = rate
        plain.zero_grad()
        mean.backward()
        plain.step()
        total += 10 * (mean.item() + penalty / 2 * squares)
    assert loss == pytest.approx(total / 40)
    for a, b in zip(state_arrays(network).values(), state_arrays(twin).values(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("output", ["softmax", "identity"])
def test_backprop_equals_finite_differences(output):
    network, rows = dense_network((16, 6, 3), "tanh"), _rows()
    target = rows.y if output == "softmax" else np.random.default_rng(2).standard_normal((40, 3))
    recipe = Recipe(scheme="backprop", output=output, optimizer=Optimizer("sgd", momentum=0.0), precision="float64")
    execution = TorchExecution(network, recipe)
    placed = execution.place(Rows(rows.x, target, rows.weight))
    start = execution.snapshot()
    execution.epoch(placed, np.arange(40), [1.0])
    gradient = start["network"]["0.weight"] - state_arrays(network)["0.weight"]

    def loss(shift):
        execution.restore(start)
        with torch.no_grad():
            network[0].weight[2, 3] += shift
        return execution.epoch(placed, np.arange(40), [0.0])

    assert gradient[2, 3] == pytest.approx((loss(1e-5) - loss(-1e-5)) / 2e-5, rel=1e-6)


STATES = {
    "backprop": Recipe(scheme="backprop"),
    "kfac": Recipe(
        scheme="dfa", optimizer=Optimizer("sgd"), kfac=KFACRecipe(), feedback=FeedbackRecipe("refresh", interval=3)
    ),
    "dkp": Recipe(scheme="dfa", feedback=FeedbackRecipe("dkp")),
    "learned": Recipe(scheme="hybrid", feedback=FeedbackRecipe("learned")),
    "modular": Recipe(scheme="modular"),
    "bits": Recipe(scheme="dfa", feedback=FeedbackRecipe("learned"), activation_bits=4),
}


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("name", STATES)
def test_a_restored_run_goes_on_bit_for_bit(name, network):
    rows = _rows(dtype=np.float32)
    one = TorchExecution(NETWORKS[network](), STATES[name], generator_seed=4)
    _train(one, rows, 2)
    middle = one.snapshot()
    _train(one, rows, 2, seed=2)
    two = TorchExecution(NETWORKS[network](), STATES[name], generator_seed=5)  # before it has seen any rows
    two.restore(middle)
    for again in (one, two):
        again.restore(middle)
        _train(again, rows, 2, seed=2)
    for a, b in zip(one.snapshot()["network"].values(), two.snapshot()["network"].values(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_snapshots_are_host_arrays_and_copies():
    execution = TorchExecution(NETWORKS["image"](), STATES["kfac"])
    _train(execution, _rows(dtype=np.float32), 1)
    first = execution.snapshot()
    before = copy.deepcopy(first)
    _train(execution, _rows(dtype=np.float32), 1)

    def leaves(tree):
        kinds = {dict: lambda t: list(t.values()), list: list, tuple: list}
        inner = kinds.get(type(tree), lambda t: None)(tree)
        return [tree] if inner is None else [leaf for part in inner for leaf in leaves(part)]

    assert not any(isinstance(leaf, torch.Tensor) for leaf in leaves(first))
    for a, b in zip(leaves(first), leaves(before), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("name", NETWORKS)
def test_outputs_of_a_slice_are_the_slice_of_the_outputs(name):
    execution = TorchExecution(NETWORKS[name](), Recipe(scheme="backprop"))
    x = _rows(n=2100).x
    out = execution.outputs(x)
    assert out.dtype == x.dtype and out.shape == (2100, 3)
    np.testing.assert_allclose(execution.outputs(x[2040:2060]), out[2040:2060], atol=1e-6)
    assert execution.outputs(x[:0]).shape == (0, 3)


def test_bfloat16_trains_float32_weights():
    execution = TorchExecution(NETWORKS["image"](), Recipe(scheme="dfa", precision="bfloat16"))
    rows = _rows(dtype=np.float32)
    first, last = _train(execution, rows, 1), _train(execution, rows, 60)
    assert last < first
    assert all(a.dtype == np.float32 for k, a in state_arrays(execution.network).items() if "num" not in k)


def test_batch_norm_refuses_one_row():
    execution = TorchExecution(NETWORKS["image"](), Recipe(scheme="backprop", batch_size=20))
    placed = execution.place(_rows(n=3))
    with pytest.raises(ValueError, match="batch of one row"):
        execution.epoch(placed, np.arange(3), [0.1, 0.1])


def test_a_loss_that_is_not_finite_leaves_the_weights_alone():
    rows = _rows(dtype=np.float32)
    rows.x[3] = np.inf
    execution = TorchExecution(NETWORKS["dense"](), Recipe(scheme="backprop"))
    assert not np.isfinite(execution.epoch(execution.place(rows), np.arange(40), [0.1]))
    assert execution.is_finite()


# ---- low-bit activations ----


@pytest.mark.parametrize("bits", [1, 4, 8])
def test_packing_is_exact(bits):
    codes = torch.from_numpy(np.random.default_rng(0).integers(2**bits, size=37, dtype=np.uint8))
    stored = pack(codes, bits)
    assert len(stored) == -(-37 * bits // 8)
    assert torch.equal(unpack(stored, 37, bits), codes)


@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("signed", [False, True])
def test_copies_are_within_half_a_step(bits, signed):
    h = torch.from_numpy(np.random.default_rng(0).standard_normal((30, 7)))
    h = h if signed else h.clamp(min=0)
    codes, step, is_signed = quantize(h, bits)
    copy_ = dequantize(codes, step, is_signed, h.shape, bits)
    assert bool(is_signed) == signed
    expected = h.abs().max() / (2 ** (bits - 1) - 1 if signed else 2**bits - 1)
    assert step.item() == pytest.approx(expected.item())
    assert (copy_ - h).abs().max() <= step / 2 * (1 + 1e-9)
    assert not copy_[h == 0].any()


def test_a_copy_of_zeros_is_zeros():
    codes, step, signed = quantize(torch.zeros(3, 5), 4)
    assert not dequantize(codes, step, signed, (3, 5), 4).any()


def _gradients(network, x, bits):
    with packed(network, bits):
        out = network(x)
    network.zero_grad()
    (out * torch.linspace(-1, 1, out.numel(), dtype=out.dtype).reshape(out.shape)).sum().backward()
    return out.detach(), {k: p.grad.clone() for k, p in network.named_parameters()}


@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("name", ["dense", "image"])
def test_only_later_weight_gradients_are_approximate(name, bits):
    network = NETWORKS[name]().double().eval()
    x = torch.from_numpy(_rows().x)
    exact_out, exact = _gradients(network, x, None)
    out, found = _gradients(network, x, bits)
    torch.testing.assert_close(out, exact_out)
    first = next(k for k in exact if k.endswith("weight"))
    for key, gradient in exact.items():
        is_weight = gradient.ndim > 1 and key != first
        if is_weight:
            assert 0 < (found[key] - gradient).norm() < (0.3 if bits == 4 else 0.02) * gradient.norm()
        else:
            torch.testing.assert_close(found[key], gradient)  # masks and errors below are exact
    assert "forward" not in vars(network[-1])


def test_the_gradient_is_within_its_bound():
    network = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3)).double()
    x = torch.from_numpy(_rows(d=6).x)
    _, exact = _gradients(network, x, None)
    _, found = _gradients(network, x, 4)
    h = network[:2](x).detach()
    error = torch.linspace(-1, 1, 120, dtype=torch.float64).reshape(40, 3)
    bound = error.abs().sum(0)[:, None] * h.max() / 15 / 2  # |sum_i d_i (h~ - h)_i| <= sum |d_i| step / 2
    assert ((found["2.weight"] - exact["2.weight"]).abs() <= bound + 1e-12).all()


def test_four_bits_keep_less_than_a_sixth():
    network = dense_network((16, 64, 64, 64, 3), "relu")
    counts = activation_bytes(network, torch.randn(128, 16), 4)
    assert counts["exact"] == 3 * 128 * 64 * 4
    assert counts["exact"] >= 6 * counts["stored"] > 0
    assert counts["shared"] == 128 * 64 * 4


def test_convolutions_keep_less_too():
    network = image_network((8, 8), (8, 8), (32,), 3, "relu")
    counts = activation_bytes(network, torch.randn(64, 64), 4)
    assert counts["exact"] >= 6 * counts["stored"]


def test_counting_bytes_leaves_the_network_alone():
    execution = TorchExecution(NETWORKS["image"](), Recipe(scheme="dfa", activation_bits=4))
    execution.place(_rows(dtype=np.float32))
    before = state_arrays(execution.network)
    assert execution.activation_bytes()["stored"] > 0
    for a, b in zip(before.values(), state_arrays(execution.network).values(), strict=True):
        np.testing.assert_array_equal(a, b)
