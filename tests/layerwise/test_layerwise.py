"""LayerwiseMLP and LayerwiseMLPRegressor: every parameter does what it says, in compiled code and in torch."""

import os
import pickle

import numpy as np
import pytest
from scipy.special import softmax
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits
from sklearn.model_selection import train_test_split

from sklearn_analytic import (
    SGD,
    Adam,
    AdamW,
    DenseNetwork,
    Device,
    DFAClassifier,
    DFARegressor,
    ImageNetwork,
    LayerwiseMLP,
    LayerwiseMLPRegressor,
    Partitions,
)
from sklearn_analytic.export.calibration import log_outputs
from sklearn_analytic.layerwise import estimators
from sklearn_analytic.layerwise import training as layerwise
from sklearn_analytic.layerwise.dense_stack import DenseStack
from sklearn_analytic.nn._mlp import raw_outputs
from tests.checks import assert_close, encoded

X, Y = load_digits(return_X_y=True)
X, X_TEST, Y, Y_TEST = X[:300], X[300:500], Y[:300], Y[300:500]
A, B = load_diabetes(return_X_y=True)
A, B = A[:200], B[:200]


SMALL = {"hidden_layer_sizes": (16, 16), "random_state": 0, "max_iter": 6}
TRAINED = DenseNetwork(readout="trained")


def classifier(**parameters):
    """A small network with nothing between its layers, which predicts as trained; parameters, as a grid names them."""
    return LayerwiseMLP(**SMALL, partitions=Partitions(interlayer=None), network=TRAINED).set_params(**parameters)


def regressor(**parameters):
    """The same for numbers."""
    settings = {"partitions": Partitions(interlayer=None), "network": TRAINED}
    return LayerwiseMLPRegressor(**SMALL, **settings).set_params(**parameters)


def assert_same_weights(first, second):
    for a, b in zip(first.coefs_ + first.intercepts_, second.coefs_ + second.intercepts_, strict=True):
        np.testing.assert_array_equal(a, b)


def differ(first, second):
    return any(np.any(a != b) for a, b in zip(first.coefs_, second.coefs_, strict=True))


def features(model, k=None):
    """What partition k, or the last, puts out for the training rows."""
    layers = list(zip(model.coefs_, model.intercepts_, strict=True))[:-1][: None if k is None else k + 1]
    return raw_outputs(layers, model.activation, encoded(model, X), last=model.activation)


# ---- every parameter arrives ----

# {name: (parameters, what they say, where it must arrive)}
RECIPE = {
    "solver": ({"solver": "sgd"}, "sgd", lambda r: r.optimizer.name),
    "momentum": ({"solver": SGD(momentum=0.5)}, 0.5, lambda r: r.optimizer.momentum),
    "nesterovs_momentum": ({"solver": SGD(nesterovs_momentum=False)}, False, lambda r: r.optimizer.nesterov),
    "beta_1": ({"solver": Adam(beta_1=0.5)}, 0.5, lambda r: r.optimizer.beta_1),
    "beta_2": ({"solver": AdamW(beta_2=0.6)}, 0.6, lambda r: r.optimizer.beta_2),
    "epsilon": ({"solver": Adam(epsilon=1e-3)}, 1e-3, lambda r: r.optimizer.epsilon),
    "alpha": ({"alpha": 0.1}, 0.1, lambda r: r.optimizer.alpha),
    "output": ({"output": "expgb"}, "expgb", lambda r: r.output),
    "batch_size": ({"batch_size": 33}, 33, lambda r: r.batch_size),
    "precision": ({"device": Device(precision="float64")}, "float64", lambda r: r.precision),
}
PLAN = {
    "batch_size": ({"batch_size": 33}, 33, lambda p: p.batch_size),
    "shuffle": ({"shuffle": False}, False, lambda p: p.shuffle),
    "learning_rate_init": ({"learning_rate_init": 0.5}, 0.5, lambda p: p.rate),
    "learning_rate": ({"learning_rate": "step"}, "step", lambda p: p.schedule),
    "power_t": ({"solver": Adam(power_t=0.25)}, 0.25, lambda p: p.power_t),
    "warmup_fraction": ({"solver": Adam(warmup_fraction=0.2)}, 0.2, lambda p: p.warmup),
    "tol": ({"tol": 0.5}, 0.5, lambda p: p.tol),
}
RULE = {
    "local_loss": ("predsim", lambda r: r.loss),
    "head_depth": (2, lambda r: r.head_depth),
    "head_width": (7, lambda r: r.head_width),
    "layer_start": ("random", lambda r: r.start),
    "interlayer": ("window", lambda r: r.interlayer),
}


@pytest.mark.parametrize("name", RECIPE)
def test_the_recipe_carries_the_parameter(name):
    parameters, value, read = RECIPE[name]
    assert read(classifier()._method().recipe(400)) != value
    recipe = classifier(**parameters)._method().recipe(400)
    assert read(recipe) == value and recipe.scheme == "backprop"


@pytest.mark.parametrize("name", PLAN)
def test_the_plans_carry_the_parameter(name):
    parameters, value, read = PLAN[name]
    for model, carries in ((classifier(), False), (classifier(**parameters), True)):
        ((first, second),) = model._method()._plans(400, [model._method().batch_size_of(400)] * 2)
        assert (read(first) == value) == (read(second) == value) == carries


@pytest.mark.parametrize("name", RULE)
def test_the_rule_carries_the_parameter_and_matters(name):
    value, read = RULE[name]
    plain = {"classes_": np.arange(10)}
    usual = {"interlayer": None, "head_depth": 1}
    models = [classifier(partitions=Partitions(**given)) for given in (usual, usual | {name: value})]
    for model in models:
        vars(model).update(plain)
    rules = [model._method().network_plan(64, 10).rule for model in models]
    assert read(rules[0]) != value and read(rules[1]) == value
    assert differ(*(clone(model).fit(X, Y) for model in models))


def test_patience_is_with_the_score_or_with_the_loss():
    for early, patience in ((True, (3, np.inf)), (False, (None, 3))):
        model = classifier(early_stopping=early, n_iter_no_change=3)
        plans = model._method()._plans(400, [16, 16])[0]
        assert [(plan.patience, plan.loss_patience) for plan in plans] == [patience] * 2


# ---- partitions and their order ----


def test_partitions():
    models = [
        classifier(hidden_layer_sizes=(16, 16, 16), partitions__n_partitions=k, max_iter=3).fit(X, Y)
        for k in (None, 2, 1)
    ]
    assert [model.partitions_ for model in models] == [[(0, 1), (1, 2), (2, 3)], [(0, 2), (2, 3)], [(0, 3)]]
    assert [len(model.heads_) for model in models] == [2, 1, 0]
    wide = classifier(hidden_layer_sizes=(10, 10, 40), partitions__n_partitions=2, max_iter=2).fit(X, Y)
    assert wide.partitions_ == [(0, 2), (2, 3)]


@pytest.mark.parametrize("order", ["sequential", "simultaneous"])
@pytest.mark.parametrize("weighted", [False, True])
def test_one_partition_is_backprop_bit_for_bit(order, weighted):
    weight = np.random.default_rng(0).uniform(0.5, 2, 300) if weighted else None
    model = classifier(partitions__n_partitions=1, order=order).fit(X, Y, weight)
    exact = DFAClassifier((16, 16), scheme="backprop", learning_rate_init=1e-3, max_iter=6, random_state=0).fit(
        X, Y, weight
    )
    assert_same_weights(model, exact)
    # the simultaneous loss is a mean of means
    assert model.loss_curve_ == (exact.loss_curve_ if order == "sequential" else pytest.approx(exact.loss_curve_))
    np.testing.assert_array_equal(model.predict_proba(X), exact.predict_proba(X))


@pytest.mark.parametrize("weighted", [False, True])
def test_one_partition_of_a_regressor_is_backprop_bit_for_bit(weighted):
    weight = np.random.default_rng(0).uniform(0.5, 2, 200) if weighted else None
    given = {"max_iter": 5, "random_state": 0, "early_stopping": True}
    model = LayerwiseMLPRegressor((16, 16), partitions=1, **given).fit(A, B, weight)
    exact = DFARegressor((16, 16), scheme="backprop", learning_rate_init=1e-3, **given).fit(A, B, weight)
    assert_same_weights(model, exact)
    assert model.loss_curve_ == exact.loss_curve_ and model.validation_scores_ == exact.validation_scores_


def test_early_stopping_of_one_partition_is_that_of_backprop():
    given = {
        "max_iter": 30,
        "random_state": 0,
        "early_stopping": True,
        "n_iter_no_change": 3,
        "learning_rate_init": 0.01,
    }
    model = LayerwiseMLP((16, 16), partitions=1, **given).fit(X, Y)
    exact = DFAClassifier((16, 16), scheme="backprop", **given).fit(X, Y)
    assert model.n_iter_ == exact.n_iter_ < 30 and model.temperature_ == exact.temperature_
    np.testing.assert_array_equal(model.predict_proba(X), exact.predict_proba(X))


def test_orders():
    models = {
        order: classifier(order=order, partitions__n_laps=2, max_iter=8).fit(X, Y) for order in ("sequential", "laps")
    }
    together = classifier(order="simultaneous").fit(X, Y)
    np.testing.assert_array_equal(together.layer_n_iter_, [6, 6])
    assert together.n_iter_ == len(together.loss_curve_) == 6
    assert differ(models["sequential"], models["laps"])
    assert_same_weights(classifier(order="laps", partitions__n_laps=1).fit(X, Y), classifier().fit(X, Y))
    for model in models.values():
        np.testing.assert_array_equal(model.layer_n_iter_, [4, 4])
    # in laps the loss of the first layer goes on where it was
    losses = models["laps"].loss_curve_
    assert losses[4] < losses[1]


@pytest.mark.parametrize("order", ["sequential", "laps"])
@pytest.mark.parametrize("total", [7, 8, 20])
def test_epochs_are_shared_out(order, total):
    model = classifier(order=order, max_iter=total).fit(X, Y)
    assert model.layer_n_iter_.sum() == total == model.n_iter_ == len(model.loss_curve_)
    assert model.layer_n_iter_.min() >= total // 2 - 3


def test_every_turn_has_an_epoch():
    assert classifier(max_iter=1).fit(X, Y).layer_n_iter_.tolist() == [1, 1]
    assert classifier(max_iter=1, order="laps", partitions__n_laps=2).fit(X, Y).layer_n_iter_.tolist() == [2, 2]


def test_automatic_epochs_and_rates():
    plans = {
        k: classifier(max_iter="auto", partitions__n_partitions=k)._method()._plans(300, [16] * k)[0] for k in (1, 2)
    }
    epochs = {k: sum(plan.n_epochs for plan in turns) for k, turns in plans.items()}
    exact = DFAClassifier(max_iter="auto")
    assert epochs[1] == epochs[2] == exact._method().plan(300, exact._method().recipe(300)).n_epochs
    rates = {k: classifier(hidden_layer_sizes=(8,) * k)._method().rate for k in (1, 2, 4, 6)}
    assert rates == {1: 0.001, 2: 0.002, 4: 0.004, 6: 0.004}
    assert (
        classifier(order="simultaneous")._method().rate
        == classifier(partitions__n_partitions=1)._method().rate
        == 0.001
    )


# ---- what teaches a layer ----


@pytest.mark.parametrize("local_loss", ["pred", "sim", "predsim"])
@pytest.mark.parametrize("order", ["sequential", "simultaneous"])
def test_every_local_loss_learns(local_loss, order):
    model = classifier(partitions__local_loss=local_loss, order=order, max_iter=30, learning_rate_init=0.01).fit(X, Y)
    assert model.score(X_TEST, Y_TEST) > 0.7


@pytest.mark.parametrize("interlayer", [None, "overparametrise", "lookahead", "transport", "window"])
def test_every_interlayer_learns(interlayer):
    parameters = {"partitions__interlayer": interlayer, "max_iter": 30, "hidden_layer_sizes": (24, 24, 24)}
    model = classifier(**parameters, learning_rate_init=0.01).fit(X, Y)
    assert model.score(X_TEST, Y_TEST) > 0.7
    assert [w.shape for w in model.coefs_] == [(64, 24), (24, 24), (24, 24), (24, 10)]


def test_heads_have_their_depth_and_width():
    found = {}
    for depth, width in ((0, None), (1, None), (3, 5)):
        model = classifier(partitions__head_depth=depth, partitions__head_width=width).fit(X, Y)
        found[depth, width] = [w.shape for w in model.heads_[0]["coefs"]]
    assert found == {
        (0, None): [(16, 10)],
        (1, None): [(16, 16), (16, 10)],
        (3, 5): [(16, 5), (5, 5), (5, 5), (5, 10)],
    }


def test_an_identity_start_begins_where_the_layer_below_ended():
    slow = {"learning_rate": "constant", "learning_rate_init": 1e-7, "partitions__interlayer": None}
    near, random = (
        classifier(partitions__layer_start=start, **slow).fit(X, Y).coefs_[1] for start in ("identity", "random")
    )
    assert np.abs(np.diag(near) - 1).max() < 0.1 < np.abs(np.diag(random) - 1).max()
    assert np.abs(near - np.diag(np.diag(near))).max() < 0.1


@pytest.mark.parametrize("output", ["softmax", "linear", "expgb", "pow3gb"])
def test_every_output_learns(output):
    model = classifier(output=output, max_iter=40, learning_rate_init=0.01).fit(X, Y)
    assert model.score(X_TEST, Y_TEST) > 0.7
    stages = list(model.staged_predict_proba(X))
    for p in stages:
        assert np.isfinite(p).all() and p.min() >= 0
        assert_close(p.sum(axis=1), np.ones(300), "float64")
    np.testing.assert_array_equal(stages[-1], model.predict_proba(X))
    raw = model._raw_outputs(X)
    assert_close(stages[-1], softmax(log_outputs(raw, output), axis=1), "float32")


# ---- memory ----


def test_batches_grow_with_the_budget_and_rates_with_their_root():
    small = {"hidden_layer_sizes": (16, 8), "batch_size": 4, "learning_rate_init": 0.01}
    usual = classifier(**small).fit(X, Y)
    assert usual.batch_sizes_ == [4, 4]
    budget = int(usual.layer_bytes_.max()) + 2000
    model = classifier(**small, partitions__memory_budget=budget).fit(X, Y)
    assert np.all(model.layer_bytes_ <= budget) and min(model.batch_sizes_) > 4
    assert model.batch_sizes_[1] > model.batch_sizes_[0]  # the narrower layer has room for more
    (plans,) = model._method()._plans(300, model.batch_sizes_)
    assert [plan.batch_size for plan in plans] == model.batch_sizes_
    assert [plan.rate for plan in plans] == pytest.approx([0.01 * np.sqrt(m / 4) for m in model.batch_sizes_])
    most = classifier(**small, partitions__memory_budget=10**9).fit(X, Y)
    assert most.batch_sizes_ == [15, 15]  # a twentieth of the rows
    assert np.array_equal(most.layer_n_iter_, usual.layer_n_iter_)
    less = classifier(**small, partitions__memory_budget=int(usual.layer_bytes_.max()) - 700).fit(X, Y)
    assert less.batch_sizes_[0] < 4


def test_a_budget_of_all_partitions_at_once(monkeypatch):
    small = {"hidden_layer_sizes": (16, 8), "batch_size": 4, "order": "simultaneous", "learning_rate_init": 0.01}
    usual = classifier(**small).fit(X, Y)
    budget = int(usual.layer_bytes_.sum()) + 2000
    seen, real = [], DenseStack.begin
    monkeypatch.setattr(DenseStack, "begin", lambda stack, k, size, together: seen.append(size) or real(stack, k, size))
    model = classifier(**small, partitions__memory_budget=budget).fit(X, Y)
    assert model.layer_bytes_.sum() <= budget and model.batch_sizes_[0] == model.batch_sizes_[1] > 4
    assert set(seen) == {model.batch_sizes_[0]}
    recipe = model._method().recipe(300)
    plan = model._method().plan(300, type(recipe)(**vars(recipe) | {"batch_size": model.batch_sizes_[0]}))
    assert plan.rate == pytest.approx(0.01 * np.sqrt(plan.batch_size / 4)) and plan.batch_size == model.batch_sizes_[0]
    auto = {"max_iter": "auto", "batch_size": 15}
    methods = [model.set_params(**auto)._method(), classifier(**small | auto)._method()]
    assert methods[0].plan(300, recipe).n_epochs == methods[1].plan(300, recipe).n_epochs


@pytest.mark.parametrize(("order", "name"), [("sequential", "layer 1"), ("simultaneous", "all layers")])
def test_a_budget_that_is_too_small_says_what_is_needed(order, name):
    with pytest.raises(
        ValueError, match=rf"partitions__memory_budget=1000 bytes is too small for {name}: .* need (\d+) b"
    ) as found:
        classifier(partitions__memory_budget=1000, order=order).fit(X, Y)
    needed = int(str(found.value).split("need ")[1].split()[0])
    assert classifier(partitions__memory_budget=needed, order=order, max_iter=2).fit(X, Y).batch_sizes_[0] == 1
    with pytest.raises(ValueError, match="too small"):
        classifier(partitions__memory_budget=needed - 1, order=order, max_iter=2).fit(X, Y)


def test_the_upper_layer_may_be_the_one_that_does_not_fit():
    bytes_ = classifier(hidden_layer_sizes=(4, 64), max_iter=2, batch_size=1).fit(X[:40], Y[:40]).layer_bytes_
    with pytest.raises(ValueError, match="too small for layer 2"):
        classifier(hidden_layer_sizes=(4, 64), partitions__memory_budget=int(bytes_[0])).fit(X, Y)
    with pytest.raises(ValueError, match="too small for layers 1 to 2"):
        classifier(partitions__n_partitions=1, partitions__memory_budget=10).fit(X, Y)


@pytest.mark.parametrize("order", ["sequential", "laps"])
def test_a_file_is_as_good_as_memory(monkeypatch, tmp_path, order):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    models, seen = [], []
    real = layerwise.train
    monkeypatch.setattr(layerwise, "train", lambda *a, **k: seen.append(os.listdir(tmp_path)) or real(*a, **k))
    for cache in ("memory", "memmap"):
        models.append(classifier(partitions__cache=cache, order=order, hidden_layer_sizes=(16, 16, 8)).fit(X, Y))
    assert_same_weights(*models)
    assert models[0].loss_curve_ == pytest.approx(models[1].loss_curve_, rel=1e-12)
    half = len(seen) // 2
    assert not any(seen[:half])
    assert [sum("features-" in name for name in names) for names in seen[half : half + 3]] == [0, 1, 1]
    assert [sum("head-" in name for name in names) for names in seen[half : half + 3]] == [0, 1, 2]
    assert os.listdir(tmp_path) == []


def test_other_caches():
    slow = {"solver": "sgd", "learning_rate_init": 0.01}
    exact, half, nothing = (
        classifier(partitions__cache=cache, **slow).fit(X, Y) for cache in ("memory", "float16", None)
    )
    assert_close(nothing.predict_proba(X), exact.predict_proba(X), "float32")
    assert_close(half.predict_proba(X), exact.predict_proba(X), "float16", scale=0.01)
    assert differ(half, exact)
    with pytest.raises(ValueError, match="cache='float16' holds features up to 65504"):
        classifier(partitions__cache="float16", input_encoding=None).fit(X * 1e6, Y)


def test_fewer_rows_go_on(monkeypatch):
    seen, real = [], layerwise.train
    monkeypatch.setattr(
        layerwise, "train", lambda ex, rows, *a, **k: seen.append(len(rows.x)) or real(ex, rows, *a, **k)
    )
    deep = {"hidden_layer_sizes": (16, 16, 16)}
    model = classifier(**deep, partitions__subsample=0.5, max_iter=30, learning_rate_init=0.01).fit(X, Y)
    assert seen == [300, 150, 75] and model.score(X_TEST, Y_TEST) > 0.7
    classifier(**deep).fit(X, Y)
    assert seen[3:] == [300, 300, 300]


# ---- readout in closed form ----


@pytest.mark.parametrize(
    ("order", "interlayer"), [("sequential", None), ("simultaneous", None), ("simultaneous", "window")]
)
@pytest.mark.parametrize("weighted", [False, True])
def test_a_solved_readout_is_ridge_on_the_features(order, interlayer, weighted):
    """Normal equations: the gradient of the squared error is in proportion to the weights, and the mean error is 0."""
    weight = np.random.default_rng(0).uniform(0.5, 2, 300) if weighted else np.ones(300)
    given = weight if weighted else None
    parameters = {"order": order, "partitions__interlayer": interlayer, "device": Device(precision="float64")}
    model = classifier(partitions__refit_head=True, **parameters).fit(X, Y, given)
    plain = classifier(**parameters).fit(X, Y, given)
    for k in (0, 1):
        np.testing.assert_array_equal(model.coefs_[k], plain.coefs_[k])
    h, readout = features(model), model.coefs_[-1]
    h = h.astype(np.float64)
    miss = np.eye(10)[Y] - h @ readout - model.intercepts_[-1]
    assert np.abs(weight @ miss).max() < 1e-8
    centred = h - weight @ h / weight.sum()
    slope = centred.T @ (weight[:, None] * miss)
    alpha = np.sum(slope * readout) / np.sum(readout**2)
    assert alpha >= -1e-8
    assert np.abs(slope - alpha * readout).max() < 1e-6 * np.abs(h).max() ** 2 * 300 * np.abs(readout).max()
    assert np.abs(plain.coefs_[-1] - readout).max() > 1e-3


def test_probabilities_of_a_solved_readout_are_linear():
    model = classifier(partitions__refit_head=True, max_iter=20).fit(X, Y)
    p = model.predict_proba(X_TEST)
    assert np.isfinite(p).all() and p.min() >= 0 and model.score(X_TEST, Y_TEST) > 0.7
    assert_close(p.sum(axis=1), np.ones(200), "float64")
    assert_close(p, softmax(log_outputs(model._raw_outputs(X_TEST), "linear"), axis=1), "float64")
    *_, last = model.staged_predict_proba(X_TEST)
    np.testing.assert_array_equal(last, p)
    first = next(model.staged_predict_proba(X_TEST))
    raw = estimators._staged_outputs(model, X_TEST)[0]
    assert_close(first, softmax(raw, axis=1), "float64")


def test_only_a_solved_readout_is_read_as_one(monkeypatch):
    stream = classifier(partitions__refit_head=True).partial_fit(X, Y, classes=np.arange(10))
    assert_close(stream.predict_proba(X), softmax(stream._raw_outputs(X), axis=1), "float64")
    solved = classifier(partitions__refit_head=True).fit(X, Y)
    assert solved._trained.targets.link == "linear"
    assert solved.partial_fit(X, Y)._trained.targets.link == "softmax"
    broken = classifier(partitions__refit_head=True, solver="sgd", learning_rate_init=1e30)
    with pytest.raises(FloatingPointError):
        broken.fit(X, Y)
    assert_close(broken.predict_proba(X), softmax(broken._raw_outputs(X), axis=1), "float64")
    assert pickle.loads(pickle.dumps(solved))._trained.targets.link == solved._trained.targets.link


def test_a_regressor_with_a_solved_readout():
    plain, solved = regressor(), regressor(partitions__refit_head=True)
    errors = [np.mean((model.fit(A, B).predict(A) - B) ** 2) for model in (plain, solved)]
    assert errors[1] < errors[0]
    assert np.isfinite(solved.predict(A)).all()


# ---- held-out rows ----


def test_training_ends_with_the_layer_that_gains_nothing():
    """One unit cannot carry ten classes: the layer below predicts."""
    model = classifier(hidden_layer_sizes=(24, 1, 24), early_stopping=True, max_iter=60, learning_rate_init=0.01)
    model.fit(X, Y)
    assert model.exit_ == 0 and [w.shape for w in model.coefs_] == [(64, 24), (24, 10)]
    assert len(model.partitions_) == 3 and model.heads_ == []
    assert model.layer_n_iter_[0] > 0 and model.layer_n_iter_[2] == 0
    lengths = {len(getattr(model, f"layer_{name}_")) for name in ("scores", "seconds", "bytes")}
    assert lengths == {2} == {len(model.effective_ranks_)}
    assert len(list(model.staged_predict(X))) == len(list(model.staged_predict_proba(X))) == 1
    assert model.layer_scores_[0] == model.best_validation_score_ and model.score(X_TEST, Y_TEST) > 0.7
    whole = classifier(hidden_layer_sizes=(24, 1, 24)).fit(X, Y)
    assert whole.exit_ == 2 and len(whole.layer_scores_) == 3


def test_a_partition_stops_early():
    parameters = {"early_stopping": True, "n_iter_no_change": 2, "learning_rate_init": 0.02, "tol": 0.01}
    model = classifier(max_iter=200, **parameters).fit(X, Y)
    assert model.layer_n_iter_[0] < 100
    assert len(model.validation_scores_) == model.n_iter_ == model.layer_n_iter_.sum()
    assert model.temperature_ != 1.0
    assert model.best_validation_score_ == model.layer_scores_.max()


@pytest.mark.parametrize("order", ["sequential", "simultaneous"])
def test_given_validation_rows_are_watched(order):
    weight = np.where(np.arange(200) < 150, 1.0, 0.0)
    model = classifier(order=order, max_iter=20, learning_rate_init=0.02)
    model.fit(X, Y, X_val=X_TEST, y_val=Y_TEST, sample_weight_val=weight)
    assert model.n_iter_ == 20 and len(model.validation_scores_) == 20
    assert model.layer_scores_[-1] == pytest.approx(model.score(X_TEST[:150], Y_TEST[:150]))
    if order == "simultaneous":
        assert model.best_validation_score_ == max(model.validation_scores_) == model.layer_scores_[-1]
    else:
        ends = np.cumsum(model.layer_n_iter_)
        parts = np.split(model.validation_scores_, ends[:-1])
        assert model.layer_scores_.tolist() == [part.max() for part in parts]
    with pytest.raises(ValueError, match="must be given together"):
        model.fit(X, Y, X_val=X_TEST)


@pytest.mark.parametrize("order", ["sequential", "simultaneous", "laps"])
@pytest.mark.parametrize("refit_head", [False, True])
def test_layer_scores_are_those_of_the_stages(order, refit_head):
    """Those of a readout that was solved for, too: the head before it is thrown away."""
    given = {"max_iter": 10, "order": order, "partitions__refit_head": refit_head}
    model = classifier(**given).fit(X, Y)
    stages = [np.mean(stage == Y) for stage in model.staged_predict(X)]
    assert_close(model.layer_scores_, stages, "float64")
    watched = classifier(**given).fit(X, Y, X_val=X_TEST, y_val=Y_TEST)
    stages = [np.mean(stage == Y_TEST) for stage in watched.staged_predict(X_TEST)]
    assert_close(watched.layer_scores_, stages, "float64")


# ---- weights and targets ----


@pytest.mark.parametrize("estimator", [LayerwiseMLP, DFAClassifier])
@pytest.mark.parametrize("device", ["cpu", "torch:cpu"])
def test_light_rows_are_learned(estimator, device):
    """Skipped are rows that are learned, not rows of little weight: in a fit, and in a stream of small weights."""
    if device != "cpu":
        pytest.importorskip("torch")
    given = {"random_state": 0, "device": device, "learning_rate_init": 0.01, "network": TRAINED}
    binary, light = Y == 1, np.where(Y == 1, 1e4, 1.0)
    model = estimator((16, 16), max_iter=60, **given).fit(X, binary, light)
    assert np.mean(model.predict(X)[~binary] == 0) > 0.5
    stream = estimator((16, 16), **given)
    for _ in range(20):
        stream.partial_fit(X, Y, classes=np.arange(10), sample_weight=np.full(300, 1e-3))
    assert stream.score(X, Y) > 0.9


@pytest.mark.parametrize("order", ["sequential", "simultaneous"])
def test_weights(order):
    weight = np.where(np.arange(300) < 200, 1.0, 0.0)
    assert_same_weights(classifier(order=order).fit(X, Y, weight), classifier(order=order).fit(X[:200], Y[:200]))
    plain = classifier(order=order).fit(X, Y)
    assert_close(classifier(order=order).fit(X, Y, np.full(300, 8.0)).coefs_[0], plain.coefs_[0], "float32")
    heavy = np.where(Y == 3, 5.0, 1.0)
    weighted = classifier(order=order).fit(X, Y, heavy)
    assert_same_weights(weighted, classifier(order=order, class_weight={3: 5.0}).fit(X, Y))
    assert differ(weighted, plain)


def test_a_balanced_stream_is_refused():
    with pytest.raises(ValueError, match="class_weight"):
        classifier(class_weight="balanced").partial_fit(X, Y, classes=np.arange(10))
    assert classifier(class_weight="balanced").fit(X, Y).score(X, Y) > 0.2


def test_two_classes_with_names():
    data, labels = load_breast_cancer(return_X_y=True)
    names = np.array(["bad", "good"])[labels]
    model = classifier(max_iter=20, partitions__local_loss="predsim").fit(data, names)
    assert model.score(data, names) > 0.9 and set(model.predict(data)) == {"bad", "good"}
    assert all(set(stage) <= {"bad", "good"} for stage in model.staged_predict(data))
    with pytest.raises(ValueError, match="one class"):
        classifier().fit(X, np.zeros(300))


@pytest.mark.parametrize("local_loss", ["pred", "predsim"])
def test_several_targets(local_loss):
    targets = np.column_stack([B, 1e3 * A[:, 0] - 7])
    model = regressor(max_iter=60, learning_rate_init=0.01, partitions__local_loss=local_loss).fit(A, targets)
    assert model.predict(A).shape == (200, 2) and model.score(A, targets) > 0.5
    stages = list(model.staged_predict(A))
    assert len(stages) == 2 and stages[0].shape == (200, 2)
    np.testing.assert_array_equal(stages[-1], model.predict(A))
    one = regressor().fit(A, B)
    assert [stage.shape for stage in one.staged_predict(A)] == [(200,), (200,)]
    column = regressor().fit(A, B[:, None])
    assert column.predict(A).shape == (200, 1)


def test_layer_scores_of_numbers():
    model = regressor(max_iter=20).fit(A, B)
    standard = (B - B.mean()) / B.std()
    found = [1 - np.mean(((s - B.mean()) / B.std() - standard) ** 2) for s in model.staged_predict(A)]
    assert_close(model.layer_scores_, found, "float32")


# ---- networks of torch ----


def test_torch_is_the_compiled_network():
    pytest.importorskip("torch")
    for parameters in (
        {"order": "simultaneous", "partitions__local_loss": "predsim", "partitions__head_depth": 1},
        {"partitions__interlayer": "overparametrise", "partitions__refit_head": True},
        {"partitions__interlayer": "window"},
    ):
        shared = parameters | {"solver": "sgd", "learning_rate_init": 0.01, "max_iter": 2}
        devices = [Device(name, precision="float64") for name in ("cpu", "torch:cpu")]
        compiled, torched = (classifier(**shared, device=device).fit(X, Y) for device in devices)
        # sums in another order; factors come from a singular value decomposition
        assert_close(torched.predict_proba(X), compiled.predict_proba(X), "float64", scale=1e4)
        assert len(list(torched.staged_predict(X))) == len(compiled.partitions_)


@pytest.mark.parametrize("order", ["sequential", "simultaneous"])
def test_small_images(order):
    pytest.importorskip("torch")
    shape = {"network": ImageNetwork((8, 8), (8, 16)), "hidden_layer_sizes": (16,)}
    model = classifier(**shape, order=order, max_iter=12, learning_rate_init=0.01, partitions__n_partitions=2).fit(X, Y)
    assert model.score(X_TEST, Y_TEST) > 0.6 and len(model.partitions_) == 2
    *_, last = model.staged_predict(X_TEST)
    np.testing.assert_array_equal(last, model.predict(X_TEST))
    loaded = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(loaded.predict_proba(X), model.predict_proba(X))
    loaded.partial_fit(X, Y)
    assert len(classifier(**shape, max_iter=1).fit(X[:50], Y[:50]).partitions_) == 3
    none = {"network": ImageNetwork((8, 8), ()), "hidden_layer_sizes": ()}
    assert classifier(**none).fit(X, Y).partitions_ == [(0, 0)]


def test_a_given_network():
    torch = pytest.importorskip("torch")
    nn = torch.nn
    network = nn.Sequential(nn.Linear(64, 16), nn.GELU(), nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 10))
    before = network[0].weight.detach().clone()
    model = classifier(network=network, max_iter=12, learning_rate_init=0.01).fit(X, Y)
    assert model.score(X_TEST, Y_TEST) > 0.6 and torch.equal(network[0].weight, before)
    assert len(list(model.staged_predict(X))) == 2
    with pytest.raises(ValueError, match="partitions=9, but the network has 2 hidden stages"):
        classifier(network=network, partitions__n_partitions=9).fit(X, Y)


def test_predicting_draws_nothing():
    pytest.importorskip("torch")
    state = np.random.RandomState(0)
    shape = {"network": ImageNetwork((8, 8), (4,)), "hidden_layer_sizes": (8,)}
    model = classifier(**shape, max_iter=1, random_state=state).fit(X[:100], Y[:100])
    before = state.get_state()[1:3]
    model.predict(X[:5]), list(model.staged_predict(X[:5]))
    assert all(map(np.array_equal, before, state.get_state()[1:3]))


def test_a_batch_of_one_row_has_no_statistics():
    torch = pytest.importorskip("torch")
    nn = torch.nn
    network = nn.Sequential(nn.Linear(64, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 10))
    with pytest.raises(ValueError, match=r"(?i)batch"):
        classifier(network=network, batch_size=1, max_iter=1).fit(X[:20], Y[:20])


# ---- accuracy ----


def test_layers_one_by_one_learn_what_backprop_learns():
    data, labels = load_digits(return_X_y=True)
    data, test, labels, test_labels = train_test_split(data, labels, stratify=labels, random_state=0)
    for parameters in (
        {},
        {"order": "simultaneous", "partitions": Partitions(local_loss="predsim")},
        {"partitions": Partitions(refit_head=True)},
    ):
        model = LayerwiseMLP((48, 48), random_state=0, max_iter=24, learning_rate_init=3e-3, **parameters)
        assert model.fit(data, labels).score(test, test_labels) > 0.95


def test_regression():
    rng = np.random.default_rng(0)
    data = rng.standard_normal((800, 5))
    target = data[:, 0] + data[:, 1] ** 2
    for parameters in ({}, {"order": "simultaneous"}):
        model = LayerwiseMLPRegressor((32, 32), random_state=0, max_iter=40, learning_rate_init=0.01, **parameters)
        assert model.fit(data[:600], target[:600]).score(data[600:], target[600:]) > 0.85
