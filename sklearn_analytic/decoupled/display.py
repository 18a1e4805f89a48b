"""Which module did what, and when, as a figure: measured in a fit, or ideal."""

from itertools import pairwise

import numpy as np

from sklearn_analytic.decoupled.pipeline import DELAYS, ORDERS, published_rule
from sklearn_analytic.decoupled.simulation import ModuleCosts, simulate
from sklearn_analytic.estimator.base import check_choice, check_positive_integer
from sklearn_analytic.estimator.plotting import fitted_attribute, pyplot_for

_ADVICE = (
    "give a DecoupledMLPClassifier or a DecoupledMLPRegressor (of a pipeline, the last step); "
    "TimelineDisplay.from_schedule needs no estimator."
)
_FIELDS = ("module", "kind", "batch", "begin", "end")
_MILLISECONDS = 1e3
_HEIGHT = 0.7  # of a bar; rows are 1 apart
_TEXT_SIZE, _DIGIT = 7, 0.01  # points; of the width of the axes, which a digit takes at most in a figure of its own
# {kind: (label, style of bars, colour of numbers)}: light, dark and in between, so that they differ in grey too.
# Updates have an edge of their colour: one that takes no time is still a line.
_KINDS = {
    "forward": ("forward", {"color": "#cfe2f3", "edgecolor": "#5b7f9d", "linewidth": 0.5}, "black"),
    "backward": ("backward", {"color": "#27598a", "edgecolor": "white", "linewidth": 0.5}, "white"),
    "update": ("update", {"color": "#e69f00", "edgecolor": "#e69f00", "linewidth": 1.0}, None),
}
_RECOMPUTED = "backward, with recomputation"
_FOLLOWED = {"facecolor": "none", "edgecolor": "black", "linewidth": 1.8}
_ARROW = {"arrowstyle": "-|>", "color": "black", "linewidth": 1.0, "shrinkA": 0, "shrinkB": 0, "mutation_scale": 7}


class TimelineDisplay:
    """Operations of modules over time: a row per module, the first at the bottom, the last (at the loss) on top.

    A gap in a row is time in which the module waits. One batch is followed on its way up and down. Draw a fit with
    :meth:`from_estimator`, a schedule without measuring anything with :meth:`from_schedule`. It needs matplotlib
    (``pip install "sklearn_analytic[plot]"``).

    Parameters
    ----------
    timeline : structured ndarray
        With the fields module (from 0, bottom to top), kind ("forward", "backward", "update"), batch, begin and end:
        ``timeline_`` of an estimator, or what ``sklearn_analytic.decoupled.simulate`` returns.
    first_batch, n_batches : int or None, default=None
        The batches to show, from the first forward to the last backward pass of theirs; operations of other batches
        in that time are shown too. Without ``first_batch`` the last ones of which every operation is kept; without
        ``n_batches`` all of these.
    scale : float, default=1000.0
        Units of the axis in a unit of ``begin`` and ``end``.
    unit : str, default="ms"
        Name of these units.
    recomputes : bool, default=False
        Whether backward passes include a second forward pass, for the legend.
    title : str or None, default=None
        Title of the axes.

    Attributes
    ----------
    timeline_ : structured ndarray
        What is drawn.
    batches_ : ndarray of int
        The batches to show.
    n_modules_ : int
        Rows.
    bars_ : dict of matplotlib BarContainer
        {kind: bars}, in the order of ``timeline_``.
    numbers_ : list of matplotlib Text
        Batch numbers, in bars that have room for them.
    followed_ : int or None
        The batch that is followed.
    path_ : list of matplotlib Annotation
        Arrows from one module to the next along its way.
    ax_ : matplotlib Axes
        Axes of the bars.
    figure_ : matplotlib Figure
        Figure of the axes.

    See Also
    --------
    DecoupledMLPClassifier : Records what its modules do.

    Examples
    --------
    >>> import matplotlib
    >>> from sklearn_analytic import TimelineDisplay
    >>> matplotlib.use("Agg")  # draws to files, without a screen
    >>> display = TimelineDisplay.from_schedule("fdg", n_modules=3, n_batches=8)
    >>> [label.get_text() for label in display.ax_.get_yticklabels()]
    ['module 1', 'module 2', 'module 3 (loss)']
    >>> {kind: len(bars) for kind, bars in display.bars_.items()}
    {'forward': 24, 'backward': 24, 'update': 24}
    """

    def __init__(
        self,
        timeline,
        *,
        first_batch=None,
        n_batches=None,
        scale=_MILLISECONDS,
        unit="ms",
        recomputes=False,
        title=None,
    ):
        timeline = _checked(timeline)
        self.n_modules_ = int(timeline["module"].max()) + 1
        self.batches_ = _window(_whole_batches(timeline, self.n_modules_), first_batch, n_batches)
        self.timeline_ = _at_time_of(timeline, self.batches_, scale)
        self.unit, self.recomputes, self.title = unit, recomputes, title

    @classmethod
    def from_estimator(cls, estimator, *, n_batches=12, first_batch=None, follow="middle", legend=True, ax=None):
        """Draw what the modules of a fitted estimator did, measured.

        Parameters
        ----------
        estimator : object
            A fitted :class:`DecoupledMLPClassifier` or :class:`DecoupledMLPRegressor`. For a pipeline give its last
            step.
        n_batches : int, default=12
            How many batches to show.
        first_batch : int or None, default=None
            The first of them, counted from 0 over all epochs; None shows the last batches of training. Only the last
            few hundred batches are kept.
        follow : "middle", int or None, default="middle"
            The batch to follow.
        legend : bool, default=True
            Whether to explain the colours, right of the axes.
        ax : matplotlib Axes, default=None
            Axes to draw on; None makes a figure.

        Returns
        -------
        display : TimelineDisplay
            The display, drawn.
        """
        timeline = fitted_attribute(estimator, "timeline_", _ADVICE)
        recompute = estimator._rule().recompute
        name = f"{type(estimator).__name__}(schedule={estimator.schedule!r})"
        display = cls(timeline, first_batch=first_batch, n_batches=n_batches, recomputes=recompute, title=name)
        return display.plot(ax, follow=follow, legend=legend)

    @classmethod
    def from_schedule(
        cls,
        schedule="fdg",
        *,
        n_modules=3,
        n_batches=8,
        accumulation_steps=1,
        operation_order="auto",
        recompute="auto",
        follow="middle",
        legend=True,
        ax=None,
    ):
        """Draw an epoch of an ideal machine: a backward pass takes two forward passes, and nothing else takes time.

        Parameters
        ----------
        schedule : {"fdg", "ddg", "adl", "dtrp", "backprop"}, default="fdg"
            As of :class:`DecoupledMLPClassifier`, as are ``accumulation_steps``, ``operation_order`` and
            ``recompute``.
        n_modules, n_batches : int, default=3, 8
            Modules of equal cost, each on a processor of its own, and batches of the epoch.
        accumulation_steps : int, default=1
            Backward passes per update.
        operation_order : {"auto", "backward_first", "forward_first"}, default="auto"
            What a module does first.
        recompute : bool or "auto", default="auto"
            Whether modules run forward again before a backward pass.
        follow : "middle", int or None, default="middle"
            The batch to follow.
        legend : bool, default=True
            Whether to explain the colours, right of the axes.
        ax : matplotlib Axes, default=None
            Axes to draw on; None makes a figure.

        Returns
        -------
        display : TimelineDisplay
            The display, drawn.
        """
        check_choice("schedule", schedule, DELAYS)
        check_choice("operation_order", operation_order, ORDERS)
        for name, value in (
            ("n_modules", n_modules),
            ("n_batches", n_batches),
            ("accumulation_steps", accumulation_steps),
        ):
            check_positive_integer(name, value)
        rule = published_rule(schedule, operation_order, recompute, accumulation=accumulation_steps)
        timeline = simulate(rule, [ModuleCosts(1.0, 2.0)] * n_modules, n_batches)
        display = cls(
            timeline,
            scale=1.0,
            unit="forward passes of a module",
            recomputes=rule.recompute,
            title=f"schedule={schedule!r}, ideal",
        )
        return display.plot(ax, follow=follow, legend=legend)

    def plot(self, ax=None, *, follow="middle", legend=True, bar_kwargs=None):
        """Draw the operations.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Axes to draw on; None makes a figure.
        follow : "middle", int or None, default="middle"
            The batch whose operations are outlined and joined by arrows: the middle one of those shown, a given one,
            or none.
        legend : bool, default=True
            Whether to explain the colours, right of the axes.
        bar_kwargs : dict, default=None
            Passed to ``matplotlib.axes.Axes.barh`` for every bar.

        Returns
        -------
        display : TimelineDisplay
            This display, with ``ax_``, ``figure_`` and what was drawn.
        """
        self.followed_ = self._followed(follow)
        self.ax_ = self._new_axes() if ax is None else ax
        self.figure_ = self.ax_.figure
        self._prepare()
        self.bars_ = {kind: self._draw_bars(kind, bar_kwargs or {}) for kind in _KINDS}
        self.path_ = [] if self.followed_ is None else self._draw_path()
        if legend:
            self.ax_.legend(loc="upper left", bbox_to_anchor=(1.01, 1.0), borderaxespad=0.0, frameon=False)
        self.numbers_ = self._draw_numbers()
        return self

    # ---- what is drawn ----

    def _new_axes(self):
        """A figure that is wider for more batches and higher for more modules."""
        width = np.clip(3.5 + 0.55 * len(self.batches_) + 0.4 * self.n_modules_, 7.0, 14.0)  # inches
        size = (width, 1.3 + 0.5 * self.n_modules_)
        return pyplot_for(type(self).__name__).subplots(figsize=size, layout="constrained")[1]

    def _prepare(self):
        """Rows with names, and the time that is shown."""
        names = [f"module {k + 1}" for k in range(self.n_modules_)]
        names[-1] += " (loss)"
        inside = np.isin(self.timeline_["batch"], self.batches_)
        begin, end = self.timeline_["begin"][inside].min(), self.timeline_["end"][inside].max()
        self.ax_.set_yticks(range(self.n_modules_), names)
        limits = {"xlim": (begin - 0.005 * (end - begin), end + 0.005 * (end - begin))}
        self.ax_.set(ylim=(-0.6, self.n_modules_ - 0.4), xlabel=f"time ({self.unit})", title=self.title, **limits)

    def _draw_bars(self, kind, style):
        """All bars of one kind."""
        label, look, _ = _KINDS[kind]
        label = _RECOMPUTED if self.recomputes and kind == "backward" else label
        mine = self.timeline_[self.timeline_["kind"] == kind]
        zorder = {"zorder": 2.5 if kind == "update" else 2}
        return _bars(self.ax_, mine, {"label": label} | zorder | look | style)

    def _draw_path(self):
        """Outlines around the passes of one batch, and arrows from each module to the next."""
        mine = self.timeline_[(self.timeline_["batch"] == self.followed_) & (self.timeline_["kind"] != "update")]
        mine = mine[np.argsort(mine["begin"], kind="stable")]
        _bars(self.ax_, mine, {"label": f"batch {self.followed_}", "zorder": 3} | _FOLLOWED)
        arrows = []
        for here, there in pairwise(mine):
            way = np.sign(int(there["module"]) - int(here["module"])) * _HEIGHT / 2
            if way:
                ends = (there["begin"], there["module"] - way), (here["end"], here["module"] + way)
                arrows.append(self.ax_.annotate("", *ends, arrowprops=_ARROW, zorder=4))
        return arrows

    def _draw_numbers(self):
        """Batch numbers in bars that are wide enough."""
        low, high = self.ax_.get_xlim()
        room, numbers = _DIGIT * (high - low), []
        for kind, bars in self.bars_.items():
            color = _KINDS[kind][2]
            if color is None:
                continue
            batches = self.timeline_["batch"][self.timeline_["kind"] == kind]
            widths = [min(bar.get_x() + bar.get_width(), high) - max(bar.get_x(), low) for bar in bars]
            texts = [str(batch) if w > room * len(str(batch)) else "" for batch, w in zip(batches, widths, strict=True)]
            style = {"label_type": "center", "fontsize": _TEXT_SIZE, "color": color, "clip_on": True}
            numbers += [text for text in self.ax_.bar_label(bars, texts, **style) if text.get_text()]
        return numbers

    def _followed(self, follow):
        """The batch to follow, one of those shown."""
        if follow is None:
            return None
        batch = self.batches_[len(self.batches_) // 2] if follow == "middle" else follow
        if batch not in self.batches_:
            raise ValueError(
                f"follow={follow!r} is no batch of those shown, {self.batches_[0]} to {self.batches_[-1]}: give one "
                "of them, 'middle' or None."
            )
        return int(batch)


def _bars(ax, operations, style):
    """A bar for each operation, in the row of its module."""
    lengths = operations["end"] - operations["begin"]
    return ax.barh(operations["module"], lengths, left=operations["begin"], height=_HEIGHT, **style)


def _checked(timeline):
    """The timeline, or an error that says what one is."""
    names = getattr(getattr(timeline, "dtype", None), "names", None) or ()
    missing = [name for name in _FIELDS if name not in names]
    if missing:
        raise ValueError(
            f"timeline must be a structured array with the fields {_FIELDS}, as timeline_ of a decoupled estimator; "
            f"it lacks {missing}."
        )
    if not len(timeline):
        raise ValueError("timeline has no operation: fit for one epoch at least.")
    return timeline


def _whole_batches(timeline, n_modules):
    """The batches of which every module's forward and backward pass is there, in order."""
    passes = timeline["batch"][timeline["kind"] != "update"]
    batches, counts = np.unique(passes, return_counts=True)
    whole = batches[counts == 2 * n_modules]
    if not len(whole):
        raise ValueError(
            "timeline has no batch with a forward and a backward pass of every module: train on more batches than are "
            "on their way at once, or with drain=True."
        )
    return whole


def _window(whole, first_batch, n_batches):
    """The batches to show."""
    if n_batches is not None:
        check_positive_integer("n_batches", n_batches)
    if first_batch is None:
        return whole if n_batches is None else whole[-n_batches:]
    if first_batch not in whole:
        raise ValueError(
            f"first_batch={first_batch!r} is not kept in full: give a batch of {whole[0]} to {whole[-1]}, or None for "
            "the last ones."
        )
    return whole[np.searchsorted(whole, first_batch) :][:n_batches]


def _at_time_of(timeline, batches, scale):
    """All operations while these batches are on their way, in other units from the first begin of theirs."""
    mine = timeline[np.isin(timeline["batch"], batches)]
    origin = mine["begin"].min()
    found = timeline[(timeline["end"] >= origin) & (timeline["begin"] <= mine["end"].max())].copy()
    for name in ("begin", "end"):
        found[name] = (found[name] - origin) * scale
    return found
