"""Hidden-layer constructions: how a layer gets its weights without a gradient."""

from sklearn_analytic.features._agop import diagonal_agop
from sklearn_analytic.features._codes import CODES, class_code, forward_code, mask_code, subclass_indicator
from sklearn_analytic.features._constructions import CONSTRUCTIONS, IMAGE_CONSTRUCTIONS
from sklearn_analytic.features._continuation import Continuation, fit_continuation
from sklearn_analytic.features._copies import Copies, are_draws, lay_copies, takes_few_values
from sklearn_analytic.features._copy_ledger import CopyLedger
from sklearn_analytic.features._encodings import (
    ENCODINGS,
    QuantileEncoding,
    WeightedEncoding,
    piecewise_linear_encoding,
    quantile_encoding,
    robust_encoding,
    smooth_encoding,
    standard_encoding,
)
from sklearn_analytic.features._forward import forward_layer
from sklearn_analytic.features._gated import GatedLayer, gated_layer
from sklearn_analytic.features._hidden import HIDDEN, random_layer, rbf_layer, sampled_layer
from sklearn_analytic.features._hyperplane import hyperplane_layer
from sklearn_analytic.features._images import check_image_shape, masked_layer, pixel_range
from sklearn_analytic.features._input_encoding import InputEncoding, fit_input_encoding
from sklearn_analytic.features._inverse import inverse_layer, inverse_layers
from sklearn_analytic.features._kernels import LaplaceLayer, cell_layer, laplace_layer, subclass_code, subclass_layer
from sklearn_analytic.features._layers import (
    DenseLayer,
    RadialLayer,
    apply_layers,
    cast_like,
    linear_readout,
    rows_in_reach,
)
from sklearn_analytic.features._leaf import N_MEMBERS, Gaps, LeafLayer, LeafScores, fit_leaf_scores, leaf_layer
from sklearn_analytic.features._lpq import BinningLayer, binning_layer, cauchy_layer, lpq_layer
from sklearn_analytic.features._patches import PatchBank, PatchLayer, patch_layer
from sklearn_analytic.features._projection import projected_layer
from sklearn_analytic.features._residual import (
    ResidualBlock,
    ResidualLayer,
    residual_layer,
    sandwiched_least_squares,
)
from sklearn_analytic.features._row_sample import RowSample
from sklearn_analytic.features._sampling import (
    RowKeys,
    draw_rows,
    fit_row_keys,
    hash_keys,
    mix_bits,
    row_keys,
    weighted_mean,
)
from sklearn_analytic.features._table_encoding import LevelIndicators, LevelMeans, RowFolds, TableEncoding
from sklearn_analytic.features._table_pairs import Factor, PairMeans
from sklearn_analytic.features._targets import target_classes
from sklearn_analytic.features._trees import BinnedColumns, Forest, Growth, GrowthPlan, bin_columns, grow_forest

__all__ = [
    "CopyLedger",
    "BinnedColumns",
    "BinningLayer",
    "CODES",
    "CONSTRUCTIONS",
    "Continuation",
    "Copies",
    "DenseLayer",
    "ENCODINGS",
    "Factor",
    "Forest",
    "Gaps",
    "GatedLayer",
    "Growth",
    "GrowthPlan",
    "HIDDEN",
    "IMAGE_CONSTRUCTIONS",
    "InputEncoding",
    "LaplaceLayer",
    "LeafLayer",
    "LeafScores",
    "LevelIndicators",
    "LevelMeans",
    "N_MEMBERS",
    "PairMeans",
    "PatchBank",
    "PatchLayer",
    "QuantileEncoding",
    "RadialLayer",
    "ResidualBlock",
    "ResidualLayer",
    "RowFolds",
    "RowKeys",
    "RowSample",
    "TableEncoding",
    "WeightedEncoding",
    "apply_layers",
    "are_draws",
    "bin_columns",
    "binning_layer",
    "cast_like",
    "cauchy_layer",
    "cell_layer",
    "check_image_shape",
    "class_code",
    "diagonal_agop",
    "draw_rows",
    "fit_continuation",
    "fit_input_encoding",
    "fit_leaf_scores",
    "fit_row_keys",
    "forward_code",
    "forward_layer",
    "gated_layer",
    "grow_forest",
    "hash_keys",
    "hyperplane_layer",
    "inverse_layer",
    "inverse_layers",
    "laplace_layer",
    "lay_copies",
    "leaf_layer",
    "linear_readout",
    "lpq_layer",
    "mask_code",
    "masked_layer",
    "mix_bits",
    "patch_layer",
    "piecewise_linear_encoding",
    "pixel_range",
    "projected_layer",
    "quantile_encoding",
    "random_layer",
    "rbf_layer",
    "residual_layer",
    "robust_encoding",
    "row_keys",
    "rows_in_reach",
    "sampled_layer",
    "sandwiched_least_squares",
    "smooth_encoding",
    "standard_encoding",
    "subclass_code",
    "subclass_indicator",
    "subclass_layer",
    "takes_few_values",
    "target_classes",
    "weighted_mean",
]
