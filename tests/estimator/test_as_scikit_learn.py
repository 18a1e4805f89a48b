"""Networks trained by backpropagation are those of scikit-learn's MLP: the same steps, losses, attributes and words."""

import logging
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import load_diabetes, load_iris
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier, MLPRegressor

from sklearn_analytic import (
    SGD,
    Adam,
    Blocks,
    DecoupledMLPClassifier,
    Device,
    DFAClassifier,
    DFARegressor,
    LayerwiseMLP,
)
from sklearn_analytic.nn import Plan, _training
from sklearn_analytic.nn._training import Pace

X, Y = load_iris(return_X_y=True)
X = (X - X.mean(axis=0)) / X.std(axis=0)
N = len(X)
ALPHA = 0.3  # scikit-learn's: divided by the rows of a batch
SCHEDULES = {
    "constant": {},
    "invscaling": {"power_t": 0.2},
    "adaptive": {"tol": 1e-2, "n_iter_no_change": 2},
}
# Two conventions differ, and no test may see them: their velocity holds the rates of past steps, ours (as torch's) does
# not, and their epsilon stands beside a root that is not corrected for its beginning.
RULES = {
    "sgd": (SGD, {"momentum": 0.8, "nesterovs_momentum": True}),
    "plain sgd": (SGD, {"momentum": 0.0, "nesterovs_momentum": False}),
    "adam": (Adam, {"beta_1": 0.8, "beta_2": 0.95, "epsilon": 1e-15}),
}


def theirs(rule, options, n_epochs, batch_size, **more):
    name = "adam" if rule == "adam" else "sgd"
    given = {"solver": name, "alpha": ALPHA, "batch_size": batch_size, "max_iter": n_epochs, "shuffle": False}
    given |= {"hidden_layer_sizes": (8, 5), "activation": "tanh", "learning_rate_init": 0.05, "random_state": 0}
    return MLPClassifier(**given | RULES[rule][1] | options | more)


def ours(rule, options, n_epochs, batch_size, weights, **more):
    kind, constants = RULES[rule]
    solver = kind(**constants, **{name: value for name, value in options.items() if name == "power_t"})
    others = {name: value for name, value in options.items() if name != "power_t"}
    given = {"solver": solver, "alpha": ALPHA / batch_size, "batch_size": batch_size, "shuffle": False}
    given |= {"activation": "tanh", "learning_rate_init": 0.05, "random_state": 0, "warm_start": True}
    given |= {"scheme": "backprop", "input_encoding": None, "device": Device(precision="float64")}
    model = DFAClassifier((8, 5), **given | others | more)
    model.set_params(max_iter=1, learning_rate_init=1e-300).fit(X, Y)
    model.coefs_, model.intercepts_ = ([part.copy() for part in parts] for parts in weights)
    for name in ("first", "second", "steps"):  # as if no step had been taken
        model._trained.snapshot[name][...] = 0
    return model.set_params(max_iter=n_epochs, learning_rate_init=0.05)


def first_weights(model):
    """The weights with which a network of scikit-learn begins."""
    begun = clone(model).set_params(learning_rate_init=1e-300, max_iter=1, learning_rate="constant")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        begun.fit(X, Y)
    return begun.coefs_, begun.intercepts_


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize(
    ("rule", "schedule"), [("sgd", "constant"), *(("plain sgd", schedule) for schedule in SCHEDULES)]
)
def test_every_step_is_that_of_scikit_learn(rule, schedule):
    options = SCHEDULES[schedule]
    their = theirs(rule, options, 60, N, learning_rate=schedule)
    our = ours(rule, options, 60, N, first_weights(their), learning_rate=schedule)
    their.fit(X, Y)
    our.fit(X, Y)
    np.testing.assert_allclose(our.loss_curve_, their.loss_curve_, rtol=1e-9)
    for mine, other in zip(our.coefs_ + our.intercepts_, their.coefs_ + their.intercepts_, strict=True):
        np.testing.assert_allclose(mine, other, rtol=1e-7, atol=1e-9)
    assert our.loss_ == our.loss_curve_[-1]
    np.testing.assert_allclose(our.best_loss_, their.best_loss_, rtol=1e-9)
    assert (our.n_iter_, our.n_layers_, our.n_outputs_) == (their.n_iter_, their.n_layers_, their.n_outputs_)
    assert our.out_activation_ == their.out_activation_
    assert our.t_ == their.t_ + N  # the epoch before is counted, too


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("rule", RULES)
def test_batches_in_order_are_those_of_scikit_learn(rule):
    their = theirs(rule, {}, 10, 30)
    our = ours(rule, {}, 10, 30, first_weights(their), learning_rate="constant", n_iter_no_change=10)
    their.fit(X, Y)
    our.fit(X, Y)
    np.testing.assert_allclose(our.loss_curve_, their.loss_curve_, rtol=1e-8)


def test_an_adaptive_rate_falls_by_five_until_it_ends():
    pace, rates = Pace(Plan(1, 10, 1e-4, "adaptive")), []
    while pace.slow_down():
        rates.append(pace.rate(0))
    np.testing.assert_allclose(rates, 1e-4 / 5.0 ** np.arange(1, 4))  # the last one is the first below 1e-6
    assert not Pace(Plan(1, 10, 1e-4, "constant")).slow_down()


@pytest.mark.parametrize("device", ["cpu", "torch:cpu"])
def test_losses_have_the_penalty(device):
    if device != "cpu":
        pytest.importorskip("torch")
    options = {"max_iter": 1, "batch_size": N, "random_state": 0, "scheme": "backprop", "device": device}
    plain, penalised = (DFAClassifier((6,), alpha=alpha, **options).fit(X, Y) for alpha in (0.0, 0.5))
    first = DFAClassifier((6,), learning_rate_init=1e-30, **options).fit(X, Y)
    squares = sum(float((w.astype(np.float64) ** 2).sum()) for w in first.coefs_)
    assert penalised.loss_ == pytest.approx(plain.loss_ + 0.25 * squares, rel=1e-6)
    decayed = DFAClassifier((6,), alpha=0.5, solver="adamw", **options).fit(X, Y)
    assert decayed.loss_ == pytest.approx(plain.loss_, rel=1e-6)  # which minimises no penalty


def test_early_stopping_has_scores_in_place_of_a_best_loss():
    model = DFAClassifier((6,), early_stopping=True, random_state=0).fit(X, Y)
    assert model.best_loss_ is None and model.best_validation_score_ == max(model.validation_scores_)


def test_regressors_end_in_the_identity():
    rows, targets = load_diabetes(return_X_y=True)
    model = DFARegressor((6,), max_iter=2, n_iter_no_change=np.inf, random_state=0).fit(rows, np.c_[targets, targets])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        other = MLPRegressor(hidden_layer_sizes=(6,), max_iter=2).fit(rows, np.c_[targets, targets])
    names = ("n_layers_", "n_outputs_", "out_activation_", "t_")
    assert [getattr(model, name) for name in names] == [getattr(other, name) for name in names]


def test_attributes_of_a_fit_are_not_there_before():
    model = DFAClassifier()
    for name in ("n_layers_", "n_outputs_", "out_activation_"):
        assert not hasattr(model, name)


def test_rows_are_counted_over_calls():
    model = DFAClassifier((6,), random_state=0)
    model.partial_fit(X[:50], Y[:50], classes=[0, 1, 2]).partial_fit(X[50:], Y[50:])
    assert model.t_ == N


def test_without_shuffling_the_seed_orders_nothing():
    options = {"max_iter": 3, "n_iter_no_change": np.inf, "batch_size": 7, "warm_start": True}
    options |= {"scheme": "backprop"}
    first = DFAClassifier((6,), random_state=0, **options).fit(X, Y)

    losses = {}
    for shuffle in (False, True):
        for seed in (1, 2):
            model = DFAClassifier((6,), random_state=seed, shuffle=shuffle, solver=SGD(momentum=0.0), **options)
            model.set_params(learning_rate_init=1e-30, max_iter=1).fit(X, Y)
            model.coefs_, model.intercepts_ = (
                [part.copy() for part in parts] for parts in (first.coefs_, first.intercepts_)
            )
            losses[shuffle, seed] = model.set_params(learning_rate_init=0.1, max_iter=3).fit(X, Y).loss_curve_
    assert losses[False, 1] == losses[False, 2] and losses[True, 1] != losses[True, 2]


# ---- verbose ----


def test_a_verbose_fit_says_so_where_nothing_draws(monkeypatch, caplog):
    from sklearn_analytic.estimator import callbacks

    monkeypatch.setattr(callbacks, "ProgressBar", None)
    model = DFAClassifier((6,), max_iter=3, n_iter_no_change=np.inf, verbose=True, random_state=0)
    model.fit(X, Y, X_val=X, y_val=Y)
    quiet = clone(model).set_params(verbose=False).fit(X, Y, X_val=X, y_val=Y)
    LayerwiseMLP((6,), max_iter=2, n_iter_no_change=np.inf, verbose=True, random_state=0).fit(X, Y)
    said = [record.getMessage() for record in caplog.records if record.name == "sklearn_analytic"]
    assert len(said) == 5 and said[0].startswith("DFAClassifier: epoch 1 of 3, loss ")
    assert "validation score" in said[0] and f"loss {model.loss_:.6g}" in said[2]
    np.testing.assert_array_equal(quiet.coefs_[0], model.coefs_[0])
    assert logging.getLogger("sklearn_analytic").level == logging.NOTSET


def test_messages_are_seen_where_logging_is_not_set_up(monkeypatch, capsys):
    from sklearn_analytic.estimator import callbacks

    monkeypatch.setattr(callbacks, "ProgressBar", None)
    monkeypatch.setattr(logging.getLogger("sklearn_analytic"), "propagate", False)
    DFAClassifier((6,), max_iter=2, n_iter_no_change=np.inf, verbose=1, random_state=0).fit(X, Y)
    assert "epoch 2 of 2, loss" in capsys.readouterr().err
    assert not logging.getLogger("sklearn_analytic").handlers


def test_a_verbose_fit_has_a_progress_bar_where_there_is_one(monkeypatch):
    from sklearn_analytic.estimator import callbacks

    if callbacks.ProgressBar is None:
        pytest.skip("scikit-learn has no callbacks")
    pytest.importorskip("rich")
    seen = []

    class Bar(callbacks.ProgressBar):
        def setup(self, estimator, context):
            seen.append(type(estimator).__name__)
            super().setup(estimator, context)

    monkeypatch.setattr(callbacks, "ProgressBar", Bar)
    options = {"max_iter": 2, "n_iter_no_change": np.inf, "random_state": 0}
    shown, quiet = (DFAClassifier((6,), verbose=verbose, **options).fit(X, Y) for verbose in (True, False))
    assert seen == ["DFAClassifier"] and not hasattr(shown, "_skl_callbacks")
    np.testing.assert_array_equal(shown.coefs_[0], quiet.coefs_[0])
    DFAClassifier((6,), verbose=True, **options).set_callbacks(Bar()).fit(X, Y)
    assert len(seen) == 2  # the caller's bar alone


def test_messages_come_from_every_thread(monkeypatch, caplog):
    from sklearn_analytic.estimator import callbacks

    monkeypatch.setattr(callbacks, "ProgressBar", None)
    options = {"max_iter": 40, "n_iter_no_change": np.inf, "verbose": True, "random_state": 0}
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda k: DFAClassifier((4,), **options).fit(X, Y), range(8)))
    said = [record for record in caplog.records if record.name == "sklearn_analytic"]
    assert len(said) == 8 * 40 and logging.getLogger("sklearn_analytic").level == logging.NOTSET


def test_a_verbose_stream_tells_of_blocks(caplog):
    model = DFAClassifier((6,), verbose=True, random_state=0).partial_fit(X, Y, classes=[0, 1, 2]).partial_fit(X, Y)
    said = [record.getMessage() for record in caplog.records if record.name == "sklearn_analytic"]
    assert said[1] == f"DFAClassifier: block 2, loss {model.loss_:.6g}" and len(said) == 2


@pytest.mark.parametrize("value", ["yes", -1, 0.5, None, np.array([1, 2])])
def test_verbose_is_a_flag_or_a_level(value):
    with pytest.raises(ValueError, match="verbose must be True or False"):
        DFAClassifier(verbose=value).fit(X, Y)


# ---- schedules on every road ----

ROADS = {
    "DFAClassifier": lambda options: DFAClassifier((6,), **options).fit(X, Y),
    "torch": lambda options: DFAClassifier((6,), device="torch:cpu", **options).fit(X, Y),
    "blocks": lambda options: DFAClassifier((6,), **options).fit_blocks(Blocks.from_arrays(X, Y, block_size=60)),
    "decoupled": lambda options: DecoupledMLPClassifier((6,), **options).fit(X, Y),
    "simultaneous": lambda options: LayerwiseMLP((6, 6), order="simultaneous", **options).fit(X, Y),
    "one partition": lambda options: LayerwiseMLP((6, 6), partitions=1, **options).fit(X, Y),
}


@pytest.mark.parametrize("road", ROADS)
def test_an_adaptive_rate_ends_every_fit(road):
    if road == "torch":
        pytest.importorskip("torch")
    options = {"learning_rate": "adaptive", "learning_rate_init": 1e-3, "tol": 1e9, "n_iter_no_change": 1}
    model = ROADS[road]({"max_iter": 100, "batch_size": 50, "random_state": 0} | options)
    assert model.n_iter_ == 1 + 2 * 6  # the first epoch, and two at each of six rates from 1e-3 to 3.2e-7


@pytest.mark.parametrize("road", ["DFAClassifier", "torch", "blocks", "decoupled"])
def test_inverse_scaling_counts_the_rows_of_whole_epochs(road, monkeypatch):
    if road == "torch":
        pytest.importorskip("torch")
    seen = []
    rates = _training.rates
    monkeypatch.setattr(_training, "rates", lambda *args: seen.append(rates(*args)) or seen[-1])
    options = {"learning_rate": "invscaling", "solver": SGD(power_t=0.3), "learning_rate_init": 1e-3}
    ROADS[road]({"max_iter": 3, "n_iter_no_change": np.inf, "batch_size": 50, "random_state": 0} | options)
    expected = 1e-3 / (1 + N * np.arange(3)) ** 0.3
    np.testing.assert_allclose(np.unique(np.concatenate(seen))[::-1], expected, rtol=1e-12)
