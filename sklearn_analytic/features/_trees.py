"""Regression trees grown one after another on leave-one-out residuals, as plain arrays of binned columns."""

import math
from dataclasses import dataclass

import numpy as np
from scipy.special import softmax

from sklearn_analytic.backend import trees

_BINS, _FEW_BINS, _ROWS_PER_BIN = 128, 16, 8  # of one column: at most, with few rows, and where the number grows
_CELLS, _WIDE_BINS = 8192, 24  # bins of all columns together, so that histograms stay in cache, but so many of each
_EDGE_ROWS = 20_000  # quantiles of so many rows are exact enough
_MOST_COLUMNS = 384  # that one tree looks at
_COLUMN_SHARES = (0.25, 0.5, 1.0)
_ROW_BOUND = np.uint64(int(0.7 * 2**64))  # of hashes: the share of rows that a tree is grown on
_FEW_ROWS = 16  # of a node, up to which it has no histogram, at least
_HISTOGRAM_CELLS = 1 << 22  # of all histograms of a tree, at most
WEIGHT_GRID = 2.0**-10  # of rows whose mean weight is about 1: their sums are exact


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
    n_outputs : int
        Targets that a split looks at; more are summed at random, anew for every tree.

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
    n_outputs: int = 4


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


class Growth:
    r"""Trees grown in turn on what the trees before leave over, each row's residual without the row itself.

    Tree t splits for the gain :math:`S^2 / (w + 1)` of residual sums S, best split first, on 70 % of the rows and a
    quarter, a half or all of the columns. Then every row's residuals shrink by a step of its leaf's mean, taken
    without the row, or without one copy of it:

    .. math:: r_i \leftarrow r_i - \eta \frac{S_l - w_i r_i}{W_l - w_i + 1} .

    Residuals are therefore close to those of rows that the trees have not seen, and later trees do not chase what
    earlier ones only remember. Rows of weight 0 are such rows. For classes residuals are indicators less chances,
    which are the softmax of margins, and steps are Newton steps of the log-loss, likewise without the row.

    Parameters
    ----------
    table : BinnedColumns
        Rows (n, d).
    targets : ndarray of shape (n, c)
        Targets, about centred; indicators of classes where there is a ``prior``.
    weights : ndarray of shape (n,)
        Frequencies; rows of weight 0 take no part.
    hashes : ndarray of shape (n,), uint64
        Hashes of the rows' content, by which trees draw rows.
    plan : GrowthPlan
        Trees of what kind, and how many at most.
    generator : numpy.random.Generator
        Source of all draws. The same trees come in however many calls of :meth:`grow`.
    watched : ndarray of shape (n,) or None, default=None
        Weights of rows whose errors are summed apart: of those that the trees do not see.
    prior : ndarray of shape (c,) or None, default=None
        Logarithms of the classes' chances before any tree, where targets are indicators of classes: trees then fit the
        log-loss. None fits centred numbers by least squares.

    Attributes
    ----------
    plan, weights, watched
        As given.
    residuals : ndarray of shape (n, c)
        What is left over, of every row without the row itself.
    errors : list of (float, float)
        After every tree: squares left over or losses, summed over rows by ``watched`` and by ``weights``.

    References
    ----------
    J. H. Friedman, "Stochastic gradient boosting", Computational Statistics and Data Analysis 38, 2002, with squared
    error; the leave-one-out step is ours.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_analytic.features import Growth, GrowthPlan, bin_columns
    >>> X = np.arange(40.0)[:, None]
    >>> Y = np.where(X < 20, -1.0, 1.0)
    >>> hashes = np.arange(40, dtype=np.uint64) << np.uint64(58)
    >>> growth = Growth(bin_columns(X), Y, np.ones(40), hashes, GrowthPlan(), np.random.default_rng(0))
    >>> growth.grow(2)
    >>> forest, values = growth.forest()
    >>> len(forest.roots), bool(18 < forest.threshold[0] < 21)
    (2, True)
    """

    def __init__(self, table, targets, weights, hashes, plan, generator, watched=None, prior=None):
        self._table, self.plan = table, plan
        self.weights = np.asarray(weights, dtype=np.float64)
        self.watched = np.zeros(len(weights)) if watched is None else watched
        self._labels = None if prior is None else np.argmax(targets, axis=1)
        self._margins = None if prior is None else np.tile(prior, (len(targets), 1))
        start = 0.0 if prior is None else softmax(prior)
        self.residuals = np.array(targets - start, dtype=np.float64)
        self._masses = self.weights.copy()
        self._counted = np.flatnonzero(self.weights > 0)
        self._hashes = hashes[self._counted]
        self._draws = generator
        self._looks = _Looks.of(self.residuals, plan.n_outputs)
        self._space = _Space.of(table, self.weights, plan, self.residuals.shape[1], self._looks.n_outputs)
        self._trees = []  # (nodes, values of leaves)
        self.errors = []

    def __len__(self):
        return len(self._trees)

    def grow(self, n_trees):
        """Grow further trees, as far as the plan goes."""
        for _ in range(min(n_trees, self.plan.n_trees - len(self))):
            self._add_tree()

    def _add_tree(self):
        """Grow one tree, and take its step."""
        space, table, weights = self._space, self._table, self.weights
        columns = _drawn_columns(len(table.edges), self._draws)
        salt = self._draws.integers(1 << 63, dtype=np.uint64)
        n_drawn = trees.draw_rows(self._hashes, salt, _ROW_BOUND, self._counted, space.rows[0])
        starts = np.zeros(len(columns) + 1, np.int64)
        np.cumsum(space.n_bins[columns], out=starts[1:])
        direction = self._looks.direction(self._draws)
        seen = (weights, self._masses, direction, space.rows[0], n_drawn, space.weight_unit, space.aims, space.pulls)
        trees.pack_pulls(self.residuals, *seen)
        work = (space.nodes, space.work, space.gain, space.best, space.sums, space.histograms, space.column)
        n_nodes = trees.grow_tree(table.bins, starts, columns, space.pulls, space.rows, n_drawn, space.split, *work)
        trees.find_leaves(table.bins, space.nodes, space.work, n_nodes, space.rows, space.leaves)
        n_leaves = (n_nodes + 1) // 2
        values = np.empty((n_leaves, self.residuals.shape[1]))
        leaves = (space.leaves, space.leaf_sums[:n_leaves], values)
        if self._labels is None:
            errors = trees.take_step(space.step, weights, self.watched, self.residuals, *leaves)
        else:
            state = (self._labels, self._margins, self.residuals, self._masses)
            errors = trees.take_softmax_step(space.step, weights, self.watched, *state, *leaves)
        self.errors.append(errors)
        self._trees.append((space.nodes[:, :n_nodes].copy(), values))

    def forest(self, n_trees=None):
        """Return the first trees as a forest, and the steps (leaves, c) of their leaves, whose sums are scores."""
        grown = self._trees[:n_trees]
        sizes = np.array([[nodes.shape[1], len(values)] for nodes, values in grown]).reshape(-1, 2)
        nodes = np.concatenate([np.empty((4, 0), np.int64), *(nodes for nodes, _ in grown)], axis=1)
        values = np.concatenate([np.empty((0, self.residuals.shape[1])), *(values for _, values in grown)])
        return _assembled(self._table, nodes, sizes), values


def grow_forest(table, targets, weights, hashes, plan, generator):
    """Grow as many trees as the plan has: :class:`Growth` at once.

    Parameters
    ----------
    table, targets, weights, hashes, plan, generator
        As there.

    Returns
    -------
    forest : Forest
        The trees.
    values : ndarray of shape (leaves, c)
        The steps of their leaves: a row's prediction is the sum of those it falls in.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_analytic.features import GrowthPlan, bin_columns, grow_forest
    >>> X, hashes = np.arange(40.0)[:, None], np.arange(40, dtype=np.uint64) << np.uint64(58)
    >>> rng = np.random.default_rng(0)
    >>> forest, values = grow_forest(bin_columns(X), X - 19.5, np.ones(40), hashes, GrowthPlan(n_trees=3), rng)
    >>> len(forest.roots), values.shape == (forest.n_leaves, 1)
    (3, True)
    """
    growth = Growth(table, targets, weights, hashes, plan, generator)
    growth.grow(plan.n_trees)
    return growth.forest()


@dataclass(frozen=True)
class _Space:
    """Arrays that trees of one kind are grown in, one after another."""

    n_bins: np.ndarray
    weight_unit: float
    split: np.ndarray  # most leaves, least weight, shrinkage, and rows of a node up to which it has no histogram
    step: np.ndarray  # shrinkage, step, weight of a copy
    rows: np.ndarray
    leaves: np.ndarray
    aims: np.ndarray
    pulls: np.ndarray
    nodes: np.ndarray
    work: np.ndarray
    gain: np.ndarray
    best: np.ndarray
    sums: np.ndarray
    histograms: np.ndarray
    column: tuple
    leaf_sums: np.ndarray

    @classmethod
    def of(cls, table, weights, plan, n_targets, n_outputs):
        """Return room for the trees of a plan."""
        n, n_bins, lanes = len(weights), table.n_bins, n_outputs // 2 + 1
        most_nodes = 2 * plan.n_leaves - 1
        widest = int(np.sort(n_bins)[-_MOST_COLUMNS:].sum())
        # By bins: what a node without histogram does by rows. Histograms take so much memory at most.
        few = int(max(_FEW_ROWS, np.mean(n_bins), n * widest * lanes / _HISTOGRAM_CELLS))
        total = float(np.sum(weights))
        unit = max(WEIGHT_GRID, 2.0 ** (math.ceil(math.log2(total)) - 30) if total > 0 else 0.0)
        return cls(
            n_bins=n_bins,
            weight_unit=unit,
            split=np.array([plan.n_leaves, plan.least / unit, plan.shrinkage / unit, few]),
            step=np.array([plan.shrinkage, plan.step, plan.copy]),
            rows=np.empty((2, n), np.int64),
            leaves=np.empty(n, np.int64),
            aims=np.empty((n, n_outputs)),
            pulls=np.empty((n, lanes), np.int64),
            nodes=np.empty((4, most_nodes), np.int64),
            work=np.empty((most_nodes, 5), np.int64),
            gain=np.empty(most_nodes),
            best=np.empty(most_nodes, np.int64),
            sums=np.empty((most_nodes, 3, lanes), np.int64),
            histograms=np.empty((min(plan.n_leaves, n // few) + 2, widest, lanes), np.int64),
            column=(np.zeros((256, lanes), np.int64), np.zeros(4, np.uint64), np.empty(257, np.int64)),
            leaf_sums=np.empty((plan.n_leaves, 1 + 2 * n_targets)),
        )


@dataclass(frozen=True)
class _Looks:
    """What splits look at: all targets where few, one of two complementary ones, else random sums of them."""

    n_targets: int
    n_outputs: int
    same: np.ndarray  # (c, k) the projection that leaves targets as they are

    @classmethod
    def of(cls, residuals, most):
        """Return what splits for these residuals look at."""
        n_targets = residuals.shape[1]
        complementary = n_targets == 2 and np.allclose(residuals.sum(axis=1), 0, atol=1e-8)
        n_outputs = 1 if complementary else min(n_targets, most)
        return cls(n_targets, n_outputs, np.ascontiguousarray(np.eye(n_targets)[:, :n_outputs]))

    def direction(self, generator):
        """Return the projection (c, k) of one tree."""
        if self.n_targets > max(self.n_outputs, 2):
            return generator.standard_normal((self.n_targets, self.n_outputs))
        return self.same


def _assembled(table, nodes, sizes):
    """Trees as one forest: thresholds in the units of the rows, nodes and leaves numbered through."""
    edges, starts = np.concatenate([*table.edges, [0.0]]), np.cumsum([0, *(table.n_bins - 1)])
    feature, cut, child, leaf = nodes
    first_nodes, first_leaves = (np.cumsum(column) - column for column in sizes.T)
    threshold = edges[np.where(feature < 0, 0, starts[feature] + cut)]
    child = child + np.repeat(first_nodes, sizes[:, 0])
    leaf = np.where(leaf < 0, -1, leaf + np.repeat(first_leaves, sizes[:, 0]))
    return Forest(first_nodes, feature, threshold, child, leaf)


def _drawn_columns(n_columns, generator):
    """Columns of one tree: fewer make trees differ, and wide tables affordable."""
    share = _COLUMN_SHARES[generator.integers(len(_COLUMN_SHARES))]
    size = min(math.ceil(share * n_columns), _MOST_COLUMNS)
    return np.sort(generator.choice(n_columns, size, replace=False))


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
