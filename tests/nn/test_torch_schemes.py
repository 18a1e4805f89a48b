"""Who gets which error in torch networks: every scheme against its formula, written out."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

from sklearn_analytic.nn._initializers import initial_layers  # noqa: E402
from sklearn_analytic.nn._mlp import MLPExecution  # noqa: E402
from sklearn_analytic.nn._recipe import FeedbackRecipe, KFACRecipe, Optimizer, Recipe, Rows  # noqa: E402
from sklearn_analytic.nn._torch_execution import TorchExecution  # noqa: E402
from sklearn_analytic.nn._torch_networks import (  # noqa: E402
    RecurrentLayer,
    dense_network,
    image_network,
    load_state,
    recurrent_network,
    state_arrays,
)
from sklearn_analytic.nn._torch_schemes import SCHEMES, followed_modules_of, modules_of  # noqa: E402
from sklearn_analytic.nn._torch_stages import receptive_field, run_segments, split  # noqa: E402

N, D, C = 12, 16, 3
NETWORKS = {
    "dense": lambda: dense_network((D, 9, 8, 7, C), "tanh"),
    "image": lambda: image_network((4, 4), (4, 6), (8, 5), C, "relu", batch_norm=True),
    "recurrent": lambda: recurrent_network(8, D, (5, 6), (8,), C),
}
SLOPES = {
    "relu": lambda z: (z > 0) * 1.0,
    "leaky_relu": lambda z: np.where(z > 0, 1, 0.01),
    "tanh": lambda z: 1 - np.tanh(z) ** 2,
    "logistic": lambda z: np.exp(-z) / (1 + np.exp(-z)) ** 2,
    "identity": np.ones_like,
}
VALUES = {
    "relu": lambda z: np.maximum(z, 0),
    "leaky_relu": lambda z: np.where(z > 0, z, 0.01 * z),
    "tanh": np.tanh,
    "logistic": lambda z: 1 / (1 + np.exp(-z)),
    "identity": lambda z: z,
}


def make_rows(seed=0):
    generator = np.random.default_rng(seed)
    return Rows(generator.standard_normal((N, D)), generator.integers(C, size=N), generator.uniform(0.5, 1.5, N))


def make_execution(network, scheme, feedback=None, **choices):
    """An execution in float64 with plain SGD, its rows placed."""
    recipe = Recipe(
        scheme=scheme,
        feedback=feedback or FeedbackRecipe("random"),
        optimizer=Optimizer("sgd", momentum=0.0),
        precision="float64",
        batch_size=N,
        **choices,
    )
    execution = TorchExecution(network, recipe)
    return execution, execution.place(make_rows())


def gradients_of(execution, placed):
    """Gradients of one step on all rows, told from what plain SGD does at rate 1; the weights stay."""
    start = execution.snapshot()
    execution.epoch(placed, np.arange(N), [1.0])
    moved = execution.snapshot()["network"]
    execution.restore(start)
    names = [name for name, _ in execution.network.named_parameters()]
    return {name: start["network"][name] - moved[name] for name in names}


def _autograd(network):
    """Gradients of the mean weighted cross-entropy, by autograd through the whole network and all time; and e."""
    rows = make_rows()
    for module in network.modules():
        if isinstance(module, RecurrentLayer):
            module.time_feedback = None
    network.train()
    logits = network(torch.from_numpy(rows.x))
    losses = nn.functional.cross_entropy(logits, torch.from_numpy(rows.y), reduction="none")
    logits.retain_grad()
    network.zero_grad()
    (losses * torch.from_numpy(rows.weight)).mean().backward()
    return {k: p.grad.numpy().copy() for k, p in network.named_parameters()}, logits.grad.clone()


def _assert_same(found, expected, keys=None):
    for key in expected if keys is None else keys:
        np.testing.assert_allclose(found[key], expected[key], rtol=1e-8, atol=1e-10, err_msg=key)


def output_error(logits):
    """e of the mean weighted cross-entropy, in NumPy."""
    rows = make_rows()
    p = np.exp(logits - logits.max(1, keepdims=True))
    p /= p.sum(1, keepdims=True)
    return (p - np.eye(C)[rows.y]) * rows.weight[:, None] / N


# ---- stages ----


def test_stages_hold_a_layer_and_what_follows():
    stages = split(NETWORKS["image"]())
    assert [s.kind for s in stages] == ["conv", "conv", "dense", "dense", "dense"]
    assert [len(s.modules) for s in stages] == [5, 4, 3, 2, 1]  # reshapes go with the layer after them
    assert [s.pools for s in stages] == [True, True, False, False, False]
    assert [s.kind for s in split(NETWORKS["recurrent"]())] == ["recurrent", "recurrent", "dense", "dense"]


def test_nested_sequentials_are_opened():
    inner = nn.Sequential(nn.Linear(4, 5), nn.ReLU())
    assert len(split(nn.Sequential(nn.Dropout(0.1), inner, nn.Linear(5, 2)))) == 2


@pytest.mark.parametrize(("size", "expected"), [(1, [[0], [1], [2], [3], [4]]), (2, [[0, 1], [2, 3], [4]])])
def test_modules_are_consecutive_stages_of_one_kind(size, expected):
    assert modules_of(split(NETWORKS["image"]()), size) == expected


def test_modules_end_at_pooling():
    network = nn.Sequential(
        nn.Unflatten(1, (1, 8, 8)), nn.Conv2d(1, 2, 3), nn.Conv2d(2, 2, 3), nn.MaxPool2d(2), nn.Conv2d(2, 2, 1),
        nn.Flatten(), nn.Linear(8, 3),
    )  # fmt: skip
    assert modules_of(split(network), 3) == [[0, 1], [2], [3]]


def test_modules_that_follow_the_weights_pool_at_their_ends():
    """A product of weights passes the layers between, and none that pools."""

    def stages(*pooled):
        convolutions = [m for pools in pooled for m in (nn.Conv2d(1, 1, 1), *[nn.MaxPool2d(2)] * pools)]
        return split(nn.Sequential(*convolutions, nn.Flatten(), nn.Linear(1, 3)))

    assert followed_modules_of(stages(1, 1), 2) == [[0, 1], [2]]
    assert followed_modules_of(stages(0, 1, 0, 0), 4) == [[0, 1], [2, 3], [4]]
    assert followed_modules_of(stages(1, 0, 1, 0), 3) == [[0, 1, 2], [3], [4]]


def test_receptive_field_of_two_pooled_blocks():
    stages = split(image_network((8, 8), (2, 2, 2), (), 3))
    assert receptive_field(stages[1:2]) == 4  # 3x3, then 2x2
    assert receptive_field(stages[1:3]) == 10  # + 2 * 2 + 1 * 2


# ---- schemes ----


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize(("scheme", "size"), [("backprop", 2), ("modular", 1)])
def test_backprop_and_modules_of_one_equal_autograd(name, scheme, size):
    network = NETWORKS[name]()
    execution, placed = make_execution(network, scheme, module_size=size)
    found = gradients_of(execution, placed)
    _assert_same(found, _autograd(network)[0])


@pytest.mark.parametrize("activation", list(VALUES))
def test_dfa_equals_its_formula(activation):
    network = dense_network((D, 9, 8, C), activation)
    execution, placed = make_execution(network, "dfa")
    found = gradients_of(execution, placed)
    layers = [network[k] for k in range(len(network)) if isinstance(network[k], nn.Linear)]
    names = [name.removesuffix(".weight") for name, p in network.named_parameters() if p.ndim == 2]
    h, z = [make_rows().x], []
    for layer in layers:
        z.append(h[-1] @ layer.weight.detach().numpy().T + layer.bias.detach().numpy())
        h.append(VALUES[activation](z[-1]))
    e = output_error(z[-1])
    for k, name in enumerate(names):
        b = None if k == 2 else execution.feedback.matrices[k].numpy()
        d = e if b is None else (e @ b) * SLOPES[activation](z[k])  # D_l = (e B_l) * f'(z_l)
        np.testing.assert_allclose(found[f"{name}.weight"], d.T @ h[k], atol=1e-12)
        np.testing.assert_allclose(found[f"{name}.bias"], d.sum(0), atol=1e-12)


@pytest.mark.parametrize("name", ["image", "recurrent"])
def test_dfa_gives_every_stage_its_own_error(name):
    network = NETWORKS[name]()
    execution, placed = make_execution(network, "dfa")
    found = gradients_of(execution, placed)
    _, e = _autograd(network)
    _, outputs = run_segments(execution.segments, torch.from_numpy(make_rows().x))
    for k, output in enumerate(outputs[:-1]):
        error = (e @ execution.feedback.matrices[k]).reshape(output.shape)
        own = [p for m in execution.stages[k].modules for p in m.parameters()]
        expected = torch.autograd.grad(output, own, error)
        names = {id(p): key for key, p in network.named_parameters()}
        for parameter, gradient in zip(own, expected, strict=True):
            np.testing.assert_allclose(found[names[id(parameter)]], gradient.numpy(), atol=1e-10)


@pytest.mark.parametrize("name", NETWORKS)
def test_hybrid_trunk_is_exact_under_the_projected_error(name):
    network = NETWORKS[name]()
    execution, placed = make_execution(network, "hybrid")
    found = gradients_of(execution, placed)
    exact, e = _autograd(network)
    trunk = nn.Sequential(*execution.segments[0].last.modules)
    dense = next(k for k, m in enumerate(network) if isinstance(m, nn.Linear))
    through = network[: dense + 2]  # as far as the first dense hidden layer's activation
    assert trunk[-1] is through[-1]
    network.zero_grad()
    through(torch.from_numpy(make_rows().x)).backward(e @ execution.feedback.matrices[0])
    expected = {f"{k}": p.grad.numpy() for k, p in through.named_parameters()}
    _assert_same(found, expected)
    last = [key for key in exact if key.startswith(f"{len(network) - 1}.")]
    _assert_same(found, exact, last)


def test_hybrid_needs_a_dense_hidden_layer():
    with pytest.raises(ValueError, match="the network has none"):
        TorchExecution(image_network((4, 4), (4,), (), C), Recipe(scheme="hybrid"))


def test_big_modules_differ_inside_and_their_borders_are_exact():
    network = NETWORKS["dense"]()  # stages 0 1 | 2 3
    execution, placed = make_execution(network, "modular", FeedbackRecipe("random", density=0.5), module_size=2)
    assert execution.feedback.modules == [[0, 1], [2, 3]]
    found, (exact, e) = gradients_of(execution, placed), _autograd(network)
    _assert_same(found, exact, ["6.weight", "6.bias"])
    x = torch.from_numpy(make_rows().x)
    h1 = network[:4](x).detach().requires_grad_()
    network.zero_grad()
    h2 = network[4:6](h1)
    h2.backward(e @ execution.feedback.paths[2])  # inside the upper module: sparse
    _assert_same(found, {"4.weight": network[4].weight.grad.numpy()})
    network.zero_grad()
    out = network[:4](x)
    hidden = network[:2](x)
    out.backward(h1.grad)  # over the border: D_first W_first^T
    np.testing.assert_allclose(found["2.weight"], network[2].weight.grad.numpy(), atol=1e-10)
    network.zero_grad()
    hidden.backward(h1.grad @ execution.feedback.paths[0])
    np.testing.assert_allclose(found["0.weight"], network[0].weight.grad.numpy(), atol=1e-10)
    assert np.abs(found["0.weight"] - exact["0.weight"]).max() > 1e-3


def test_convolutional_feedback_equals_its_formula():
    network = image_network((8, 8), (4, 6), (), C, "tanh")
    execution = TorchExecution(network, Recipe(scheme="modular", precision="float64"))
    x = np.random.default_rng(1).standard_normal((N, 64))
    execution.place(Rows(x, make_rows().y))
    kernel = execution.feedback.paths[0].numpy()
    assert kernel.shape == (4, 3, 3, 3)  # 2 groups of 3 channels
    _, outputs = run_segments(execution.segments, torch.from_numpy(x))
    error = np.random.default_rng(0).standard_normal((N, 6, 2, 2))
    found = execution.feedback.spread(0, 1, torch.from_numpy(error), outputs[0]).numpy()
    up = np.pad(error.repeat(2, axis=2).repeat(2, axis=3), ((0, 0), (0, 0), (1, 1), (1, 1)))  # dilation (4 - 1) // 2
    expected = np.zeros((N, 4, 4, 4))
    for c in range(4):
        group = slice(3 * (c // 2), 3 * (c // 2) + 3)
        for a in range(3):
            for b in range(3):
                expected[:, c] += np.einsum("ncij,c->nij", up[:, group, a : a + 4, b : b + 4], kernel[c, :, a, b])
    np.testing.assert_allclose(found, expected, atol=1e-12)


@pytest.mark.parametrize("size", [1, 3])
def test_recurrent_modules_equal_their_formula(size):
    network = recurrent_network(8, D, (5,), (), C)
    layer = network[1]
    execution, placed = make_execution(network, "modular", FeedbackRecipe("random", density=0.5), module_size=size)
    found, (exact, e) = gradients_of(execution, placed), _autograd(network)
    h = layer(torch.from_numpy(make_rows().x).reshape(N, 8, 2)).detach().numpy()
    u, s = layer.recurrent_weight.detach().numpy(), [m.numpy() for m in execution.feedback.times[0]]
    assert len(s) == size - 1
    g, d, border = e.numpy() @ network[-1].weight.detach().numpy(), [None] * 8, None
    for t in range(7, -1, -1):
        tau = (7 - t) % size
        if tau == 0:
            border = g if t == 7 else d[t + 1] @ u
            d[t] = border * (1 - h[:, t] ** 2)
        else:
            d[t] = border @ s[tau - 1] * (1 - h[:, t] ** 2)
    expected = sum(d[t].T @ h[:, t - 1] for t in range(1, 8))
    np.testing.assert_allclose(found["1.recurrent_weight"], expected, atol=1e-10)
    difference = np.abs(found["1.weight"] - exact["1.weight"]).max()
    assert difference < 1e-10 if size == 1 else difference > 1e-5


def test_backprop_through_time_returns_after_a_modular_run():
    network = NETWORKS["recurrent"]()
    make_execution(network, "modular", module_size=3)
    execution, placed = make_execution(network, "backprop")
    _assert_same(gradients_of(execution, placed), _autograd(network)[0])


# ---- training ----

ALL = ["random", "binary", "sparse", "product", "refresh", "dkp", "learned"]
TRAINED = [
    *(("dense", "dfa", feedback) for feedback in ALL),
    *(("image", "hybrid", feedback) for feedback in ("sparse", "refresh")),
    ("image", "dfa", "random"),
    ("recurrent", "hybrid", "learned"),
    ("recurrent", "dfa", "refresh"),
]


@pytest.mark.parametrize(("name", "scheme", "feedback"), TRAINED)
def test_every_feedback_lowers_the_loss(name, scheme, feedback):
    recipe = Recipe(scheme=scheme, feedback=FeedbackRecipe(feedback), batch_size=N)
    execution = TorchExecution(NETWORKS[name](), recipe)
    placed = execution.place(make_rows())
    losses = [execution.epoch(placed, np.arange(N), [0.01]) for _ in range(150)]
    assert losses[-1] < 0.9 * losses[0]


def test_rows_of_small_errors_are_dropped():
    network = NETWORKS["dense"]()
    rows = make_rows()
    with torch.no_grad():
        p = torch.softmax(network(torch.from_numpy(rows.x).float()), 1).numpy()
    norms = np.linalg.norm((p - np.eye(C)[rows.y]) * rows.weight[:, None], axis=1)
    bound = float(np.median(norms))
    execution, placed = make_execution(network, "backprop", tol_error=bound)
    found = gradients_of(execution, placed)
    kept = norms >= bound
    execution, _ = make_execution(network, "backprop")
    placed = execution.place(Rows(rows.x[kept], rows.y[kept], rows.weight[kept]))
    start = execution.snapshot()
    execution.epoch(placed, np.arange(kept.sum()), [kept.sum() / N])
    for name, parameter in network.named_parameters():
        gradient = start["network"][name] - parameter.detach().numpy()
        np.testing.assert_allclose(found[name], gradient, atol=1e-10)


SAME = {
    "backprop": {"scheme": "backprop"},
    "adamw": {"scheme": "dfa", "feedback": FeedbackRecipe("random"), "optimizer": Optimizer("adamw", alpha=0.05)},
    "sgd": {
        "scheme": "dfa",
        "feedback": FeedbackRecipe("sparse", shared=True),
        "optimizer": Optimizer("sgd", alpha=0.05),
    },
    "refresh": {"scheme": "dfa", "feedback": FeedbackRecipe("refresh", interval=3)},
    "signs": {"scheme": "dfa", "feedback": FeedbackRecipe("binary", init="sign_product", interval=3)},
    "largest": {"scheme": "dfa", "feedback": FeedbackRecipe("sparse", init="product", density=0.2, interval=3)},
    "mean": {"scheme": "dfa", "optimizer": Optimizer(ema_decay=0.7)},
    "kfac": {"scheme": "dfa", "optimizer": Optimizer("sgd"), "kfac": KFACRecipe(factor_interval=2, eigen_interval=3)},
    "tol_error": {"scheme": "backprop", "tol_error": 0.7},
    "bits": {"scheme": "dfa", "activation_bits": 4},
}


@pytest.mark.parametrize("name", SAME)
def test_the_cpu_path_takes_the_same_steps(name):
    recipe = Recipe(precision="float64", batch_size=5, seed=7, **SAME[name])
    layers = initial_layers((D, 9, 8, C), "relu", np.random.default_rng(3))
    network = dense_network((D, 9, 8, C), "relu")
    arrays = [array for weight, bias in layers for array in (weight.T, bias)]
    load_state(network, dict(zip(state_arrays(network), arrays, strict=True)))
    executions = [MLPExecution(layers, "relu", recipe, None), TorchExecution(network, recipe, "cpu", 7)]
    losses, outputs = [], []
    for execution in executions:
        placed = execution.place(make_rows())
        orders = [np.random.default_rng(k).permutation(N) for k in range(4)]
        losses.append([execution.epoch(placed, order, np.full(3, 0.01)) for order in orders])
        outputs.append(execution.outputs(make_rows().x))
    np.testing.assert_allclose(*losses, rtol=1e-7)
    np.testing.assert_allclose(*outputs, atol=1e-7)


def test_the_table_is_complete():
    assert set(SCHEMES) == {"backprop", "dfa", "hybrid", "modular"}
