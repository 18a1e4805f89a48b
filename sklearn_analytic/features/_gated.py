"""Gated ReLU units: linear maps switched by fixed half-spaces, so that training the network is one ridge."""

from dataclasses import dataclass

import numpy as np

from sklearn_analytic.backend import dtype_name, get_backend
from sklearn_analytic.features._hidden import sampled_layer
from sklearn_analytic.features._layers import cast_like


@dataclass(frozen=True)
class GatedLayer:
    r"""Rows switched by half-spaces: :math:`x \mapsto [1_{g_p^T x + b_p \ge 0} \, (x, 1)]_{p = 1..P}`.

    Parameters
    ----------
    gates : ndarray of shape (d, P)
        g_p.
    bias : ndarray of shape (P,)
        b_p.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_analytic.backend import get_backend
    >>> from sklearn_analytic.features import GatedLayer
    >>> layer = GatedLayer(np.array([[1.0, -1.0]]), np.array([-0.5, 0.5]))
    >>> layer.apply(np.array([[2.0], [0.0]]), get_backend("cpu"))
    array([[2., 1., 0., 0.],
           [0., 0., 0., 1.]])
    """

    gates: np.ndarray
    bias: np.ndarray

    @property
    def n_units(self):
        """Width of the layer: P gates of d + 1 columns."""
        return len(self.bias) * (len(self.gates) + 1)

    def apply(self, x, backend):
        """Return the layer's output (n, P (d + 1)) in the dtype of ``x``."""
        z = backend.matmul(x, cast_like(self.gates, x, backend))
        z += cast_like(self.bias, x, backend)
        lifted = backend.stack_columns([x, backend.ones(x.shape[0])], [1.0, 1.0], dtype_name(x))
        return ((z >= 0)[:, :, None] * lifted[:, None, :]).reshape(x.shape[0], self.n_units)

    def gradient_energy(self, rows, coef):
        """Return the diagonal (d,) of the average gradient outer product of ``x -> apply(x) @ coef``."""
        d, n_gates = self.gates.shape
        product = get_backend("cpu").matmul
        opened = (product(rows, np.asarray(self.gates, dtype=rows.dtype)) + self.bias >= 0).astype(rows.dtype)
        slopes = coef.reshape(n_gates, d + 1, -1)[:, :d].reshape(n_gates, -1)  # (P, d c)
        gradients = product(opened, slopes).reshape(len(rows), d, -1)
        return np.sum(gradients**2, axis=(0, 2), dtype=np.float64) / len(rows)


def gated_layer(rows, targets, n_units, activation, generator, gaussian=False):
    r"""Return gated ReLU units, on which one ridge is the global optimum of a convex two-layer network.

    A ReLU network with its activation patterns held fixed is linear in
    :math:`[D_1 [X, 1], \dots, D_P [X, 1]]` with :math:`D_p = \mathrm{diag}(1[X g_p + b_p \ge 0])`. The published
    problem penalises the norm of each gate's weights (a group lasso); here the squared norm, so it is a ridge.

    Parameters
    ----------
    rows : ndarray of shape (m, d)
        Drawn rows, by weight.
    targets : ndarray of shape (m, c)
        Their targets.
    n_units : int
        Width; ``n_units // (d + 1)`` gates, at least one, so the layer is wider than asked for where d is.
    activation : str
        Not used: the gate is the activation.
    generator : numpy.random.Generator
        Source of the gates.
    gaussian : bool, default=False
        Gaussian gates through the origin, as published; otherwise mid-planes between rows of different targets
        (:func:`sampled_layer`).

    Returns
    -------
    GatedLayer
        The layer.

    References
    ----------
    A. Mishkin, A. Sahiner, M. Pilanci, "Fast convex optimization for two-layer ReLU networks: equivalent model
    classes and cone decompositions", ICML 2022.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_analytic.features import gated_layer
    >>> X = np.random.default_rng(0).standard_normal((50, 3))
    >>> gated_layer(X, X[:, :1], 20, "relu", np.random.default_rng(0)).n_units  # 5 gates of 4 columns
    20
    """
    n_gates = max(n_units // (rows.shape[1] + 1), 1)
    if gaussian:
        return GatedLayer(generator.standard_normal((rows.shape[1], n_gates)), np.zeros(n_gates))
    planes = sampled_layer(rows, targets, n_gates, "identity", generator)
    return GatedLayer(planes.weights, planes.bias)
