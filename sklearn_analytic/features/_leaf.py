"""Leaves of trees as hidden units, and the scores of trees on rows that they have not seen."""

from copy import deepcopy
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy.special import softmax

from sklearn_analytic.backend import dtype_name, trees
from sklearn_analytic.features._members import grow_members
from sklearn_analytic.features._sampling import RowKeys, fit_row_keys, hash_keys, mix_bits, row_keys
from sklearn_analytic.features._trees import WEIGHT_GRID, Forest, Growth, GrowthPlan, bin_columns, grow_forest

_LAYER_LEAVES = 32  # of a tree whose leaves are hidden units
_LEAF_ROWS = 20.0
_LEAST_CHANCE = 1e-6  # of a class before any tree
_HEAVY, _HEAVY_SHARE = 100.0, 0.05  # of a content that no fold holds: rows, and share of them
N_MEMBERS = 4  # of an ensemble, and folds that they are blind to; tables whose columns hold means have more


@dataclass(frozen=True)
class LeafLayer:
    """Indicators of the leaves that a row falls in: as many ones per row as there are trees.

    Parameters
    ----------
    forest : Forest
        The trees.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_analytic.backend import get_backend
    >>> from sklearn_analytic.features import Forest, LeafLayer
    >>> stump = Forest(np.array([0]), np.array([0, -1, -1]), np.array([0.5, 0, 0]), np.array([1, 0, 0]),
    ...                np.array([-1, 0, 1]))
    >>> LeafLayer(stump).apply(np.array([[0.0], [1.0]]), get_backend("cpu"))
    array([[1., 0.],
           [0., 1.]])
    """

    forest: Forest

    @property
    def n_units(self):
        """Leaves of all trees."""
        return self.forest.n_leaves

    def apply(self, x, backend):
        """Return the indicators (n, h) in the dtype of ``x``."""
        leaves = self.forest.leaves_of(backend.to_numpy(x))
        out = np.zeros((len(leaves), self.n_units), dtype=dtype_name(x))
        np.put_along_axis(out, leaves.astype(np.int64), 1, axis=1)
        return backend.asarray(out)


def leaf_layer(rows, targets, n_units, activation, generator):
    """Return the leaves of small trees, grown in turn on leave-one-out residuals (:func:`grow_forest`).

    The trees' own leaf values are forgotten: a ridge on the indicators solves all leaves again together.

    Parameters
    ----------
    rows : ndarray of shape (m, d)
        Drawn rows, by weight.
    targets : ndarray of shape (m, c)
        One-hot or centred targets.
    n_units : int
        Leaves, at most; trees have 32 leaves or fewer.
    activation : str
        Not used.
    generator : numpy.random.Generator
        Source of all draws.

    Returns
    -------
    LeafLayer
        The layer.

    References
    ----------
    T. Zhang, R. Johnson, "Learning nonlinear functions using regularized greedy forest", IEEE TPAMI 36, 2014 (leaves
    re-fitted together).

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_analytic.features import leaf_layer
    >>> X = np.arange(100.0)[:, None]
    >>> leaf_layer(X, np.sin(X / 9), 64, "tanh", np.random.default_rng(0)).n_units <= 64
    True
    """
    hashes = _hashes(rows, generator)
    n_leaves = min(_LAYER_LEAVES, n_units)
    plan = GrowthPlan(
        max(1, n_units // n_leaves), n_leaves, 0.3, min(_LEAF_ROWS, max(2.0, len(rows) / 100)), shrinkage=4.0
    )
    centred = targets - np.mean(targets, axis=0)
    forest, _ = grow_forest(bin_columns(rows, hashes=hashes), centred, np.ones(len(rows)), hashes, plan, generator)
    return LeafLayer(forest)


@dataclass(frozen=True)
class LeafScores:
    """Members of an ensemble of trees, each blind to one fold of the rows.

    Parameters
    ----------
    forest : Forest
        The trees of all members, in turn.
    values : ndarray of shape (leaves, c)
        What a leaf adds to its member's score.
    mean : ndarray of shape (c,)
        Score before any tree.
    n_members : int
        Number of members and folds.
    direction : ndarray of shape (d,)
        Random direction by which rows get their keys, and so their folds.
    exponent : int, default=0
    narrow : bool, default=False
        How else keys are made (:class:`RowKeys`).
    gaps : Gaps or None, default=None
        Columns whose missing values may go to either side of a split.
    heavy : ndarray of uint64, or None, default=None
        Hashes of contents that no fold holds: all members have grown on them.
    sizes : tuple of int, or None, default=None
        Trees of every member; None where all have as many.
    spread : float, default=0.0
        Variance between members of the score of a row that none has seen, summed over targets.
    chances : bool, default=False
        Whether scores are probabilities, the softmax of the sums of leaves.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_analytic.features import fit_leaf_scores
    >>> X = np.arange(200.0)[:, None]
    >>> scores = fit_leaf_scores(X, np.sin(X / 20), np.ones(200), np.random.default_rng(0))
    >>> blind = scores.held_out(X)
    >>> bool(np.corrcoef(blind.ravel(), np.sin(X / 20).ravel())[0, 1] > 0.9)
    True
    """

    forest: Forest
    values: np.ndarray
    mean: np.ndarray
    n_members: int
    direction: np.ndarray
    exponent: int = 0
    narrow: bool = False
    gaps: Any = None
    heavy: np.ndarray | None = None
    sizes: tuple | None = None
    spread: float = 0.0
    chances: bool = False

    @property
    def averaged_out(self):
        """Squared error, summed over targets, that the mean of all members has less than one of them."""
        return self.spread * (1 - 1 / self.n_members)

    def scores(self, x):
        """Return the mean score (n, c) of all members: for rows that no member has seen."""
        return self._linked(self.mean + self._sums(self.forest.leaves_of(self.sided(x))) / self.n_members)

    def _linked(self, sums):
        """Scores of sums of leaves."""
        return softmax(sums, axis=1) if self.chances else sums

    def sided(self, x):
        """Return the columns that splits ask."""
        return x if self.gaps is None else self.gaps.sided(x)

    def held_out(self, x, folds=None):
        """Return for every row the score (n, c) of the member that is blind to the row's fold.

        Folds are those of the rows' content unless given; in fold -1 are rows that no member has seen.
        """
        if folds is None:
            folds = _folds(self._hashes(x), self.n_members, self.heavy)
        elif self.heavy is not None and len(self.heavy):
            folds = _seen_by_all(folds, self._hashes(x), self.heavy)
        out = np.empty((len(x), self.values.shape[1]))
        unseen = np.flatnonzero(folds < 0)
        out[unseen] = self.scores(x[unseen])
        x = self.sided(x)
        bounds = self.n_members if self.sizes is None else np.cumsum(self.sizes)[:-1]
        for member, roots in enumerate(np.split(self.forest.roots, bounds)):
            own = np.flatnonzero(folds == member)
            out[own] = self._linked(self.mean + self._sums(replace(self.forest, roots=roots).leaves_of(x[own])))
        return out

    def _hashes(self, x):
        """Hashes of the content of rows."""
        return hash_keys(RowKeys(self.direction, self.exponent, self.narrow).of(x))

    def _sums(self, leaves):
        """Sum the values of given leaves."""
        out = np.zeros((len(leaves), self.values.shape[1]))
        trees.add_leaf_values(leaves, self.values, out)
        return out


@dataclass(frozen=True)
class Gaps:
    """Columns of numbers of which some are missing: below all others in one column, and above them in another.

    A split then sends what is missing to the side that gains more, and one of the two may split it off.

    Parameters
    ----------
    columns : ndarray of int, shape (q, 2)
        Columns of numbers, each with that of its indicator of missing values.
    low, high : ndarray of shape (q,)
        Below and above all values of each.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_analytic.features import Gaps
    >>> Gaps(np.array([[0, 1]]), np.array([-9.0]), np.array([9.0])).sided(np.array([[1.0, 0.0], [2.0, 1.0]]))
    array([[ 1.,  0.,  1.],
           [-9.,  1.,  9.]])
    """

    columns: np.ndarray
    low: np.ndarray
    high: np.ndarray

    def sided(self, x):
        """Return rows (n, D) with missing values below all others, and a column for each (n, q) with them above."""
        values, missing = x[:, self.columns[:, 0]], x[:, self.columns[:, 1]] > 0.5
        out = np.concatenate([x, np.where(missing, self.high.astype(x.dtype), values)], axis=1)
        out[:, self.columns[:, 0]] = np.where(missing, self.low.astype(x.dtype), values)
        return out


def gaps_of(rows, lacking):
    """Return :class:`Gaps` of rows with such columns, or None."""
    if lacking is None or not len(lacking):
        return None
    values = np.asarray(rows[:, lacking[:, 0]], dtype=np.float64)
    low, high, most = values.min(axis=0), values.max(axis=0), np.finfo(rows.dtype).max
    with np.errstate(over="ignore"):  # near the ends of the range
        span = np.where(high > low, high - low, 1.0)
        return Gaps(lacking, np.maximum(low - span, -most), np.minimum(high + span, most))


@dataclass(frozen=True, eq=False)
class BlindRows:
    """Rows some of whose columns are made of targets: every member reads them without those that it is blind to.

    Parameters
    ----------
    folds : ndarray of shape (n,)
        The member that is blind to a row.
    n_folds : int
        Number of members.
    columns : ndarray of int, shape (q,)
        Columns that are made of targets.
    without : callable
        These columns (n, q) without the targets of a fold.
    contents : ndarray of shape (n,), uint64
        Hashes of the rows' contents: rows that are read alike may differ.
    draws : ndarray of shape (n,), uint64
        Hashes that draws follow.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_analytic.features._leaf import BlindRows
    >>> BlindRows(np.array([0, 1]), 2, np.array([0]), lambda fold: np.zeros((2, 1)), None, None).n_folds
    2
    """

    folds: np.ndarray
    n_folds: int
    columns: np.ndarray
    without: Any
    contents: np.ndarray
    draws: np.ndarray


def fit_leaf_scores(rows, targets, weights, generator, plan=None, shares=None, lacking=None, blind=None, classes=False):
    """Return trees grown in members, each without one fold of the rows, on as many threads as BLAS has.

    A row's fold depends on its content alone, so equal rows are held out together, and the held-out score of any
    row that ever enters a fit is honest. There are four members; with ``shares`` each grows without the weight in its
    fold. With ``blind`` there are as many as folds of the table, and no column gives a member a target of its fold.

    Parameters
    ----------
    rows : ndarray of shape (n, d)
        Rows.
    targets : ndarray of shape (n, c)
        One-hot or real targets.
    weights : ndarray of shape (n,)
        Frequencies.
    generator : numpy.random.Generator
        Source of all draws.
    plan : GrowthPlan or None, default=None
        Trees of one member; None lets the folds choose, by :func:`grow_members`.
    shares : ndarray of shape (n, 4) or None, default=None
        Weight of every row in every fold; None puts a row with all its copies into one, by its content.
    lacking : ndarray of int, shape (q, 2), or None, default=None
        Columns of numbers of which some are missing, each with that of its indicator: of rows of a raw table, whose
        contents may be heavy; None of plain ones.
    blind : BlindRows or None, default=None
        Folds of the rows, and columns that are made of targets; not beside ``shares``.
    classes : bool, default=False
        Whether targets are indicators of classes; where every row has one, scores are their chances.

    Returns
    -------
    LeafScores
        The ensemble.

    References
    ----------
    D. H. Wolpert, "Stacked generalization", Neural Networks 5, 1992.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_analytic.features import fit_leaf_scores
    >>> X = np.arange(60.0)[:, None]
    >>> fit_leaf_scores(X, 1.0 * (X < 30), np.ones(60), np.random.default_rng(0)).scores(X[:1]).shape
    (1, 1)
    """
    copy = 1.0 if shares is not None else np.inf  # copies that are no draws tell of each other
    plan = None if plan is None else replace(plan, copy=copy)
    keys, found = fit_row_keys(lambda function: function(rows), generator.standard_normal(rows.shape[1]), weights)
    read = hash_keys(found)
    contents, hashes = (read, read) if blind is None else (blind.contents, blind.draws)
    kept, weights, shares = _merged(targets, weights, contents, shares)
    rows, targets, read, hashes = rows[kept], targets[kept], read[kept], hashes[kept]
    mean, gaps = np.average(targets, axis=0, weights=weights), gaps_of(rows, lacking)
    table = bin_columns(rows if gaps is None else gaps.sided(rows), weights, hashes)
    heavy = None if lacking is None or shares is not None else _heavy(read, weights)
    folds, n_members = None, N_MEMBERS
    if blind is not None:
        folds, n_members = _seen_by_all(blind.folds[kept], read, heavy), blind.n_folds
    elif shares is None:
        folds = _folds(hashes, N_MEMBERS, heavy)
    generators = generator.spawn(n_members)
    chances = classes and targets.shape[1] > 1 and bool(np.all(targets.sum(axis=1) == 1))
    wanted, prior = (targets, np.log(np.maximum(mean, _LEAST_CHANCE))) if chances else (targets - mean, None)

    left_out = (
        np.ascontiguousarray(shares.T)
        if folds is None
        else np.where(folds == np.arange(n_members)[:, None], weights, 0.0)
    )
    seen = np.where(weights - left_out > 1e-9 * weights, weights - left_out, 0.0)
    seen[~np.any(seen, axis=1)] = weights
    own = [table] * n_members
    if blind is not None and len(blind.columns):
        own = [_without(table, member, rows, weights, hashes, kept, blind) for member in range(n_members)]

    def start(member, plan):
        draws = deepcopy(generators[member])  # the same for every plan
        return Growth(own[member], wanted, seen[member], hashes, plan, draws, left_out[member], prior)

    masses = np.column_stack([left_out.sum(axis=1), seen.sum(axis=1)])
    members, spread = grow_members(start, n_members, masses, plan, copy, chances)
    forests = [forest for forest, _ in members]
    values = np.concatenate([value for _, value in members])
    joined = forests[0].joined(forests[1:])
    sizes = tuple(len(forest.roots) for forest in forests)
    told_apart = {"direction": keys.direction, "exponent": keys.exponent, "narrow": keys.narrow, "heavy": heavy}
    first = prior if chances else mean
    rest = {"gaps": gaps, "sizes": sizes, "spread": spread, "chances": chances}
    return LeafScores(joined, values, first, n_members, **told_apart, **rest)


def _without(table, member, rows, weights, hashes, kept, blind):
    """The table as a member reads it: columns that are made of targets without those of its fold."""
    columns = blind.without(member)[kept].astype(rows.dtype, copy=False)
    return table.replaced(blind.columns, bin_columns(columns, weights, hashes))


def _folds(hashes, n_folds, heavy=None):
    """Fold of every row, by the hash of its content; heavy contents are in none."""
    folds = (mix_bits(hashes + np.uint64(1)) % np.uint64(n_folds)).astype(np.int64)
    return folds if heavy is None else _seen_by_all(folds, hashes, heavy)


def _seen_by_all(folds, hashes, heavy):
    """Folds of rows, none of those with heavy contents."""
    return folds if heavy is None else np.where(np.isin(hashes, heavy), -1, folds)


def _heavy(hashes, weights):
    """Contents with a large share of all weight, as where all numbers are missing.

    A member that has not seen such a content says nothing of it, and no copy of so many gives its target away.
    """
    contents, place = np.unique(hashes, return_inverse=True)
    mass = np.bincount(place, weights)
    return contents[mass >= max(_HEAVY, _HEAVY_SHARE * mass.sum())]


def _merged(targets, weights, hashes, shares):
    """Rows to keep of equal ones with equal targets, copies and weights being the same to trees; weights on a grid.

    On it sums of weights and of residuals are exact, so that no order of rows decides a split.
    """
    equal = hashes ^ mix_bits(hash_keys(row_keys(targets, np.random.default_rng(0).standard_normal(targets.shape[1]))))
    _, first, inverse = np.unique(equal, return_index=True, return_inverse=True)
    kept = slice(None)
    if len(first) < len(equal):
        kept, weights = first, np.bincount(inverse, weights)
        if shares is not None:
            shares = np.column_stack([np.bincount(inverse, column) for column in shares.T])
    weights = np.maximum(np.round(weights / WEIGHT_GRID), weights > 0) * WEIGHT_GRID
    shares = None if shares is None else np.round(shares / WEIGHT_GRID) * WEIGHT_GRID
    return kept, weights, shares


def _hashes(rows, generator):
    """Hashes of the rows' content under a fresh direction."""
    direction = generator.standard_normal(rows.shape[1])
    return hash_keys(fit_row_keys(lambda function: function(rows), direction)[1])
