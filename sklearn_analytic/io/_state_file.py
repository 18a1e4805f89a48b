"""Values of the package as one .npz file: arrays as they are, everything else as JSON, and no code to run.

The file is an ordinary NumPy archive. ``header`` is a JSON text with the ``format`` number, what the writer said
of itself, and the tree of the value, in which ``{"array": "a3"}`` stands for the member ``a3`` of the archive,
``{"strings": "a4"}`` for one whose strings were objects (feature names are), ``{"tuple": [...]}`` for a tuple,
``{"dict": {...}}`` for a dict and ``{"value": "module:Class", "fields": {...}}`` for a frozen dataclass of this
package. Numbers, strings, booleans, None and lists are themselves; a NumPy scalar is an array without dimensions.
"""

import importlib
import json
import os
import uuid
from dataclasses import fields, is_dataclass
from pathlib import Path

import numpy as np

FORMAT = 1
_PACKAGE = __name__.split(".")[0]


def write_state(path, tree, about):
    """Write a tree of values to a file, whole or not at all.

    Parameters
    ----------
    path : path
        The file; it is replaced only once the new one is complete on disk.
    tree : object
        Arrays, numbers, strings, None, lists, tuples, dicts with string keys and frozen dataclasses of this package.
    about : dict
        What a reader should know: numbers and strings.

    Raises
    ------
    TypeError
        If the tree holds anything else.

    Examples
    --------
    >>> import tempfile, numpy as np
    >>> from sklearn_analytic.io import read_state, write_state
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_state(f"{folder}/state.npz", {"a": np.arange(2), "b": (1, None)}, {"made_by": "me"})
    ...     read_state(f"{folder}/state.npz")
    ({'a': array([0, 1]), 'b': (1, None)}, {'made_by': 'me'})
    """
    path, arrays = Path(path), {}
    header = {"format": FORMAT, "about": about, "tree": _encoded(tree, arrays)}
    part = path.with_name(f".{path.name}.{uuid.uuid4().hex}.part")  # beside it: a move within one file system
    try:
        with open(part, "xb") as file:
            np.savez(file, header=np.array(json.dumps(header)), **arrays)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def read_state(path):
    """Read what :func:`write_state` wrote.

    Parameters
    ----------
    path : path
        The file.

    Returns
    -------
    tuple
        The tree, and what the writer said of itself.

    Raises
    ------
    ValueError
        If the file is not one of these, or is of a later format.

    Examples
    --------
    See :func:`write_state`.
    """
    try:
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as members:
            header = json.loads(str(members["header"]))
            arrays = {name: members[name] for name in members.files if name != "header"}
        if header["format"] == FORMAT:
            return _decoded(header["tree"], arrays), header["about"]
    except OSError:  # not there, or not to be read
        raise
    except Exception as error:
        raise ValueError(f"{path} is no file of statistics, or is damaged: {error}") from error
    raise ValueError(f"{path} has format {header['format']!r}; this version reads format {FORMAT}.")


def _encoded(value, arrays):
    """A value as JSON, its arrays put aside under names."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, np.ndarray | np.generic):
        value = np.asarray(value)
        return {"strings" if value.dtype == object else "array": _set_aside(value, arrays)}
    if isinstance(value, list):
        return [_encoded(item, arrays) for item in value]
    if isinstance(value, tuple):
        return {"tuple": [_encoded(item, arrays) for item in value]}
    if isinstance(value, dict) and all(isinstance(key, str) for key in value):
        return {"dict": {key: _encoded(item, arrays) for key, item in value.items()}}
    if is_dataclass(value) and type(value).__module__.split(".")[0] == _PACKAGE:
        parts = {field.name: _encoded(getattr(value, field.name), arrays) for field in fields(value)}
        return {"value": f"{type(value).__module__}:{type(value).__qualname__}", "fields": parts}
    raise TypeError(f"{type(value).__name__} cannot be written to a file of statistics.")


def _set_aside(array, arrays):
    """Keep an array under a fresh name; objects are strings or an error."""
    if array.dtype == object:
        if not all(isinstance(item, str) for item in array.ravel()):
            raise TypeError("an array of objects cannot be written to a file of statistics: use numbers or strings.")
        array = array.astype(str)
    name = f"a{len(arrays)}"
    arrays[name] = array
    return name


def _decoded(value, arrays):
    """The value that JSON stands for."""
    if isinstance(value, list):
        return [_decoded(item, arrays) for item in value]
    if not isinstance(value, dict):
        return value
    if "array" in value:
        array = arrays[value["array"]]
        return array if array.ndim else array[()]
    if "strings" in value:
        return arrays[value["strings"]].astype(object)
    if "tuple" in value:
        return tuple(_decoded(item, arrays) for item in value["tuple"])
    if "dict" in value:
        return {key: _decoded(item, arrays) for key, item in value["dict"].items()}
    return _dataclass(value["value"])(**{key: _decoded(item, arrays) for key, item in value["fields"].items()})


def _dataclass(name):
    """The dataclass of a name; nothing but this package's frozen values is ever made."""
    module, _, qualified = name.partition(":")
    if module.split(".")[0] != _PACKAGE:
        raise ValueError(f"{name} is no value of {_PACKAGE}.")
    found = getattr(importlib.import_module(module), qualified, None)
    if not (isinstance(found, type) and is_dataclass(found) and found.__dataclass_params__.frozen):
        raise ValueError(f"{name} is no value of this version of {_PACKAGE}.")
    return found
