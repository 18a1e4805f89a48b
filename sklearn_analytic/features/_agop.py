"""Which inputs a readout uses: the diagonal of its average gradient outer product, in closed form."""

import numpy as np

from sklearn_analytic.backend import get_backend

_TIE = 1e-6  # of a column's size: rounding must not decide on which side of a kink a row lies


def diagonal_agop(layer, rows, coef):
    r"""Return the mean squared derivative of a readout of a layer with respect to every input.

    With :math:`f(x) = \phi(x) B` it is :math:`g_k = \frac1m \sum_i \sum_c (\partial f_c(x_i) / \partial x_k)^2`, the
    diagonal of the average gradient outer product. At a kink the derivative is taken as zero, so a row that is a
    centre of the layer says nothing through itself.

    Parameters
    ----------
    layer : DenseLayer, RadialLayer, LaplaceLayer or GatedLayer
        :math:`\phi`.
    rows : ndarray of shape (m, d)
        Rows over which the mean is taken; float32 rows are computed in float32 and summed in float64.
    coef : ndarray of shape (h, c)
        B, the readout of the layer's units.

    Returns
    -------
    ndarray of shape (d,)
        g.

    References
    ----------
    A. Radhakrishnan, D. Beaglehole, P. Pandit, M. Belkin, "Mechanism for feature learning in neural networks and
    backpropagation-free machine learning models", Science 383, 2024.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_analytic.features import DenseLayer, diagonal_agop
    >>> layer = DenseLayer(np.array([[3.0], [0.0]]), np.zeros(1), "identity")
    >>> diagonal_agop(layer, np.ones((2, 2)), np.array([[2.0]]))
    array([36.,  0.])
    """
    return layer.gradient_energy(rows, np.asarray(coef, dtype=rows.dtype))


def dense_energy(weights, slopes, coef):
    r"""Return the diagonal of :math:`A [(B B^T) \circ (S^T S / m)] A^T`: no gradient of a single row is formed.

    Parameters
    ----------
    weights : ndarray of shape (d, h)
        A.
    slopes : ndarray of shape (m, h)
        S, the activation's derivative at every row.
    coef : ndarray of shape (h, c)
        B.

    Returns
    -------
    ndarray of shape (d,)
        The diagonal.

    References
    ----------
    A. Radhakrishnan et al., Science 383, 2024 (the average gradient outer product).

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_analytic.features._agop import dense_energy
    >>> dense_energy(np.array([[3.0], [0.0]]), np.ones((5, 1)), np.array([[2.0]]))
    array([36.,  0.])
    """
    cpu = get_backend("cpu")
    weights, coef = np.asarray(weights, dtype=np.float64), np.asarray(coef, dtype=np.float64)
    mixed = cpu.matmul(coef, coef.T.copy())
    mixed *= cpu.gram(slopes) / len(slopes)
    return np.maximum(np.sum(cpu.matmul(weights, mixed) * weights, axis=1), 0)


def radial_energy(centres, gamma, bumps, rows, coef):
    r"""Return the energy of bumps: per target :math:`\nabla f(x) = 2 \sum_j \gamma_j b_j k_j(x) (c_j - x)`.

    Parameters
    ----------
    centres : ndarray of shape (h, d)
        c_j.
    gamma : ndarray of shape (h,)
        Inverse squared widths.
    bumps : ndarray of shape (m, h)
        k_j of every row.
    rows : ndarray of shape (m, d)
        x.
    coef : ndarray of shape (h, c)
        b.

    Returns
    -------
    ndarray of shape (d,)
        The energy.

    References
    ----------
    A. Radhakrishnan et al., Science 383, 2024 (the average gradient outer product).

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_analytic.features._agop import radial_energy
    >>> radial_energy(np.zeros((1, 1)), np.ones(1), np.ones((1, 1)), np.ones((1, 1)), np.ones((1, 1)))
    array([4.])
    """
    product = get_backend("cpu").matmul
    origin = centres.mean(axis=0)
    centres = np.ascontiguousarray(centres - origin, dtype=rows.dtype)  # a common offset must not cancel
    rows = rows - origin.astype(rows.dtype)
    energy = np.zeros(rows.shape[1])
    for column in (coef * gamma[:, None].astype(rows.dtype)).T:
        pulls = bumps * column  # (m, h)
        gradient = product(pulls, centres) - rows * pulls.sum(axis=1)[:, None]
        energy += np.sum(gradient**2, axis=0, dtype=np.float64)
    return 4 * energy / len(rows)


def laplace_energy(centres, units, rows, coef):
    r"""Return the energy of Laplace units: :math:`\partial f_c = -\sum_j b_{jc} k_j(x) \mathrm{sign}(x_k - z_{jk})`.

    Parameters
    ----------
    centres : ndarray of shape (h, d)
        z_j.
    units : ndarray of shape (m, h)
        k_j of every row.
    rows : ndarray of shape (m, d)
        x.
    coef : ndarray of shape (h, c)
        b, times the inverse widths.

    Returns
    -------
    ndarray of shape (d,)
        The energy, for columns of unit weight.

    References
    ----------
    D. Beaglehole et al., "xRFM", arXiv 2508.10053 (gradients of Laplace kernels without self terms).

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_analytic.features._agop import laplace_energy
    >>> laplace_energy(np.zeros((1, 2)), np.ones((1, 1)), np.array([[1.0, 0.0]]), np.full((1, 1), 3.0))
    array([9., 0.])
    """
    product = get_backend("cpu").matmul
    centres, coef = centres.astype(rows.dtype), coef.astype(rows.dtype)
    energy = np.empty(rows.shape[1])
    for k in range(rows.shape[1]):
        signs = rows[:, k, None] - centres[:, k]
        signs[np.abs(signs) <= _TIE * np.max(np.abs(rows[:, k]), initial=0.0)] = 0.0
        np.sign(signs, out=signs)
        signs *= units
        energy[k] = np.sum(product(signs, coef) ** 2, dtype=np.float64)
    return energy / len(rows)


def _triangle_slope(z):
    """Derivative of max(1 - |z|, 0)."""
    return np.where(np.abs(z) < 1, -np.sign(z), 0.0)


SLOPES = {
    "identity": np.ones_like,
    "relu": lambda z: (z > 0).astype(z.dtype),
    "tanh": lambda z: 1 - np.tanh(z) ** 2,
    "bump": lambda z: np.where(z < 0, np.exp(np.minimum(z, 0)), 0.0),
    "gaussian": lambda z: -2 * z * np.exp(-(z**2)),
    "cos": lambda z: -np.sin(z),
    "triangle": _triangle_slope,
}
