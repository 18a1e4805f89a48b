"""Boxes and arrows of the figures that are drawings; 100 units are the width of the page."""

from make_figures import OTHER
from matplotlib import pyplot
from matplotlib.patches import FancyBboxPatch

WIDTH = 7.2  # inches, the text column
INK = "#222222"


def canvas(width, height):
    """A figure for boxes and arrows, in units of a hundredth of the page."""
    drawn, axes = pyplot.subplots(figsize=(WIDTH * width / 100, WIDTH * height / 100))
    plain(axes, width, height)
    return drawn, axes


def plain(axes, width, height):
    """Turn axes into an empty canvas of square units."""
    axes.set(xlim=(0, width), ylim=(0, height), aspect="equal")
    axes.axis("off")


def panel(axes, corner, size, edge):
    """A rounded shape, pale inside."""
    shape = "round,pad=0,rounding_size=1"
    axes.add_patch(FancyBboxPatch(corner, *size, shape, fc=edge, alpha=0.15, lw=0))
    axes.add_patch(FancyBboxPatch(corner, *size, shape, fc="none", ec=edge, lw=1.3))


def box(axes, at, size, text, edge=OTHER, **kwargs):
    """A rounded box around its centre, with its text in the middle."""
    (x, y), (width, height) = at, size
    panel(axes, (x - width / 2, y - height / 2), size, edge)
    axes.text(x, y, text, ha="center", va="center", **{"fontsize": 10, "linespacing": 1.25} | kwargs)


def frame(axes, corner, size, text, edge=OTHER):
    """A rounded box that hides what is behind it, with its text in the upper left corner."""
    axes.add_patch(FancyBboxPatch(corner, *size, "round,pad=0,rounding_size=1", fc="white", lw=0))
    panel(axes, corner, size, edge)
    axes.text(corner[0] + 1.4, corner[1] + size[1] - 1.1, text, ha="left", va="top", fontsize=10, color=INK)


def arrow(axes, start, end, color="#444444", **kwargs):
    """An arrow between two points."""
    look = {"arrowstyle": "-|>", "color": color, "lw": 1.4, "shrinkA": 0, "shrinkB": 0, "mutation_scale": 11}
    axes.annotate("", end, start, arrowprops=look | kwargs)
