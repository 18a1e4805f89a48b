"""Prediction intervals as a figure, beside the targets that they should cover."""

import numbers

import numpy as np

from sklearn_analytic.estimator.checks import check_flag, check_positive_integer
from sklearn_analytic.estimator.inside import array_or_frame, column_names, innermost, rows_inside
from sklearn_analytic.estimator.plotting import EstimatorDisplay, check_count, numbers_of
from sklearn_analytic.io._checks import host

_INSIDE, _OUTSIDE = "#0072B2", "#D55E00"  # told apart by the colour-blind (Okabe and Ito 2008)
_ROOM = 0.2  # of the height, for a legend that hides no target


class IntervalDisplay(EstimatorDisplay):
    """Prediction intervals of rows, and which targets lie within them.

    :meth:`from_estimator` draws those of a :class:`BRMPRegressor` or :class:`ClosedFormMLPRegressor`, also of the last
    step of a pipeline and of what a search has found: against the prediction, along a column, or, where X has a single
    column, as a band over it. The legend says what share of the targets was asked for, and what share was found.

    Parameters
    ----------
    predictions : array-like of shape (n_samples,)
        Predictions, finite.
    intervals : array-like of shape (n_samples, 2)
        Lower and upper ends, finite.
    targets : array-like of shape (n_samples,), default=None
        Targets, finite; None draws intervals alone.
    values : array-like of shape (n_samples,), default=None
        Where the rows are along the axis, NaN where that is not known; None is at their predictions.
    coverage : float, default=None
        The share of targets that was asked for, for the legend.
    value_name, target_name : str, default=None
        Labels of the axes; None is "prediction" or "value", and "target".
    estimator_name : str, default=None
        Name of the estimator, the title.

    Attributes
    ----------
    predictions_, targets_, values_ : ndarray of shape (n_samples,)
        What is drawn, in the order of the rows; ``targets_`` may be None.
    intervals_ : ndarray of shape (n_samples, 2)
        Lower and upper ends.
    inside_ : ndarray of bool of shape (n_samples,) or None
        Which targets lie within their interval, ends included.
    found_coverage_ : float or None
        Their share.
    bars_ : matplotlib LineCollection or None
        Intervals as bars.
    band_ : matplotlib collection or None
        Intervals as a band.
    line_ : matplotlib Line2D
        The predictions.
    inside_points_, outside_points_ : matplotlib Line2D or None
        Targets inside, and outside.
    ax_, figure_ : matplotlib Axes, matplotlib Figure
        Where they are.

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from sklearn_analytic import BRMPRegressor, IntervalDisplay
    >>> X, y = load_diabetes(return_X_y=True)
    >>> model = BRMPRegressor(alpha="gcv").fit(X[:300], y[:300])
    >>> display = IntervalDisplay.from_estimator(model, X[300:], y[300:], coverage=0.8)
    >>> bool(0.7 < display.found_coverage_ < 0.9), display.intervals_.shape
    (True, (142, 2))
    """

    _advice = (
        "give a fitted BRMPRegressor or ClosedFormMLPRegressor, a pipeline that ends in one, or a search for one. "
        "Classifiers have sets of classes, predict_set."
    )

    def __init__(
        self,
        predictions,
        intervals,
        *,
        targets=None,
        values=None,
        coverage=None,
        value_name=None,
        target_name=None,
        estimator_name=None,
    ):
        self.predictions_ = _finite("predictions", predictions, "n_samples")
        n_rows = len(self.predictions_)
        self.intervals_ = _finite("intervals", intervals, "n_samples", "2")
        if self.intervals_.shape != (n_rows, 2):
            raise ValueError(f"intervals must have shape ({n_rows}, 2), got {self.intervals_.shape}.")
        self.targets_ = None if targets is None else _finite("targets", targets, "n_samples")
        self.values_ = self.predictions_ if values is None else numbers_of("values", values, "n_samples")
        for name, array in (("targets", self.targets_), ("values", self.values_)):
            if array is not None:
                check_count(name, array, n_rows, "predictions")
        self.inside_ = self.found_coverage_ = None
        if targets is not None:
            lower, upper = self.intervals_.T
            self.inside_ = (lower <= self.targets_) & (self.targets_ <= upper)
            self.found_coverage_ = float(self.inside_.mean())
        self.coverage, self.estimator_name = coverage, estimator_name
        self._by_prediction = values is None
        self.value_name = value_name or ("prediction" if values is None else "value")
        self.target_name = target_name or "target"

    @classmethod
    def from_estimator(cls, estimator, X, y=None, *, coverage=0.9, feature=None, target=0, ax=None, **kwargs):
        """Return the display of intervals of rows, drawn.

        Parameters
        ----------
        estimator : object
            A fitted regressor with ``predict_interval``, a pipeline that ends in one, or a search for one. The steps
            of a pipeline before the last transform X.
        X : array-like of shape (n_samples, n_features)
            Rows, before any step of a pipeline; those that were held out show what new rows have.
        y : array-like of shape (n_samples,) or (n_samples, n_targets), default=None
            Their targets; None draws intervals alone.
        coverage : float in (0, 1), default=0.9
            Share of new targets that are to lie within.
        feature : int or str, default=None
            Column of X to draw along, by its number or name; it must hold numbers. None is the prediction, or the
            column where X has only one.
        target : int, default=0
            Which of several targets.
        ax : matplotlib Axes, default=None
            Axes to draw on; None makes a figure.
        **kwargs : dict
            Arguments of the display, in place of what the estimator says, and of :meth:`plot`.

        Returns
        -------
        display : IntervalDisplay
            The display, drawn.

        Examples
        --------
        >>> from sklearn.datasets import load_diabetes
        >>> from sklearn.pipeline import make_pipeline
        >>> from sklearn.preprocessing import StandardScaler
        >>> from sklearn_analytic import BRMPRegressor, IntervalDisplay
        >>> X, y = load_diabetes(return_X_y=True, as_frame=True)
        >>> model = make_pipeline(StandardScaler(), BRMPRegressor(alpha="gcv")).fit(X[:300], y[:300])
        >>> display = IntervalDisplay.from_estimator(model, X[300:], y[300:], feature="bmi")
        >>> display.ax_.get_xlabel(), display.ax_.get_title()
        ('bmi', 'BRMPRegressor')
        """
        cls._check_axes(ax)
        fitted = innermost(estimator)
        told = cls._fitted(fitted, "predict_interval")
        is_one_column = _n_columns(X) == 1
        found = {"coverage": coverage, "estimator_name": type(fitted).__name__}
        if feature is not None or is_one_column:
            found["values"], found["value_name"] = _column(X, 0 if feature is None else feature)
        rows = rows_inside(estimator, X)
        intervals, predictions = np.asarray(host(told(rows, coverage=coverage))), host(fitted.predict(rows))
        intervals = intervals[:, None] if intervals.ndim == 2 else intervals
        n_targets = intervals.shape[1]
        _check_place("target", target, n_targets, "targets")
        found["intervals"] = intervals[:, target]
        found["predictions"] = _of_target("predictions", predictions, target, n_targets)
        if y is not None:
            found["targets"] = _of_target("y", y, target, n_targets)
            found["target_name"] = _name_of_target(y, target, n_targets)
        return cls._drawn(found, ax=ax, **{"band": is_one_column} | kwargs)

    def plot(self, ax=None, *, band=False, max_rows=200, **point_kwargs):
        """Draw intervals, predictions and targets; return the display.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Axes to draw on; None makes a figure.
        band : bool, default=False
            Whether ends of neighbouring rows are joined, which suits rows that differ in the drawn value alone.
        max_rows : int or None, default=200
            Draw the bars and targets of so many rows, evenly among those that are sorted along the axis; None draws
            all. Shares in the legend are those of all rows.
        **point_kwargs : dict
            Passed to ``matplotlib.axes.Axes.plot`` for the targets.
        """
        check_flag("band", band)
        check_positive_integer("max_rows", max_rows, None)
        (self.ax_,) = self._axes(ax, figsize=(6.4, 4.2))
        placed = np.flatnonzero(~np.isnan(self.values_))
        order = placed[np.argsort(self.values_[placed], kind="stable")]
        n_shown = min(len(order), max_rows or len(order))
        shown = order[np.linspace(0, len(order) - 1, n_shown).round().astype(int)]
        self._draw_intervals(order if band else shown, band)
        self._draw_predictions(order if band else shown, band)
        self.inside_points_ = self.outside_points_ = None
        if self.targets_ is not None:
            share, look = self.found_coverage_, {"ls": "none", "marker": "o", "ms": 3.5, "zorder": 3} | point_kwargs
            self.inside_points_ = self._draw_targets(shown[self.inside_[shown]], "inside", share, _INSIDE, look)
            outside = shown[~self.inside_[shown]]
            self.outside_points_ = self._draw_targets(outside, "outside", 1 - share, _OUTSIDE, look)
        self.ax_.set(xlabel=self.value_name, ylabel=self.target_name, title=self.estimator_name)
        for label in (self.ax_.xaxis.label, self.ax_.yaxis.label):
            label.set_parse_math(False)
        bottom, top = self.ax_.get_ylim()
        self.ax_.set_ylim(bottom, top + _ROOM * (top - bottom))
        self.ax_.legend(loc="upper left", ncols=2, columnspacing=1.2, fontsize="small", frameon=False)
        return self

    def _draw_intervals(self, rows, band):
        """Bars of rows, or a band through them."""
        at, (lower, upper) = self.values_[rows], self.intervals_[rows].T
        name = "intervals" if self.coverage is None else f"{_percent(self.coverage)} intervals"
        self.bars_ = self.band_ = None
        if band:
            self.band_ = self.ax_.fill_between(at, lower, upper, color=_INSIDE, alpha=0.2, lw=0, label=name)
        else:
            self.bars_ = self.ax_.vlines(at, lower, upper, colors=_INSIDE, alpha=0.3, lw=1.2, label=name)

    def _draw_predictions(self, rows, band):
        """Predictions as a line where they are one: along a band, or against themselves; else as marks."""
        look = {"ls": "-"} if band or self._by_prediction else {"ls": "none", "marker": "_", "ms": 5}
        look |= {"color": "0.25", "lw": 1.2, "label": "prediction"}
        (self.line_,) = self.ax_.plot(self.values_[rows], self.predictions_[rows], **look)

    def _draw_targets(self, rows, where, share, color, look):
        """Targets of some rows, with the share of all that are where these are."""
        label = f"{where}: {_percent(share)}"
        (points,) = self.ax_.plot(self.values_[rows], self.targets_[rows], **{"color": color, "label": label} | look)
        return points


def _percent(share):
    """A share in words: as many decimals as it takes, at most one."""
    return f"{100 * share:.1f}".removesuffix(".0") + " %"


def _finite(name, values, *axes):
    """Numbers as an array, refused where they would not be seen."""
    array = numbers_of(name, values, *axes)
    if not np.isfinite(array).all():
        raise ValueError(f"{name} must be finite, got {array}.")
    return array


def _n_columns(X):
    """Number of columns of rows of any kind."""
    shape = getattr(X, "shape", None) or np.shape(X)
    return shape[1] if len(shape) == 2 else 0


def _column(X, feature):
    """Values and name of a column, by its number or name."""
    table = array_or_frame(host(X))
    names = column_names(X, table)
    if isinstance(feature, str):
        if feature not in names:
            raise ValueError(f"X has no column {feature!r}, its columns are {', '.join(names)}.")
        feature = names.index(feature)
    _check_place("feature", feature, len(names), "columns")
    values = table.iloc[:, feature] if hasattr(table, "iloc") else table[:, feature]
    return numbers_of(f"column {names[feature]!r}", np.asarray(values), "n_samples"), names[feature]


def _check_place(name, value, n_things, things):
    """Refuse what numbers none of these things."""
    is_whole = isinstance(value, numbers.Integral) and not isinstance(value, bool)
    if not is_whole or not 0 <= value < n_things:
        raise ValueError(f"{name}={value!r}, but there are {n_things} {things}, counted from 0.")


def _of_target(name, values, target, n_targets):
    """One of several targets."""
    array = np.asarray(host(values))
    array = array[:, None] if array.ndim == 1 else array
    if array.ndim != 2 or array.shape[1] != n_targets:
        raise ValueError(f"{name} has shape {np.shape(values)}, but the estimator predicts {n_targets} targets.")
    return array[:, target]


def _name_of_target(y, target, n_targets):
    """What a series or a frame calls a target, or its number among several, or None."""
    columns = getattr(y, "columns", None)
    name = getattr(y, "name", None) if columns is None else columns[target]
    return str(name) if isinstance(name, str) and name else f"target {target}" if n_targets > 1 else None
