"""Differentially private steps of plain networks: sampled rows, clipped gradients, noise on their sum.

The gradient of one row is of rank one in every layer, so its norm follows from two norms per layer and no gradient
of a row is ever formed. docs/theory/privacy.md states the mechanisms and numbers the equations that are cited here.
"""

import math
from dataclasses import dataclass

import numpy as np

from sklearn_analytic.backend import one_blas_thread
from sklearn_analytic.nn._activations import ACTIVATIONS, activation_codes
from sklearn_analytic.nn._alignment import alignment
from sklearn_analytic.nn._feedback import FEEDBACKS, first_feedback, product_feedback
from sklearn_analytic.nn._flat import apply_update, flat_layers, flat_model
from sklearn_analytic.nn._losses import rule_of
from sklearn_analytic.nn._mlp import products_are_small, raw_outputs
from sklearn_analytic.private.accountants import least_noise, noise_multiplier_for, prv_epsilon, rdp_epsilon
from sklearn_analytic.private.photonic import PhotonicBounds, photonic_epsilon

_ACCOUNTANTS = {"prv": prv_epsilon, "rdp": rdp_epsilon}
_CHUNK_ENTRIES = 4e6  # entries of the widest layer held at once; larger batches are summed in parts
_ROUNDINGS = 1e3  # norms are clipped this many units of rounding early, so that rounding does not exceed the bound


@dataclass(frozen=True)
class GaussianMechanism:
    """Flat clipping of the whole gradient of a row, Gaussian noise on the sum: equations (2) to (4)."""

    max_norm: float
    noise_multiplier: float

    @classmethod
    def within(cls, epsilon, delta, sample_rate, n_steps, max_norm, accountant="prv"):
        """Return the mechanism of least noise whose steps stay within the budget; epsilon infinite adds none."""
        if math.isinf(epsilon):
            return cls(max_norm, 0.0)
        return cls(max_norm, noise_multiplier_for(epsilon, delta, sample_rate, n_steps, accountant))

    def epsilon(self, delta, sample_rate, n_steps, accountant="prv"):
        """Return what ``n_steps`` steps spend."""
        return _ACCOUNTANTS[accountant](sample_rate, self.noise_multiplier, n_steps, delta)

    def deviations(self, n_layers):
        """Return the standard deviation of the noise on the sum of every layer."""
        return [self.max_norm * self.noise_multiplier] * n_layers

    def summed(self, layers, activation, inputs, error, feedback, generator):
        """Return the sum over rows of clipped gradients, [(n_in + 1, n_out), ...], biases in the last row."""
        errors = layer_errors(layers, activation, inputs, error, feedback)
        norms = row_norms(inputs, errors)
        norms, inputs, errors = _finite_rows(norms, inputs, errors)
        factors = clip_factors(norms, self.max_norm)  # equation (3)
        return [_gradient(h, factors * d) for h, d in zip(inputs, errors, strict=True)]


@dataclass(frozen=True)
class PhotonicMechanism:
    """Optical noise on projected errors and an electronic floor; a Gaussian output layer: equations (13) to (18)."""

    bounds: PhotonicBounds
    noise_scale: float
    max_norm: float
    output_noise_multiplier: float

    @classmethod
    def within(cls, epsilon, delta, sample_rate, n_steps, max_norm, bounds):
        """Return the mechanism of least noise within the budget: floor and output layer cost about the same."""
        if math.isinf(epsilon):
            return cls(bounds, 0.0, max_norm, 0.0)

        def spent(noise_scale):
            return cls._of_scale(bounds, noise_scale, max_norm).epsilon(delta, sample_rate, n_steps)

        reason = f", fewer units or mechanism__floor above {bounds.floor:.6g}"
        return cls._of_scale(bounds, least_noise(spent, epsilon, reason), max_norm)

    @classmethod
    def _of_scale(cls, bounds, noise_scale, max_norm):
        """The output layer has the multiplier that the floor is for the most exposed hidden layer."""
        exposed = float(np.max(np.multiply(bounds.error_norm, np.sqrt(bounds.ratio))))
        return cls(bounds, noise_scale, max_norm, noise_scale / exposed)

    def epsilon(self, delta, sample_rate, n_steps, accountant="rdp"):
        """Return what ``n_steps`` steps spend; Rényi bounds are all there is."""
        return photonic_epsilon(
            self.bounds, self.noise_scale, self.output_noise_multiplier, sample_rate, n_steps, delta
        )

    def deviations(self, n_layers):
        """Return the standard deviation of the electronic noise on the sum of every layer."""
        floor = math.sqrt(self.bounds.floor) * self.noise_scale
        return [floor] * (n_layers - 1) + [self.max_norm * self.output_noise_multiplier]

    def summed(self, layers, activation, inputs, error, feedback, generator):
        """Return the sum over rows of bounded gradients with optical noise, and of the output layer's clipped ones."""
        sent = [error @ b for b in feedback]
        norms = sum(_norms(rows) for rows in (*inputs, *sent, error))
        _, inputs, (*sent, error) = _finite_rows(norms, inputs, [*sent, error])
        slope, sums = ACTIVATIONS[activation][1], []
        for k, (s, input_norm, error_norm) in enumerate(
            zip(sent, self.bounds.input_norm, self.bounds.error_norm, strict=True)
        ):
            s = s * clip_factors(_norms(s), error_norm)
            s = s + self.noise_scale * generator.standard_normal(s.shape).astype(s.dtype)
            factors = clip_factors(np.hypot(_norms(inputs[k]), 1), input_norm)  # of the row [h, 1]
            sums.append(_gradient(inputs[k], factors * slope(inputs[k + 1]) * s))
        factors = clip_factors(row_norms(inputs[-1:], [error]), self.max_norm)
        return [*sums, _gradient(inputs[-1], factors * error)]


def photonic_bounds(sizes, activation, input_norm, error_norm, floor):
    """Return the bounds of a plain network of ``sizes`` (d, n_1, ..., C) whose rows are clipped to these norms."""
    hidden = tuple(int(n) for n in sizes[1:-1])
    each = (input_norm, ACTIVATIONS[activation].steepest, error_norm)
    return PhotonicBounds(hidden, *((value,) * len(hidden) for value in each), floor=floor)


class PrivateExecution:
    """A plain network in private training on the CPU: see :class:`Execution`.

    Two departures from the protocol: an epoch's batches are sampled here, each row by itself with chance
    ``sample_rate``, so the order of the rows is not read; and the loss is not looked at, since it would disclose
    rows: an epoch returns 0, or NaN where the weights are no longer finite. ``generator`` draws sampling and noise
    and is never rewound. ``n_steps`` counts all steps that read rows, also those that a restored snapshot undoes.
    """

    def __init__(self, layers, activation, recipe, mechanism, sample_rate, generator):
        _check(recipe, layers, mechanism, sample_rate)
        self.recipe, self.activation, self.mechanism = recipe, activation, mechanism
        self.sample_rate, self.n_steps = sample_rate, 0
        self._generator, self._steps = generator, 0
        self._dtype = np.dtype(recipe.precision)
        self._model = flat_model(layers, activation_codes(activation, len(layers)), recipe)
        self.sizes = self._model.sizes
        self._feedback = self._first_feedback(layers)

    # ---- the protocol ----

    def place(self, rows):
        """Return the rows as they are; a weight would scale what clipping bounds."""
        if rows.weight is not None:
            raise ValueError(
                "sample weights and class weights are not supported in private training: repeat or drop rows instead."
            )
        return rows

    def epoch(self, placed, order, rates):
        """One private step per rate; see the class."""
        small = products_are_small(self.recipe.batch_size, self.sizes)
        with one_blas_thread(small), np.errstate(over="ignore", invalid="ignore"):
            for rate in rates:
                self._step(placed, float(rate))
                if not self.is_finite():
                    return math.nan
        return 0.0

    def outputs(self, x):
        """Raw outputs of host rows, in their dtype."""
        return raw_outputs(self._layers(), self.activation, x)

    def layers(self):
        """Return [(W, b), ...] as copies."""
        return [(w.copy(), b.copy()) for w, b in self._layers()]

    def snapshot(self):
        """All that training changes but the generator: noise is never used twice."""
        state = {"theta": self._model.theta, "first": self._model.first, "second": self._model.second}
        state |= {"steps": np.array(self._steps)}
        state |= {f"feedback_{k}": b for k, b in enumerate(self._feedback or ())}
        return {name: array.copy() for name, array in state.items()}

    def restore(self, snapshot):
        """Put a snapshot back."""
        for name in ("theta", "first", "second"):
            getattr(self._model, name)[:] = snapshot[name]
        self._steps = int(snapshot["steps"])
        for k in range(len(self._feedback or ())):
            self._feedback[k] = snapshot[f"feedback_{k}"].copy()

    def is_finite(self):
        """Whether all weights are numbers."""
        return bool(np.isfinite(self._model.theta).all())

    def alignment(self, x, y):
        """Return the mean cosine of every hidden layer's error to the true gradient. It reads rows: not private."""
        return alignment(self.layers(), self.activation, self.recipe.output, x, y, self._feedback)

    def activation_bytes(self):
        """Bytes of hidden activations of a batch of the expected size."""
        exact = self.recipe.batch_size * int(self.sizes[1:-1].sum()) * self._dtype.itemsize
        return {"stored": exact, "shared": 0, "exact": exact}

    # ---- steps ----

    def sampled(self, n):
        """Return the rows of one batch: every row by itself with the same chance."""
        return np.flatnonzero(self._generator.random(n) < self.sample_rate)

    def row_sum(self, placed, rows):
        """Return the sum of the clipped gradients of ``rows``, before the noise of the sum, as one flat vector."""
        total = np.zeros_like(self._model.theta)
        size = max(int(_CHUNK_ENTRIES // self.sizes.max()), 1)
        for start in range(0, len(rows), size):
            total += self._chunk_sum(placed, rows[start : start + size])
        return total

    def noise(self):
        """Return the Gaussian noise of one step for the whole sum, flat."""
        sizes = (self.sizes[:-1] + 1) * self.sizes[1:]
        deviations = np.repeat(self.mechanism.deviations(len(sizes)), sizes)
        return (deviations * self._generator.standard_normal(len(deviations))).astype(self._dtype)

    def feedback_matrices(self):
        """Return the feedback (C, n_l) of every hidden layer as it is now, or None with backpropagation."""
        return self._feedback

    def _step(self, placed, rate):
        """Sample, sum, add noise, divide by the expected size of a batch, move: equation (4)."""
        self.n_steps += 1
        self._refresh()
        total = self.row_sum(placed, self.sampled(len(placed.x))) + self.noise()
        self._model.grad[:] = total / (self.sample_rate * len(placed.x))
        self._steps += 1
        apply_update(self._model, self.recipe.optimizer, rate, self._steps)

    def _chunk_sum(self, placed, rows):
        """The sum of one part of a batch."""
        layers = self._layers()
        inputs, outputs = forward(layers, self.activation, placed.x[rows].astype(self._dtype, copy=False))
        error = rule_of(self.recipe.output)[1](outputs, placed.y[rows])
        sums = self.mechanism.summed(layers, self.activation, inputs, error, self._feedback, self._generator)
        return np.concatenate([part.ravel() for part in sums])

    def _first_feedback(self, layers):
        """The matrices before the first step; None is the exact error."""
        if self.recipe.scheme == "backprop" or len(layers) == 1:
            return None
        drawn = first_feedback(self.recipe.feedback, layers, np.random.default_rng(self.recipe.seed))
        return [b.astype(self._dtype) for b in drawn]

    def _refresh(self):
        """Every so many steps, products of the noised weights: no row is read, so it costs no privacy."""
        rule = self.recipe.feedback
        if self._feedback is None or rule.name != "refresh" or self._steps % rule.interval:
            return
        self._feedback = [rule.scale * b for b in product_feedback(self._layers())]

    def _layers(self):
        """Views [(W, b), ...] of the parameters."""
        return flat_layers(self._model)


# ---- rows ----


def forward(layers, activation, x):
    """Return what every layer reads, [(m, n_in), ...], and the raw outputs (m, c)."""
    f, inputs = ACTIVATIONS[activation][0], [x]
    for weights, bias in layers[:-1]:
        inputs.append(f(inputs[-1] @ weights + bias))
    weights, bias = layers[-1]
    return inputs, inputs[-1] @ weights + bias


def layer_errors(layers, activation, inputs, error, feedback):
    """Return D_1 ... D_L (m, n_l) by equation (1), or by backpropagation where ``feedback`` is None."""
    slope, errors = ACTIVATIONS[activation][1], [error]
    for k in range(len(layers) - 2, -1, -1):
        sent = errors[0] @ layers[k + 1][0].T if feedback is None else error @ feedback[k]
        errors.insert(0, sent * slope(inputs[k + 1]))
    return errors


def row_norms(inputs, errors):
    """Return the norm (m,) of the whole gradient of every row: equation (2)."""
    return np.sqrt(sum(_squares(d) * (_squares(h) + 1) for h, d in zip(inputs, errors, strict=True)))


def clip_factors(norms, max_norm):
    """Return min(1, C / norm) as a column (m, 1), a little early for the rounding of the norms."""
    limit = max_norm * (1 - _ROUNDINGS * np.finfo(norms.dtype).eps)
    with np.errstate(divide="ignore"):
        return np.minimum(1, limit / norms, dtype=norms.dtype)[:, None]


def _gradient(h, d):
    """Sum over rows of [h, 1]^T d."""
    return np.vstack([h.T @ d, d.sum(axis=0)])  # (n_in + 1, n_out)


def _squares(rows):
    return np.einsum("ij,ij->i", rows, rows)


def _norms(rows):
    return np.sqrt(_squares(rows))


def _finite_rows(norms, inputs, errors):
    """Leave out rows whose gradient overflowed: nothing would bound them."""
    kept = np.isfinite(norms)
    if kept.all():
        return norms, inputs, errors
    return norms[kept], [h[kept] for h in inputs], [d[kept] for d in errors]


def _check(recipe, layers, mechanism, sample_rate):
    """Refuse what reads rows outside of the noised sum."""
    if recipe.scheme not in ("dfa", "backprop"):
        raise ValueError(f"scheme={recipe.scheme!r}; private training has 'dfa' and 'backprop'.")
    if recipe.scheme == "dfa" and FEEDBACKS[recipe.feedback.name].changes == "learned":
        raise ValueError(
            f"feedback={recipe.feedback.name!r} learns from rows outside of the noised gradient and is not private; "
            "choose 'refresh', 'product', 'random', 'binary' or 'sparse'."
        )
    if recipe.kfac is not None or recipe.activation_bits or recipe.tol_error:
        raise ValueError("a preconditioner, packed activations and tol_error are not supported in private training.")
    if not 0 < sample_rate <= 1:
        raise ValueError(f"sample_rate={sample_rate!r}; expected a number in (0, 1].")
    photonic = type(mechanism) is PhotonicMechanism
    if photonic and (recipe.scheme != "dfa" or len(layers) == 1):
        raise ValueError("photonic noise is of projected errors: it needs scheme='dfa' and a hidden layer.")
