"""Figures of balanced streams and of rows that leave, and of what the benchmark file says of both."""

import numpy as np
from make_figures import BACKPROP, FIFTH, OTHER, OURS, SIXTH, TREES, decades, figure, record_of
from matplotlib import pyplot
from schematics import arrow, box, canvas


@figure("balance")
def balance():
    """A statistic for each class, weighed at the solve."""
    drawn, axes = canvas(100, 38)
    for number, y in enumerate((31, 19, 7)):
        box(axes, (10, y), (18, 8), f"block {number + 1}")
    for name, y, colour in (("a", 31, OURS), ("b", 19, TREES), ("c", 7, FIFTH)):
        box(axes, (43, y), (22, 8), f"statistic of class {name}", colour, fontsize=9)
        for begin in (31, 19, 7):
            arrow(axes, (19, begin), (32, y), "#BBBBBB")
        arrow(axes, (54, y), (70, 19 + (y - 19) / 4), colour)
        at = (62 if y != 19 else 55.5, 19 + 0.68 * (y - 19) + 1.2 * np.sign(y - 18))
        axes.text(*at, f"× weight of {name}", color=colour, fontsize=8.5)
    box(axes, (75, 19), (10, 10), "sum")
    arrow(axes, (80, 19), (86, 19))
    box(axes, (92.5, 19), (13, 10), "readout", SIXTH)
    return drawn


@figure("forgetting")
def forgetting():
    """What a row leaves, and what stays as it was built."""
    drawn, axes = canvas(100, 44)
    box(axes, (12, 22), (20, 10), "rows to forget", BACKPROP)
    for y, name, what in ((36, "statistic", "subtract"), (22, "audit rows", "take off")):
        box(axes, (55, y), (24, 9), name, OURS)
        arrow(axes, (22, 22 + (y - 22) / 5), (43, y), BACKPROP)
        axes.text(32, 22 + 0.62 * (y - 22) + 1.5, what, color=BACKPROP, ha="right" if y > 22 else "center")
        arrow(axes, (67, y), (80, 29 + (y - 29) / 3), TREES)
    box(axes, (55, 7), (40, 9), "layers, trees, encodings: stay", OTHER)
    box(axes, (90, 29), (19, 11), "readout,\nsolved anew", TREES)
    arrow(axes, (75, 9), (86, 23.5), OTHER)
    return drawn


STREAMS = {
    "plain_balanced_accuracy": ("stream without weights", OTHER, "o"),
    "balanced_balanced_accuracy": ("balanced stream", OURS, "o"),
    "whole_balanced_accuracy": ("balanced fit of all rows", SIXTH, "|"),
}
SETS = {"ann_thyroid": "ann-thyroid", "page_blocks": "page blocks", "bank_marketing": "bank marketing"}
SETS |= {"credit_default": "credit default", "musk2": "musk"}


@figure("bench_one_statistic", data=("one_statistic",))
def one_statistic():
    """Balanced accuracy of streams, and how many times longer than forgetting a refit takes."""
    summary = record_of("one_statistic")["summary"]
    lines = [line for line in summary["balance"] if line["contender"] == "ClosedFormMLP"]
    lines.sort(key=lambda line: -line["plain_balanced_accuracy"])
    drawn, (left, right) = pyplot.subplots(1, 2, figsize=(7.2, 3), width_ratios=(1.5, 1))
    places = np.arange(len(lines))
    for key, (name, colour, mark) in STREAMS.items():
        left.plot([line[key] for line in lines], places, mark, color=colour, label=name, ms=11 if mark == "|" else 6)
    for place, line in zip(places, lines, strict=True):
        ends = [line[key] for key in ("plain_balanced_accuracy", "balanced_balanced_accuracy")]
        left.plot(ends, [place, place], color=OURS, lw=1, zorder=0)
    left.set_yticks(places, [SETS.get(line["set"], line["set"]) for line in lines])
    left.set_xlabel("balanced accuracy, ClosedFormMLP")
    left.grid(axis="y", visible=False)
    kinds = {"ClosedFormMLP": OURS, "CPNetClassifier": FIFTH, "BRMPClassifier": SIXTH}
    for name, colour in kinds.items():
        found = [line for line in summary["forget"] if line["contender"] == name and line["rows"] == "of the fit"]
        shares = sorted({line["share"] for line in found})
        times = [np.median([line["times_refit"] for line in found if line["share"] == share]) for share in shares]
        right.plot([100 * share for share in shares], times, "o-", color=colour, label=name)
    decades(right, [1, 10, 50])
    right.set(xlabel="% of the rows forgotten", ylabel="refit / forget, processor time")
    right.set_ylim(bottom=0)
    right.axhline(1, color=OTHER, lw=0.8, ls=":")
    right.legend(fontsize=8)
    left.legend(fontsize=8, loc="lower left")
    return drawn
