"""Constructions: each equals its textbook form, on every backend, and says how wide it is."""

import numpy as np
import pytest

from sklearn_analytic.backend import get_backend
from sklearn_analytic.features import (
    CONSTRUCTIONS,
    GatedLayer,
    ResidualLayer,
    binning_layer,
    cauchy_layer,
    forward_code,
    forward_layer,
    gated_layer,
    hyperplane_layer,
    inverse_layer,
    inverse_layers,
    laplace_layer,
    random_layer,
    residual_layer,
    sampled_layer,
    sandwiched_least_squares,
    target_classes,
)
from sklearn_analytic.features._hyperplane import _gaussians
from sklearn_analytic.features._inverse import _MARGIN, INVERSES
from sklearn_analytic.linalg import NormalEquations
from tests import reference
from tests.checks import assert_close

CPU = get_backend("cpu")
CASES = [(name, activation) for name in CONSTRUCTIONS for activation in ("tanh", "relu", "cos")]


@pytest.fixture
def problem(rng):
    X = rng.standard_normal((200, 3))
    return X, np.eye(3)[np.digitize(X[:, 0] * X[:, 1], [-0.5, 0.5])]


# ---- laws of every construction ----


@pytest.mark.parametrize(("name", "activation"), CASES)
def test_constructions_agree_across_backends(name, activation, problem, backend, dtype):
    X, Y = problem
    layer = CONSTRUCTIONS[name](X, Y, 24, activation, np.random.default_rng(0))
    seen = X[:50].astype(dtype)
    expected = layer.apply(seen.astype(np.float64), CPU)
    found = backend.to_numpy(layer.apply(backend.asarray(seen), backend))
    assert found.shape == (50, layer.n_units) == expected.shape and found.dtype == dtype
    assert 0 < layer.n_units <= 24
    assert_close(found, expected, dtype, 30)  # frequencies and inverse weights magnify


@pytest.mark.parametrize(("name", "activation"), CASES)
def test_slices_of_the_output_are_outputs_of_slices(name, activation, problem, dtype):
    X, Y = problem
    layer = CONSTRUCTIONS[name](X, Y, 24, activation, np.random.default_rng(0))
    whole = layer.apply(X.astype(dtype), CPU)
    assert_close(layer.apply(X[20:23].astype(dtype), CPU), whole[20:23], dtype)
    assert layer.apply(X[:0].astype(dtype), CPU).shape == (0, layer.n_units)


@pytest.mark.parametrize(("name", "activation"), CASES)
@pytest.mark.parametrize("kind", ["one row", "equal rows", "few rows", "one column", "regression", "float32"])
def test_awkward_rows_give_finite_layers(name, activation, kind, rng):
    n, d = {"one row": (1, 2), "few rows": (3, 4), "one column": (50, 1)}.get(kind, (50, 3))
    X = np.ones((n, d)) if kind == "equal rows" else rng.standard_normal((n, d))
    Y = X[:, :1] - X[:, :1].mean() if kind == "regression" else np.eye(2)[np.arange(n) % 2]
    X = X.astype(np.float32) if kind == "float32" else X
    layer = CONSTRUCTIONS[name](X, Y, 12, activation, np.random.default_rng(0))
    output = layer.apply(X, CPU)
    assert output.shape == (n, layer.n_units) and output.dtype == X.dtype
    assert np.all(np.isfinite(output))


@pytest.mark.parametrize("name", [name for name in CONSTRUCTIONS if name not in ("sampled", "residual", "gated")])
def test_layers_that_draw_no_row_do_not_see_their_order(name, problem):
    X, Y = problem
    order = np.random.default_rng(1).permutation(len(X))
    width = {"laplace": len(X)}.get(name, 24)  # all rows are centres
    one, two = (CONSTRUCTIONS[name](X[o], Y[o], width, "tanh", np.random.default_rng(0)) for o in (slice(None), order))
    units = {"laplace": np.argsort(order)}.get(name, slice(None))
    assert_close(two.apply(X, CPU)[:, units], one.apply(X, CPU), np.float64, 1e3)


# ---- Laplace kernel ----


def test_laplace_units_are_the_kernel(problem, rng):
    X, Y = problem
    layer = laplace_layer(X, Y, 40, "tanh", rng, scales=(0.5, 2.0), weights=np.array([1.0, 0.0, 3.0]))
    assert_close(layer.inverse_width[:2] / layer.inverse_width[2:4], np.ones(2), np.float64)
    assert_close(layer.inverse_width[0], 4 * layer.inverse_width[1], np.float64)
    expected = reference.laplace_units(X, layer.centres, layer.inverse_width, layer.weights)
    assert_close(layer.apply(X, CPU), expected, np.float64)
    assert np.all(np.diag(layer.apply(X[:40].astype(np.float32), CPU)) == 1.0)  # a centre is at distance 0


def test_laplace_width_is_the_median_distance_and_repeated_rows_count_once(rng):
    X = rng.standard_normal((30, 2))
    layer = laplace_layer(np.repeat(X, 3, axis=0), None, 50, "tanh", rng)
    np.testing.assert_array_equal(layer.centres, X)
    distances = reference.l1_distances(X, X)
    assert_close(1 / layer.inverse_width, np.full(30, np.median(distances[distances > 0])), np.float64)


@pytest.mark.parametrize("build", [cauchy_layer, binning_layer])
def test_explicit_features_approximate_the_laplace_kernel(build, rng):
    X = rng.standard_normal((12, 3))
    layer = build(X, None, 20000, "tanh", rng)
    units = layer.apply(X, CPU)
    factor = {cauchy_layer: 2.0, binning_layer: 1.0}[build]  # the mean square of a cosine is 1/2
    distances = reference.l1_distances(X, X)
    kernel = np.exp(-distances / np.median(distances[distances > 0]))
    assert np.abs(factor * units @ units.T / 20000 - kernel).max() < 0.05


def test_binning_signs_equal_python_integers(rng):
    X = rng.standard_normal((20, 3))
    layer = binning_layer(X, None, 70, "tanh", rng)
    expected = reference.binning_signs(X, layer.inverse_pitch, layer.shift, layer.multipliers, layer.offset)
    np.testing.assert_array_equal(layer.apply(X, CPU), expected)
    assert np.all(np.abs(layer.apply(X * 1e300, CPU)) == 1)  # far bins are one bin, not undefined


# ---- gated ReLU ----


@pytest.mark.parametrize("gaussian", [False, True])
def test_gated_units_are_switched_rows(gaussian, problem, rng):
    X, Y = problem
    layer = gated_layer(X, Y, 21, "relu", rng, gaussian=gaussian)
    assert layer.n_units == 20 and layer.gates.shape == (3, 5)
    assert_close(layer.apply(X, CPU), reference.gated_units(X, layer.gates, layer.bias), np.float64)


def test_a_relu_network_is_a_readout_of_its_gates(problem, rng):
    X, _ = problem
    weights, bias, top = rng.standard_normal((3, 4)), rng.standard_normal(4), rng.standard_normal((4, 2))
    coef = np.vstack([np.outer(np.append(w, b), t) for w, b, t in zip(weights.T, bias, top, strict=True)])
    network = np.maximum(X @ weights + bias, 0) @ top
    assert_close(GatedLayer(weights, bias).apply(X, CPU) @ coef, network, np.float64)


# ---- residual ----


def test_sandwiched_least_squares_is_the_minimiser(rng):
    F, R, W = rng.standard_normal((30, 5)), rng.standard_normal((30, 2)), rng.standard_normal((4, 2))
    left, right = sandwiched_least_squares(F, R, W, 0.7)
    assert_close(left @ right, reference.sandwiched(F, R, W, 0.7), np.float64, 10)
    one_sided = np.hstack([W[:, :1], W[:, :1]])  # a readout of rank 1
    left, right = sandwiched_least_squares(F, R, one_sided, 0.7)
    assert right.shape == (1, 4)
    assert_close(left @ right, reference.sandwiched(F, R, one_sided, 0.7), np.float64, 10)


@pytest.mark.parametrize(("inner", "share"), [(sampled_layer, 0.8), (random_layer, 0.98)])
def test_residual_blocks_lower_the_error_of_unseen_rows(inner, share):
    rng = np.random.default_rng(0)
    X = rng.uniform(-2, 2, (1500, 2))
    Y = np.sin(3 * X[:, :1]) * np.cos(2 * X[:, 1:])
    layer = residual_layer(X[:1000], Y[:1000], 60, "tanh", np.random.default_rng(1), inner=inner)
    errors = []
    for blocks in ((), layer.blocks):
        units = ResidualLayer(layer.first, blocks).apply(X, CPU)
        coef, intercept = NormalEquations.from_rows(units[:1000], Y[:1000]).spectral().solve(1e-3)
        errors.append(np.mean((Y[1000:] - units[1000:] @ coef - intercept[None]) ** 2))
    assert len(layer.blocks) >= 1
    assert errors[1] < share * errors[0]


def test_residual_layer_stops_where_there_is_nothing_to_learn():
    rng = np.random.default_rng(0)
    X, Y = rng.standard_normal((400, 5)), rng.standard_normal((400, 1))
    assert len(residual_layer(X, Y, 40, "tanh", np.random.default_rng(0)).blocks) <= 1


# ---- forward projection, target propagation, hyperplanes ----


def test_forward_layer_is_a_ridge_on_codes(problem):
    X, Y = problem
    layer = forward_layer(X, Y, 9, "relu", np.random.default_rng(3))
    A = np.hstack([X, np.ones((len(X), 1))])
    Z = forward_code(A, None, Y.argmax(1), 3, np.arange(9), np.random.default_rng(3))
    expected = reference.forward_weights(X, Z, 10.0)
    assert_close(np.vstack([layer.weights, layer.bias]), expected, np.float64, 10)


def test_inverse_layer_is_target_propagation(problem):
    X, Y = problem
    layer = inverse_layer(X, Y, 7, "tanh", np.random.default_rng(5))
    generator = np.random.default_rng(5)
    start = random_layer(X, Y, 7, "tanh", generator)
    top = generator.standard_normal((7, 3)) / np.sqrt(7)
    coef, intercept = reference.inverse_tanh_layer(X, Y, start.weights, start.bias, top, _MARGIN)
    assert_close(layer.weights, coef, np.float64, 1e3)
    assert_close(layer.bias, intercept, np.float64, 1e3)


@pytest.mark.parametrize("name", list(INVERSES))
def test_inverses_undo_their_activation(name):
    low, high, inverse = INVERSES[name]
    t = np.linspace(low, high, 12)[1:-1]
    assert_close(reference.activate(name, inverse(t)), t, np.float64)


@pytest.mark.parametrize(("complement", "rank"), [(False, 3), (True, 8)])
def test_minimum_norm_targets_bottleneck_a_wide_layer(complement, rank, rng):
    X = rng.standard_normal((200, 8))
    Y = X @ rng.standard_normal((8, 3))
    layer = inverse_layers(X, Y, (20,), "identity", np.random.default_rng(0), complement)[0]
    assert np.linalg.matrix_rank(layer.weights, tol=1e-6) == rank


def test_deep_inverse_stack_feeds_each_layer_to_the_next(problem):
    X, Y = problem
    stack = inverse_layers(X, Y, (9, 6, 4), "tanh", np.random.default_rng(0))
    assert [layer.weights.shape for layer in stack] == [(3, 9), (9, 6), (6, 4)]


def test_hyperplanes_are_discriminants_of_gaussians(rng):
    X = np.vstack([rng.standard_normal((40, 3)), rng.standard_normal((40, 3)) + [2.0, 0.0, 1.0]])
    layer = hyperplane_layer(X, np.eye(2)[np.arange(80) // 40], 2, "relu", rng)
    labels = target_classes(np.eye(2)[np.arange(80) // 40])
    groups = [np.flatnonzero(labels == k) for k in (0, 1)]
    plane = reference.discriminants(X, groups, [(0, 1)], 1e-2)
    found = np.vstack([layer.weights, layer.bias])
    assert layer.n_units == 2
    assert_close(found, np.hstack([plane, -plane]), np.float64, 10)


def test_gaussians_partition_the_rows_within_classes(rng):
    X, labels = rng.standard_normal((100, 2)), np.arange(100) % 3
    groups, owners = _gaussians(X, labels, 12)
    assert len(groups) == 12
    np.testing.assert_array_equal(np.sort(np.concatenate(groups)), np.arange(100))
    assert all(np.all(labels[g] == owner) for g, owner in zip(groups, owners, strict=True))


def test_hyperplanes_solve_a_checkerboard(rng):
    X = rng.uniform(-1, 1, (2000, 2))
    Y = np.eye(2)[(np.floor(2 * X).sum(axis=1) % 2).astype(int)]
    layer = hyperplane_layer(X, Y, 300, "relu", rng)
    coef, intercept = NormalEquations.from_rows(layer.apply(X, CPU), Y).spectral().solve(1e-1)
    fresh = rng.uniform(-1, 1, (1000, 2))
    scores = layer.apply(fresh, CPU) @ coef + intercept
    assert np.mean(scores.argmax(1) == np.floor(2 * fresh).sum(axis=1) % 2) > 0.93


# ---- targets as classes ----


def test_target_classes(rng):
    few = np.array([[3.0], [1.0], [3.0], [2.0]])
    np.testing.assert_array_equal(target_classes(few), [2, 0, 2, 1])
    line = rng.standard_normal((500, 1)) * [1.0, -2.0, 0.0]
    np.testing.assert_array_equal(np.bincount(target_classes(line)), np.full(10, 50))
    np.testing.assert_array_equal(target_classes(np.zeros((4, 2))), np.zeros(4))
    assert target_classes(np.eye(60)).max() == 59
