"""Torch networks in partitions: the compiled dense stack, textbook formulas and the whole network are the oracles."""

import copy
from dataclasses import replace

import numpy as np
import pytest
from sklearn.datasets import load_digits

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

from sklearn_analytic.layerwise.dense_stack import DenseStack  # noqa: E402
from sklearn_analytic.layerwise.partitions import LocalRule  # noqa: E402
from sklearn_analytic.layerwise.torch_factors import collapse, factors  # noqa: E402
from sklearn_analytic.layerwise.torch_heads import hidden_outputs  # noqa: E402
from sklearn_analytic.layerwise.torch_sides import similarity_loss  # noqa: E402
from sklearn_analytic.layerwise.torch_stack import TorchStack  # noqa: E402
from sklearn_analytic.nn._recipe import Optimizer, Recipe, Rows  # noqa: E402
from sklearn_analytic.nn._torch_execution import TorchExecution  # noqa: E402
from sklearn_analytic.nn._torch_networks import (  # noqa: E402
    dense_network,
    image_network,
    load_state,
    recurrent_network,
    state_arrays,
)

N, D, C = 60, 10, 4
SIZES = (D, 12, 12, 9, C)
EACH = [(0, 1), (1, 2), (2, 3)]
RECIPE = Recipe("backprop", optimizer=Optimizer(alpha=1e-3), precision="float64", seed=3)
IMAGES, DIGITS = load_digits(return_X_y=True)
IMAGES = IMAGES[:160] / 16


def make_rows(output="softmax", dtype=np.float64):
    generator = np.random.default_rng(0)
    x, weight = generator.standard_normal((N, D)).astype(dtype), generator.uniform(0.5, 1.5, N)
    codes, targets = generator.integers(C, size=N), generator.standard_normal((N, C)).astype(dtype)
    return Rows(x, codes if output == "softmax" else targets, weight)


def fit(stack, k, rows, n_epochs=4, batch_size=20, rate=0.01):
    """Losses of some epochs of partition k, whose weights are kept; and its execution."""
    execution = stack.begin(k, batch_size)
    placed, n = execution.place(rows), len(rows.x)
    orders = [np.random.default_rng(e).permutation(n) for e in range(n_epochs)]
    losses = [execution.epoch(placed, order, np.full(-(-n // batch_size), rate)) for order in orders]
    stack.keep(k, execution)
    return losses, execution


def digit_rows():
    return Rows(IMAGES, DIGITS[: len(IMAGES)].astype(np.int64))


def conv_network(batch_norm=False, **choices):
    return image_network((8, 8), (4, 6), (10,), 10, batch_norm=batch_norm, **choices)


def conv_stack(rule=None, network=None, partitions=3, recipe=RECIPE):
    return TorchStack(network or conv_network(), partitions, rule or LocalRule(), recipe)


# ---- the compiled stack ----

RULES = {
    "pred": LocalRule(),
    "linear head": LocalRule(head_depth=0),
    "deep head": LocalRule(head_depth=2, head_width=7),
    "lookahead": LocalRule(interlayer="lookahead"),
    "window": LocalRule(interlayer="window"),
    "transport": LocalRule(interlayer="transport"),
    "overparametrise": LocalRule(interlayer="overparametrise"),
    "sim": LocalRule("sim"),
    "predsim": LocalRule("predsim", interlayer="transport"),
}


def dense_twins(sizes, rule, recipe, partitions, activation):
    """The compiled stack and the torch stack of one network."""
    dense = DenseStack(sizes, activation, partitions, rule, recipe, np.random.default_rng(1))
    network = dense_network(sizes, activation)
    arrays = [a for weights, bias in dense.layers for a in (weights.T, bias)]
    load_state(network, dict(zip(state_arrays(network), arrays, strict=True)))
    return dense, TorchStack(network, partitions, rule, recipe)


@pytest.mark.parametrize(
    ("output", "sizes", "partitions", "activation", "precision"),
    [
        ("softmax", (D, 12, 12, 12, C), EACH, "relu", "float64"),
        ("softmax", SIZES, [(0, 2), (2, 3)], "relu", "float32"),
        ("identity", SIZES, [(0, 2), (2, 3)], "tanh", "float64"),
        ("softmax", SIZES, [(0, 1), (1, 3)], "identity", "float64"),
    ],
)
@pytest.mark.parametrize("name", RULES)
def test_dense_partitions_take_the_steps_of_the_compiled_stack(name, output, sizes, partitions, activation, precision):
    recipe = replace(RECIPE, output=output, precision=precision)
    twins = dense_twins(sizes, RULES[name], recipe, partitions, activation)
    rows = [make_rows(output, np.dtype(precision))] * 2
    close = {"rtol": 1e-9, "atol": 1e-11} if precision == "float64" else {"rtol": 1e-4, "atol": 1e-5}
    for k in range(len(partitions)):
        losses, executions = zip(*(fit(stack, k, part) for stack, part in zip(twins, rows, strict=True)), strict=True)
        np.testing.assert_allclose(*losses, **close)
        np.testing.assert_allclose(*(e.batch_features() for e in executions), **close)
        np.testing.assert_allclose(*(e.outputs(part.x) for e, part in zip(executions, rows, strict=True)), **close)
        features = [stack.features(k, part.x) for stack, part in zip(twins, rows, strict=True)]
        np.testing.assert_allclose(*features, **close)
        np.testing.assert_allclose(*(s.exit(k, h) for s, h in zip(twins, features, strict=True)), **close)
        rows = [replace(part, x=h) for part, h in zip(rows, features, strict=True)]
        for stack in twins[: 2 * (k + 1 < len(partitions))]:
            stack.hand_on(k)
    found = [a for stage in twins[1]._stages for a in (stage.layer.weight.detach().T, stage.layer.bias.detach())]
    for array, expected in zip(found, (a for layer in twins[0].layers for a in layer), strict=True):
        np.testing.assert_allclose(array, expected, **close)


# ---- one partition ----


@pytest.mark.parametrize("precision", ["float32", "float64", "bfloat16"])
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_one_partition_is_backpropagation_bit_for_bit(optimizer, precision):
    recipe = Recipe("dfa", optimizer=Optimizer(optimizer, alpha=1e-3), batch_size=32, precision=precision, seed=5)
    network = nn.Sequential(*conv_network(True)[:5], nn.Dropout(0.2), *conv_network(True)[5:])
    stack = TorchStack(copy.deepcopy(network), 1, LocalRule(), recipe, generator_seed=5)
    losses, local = fit(stack, 0, digit_rows(), 2, 32)
    execution = TorchExecution(network, replace(recipe, scheme="backprop"), "cpu", 5)
    placed = execution.place(digit_rows())
    orders = [np.random.default_rng(e).permutation(len(IMAGES)) for e in range(2)]
    assert losses == [execution.epoch(placed, order, np.full(5, 0.01)) for order in orders]
    expected = state_arrays(network)
    for name, array in stack.state()["network"].items():
        np.testing.assert_array_equal(array, expected[name])
    np.testing.assert_array_equal(local.outputs(IMAGES), execution.outputs(IMAGES))


def test_a_network_without_hidden_stages_is_one_partition():
    stack = TorchStack(dense_network((D, C), "relu"), 1, LocalRule(), RECIPE)
    losses, _ = fit(stack, 0, make_rows())
    assert losses[-1] < losses[0]
    x = make_rows().x
    np.testing.assert_array_equal(stack.features(0, x), x)


# ---- convolutions ----


@pytest.mark.parametrize("batch_norm", [False, True])
@pytest.mark.parametrize("rule", [LocalRule("predsim"), LocalRule(interlayer="lookahead")])
def test_partitions_of_an_image_network_learn_one_after_the_other(rule, batch_norm):
    stack, rows = conv_stack(rule, conv_network(batch_norm)), digit_rows()
    for k in range(3):
        before = stack.state()["network"]
        losses, execution = fit(stack, k, rows)
        assert losses[-1] < 0.9 * losses[0]
        after, own = (
            stack.state()["network"],
            {id(p) for m in stack._trunk(k) for p in m.state_dict(keep_vars=True).values()},
        )
        last = {id(p) for p in stack._stages[-1].layer.parameters()} if k == 2 else set()
        for name, value in stack.network.state_dict(keep_vars=True).items():
            assert np.array_equal(before[name], after[name]) != (id(value) in own | last), name
        features = stack.features(k, rows.x)
        np.testing.assert_allclose(stack.exit(k, features), execution.outputs(rows.x), atol=1e-10)
        rows = replace(rows, x=features)
    stack.network.eval()
    with torch.no_grad():
        expected = stack.network(torch.from_numpy(IMAGES)).numpy()
    np.testing.assert_allclose(stack.exit(2, rows.x), expected, atol=1e-10)


def test_features_have_the_shape_of_the_stage_and_the_dtype_of_the_rows():
    network = conv_network()
    stack = conv_stack(network=network)
    found = stack.features(0, IMAGES.astype(np.float32))
    assert found.dtype == np.float32 and found.shape == (160, 4 * 4 * 4)
    with torch.no_grad():
        expected = network[:4](torch.from_numpy(IMAGES)).flatten(1).numpy()
    np.testing.assert_allclose(stack.features(0, IMAGES), expected, atol=1e-12)
    assert stack.features(0, IMAGES[:0]).shape == (0, 64)


def test_heads_of_maps_are_pooled_to_about_2048_units():
    network = image_network((32, 32), (16, 300), (), 3)
    heads = TorchStack(network, 2, LocalRule(), RECIPE).heads
    assert heads[0][0].output_size == 11 and heads[0][2].in_features == 16 * 11 * 11  # 16 maps of 16 x 16
    front, rest = (nn.Unflatten(1, (1, 4, 4)), nn.Conv2d(1, 2100, 1)), (nn.Flatten(), nn.Linear(32, 3))
    wide = nn.Sequential(*front, nn.ReLU(), nn.Conv2d(2100, 2, 1), *rest)
    assert TorchStack(wide, 2, LocalRule(), RECIPE).heads[0][2].in_features == 2100


def test_batch_features_can_be_placed_in_the_partition_above():
    stack, rows = conv_stack(), digit_rows()
    below, above = stack.begin(0, 32), stack.begin(1, 32)
    losses = []
    for _ in range(6):
        total = 0.0
        for start in range(0, 160, 32):
            part = Rows(rows.x[start : start + 32], rows.y[start : start + 32])
            below.epoch(below.place(part), np.arange(32), [0.01])
            features = below.batch_features()
            assert features.shape == (32, 64)
            total += above.epoch(above.place(replace(part, x=features)), np.arange(32), [0.01])
        losses.append(total)
    assert losses[-1] < losses[0]


SEQUENCES = {
    "recurrent": lambda: recurrent_network(8, 64, (6, 5), (7,), 10),
    "convolutions": lambda: nn.Sequential(
        nn.Unflatten(1, (8, 8)), nn.Conv1d(8, 6, 3, padding=1), nn.ReLU(), nn.Conv1d(6, 5, 3), nn.ReLU(), nn.Flatten(),
        nn.Linear(30, 7), nn.ReLU(), nn.Linear(7, 10),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", SEQUENCES)
def test_stages_over_sequences_are_partitions(name):
    torch.manual_seed(0)
    stack, rows = conv_stack(LocalRule("predsim"), SEQUENCES[name]()), digit_rows()
    for k in range(3):
        losses, _ = fit(stack, k, rows)
        assert losses[-1] < losses[0]
        rows = replace(rows, x=stack.features(k, rows.x))
    assert stack.outputs_of_stages[0].shape == {"recurrent": (8, 6), "convolutions": (6, 8)}[name]


def test_probabilities_are_refused_at_once():
    with pytest.raises(ValueError, match="the network ends in Softmax"):
        TorchStack(nn.Sequential(*dense_network(SIZES, "relu"), nn.Softmax(1)), 2, LocalRule(), RECIPE)


# ---- interlayer rules ----


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(
    "choices", [{}, {"padding": 1, "stride": 2}, {"dilation": 2, "padding": "same", "padding_mode": "circular"}]
)
def test_factors_of_a_convolution_are_the_convolution(choices, bias):
    torch.manual_seed(0)
    layer = nn.Conv2d(3, 5, 3, bias=bias, **choices).double()
    x, copied = torch.randn(2, 3, 9, 9, dtype=torch.float64), copy.deepcopy(layer)
    below, above = factors(layer)
    torch.testing.assert_close(above(below(x)), layer(x))
    for parameter in (*below.parameters(), *above.parameters()):
        nn.init.normal_(parameter)
    collapse(copied, below, above)
    torch.testing.assert_close(copied(x), above(below(x)), rtol=1e-9, atol=1e-9)


def test_overparametrised_convolutions_collapse_to_what_was_trained():
    stack, rows = conv_stack(LocalRule(interlayer="overparametrise"), conv_network(True)), digit_rows()
    for k in range(3):
        losses, execution = fit(stack, k, rows)
        features = stack.features(k, rows.x)
        np.testing.assert_allclose(stack.exit(k, features), execution.outputs(rows.x), atol=1e-9)
        assert losses[-1] < losses[0]
        rows = replace(rows, x=features)
    assert {name: a.shape for name, a in stack.state()["network"].items()} == {
        name: a.shape for name, a in state_arrays(conv_network(True)).items()
    }


def test_frozen_and_parametrised_layers_are_not_factored():
    network = conv_network()
    torch.nn.utils.parametrizations.weight_norm(network[1])
    network[4].weight.requires_grad_(False)
    stack = conv_stack(LocalRule(interlayer="overparametrise"), network)
    assert [sum(stack._factored(k)) for k in range(3)] == [0, 0, 1]


@pytest.mark.parametrize(("interlayer", "kept"), [("window", True), ("lookahead", False)])
def test_window_keeps_the_stages_ahead_and_lookahead_throws_them_away(interlayer, kept):
    stack = conv_stack(LocalRule(interlayer=interlayer))
    ahead = stack._stages[1].layer
    before, _ = ahead.weight.detach().clone(), fit(stack, 0, digit_rows())
    assert torch.equal(ahead.weight, before) != kept
    copied = stack.heads[0][0]
    assert copied.weight.shape == ahead.weight.shape
    assert torch.equal(copied.weight, ahead.weight) == kept


def test_a_pull_needs_equal_shapes():
    network = dense_network((D, 12, 12, 9, C), "relu")
    stack = TorchStack(network, EACH, LocalRule(interlayer="transport"), RECIPE)
    assert [stack._side(k)[0] is not None for k in range(3)] == [False, True, False]


def test_pull_equals_its_formula():
    network = dense_network((D, D, D, C), "tanh")
    recipe = replace(RECIPE, optimizer=Optimizer("sgd", momentum=0.0))
    stack, rows = TorchStack(network, 2, LocalRule("sim", interlayer="transport"), recipe), make_rows()
    side, _ = stack._side(0)
    stack.rule = replace(stack.rule, loss="pred")
    found = _gradients(stack, 0, rows)
    x, weight = torch.from_numpy(rows.x), torch.from_numpy(rows.weight)
    h = network[:2](x)
    logits = stack.heads[0](h)
    loss = nn.functional.cross_entropy(logits, torch.from_numpy(rows.y), reduction="none")
    pull = sum(weight[i] * (h[i] - x[i]).square().sum() / D for i in range(N)) / N
    expected = torch.autograd.grad((loss * weight).mean() + 0.5 * side.pull * pull, list(network[0].parameters()))
    for name, gradient in zip(("0.weight", "0.bias"), expected, strict=True):
        np.testing.assert_allclose(found[name], gradient, atol=1e-12)


# ---- similarity matching ----


def naive_similarity(rows, y, weight, n_classes):
    """Nokland and Eidnes (2019), row by row: squared differences of the cosines of centred rows and of targets."""
    total = 0.0
    for i in range(len(rows)):
        for j in range(len(rows)):
            a, b = rows[i] - rows[i].mean(), rows[j] - rows[j].mean()
            if y.ndim == 1:
                s, t = (np.eye(n_classes)[int(code)] - 1 / n_classes for code in (y[i], y[j]))
                wanted = s @ t / np.sqrt((s @ s) * (t @ t))
            else:
                wanted = np.exp(-0.5 * float((y[i] - y[j]).square().sum()))
            total = total + weight[i] * weight[j] * (a @ b / (a.norm() * b.norm()) - wanted) ** 2
    return total / len(rows) ** 2


def naive_deviations(maps):
    """Standard deviations of all maps over their pixels."""
    mean = maps.mean((2, 3), keepdim=True)
    return ((maps - mean) ** 2).mean((2, 3)).sqrt()


def _gradients(stack, k, rows):
    """Gradients of one step of partition k on all rows, told from plain SGD at rate 1."""
    execution = stack.begin(k, len(rows.x))
    before = execution.snapshot()["network"]
    execution.epoch(execution.place(rows), np.arange(len(rows.x)), [1.0])
    after = execution.snapshot()["network"]
    return {name: before[name] - after[name] for name in before}


@pytest.mark.parametrize("output", ["softmax", "identity"])
@pytest.mark.parametrize("kind", ["dense", "conv"])
def test_similarity_errors_are_the_gradients_of_the_textbook_formula(kind, output):
    generator = np.random.default_rng(2)
    n, d = 8, {"dense": 12, "conv": 36}[kind]
    y = generator.integers(C, size=n) if output == "softmax" else generator.standard_normal((n, C))
    rows = Rows(generator.standard_normal((n, d)), y, generator.uniform(0.5, 1.5, n))
    network = {
        "dense": dense_network((d, 7, 6, C), "tanh"),
        "conv": image_network((6, 6), (3, 4), (), C, "tanh"),
    }[kind]
    recipe = Recipe(output=output, optimizer=Optimizer("sgd", momentum=0.0), precision="float64")
    stack = TorchStack(network, 2, LocalRule("predsim"), recipe)
    found = _gradients(stack, 0, rows)
    trunk, (side, projection) = nn.Sequential(*stack._trunk(0)), stack._side(0)
    x, y, weight = (torch.from_numpy(a) for a in (rows.x, rows.y, rows.weight))
    h = trunk(x)
    projected = {"dense": lambda: projection(h), "conv": lambda: naive_deviations(projection[0](h))}[kind]()
    similarity = side.similarity * naive_similarity(projected, y, weight, C)
    logits = stack.heads[0](h)
    squares = 0.5 * (logits - y.reshape(n, -1)).square().sum(1)
    cross = nn.functional.cross_entropy(logits, y, reduction="none") if output == "softmax" else squares
    loss = (cross * weight).mean()
    head, own = list(stack.heads[0].parameters()), list(trunk.parameters())
    expected = [
        *torch.autograd.grad(side.share * loss + similarity, own, retain_graph=True),
        *torch.autograd.grad(similarity, list(projection.parameters()), retain_graph=True),
        *torch.autograd.grad(loss, head),  # the head has the whole error
    ]
    for array, gradient in zip(found.values(), expected, strict=True):
        np.testing.assert_allclose(array, gradient, rtol=1e-7, atol=1e-11)
    assert side.share == 0.01 and side.similarity == 0.99


def test_constant_rows_have_no_direction_and_a_finite_gradient():
    rows = torch.ones((4, 3), dtype=torch.float64)
    rows[0, 0] = 2
    rows.requires_grad_()
    loss = similarity_loss(rows, torch.tensor([0, 1, 1, 0]), None, 2)
    (gradient,) = torch.autograd.grad(loss, rows)
    assert float(loss.detach()) == pytest.approx(15 / 16)  # one pair, the first row with itself, is as it should be
    assert torch.isfinite(gradient).all()


def test_weights_of_zero_leave_rows_out_of_the_similarity():
    generator = np.random.default_rng(0)
    x, y = torch.from_numpy(generator.standard_normal((6, 5))), torch.tensor([0, 1, 2, 0, 1, 2])
    weight = torch.tensor([1.0, 1, 1, 1, 0, 0], dtype=torch.float64)
    found, expected = similarity_loss(x, y, weight, 3), similarity_loss(x[:4], y[:4], None, 3)
    assert float(found) * 36 == pytest.approx(float(expected) * 16)


# ---- what stays still ----


def test_frozen_layers_and_frozen_norms_stay():
    network = conv_network(True)
    network[1].requires_grad_(False)
    network[2].requires_grad_(False).eval()
    stack, rows = conv_stack(LocalRule("predsim"), network), digit_rows()
    before = stack.state()["network"]
    for k in range(3):
        fit(stack, k, rows, n_epochs=1)
        rows = replace(rows, x=stack.features(k, rows.x))
    after = stack.state()["network"]
    for name in before:
        assert np.array_equal(before[name], after[name]) == name.startswith(("1.", "2.")), name


def test_an_identity_start_leaves_frozen_layers_alone():
    network = dense_network((D, 12, 12, 12, C), "relu")
    network[2].requires_grad_(False)
    stack = TorchStack(network, None, LocalRule(), RECIPE)
    before = stack.state()["network"]
    for k in range(2):
        stack.hand_on(k)
    changed = [name for name, array in stack.state()["network"].items() if not np.array_equal(array, before[name])]
    assert changed == ["4.weight"]


def test_dropout_is_drawn_anew_and_off_in_features():
    network = nn.Sequential(*dense_network((D, 12, 9), "relu"), nn.ReLU(), nn.Dropout(0.5), nn.Linear(9, C))
    stack, x = TorchStack(network, 2, LocalRule(), RECIPE), make_rows().x
    np.testing.assert_array_equal(stack.features(1, stack.features(0, x)), stack.features(1, stack.features(0, x)))
    losses = [fit(TorchStack(copy.deepcopy(network), 2, LocalRule(), RECIPE, generator_seed=s), 1,
                  replace(make_rows(), x=stack.features(0, x)))[0] for s in (0, 0, 1)]  # fmt: skip
    assert losses[0] == losses[1] != losses[2]


def test_the_callers_random_state_is_not_touched():
    torch.manual_seed(1)
    state = torch.get_rng_state()
    fit(conv_stack(LocalRule("predsim", interlayer="lookahead")), 0, digit_rows(), 1)
    assert torch.equal(torch.get_rng_state(), state)


# ---- bytes ----


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize(
    "rule", [LocalRule(), LocalRule("predsim"), LocalRule(interlayer="window"), LocalRule(interlayer="overparametrise")]
)
def test_bytes_are_known_before_training(rule, optimizer):
    bits = 4 if optimizer == "sgd" else None
    recipe = replace(RECIPE, precision="float32", optimizer=Optimizer(optimizer), activation_bits=bits)
    stack, rows = conv_stack(rule, conv_network(True), recipe=recipe), digit_rows()
    for k in range(3):
        _, execution = fit(stack, k, rows, 1, 60)
        assert stack.bytes_of(k, 60) == pytest.approx(execution.training_bytes(), rel=0.01)
        sizes = [stack.bytes_of(k, m) for m in (1, 2, 30, 60, 1000)]
        assert sizes == sorted(set(sizes))
        rows = replace(rows, x=stack.features(k, rows.x))


def test_bytes_of_a_dense_partition_can_be_counted():
    recipe = replace(RECIPE, precision="float32", optimizer=Optimizer("sgd", momentum=0.0))
    stack = TorchStack(dense_network((D, 12, 9, C), "relu"), 2, LocalRule(head_depth=0), recipe)
    parameters = (D + 1) * 12 + 13 * C
    assert stack.bytes_of(0, 7) == 4 * (parameters + 7 * (D + 12))  # the input and the rectified units


# ---- states, errors ----


@pytest.mark.parametrize("interlayer", [None, "window", "overparametrise"])
def test_a_state_predicts_in_another_stack(interlayer):
    rule = LocalRule("predsim", interlayer=interlayer)
    stack, rows = conv_stack(rule, conv_network(True)), digit_rows()
    for k in range(3):
        fit(stack, k, rows, 1)
        rows = replace(rows, x=stack.features(k, rows.x))
    again = conv_stack(rule, conv_network(True, generator=np.random.default_rng(9)), stack.partitions)
    again.load(stack.state())
    x = y = IMAGES
    for k in range(3):
        x, y = stack.features(k, x), again.features(k, y)
        np.testing.assert_array_equal(x, y)
        np.testing.assert_array_equal(stack.exit(k, x), again.exit(k, y))


def test_a_snapshot_continues_bit_for_bit():
    stack, rows = conv_stack(LocalRule("predsim")), digit_rows()
    executions = [stack.begin(0, 60), stack.begin(0, 60)]
    orders = np.random.default_rng(0).permuted(np.tile(np.arange(160), (2, 1)), axis=1)
    placed = [execution.place(rows) for execution in executions]
    executions[0].epoch(placed[0], orders[0], np.full(3, 0.01))
    executions[1].restore(executions[0].snapshot())
    losses = [e.epoch(p, orders[1], np.full(3, 0.01)) for e, p in zip(executions, placed, strict=True)]
    assert losses[0] == losses[1]
    np.testing.assert_array_equal(*(e.outputs(rows.x) for e in executions))
    assert executions[0].is_finite() and len(executions[0].alignment(rows.x, rows.y)) > 0


def test_what_hidden_stages_put_out():
    found = hidden_outputs(conv_network(True), 64)
    assert [(s.name, s.reads, s.shape, s.units, s.widest) for s in found] == [
        ("1", (1, 8, 8), (4, 4, 4), 64, 256), ("5", (4, 4, 4), (6, 2, 2), 24, 96), ("10", (24,), (10,), 10, 10),
    ]  # fmt: skip
    assert conv_stack(partitions=2).partitions == [(0, 1), (1, 3)]
    assert conv_stack(partitions=None).partitions == EACH


BAD = {
    "too many": (4, r"partitions=4, but the network has 3 hidden stages"),
    "none": (0, r"partitions=0, but the network has 3 hidden stages"),
    "gap": ([(0, 1), (2, 3)], r"partitions=\[\(0, 1\), \(2, 3\)\] must be consecutive"),
    "empty": ([(0, 1), (1, 1), (1, 3)], "must be consecutive, non-empty"),
    "short": ([(0, 2)], "stop at 3"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_partitions_are_refused(name):
    partitions, message = BAD[name]
    with pytest.raises(ValueError, match=message):
        conv_stack(partitions=partitions)


def test_a_batch_of_one_row_needs_no_batch_norm():
    stack = conv_stack(network=conv_network(True))
    with pytest.raises(ValueError, match="batch of one row"):
        fit(stack, 0, digit_rows(), 1, 1)


def test_weights_of_two_partitions_are_refused():
    layer = nn.Linear(D, D)
    network = nn.Sequential(layer, nn.ReLU(), layer, nn.Tanh(), nn.Linear(D, C))
    with pytest.raises(ValueError, match="partitions 0 and 1 share a weight"):
        TorchStack(network, 2, LocalRule(), RECIPE)
    losses, _ = fit(TorchStack(network, 1, LocalRule(interlayer="overparametrise"), RECIPE), 0, make_rows())
    assert losses[-1] < losses[0]


def test_the_columns_of_rows_must_be_known():
    network = nn.Sequential(nn.LayerNorm(D), nn.Bilinear(1, 1, 1), nn.Linear(D, C))
    with pytest.raises(ValueError, match="give n_features"):
        TorchStack(network[:2], 1, LocalRule(), RECIPE)
    with pytest.raises(ValueError, match="does not accept rows of n_features=9"):
        TorchStack(dense_network((D, 5, C), "relu"), 1, LocalRule(), RECIPE, n_features=9)
