"""The contenders of ``accuracy.py``: one row of a table each.

A builder takes a :class:`Task` and returns an unfitted scikit-learn classifier.
"""

import importlib
import os
from dataclasses import dataclass

# Waiting OpenMP threads sleep instead of spinning: on a shared machine, spinning makes LightGBM
# tens of times slower. It must stand before the first library that loads an OpenMP runtime.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import numpy as np
from sklearn.kernel_approximation import Nystroem
from sklearn.linear_model import LogisticRegression, RidgeClassifierCV
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.svm import SVC

SVC_ROWS = 10_000  # its time grows with the square of the rows; left out above this
RIDGE_ALPHAS = np.logspace(-3, 3, 7)
HIDDEN = 1000  # units of the one-hidden-layer BRMP: the size of the Nystroem map

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
    smallest_class: int
    images: bool
    seed: int
    threads: int


class LeftOut(Exception):
    """A contender that the protocol leaves out of a data set."""


def build(name, task):
    """The unfitted contender, behind the suite's input scaling."""
    builder, scaled = CONTENDERS[name]
    scaler = StandardScaler() if scaled and not task.images else FunctionTransformer()
    return make_pipeline(scaler, *builder(task))


def _ours(name, **parameters):
    """An estimator of this package; imported late, so that its absence is a listed failure."""
    estimator = getattr(importlib.import_module("sklearn_analytic"), name)
    return lambda task: (estimator(**parameters, random_state=task.seed),)


def _cpnet(task):
    return _ours("CPNetClassifier")(task)


def _cpnet_literal(task):
    return _ours("CPNetClassifier", **CPNET_LITERAL)(task)


def _brmp_linear(task):
    return _ours("BRMPClassifier", alpha="gcv")(task)


def _brmp_hidden(task):
    return _ours("BRMPClassifier", hidden_layer_sizes=(HIDDEN,), alpha="gcv")(task)


def _mlp(task):
    # Its stratified validation split needs two rows per class; without them it trains on
    # everything to convergence, rather than not at all.
    stop = task.smallest_class > 1
    return (MLPClassifier((256, 256), early_stopping=stop, random_state=task.seed),)


def _nystroem(task):
    components = min(1000, task.n_rows)
    return (
        Nystroem(n_components=components, random_state=task.seed),
        RidgeClassifierCV(alphas=RIDGE_ALPHAS),
    )


def _svc(task):
    if task.n_rows > SVC_ROWS:
        raise LeftOut(f"SVC is run up to {SVC_ROWS} training rows")
    return (SVC(C=10),)


def _logistic(task):
    return (LogisticRegression(max_iter=1000),)


def _lightgbm(**parameters):
    def builder(task):
        from lightgbm import LGBMClassifier  # optional: its absence is a listed failure

        fixed = {"random_state": task.seed, "n_jobs": task.threads, "verbosity": -1}
        return (LGBMClassifier(**fixed, **parameters),)

    return builder


# name: (builder, whether tabular inputs are standardised)
CONTENDERS = {
    "cpnet": (_cpnet, False),
    "cpnet_literal": (_cpnet_literal, False),
    "brmp_linear": (_brmp_linear, True),
    "brmp_hidden": (_brmp_hidden, True),
    "mlp": (_mlp, True),
    "nystroem_ridge": (_nystroem, True),
    "svc": (_svc, True),
    "logistic": (_logistic, True),
    "lightgbm": (_lightgbm(), False),
    # The default minimum hessian of a leaf (1e-3) lets boosting diverge with many classes.
    "lightgbm_mcw1": (_lightgbm(min_child_weight=1.0), False),
}
QUICK_CONTENDERS = ("cpnet", "brmp_linear", "brmp_hidden", "mlp", "logistic")
