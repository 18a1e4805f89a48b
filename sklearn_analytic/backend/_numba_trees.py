"""Compiled kernels of regression trees on binned columns: histograms, best-first growth, leaves of rows.

Sums run over residuals that the caller has rounded to a grid, so they are exact and no order of rows or
threads changes a split.
"""

import numpy as np
from numba import njit


@njit(cache=True, nogil=True)
def _histogram(bins, rows, start, stop, columns, residuals, weights, out):
    """Weight and weighted residuals of rows ``rows[start:stop]`` in every bin of some columns."""
    n_outputs = residuals.shape[1]
    out[:] = 0.0
    for position in range(start, stop):
        i = rows[position]
        weight = weights[i]
        if n_outputs == 1:  # the common case, without the inner loop
            pull = weight * residuals[i, 0]
            for j in range(len(columns)):
                cell = out[j, bins[i, columns[j]]]
                cell[0] += weight
                cell[1] += pull
        else:
            for j in range(len(columns)):
                cell = out[j, bins[i, columns[j]]]
                cell[0] += weight
                for k in range(n_outputs):
                    cell[k + 1] += weight * residuals[i, k]


@njit(cache=True, nogil=True)
def _score(sums, shrinkage):
    """Squared residual sums over the weight: what a leaf of these sums explains."""
    squared = 0.0
    for k in range(1, len(sums)):
        squared += sums[k] * sums[k]
    return squared / (sums[0] + shrinkage)


@njit(cache=True, nogil=True)
def _best_split(histogram, n_bins, columns, least, shrinkage):
    """Gain, column position and last bin on the left of the best split of a node; gain 0 where there is none."""
    width = histogram.shape[2]
    total, left, right = np.zeros(width), np.empty(width), np.empty(width)
    for b in range(n_bins[columns[0]]):
        total += histogram[0, b]
    base = _score(total, shrinkage)
    best, best_column, best_bin = 1e-9 * base, -1, -1
    for j in range(len(columns)):
        left[:] = 0.0
        for b in range(n_bins[columns[j]] - 1):
            if histogram[j, b, 0] == 0.0:
                continue
            for k in range(width):
                left[k] += histogram[j, b, k]
                right[k] = total[k] - left[k]
            if right[0] < least:
                break
            if left[0] < least:
                continue
            gain = _score(left, shrinkage) + _score(right, shrinkage) - base
            if gain > best:
                best, best_column, best_bin = gain, j, b
    return (best if best_column >= 0 else 0.0), best_column, best_bin


@njit(cache=True, nogil=True)
def _partition(bins, column, last_left, rows, start, stop, spare):
    """Order ``rows[start:stop]`` so that those of the left child come first; return where the right begins."""
    middle, right = start, 0
    for position in range(start, stop):
        i = rows[position]
        if bins[i, column] <= last_left:
            rows[middle] = i
            middle += 1
        else:
            spare[right] = i
            right += 1
    rows[middle:stop] = spare[:right]
    return middle


@njit(cache=True, nogil=True)
def grow_tree(bins, n_bins, columns, residuals, weights, rows, most_leaves, least, shrinkage):
    """Return (feature, last left bin, left child, leaf) of the nodes of one tree, grown best split first.

    A node's right child follows its left one; ``feature`` is -1 and ``leaf`` the leaf's number at leaves.
    ``rows`` is reordered.
    """
    most_nodes = 2 * most_leaves - 1
    feature, child, leaf = np.full(most_nodes, -1), np.zeros(most_nodes, np.int64), np.full(most_nodes, -1)
    cut = np.zeros(most_nodes, np.int64)
    bounds, slot = np.zeros((most_nodes, 2), np.int64), np.zeros(most_nodes, np.int64)
    gain, split = np.zeros(most_nodes), np.zeros((most_nodes, 2), np.int64)
    widest = 0
    for column in columns:
        widest = max(widest, n_bins[column])
    histograms = np.empty((most_leaves, len(columns), widest, residuals.shape[1] + 1))
    spare = np.empty_like(rows)
    bounds[0, 1] = len(rows)
    _histogram(bins, rows, 0, len(rows), columns, residuals, weights, histograms[0])
    gain[0], split[0, 0], split[0, 1] = _best_split(histograms[0], n_bins, columns, least, shrinkage)
    n_nodes = 1
    for n_leaves in range(1, most_leaves):
        a = np.argmax(gain[:n_nodes])
        if gain[a] <= 0.0:
            break
        gain[a] = 0.0
        feature[a], cut[a], child[a] = columns[split[a, 0]], split[a, 1], n_nodes
        start, stop = bounds[a]
        middle = _partition(bins, feature[a], cut[a], rows, start, stop, spare)
        bounds[n_nodes], bounds[n_nodes + 1] = (start, middle), (middle, stop)
        left_is_small = 2 * middle <= start + stop
        small, large = (n_nodes, n_nodes + 1) if left_is_small else (n_nodes + 1, n_nodes)
        slot[small], slot[large] = n_leaves, slot[a]
        fresh = histograms[n_leaves]
        _histogram(bins, rows, bounds[small, 0], bounds[small, 1], columns, residuals, weights, fresh)
        histograms[slot[large]] -= fresh  # the parent's histogram becomes the large child's
        for c in (n_nodes, n_nodes + 1):
            gain[c], split[c, 0], split[c, 1] = _best_split(histograms[slot[c]], n_bins, columns, least, shrinkage)
        n_nodes += 2
    n_leaves = 0
    for a in range(n_nodes):
        if feature[a] < 0:
            leaf[a] = n_leaves
            n_leaves += 1
    return feature[:n_nodes], cut[:n_nodes], child[:n_nodes], leaf[:n_nodes]


@njit(cache=True, nogil=True)
def binned_leaves(bins, feature, cut, child, leaf, out):
    """Leaf of every binned row in one tree."""
    for i in range(bins.shape[0]):
        a = 0
        while feature[a] >= 0:
            a = child[a] + (1 if bins[i, feature[a]] > cut[a] else 0)
        out[i] = leaf[a]


@njit(cache=True, nogil=True)
def row_leaves(x, roots, feature, threshold, child, leaf, out):
    """Leaf (n, T) of every raw row in every tree of a forest whose nodes lie end to end."""
    for i in range(x.shape[0]):
        for t in range(len(roots)):
            a = roots[t]
            while feature[a] >= 0:
                a = child[a] + (1 if x[i, feature[a]] > threshold[a] else 0)
            out[i, t] = leaf[a]


@njit(cache=True, nogil=True)
def add_leaf_values(leaves, values, out):
    """``out[i] += sum_t values[leaves[i, t]]``: the sparse product of leaf indicators with their values."""
    for i in range(leaves.shape[0]):
        for t in range(leaves.shape[1]):
            out[i] += values[leaves[i, t]]


@njit(cache=True, nogil=True)
def leaf_sums(leaves, residuals, weights, out):
    """Weight and weighted residuals of every leaf of one tree: ``out`` (leaves, 1 + c)."""
    out[:] = 0.0
    for i in range(len(leaves)):
        sums, weight = out[leaves[i]], weights[i]
        sums[0] += weight
        for c in range(residuals.shape[1]):
            sums[c + 1] += weight * residuals[i, c]


@njit(cache=True, nogil=True)
def leave_one_out_step(leaves, sums, step, shrinkage, copy, weights, residuals):
    """Take from every row's residuals the step of its leaf, as it would be without the row, or one copy of it."""
    for i in range(len(leaves)):
        total = sums[leaves[i]]
        own = min(weights[i], copy)
        factor = step / (total[0] - own + shrinkage)
        for c in range(residuals.shape[1]):
            residuals[i, c] -= factor * (total[c + 1] - own * residuals[i, c])


@njit(cache=True, nogil=True)
def _mixed(bits):
    """The splitmix64 finaliser of one word, as in ``features.mix_bits``."""
    bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return bits ^ (bits >> np.uint64(31))


@njit(cache=True, nogil=True)
def _drawn(hashes, salt, below, weights, rows):
    """Write the rows of positive weight whose salted hash is below a bound, or all such rows; return how many."""
    n = 0
    for i in range(len(hashes)):
        if weights[i] > 0.0 and _mixed(hashes[i] ^ salt) < below:
            rows[n] = i
            n += 1
    if n == 0:
        for i in range(len(hashes)):
            if weights[i] > 0.0:
                rows[n] = i
                n += 1
    return n


@njit(cache=True, nogil=True)
def _aims(residuals, direction, grid_share, out):
    """Projected residuals, rounded to a grid of a power of two: sums of them are exact in any order."""
    largest = 0.0
    for i in range(residuals.shape[0]):
        for k in range(direction.shape[1]):
            total = 0.0
            for c in range(direction.shape[0]):
                total += residuals[i, c] * direction[c, k]
            out[i, k] = total
            largest = max(largest, abs(total))
    grid = grid_share * 2.0 ** np.ceil(np.log2(largest)) if largest > 0.0 else 1.0
    for i in range(residuals.shape[0]):
        for k in range(direction.shape[1]):
            out[i, k] = np.round(out[i, k] / grid) * grid


@njit(cache=True, nogil=True)
def boost(bins, n_bins, residuals, weights, hashes, columns, bounds, salts, directions, below, grid_share, plan):
    """Grow trees in turn, each on what is left, and take its leave-one-out step off the residuals.

    Tree t looks at ``columns[bounds[t]:bounds[t + 1]]``, at rows drawn by ``salts[t]`` and at residuals projected on
    ``directions[t]``; ``plan`` is (most leaves, least weight, shrinkage, step, weight of a copy).
    Returns (feature, cut, child, leaf) of
    all nodes end to end, the number of nodes and of leaves per tree, and the steps of the leaves.
    """
    most_leaves, least, shrinkage, step, copy = int(plan[0]), plan[1], plan[2], plan[3], plan[4]
    n_trees, n = len(salts), len(residuals)
    nodes = np.empty((4, n_trees * (2 * most_leaves - 1)), np.int64)
    values = np.empty((n_trees * most_leaves, residuals.shape[1]))
    sizes = np.empty((n_trees, 2), np.int64)
    rows, leaves = np.empty(n, np.int64), np.empty(n, np.int64)
    aims = np.empty((n, directions.shape[2]))
    sums = np.empty((most_leaves, 1 + residuals.shape[1]))
    node, leaf = 0, 0
    for t in range(n_trees):
        _aims(residuals, directions[t], grid_share, aims)
        drawn = rows[: _drawn(hashes, salts[t], below, weights, rows)]
        own = columns[bounds[t] : bounds[t + 1]]
        tree = grow_tree(bins, n_bins, own, aims, weights, drawn, most_leaves, least, shrinkage)
        binned_leaves(bins, tree[0], tree[1], tree[2], tree[3], leaves)
        n_leaves = tree[3].max() + 1
        leaf_sums(leaves, residuals, weights, sums[:n_leaves])
        leave_one_out_step(leaves, sums, step, shrinkage, copy, weights, residuals)
        for part in range(4):
            nodes[part, node : node + len(tree[0])] = tree[part]
        for own_leaf in range(n_leaves):
            for c in range(residuals.shape[1]):
                values[leaf + own_leaf, c] = step * sums[own_leaf, c + 1] / (sums[own_leaf, 0] + shrinkage)
        sizes[t] = len(tree[0]), n_leaves
        node, leaf = node + len(tree[0]), leaf + n_leaves
    return nodes[:, :node], sizes, values[:leaf]
