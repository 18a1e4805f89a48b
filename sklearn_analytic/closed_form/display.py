"""Feature importances as a figure."""

import numpy as np
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_is_fitted

from sklearn_analytic.estimator.checks import check_positive_integer
from sklearn_analytic.estimator.plotting import EstimatorDisplay, names_of, numbers_of


class FeatureImportanceDisplay(EstimatorDisplay):
    """Bars of feature importances, the largest on top.

    :meth:`from_estimator` draws ``feature_importances_``, also of the last step of a pipeline and of what a search has
    found; :meth:`from_permutation` draws by how much a score falls where a column is permuted, for any estimator.

    Parameters
    ----------
    importances : array-like of shape (n_features,)
        Importances; those of :class:`ClosedFormMLP` are not negative and sum to 1.
    feature_names : array-like of str of shape (n_features,), default=None
        Names; None is "x0", "x1" and so on.
    estimator_name : str, default=None
        Name of the estimator, the title.
    errors : array-like of shape (n_features,), default=None
        Lengths of error bars to both sides; None draws none.
    quantity : str, default="feature importance"
        What the bars measure, the label of their axis.

    Attributes
    ----------
    importances_, feature_names : ndarray of shape (n_features,)
        Importances and names, in the order of the columns.
    errors_ : ndarray of shape (n_features,) or None
        Lengths of the error bars.
    bars_ : matplotlib BarContainer
        The bars that were drawn, from the largest importance down.
    ax_, figure_ : matplotlib Axes, matplotlib Figure
        Where they are.

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from sklearn_analytic import ClosedFormMLPRegressor, FeatureImportanceDisplay
    >>> data = load_diabetes()
    >>> model = ClosedFormMLPRegressor(random_state=0).fit(data.data, data.target)
    >>> display = FeatureImportanceDisplay.from_estimator(model, feature_names=data.feature_names, max_features=2)
    >>> [str(label.get_text()) for label in display.ax_.get_yticklabels()]
    ['bmi', 's5']
    """

    _advice = "FeatureImportanceDisplay.from_permutation(estimator, X, y) takes any estimator."

    def __init__(
        self, importances, *, feature_names=None, estimator_name=None, errors=None, quantity="feature importance"
    ):
        self.importances_ = numbers_of("importances", importances, "n_features")
        plain = [f"x{k}" for k in range(len(self.importances_))]
        self.feature_names = names_of("feature_names", feature_names, plain, "importances")
        self.errors_ = None if errors is None else _as_many("errors", errors, self.importances_)
        self.estimator_name, self.quantity = estimator_name, quantity

    @classmethod
    def from_estimator(cls, estimator, **kwargs):
        """Return the display of ``feature_importances_``, drawn.

        Parameters
        ----------
        estimator : object
            A fitted estimator, pipeline or search. A pipeline stands for its last step, and the steps before it name
            the columns where they can ("pca0"); a search stands for its ``best_estimator_``.
        **kwargs : dict
            Arguments of the display, in place of what the estimator says, and of :meth:`plot`.

        Returns
        -------
        display : FeatureImportanceDisplay
            The display, drawn.

        Examples
        --------
        >>> from sklearn.datasets import load_iris
        >>> from sklearn.decomposition import PCA
        >>> from sklearn.pipeline import make_pipeline
        >>> from sklearn_analytic import ClosedFormMLP, FeatureImportanceDisplay
        >>> X, y = load_iris(return_X_y=True)
        >>> model = make_pipeline(PCA(2), ClosedFormMLP(20, hidden="random", random_state=0)).fit(X, y)
        >>> display = FeatureImportanceDisplay.from_estimator(model)
        >>> display.estimator_name, display.feature_names.tolist()
        ('ClosedFormMLP', ['pca0', 'pca1'])
        """
        return super().from_estimator(estimator, **kwargs)

    @classmethod
    def from_permutation(
        cls,
        estimator,
        X,
        y,
        *,
        scoring=None,
        n_repeats=5,
        random_state=None,
        sample_weight=None,
        n_jobs=None,
        ax=None,
        max_features=20,
        **kwargs,
    ):
        """Return the display of permutation importances, drawn: means over the repeats, with their deviations.

        The importance of a column is what a score loses where its values are permuted, by
        :func:`sklearn.inspection.permutation_importance`. Columns are those of X, before any step of a pipeline. Give
        rows that were held out: on rows of the fit a column counts by which the model has learned noise.

        Parameters
        ----------
        estimator : object
            A fitted estimator, pipeline or search.
        X : array-like of shape (n_samples, n_features)
            Rows, with all columns of the fit.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Their targets.
        scoring : str or callable, default=None
            One score; None is ``estimator.score``.
        n_repeats : int, default=5
            Permutations of every column.
        random_state : int, RandomState instance or None, default=None
            Seed of the permutations.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows in the score.
        n_jobs : int, default=None
            Columns that are permuted at the same time.
        ax : matplotlib Axes, default=None
            Axes to draw on; None makes a figure.
        max_features : int or None, default=20
            Draw so many of the largest; None draws all.
        **kwargs : dict
            Other arguments of the display (``feature_names``) and of :meth:`plot`.

        Returns
        -------
        display : FeatureImportanceDisplay
            The display, drawn.

        Examples
        --------
        >>> from sklearn.datasets import load_iris
        >>> from sklearn.pipeline import make_pipeline
        >>> from sklearn.preprocessing import StandardScaler
        >>> from sklearn_analytic import BRMPClassifier, FeatureImportanceDisplay
        >>> X, y = load_iris(return_X_y=True, as_frame=True)
        >>> model = make_pipeline(StandardScaler(), BRMPClassifier(50, random_state=0)).fit(X, y)
        >>> display = FeatureImportanceDisplay.from_permutation(model, X, y, random_state=0, max_features=2)
        >>> sorted(str(label.get_text()) for label in display.ax_.get_yticklabels())
        ['petal length (cm)', 'petal width (cm)']
        """
        from sklearn.inspection import permutation_importance  # takes seconds to load

        check_is_fitted(estimator)
        _check_one_score(scoring)
        how = {"scoring": scoring, "n_repeats": n_repeats, "n_jobs": n_jobs, "random_state": random_state}
        found = permutation_importance(estimator, X, y, sample_weight=sample_weight, **how)
        measured = {
            "importances": found.importances_mean,
            "errors": found.importances_std,
            "feature_names": getattr(X, "columns", None),
            "estimator_name": type(_innermost(estimator)[0]).__name__,
            "quantity": f"decrease of {scoring if isinstance(scoring, str) else 'the score'} by a permutation",
        }
        return cls._drawn(measured, ax=ax, max_features=max_features, **kwargs)

    @classmethod
    def _measured(cls, estimator):
        """Importances and names of columns."""
        fitted, names = _innermost(estimator)
        return {
            "importances": cls._fitted(fitted, "feature_importances_"),
            "feature_names": names,
            "estimator_name": type(fitted).__name__,
        }

    def plot(self, ax=None, *, max_features=20, **bar_kwargs):
        """Draw the bars; return the display.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Axes to draw on; None makes a figure.
        max_features : int or None, default=20
            Draw so many of the largest; None draws all.
        **bar_kwargs : dict
            Passed to ``matplotlib.axes.Axes.barh``.
        """
        check_positive_integer("max_features", max_features, None)
        shown = np.argsort(-self.importances_, kind="stable")[:max_features]  # equal ones keep their order
        values, names = self.importances_[shown], self.feature_names[shown]
        look = {"xerr": None if self.errors_ is None else self.errors_[shown]} | bar_kwargs
        (self.ax_,) = self._axes(ax, figsize=(6.4, 1.2 + 0.28 * len(shown)))  # inches: a line of text per bar
        self.bars_ = self.ax_.barh(range(len(shown)), values, tick_label=names, **look)
        self.ax_.set(ylim=(len(shown) - 0.4, -0.6), xlabel=self.quantity, title=self.estimator_name)
        return self


def _innermost(estimator, names=None):
    """The estimator inside of searches and pipelines, and the names of the columns that it was fitted on, or None."""
    check_is_fitted(estimator)
    if hasattr(estimator, "best_estimator_"):
        return _innermost(estimator.best_estimator_, names)
    if isinstance(estimator, Pipeline):
        return _innermost(estimator[-1], _names_after(estimator[:-1], names))
    return estimator, getattr(estimator, "feature_names_in_", names)


def _names_after(steps, names):
    """Names of the columns behind the first steps of a pipeline, or None where a step gives none."""
    try:
        return steps.get_feature_names_out(names) if len(steps) else names
    except (AttributeError, ValueError):  # a step without the method, or one that does not know its own columns
        return None


def _check_one_score(scoring):
    """Refuse several scores: a bar shows one."""
    if scoring is not None and not isinstance(scoring, str) and not callable(scoring):
        raise ValueError(f"scoring must be None, one name or one callable, got {scoring!r}.")


def _as_many(name, values, others):
    """Values as an array, as many as there are others."""
    array = numbers_of(name, values, "n_features")
    if len(array) != len(others):
        raise ValueError(f"{name} has shape {array.shape}, but there are {len(others)} importances.")
    return array
