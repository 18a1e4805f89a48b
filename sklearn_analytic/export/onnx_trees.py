"""Trees as one node of ONNX each forest: scores of leaves, and leaves as hidden units."""

import numpy as np
from onnx import numpy_helper

from sklearn_analytic.export.onnx_graph import TREES
from sklearn_analytic.features import LeafLayer, LeafScores


def _scores(g, trees, x):
    """The mean over members of the sums of the leaves' values, or the softmax of it."""
    x = x if trees.gaps is None else _sided(g, trees.gaps, x, trees.direction.size)
    out = _forest(g, trees.forest, x, trees.values / trees.n_members)
    out = g.op("Add", g.cast(out, np.float64), trees.mean)
    return g.cast(g.op("Softmax", out, axis=1) if trees.chances else out, x.dtype)


def _sided(g, gaps, x, n_columns):
    """Columns with missing values below all others, and further ones with them above."""
    numbers, indicators = gaps.columns.T
    values = g.op("Gather", x, numbers, axis=1)
    missing = g.op("Greater", g.op("Gather", x, indicators, axis=1), np.array(0.5), dtype=bool)
    low, high = (
        g.op("Where", missing, g.held(ends.astype(x.dtype)), values, dtype=x.dtype) for ends in (gaps.low, gaps.high)
    )
    place = np.arange(n_columns)
    place[numbers] = n_columns + np.arange(len(numbers))
    order = np.append(place, n_columns + len(numbers) + np.arange(len(numbers)))
    return g.op("Gather", g.concatenate([x, low, high]), order, axis=1)


def _leaves(g, layer, x):
    """Indicators of leaves: as many targets as leaves, a one for each."""
    return g.cast(_forest(g, layer.forest, x, None), x.dtype)


def _forest(g, forest, x, values):
    """The sum (n, c) over trees of the values (leaves, c) of the leaf that a row falls in; None is their indicator."""
    n_nodes = np.diff([*forest.roots, len(forest.feature)])
    tree = np.repeat(np.arange(len(forest.roots)), n_nodes)
    local = np.arange(len(forest.feature)) - np.repeat(forest.roots, n_nodes)
    inner = forest.feature >= 0
    left = np.where(inner, forest.child - np.repeat(forest.roots, n_nodes), 0)
    targets, leaves, ids, weights = _targets(forest, values)
    attributes = {
        "nodes_treeids": tree,
        "nodes_nodeids": local,
        "nodes_featureids": np.where(inner, forest.feature, 0),
        "nodes_truenodeids": left,
        "nodes_falsenodeids": np.where(inner, left + 1, 0),
        "target_treeids": tree[leaves],
        "target_nodeids": local[leaves],
        "target_ids": ids,
    }
    numbers = {"nodes_values": _thresholds(np.where(inner, forest.threshold, 0.0), x.dtype), "target_weights": weights}
    return g.op(
        "TreeEnsembleRegressor",
        x,
        dtype=np.float32,
        domain=TREES,
        n_targets=targets,
        nodes_modes=np.where(inner, "BRANCH_LEQ", "LEAF").tolist(),
        **{name: array.tolist() for name, array in attributes.items()},
        **_real(numbers, x.dtype),
    )


def _targets(forest, values):
    """Number of targets; and node, target and weight of every value of a leaf."""
    nodes = np.flatnonzero(forest.leaf >= 0)
    if values is None:
        return forest.n_leaves, nodes, forest.leaf[nodes], np.ones(len(nodes))
    n_targets = values.shape[1]
    ids = np.tile(np.arange(n_targets), len(nodes))
    return n_targets, np.repeat(nodes, n_targets), ids, values[forest.leaf[nodes]].ravel()


def _thresholds(thresholds, dtype):
    """Thresholds in the dtype of rows, rounded down: a float32 row is below one exactly where it is below the other."""
    rounded = thresholds.astype(dtype)
    down = np.nextafter(rounded, np.array(-np.inf, dtype))
    return np.where(rounded.astype(np.float64) > thresholds, down, rounded)


def _real(numbers, dtype):
    """Attributes of real numbers: plain ones are float32, those of float64 have names of their own."""
    if dtype == np.float32:
        return {name: array.astype(np.float32).tolist() for name, array in numbers.items()}
    return {
        f"{name}_as_tensor": numpy_helper.from_array(array.astype(np.float64), name) for name, array in numbers.items()
    }


# {class: its writer (graph, trees, input) -> output}
FORESTS = {LeafScores: _scores, LeafLayer: _leaves}
