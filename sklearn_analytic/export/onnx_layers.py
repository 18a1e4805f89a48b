"""Hidden layers as nodes of ONNX: one writer per class of layer."""

import numpy as np

from sklearn_analytic import nn
from sklearn_analytic.export.computation import Standardised
from sklearn_analytic.features import BinningLayer, DenseLayer, GatedLayer, LaplaceLayer, RadialLayer, ResidualLayer
from sklearn_analytic.features._public_scale import PublicScale

_FARTHEST = 2.0**31  # bins of random grids beyond it are one bin


def _bump(g, z):
    """exp(min(z, 0))."""
    return g.op("Exp", g.op("Min", z, np.array(0.0)))


def _triangle(g, z):
    """max(1 - |z|, 0)."""
    return g.op("Relu", g.op("Sub", np.array(1.0), g.op("Abs", z)))


# {activation: its nodes}, where it is not an operator that ``nn.ACTIVATIONS`` names
ACTIVATIONS = {
    "identity": lambda g, z: z,
    "leaky_relu": lambda g, z: g.op("Max", z, g.op("Mul", z, np.array(0.01))),
    "cos": lambda g, z: g.op("Cos", z),
    "bump": _bump,
    "gaussian": lambda g, z: g.op("Exp", g.op("Neg", g.op("Mul", z, z))),
    "triangle": _triangle,
}


def _dense(g, layer, x):
    """A product, a bias, an activation."""
    z = g.op("Gemm", x, np.asarray(layer.weights, float), np.asarray(layer.bias, float))
    if layer.activation in ACTIVATIONS:
        return ACTIVATIONS[layer.activation](g, z)
    operator = nn.ACTIVATIONS[layer.activation].onnx
    if operator is None:
        raise NotImplementedError(
            f"activation={layer.activation!r} has no operator of ONNX: use pickle, joblib or skops."
        )
    return g.op(operator, z)


def _radial(g, layer, x):
    """The projection of the lifted row about the centres' mean, as the layer computes it."""
    origin = layer.centres.mean(axis=0)
    centres = layer.centres - origin
    gamma = np.broadcast_to(np.asarray(layer.gamma, float), len(centres))
    x = g.op("Sub", x, np.asarray(origin, float))
    squares = g.op("ReduceSum", g.op("Mul", x, x), np.array([1]), keepdims=1)
    z = g.op("Gemm", x, 2.0 * gamma * centres.T, -gamma * np.sum(centres**2, axis=1))
    return _bump(g, g.op("Sub", z, g.op("Mul", squares, gamma[None])))


def _laplace(g, layer, x):
    """L1 distances row by row."""
    width = np.broadcast_to(np.asarray(layer.inverse_width, float), layer.n_units)
    # Centres are scaled in the dtype of x, as the layer does.
    centres = np.asarray(layer.centres).astype(x.dtype)
    if layer.weights is not None:
        x, centres = g.op("Mul", x, np.asarray(layer.weights, float)), centres * layer.weights.astype(x.dtype)

    def distances(row_graph, row):
        gaps = row_graph.op("Abs", row_graph.op("Sub", row, centres))
        return row_graph.op("ReduceSum", gaps, np.array([1]), keepdims=0)

    found = g.by_rows(x, centres.shape[1], distances)
    return _bump(g, g.op("Mul", found, -width[None]))


def _gated(g, layer, x):
    """Rows with a one, behind every open gate."""
    z = g.op("Gemm", x, np.asarray(layer.gates, float), np.asarray(layer.bias, float))
    opened = g.cast(g.op("GreaterOrEqual", z, np.array(0.0), dtype=bool), x.dtype)
    one = g.op("Add", g.op("Mul", g.columns(x, 0, 1), np.array(0.0)), np.array(1.0))
    lifted = g.op("Unsqueeze", g.concatenate([x, one]), np.array([1]))
    product = g.op("Mul", g.op("Unsqueeze", opened, np.array([2])), lifted)
    return g.op("Reshape", product, np.array([-1, layer.n_units]))


def _residual(g, layer, x):
    """Blocks that each add a step of low rank."""
    state = _dense(g, layer.first, x)
    for block in layer.blocks:
        units = g.concatenate([_dense(g, block.on_state, state), _dense(g, block.on_input, x)])
        if block.left.shape[1]:
            step = g.op("MatMul", g.op("MatMul", units, block.left), block.right)
            state = g.op("Add", state, step)
    return state


def _binning(g, layer, x):
    """Signs of hashed cells, row by row: integers of 64 bits that wrap, of which bit 62 is read."""

    def signs(r, row):
        place = r.op("Mul", r.op("Unsqueeze", row, np.array([1])), layer.inverse_pitch)
        cells = r.op("Floor", r.op("Sub", place, layer.shift))
        cells = r.cast(r.op("Clip", cells, np.array(-_FARTHEST), np.array(_FARTHEST)), np.int64)
        hashed = r.op("Mul", cells, layer.multipliers)
        code = r.op("MatMul", r.held(np.ones(len(layer.shift), np.int64)), hashed)  # ReduceSum does not wrap
        code = r.cast(r.op("Add", code, layer.offset), np.uint64)
        shifted = r.op("BitShift", code, np.array(62, dtype=np.uint64), direction="RIGHT")
        bit = r.cast(r.op("BitwiseAnd", shifted, np.array(1, dtype=np.uint64)), x.dtype)
        return r.op("Sub", np.array(1.0), r.op("Mul", bit, np.array(2.0)))

    return g.by_rows(x, len(layer.shift), signs)


def _standardised(g, value, x):
    """Columns of unit variance."""
    return g.op("Mul", g.op("Sub", x, np.asarray(value.shift, float)), np.asarray(value.slope, float))


def _public_scale(g, value, x):
    """Clipped to the bounds and mapped onto [-1, 1], or brought to a norm."""
    if value.bounds is None:
        squares = g.op("ReduceSum", g.op("Mul", x, x), np.array([1]), keepdims=1)
        norm = g.op("Max", g.op("Sqrt", squares), np.array(float(value.data_norm)))
        n_columns = g.op("Shape", x, dtype=np.int64, start=1)
        return g.op("Mul", x, g.op("Div", g.op("Sqrt", g.cast(n_columns, x.dtype)), norm))
    low, high = value.bounds
    varies = high > low
    width = np.where(varies, high - low, 1.0)
    shares = g.op("Div", g.op("Sub", g.op("Min", g.op("Max", x, low), high), low), width)
    return g.op("Sub", g.op("Mul", shares, np.where(varies, 2.0, 0.0)), np.where(varies, 1.0, 0.0))


# {class of layer: its writer (graph, layer, input) -> output}
LAYERS = {
    DenseLayer: _dense,
    RadialLayer: _radial,
    LaplaceLayer: _laplace,
    GatedLayer: _gated,
    ResidualLayer: _residual,
    BinningLayer: _binning,
    Standardised: _standardised,
    PublicScale: _public_scale,
}
