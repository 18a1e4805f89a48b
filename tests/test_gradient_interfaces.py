"""Estimators trained by steps behave as scikit-learn's networks do where their parameters bear the same names."""

import warnings

import numpy as np
import pytest
from sklearn.datasets import load_iris
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier

from sklearn_analytic import (
    Blocks,
    DecoupledMLPClassifier,
    DecoupledMLPRegressor,
    DFAClassifier,
    DFARegressor,
    LayerwiseMLP,
    LayerwiseMLPRegressor,
)
from sklearn_analytic.nn import LossWatch

CLASSIFIERS = [DFAClassifier, LayerwiseMLP, DecoupledMLPClassifier]
REGRESSORS = [DFARegressor, LayerwiseMLPRegressor, DecoupledMLPRegressor]
name = lambda cls: cls.__name__  # noqa: E731
classifiers = pytest.mark.parametrize("cls", CLASSIFIERS, ids=name)
regressors = pytest.mark.parametrize("cls", REGRESSORS, ids=name)
estimators = pytest.mark.parametrize("cls", CLASSIFIERS + REGRESSORS, ids=name)

X, Y = load_iris(return_X_y=True)
Z = X[:, 0] + X[:, 1] ** 2  # targets of regressors


def targets(cls):
    return Y if cls in CLASSIFIERS else Z


def heard(fit):
    """The fitted estimator, and whether it warned of epochs that did not suffice."""
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        model = fit()
    assert all(issubclass(w.category, ConvergenceWarning) and w.filename == __file__ for w in found)
    return model, bool(found)


# ---- tol, n_iter_no_change, ConvergenceWarning ----


def scikit_learns_epochs(losses, patience, tol):
    """After how many epochs MLPClassifier ends, from its own code."""
    mlp = MLPClassifier(tol=tol)
    mlp.loss_curve_, mlp.best_loss_, mlp._no_improvement_count = [], np.inf, 0
    for n, loss in enumerate(losses, 1):
        mlp.loss_curve_.append(loss)
        mlp._update_no_improvement_count(False, None, None, None)
        if mlp._no_improvement_count > patience:
            return n
    return None


def test_the_loss_is_watched_by_the_rule_of_scikit_learn():
    generator = np.random.default_rng(0)
    for _ in range(200):
        losses = np.round(np.exp(-np.arange(40) / 10) + 0.1 * generator.random(40), 1)
        patience, tol = int(generator.integers(1, 6)), float(generator.choice([0.0, 0.1, 0.2]))
        watch = LossWatch(patience, tol)
        found = next((n for n, loss in enumerate(losses, 1) if watch.is_flat(loss)), None)
        assert found == scikit_learns_epochs(losses, patience, tol)


@estimators
def test_a_flat_training_loss_ends_training(cls):
    given = {"tol": 0.1, "n_iter_no_change": 3, "random_state": 0}
    model, warned = heard(lambda: cls((8,), max_iter=1000, **given).fit(X, targets(cls)))
    assert model.n_iter_ == scikit_learns_epochs(model.loss_curve_, 3, 0.1) and not warned
    assert model.n_iter_ < 50
    automatic = cls((8,), **given).fit(X, targets(cls))
    assert 160 < automatic.n_iter_ < 170  # of 200: the learning rate falls first


@estimators
def test_given_epochs_that_do_not_suffice_are_a_warning(cls):
    model, warned = heard(lambda: cls((8,), max_iter=5, random_state=0).fit(X, targets(cls)))
    assert model.n_iter_ == 5 and warned
    _, warned = heard(lambda: cls((8,), batch_size=75, random_state=0).fit(X, targets(cls)))
    assert not warned  # "auto" is a length
    _, warned = heard(lambda: cls((8,), max_iter=5, random_state=0).partial_fit(X, targets(cls), **known(cls)))
    assert not warned


def known(cls):
    return {"classes": [0, 1, 2]} if cls in CLASSIFIERS else {}


@estimators
@pytest.mark.parametrize("early_stopping", [False, True])
def test_infinite_patience_never_stops(cls, early_stopping):
    given = {"tol": 10.0, "random_state": 0, "early_stopping": early_stopping, "max_iter": 8}
    model, warned = heard(lambda: cls((8,), n_iter_no_change=np.inf, **given).fit(X, targets(cls)))
    assert model.n_iter_ == 8 and warned
    stopped, warned = heard(lambda: cls((8,), n_iter_no_change=2, **given).fit(X, targets(cls)))
    assert stopped.n_iter_ < 8 and not warned
    for wrong in (0, 1.5, -np.inf, np.nan, "inf"):
        with pytest.raises(ValueError, match="n_iter_no_change must be"):
            cls(n_iter_no_change=wrong).fit(X, targets(cls))


@estimators
def test_the_loss_of_blocks_is_watched_too(cls):
    blocks = Blocks.from_arrays(X, targets(cls), block_size=60)
    given = {"tol": 0.1, "n_iter_no_change": 3, "random_state": 0}
    model, warned = heard(lambda: cls((8,), max_iter=300, **given).fit_blocks(blocks))
    assert model.n_iter_ == scikit_learns_epochs(model.loss_curve_, 3, 0.1) < 50 and not warned
    model, warned = heard(lambda: cls((8,), max_iter=2, **given).fit_blocks(blocks))
    assert model.n_iter_ == 2 and warned


@estimators
def test_a_warm_up_is_no_plateau(cls):
    given = {"tol": 10.0, "n_iter_no_change": 1, "max_iter": 40, "warmup_fraction": 0.5, "random_state": 0}
    model = cls((8,), **given).fit(X, targets(cls))
    assert model.n_iter_ == 20 + 3
    assert cls((8,), **given | {"warmup_fraction": 0.0}).fit(X, targets(cls)).n_iter_ == 3


@estimators
def test_a_warm_start_counts_anew(cls):
    model = cls((8,), tol=10.0, n_iter_no_change=2, max_iter=40, warm_start=True, random_state=0)
    assert [model.fit(X, targets(cls)).n_iter_ for _ in range(2)] == [4, 4]


@pytest.mark.parametrize("cls", [LayerwiseMLP, LayerwiseMLPRegressor], ids=name)
def test_every_partition_is_watched_by_itself(cls):
    given = {"tol": 10.0, "n_iter_no_change": 2, "max_iter": 40, "random_state": 0}
    turns = cls((8, 8), **given).fit(X, targets(cls))
    np.testing.assert_array_equal(turns.layer_n_iter_, [4, 4])
    laps = cls((8, 8), order="laps", n_laps=2, **given).fit(X, targets(cls))
    np.testing.assert_array_equal(laps.layer_n_iter_, [8, 8])
    assert cls((8, 8), order="simultaneous", **given).fit(X, targets(cls)).n_iter_ == 4
