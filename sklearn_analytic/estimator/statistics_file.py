"""What a fit has set, on disk and back: statistics for later, checkpoints for a fit that was interrupted."""

import numbers
import zlib
from dataclasses import replace

import numpy as np
from scipy import sparse
from sklearn.utils.validation import validate_data

from sklearn_analytic._version import __version__
from sklearn_analytic.estimator.base import _CALLBACK_STATE
from sklearn_analytic.estimator.earlier import learned_of
from sklearn_analytic.estimator.version_stamp import warn_of_version
from sklearn_analytic.io import read_state, write_state
from sklearn_analytic.io._checks import host
from sklearn_analytic.linalg._columns import with_columns
from sklearn_analytic.linalg._solvers import without_columns

# Parameters of the solve alone: they may differ between the fit that saved a statistic and the one that loads it.
_OF_THE_SOLVE = frozenset({"alpha", "rcond", "exit", "block_size", "device"})
_COLUMNS = ("n_features_in_", "feature_names_in_")
# What scikit-learn keeps in an estimator besides parameters and what fitting sets.
NOT_FITTED = (
    *_CALLBACK_STATE,
    "_skl_callbacks",
    "_parent_callback_ctx",
    "_metadata_request",
    "_sklearn_output_config",
)


def state_of(estimator):
    """Everything that fitting has set."""
    parameters = estimator.get_params(deep=False)
    return {name: value for name, value in vars(estimator).items() if name not in parameters and name not in NOT_FITTED}


def detached(estimator):
    """Return a copy without sums and callbacks: what predicts, wherever it runs."""
    other, state = type(estimator)(**estimator.get_params(deep=False)), state_of(estimator)
    if state.get("_learned") is not None:
        state["_learned"] = replace(state["_learned"], statistic=None, first=None)
    for name, value in state.items():
        setattr(other, name, value)
    return other


def _frozen_parameters(estimator):
    """Parameters on which the sums depend, as text."""
    parameters = estimator.get_params(deep=False)
    return {name: _as_text(value) for name, value in parameters.items() if name not in _OF_THE_SOLVE}


def _as_text(value):
    """Values that mean the same as the same text: 50 and NumPy's 50, lists and tuples; no address of a generator."""
    value = value.tolist() if isinstance(value, np.ndarray | np.generic) else value
    plain = value is None or isinstance(value, str | numbers.Number | tuple | list | dict)
    return repr(tuple(value) if isinstance(value, list) else value) if plain else type(value).__name__


def columns_of(estimator):
    """Attributes that say what the columns are."""
    return {name: vars(estimator)[name] for name in _COLUMNS if name in vars(estimator)}


def take_columns(estimator, columns):
    """Set the attributes that say what the columns are."""
    validate_data(estimator, np.empty((1, columns["n_features_in_"])), reset=True, skip_check_array=True)
    for name, value in columns.items():
        setattr(estimator, name, value)


def save_fit(estimator, path, learned, kind, done):
    """Write what rows have left behind."""
    about = {
        "class": type(estimator).__name__,
        "version": __version__,
        "parameters": _frozen_parameters(estimator),
        "kind": kind,
    }
    sums = without_columns(learned.statistic)
    beside = None if sums is learned.statistic else learned.statistic
    state = {"_learned": replace(learned, statistic=None), "_statistic": sums}
    state |= {"_columns": getattr(beside, "columns", None), "_rows": getattr(beside, "rows", None)}
    write_state(path, columns_of(estimator) | state, about | done)


def read_fit(estimator, path, kind=None):
    """Return what rows have left behind in a fit (of one kind, if given), its columns, and what the writer said."""
    state, about = read_state(path)
    if not about.keys() >= {"class", "parameters", "kind", "blocks_done", "rows_done"}:
        raise ValueError(f"{path} holds no statistics of an estimator.")
    if kind is not None and about["kind"] != kind:
        raise ValueError(f"{path} is no checkpoint of a {kind}, but of: {about['kind']}. Give checkpoint another name.")
    if about["class"] != type(estimator).__name__:
        raise ValueError(f"{path} holds statistics of {about['class']}, not of {type(estimator).__name__}.")
    mine, of_classes = _frozen_parameters(estimator), about["parameters"].get("class_statistics") == "True"
    for name, value in about["parameters"].items():
        if mine.get(name) != value and not (of_classes and name == "class_weight"):  # which then is of the solve
            raise ValueError(f"{path} was written with {name}={value}, this estimator has {name}={mine.get(name)}.")
    warn_of_version(type(estimator).__name__, about.get("version"))
    columns = {name: state[name] for name in _COLUMNS if name in state}
    if "_learned" not in state:
        return learned_of(state), columns, about
    sums = with_columns(state["_statistic"], state["_columns"], state.get("_rows"))
    return replace(state["_learned"], statistic=sums), columns, about


def fingerprint(x, y, weight):
    """Return a number of the rows of a first block, and of all targets and weights: other data give another one."""
    x = x.toarray() if sparse.issparse(x) else host(x)
    found = 0
    for part in (x, y, weight):
        if part is not None:
            array = np.asarray(part)
            array = array.astype(str) if array.dtype == object else array
            found = zlib.crc32(np.ascontiguousarray(array).view(np.uint8).ravel().data, found)
    return found
