"""Weights that a user wrote into fitted attributes: predictions read them, and training goes on from them."""

from functools import partial

import numpy as np


def refuse_misfits(written, due, kinds):
    """Refuse written weights that predictions cannot read: kinds and shapes alone, which cost nothing."""
    fits = partial(_refuse_misfit, kinds=kinds)
    for name, shape in due.items():
        _matched(shape, written[name], name, fits)


def take_written(written, network, execution):
    """Give a network that goes on the weights that were written, where these are not what it has.

    What was not written stays as it is to the last bit: moments of the optimiser, feedback, factors of layers.
    """
    kept = network.fitted(execution)
    found = {name: _matched(kept[name], written[name], name, _read) for name in network.names}
    if not all(_same(kept[name], found[name]) for name in network.names):
        network.write(execution, found)


def _matched(kept, found, name, leaf):
    """Return ``leaf(kept, found, name)`` of all arrays of two trees; refuse by name where the trees differ."""
    if isinstance(kept, dict):
        if not isinstance(found, dict) or found.keys() != kept.keys():
            raise ValueError(f"{name} must be a dict of {list(kept)}, as it was after the last fit.")
        return {key: _matched(value, found[key], f"{name}[{key!r}]", leaf) for key, value in kept.items()}
    if isinstance(kept, list):
        if not isinstance(found, list | tuple | np.ndarray) or len(found) != len(kept):
            raise ValueError(f"{name} must be a list of {len(kept)} arrays, one for each layer of the network.")
        return [_matched(value, found[i], f"{name}[{i}]", leaf) for i, value in enumerate(kept)]
    return leaf(kept, found, name)


def _refuse_misfit(shape, found, name, kinds=object):
    """Refuse what is no real array of a shape."""
    if not isinstance(found, kinds):
        raise ValueError(f"{name} is a {type(found).__name__}: predictions read NumPy arrays, np.asarray of it, say.")
    if np.shape(found) != shape:
        raise ValueError(
            f"{name} has shape {np.shape(found)}, but the network's has {shape}: weights that are written keep "
            "their shapes. For another network, set its parameters and fit anew, without warm_start."
        )
    if np.iscomplexobj(found):
        raise ValueError(f"{name} holds complex numbers: write real ones.")


def _read(kept, found, name):
    """Return one written array in the dtype of the kept one, as a copy."""
    kept = np.asarray(kept)
    _refuse_misfit(kept.shape, found, name)
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
