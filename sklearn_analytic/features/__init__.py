"""Hidden-layer constructions: how a layer gets its weights without a gradient."""

from sklearn_analytic.features._codes import (
    CODES,
    class_code,
    forward_code,
    hash_keys,
    mask_code,
    subclass_code,
    subclass_indicator,
)
from sklearn_analytic.features._hidden import HIDDEN, random_layer, rbf_layer, sampled_layer
from sklearn_analytic.features._input_encoding import InputEncoding, fit_input_encoding
from sklearn_analytic.features._layers import DenseLayer, RadialLayer, apply_layers, cast_like
from sklearn_analytic.features._projection import projected_layer, subclass_layer, weighted_mean
from sklearn_analytic.features._sampling import draw_rows, row_keys

__all__ = [
    "CODES",
    "HIDDEN",
    "DenseLayer",
    "InputEncoding",
    "RadialLayer",
    "apply_layers",
    "cast_like",
    "class_code",
    "draw_rows",
    "fit_input_encoding",
    "forward_code",
    "hash_keys",
    "mask_code",
    "projected_layer",
    "random_layer",
    "rbf_layer",
    "row_keys",
    "sampled_layer",
    "subclass_code",
    "subclass_indicator",
    "subclass_layer",
    "weighted_mean",
]
