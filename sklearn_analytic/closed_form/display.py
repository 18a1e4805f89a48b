"""Feature importances as a figure."""

import numpy as np

from sklearn_analytic.estimator.base import check_positive_integer
from sklearn_analytic.estimator.plotting import checked_names, fitted_attribute, pyplot_for

_ADVICE = (
    "give the last step of a pipeline, or take sklearn.inspection.permutation_importance and "
    "FeatureImportanceDisplay(importances).plot()."
)


class FeatureImportanceDisplay:
    """Bars of feature importances, the largest on top.

    Draw it with :meth:`from_estimator`. It needs matplotlib (``pip install "sklearn_analytic[plot]"``).

    Parameters
    ----------
    importances : array-like of shape (n_features,)
        Importances; those of :class:`ClosedFormMLP` are not negative and sum to 1.
    feature_names : array-like of str of shape (n_features,), default=None
        Names; None is "x0", "x1" and so on.
    estimator_name : str, default=None
        Name of the estimator, for the title.

    Attributes
    ----------
    importances_ : ndarray of shape (n_features,)
        Importances, in the order of the columns.
    feature_names : ndarray of shape (n_features,)
        Names, in the order of the columns.
    bars_ : matplotlib BarContainer
        The bars that were drawn, from the largest importance down.
    ax_ : matplotlib Axes
        Axes of the figure.
    figure_ : matplotlib Figure
        Figure of the axes.

    See Also
    --------
    sklearn.inspection.permutation_importance : Loss of score where a column is shuffled.

    Examples
    --------
    Any fitted estimator with ``feature_importances_`` will do.

    >>> import matplotlib
    >>> from sklearn.datasets import load_diabetes
    >>> from sklearn_analytic import ClosedFormMLPRegressor, FeatureImportanceDisplay
    >>> matplotlib.use("Agg")  # draws to files, without a screen
    >>> data = load_diabetes()
    >>> model = ClosedFormMLPRegressor(random_state=0).fit(data.data, data.target)
    >>> display = FeatureImportanceDisplay.from_estimator(model, feature_names=data.feature_names, max_features=2)
    >>> [str(label.get_text()) for label in display.ax_.get_yticklabels()]
    ['bmi', 's5']
    """

    def __init__(self, importances, *, feature_names=None, estimator_name=None):
        self.importances_ = _checked_importances(importances)
        plain = [f"x{k}" for k in range(len(self.importances_))]
        self.feature_names = checked_names("feature_names", feature_names, plain, "importances")
        self.estimator_name = estimator_name

    @classmethod
    def from_estimator(cls, estimator, *, feature_names=None, max_features=20, ax=None, **bar_kwargs):
        """Draw the importances of a fitted estimator.

        Parameters
        ----------
        estimator : object
            A fitted estimator with ``feature_importances_``. For a pipeline give its last step, and the names of
            what that step sees.
        feature_names : array-like of str of shape (n_features,), default=None
            Names; None is the estimator's ``feature_names_in_``, or "x0", "x1" and so on.
        max_features : int or None, default=20
            Draw so many of the largest; None draws all.
        ax : matplotlib Axes, default=None
            Axes to draw on; None makes a figure.
        **bar_kwargs : dict
            Passed to ``matplotlib.axes.Axes.barh``.

        Returns
        -------
        display : FeatureImportanceDisplay
            The display, drawn.
        """
        if feature_names is None:
            feature_names = getattr(estimator, "feature_names_in_", None)
        importances = fitted_attribute(estimator, "feature_importances_", _ADVICE)
        display = cls(importances, feature_names=feature_names, estimator_name=type(estimator).__name__)
        return display.plot(ax, max_features=max_features, **bar_kwargs)

    def plot(self, ax=None, *, max_features=20, **bar_kwargs):
        """Draw the bars.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Axes to draw on; None makes a figure.
        max_features : int or None, default=20
            Draw so many of the largest; None draws all.
        **bar_kwargs : dict
            Passed to ``matplotlib.axes.Axes.barh``.

        Returns
        -------
        display : FeatureImportanceDisplay
            This display, with ``ax_``, ``figure_`` and ``bars_``.
        """
        shown = self._largest(max_features)
        if ax is None:
            height = 1.2 + 0.28 * len(shown)  # inches: a line of text per bar
            _, ax = pyplot_for(type(self).__name__).subplots(figsize=(6.4, height), layout="constrained")
        places = np.arange(len(shown))
        self.bars_ = ax.barh(places, self.importances_[shown], **bar_kwargs)
        ax.set_yticks(places, self.feature_names[shown])
        ax.set(ylim=(len(shown) - 0.4, -0.6), xlabel="feature importance", title=self.estimator_name)
        self.ax_, self.figure_ = ax, ax.figure
        return self

    def _largest(self, max_features):
        """Columns by falling importance; equal ones keep their order."""
        check_positive_integer("max_features", max_features, None)
        return np.argsort(-self.importances_, kind="stable")[:max_features]


def _checked_importances(importances):
    """Importances as an array of one dimension."""
    importances = np.asarray(importances, dtype=np.float64)
    if importances.ndim != 1:
        raise ValueError(f"importances must have shape (n_features,), got {importances.shape}.")
    return importances
