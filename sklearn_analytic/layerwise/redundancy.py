"""Rows that a partition has already learned: which of them the next one may leave out, without a bias."""

import numpy as np

_EVEN = 0.1  # share of the chances that no error can take away


def informative_rows(errors, share, generator):
    """Draw a share of the rows, large errors first, with the weights that make up for it.

    Row i is drawn with a chance ``p_i`` in proportion to ``|e_i|`` over the mean plus a tenth, at most 1, and weighs
    ``1 / p_i`` afterwards (Horvitz and Thompson 1952): such sums over drawn rows estimate those over all rows without
    bias. The weights that are returned are divided by their mean, as all weights of training are; means with them are
    ratios of two such sums, with a bias of order 1 / n.

    Parameters
    ----------
    errors : ndarray of shape (n,)
        Sizes of the output errors.
    share : float
        Of the rows, in (0, 1].
    generator : numpy.random.Generator
        Source of the draw.

    Returns
    -------
    rows : ndarray of int
        Sorted indices, ``round(share n)`` of them and at least one.
    weights : ndarray
        Factors of their weights, of mean 1.
    """
    n = len(errors)
    wanted = min(max(round(share * n), 1), n)
    mean = errors.mean()
    size = _EVEN + (errors / mean if mean > 0 else np.ones(n))
    chance = _capped(size, wanted)
    order = generator.permutation(n)
    edges = np.cumsum(chance[order])
    edges *= wanted / edges[-1]  # systematic sampling: exactly so many rows
    hits = np.searchsorted(edges, generator.uniform() + np.arange(wanted), side="left")
    rows = np.sort(order[np.minimum(hits, n - 1)])
    weights = 1 / chance[rows]
    return rows, weights / weights.mean()


def _capped(size, wanted):
    """Chances in proportion to ``size`` that sum to ``wanted``, none above 1."""
    chance, sure = np.minimum(size * (wanted / size.sum()), 1.0), np.zeros(len(size), dtype=bool)
    while True:
        newly = (chance >= 1) & ~sure
        if not newly.any():
            return chance
        sure |= newly
        rest = wanted - sure.sum()
        chance = np.where(sure, 1.0, size * (rest / max(size[~sure].sum(), np.finfo(float).tiny)))
        chance = np.minimum(chance, 1.0)
