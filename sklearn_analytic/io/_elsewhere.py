"""Collections whose rows live elsewhere, as Dask's do: recognised by the name of their module, opened when used."""

from functools import wraps
from importlib import import_module

# {library: the module that opens its collections}. Imported at call time: the library is installed where one is passed.
_OPENERS = {"dask": "sklearn_analytic.distributed._dask"}


def is_collection(x):
    """Whether x is a collection of a library in the table; no library is imported to find out."""
    return _library(x) in _OPENERS


def opened_collection(x, y, sample_weight, check):
    """Return the features as a ``RowSource``, and targets and weights on the host.

    ``check(example)`` is shown one row of X with the names of its columns.
    """
    return import_module(_OPENERS[_library(x)]).opened(x, y, sample_weight, check)


def lazily(method):
    """Let a method of one X answer a collection by a lazy collection, computed partition by partition."""

    @wraps(method)
    def on_any(self, X):
        if is_collection(X):
            return import_module(_OPENERS[_library(X)]).mapped(self, method.__name__, X)
        return method(self, X)

    return on_any


def refuse_collection(estimator, x):
    """Refuse a collection where rows in memory are needed; say what takes one, and what to do."""
    if is_collection(x):
        kind = f"{type(x).__module__.split('.')[0]} {type(x).__name__}"
        raise TypeError(
            f"{type(estimator).__name__} needs rows in memory here, got a {kind}. Closed-form estimators take it in "
            "fit, all estimators in predict and transform. Otherwise pass one computed partition after the other to "
            "partial_fit, or Blocks to fit_blocks; sklearn_analytic.distributed.data_parallel trains networks by "
            "steps in several processes on rows in memory."
        )


def _library(x):
    """The package that the type of x comes from."""
    return type(x).__module__.split(".")[0]
