"""Feature importances as a figure."""

import numpy as np

from sklearn_analytic.estimator.checks import check_positive_integer
from sklearn_analytic.estimator.plotting import EstimatorDisplay, names_of, numbers_of


class FeatureImportanceDisplay(EstimatorDisplay):
    """Bars of feature importances, the largest on top.

    :meth:`from_estimator` draws those of any estimator with ``feature_importances_``; give it the ``feature_names``
    where the estimator was fitted without.

    Parameters
    ----------
    importances : array-like of shape (n_features,)
        Importances; those of :class:`ClosedFormMLP` are not negative and sum to 1.
    feature_names : array-like of str of shape (n_features,), default=None
        Names; None is "x0", "x1" and so on.
    estimator_name : str, default=None
        Name of the estimator, the title.

    Attributes
    ----------
    importances_, feature_names : ndarray of shape (n_features,)
        Importances and names, in the order of the columns.
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

    _advice = (
        "give the last step of a pipeline, or take sklearn.inspection.permutation_importance and "
        "FeatureImportanceDisplay(importances).plot()."
    )

    def __init__(self, importances, *, feature_names=None, estimator_name=None):
        self.importances_ = numbers_of("importances", importances, "n_features")
        plain = [f"x{k}" for k in range(len(self.importances_))]
        self.feature_names = names_of("feature_names", feature_names, plain, "importances")
        self.estimator_name = estimator_name

    @classmethod
    def _measured(cls, estimator):
        """Importances and names of columns."""
        return {
            "importances": cls._fitted(estimator, "feature_importances_"),
            "feature_names": getattr(estimator, "feature_names_in_", None),
            "estimator_name": type(estimator).__name__,
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
        (self.ax_,) = self._axes(ax, figsize=(6.4, 1.2 + 0.28 * len(shown)))  # inches: a line of text per bar
        self.bars_ = self.ax_.barh(range(len(shown)), values, tick_label=names, **bar_kwargs)
        self.ax_.set(ylim=(len(shown) - 0.4, -0.6), xlabel="feature importance", title=self.estimator_name)
        return self
