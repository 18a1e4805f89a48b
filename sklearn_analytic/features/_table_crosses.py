"""Pairs of columns whose levels tell more of the target together than what a few trees make of them one by one.

Which pairs is decided on a sample of rows: trees on the encoded columns, each blind to one fold, leave over residuals,
and a pair is read when its means, of the rows of other folds, explain what those of its two columns do not.
"""

from dataclasses import dataclass, replace
from functools import cached_property, partial
from itertools import combinations

import numpy as np
from scipy import stats

from sklearn_analytic.features._leaf import fit_leaf_scores
from sklearn_analytic.features._level_sums import LevelSums
from sklearn_analytic.features._table_encoding import N_FOLDS, RowFolds
from sklearn_analytic.features._table_pairs import Factor, cell_numbers
from sklearn_analytic.features._trees import GrowthPlan

_SAMPLE = 10_000  # distinct rows that decide
_PLAN = GrowthPlan(n_trees=10, n_leaves=32, step=0.3)
_SCORES = 4  # columns of targets that decide: more are projected at random
_FACTORS = 24  # columns that may be in a pair
_FEW_VALUES = 64  # of a column of numbers that may
_LEAST_CELLS = 64  # fewer pairs of levels are what trees find
_MOST_CELLS = 0.9  # of the rows
_CANDIDATES = 12  # pairs that are looked at together
_MOST = 3  # that are read
_GAIN = 0.003  # share of what trees leave over, at least
_GAIN_OF_NUMBERS = 0.02  # of two columns of numbers, which more trees find
_CHANCE = 1e-6  # of as much gain where there is none
_SAME = 1e-6  # share of a column beyond others, below which it says what they say


@dataclass(frozen=True, eq=False)
class Sample:
    """Distinct rows that decide which pairs are read.

    Parameters
    ----------
    x : ndarray of shape (m, d)
        Coded rows.
    targets : ndarray of shape (m, c)
        Their mean targets.
    weights : ndarray of shape (m,)
        In rows.
    hashes : ndarray of shape (m, 2), uint64
        Of their contents, and those that draws follow.
    """

    x: np.ndarray
    targets: np.ndarray
    weights: np.ndarray
    hashes: np.ndarray

    @cached_property
    def folds(self):
        """Folds (m,) of the rows."""
        return RowFolds.dealt(self.hashes[:, 1])

    def means(self, places, n):
        """Return the means (m, c) of other folds for rows with levels below n; None where they tell nothing."""
        sums = LevelSums.of(places, n, self.folds, self.targets, self.weights, N_FOLDS)
        return sums.means(unit=1.0)[self.folds, places] if sums.tell(unit=1.0) else None

    def narrowed(self):
        """Return the sample with few columns of targets."""
        c = self.targets.shape[1]
        if c <= _SCORES:
            return self
        projection = np.random.default_rng(0).standard_normal((c, _SCORES)) / np.sqrt(c)
        return replace(self, targets=self.targets @ projection)


def chosen_pairs(survey, encoding):
    """Return the pairs of factors to be read beside the columns of an encoding, none of most tables.

    Parameters
    ----------
    survey : Survey
        What is known of the rows.
    encoding : TableEncoding
        Of their single columns.

    Returns
    -------
    list of (Factor, Factor)
        The pairs.
    """
    sample = survey.sample(_SAMPLE)
    if not sample.targets.size:  # no row, or targets that are all the same
        return []
    sample = replace(sample, targets=sample.targets - np.average(sample.targets, axis=0, weights=sample.weights))
    few = sample.narrowed()
    n_effective = few.weights.sum() ** 2 / np.sum(few.weights**2)  # a heavy row is no many
    least = max(_GAIN, stats.chi2.isf(_CHANCE, few.targets.shape[1]) / n_effective)
    factors = _factors(sample.x, survey.level_keys)
    candidates = _candidates(few, factors)
    if not candidates or least > 1:
        return []
    left = replace(few, targets=_left_over(sample, few, encoding, survey))
    return _greedy(left, candidates, least)


def _factors(x, level_keys):
    """Columns with levels: categories, and numbers of few values; those of most levels where there are many."""
    found = []
    for j, (column, keys) in enumerate(zip(x.T, level_keys, strict=True)):
        values = _few_values(column[~np.isnan(column)]) if keys is None else None
        if keys is not None or values is not None:
            found.append(Factor(j, len(keys) - 2 if values is None else len(values), values))
    used = [np.count_nonzero(np.bincount(factor.places(x))) for factor in found]
    order = np.argsort(np.negative(used), kind="stable")[:_FACTORS]
    return [found[k] for k in np.sort(order) if used[k] > 1]


def _few_values(numbers):
    """The distinct values of numbers, in float32, or None where they are many, at most two, or near each other."""
    if len(np.unique(numbers[:1000])) > _FEW_VALUES:
        return None
    values = np.unique(numbers)
    with np.errstate(over="ignore"):
        near = np.unique(values.astype(np.float32))
    is_plain = len(near) == len(values) and np.isfinite(near).all()
    return near if 2 < len(values) <= _FEW_VALUES and is_plain else None


def _candidates(sample, factors):
    """Pairs of factors with many pairs of levels, that tell of the target: what each of three means says of rows."""
    alone, found = {}, []
    for first, second in combinations(factors, 2):
        numbers = cell_numbers(first, second, sample.x)
        cells, places = np.unique(numbers, return_inverse=True)
        if not _LEAST_CELLS < len(cells) <= _MOST_CELLS * len(numbers):
            continue
        together = sample.means(places, len(cells))
        if together is None:
            continue
        for factor in (first, second):
            if factor.column not in alone:
                own = sample.means(factor.places(sample.x), factor.n_levels + 2)
                alone[factor.column] = np.zeros_like(together) if own is None else own
        found.append((first, second, alone[first.column], alone[second.column], together))
    return found


def _left_over(sample, few, encoding, survey):
    """What trees on the encoded columns, which are blind to a row's fold, leave over of few columns of its targets."""
    rows = encoding.transform(sample.x, sample.folds)
    blinded = encoding.blind_rows(sample.x, sample.hashes, partial(survey.blind, encoding, None))
    scores = fit_leaf_scores(
        rows,
        few.targets,
        sample.weights,
        np.random.default_rng(0),
        _PLAN,
        lacking=encoding.gap_columns,
        blind=blinded,
    )
    return few.targets - scores.held_out(rows, sample.folds)


def _greedy(sample, candidates, least):
    """Pairs in turn, each the one that explains most of what those before have left over, and enough of it."""
    chosen, residual = [], sample.targets
    whole = np.sum(sample.weights @ residual**2)
    gains = [_gain(residual, *means, sample.weights) for _, _, *means in candidates]
    order = np.argsort([-gain for gain, _ in gains], kind="stable")[:_CANDIDATES]
    candidates = [candidates[k] for k in order]
    while candidates and len(chosen) < _MOST:
        gains = [_gain(residual, *means, sample.weights) for _, _, *means in candidates]
        excess = [gain - whole * _due(pair, least) for (gain, _), pair in zip(gains, candidates, strict=True)]
        best = int(np.argmax(excess))
        if excess[best] <= 0:
            break
        first, second, *_ = candidates.pop(best)
        residual = gains[best][1]
        chosen.append((first, second))
    return chosen


def _due(pair, least):
    """Share that a pair has to explain."""
    of_numbers = pair[0].values is not None and pair[1].values is not None
    return max(least, _GAIN_OF_NUMBERS) if of_numbers else least


def _gain(residual, one, two, together, weights):
    """What means of pairs explain of residuals beyond those of single columns, and what is left over."""
    root = np.sqrt(weights)
    gain, left = 0.0, np.empty_like(residual)
    for k, column in enumerate(residual.T):
        basis = []
        for known in (np.ones(len(root)), one[:, k], two[:, k]):
            _extend(basis, known * root)
        rest = _without(basis, column * root)
        if _extend(basis, together[:, k] * root):
            share = max(basis[-1] @ rest, 0.0)  # a pair that says the opposite says nothing
            rest, gain = rest - share * basis[-1], gain + share**2
        left[:, k] = rest / root
    return gain, left


def _extend(basis, column):
    """Add what a column has beyond an orthonormal basis, if anything; return whether it has."""
    size = np.linalg.norm(column)
    column = _without(basis, column)
    own = np.linalg.norm(column)
    if own <= _SAME * size:
        return False
    basis.append(column / own)
    return True


def _without(basis, column):
    """A column less its projection on an orthonormal basis."""
    for known in basis:
        column = column - known * (known @ column)
    return column
