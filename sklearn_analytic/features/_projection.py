"""Projections of a module: by correlation with a code, by whitened correlation, or at random."""

import numpy as np
from scipy import linalg, sparse
from scipy.spatial import cKDTree

from sklearn_analytic.backend import get_backend
from sklearn_analytic.features._codes import subclass_code
from sklearn_analytic.features._layers import DenseLayer, RadialLayer

_WHITENING = 1e-2  # ridge of the whitened projection, of the mean variance of a column
_TINY = 1e-12
_CELL_CONTRAST = 1000.0  # value of a cell's unit there, over that at the nearest other cell


def projected_layer(rows, code, weights, projection, activation, anchors, generator):
    r"""Return units along the correlation of rows with a code, each with its kink at a drawn row.

    :math:`W_1 = A^T (T - \bar T)`, or :math:`(A^T A + \lambda I)^{-1} A^T (T - \bar T)` when whitened, or
    Gaussian; columns scaled to unit variance of :math:`A W_1`, bias minus the projection of an anchor row.

    Parameters
    ----------
    rows : ndarray of shape (n, d)
        Rows A, about centred.
    code : ndarray of shape (n, h)
        Codes T.
    weights : ndarray of shape (n,)
        Frequencies of the rows.
    projection : {"correlation", "whitened", "random"}
        How W_1 is found.
    activation : str
        Activation of the layer.
    anchors : ndarray of shape (h, d)
        One row per unit.
    generator : numpy.random.Generator
        Source of a random projection.

    Returns
    -------
    DenseLayer
        The layer, parameters in the dtype of ``rows``.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_analytic.features import projected_layer
    >>> A, T = np.array([[1.0], [-1.0]]), np.array([[1.0], [0.0]])
    >>> layer = projected_layer(A, T, np.ones(2), "correlation", "tanh", A[:1], None)
    >>> layer.weights, layer.bias
    (array([[1.]]), array([-1.]))
    """
    product = get_backend("cpu").matmul
    centred = rows - weighted_mean(rows, weights).astype(rows.dtype)
    if projection == "random":
        directions = generator.standard_normal((rows.shape[1], code.shape[1]))
    else:
        weighted = np.ascontiguousarray((centred * weights[:, None]).T, dtype=np.float64)
        directions = product(weighted, code - weighted_mean(code, weights))
        if projection == "whitened":
            gram = product(weighted, centred)
            ridge = _WHITENING * max(np.trace(gram) / len(gram), _TINY)
            directions = linalg.solve(gram + ridge * np.eye(len(gram)), directions, assume_a="pos")
    spread = np.sqrt(weighted_mean(product(centred, directions) ** 2, weights))
    # A unit that no row moves stays off: its spread is rounding.
    alive = spread > 1e-10 * max(spread.max(initial=0.0), _TINY)
    directions = directions * np.divide(1.0, spread, out=np.zeros_like(spread), where=alive)
    bias = -np.sum(anchors * directions.T, axis=1)
    return DenseLayer(directions.astype(rows.dtype), bias.astype(rows.dtype), activation)


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


def weighted_mean(rows, weights):
    """Return the weighted mean of rows in float64.

    Parameters
    ----------
    rows : ndarray of shape (n, d)
        Rows.
    weights : ndarray of shape (n,)
        Frequencies.

    Returns
    -------
    ndarray of shape (d,)
        The mean.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_analytic.features import weighted_mean
    >>> weighted_mean(np.array([[0.0], [3.0]]), np.array([1.0, 2.0]))
    array([2.])
    """
    return np.einsum("i,ij->j", np.asarray(weights, dtype=np.float64), rows) / np.sum(weights)
