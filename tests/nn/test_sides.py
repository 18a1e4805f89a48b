"""Second losses at a hidden layer in compiled code: similarity matching and the pull are the textbook's."""

import numpy as np
import pytest

from sklearn_analytic.layerwise.dense_stack import DenseStack
from sklearn_analytic.layerwise.partitions import LocalRule
from sklearn_analytic.nn import MLPExecution, Optimizer, Recipe, Rows
from sklearn_analytic.nn._flat import Data, segment
from sklearn_analytic.nn._initializers import initial_layers
from sklearn_analytic.nn._sides import Side, SideLoss
from tests import reference
from tests.checks import assert_close

FD = 1e-7  # central differences of step 1e-6 lose half of the digits
C = 3


def targets_of(kind, rng, n):
    return rng.integers(C, size=n) if kind == "classes" else rng.standard_normal((n, 2))


def side_of(h, below, y, weight, rng, dtype="float64", rows=None, **loss):
    """Loss (mean), error by h and by the projection, and the projection, of a batch."""
    m, n = h.shape
    sizes = np.array([below.shape[1], n, C], dtype=np.int64)
    side = Side(SideLoss(1, **loss), sizes, np.dtype(dtype), rng)
    side.resize(m)
    coded = y.ndim == 1
    data = Data(
        below.astype(dtype),
        y if coded else np.zeros(0, np.int64),
        np.zeros((0, 0), dtype) if coded else y.astype(dtype),
        np.zeros(0, dtype) if weight is None else weight.astype(dtype),
    )
    rows = np.arange(m) if rows is None else rows
    found = side.loss(0.0, h.astype(dtype), below.astype(dtype), data, rows)
    parts = np.zeros((2, 0, 0))
    if side.projection is not None:
        (layer,) = side.projection.layers
        parts = (layer.d_weights, layer.weights)
    error = np.zeros((m, n), dtype)
    side.add_error(error, h.astype(dtype), below.astype(dtype))
    return found / m, error, *parts


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("kind", ["classes", "numbers"])
def test_similarity_matching_is_the_textbook_loss_and_its_slope(rng, kind, weighted):
    h, y = rng.standard_normal((6, 4)), targets_of(kind, rng, 6)
    weight = rng.uniform(0.5, 2, 6) if weighted else None
    w = np.ones(6) if weight is None else weight
    loss, error, gradient, projection = side_of(h, h, y, weight, rng, similarity=0.7)
    projection = projection.copy()

    def textbook():
        return 0.7 * reference.similarity_loss(h, projection, y, C, w)

    assert_close(loss, textbook(), "float64")
    assert np.abs(error - reference.slopes_of(textbook, h)).max() < FD
    assert np.abs(gradient - reference.slopes_of(textbook, projection)).max() < FD
    assert np.abs(error).max() > 1e-3 and np.abs(gradient).max() > 1e-3


def test_rows_of_a_batch_are_found_by_their_index(rng):
    h, y, weight = rng.standard_normal((4, 3)), rng.integers(C, size=9), rng.uniform(0.5, 2, 9)
    rows = np.array([7, 2, 2, 5])
    loss, _, _, projection = side_of(h, h, y, weight, rng, rows=rows, similarity=1.0)
    assert_close(loss, reference.similarity_loss(h, projection, y[rows], C, weight[rows]), "float64")


def test_classes_are_as_far_apart_as_their_vectors():
    assert reference.alike(1, 1, 5) == pytest.approx(1)
    assert reference.alike(1, 2, 5) == pytest.approx(-0.25)
    assert reference.alike([0.0, 1.0], [0.0, 1.0], 5) == 1


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_constant_rows_have_no_direction_and_no_slope(rng, dtype):
    h = rng.standard_normal((5, 4))
    h[1] = h[3] = 0  # dead units: constant whatever the projection
    y = rng.integers(C, size=5)
    loss, error, gradient, projection = side_of(h, h, y, None, rng, dtype, similarity=1.0)
    assert_close(loss, reference.similarity_loss(h, projection.astype(float), y, C, np.ones(5)), dtype)
    assert not error[[1, 3]].any() and error[0].any()
    assert np.isfinite(error).all() and np.isfinite(gradient).all()


def test_a_batch_of_one_row(rng):
    h, y = rng.standard_normal((1, 4)), np.array([2])
    loss, error, gradient, _ = side_of(h, h, y, None, rng, similarity=1.0)
    assert abs(loss) < 1e-28 and np.abs(error).max() < 1e-14 and np.abs(gradient).max() < 1e-14
    loss, error, _, _ = side_of(0 * h, h, y, None, rng, similarity=1.0)
    assert loss == 1 and not error.any()


@pytest.mark.parametrize("weighted", [False, True])
def test_the_pull_is_the_textbook_loss_and_its_slope(rng, weighted):
    h, below = rng.standard_normal((2, 6, 4))
    weight = rng.uniform(0.5, 2, 6) if weighted else None
    w = np.ones(6) if weight is None else weight
    loss, error, _, _ = side_of(h, below, np.zeros(6, np.int64), weight, rng, pull=0.3)
    assert_close(loss, 0.3 * reference.pull_loss(h, below, w), "float64")
    assert_close(error, 0.3 * w[:, None] * (h - below) / (6 * 4), "float64")


def test_two_losses_add_up(rng):
    h, below, y = *rng.standard_normal((2, 6, 4)), rng.integers(C, size=6)
    parts = [{"similarity": 0.5}, {"pull": 0.2}, {"similarity": 0.5, "pull": 0.2}]
    found = [side_of(h, below, y, None, np.random.default_rng(1), **loss)[:2] for loss in parts]
    assert_close(found[2][0], found[0][0] + found[1][0], "float64")
    assert_close(found[2][1], found[0][1] + found[1][1], "float64")


# ---- in a chain ----

SIZES, ACTIVATIONS, SIDE = (3, 4, 3, 5, 3), ("tanh", "relu", "logistic"), 2


def chain(rng, loss, activations=ACTIVATIONS, **recipe):
    layers = [(w, rng.normal(0, 0.3, b.shape)) for w, b in initial_layers(SIZES, "relu", rng)]
    recipe = Recipe(**{"scheme": "backprop", "precision": "float64"} | recipe)
    return MLPExecution(layers, activations, recipe, np.random.default_rng(3), side=loss, top=SIDE)


def gradients(ex, rows):
    """Mean loss and [(dW, db), ...] of one batch of all rows."""
    n = len(rows.x)
    loss = ex._gradient(ex.place(rows), np.arange(n))
    return loss / n, [(layer.d_weights.copy(), layer.d_bias.copy()) for layer in ex._model.layers]


def rows_of(rng, n=6, kind="classes"):
    y = rng.integers(C, size=n) if kind == "classes" else rng.standard_normal((n, C))
    return Rows(rng.standard_normal((n, SIZES[0])), y, rng.uniform(0.5, 2, n))


def projection_of(ex):
    n = SIZES[SIDE]
    return ex._side.projection.theta[: n * n].reshape(n, n)


LOSSES = [
    SideLoss(SIDE, 0.01, 0.99, 0.0),
    SideLoss(SIDE, 0.0, 1.0, 0.0),
    SideLoss(SIDE, 1.0, 0.0, 0.1),
    SideLoss(SIDE, 0.3, 0.6, 0.2),
]


@pytest.mark.parametrize("kind", ["classes", "numbers"])
@pytest.mark.parametrize("loss", LOSSES, ids=lambda s: f"{s.share}-{s.similarity}-{s.pull}")
def test_a_chain_follows_the_slope_of_all_its_losses(rng, loss, kind):
    """Below the side layer the whole loss, above it the prediction's alone."""
    rows = rows_of(rng, kind=kind)
    ex = chain(rng, loss, output="softmax" if kind == "classes" else "identity")
    total, found = gradients(ex, rows)
    layers = ex.layers()
    projection = projection_of(ex).copy() if loss.similarity else None

    def prediction():
        outputs = reference.chain_values(layers, ACTIVATIONS, rows.x)[-1]
        if kind == "numbers":
            return np.mean(rows.weight * np.sum((outputs - rows.y) ** 2, axis=1) / 2)
        losses = [reference.output_loss("softmax", z, k) for z, k in zip(outputs, rows.y, strict=True)]
        return np.mean(rows.weight * losses)

    def whole():
        h = reference.chain_values(layers, ACTIVATIONS, rows.x)[SIDE]
        value = loss.share * prediction() + loss.pull * reference.pull_loss(h, rows.x, rows.weight)
        if loss.similarity:
            value += loss.similarity * reference.similarity_loss(h, projection, rows.y, C, rows.weight)
        return value

    assert_close(total, whole(), "float64")
    for k, (layer, gradient) in enumerate(zip(layers, found, strict=True)):
        f = whole if k < SIDE else prediction
        for parameter, slope in zip(layer, gradient, strict=True):
            assert np.abs(slope - reference.slopes_of(f, parameter)).max() < FD
    if loss.similarity:
        n = SIZES[SIDE]
        by_projection = ex._side.projection.grad[: n * n].reshape(n, n)
        assert np.abs(by_projection - reference.slopes_of(whole, projection)).max() < FD


def test_activations_may_differ_by_layer(rng):
    rows = rows_of(rng)
    for names in (ACTIVATIONS, ("identity", "leaky_relu", "tanh")):
        ex = chain(rng, None, names)
        _, found = gradients(ex, rows)
        layers = ex.layers()
        assert_close(ex.outputs(rows.x), reference.chain_values(layers, names, rows.x)[-1], "float64")

        def loss(layers=layers, names=names):
            outputs = reference.chain_values(layers, names, rows.x)[-1]
            losses = [reference.output_loss("softmax", z, k) for z, k in zip(outputs, rows.y, strict=True)]
            return np.mean(rows.weight * losses)

        for layer, gradient in zip(layers, found, strict=True):
            for parameter, slope in zip(layer, gradient, strict=True):
                assert np.abs(slope - reference.slopes_of(loss, parameter)).max() < FD


def test_similarity_alone_lets_no_prediction_error_below(rng):
    rows = rows_of(rng)
    ex = chain(rng, SideLoss(SIDE, 0.0, 1.0))
    _, found = gradients(ex, rows)
    for k in (2, 3):
        segment(ex._model.theta, ex.sizes, k)[:] += rng.standard_normal()
    _, other = gradients(ex, rows)
    for k in (0, 1):
        np.testing.assert_array_equal(found[k][0], other[k][0])
    assert np.any(found[2][0] != other[2][0]) and np.any(found[3][0])


@pytest.mark.parametrize(
    ("name", "expected"), [("pred", None), ("sim", (0.0, 1.0, 0.0)), ("predsim", (0.01, 0.99, 0.0))]
)
def test_the_local_losses_are_those_of_the_paper(name, expected):
    """Nokland and Eidnes 2019: .01 of the prediction error and .99 of similarity matching; the last has neither."""
    stack = DenseStack((5, 6, 6, 3), "relu", [(0, 1), (1, 2)], LocalRule(name), Recipe(), np.random.default_rng(0))
    sides = [stack._chain(k).side for k in (0, 1)]
    assert sides[1] is None
    assert (None if sides[0] is None else (sides[0].share, sides[0].similarity, sides[0].pull)) == expected


def test_the_pull_needs_equal_widths_and_a_layer_above():
    rule, recipe = LocalRule(interlayer="transport"), Recipe()
    stack = DenseStack((6, 6, 5, 5, 3), "relu", [(0, 1), (1, 2), (2, 3)], rule, recipe, np.random.default_rng(0))
    sides = [stack._chain(k).side for k in range(3)]
    assert sides[0] == SideLoss(1, 1.0, 0.0, 0.1) and sides[1:] == [None, None]


def test_the_projection_learns_and_is_part_of_a_snapshot(rng):
    rows = rows_of(rng, 8)
    sgd = Optimizer("sgd", momentum=0.0, nesterov=False)
    ex = chain(rng, SideLoss(SIDE, 0.01, 0.99), optimizer=sgd)
    gradients(ex, rows)
    before, slope = ex._side.projection.theta.copy(), ex._side.projection.grad.copy()
    state = ex.snapshot()
    placed = ex.place(rows)
    ex.epoch(placed, np.arange(8), [0.1])
    assert_close(ex._side.projection.theta, before - 0.1 * slope, "float64")
    assert np.any(slope) and not ex._side.projection.theta[-SIZES[SIDE] :].any()  # its bias stays 0
    first = ex.layers()
    ex.restore(state)
    np.testing.assert_array_equal(ex._side.projection.theta, before)
    ex.epoch(placed, np.arange(8), [0.1])
    for (w, _), (v, _) in zip(ex.layers(), first, strict=True):
        np.testing.assert_array_equal(w, v)


def test_batch_features_are_those_before_the_step(rng):
    rows = rows_of(rng, 10)
    ex = chain(rng, None)
    layers = ex.layers()
    ex.epoch(ex.place(rows), np.arange(10), [0.1])
    assert_close(ex.batch_features(), reference.chain_values(layers, ACTIVATIONS, rows.x)[SIDE], "float64")
    ex.epoch(ex.place(rows), np.arange(10), [0.1, 0.0, 0.1])  # 3, 3 and 4 rows; the last batch is left
    assert ex.batch_features().shape == (4, SIZES[SIDE])
