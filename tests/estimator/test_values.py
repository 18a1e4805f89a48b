"""Parameters that are values: cloned, printed, saved and searched like estimators, and refused by name where wrong."""

import copy
import inspect
import pickle

import numpy as np
import pytest
from sklearn.base import clone

import sklearn_analytic as sa
from tests.checks import first_difference

# One row for every value, and further ones where several kinds stand in one place: a setting of each is asked below.
PHOTONIC = {"mechanism": sa.Photonic(1e4), "accountant": "rdp", "data_norm": 1.0, "classes": [0, 1]}
HOLDERS = [
    sa.DFAClassifier(feedback=sa.Feedback(), solver=sa.Adam(), preconditioner=sa.KFAC(), device=sa.Device()),
    sa.DFAClassifier(activation=sa.ApproximateActivation(), network=sa.DenseNetwork()),
    sa.DFARegressor(solver=sa.SGD(), network=sa.SequenceNetwork(2)),
    sa.LayerwiseMLP(partitions=sa.Partitions(), network=sa.ImageNetwork((2, 2))),
    sa.LayerwiseMLPRegressor(solver=sa.AdamW(), device=sa.Device()),
    sa.DecoupledMLPClassifier(pipeline=sa.PipelineRule(), device=sa.Device()),
    sa.PrivateDFAClassifier(**PHOTONIC, solver=sa.SGD(nesterovs_momentum=False)),
    sa.PrivateDFAClassifier(**PHOTONIC, solver=sa.Adam()),
]
PUBLIC = [kind for kind in (getattr(sa, name) for name in sa.__all__) if inspect.isclass(kind)]
VALUES = [kind for kind in PUBLIC if hasattr(kind, "get_params") and not hasattr(kind, "fit")]
NEEDED = {sa.GivenNetwork: ("a module",), sa.ImageNetwork: ((2, 2),), sa.SequenceNetwork: (2,), sa.Photonic: (1e4,)}
every_value = pytest.mark.parametrize("kind", VALUES, ids=lambda kind: kind.__name__)
SETTINGS = [
    pytest.param(holder, name, id=f"{type(holder).__name__}-{name}")
    for holder in HOLDERS
    for name in holder.get_params()
    if "__" in name
]


def made(kind):
    return kind(*NEEDED.get(kind, ()))


def held(holder):
    return [value for value in holder.get_params(deep=False).values() if type(value) in VALUES]


def test_every_value_is_held_above():
    """But that of a module of torch, which is refused as the module alone is: test_layer_readout.py."""
    assert {type(value) for holder in HOLDERS for value in held(holder)} == set(VALUES) - {sa.GivenNetwork}


@every_value
def test_values_are_cloned_saved_and_printed(kind):
    value = made(kind)
    again = [clone(value), copy.deepcopy(value), pickle.loads(pickle.dumps(value)), eval(repr(value), vars(sa).copy())]
    for other in again:
        assert type(other) is kind and other is not value
        assert first_difference(value.get_params(), other.get_params()) is None
    value.check()
    assert first_difference(vars(value), value.get_params()) is None  # nothing but settings, as they were given


@every_value
def test_at_most_the_first_settings_have_places(kind):
    places = [p.kind is p.POSITIONAL_OR_KEYWORD for p in inspect.signature(kind).parameters.values()]
    assert sum(places) <= 2 and places == sorted(places, reverse=True)
    with pytest.raises(TypeError, match="unexpected keyword argument"):
        kind(*NEEDED.get(kind, ()), colour=1)


@pytest.mark.parametrize("holder", HOLDERS, ids=lambda holder: type(holder).__name__)
def test_what_holds_values_is_right_and_a_clone_has_its_own(holder):
    if getattr(holder, "network", None) is not None:
        pytest.importorskip("torch")
    holder._checked_method()
    for one, other in zip(held(holder), held(clone(holder)), strict=True):
        assert one is not other and type(one) is type(other)


@pytest.mark.parametrize(("holder", "name"), SETTINGS)
def test_wrong_settings_are_named_as_a_search_names_them(holder, name):
    wrong = object()
    model = clone(holder).set_params(**{name: wrong})
    parameter, _, setting = name.partition("__")
    shown = parameter if setting in ("name", "n_partitions") else name
    with pytest.raises((ValueError, TypeError)) as caught:  # of a device that is no word a TypeError
        model.fit(np.ones((4, 4)), [0, 1, 0, 1])
    assert str(caught.value).startswith((f"{shown} must", f"{shown}={wrong!r}"))


@pytest.mark.parametrize("holder", HOLDERS, ids=lambda holder: type(holder).__name__)
def test_settings_that_do_not_exist_are_refused(holder):
    for parameter in [name for name, value in holder.get_params(deep=False).items() if type(value) in VALUES]:
        with pytest.raises(ValueError, match="Invalid parameter 'colour'"):
            clone(holder).set_params(**{f"{parameter}__colour": 1})


def test_settings_of_what_has_none_say_which_value_has_them():
    model = sa.DecoupledMLPClassifier(device="torch:cpu")
    messages = {
        "device__precision": r"device='torch:cpu': give device=Device\('torch:cpu', precision=...\) first",
        "network__image_shape": r"network=None: give network=ImageNetwork\(image_shape=...\) first",
        "pipeline__shrink": r"pipeline=None: give pipeline=PipelineRule\(shrink=...\) first",
        "n_modules__shrink": "n_modules=2: n_modules has no settings",
    }
    for name, message in messages.items():
        with pytest.raises(ValueError, match=f"{name} cannot be set, as {message}"):
            model.set_params(**{name: 1})
    assert model.get_params() == sa.DecoupledMLPClassifier(device="torch:cpu").get_params()
    model.set_params(device=sa.Device("torch:cpu"), device__precision="float64")
    assert model.device.precision == "float64"


def test_older_saved_values_have_the_defaults_of_settings_that_came_later():
    value = sa.Feedback("sparse", density=0.3)
    state = {name: setting for name, setting in vars(value).items() if name != "alignment"}
    again = sa.Feedback.__new__(sa.Feedback)
    again.__setstate__(state)
    assert again.get_params() == value.get_params()
