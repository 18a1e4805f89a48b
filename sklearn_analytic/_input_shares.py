"""Which columns a network in closed form uses, read off its layers and the moments of its columns: no row is kept."""

import numpy as np

from sklearn_analytic.features import stack_energy

_ROWS, _LEAST_ROWS, _ENTRIES = 256, 16, 4_000_000  # reference rows: most, least, times columns and targets
_ROUNDING = 1e-14  # of a column's mean is no deviation
_SEED = 0  # importances are no experiment: the same fit has the same ones


def input_shares(layers, coef, moments, n_columns):
    """Return the share of every column in the mean squared slope, in units of deviations, of all targets.

    ``moments`` are those of the columns and, where targets have units, of the targets after them.
    """
    mean, deviation = moments.mean[:n_columns], moments.deviation[:n_columns]
    deviation = np.where(deviation > _ROUNDING * np.abs(mean), deviation, 0.0)
    n_rows = int(np.clip(_ENTRIES // (n_columns * coef.shape[1]), _LEAST_ROWS, _ROWS))
    half = np.random.default_rng(_SEED).standard_normal((n_rows // 2, n_columns)) * deviation
    rows = np.concatenate([mean + half, mean - half])
    energy = stack_energy(layers, rows, in_units(coef, moments.deviation[n_columns:]), deviation).sum(axis=0)
    return energy / energy.sum() if energy.sum() > 0 else energy


def in_units(coef, deviation):
    """Return the readout of targets in units of their deviations, where they have any; constant ones count nothing."""
    if len(deviation) == 0:
        return coef
    return np.divide(coef, deviation, out=np.zeros_like(coef), where=deviation > 0)
