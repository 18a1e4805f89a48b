"""Draw the figures of the pages: ``python docs/make_figures.py [NAME ...]`` writes ``docs/figures/NAME.svg``.

A figure is a function of a module in ``docs/_figures``, marked by ``@figure("name")``, that returns a matplotlib
figure. One that is drawn from benchmark files names them, ``@figure("name", data=("small",))``: a digest of these
files is kept in the drawing, and a test says which figures are older than their data. Needs the extra ``docs``.
"""

import argparse
import hashlib
import importlib
import json
import re
import sys
from dataclasses import dataclass
from pathlib import Path

DOCS = Path(__file__).resolve().parent
SCRIPTS, TARGETS, BENCHMARKS = DOCS / "_figures", DOCS / "figures", DOCS / "benchmarks"
DIGEST = re.compile(r"<!-- data: (\w+) -->")

# Colours that are told apart by the colour-blind and on white (Okabe and Ito 2008); ours first, backpropagation second.
OURS, BACKPROP, TREES, OTHER, FIFTH, SIXTH = "#0072B2", "#D55E00", "#009E73", "#7F7F7F", "#CC79A7", "#E69F00"

STYLE = {
    "figure.figsize": (7.2, 3.6),
    "figure.constrained_layout.use": True,
    "figure.facecolor": "white",
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans", "Liberation Sans", "sans-serif"],
    "font.size": 10,
    "axes.prop_cycle": f"cycler('color', {[OURS, BACKPROP, TREES, FIFTH, SIXTH, OTHER]})",
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "grid.alpha": 0.3,
    "legend.frameon": False,
    "svg.hashsalt": "sklearn_analytic",
    "svg.fonttype": "path",
}

REGISTERED = {}


@dataclass(frozen=True)
class Figure:
    """How one figure is drawn, and the benchmark files that it is drawn from."""

    draw: callable
    data: tuple


def figure(name, data=()):
    """Register a function that returns a matplotlib figure."""

    def register(draw):
        """Refuse a second figure of the same name."""
        if name in REGISTERED and REGISTERED[name].draw.__module__ != draw.__module__:
            raise ValueError(f"two figures are called {name}")
        REGISTERED[name] = Figure(draw, tuple(data))
        return draw

    return register


def record_of(name):
    """A committed benchmark file."""
    return json.loads((BENCHMARKS / f"{name}.json").read_text())


def summary_of(name):
    """{who: row} of the summary of a benchmark file."""
    return {row["contender"]: row for row in record_of(name)["summary"]}


def decades(axes, ticks):
    """A logarithmic axis with these marks alone."""
    from matplotlib.ticker import NullFormatter, NullLocator

    axes.set_xscale("log")
    axes.set_xticks(ticks, [f"{tick:,g}" for tick in ticks])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_minor_formatter(NullFormatter())


def registered():
    """All figures by name."""
    sys.modules.setdefault("make_figures", sys.modules[__name__])
    if str(SCRIPTS) not in sys.path:
        sys.path.insert(0, str(SCRIPTS))
    for path in sorted(SCRIPTS.glob("*.py")):
        importlib.import_module(path.stem)
    return REGISTERED


def digest(names):
    """A short digest of benchmark files."""
    whole = hashlib.sha256()
    for name in names:
        whole.update((BENCHMARKS / f"{name}.json").read_bytes())
    return whole.hexdigest()[:16]


def write(name):
    """Draw one figure and write its file."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot, style

    made = REGISTERED[name]
    target = TARGETS / f"{name}.svg"
    with style.context(["default", STYLE]):
        drawn = made.draw()
        drawn.savefig(target, metadata={"Date": None, "Creator": None})
        pyplot.close(drawn)
    text = re.sub(r"[ \t]+$", "", target.read_text(), flags=re.M)
    if made.data:
        text = text.replace("<svg ", f"<!-- data: {digest(made.data)} -->\n<svg ", 1)
    target.write_text(text)


def main():
    """Draw the figures that are named, or all."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("names", nargs="*", help="figures to draw (default: all)")
    names = parser.parse_args().names
    known = registered()
    unknown = sorted(set(names) - known.keys())
    if unknown:
        parser.error(f"no such figures: {', '.join(unknown)}; there are {', '.join(sorted(known))}")
    for name in names or sorted(known):
        write(name)
        print(TARGETS / f"{name}.svg", flush=True)


if __name__ == "__main__":
    main()
