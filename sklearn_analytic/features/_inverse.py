"""Target propagation by pseudo-inverses: the closed-form multilayer perceptron, layer after layer."""

import math

import numpy as np
from scipy import linalg

from sklearn_analytic.backend import get_backend
from sklearn_analytic.features._hidden import random_layer
from sklearn_analytic.features._layers import DenseLayer
from sklearn_analytic.linalg import NormalEquations

_MARGIN = 1e-2  # of the range, kept from its ends, where inverses blow up

INVERSES = {  # range onto which targets are rescaled, and a right inverse of the activation on it
    "identity": (-1.0, 1.0, lambda t: t),
    "relu": (0.0, 1.0, lambda t: t),
    "tanh": (-1.0, 1.0, np.arctanh),
    "bump": (0.0, 1.0, np.log),
    "gaussian": (0.0, 1.0, lambda t: np.sqrt(-np.log(t))),
    "cos": (-1.0, 1.0, np.arccos),
    "triangle": (0.0, 1.0, lambda t: 1 - t),
}


def inverse_layers(rows, targets, sizes, activation, generator, complement=True):
    r"""Return a stack of layers whose weights are least-squares solutions for propagated targets.

    From random layers, in order i = 1, 2, ...: the targets are carried down from the output,
    :math:`T_{j-1} = (f^{-1}(T_j) - b_j) W_j^+`, every column rescaled into the range of f before it is inverted, and
    :math:`W_i = [H_{i-1}, 1]^+ f^{-1}(T_i)`. The output layer is linear.

    The minimum-norm :math:`T W^+` has the rank of the targets, so a wide layer would repeat a few units. With
    ``complement`` the solution nearest to the layer's present activations H is taken,
    :math:`H + (T - H W) W^+`, which solves the same equation and keeps the layer's width.

    This is our reconstruction of a closed-form multilayer perceptron after Toh and ZORB; the thesis whose
    abstract announces one does not publish its construction.

    Parameters
    ----------
    rows : ndarray of shape (m, d)
        Drawn rows, by weight.
    targets : ndarray of shape (m, c)
        Their targets.
    sizes : sequence of int
        Widths of the hidden layers.
    activation : str
        Activation of all layers.
    generator : numpy.random.Generator
        Source of the random layers at the start.
    complement : bool, default=True
        Whether targets are the nearest solution; False is the published minimum-norm one.

    Returns
    -------
    tuple of DenseLayer
        The hidden layers.

    References
    ----------
    K.-A. Toh, "Analytic network learning", arXiv 1811.08227; V. Ranganathan, A. Lewandowski, "ZORB: a
    derivative-free backpropagation algorithm for neural networks", arXiv 2011.08895.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_analytic.features import inverse_layers
    >>> X = np.random.default_rng(0).standard_normal((50, 2))
    >>> [layer.n_units for layer in inverse_layers(X, X[:, :1], (8, 4), "tanh", np.random.default_rng(0))]
    [8, 4]
    """
    state, layers, top = _random_stack(rows, targets, sizes, activation, generator)
    for i in range(len(layers)):
        present = _forward(state, layers[i:])
        wanted = np.asarray(targets, dtype=np.float64)
        for j in range(len(layers) - 1, i - 1, -1):
            weights, bias = (layers[j + 1].weights, layers[j + 1].bias) if j + 1 < len(layers) else top
            wanted = _carried(wanted - bias, weights, present[j - i], complement)
            wanted = _preimage(wanted, activation)
        layers[i] = DenseLayer(*_least_squares(state, wanted), activation)
        state = layers[i].apply(state, get_backend("cpu"))
    return tuple(layers)


def inverse_layer(rows, targets, n_units, activation, generator):
    """Return one layer whose weights are a least-squares solution for propagated targets (:func:`inverse_layers`).

    Parameters
    ----------
    rows : ndarray of shape (m, d)
        Drawn rows, by weight.
    targets : ndarray of shape (m, c)
        Their targets.
    n_units : int
        Width h.
    activation : str
        Activation of the layer.
    generator : numpy.random.Generator
        Source of the random layers at the start.

    Returns
    -------
    DenseLayer
        The layer.

    References
    ----------
    K.-A. Toh, "Analytic network learning", arXiv 1811.08227.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_analytic.features import inverse_layer
    >>> X = np.random.default_rng(0).standard_normal((50, 2))
    >>> inverse_layer(X, X[:, :1], 8, "tanh", np.random.default_rng(0)).n_units
    8
    """
    return inverse_layers(rows, targets, (n_units,), activation, generator)[0]


def _random_stack(rows, targets, sizes, activation, generator):
    """Rows in float64, random layers, and a random linear output layer as (weights, bias)."""
    state = rows = np.asarray(rows, dtype=np.float64)
    layers = []
    for size in sizes:
        layers.append(random_layer(state, targets, size, activation, generator))
        state = np.empty((0, size))
    c = targets.shape[1]
    return rows, layers, (generator.standard_normal((sizes[-1], c)) / math.sqrt(sizes[-1]), np.zeros(c))


def _forward(state, layers):
    """Outputs of all layers of a stack."""
    outputs = []
    for layer in layers:
        state = layer.apply(state, get_backend("cpu"))
        outputs.append(state)
    return outputs


def _carried(wanted, weights, present, complement):
    """Activations T with T W = wanted: those of least norm, or the nearest to the present ones."""
    start = present if complement else 0.0
    gap = wanted - (present @ weights if complement else 0.0)
    return start + linalg.lstsq(weights.T, gap.T)[0].T


def _preimage(wanted, activation):
    """The inverse activation of targets whose columns are rescaled into its range."""
    low, high, inverse = INVERSES[activation]
    least, most = wanted.min(axis=0), wanted.max(axis=0)
    span = np.where(most > least, most - least, 1.0)
    margin = _MARGIN * (high - low)
    return inverse(low + margin + (wanted - least) / span * (high - low - 2 * margin))


def _least_squares(state, wanted):
    """Minimum-norm weights and bias of ``state -> wanted``."""
    return NormalEquations.from_rows(state, wanted).spectral().solve(0.0)
