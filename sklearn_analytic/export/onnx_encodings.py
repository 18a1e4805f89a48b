"""Input encodings as nodes of ONNX: one writer per class of encoding."""

import numpy as np

from sklearn_analytic.features import InputEncoding, QuantileEncoding, WeightedEncoding

_CLIP = 3.0  # where robust z-scores level off
_FLOAT32_SLOPE = 1e30  # columns too small for float32 arithmetic are encoded in float64


def _encoded(g, encoding, x):
    """Ramps, clipped scores and steps, or Hellinger rows."""
    if encoding.hellinger:
        return g.op("Sub", _hellinger(g, _picked(g, x, encoding.source)), encoding.centre)
    wide = np.max(encoding.slope, initial=0.0) > _FLOAT32_SLOPE
    z = _picked(g, g.cast(x, np.float64) if wide else x, encoding.source)
    z = g.op("Mul", g.op("Sub", z, encoding.shift), encoding.slope)
    ends = np.cumsum([0, encoding.n_ramps, encoding.n_scores])
    encode = (_ramps, _scores, lambda g, part: part)
    parts = [
        function(g, g.columns(z, int(start), int(stop)))
        for function, start, stop in zip(encode, ends, [*ends[1:], encoding.n_columns], strict=True)
        if stop > start
    ]
    z = g.op("Mul", g.concatenate(parts), encoding.scale)
    return g.cast(g.op("Sub", z, encoding.centre), x.dtype)


def _picked(g, x, source):
    """Columns, repeated and reordered."""
    return g.op("Gather", x, np.asarray(source, dtype=np.int64), axis=1)


def _ramps(g, z):
    """Bins, clipped to 0..1."""
    return g.op("Clip", z, np.array(0.0), np.array(1.0))


def _scores(g, z):
    """z-scores that level off."""
    share = g.op("Div", z, np.array(_CLIP))
    root = g.op("Sqrt", g.op("Add", g.op("Mul", share, share), np.array(1.0)))
    return g.op("Div", z, root)


def _hellinger(g, x):
    """Square roots over their norm; a row without anything stays 0."""
    roots = g.op("Sqrt", g.op("Relu", x))
    norm = g.op("Sqrt", g.op("ReduceSum", g.op("Mul", roots, roots), np.array([1]), keepdims=1))
    empty = g.cast(g.op("Equal", norm, np.array(0.0), dtype=bool), x.dtype)
    return g.op("Div", roots, g.op("Add", norm, empty))


def _weighted(g, encoding, x):
    """Factors on the columns of another encoding."""
    return g.op("Mul", ENCODINGS[type(encoding.base)](g, encoding.base, x), encoding.factors)


def _quantile(g, encoding, x):
    """Piecewise-linear curves, each a sum of ramps between knots, in float64; short curves are padded with nothing."""
    longest = max(len(knots) for knots in encoding.knots)
    starts, widths, rises = (np.zeros((len(encoding.knots), max(longest - 1, 1))) for _ in range(3))
    widths[:] = 1.0
    for j, (knots, ranks) in enumerate(zip(encoding.knots, encoding.ranks, strict=True)):
        n = len(knots) - 1
        starts[j, :n], widths[j, :n], rises[j, :n] = knots[:-1], np.diff(knots), np.diff(ranks)
    first = np.array([ranks[0] for ranks in encoding.ranks])

    def curves(r, row):
        shares = r.op("Div", r.op("Sub", r.op("Unsqueeze", row, np.array([1])), starts), widths)
        climbed = r.op("Mul", r.op("Clip", shares, np.array(0.0), np.array(1.0)), rises)
        return r.op("Add", r.op("ReduceSum", climbed, np.array([1]), keepdims=0), first)

    return g.cast(g.by_rows(g.cast(x, np.float64), len(first), curves), x.dtype)


# {class of encoding: its writer (graph, encoding, input) -> output}
ENCODINGS = {InputEncoding: _encoded, WeightedEncoding: _weighted, QuantileEncoding: _quantile}
