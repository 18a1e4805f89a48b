"""What pipelines, searches and frozen estimators predict with, which rows reach it, and how columns are called."""

import contextlib

from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_array, check_is_fitted


def innermost(estimator):
    """The estimator inside of pipelines, searches and frozen estimators: the one that is drawn."""
    inner = _inside(estimator)
    return estimator if inner is None else innermost(inner)


def _inside(estimator):
    """What a fitted pipeline, search or frozen estimator predicts with, or None for any other estimator."""
    check_is_fitted(estimator)
    if isinstance(estimator, FrozenEstimator):
        return estimator.estimator
    if isinstance(estimator, Pipeline):
        return None if estimator[-1] in (None, "passthrough") else estimator[-1]
    _check_refitted(estimator)
    return getattr(estimator, "best_estimator_", None)


def _check_refitted(estimator):
    """Refuse a search that has kept no estimator; LogisticRegressionCV predicts without a refit."""
    if not getattr(estimator, "refit", True) and not hasattr(estimator, "predict"):
        kind = type(estimator).__name__
        raise NotFittedError(f"{kind} with refit=False leaves no estimator: fit one with the parameters it has found.")


def rows_inside(estimator, X):
    """Rows as the innermost estimator reads them: behind the first steps of every pipeline."""
    inner = _inside(estimator)
    if inner is None:
        return X
    if isinstance(estimator, Pipeline) and len(estimator) > 1:
        X = estimator[:-1].transform(X)
    return rows_inside(inner, X)


def names_inside(estimator, names=None):
    """Names of the columns that the innermost estimator was fitted on, or None."""
    inner = _inside(estimator)
    if inner is None:
        return getattr(estimator, "feature_names_in_", names)
    return names_inside(inner, _names_after(estimator[:-1], names) if isinstance(estimator, Pipeline) else names)


def _names_after(steps, names):
    """Names of the columns behind the first steps of a pipeline, or None where a step gives none."""
    try:
        return steps.get_feature_names_out(names) if len(steps) else names
    except (AttributeError, NotImplementedError, TypeError, ValueError):  # no such method, or not for these columns
        return None


def array_or_frame(X):
    """X as scikit-learn permutes it and keeps its names: a frame of pandas, else an array."""
    if hasattr(X, "to_pandas"):
        with contextlib.suppress(ImportError):
            X = X.to_pandas()
    return X if hasattr(X, "iloc") else check_array(X, dtype=None, ensure_all_finite="allow-nan")


def column_names(X, table):
    """Names of the columns of X: of Arrow ``column_names``, whose ``columns`` are values, or plain ones."""
    names = getattr(X, "column_names", getattr(X, "columns", None))
    return plain_names(table.shape[1]) if names is None else [str(name) for name in names]


def plain_names(n_features):
    """The names of columns that have none, as scikit-learn gives them."""
    return [f"x{k}" for k in range(n_features)]
