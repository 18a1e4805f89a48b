"""What each layer of a network that was trained layer by layer learned, and what it cost, as a figure."""

from dataclasses import dataclass

import numpy as np

from sklearn_analytic.estimator.plotting import checked_names, fitted_attribute, pyplot_for

_ADVICE = "give an estimator that was trained layer by layer, such as LayerwiseMLP (of a pipeline, give the last step)."
_PANELS = ("score", "effective rank", "time (s)", "memory (MB)")
_MEGABYTE = 1e6  # bytes
_FLAT, _MOST_NAMES = 6, 20  # so many names stand beside each other; more are turned, and more than that thinned


@dataclass(frozen=True)
class _Quantity:
    """What is measured of each layer, and which values it can have."""

    name: str  # of the parameter
    attribute: str  # of the estimator
    low: float
    may_be_missing: bool = False  # as NaN


_QUANTITIES = (
    _Quantity("scores", "layer_scores_", -np.inf),
    _Quantity("effective_ranks", "effective_ranks_", 0.0, may_be_missing=True),
    _Quantity("seconds", "layer_seconds_", 0.0),
    _Quantity("n_bytes", "layer_bytes_", 0.0),
)
_WIDTHS = _Quantity("widths", "coefs_", 0.0, may_be_missing=True)


class LayerDiagnosticsDisplay:
    """Four panels of a network trained layer by layer: score, effective rank, seconds and memory of each layer.

    The scores say which layers help, the effective ranks whether the features of a layer collapse onto few
    directions, the bars where time and memory go. Draw it with :meth:`from_estimator`. It needs matplotlib
    (``pip install "sklearn_analytic[plot]"``).

    Parameters
    ----------
    scores : array-like of shape (n_layers,)
        Score of each layer, bottom layer first. A layer here is what was trained at a time: one hidden layer, or a
        partition of several.
    effective_ranks : array-like of shape (n_layers,)
        Effective rank of the features of each layer; NaN where it was not measured.
    seconds : array-like of shape (n_layers,)
        Training time of each layer.
    n_bytes : array-like of shape (n_layers,)
        Memory that the training of each layer took, in bytes.
    widths : array-like of shape (n_layers,), default=None
        Units of each layer, the largest rank that it can have; NaN where it is not known. None draws no widths.
    layer_names : array-like of str of shape (n_layers,), default=None
        Names along the panels; None is "layer 1", "layer 2" and so on.
    estimator_name : str, default=None
        Name of the estimator, the title of a figure that the display makes.

    Attributes
    ----------
    scores_, effective_ranks_, seconds_, n_bytes_ : ndarray of shape (n_layers,)
        What is drawn.
    widths_ : ndarray of shape (n_layers,) or None
        Units of each layer.
    layer_names : ndarray of shape (n_layers,)
        Names, bottom layer first.
    score_line_, rank_line_ : matplotlib Line2D
        Lines of the scores and of the effective ranks.
    width_lines_ : matplotlib LineCollection or None
        Dashed lines at the widths.
    seconds_bars_, bytes_bars_ : matplotlib BarContainer
        Bars of seconds and of megabytes (10^6 bytes).
    axes_ : ndarray of matplotlib Axes of shape (4,)
        Axes of the score, the effective rank, the time and the memory.
    figure_ : matplotlib Figure
        Figure of the axes.

    See Also
    --------
    LayerwiseMLP : Measures all of this while it trains.
    AlignmentDisplay : Angles between direct feedback and the true gradient, epoch by epoch.

    Examples
    --------
    >>> import matplotlib
    >>> from sklearn_analytic import LayerDiagnosticsDisplay
    >>> matplotlib.use("Agg")  # draws to files, without a screen
    >>> display = LayerDiagnosticsDisplay(
    ...     scores=[0.81, 0.9, 0.92], effective_ranks=[21.3, 12.0, 8.4], seconds=[1.2, 0.8, 0.7],
    ...     n_bytes=[4_000_000, 2_000_000, 1_000_000], widths=[64, 32, 16],
    ... ).plot()
    >>> display.score_line_.get_ydata().tolist()
    [0.81, 0.9, 0.92]
    >>> [float(bar.get_height()) for bar in display.bytes_bars_]
    [4.0, 2.0, 1.0]
    """

    def __init__(
        self, *, scores, effective_ranks, seconds, n_bytes, widths=None, layer_names=None, estimator_name=None
    ):
        values = (scores, effective_ranks, seconds, n_bytes)
        checked = [_checked_values(quantity, given) for quantity, given in zip(_QUANTITIES, values, strict=True)]
        self.scores_, self.effective_ranks_, self.seconds_, self.n_bytes_ = checked
        self.widths_ = None if widths is None else _checked_values(_WIDTHS, widths)
        n_layers = len(self.scores_)
        for quantity, array in zip((*_QUANTITIES, _WIDTHS), (*checked, self.widths_), strict=True):
            _check_length(quantity, array, n_layers)
        self.layer_names = checked_names("layer_names", layer_names, _plain_names(n_layers), "layers")
        self.estimator_name = estimator_name

    @classmethod
    def from_estimator(cls, estimator, *, axes=None, line_kwargs=None, bar_kwargs=None):
        """Draw the diagnostics of a fitted estimator.

        Parameters
        ----------
        estimator : object
            A fitted estimator with ``layer_scores_``, ``effective_ranks_``, ``layer_seconds_``, ``layer_bytes_`` and
            ``partitions_``. Widths are drawn if it has ``coefs_`` too, the weights of a plain network. For a pipeline
            give its last step.
        axes : array-like of four matplotlib Axes, default=None
            Axes to draw on, of any shape; None makes a figure.
        line_kwargs : dict, default=None
            Passed to ``matplotlib.axes.Axes.plot`` for the scores and the effective ranks.
        bar_kwargs : dict, default=None
            Passed to ``matplotlib.axes.Axes.bar`` for the time and the memory.

        Returns
        -------
        display : LayerDiagnosticsDisplay
            The display, drawn.
        """
        measured = {q.name: fitted_attribute(estimator, q.attribute, _ADVICE) for q in _QUANTITIES}
        partitions = fitted_attribute(estimator, "partitions_", _ADVICE)[: len(measured["scores"])]  # those trained
        display = cls(
            **measured,
            widths=_widths_of(estimator, partitions),
            layer_names=[_partition_name(first, stop) for first, stop in partitions],
            estimator_name=type(estimator).__name__,
        )
        return display.plot(axes, line_kwargs=line_kwargs, bar_kwargs=bar_kwargs)

    def plot(self, axes=None, *, line_kwargs=None, bar_kwargs=None):
        """Draw the four panels.

        Parameters
        ----------
        axes : array-like of four matplotlib Axes, default=None
            Axes to draw on, of any shape; None makes a figure.
        line_kwargs : dict, default=None
            Passed to ``matplotlib.axes.Axes.plot`` for the scores and the effective ranks.
        bar_kwargs : dict, default=None
            Passed to ``matplotlib.axes.Axes.bar`` for the time and the memory.

        Returns
        -------
        display : LayerDiagnosticsDisplay
            This display, with ``axes_``, ``figure_`` and what was drawn.
        """
        self.axes_ = self._new_axes() if axes is None else _checked_axes(axes)
        self.figure_ = self.axes_[0].figure
        places, turned = np.arange(len(self.scores_)), 45 if len(self.scores_) > _FLAT else 0
        margin = max(1, 2 - len(places) / 2)  # the bar of a single layer is no wall
        named = places[::-1][:: -(-len(places) // _MOST_NAMES)][::-1]  # the top layer has its name
        for ax, label in zip(self.axes_, _PANELS, strict=True):
            ax.set(xlim=(-margin, len(places) - 1 + margin), ylabel=label)
            ax.set_xticks(named, self.layer_names[named], rotation=turned, ha="right" if turned else "center")
        line_style, bar_style = {"marker": "o"} | (line_kwargs or {}), {"color": "C1"} | (bar_kwargs or {})
        score, rank, time, memory = self.axes_
        (self.score_line_,) = score.plot(places, self.scores_, **line_style)
        low, high = score.dataLim.intervaly  # of all that was drawn here, another display's scores too
        pad = max(0.2 * (high - low), 0.01)  # differences of no account are not blown up
        score.set_ylim(low - pad, high + pad)
        (self.rank_line_,) = rank.plot(places, self.effective_ranks_, **line_style)
        self.width_lines_ = None if self.widths_ is None else _draw_widths(rank, places, self.widths_)
        if np.isnan(self.effective_ranks_).all():
            rank.text(0.5, 0.03, "not measured", transform=rank.transAxes, ha="center", color="0.4")
        rank.set_ylim(bottom=0)
        self.seconds_bars_ = time.bar(places, self.seconds_, **bar_style)
        self.bytes_bars_ = memory.bar(places, self.n_bytes_ / _MEGABYTE, **bar_style)
        return self

    def _new_axes(self):
        """Two panels over two, wider for more layers."""
        width = np.clip(4.0 + 0.55 * len(self.scores_), 7.5, 13.0)  # inches
        pyplot = pyplot_for(type(self).__name__)
        figure, axes = pyplot.subplots(2, 2, sharex=True, figsize=(width, 5.5), layout="constrained")
        if self.estimator_name is not None:
            figure.suptitle(self.estimator_name)
        return axes.ravel()


def _draw_widths(ax, places, widths):
    """A dashed line over each layer, named above the panel where it covers nothing."""
    lines = ax.hlines(widths, places - 0.5, places + 0.5, linestyles="--", colors="0.4", linewidth=1.2, label="width")
    style = {"loc": "lower right", "bbox_to_anchor": (1.0, 1.0), "borderaxespad": 0.2, "fontsize": "small"}
    ax.legend(handles=[lines], frameon=False, **style)
    return lines


def _partition_name(first, stop):
    """Hidden layers of a partition, counted from 1."""
    return f"layer {stop}" if stop - first == 1 else f"layers {first + 1}-{stop}"


def _plain_names(n_layers):
    """Names of partitions of one layer each."""
    return [_partition_name(k, k + 1) for k in range(n_layers)]


def _widths_of(estimator, partitions):
    """Units of the top layer of each partition, where the weights of a plain network tell them."""
    coefs = getattr(estimator, "coefs_", None)
    if coefs is None or len(coefs) != partitions[-1][1] + 1:
        return None
    return [coefs[stop - 1].shape[1] for _, stop in partitions]


def _checked_values(quantity, values):
    """Values as an array of one dimension, each of them possible."""
    name = quantity.name
    try:
        array = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name} must be an array of numbers of shape (n_layers,), got {values!r}.") from error
    if array.ndim != 1 or not array.size:
        raise ValueError(f"{name} must have shape (n_layers,), at least one layer, got shape {array.shape}.")
    fine = np.isfinite(array) & ~(array < quantity.low)
    if quantity.may_be_missing:
        fine |= np.isnan(array)
    if not fine.all():
        wanted = "finite" + (", at least 0" if quantity.low == 0 else "")
        wanted += ", or NaN where it is not known" if quantity.may_be_missing else ""
        k = int(np.argmin(fine))
        raise ValueError(f"{name} must be {wanted}, got {array[k]} for layer {k + 1}.")
    return array


def _check_length(quantity, array, n_layers):
    """One value for each score."""
    if array is not None and len(array) != n_layers:
        raise ValueError(
            f"{quantity.name} has {len(array)} values, but scores has {n_layers}: give one for each layer, bottom "
            "layer first."
        )


def _checked_axes(axes):
    """Four axes in a row."""
    axes = np.asarray(axes, dtype=object).ravel()
    if len(axes) != len(_PANELS):
        raise ValueError(
            f"axes must be {len(_PANELS)} matplotlib Axes ({', '.join(_PANELS)}), got {len(axes)}: give those of "
            "pyplot.subplots(2, 2), or None for a new figure."
        )
    return axes
