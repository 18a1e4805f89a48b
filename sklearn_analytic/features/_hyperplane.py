"""Hyperplanes between class Gaussians: a network drawn by linear discriminants instead of trained."""

import math

import numpy as np
from scipy import linalg

from sklearn_analytic.features._layers import DenseLayer
from sklearn_analytic.features._targets import target_classes

_SHRINKAGE = 1e-2  # of the mean variance, added to the pooled covariance
_TWO_SIDED = ("relu", "bump")  # activations that lose one side of the plane: they get a unit for each
_LEAST_ROWS = 4  # of a Gaussian that is split


def hyperplane_layer(rows, targets, n_units, activation, generator):
    r"""Return units across the discriminant hyperplanes of pairs of class Gaussians (FF-MLP).

    Every class is cut into Gaussians by splitting the most scattered one at its mean along its leading principal
    direction, until the pairs of Gaussians of different classes fill the layer. With the pooled covariance
    :math:`\Sigma` the plane of a pair is :math:`w = \Sigma^{-1} (\mu_a - \mu_b)` through the midpoint of the means,
    at which it is +1 and -1; a ReLU looks at it from either side. The closest pairs are kept.

    This is a reconstruction: the published network goes on with one unit per Gaussian and a fixed OR per class,
    where here a ridge reads the hyperplanes; its Gaussians come from an iterative mixture fit, here from splits in
    closed form. Regression targets are first cut into quantile bins.

    Parameters
    ----------
    rows : ndarray of shape (m, d)
        Drawn rows, by weight.
    targets : ndarray of shape (m, c)
        Their targets.
    n_units : int
        At most this many units: two per pair for a ReLU, one for activations that keep both sides.
    activation : str
        Activation of the layer.
    generator : numpy.random.Generator
        Not used.

    Returns
    -------
    DenseLayer
        The layer; narrower than ``n_units`` where there are fewer pairs.

    References
    ----------
    R. Lin, Z. Zhou, S. You, R. Rao, C.-C. J. Kuo, "From two-class linear discriminant analysis to interpretable
    multilayer perceptron design", arXiv 2009.04442.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_analytic.features import hyperplane_layer
    >>> X = np.array([[-1.0, 0.0], [-1.0, 2.0], [1.0, 0.0], [1.0, 2.0]])
    >>> layer = hyperplane_layer(X, np.eye(2)[[0, 0, 1, 1]], 2, "relu", None)
    >>> layer.weights.round(6) + 0.0  # the units look from class 0 and from class 1
    array([[-1.,  1.],
           [ 0.,  0.]])
    """
    rows = np.asarray(rows, dtype=np.float64)
    labels = target_classes(targets)
    sides = 2 if activation in _TWO_SIDED else 1
    n_pairs = max(n_units // sides, 1)
    groups, owners = _gaussians(rows, labels, _n_gaussians(n_pairs, labels.max() + 1))
    means = np.array([rows[group].mean(axis=0) for group in groups])
    weights, bias = _planes(means, *_pairs(owners), _pooled_covariance(rows, groups, means), n_pairs)
    if len(bias) == 0:  # all rows are the same
        return DenseLayer(np.zeros((rows.shape[1], 1)), np.zeros(1), activation)
    if sides == 2:
        weights, bias = np.hstack([weights, -weights])[:, :n_units], np.concatenate([bias, -bias])[:n_units]
    return DenseLayer(weights, bias, activation)


def _n_gaussians(n_pairs, n_classes):
    """Gaussians whose pairs of different classes number about ``n_pairs``, if classes share them equally."""
    share = 1 - 1 / n_classes if n_classes > 1 else 1.0
    return max(n_classes, math.ceil(math.sqrt(2 * n_pairs / share)))


def _gaussians(rows, labels, n_gaussians):
    """Rows of every Gaussian, and the class it belongs to."""
    groups = [np.flatnonzero(labels == label) for label in range(labels.max() + 1)]
    owners = list(range(len(groups)))
    scatter = [_scatter(rows[group]) for group in groups]
    while len(groups) < n_gaussians and max(scatter) > 0:
        widest = int(np.argmax(scatter))
        low, high = _halves(rows, groups[widest])
        groups[widest] = low
        groups.append(high)
        owners.append(owners[widest])
        scatter[widest] = _scatter(rows[low])
        scatter.append(_scatter(rows[high]))
    return groups, np.array(owners)


def _scatter(part):
    """Squared distance from the mean, summed; 0 for what is not to be split."""
    return float(np.sum((part - part.mean(axis=0)) ** 2)) if len(part) >= _LEAST_ROWS and np.ptp(part) > 0 else 0.0


def _halves(rows, group):
    """The two sides of the mean along the leading principal direction."""
    centred = rows[group] - rows[group].mean(axis=0)
    wide = centred.shape[1] > len(centred)
    gram = centred @ centred.T if wide else centred.T @ centred
    leading = linalg.eigh(gram, subset_by_index=[len(gram) - 1] * 2)[1][:, 0]
    score = leading if wide else centred @ leading
    upper = score > 0
    if not 0 < np.sum(upper) < len(group):  # rounding: all rows but one are the same
        upper = score >= np.max(score)
    return group[~upper], group[upper]


def _pairs(owners):
    """Indices of every pair of Gaussians of different classes; of every pair where there is one class."""
    first, second = np.triu_indices(len(owners), 1)
    between = (owners[first] != owners[second]) | (owners.max() == 0)
    return first[between], second[between]


def _pooled_covariance(rows, groups, means):
    """Covariance within the Gaussians, shrunk to a multiple of the identity."""
    owner = np.empty(len(rows), dtype=int)
    for k, group in enumerate(groups):
        owner[group] = k
    centred = rows - means[owner]
    covariance = centred.T @ centred / len(rows)
    total = float(np.mean(np.var(rows, axis=0)))
    ridge = _SHRINKAGE * max(float(np.trace(covariance)) / len(covariance), _SHRINKAGE * total, 1e-300)
    return covariance + ridge * np.eye(len(covariance))


def _planes(means, first, second, covariance, n_pairs):
    """Discriminants of the pairs of closest means, +1 and -1 at the means."""
    factor = linalg.cholesky(covariance, lower=True)
    whitened = linalg.solve_triangular(factor, means.T, lower=True).T  # (G, d)
    distance = np.sum((whitened[first] - whitened[second]) ** 2, axis=1)
    kept = np.argsort(distance, kind="stable")[:n_pairs]
    kept = kept[distance[kept] > 0]
    first, second = first[kept], second[kept]
    steps = linalg.cho_solve((factor, True), (means[first] - means[second]).T)  # (d, pairs)
    weights = 2 * steps / distance[kept]
    return weights, -np.sum(weights * (means[first] + means[second]).T, axis=0) / 2
