"""State of networks trained by steps: every parameter reaches the recipe, and going on changes nothing silently."""

import dataclasses
import pickle
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from scipy.special import log_softmax
from sklearn.base import clone
from sklearn.datasets import load_diabetes, load_digits, load_iris
from threadpoolctl import threadpool_info, threadpool_limits

from sklearn_analytic import (
    KFAC,
    SGD,
    Adam,
    ApproximateActivation,
    Blocks,
    DecoupledMLPClassifier,
    Device,
    DFAClassifier,
    DFARegressor,
    Feedback,
    ImageNetwork,
    LayerwiseMLP,
    PrivateDFAClassifier,
    SequenceNetwork,
)
from sklearn_analytic.feedback.method import DirectFeedback
from sklearn_analytic.nn import KFACRecipe, MLPExecution, _plans
from sklearn_analytic.nn._feedback import interval_of
from tests.checks import assert_close

X, Y = load_digits(return_X_y=True)
X, Y = X[:400], Y[:400]


def classifier(**parameters):
    return DFAClassifier(**{"hidden_layer_sizes": (16, 16), "random_state": 0, "max_iter": 4} | parameters)


def regressor(**parameters):
    return DFARegressor(**{"hidden_layer_sizes": (16,), "random_state": 0, "max_iter": 20} | parameters)


# ---- every parameter arrives ----

RECIPE = {
    "scheme": ("modular", lambda r: r.scheme),
    "feedback": ("dkp", lambda r: r.feedback.name),
    "feedback__name": ("dkp", lambda r: r.feedback.name),
    "feedback__init": ("uniform", lambda r: r.feedback.init),
    "feedback__shared": (True, lambda r: r.feedback.shared),
    "feedback__density": (0.3, lambda r: r.feedback.density),
    "feedback__scale": (2.0, lambda r: r.feedback.scale),
    "feedback__learning_rate": (0.01, lambda r: r.feedback.rate),
    "feedback__refresh_interval": (7, lambda r: r.feedback.interval),
    "feedback__module_size": (3, lambda r: r.module_size),
    "feedback__tol_error": (0.2, lambda r: r.tol_error),
    "solver": ("sgd", lambda r: r.optimizer.name),
    "solver__momentum": (0.5, lambda r: r.optimizer.momentum),
    "solver__nesterovs_momentum": (False, lambda r: r.optimizer.nesterov),
    "solver__beta_1": (0.5, lambda r: r.optimizer.beta_1),
    "solver__beta_2": (0.6, lambda r: r.optimizer.beta_2),
    "solver__epsilon": (1e-3, lambda r: r.optimizer.epsilon),
    "solver__ema_decay": (0.9, lambda r: r.optimizer.ema_decay),
    "alpha": (0.1, lambda r: r.optimizer.alpha),
    "preconditioner": ("kfac", lambda r: None if r.kfac is None else "kfac"),
    "activation__bits": (8, lambda r: r.activation_bits),
    "batch_size": (33, lambda r: r.batch_size),
    "device__precision": ("float64", lambda r: r.precision),
}
PLAN = {
    "max_iter": (9, lambda p: p.n_epochs),
    "batch_size": (33, lambda p: p.batch_size),
    "learning_rate_init": (0.5, lambda p: p.rate),
    "learning_rate": ("step", lambda p: p.schedule),
    "shuffle": (False, lambda p: p.shuffle),
    "solver__warmup_fraction": (0.2, lambda p: p.warmup),
    "solver__power_t": (0.2, lambda p: p.power_t),
    "tol": (0.5, lambda p: p.tol),
}
VALUES = {
    "activation": ApproximateActivation("relu", bits=None),
    "device": Device(),
    "feedback": Feedback(),
    "solver": Adam(),
}


def with_setting(name, value):
    """Two classifiers, of which the second one has a parameter or a setting of a value."""
    is_of_sgd = "momentum" in name
    given = VALUES | {"solver": SGD()} if is_of_sgd else VALUES
    return classifier(**given), clone(classifier(**given)).set_params(**{name: value})


@pytest.mark.parametrize("name", RECIPE)
def test_the_recipe_carries_the_parameter(name):
    value, read = RECIPE[name]
    usual, changed = (model._method().recipe(400) for model in with_setting(name, value))
    assert read(usual) != value
    assert read(classifier()._method().recipe(400)) != value
    assert read(changed) == value


@pytest.mark.parametrize("name", PLAN)
def test_the_plan_carries_the_parameter(name):
    value, read = PLAN[name]
    models = (classifier(), *with_setting(name, value))
    plans = [model._method().plan(400, model._method().recipe(400)) for model in models]
    assert read(plans[0]) != value and read(plans[1]) != value and read(plans[2]) == value


def test_every_setting_is_asked_above():
    settings = {name for name in classifier(**VALUES).get_params() if "__" in name}
    settings |= {f"solver__{name}" for name in SGD().get_params()}
    elsewhere = {"activation__name", "device__name", "device__distributed", "feedback__alignment"}
    assert settings - elsewhere == {name for name in {**RECIPE, **PLAN} if "__" in name}


def test_rows_are_skipped_by_default_with_the_default_feedback_alone():
    def tolerance(**parameters):
        return classifier(**parameters)._method().recipe(400).tol_error

    assert tolerance() == 0.01 and tolerance(feedback=Feedback(tol_error=0.0)) == 0.0
    others = [{"feedback": "random"}, {"scheme": "backprop"}, {"activation": ApproximateActivation(bits=4)}]
    others += [{"preconditioner": "kfac"}]
    assert [tolerance(**other) for other in others] == [0.0] * 4


def test_patience_is_with_the_score_or_with_the_loss():
    for early, patience in ((True, (3, np.inf)), (False, (None, 3))):
        model = classifier(early_stopping=early, n_iter_no_change=3)
        plan = model._method().plan(400, model._method().recipe(400))
        assert (plan.patience, plan.loss_patience) == patience


LATER_OF_KFAC = {"solver": "eigen", "start": "identity", "damping_rule": "constant"}


def test_constants_of_kfac_arrive():
    given = {"damping": 0.1, "kl_clip": 0.2, "factor_decay": 0.3, "factor_interval": 4, "eigen_interval": 6}
    given |= {"interval_growth": 2.0, "damping_decay": 0.5, "milestones": (3,)}
    given |= {"solver": "eigen", "start": "mean", "damping_rule": "levenberg_marquardt"}
    assert set(given) == {field.name for field in dataclasses.fields(KFACRecipe)}
    assert classifier(preconditioner=KFAC(**given))._method().recipe(400).kfac == KFACRecipe(**given)


def test_kfac_of_a_file_of_earlier_versions_has_the_settings_of_then():
    state = {name: value for name, value in vars(KFAC(damping=0.1)).items() if name not in LATER_OF_KFAC}
    again = KFAC.__new__(KFAC)
    again.__setstate__(state)
    assert {name: getattr(again, name) for name in LATER_OF_KFAC} == LATER_OF_KFAC and again.damping == 0.1
    flat = KFAC.of_earlier({"preconditioner": "kfac", "kfac_params": {"damping": 0.1}})
    assert {"eigen_interval": 25, "kl_clip": 0.001, "damping": 0.1, **LATER_OF_KFAC}.items() <= vars(flat).items()


def test_sgd_behind_kfac_has_a_rate_of_its_own():
    def rate(**parameters):
        method = classifier(**parameters)._method()
        return method.plan(400, method.recipe(400)).rate

    assert rate(preconditioner="kfac", solver="sgd") == 0.3
    assert rate(solver="sgd") == rate(preconditioner="kfac", solver="sgd", learning_rate_init=0.001) == 0.001


@pytest.mark.parametrize(
    "wrong",
    [
        {"damping": -1},
        {"damping": np.nan},
        {"damping": "a"},
        {"kl_clip": 0},
        {"factor_decay": 1},
        {"factor_interval": 0},
        {"eigen_interval": 2.5},
        {"milestones": 3},
        {"interval_growth": 0},
        {"solver": "inverse"},
        {"start": "zeros"},
        {"damping_rule": "adaptive"},
    ],
    ids=str,
)
def test_wrong_constants_of_kfac_are_named(wrong):
    with pytest.raises(ValueError, match=rf"preconditioner__{next(iter(wrong))} must be"):
        classifier(preconditioner=KFAC(**wrong)).fit(X, Y)


def test_validation_fraction_and_weights_of_held_out_rows():
    models = [classifier(early_stopping=True, validation_fraction=f) for f in (0.1, 0.4)]
    held_out = [model._method().split(X, Y, None, None, 0)[1][0] for model in models]
    assert [len(rows) for rows in held_out] == [pytest.approx(40, abs=6), pytest.approx(160, abs=6)]
    weight = np.where(np.arange(100) < 50, 1.0, 0.0)
    found = classifier().fit(X, Y, X_val=X[:100], y_val=Y[:100], sample_weight_val=weight)
    assert found.best_validation_score_ == found.score(X[:50], Y[:50])
    with pytest.raises(ValueError, match="must be given together"):
        classifier().fit(X, Y, sample_weight_val=weight)


@pytest.mark.parametrize("device", ["cuda:99", "meta", "nonsense", "torch:nonsense"])
def test_a_device_that_cannot_be_used_is_named(device):
    pytest.importorskip("torch")
    with pytest.raises(ValueError, match=f"device='{device}'"):
        classifier(device=device).fit(X, Y)


@pytest.mark.parametrize("shape", [8, "88", (8.0, 8.0), (8, 8, 1, 1), (-8, -8)])
def test_an_image_shape_is_integers(shape):
    with pytest.raises(ValueError, match=r"network__image_shape must be \(H, W\)"):
        classifier(network=ImageNetwork(shape)).fit(X, Y)


# ---- going on ----


def test_a_warm_start_keeps_features_targets_and_classes():
    A, b = load_diabetes(return_X_y=True)
    model = regressor(warm_start=True).fit(A, b)
    with pytest.raises(ValueError, match="20 features"):
        model.fit(np.hstack([A, A]), b)
    with pytest.raises(ValueError, match="2 targets, but the network has 1"):
        model.fit(A, np.column_stack([b, b]))
    labels = classifier(warm_start=True).fit(X, Y)
    with pytest.raises(ValueError, match="labels that are not in classes"):
        labels.fit(X, Y + 100)


@pytest.mark.parametrize(
    "change",
    [
        {"feedback": "sparse"},
        {"feedback": Feedback("random", init="uniform")},
        {"feedback": Feedback("random", shared=True)},
        {"solver": "sgd"},
        {"scheme": "backprop"},
        {"preconditioner": "kfac"},
        {"activation": "tanh"},
        {"device": Device(precision="float64")},
    ],
    ids=str,
)
def test_what_training_stands_on_may_not_change(change):
    model = classifier(feedback="random", warm_start=True).fit(X, Y)
    before = model.predict_proba(X)
    model.set_params(**change)
    with pytest.raises(ValueError, match="has changed since the last fit"):
        model.partial_fit(X, Y)
    model.set_params(**classifier(feedback="random").get_params())
    np.testing.assert_array_equal(model.predict_proba(X), before)


@pytest.mark.parametrize("change", [{"alpha": 5.0}, {"learning_rate_init": 0.1}, {"solver": Adam(beta_1=0.1)}])
def test_other_parameters_may_change(change):
    model = classifier(warm_start=True).fit(X, Y)
    same = classifier(warm_start=True).fit(X, Y).fit(X, Y)
    assert not np.array_equal(model.set_params(**change).fit(X, Y).coefs_[0], same.coefs_[0])


@pytest.mark.parametrize("init", ["normal", "product", "sign_product"])
def test_binary_feedback_stays_what_it_was(init, monkeypatch):
    """Signs made from the first weights are kept; drawn ones come back with the seed."""
    model = classifier(feedback=Feedback("binary", init=init), warm_start=True, random_state=None)
    seen = []
    real = DirectFeedback.network_plan

    def network_plan(self, *sizes):
        plan = real(self, *sizes)
        build = plan.execution

        def execution(recipe, generator):
            seen.append(build(recipe, generator))
            return seen[-1]

        object.__setattr__(plan, "execution", execution)
        return plan

    monkeypatch.setattr(DirectFeedback, "network_plan", network_plan)
    model.fit(X, Y).fit(X, Y)
    first, again = (execution.feedback_matrices() for execution in seen)
    for b, c in zip(first, again, strict=True):
        np.testing.assert_array_equal(b, c)


def test_held_out_rows_stay_held_out():
    rng = np.random.default_rng(0)
    noise, labels = rng.standard_normal((300, 10)), rng.integers(2, size=300)
    model = classifier(early_stopping=True, warm_start=True, max_iter=60, validation_fraction=0.3, n_iter_no_change=60)
    for _ in range(3):
        model.fit(noise, labels)
    assert model.validation_scores_[-1] < 0.75


def test_what_an_earlier_fit_left_is_gone():
    model = classifier(early_stopping=True, feedback=Feedback(alignment=True)).fit(X, Y)
    assert model.temperature_ != 1.0
    model.set_params(early_stopping=False, feedback__alignment=False).fit(X, Y)
    assert model.temperature_ == 1.0
    assert not {"validation_scores_", "best_validation_score_", "alignment_"} & set(vars(model))


def test_divergence_at_once_leaves_a_fitted_estimator_alone():
    model = classifier(solver="sgd").fit(X, Y)
    before = model.predict_proba(X)
    with pytest.raises(FloatingPointError, match="as it was before this fit"):
        model.set_params(learning_rate_init=1e30).fit(X, Y)
    np.testing.assert_array_equal(model.predict_proba(X), before)
    fresh = classifier(solver="sgd", learning_rate_init=1e30)
    with pytest.raises(FloatingPointError, match="as it was before this block"):
        fresh.partial_fit(X, Y, classes=np.arange(10))
    assert not hasattr(fresh, "classes_") and not hasattr(fresh, "coefs_")


# ---- numbers at the edge ----


def test_one_validation_row_is_enough():
    A, b = load_diabetes(return_X_y=True)
    model = regressor(max_iter=40).fit(A[:300], b[:300], X_val=A[300:301], y_val=b[300:301])
    assert np.isfinite(model.validation_scores_).all()
    assert model.best_validation_score_ == max(model.validation_scores_)


def test_few_held_out_rows_hardly_move_the_temperature():
    A, b = load_iris(return_X_y=True)
    rows = np.r_[0:20, 50:70, 100:120]
    model = classifier(early_stopping=True, max_iter=40).fit(A[rows], b[rows])
    assert 0.5 < model.temperature_ < 2


def test_log_probabilities_of_sure_rows():
    A, b = load_iris(return_X_y=True)
    model = classifier(max_iter=50).fit(A, b)
    outputs = model._raw_outputs(1e4 * A)
    np.testing.assert_allclose(model.predict_log_proba(1e4 * A), log_softmax(outputs, axis=1))
    assert np.isfinite(model.predict_log_proba(1e4 * A)).all()


@pytest.mark.parametrize("size", [1e308, 1e-320, 1.0])
def test_the_size_of_weights_does_not_matter(size):
    expected = classifier().fit(X, Y).predict_proba(X)
    assert_close(classifier().fit(X, Y, sample_weight=np.full(400, size)).predict_proba(X), expected, "float32")


def test_a_stream_refuses_weights_beyond_float32():
    with pytest.raises(ValueError, match="weights of a stream must be below"):
        classifier().partial_fit(X, Y, classes=np.arange(10), sample_weight=np.full(400, 1e300))


@pytest.mark.parametrize("size", [1e200, 1e-200])
def test_the_size_of_targets_does_not_matter(size):
    A, b = load_diabetes(return_X_y=True)
    expected = regressor().fit(A, b).predict(A)
    assert_close(regressor().fit(A, b * size).predict(A) / size, expected, "float32")


def test_a_regression_stream_may_start_with_one_row():
    rng = np.random.default_rng(0)
    A = rng.standard_normal((400, 3))
    b = 1e5 * (A @ [1.0, 2.0, -1.0]) + 3e5
    model = regressor(learning_rate_init=3e-3).partial_fit(A[:1], b[:1])
    for _ in range(20):
        model.partial_fit(A, b)
    assert model.score(A, b) > 0.95


def test_dkp_and_low_bits_exclude_each_other():
    with pytest.raises(ValueError, match="reads exact activations"):
        classifier(feedback="dkp", activation=ApproximateActivation(bits=4)).fit(X, Y)
    for parameters in ({"feedback": "dkp"}, {"feedback": "learned"}, {"activation": ApproximateActivation()}):
        with pytest.raises(ValueError, match="look at each process's share"):
            classifier(device=Device(distributed=True), **parameters).fit(X, Y)


# ---- threads ----


def blas_threads():
    return {pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"}


def test_concurrent_fits_are_the_serial_ones_and_leave_the_threads_of_blas():
    with threadpool_limits(2, user_api="blas"):
        before = blas_threads()
        expected = [classifier(random_state=k).fit(X, Y).predict_proba(X) for k in range(4)]
        with ThreadPoolExecutor(4) as pool:
            found = list(pool.map(lambda k: classifier(random_state=k).fit(X, Y).predict_proba(X), [0, 1, 2, 3] * 3))
        assert blas_threads() == before
    for k, probabilities in enumerate(found):
        np.testing.assert_array_equal(probabilities, expected[k % 4])


# ---- rates by length, and weights that are averaged ----


def rate_of_fit(n_rows, **parameters):
    method = classifier(**parameters)._method()
    return method.plan(n_rows, method.recipe(n_rows)).rate


def test_an_automatic_rate_follows_the_length_of_a_fit():
    at_most = rate_of_fit(4000, batch_size=128, max_iter=30)
    assert at_most == 3e-3 == rate_of_fit(4000, batch_size=512, max_iter=3)
    assert rate_of_fit(4000, batch_size=128, max_iter=60) == pytest.approx(at_most / 2)
    assert rate_of_fit(4000, batch_size=64, max_iter=30) == pytest.approx(at_most / np.sqrt(2))
    assert rate_of_fit(128 * 400, batch_size=128, max_iter=30) == pytest.approx(at_most / np.sqrt(3))
    assert rate_of_fit(10**7, batch_size=128, max_iter=30) == 1e-3
    assert rate_of_fit(4000, batch_size=128, max_iter=30, solver="sgd") == 1e-3
    assert rate_of_fit(4000, batch_size=128, max_iter=30, network=SequenceNetwork(8)) == 1e-3
    assert rate_of_fit(4000, learning_rate_init=0.1) == 0.1


def test_blocks_that_are_read_again_have_the_rate_of_the_whole(monkeypatch):
    seen = []
    step = MLPExecution.epoch
    monkeypatch.setattr(
        MLPExecution,
        "epoch",
        lambda self, placed, order, rates: (seen.append(rates[0]), step(self, placed, order, rates))[1],
    )
    model = classifier(learning_rate="constant", batch_size=100, max_iter=2)
    model.fit_blocks(Blocks.from_arrays(X, Y, block_size=200))
    assert seen == pytest.approx([rate_of_fit(400, batch_size=100, max_iter=2)] * 4)


def test_a_wrong_rate_is_refused():
    with pytest.raises(ValueError, match=r"learning_rate_init must be a number above 0.*'auto' is allowed, too"):
        classifier(learning_rate_init="fast").fit(X, Y)


@pytest.mark.parametrize("device", ["cpu", "torch:cpu"])
def test_averaged_weights_predict_and_training_goes_on(device):
    averaged = classifier(solver=Adam(ema_decay=0.9), device=device, warm_start=True)
    plain = classifier(device=device, warm_start=True).fit(X, Y)
    averaged.fit(X, Y)
    assert np.abs(averaged.coefs_[0] - plain.coefs_[0]).max() > 1e-6
    rest = [(X[:200], Y[:200]), (X[200:], Y[200:])]
    for block in rest:  # the steps are those without a mean
        averaged.partial_fit(*block)
        plain.partial_fit(*block)
    assert averaged.loss_ == plain.loss_
    written = [w + 1 for w in averaged.coefs_]
    averaged.coefs_ = written
    averaged.set_params(learning_rate_init=1e-12).partial_fit(*rest[0])
    for found, expected in zip(averaged.coefs_, written, strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-5)


def test_a_mean_may_begin_and_end_between_fits():
    models = [
        classifier(warm_start=True, device=Device(name, precision="float64")).fit(X, Y) for name in ("cpu", "torch:cpu")
    ]
    for model in models:
        model.set_params(solver=Adam(ema_decay=0.5)).partial_fit(X, Y)
    for one, other in zip(models[0].coefs_, models[1].coefs_, strict=True):
        assert_close(one, other, "float64", scale=1e4)
    model = models[0]
    before = model.predict_proba(X)
    model.set_params(solver="adam", learning_rate_init=1e-12).fit(X, Y)
    np.testing.assert_allclose(model.predict_proba(X), before, atol=1e-5)


def test_compiled_and_torch_average_alike():
    first, second = (
        classifier(solver=Adam(ema_decay=0.8), device=Device(name, precision="float64")).fit(X, Y)
        for name in ("cpu", "torch:cpu")
    )
    for one, other in zip(first.coefs_, second.coefs_, strict=True):
        assert_close(one, other, "float64", scale=1e4)


@pytest.mark.parametrize("model", [LayerwiseMLP, DecoupledMLPClassifier, PrivateDFAClassifier])
def test_other_ways_to_train_refuse_a_mean(model):
    with pytest.raises(ValueError, match="trained in one piece"):
        model(solver=Adam(ema_decay=0.9)).fit(X, Y)


def test_momentum_is_shorter_in_a_stream(monkeypatch):
    seen = []

    class Spy(MLPExecution):
        def __init__(self, layers, activation, recipe, *rest):
            seen.append(recipe.optimizer.beta_1)
            super().__init__(layers, activation, recipe, *rest)

    monkeypatch.setattr(_plans, "MLPExecution", Spy)
    model = classifier().fit(X, Y).partial_fit(X[:100], Y[:100])
    model.fit_blocks(Blocks.from_arrays(X, Y, block_size=400))
    model.set_params(solver=Adam(beta_1=0.8)).partial_fit(X[:100], Y[:100])
    assert seen == [0.9, 0.7, *[0.9] * 4, 0.8]


# ---- intervals ----


def test_an_automatic_interval_is_short_and_no_longer_than_a_block():
    def interval(n_rows, *given, n_outputs=3, **settings):
        method = classifier(feedback=Feedback(*given, **settings), batch_size=16)._method()
        return interval_of(method.recipe(n_rows).feedback, n_outputs, 16)

    assert [interval(n) for n in (16, 40, 800)] == [1, 2, 2]
    assert [interval(n, n_outputs=40) for n in (40, 800)] == [3, 13]  # a fifth of backpropagation's error
    assert interval(16, refresh_interval=7) == 7
    assert interval(800, "binary", init="sign_product") == 0
    assert interval(800, "sparse", init="product", refresh_interval=3) == 3


def test_an_interval_of_earlier_versions_that_renewed_nothing_is_forgotten():
    def earlier(*given, **settings):
        value = Feedback(*given, **settings)
        value.__setstate__(value.get_params() | {"refresh_interval": 20})
        return value.refresh_interval

    assert earlier("binary") == "auto" == earlier("dkp", init="product") == earlier("sparse", init="product")
    assert earlier("refresh") == 20
    now = Feedback("dkp", refresh_interval=5)
    assert pickle.loads(pickle.dumps(now)).get_params() == now.get_params()


@pytest.mark.parametrize("device", ["cpu", "torch:cpu"])
@pytest.mark.parametrize("feedback", [("binary", "sign_product"), ("sparse", "product")])
def test_following_feedback_learns_and_goes_on(feedback, device):
    name, init = feedback
    given = Feedback(name, init=init, refresh_interval=3, density=0.3, alignment=True)
    model = classifier(feedback=given, device=device, max_iter=60, warm_start=True).fit(X, Y)
    assert model.score(X, Y) > 0.95
    assert model.alignment_[-1].min() > 0.5
    again = pickle.loads(pickle.dumps(model))
    for one in (model, again):
        one.partial_fit(X[:100], Y[:100])
    np.testing.assert_array_equal(model.predict_proba(X), again.predict_proba(X))
