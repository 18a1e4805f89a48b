"""Hidden layers without gradients: random weights, radial bumps at rows, and pairs of rows."""

import math

import numpy as np

from sklearn_analytic.features._layers import DenseLayer, RadialLayer

_TANH_HALF = math.atanh(0.5)  # activations -1/2 and +1/2 at the two rows of a pair
_SMALLEST = float(np.finfo(np.float64).tiny)  # whose inverse is a number
_ROUNDING = 1e-12
_SQUARES = 300  # powers of two, up to which squares stay numbers
_CANDIDATES = 4  # pairs looked at per pair kept, and third rows per pair
_LARGEST_TILT = 4.0  # on tables as good as 1 throughout, which is weak on parities


def random_layer(rows, targets, n_units, activation, generator):
    """Return a layer of Gaussian weights of variance 1/d and uniform biases in (-1, 1).

    The layer depends on the generator and the number of columns alone, so any split of the rows gives the
    same features. It expects columns of about unit variance.

    Parameters
    ----------
    rows : ndarray of shape (m, d)
        Only its number of columns is used.
    targets : ndarray of shape (m, c)
        Not used.
    n_units : int
        Width h.
    activation : str
        Activation of the layer.
    generator : numpy.random.Generator
        Source of the weights.

    Returns
    -------
    DenseLayer
        The layer.

    References
    ----------
    Y.-H. Pao, G.-H. Park, D. J. Sobajic, "Learning and generalization characteristics of the random vector
    functional-link net", Neurocomputing 6, 1994.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_analytic.features import random_layer
    >>> random_layer(np.zeros((1, 3)), None, 5, "tanh", np.random.default_rng(0)).weights.shape
    (3, 5)
    """
    d = rows.shape[1]
    weights = generator.standard_normal((d, n_units)) / math.sqrt(d)
    return DenseLayer(weights, generator.uniform(-1, 1, n_units), activation)


def rbf_layer(rows, targets, n_units, activation, generator):
    """Return Gaussian bumps centred at drawn rows, of width the median distance between centres.

    Parameters
    ----------
    rows : ndarray of shape (m, d)
        Drawn rows, by weight; the first ``n_units`` become centres (with repetition when there are fewer).
    targets : ndarray of shape (m, c)
        Not used.
    n_units : int
        Number of centres h.
    activation : str
        Not used: the bump is the activation.
    generator : numpy.random.Generator
        Not used.

    Returns
    -------
    RadialLayer
        The layer.

    References
    ----------
    D. S. Broomhead, D. Lowe, "Multivariable functional interpolation and adaptive networks", 1988.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_analytic.features import rbf_layer
    >>> rbf_layer(np.eye(4), None, 2, "tanh", np.random.default_rng(0)).centres.shape
    (2, 4)
    """
    centres = np.resize(np.asarray(rows, dtype=np.float64), (n_units, rows.shape[1]))
    probe = centres[:200] - centres.mean(axis=0)
    with np.errstate(over="ignore"):
        squared = np.sum((probe[:, None] - probe) ** 2, axis=2)
    positive = squared[squared > 0]
    vanished = len(positive) == 0 and np.max(np.abs(probe)) > _ROUNDING * np.max(np.abs(centres))
    if vanished or (len(positive) and not _SMALLEST < np.median(positive) < np.inf):
        far = int(np.argmax(np.max(np.abs(centres), axis=0)))
        raise ValueError(
            f"hidden='rbf' needs squares of distances between rows, and column {far} of X reaches "
            f"{np.max(np.abs(centres[:, far])):.1e}: scale the columns first (StandardScaler), or use hidden='sampled'."
        )
    return RadialLayer(centres, 1.0 / float(np.median(positive)) if len(positive) else 1.0)


def sampled_layer(rows, targets, n_units, activation, generator):
    """Return units along differences of two rows, likelier for near rows with far targets (SWIM).

    A unit crosses zero midway between its rows and is -1/2 and +1/2 at them under tanh. The published ReLU
    anchor (0 and 1 at the rows) is nearly linear in many dimensions, so ReLU uses the midpoint as well.

    Near rows of few-valued columns agree in most of them, and units along their differences alone would be a sum of
    functions of single columns. In the columns where its two rows agree, a unit therefore leans towards a third row,
    at which it is 1 to 4 times as far from zero as it would be between the two; at these it is what it was.

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
        Source of the pairs.

    Returns
    -------
    DenseLayer
        The layer; all weights are zero where every row is the same.

    References
    ----------
    E. L. Bolager et al., "Sampling weights of deep neural networks", NeurIPS 2023.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_analytic.features import sampled_layer
    >>> X = np.array([[0.0], [1.0]])
    >>> layer = sampled_layer(X, X, 1, "tanh", np.random.default_rng(0))
    >>> np.abs(np.tanh(X @ layer.weights + layer.bias)).round(6).ravel()
    array([0.5, 0.5])
    """
    exponent = _scale_of(rows)  # squares of 1e200 are no numbers
    rows = np.ldexp(np.asarray(rows, dtype=np.float64), -exponent)
    first, second = generator.integers(len(rows), size=(2, _CANDIDATES * n_units))
    step = rows[second] - rows[first]
    distance = np.linalg.norm(step, axis=1)
    change = np.max(np.abs(targets[second] - targets[first]), axis=1)
    chosen = _draw_pairs(distance, change, n_units, generator)
    squared = np.where(distance[chosen] > 0, distance[chosen] ** 2, 1.0)  # equal rows give a zero unit
    weights = 2 * _TANH_HALF * step[chosen] / squared[:, None]
    if activation != "identity":  # what is linear is a sum anyway
        weights += 2 * _TANH_HALF * _tilts(rows, first[chosen], step[chosen] == 0, generator)
    bias = -np.sum(weights * (rows[first] + rows[second])[chosen] / 2, axis=1)
    return DenseLayer(np.ldexp(weights.T, -exponent), bias, activation)


def _scale_of(rows):
    """Power of two near the largest value, 0 where squares are numbers anyway."""
    exponent = int(np.frexp(np.max(np.abs(rows), initial=0.0))[1])
    return exponent if abs(exponent) > _SQUARES else 0


def _draw_pairs(distance, change, n_units, generator):
    """Draw pairs in proportion to target change over distance; uniformly where no target changes."""
    usable = distance > 0
    if not np.any(usable):
        return np.zeros(n_units, dtype=int)
    steepness = np.where(usable, change / np.where(usable, distance, 1.0), 0.0)
    steepness = steepness if np.any(steepness > 0) else usable.astype(float)
    cumulative = np.cumsum(steepness / steepness.max())
    found = np.searchsorted(cumulative, generator.uniform(size=n_units) * cumulative[-1], side="right")
    return np.minimum(found, len(cumulative) - 1)


def _tilts(rows, first, agreed, generator):
    """Steps from the first row of every pair to a third one, over their squares, in columns where the pair agrees.

    Nothing is drawn where no column is such: numeric tables.
    """
    if not np.any(agreed):
        return np.zeros(agreed.shape)
    thirds = generator.integers(len(rows), size=(_CANDIDATES, len(first)))
    step, least = np.zeros(agreed.shape), _ROUNDING * np.max(np.abs(rows))  # rounding is no difference
    for third in thirds:
        missing = np.flatnonzero(~np.any(step, axis=1))
        lean = rows[third[missing]] - rows[first[missing]]
        step[missing] = np.where(agreed[missing] & (np.abs(lean) > least), lean, 0.0)
    factor = _LARGEST_TILT ** generator.uniform(size=(len(first), 1))
    squared = np.sum(step**2, axis=1, keepdims=True)
    return factor * step / np.where(squared > 0, squared, 1.0)


HIDDEN = {"random": random_layer, "rbf": rbf_layer, "sampled": sampled_layer}
