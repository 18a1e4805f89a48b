"""Rows that are images: what their shape must be, and units that see one rectangle of them."""

import math

import numpy as np

from sklearn_analytic.features._layers import DenseLayer
from sklearn_analytic.features._targets import target_classes

_SHORTEST_SIDE = 4  # of a rectangle, in pixels
_TAIL = 1e-3  # share of the pixels beyond either end of the range


def masked_layer(rows, targets, n_units, activation, generator, image_shape):
    """Return units along differences of two rows of different classes inside random rectangles (RF-C-ELM).

    Weights are zero outside a unit's rectangle and of unit length in units of the pixels' range; the bias puts
    zero midway between the two rows. Under tanh this is the published sigmoid with scale 2. The published
    rectangles have at least 10 pixels and keep off a border of 3; these have sides of at least 4 pixels, uniform
    up to the image's, and no border, which images other than digits do not have.

    Parameters
    ----------
    rows : ndarray of shape (m, d)
        Drawn rows, by weight; pixels in any units.
    targets : ndarray of shape (m, c)
        Their targets; rows of one class only are paired with any other row.
    n_units : int
        Width h.
    activation : str
        Activation of the layer.
    generator : numpy.random.Generator
        Source of pairs and rectangles.
    image_shape : tuple of int
        (H, W), or (C, H, W) with one plane per channel; a rectangle is the same in all channels.

    Returns
    -------
    DenseLayer
        The layer; a unit whose rows agree inside its rectangle has zero weights.

    Raises
    ------
    ValueError
        If ``image_shape`` is not the shape of the rows.

    References
    ----------
    M. D. McDonnell et al., "Fast, simple and accurate handwritten digit classification by training shallow
    neural network classifiers with the 'extreme learning machine' algorithm", PLoS ONE 10(8), 2015.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_analytic.features import masked_layer
    >>> rows = np.random.default_rng(0).uniform(size=(20, 64))
    >>> layer = masked_layer(rows, np.eye(2).repeat(10, axis=0), 5, "tanh", np.random.default_rng(0), (8, 8))
    >>> layer.weights.shape
    (64, 5)
    """
    shape = check_image_shape(rows, image_shape)
    rows = np.asarray(rows, dtype=np.float64)
    first, second = _class_pairs(target_classes(targets), n_units, generator)
    step = (rows[second] - rows[first]).reshape(n_units, *shape)
    step *= _rectangles(n_units, shape[1], shape[2], generator)[:, None]
    step = step.reshape(n_units, -1)
    length = np.linalg.norm(step, axis=1) * pixel_range(rows)[1]
    weights = np.divide(step, length[:, None], out=np.zeros_like(step), where=length[:, None] > 0)
    bias = -np.einsum("ij,ij->i", weights, (rows[first] + rows[second]) / 2)
    return DenseLayer(weights.T.copy(), bias, activation)


def check_image_shape(rows, image_shape):
    """Return the shape as (channels, height, width), or refuse one that is not the rows'.

    Parameters
    ----------
    rows : ndarray of shape (m, d)
        Images as rows.
    image_shape : tuple of int
        (H, W) or (C, H, W).

    Returns
    -------
    tuple of int
        (C, H, W), with one channel where none was given.

    Raises
    ------
    ValueError
        If the shape has other than two or three positive entries, or their product is not d.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_analytic.features import check_image_shape
    >>> check_image_shape(np.zeros((2, 64)), (8, 8))
    (1, 8, 8)
    """
    shape = tuple(int(side) for side in image_shape)
    if len(shape) not in (2, 3) or min(shape) < 1:
        raise ValueError(f"image_shape={image_shape!r} must be (H, W) or (C, H, W), all positive.")
    if math.prod(shape) != rows.shape[1]:
        raise ValueError(
            f"image_shape={image_shape!r} has {math.prod(shape)} pixels, but the rows have {rows.shape[1]} columns: "
            "give the shape of one row, channels first."
        )
    return (1,) * (3 - len(shape)) + shape


def pixel_range(rows):
    """Return the low end and the length of the range of pixels; a thousandth at either end does not count.

    Parameters
    ----------
    rows : ndarray of shape (m, d)
        Images in any units.

    Returns
    -------
    tuple of float
        Low end and length; the length is positive.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_analytic.features import pixel_range
    >>> pixel_range(np.array([[0.0, 255.0]] * 2))
    (0.0, 255.0)
    """
    sample = np.asarray(rows[:: max(1, len(rows) // 1000)], dtype=np.float64)
    low, high = np.quantile(sample, [_TAIL, 1 - _TAIL], method="nearest")
    if low == high:  # nearly blank images: every pixel counts
        low, high = sample.min(), sample.max()
    return float(low), float(high - low) or 1.0


def _class_pairs(labels, n_pairs, generator):
    """Indices of pairs of rows of different classes; of any rows where there is one class."""
    m, counts = len(labels), np.bincount(labels)
    order, ends = np.argsort(labels, kind="stable"), np.cumsum(counts)
    first = generator.integers(m, size=n_pairs)
    others = m - counts[labels[first]]
    steps = generator.integers(np.where(others > 0, others, m))
    return first, order[(ends[labels[first]] + steps) % m]  # rows after those of the first's class, cyclically


def _rectangles(n, height, width, generator):
    """Random rectangles as masks (n, height, width)."""
    rows, columns = (_intervals(n, side, generator) for side in (height, width))
    return rows[:, :, None] & columns[:, None, :]


def _intervals(n, side, generator):
    """Random stretches of ``range(side)`` as masks (n, side), their lengths uniform."""
    length = generator.integers(min(_SHORTEST_SIDE, side), side + 1, size=n)
    start = generator.integers(side - length + 1)
    place = np.arange(side)
    return (place >= start[:, None]) & (place < (start + length)[:, None])
