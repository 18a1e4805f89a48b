"""Hidden layers as values: plain NumPy parameters, applied on any backend."""

from dataclasses import dataclass

import numpy as np


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

    def apply(self, x, backend):
        """Return the layer's output (n, h) in the dtype of ``x``."""
        weights, bias = (cast_like(parameter, x, backend) for parameter in (self.weights, self.bias))
        return backend.activate(backend.matmul(x, weights), bias, self.activation)


@dataclass(frozen=True)
class RadialLayer:
    r"""Gaussian bumps :math:`x \mapsto \exp(-\gamma \|x - c_j\|^2)`.

    Parameters
    ----------
    centres : ndarray of shape (h, d)
        c_j.
    gamma : float
        Inverse squared width.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_analytic.backend import get_backend
    >>> from sklearn_analytic.features import RadialLayer
    >>> RadialLayer(np.array([[1.0]]), 2.0).apply(np.array([[1.0]]), get_backend("cpu"))
    array([[1.]])
    """

    centres: np.ndarray
    gamma: float

    def apply(self, x, backend):
        """Return the layer's output (n, h) in the dtype of ``x``."""
        origin = self.centres.mean(axis=0)  # distances about the centres' mean: no cancellation of a common offset
        centres = cast_like(self.centres - origin, x, backend)
        x = x - cast_like(origin, x, backend)
        squared = (x * x).sum(1)[:, None] - 2 * backend.matmul(x, centres.T) + (centres * centres).sum(1)
        return backend.activate(squared * (squared > 0) * -self.gamma, 0 * squared[0], "exp")


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
    return backend.asarray(parameter, dtype=str(x.dtype).removeprefix("torch."))
