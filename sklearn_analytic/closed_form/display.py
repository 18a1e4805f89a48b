"""Feature importances as a figure."""

import functools

import numpy as np

from sklearn_analytic.estimator.checks import check_positive_integer
from sklearn_analytic.estimator.inside import array_or_frame, column_names, innermost, names_inside, plain_names
from sklearn_analytic.estimator.plotting import EstimatorDisplay, check_count, names_of, numbers_of


class FeatureImportanceDisplay(EstimatorDisplay):
    """Bars of feature importances, the largest on top.

    :meth:`from_estimator` draws ``feature_importances_``, also of the last step of a pipeline and of what a search has
    found; :meth:`from_permutation` draws by how much a score falls where a column is permuted, and needs no attribute.

    Parameters
    ----------
    importances : array-like of shape (n_features,)
        Importances, finite; those of :class:`ClosedFormMLP` are not negative and sum to 1.
    feature_names : array-like of str of shape (n_features,), default=None
        Names, drawn as they are ("$" begins no formula); None is "x0", "x1" and so on.
    estimator_name : str, default=None
        Name of the estimator, the title.
    errors : array-like of shape (n_features,), default=None
        Lengths of error bars to both sides, 0 or more; None draws none.
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

    _advice = "FeatureImportanceDisplay.from_permutation(estimator, X, y) needs a score alone."

    def __init__(
        self, importances, *, feature_names=None, estimator_name=None, errors=None, quantity="feature importance"
    ):
        self.importances_ = _finite("importances", importances)
        n_features = len(self.importances_)
        self.feature_names = names_of("feature_names", feature_names, plain_names(n_features), "importances")
        self.errors_ = None if errors is None else _lengths("errors", errors, n_features)
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
        max_samples=1.0,
        random_state=None,
        sample_weight=None,
        n_jobs=None,
        feature_names=None,
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
            Rows, with all columns of the fit; not sparse. A table of polars or Arrow is permuted as one of pandas;
            where pandas is not installed, as an array, which cannot give columns to a pipeline by name.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Their targets.
        scoring : str or callable, default=None
            One score, finite; None is ``estimator.score``.
        n_repeats : int, default=5
            Permutations of every column.
        max_samples : int or float, default=1.0
            Rows that are drawn for every column, or their share.
        random_state : int, RandomState instance or None, default=None
            Seed of the permutations.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows in the score.
        n_jobs : int, default=None
            Columns that are permuted at the same time.
        feature_names : array-like of str of shape (n_features,), default=None
            Names of the columns; None is those of the table, or "x0", "x1" and so on.
        ax : matplotlib Axes, default=None
            Axes to draw on; None makes a figure.
        max_features : int or None, default=20
            Draw so many of the largest; None draws all.
        **kwargs : dict
            Other arguments of the display (``quantity``) and of :meth:`plot`.

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
        cls._check_axes(ax)
        check_positive_integer("max_features", max_features, None)
        fitted, table = innermost(estimator), array_or_frame(X)
        names = names_of("feature_names", feature_names, column_names(X, table), "columns")
        how = {"max_samples": max_samples, "n_jobs": n_jobs, "n_repeats": n_repeats, "random_state": random_state}
        found = _decreases(estimator, table, y, scoring, sample_weight=sample_weight, **how)
        found |= {"feature_names": names, "estimator_name": type(fitted).__name__}
        return cls._drawn(found, ax=ax, max_features=max_features, **kwargs)

    @classmethod
    def _measured(cls, estimator):
        """Importances and names of columns."""
        fitted = innermost(estimator)
        return {
            "importances": cls._fitted(fitted, "feature_importances_"),
            "feature_names": names_inside(estimator),
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
        for label in self.ax_.get_yticklabels():
            label.set_parse_math(False)
        self.ax_.set(ylim=(len(shown) - 0.4, -0.6), xlabel=self.quantity, title=self.estimator_name)
        return self


def _decreases(estimator, X, y, scoring, **how):
    """What a score loses by permutations: arguments of the display."""
    from sklearn.inspection import permutation_importance  # takes seconds to load
    from sklearn.metrics import check_scoring

    _check_one_score(scoring)
    scorer = functools.partial(_score, check_scoring(estimator, scoring=scoring))
    found = permutation_importance(estimator, X, y, scoring=scorer, **how)
    quantity = f"decrease of {scoring if isinstance(scoring, str) else 'the score'} by a permutation"
    return {"importances": found.importances_mean, "errors": found.importances_std, "quantity": quantity}


def _score(scorer, estimator, X, y, **weights):
    """One score, refused at the first call where it gives no bar."""
    score = scorer(estimator, X, y, **weights)
    if isinstance(score, dict):
        raise ValueError(f"scoring must return one number, got those of {sorted(score)}.")
    if not np.isfinite(score):
        raise ValueError(f"scoring must return a finite number, got {score}.")
    return score


def _check_one_score(scoring):
    """Refuse several scores: a bar shows one."""
    if scoring is not None and not isinstance(scoring, str) and not callable(scoring):
        raise ValueError(f"scoring must be None, one name or one callable, got {scoring!r}.")


def _finite(name, values):
    """Numbers of features as an array, refused where a bar would not be seen."""
    array = numbers_of(name, values, "n_features")
    if not np.isfinite(array).all():
        raise ValueError(f"{name} must be finite, got {array}.")
    return array


def _lengths(name, values, n_features):
    """Lengths of error bars, one for each feature."""
    array = _finite(name, values)
    check_count(name, array, n_features, "importances")
    if (array < 0).any():
        raise ValueError(f"{name} must be 0 or more, got {array}.")
    return array
