"""Compiling ahead: a small fit and a prediction of each estimator."""

import math
import warnings

import numpy as np
from sklearn.base import clone, is_regressor

from sklearn_analytic.io._sources import rows_of

_ROWS, _COLUMNS = 60, 5


def warmup(*estimators, X=None, y=None):
    """Compile what fits and predictions of estimators call, by a small fit of a copy of each.

    Compiled code is kept on disk, so that later processes find it: call this where an image is built, before workers
    start, or before a benchmark. Parameters decide what is compiled, and so does the dtype of X.

    Parameters
    ----------
    *estimators : object
        Estimators of this package, or pipelines that end in one. They stay as they are.
    X : array-like of shape (n_samples, n_features), default=None
        Rows like those to come; None draws 60 float64 rows of 5 columns, or of as many as images or sequences have.
    y : array-like of shape (n_samples,), default=None
        Their targets; None are two classes, or numbers for regressors.

    Raises
    ------
    ValueError
        If there is no estimator, or one cannot be fitted to such rows.

    Examples
    --------
    >>> from sklearn_analytic import BRMPRegressor, warmup
    >>> warmup(BRMPRegressor())
    """
    if not estimators:
        raise ValueError("warmup needs at least one estimator: what it compiles depends on the parameters.")
    for estimator in estimators:
        model = clone(estimator)
        short = {name: 1 for name in model.get_params() if name.rpartition("__")[2] == "max_iter"}
        rows, targets = _rows(estimator) if X is None else X, y
        if y is None:
            order = np.arange(rows_of(rows))
            targets = order / len(order) if is_regressor(estimator) else order % 2
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that so few epochs do not suffice is no news
            model.set_params(**short).fit(rows, targets).predict(rows)


def _rows(estimator):
    """Random rows that an estimator can be fitted to: images or sequences, where it reads those."""
    given = {name.rpartition("__")[2]: value for name, value in estimator.get_params().items()}
    shape, steps = given.get("image_shape"), given.get("sequence_length")
    n_columns = math.prod(shape) if shape is not None else _COLUMNS * (steps or 1)
    return np.random.default_rng(0).standard_normal((_ROWS, n_columns))
