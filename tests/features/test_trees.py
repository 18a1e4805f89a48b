"""Trees: splits against a naive search, exact sums, leave-one-out steps, members that are blind to a fold."""

import numpy as np
import pytest
from scipy.special import softmax

from sklearn_analytic.backend import get_backend, trees
from sklearn_analytic.features import (
    BinnedColumns,
    Forest,
    Growth,
    GrowthPlan,
    LeafLayer,
    bin_columns,
    fit_leaf_scores,
    grow_forest,
    hash_keys,
    leaf_layer,
    mix_bits,
    row_keys,
)
from sklearn_analytic.features._trees import WEIGHT_GRID
from tests import reference
from tests.checks import assert_close


def hashes_of(X, rng):
    return hash_keys(row_keys(X, rng.standard_normal(X.shape[1])))


def packed(R, weights, rows=None):
    """What rows pull, as whole numbers."""
    rows = np.arange(len(R)) if rows is None else rows
    n_outputs = R.shape[1]
    pulls = np.zeros((len(R), n_outputs // 2 + 1), int)
    trees.pack_pulls(R, weights, weights, np.eye(n_outputs), rows, len(rows), WEIGHT_GRID, np.empty(R.shape), pulls)
    return pulls


def unpacked(pulls, n_outputs):
    """Weight and residuals of packed sums, in whole numbers."""
    low = (pulls << 32) >> 32
    return np.stack([low, (pulls - low) >> 32], axis=-1).reshape(len(pulls), -1)[:, : 1 + n_outputs]


def grown(table, R, weights=None, n_leaves=8, least=2.0, most_few=0):
    """The leaf of every row in one tree on all rows and columns; nodes of few rows have no histogram of their own."""
    n, most_nodes = len(R), 2 * n_leaves - 1
    weights = np.ones(n) if weights is None else weights
    pulls, rows = packed(R, weights), np.tile(np.arange(n), (2, 1))
    starts, plan = np.cumsum([0, *table.n_bins]), np.array([n_leaves, least / WEIGHT_GRID, 1 / WEIGHT_GRID, most_few])
    nodes, work, gain = np.empty((4, most_nodes), int), np.empty((most_nodes, 5), int), np.empty(most_nodes)
    lanes = pulls.shape[1]
    sums, best = np.empty((most_nodes, 3, lanes), int), np.empty(most_nodes, int)
    histograms = np.full((n_leaves + 2, starts[-1], lanes), 7)
    column = np.zeros((256, lanes), int), np.zeros(4, np.uint64), np.empty(257, int)
    data = (table.bins, starts, np.arange(len(table.edges)), pulls)
    n_nodes = trees.grow_tree(*data, rows, n, plan, nodes, work, gain, best, sums, histograms, column)
    assert not column[0].any() and not column[1].any()
    leaves = np.empty(n, int)
    trees.find_leaves(table.bins, nodes, work, n_nodes, rows, leaves)
    walked = np.empty(n, int)  # as though the tree had seen no row
    trees.find_leaves(table.bins, nodes, np.zeros_like(work), n_nodes, rows, walked)
    np.testing.assert_array_equal(leaves, walked)
    return leaves


@pytest.mark.parametrize("n_outputs", [1, 2, 3, 4])
def test_packed_sums_are_those_of_weights_and_residuals_in_any_order(rng, n_outputs):
    R, weights = rng.integers(-999, 999, (500, n_outputs)) / 64, rng.integers(0, 4, 500) / 4
    found, wanted = unpacked(packed(R, weights), n_outputs), weights[:, None] * R
    np.testing.assert_array_equal(found[:, 0], np.maximum(weights / WEIGHT_GRID, 1))
    units = np.unique(found[:, 1:][wanted != 0] / wanted[wanted != 0])
    assert len(units) == 1 and np.frexp(units)[0] == 0.5  # a power of two
    assert 2**29 <= np.abs(found[:, 1:]).sum(axis=0).max() <= 2**30
    np.testing.assert_array_equal(unpacked(packed(R, weights).sum(axis=0)[None], n_outputs)[0], found.sum(axis=0))
    order = rng.permutation(500)
    np.testing.assert_array_equal(packed(R[order], weights[order]), packed(R, weights)[order])


def test_rows_are_drawn_by_their_mixed_hashes(rng):
    hashes, counted = rng.integers(1 << 63, size=300, dtype=np.uint64), np.arange(300)[::-1].copy()
    salt, bound, out = np.uint64(12345), np.uint64(1 << 62), np.empty(300, int)
    n_drawn = trees.draw_rows(hashes, salt, bound, counted, out)
    np.testing.assert_array_equal(out[:n_drawn], counted[mix_bits(hashes ^ salt) < bound])
    assert trees.draw_rows(hashes, salt, np.uint64(0), counted, out) == 300  # all, where none is drawn
    np.testing.assert_array_equal(out, counted)


@pytest.mark.parametrize("most_few", [0, 20, 100])
@pytest.mark.parametrize("n_outputs", [1, 2, 3, 4])
def test_tree_equals_the_naive_one(rng, n_outputs, most_few):
    X = rng.integers(0, 6, (60, 3)).astype(float)
    R = np.round(rng.standard_normal((60, n_outputs)) * 1024) / 1024  # sums are exact, so ties are ties
    weights = rng.integers(0, 3, 60).astype(float)
    leaves = grown(bin_columns(X), R, weights, most_few=most_few)
    expected = reference.best_first_leaves(X, R, weights, 8, 2.0, 1.0)
    # The same partition of the rows, whatever the numbers of the leaves.
    assert len(set(zip(leaves.tolist(), expected.tolist(), strict=True))) == len(np.unique(expected))
    assert len(np.unique(leaves)) == len(np.unique(expected)) > 3


@pytest.mark.parametrize("most_few", [0, 16, 60])
def test_many_leaves_equal_the_naive_ones(rng, most_few):
    bins = rng.integers(0, 256, (150, 2)).astype(np.uint8)  # in every word of marks
    R = np.round(rng.standard_normal((150, 1)) * 1024) / 1024
    table = BinnedColumns(bins, (np.arange(255) + 0.5,) * 2)
    leaves = grown(table, R, n_leaves=60, least=1.0, most_few=most_few)  # several blocks of nodes
    expected = reference.best_first_leaves(bins.astype(float), R, np.ones(150), 60, 1.0, 1.0)
    assert len(set(zip(leaves.tolist(), expected.tolist(), strict=True))) == len(np.unique(expected)) == 60


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
    watched = rng.random(30)
    plan, after, sums, values = np.array([1.0, 0.2, copy]), R.copy(), np.empty((3, 3)), np.empty((3, 2))
    errors = trees.take_step(plan, weights, watched, after, leaves, sums, values)
    assert_close(after, reference.leave_one_out_step(leaves, R, weights, 0.2, 1.0, copy), np.float64, size=1.0)
    squares = np.sum(after**2, axis=1)
    assert_close(np.array(errors), np.array([watched @ squares, weights @ squares]), np.float64, size=30.0)
    whole = reference.repeated(R, leaves[:, None], weights.astype(int))
    expected = [0.2 * whole[0][whole[1][:, 0] == k].sum(axis=0) / (weights[leaves == k].sum() + 1) for k in range(3)]
    assert_close(values, np.array(expected), np.float64, size=1.0)


@pytest.mark.parametrize("copy", [1.0, np.inf])
@pytest.mark.parametrize("n_classes", [2, 4])
def test_softmax_step_is_the_newton_step_of_the_other_rows(rng, n_classes, copy):
    labels, weights, watched = rng.integers(0, n_classes, 40), rng.integers(1, 4, 40).astype(float), rng.random(40)
    margins, leaves = rng.standard_normal((40, n_classes)), rng.permutation(np.arange(40) % 3)
    expected, steps = reference.softmax_step(leaves, margins, labels, weights, 0.2, 3.0, copy)
    residuals = np.eye(n_classes)[labels] - softmax(margins, axis=1)
    masses, values = np.empty(40), np.empty((3, n_classes))
    state = (labels, margins, residuals, masses, leaves, np.empty((3, 2 * n_classes)), values)
    errors = trees.take_softmax_step(np.array([3.0, 0.2, copy]), weights, watched, *state)
    assert_close(margins, expected, np.float64, size=1.0)
    assert_close(values, steps, np.float64, size=1.0)
    chances = softmax(margins, axis=1)
    assert_close(residuals, np.eye(n_classes)[labels] - chances, np.float64, size=1.0)
    assert_close(masses, weights * (1 - np.sum(chances**2, axis=1)) * n_classes / (n_classes - 1), np.float64, size=1.0)
    losses = -np.log(chances[np.arange(40), labels])
    assert_close(np.array(errors), np.array([watched @ losses, weights @ losses]), np.float64, size=40.0)


def test_chances_of_classes_are_those_of_the_log_loss(rng):
    X = rng.standard_normal((600, 3))
    y = (X[:, 0] + X[:, 1] * X[:, 2] + 0.5 * rng.standard_normal(600) > 0.8).astype(int)
    Y = np.eye(2)[y]
    chances, scores = (fit_leaf_scores(X, Y, np.ones(600), np.random.default_rng(0), classes=c) for c in (True, False))
    assert chances.chances and not scores.chances
    blind = chances.held_out(X)
    assert_close(blind.sum(axis=1), np.ones(600), np.float64, size=1.0)
    assert np.all(blind > 0)
    told = -np.mean(np.log(blind[np.arange(600), y]))
    assert told < -np.mean(np.log(np.clip(scores.held_out(X), 0.01, 0.99)[np.arange(600), y]))
    folds = folds_of(chances, X)
    alone = np.array([chances.held_out(X, np.full(600, member)) for member in range(4)])
    np.testing.assert_array_equal(blind, alone[folds, np.arange(600)])
    geometric = np.exp(np.log(alone).mean(axis=0))
    assert_close(chances.scores(X), geometric / geometric.sum(axis=1, keepdims=True), np.float64, size=1.0)


def test_labels_that_are_not_one_each_are_numbers(rng):
    X, Y = rng.standard_normal((100, 2)), rng.integers(0, 2, (100, 3)).astype(float)
    assert not fit_leaf_scores(X, Y, np.ones(100), rng, classes=True).chances


def test_trees_are_the_same_in_however_many_calls(rng):
    X, Y = rng.standard_normal((200, 5)), rng.standard_normal((200, 6))
    rows = bin_columns(X), Y, (np.arange(200) % 4 > 0) * 1.0, hashes_of(X, rng), GrowthPlan(5, 16)
    whole, parts = (Growth(*rows, np.random.default_rng(1), (np.arange(200) % 4 == 0) * 1.0) for _ in range(2))
    whole.grow(9)
    for n_trees in (1, 3, 2):
        parts.grow(n_trees)
    assert len(whole) == len(parts) == 5  # as the plan says
    assert whole.errors == parts.errors
    for one, two in zip(whole.forest(), parts.forest(), strict=True):
        assert one is not two and np.array_equal(*(getattr(part, "threshold", part) for part in (one, two)))
    for n_trees in (1, 4):
        forest, values = whole.forest(n_trees)
        assert forest.leaves_of(X).shape == (200, n_trees)
        scores = np.zeros_like(Y)
        trees.add_leaf_values(forest.leaves_of(X), values, scores)
        blind = np.sum((Y - scores)[::4] ** 2)
        assert_close(np.array(whole.errors[n_trees - 1][0]), blind, np.float64, size=blind)


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
    """Leaf values of the first trees of every member, as many as all have."""
    forest, sizes, first, out = scores.forest, scores.sizes, 0, []
    starts = np.append(forest.roots, len(forest.leaf))
    for size in sizes:
        leaves = forest.leaf[starts[first] : starts[first + min(sizes)]]
        out.append(scores.values[leaves[leaves >= 0]])
        first += size
    return out


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
    X = np.repeat(np.eye(2, 3), 100, axis=0)
    Y = X[:, :1] + rng.integers(-99, 99, (200, 1)) / 64
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
