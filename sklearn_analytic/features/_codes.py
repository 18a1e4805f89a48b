"""Label encodings: what each hidden unit of a correlation projection is asked to correlate with."""

import numpy as np

from sklearn_analytic.backend import get_backend


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


def hash_keys(keys):
    """Return a uniform 64-bit hash of float keys.

    Parameters
    ----------
    keys : ndarray of shape (n,)
        Keys of rows (:func:`row_keys`).

    Returns
    -------
    ndarray of shape (n,), uint64
        Equal for equal keys.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_analytic.features import hash_keys
    >>> bool(hash_keys(np.array([0.5]))[0] == hash_keys(np.array([0.5]))[0])
    True
    """
    return mix_bits((np.asarray(keys, dtype=np.float64) + 0.0).view(np.uint64))  # + 0.0 turns -0.0 into 0.0


def mix_bits(bits):
    """Return 64-bit words with every input bit spread over every output bit.

    Parameters
    ----------
    bits : ndarray of uint64
        Words, such as hashes with a salt added by exclusive or.

    Returns
    -------
    ndarray of uint64
        Mixed words.

    References
    ----------
    G. L. Steele, D. Lea, C. H. Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014 (splitmix64).

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_analytic.features import mix_bits
    >>> mix_bits(np.zeros(1, dtype=np.uint64))
    array([0], dtype=uint64)
    """
    with np.errstate(over="ignore"):
        bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return bits ^ (bits >> np.uint64(31))


CODES = {"subclass": subclass_indicator, "class": class_code, "mask": mask_code, "forward": forward_code}
