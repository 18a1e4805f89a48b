"""Hidden-layer constructions: how a layer gets its weights without a gradient."""

from sklearn_analytic.features._hidden import HIDDEN, random_layer, rbf_layer, sampled_layer
from sklearn_analytic.features._layers import DenseLayer, RadialLayer, apply_layers, cast_like
from sklearn_analytic.features._sampling import draw_rows, row_keys

__all__ = [
    "HIDDEN",
    "DenseLayer",
    "RadialLayer",
    "apply_layers",
    "cast_like",
    "draw_rows",
    "random_layer",
    "rbf_layer",
    "row_keys",
    "sampled_layer",
]
