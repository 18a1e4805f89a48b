"""Which inputs a closed-form network uses: how its scores change where values move along the ranks of a column."""

import numpy as np

from sklearn_analytic.io import auto_block_size

_STEP = 0.1  # of the ranks of a column, by which importances move a value
_ROWS, _LEAST_ROWS, _MOVES = 256, 16, 50_000  # rows moved: most, least, times columns


def rank_importances(x, score, backend):
    """Return the share of every column in the mean squared slope of ``score(rows, backend)`` over its ranks.

    The diagonal of the average outer product of finite differences: every value is moved by a tenth of its column's
    ranks either way, and the change of the scores divided by that of the rank.
    """
    n_columns = x.shape[1]
    x = x[: max(_LEAST_ROWS, min(_ROWS, _MOVES // n_columns))]
    together = max(1, auto_block_size(n_columns) // (2 * len(x)))
    starts = range(0, n_columns, together)
    parts = [_rank_slopes(x, range(k, min(k + together, n_columns)), score, backend) for k in starts]
    energy = np.concatenate(parts)
    return energy / energy.sum() if energy.sum() > 0 else energy


def _rank_slopes(x, columns, score, backend):
    """Mean over rows of the squared change of the scores over that of the rank, for some columns moved in turn."""
    moved, spans = [], []
    for k in columns:
        for values in _neighbours(x[:, k]):
            part = np.array(x)
            part[:, k] = values
            moved.append(part)
        spans.append(_mid_ranks(x[:, k], moved[-1][:, k]) - _mid_ranks(x[:, k], moved[-2][:, k]))
    scores = backend.to_numpy(score(backend.asarray(np.concatenate(moved)), backend)).reshape(len(spans), 2, len(x), -1)
    change = np.sum((scores[:, 1] - scores[:, 0]) ** 2, axis=2)  # (columns, rows)
    spans = np.array(spans)
    return np.mean(np.divide(change, spans**2, out=np.zeros_like(change), where=spans > 0), axis=1)


def _neighbours(column):
    """Values a step of the ranks below and above every value."""
    ordered = np.sort(column)
    reach = max(1, int(np.ceil(_STEP * len(column))))
    low = ordered[np.maximum(np.searchsorted(ordered, column, side="left") - reach, 0)]
    high = ordered[np.minimum(np.searchsorted(ordered, column, side="right") - 1 + reach, len(column) - 1)]
    return low, high


def _mid_ranks(column, values):
    """Mean rank of values of a column, in 0..1; a binary column's two values are half apart."""
    ordered = np.sort(column)
    below, upto = (np.searchsorted(ordered, values, side=side) for side in ("left", "right"))
    return (below + upto) / (2 * len(column))
