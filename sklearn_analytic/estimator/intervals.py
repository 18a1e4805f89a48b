r"""What leave-one-out residuals say of new targets: jackknife+ intervals and standard deviations, in closed form.

The readout without row i predicts :math:`f(x) - \omega_i\, \phi(x)^T A^{-1} \phi_i\, r_i`, so that all of them cost
one product with what is kept here.
"""

from dataclasses import dataclass

import numpy as np
from scipy import linalg

from sklearn_analytic.features import linear_readout
from sklearn_analytic.linalg import conformal_quantile

_ALPHAS = np.logspace(-2, 4, 13)  # of readouts of log |r|, per feature of unit variance
_POWERS = (0.5, 1.0)  # of the scales that they give
_LEAST = 1e-3  # of the root mean square: a smaller residual is not told from it
_MOST_SPARED = 0.7  # of the mean squared residual
_FEW = 40  # rows, with which no scale is learned
_FLAT = 1e-9  # a feature that varies less than this share of its size is rounding
_USUAL = 0.9  # coverage by which the scale of a standard deviation is chosen


@dataclass(frozen=True, eq=False)
class Moves:
    """How the predictions of one ridge solution move without each row of the fit."""

    directions: np.ndarray  # (q, m) of the first q features
    constants: np.ndarray  # (m,)
    residuals: np.ndarray  # (m, c) leave-one-out, times the weight that leaves with a row

    def of(self, features, backend):
        """Return what a unit of each row's residual adds to the predictions of rows: (n, m) on the host."""
        given = features[:, : len(self.directions)]
        return backend.to_numpy(linear_readout(given, self.directions, self.constants, backend))


@dataclass(frozen=True, eq=False)
class Scale:
    """A readout of log |r|: what the features of a row, or its prediction, say of the size of its residual."""

    of_level: bool  # reads the prediction and its square
    coef: np.ndarray  # (k,)
    intercept: float
    own: np.ndarray  # (m,) of the rows, without themselves
    power: float

    def of(self, level, features):
        """Return the scales (n,) of rows, none beyond those of the rows of the fit."""
        read = np.column_stack([level, level**2]) if self.of_level else features
        logs = np.clip(read @ self.coef + self.intercept, self.own.min(), self.own.max())
        return np.exp(self.power * logs)

    @property
    def own_scales(self):
        """Scales of the rows of the fit."""
        return np.exp(self.power * self.own)


@dataclass(frozen=True, eq=False)
class Jackknife:
    """Leave-one-out residuals of rows of a fit, and all models without one of them."""

    residuals: np.ndarray  # (m, c)
    noise: np.ndarray  # (m, c) squares of residuals without what the row itself takes from the model's certainty
    weights: np.ndarray  # (m,) in rows
    moves: tuple  # of ridge solutions
    scales: tuple  # for every target those to choose from; the first is one for all
    share: float  # weight of all rows over that of these

    @classmethod
    def of(cls, left_out, features, moves, total, spared, backend):
        """Return what rows that are ``left_out`` say, with their ``features``.

        ``spared`` (c,) is the squared error that new rows have less than these.
        """
        residuals = left_out.targets - left_out.predictions
        weights = left_out.weights
        squared = np.average(residuals**2, axis=0, weights=weights)
        least = np.divide(spared, squared, out=np.zeros(len(squared)), where=squared > 0)
        residuals = residuals * np.sqrt(1 - np.minimum(least, _MOST_SPARED))
        own = sum(np.diag(move.of(features, backend))[:, None] * move.residuals for move in moves)
        noise = np.maximum(residuals * (residuals - own), 0)
        features = np.asarray(backend.to_numpy(features), dtype=np.float64)
        scales = tuple(_scales(left_out.predictions[:, t], features, r, weights) for t, r in enumerate(residuals.T))
        return cls(residuals, noise, weights, moves, scales, total / float(np.sum(left_out.gone)))

    @property
    def n_rows(self):
        """Weight of the rows, in rows."""
        return float(np.sum(self.weights))

    def bounds(self, predictions, features, coverage, backend):
        """Return lower and upper ends (n, c, 2) of jackknife+ intervals about predictions (n, c), on the host."""
        units = [move.of(features, backend) for move in self.moves]
        plain = np.asarray(backend.to_numpy(features), dtype=np.float64)
        out = np.empty((*predictions.shape, 2))
        for t, level in enumerate(predictions.T):
            scale, size = self._scale(t, coverage), np.abs(self.residuals[:, t])
            reach = scale.of(level, plain)[:, None] * (size / scale.own_scales)
            without = self._without(t, level, units)
            out[:, t, 0] = -conformal_quantile(reach - without, self.weights, coverage)
            out[:, t, 1] = conformal_quantile(reach + without, self.weights, coverage)
        return out

    def deviations(self, predictions, features, backend):
        """Return standard deviations (n, c) of new targets: of their noise, and of the model by the jackknife."""
        units = [move.of(features, backend) for move in self.moves]
        plain = np.asarray(backend.to_numpy(features), dtype=np.float64)
        out = np.empty(predictions.shape)
        for t, level in enumerate(predictions.T):
            scale = self._scale(t, _USUAL)
            noise = np.average(self.noise[:, t] / scale.own_scales**2, weights=self.weights)
            noise = noise * scale.of(level, plain) ** 2
            moved = self._without(t, level, units) - level[:, None]
            out[:, t] = np.sqrt(noise + self.share * np.sum(moved**2, axis=1))
        return out

    def _without(self, t, level, units):
        """Predictions (n, m) of one target by the model without each row."""
        found = np.broadcast_to(level[:, None], (len(level), len(self.weights)))
        for unit, move in zip(units, self.moves, strict=True):
            found = found - unit * move.residuals[:, t]
        return found

    def _scale(self, t, coverage):
        """The scale of least mean interval score on the rows themselves."""
        return min(self.scales[t], key=lambda scale: self._interval_score(t, scale, coverage))

    def _interval_score(self, t, scale, coverage):
        """Mean interval score of the rows about their leave-one-out predictions."""
        own, size = scale.own_scales, np.abs(self.residuals[:, t])
        half = own * conformal_quantile(size / own, self.weights, coverage)
        missed = np.maximum(size - half, 0) / (1 - coverage)
        return np.average(2 * (half + missed), weights=self.weights)


def _scales(level, features, residuals, weights):
    """Scales to choose from: one for all; of the level of predictions and of all features, each with its powers."""
    found = [Scale(False, np.zeros(features.shape[1]), 0.0, np.zeros(len(residuals)), 0.0)]
    size = np.sqrt(np.average(residuals**2, weights=weights))
    if size == 0 or len(residuals) < _FEW:
        return tuple(found)
    logs = np.log(np.maximum(np.abs(residuals) / size, _LEAST))
    for of_level, read in ((True, np.column_stack([level, level**2])), (False, features)):
        fitted = _small_readout(read, logs)
        if fitted is not None:
            found += [Scale(of_level, *fitted, power) for power in _POWERS]
    return tuple(found)


def _small_readout(rows, target):
    """Weights, constant and leave-one-out predictions of a ridge readout of few rows; None where nothing varies."""
    mean, deviation = rows.mean(axis=0), rows.std(axis=0)
    varies = deviation > _FLAT * np.abs(mean)
    if not np.any(varies):
        return None
    z = (rows[:, varies] - mean[varies]) / deviation[varies]
    eigenvalues, u = _left_vectors(z)
    level = target.mean()
    centred = target - level
    turned, best = u.T @ centred, None
    for alpha in _ALPHAS:
        fitted = eigenvalues / (eigenvalues + alpha)
        left = centred - u @ (fitted * turned)
        residuals = left / (1 - 1 / len(target) - (u**2) @ fitted)
        error = np.mean(residuals**2)
        if best is None or error < best[0]:
            best = error, residuals, left / alpha
    coef = np.zeros(rows.shape[1])
    coef[varies] = z.T @ best[2] / z.shape[1] / deviation[varies]
    return coef, level - mean @ coef, target - best[1]


def _left_vectors(z):
    """Eigenvalues of the kernel z z^T over the number of columns, and its vectors, from the smaller Gram."""
    wide = z.shape[1] >= len(z)
    eigenvalues, v = linalg.eigh((z @ z.T if wide else z.T @ z) / z.shape[1])
    kept = eigenvalues > _FLAT * eigenvalues[-1]
    eigenvalues, v = eigenvalues[kept], v[:, kept]
    return eigenvalues, v if wide else z @ v / np.sqrt(eigenvalues * z.shape[1])
