"""Trees: splits against a naive search, exact sums, leave-one-out steps, members that are blind to a fold."""

import numpy as np
import pytest

from sklearn_analytic.backend import get_backend, trees
from sklearn_analytic.features import (
    Forest,
    GrowthPlan,
    LeafLayer,
    bin_columns,
    fit_leaf_scores,
    grow_forest,
    hash_keys,
    leaf_layer,
    row_keys,
)
from tests import reference
from tests.checks import assert_close


def hashes_of(X, rng):
    return hash_keys(row_keys(X, rng.standard_normal(X.shape[1])))


def grown(X, R, weights=None, n_leaves=8, least=2.0, most_few=0):
    """The leaf of every row in one tree on all rows and columns; nodes of few rows have no histogram of their own."""
    table, n, most_nodes = bin_columns(X), len(X), 2 * n_leaves - 1
    weights = np.ones(n) if weights is None else weights
    plan, rows = np.array([n_leaves, least, 1.0, 0.2, 1.0]), np.tile(np.arange(n), (2, 1))
    nodes, work, gain = np.empty((4, most_nodes), int), np.empty((most_nodes, 5), int), np.empty(most_nodes)
    width = 1 + R.shape[1]
    histograms = np.full((n_leaves + 1, X.shape[1], width, table.n_bins.max()), np.nan)
    histograms[0] = 0.0
    few, seen = np.empty((2, width)), np.empty(max(most_few, table.n_bins.max()), int)
    data = (table.bins, table.n_bins, np.arange(X.shape[1]), R, weights)
    n_nodes = trees.grow_tree(*data, rows, n, plan, nodes, work, gain, histograms, few, seen)
    assert not histograms[0].any()
    leaves, size = np.empty(n, int), (n_nodes + 1) // 2
    space = np.empty((size, width)), np.empty((size, R.shape[1]))
    trees.take_step(table.bins, nodes, plan, weights, R.copy(), leaves, *space)
    return leaves


@pytest.mark.parametrize("most_few", [0, 20, 100])
@pytest.mark.parametrize("n_outputs", [1, 3])
def test_tree_equals_the_naive_one(rng, n_outputs, most_few):
    X = rng.integers(0, 6, (60, 3)).astype(float)
    R = np.round(rng.standard_normal((60, n_outputs)) * 1024) / 1024  # sums are exact, so ties are ties
    weights = rng.integers(0, 3, 60).astype(float)
    leaves = grown(X, R, weights, most_few=most_few)
    expected = reference.best_first_leaves(X, R, weights, 8, 2.0, 1.0)
    # The same partition of the rows, whatever the numbers of the leaves.
    assert len(set(zip(leaves.tolist(), expected.tolist(), strict=True))) == len(np.unique(expected))
    assert len(np.unique(leaves)) == len(np.unique(expected)) > 3


def test_weights_are_repetition_and_order_does_not_matter(rng):
    X, Y = rng.standard_normal((80, 4)), rng.standard_normal((80, 2))
    weights = rng.integers(0, 4, 80)
    order = rng.permutation(weights.sum())
    Xr, Yr = (part[order] for part in reference.repeated(X, Y, weights))
    one = fit_leaf_scores(X, Y, weights.astype(float), np.random.default_rng(1))
    two = fit_leaf_scores(Xr, Yr, np.ones(len(Xr)), np.random.default_rng(1))
    np.testing.assert_array_equal(one.forest.feature, two.forest.feature)
    np.testing.assert_array_equal(one.forest.threshold, two.forest.threshold)
    assert_close(one.scores(X), two.scores(X), np.float64, size=1.0)


@pytest.mark.parametrize("copy", [1.0, np.inf])
def test_leave_one_out_step_is_that_of_the_other_rows(rng, copy):
    R, weights = rng.standard_normal((30, 2)), rng.integers(1, 4, 30).astype(float)
    leaves = rng.integers(0, 3, 30)
    nodes = np.array([[0, -1, 0, -1, -1], [0, 0, 1, 0, 0], [1, 0, 3, 0, 0], [-1, 0, -1, 1, 2]])  # bin k is leaf k
    plan, after, found = np.array([3, 1.0, 1.0, 0.2, copy]), R.copy(), np.empty(30, int)
    sums, values = np.empty((3, 3)), np.empty((3, 2))
    trees.take_step(leaves[:, None].astype(np.uint8), nodes, plan, weights, after, found, sums, values)
    np.testing.assert_array_equal(found, leaves)
    assert_close(after, reference.leave_one_out_step(leaves, R, weights, 0.2, 1.0, copy), np.float64, size=1.0)
    whole = reference.repeated(R, leaves[:, None], weights.astype(int))
    expected = [0.2 * whole[0][whole[1][:, 0] == k].sum(axis=0) / (weights[leaves == k].sum() + 1) for k in range(3)]
    assert_close(values, np.array(expected), np.float64, size=1.0)


def test_forest_follows_raw_rows_as_it_did_bins(rng):
    X, Y = rng.standard_normal((300, 5)), rng.standard_normal((300, 1))
    hashes = hashes_of(X, rng)
    forest, values = grow_forest(bin_columns(X), Y, np.ones(300), hashes, GrowthPlan(5, 16), rng)
    leaves = forest.leaves_of(X)
    assert leaves.shape == (300, 5)
    assert forest.n_leaves == len(values) == leaves.max() + 1
    for row in (0, 299):
        expected = [reference.walk(forest, root, X[row]) for root in forest.roots]
        np.testing.assert_array_equal(leaves[row], expected)


def test_a_member_has_not_seen_the_rows_that_it_scores(rng):
    X, Y = rng.standard_normal((400, 3)), rng.integers(-99, 99, (400, 1)) / 64  # sums are exact
    scores = fit_leaf_scores(X, Y, np.ones(400), np.random.default_rng(3))
    folds = folds_of(scores, X)
    assert np.all(np.bincount(folds, minlength=4) > 50)
    held = np.flatnonzero(folds == 2)
    changed = Y.copy()
    changed[held] = Y[np.roll(held, 1)]  # the same mean, other targets in fold 2
    again = fit_leaf_scores(X, changed, np.ones(400), np.random.default_rng(3))
    for member, (one, two) in enumerate(zip(members(scores), members(again), strict=True)):
        assert np.array_equal(one, two) == (member == 2)
    noise = scores.held_out(X)
    assert abs(np.corrcoef(noise.ravel(), Y.ravel())[0, 1]) < 0.2  # nothing to learn, and nothing remembered
    assert np.corrcoef(scores.scores(X).ravel(), Y.ravel())[0, 1] > 0.5


def members(scores):
    """Leaf values of every member."""
    leaves = scores.forest.leaves_of(np.zeros((1, 3)))
    assert leaves.shape[1] % 4 == 0
    firsts = [scores.forest.leaf[root:][scores.forest.leaf[root:] >= 0][0] for root in scores.forest.roots]
    return np.split(scores.values, firsts[:: len(firsts) // 4][1:])


def folds_of(scores, X):
    """The member that scores a row which is held out."""
    alone = np.array([scores.held_out(X, np.full(len(X), member)) for member in range(4)])
    return np.argmin(np.abs(alone - scores.held_out(X)).sum(axis=2), axis=0)


def test_equal_rows_share_a_fold(rng):
    X = np.repeat(rng.standard_normal((20, 3)), 3, axis=0)
    scores = fit_leaf_scores(X, rng.standard_normal((60, 1)), np.ones(60), np.random.default_rng(0))
    held = scores.held_out(X).reshape(20, 3)
    assert np.all(held == held[:, :1])


def test_copies_in_folds_of_their_own_are_hidden_from_its_member(rng):
    X, Y = np.repeat(rng.integers(0, 2, (2, 3)), 100, axis=0).astype(float), rng.integers(-99, 99, (200, 1)) / 64
    folds = np.arange(200) % 4
    shares = np.eye(4)[folds]
    scores = fit_leaf_scores(X, Y, np.ones(200), np.random.default_rng(3), shares=shares)
    changed = Y.copy()
    changed[folds == 1] = Y[np.roll(np.flatnonzero(folds == 1), 1)]
    again = fit_leaf_scores(X, changed, np.ones(200), np.random.default_rng(3), shares=shares)
    for member, (one, two) in enumerate(zip(members(scores), members(again), strict=True)):
        assert np.array_equal(one, two) == (member == 1)
    np.testing.assert_array_equal(scores.held_out(X, np.full(200, -1)), scores.scores(X))


def test_leaf_layer_marks_one_leaf_per_tree(rng, backend):
    X, Y = rng.standard_normal((200, 4)).astype(np.float32), rng.standard_normal((200, 2))
    layer = leaf_layer(X, Y, 96, "tanh", np.random.default_rng(0))
    ones = backend.to_numpy(layer.apply(backend.asarray(X), backend))
    assert ones.shape == (200, layer.n_units)
    assert ones.dtype == np.float32
    assert np.all(ones.sum(axis=1) == len(layer.forest.roots)) and set(np.unique(ones)) == {0.0, 1.0}


def test_bins_are_counts_of_edges_below(rng):
    X = np.column_stack([rng.integers(0, 3, 2000), rng.standard_normal(2000), np.ones(2000)])
    table = bin_columns(X)
    assert [len(edges) for edges in table.edges] == [2, 127, 0]
    for j, edges in enumerate(table.edges):
        np.testing.assert_array_equal(table.bins[:, j], (X[:, j, None] > edges).sum(axis=1))
    assert np.bincount(table.bins[:, 1]).max() <= 17  # equal shares: 2000 / 128


def test_constant_targets_grow_single_leaves(rng):
    X = rng.standard_normal((50, 2))
    forest, values = grow_forest(bin_columns(X), np.zeros((50, 1)), np.ones(50), hashes_of(X, rng), GrowthPlan(3), rng)
    assert forest.n_leaves == 3
    assert np.all(values == 0)


def test_layer_of_a_stump():
    stump = Forest(
        np.array([0]), np.array([0, -1, -1]), np.array([0.5, 0, 0]), np.array([1, 0, 0]), np.array([-1, 0, 1])
    )
    assert LeafLayer(stump).apply(np.array([[0.5], [0.6]]), get_backend("cpu")).tolist() == [[1, 0], [0, 1]]
