"""When training by steps is over: patience with the training loss, and a warning where epochs did not suffice."""

import math

from sklearn.exceptions import ConvergenceWarning

from sklearn_analytic.backend._warn_user import warn_user
from sklearn_analytic.estimator.base import check_positive_integer
from sklearn_analytic.nn._schedules import COOLED


def check_patience(value):
    """Refuse what is neither a positive integer nor infinity."""
    if not (isinstance(value, float) and value == math.inf):
        check_positive_integer("n_iter_no_change", value, math.inf)


def loss_watch(estimator):
    """Return fields of a plan: how patient the estimator is with its training loss, and from when on.

    Held-out rows are watched in its place where they stop training. ``max_iter="auto"`` lets the learning rate fall
    first: a loss that is flat at a large rate often falls again with it. A given number is watched from the end of
    the warm-up, as scikit-learn's MLP does.
    """
    patience = math.inf if estimator.early_stopping else estimator.n_iter_no_change
    warm = estimator.warmup_fraction
    cooled = COOLED[estimator.learning_rate] if estimator.max_iter == "auto" else 0.0
    return {"loss_patience": patience, "watch_after": warm + (1 - warm) * cooled}


def warn_of_epochs(estimator):
    """Say that a given number of epochs ended training; an automatic one is a length, and no bound."""
    if estimator.max_iter == "auto":
        return
    watched = "validation score" if estimator.early_stopping else "training loss"
    warn_user(
        f"{type(estimator).__name__} reached max_iter={estimator.max_iter} and training has not converged: the "
        f"{watched} was not flat within tol={estimator.tol} for n_iter_no_change={estimator.n_iter_no_change} epochs. "
        "Raise max_iter or tol, or leave the number of epochs to max_iter='auto'.",
        ConvergenceWarning,
    )
