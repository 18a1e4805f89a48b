"""The contenders of ``accuracy.py``: one row of a table each.

A builder takes a :class:`Task` and returns the last steps of a scikit-learn pipeline.
"""

import importlib
import math
import os
from dataclasses import dataclass

# Waiting OpenMP threads sleep instead of spinning: on a shared machine, spinning makes LightGBM
# tens of times slower. It must stand before the first library that loads an OpenMP runtime.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import numpy as np
from _accuracy_adapters import XRFM, CatBoost, Relabelled
from sklearn.compose import TransformedTargetRegressor
from sklearn.ensemble import (
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.kernel_approximation import Nystroem
from sklearn.linear_model import LogisticRegression, RidgeClassifierCV, RidgeCV
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.svm import SVC, SVR

SVM_ROWS = 10_000  # its time grows with the square of the rows; left out above this
RIDGE_ALPHAS = np.logspace(-3, 3, 7)
HIDDEN = 1000  # units of the one-hidden-layer BRMP: the size of the Nystroem map
LAYERS = (256, 256)  # of the MLP

# Our reconstruction of the published network: the paper's details are not public.
CPNET_LITERAL = {
    "encoding": "class",
    "projection": "correlation",
    "skip": False,
    "exit": "last",
    "alpha": 0.0,
    "activation": "tanh",
}


@dataclass(frozen=True)
class Task:
    """What a builder may know about the training part."""

    n_rows: int
    smallest_class: int  # rows of the rarest class; 0 in regression
    images: bool
    n_features: int
    seed: int
    threads: int

    @property
    def classes(self):
        """Whether it is classification."""
        return self.smallest_class > 0


class LeftOut(Exception):
    """A contender that the protocol leaves out of a data set."""


def build(kind, name, task):
    """The unfitted contender, behind the suite's input scaling."""
    builder, scaled = CONTENDERS[kind][name]
    scaler = StandardScaler() if scaled and not task.images else FunctionTransformer()
    return make_pipeline(scaler, *builder(task))


def ours(name, **parameters):
    """An estimator of this package; imported late, so that its absence is a listed failure."""

    def builder(task):
        estimator = getattr(importlib.import_module("sklearn_analytic"), name)
        return (estimator(**parameters, random_state=task.seed),)

    return builder


def optional(module, name, wrap=lambda model: model, **parameters):
    """A boosting library; imported late, so that its absence is a listed failure."""

    def builder(task):
        estimator = getattr(importlib.import_module(module), name)
        return (wrap(estimator(random_state=task.seed, n_jobs=task.threads, **parameters)),)

    return builder


def catboost(name):
    """CatBoost; imported late, so that its absence is a listed failure."""

    def builder(task):
        estimator = getattr(importlib.import_module("catboost"), name)
        quiet = {"allow_writing_files": False, "verbose": 0}
        return (CatBoost(estimator(random_seed=task.seed, thread_count=task.threads, **quiet)),)

    return builder


def _patches(task):
    """Images by their number of pixels: square and grey, or 32 x 32 in three colours."""
    if not task.images:
        raise LeftOut("tables have no image_shape")
    side = math.isqrt(task.n_features)
    shape = (3, 32, 32) if task.n_features == 3072 else (side, side)
    return ours("ClosedFormMLP", image_shape=shape)(task)


def _mlp(task):
    # Its stratified validation split needs two rows per class; without them it trains on
    # everything to convergence, rather than not at all.
    stop = task.smallest_class > 1
    return (MLPClassifier(LAYERS, early_stopping=stop, random_state=task.seed),)


def _mlp_regressor(task):
    return (_scaled_target(MLPRegressor(hidden_layer_sizes=LAYERS, early_stopping=True, random_state=task.seed)),)


def _scaled_target(model):
    return TransformedTargetRegressor(model, transformer=StandardScaler())


def _nystroem(readout):
    """A random-feature map of the size of the one-hidden-layer BRMP, and a ridge readout."""

    def builder(task):
        components = min(HIDDEN, task.n_rows)
        return Nystroem(n_components=components, random_state=task.seed), readout(alphas=RIDGE_ALPHAS)

    return builder


def _svc(task):
    _check_svm_rows(task)
    return (SVC(C=10),)


def _svr(task):
    _check_svm_rows(task)
    return (_scaled_target(SVR(C=10)),)


def _check_svm_rows(task):
    if task.n_rows > SVM_ROWS:
        raise LeftOut(f"support vector machines are run up to {SVM_ROWS} training rows")


def logistic(task):
    return (LogisticRegression(max_iter=1000),)


def ridge(task):
    return (RidgeCV(alphas=RIDGE_ALPHAS),)


def hist_gb(task):
    # As for the MLP: by default it stops early above 10,000 rows, on a stratified part.
    stop = "auto" if task.smallest_class > 1 else False
    return (HistGradientBoostingClassifier(early_stopping=stop, random_state=task.seed),)


def hist_gb_regressor(task):
    return (HistGradientBoostingRegressor(random_state=task.seed),)


def _forest(forest):
    return lambda task: (forest(random_state=task.seed, n_jobs=task.threads),)


def _xrfm(wrap):
    return lambda task: (wrap(XRFM(task.seed, task.threads)),)


# name: (builder, whether tabular inputs are standardised)
CLASSIFIERS = {
    "closed_form": (ours("ClosedFormMLP"), False),
    "closed_form_patch": (_patches, False),
    "cpnet": (ours("CPNetClassifier"), False),
    "cpnet_literal": (ours("CPNetClassifier", **CPNET_LITERAL), False),
    "brmp_linear": (ours("BRMPClassifier", alpha="gcv"), True),
    "brmp_hidden": (ours("BRMPClassifier", hidden_layer_sizes=(HIDDEN,), alpha="gcv"), True),
    "mlp": (_mlp, True),
    "nystroem_ridge": (_nystroem(RidgeClassifierCV), True),
    "svc": (_svc, True),
    "logistic": (logistic, True),
    "lightgbm": (optional("lightgbm", "LGBMClassifier", verbosity=-1), False),
    # The default minimum hessian of a leaf (1e-3) lets boosting diverge with many classes.
    "lightgbm_mcw1": (optional("lightgbm", "LGBMClassifier", verbosity=-1, min_child_weight=1.0), False),
    "xgboost": (optional("xgboost", "XGBClassifier", wrap=Relabelled), False),
    "catboost": (catboost("CatBoostClassifier"), False),
    "hist_gb": (hist_gb, False),
    "random_forest": (_forest(RandomForestClassifier), False),
    "xrfm": (_xrfm(Relabelled), True),
}
REGRESSORS = {
    "closed_form": (ours("ClosedFormMLPRegressor"), False),
    "brmp_linear": (ours("BRMPRegressor", alpha="gcv"), True),
    "brmp_hidden": (ours("BRMPRegressor", hidden_layer_sizes=(HIDDEN,), alpha="gcv"), True),
    "mlp": (_mlp_regressor, True),
    "ridge": (ridge, True),
    "nystroem_ridge": (_nystroem(RidgeCV), True),
    "svr": (_svr, True),
    "lightgbm": (optional("lightgbm", "LGBMRegressor", verbosity=-1), False),
    "xgboost": (optional("xgboost", "XGBRegressor"), False),
    "catboost": (catboost("CatBoostRegressor"), False),
    "hist_gb": (hist_gb_regressor, False),
    "random_forest": (_forest(RandomForestRegressor), False),
    "xrfm": (_xrfm(_scaled_target), True),
}
CONTENDERS = {"classification": CLASSIFIERS, "regression": REGRESSORS}
