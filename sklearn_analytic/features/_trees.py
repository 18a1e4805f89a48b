"""Small regression trees grown one after another on leave-one-out residuals, as plain arrays of binned columns."""

import math
from dataclasses import dataclass

import numpy as np

from sklearn_analytic.backend import trees
from sklearn_analytic.features._sampling import mix_bits

_BINS, _FEW_BINS, _ROWS_PER_BIN = 128, 16, 8  # of one column: at most, with few rows, and where the number grows
_CELLS, _WIDE_BINS = 8192, 24  # bins of all columns together, so that histograms stay in cache, but so many of each
_EDGE_ROWS = 20_000  # quantiles of so many rows are exact enough
_OUTPUTS = 4  # residual columns that a split looks at: more are projected at random
_GRID = 2.0**-24  # of the largest residual: sums of so rounded numbers are exact
_MOST_COLUMNS = 384  # that one tree looks at
_COLUMN_SHARES = (0.25, 0.5, 1.0)
_ROW_SHARE = 0.7
_HASHES_AT_ONCE = 1e5  # they stay in cache


@dataclass(frozen=True)
class GrowthPlan:
    """How many trees of what kind.

    Parameters
    ----------
    n_trees : int
        Number of trees.
    n_leaves : int
        Leaves of a tree, at most.
    step : float
        Share of a leaf's mean residual that is taken off, in (0, 1].
    least : float
        Weight of a leaf, at least.
    shrinkage : float
        Weight added to that of a leaf in its mean.
    copy : float
        Most weight that leaves with a row: one copy, or infinity for all of them.

    Examples
    --------
    >>> from sklearn_analytic.features import GrowthPlan
    >>> GrowthPlan(n_trees=10).n_leaves
    128
    """

    n_trees: int = 30
    n_leaves: int = 128
    step: float = 0.15
    least: float = 5.0
    shrinkage: float = 1.0
    copy: float = 1.0


@dataclass(frozen=True)
class Forest:
    """Trees with their nodes end to end; leaves are numbered through.

    Parameters
    ----------
    roots : ndarray of shape (T,)
        First node of every tree.
    feature, threshold, child, leaf : ndarray of shape (N,)
        Of every node: the column it asks (-1 at a leaf), the value up to which a row goes left, the left child
        (the right one follows it), and the number of the leaf (-1 inside).

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_analytic.features import Forest
    >>> stump = Forest(np.array([0]), np.array([0, -1, -1]), np.array([0.5, 0, 0]), np.array([1, 0, 0]),
    ...                np.array([-1, 0, 1]))
    >>> stump.leaves_of(np.array([[0.0], [1.0]])).ravel()
    array([0, 1], dtype=int32)
    """

    roots: np.ndarray
    feature: np.ndarray
    threshold: np.ndarray
    child: np.ndarray
    leaf: np.ndarray

    @property
    def n_leaves(self):
        """Leaves of all trees."""
        return int(self.leaf.max(initial=-1)) + 1

    def leaves_of(self, x):
        """Return the leaf (n, T) of every row in every tree."""
        out = np.empty((len(x), len(self.roots)), dtype=np.int32)
        trees.row_leaves(x, self.roots, self.feature, self.threshold, self.child, self.leaf, out)
        return out

    def joined(self, others):
        """Return one forest of this and other forests, leaves numbered on."""
        forests = (self, *others)
        nodes = np.cumsum([0, *(len(forest.feature) for forest in forests)])
        leaves = np.cumsum([0, *(forest.n_leaves for forest in forests)])
        parts = [
            (f.roots + node, f.feature, f.threshold, f.child + node, np.where(f.leaf < 0, -1, f.leaf + leaf))
            for f, node, leaf in zip(forests, nodes, leaves, strict=False)
        ]
        return Forest(*(np.concatenate(part) for part in zip(*parts, strict=True)))


def grow_forest(table, targets, weights, hashes, plan, generator):
    r"""Grow trees in turn on what the trees before leave over, each row's residual without the row itself.

    Tree t splits for the gain :math:`S^2 / (w + 1)` of residual sums S, best split first, on 70 % of the rows and a
    quarter, a half or all of the columns. Then every row's residuals shrink by a step of its leaf's mean, taken
    without the row, or without one copy of it:

    .. math:: r_i \leftarrow r_i - \eta \frac{S_l - w_i r_i}{W_l - w_i + 1} .

    Residuals are therefore close to those of rows that the trees have not seen, and later trees do not chase what
    earlier ones only remember.

    Parameters
    ----------
    table : BinnedColumns
        Rows (n, d).
    targets : ndarray of shape (n, c)
        Targets, about centred.
    weights : ndarray of shape (n,)
        Frequencies; rows of weight 0 take no part.
    hashes : ndarray of shape (n,), uint64
        Hashes of the rows' content, by which trees draw rows.
    plan : GrowthPlan
        How many trees of what kind.
    generator : numpy.random.Generator
        Source of all draws.

    Returns
    -------
    forest : Forest
        The trees.
    values : ndarray of shape (leaves, c)
        The steps of their leaves: a row's prediction is the sum of those it falls in.

    References
    ----------
    J. H. Friedman, "Stochastic gradient boosting", Computational Statistics and Data Analysis 38, 2002, with squared
    error; the leave-one-out step is ours.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_analytic.features import GrowthPlan, bin_columns, grow_forest
    >>> X = np.arange(40.0)[:, None]
    >>> Y = np.where(X < 20, -1.0, 1.0)
    >>> hashes = np.arange(40, dtype=np.uint64) << np.uint64(58)
    >>> forest, values = grow_forest(bin_columns(X), Y, np.ones(40), hashes, GrowthPlan(1), np.random.default_rng(0))
    >>> bool(18 < forest.threshold[0] < 21)
    True
    """
    n_bins, residuals, weights = table.n_bins, np.array(targets, dtype=np.float64), np.asarray(weights, np.float64)
    drawn = [_drawn_columns(len(n_bins), generator) for _ in range(plan.n_trees)]
    salts = generator.integers(1 << 63, size=plan.n_trees, dtype=np.uint64)
    nodes, sizes, values = trees.boost(
        table.bins,
        n_bins,
        residuals,
        weights,
        _drawn_rows(weights, hashes, salts),
        np.concatenate(drawn),
        np.cumsum([0, *map(len, drawn)]),
        _directions(residuals, plan.n_trees, generator),
        _GRID,
        np.array([plan.n_leaves, plan.least, plan.shrinkage, plan.step, plan.copy], dtype=np.float64),
    )
    return _assembled(table, nodes, sizes), values


def _assembled(table, nodes, sizes):
    """Trees as one forest: thresholds in the units of the rows, nodes and leaves numbered through."""
    edges, starts = np.concatenate([*table.edges, [0.0]]), np.cumsum([0, *(table.n_bins - 1)])
    feature, cut, child, leaf = nodes
    first_nodes, first_leaves = (np.cumsum(column) - column for column in sizes.T)
    threshold = edges[np.where(feature < 0, 0, starts[feature] + cut)]
    child = child + np.repeat(first_nodes, sizes[:, 0])
    leaf = np.where(leaf < 0, -1, leaf + np.repeat(first_leaves, sizes[:, 0]))
    return Forest(first_nodes, feature, threshold, child, leaf)


def _drawn_rows(weights, hashes, salts):
    """Yield the rows of every tree: those of positive weight whose salted hash is small, or all of that weight."""
    counted, bound = np.flatnonzero(weights > 0), np.uint64(int(_ROW_SHARE * 2**64))
    hashes, at_once = hashes[counted], max(int(_HASHES_AT_ONCE // (len(counted) + 1)), 1)
    for first in range(0, len(salts), at_once):
        for drawn in mix_bits(hashes ^ salts[first : first + at_once, None]) < bound:
            rows = counted[drawn]
            yield rows if len(rows) else counted


def _drawn_columns(n_columns, generator):
    """Columns of one tree: fewer make trees differ, and wide tables affordable."""
    share = _COLUMN_SHARES[generator.integers(len(_COLUMN_SHARES))]
    size = min(math.ceil(share * n_columns), _MOST_COLUMNS)
    return np.sort(generator.choice(n_columns, size, replace=False))


def _directions(residuals, n_trees, generator):
    """What splits look at (trees, c, k): all targets where few, one of two complementary ones, else random sums."""
    n_targets = residuals.shape[1]
    if n_targets > _OUTPUTS:
        return generator.standard_normal((n_trees, n_targets, _OUTPUTS))
    complementary = n_targets == 2 and np.allclose(residuals.sum(axis=1), 0, atol=1e-8)
    kept = np.eye(n_targets)[:, : 1 if complementary else n_targets]
    return np.repeat(kept[None], n_trees, axis=0)


@dataclass(frozen=True)
class BinnedColumns:
    """Rows as small integers, and the thresholds between them.

    Parameters
    ----------
    bins : ndarray of shape (n, d), uint8
        Bin of every value: the number of edges below it.
    edges : tuple of d ndarrays
        Ascending thresholds of every column, in the units of the rows.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_analytic.features import bin_columns
    >>> table = bin_columns(np.array([[0.0], [1.0], [4.0]]))
    >>> table.bins.ravel(), table.edges[0]
    (array([0, 1, 2], dtype=uint8), array([0.5, 2.5]))
    """

    bins: np.ndarray
    edges: tuple

    @property
    def n_bins(self):
        """Bins of every column."""
        return np.array([len(edges) + 1 for edges in self.edges])

    def replaced(self, columns, others):
        """Return the rows with other columns at these places."""
        bins, edges = self.bins.copy(), list(self.edges)
        bins[:, columns] = others.bins
        for j, own in zip(columns, others.edges, strict=True):
            edges[j] = own
        return BinnedColumns(bins, tuple(edges))


def bin_columns(x, weights=None, hashes=None):
    """Return rows in bins of about equal weight, split midway between values; heavy values have their own.

    A column has at most 128 bins and as many heavy values, fewer for few rows or many columns.

    Parameters
    ----------
    x : ndarray of shape (n, d)
        Rows.
    weights : ndarray of shape (n,) or None, default=None
        Frequencies; rows of weight 0 set no edge.
    hashes : ndarray of shape (n,), uint64, or None, default=None
        Hashes of the rows' content: above 20,000 rows those with the smallest set the edges; None takes all rows.

    Returns
    -------
    BinnedColumns
        Bins and edges.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_analytic.features import bin_columns
    >>> len(bin_columns(np.arange(2000.0)[:, None]).edges[0])
    127
    """
    weights = np.ones(len(x)) if weights is None else weights
    few = np.flatnonzero(weights > 0)
    if hashes is not None and len(few) > _EDGE_ROWS:
        bound = np.partition(hashes[few], _EDGE_ROWS)[_EDGE_ROWS]
        few = few[hashes[few] < bound] if np.any(hashes[few] < bound) else few
    # By weight, as though repeated rows were rows: the number of rows itself must not matter.
    most = int(np.clip(np.sum(weights[weights > 0]) / _ROWS_PER_BIN, _FEW_BINS, _BINS))
    most = min(most, max(_CELLS // x.shape[1], _WIDE_BINS))
    bins = np.empty(x.shape, dtype=np.uint8)
    edges = []
    for j, column in enumerate(np.ascontiguousarray(x.T, dtype=np.float64)):
        edges.append(_edges(column[few], weights[few], most))
        bins[:, j] = np.searchsorted(edges[-1], column)
    return BinnedColumns(bins, tuple(edges))


def _edges(column, weights, most):
    """Midpoints between distinct values: all, or about heavy values and between equal shares of the others."""
    order = np.argsort(column, kind="stable")
    ordered = column[order]
    ends = np.ones(len(column), dtype=bool)
    np.not_equal(ordered[1:], ordered[:-1], out=ends[:-1])
    last = np.flatnonzero(ends)  # of every distinct value
    values = ordered[last]
    chosen = np.arange(len(values) - 1)
    if len(values) > most:
        total = np.cumsum(weights[order])[last]
        mass = total.copy()
        mass[1:] -= total[:-1]
        heavy = mass * most >= mass.sum()
        reach = np.cumsum(np.where(heavy, 0.0, mass))
        share = reach[-1] / (most - min(int(heavy.sum()), most - 1))
        bins = np.floor(reach * (1 - 1e-12) / max(share, 1e-300))
        chosen = np.flatnonzero((bins[1:] > bins[:-1]) | heavy[:-1] | heavy[1:])
    return 0.5 * values[chosen] + 0.5 * values[chosen + 1]
