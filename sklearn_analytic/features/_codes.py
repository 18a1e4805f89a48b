"""Label encodings: what each hidden unit of a correlation projection is asked to correlate with."""

import numpy as np

from sklearn_analytic.features._kernels import subclass_code
from sklearn_analytic.features._sampling import hash_keys, mix_bits


def class_code(rows, keys, labels, n_classes, seeds, generator):
    """Return T = Y Q with a Gaussian code Q: the published kind, of rank at most the number of classes.

    Parameters
    ----------
    rows : ndarray of shape (n, d)
        Not used.
    keys : ndarray of shape (n,)
        Keys of the rows' content (:func:`row_keys`).
    labels : ndarray of shape (n,)
        Class indices.
    n_classes : int
        Number of classes C.
    seeds : ndarray of shape (h,)
        Indices of drawn rows, one per code; only their number is used.
    generator : numpy.random.Generator
        Source of Q.

    Returns
    -------
    ndarray of shape (n, h)
        The code of every row.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_analytic.features import class_code
    >>> T = class_code(np.zeros((3, 1)), None, np.array([0, 1, 0]), 2, np.arange(4), np.random.default_rng(0))
    >>> bool(np.all(T[0] == T[2]))
    True
    """
    return generator.standard_normal((n_classes, len(seeds)))[labels]


def mask_code(rows, keys, labels, n_classes, seeds, generator):
    """Return T = (Y Q) o S with random signs S of each row's content: random signed sums of rows per class.

    Parameters
    ----------
    rows : ndarray of shape (n, d)
        Not used: keys decide the signs.
    keys : ndarray of shape (n,)
        Keys of the rows' content (:func:`row_keys`).
    labels : ndarray of shape (n,)
        Class indices.
    n_classes : int
        Number of classes C.
    seeds : ndarray of shape (h,)
        Indices of drawn rows, one per code; only their number is used.
    generator : numpy.random.Generator
        Source of Q and of the signs.

    Returns
    -------
    ndarray of shape (n, h)
        The code of every row.

    References
    ----------
    M. D. McDonnell et al., "Fast, simple and accurate handwritten digit classification by training shallow
    neural network classifiers with the extreme learning machine algorithm", PLoS ONE 10, 2015.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_analytic.features import mask_code
    >>> T = mask_code(np.zeros((3, 1)), np.arange(3.0), np.array([0, 1, 0]), 2, np.arange(4), np.random.default_rng(0))
    >>> T.shape
    (3, 4)
    """
    code = class_code(rows, keys, labels, n_classes, seeds, generator)
    hashes = hash_keys(keys)
    salts = generator.integers(1 << 63, size=len(seeds), dtype=np.uint64)
    for unit, salt in enumerate(salts):
        code[:, unit] *= np.where(mix_bits(hashes ^ salt) >> np.uint64(63), 1.0, -1.0)
    return code


def forward_code(rows, keys, labels, n_classes, seeds, generator):
    """Return T = sign(A Q_x) + sign(Y Q_y): half of the code follows the row, half its class.

    Parameters
    ----------
    rows : ndarray of shape (n, d)
        Rows A.
    keys : ndarray of shape (n,)
        Keys of the rows' content (:func:`row_keys`).
    labels : ndarray of shape (n,)
        Class indices.
    n_classes : int
        Number of classes C.
    seeds : ndarray of shape (h,)
        Indices of drawn rows, one per code; only their number is used.
    generator : numpy.random.Generator
        Source of the projections.

    Returns
    -------
    ndarray of shape (n, h)
        The code of every row.

    References
    ----------
    R. O'Shea, B. Rajendran, "Closed-form feedback-free learning with forward projection", arXiv 2501.16476.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_analytic.features import forward_code
    >>> T = forward_code(np.ones((2, 1)), None, np.array([0, 1]), 2, np.arange(50), np.random.default_rng(0))
    >>> np.unique(T)
    array([-2.,  0.,  2.])
    """
    from_rows = np.sign(rows @ generator.standard_normal((rows.shape[1], len(seeds))))
    return from_rows + np.sign(class_code(rows, keys, labels, n_classes, seeds, generator))


def subclass_indicator(rows, keys, labels, n_classes, seeds, generator):
    """Return T, the indicator of the sub-class of every row (:func:`subclass_code`).

    Parameters
    ----------
    rows : ndarray of shape (n, d)
        Rows.
    keys : ndarray of shape (n,)
        Keys of the rows' content (:func:`row_keys`).
    labels : ndarray of shape (n,)
        Class indices.
    n_classes : int
        Not used.
    seeds : ndarray of shape (h,)
        Indices of the rows about which sub-classes form.
    generator : numpy.random.Generator
        Not used.

    Returns
    -------
    ndarray of shape (n, h)
        Zeros and at most a one per row.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_analytic.features import subclass_indicator
    >>> subclass_indicator(np.array([[0.0], [1.0], [9.0]]), None, np.zeros(3, int), 1, np.array([0, 2]), None)
    array([[1., 0.],
           [1., 0.],
           [0., 1.]])
    """
    nearest = subclass_code(rows, labels, rows[seeds], labels[seeds])
    return (nearest[:, None] == np.arange(len(seeds))).astype(np.float64)


CODES = {"subclass": subclass_indicator, "class": class_code, "mask": mask_code, "forward": forward_code}
