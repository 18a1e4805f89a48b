"""Forward Projection: hidden units regressed on random codes of row and target."""

import numpy as np
from scipy import linalg

from sklearn_analytic.backend import get_backend
from sklearn_analytic.features._codes import forward_code
from sklearn_analytic.features._layers import DenseLayer
from sklearn_analytic.features._targets import target_classes


def forward_layer(rows, targets, n_units, activation, generator, ridge=10.0):
    r"""Return the ridge map from rows to random codes that mix row and target (Forward Projection).

    With A the rows and a column of ones, :math:`Z = \mathrm{sign}(A Q) + \mathrm{sign}(Y U)` for Gaussian Q and U, and
    the layer is :math:`W = (A^T A + \rho I)^{-1} A^T Z` under its activation. Deeper stacks repeat the same on the
    output. Regression targets are first cut into quantile bins, which take the place of classes.

    Parameters
    ----------
    rows : ndarray of shape (m, d)
        Drawn rows, by weight.
    targets : ndarray of shape (m, c)
        Their targets.
    n_units : int
        Width h.
    activation : str
        Activation of the layer; published with "relu".
    generator : numpy.random.Generator
        Source of Q and U.
    ridge : float, default=10.0
        :math:`\rho`, as published.

    Returns
    -------
    DenseLayer
        The layer.

    References
    ----------
    R. O'Shea, B. Rajendran, "Closed-form feedback-free learning with forward projection", arXiv 2501.16476.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_analytic.features import forward_layer
    >>> X = np.random.default_rng(0).standard_normal((30, 2))
    >>> forward_layer(X, X[:, :1], 5, "relu", np.random.default_rng(0)).weights.shape
    (2, 5)
    """
    cpu = get_backend("cpu")
    rows = np.hstack([np.asarray(rows, dtype=np.float64), np.ones((len(rows), 1))])
    labels = target_classes(targets)
    code = forward_code(rows, None, labels, labels.max() + 1, np.arange(n_units), generator)
    gram = cpu.gram(rows) + ridge * np.eye(rows.shape[1])
    solution = linalg.solve(gram, cpu.cross(rows, code), assume_a="pos")
    return DenseLayer(np.ascontiguousarray(solution[:-1]), solution[-1], activation)
