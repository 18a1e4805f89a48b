"""Units at rows: bumps of the Laplace kernel, Gaussians about means of sub-classes, and cells at distinct rows."""

from dataclasses import dataclass

import numpy as np
from scipy import sparse
from scipy.spatial import cKDTree

from sklearn_analytic.backend import get_backend
from sklearn_analytic.features._agop import laplace_energy
from sklearn_analytic.features._layers import RadialLayer, cast_like
from sklearn_analytic.features._sampling import draw_rows, weighted_mean

_CELL_CONTRAST = 1000.0  # value of a cell's unit there, over that at the nearest other cell
_RADIAL_WIDTHS = (1.0, 2.0, 4.0)  # scales of radial units, taken in turn
_PROBE = 200  # rows among which the median distance is taken


@dataclass(frozen=True)
class LaplaceLayer:
    r"""Laplace bumps :math:`x \mapsto \exp(-s_j \sum_k w_k |x_k - z_{jk}|)`.

    Parameters
    ----------
    centres : ndarray of shape (h, d)
        z_j.
    inverse_width : float or ndarray of shape (h,)
        s_j.
    weights : ndarray of shape (d,) or None, default=None
        Non-negative w_k; None is one for every column.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_analytic.backend import get_backend
    >>> from sklearn_analytic.features import LaplaceLayer
    >>> layer = LaplaceLayer(np.array([[0.0, 0.0]]), 1.0, np.array([1.0, 0.0]))
    >>> layer.apply(np.array([[1.0, 5.0]]), get_backend("cpu")).round(4)
    array([[0.3679]])
    """

    centres: np.ndarray
    inverse_width: float | np.ndarray
    weights: np.ndarray | None = None

    @property
    def n_units(self):
        """Width of the layer."""
        return len(self.centres)

    def apply(self, x, backend):
        """Return the layer's output (n, h) in the dtype of ``x``."""
        centres = cast_like(self.centres, x, backend)
        if self.weights is not None:
            # Centres are scaled in the dtype of x, so that a row that is a centre is at distance 0 exactly.
            scales = cast_like(self.weights, x, backend)
            x, centres = x * scales, centres * scales
        z = backend.l1_distances(x, centres)
        z *= cast_like(-np.broadcast_to(np.asarray(self.inverse_width, dtype=np.float64), self.n_units), x, backend)
        return backend.activate(z, cast_like(np.zeros(self.n_units), x, backend), "bump")

    def gradient_energy(self, rows, coef):
        """Return the diagonal (d,) of the average gradient outer product of ``x -> apply(x) @ coef``."""
        units = self.apply(rows, get_backend("cpu"))
        slopes = coef * np.broadcast_to(self.inverse_width, self.n_units)[:, None]
        energy = laplace_energy(self.centres, units, rows, slopes)
        return energy if self.weights is None else energy * self.weights**2


def laplace_layer(rows, targets, n_units, activation, generator, scales=(1.0,), weights=None):
    """Return Laplace bumps at drawn rows, of widths about the median L1 distance between rows.

    A linear readout of these units is the Nystroem approximation of a Laplace kernel machine, but for the ridge,
    which weighs the units alike. L1 distances follow single columns, so the units suit tables.

    Parameters
    ----------
    rows : ndarray of shape (m, d)
        Drawn rows, by weight; the first ``n_units`` distinct ones become centres (all, when there are fewer).
    targets : ndarray of shape (m, c)
        Not used.
    n_units : int
        Number of centres h.
    activation : str
        Not used: the bump is the activation.
    generator : numpy.random.Generator
        Not used.
    scales : tuple of float, default=(1.0,)
        Widths in units of the median distance, taken in turn by the units.
    weights : ndarray of shape (d,) or None, default=None
        Weights of the columns in the distance.

    Returns
    -------
    LaplaceLayer
        The layer, of at most ``n_units`` units.

    References
    ----------
    C. K. I. Williams, M. Seeger, "Using the Nystroem method to speed up kernel machines", NIPS 2000;
    D. Beaglehole, D. Holzmueller, A. Radhakrishnan, M. Belkin, "xRFM", arXiv 2508.10053 (the kernel on tables).

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_analytic.features import laplace_layer
    >>> layer = laplace_layer(np.array([[0.0], [2.0], [2.0]]), None, 5, "tanh", None)
    >>> layer.centres.ravel(), layer.inverse_width  # two distinct rows, one distance
    (array([0., 2.]), array([0.5, 0.5]))
    """
    rows = np.asarray(rows, dtype=np.float64)
    centres = np.array(list({row.tobytes(): row for row in rows + 0.0}.values())[:n_units])
    width = median_l1(centres if weights is None else centres * weights)
    return LaplaceLayer(centres, 1 / (width * np.resize(np.asarray(scales, dtype=np.float64), len(centres))), weights)


def median_l1(rows):
    """Return the median positive L1 distance among the first rows, 1 where all are the same.

    Parameters
    ----------
    rows : ndarray of shape (m, d)
        Rows; the first 200 are looked at.

    Returns
    -------
    float
        The median.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_analytic.features._kernels import median_l1
    >>> median_l1(np.array([[0.0, 0.0], [1.0, 2.0]]))
    3.0
    """
    probe = np.asarray(rows[:_PROBE], dtype=np.float64)
    distances = get_backend("cpu").l1_distances(probe, probe)
    positive = distances[distances > 0]
    return float(np.median(positive)) if len(positive) else 1.0


def subclass_code(rows, labels, seeds, seed_labels):
    """Return for every row the index of the nearest seed of its own class, -1 where its class has none.

    The code matrix T is the indicator of these sub-classes; A^T T, columns over their counts, are the
    sub-class means, so a correlation projection of this code has full rank.

    Parameters
    ----------
    rows : ndarray of shape (n, d)
        Rows.
    labels : ndarray of shape (n,)
        Class indices.
    seeds : ndarray of shape (h, d)
        One row per sub-class.
    seed_labels : ndarray of shape (h,)
        Their class indices.

    Returns
    -------
    ndarray of shape (n,)
        Index into ``seeds``.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_analytic.features import subclass_code
    >>> seeds = np.array([[0.0], [10.0], [0.0]])
    >>> subclass_code(np.array([[1.0], [9.0], [9.0]]), np.array([0, 0, 1]), seeds, np.array([0, 0, 1]))
    array([0, 1, 2])
    """
    product = get_backend("cpu").matmul
    nearest = np.full(len(rows), -1)
    for label in np.unique(seed_labels):
        members, group = np.flatnonzero(labels == label), np.flatnonzero(seed_labels == label)
        centres = np.ascontiguousarray(seeds[group].T)
        half = 0.5 * np.sum(seeds[group] ** 2, axis=1)
        for start in range(0, len(members), 4096):
            part = members[start : start + 4096]
            nearest[part] = group[np.argmin(half - product(rows[part], centres), axis=1)]
    return nearest


def radial_units(a, width, gamma, generator):
    """Return Gaussian units about means of sub-classes of :class:`TrainingRows`, at rows drawn by weight."""
    drawn = draw_rows(a.keys, a.weights, width, generator)
    drawn = drawn[np.unique(a.keys[drawn], return_index=True)[1]]  # equal rows would be equal units
    return subclass_layer(a.x, a.labels, a.weights, a.x[drawn], a.labels[drawn], gamma)


def radial_gamma(a):
    """Return inverse squared widths s / (2 v) of such units: s takes three scales in turn, v is the total variance."""
    centred = a.x - weighted_mean(a.x, a.weights)
    variance = max(float(np.sum(weighted_mean(centred**2, a.weights))), 1e-12)
    return np.asarray(_RADIAL_WIDTHS) / (2 * variance)


def subclass_layer(rows, labels, weights, seeds, seed_labels, gamma):
    r"""Return radial units about sub-class means: the correlation projection of the sub-class code.

    With the code's columns divided by their counts, :math:`W_1 = A^T T` holds the sub-class means
    :math:`c_j`; of the lifted row :math:`[a, \|a\|^2, 1]` the projection on
    :math:`[2 \gamma_j c_j, -\gamma_j, -\gamma_j \|c_j\|^2]` is :math:`-\gamma_j \|a - c_j\|^2`, and the
    activation is its exponential.

    Parameters
    ----------
    rows : ndarray of shape (n, d)
        Rows A.
    labels : ndarray of shape (n,)
        Class indices.
    weights : ndarray of shape (n,)
        Frequencies of the rows.
    seeds : ndarray of shape (h, d)
        One row per sub-class.
    seed_labels : ndarray of shape (h,)
        Their class indices.
    gamma : sequence of float
        Inverse squared widths, repeated over the units.

    Returns
    -------
    RadialLayer
        The layer.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_analytic.features import subclass_layer
    >>> A = np.array([[0.0], [2.0], [10.0]])
    >>> subclass_layer(A, np.array([0, 0, 1]), np.ones(3), A[[0, 2]], np.array([0, 1]), [1.0]).centres.ravel()
    array([ 1., 10.])
    """
    nearest = subclass_code(rows, labels, seeds, seed_labels)
    member = nearest >= 0
    counts = np.bincount(nearest[member], weights[member], minlength=len(seeds))
    indicator = sparse.csr_array((weights[member], (nearest[member], np.flatnonzero(member))), (len(seeds), len(rows)))
    sums = indicator @ rows.astype(np.float64)
    used = counts > 0
    centres = np.array(seeds, dtype=np.float64)
    centres[used] = sums[used] / counts[used][:, None]
    return RadialLayer(centres, np.resize(gamma, len(seeds)))


def cell_layer(rows):
    """Return one narrow Gaussian unit at every distinct row: 1 there, 1/1000 at the nearest other row.

    A ridge on such units is a table of shrunken means, one per content of a row.

    Parameters
    ----------
    rows : ndarray of shape (n, d)
        Rows; repeated ones count once.

    Returns
    -------
    RadialLayer
        The layer.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_analytic.backend import get_backend
    >>> from sklearn_analytic.features import cell_layer
    >>> X = np.array([[0.0], [1.0], [1.0], [3.0]])
    >>> cell_layer(X).apply(X[:1], get_backend("cpu")).round(2)
    array([[1., 0., 0.]])
    """
    centres = np.unique(np.asarray(rows, dtype=np.float64), axis=0)
    nearest = cKDTree(centres).query(centres, k=[2])[0].ravel() if len(centres) > 1 else np.ones(1)
    return RadialLayer(centres, np.log(_CELL_CONTRAST) / nearest**2)
