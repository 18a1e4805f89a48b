"""Which module did what, and when, as a figure: measured in a fit, or ideal."""

from itertools import pairwise

import numpy as np

from sklearn_analytic.decoupled.pipeline import DELAYS, ORDERS, published_schedule
from sklearn_analytic.decoupled.simulation import ModuleCosts, simulate
from sklearn_analytic.estimator.checks import check_choice, check_positive_integer
from sklearn_analytic.estimator.plotting import EstimatorDisplay

# Light, dark and in between, so that they differ in grey too; an update that takes no time is still a line.
_KINDS = {
    "forward": {"color": "#cfe2f3", "edgecolor": "#5b7f9d", "linewidth": 0.5},
    "backward": {"color": "#27598a", "edgecolor": "white", "linewidth": 0.5},
    "update": {"color": "#e69f00", "edgecolor": "#e69f00", "linewidth": 1.0},
}
_NUMBERS = {"forward": "black", "backward": "white"}
_HEIGHT = 0.7  # of a bar; rows are 1 apart
_DIGIT = 0.01  # of the width of the axes, which a digit of 7 points takes at most in a figure of its own


class TimelineDisplay(EstimatorDisplay):
    """Operations of modules over time: a row per module, the first at the bottom, the last (at the loss) on top.

    A gap in a row is time in which the module waits. One batch is followed on its way up and down.
    :meth:`from_estimator` draws the last 12 batches of a :class:`DecoupledMLPClassifier`, or others by
    ``first_batch`` and ``n_batches``, of the last few hundred; :meth:`from_schedule` needs no estimator.

    Parameters
    ----------
    timeline : structured ndarray
        With the fields module (from 0, bottom to top), kind ("forward", "backward", "update"), batch, begin and end:
        ``timeline_`` of an estimator, or what ``sklearn_analytic.decoupled.simulate`` returns.
    first_batch, n_batches : int or None, default=None
        The batches to show, from the first forward to the last backward pass of theirs, with what else happens in
        that time. Without ``first_batch`` the last ones that are kept in full; without ``n_batches`` all of these.
    scale, unit : float and str, default=1000.0, "ms"
        Units of the axis in a unit of ``begin`` and ``end``, and their name.
    recomputes : bool, default=False
        Whether backward passes include a second forward pass, for the legend.
    title : str or None, default=None
        Title of the axes.

    Attributes
    ----------
    timeline_ : structured ndarray
        What is drawn.
    batches_, n_modules_ : ndarray of int, int
        The batches to show, and the rows.
    bars_ : dict of matplotlib BarContainer
        {kind: bars}, in the order of ``timeline_``.
    numbers_ : list of matplotlib Text
        Batch numbers, in bars that have room for them.
    followed_, path_ : int or None, list of matplotlib Annotation
        The batch that is followed, and arrows from one module to the next along its way.
    ax_, figure_ : matplotlib Axes, matplotlib Figure
        Where they are.

    Examples
    --------
    >>> from sklearn_analytic import TimelineDisplay
    >>> display = TimelineDisplay.from_schedule("fdg", n_modules=3, n_batches=8)
    >>> [label.get_text() for label in display.ax_.get_yticklabels()]
    ['module 1', 'module 2', 'module 3 (loss)']
    """

    _advice = (
        "give a DecoupledMLPClassifier or a DecoupledMLPRegressor (of a pipeline, the last step); "
        "TimelineDisplay.from_schedule needs no estimator."
    )

    def __init__(
        self, timeline, *, first_batch=None, n_batches=None, scale=1e3, unit="ms", recomputes=False, title=None
    ):
        _check_timeline(timeline)
        self.n_modules_ = int(timeline["module"].max()) + 1
        self.batches_ = _window(timeline, 2 * self.n_modules_, first_batch, n_batches)
        mine = timeline[np.isin(timeline["batch"], self.batches_)]
        begin, end = mine["begin"].min(), mine["end"].max()
        self.timeline_ = timeline[(timeline["end"] >= begin) & (timeline["begin"] <= end)].copy()
        for name in ("begin", "end"):
            self.timeline_[name] = (self.timeline_[name] - begin) * scale
        self._end = (end - begin) * scale
        self.unit, self.recomputes, self.title = unit, recomputes, title

    @classmethod
    def _measured(cls, estimator):
        """The last batches, and what parameters say of their passes."""
        return {
            "timeline": cls._fitted(estimator, "timeline_"),
            "n_batches": 12,
            "recomputes": estimator._method().rule().recompute,
            "title": f"{type(estimator).__name__}(schedule={estimator.schedule!r})",
        }

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
        **kwargs,
    ):
        """Return the display of an ideal epoch: a backward pass takes two forward passes, and nothing else takes time.

        Parameters
        ----------
        schedule : {"fdg", "ddg", "adl", "dtrp", "backprop"}, default="fdg"
            As of :class:`DecoupledMLPClassifier`.
        n_modules, n_batches : int, default=3, 8
            Modules of equal cost, each on a processor of its own, and batches of the epoch.
        accumulation_steps, operation_order, recompute : int, str, bool or "auto"
            As of :class:`DecoupledMLPClassifier`.
        **kwargs : dict
            Arguments of :meth:`plot`.
        """
        check_choice("schedule", schedule, DELAYS)
        check_choice("operation_order", operation_order, ORDERS)
        counts = {"n_modules": n_modules, "n_batches": n_batches, "accumulation_steps": accumulation_steps}
        for name, count in counts.items():
            check_positive_integer(name, count)
        rule = published_schedule(schedule, operation_order, recompute, accumulation=accumulation_steps)
        timeline = simulate(rule, [ModuleCosts(1.0, 2.0)] * n_modules, n_batches)
        units = {"scale": 1.0, "unit": "forward passes of a module"}
        return cls(timeline, **units, recomputes=rule.recompute, title=f"{schedule=}, ideal").plot(**kwargs)

    def plot(self, ax=None, *, follow="middle", legend=True, bar_kwargs=None):
        """Draw the operations; return the display.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Axes to draw on; None makes a figure.
        follow : "middle", int or None, default="middle"
            The batch whose passes are outlined and joined by arrows: the middle one of those shown, a given one, none.
        legend : bool, default=True
            Whether to explain the colours, right of the axes.
        bar_kwargs : dict, default=None
            Passed to ``matplotlib.axes.Axes.barh`` for every bar.
        """
        self.followed_ = self._followed(follow)
        (self.ax_,) = self._axes(ax, figsize=(min(7 + 0.4 * len(self.batches_), 14), 1.3 + 0.5 * self.n_modules_))
        names = [f"module {k + 1}" for k in range(self.n_modules_)]
        self.ax_.set_yticks(range(self.n_modules_), [*names[:-1], f"{names[-1]} (loss)"])
        self.ax_.set(xlim=(-0.005 * self._end, 1.005 * self._end), xlabel=f"time ({self.unit})", title=self.title)
        self.bars_ = {}
        for kind, look in _KINDS.items():
            label = "backward, with recomputation" if self.recomputes and kind == "backward" else kind
            self.bars_[kind] = self._draw_bars(self._all(kind), {"label": label} | look | (bar_kwargs or {}))
        self.path_ = [] if self.followed_ is None else self._draw_path()
        self.numbers_ = [text for kind, color in _NUMBERS.items() for text in self._draw_numbers(kind, color)]
        if legend:
            self.ax_.legend(loc="upper left", bbox_to_anchor=(1, 1), frameon=False)
        return self

    def _followed(self, follow):
        """The batch to follow, one of those shown."""
        batch = self.batches_[len(self.batches_) // 2] if follow == "middle" else follow
        if batch is not None and batch not in self.batches_:
            shown = f"{self.batches_[0]} to {self.batches_[-1]}"
            raise ValueError(f"follow={follow!r} is no batch of those shown, {shown}: give one, 'middle' or None.")
        return None if batch is None else int(batch)

    def _all(self, kind):
        """The operations of one kind."""
        return self.timeline_[self.timeline_["kind"] == kind]

    def _draw_bars(self, operations, style):
        """A bar for each operation, in the row of its module."""
        begin, lengths = operations["begin"], operations["end"] - operations["begin"]
        return self.ax_.barh(operations["module"], lengths, left=begin, height=_HEIGHT, **style)

    def _draw_path(self):
        """Outlines around the passes of one batch, and arrows from each module to the next."""
        mine = self.timeline_[(self.timeline_["batch"] == self.followed_) & (self.timeline_["kind"] != "update")]
        outline = {"facecolor": "none", "edgecolor": "black", "linewidth": 1.8}
        self._draw_bars(mine, {"label": f"batch {self.followed_}"} | outline)
        arrows, arrow = [], {"arrowstyle": "-|>", "shrinkA": 0, "shrinkB": 0, "mutation_scale": 7, "color": "black"}
        for here, there in pairwise(mine[np.argsort(mine["begin"], kind="stable")]):
            way = np.sign(int(there["module"]) - int(here["module"])) * _HEIGHT / 2
            if way:
                ends = (there["begin"], there["module"] - way), (here["end"], here["module"] + way)
                arrows.append(self.ax_.annotate("", *ends, arrowprops=arrow))
        return arrows

    def _draw_numbers(self, kind, color):
        """Batch numbers in bars that are wide enough."""
        mine, room = self._all(kind), _DIGIT * np.ptp(self.ax_.get_xlim())
        numbers = mine["batch"].astype(str)
        fits = mine["end"] - mine["begin"] > room * np.char.str_len(numbers)
        style = {"label_type": "center", "fontsize": 7, "color": color, "clip_on": True}
        texts = self.ax_.bar_label(self.bars_[kind], np.where(fits, numbers, ""), **style)
        return [text for text in texts if text.get_text()]


def _check_timeline(timeline):
    """Refuse what is no timeline."""
    fields = getattr(getattr(timeline, "dtype", None), "names", None) or ()
    missing = [name for name in ("module", "kind", "batch", "begin", "end") if name not in fields]
    if missing:
        raise ValueError(f"timeline must be a structured array with the fields of timeline_; it lacks {missing}.")
    if not len(timeline):
        raise ValueError("timeline has no operation: fit for one epoch at least.")


def _window(timeline, n_passes, first_batch, n_batches):
    """The batches to show, of those with a forward and a backward pass in every module."""
    check_positive_integer("n_batches", n_batches, None)
    batches, counts = np.unique(timeline["batch"][timeline["kind"] != "update"], return_counts=True)
    whole = batches[counts == n_passes]
    if not len(whole):
        raise ValueError(
            "timeline has no batch with a forward and a backward pass of every module: train on more batches than are "
            "on their way at once, or with pipeline__drain=True."
        )
    if first_batch is None:
        return whole[-n_batches if n_batches else None :]
    if first_batch not in whole:
        kept = f"{whole[0]} to {whole[-1]}, or None for the last ones"
        raise ValueError(f"first_batch={first_batch!r} is not kept in full: give a batch of {kept}.")
    return whole[np.searchsorted(whole, first_batch) :][:n_batches]
