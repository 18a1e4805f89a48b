"""Automatic choice of a layer: candidates and scales scored by exact leave-one-out on few rows."""

from dataclasses import replace
from functools import partial

import numpy as np

from sklearn_analytic.features import (
    WeightedEncoding,
    diagonal_agop,
    draw_rows,
    laplace_layer,
    subclass_layer,
    weighted_mean,
)
from sklearn_analytic.linalg import NormalEquations, ridge_exits

_RADIAL_WIDTHS = (1.0, 2.0, 4.0)  # scales of radial units, taken in turn
_ROWS, _AUDIT, _UNITS, _INPUT_COLUMNS = 1500, 500, 200, 150
_ALPHAS = (1.0, 10.0)
_WORTHWHILE = 0.01  # relative gain in leave-one-out error for which a re-weighting is kept
_LEAST_JUDGES = 200  # audit rows, below which such a gain is chance
_LEAST_FACTOR = 0.01
_ENERGY_ROWS = 250  # over which the gradient is averaged


def radial_units(a, width, generator, factor):
    """Sub-class means as Gaussian units, ``factor`` on their inverse squared widths."""
    drawn = draw_rows(a.keys, a.weights, width, generator)
    drawn = drawn[np.unique(a.keys[drawn], return_index=True)[1]]  # equal rows would be equal units
    centred = a.x - weighted_mean(a.x, a.weights)
    variance = max(float(np.sum(weighted_mean(centred**2, a.weights))), 1e-12)
    gamma = factor * np.asarray(_RADIAL_WIDTHS) / (2 * variance)
    return subclass_layer(a.x, a.labels, a.weights, a.x[drawn], a.labels[drawn], gamma)


def laplace_units(a, width, generator, factor):
    """Laplace units at drawn rows, ``factor`` on their widths."""
    drawn = draw_rows(a.keys, a.weights, width, generator)
    return laplace_layer(a.x[drawn], None, width, "bump", generator, scales=(factor,))


CANDIDATES = {"radial": (radial_units, (0.5, 1.0, 2.0)), "laplace": (laplace_units, (0.5, 1.0))}  # scales around 1
_FIRST = 1.0


def search_layer(encoding, rows, audit, carries_input, n_refits, generator, backend):
    """Return (encoding, build, tried): the best candidate on a small problem, inputs re-weighted if that helps.

    Every candidate is one small network, [A | H], solved for all ridges from one statistic; its error is the
    leave-one-out error of audit rows, which build no layer. ``build(a, width, generator)`` makes a layer of the
    winner from encoded rows.
    """
    few = draw_rows(rows.keys, rows.weights, min(_ROWS, int(np.ceil(rows.weights.sum()))), generator)
    small, check = rows.taken(few, ones=True), audit.taken(slice(0, _AUDIT))
    seed = generator.integers(1 << 32)
    problem = partial(_solved, small=small, check=check, carries_input=carries_input, seed=seed, backend=backend)
    solutions = {(name, _FIRST): problem(encoding, CANDIDATES[name][0], _FIRST) for name in CANDIDATES}
    name, _ = min(solutions, key=lambda key: solutions[key].error)
    construct, scales = CANDIDATES[name]
    for scale in scales:  # other scales of the better kind alone
        if scale != _FIRST:
            solutions[name, scale] = problem(encoding, construct, scale)
    name, factor = min(solutions, key=lambda key: solutions[key].error)
    solution = solutions[name, factor]
    records = [{"hidden": n, "scale": f, "refits": 0, "error": s.error} for (n, f), s in solutions.items()]
    few_judges = len(check.x) < _LEAST_JUDGES
    for refit in range(1, 0 if few_judges else n_refits + 1):
        candidate = _reweighted(encoding, solution)
        again = problem(candidate, construct, factor)
        records.append({"hidden": name, "scale": factor, "refits": refit, "error": again.error})
        if again.error > solution.error * (1 - _WORTHWHILE):
            break
        encoding, solution = candidate, again
    return encoding, partial(construct, factor=factor), records


class _Solution:
    """A small network that was solved: its error, and the mean squared derivative per encoded column."""

    def __init__(self, error, layer, coef, rows, direct):
        self.error, self._layer, self._coef, self._rows, self._direct = error, layer, coef, rows, direct

    def energy(self):
        """Diagonal of the average gradient outer product with respect to the encoded columns."""
        return diagonal_agop(self._layer, self._rows, self._coef) + self._direct


def _solved(encoding, construct, factor, *, small, check, carries_input, seed, backend):
    """Build and solve one small candidate."""
    a = replace(small, x=encoding.transform(small.x, backend))
    checked = encoding.transform(check.x, backend)
    layer = construct(a, _UNITS, np.random.default_rng(seed), factor)
    rows = np.concatenate([checked, a.x])
    targets = np.concatenate([check.targets, a.targets])
    weights = np.concatenate([check.weights, a.weights])
    hidden = layer.apply(rows, backend)
    carried = rows.shape[1] if carries_input and rows.shape[1] <= _INPUT_COLUMNS else 0
    parts = [rows, hidden] if carried else [hidden]
    features = backend.stack_columns(parts, [1.0] * len(parts), rows.dtype)
    statistic = NormalEquations.from_rows(features, targets, weights, backend, widen=False)
    held = slice(0, len(checked))
    judged = (features[held], targets[held], weights[held])
    readout = ridge_exits(statistic, [features.shape[1]], judged, _ALPHAS, left_out=weights[held], unit=1.0)[0]
    direct = np.zeros(rows.shape[1])
    direct[:carried] = np.sum(readout.coef[:carried] ** 2, axis=1)
    return _Solution(readout.error, layer, readout.coef[carried:], a.x[:_ENERGY_ROWS], direct)


def _reweighted(encoding, solution):
    """The encoding with columns scaled by the root of their share in the readout's gradient."""
    energy = np.sqrt(np.maximum(solution.energy(), 0))
    factors = np.maximum(energy / max(energy.max(initial=0.0), 1e-300), _LEAST_FACTOR)
    return WeightedEncoding(encoding, factors * np.sqrt(len(factors) / np.sum(factors**2)))
