"""Paths inside modules that follow the weights: against exact gradients, and against products written out."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

from sklearn_analytic.nn._recipe import FeedbackRecipe, Recipe, Rows  # noqa: E402
from sklearn_analytic.nn._torch_execution import TorchExecution  # noqa: E402
from sklearn_analytic.nn._torch_networks import dense_network, image_network, recurrent_network  # noqa: E402
from tests import reference  # noqa: E402
from tests.nn.test_torch_schemes import (  # noqa: E402
    C,
    D,
    N,
    _assert_same,
    _autograd,
    gradients_of,
    make_execution,
    make_rows,
    output_error,
)

NETWORKS = {
    "dense": lambda: dense_network((D, 9, 8, 7, C), "tanh"),
    "normalised": lambda: dense_network((D, 9, 8, C), "relu", normalization="batch"),
    "image": lambda: image_network((4, 4), ((4, 6), 5), (8, 5), C, "relu", batch_norm=True),
    "pooled": lambda: image_network((4, 4), (4, 6), (8,), C, "relu"),
    "strides": lambda: nn.Sequential(
        *(nn.Unflatten(1, (1, 4, 4)), nn.Conv2d(1, 3, 3, padding=1), nn.Tanh()),
        *(nn.Conv2d(3, 5, 2, stride=2, dilation=2, padding=1), nn.Tanh(), nn.Flatten(), nn.Linear(20, C)),
    ),
    "recurrent": lambda: recurrent_network(8, D, (6,), (8, 5), C),
}


def followers(**choices):
    return FeedbackRecipe("sparse", init=choices.pop("init", "product"), interval=choices.pop("interval", 1), **choices)


@pytest.mark.parametrize("name", NETWORKS)
def test_modules_of_two_with_all_entries_are_backpropagation(name):
    execution, placed = make_execution(NETWORKS[name]().double(), "modular", followers(density=1.0), module_size=2)
    assert execution.feedback.paths or execution.feedback.times
    _assert_same(gradients_of(execution, placed), _autograd(execution.network)[0])


@pytest.mark.parametrize("signs", [False, True])
def test_dense_paths_are_the_largest_of_the_product(signs):
    """In modules of three the lower path is a product of two layers, with the mean slope between."""
    network, init = NETWORKS["dense"](), "sign_product" if signs else "product"
    execution, placed = make_execution(network, "modular", followers(density=0.3, init=init), module_size=3)
    found, (exact, _) = gradients_of(execution, placed), _autograd(network)
    w = {k: network[k].weight.detach().numpy() for k in (2, 4)}  # (n_out, n_in)
    h = [m.detach().numpy() for m in execution.segments[0](placed[0])[None]]
    h.append(np.tanh(h[0] @ w[2].T + network[2].bias.detach().numpy()))
    upper = reference.followed(w[4], 0.3, signs)
    lower = reference.followed(w[4] @ np.diag((1 - h[1] ** 2).mean(0)) @ w[2], 0.3, signs)
    execution.epoch(placed, np.arange(N), [0.0])  # the gradients' paths were put back
    np.testing.assert_allclose(execution.feedback.paths[1].numpy(), upper, atol=1e-12)
    np.testing.assert_allclose(execution.feedback.paths[0].numpy(), lower, atol=1e-12)
    _assert_same(found, exact, ["4.weight", "4.bias", "6.weight"])  # the module's end
    e = output_error(network(placed[0]).detach().numpy())
    h3 = np.tanh(h[1] @ w[4].T + network[4].bias.detach().numpy())
    behind = (e @ network[6].weight.detach().numpy()) * (1 - h3**2)
    np.testing.assert_allclose(found["2.bias"], ((behind @ upper) * (1 - h[1] ** 2)).sum(0), atol=1e-10)
    np.testing.assert_allclose(found["0.bias"], ((behind @ lower) * (1 - h[0] ** 2)).sum(0), atol=1e-10)


@pytest.mark.parametrize("stride", [1, 2])
def test_paths_of_convolutions_are_their_composition(stride):
    """Without padding nothing is cut between two of them: linear, the path is the gradient itself."""
    network = nn.Sequential(
        *(nn.Unflatten(1, (1, 12, 12)), nn.Conv2d(1, 3, 3), nn.Conv2d(3, 4, 3, stride=stride, dilation=2)),
        *(nn.Conv2d(4, 2, 2, stride=stride), nn.Flatten(), nn.LazyLinear(C)),
    )
    network(torch.zeros(1, 144))
    recipe = Recipe(scheme="modular", precision="float64", feedback=followers(density=1.0), module_size=3)
    execution = TorchExecution(network.double(), recipe)
    x = np.random.default_rng(1).standard_normal((N, 144))
    placed = execution.place(Rows(x, make_rows().y))
    inner = network[:2](placed[0]).detach().requires_grad_()
    outer = network[2:4](inner)
    error = torch.from_numpy(np.random.default_rng(0).standard_normal(outer.shape))
    outer.backward(error)
    found = execution.feedback.spread(0, 2, error, inner)
    torch.testing.assert_close(found, inner.grad)


@pytest.mark.parametrize("size", [1, 2, 4])
def test_paths_through_time_are_the_largest_of_powers(size):
    network = recurrent_network(8, D, (6,), (), C)
    layer = network[1]
    execution, placed = make_execution(network, "modular", followers(density=0.4), module_size=size)
    found, (_, e) = gradients_of(execution, placed), _autograd(network)
    h = layer(torch.from_numpy(make_rows().x).reshape(N, 8, 2)).detach().numpy()
    u, slope = layer.recurrent_weight.detach().numpy(), np.diag((1 - h**2).mean((0, 1)))
    powers = [u]
    for _ in range(size - 2):
        powers.append(powers[-1] @ slope @ u)
    paths = [reference.followed(p, 0.4) for p in powers[: size - 1]]
    g, d = e.numpy() @ network[-1].weight.detach().numpy(), [None] * 8
    for t in range(7, -1, -1):
        tau = (7 - t) % size
        above = g if t == 7 else d[t + 1] @ u if tau == 0 else d[t + tau] @ paths[tau - 1]
        d[t] = above * (1 - h[:, t] ** 2)
    expected = sum(d[t].T @ h[:, t - 1] for t in range(1, 8))
    np.testing.assert_allclose(found["1.recurrent_weight"], expected, atol=1e-10)


def test_paths_are_renewed_when_they_are_due():
    execution, placed = make_execution(NETWORKS["dense"](), "modular", followers(density=0.3, interval=2))
    seen = []
    for _ in range(3):
        execution.epoch(placed, np.arange(N), [0.5])
        seen.append(execution.feedback.paths[0].clone())
    assert torch.equal(seen[0], seen[1]) and not torch.equal(seen[1], seen[2])


@pytest.mark.parametrize("name", ["dense", "image", "recurrent"])
def test_a_snapshot_goes_on_bit_for_bit(name):
    choices = {"module_size": 3}
    execution, placed = make_execution(NETWORKS[name](), "modular", followers(density=0.3, interval=3), **choices)
    for _ in range(2):
        execution.epoch(placed, np.arange(N), [0.1])
    twin, _ = make_execution(NETWORKS[name](), "modular", followers(density=0.3, interval=3), **choices)
    twin.restore(execution.snapshot())
    for _ in range(3):
        assert twin.epoch(placed, np.arange(N), [0.1]) == execution.epoch(placed, np.arange(N), [0.1])


def test_a_layer_that_is_frozen_does_not_cut_its_module():
    network = NETWORKS["dense"]()
    network[2].requires_grad_(False)
    execution, placed = make_execution(network, "modular", followers(density=1.0), module_size=2)
    found = gradients_of(execution, placed)
    network[2].requires_grad_(True)
    exact = _autograd(network)[0]
    _assert_same(found, exact, ["0.weight", "0.bias", "4.weight"])


@pytest.mark.parametrize(
    ("after", "n_in"),
    [
        ([nn.AdaptiveAvgPool2d(3)], 4),
        ([nn.Upsample(scale_factor=2)], 4),
        ([nn.PixelShuffle(2)], 1),
        ([nn.GLU(1)], 2),
        ([nn.MaxPool2d(2)], 4),
    ],
    ids=lambda value: type(value[0]).__name__ if isinstance(value, list) else "",
)
def test_modules_of_three_end_where_products_do_not_pass(after, n_in):
    network = nn.Sequential(
        *(nn.Unflatten(1, (1, 4, 4)), nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 4, 3, padding=1), *after),
        *(nn.Conv2d(n_in, 4, 3, padding=1), nn.Tanh(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(16, C)),
    )
    execution, placed = make_execution(network, "modular", followers(density=1.0), module_size=3)
    assert execution.feedback.modules == [[0, 1], [2], [3]]
    _assert_same(gradients_of(execution, placed), _autograd(execution.network)[0])  # modules of two, so to speak


def test_modules_of_three_keep_units_apart():
    network = nn.Sequential(
        *(nn.Unflatten(1, (4, 4)), nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 5), nn.LayerNorm(5), nn.Dropout(0.0)),
        *(nn.Linear(5, 5), nn.Tanh(), nn.Flatten(), nn.Linear(20, 8), nn.Tanh(), nn.Linear(8, C)),
    )
    execution, placed = make_execution(network, "modular", followers(density=1.0), module_size=4)
    assert execution.feedback.modules == [[0, 1, 2], [3, 4]]
    assert np.isfinite(execution.epoch(placed, np.arange(N), [0.1]))


def test_convolutions_that_cannot_be_followed_are_refused():
    network = nn.Sequential(
        *(nn.Unflatten(1, (1, 4, 4)), nn.Conv2d(1, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1, groups=2)),
        *(nn.Flatten(), nn.Linear(64, C)),
    )
    with pytest.raises(ValueError, match="layer 2 is a convolution with groups"):
        make_execution(network, "modular", followers(), module_size=2)
