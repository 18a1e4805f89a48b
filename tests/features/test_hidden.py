"""Hidden layers: what each unit should be, and draws that do not see the order of rows."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sklearn_analytic.features import (
    HIDDEN,
    RadialLayer,
    apply_layers,
    draw_rows,
    random_layer,
    rbf_layer,
    row_keys,
    sampled_layer,
)
from tests import reference
from tests.checks import assert_close


@given(seed=st.integers(0, 500), n=st.integers(1, 30), draws=st.integers(1, 40))
def test_draws_do_not_see_order_and_take_weights_as_repetitions(seed, n, draws):
    rng = np.random.default_rng(seed)
    X, weight = rng.standard_normal((n, 3)), rng.integers(0, 4, n)
    weight[0] += 1
    direction = rng.standard_normal(3)
    order = rng.permutation(n)
    repeated, _ = reference.repeated(X, X, weight)
    forms = [(X, weight), (X[order], weight[order]), (repeated, None)]
    drawn = [rows[draw_rows(row_keys(rows, direction), w, draws, np.random.default_rng(seed))] for rows, w in forms]
    np.testing.assert_array_equal(drawn[0], drawn[1])
    np.testing.assert_array_equal(drawn[0], drawn[2])


def test_rows_of_weight_zero_are_never_drawn(rng):
    weight = np.array([0.0, 1.0, 0.0, 2.0, 0.0])
    drawn = draw_rows(np.arange(5.0), weight, 1000, rng)
    assert set(drawn) == {1, 3}
    assert abs(np.mean(drawn == 3) - 2 / 3) < 0.01


@pytest.mark.parametrize("name", list(HIDDEN))
def test_layers_agree_across_backends(name, backend, dtype, rng):
    X = rng.standard_normal((50, 4))
    layer = HIDDEN[name](X, X[:, :2], 9, "tanh", np.random.default_rng(0))
    expected = layer.apply(X, type(backend) is not None and _cpu())
    result = backend.to_numpy(layer.apply(backend.asarray(X.astype(dtype)), backend))
    assert result.shape == (50, 9) and result.dtype == dtype
    assert_close(result, expected, dtype, 10)


def _cpu():
    from sklearn_analytic.backend import get_backend

    return get_backend("cpu")


def test_random_layer_depends_on_the_number_of_columns_alone(rng):
    one = random_layer(rng.standard_normal((5, 3)), None, 4, "relu", np.random.default_rng(1))
    two = random_layer(rng.standard_normal((9, 3)), None, 4, "relu", np.random.default_rng(1))
    np.testing.assert_array_equal(one.weights, two.weights)
    np.testing.assert_array_equal(one.bias, two.bias)


def test_radial_layer_is_the_bump_even_far_from_the_origin(rng):
    X, centres = rng.standard_normal((20, 3)) + 1e4, rng.standard_normal((5, 3)) + 1e4
    expected = np.exp(-0.7 * np.sum((X[:, None] - centres) ** 2, axis=2))
    assert_close(RadialLayer(centres, 0.7).apply(X, _cpu()), expected, np.float64, 1e2)


def test_rbf_width_is_the_median_distance(rng):
    X = rng.standard_normal((30, 2))
    layer = rbf_layer(X, None, 30, "tanh", rng)
    distances = np.linalg.norm(X[:, None] - X, axis=2)
    assert_close(layer.gamma, 1 / np.median(distances[distances > 0] ** 2), np.float64)


def test_sampled_units_cross_zero_midway_between_rows_of_different_targets(rng):
    X = np.array([[0.0, 0.0], [2.0, 0.0], [0.0, 0.1]])
    targets = np.array([[0.0], [1.0], [0.0]])
    layer = sampled_layer(X, targets, 50, "tanh", rng)
    outputs = np.tanh(X @ layer.weights + layer.bias)
    pairs = np.sort(np.abs(outputs), axis=0)
    # Every unit is +-1/2 at two rows; rows 0 and 2 share their target and are never a pair.
    assert_close(np.abs(outputs[1]), np.full(50, 0.5), np.float64)
    assert np.all(np.isclose(pairs, 0.5).sum(axis=0) >= 2)


def _few_valued(name, rng, n=300):
    """Rows of few-valued columns, and a label that no sum over single columns tells."""
    bits = rng.integers(0, 2, (n, 5)).astype(float)
    codes = rng.integers(0, 3, (n, 3))
    numeric = np.column_stack([bits[:, :3], 0.1 * rng.standard_normal(n)])
    return {
        "xor": (bits[:, :2], bits[:, :2].sum(axis=1) % 2),
        "xor beside other bits": (bits, bits[:, :2].sum(axis=1) % 2),
        "xor beside numbers": (numeric, bits[:, :2].sum(axis=1) % 2),
        "parity of 3 bits": (bits, bits[:, :3].sum(axis=1) % 2),
        "parity of 4 bits": (bits[:, :4], bits[:, :4].sum(axis=1) % 2),
        "integer codes": (codes.astype(float), codes[:, :2].sum(axis=1) % 2),
        "one-hot factors": (np.eye(3)[codes].reshape(n, 9), codes[:, :2].sum(axis=1) % 2),
        "units apart": (bits[:, :2] * [1e-3, 1e3], bits[:, :2].sum(axis=1) % 2),
    }[name]


FEW_VALUED = (
    "xor",
    "xor beside other bits",
    "xor beside numbers",
    "parity of 3 bits",
    "parity of 4 bits",
    "integer codes",
    "one-hot factors",
    "units apart",
)


@pytest.mark.parametrize("activation", ["tanh", "relu"])
@pytest.mark.parametrize("name", FEW_VALUED)
def test_sampled_units_of_few_valued_columns_are_no_sum_of_columns(name, activation, rng):
    X, label = _few_valued(name, rng)
    layer = sampled_layer(X, label[:, None], 150, activation, rng)
    H = np.column_stack([layer.apply(X, _cpu()), np.ones(len(X))])
    fitted = H @ np.linalg.lstsq(H, label, rcond=1e-8)[0]
    assert np.mean((fitted > 0.5) == label) > 0.99


@pytest.mark.parametrize("name", FEW_VALUED)
def test_sampled_units_are_one_half_at_two_rows_of_different_labels(name, rng):
    X, label = _few_valued(name, rng)
    layer = sampled_layer(X, label[:, None], 50, "tanh", rng)
    outputs = np.tanh(X @ layer.weights + layer.bias)
    at_half = [label[np.abs(np.abs(column) - 0.5) < 1e-8] for column in outputs.T]
    assert all(set(found) == {0, 1} for found in at_half)


def test_numeric_columns_have_pairs_alone(rng):
    X = rng.standard_normal((40, 3))
    layer = sampled_layer(X, X[:, :1], 30, "tanh", rng)
    steps = (X[:, None] - X).reshape(-1, 3)
    norms = np.maximum(np.linalg.norm(steps, axis=1), 1e-300)
    cosines = steps @ (layer.weights / np.linalg.norm(layer.weights, axis=0)) / norms[:, None]
    assert_close(cosines.max(axis=0), np.ones(30), np.float64)


@pytest.mark.parametrize("name", list(HIDDEN))
def test_equal_rows_give_finite_layers(name, rng):
    X = np.ones((3, 2))
    layer = HIDDEN[name](X, np.zeros((3, 1)), 4, "tanh", rng)
    assert np.all(np.isfinite(apply_layers((layer,), X, _cpu())))


def test_sampled_units_do_not_lean_on_rounding():
    rows = np.zeros((40, 2))
    rows[:, 0] = np.arange(40)
    rows[:, 1] = 1e-17 * (np.arange(40) % 5 == 0)  # 0 but for what an encoding leaves
    layer = sampled_layer(rows, rows[:, :1], 30, "tanh", np.random.default_rng(0))
    assert np.abs(layer.weights).max() < 10
