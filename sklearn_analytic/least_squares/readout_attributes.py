"""What a readout weighs, by name: coef_ of columns where the model is linear, readout_coef_ of hidden units."""

from sklearn_analytic.least_squares.input_shares import input_shares

_OLD_NAMES = ("coef_", "intercept_")  # which pickles of earlier versions hold
_INSTEAD = {  # what an attribute that is not there would not have meant
    True: (
        "with hidden layers, whose units are no columns: readout_coef_ and readout_intercept_ weigh the units, "
        "feature_importances_ judges the columns."
    ),
    False: "without hidden layers: coef_ and intercept_ weigh the columns.",
}


class ReadoutAttributesMixin:
    """Fitted attributes of a readout, which a subclass shapes (``_as_published``)."""

    _columns = None  # of linear models, and of pickles from before there were importances

    @property
    def coef_(self):
        """Weights of the columns; a model with hidden layers has none."""
        return self._shaped("coef_", hidden=False)[0]

    @property
    def intercept_(self):
        """Constants of a linear model."""
        return self._shaped("intercept_", hidden=False)[1]

    @property
    def readout_coef_(self):
        """Weights of the units of the last hidden layer."""
        return self._shaped("readout_coef_", hidden=True)[0]

    @property
    def readout_intercept_(self):
        """Constants of the readout of the last hidden layer."""
        return self._shaped("readout_intercept_", hidden=True)[1]

    @property
    def feature_importances_(self):
        """Share of every column in the mean squared change of the predictions where its value is drawn anew.

        Values are drawn from a normal distribution with the means and deviations of the columns: no row is kept.
        Every target counts in units of its own variance. Computed when asked for, on 16 to 256 rows per column.
        """
        self._check_has("feature_importances_", hidden=True)
        if self._columns is None:
            raise AttributeError(
                "feature_importances_ needs the deviations of the columns, which fits of earlier versions did not "
                "keep: fit anew."
            )
        return input_shares(self._layers, self._coef, self._columns, self.n_features_in_)

    def _shaped(self, name, hidden):
        """Weights and constants of the readout as scikit-learn's linear models have them."""
        self._check_has(name, hidden)
        return self._as_published(self._coef, self._intercept)

    def _check_has(self, name, hidden):
        """Refuse the names of linear models where there are hidden layers, and the other way round."""
        kind = type(self).__name__
        if not hasattr(self, "_coef"):
            raise AttributeError(f"This {kind} has no {name} before it is fitted.")
        if bool(self._layers) != hidden:
            raise AttributeError(f"{kind} has no {name} {_INSTEAD[bool(self._layers)]}")

    def _drop_old_names(self):
        """Forget what earlier versions stored under names that are properties now."""
        for name in _OLD_NAMES:
            self.__dict__.pop(name, None)
