"""Compiled kernels of regression trees on binned columns: histograms, best-first growth, leaves of rows.

Sums run over residuals that the caller has rounded to a grid, so they are exact and no order of rows or
threads changes a split. Kernels compile in seconds because they are plain: loops in place of array expressions,
workspaces handed in, no error with a text, and the loop over trees is Python's.
"""

import math

import numpy as np
from numba import njit

_PLAIN = {"cache": True, "nogil": True, "error_model": "numpy", "no_cfunc_wrapper": True}
_SURE = 1 - 1e-12  # far more than rounding
_INNER = _PLAIN | {"no_cpython_wrapper": True}  # called by compiled code alone


@njit(**_INNER)
def _add_rows(bins, rows, start, stop, columns, residuals, weights, out):
    """Add weight and weighted residuals of rows ``rows[start:stop]`` to every bin of some columns."""
    n_outputs, n_columns = residuals.shape[1], len(columns)
    for position in range(start, stop):
        i = rows[position]
        weight = weights[i]
        if n_outputs == 1:  # the common case, without the inner loop
            pull = weight * residuals[i, 0]
            for j in range(n_columns):
                b = bins[i, columns[j]]
                out[j, 0, b] += weight
                out[j, 1, b] += pull
        else:
            for j in range(n_columns):
                b = bins[i, columns[j]]
                out[j, 0, b] += weight
                for k in range(n_outputs):
                    out[j, k + 1, b] += weight * residuals[i, k]


@njit(**_INNER)
def _best_split(histogram, n_bins, columns, few, least, shrinkage, sums, seen, split):
    """Return the gain of the best split of a node, 0 where there is none; write its column position and last bin.

    A leaf of sums S explains S^2 over its weight. ``sums`` (2, 1 + outputs) holds those of the node, and is space for
    those of a child; ``seen`` is space for a bin number per bin. The histogram of a node of ``few`` rows is cleared.
    """
    width, base, gain = histogram.shape[1], 0.0, 0.0
    for k in range(1, width):
        base += sums[0, k] * sums[0, k]
    base /= sums[0, 0] + shrinkage
    best = 1e-9 * base
    bar = (base + best) * _SURE
    for j in range(len(columns)):
        n_seen = 0  # bins that have rows: found first, without branches that no processor foresees
        for b in range(n_bins[columns[j]]):
            seen[n_seen] = b
            n_seen += histogram[j, 0, b] != 0.0
        weight = 0.0
        for k in range(1, width):
            sums[1, k] = 0.0
        for s in range(n_seen):
            b = seen[s]
            weight += histogram[j, 0, b]
            left, right = 0.0, 0.0
            for k in range(1, width):
                sums[1, k] += histogram[j, k, b]
                rest = sums[0, k] - sums[1, k]
                left += sums[1, k] * sums[1, k]
                right += rest * rest
            if few:
                for k in range(width):
                    histogram[j, k, b] = 0.0
            light, heavy = weight + shrinkage, sums[0, 0] - weight + shrinkage
            # Most are worse for sure, which needs no division.
            if left * heavy + right * light > bar * light * heavy and weight >= least and sums[0, 0] - weight >= least:
                found = left / light + right / heavy - base
                if found > best:
                    best = gain = found
                    bar = (base + best) * _SURE
                    split[0], split[1] = j, b
    return gain


@njit(**_PLAIN)
def grow_tree(bins, n_bins, columns, residuals, weights, rows, n_rows, plan, nodes, work, gain, histograms, sums, seen):
    """Write (feature, last left bin, left child, leaf) of the nodes of one tree, grown best split first; how many.

    A node's right child follows its left one; ``feature`` is -1 and ``leaf`` the leaf's number at leaves. The first
    ``n_rows`` of ``rows[0]`` are reordered, by way of ``rows[1]``. ``work`` (nodes, 5) is space for the split of every
    node, where its rows begin and end, and which histogram it has. Where both children have no more rows than there
    are bins, they make them in the first one, which is zero before and after: only bins that have rows are visited.
    """
    most_leaves, least, shrinkage, most_few, width = int(plan[0]), plan[1], plan[2], len(seen), sums.shape[1]
    nodes[0, 0], work[0, 2], work[0, 3] = -1, 0, n_rows
    n_nodes, n_leaves, n_histograms, small, large = 1, 1, 1, 0, 0
    while True:
        few = work[large, 3] - work[large, 2] <= most_few
        work[small, 4] = n_histograms
        for turn in range(min(n_leaves, 2)):
            c = large if turn else small
            for k in range(width):
                sums[0, k] = 0.0
            for position in range(work[c, 2], work[c, 3]):
                i = rows[0, position]
                sums[0, 0] += weights[i]
                for k in range(1, width):
                    sums[0, k] += weights[i] * residuals[i, k - 1]
            gain[c] = 0.0
            light = sums[0, 0] < 2 * least  # both halves of it are not heavy enough
            if light and (few or turn):
                continue
            own, other = histograms[0 if few else work[c, 4]], histograms[work[small, 4]]
            if not few:
                for j in range(len(columns)):
                    for k in range(width):  # the parent's histogram becomes the large child's
                        for b in range(n_bins[columns[j]]):
                            own[j, k, b] = own[j, k, b] - other[j, k, b] if turn else 0.0
            if few or not turn:
                _add_rows(bins, rows[0], work[c, 2], work[c, 3], columns, residuals, weights, own)
            if not light:
                gain[c] = _best_split(own, n_bins, columns, few, least, shrinkage, sums, seen, work[c])
        n_histograms += not few
        a = 0
        for c in range(1, n_nodes):
            if gain[c] > gain[a]:
                a = c
        if gain[a] <= 0.0 or n_leaves == most_leaves:
            break
        gain[a] = 0.0
        n_leaves += 1
        feature, cut, start, stop = columns[work[a, 0]], work[a, 1], work[a, 2], work[a, 3]
        nodes[0, a], nodes[1, a], nodes[2, a] = feature, cut, n_nodes
        middle, right = start, 0
        for position in range(start, stop):
            i = rows[0, position]
            if bins[i, feature] <= cut:
                rows[0, middle] = i
                middle += 1
            else:
                rows[1, right] = i
                right += 1
        for k in range(right):
            rows[0, middle + k] = rows[1, k]
        small = n_nodes if 2 * middle <= start + stop else n_nodes + 1
        large = 2 * n_nodes + 1 - small
        work[n_nodes, 2], work[n_nodes, 3], work[n_nodes + 1, 2], work[n_nodes + 1, 3] = start, middle, middle, stop
        work[large, 4] = work[a, 4]
        nodes[0, n_nodes], nodes[0, n_nodes + 1] = -1, -1
        n_nodes += 2
    leaf = 0
    for a in range(n_nodes):
        nodes[3, a] = -1
        if nodes[0, a] < 0:
            nodes[1, a], nodes[2, a], nodes[3, a] = 0, 0, leaf
            leaf += 1
    return n_nodes


@njit(**_PLAIN)
def take_step(bins, nodes, plan, weights, residuals, leaves, sums, values):
    """Take from every row's residuals the step of its leaf as it would be without the row, or without one copy of it.

    Writes the leaf of every row, weight and weighted residuals of every leaf (``sums``), and the steps of the leaves.
    """
    shrinkage, step, copy = plan[2], plan[3], plan[4]
    n_outputs = residuals.shape[1]
    for leaf in range(sums.shape[0]):
        for c in range(n_outputs + 1):
            sums[leaf, c] = 0.0
    for i in range(bins.shape[0]):
        a = 0
        while nodes[0, a] >= 0:
            a = nodes[2, a] + (1 if bins[i, nodes[0, a]] > nodes[1, a] else 0)
        leaf = nodes[3, a]
        leaves[i] = leaf
        sums[leaf, 0] += weights[i]
        for c in range(n_outputs):
            sums[leaf, c + 1] += weights[i] * residuals[i, c]
    for i in range(bins.shape[0]):
        leaf, own = leaves[i], min(weights[i], copy)
        factor = step / (sums[leaf, 0] - own + shrinkage)
        for c in range(n_outputs):
            residuals[i, c] -= factor * (sums[leaf, c + 1] - own * residuals[i, c])
    for leaf in range(sums.shape[0]):
        for c in range(n_outputs):
            values[leaf, c] = step * sums[leaf, c + 1] / (sums[leaf, 0] + shrinkage)


@njit(**_PLAIN)
def row_leaves(x, roots, feature, threshold, child, leaf, out):
    """Leaf (n, T) of every raw row in every tree of a forest whose nodes lie end to end."""
    for i in range(x.shape[0]):
        for t in range(len(roots)):
            a = roots[t]
            while feature[a] >= 0:
                a = child[a] + (1 if x[i, feature[a]] > threshold[a] else 0)
            out[i, t] = leaf[a]


@njit(**_PLAIN)
def add_leaf_values(leaves, values, out):
    """``out[i] += sum_t values[leaves[i, t]]``: the sparse product of leaf indicators with their values."""
    for i in range(leaves.shape[0]):
        for t in range(leaves.shape[1]):
            leaf = leaves[i, t]
            for c in range(out.shape[1]):
                out[i, c] += values[leaf, c]


def aim(residuals, direction, grid_share, out):
    """Write the residuals that one tree looks at: projected, and rounded to a power of two times ``grid_share``.

    Sums on that grid are exact in any order. The sum over outputs is taken in their order.
    """
    np.multiply(residuals[:, :1], direction[0], out)
    for c in range(1, len(direction)):
        out += residuals[:, c : c + 1] * direction[c]
    largest = max(out.max(), -out.min())
    grid = grid_share * 2.0 ** math.ceil(math.log2(largest)) if largest > 0.0 else 1.0
    out /= grid
    np.rint(out, out)
    out *= grid


def boost(bins, n_bins, residuals, weights, draws, columns, bounds, directions, grid_share, plan):
    """Grow trees in turn, each on what is left, and take its leave-one-out step off the residuals.

    Tree t looks at ``columns[bounds[t]:bounds[t + 1]]``, at the rows that ``draws`` yields for it and at residuals
    projected on ``directions[t]``; ``plan`` is (most leaves, least weight, shrinkage, step, weight of a copy).
    Returns (feature, cut, child, leaf) of all nodes end to end, the number of nodes and of leaves per tree, and the
    steps of the leaves.
    """
    most_leaves, n_trees, (n, n_outputs) = int(plan[0]), len(directions), residuals.shape
    most_nodes, width = 2 * most_leaves - 1, 1 + directions.shape[2]
    nodes = np.empty((n_trees, 4, most_nodes), np.int64)
    values = np.empty((n_trees, most_leaves, n_outputs))
    n_nodes = np.empty(n_trees, np.int64)
    rows, leaves, aims = np.empty((2, n), np.int64), np.empty(n, np.int64), np.empty((n, width - 1))
    histograms = np.empty((most_leaves + 1, np.max(np.diff(bounds)), width, np.max(n_bins)))
    work, gain = np.empty((most_nodes, 5), np.int64), np.empty(most_nodes)
    histograms[0] = 0.0
    node_sums, seen = np.empty((2, width)), np.empty(np.max(n_bins), np.int64)
    sums = np.empty((most_leaves, 1 + n_outputs))
    for t, drawn in enumerate(draws):
        rows[0, : len(drawn)] = drawn
        aim(residuals, directions[t], grid_share, aims)
        own = columns[bounds[t] : bounds[t + 1]]
        n_nodes[t] = grow_tree(
            bins, n_bins, own, aims, weights, rows, len(drawn), plan, nodes[t], work, gain, histograms, node_sums, seen
        )
        n_leaves = (n_nodes[t] + 1) // 2
        take_step(bins, nodes[t], plan, weights, residuals, leaves, sums[:n_leaves], values[t])
    sizes = np.column_stack([n_nodes, (n_nodes + 1) // 2])
    grown, reached = (
        np.arange(most)[None] < size[:, None] for most, size in zip((most_nodes, most_leaves), sizes.T, strict=True)
    )
    return nodes.transpose(1, 0, 2)[:, grown], sizes, values[reached]
