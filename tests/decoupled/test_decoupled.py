"""DecoupledMLPClassifier and DecoupledMLPRegressor: every parameter does what it says, whoever calls the modules."""

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits
from sklearn.model_selection import train_test_split

from sklearn_analytic import (
    SGD,
    Adam,
    AdamW,
    DecoupledMLPClassifier,
    DecoupledMLPRegressor,
    DenseNetwork,
    Device,
    DFAClassifier,
    DFARegressor,
    ImageNetwork,
    PipelineRule,
)
from sklearn_analytic.decoupled import plans as _module_plans
from sklearn_analytic.decoupled.pipeline import staleness_counts
from sklearn_analytic.decoupled.pipeline_executors import Sequential, Threads
from tests.checks import assert_close

X, Y = load_digits(return_X_y=True)
X, X_TEST, Y, Y_TEST = X[:300], X[300:500], Y[:300], Y[300:500]
A, B = load_diabetes(return_X_y=True)
A, B = A[:200], B[:200]
SMALL = {"hidden_layer_sizes": (16, 16, 16), "schedule": "fdg", "random_state": 0, "max_iter": 6}


def classifier(**parameters):
    return DecoupledMLPClassifier(**SMALL | parameters)


def regressor(**parameters):
    return DecoupledMLPRegressor(**SMALL | parameters)


def assert_same_weights(first, second):
    for a, b in zip(first.coefs_ + first.intercepts_, second.coefs_ + second.intercepts_, strict=True):
        np.testing.assert_array_equal(a, b)


def differ(first, second):
    return any(np.any(a != b) for a, b in zip(first.coefs_, second.coefs_, strict=True))


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
    "max_iter": ({"max_iter": 9}, 9, lambda p: p.n_epochs),
}
RULE = {
    "schedule": ({"schedule": "ddg"}, "ddg", lambda r: r.schedule),
    "operation_order": ({"pipeline": PipelineRule(operation_order="forward_first")}, True, lambda r: r.forward_first),
    "shrink": ({"pipeline": PipelineRule(shrink=0.5)}, 0.5, lambda r: r.shrink),
    "accumulation_steps": ({"pipeline": PipelineRule(accumulation_steps=3)}, 3, lambda r: r.accumulation),
    "weight_version": ({"pipeline": PipelineRule(weight_version="current")}, False, lambda r: r.stash),
    "recompute": ({"pipeline": PipelineRule(recompute=True)}, True, lambda r: r.recompute),
    "predictor": ({"pipeline": PipelineRule(predictor="adam")}, "adam", lambda r: r.predictor),
    "module_rates": ({"pipeline": PipelineRule(module_rates="inverse")}, "inverse", lambda r: r.rate_rule),
    "drain": ({"pipeline": PipelineRule(drain=False)}, False, lambda r: r.drain),
}


@pytest.mark.parametrize("name", RECIPE)
def test_the_recipe_carries_the_parameter(name):
    parameters, value, read = RECIPE[name]
    assert read(classifier()._method().recipe(400)) != value
    recipe = classifier(**parameters)._method().recipe(400)
    assert read(recipe) == value and recipe.scheme == "backprop"


@pytest.mark.parametrize("name", PLAN)
def test_the_plan_carries_the_parameter(name):
    parameters, value, read = PLAN[name]
    for model, carries in ((classifier(), False), (classifier(**parameters), True)):
        assert (read(model._method().plan(400, model._method().recipe(400))) == value) == carries


@pytest.mark.parametrize("name", RULE)
def test_the_rule_carries_the_parameter_and_matters(name):
    parameters, value, read = RULE[name]
    # the last batches of an epoch are lost without a drain, if they are not carried on
    plain, other = classifier(n_modules=3, max_iter=2), classifier(n_modules=3, max_iter=2, **parameters)
    assert read(plain._method().rule()) != value and read(other._method().rule()) == value
    assert differ(plain.fit(X, Y), other.fit(X, Y))


def test_the_mean_of_gradients_matters_to_plain_steps_alone():
    rules = [PipelineRule(accumulation=kind, accumulation_steps=4, drain=False) for kind in ("sum", "mean")]
    for solver, changes in ((SGD(), True), (Adam(epsilon=1e-30), False)):
        given = {"solver": solver, "device": Device(precision="float64")}
        first, second = (classifier(pipeline=rule, **given).fit(X, Y) for rule in rules)
        far = max(np.abs(a - b).max() for a, b in zip(first.coefs_, second.coefs_, strict=True))
        assert (far > 1e-6) == changes


def test_the_regulator_of_a_prediction():
    rules = [PipelineRule(regulator=r) for r in (0.0, 0.5, 1.0)]
    models = [classifier(schedule="dtrp", pipeline=rule).fit(X, Y) for rule in rules]
    assert differ(models[0], models[1]) and differ(models[1], models[2])
    assert_same_weights(models[0], classifier(schedule="dtrp", pipeline=PipelineRule(predictor=None)).fit(X, Y))


@pytest.mark.parametrize(
    ("parameters", "found"),
    [
        ({"schedule": "fdg"}, ("fdg", False, False, None)),
        ({"schedule": "adl"}, ("adl", False, False, None)),
        ({"schedule": "ddg"}, ("ddg", True, False, None)),
        ({"schedule": "dtrp"}, ("dtrp", False, True, "adam")),
        ({"schedule": "dtrp", "solver": "sgd"}, ("dtrp", False, True, "velocity")),
        (
            {"schedule": "dtrp", "pipeline": PipelineRule(recompute=False, predictor=None)},
            ("dtrp", False, False, None),
        ),
        ({"schedule": "auto"}, ("ddg", True, False, None)),
        ({"schedule": "auto", "n_modules": 3}, ("ddg", True, False, "adam")),
        (
            {"schedule": "auto", "pipeline": PipelineRule(module_layers=(1, 1, 1, 1)), "solver": "sgd"},
            ("ddg", True, False, "velocity"),
        ),
        ({"schedule": "auto", "n_modules": 3, "pipeline": PipelineRule(predictor=None)}, ("ddg", True, False, None)),
    ],
    ids=str,
)
def test_automatic_parts_of_a_schedule(parameters, found):
    rule = classifier(**parameters)._method().rule()
    assert (rule.schedule, rule.forward_first, rule.recompute, rule.predictor) == found


# ---- modules ----


def test_modules():
    sizes = {"hidden_layer_sizes": (32,) * 7}
    # the first layer reads 64 columns, the last one has 10 units
    assert classifier(n_modules=4, max_iter=1, **sizes).fit(X, Y).modules_ == [(0, 1), (1, 3), (3, 5), (5, 8)]
    given = classifier(pipeline=PipelineRule(module_layers=[1, 5, 2]), max_iter=1, **sizes).fit(X, Y)
    assert given.modules_ == [(0, 1), (1, 6), (6, 8)] and given.staleness_.shape == (3,)


def test_measured_costs_cut_the_network_somewhere():
    given = {"n_modules": 3, "hidden_layer_sizes": (64,) * 5, "warm_start": True}
    model = classifier(pipeline=PipelineRule(balance="measured"), **given).fit(X, Y)
    borders = [0, *(stop for _, stop in model.modules_)]
    assert len(borders) == 4 and borders == sorted(set(borders)) and borders[-1] == 6
    before = model.modules_
    assert model.fit(X, Y).modules_ == before  # going on, modules are not measured anew


def test_compensation_of_recomputation():
    plain = classifier(schedule="dtrp", batch_size=30)
    assert plain._method().recipe(300).batch_size == 30
    assert plain.set_params(pipeline=PipelineRule(batch_compensation="batch"))._method().recipe(300).batch_size == 40
    assert plain._method().recipe(35).batch_size == 35
    sizes = {"hidden_layer_sizes": (32,) * 14, "schedule": "dtrp", "max_iter": 1}
    rules = [PipelineRule(batch_compensation=kind) for kind in (None, "split")]
    even, uneven = (classifier(pipeline=rule, **sizes).fit(X, Y) for rule in rules)
    assert even.modules_[0][1] > uneven.modules_[0][1]  # the module that runs twice gets fewer layers


# ---- laws ----


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(
    "parameters", [{"n_modules": 1}, {"n_modules": 1, "schedule": "dtrp"}, {"n_modules": 3, "schedule": "backprop"}]
)
def test_without_a_delay_it_is_backprop_bit_for_bit(parameters, weighted):
    weight = np.random.default_rng(0).uniform(0.5, 2, 300) if weighted else None
    model = classifier(**parameters).fit(X, Y, weight)
    exact = DFAClassifier((16, 16, 16), scheme="backprop", learning_rate_init=1e-3, max_iter=6, random_state=0).fit(
        X, Y, weight
    )
    assert_same_weights(model, exact)
    assert model.loss_curve_ == exact.loss_curve_
    np.testing.assert_array_equal(model.predict_proba(X), exact.predict_proba(X))
    assert not model.staleness_.any() and np.all(model.weight_versions_ == 1)


@pytest.mark.parametrize("solver", ["sgd", "adam", "adamw"])
def test_without_a_delay_a_regressor_is_backprop_bit_for_bit(solver):
    given = {"max_iter": 5, "random_state": 0, "early_stopping": True, "solver": solver, "alpha": 0.1}
    model = DecoupledMLPRegressor((16, 16), n_modules=3, schedule="backprop", **given).fit(A, B)
    exact = DFARegressor((16, 16), scheme="backprop", learning_rate_init=1e-3, **given).fit(A, B)
    assert_same_weights(model, exact)
    assert model.loss_curve_ == exact.loss_curve_ and model.validation_scores_ == exact.validation_scores_


VARIANTS = [
    {"schedule": "fdg"},
    {"schedule": "auto"},
    {"schedule": "ddg", "pipeline": PipelineRule(weight_version="current")},
    {"schedule": "adl", "pipeline": PipelineRule(accumulation_steps=3, shrink=0.7), "solver": "sgd"},
    {"schedule": "dtrp", "pipeline": PipelineRule(drain=False)},
]


@pytest.mark.parametrize("parameters", VARIANTS, ids=str)
def test_threads_give_the_same_bits(parameters):
    rule = parameters.get("pipeline", PipelineRule())
    rules = [clone(rule).set_params(executor=name) for name in ("sequential", "threads")]
    first, second = (classifier(n_modules=4, **parameters | {"pipeline": rule}).fit(X, Y) for rule in rules)
    assert_same_weights(first, second)
    assert first.loss_curve_ == second.loss_curve_
    np.testing.assert_array_equal(first.staleness_, second.staleness_)


@pytest.mark.parametrize("parameters", VARIANTS, ids=str)
def test_torch_trains_the_same_network(parameters):
    pytest.importorskip("torch")
    given = {"n_modules": 3, "max_iter": 2} | parameters
    devices = [Device(name, precision="float64") for name in ("cpu", "torch:cpu")]
    compiled, torched = (classifier(device=device, **given).fit(X, Y) for device in devices)
    for a, b in zip(compiled.coefs_, torched.coefs_, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-7, atol=1e-9)
    np.testing.assert_array_equal(compiled.staleness_, torched.staleness_)


def test_without_momentum_nothing_is_known_of_the_way():
    """The velocity of plain steps is zero, on every device."""
    plain = {"solver": SGD(momentum=0.0), "schedule": "dtrp", "n_modules": 3}
    model = classifier(**plain, device=Device(precision="float64")).fit(X, Y)
    without = classifier(**plain, device=Device(precision="float64"), pipeline=PipelineRule(predictor=None))
    assert_same_weights(model, without.fit(X, Y))
    pytest.importorskip("torch")
    other = classifier(**plain, device=Device("torch:cpu", precision="float64")).fit(X, Y)
    for a, b in zip(model.coefs_, other.coefs_, strict=True):
        assert_close(a, b, "float64", 20.0)


@pytest.mark.parametrize(
    ("parameters", "alone"),
    [
        ({"schedule": "ddg", "pipeline": PipelineRule(operation_order="backward_first"), "n_modules": 3}, True),
        ({"n_modules": 2}, True),
        ({"schedule": "backprop", "n_modules": 3}, False),
    ],
    ids=str,
)
def test_modules_that_overlap_compute_in_one_thread_each(parameters, alone):
    model = classifier(**parameters)
    model.classes_ = np.arange(10)
    assert model._method()._modules(64, 10).run_alone == alone


@pytest.mark.parametrize("accumulation", [1, 2, 5])
def test_measured_staleness_is_that_of_the_formula(accumulation):
    rule = PipelineRule(accumulation_steps=accumulation)
    model = classifier(n_modules=4, pipeline=rule, batch_size=30, max_iter=1).fit(X, Y)
    expected = [staleness_counts(lag, accumulation, 10) for lag in (5, 3, 1, 0)]
    # the first epoch begins with an empty pipeline, and ends with one
    np.testing.assert_allclose(model.staleness_, [counts.mean() for counts in expected])
    assert np.all(model.weight_versions_ <= -(-np.array([5, 3, 1, 0]) // accumulation) + 1)


def test_two_modules_are_fdg_and_ddg_at_once():
    first, second = (classifier(schedule=schedule).fit(X, Y) for schedule in ("fdg", "ddg"))
    assert_same_weights(first, second)


def test_record():
    model = classifier(n_modules=3, pipeline=PipelineRule(executor="threads")).fit(X, Y)
    for name in ("staleness_", "weight_versions_", "module_seconds_", "utilisation_", "module_activation_bytes_"):
        assert getattr(model, name).shape == (3,)
    assert np.all(model.module_seconds_ > 0) and np.all(model.utilisation_ > 0)
    assert model.activation_bytes_["stored"] == model.module_activation_bytes_.sum()
    found = model.timeline_
    assert np.all(np.diff(found["begin"]) >= 0) and np.all(found["end"] >= found["begin"])
    for module in range(3):
        own = found[found["module"] == module]
        assert np.all(own["begin"][1:] >= own["end"][:-1])  # one thing at a time
        assert set(own["kind"]) == {"forward", "backward", "update"}


def test_recomputation_keeps_less():
    kept = {
        name: classifier(n_modules=4, hidden_layer_sizes=(32,) * 8, max_iter=1, **parameters).fit(X, Y)
        for name, parameters in {"stash": {}, "recompute": {"schedule": "dtrp"}}.items()
    }
    assert kept["recompute"].activation_bytes_["stored"] < 0.6 * kept["stash"].activation_bytes_["stored"]
    np.testing.assert_array_equal(kept["recompute"].weight_versions_, [2, 2, 2, 1])  # the live one and a guess
    assert kept["stash"].weight_versions_[0] == 6


# ---- learning ----


@pytest.mark.parametrize("schedule", ["auto", "backprop", "ddg", "fdg", "adl", "dtrp"])
@pytest.mark.parametrize("n_modules", [2, 4])
def test_every_schedule_learns(schedule, n_modules):
    data = train_test_split(*load_breast_cancer(return_X_y=True), random_state=0)
    model = DecoupledMLPClassifier((32,) * 4, schedule=schedule, n_modules=n_modules, max_iter=30, random_state=0)
    assert model.fit(data[0], data[2]).score(data[1], data[3]) > 0.94


@pytest.mark.parametrize("output", ["softmax", "linear", "expgb", "pow3gb"])
def test_every_output_learns(output):
    model = classifier(output=output, learning_rate_init=0.01, max_iter=20).fit(X, Y)
    assert model.score(X_TEST, Y_TEST) > 0.7
    np.testing.assert_allclose(model.predict_proba(X).sum(axis=1), 1, atol=1e-5)


def test_regression_of_several_targets():
    both = np.column_stack([B, -B])
    model = regressor(n_modules=4, max_iter=60, learning_rate_init=0.01).fit(A, both)
    assert model.score(A, both) > 0.5 and model.predict(A).shape == (200, 2)


@pytest.mark.parametrize("normalization", ["batch", "layer"])
def test_normalised_layers(normalization):
    pytest.importorskip("torch")
    given = {"n_modules": 3, "max_iter": 10, "learning_rate_init": 0.01}
    model = classifier(network=DenseNetwork(normalization=normalization), **given).fit(X, Y)
    assert model.score(X_TEST, Y_TEST) > 0.6
    trained = [name for name in model.network_state_ if name.endswith("num_batches_tracked")]
    for name in trained:  # once per batch
        assert model.network_state_[name] == 10 * -(-300 // model._method().recipe(300).batch_size)
    assert bool(trained) == (normalization == "batch")


def test_small_images():
    pytest.importorskip("torch")
    network = ImageNetwork((8, 8), ((4, 4), (8,)), normalization="batch")
    given = {"network": network, "hidden_layer_sizes": (16,)}
    model = classifier(n_modules=3, learning_rate_init=0.01, **given).fit(X, Y)
    assert model.score(X_TEST, Y_TEST) > 0.7 and model.modules_[-1][1] == 5


def test_a_given_network():
    torch = pytest.importorskip("torch")
    nn = torch.nn
    network = nn.Sequential(
        nn.Linear(64, 24), nn.ReLU(), nn.Dropout(0.1), nn.Linear(24, 24), nn.GELU(), nn.Linear(24, 10)
    )
    before = [p.detach().clone() for p in network.parameters()]
    given = {"network": network, "n_modules": 3, "learning_rate_init": 0.01, "max_iter": 15}
    rules = [PipelineRule(executor=name) for name in ("sequential", "threads")]
    models = [classifier(pipeline=rule, **given).fit(X, Y) for rule in rules]
    assert models[0].score(X_TEST, Y_TEST) > 0.7
    for name, value in models[0].network_state_.items():
        np.testing.assert_array_equal(value, models[1].network_state_[name])
    assert all(torch.equal(a, b) for a, b in zip(before, network.parameters(), strict=True))  # it was copied
    measured = classifier(network=network, pipeline=PipelineRule(balance="measured"), max_iter=1).fit(X, Y)
    assert measured.modules_[-1][1] == 3


def test_weights_are_seen():
    weight = np.where(Y == 3, 0.0, 1.0)
    model = classifier(learning_rate_init=0.01, max_iter=20).fit(X, Y, weight)
    assert 3 not in model.predict(X)
    heavy = classifier(class_weight={k: 20.0 if k == 3 else 1.0 for k in range(10)}).fit(X, Y)
    assert np.mean(heavy.predict(X) == 3) > np.mean(classifier().fit(X, Y).predict(X) == 3)


def test_a_seed_gives_the_same_bits_and_leaves_the_global_state():
    np.random.seed(7)  # noqa: NPY002 - the global state is what must not move
    first, again = (classifier(n_modules=3, pipeline=PipelineRule(executor="threads")).fit(X, Y) for _ in range(2))
    assert_same_weights(first, again)
    found = np.random.uniform()  # noqa: NPY002
    assert found == np.random.RandomState(7).uniform()
    assert differ(first, clone(first).set_params(random_state=1).fit(X, Y))


def test_double_precision():
    model = classifier(device=Device(precision="float64")).fit(X, Y)
    assert {w.dtype for w in model.coefs_} == {np.dtype("float64")}
    assert {w.dtype for w in classifier().fit(X, Y).coefs_} == {np.dtype("float32")}


def test_threads_are_taken_where_they_pay(monkeypatch):
    wide = {"hidden_layer_sizes": (512, 512, 512), "batch_size": 256}
    for n_cores, parameters, takes in (
        (2, wide, True),
        (1, wide, False),
        (2, wide | {"schedule": "backprop"}, False),
        (2, wide | {"batch_size": 4}, False),
        (2, {}, False),
        (2, {"pipeline": PipelineRule(executor="threads")}, True),
        (2, wide | {"pipeline": PipelineRule(executor="sequential")}, False),
    ):
        monkeypatch.setattr(_module_plans, "n_threads", lambda n=n_cores: n)
        model = classifier(**parameters)
        found = model._method().network_plan(64, 10).execution(model._method().recipe(1000), np.random.default_rng(0))
        assert type(found._executor) is (Threads if takes else Sequential), parameters
