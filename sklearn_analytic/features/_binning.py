"""Columns in bins: the form in which trees look for splits."""

from dataclasses import dataclass

import numpy as np

_BINS, _FEW_BINS, _ROWS_PER_BIN = 128, 16, 8  # of one column: at most, with few rows, and where the number grows
_CELLS, _WIDE_BINS = 8192, 24  # bins of all columns together, so that histograms stay in cache, but so many of each
_EDGE_ROWS = 20_000  # quantiles of so many rows are exact enough


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
    last = np.flatnonzero(np.append(ordered[1:] != ordered[:-1], True))  # of every distinct value
    values = ordered[last]
    chosen = np.arange(len(values) - 1)
    if len(values) > most:
        mass = np.diff(np.cumsum(weights[order])[last], prepend=0.0)
        heavy = mass * most >= mass.sum()
        reach = np.cumsum(np.where(heavy, 0.0, mass))
        share = reach[-1] / (most - min(int(heavy.sum()), most - 1))
        bins = np.floor(reach * (1 - 1e-12) / max(share, 1e-300))
        chosen = np.flatnonzero((np.diff(bins) > 0) | heavy[:-1] | heavy[1:])
    return 0.5 * values[chosen] + 0.5 * values[chosen + 1]
