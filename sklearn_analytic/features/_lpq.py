"""Explicit features of the Laplace kernel without landmarks: Cauchy frequencies, and random binning."""

import math
from dataclasses import dataclass

import numpy as np

from sklearn_analytic.features._kernels import median_l1
from sklearn_analytic.features._layers import DenseLayer, cast_like

_HIGHEST = 100.0  # Cauchy frequencies beyond this resolve a hundredth of the width: rounding in float32


@dataclass(frozen=True)
class BinningLayer:
    r"""Random signs of the cells of random grids: :math:`x \mapsto \pm 1` by the cell that x falls in.

    Unit p cuts every column into bins of its own pitch, :math:`\lfloor (x_k - u_{pk}) / \delta_{pk} \rfloor`, and
    hashes the bins of all columns to one sign. That is random binning with each grid's indicator of cells
    sketched by one random sign per cell: two rows agree in expectation as often as they share a cell, which is
    the kernel, at the least variance for a given width.

    Parameters
    ----------
    inverse_pitch : ndarray of shape (d, h)
        1 / delta.
    shift : ndarray of shape (d, h)
        u / delta, in (0, 1).
    multipliers : ndarray of shape (d, h), int64
        Odd multipliers of the hash.
    offset : ndarray of shape (h,), int64
        Its constants, without which opposite cells would have opposite signs.

    References
    ----------
    A. Rahimi, B. Recht, "Random features for large-scale kernel machines", NIPS 2007 (section 4).

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_analytic.backend import get_backend
    >>> from sklearn_analytic.features import BinningLayer
    >>> layer = BinningLayer(np.ones((1, 1)), np.zeros((1, 1)), np.array([[(1 << 62) + 1]]), np.zeros(1, int))
    >>> layer.apply(np.array([[0.1], [0.9], [1.1]]), get_backend("cpu")).ravel()
    array([ 1.,  1., -1.])
    """

    inverse_pitch: np.ndarray
    shift: np.ndarray
    multipliers: np.ndarray
    offset: np.ndarray

    @property
    def n_units(self):
        """Width of the layer."""
        return self.shift.shape[1]

    def apply(self, x, backend):
        """Return the layer's output (n, h), of -1 and 1, in the dtype of ``x``."""
        grid = (cast_like(parameter, x, backend) for parameter in (self.inverse_pitch, self.shift))
        return backend.cell_signs(x, *grid, backend.asarray(self.multipliers), backend.asarray(self.offset))


def cauchy_layer(rows, targets, n_units, activation, generator, scale=1.0):
    r"""Return cosines of Cauchy frequencies: random Fourier features of the Laplace kernel.

    :math:`\exp(-\|x - z\|_1 / L)` is the characteristic function of independent Cauchy frequencies of scale 1/L in
    every column, so :math:`\cos(\omega^T x + b)` are its Fourier features; L is the median L1 distance between rows.
    The rare frequencies beyond 100 / L, which single precision cannot resolve, are brought back to it.

    Parameters
    ----------
    rows : ndarray of shape (m, d)
        Drawn rows; they set the width alone.
    targets : ndarray of shape (m, c)
        Not used.
    n_units : int
        Width h.
    activation : str
        Not used: the cosine is the activation.
    generator : numpy.random.Generator
        Source of frequencies and phases.
    scale : float, default=1.0
        L in units of the median distance.

    Returns
    -------
    DenseLayer
        The layer.

    References
    ----------
    A. Rahimi, B. Recht, "Random features for large-scale kernel machines", NIPS 2007 (table of kernels).

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_analytic.features import cauchy_layer
    >>> cauchy_layer(np.eye(3), None, 5, "cos", np.random.default_rng(0)).activation
    'cos'
    """
    frequencies = generator.standard_cauchy((rows.shape[1], n_units)).clip(-_HIGHEST, _HIGHEST)
    return DenseLayer(frequencies / (scale * median_l1(rows)), generator.uniform(0, 2 * math.pi, n_units), "cos")


def binning_layer(rows, targets, n_units, activation, generator, scale=1.0):
    r"""Return random signs of the cells of random grids: random binning features of the Laplace kernel.

    Pitches follow the gamma distribution of shape 2 and scale L and shifts are uniform, so two rows share the
    bin of a column with probability :math:`\exp(-|x_k - z_k| / L)` and a cell with that of the kernel.

    Parameters
    ----------
    rows : ndarray of shape (m, d)
        Drawn rows; they set the width alone.
    targets : ndarray of shape (m, c)
        Not used.
    n_units : int
        Width h: one grid per unit.
    activation : str
        Not used.
    generator : numpy.random.Generator
        Source of pitches, shifts and hashes.
    scale : float, default=1.0
        L in units of the median L1 distance between rows.

    Returns
    -------
    BinningLayer
        The layer.

    References
    ----------
    A. Rahimi, B. Recht, "Random features for large-scale kernel machines", NIPS 2007 (section 4);
    K. Weinberger et al., "Feature hashing for large scale multitask learning", ICML 2009 (signs of hashes).

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_analytic.backend import get_backend
    >>> from sklearn_analytic.features import binning_layer
    >>> X = np.array([[0.0], [1.0]])
    >>> units = binning_layer(X, None, 4000, "tanh", np.random.default_rng(0)).apply(X, get_backend("cpu"))
    >>> bool(abs(np.mean(units[0] * units[1]) - np.exp(-1)) < 0.05)
    True
    """
    shape = (rows.shape[1], n_units)
    pitch = generator.gamma(2.0, scale * median_l1(rows), shape)
    shift = generator.uniform(size=shape)
    words = generator.integers(np.iinfo(np.int64).min, np.iinfo(np.int64).max, (shape[0] + 1, n_units))
    return BinningLayer(1 / pitch, shift, words[1:] | 1, words[0])


def lpq_layer(rows, targets, n_units, activation, generator, scale=1.0):
    """Return explicit features of the Laplace kernel: Cauchy frequencies for "cos", random binning otherwise.

    Parameters
    ----------
    rows : ndarray of shape (m, d)
        Drawn rows; they set the width of the kernel.
    targets : ndarray of shape (m, c)
        Not used.
    n_units : int
        Width h.
    activation : str
        "cos" gives :func:`cauchy_layer`, everything else :func:`binning_layer`.
    generator : numpy.random.Generator
        Source of the features.
    scale : float, default=1.0
        Width of the kernel in units of the median L1 distance between rows.

    Returns
    -------
    DenseLayer or BinningLayer
        The layer.

    References
    ----------
    A. Rahimi, B. Recht, "Random features for large-scale kernel machines", NIPS 2007.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_analytic.features import lpq_layer
    >>> [type(lpq_layer(np.eye(2), None, 3, f, np.random.default_rng(0))).__name__ for f in ("cos", "tanh")]
    ['DenseLayer', 'BinningLayer']
    """
    build = cauchy_layer if activation == "cos" else binning_layer
    return build(rows, targets, n_units, activation, generator, scale)
