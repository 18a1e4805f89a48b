"""Label encodings and the projections built from them."""

import numpy as np
import pytest

from sklearn_analytic.backend import get_backend
from sklearn_analytic.features import (
    CODES,
    class_code,
    forward_code,
    hash_keys,
    mask_code,
    projected_layer,
    row_keys,
    subclass_code,
    subclass_layer,
)
from tests import reference
from tests.checks import assert_close


@pytest.fixture
def rows(rng):
    return rng.standard_normal((60, 5)), rng.integers(0, 3, 60)


def code(name, A, labels, n_units=40, seed=0):
    keys = row_keys(A, np.linspace(1, 2, A.shape[1]))
    return CODES[name](A, keys, labels, 3, np.arange(n_units), np.random.default_rng(seed))


@pytest.mark.parametrize("name", list(CODES))
def test_codes_follow_the_rows_not_their_order(name, rows, rng):
    A, labels = rows
    order = np.concatenate([np.arange(40), 40 + rng.permutation(20)])  # the seeds of sub-classes stay
    np.testing.assert_array_equal(code(name, A, labels)[order], code(name, A[order], labels[order]))


def test_rank_of_the_projection_is_that_of_the_code(rows):
    """The published code collapses A to as many directions as classes; the others do not."""
    A, labels = rows
    ranks = {
        name: np.linalg.matrix_rank(A.T @ (T := code(name, A, labels)) - A.T @ np.ones_like(T) * T.mean(0))
        for name in CODES
    }
    assert ranks == {"subclass": 5, "class": 2, "mask": 5, "forward": 5}


def test_class_code_is_a_function_of_the_class(rows):
    T = class_code(None, None, rows[1], 3, np.arange(7), np.random.default_rng(0))
    assert len(np.unique(T, axis=0)) == 3


def test_mask_code_is_the_class_code_with_fair_signs(rng):
    labels = rng.integers(0, 3, 4000)
    keys = rng.standard_normal(4000)
    plain = class_code(None, keys, labels, 3, np.arange(9), np.random.default_rng(1))
    masked = mask_code(None, keys, labels, 3, np.arange(9), np.random.default_rng(1))
    np.testing.assert_array_equal(np.abs(masked), np.abs(plain))
    signs = np.sign(masked * plain)
    assert np.all(np.abs(signs.mean(axis=0)) < 0.08)  # 5 standard deviations
    assert np.abs(np.corrcoef(signs.T) - np.eye(9)).max() < 0.08


def test_forward_code_adds_two_signs(rows):
    A, labels = rows
    T = forward_code(A, None, labels, 3, np.arange(50), np.random.default_rng(0))
    assert set(np.unique(T)) == {-2.0, 0.0, 2.0}


def test_hashes_are_uniform_and_equal_for_equal_keys(rng):
    keys = np.arange(20_000.0)
    hashes = hash_keys(keys)
    assert len(np.unique(hashes)) == len(keys)
    assert hash_keys(np.array([-0.0]))[0] == hash_keys(np.array([0.0]))[0]
    counts = np.bincount((hashes >> np.uint64(60)).astype(int), minlength=16)
    assert np.all(np.abs(counts - 1250) < 5 * np.sqrt(1250))


def test_subclass_code_is_the_nearest_seed_of_the_class(rows):
    A, labels = rows
    seeds, seed_labels = A[:9], labels[:9]
    expected = []
    for row, label in zip(A, labels, strict=True):
        distance = np.sum((seeds - row) ** 2, axis=1)
        distance[seed_labels != label] = np.inf
        expected.append(np.argmin(distance) if np.isfinite(distance).any() else -1)
    np.testing.assert_array_equal(subclass_code(A, labels, seeds, seed_labels), expected)


def test_subclass_layer_centres_are_weighted_means(rows, rng):
    A, labels = rows
    weight = rng.integers(0, 3, 60)
    layer = subclass_layer(A, labels, weight.astype(float), A[:6], labels[:6], [1.0, 2.0])
    Ar, lr = reference.repeated(A, labels, weight)
    repeated = subclass_layer(Ar, lr, np.ones(len(Ar)), A[:6], labels[:6], [1.0, 2.0])
    assert_close(layer.centres, repeated.centres, np.float64)
    assert_close(layer.gamma, repeated.gamma, np.float64)
    nearest = subclass_code(Ar, lr, A[:6], labels[:6])
    assert_close(layer.centres[0], Ar[nearest == 0].mean(0), np.float64)
    assert_close(layer.gamma, np.resize([1.0, 2.0], 6), np.float64)


@pytest.mark.parametrize("projection", ["correlation", "whitened", "random"])
def test_projected_units_have_unit_variance_and_a_kink_at_their_anchor(projection, rows):
    A, labels = rows
    T = code("mask", A, labels, 10)
    layer = projected_layer(A, T, np.ones(60), projection, "tanh", A[:10], np.random.default_rng(0))
    scores = A @ layer.weights + layer.bias
    assert_close(scores.std(0), np.ones(10), np.float64)
    assert_close(np.diag(scores[:10]), np.zeros(10), np.float64, size=1.0)
    if projection == "correlation":
        raw = (A - A.mean(0)).T @ (T - T.mean(0))
        cosine = np.sum(raw * layer.weights, axis=0) / np.linalg.norm(raw, axis=0)
        assert_close(cosine / np.linalg.norm(layer.weights, axis=0), np.ones(10), np.float64)


def test_dead_directions_give_silent_units():
    A = np.ones((4, 2))
    layer = projected_layer(A, np.eye(4), np.ones(4), "correlation", "relu", A, None)
    np.testing.assert_array_equal(layer.apply(A, get_backend("cpu")), 0.0)
