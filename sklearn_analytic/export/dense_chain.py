"""A computation as one chain of dense layers, where that is what it is: the form of scikit-learn's networks."""

from dataclasses import dataclass

import numpy as np

from sklearn_analytic.export.computation import ROWS, Standardised
from sklearn_analytic.features import DenseLayer, InputEncoding, WeightedEncoding

_OWN = ("tanh", "logistic")  # activations of scikit-learn that nothing else can be written in
# {activation: sum of w relu(s z + t)}: what a layer of ReLUs can say
_IN_RELUS = {
    "relu": ((1, 0, 1),),
    "leaky_relu": ((1, 0, 1), (-1, 0, -0.01)),
    "triangle": ((1, 1, 1), (1, 0, -2), (1, -1, 1)),
}


class NotExpressible(Exception):
    """Something that dense layers of scikit-learn cannot compute; its text says what."""


@dataclass(frozen=True)
class DenseChain:
    """``h_l = f(h_{l-1} W_l + b_l)`` in float64; the last layer is linear."""

    layers: tuple  # ((W, b), ...)
    activation: str


@dataclass(frozen=True)
class _Affine:
    """A value as ``state @ weights + bias`` of the units of the last layer so far."""

    weights: np.ndarray
    bias: np.ndarray

    def then(self, weights, bias):
        """The value after another affine map."""
        return _Affine(self.weights @ weights, self.bias @ weights + bias)


def dense_chain(computation, n_features):
    """Return the computation as one :class:`DenseChain` that reads X; raise NotExpressible where it is none."""
    values = {ROWS: _Affine(np.eye(n_features), np.zeros(n_features))}
    kind = _kind([step.value.activation for step in computation.steps if type(step.value) is DenseLayer])
    layers = []
    for number, step in enumerate(computation.steps):
        affine = _AFFINE.get(type(step.value))
        if affine is not None:
            values[number] = affine(step.value, values[step.reads])
        elif type(step.value) is DenseLayer:
            later = _read_after(computation, number)
            values[number] = _Affine(None, None)  # stands for the units to come
            layer, values = _layer(step.value, values[step.reads], number, values, later, kind, not layers)
            layers.append(layer)
        else:
            raise NotExpressible(f"a {type(step.value).__name__}")
    if computation.continuation is not None:
        raise NotExpressible("a continuation beyond the range of the rows (use input_encoding='standard')")
    parts = [values[number] for number in computation.read]
    stacked = _Affine(np.hstack([part.weights for part in parts]), np.concatenate([part.bias for part in parts]))
    last = stacked.then(np.asarray(computation.coef, np.float64), np.asarray(computation.intercept, np.float64))
    return DenseChain((*layers, (last.weights, last.bias)), kind)


def _kind(activations):
    """The one activation of scikit-learn in which all layers can be written."""
    found = set(activations)
    if found <= set(_IN_RELUS):
        return "relu"
    if len(found) == 1 and found <= {*_OWN, "identity"}:
        return found.pop()
    missing = sorted(found - {*_OWN, *_IN_RELUS, "identity"})
    what = f"activation={missing[0]!r}" if missing else f"layers of different activations, {sorted(found)}"
    raise NotExpressible(what)


def _read_after(computation, number):
    """Steps whose values something after step ``number`` reads."""
    later = {step.reads for step in computation.steps[number + 1 :]} | set(computation.read)
    return {read for read in later if read < number}


def _layer(dense, reads, number, values, later, kind, is_first):
    """One hidden layer: the dense units, and what must be handed past them; and all values in terms of it."""
    z = reads.then(np.asarray(dense.weights, np.float64), np.asarray(dense.bias, np.float64))
    terms = _IN_RELUS.get(dense.activation, ((1, 0, 1),))
    kept = np.zeros(len(z.weights), dtype=bool)
    for read in later:
        kept |= np.any(values[read].weights != 0, axis=1)
    if kept.any() and kind in _OWN:
        raise NotExpressible(f"inputs that are handed past a layer of {kind} units")
    # An input may have either sign: a ReLU hands on one of them. Units of a ReLU are not negative.
    signs = (1, -1) if kind == "relu" and is_first else (1,)
    passing = np.eye(len(kept))[:, kept]
    weights = np.hstack([s * z.weights for s, _, _ in terms] + [sign * passing for sign in signs])
    bias = np.concatenate([s * z.bias + t for s, t, _ in terms] + [np.zeros(len(signs) * kept.sum())])
    n_own = len(terms) * len(z.bias)
    found = {read: _handed_past(values[read], kept, signs, n_own) for read in later}
    units = np.vstack([w * np.eye(len(z.bias)) for _, _, w in terms])
    own = np.vstack([units, np.zeros((len(bias) - n_own, len(z.bias)))])
    return (weights, bias), found | {number: _Affine(own, np.zeros(len(z.bias)))}


def _handed_past(value, kept, signs, n_own):
    """A value of the state below, in terms of the units that hand it on."""
    rows = [sign * value.weights[kept] for sign in signs]
    return _Affine(np.vstack([np.zeros((n_own, value.weights.shape[1])), *rows]), value.bias)


def _encoded(encoding, reads):
    """Columns picked, shifted and scaled; clipped ones are not affine."""
    if encoding.n_ramps or encoding.n_scores or encoding.hellinger:
        raise NotExpressible("an input encoding that clips or normalises (use input_encoding='standard')")
    picked = _Affine(reads.weights[:, encoding.source], reads.bias[encoding.source])
    factor = encoding.slope * encoding.scale
    return _Affine(picked.weights * factor, (picked.bias - encoding.shift) * factor - encoding.centre)


def _weighted(encoding, reads):
    """Factors on encoded columns."""
    base = _AFFINE.get(type(encoding.base))
    if base is None:
        raise NotExpressible(f"a {type(encoding.base).__name__}")
    below = base(encoding.base, reads)
    return _Affine(below.weights * encoding.factors, below.bias * encoding.factors)


def _standardised(value, reads):
    """Columns of unit variance."""
    return _Affine(reads.weights * value.slope, (reads.bias - value.shift) * value.slope)


_AFFINE = {InputEncoding: _encoded, WeightedEncoding: _weighted, Standardised: _standardised}
