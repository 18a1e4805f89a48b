"""What each layer of a network that was trained layer by layer learned, and what it cost, as a figure."""

import numpy as np

from sklearn_analytic.estimator.plotting import EstimatorDisplay, hidden_widths, names_of, numbers_of

_AMOUNT, _MAYBE = "finite, at least 0", "finite, at least 0, or NaN where it is not known"
_ALLOWED = {"scores": "finite", "effective_ranks": _MAYBE, "seconds": _AMOUNT, "n_bytes": _AMOUNT, "widths": _MAYBE}
_FITTED = ("layer_scores_", "effective_ranks_", "layer_seconds_", "layer_bytes_")
_FLAT, _NAMED = 4, 20  # so many names stand beside each other; more are turned, and about so many are shown at most


class LayerDiagnosticsDisplay(EstimatorDisplay):
    """Four panels of a network trained layer by layer: score, effective rank, seconds and memory of each layer.

    The scores say which layers help, the effective ranks whether the features of a layer collapse onto few
    directions, the bars where time and memory go. :meth:`from_estimator` draws those of a :class:`LayerwiseMLP`.

    Parameters
    ----------
    scores, effective_ranks, seconds, n_bytes : array-like of shape (n_layers,)
        Score of each layer, bottom layer first, effective rank of its features (NaN where it was not measured), time
        and memory of its training. A layer is what was trained at a time: one, or a partition of several.
    widths : array-like of shape (n_layers,), default=None
        Units of each layer, the largest rank that it can have; NaN where it is not known. None draws no widths.
    layer_names : array-like of str of shape (n_layers,), default=None
        Names along the panels; None is "layer 1", "layer 2" and so on.
    estimator_name : str, default=None
        Name of the estimator, the title of a figure that the display makes.

    Attributes
    ----------
    scores_, effective_ranks_, seconds_, n_bytes_, widths_, layer_names : ndarray of shape (n_layers,)
        What is drawn; ``widths_`` may be None.
    score_line_, rank_line_ : matplotlib Line2D
        Scores and effective ranks.
    width_lines_ : matplotlib LineCollection or None
        Dashed lines at the widths.
    seconds_bars_, bytes_bars_ : matplotlib BarContainer
        Bars of seconds and of megabytes (10^6 bytes).
    axes_, figure_ : ndarray of matplotlib Axes of shape (4,), matplotlib Figure
        Axes of the score, the effective rank, the time and the memory, and where they are.

    Examples
    --------
    >>> from sklearn_analytic import LayerDiagnosticsDisplay
    >>> measured = {"scores": [0.81, 0.9], "effective_ranks": [21.3, 12.0], "seconds": [1.2, 0.8]}
    >>> display = LayerDiagnosticsDisplay(**measured, n_bytes=[4_000_000, 2_000_000], widths=[64, 32]).plot()
    >>> [float(bar.get_height()) for bar in display.bytes_bars_]
    [4.0, 2.0]
    """

    _advice = "give an estimator that was trained layer by layer, as LayerwiseMLP (of a pipeline, give the last step)."

    def __init__(
        self, *, scores, effective_ranks, seconds, n_bytes, widths=None, layer_names=None, estimator_name=None
    ):
        self.scores_ = _checked("scores", scores)
        n_layers = len(self.scores_)
        self.effective_ranks_ = _checked("effective_ranks", effective_ranks, n_layers)
        self.seconds_, self.n_bytes_ = _checked("seconds", seconds, n_layers), _checked("n_bytes", n_bytes, n_layers)
        self.widths_ = None if widths is None else _checked("widths", widths, n_layers)
        plain = [f"layer {k + 1}" for k in range(n_layers)]
        self.layer_names = names_of("layer_names", layer_names, plain, "layers")
        self.estimator_name = estimator_name

    @classmethod
    def _measured(cls, estimator):
        """What there is of the partitions that were trained, named by their layers, counted from 1."""
        measured = [cls._fitted(estimator, attribute) for attribute in _FITTED]
        partitions = cls._fitted(estimator, "partitions_")[: len(measured[0])]
        widths = hidden_widths(estimator, partitions[-1][1])
        return dict(zip(_ALLOWED, measured, strict=False)) | {
            "widths": widths and [widths[stop - 1] for _, stop in partitions],
            "layer_names": [f"layer {b}" if b - a == 1 else f"layers {a + 1}-{b}" for a, b in partitions],
            "estimator_name": type(estimator).__name__,
        }

    def plot(self, axes=None, *, line_kwargs=None, bar_kwargs=None):
        """Draw the four panels; return the display.

        Parameters
        ----------
        axes : array-like of four matplotlib Axes, default=None
            Axes to draw on, of any shape; None makes a figure.
        line_kwargs, bar_kwargs : dict, default=None
            Passed to ``matplotlib.axes.Axes.plot`` for the scores and the effective ranks, and to
            ``matplotlib.axes.Axes.bar`` for the time and the memory.
        """
        self.axes_ = score, rank, time, memory = self._axes(axes, 2, 2, figsize=(10, 5.5), sharex=True)
        if axes is None:
            self.figure_.suptitle(self.estimator_name or "")
        places = np.arange(len(self.scores_))
        line, bar = {"marker": "o"} | (line_kwargs or {}), {"color": "C1", "width": 0.6} | (bar_kwargs or {})
        (self.score_line_,) = score.plot(places, self.scores_, **line)
        (self.rank_line_,) = rank.plot(places, self.effective_ranks_, **line)
        self.seconds_bars_ = time.bar(places, self.seconds_, **bar)
        self.bytes_bars_ = memory.bar(places, self.n_bytes_ / 1e6, **bar)
        self.width_lines_ = None
        if self.widths_ is not None:
            style = {"linestyles": "--", "colors": "0.4", "label": "width"}
            self.width_lines_ = rank.hlines(self.widths_, places - 0.5, places + 0.5, **style)
            rank.legend(loc="lower right", bbox_to_anchor=(1, 1), frameon=False)  # covers no line
        if np.isnan(self.effective_ranks_).all():
            rank.text(0.5, 0.03, "not measured", transform=rank.transAxes, ha="center", color="0.4")
        self._label(places[:: -len(places) // _NAMED][::-1])
        return self

    def _label(self, named):
        """Names of some layers, the top one among them, and limits that do not blow up what is of no account."""
        style = {"rotation": 45, "ha": "right"} if len(self.scores_) > _FLAT else {}
        for ax, label in zip(self.axes_, ("score", "effective rank", "time (s)", "memory (MB)"), strict=True):
            ax.set_xticks(named, self.layer_names[named], **style)
            ax.set(xlim=(-1, len(self.scores_)), ylabel=label)
        self.axes_[0].set_ylim(*_score_limits(*self.axes_[0].dataLim.intervaly))  # of another display's scores too
        self.axes_[1].set_ylim(bottom=0)


def _score_limits(low, high):
    """Limits around scores: no tick above 1, which no score exceeds, and room for the markers of those at 1."""
    pad = max(0.2 * (high - low), 0.01)
    bottom, top = low - pad, high + pad
    return bottom, min(top, 1 + 0.05 * (1 - bottom)) if high <= 1 else top


def _checked(name, values, n_layers=None):
    """Values as an array, one for each layer, each of them possible."""
    array, allowed = numbers_of(name, values, "n_layers"), _ALLOWED[name]
    if len(array) != (n_layers or len(array)):
        raise ValueError(
            f"{name} has {len(array)} values, but scores has {n_layers}: give one for each layer, bottom layer first."
        )
    fine = np.isfinite(array) & ((array >= 0) | (allowed == "finite")) | np.isnan(array) & (allowed == _MAYBE)
    if not fine.all():
        k = int(np.argmin(fine))
        raise ValueError(f"{name} must be {allowed}, got {array[k]} for layer {k + 1}.")
    return array
