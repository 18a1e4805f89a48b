"""Hidden layers as values, plain NumPy parameters, and readouts: applied on any backend, to rows of any size."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from sklearn_analytic.backend import dtype_name, get_backend
from sklearn_analytic.backend._derived import WithDerived
from sklearn_analytic.features._agop import SLOPES, dense_energy, radial_energy

_REACH = {"float64": 960}  # powers of two that leave room for sums of products with parameters
_ROOM = 25  # of which sums of as many terms as there are columns leave so much
_SHORT_REACH = 100  # of float32, and of bfloat16, which has its range
REACHES = (*_REACH.values(), _SHORT_REACH)


@dataclass(frozen=True)
class DenseLayer:
    r"""The map :math:`x \mapsto f(x A + b)`.

    Parameters
    ----------
    weights : ndarray of shape (d, h)
        A, the projection.
    bias : ndarray of shape (h,)
        b.
    activation : str
        f: "identity", "relu", "tanh", "gaussian", "cos" or "triangle".

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_analytic.backend import get_backend
    >>> from sklearn_analytic.features import DenseLayer
    >>> layer = DenseLayer(np.array([[1.0, -1.0]]), np.zeros(2), "relu")
    >>> layer.apply(np.array([[2.0]]), get_backend("cpu"))
    array([[2., 0.]])
    """

    weights: np.ndarray
    bias: np.ndarray
    activation: str

    @property
    def n_units(self):
        """Width of the layer."""
        return len(self.bias)

    def apply(self, x, backend):
        """Return the layer's output (n, h) in the dtype of ``x``."""
        weights, bias = (cast_like(parameter, x, backend) for parameter in (self.weights, self.bias))
        return backend.activate(backend.matmul(rows_in_reach(x, backend, self.weights), weights), bias, self.activation)

    def gradient_energy(self, rows, coef):
        """Return the diagonal (d,) of the average gradient outer product of ``x -> apply(x) @ coef``."""
        return dense_energy(self.weights, self._slopes(rows), coef)

    def _slopes(self, rows):
        """Derivative of the activation (n, h) at rows on the host."""
        z = get_backend("cpu").matmul(rows, np.asarray(self.weights, dtype=rows.dtype))
        z += self.bias
        return SLOPES[self.activation](z)


@dataclass(frozen=True)
class RadialLayer(WithDerived):
    r"""Gaussian bumps :math:`x \mapsto \exp(-\gamma_j \|x - c_j\|^2)`.

    Computed as one projection of the lifted row :math:`[x, \|x\|^2, 1]` about the centres' mean, so that a
    common offset does not cancel.

    Parameters
    ----------
    centres : ndarray of shape (h, d)
        c_j.
    gamma : float or ndarray of shape (h,)
        Inverse squared widths.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_analytic.backend import get_backend
    >>> from sklearn_analytic.features import RadialLayer
    >>> RadialLayer(np.array([[1.0]]), 2.0).apply(np.array([[1.0]]), get_backend("cpu"))
    array([[1.]])
    """

    centres: np.ndarray
    gamma: float | np.ndarray

    @property
    def n_units(self):
        """Width of the layer."""
        return len(self.centres)

    def apply(self, x, backend):
        """Return the layer's output (n, h) in the dtype of ``x``."""
        origin, weights, gamma, bias = (cast_like(part, x, backend) for part in self._lifted)
        x = rows_in_reach(x, backend, self.centres) - origin
        z = backend.matmul(x, weights)
        with np.errstate(over="ignore"):  # a row beyond all squares is far from every centre
            z -= ((x * x).sum(1))[:, None] * gamma
        return backend.activate(z, bias, "bump")

    @cached_property
    def _lifted(self):
        """Centres' mean, and the projection of the lifted row: found once, for single rows would wait for it."""
        origin = self.centres.mean(axis=0)
        centres, gamma = self.centres - origin, np.broadcast_to(self.gamma, len(self.centres))
        weights = np.ascontiguousarray(2 * gamma * centres.T)  # row-major, or a product would copy them
        return origin, weights, gamma, -gamma * np.sum(centres**2, axis=1)

    def gradient_energy(self, rows, coef):
        """Return the diagonal (d,) of the average gradient outer product of ``x -> apply(x) @ coef``."""
        gamma = np.broadcast_to(self.gamma, len(self.centres))
        return radial_energy(self.centres, gamma, self.apply(rows, get_backend("cpu")), rows, coef)


def apply_layers(layers, x, backend):
    """Return the output of a stack of layers.

    Parameters
    ----------
    layers : sequence of DenseLayer or RadialLayer
        Applied in order; an empty sequence returns ``x``.
    x : array of shape (n, d)
        Rows, already an array of the backend.
    backend : Backend
        What computes.

    Returns
    -------
    array of shape (n, h)
        Output of the last layer.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_analytic.backend import get_backend
    >>> from sklearn_analytic.features import apply_layers
    >>> apply_layers((), np.ones((1, 2)), get_backend("cpu"))
    array([[1., 1.]])
    """
    for layer in layers:
        x = layer.apply(x, backend)
    return x


def cast_like(parameter, x, backend):
    """Return an array on the backend in the dtype of ``x``: float32 rows are computed in float32.

    Parameters
    ----------
    parameter : array
        A host parameter, or an array of the backend.
    x : array
        What it will be combined with.
    backend : Backend
        What computes.

    Returns
    -------
    array
        ``parameter`` beside ``x``.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_analytic.backend import get_backend
    >>> from sklearn_analytic.features import cast_like
    >>> cast_like(np.zeros(1), np.zeros(1, dtype=np.float32), get_backend("cpu")).dtype
    dtype('float32')
    """
    return backend.asarray(parameter, dtype=dtype_name(x))


def reach_of(x):
    """Return the power of two below which rows of this dtype are multiplied as they are."""
    return _REACH.get(dtype_name(x), _SHORT_REACH)


def largest(x):
    """Return the largest magnitude of an array of a backend; 0 where it is empty."""
    return 0.0 if 0 in x.shape else max(float(x.max()), -float(x.min()))


def rows_in_reach(x, backend, weights=None):
    """Return rows that can be multiplied: those beyond reach along their direction, scaled by a power of two.

    Parameters
    ----------
    x : array of shape (n, d)
        Finite rows, already an array of the backend.
    backend : Backend
        What computes.
    weights : ndarray of shape (d, h) or None, default=None
        What they are multiplied by; None is something near 1.

    Returns
    -------
    array of shape (n, d)
        ``x`` itself where nothing is beyond reach.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_analytic.backend import get_backend
    >>> from sklearn_analytic.features import rows_in_reach
    >>> rows = rows_in_reach(np.array([[2.0, 1.0], [2.0**1000, -(2.0**999)]]), get_backend("cpu"))
    >>> np.log2(np.abs(rows)).tolist()
    [[1.0, 0.0], [959.0, 958.0]]
    """
    reach = reach_of(x)
    if largest(x) <= 2.0 ** (reach // 2):
        return x
    if weights is not None:  # small weights bring large rows near 1: these must stay what they are
        reach += _ROOM - int(np.frexp(largest(weights) * len(weights))[1])
    return x * backend.asarray(_shrinking(x, backend, reach)[:, None], dtype_name(x))


def linear_readout(features, coef, intercept, backend):
    """Return ``features @ coef + intercept`` in float64: what is beyond the range is its end, and nothing is NaN.

    Parameters
    ----------
    features : array of shape (n, p)
        Finite features on the backend.
    coef : ndarray of shape (p, c)
        Weights.
    intercept : ndarray of shape (c,)
        Constants.
    backend : Backend
        What computes.

    Returns
    -------
    array of shape (n, c)
        Outputs.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_analytic.backend import get_backend
    >>> from sklearn_analytic.features import linear_readout
    >>> row, coef = np.array([[1e308, 1e308]]), np.array([[100.0], [-99.0]])
    >>> linear_readout(row, coef, np.zeros(1), get_backend("cpu"))
    array([[1.e+308]])
    """
    wide = backend.stack_columns([features], [1.0])
    coef, intercept = backend.asarray(coef), backend.asarray(intercept)
    outputs = backend.matmul(wide, coef) + intercept
    if np.isfinite(largest(outputs)):
        return outputs
    reach = reach_of(wide) - int(np.frexp(max(largest(coef), 1.0))[1]) - int(np.frexp(len(coef))[1])
    factor = backend.asarray(_shrinking(wide, backend, reach)[:, None])
    end = np.finfo(np.float64).max
    with np.errstate(over="ignore"):
        again = (backend.matmul(wide * factor, coef) + intercept * factor) / factor
    return again.clip(-end, end)


def _shrinking(x, backend, reach):
    """One power of two per row that brings it within reach; 1 for those that are."""
    size = np.max(np.abs(backend.to_numpy(x)), axis=1)
    return np.ldexp(1.0, np.minimum(reach - np.frexp(size)[1], 0))
