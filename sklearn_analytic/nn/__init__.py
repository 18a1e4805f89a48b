"""The gradient core: layers, losses, optimisers, schedules, schemes (who gets which error), one training loop."""

from sklearn_analytic.nn._activations import ACTIVATIONS
from sklearn_analytic.nn._alignment import alignment, bottleneck
from sklearn_analytic.nn._dense_cells import DenseCells
from sklearn_analytic.nn._dense_stack import DenseStack
from sklearn_analytic.nn._feature_cache import CACHES
from sklearn_analytic.nn._feedback import FEEDBACKS, INITS
from sklearn_analytic.nn._initializers import initial_layers
from sklearn_analytic.nn._layered import Layered
from sklearn_analytic.nn._layerwise import LayerTurns, described, judged_rows, train_layers
from sklearn_analytic.nn._losses import CLASS_OUTPUTS, LINKS, OUTPUTS, mean_loss
from sklearn_analytic.nn._mlp import MLPExecution, raw_outputs
from sklearn_analytic.nn._partitions import (
    INTERLAYER,
    LOCAL_LOSSES,
    STARTS,
    LocalRule,
    balanced_partitions,
    largest_batch,
)
from sklearn_analytic.nn._pipeline import (
    DELAYS,
    ORDERS,
    RATE_RULES,
    PipelineRule,
    published_rule,
    staleness_counts,
)
from sklearn_analytic.nn._pipeline_execution import Pipeline
from sklearn_analytic.nn._pipeline_executors import ModuleError, Sequential, Threads
from sklearn_analytic.nn._predictors import PREDICTORS
from sklearn_analytic.nn._ranks import Alone
from sklearn_analytic.nn._recipe import KFAC, Execution, Feedback, Optimizer, Recipe, Rows
from sklearn_analytic.nn._schedules import COOLED, SCHEDULES
from sklearn_analytic.nn._simulation import ModuleCosts, simulate
from sklearn_analytic.nn._splitting import (
    RECOMPUTED,
    balanced_modules,
    check_modules,
    dense_costs,
    given_modules,
    measured_costs,
)
from sklearn_analytic.nn._training import History, LossWatch, Plan, train

__all__ = [
    "ACTIVATIONS",
    "Alone",
    "CACHES",
    "CLASS_OUTPUTS",
    "COOLED",
    "DenseStack",
    "Execution",
    "FEEDBACKS",
    "Feedback",
    "History",
    "INITS",
    "INTERLAYER",
    "KFAC",
    "Layered",
    "LayerTurns",
    "LINKS",
    "LOCAL_LOSSES",
    "LocalRule",
    "LossWatch",
    "MLPExecution",
    "ORDERS",
    "OUTPUTS",
    "Optimizer",
    "Plan",
    "Recipe",
    "Rows",
    "SCHEDULES",
    "STARTS",
    "alignment",
    "balanced_partitions",
    "bottleneck",
    "described",
    "initial_layers",
    "judged_rows",
    "largest_batch",
    "mean_loss",
    "published_rule",
    "raw_outputs",
    "simulate",
    "torch_parts",
    "train",
    "train_layers",
    "DELAYS",
    "DenseCells",
    "ModuleCosts",
    "ModuleError",
    "PREDICTORS",
    "Pipeline",
    "PipelineRule",
    "RATE_RULES",
    "RECOMPUTED",
    "Sequential",
    "Threads",
    "balanced_modules",
    "check_modules",
    "dense_costs",
    "given_modules",
    "measured_costs",
    "staleness_counts",
]


def torch_parts():
    """Return the module of torch's execution; ImportError with advice where torch is not installed."""
    try:
        from sklearn_analytic.nn import _torch_parts
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] != "torch":
            raise
        raise ImportError(
            "image_shape, recurrent_layer_sizes, network, precision='bfloat16', distributed=True and any device but "
            "'cpu' need torch: install sklearn_analytic[torch]."
        ) from error
    return _torch_parts
