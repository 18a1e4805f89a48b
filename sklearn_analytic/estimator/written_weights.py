"""Weights that a user wrote into fitted attributes: predictions read them, and training goes on from them."""

import numpy as np


def layout(tree):
    """Shapes of the arrays in nested lists and dicts."""
    if isinstance(tree, dict):
        return {name: layout(value) for name, value in tree.items()}
    return [np.shape(value) for value in tree] if isinstance(tree, list) else np.shape(tree)


def take_written(estimator, network, execution):
    """Give a network that goes on the weights of the estimator's attributes, where these are not what it has.

    What was not written stays as it is to the last bit: moments of the optimiser, feedback, factors of layers.
    """
    kept = network.fitted(execution)
    found = {name: _read(kept[name], getattr(estimator, name), name) for name in network.names}
    if not all(_same(kept[name], found[name]) for name in network.names):
        network.write(execution, found)


def _read(kept, found, name):
    """Return written values in the shapes and dtypes of the kept ones; refuse others by name."""
    if isinstance(kept, dict):
        if not isinstance(found, dict) or found.keys() != kept.keys():
            raise ValueError(f"{name} must be a dict of {list(kept)}, as it was after the last fit.")
        return {key: _read(value, found[key], f"{name}[{key!r}]") for key, value in kept.items()}
    if isinstance(kept, list):
        if not isinstance(found, list | tuple | np.ndarray) or len(found) != len(kept):
            raise ValueError(f"{name} must be a list of {len(kept)} arrays, one for each layer of the network.")
        return [_read(value, found[i], f"{name}[{i}]") for i, value in enumerate(kept)]
    return _read_array(np.asarray(kept), found, name)


def _read_array(kept, found, name):
    """One array, as a copy."""
    if np.shape(found) != kept.shape:
        raise ValueError(
            f"{name} has shape {np.shape(found)}, but the network's has {kept.shape}: weights that are written keep "
            "their shapes. For another network, set its parameters and fit anew, without warm_start."
        )
    with np.errstate(over="ignore"):
        array = np.array(found, dtype=kept.dtype)
    if not np.isfinite(array).all() and not _same(kept, array):
        raise ValueError(f"{name} holds NaN, infinity or what {kept.dtype.name} cannot hold: write finite numbers.")
    return array


def _same(a, b):
    """Whether two trees of one layout hold the same numbers."""
    if isinstance(a, dict):
        return all(_same(a[key], b[key]) for key in a)
    if isinstance(a, list):
        return all(map(_same, a, b))
    return np.array_equal(a, b, equal_nan=True)
