"""Rows beyond the range of the training rows as nodes of ONNX: what is read for them, and how outputs go on."""

from dataclasses import dataclass

import numpy as np

from sklearn_analytic.export.onnx_graph import Value

_END = np.array([np.iinfo(np.int64).max])
_FIRST = np.array([0])


@dataclass(frozen=True)
class Beyond:
    """Numbers of the rows outside (k,), their distances in steps (k, 1), and the number of all rows (1,)."""

    index: Value
    ratio: Value
    n_rows: Value


def rows_to_continue(g, continuation, x):
    """Return the nearest rows inside, with rows further inward of those outside below them, and :class:`Beyond`."""
    c, wide = continuation, g.cast(x, np.float64)
    inside = _between(g, wide, c.low, c.high)
    over = g.op("Sub", _between(g, wide, c.low - c.reach, c.high + c.reach), inside)
    below = g.op("Less", over, np.array(0.0), dtype=bool)
    low, high = (g.held(np.asarray(step, np.float64)) for step in (c.from_low, c.from_high))
    steps = g.op("Where", below, low, high, dtype=np.float64)
    shares = g.op("ReduceSum", g.op("Div", g.op("Abs", over), steps), np.array([1]), keepdims=1)
    outside = g.op("Greater", g.op("Squeeze", shares, np.array([1])), np.array(0.0), dtype=bool)
    index = g.op("Squeeze", g.op("NonZero", outside, dtype=np.int64), _FIRST)
    edge, way, ratio = (g.op("Gather", value, index, axis=0) for value in (inside, over, shares))
    rows = g.concatenate([inside, g.op("Sub", edge, g.op("Div", way, ratio))], axis=0)
    n_rows = g.op("Shape", wide, dtype=np.int64, start=0, end=1)
    return g.cast(rows, x.dtype), Beyond(index, ratio, n_rows)


def continued(g, outputs, beyond):
    """Return the outputs of all rows, straight on where they lie outside."""
    own = g.op("Slice", outputs, _FIRST, beyond.n_rows, _FIRST)
    back = g.op("Slice", outputs, beyond.n_rows, _END, _FIRST)
    edge = g.op("Gather", own, beyond.index, axis=0)
    rise = g.op("Mul", g.op("Sub", edge, back), g.cast(beyond.ratio, outputs.dtype))
    places = g.op("Unsqueeze", beyond.index, np.array([1]))
    return g.op("ScatterND", own, places, g.op("Add", edge, rise))


def _between(g, x, low, high):
    """Rows clipped to ends of their own per column."""
    return g.op("Min", g.op("Max", x, low), high)
