"""Projections of a module: by correlation with a code, by whitened correlation, or at random."""

import numpy as np
from scipy import linalg

from sklearn_analytic.backend import get_backend
from sklearn_analytic.features._layers import DenseLayer
from sklearn_analytic.features._sampling import weighted_mean

_WHITENING = 1e-2  # ridge of the whitened projection, of the mean variance of a column
_TINY = 1e-12


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
