"""Batches in parts, and layers judged in blocks: the same numbers, up to the order of sums, from less memory."""

from dataclasses import replace

import numpy as np
import pytest

from sklearn_analytic import Partitions
from sklearn_analytic.layerwise import judging
from sklearn_analytic.layerwise.judging import Tops, effective_rank, rank_of
from sklearn_analytic.layerwise.partitions import LocalRule
from sklearn_analytic.nn import Optimizer
from sklearn_analytic.nn._recipe import micro_batches
from sklearn_analytic.nn._training import Plan, train
from tests.layerwise.test_layerwise import X, Y, classifier
from tests.layerwise.test_partitions import rows_of, stack

RULES = {
    "none": LocalRule(head_depth=1),
    "window": LocalRule(head_depth=0, interlayer="window"),
    "lookahead": LocalRule(interlayer="lookahead"),
    "overparametrise": LocalRule(interlayer="overparametrise"),
    "transport": LocalRule(head_depth=0, interlayer="transport"),
}
CLOSE = {"float32": 1e-6, "float64": 1e-12}  # of the largest entry of a gradient
BATCH, MICRO = 23, 5  # parts of four and five rows


def split(rule, rows=MICRO):
    return replace(rule, micro_batch=rows)


def one_step(rule, rng, k=1, **recipe):
    net = stack(rule, **recipe)
    ex = net.begin(k, BATCH)
    rows = rows_of(rng, BATCH, net.sizes[net.partitions[k][0]])
    return ex, ex.epoch(ex.place(rows), rng.permutation(BATCH), [0.01])


def assert_same_gradient(found, expected, precision):
    tolerance = CLOSE[precision] * np.abs(expected).max()
    np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance)


@pytest.mark.parametrize("precision", CLOSE)
@pytest.mark.parametrize("name", RULES)
def test_parts_of_a_batch_give_its_gradient(name, precision):
    (ex, loss), (other, found) = (
        one_step(rule, np.random.default_rng(1), precision=precision, tol_error=0.3)
        for rule in (RULES[name], split(RULES[name]))
    )
    assert other.recipe.rows_at_once == 5 and other._buffers.n_rows == 5
    assert_same_gradient(other._model.grad, ex._model.grad, precision)
    assert found == pytest.approx(loss, rel=CLOSE[precision])


@pytest.mark.parametrize("name", ["sgd", "adam", "adamw"])
def test_runs_in_parts_are_runs(name):
    runs = []
    for rule in (RULES["window"], split(RULES["window"])):
        rng = np.random.default_rng(2)
        net, rows = stack(rule, optimizer=Optimizer(name, alpha=1e-3)), rows_of(rng, 50)
        ex = net.begin(0, BATCH)
        train(ex, rows, Plan(3, BATCH, 0.01), rng)
        runs.append(np.concatenate([part.ravel() for layer in ex.layers() for part in layer]))
    np.testing.assert_allclose(runs[1], runs[0], rtol=0, atol=1e-9)  # Adam magnifies the rounding of small gradients


def test_a_part_without_errors_counts_nothing():
    """Rows of small errors are skipped, here all rows of all parts."""
    ex, _ = one_step(split(RULES["none"]), np.random.default_rng(3), tol_error=1e9)
    assert not ex._model.grad.any()


def test_parts_are_even():
    assert [len(part) for part in micro_batches(np.arange(11), 4)] == [3, 4, 4]
    assert [len(part) for part in micro_batches(np.arange(4), 4)] == [4]
    assert [len(part) for part in micro_batches(np.arange(4), None)] == [4]


def test_bytes_are_those_of_a_part():
    net = stack(split(RULES["window"]))
    ex = net.begin(0, BATCH)
    ex.epoch(ex.place(rows_of(np.random.default_rng(0), 46)), np.arange(46), [0.01, 0.01])
    assert ex.training_bytes() == net.bytes_of(0, BATCH) < stack(RULES["window"]).bytes_of(0, BATCH)


def test_automatic_parts_leave_small_and_narrow_batches_alone():
    rule = LocalRule(micro_batch="auto")
    assert [rule.micro_rows(width) for width in (16, 64, 1024, 2048, 2**15, 2**20)] == [16384, 4096, 256, 256, 128, 16]
    a, b = (classifier(partitions__micro_batch=micro).fit(X, Y) for micro in ("auto", None))
    for found, expected in zip(a.coefs_, b.coefs_, strict=True):
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(
    "options",
    [
        {"partitions": Partitions(local_loss="predsim", micro_batch=4)},
        {"partitions": Partitions(micro_batch=4), "order": "simultaneous"},
    ],
)
def test_batches_whose_rows_are_seen_together_are_not_split(options):
    with pytest.raises(ValueError, match=r"partitions__micro_batch=4 splits batches"):
        classifier(**options).fit(X, Y)


def test_comparisons_of_rows_stay_whole_by_themselves():
    net = stack(LocalRule("predsim", micro_batch=4))
    assert [net.begin(k, BATCH).recipe.micro_batch for k in range(3)] == [None, None, 4]
    assert net.begin(2, BATCH, together=True).recipe.micro_batch is None


# ---- torch ----


@pytest.mark.parametrize("precision", CLOSE)
@pytest.mark.parametrize("name", RULES)
def test_parts_of_a_batch_give_its_gradient_in_torch(name, precision):
    pytest.importorskip("torch")
    from tests.layerwise.test_torch_stack import RECIPE, conv_stack, digit_rows

    rows, found = digit_rows(), []
    for rule in (RULES[name], split(RULES[name])):
        net = conv_stack(rule, recipe=replace(RECIPE, precision=precision))
        ex = net.begin(0, BATCH)
        loss = ex.epoch(ex.place(rows), np.arange(BATCH), [0.01])
        found.append((loss, [p.grad.numpy() for p in ex.network.parameters()]))
        assert net.bytes_of(0, BATCH) > 0
    (loss, expected), (other, gradients) = found
    assert other == pytest.approx(loss, rel=CLOSE[precision])
    largest = max(np.abs(part).max() for part in expected)
    for a, b in zip(gradients, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=CLOSE[precision] * largest)


def test_batch_normalisation_is_not_split():
    pytest.importorskip("torch")
    from tests.layerwise.test_torch_stack import conv_network, conv_stack

    with pytest.raises(ValueError, match=r"partitions__micro_batch=4 splits batches.*batch normalisation"):
        conv_stack(LocalRule(micro_batch=4), conv_network(True))
    assert conv_stack(LocalRule(micro_batch="auto"), conv_network(True)).begin(0, 40).recipe.micro_batch is None


def test_torch_reads_parts_from_a_file(tmp_path):
    pytest.importorskip("torch")
    from sklearn_analytic.layerwise.feature_cache import CACHES
    from tests.layerwise.test_torch_stack import conv_stack, digit_rows

    rows, losses = digit_rows(), []
    cache = CACHES["memmap"](rows.x, tmp_path)
    cache.advance(lambda x: x)
    for x in (rows.x, cache):
        ex = conv_stack(split(RULES["window"])).begin(0, 40)
        placed = ex.place(replace(rows, x=x))
        losses.append([ex.epoch(placed, np.arange(160)[::-1].copy(), [0.01] * 4), ex.training_bytes()])
    assert losses[0] == losses[1]
    cache.close()


# ---- judging ----


@pytest.mark.parametrize("entries", [300, 1000, 7000])
def test_blocks_have_the_rank_of_the_whole(rng, monkeypatch, entries):
    monkeypatch.setattr(judging, "_ENTRIES", entries)
    features = np.maximum(rng.standard_normal((25, 8)) @ rng.standard_normal((8, 150)), 0).astype(np.float32)
    tops = Tops(lambda rows: features[rows], np.arange(25), 150)
    assert len(tops) == {300: 13, 1000: 5, 7000: 1}[entries]
    assert rank_of(tops) == pytest.approx(effective_rank(features), rel=1e-9)
    np.testing.assert_array_equal(tops.outputs(lambda h: h[:, :3]), features[:, :3])


@pytest.mark.parametrize("value", [0.0, np.inf])
def test_blocks_without_dimensions(monkeypatch, value):
    monkeypatch.setattr(judging, "_ENTRIES", 40)
    tops = Tops(lambda rows: np.full((len(rows), 20), value), np.arange(4), 20)
    with np.errstate(invalid="ignore"):
        assert len(tops) == 2 and rank_of(tops) == 0


@pytest.mark.parametrize("order", ["sequential", "simultaneous"])
def test_layers_judged_in_blocks_have_the_same_scores(monkeypatch, order):
    options = {"order": order, "hidden_layer_sizes": (600, 16, 600), "max_iter": 3}
    whole = classifier(**options).fit(X[:40], Y[:40])
    monkeypatch.setattr(judging, "_ENTRIES", 2000)
    blocks = classifier(**options).fit(X[:40], Y[:40])
    np.testing.assert_array_equal(blocks.layer_scores_, whole.layer_scores_)
    np.testing.assert_allclose(blocks.effective_ranks_, whole.effective_ranks_, rtol=1e-6)


# ---- one copy of the weights ----


def test_a_fitted_network_is_its_own_state(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    options = {"partitions": Partitions(interlayer="window", cache="memmap"), "warm_start": True}
    model = classifier(hidden_layer_sizes=(16, 16, 16), **options).fit(X, Y)
    assert model._trained.snapshot["stack"] is None
    assert all(type(w) is np.ndarray for head in model.heads_ for w in head["coefs"])
    first = model.coefs_[0].copy()
    model.coefs_[0][:] = 0.0  # written: training goes on from it
    model.set_params(learning_rate_init=1e-12).fit(X, Y)
    assert np.abs(model.coefs_[0]).max() < 1e-6 < np.abs(first).max()
    model.coefs_[0][:] = np.nan
    with pytest.raises(ValueError, match="finite"):
        model.fit(X, Y)
