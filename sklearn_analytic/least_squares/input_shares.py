"""Which columns a network in closed form uses, read off its layers and the moments of its columns: no row is kept."""

import numpy as np

from sklearn_analytic.backend import get_backend
from sklearn_analytic.features import apply_layers
from sklearn_analytic.io import auto_block_size

_ROWS, _LEAST_ROWS, _MOVES = 256, 16, 200_000  # reference rows: most, least, times columns
_ROUNDING = 1e-14  # of a column's mean is no deviation
_SEED = 0  # importances are no experiment: the same fit has the same ones


def input_shares(layers, coef, moments, n_columns):
    """Return the share of every column in the mean squared change of all targets where its values are drawn anew.

    Slopes would not do: saturated units are steps. ``moments`` are those of the columns and, where targets have
    units, of the targets after them.
    """
    mean, deviation = moments.mean[:n_columns], moments.deviation[:n_columns]
    deviation = np.where(deviation > _ROUNDING * np.abs(mean), deviation, 0.0)
    n_rows = int(np.clip(_MOVES // n_columns, _LEAST_ROWS, _ROWS))
    draws, others = np.random.default_rng(_SEED).standard_normal((2, n_rows, n_columns))
    rows, changed = mean + draws * deviation, mean + others * deviation
    coef, backend = in_units(coef, moments.deviation[n_columns:]), get_backend("cpu")
    together = max(1, auto_block_size(n_columns) // n_rows)
    energy, varied = np.zeros(n_columns), np.flatnonzero(deviation)
    before = backend.matmul(apply_layers(layers, rows, backend), coef)
    for start in range(0, len(varied), together):
        columns = varied[start : start + together]
        moved = np.tile(rows, (len(columns), 1, 1))
        moved[np.arange(len(columns)), :, columns] = changed.T[columns]
        after = backend.matmul(apply_layers(layers, moved.reshape(-1, n_columns), backend), coef)
        energy[columns] = np.sum((after.reshape(len(columns), n_rows, -1) - before) ** 2, axis=(1, 2))
    energy /= np.sum((others - draws) ** 2, axis=0)  # or columns would differ by the luck of their draws
    return energy / energy.sum() if energy.sum() > 0 else energy


def in_units(coef, deviation):
    """Return the readout of targets in units of their deviations, where they have any; constant ones count nothing."""
    if len(deviation) == 0:
        return coef
    return np.divide(coef, deviation, out=np.zeros_like(coef), where=deviation > 0)
