"""Compiled kernels of regression trees on binned columns: histograms, best-first growth, steps, scores of rows.

What splits look at are sums of weights and of weighted residuals, as whole numbers of 32 bits, two in one integer of
64: the weight lies in the low half of the first, residuals fill the other halves. Such sums are exact, so no order of
rows or threads changes a split, and one addition does for two. Kernels compile in seconds because they are plain:
loops in place of array expressions, workspaces handed in, no error with a text.
"""

import math

import numpy as np
from numba import njit

_PLAIN = {"cache": True, "nogil": True, "error_model": "numpy", "no_cfunc_wrapper": True}
_INNER = _PLAIN | {"no_cpython_wrapper": True}  # called by compiled code alone
_SURE = 1 - 1e-12  # far more than rounding
_WORTH = 1e-9  # share of what a leaf explains that a split has to add
_HALF = 32  # bits
_MOST_EXPONENT = 900  # of the unit of residuals
_MOST_SUM = 30  # bits of a sum of weighted residuals over all rows of a tree
_AT_ONCE = 32  # rows that walk down a tree side by side
_ROUND = 0.25  # curvature of a row whose two classes are alike
_BLOCK = 32  # nodes of which the best is known

# The number of the lowest set bit of a word: a product with this constant brings it to the upper six bits.
_TELLING = 0x03F79D71B4CB0A89
_BIT = np.zeros(64, np.uint8)
for _place in range(64):
    _BIT[((_TELLING << _place) & (2**64 - 1)) >> 58] = _place
_TELLING = np.uint64(_TELLING)
_ONE = np.uint64(1)
_UPPER = np.uint64(58)


@njit(**_INNER)
def _mixed(word):
    """A word with its bits mixed, as by ``mix_bits`` of arrays."""
    word = (word ^ (word >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    word = (word ^ (word >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return word ^ (word >> np.uint64(31))


@njit(**_PLAIN)
def pack_pulls(residuals, weights, masses, direction, rows, n_rows, mass_unit, aims, pulls):
    """Write masses and projected weighted residuals of some rows as whole numbers, whose sums are exact.

    Residuals are in a power of two such that their sums, signs apart, fill 30 bits. ``aims`` (n, k) is space for
    projections.
    """
    n_targets, n_outputs = direction.shape
    largest = 0.0
    for position in range(n_rows):
        i = rows[position]
        for k in range(n_outputs):
            value = 0.0
            for c in range(n_targets):  # in their order
                value += residuals[i, c] * direction[c, k]
            value *= weights[i]
            aims[position, k] = value
            largest = max(largest, abs(value))
    coarse = 2.0 ** min(31 - math.frexp(largest)[1], _MOST_EXPONENT) if largest > 0.0 else 1.0
    most = 1
    for k in range(n_outputs):
        total = 0
        for position in range(n_rows):
            total += int(abs(aims[position, k]) * coarse)
        most = max(most, total)
    fine = coarse * 2.0 ** (_MOST_SUM - math.frexp(float(most))[1])
    for position in range(n_rows):
        i = rows[position]
        mass = max(int(np.rint(masses[i] / mass_unit)), 1)  # a bin without mass has no rows
        pulls[i, 0] = (int(np.rint(aims[position, 0] * fine)) << _HALF) + mass
        for lane in range(1, pulls.shape[1]):
            low = int(np.rint(aims[position, 2 * lane - 1] * fine))
            high = int(np.rint(aims[position, 2 * lane] * fine)) if 2 * lane < n_outputs else 0
            pulls[i, lane] = (high << _HALF) + low


@njit(**_INNER)
def _low(packed):
    """The sum in the low half of an integer, sign and all."""
    return (packed << _HALF) >> _HALF


@njit(**_INNER)
def _square(whole):
    """The square of a whole number."""
    return float(whole) * float(whole)


@njit(**_INNER)
def _add_rows(bins, rows, start, stop, columns, starts, pulls, out):
    """Add what rows ``rows[start:stop]`` pull to every bin of some columns, which lie end to end."""
    n_lanes = pulls.shape[1]
    for position in range(start, stop):
        i = rows[position]
        if n_lanes == 1:  # the common case, without the inner loop
            own = pulls[i, 0]
            for j in range(len(columns)):
                out[starts[j] + bins[i, columns[j]], 0] += own
        else:
            for j in range(len(columns)):
                b = starts[j] + bins[i, columns[j]]
                for lane in range(n_lanes):
                    out[b, lane] += pulls[i, lane]


@njit(**_INNER)
def _explained(total, shrinkage):
    """What a leaf of these sums explains: S^2 over its weight."""
    weight = _low(total[0])
    square = _square((total[0] - weight) >> _HALF)
    for lane in range(1, len(total)):
        low = _low(total[lane])
        square += _square(low) + _square((total[lane] - low) >> _HALF)
    return square / (float(weight) + shrinkage)


@njit(**_INNER)
def _scan(histogram, first, seen, n_seen, bar, least, shrinkage, sums, split):
    """Return what the best split of one column explains, ``bar`` where none explains more; write it.

    ``seen`` are the bins that have rows. ``sums`` (3, lanes) are those of the node and, written, of the left child of
    the best split; the last row is space.
    """
    n_lanes, whole = sums.shape[1], _low(sums[0, 0])
    pull = (sums[0, 0] - whole) >> _HALF
    for lane in range(n_lanes):
        sums[2, lane] = 0
    for s in range(n_seen - 1):
        for lane in range(n_lanes):
            sums[2, lane] += histogram[first + seen[s], lane]
        weight = _low(sums[2, 0])
        part = (sums[2, 0] - weight) >> _HALF
        left, right = _square(part), _square(pull - part)
        for lane in range(1, n_lanes):
            low, low_of_all = _low(sums[2, lane]), _low(sums[0, lane])
            high, high_of_all = (sums[2, lane] - low) >> _HALF, (sums[0, lane] - low_of_all) >> _HALF
            left += _square(low) + _square(high)
            right += _square(low_of_all - low) + _square(high_of_all - high)
        light, heavy = float(weight) + shrinkage, float(whole - weight) + shrinkage
        # Most are worse for sure, which needs no division.
        if left * heavy + right * light > bar * light * heavy * _SURE and weight >= least and whole - weight >= least:
            found = left / light + right / heavy
            if found > bar:
                bar = found
                split[1] = seen[s]
                for lane in range(n_lanes):
                    sums[1, lane] = sums[2, lane]
    return bar


@njit(**_INNER)
def _bins_of_rows(bins, rows, column, pulls, histogram, marks, seen):
    """Make the histogram of few rows in one column, where it is zero, and list the bins that have rows; how many.

    ``marks``, a bit for every bin, are zero before and after.
    """
    n_seen = 0
    for i in rows:
        b = bins[i, column]
        marks[b >> 6] |= _ONE << np.uint64(b & 63)
        for lane in range(pulls.shape[1]):
            histogram[b, lane] += pulls[i, lane]
    for word in range(len(marks)):
        left = marks[word]
        marks[word] = 0
        while left:
            lowest = left & (~left + _ONE)
            seen[n_seen] = 64 * word + _BIT[(lowest * _TELLING) >> _UPPER]
            n_seen += 1
            left ^= lowest
    return n_seen


@njit(**_INNER)
def _best_split(bins, rows, columns, starts, pulls, few, histogram, bar, least, shrinkage, sums, space, split):
    """Return what the best split of a node explains, ``bar`` where none explains more; write it.

    A node of ``few`` rows has no histogram: it makes that of one column after another, of the bins that have rows.
    """
    column_histogram, marks, seen = space
    own = column_histogram if few else histogram
    for j in range(len(columns)):
        n_seen, first = 0, 0
        if few:
            n_seen = _bins_of_rows(bins, rows, columns[j], pulls, own, marks, seen)
        else:
            first = starts[j]
            for b in range(starts[j + 1] - first):  # without branches that no processor foresees
                seen[n_seen] = b
                n_seen += own[first + b, 0] != 0
        found = _scan(own, first, seen, n_seen, bar, least, shrinkage, sums, split)
        if found > bar:
            bar, split[0] = found, j
        if few:
            for s in range(n_seen):
                for lane in range(pulls.shape[1]):
                    own[seen[s], lane] = 0
    return bar


@njit(**_INNER)
def _part_rows(bins, feature, cut, rows, start, stop):
    """Bring the rows of a node that go left before those that go right, in their order; where these begin."""
    middle, right = start, 0
    for position in range(start, stop):
        i = rows[0, position]
        rows[0, middle] = i
        rows[1, right] = i
        goes_left = bins[i, feature] <= cut
        middle += goes_left
        right += 1 - goes_left
    for k in range(right):
        rows[0, middle + k] = rows[1, k]
    return middle


@njit(**_INNER)
def _best_node(gain, best, n_nodes, changed):
    """Return the node of the most gain, the first of equals; ``best`` of every block of nodes is kept up to date."""
    for c in range(changed & ~(_BLOCK - 1), min((changed | (_BLOCK - 1)) + 1, n_nodes)):
        if gain[c] > gain[best[c // _BLOCK]]:
            best[c // _BLOCK] = c
    for c in range(max(n_nodes - 2, 0), n_nodes):
        if c % _BLOCK == 0 or gain[c] > gain[best[c // _BLOCK]]:
            best[c // _BLOCK] = c
    a = 0
    for block in range((n_nodes - 1) // _BLOCK + 1):
        if gain[best[block]] > gain[a]:
            a = best[block]
    return a


@njit(**_INNER)
def _fill_histograms(bins, rows, columns, starts, pulls, work, small, large, own, histograms):
    """Make the histogram of a small child from its rows; its parent's becomes that of the large one."""
    n_lanes = pulls.shape[1]
    for b in range(starts[-1]):
        for lane in range(n_lanes):
            own[b, lane] = 0
    _add_rows(bins, rows, work[small, 2], work[small, 3], columns, starts, pulls, own)
    if small != large:  # there is a parent
        other = histograms[work[large, 4]]
        for b in range(starts[-1]):
            for lane in range(n_lanes):
                other[b, lane] -= own[b, lane]


@njit(**_PLAIN)
def grow_tree(bins, starts, columns, pulls, rows, n_rows, plan, nodes, work, gain, best, sums, histograms, space):
    """Write (feature, last left bin, left child, leaf) of the nodes of one tree, grown best split first; how many.

    A node's right child follows its left one; ``feature`` is -1 and ``leaf`` the leaf's number at leaves. The first
    ``n_rows`` of ``rows[0]`` are reordered, by way of ``rows[1]``. ``work`` (nodes, 5) holds the split of every node
    (position of its column, last bin), where its rows begin and end, and which histogram it has, in which bins of
    column j begin at ``starts[j]``. Nodes of ``few`` rows or less need none. ``plan`` is (most leaves, least weight,
    shrinkage, few), weights in whole numbers; ``sums`` (nodes, 3, lanes) and ``best`` are space, and ``space`` has a
    histogram of one column and a bit per bin, zero before and after, and room for bins.
    """
    most_leaves, least, shrinkage, most_few = int(plan[0]), int(plan[1]), plan[2], int(plan[3])
    for lane in range(pulls.shape[1]):
        sums[0, 0, lane] = 0
        for position in range(n_rows):
            sums[0, 0, lane] += pulls[rows[0, position], lane]
    nodes[0, 0], work[0, 2], work[0, 3], work[0, 4], best[0] = -1, 0, n_rows, 0, 0
    n_nodes, n_histograms, small, large, a = 1, 0, 0, 0, 0
    while True:
        few = work[large, 3] - work[large, 2] <= most_few
        if not few:
            own = histograms[n_histograms]
            _fill_histograms(bins, rows[0], columns, starts, pulls, work, small, large, own, histograms)
            work[small, 4] = n_histograms
            n_histograms += work[small, 3] - work[small, 2] > most_few  # its children have no need of it else
        for c in range(max(n_nodes - 2, 0), n_nodes):
            gain[c] = 0.0
            if _low(sums[c, 0, 0]) < 2 * least:  # both halves of it are not heavy enough
                continue
            base = _explained(sums[c, 0], shrinkage)
            bar, own_rows, own = base + _WORTH * base, rows[0, work[c, 2] : work[c, 3]], histograms[work[c, 4]]
            found = _best_split(
                bins, own_rows, columns, starts, pulls, few, own, bar, least, shrinkage, sums[c], space, work[c]
            )
            gain[c] = found - base if found > bar else 0.0
        a = _best_node(gain, best, n_nodes, a)
        if gain[a] <= 0.0 or n_nodes == 2 * most_leaves - 1:
            break
        gain[a] = 0.0
        feature, cut, start, stop = columns[work[a, 0]], work[a, 1], work[a, 2], work[a, 3]
        nodes[0, a], nodes[1, a], nodes[2, a] = feature, cut, n_nodes
        middle = _part_rows(bins, feature, cut, rows, start, stop)
        small = n_nodes if 2 * middle <= start + stop else n_nodes + 1
        large = 2 * n_nodes + 1 - small
        work[n_nodes, 2], work[n_nodes, 3], work[n_nodes + 1, 2], work[n_nodes + 1, 3] = start, middle, middle, stop
        work[small, 4] = work[large, 4] = work[a, 4]
        for lane in range(pulls.shape[1]):
            sums[n_nodes, 0, lane] = sums[a, 1, lane]
            sums[n_nodes + 1, 0, lane] = sums[a, 0, lane] - sums[a, 1, lane]
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
def draw_rows(hashes, salt, bound, counted, out):
    """Write the rows whose salted hash is below a bound, all where there is none; how many."""
    n_drawn = 0
    for k in range(len(hashes)):
        out[n_drawn] = counted[k]
        n_drawn += _mixed(hashes[k] ^ salt) < bound
    if n_drawn == 0:
        for k in range(len(hashes)):
            out[k] = counted[k]
        return len(hashes)
    return n_drawn


@njit(**_PLAIN)
def find_leaves(bins, nodes, work, n_nodes, rows, leaves):
    """Write the leaf of every row: of those that the tree was grown on by its nodes, others walk down.

    ``rows`` (2, n) are those of :func:`grow_tree`. Some rows walk side by side, a step each in turn, as no step of
    one waits for that of another; those at their leaf stand still.
    """
    for i in range(len(leaves)):
        leaves[i] = -1
    for a in range(n_nodes):
        if nodes[0, a] < 0:
            for position in range(work[a, 2], work[a, 3]):
                leaves[rows[0, position]] = nodes[3, a]
    apart, n_apart, at = rows[1], 0, np.empty(_AT_ONCE, np.int64)
    for i in range(len(leaves)):
        apart[n_apart] = i
        n_apart += leaves[i] < 0
    for start in range(0, n_apart, _AT_ONCE):
        size, moving = min(_AT_ONCE, n_apart - start), 1
        for k in range(size):
            at[k] = 0
        while moving:
            moving = 0
            for k in range(size):
                a = at[k]
                inner = 1 if nodes[0, a] >= 0 else 0
                right = 1 if bins[apart[start + k], nodes[0, a] * inner] > nodes[1, a] else 0
                at[k] = inner * (nodes[2, a] + right) + (1 - inner) * a
                moving |= inner
        for k in range(size):
            leaves[apart[start + k]] = nodes[3, at[k]]


@njit(**_PLAIN)
def take_step(plan, weights, watched, residuals, leaves, sums, values):
    """Take from every row's residuals the step of its leaf as it would be without the row, or without one copy of it.

    Writes weight and weighted residuals of every leaf (``sums``), and the steps of the leaves; returns the sums of
    squares left over, by ``watched`` and by ``weights``. ``plan`` is (shrinkage, step, weight of a copy).
    """
    shrinkage, step, copy = plan[0], plan[1], plan[2]
    n_outputs = residuals.shape[1]
    for leaf in range(sums.shape[0]):
        for c in range(n_outputs + 1):
            sums[leaf, c] = 0.0
    for i in range(len(leaves)):
        leaf = leaves[i]
        sums[leaf, 0] += weights[i]
        for c in range(n_outputs):
            sums[leaf, c + 1] += weights[i] * residuals[i, c]
    apart, seen = 0.0, 0.0
    for i in range(len(leaves)):
        leaf, own, square = leaves[i], min(weights[i], copy), 0.0
        factor = step / (sums[leaf, 0] - own + shrinkage)
        for c in range(n_outputs):
            residuals[i, c] -= factor * (sums[leaf, c + 1] - own * residuals[i, c])
            square += residuals[i, c] * residuals[i, c]
        apart += watched[i] * square
        seen += weights[i] * square
    for leaf in range(sums.shape[0]):
        for c in range(n_outputs):
            values[leaf, c] = step * sums[leaf, c + 1] / (sums[leaf, 0] + shrinkage)
    return apart, seen


@njit(**_PLAIN)
def take_softmax_step(plan, weights, watched, labels, margins, residuals, masses, leaves, sums, values):
    """Take a Newton step of the log-loss in every leaf, each row's as it would be without the row or a copy of it.

    Residuals are indicators of ``labels`` less probabilities, the softmax of ``margins``; ``masses`` are weights times
    a curvature of the loss, 1 where classes are alike. Writes weighted residuals and curvatures of every leaf
    (``sums``, of every class in turn), and the steps of the leaves; returns sums of losses by ``watched`` and by
    ``weights``. ``plan`` is (shrinkage, step, weight of a copy).
    """
    n_classes = residuals.shape[1]
    shrinkage, step, copy = _ROUND * plan[0], plan[1] * (n_classes - 1) / n_classes, plan[2]
    for leaf in range(sums.shape[0]):
        for c in range(2 * n_classes):
            sums[leaf, c] = 0.0
    for i in range(len(leaves)):
        leaf = leaves[i]
        for c in range(n_classes):
            chance = (1.0 if c == labels[i] else 0.0) - residuals[i, c]
            sums[leaf, c] += weights[i] * residuals[i, c]
            sums[leaf, n_classes + c] += weights[i] * chance * (1 - chance)
    apart, seen = 0.0, 0.0
    for i in range(len(leaves)):
        leaf, own, most = leaves[i], min(weights[i], copy), -np.inf
        for c in range(n_classes):
            chance = (1.0 if c == labels[i] else 0.0) - residuals[i, c]
            curvature = max(sums[leaf, n_classes + c] - own * chance * (1 - chance), 0.0)
            margins[i, c] += step * (sums[leaf, c] - own * residuals[i, c]) / (curvature + shrinkage)
            most = max(most, margins[i, c])
        total, square = 0.0, 0.0
        for c in range(n_classes):
            residuals[i, c] = math.exp(margins[i, c] - most)
            total += residuals[i, c]
        loss = math.log(total) - (margins[i, labels[i]] - most)
        for c in range(n_classes):
            chance = residuals[i, c] / total
            square += chance * chance
            residuals[i, c] = (1.0 if c == labels[i] else 0.0) - chance
        masses[i] = weights[i] * (1 - square) * n_classes / (n_classes - 1)
        apart += watched[i] * loss
        seen += weights[i] * loss
    for leaf in range(sums.shape[0]):
        for c in range(n_classes):
            values[leaf, c] = step * sums[leaf, c] / (sums[leaf, n_classes + c] + shrinkage)
    return apart, seen


@njit(**_PLAIN)
def row_leaves(x, roots, feature, threshold, child, leaf, out):
    """Leaf (n, T) of every raw row in every tree of a forest whose nodes lie end to end; rows walk side by side."""
    at = np.empty(_AT_ONCE, np.int64)
    for start in range(0, x.shape[0], _AT_ONCE):
        size = min(_AT_ONCE, x.shape[0] - start)
        for t in range(len(roots)):
            for k in range(size):
                at[k] = roots[t]
            moving = 1
            while moving:
                moving = 0
                for k in range(size):
                    a = at[k]
                    inner = 1 if feature[a] >= 0 else 0
                    right = 1 if x[start + k, feature[a] * inner] > threshold[a] else 0
                    at[k] = inner * (child[a] + right) + (1 - inner) * a
                    moving |= inner
            for k in range(size):
                out[start + k, t] = leaf[at[k]]


@njit(**_PLAIN)
def add_leaf_values(leaves, values, out):
    """``out[i] += sum_t values[leaves[i, t]]``: the sparse product of leaf indicators with their values."""
    for i in range(leaves.shape[0]):
        for t in range(leaves.shape[1]):
            leaf = leaves[i, t]
            for c in range(out.shape[1]):
                out[i, c] += values[leaf, c]
