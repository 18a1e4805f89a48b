"""Plumbing that estimators share: validation, target coding, weights, versioned state.

The only file that may touch scikit-learn's private names; it needs none today.
"""

import numbers
from contextlib import contextmanager
from dataclasses import MISSING, fields
from functools import cache
from typing import ClassVar

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils import check_array, check_random_state, column_or_1d
from sklearn.utils.multiclass import check_classification_targets, type_of_target
from sklearn.utils.validation import check_consistent_length, validate_data

from sklearn_analytic._version import __version__
from sklearn_analytic.backend import (
    backend_for,
    dtype_name,
    is_tensor,
    one_blas_thread,
    rows_are_few,
)
from sklearn_analytic.estimator.checks import check_all
from sklearn_analytic.estimator.value import Value, advice_on, defaults_of
from sklearn_analytic.estimator.version_stamp import warn_of_version
from sklearn_analytic.export.verbs import to_onnx, to_sklearn
from sklearn_analytic.features import cast_like
from sklearn_analytic.io._checks import (
    FLOATS,
    UnreadableValueError,
    checked_array,
    dense_rows,
    host,
    is_missing,
    refuse_collection,
    refuse_gaps,
    refuse_kinds,
)
from sklearn_analytic.io._columns import columns_of_rows, raw_rows, rows_by
from sklearn_analytic.io._passes import short_block_size
from sklearn_analytic.io._raw_columns import names_of

_VERSION_KEY = "_sklearn_analytic_version"
_CALLBACK_STATE = ("_callback_fit_ctx", "_skl_callbacks_to_teardown")  # what scikit-learn still needs after an error


class FromParameters:
    """A frozen value with a field for each parameter of the estimators whose method it is."""

    kinds = ()  # of Value: parameters that become one
    checks: ClassVar = {}  # {parameter: check(name, value)}

    @classmethod
    def of(cls, estimator):
        """Return the method that the parameters of an estimator say; settings are unchecked, their kinds are not."""
        return cls(**cls._settled({name: getattr(estimator, name, *default) for name, default in _defaults_of(cls)}))

    def check(self):
        """Refuse wrong parameters before any row is read."""
        check_all(self.checks, self)
        for kind in self.kinds:
            value = getattr(self, kind.parameter)
            if isinstance(value, Value):
                value.check()

    @classmethod
    def _settled(cls, given):
        """The fields of a method, whose values are made of what stands for them."""
        return given | {kind.parameter: kind.of(given[kind.parameter]) for kind in cls.kinds}


@cache
def _defaults_of(kind):
    """Names of the fields of a method, each with its default, if any: predictions of single rows ask for them, too."""
    return [(field.name, () if field.default is MISSING else (field.default,)) for field in fields(kind)]


class AnalyticEstimator(BaseEstimator):
    """Base of all estimators: reading X, versioned pickles, exports."""

    to_sklearn, to_onnx = to_sklearn, to_onnx
    _kinds_of_values = ()  # of parameters
    # How raw rows become numbers: nothing before a fit, and of earlier versions' models, which read numbers alone.
    _table = None

    def set_params(self, **params):
        """Set parameters; settings of a value by ``parameter__setting``, as in nested grids.

        Parameters
        ----------
        **params : dict
            Parameters by name.

        Returns
        -------
        self : object
            The estimator.
        """
        for name in params:
            parameter, _, setting = name.partition("__")
            owner = params.get(parameter, getattr(self, parameter, None))
            if setting and hasattr(self, parameter) and not hasattr(owner, "set_params"):
                advice = advice_on(name, owner, self._kinds_of_values)
                raise ValueError(f"{name} cannot be set, as {parameter}={owner!r}: {advice}.")
        return super().set_params(**params)

    def __getstate__(self):
        """Stamp the state with the package version, which scikit-learn does for its own classes alone."""
        return {**super().__getstate__(), _VERSION_KEY: __version__}

    def __setstate__(self, state):
        """Compare and drop the stamp; fitted state is plain NumPy and loads without torch or a GPU."""
        warn_of_version(type(self).__name__, state.get(_VERSION_KEY))
        known = {key: value for key, value in state.items() if key != _VERSION_KEY}
        super().__setstate__(defaults_of(type(self)) | known)  # parameters of later versions have their defaults

    def __sklearn_tags__(self):
        """Declare what columns may hold: categories, text, and nothing."""
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = tags.input_tags.categorical = tags.input_tags.string = True
        return tags

    def _computation(self):
        """What prediction computes, as a value; an estimator that does not say cannot be exported."""
        raise NotImplementedError(f"{type(self).__name__} cannot be exported: use pickle, joblib or skops.")

    @contextmanager
    def _unchanged_on_error(self):
        """Give the estimator its old attributes back when anything fails; fitted values are never mutated."""
        before = dict(self.__dict__)
        try:
            with self._named_values():
                yield
        except BaseException:
            running = {name: value for name, value in self.__dict__.items() if name in _CALLBACK_STATE}
            self.__dict__.clear()
            self.__dict__.update(before | running)
            raise

    @contextmanager
    def _named_values(self, names=None):
        """Let an error about a value of X or y name this estimator, and the column as X does or as the fit knows it."""
        try:
            yield
        except UnreadableValueError as error:
            names = getattr(self, "feature_names_in_", None) if names is None else names
            raise error.named(type(self).__name__, names) from error.__cause__

    def _read_features(self, X, reset):
        """Record or compare feature names and count; return X ready to be sliced, unchecked in its values.

        Categories have their levels numbered, as the first rows or the fit have them.
        """
        names = names_of(X)
        X = self._raw_rows(X, reset)
        columns = self._columns_of(X, names) if reset else self._known_columns
        with self._named_values(names):
            return rows_by(columns, X)

    def _raw_rows(self, X, reset):
        """Record or compare feature names and count; return X as a table whose columns can be read."""
        refuse_collection(self, X)
        given = X
        with self._named_values(names_of(given)):
            X = raw_rows(X, type(self).__name__)
        if not is_tensor(X):
            validate_data(self, given, reset=reset, skip_check_array=True)
        elif reset:  # forgets the names of an earlier frame
            validate_data(self, np.empty((1, X.shape[1])), reset=True, skip_check_array=True)
        n_features = X.shape[1] if len(X.shape) == 2 else 0
        if reset:
            self.n_features_in_ = n_features
        elif n_features != self.n_features_in_:
            raise ValueError(
                f"X has {n_features} features, but {type(self).__name__} is expecting "
                f"{self.n_features_in_} features as input."
            )
        for number, kind in ((X.shape[0], "sample"), (n_features, "feature")):
            if number == 0:
                raise ValueError(
                    f"Found array with 0 {kind}(s) (shape={tuple(X.shape)}) while a minimum of 1 is required by "
                    f"{type(self).__name__}."
                )
        return X

    def _columns_of(self, X, names=None):
        """How the columns of raw rows are to be read."""
        return columns_of_rows(X, getattr(self, "categorical_features", None), names_of(X) or names)

    @property
    def _known_columns(self):
        """How columns are read, once rows have shown it."""
        return None if self._table is None else self._table.columns

    def _backend_of(self, X):
        """What computes on rows: a tensor stays where it is, all else goes to ``device``."""
        return backend_for(X, self.device)

    def _map_blocks(self, X, function, n_features=0):
        """Return ``function(rows, backend)`` over checked blocks of X, in the kind and on the device of X.

        ``n_features`` is the width of what the function computes on the way: blocks are short where it is wide.
        """
        table = self._table
        names, X = names_of(X), self._raw_rows(X, reset=False)
        with self._named_values(names), self._few_threads(X.shape):
            if table is None:
                return self._mapped(checked_array(X), function, n_features, dense_rows)
            return self._mapped(rows_by(table.columns, X), function, n_features, table.dense)

    def _few_threads(self, shape):
        """A context of one thread of BLAS, where more would wait for each other on rows of that shape."""
        asked = np.ravel(np.array(getattr(self, "hidden_layer_sizes", ()), dtype=object))
        widest = max((int(n) for n in asked if isinstance(n, numbers.Integral)), default=0)
        return one_blas_thread(rows_are_few(shape, widest))

    def _mapped(self, X, function, n_features, dense):
        """Compute on blocks of X, whose shape is checked, as ``dense`` makes them."""
        backend = self._backend_of(X)
        size = short_block_size(max(X.shape[1], n_features))
        parts = []
        with backend.memory_advice(min(size, X.shape[0]), max(X.shape[1], n_features), "the rows of X per call"):
            for start in range(0, X.shape[0], size):
                rows = backend.asarray(dense(X[start : start + size]))
                parts.append(function(rows, backend))
        if is_tensor(X):
            return backend.concatenate(parts).to(X.device)
        return np.concatenate([backend.to_numpy(part) for part in parts])


def beside(found, x):
    """Return results of the host as a tensor on the device of ``x`` where that is one, else as they are."""
    return x.new_tensor(found) if is_tensor(x) else found


def in_dtype_of(rows, outputs, backend, varied=True):
    """Outputs in the dtype of the rows; what it cannot hold is refused: infinity, or zeros for all of them.

    What has not ``varied``, a constant, loses nothing where the nearest number is zero.
    """
    with np.errstate(over="ignore", under="ignore"):
        found = cast_like(outputs, rows, backend)
    if dtype_name(found) == dtype_name(outputs):
        return found
    values = backend.to_numpy(found)
    vanish = varied and not values.any() and backend.to_numpy(outputs).any()
    if vanish or not np.isfinite(values).all():
        raise ValueError(f"X is {dtype_name(rows)}, which cannot hold the predictions: pass X as float64.")
    return found


def regression_targets(y, X):
    """Return y as an (n, c) array and whether it was one-dimensional.

    Floating arrays are passed on as they are, a memmap included: their values are checked block by block.
    """
    if y is None:
        raise ValueError("The estimator requires y to be passed, but the target y is None.")
    y = host(y)
    if not (isinstance(y, np.ndarray) and y.dtype in FLOATS and y.ndim in (1, 2)):
        y = _plain_targets(y, np.float64)
    check_consistent_length(X, y)
    if y.ndim > 2:
        raise ValueError(f"y must have one or two dimensions, got shape {y.shape}.")
    return (y[:, None], True) if y.ndim == 1 else (y, False)


def finite_targets(y, X):
    """Return y as float64 (n, c) without gaps, and whether it was one-dimensional: for fits that hold all of it."""
    y, one_dimensional = regression_targets(y, X)
    refuse_gaps(y, "y")
    return np.asarray(y, dtype=np.float64), one_dimensional


def _plain_targets(y, dtype):
    """Return y as an array without gaps; an error says where the first is, and which text is no number."""
    refuse_kinds(y, "y", "one target per row")
    try:
        y = check_array(
            y,
            ensure_2d=False,
            allow_nd=True,
            dtype=dtype,
            ensure_all_finite=False,
            input_name="y",
            ensure_min_samples=0,
        )
    except ValueError as error:
        if "could not convert" in str(error):
            raise ValueError(f"y must hold numbers for a regressor: {error}. Classifiers take labels.") from error
        raise
    refuse_gaps(y, "y")
    return y


def _refuse_missing_labels(y):
    """Say where the first of labels that are objects is missing: NumPy would only fail to order them."""
    dtype = getattr(y, "dtype", None)
    labels = np.asarray(y) if isinstance(y, list | tuple) or str(dtype).lower() in ("object", "string", "str") else None
    if labels is not None and labels.dtype == object:
        missing = [i for i, label in enumerate(labels.ravel()) if is_missing(label)]
        if missing:
            raise UnreadableValueError("y", np.nan, missing[0], None, len(missing))


def class_labels(y, X):
    """Return y as a checked one-dimensional array of class labels."""
    if y is None:
        raise ValueError("The estimator requires y to be passed, but the target y is None.")
    _refuse_missing_labels(y)
    y = _plain_targets(host(y), None)
    if y.ndim == 2 and y.shape[1] > 1:
        raise ValueError(
            f"y should be a 1d array, got an array of shape {y.shape} instead: several labels per row are for "
            "ClosedFormMLP, or for MultiOutputClassifier of scikit-learn, which fits a classifier to each."
        )
    y = column_or_1d(y, warn=True)
    check_consistent_length(X, y)
    if y.dtype == object and type_of_target(y) == "unknown":
        raise ValueError(f"Unknown label type: {y.dtype}; y must hold class labels of one type.")
    check_classification_targets(y)
    return y


def seed_of(random_state):
    """Return an integer seed drawn once from ``random_state``: CPU and GPU fits are the same experiment."""
    if random_state is None:
        return int(np.random.SeedSequence().entropy % (1 << 32))
    if isinstance(random_state, numbers.Integral):
        if random_state < 0:
            raise ValueError(f"random_state must be non-negative, got {random_state!r}.")
        return int(random_state)
    try:
        generator = check_random_state(random_state)
    except ValueError as error:
        raise ValueError(
            f"random_state must be a non-negative integer, a RandomState or None, got {random_state!r}."
        ) from error
    return int(generator.randint(np.iinfo(np.int32).max))


def fresh_id():
    """Return a number that no other network has."""
    return int(np.random.SeedSequence().entropy % (1 << 62))
