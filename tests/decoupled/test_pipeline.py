"""Pipelines of compiled modules equal the emulator, and backpropagation where nothing is delayed."""

import numpy as np
import pytest

from sklearn_analytic.nn import MLPExecution, Optimizer, Plan, train
from sklearn_analytic.nn._cutting import balanced_partitions
from tests import reference
from tests.checks import assert_close
from tests.decoupled.pipelines import (
    N_BATCHES,
    N_ROWS,
    SGD,
    assert_same,
    batches_of,
    first_layers,
    flat,
    layers_of,
    orders,
    pipeline,
    recipe_of,
    rows_of,
    run,
)
from tests.reference_pipeline import SGD as ORACLE_SGD
from tests.reference_pipeline import Modules

BACKWARD_AT = {"stash": {}, "current": {"stash": False}, "recompute": {"recompute": True}}
FALLING = tuple(0.2 / (1 + i) for i in range(N_BATCHES))
ADAM = Optimizer("adam")
ORACLE_ADAM = ORACLE_SGD | {"name": "adam"}
# rounding grows along 14 steps of a network of five layers
SCALE = 20.0


def oracle(n_modules, activation="tanh", **given):
    layers = first_layers(activation)
    modules = [layers[first:stop] for first, stop in balanced_partitions([1] * 5, n_modules)]
    return Modules(modules, activation, **given)


def emulated(modules, rows, drain, rates):
    """Mean losses of two epochs; without draining they are one."""
    parts = [batches_of(rows, order, rates) for order in orders(2, len(rows.x))]
    losses = [modules.run(batches) for batches in parts] if drain else modules.run(parts[0] + parts[1], drain=False)
    return np.reshape(losses, (2, -1)).sum(axis=1) / len(rows.x)


def assert_equals_oracle(found, modules, rows, drain=True, rates=FALLING):
    losses = run(found, rows, rates=rates)
    assert_close(np.array(losses), emulated(modules, rows, drain, rates), "float64", SCALE)
    assert_close(np.concatenate(layers_of(found)), flat(modules.layers()), "float64", SCALE)


# ---- the emulator ----


@pytest.mark.parametrize("backward_at", BACKWARD_AT)
@pytest.mark.parametrize("forward_first", [False, True])
@pytest.mark.parametrize("schedule", ["ddg", "fdg"])
@pytest.mark.parametrize("n_modules", [2, 3, 4])
def test_modules_equal_the_emulator(n_modules, schedule, forward_first, backward_at):
    rows, same = rows_of(), {"schedule": schedule, "forward_first": forward_first}
    for accumulation in (1, 2, 3):
        for drain in (True, False):
            rule = same | BACKWARD_AT[backward_at] | {"accumulation": accumulation, "drain": drain, "shrink": 0.7}
            found = pipeline(n_modules, **rule)
            modules = oracle(n_modules, backward_at=backward_at, M=accumulation, beta=0.7, **same)
            assert_equals_oracle(found, modules, rows, drain)
            for k, worker in enumerate(found.workers):
                last = [modules.staleness[key] for key in sorted(modules.staleness) if key[0] == k]
                assert list(worker.staleness)[-len(last) :] == last


def test_emulated_backpropagation_is_the_textbook_gradient():
    """The oracle's own anchor."""
    rows, modules = rows_of(), oracle(3, schedule="backprop", optimiser=ORACLE_SGD | {"momentum": 0.0})
    modules.run([(rows.x, rows.y, rows.weight, 0.1)])
    expected = reference.network_gradient(first_layers(), "tanh", rows.x, rows.y, rows.weight)
    assert_close(flat(modules.layers()), flat(first_layers()) - 0.1 * flat(expected), "float64")


@pytest.mark.parametrize("output", ["softmax", "identity"])
@pytest.mark.parametrize("activation", ["relu", "leaky_relu", "logistic"])
def test_activations_and_outputs(output, activation):
    rows, recipe = rows_of(output), recipe_of(output=output)
    found = pipeline(3, activation=activation, recipe=recipe, accumulation=2, average=True)
    assert_equals_oracle(found, oracle(3, activation, M=2, average=True), rows)


@pytest.mark.parametrize("forward_first", [False, True])
@pytest.mark.parametrize("recompute", [False, True])
@pytest.mark.parametrize(("kind", "name"), [("velocity", "sgd"), ("difference", "sgd"), ("adam", "adam")])
def test_predicted_weights_equal_the_emulator(kind, name, recompute, forward_first):
    rates = (0.02,) * N_BATCHES
    for accumulation, regulator in ((1, 1.0), (2, 0.6)):
        rule = {"recompute": recompute, "forward_first": forward_first, "regulator": regulator, "rate_rule": "inverse"}
        lags = [6, 4, 2, 0] if forward_first else [5, 3, 1, 0]
        recipe = recipe_of(optimizer=SGD if name == "sgd" else ADAM)
        found = pipeline(4, recipe=recipe, schedule="dtrp", predictor=kind, accumulation=accumulation, **rule)
        modules = oracle(
            4,
            forward_first=forward_first,
            backward_at="recompute" if recompute else "stash",
            M=accumulation,
            predict=(kind, regulator),
            rate_factors=[1 / (1 + lag / accumulation) for lag in lags],
            optimiser=ORACLE_SGD | {"name": name},
        )
        assert_equals_oracle(found, modules, rows_of(), rates=rates)


@pytest.mark.parametrize(
    ("rule", "of"),
    [
        ("root", lambda s: 1 / np.sqrt(1 + s)),
        ("inverse", lambda s: 1 / (1 + s)),
        ("stability", lambda s: np.sin(np.pi / (4 * s + 2))),
    ],
)
def test_rates_fall_with_the_staleness_of_a_module(rule, of):
    found = pipeline(3, rate_rule=rule, accumulation=2)
    modules = oracle(3, M=2, rate_factors=[of(3 / 2), of(1 / 2), 1.0])  # delays 4, 2 and 0, backward first
    assert_equals_oracle(found, modules, rows_of())


@pytest.mark.parametrize("name", ["adam", "adamw"])
def test_rates_shrink_where_gradients_have_no_scale(name):
    recipe = recipe_of(optimizer=Optimizer(name, alpha=0.1))
    optimiser = ORACLE_SGD | {"name": name, "alpha": 0.1}
    modules = oracle(3, optimiser=optimiser, rate_factors=[0.49, 0.7, 1.0])
    rates = (0.02,) * N_BATCHES
    assert_equals_oracle(pipeline(3, recipe=recipe, shrink=0.7), modules, rows_of(), rates=rates)


@pytest.mark.parametrize("drain", [True, False])
@pytest.mark.parametrize("rule", [{}, {"schedule": "ddg"}, {"schedule": "dtrp", "predictor": "velocity"}], ids=str)
def test_losses_contain_the_penalty_of_the_weights_that_a_batch_comes_by(rule, drain):
    """Of those that train, and not of guesses."""
    recipe = recipe_of(optimizer=Optimizer("sgd", alpha=0.1))
    found = pipeline(3, recipe=recipe, drain=drain, **rule)
    same = {"optimiser": ORACLE_SGD | {"alpha": 0.1}, "schedule": "ddg" if rule.get("schedule") == "ddg" else "fdg"}
    modules = oracle(3, predict=("velocity", 1.0) if "predictor" in rule else None, **same)
    rates = (0.05,) * N_BATCHES
    assert_equals_oracle(found, modules, rows_of(), drain, rates)


# ---- backpropagation ----


@pytest.mark.parametrize("precision", ["float32", "float64"])
@pytest.mark.parametrize(
    "optimizer",
    [SGD, Optimizer("sgd", nesterov=False, alpha=0.1), Optimizer("adam", alpha=0.1), Optimizer("adamw", alpha=0.1)],
    ids=["nesterov", "momentum", "adam", "adamw"],
)
def test_without_delay_it_is_backpropagation_bit_for_bit(optimizer, precision):
    rows, recipe = rows_of(), recipe_of(optimizer=optimizer, precision=precision)
    ex = MLPExecution(first_layers(), "tanh", recipe, np.random.default_rng(0))
    losses = run(ex, rows, 3, FALLING)
    delayed = {"schedule": "dtrp", "recompute": True, "predictor": "velocity", "shrink": 0.7, "rate_rule": "inverse"}
    cases = [(1, "fdg", {}), (1, "fdg", {"forward_first": True}), (1, "dtrp", delayed)]
    for n_modules, schedule, rule in cases + [(k, "backprop", {"drain": k == 2}) for k in (2, 3, 4)]:
        found = pipeline(n_modules, recipe=recipe, **{"schedule": schedule} | rule)
        assert run(found, rows, 3, FALLING) == losses
        np.testing.assert_array_equal(flat(found.stack.layers()), flat(ex.layers()))
        np.testing.assert_array_equal(found.outputs(rows.x), ex.outputs(rows.x))


def test_the_training_loop_knows_no_difference():
    rows, plan = rows_of(), Plan(4, 4, 0.05, "cosine", warmup=0.3)
    ex = MLPExecution(first_layers(), "tanh", recipe_of(), np.random.default_rng(0))
    found = pipeline(3, schedule="backprop")
    histories = [train(e, rows, plan, np.random.default_rng(5), score=lambda: 0.0) for e in (ex, found)]
    assert histories[0].losses == histories[1].losses
    np.testing.assert_array_equal(flat(found.stack.layers()), flat(ex.layers()))


# ---- gradients at rate 0 ----


def summed(n_modules, rate=0.0, recipe=None, n=24, **rule):
    """The first moment after one update with all batches: the sum of their gradients."""
    found = pipeline(n_modules, accumulation=N_BATCHES, recipe=recipe, **rule)
    run(found, rows_of(n=n), 1, (rate,) * N_BATCHES)
    assert [cell.n_updates for cell in found.stack.cells] == [1] * n_modules
    return [cell.moments()[0][0] for cell in found.stack.cells]


def textbook(n_modules, n=24):
    """The sum of the batches' gradients, by module."""
    rows, total = rows_of(n=n), 0
    for x, y, weight, _ in batches_of(rows, orders(1, n)[0], (0.0,) * N_BATCHES):
        total += flat(reference.network_gradient(first_layers(), "tanh", x, y, weight))
    lengths = [w.size + b.size for w, b in first_layers()]
    ends = np.cumsum([0, *lengths])
    return [total[ends[first] : ends[stop]] for first, stop in balanced_partitions([1] * 5, n_modules)]


@pytest.mark.parametrize("schedule", ["ddg", "fdg"])
@pytest.mark.parametrize("backward_at", BACKWARD_AT)
def test_gradients_are_those_of_backpropagation_while_weights_rest(schedule, backward_at):
    """At rate 0 all versions of the weights are one: of the error's way, only beta at every border is left."""
    for n_modules in (2, 3, 4):
        for beta in (1.0, 0.7):
            rule = BACKWARD_AT[backward_at] | {"schedule": schedule, "shrink": beta}
            for k, (found, expected) in enumerate(zip(summed(n_modules, **rule), textbook(n_modules), strict=True)):
                assert_close(found, beta ** (n_modules - 1 - k) * expected, "float64")


def test_adams_gradient_is_not_shrunk_and_its_rate_is():
    recipe, start = recipe_of(optimizer=ADAM), layers_of(pipeline(4))
    moves = []
    for beta in (1.0, 0.5):
        rule = {"accumulation": N_BATCHES, "recipe": recipe, "shrink": beta}
        for found, expected in zip(summed(4, recipe=recipe, shrink=beta), textbook(4), strict=True):
            assert_close(found, (1 - ADAM.beta_1) * expected, "float64")
        found = pipeline(4, **rule)
        run(found, rows_of(n=24), 1, (0.1,) * N_BATCHES)
        moves.append([after - before for before, after in zip(start, layers_of(found), strict=True)])
    for k, (whole, shrunk) in enumerate(zip(*moves, strict=True)):
        assert_close(shrunk, 0.5 ** (3 - k) * whole, "float64")


def test_one_update_per_epoch_is_one_step_on_all_rows():
    """Drained, with as many batches to an update as there are: the synchronous limit."""
    rows, rates = rows_of(n=7 * 4), (0.1,) * N_BATCHES
    for rule in ({}, {"recompute": True}, {"stash": False, "forward_first": True}, {"schedule": "ddg"}):
        found = pipeline(4, accumulation=N_BATCHES, average=True, **rule)
        losses = run(found, rows, 3, rates)
        ex = MLPExecution(first_layers(), "tanh", recipe_of(), np.random.default_rng(0))
        expected = [ex.epoch(ex.place(rows), order, np.array([0.1])) for order in orders(3, 28)]
        assert_close(np.array(losses), np.array(expected), "float64")
        assert_close(flat(found.stack.layers()), flat(ex.layers()), "float64")


# ---- laws ----


def test_a_guess_without_reach_is_none():
    rows = rows_of()
    for more in ({}, {"forward_first": True, "accumulation": 2}):
        plain = pipeline(4, schedule="dtrp", recompute=True, **more)
        losses = run(plain, rows)
        for kind in ("velocity", "difference", "adam"):
            found = pipeline(4, schedule="dtrp", recompute=True, predictor=kind, regulator=0.0, **more)
            assert run(found, rows) == losses
            assert_same(layers_of(found), layers_of(plain))


def test_labels_and_weights_travel_with_their_rows():
    """Rows in another place, asked for in the same order, are the same rows."""
    rows, p = rows_of(), np.random.default_rng(8).permutation(N_ROWS)
    moved = type(rows)(rows.x[p], rows.y[p], rows.weight[p])
    found, other = pipeline(4), pipeline(4)
    for order in orders(3):
        a = found.epoch(found.place(rows), order, np.array(FALLING))
        assert other.epoch(other.place(moved), np.argsort(p)[order], np.array(FALLING)) == a
    assert_same(layers_of(found), layers_of(other))


def test_every_cell_sees_the_rows_of_its_batch_once_each_way():
    for executor in ("sequential", "threads"):
        seen = {}
        watch = lambda k, kind, batch: seen.setdefault((k, kind), []).append(batch)  # noqa: B023, E731
        found = pipeline(3, executor, watch)
        run(found, rows_of())
        expected = [
            order[i * N_ROWS // N_BATCHES : (i + 1) * N_ROWS // N_BATCHES]
            for order in orders(2)
            for i in range(N_BATCHES)
        ]
        for k in range(3):
            for kind in ("forward", "backward"):
                assert [batch.index for batch in seen[k, kind]] == list(range(2 * N_BATCHES))
                assert_same([batch.rows for batch in seen[k, kind]], expected)


@pytest.mark.parametrize(("n_batches", "accumulation"), [(1, 1), (1, 4), (3, 1), (3, 2), (3, 8)])
def test_few_batches(n_batches, accumulation):
    """Fewer than the delay of the lowest of four modules, and than one update asks for: drained, none is lost."""
    rates = tuple(0.1 / (1 + i) for i in range(n_batches))
    found, modules = pipeline(4, accumulation=accumulation), oracle(4, M=accumulation)
    assert_equals_oracle(found, modules, rows_of(), rates=rates)
    n_updates = 2 * -(-n_batches // accumulation)
    assert [cell.n_updates for cell in found.stack.cells] == [n_updates] * 4
    undrained = pipeline(4, accumulation=accumulation, drain=False)
    run(undrained, rows_of(), rates=rates)
    counts = [max(2 * n_batches - delay, 0) // accumulation for delay in (6, 4, 2, 0)]
    assert [cell.n_updates for cell in undrained.stack.cells] == counts


@pytest.mark.parametrize("executor", ["sequential", "threads"])
def test_what_is_on_its_way_crosses_the_end_of_an_epoch(executor):
    seen = {}
    watch = lambda k, kind, batch: seen.setdefault((k, kind), []).append(batch and batch.index)  # noqa: E731
    found = pipeline(4, executor, watch, drain=False)
    run(found, rows_of(), 3)
    total = 3 * N_BATCHES
    for k, delay in enumerate((6, 4, 2, 0)):
        assert seen[k, "forward"] == list(range(total))
        assert seen[k, "backward"] == list(range(total - delay))  # the last ones never come back
        assert len(seen[k, "update"]) == found.stack.cells[k].n_updates == total - delay


@pytest.mark.parametrize("executor", ["sequential", "threads"])
@pytest.mark.parametrize("predictor", [None, "velocity", "difference", "adam"])
def test_a_snapshot_is_put_back_into_an_empty_pipeline(executor, predictor):
    rows, recipe = rows_of(), recipe_of(optimizer=ADAM)
    rule = {"drain": False, "accumulation": 2, "predictor": predictor, "recipe": recipe}
    used, fresh = pipeline(4, executor, **rule), pipeline(4, **rule)
    run(used, rows, 1)
    snapshot = used.snapshot()
    before = layers_of(used)
    run(used, rows, 1)
    used.restore(snapshot)
    fresh.restore(snapshot)
    assert_same(layers_of(used), before)
    assert [cell.kept_bytes() for cell in used.stack.cells] == [0] * 4
    assert [cell.n_updates for cell in used.stack.cells] == [0, 1, 2, 3]
    assert run(used, rows) == run(fresh, rows)
    assert_same(layers_of(used), layers_of(fresh))
    assert used.epochs == fresh.epochs == 3
