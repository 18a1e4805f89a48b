"""The gradient core: layers, losses, optimisers, schedules, schemes (who gets which error), one training loop."""

from importlib import import_module

from sklearn_analytic.nn._activations import ACTIVATIONS
from sklearn_analytic.nn._alignment import alignment
from sklearn_analytic.nn._feedback import FEEDBACKS, INITS
from sklearn_analytic.nn._losses import LINKS, OUTPUTS
from sklearn_analytic.nn._mlp import MLPExecution
from sklearn_analytic.nn._recipe import Execution, FeedbackRecipe, KFACRecipe, Optimizer, Recipe, Rows
from sklearn_analytic.nn._training import SCHEDULES, History, Plan, train

__all__ = [
    "ACTIVATIONS",
    "Execution",
    "FEEDBACKS",
    "FeedbackRecipe",
    "History",
    "INITS",
    "KFACRecipe",
    "LINKS",
    "MLPExecution",
    "OUTPUTS",
    "Optimizer",
    "Plan",
    "Recipe",
    "Rows",
    "SCHEDULES",
    "alignment",
    "train",
]


def torch_module(name, wanted="a network of torch"):
    """Return a module that needs torch, by name; ImportError that says what is ``wanted`` where there is no torch."""
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] != "torch":
            raise
        raise ImportError(f"{wanted} needs torch: install sklearn_analytic[torch].") from error
