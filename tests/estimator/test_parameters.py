"""Estimators that hold values: searches reach into them, files keep them, no fit changes them, wrong ones are named."""

import copy
import pickle

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import load_iris
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import sklearn_analytic as sa
from sklearn_analytic.estimator.value import Value

X, Y = load_iris(return_X_y=True)
SHORT = {"max_iter": 2, "n_iter_no_change": np.inf, "random_state": 0}

# {name: an estimator with values in it}
HELD = {
    "feedback": sa.DFAClassifier(
        (6,),
        feedback=sa.Feedback("sparse", density=0.5),
        activation=sa.ApproximateActivation(bits=8),
        solver=sa.SGD(momentum=0.5),
        device=sa.Device(precision="float64"),
        **SHORT,
    ),
    "preconditioner": sa.DFARegressor((6,), preconditioner=sa.KFAC(damping=0.1), solver=sa.Adam(beta_1=0.8), **SHORT),
    "partitions": sa.LayerwiseMLP((6, 6), partitions=sa.Partitions(2, local_loss="sim"), **SHORT),
    "pipeline": sa.DecoupledMLPClassifier((6, 6), pipeline=sa.PipelineRule(shrink=0.5), solver=sa.AdamW(), **SHORT),
    "mechanism": sa.PrivateDFAClassifier(
        (6,),
        mechanism=sa.Photonic(1e4),
        solver=sa.SGD(momentum=0.5),
        classes=[0, 1, 2],
        data_norm=10.0,
        accountant="rdp",
        epsilon=np.inf,
        max_iter=1,
        random_state=0,
    ),
}


class Steeper(sa.DFAClassifier):
    """An estimator of others, with a parameter that has the name of an earlier one."""

    def __init__(self, hidden_layer_sizes=(6,), *, momentum=0.3, solver="adam"):
        super().__init__(hidden_layer_sizes, solver=solver)
        self.momentum = momentum


@pytest.mark.parametrize("name", HELD)
def test_no_fit_changes_a_value(name):
    model = clone(HELD[name])
    before, held = repr(model), {key: id(value) for key, value in model.get_params().items()}
    model.fit(X, Y)
    model.predict(X)
    assert repr(model) == before and held == {key: id(value) for key, value in model.get_params().items()}


@pytest.mark.parametrize("name", HELD)
def test_files_and_pages_hold_values(name):
    pytest.importorskip("skops")
    from skops.io import dumps, loads

    model = clone(HELD[name]).fit(X, Y)
    for other in (pickle.loads(pickle.dumps(model)), loads(dumps(model), trusted=sa.SKOPS_TRUSTED_TYPES)):
        assert repr(other) == repr(model)
        np.testing.assert_array_equal(other.predict(X), model.predict(X))
    text = model._repr_html_()
    shown = [type(value).__name__ for value in model.get_params(deep=False).values() if isinstance(value, Value)]
    assert shown and all(word in text for word in shown)


def test_grids_reach_into_values():
    model = make_pipeline(StandardScaler(), sa.DFAClassifier((6,), feedback=sa.Feedback("sparse"), **SHORT))
    grid = {
        "dfaclassifier__feedback__density": [0.1, 1.0],
        "dfaclassifier__solver": ["adam", sa.SGD(momentum=0.5)],
    }
    search = GridSearchCV(model, grid, cv=2).fit(X, Y)
    assert len(search.cv_results_["params"]) == 4
    chosen = search.best_estimator_[-1]
    assert chosen.feedback.density == search.best_params_["dfaclassifier__feedback__density"]
    assert model[-1].feedback.density == 0.1  # the given one is as it was


def test_one_search_may_compare_words_with_values():
    search = GridSearchCV(
        sa.LayerwiseMLP((6, 6), **SHORT),
        [{"partitions": [None, 1]}, {"partitions": [sa.Partitions(2)], "partitions__local_loss": ["pred", "sim"]}],
        cv=2,
    )
    assert len(search.fit(X, Y).cv_results_["params"]) == 4


def test_words_stand_for_values():
    for words, values in (
        ({"feedback": "random", "solver": "sgd"}, {"feedback": sa.Feedback("random"), "solver": sa.SGD()}),
        ({"preconditioner": "kfac"}, {"preconditioner": sa.KFAC()}),
        ({"device": "cpu"}, {"device": sa.Device("cpu")}),
        ({"activation": "tanh", "network": None}, {"activation": sa.ApproximateActivation("tanh", bits=None)}),
    ):
        one, two = (sa.DFAClassifier((6,), **SHORT | given).fit(X, Y) for given in (words, values))
        np.testing.assert_array_equal(one.coefs_[0], two.coefs_[0])


# ---- copies ----


@pytest.mark.parametrize(
    "model",
    [
        sa.DFAClassifier(solver="rmsprop"),
        sa.DFAClassifier(solver=["adam"]),
        sa.DFAClassifier(device=3, network="conv", activation=None, preconditioner=4),
        sa.PrivateDFAClassifier(mechanism="photonic", solver=None),
        sa.DecoupledMLPClassifier(pipeline=sa.PipelineRule(module_layers=np.array([1, 2]))),
    ],
)
def test_what_is_not_checked_yet_is_copied_as_it_is(model):
    assert repr(pickle.loads(pickle.dumps(model))) == repr(copy.deepcopy(model)) == repr(model)


def test_parameters_of_a_subclass_are_its_own():
    other = pickle.loads(pickle.dumps(Steeper(momentum=0.7, solver="sgd")))
    assert (other.momentum, other.solver) == (0.7, "sgd")


# ---- what is refused ----


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"feedback__density": 0.2}, r"as feedback='refresh': give feedback=Feedback\('refresh', density=...\) first"),
        ({"solver__momentum": 0.2}, r"give solver=SGD\(momentum=...\) first"),
        ({"solver__beta_1": 0.2}, r"give solver=Adam\(beta_1=...\) or AdamW\(beta_1=...\) first"),
        ({"preconditioner__damping": 0.2}, r"as preconditioner=None: give preconditioner=KFAC\(damping=...\) first"),
        ({"network__conv_layer_sizes": (4,)}, r"network=ImageNetwork\(image_shape=..., conv_layer_sizes=...\) first"),
        ({"feedback__weather": 1}, r"as feedback='refresh': its settings are \['alignment', 'density', "),
        ({"alpha__x": 1}, "alpha has no settings"),
        ({"momentum": 0.9}, "Invalid parameter 'momentum'"),
        ({"feedback": sa.Feedback(), "feedback__weather": 1}, "Invalid parameter 'weather' for estimator Feedback"),
    ],
)
def test_settings_of_words_are_refused(settings, message):
    model = sa.DFAClassifier()
    with pytest.raises(ValueError, match=message):
        model.set_params(**settings)


def test_advice_is_of_what_an_estimator_takes():
    with pytest.raises(ValueError, match="device has no settings"):
        sa.ClosedFormMLP().set_params(device__precision="float64")
    with pytest.raises(ValueError, match=r"give solver=Adam\(power_t=...\) or SGD\(power_t=...\) first"):
        sa.PrivateDFAClassifier().set_params(solver__power_t=0.3)
    with pytest.raises(ValueError, match=r"give partitions=Partitions\(3, n_laps=...\) first"):
        sa.LayerwiseMLP(partitions=3).set_params(partitions__n_laps=2)


def test_a_value_and_its_setting_may_come_together():
    model = sa.DFAClassifier().set_params(feedback__density=0.3, feedback=sa.Feedback("sparse"))
    assert model.feedback.density == 0.3


@pytest.mark.parametrize("name", ["momentum", "feedback_density", "image_shape", "precision", "tol_error"])
def test_old_names_are_unknown_to_python(name):
    with pytest.raises(TypeError, match=f"unexpected keyword argument '{name}'"):
        sa.DFAClassifier(**{name: 1})


PAIR = np.array([4, 8])
ADAM = sa.PipelineRule(predictor="adam")
WRONG = [
    (sa.DFAClassifier, {"solver": "rmsprop"}, r"solver must be one of \['adam', 'adamw', 'sgd'\], Adam\(...\)"),
    (sa.DFAClassifier, {"solver": sa.Feedback()}, "solver must be one of"),
    (sa.DFAClassifier, {"solver": sa.Adam(beta_1=1.0)}, "solver__beta_1 must be a number at least 0 and below 1"),
    (sa.DFAClassifier, {"solver": sa.SGD(power_t=-1)}, "solver__power_t must be a number 0 or more"),
    (sa.DFAClassifier, {"feedback": "noise"}, "feedback must be one of"),
    (sa.DFAClassifier, {"feedback": sa.Adam()}, r"feedback must be Feedback\(...\), or what stands for it"),
    (sa.DFAClassifier, {"feedback": sa.Feedback("sparse", density=2)}, "feedback__density must be a number above 0"),
    (sa.DFAClassifier, {"feedback": sa.Feedback("random", init="zeros")}, "feedback__init='zeros' with feedback="),
    (sa.DFAClassifier, {"preconditioner": "adagrad"}, r"preconditioner must be 'kfac', KFAC\(...\) or None"),
    (sa.DFAClassifier, {"preconditioner": sa.KFAC(milestones=3)}, "preconditioner__milestones must be a sequence"),
    (sa.DFAClassifier, {"activation": sa.ApproximateActivation(bits=5)}, "activation__bits must be 4, 8 or None"),
    (sa.DFAClassifier, {"activation": sa.ApproximateActivation(bits=PAIR)}, "activation__bits must be 4, 8 or None"),
    (sa.DFAClassifier, {"activation": sa.ApproximateActivation("gelu")}, "activation must be one of"),
    (
        sa.DFAClassifier,
        {"activation": sa.ApproximateActivation(), "preconditioner": "kfac"},
        r"preconditioner=KFAC\(...\) needs exact activations: activation__bits must be None",
    ),
    (sa.DFAClassifier, {"network": "conv"}, r"network must be DenseNetwork\(...\), ImageNetwork\(...\)"),
    (sa.DFAClassifier, {"network": sa.ImageNetwork(4)}, r"network__image_shape must be \(H, W\) or \(C, H, W\)"),
    (sa.DFAClassifier, {"network": sa.ImageNetwork((2, 2), normalization="layer")}, "network__normalization must be"),
    (sa.DFAClassifier, {"network": sa.ImageNetwork((2, 2), normalization=PAIR)}, "network__normalization must be"),
    (sa.DFAClassifier, {"network": sa.ImageNetwork((3, 3))}, "network__image_shape=.* has 9 values, but X has 4"),
    (sa.DFAClassifier, {"network": sa.SequenceNetwork(3)}, "network__sequence_length=3 does not divide the 4 features"),
    (sa.DFAClassifier, {"device": sa.Device(precision="half")}, "device__precision must be one of"),
    (sa.DFAClassifier, {"device": sa.Device(distributed=PAIR)}, "device__distributed must be True, False or 'entropy'"),
    (sa.LayerwiseMLP, {"learning_rate_init": PAIR}, "learning_rate_init must be a number above 0"),
    (sa.LayerwiseMLP, {"partitions": 0}, "partitions must be a positive integer or None"),
    (sa.LayerwiseMLP, {"partitions": sa.Partitions(head_depth=9)}, "partitions__head_depth must be 0, 1, 2 or 3"),
    (sa.LayerwiseMLP, {"activation": sa.ApproximateActivation()}, "activation must be one of"),
    (sa.DecoupledMLPClassifier, {"pipeline": 3}, r"pipeline must be PipelineRule\(...\) or None"),
    (sa.DecoupledMLPClassifier, {"pipeline": sa.PipelineRule(shrink=0)}, "pipeline__shrink must be a number above 0"),
    (sa.DecoupledMLPClassifier, {"pipeline": ADAM, "solver": "sgd"}, "predictor='adam' .*, but solver='sgd'"),
    (sa.DecoupledMLPClassifier, {"device": sa.Device(distributed=True)}, "device__distributed=True shares mini-batch"),
    (sa.PrivateDFAClassifier, {"mechanism": "photonic"}, r"write mechanism=Photonic\(floor=1e4\)"),
    (sa.PrivateDFAClassifier, {"mechanism": sa.Photonic(0)}, "mechanism__floor must be a number above 0"),
    (sa.PrivateDFAClassifier, {"solver": "rmsprop"}, r"solver must be 'sgd', 'adam', SGD\(...\) or Adam\(...\), got"),
    (sa.PrivateDFAClassifier, {"solver": sa.AdamW()}, r"solver must be 'sgd', 'adam', SGD\(...\) or Adam\(...\), got"),
    (sa.PrivateDFAClassifier, {"learning_rate": "adaptive"}, "learning_rate='adaptive' reads losses"),
]


@pytest.mark.parametrize(("estimator", "given", "message"), WRONG)
def test_a_wrong_value_names_its_parameter(estimator, given, message):
    if "network" in given or "device" in given:
        pytest.importorskip("torch")
    model = estimator((6,), **{"max_iter": 1, "random_state": 0} | given)
    with pytest.raises(ValueError, match=message):
        model.fit(X, Y)
    assert not hasattr(model, "n_features_in_")


@pytest.mark.parametrize("name", ["DFAClassifier", "LayerwiseMLP", "CPNetClassifier", "BRMPClassifier"])
def test_several_labels_are_sent_where_they_are_read(name):
    with pytest.raises(ValueError, match="several labels per row are for ClosedFormMLP"):
        getattr(sa, name)().fit(X, np.c_[Y > 0, Y > 1].astype(int))


def test_normalised_dense_layers_train_by_every_method():
    pytest.importorskip("torch")
    network = sa.DenseNetwork(normalization="layer")
    for estimator in (sa.DFAClassifier, sa.LayerwiseMLP, sa.DecoupledMLPClassifier):
        model = estimator((16, 16), network=network, random_state=0).fit(X, Y)
        assert model.score(X, Y) > 0.9
