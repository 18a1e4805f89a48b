"""Networks cut into partitions: balance, batches that fit, and a stack of dense layers whose parts are one network."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sklearn_analytic.layerwise.dense_stack import DenseStack
from sklearn_analytic.layerwise.partitions import LocalRule, largest_batch
from sklearn_analytic.nn import MLPExecution, Optimizer, Recipe, Rows
from sklearn_analytic.nn._cutting import balanced_partitions
from sklearn_analytic.nn._initializers import initial_layers
from tests import reference
from tests.checks import assert_close

SIZES, THREE = (5, 8, 8, 8, 3), [(0, 1), (1, 2), (2, 3)]


def stack(rule=None, sizes=SIZES, partitions=THREE, activation="relu", generator=0, **recipe):
    recipe = Recipe(**{"scheme": "backprop", "precision": "float64", "batch_size": 8, "seed": 4} | recipe)
    generator = np.random.default_rng(generator)
    return DenseStack(sizes, activation, partitions, rule or LocalRule(), recipe, generator)


def rows_of(rng, n=24, width=SIZES[0], n_classes=SIZES[-1]):
    return Rows(rng.standard_normal((n, width)), rng.integers(n_classes, size=n), rng.uniform(0.5, 2, n))


def trained(net, k, rows, n_epochs=1):
    """Partition k after some steps; the stack does not know of them yet."""
    ex = net.begin(k, 8)
    placed = ex.place(rows)
    for _ in range(n_epochs):
        ex.epoch(placed, np.arange(len(rows.x)), np.full(len(rows.x) // 8, 0.01))
    return ex


def outputs(net, k, x):
    """What the head of partition k makes of encoded rows."""
    for j in range(k + 1):
        x = net.features(j, x)
    return net.exit(k, x)


def flat(layers):
    return np.concatenate([part.ravel() for layer in layers for part in layer])


# ---- cuts ----


@given(st.lists(st.integers(1, 40), min_size=1, max_size=8), st.data())
def test_balanced_partitions_are_the_best_cut(units, data):
    n_parts = data.draw(st.integers(1, len(units)))
    found = balanced_partitions(units, n_parts)
    assert len(found) == n_parts and found[0][0] == 0 and found[-1][1] == len(units)
    assert all(stop == first for (_, stop), (first, _) in pairwise(found))
    sums = [sum(units[first:stop]) for first, stop in found]
    assert all(stop > first for first, stop in found)
    assert max(sums) == reference.largest_sum_of_best_cut(units, n_parts)


def test_of_equal_cuts_the_one_with_more_layers_below():
    assert balanced_partitions([1, 1, 1], 2) == [(0, 2), (2, 3)]
    assert balanced_partitions([5, 5, 5, 5], 4) == [(0, 1), (1, 2), (2, 3), (3, 4)]
    assert balanced_partitions([1], 1) == [(0, 1)]


@given(st.integers(0, 50), st.integers(1, 9), st.integers(0, 300), st.integers(1, 64))
def test_the_largest_batch_fits_and_the_next_does_not(fixed, per_row, budget, most):
    found = largest_batch(lambda m: fixed + per_row * m, budget, most)
    assert found == max((m for m in range(1, most + 1) if fixed + per_row * m <= budget), default=0)


def test_heads_are_narrow_but_not_too_narrow():
    assert LocalRule(head_depth=0).head_sizes(512, 10) == ()
    assert LocalRule(head_depth=2).head_sizes(512, 10) == (64, 64)
    assert LocalRule(head_depth=1).head_sizes(64, 10) == (32,)
    assert LocalRule(head_depth=1).head_sizes(16, 10) == (16,)  # never wider than the layer below
    assert LocalRule(head_depth=1).head_sizes(4, 10) == (10,)  # nor narrower than the outputs
    assert LocalRule(head_depth=3, head_width=7).head_sizes(512, 10) == (7, 7, 7)


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        (LocalRule(), (1.0, 0.0, 0.0, 0)),
        (LocalRule("sim"), (0.0, 1.0, 0.0, 0)),
        (LocalRule("predsim"), (0.01, 0.99, 0.0, 0)),
        (LocalRule(interlayer="overparametrise"), (1.0, 0.0, 0.0, 0)),
        (LocalRule(interlayer="lookahead"), (1.0, 0.0, 0.0, 1)),
        (LocalRule(interlayer="window"), (1.0, 0.0, 0.0, 1)),
        (LocalRule(interlayer="transport"), (1.0, 0.0, 0.1, 0)),
    ],
    ids=str,
)
def test_what_a_rule_means(rule, expected):
    assert (rule.share, rule.similarity, rule.pull, rule.ahead) == expected


# ---- a stack ----


@pytest.mark.parametrize("interlayer", [None, "overparametrise", "window"])
def test_one_partition_is_backprop_bit_for_bit(rng, interlayer):
    rows = rows_of(rng)
    net = stack(LocalRule("predsim", 2, interlayer=interlayer), partitions=[(0, 3)])
    ex = net.begin(0, 8)
    plain = MLPExecution(
        initial_layers(SIZES, "relu", np.random.default_rng(0)), "relu", net.recipe, np.random.default_rng(0)
    )
    for one in (ex, plain):
        one.epoch(one.place(rows), np.arange(24), [0.01] * 3)
    net.keep(0, ex)
    np.testing.assert_array_equal(flat(net.layers), flat(plain.layers()))
    assert net.heads == []


@pytest.mark.parametrize("rule", [LocalRule(), LocalRule("predsim", 2), LocalRule(interlayer="window")], ids=str)
def test_beginning_changes_nothing_and_keeping_takes_everything(rng, rule):
    net, rows = stack(rule), rows_of(rng)
    before = net.state()
    for k in range(3):
        net.keep(k, net.begin(k, 8))
    np.testing.assert_array_equal(flat(net.layers), flat(before["layers"]))
    shared = int(rule.interlayer == "window")  # its heads begin with the network's own layer from now on
    for head, old in zip(net.heads, before["heads"], strict=True):
        np.testing.assert_array_equal(flat(head[shared:]), flat(old[shared:]))
    x = rows.x
    for k in range(3):
        ex = trained(net, k, Rows(x, rows.y, rows.weight))
        net.keep(k, ex)
        assert_close(net.exit(k, net.features(k, x)), ex.outputs(x), "float64")
        x = net.features(k, x)
    assert not np.array_equal(flat(net.layers), flat(before["layers"]))


def test_partitions_of_several_layers(rng):
    net, rows = stack(LocalRule(), partitions=[(0, 2), (2, 3)]), rows_of(rng)
    before = flat(net.layers[2:])
    ex = trained(net, 0, rows)
    net.keep(0, ex)
    assert [w.shape for w, _ in ex.layers()] == [(5, 8), (8, 8), (8, 8), (8, 3)]  # two layers, head of depth one
    assert_close(outputs(net, 0, rows.x), ex.outputs(rows.x), "float64")
    np.testing.assert_array_equal(flat(net.layers[2:]), before)


def test_heads_and_projections_come_from_the_seed(rng):
    rule = LocalRule("sim")
    first, again = (stack(rule, generator=generator) for generator in (0, 1))
    assert not np.array_equal(flat(first.layers), flat(again.layers))
    np.testing.assert_array_equal(flat(first.heads[0]), flat(again.heads[0]))
    assert not np.array_equal(flat(first.heads[0]), flat(first.heads[1]))
    drawn = [net.begin(k, 8)._side.projection.theta for net in (first, again) for k in (0, 1)]
    np.testing.assert_array_equal(drawn[0], drawn[2])
    assert not np.array_equal(drawn[0], drawn[1])
    other = stack(rule, seed=5)
    assert not np.array_equal(flat(first.heads[0]), flat(other.heads[0]))
    np.testing.assert_array_equal(flat(first.layers), flat(other.layers))


def test_factors_are_the_same_function_before_and_after(rng):
    net, rows = stack(LocalRule(interlayer="overparametrise"), sizes=(5, 9, 6, 8, 3)), rows_of(rng)
    x = rows.x
    for k in range(3):
        ex = net.begin(k, 8)
        assert len(ex.layers()) == 2 + len(net.exit_layers(k))
        assert_close(ex.outputs(x), net.exit(k, net.features(k, x)), "float64")
        a, b = ex.layers()[0][0], ex.layers()[1][0]
        assert_close(a.T @ a, b @ b.T, "float64")  # balanced factors
        placed = ex.place(Rows(x, rows.y, rows.weight))
        ex.epoch(placed, np.arange(24), [0.01] * 3)
        assert ex.layers()[0][1].any()  # the bias of the first factor has moved, and counts
        net.keep(k, ex)
        assert_close(net.exit(k, net.features(k, x)), ex.outputs(x), "float64")
        assert net.layers[k][0].shape == (net.sizes[k], net.sizes[k + 1])
        x = net.features(k, x)


@pytest.mark.parametrize("name", ["window", "lookahead"])
def test_the_layer_ahead_is_kept_or_thrown_away(rng, name):
    net, rows = stack(LocalRule(head_depth=0, interlayer=name)), rows_of(rng)
    before, head = net.layers[1], net.heads[0]
    ex = trained(net, 0, rows)
    assert len(ex.layers()) == 3  # layer, layer ahead, output
    net.keep(0, ex)
    assert np.array_equal(net.layers[1][0], before[0]) == (name == "lookahead")
    assert np.array_equal(net.heads[0][0][0], ex.layers()[1][0])
    assert not np.array_equal(net.heads[0][1][0], head[1][0])
    assert_close(outputs(net, 0, rows.x), ex.outputs(rows.x), "float64")
    begun = net.begin(1, 8).layers()[0][0]
    np.testing.assert_array_equal(begun, net.layers[1][0])
    assert len(net.begin(2, 8).layers()) == 2 and len(net.begin(1, 8).layers()) == 3


def test_window_begins_with_the_layer_that_is_there(rng):
    net, rows = stack(LocalRule(head_depth=0, interlayer="window")), rows_of(rng)
    ex = net.begin(0, 8)
    np.testing.assert_array_equal(ex.layers()[1][0], net.layers[1][0])
    assert net.heads[0][0][0] is net.layers[1][0]  # no copy before it is trained
    net.keep(0, trained(net, 0, rows))
    np.testing.assert_array_equal(net.heads[0][0][0], net.layers[1][0])
    net.keep(1, trained(net, 1, Rows(net.features(0, rows.x), rows.y)))
    assert not np.array_equal(net.heads[0][0][0], net.layers[1][0])  # the head goes on with the layer that it had


# ---- where a layer starts ----


@pytest.mark.parametrize("activation", ["relu", "identity"])
@pytest.mark.parametrize("head_depth", [0, 1])
def test_a_layer_begins_where_the_one_below_ended(rng, monkeypatch, activation, head_depth):
    monkeypatch.setattr("sklearn_analytic.layerwise.dense_stack.START_NOISE", 0.0)
    net, rows = stack(LocalRule(head_depth=head_depth), activation=activation), rows_of(rng)
    net.keep(0, trained(net, 0, rows))
    net.hand_on(0)
    np.testing.assert_array_equal(outputs(net, 1, rows.x), outputs(net, 0, rows.x))
    net.keep(1, trained(net, 1, Rows(net.features(0, rows.x), rows.y)))
    own = flat(net.layers[3:])
    net.hand_on(1)
    np.testing.assert_array_equal(net.layers[2][0], np.eye(8))
    if head_depth == 0:
        np.testing.assert_array_equal(outputs(net, 2, rows.x), outputs(net, 1, rows.x))
    else:  # the output layer has no hidden layer
        np.testing.assert_array_equal(flat(net.layers[3:]), own)


def test_an_identity_start_keeps_some_noise(rng):
    net, rows = stack(LocalRule()), rows_of(rng)
    first = net.layers[1][0]
    net.keep(0, trained(net, 0, rows))
    net.hand_on(0)
    np.testing.assert_array_equal(net.layers[1][0], 0.1 * first + np.eye(8))
    assert np.linalg.norm(outputs(net, 1, rows.x) - outputs(net, 0, rows.x)) > 0


def test_a_handed_on_head_is_a_copy(rng):
    net, rows = stack(LocalRule()), rows_of(rng)
    net.hand_on(0)
    before = flat(net.heads[0])
    net.keep(1, trained(net, 1, Rows(net.features(0, rows.x), rows.y)))
    np.testing.assert_array_equal(flat(net.heads[0]), before)


@pytest.mark.parametrize(
    ("rule", "parameters"),
    [
        (LocalRule(start="random"), {}),
        (LocalRule(), {"activation": "logistic"}),
        (LocalRule(), {"sizes": (5, 8, 7, 6, 3)}),
    ],
    ids=["random", "logistic", "widths"],
)
def test_where_nothing_can_be_handed_on_nothing_changes(rng, rule, parameters):
    net = stack(rule, **parameters)
    before = net.state()
    net.hand_on(0)
    net.hand_on(1)
    np.testing.assert_array_equal(flat(net.layers), flat(before["layers"]))
    for head, old in zip(net.heads, before["heads"], strict=True):
        np.testing.assert_array_equal(flat(head), flat(old))


def test_of_a_mixed_partition_the_square_layers_start_near_the_identity(rng, monkeypatch):
    monkeypatch.setattr("sklearn_analytic.layerwise.dense_stack.START_NOISE", 0.0)
    net = stack(LocalRule(), sizes=(5, 8, 8, 6, 3), partitions=[(0, 1), (1, 3)])
    wide, head = net.layers[2][0], flat(net.layers[3:])
    net.hand_on(0)
    np.testing.assert_array_equal(net.layers[1][0], np.eye(8))
    np.testing.assert_array_equal(net.layers[2][0], wide)
    np.testing.assert_array_equal(flat(net.layers[3:]), head)


def test_a_window_is_not_reset_to_the_identity(rng, monkeypatch):
    """What was trained along stays; only the layer that no one has trained yet starts near the identity."""
    monkeypatch.setattr("sklearn_analytic.layerwise.dense_stack.START_NOISE", 0.0)
    net, rows = stack(LocalRule(head_depth=0, interlayer="window")), rows_of(rng)
    first = trained(net, 0, rows)
    net.keep(0, first)
    learned, above = net.layers[1][0].copy(), flat(net.layers[3:])
    net.hand_on(0)
    np.testing.assert_array_equal(net.layers[1][0], learned)
    np.testing.assert_array_equal(net.layers[2][0], np.eye(8))
    np.testing.assert_array_equal(flat(net.layers[3:]), above)
    x = net.features(0, rows.x)
    assert_close(net.begin(1, 8).outputs(x), first.outputs(rows.x), "float64")  # it begins where the one below ended
    second = trained(net, 1, Rows(x, rows.y))
    net.keep(1, second)
    learned = net.layers[2][0].copy()
    net.hand_on(1)
    np.testing.assert_array_equal(net.layers[2][0], learned)
    assert_close(net.begin(2, 8).outputs(net.features(1, x)), second.outputs(x), "float64")


# ---- memory ----

RULES = [
    LocalRule(),
    LocalRule("predsim", 2),
    LocalRule(interlayer="overparametrise"),
    LocalRule(interlayer="transport"),
    LocalRule("sim", 0, interlayer="window"),
]


@pytest.mark.parametrize("solver", ["adam", "sgd"])
@pytest.mark.parametrize("rule", RULES, ids=str)
def test_expected_bytes_are_those_of_training(rng, rule, solver):
    net = stack(rule, sizes=(8, 8, 8, 9, 3), optimizer=Optimizer(solver), precision="float32")
    x, y = rng.standard_normal((24, 8)), rng.integers(3, size=24)
    for k in range(3):
        ex = trained(net, k, Rows(x, y))
        assert ex.training_bytes() == net.bytes_of(k, 8)
        assert net.bytes_of(k, 9) > net.bytes_of(k, 8)
        x = net.features(k, x)


def test_moments_and_halves_of_precision_count():
    sgd, adam = (stack(optimizer=Optimizer(name)) for name in ("sgd", "adam"))
    entries = sum(w.size + b.size for w, b in adam.begin(0, 8).layers())
    assert adam.bytes_of(0, 8) - sgd.bytes_of(0, 8) == 8 * entries
    assert stack(precision="float32").bytes_of(0, 8) == adam.bytes_of(0, 8) / 2


# ---- readout and state ----


@pytest.mark.parametrize("k", [0, 2])
def test_a_readout_can_be_set(rng, k):
    net, x = stack(LocalRule(head_depth=2)), rng.standard_normal((6, 5))
    for j in range(k + 1):
        x = net.features(j, x)
    read = net.readout_inputs(k, x)
    weights, bias = net.exit_layers(k)[-1]
    assert_close(read @ weights + bias, net.exit(k, x), "float64")
    weights, bias = rng.standard_normal((read.shape[1], 3)), rng.standard_normal(3)
    others = stack(LocalRule(head_depth=2)).state()
    net.set_readout(k, weights, bias)
    assert_close(net.exit(k, x), read @ weights + bias, "float64")
    kept, last = (flat(s["layers"][:3]) for s in (net.state(), others)), flat(net.heads[1])
    np.testing.assert_array_equal(*kept)
    np.testing.assert_array_equal(last, flat(others["heads"][1]))


def test_a_readout_has_the_dtype_of_training(rng):
    net = stack(precision="float32")
    net.set_readout(2, rng.standard_normal((8, 3)), np.zeros(3))
    assert net.layers[-1][0].dtype == np.float32


def test_a_state_comes_back_bit_for_bit(rng):
    net, rows = stack(LocalRule(interlayer="window")), rows_of(rng)
    state, x = net.state(), rows.x
    kept = flat(state["layers"])
    before = [outputs(net, k, x) for k in range(3)]
    for k in range(3):
        net.keep(k, trained(net, k, Rows(net.features(k - 1, x) if k else x, rows.y)))
        x = net.features(k - 1, x) if k else x
    np.testing.assert_array_equal(flat(state["layers"]), kept)  # what was handed out never changes
    net.load(state)
    for k in range(3):
        np.testing.assert_array_equal(outputs(net, k, rows.x), before[k])


def test_no_hidden_layer_is_one_partition(rng):
    net, rows = stack(sizes=(5, 3), partitions=[(0, 0)]), rows_of(rng)
    net.keep(0, trained(net, 0, rows))
    np.testing.assert_array_equal(net.features(0, rows.x), rows.x)
    assert_close(net.exit(0, rows.x), rows.x @ net.layers[0][0] + net.layers[0][1], "float64")
