"""Members of an ensemble of trees, each blind to one fold: how many trees of what kind pays is read off those folds."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np

from sklearn_analytic.backend import n_threads
from sklearn_analytic.features._trees import GrowthPlan

_MOST_TREES = 300
KINDS = {  # of trees, from plain to fine: for numbers, and for the chances of classes
    False: tuple(GrowthPlan(_MOST_TREES, n, 0.15, least) for n, least in ((32, 5.0), (128, 5.0), (512, 1.0))),
    True: tuple(GrowthPlan(_MOST_TREES, n, 0.1, least, 3.0) for n, least in ((32, 2.0), (128, 2.0), (512, 1.0))),
}
_ALL_OUTPUTS, _ALL_HANDICAP = 32, 0.02  # targets that splits look at, where sums at random tell so much less
_TRIAL = 5  # trees of a kind, by which it is judged, and trees between two looks at the error
_REST = 0.3  # share of what a kind has left over of rows that it sees, which further trees will gain on others
_PLAIN_HANDICAP = {False: 0.03, True: 0.0}  # relative gain that few leaves have to show: folds hold copies together
_LOOKED_BACK, _WORTHWHILE = 10, 3e-3  # trees, and their relative gain for which further ones are grown
_UNJUDGED = 30  # trees, where no row tells of their error


def grow_members(start, n_members, masses, plan=None, copy=np.inf, chances=False):
    """Return (forest, values) of every member, grown in step, each without the rows of one fold; and their spread.

    Some trees of few and of more leaves are grown first, and of many where more are better. A kind is judged by the
    error on blind folds, less a share of what it has yet to learn: the error that its own rows have left over. A
    member goes on with the kind that is best on the folds of the *other* members. All grow while the error on all
    folds falls, and a member keeps as many trees as are best for the other folds. So a fold has no say in what is
    scored on it, but for what all folds together decide: which kinds are tried, and when growth ends.

    Parameters
    ----------
    start : callable
        ``start(member, plan)`` returns the :class:`Growth` of a member, whose ``errors`` watch its fold.
    n_members : int
        Number of members, and folds.
    masses : ndarray of shape (n_members, 2)
        Weight of the fold that a member is blind to, and of the rows that it sees.
    plan : GrowthPlan or None, default=None
        The kind and number of trees, where there is nothing to choose.
    copy : float, default=inf
        Most weight that leaves with a row.
    chances : bool, default=False
        Whether trees are those of the log-loss of classes.

    Returns
    -------
    members : list of (Forest, ndarray)
        Trees of every member, and the values of their leaves.
    spread : float
        Variance between members of the score of a row that none has seen, summed over targets: that of leave-one-out
        residuals.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_analytic.features import Growth, bin_columns
    >>> from sklearn_analytic.features._members import grow_members
    >>> X, hashes = np.arange(80.0)[:, None], np.arange(80, dtype=np.uint64) << np.uint64(57)
    >>> blind = [np.arange(80) % 2 == fold for fold in range(2)]
    >>> def start(member, plan):
    ...     rows = bin_columns(X), X - X.mean(), 1.0 - blind[member], hashes
    ...     return Growth(*rows, plan, np.random.default_rng(member), 1.0 * blind[member])
    >>> members, spread = grow_members(start, 2, np.full((2, 2), 40.0))
    >>> len(members), spread > 0
    (2, True)
    """
    if plan is not None:
        growths = _in_threads(lambda member: _grown(start(member, plan), plan.n_trees), range(n_members))
        return [growth.forest() for growth in growths], _spread(growths)
    contest = _Contest(start, n_members, masses, copy, chances)
    growths = contest.winners()
    while _goes_on(growths, masses):
        _in_threads(lambda growth: _grown(growth, _TRIAL), growths)
    others = [_others(member, growths) for member in range(n_members)]
    numbers = [_best_number(growths, rest, masses) for rest in others]
    members = [growth.forest(number) for growth, number in zip(growths, numbers, strict=True)]
    return members, _spread(growths)


class _Contest:
    """Kinds of trees that have been tried, a few of each by every member."""

    def __init__(self, start, n_members, masses, copy, chances):
        self._start, self._members, self._masses = start, range(n_members), masses
        self._kinds = [replace(kind, copy=copy) for kind in KINDS[chances]]
        self._handicap = _PLAIN_HANDICAP[chances]
        self._tried = {}  # {plan: growths of all members}

    def winners(self):
        """Return the growth that every member goes on with."""
        plain, middle, fine = self._kinds
        self._try(plain)
        if self._masses[:, 0].sum() == 0:
            return self._tried[plain]
        weight = float(np.max(self._masses[:, 1]))
        if weight / plain.least > plain.n_leaves:  # few rows fill neither of two numbers of leaves
            self._try(middle)
        if self._best() != plain or middle not in self._tried:
            self._try(fine)
        best = self._best()
        if self._tried[best][0].residuals.shape[1] > best.n_outputs:
            self._try(replace(best, n_outputs=_ALL_OUTPUTS))
            if best == middle and self._best() != best:
                self._try(replace(fine, n_outputs=_ALL_OUTPUTS))
        return [self._tried[self._best(member)][member] for member in self._members]

    def _try(self, kind):
        """Grow some trees of a kind."""
        self._tried[kind] = _in_threads(lambda member: _grown(self._start(member, kind), _TRIAL), self._members)

    def _best(self, member=None):
        """The kind that does best on all folds, or on those that a member sees and by what it has left over there."""
        judges = [other for other in self._members if other != member and self._masses[other, 0] > 0]
        judges = judges or self._members
        learners = self._members if member is None else [member]

        def expected(kind):
            errors = np.array([growth.errors[-1] for growth in self._tried[kind]])
            apart = errors[judges, 0].sum() / self._masses[judges, 0].sum()
            seen = errors[learners, 1].sum() / self._masses[learners, 1].sum()
            handicap = self._handicap * (kind.n_leaves == self._kinds[0].n_leaves)
            handicap += _ALL_HANDICAP * (kind.n_outputs == _ALL_OUTPUTS)
            return (apart - _REST * seen) * (1 + handicap)

        return min(self._tried, key=expected)


def _grown(growth, n_trees):
    """A growth with further trees."""
    growth.grow(n_trees)
    return growth


def _others(member, growths):
    """Other members, of the same kind where there are any."""
    rest = [other for other in range(len(growths)) if other != member]
    return [other for other in rest if growths[other].plan == growths[member].plan] or rest


def _curve(growths):
    """Error over the folds of some members after every number of trees."""
    return np.sum([[apart for apart, _ in growth.errors] for growth in growths], axis=0)


def _goes_on(growths, masses):
    """Whether the last trees of all members were worth it."""
    if len(growths[0]) >= _MOST_TREES:
        return False
    if masses[:, 0].sum() == 0:
        return len(growths[0]) < _UNJUDGED
    curve = _curve(growths)
    return len(curve) <= _LOOKED_BACK or curve.min() < (1 - _WORTHWHILE) * curve[:-_LOOKED_BACK].min()


def _best_number(growths, others, masses):
    """Number of trees of least error on the folds of other members."""
    if masses[others, 0].sum() == 0:
        return len(growths[0])
    return 1 + int(np.argmin(_curve([growths[other] for other in others])))


def _spread(growths):
    """Mean over rows of the variance between members, summed over targets."""
    total = growths[0].weights + growths[0].watched
    mean = sum(growth.residuals for growth in growths) / len(growths)
    squares = sum(np.sum((growth.residuals - mean) ** 2, axis=1) for growth in growths)
    return float(np.average(squares, weights=total)) / (len(growths) - 1)


def _in_threads(function, jobs):
    """Return ``function`` of every job, side by side where there are threads for it."""
    n_workers = min(len(jobs), n_threads())
    if n_workers == 1:
        return [function(job) for job in jobs]
    with ThreadPoolExecutor(n_workers) as pool:
        return list(pool.map(function, jobs))
