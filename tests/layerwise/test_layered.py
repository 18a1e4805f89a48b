"""Partitions one after the other and side by side: what crosses a border, what is kept, how training ends early."""

import os

import numpy as np
import pytest

from sklearn_analytic.layerwise import training as layerwise
from sklearn_analytic.layerwise.dense_stack import DenseStack
from sklearn_analytic.layerwise.judging import effective_rank
from sklearn_analytic.layerwise.layered import Layered
from sklearn_analytic.layerwise.partitions import LocalRule
from sklearn_analytic.layerwise.training import LayerTurns, described, train_layers
from sklearn_analytic.nn import MLPExecution, Optimizer, Plan, Recipe, Rows, train
from sklearn_analytic.nn._initializers import initial_layers
from tests import reference
from tests.checks import assert_close

SIZES, BATCH = (5, 8, 8, 8, 3), 8
THREE = [(0, 1), (1, 2), (2, 3)]


def network(rule=None, partitions=THREE, seed=0, activation="relu", batch_size=BATCH, **recipe):
    settings = {"scheme": "backprop", "precision": "float64", "batch_size": batch_size, "seed": 4}
    recipe = Recipe(**settings | recipe)
    rule = LocalRule(head_depth=0) if rule is None else rule
    stack = DenseStack(SIZES, activation, partitions, rule, recipe, np.random.default_rng(seed))
    return Layered(stack, batch_size)


def rows_of(rng, n=40):
    x = rng.standard_normal((n, 5))
    return Rows(x, np.digitize(x[:, 0] - x[:, 1], [-0.7, 0.7]), rng.uniform(0.5, 2, n))


def accuracy(outputs, y, weight):
    return float(np.average(outputs.argmax(axis=1) == y, weights=weight))


def turns(n_epochs=(2, 3, 4), n_laps=1, rate=0.01, patience=None, **turns):
    plans = [Plan(n, BATCH, rate, patience=patience) for n in n_epochs]
    return LayerTurns([plans] * n_laps, **turns)


def run(layered, rows, plan=None, seed=1, **given):
    plan = turns() if plan is None else plan
    return train_layers(layered, rows, plan, np.random.default_rng(seed), judge=given.pop("judge", accuracy), **given)


def flat(layers):
    return np.concatenate([part.ravel() for layer in layers for part in layer])


def weights(layered):
    layered.settle()
    return [flat(layered.stack.layers), *map(flat, layered.stack.heads)]


def assert_same(found, expected):
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_array_equal(a, b)


# ---- one after the other ----


def test_a_partition_is_a_small_network_on_the_features_below(rng):
    """The textbook, in three steps of its own: train, freeze, pass on."""
    rows, net = rows_of(rng), network(LocalRule(head_depth=0, start="random"))
    run(net, rows)
    layers = initial_layers(SIZES, "relu", np.random.default_rng(0))
    fresh = network(LocalRule(head_depth=0, start="random")).stack
    x, generator = rows.x, np.random.default_rng(1)
    for k, n_epochs in enumerate((2, 3, 4)):
        head = fresh.heads[k] if k < 2 else layers[3:]
        ex = MLPExecution([layers[k], *head], "relu", fresh.recipe, np.random.default_rng(0))
        train(ex, Rows(x, rows.y, rows.weight), Plan(n_epochs, BATCH, 0.01), generator)
        np.testing.assert_array_equal(net.stack.layers[k][0], ex.layers()[0][0])
        np.testing.assert_array_equal(flat(net.stack.exit_layers(k)), flat(ex.layers()[1:]))
        x = np.maximum(x @ ex.layers()[0][0] + ex.layers()[0][1], 0)


def test_the_history_has_every_epoch_and_an_entry_per_partition(rng):
    rows, net = rows_of(rng), network()
    seen = []
    history = run(net, rows, after_epoch=lambda k, epoch, so_far: seen.append((k, epoch, list(so_far.losses))))
    assert [(k, epoch) for k, epoch, _ in seen] == [(0, 0), (0, 1), (1, 0), (1, 1), (1, 2), *((2, e) for e in range(4))]
    assert all(losses == history.losses[: len(losses)] for _, _, losses in seen)
    assert [len(losses) for _, _, losses in seen] == list(range(1, 10))
    np.testing.assert_array_equal(history.n_epochs, [2, 3, 4])
    assert len(history.losses) == 9 and history.scores == []
    assert history.layer_losses == [history.losses[1], history.losses[4], history.losses[8]]
    assert history.failure is None and history.failed is None
    x = rows.x
    for k in range(3):
        x = net.stack.features(k, x)
        assert history.layer_scores[k] == accuracy(net.stack.exit(k, x), rows.y, rows.weight)
        assert_close(history.effective_ranks[k], effective_rank(x), "float64")
    assert np.all(net.seconds > 0)
    assert list(net.bytes) == [net.stack.bytes_of(k, BATCH) for k in range(3)]
    assert net.last == 2 and net.activation_bytes() == network().begin(1, BATCH).activation_bytes()


def test_a_callback_ends_a_partition_and_not_the_rest(rng):
    history = run(network(), rows_of(rng), after_epoch=lambda k, epoch, so_far: k == 1)
    np.testing.assert_array_equal(history.n_epochs, [2, 1, 4])


def test_held_out_rows_choose_the_weights_of_every_partition(rng):
    rows, held, net = rows_of(rng), rows_of(rng, 30), network()
    history = run(net, rows, turns((6, 6, 6), rate=0.3), watched=held)
    assert len(history.scores) == 18
    x = held.x
    for k in range(3):
        x = net.stack.features(k, x)
        score = accuracy(net.stack.exit(k, x), held.y, held.weight)
        assert score == history.layer_scores[k] == max(history.scores[6 * k : 6 * k + 6])
    assert history.best_score == max(history.layer_scores)


def test_patience_ends_a_partition(rng):
    flat_judge = lambda outputs, y, weight: 0.5  # noqa: E731
    history = run(network(), rows_of(rng), turns((9, 9, 9), patience=2), watched=rows_of(rng), judge=flat_judge)
    np.testing.assert_array_equal(history.n_epochs, [3, 3, 3])


@pytest.mark.parametrize(
    ("scores", "n_trained", "last"),
    [([0.5, 0.6, 0.7], 3, 2), ([0.5, 0.6, 0.6], 3, 1), ([0.5, 0.4, 0.9], 2, 0), ([0.5, 0.5 + 1e-5, 0.9], 2, 1)],
)
def test_training_ends_with_the_first_partition_that_gains_nothing(rng, scores, n_trained, last):
    left = list(scores)
    net = network()
    history = run(net, rows_of(rng), turns(stop_early=True), judge=lambda *_: left.pop(0))
    assert history.layer_scores == scores[:n_trained] and net.last == last
    assert list(history.n_epochs > 0) == [k < n_trained for k in range(3)]
    left = list(scores)
    assert len(run(network(), rows_of(rng), turns(), judge=lambda *_: left.pop(0)).layer_scores) == 3


def test_laps_go_on_from_where_the_last_one_ended(rng):
    rows, net, twice = rows_of(rng), network(), network()
    history = run(net, rows, turns((1, 1, 1), n_laps=2))
    np.testing.assert_array_equal(history.n_epochs, [2, 2, 2])
    assert len(history.losses) == 6 and len(history.layer_scores) == 3
    generator = np.random.default_rng(1)
    for lap in range(2):
        plan = turns((1, 1, 1), fresh=lap == 0)
        train_layers(twice, rows, plan, generator, judge=accuracy)
    assert_same(weights(net), weights(twice))


def test_only_fresh_partitions_start_near_the_identity(rng):
    rows = rows_of(rng)
    nets = [network() for _ in range(2)]
    for net, fresh in zip(nets, (True, False), strict=True):
        run(net, rows, turns((1, 1, 1), fresh=fresh, rate=1e-9))
    assert np.abs(np.diag(nets[0].stack.layers[1][0]) - 1).max() < 0.2
    assert_close(nets[1].stack.layers[1][0], network().stack.layers[1][0], "float32")


def test_fewer_rows_go_on(rng, monkeypatch):
    seen = []
    real = layerwise.train

    def noted(execution, rows, *arguments, **named):
        seen.append((len(rows.x), len(rows.y), len(rows.weight), rows.weight.mean()))
        return real(execution, rows, *arguments, **named)

    monkeypatch.setattr(layerwise, "train", noted)
    rows = Rows(rows_of(rng).x, rows_of(rng).y)
    rows = Rows(rows.x, rows.y, np.ones(40))
    run(network(), rows, turns(subsample=0.5))
    assert [n[:3] for n in seen] == [(40, 40, 40), (20, 20, 20), (10, 10, 10)]
    np.testing.assert_allclose([n[3] for n in seen], 1)


def test_the_rows_that_go_on_keep_their_targets_and_weights(rng, monkeypatch):
    rows, chosen = rows_of(rng), np.array([1, 5, 6, 30])
    factor = np.array([1.0, 2.0, 1.0, 0.5])
    asked = []

    def rows_chosen(errors, share, generator):
        asked.append(errors)
        return (chosen, factor) if len(errors) == 40 else (np.arange(4), np.ones(4))

    monkeypatch.setattr(layerwise, "informative_rows", rows_chosen)
    seen = []
    real = layerwise.train

    def noted(execution, part, *arguments, **named):
        seen.append(part)
        return real(execution, part, *arguments, **named)

    monkeypatch.setattr(layerwise, "train", noted)
    net = network()
    run(net, rows, turns(subsample=0.5))
    h = net.stack.features(0, rows.x)
    assert_close(seen[1].x, h[chosen], "float64")
    np.testing.assert_array_equal(seen[1].y, rows.y[chosen])
    expected = rows.weight[chosen] * factor
    assert_close(seen[1].weight, expected / expected.mean(), "float64")
    outputs = net.stack.exit(0, h)
    errors = [reference.output_error("softmax", z, k) for z, k in zip(outputs, rows.y, strict=True)]
    assert_close(asked[0], np.linalg.norm(errors, axis=1) * rows.weight, "float64")
    x = net.stack.features(1, h[chosen])
    assert_close(seen[2].x, x, "float64")


@pytest.mark.parametrize("name", ["memmap", "float16", None])
def test_a_cache_elsewhere_changes_nothing(rng, tmp_path, name):
    sgd = Optimizer("sgd")  # Adam would magnify the rounding of small gradients
    rows, nets = rows_of(rng), [network(optimizer=sgd) for _ in range(2)]
    history = run(nets[0], rows)
    other = run(nets[1], rows, turns(cache=name), folder=tmp_path)
    assert os.listdir(tmp_path) == []
    if name == "memmap":
        assert_same(weights(nets[0]), weights(nets[1]))
        assert other.layer_scores == history.layer_scores
    kind, scale = ("float16", 0.002) if name == "float16" else ("float64", 1)  # 1000 roundings of float16 are too many
    assert_close(weights(nets[1])[0], weights(nets[0])[0], kind, scale=scale)
    assert_close(other.losses, history.losses, kind, scale=scale)


def test_a_streamed_epoch_is_the_epoch(rng):
    rows, order = rows_of(rng), rng.permutation(40)
    plain, streamed = (network().begin(0, BATCH) for _ in range(2))
    cache = layerwise.CACHES["memmap"](rows.x)
    rates = np.array([0.1, 0.05, 0.02])
    loss = plain.epoch(plain.place(rows), order, rates)
    assert streamed.epoch(streamed.place(Rows(cache, rows.y, rows.weight)), order, rates) == loss
    assert_same(map(flat, [streamed.layers()]), map(flat, [plain.layers()]))


# ---- failures ----


def overflowing(monkeypatch, k, epoch=0):
    """Let partition k return NaN in some epoch."""
    real = DenseStack.begin

    def begin(self, j, batch_size, together=False):
        execution = real(self, j, batch_size, together)
        if j == k:
            step, left = execution.epoch, [epoch]

            def epoch_of(placed, order, rates):
                left[0] -= 1
                return np.nan if left[0] < 0 else step(placed, order, rates)

            execution.epoch = epoch_of
        return execution

    monkeypatch.setattr(DenseStack, "begin", begin)


@pytest.mark.parametrize(("k", "epoch", "last"), [(0, 0, 0), (1, 0, 0), (1, 2, 1), (2, 0, 1), (2, 1, 2)])
def test_divergence_names_the_partition_and_keeps_those_below(rng, monkeypatch, k, epoch, last):
    rows, net, whole = rows_of(rng), network(), network()
    run(whole, rows)
    overflowing(monkeypatch, k, epoch)
    history = run(net, rows)
    assert (history.failure, history.failed) == ("diverged", k)
    assert net.last == last and np.isfinite(net.outputs(rows.x)).all()
    assert len(history.layer_scores) == len(history.effective_ranks) == last + 1
    assert history.n_epochs[k] == epoch and not history.n_epochs[k + 1 :].any()
    for j in range(k):
        np.testing.assert_array_equal(net.stack.layers[j][0], whole.stack.layers[j][0])


def test_a_rate_that_overflows_in_one_partition_only(rng):
    rows, net = rows_of(rng), network(optimizer=Optimizer("sgd", momentum=0.0, nesterov=False))
    plan = LayerTurns([[Plan(2, BATCH, 0.01), Plan(2, BATCH, 1e200), Plan(2, BATCH, 0.01)]])
    with np.errstate(over="ignore", invalid="ignore"):
        history = run(net, rows, plan)
    assert (history.failure, history.failed) == ("diverged", 1) and net.last == 0
    assert np.isfinite(net.outputs(rows.x)).all()
    assert all(np.isfinite(w).all() for w in weights(net))


def test_an_interrupt_in_a_partition_keeps_what_it_had(rng):
    def interrupt(k, epoch, history):
        if (k, epoch) == (1, 1):
            raise KeyboardInterrupt

    rows, net = rows_of(rng), network()
    history = run(net, rows, after_epoch=interrupt)
    assert (history.failure, history.failed, net.last) == ("interrupted", 1, 1)
    np.testing.assert_array_equal(history.n_epochs, [2, 2, 0])
    assert len(history.layer_scores) == 2


@pytest.mark.parametrize("place", ["hand_on", "features"])
def test_an_interrupt_between_partitions_keeps_the_lower_one(rng, monkeypatch, tmp_path, place):
    def interrupt(self, *arguments):
        raise KeyboardInterrupt

    rows, net, whole = rows_of(rng), network(), network()
    run(whole, rows)
    with monkeypatch.context() as patch:
        patch.setattr(DenseStack, place, interrupt)
        history = run(net, rows, turns(cache="memmap"), folder=tmp_path)
    assert (history.failure, history.failed, net.last) == ("interrupted", 0, 0)
    np.testing.assert_array_equal(net.stack.layers[0][0], whole.stack.layers[0][0])
    np.testing.assert_array_equal(flat(net.stack.heads[0]), flat(whole.stack.heads[0]))
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("held", [False, True])
@pytest.mark.parametrize("place", ["rank", "score"])
def test_an_interrupt_of_the_judgement_does_not_lose_it(rng, monkeypatch, held, place):
    """The partition that predicts has a score, and held-out rows move up once."""
    rows, net, whole, calls = rows_of(rng), network(), network(), []
    watched = rows_of(rng) if held else None
    expected = run(whole, rows, watched=watched)
    owner, name = {"rank": (layerwise, "rank_of"), "score": (DenseStack, "exit")}[place]
    usual = getattr(owner, name)

    def interrupt_once(*arguments):
        calls.append(name)
        if len(calls) == 2:  # of the second partition
            raise KeyboardInterrupt
        return usual(*arguments)

    monkeypatch.setattr(owner, name, interrupt_once)
    history = run(net, rows, watched=watched)
    assert (history.failure, history.failed, net.last) == ("interrupted", 1, 1)
    assert history.layer_scores == expected.layer_scores[:2]
    assert history.effective_ranks == expected.effective_ranks[:2]


def test_any_other_error_removes_the_file(rng, tmp_path):
    def fail(k, epoch, history):
        if k == 1:
            assert sorted(name.split("-")[0] for name in os.listdir(tmp_path)) == ["features", "head"]
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run(network(), rows_of(rng), turns(cache="memmap"), folder=tmp_path, after_epoch=fail)
    assert os.listdir(tmp_path) == []


# ---- side by side ----


def together(net, rows, n_epochs=2, seed=1, **given):
    plan = Plan(n_epochs, net.batch_size, given.pop("rate", 0.01))
    return train(net, rows, plan, np.random.default_rng(seed), **given)


def test_one_partition_side_by_side_is_backprop_bit_for_bit(rng):
    rows, net = rows_of(rng), network(partitions=[(0, 3)])
    plain = MLPExecution(
        initial_layers(SIZES, "relu", np.random.default_rng(0)), "relu", net.stack.recipe, np.random.default_rng(0)
    )
    histories = [
        together(one, rows) if one is net else train(plain, rows, Plan(2, BATCH, 0.01), np.random.default_rng(1))
        for one in (net, plain)
    ]
    assert_same(weights(net), [flat(plain.layers())])
    assert_close(histories[0].losses, histories[1].losses, "float64")


@pytest.mark.parametrize("loss", ["pred", "predsim"])
def test_no_error_crosses_a_border(rng, loss):
    """Partitions below know nothing of those above: other weights up there change no bit down here."""
    rows, nets = rows_of(rng), [network(LocalRule(loss, 1)) for _ in range(2)]
    stack = nets[1].stack
    stack.layers[1:] = [(w + 1, b - 1) for w, b in stack.layers[1:]]
    stack.heads[1] = [(w + 1, b - 1) for w, b in stack.heads[1]]
    for net in nets:
        together(net, rows)
        net.settle()
    np.testing.assert_array_equal(flat(nets[0].stack.layers[:1]), flat(nets[1].stack.layers[:1]))
    np.testing.assert_array_equal(flat(nets[0].stack.heads[0]), flat(nets[1].stack.heads[0]))
    assert np.any(nets[0].stack.layers[1][0] != nets[1].stack.layers[1][0])


def test_a_step_side_by_side_is_a_step_of_each_on_what_the_batch_was_below(rng):
    rows, net = rows_of(rng, BATCH), network(LocalRule("predsim", 1))
    alone = network(LocalRule("predsim", 1)).stack
    x, expected = rows.x, []
    for k in range(3):
        ex = alone.begin(k, BATCH)
        below = alone.features(k, x)  # before the step
        expected.append(ex.epoch(ex.place(Rows(x, rows.y, rows.weight)), np.arange(BATCH), [0.01]))
        alone.keep(k, ex)
        x = below
    placed = net.place(rows)
    loss = net.epoch(placed, np.arange(BATCH), np.array([0.01]))
    assert_close(loss, expected[-1], "float64")
    net.settle()
    assert_close(flat(net.stack.layers), flat(alone.layers), "float64", scale=100)  # Adam magnifies rounding


def test_the_loss_is_that_of_the_partition_that_predicts(rng):
    rows, nets = rows_of(rng, BATCH), [network() for _ in range(2)]
    nets[1].last = 0
    losses = [net.epoch(net.place(rows), np.arange(BATCH), np.array([0.01])) for net in nets]
    stack = network().stack
    for net_last, loss in zip((2, 0), losses, strict=True):
        x = rows.x
        for k in range(net_last + 1):
            x = stack.features(k, x)
        errors = [reference.output_loss("softmax", z, k) for z, k in zip(stack.exit(net_last, x), rows.y, strict=True)]
        assert_close(loss, np.mean(rows.weight * errors), "float64")


def test_a_simultaneous_run_is_described_like_a_sequential_one(rng):
    rows, held, net = rows_of(rng), rows_of(rng, 20), network()
    history = described(together(net, rows), net, rows, None, accuracy)
    np.testing.assert_array_equal(history.n_epochs, [2, 2, 2])
    x = rows.x
    for k in range(3):
        x = net.stack.features(k, x)
        assert history.layer_scores[k] == accuracy(net.stack.exit(k, x), rows.y, rows.weight)
        assert_close(history.effective_ranks[k], effective_rank(x), "float64")
    watched = described(together(network(), rows), net, rows, held, accuracy)
    assert watched.layer_scores[2] == accuracy(net.outputs(held.x), held.y, held.weight)
    assert np.all(net.seconds > 0) and list(net.bytes) == [net.stack.bytes_of(k, BATCH) for k in range(3)]
    assert net.activation_bytes()["stored"] == BATCH * 24 * 8  # all three at once


def test_divergence_side_by_side_names_the_partition(rng, monkeypatch):
    rows, net = rows_of(rng), network()
    overflowing(monkeypatch, 1, 6)
    history = together(net, rows)
    assert history.failure == "diverged" and net.diverged == 1 and len(history.losses) == 1
    assert np.isfinite(net.outputs(rows.x)).all()


@pytest.mark.parametrize("rule", [LocalRule("predsim", 1), LocalRule(interlayer="overparametrise")], ids=str)
def test_a_snapshot_goes_on_bit_for_bit(rng, rule):
    rows, net, twin = rows_of(rng), network(rule), network(rule, seed=9)
    together(net, rows)
    state = net.snapshot()
    kept = [flat(state["stack"]["layers"])]
    before = net.outputs(rows.x)
    together(net, rows, seed=2)
    assert_same([flat(state["stack"]["layers"])], kept)
    twin.restore(state)
    np.testing.assert_array_equal(twin.outputs(rows.x), before)
    together(twin, rows, seed=2)
    assert_same(weights(twin), weights(net))


def test_a_restored_snapshot_is_what_predicts(rng):
    rows, net = rows_of(rng), network()
    run(net, rows)
    state, before = net.snapshot(), net.outputs(rows.x)
    run(net, rows, turns((1, 1, 1), fresh=False))
    assert np.any(net.outputs(rows.x) != before)
    net.restore(state)
    np.testing.assert_array_equal(net.outputs(rows.x), before)
    net.restore(state | {"last": 0})
    np.testing.assert_array_equal(net.outputs(rows.x), net.stack.exit(0, net.stack.features(0, rows.x)))


def test_turns_after_a_simultaneous_run_begin_with_its_weights(rng):
    """Optimisers that rest must not write their old weights over what is trained now."""
    rows, rule = rows_of(rng), LocalRule(head_depth=0, interlayer="window")
    net, other = network(rule), network(rule)
    together(net, rows)
    other.stack.load(net.snapshot()["stack"])
    for one in (net, other):
        scores = [0.5, 0.4]  # the third partition rests, though the second one trains its layer along
        history = run(one, rows, turns((1, 1, 1), fresh=False, stop_early=True), judge=lambda *_, s=scores: s.pop(0))
        assert history.n_epochs.tolist() == [1, 1, 0]
    assert_same(weights(net), weights(other))


@pytest.mark.parametrize("interlayer", [None, "window"])
@pytest.mark.parametrize("order", ["together", "turns"])
def test_a_solved_readout_is_what_predicts(rng, order, interlayer):
    rows, net = rows_of(rng), network(LocalRule(head_depth=0, interlayer=interlayer))
    {"together": together, "turns": run}[order](net, rows)
    net.settle()
    layers = flat(net.stack.layers[:3])
    new = rng.standard_normal((8, 3)), rng.standard_normal(3)
    sums = net.activation_bytes()
    net.set_readout(*new)
    x = rows.x
    for k in range(3):
        x = net.stack.features(k, x)
    assert_close(net.outputs(rows.x), x @ new[0] + new[1], "float64")
    assert_close(net.snapshot()["stack"]["layers"][-1][0], new[0], "float64")
    np.testing.assert_array_equal(flat(net.stack.layers[:3]), layers)
    assert net.activation_bytes() == sums
    together(net, rows, 1, rate=1e-9)  # training goes on from there
    net.settle()
    assert_close(net.stack.layers[-1][0], new[0], "float32")


def test_staged_outputs_end_with_the_outputs(rng):
    rows, net = rows_of(rng), network()
    run(net, rows)
    stages = list(net.staged_outputs(rows.x))
    assert len(stages) == 3
    np.testing.assert_array_equal(stages[-1], net.outputs(rows.x))
    net.last = 1
    assert len(list(net.staged_outputs(rows.x))) == 2


# ---- effective rank ----


def test_effective_rank_is_the_definition(rng):
    features = rng.standard_normal((40, 6)) * [1, 2, 0.1, 3, 1, 0.5]
    assert_close(effective_rank(features), reference.entropy_rank(features), "float64")


def test_effective_rank_of_known_spectra():
    assert effective_rank(np.eye(5)) == pytest.approx(5)
    assert effective_rank(np.ones((7, 4), np.float32)) == pytest.approx(1, rel=1e-6)
    assert effective_rank(np.diag([3.0, 1.0])) == pytest.approx(np.exp(-0.75 * np.log(0.75) - 0.25 * np.log(0.25)))
    assert effective_rank(np.zeros((4, 3))) == 0
    assert effective_rank(np.array([[np.nan, 1.0], [1.0, 2.0]])) == 0
