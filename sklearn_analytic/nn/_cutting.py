"""Consecutive layers in parts of like size."""

import math

import numpy as np


def balanced_partitions(units, n_partitions):
    """Return [(first, stop), ...]: consecutive layers whose largest sum of ``units`` is least.

    Parameters
    ----------
    units : sequence of int
        Activation units of every hidden layer, bottom to top.
    n_partitions : int
        Partitions, at most as many as layers.

    Returns
    -------
    list of tuple of int
        Half-open ranges of layers; of several equally good cuts that with the earlier borders as far up as possible.
    """
    sums, n = np.concatenate([[0], np.cumsum(units)]), len(units)
    best = [[math.inf] * (n + 1) for _ in range(n_partitions + 1)]
    cut = [[0] * (n + 1) for _ in range(n_partitions + 1)]
    best[0][0] = 0
    for parts in range(1, n_partitions + 1):
        for stop in range(parts, n + 1):
            for first in range(parts - 1, stop):
                cost = max(best[parts - 1][first], sums[stop] - sums[first])
                if cost <= best[parts][stop]:
                    best[parts][stop], cut[parts][stop] = cost, first
    found, stop = [], n
    for parts in range(n_partitions, 0, -1):
        found.insert(0, (cut[parts][stop], stop))
        stop = cut[parts][stop]
    return found
