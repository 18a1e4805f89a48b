"""Saved estimators: skops with a published list of types, MLflow, version stamps, and files of earlier versions."""

import copy
import importlib
import io
import pickle
import warnings
from pathlib import Path

import joblib
import numpy as np
import pytest
from sklearn.base import BaseEstimator, clone
from sklearn.datasets import load_digits
from sklearn.exceptions import InconsistentVersionWarning

import sklearn_analytic
from sklearn_analytic import (
    KFAC,
    SGD,
    SKOPS_TRUSTED_TYPES,
    Adam,
    AdamW,
    ApproximateActivation,
    BRMPClassifier,
    BRMPRegressor,
    ClosedFormMLP,
    ClosedFormMLPRegressor,
    CPNetClassifier,
    DecoupledMLPClassifier,
    DecoupledMLPRegressor,
    DenseNetwork,
    Device,
    DFAClassifier,
    DFARegressor,
    Feedback,
    GivenNetwork,
    ImageNetwork,
    LayerwiseMLP,
    LayerwiseMLPRegressor,
    Partitions,
    Photonic,
    PipelineRule,
    PrivateDFAClassifier,
    SequenceNetwork,
)
from sklearn_analytic.features import CONSTRUCTIONS, ENCODINGS, HIDDEN
from tests.checks import first_difference
from tests.estimator.before import of_before, with_flat_parameters
from tests.golden import make as golden

SEED = {"random_state": 0}
SHORT = {"max_iter": 2, **SEED}
X, Y = (part[:200] for part in load_digits(return_X_y=True))
X_FEW = X[:, 18:24]  # six columns

# Every public estimator, every road to a statistic, every layer and encoding: what a file may hold.
ESTIMATORS = [
    *(BRMPRegressor(solver=solver) for solver in ("auto", "qr", "gram", "recursive")),
    *(BRMPClassifier(5, hidden=hidden, alpha=0.1, **SEED) for hidden in HIDDEN),
    CPNetClassifier(10, **SEED),
    CPNetClassifier(10, skip=False, encoding="class", activation="tanh", **SEED),
    ClosedFormMLP(10, **SEED),
    ClosedFormMLP(10, alpha="gcv", **SEED),
    *(ClosedFormMLP((10, 5), hidden=hidden, **SEED) for hidden in CONSTRUCTIONS),
    *(ClosedFormMLPRegressor(10, input_encoding=encoding, **SEED) for encoding in ENCODINGS),
    DecoupledMLPClassifier((8, 8), schedule="dtrp", pipeline=PipelineRule(accumulation_steps=2), **SHORT),
    DecoupledMLPRegressor((8, 8), **SHORT),
    DFAClassifier(8, input_encoding="quantile", early_stopping=True, **SHORT),
    DFARegressor((8, 8), feedback="learned", preconditioner="kfac", **SHORT),
    DFAClassifier(8, feedback=Feedback("sparse"), activation=ApproximateActivation(), device=Device(), **SHORT),
    DFARegressor(8, preconditioner=KFAC(), solver=AdamW(), **SHORT),
    LayerwiseMLP((8, 8), partitions=Partitions(local_loss="predsim", refit_head=True), solver=Adam(), **SHORT),
    LayerwiseMLPRegressor((8, 8), order="laps", solver=SGD(), **SHORT),
    PrivateDFAClassifier(8, max_iter=1, random_state=0),
    PrivateDFAClassifier(8, max_iter=1, mechanism=Photonic(1e4), data_norm=64.0, accountant="rdp", epsilon=8.0, **SEED),
]
IMAGES = [ClosedFormMLP(500, hidden=hidden, image_shape=(8, 8), **SEED) for hidden in ("patch", "masked")]
OF_TORCH = [
    DFAClassifier(8, network=ImageNetwork((2, 3), (4,)), **SHORT),
    DFARegressor(8, network=SequenceNetwork(3, (4,)), **SHORT),
    DecoupledMLPClassifier((8, 8), network=DenseNetwork(normalization="layer"), **SHORT),
]
NAMES = sklearn_analytic.__all__
PUBLIC = [kind for kind in (getattr(sklearn_analytic, name) for name in NAMES) if isinstance(kind, type)]
PUBLIC = [kind for kind in PUBLIC if issubclass(kind, BaseEstimator)]
VALUES = [kind for kind in PUBLIC if not hasattr(kind, "fit")]  # parameters


def _fitted(estimator, rows):
    """A fit; warnings about short training and disclosed ranges are not this file's subject."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return estimator.fit(rows, Y)


def _assert_same(first, second, rows):
    expected, found = (golden.predictions(estimator, rows) for estimator in (first, second))
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_array_equal(found[name], value, err_msg=name)


# ---- skops ----


@pytest.mark.parametrize("estimator", ESTIMATORS + IMAGES + OF_TORCH, ids=lambda e: type(e).__name__)
def test_skops_loads_with_the_published_types(estimator, tmp_path):
    skops_io = pytest.importorskip("skops.io")
    if estimator in OF_TORCH:
        pytest.importorskip("torch")
    rows = X if estimator in IMAGES else X_FEW
    model = _fitted(estimator, rows)
    skops_io.dump(model, tmp_path / "model.skops")
    assert set(skops_io.get_untrusted_types(file=tmp_path / "model.skops")) <= set(SKOPS_TRUSTED_TYPES)
    again = skops_io.load(tmp_path / "model.skops", trusted=SKOPS_TRUSTED_TYPES)
    _assert_same(model, again, rows)
    assert repr(again) == repr(model)


def test_every_public_estimator_is_saved_above_and_trusted():
    saved = {type(estimator) for estimator in ESTIMATORS}
    given = {type(v) for estimator in ESTIMATORS + OF_TORCH for v in estimator.get_params().values()}
    assert saved == set(PUBLIC) - set(VALUES)
    assert set(VALUES) - {GivenNetwork} <= given  # its module is of torch, whose types are for others to trust
    assert {f"{kind.__module__}.{kind.__qualname__}" for kind in PUBLIC} <= set(SKOPS_TRUSTED_TYPES)


def test_the_published_types_are_classes_of_this_package():
    assert sorted(set(SKOPS_TRUSTED_TYPES)) == SKOPS_TRUSTED_TYPES
    for name in SKOPS_TRUSTED_TYPES:
        module, _, kind = name.rpartition(".")
        assert module.startswith("sklearn_analytic.")
        found = getattr(importlib.import_module(module), kind)
        assert issubclass(found, BaseEstimator) or found.__dataclass_params__.frozen


def test_the_list_does_not_grow_with_what_others_derive():
    class Derived(BRMPRegressor):
        pass

    again = importlib.import_module("sklearn_analytic.estimator.trusted_types").trusted_types(lambda module: ())
    assert not [name for name in again if "Derived" in name]
    assert f"{BRMPRegressor.__module__}.BRMPRegressor" in again


# ---- MLflow ----


def test_mlflow_saves_and_loads_with_the_published_types(tmp_path):
    model = ClosedFormMLP(10, random_state=0).fit(X_FEW, Y)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of MLflow about itself
        flavour = pytest.importorskip("mlflow.sklearn")
        path, trusted = tmp_path / "model", SKOPS_TRUSTED_TYPES
        flavour.save_model(model, path, serialization_format="skops", skops_trusted_types=trusted)
        again = flavour.load_model(str(path))
    _assert_same(model, again, X_FEW)


# ---- version stamps ----


@pytest.mark.parametrize("kind", [BRMPRegressor, DFAClassifier, ClosedFormMLP])
def test_another_version_is_named(kind, monkeypatch):
    model = _fitted(kind(5, random_state=0), X_FEW)
    blob = pickle.dumps(model)
    for reader_or_writer in ("version_stamp", "base"):
        monkeypatch.setattr(f"sklearn_analytic.estimator.{reader_or_writer}.__version__", "99.0")
    words = f"{kind.__name__} was saved by sklearn_analytic 0.* loaded by sklearn_analytic 99.0.*Fit it again"
    with pytest.warns(InconsistentVersionWarning, match=words):
        again = pickle.loads(blob)
    _assert_same(model, again, X_FEW)
    assert pickle.loads(pickle.dumps(again)) is not None  # saved anew, it has the new stamp


def test_copies_within_a_version_say_nothing():
    model = BRMPClassifier(5, random_state=0).fit(X_FEW, Y)  # warnings are errors here
    file = io.BytesIO()
    joblib.dump(model, file)
    file.seek(0)
    copies = [copy.copy(model), copy.deepcopy(model), pickle.loads(pickle.dumps(model)), joblib.load(file)]
    for one in copies:
        _assert_same(model, one, X_FEW)
    assert clone(model).get_params() == model.get_params()


def test_the_stamp_is_no_attribute():
    again = pickle.loads(pickle.dumps(BRMPRegressor()))
    assert vars(again) == vars(BRMPRegressor())


# ---- files of earlier versions ----

FILES = sorted(Path(golden.__file__).parent.glob("*/*.pickle"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_a_file_of_an_earlier_version_predicts_what_it_did(path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", InconsistentVersionWarning)
        model = pickle.loads(path.read_bytes())
    rows, _ = golden.targets(model)
    expected = np.load(path.parent / "expected.npz", allow_pickle=False)
    found = golden.predictions(model, rows)
    assert {f"{path.stem}.{method}" for method in found} == {
        name for name in expected.files if name.split(".")[0] == path.stem
    }
    for method, value in found.items():
        wanted = expected[f"{path.stem}.{method}"]
        if wanted.dtype.kind == "f":  # other processors round otherwise
            np.testing.assert_allclose(value, wanted, rtol=1e-6, atol=1e-9)
        else:
            np.testing.assert_array_equal(value, wanted)


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_a_file_of_an_earlier_version_goes_on(path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", InconsistentVersionWarning)
        model = pickle.loads(path.read_bytes())
    rows, targets = golden.targets(model)
    for part in (slice(0, 10), slice(10, None)):
        model.partial_fit(rows[part], targets[part])
    if hasattr(model, "shard"):
        model.merge(model.shard().partial_fit(rows, targets))
    assert np.isin(model.predict(rows), targets).all() or targets.dtype.kind == "f"
    if not hasattr(model, "loss_curve_"):  # networks of three epochs know little
        assert model.score(rows, targets) > 0.5


def test_networks_of_earlier_versions_without_numbers_are_not_taken_for_one():
    blob = next(path for path in FILES if path.stem == "cpnet").read_bytes()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", InconsistentVersionWarning)
        one, two = pickle.loads(blob), pickle.loads(blob)
    with pytest.raises(ValueError, match="same hidden layers"):
        one.merge(two)


def test_there_are_files_of_every_kind_and_they_are_small():
    assert {path.stem for path in FILES} == set(golden.ESTIMATORS)
    assert all(path.stat().st_size <= golden.LARGEST for path in FILES)


# ---- parameters of earlier versions, which were flat ----

FEEDBACK = {"init": "uniform", "shared": True, "density": 0.4, "scale": 1.5, "module_size": 3}
PARTITIONS = {"local_loss": "predsim", "head_depth": 1, "head_width": 7, "layer_start": "random", "n_laps": 2}
PARTITIONS |= {"interlayer": "lookahead", "cache": "float16", "subsample": 0.5, "memory_budget": 400_000}
SOLVED = Partitions(refit_head=True)  # earlier versions had no readout of all layers
PIPELINE = {"operation_order": "forward_first", "shrink": 0.7, "accumulation_steps": 2, "accumulation": "mean"}
PIPELINE |= {"weight_version": "current", "recompute": True, "predictor": "velocity", "regulator": 0.5}
PIPELINE |= {"batch_compensation": "batch", "module_rates": "root", "drain": False, "executor": "threads"}
CONSTANTS = {"damping": 0.1, "kl_clip": 0.01, "factor_decay": 0.9, "factor_interval": 2, "eigen_interval": 4}
CONSTANTS |= {"milestones": [3], "interval_growth": 2.0, "damping_decay": 0.5}
OPEN = {"classes": range(10), "data_norm": 64.0, "accountant": "rdp", "epsilon": 8.0, **SHORT}
FLAT = [
    DFAClassifier(
        (8, 6),
        feedback=Feedback("sparse", **FEEDBACK, tol_error=0.05, alignment=True),
        activation=ApproximateActivation("tanh", bits=8),
        solver=SGD(momentum=0.5, nesterovs_momentum=False, warmup_fraction=0.1),
        device=Device(precision="float64"),
        **SHORT,
    ),
    DFAClassifier((8, 6), feedback="random", activation="tanh", solver="adamw", preconditioner="kfac", **SHORT),
    DFARegressor(
        (8, 6),
        feedback=Feedback("learned", learning_rate=0.01),
        solver=Adam(beta_1=0.8, beta_2=0.9, epsilon=1e-4),
        preconditioner=KFAC(**CONSTANTS),
        **SHORT,
    ),
    LayerwiseMLP((8, 6, 4), order="laps", partitions=Partitions(2, **PARTITIONS, refit_head=True), **SHORT),
    LayerwiseMLPRegressor((8, 6, 4), order="simultaneous", partitions=SOLVED, solver=AdamW(beta_2=0.9), **SHORT),
    DecoupledMLPClassifier(
        (8, 6, 4),
        schedule="dtrp",
        pipeline=PipelineRule(module_layers=[1, 3], **PIPELINE),
        solver=SGD(momentum=0.3),
        **SHORT,
    ),
    DecoupledMLPRegressor((8, 6), device=Device(precision="float64"), **SHORT),
    PrivateDFAClassifier(8, solver=SGD(momentum=0.3, nesterovs_momentum=False), feedback_scale=2.0, **OPEN),
    PrivateDFAClassifier(8, mechanism=Photonic(1e4, input_norm=2.0, error_norm=0.4), **OPEN),
]
FLAT_OF_TORCH = [
    DFAClassifier(8, network=ImageNetwork((2, 3), (4,), normalization="batch"), **SHORT),
    DFARegressor(8, network=SequenceNetwork(3, (4, 4)), device="torch:cpu", **SHORT),
    DFAClassifier(8, device=Device("torch:cpu", precision="float64"), **SHORT),
    LayerwiseMLP(8, network=ImageNetwork((1, 2, 3), ((4, 4),)), partitions=SOLVED, **SHORT),
    LayerwiseMLPRegressor(8, network=ImageNetwork((2, 3), (4,), normalization="batch"), partitions=SOLVED, **SHORT),
    DecoupledMLPClassifier((8, 8), network=DenseNetwork(normalization="layer"), **SHORT),
    DecoupledMLPRegressor(8, network=ImageNetwork((2, 3), (4,), normalization="batch"), **SHORT),
]
NOT_FITTED = [
    DFAClassifier(device=Device("cuda", precision="bfloat16", distributed="entropy")),
    DFAClassifier(feedback=Feedback(refresh_interval=3)),
    LayerwiseMLP(device=Device(distributed=True), partitions=Partitions(None, interlayer=None, cache="memmap")),
    DecoupledMLPClassifier(pipeline=PipelineRule(balance="measured", predictor=None)),
    DecoupledMLPRegressor(pipeline=PipelineRule(module_layers=np.array([1, 2]))),
    DecoupledMLPRegressor(network=ImageNetwork(np.array([4, 4]), np.array([3]))),
    *(kind() for kind in PUBLIC if hasattr(kind, "_kind_of_method")),
]
every_flat = pytest.mark.parametrize("estimator", FLAT + FLAT_OF_TORCH, ids=lambda e: type(e).__name__)
OF = pytest.mark.parametrize("of", [of_before, with_flat_parameters], ids=["attributes", "one value"])


def _settings(model):
    """Parameters and all settings of values, of which the kind alone; arrays as lists, which can be compared."""
    given = {name: getattr(value, "tolist", lambda value=value: value)() for name, value in model.get_params().items()}
    return {name: type(value) if hasattr(value, "get_params") else value for name, value in given.items()}


@pytest.mark.parametrize("estimator", FLAT + FLAT_OF_TORCH + NOT_FITTED, ids=lambda e: type(e).__name__)
def test_flat_parameters_become_settings(estimator):
    again = with_flat_parameters(clone(estimator))
    assert _settings(again) == _settings(estimator)
    assert set(vars(again)) == set(vars(estimator))
    assert _settings(clone(again)) == _settings(pickle.loads(pickle.dumps(again))) == _settings(estimator)


@OF
@every_flat
def test_a_network_with_flat_parameters_goes_on(estimator, of):
    if estimator in FLAT_OF_TORCH:
        pytest.importorskip("torch")
    model = _fitted(clone(estimator), X_FEW)
    again = of(pickle.loads(pickle.dumps(model)))
    assert _settings(again) == _settings(model) and set(vars(again)) == set(vars(model))
    assert first_difference(model._trained.kind, again._trained.kind) is None
    again = pickle.loads(pickle.dumps(again))  # as it is saved today
    _assert_same(model, again, X_FEW)
    if isinstance(model, PrivateDFAClassifier):
        return
    for found in (model, again):
        found.partial_fit(X_FEW[:90], Y[:90]).partial_fit(X_FEW[90:], Y[90:])
    _assert_same(model, again, X_FEW)
    for found in (model, again):
        _fitted(found.set_params(warm_start=True), X_FEW)
    _assert_same(model, again, X_FEW)
    assert first_difference(model.loss_curve_, again.loss_curve_) is None


@pytest.mark.parametrize("kind", [DFAClassifier, LayerwiseMLP])
def test_flat_parameters_without_a_meaning_have_none_today(kind):
    model = _fitted(kind((8, 8), **SHORT), X_FEW)
    again = kind.__new__(kind)
    ignored = {"batch_norm": True, "conv_layer_sizes": (3,), "momentum": 0.1, "nesterovs_momentum": False}
    ignored |= (
        {"image_shape": None, "kfac_params": {"damping": 0.1}} if kind is DFAClassifier else {"image_shape": None}
    )
    again.__setstate__(vars(model) | ignored)
    assert _settings(again) == _settings(model)
    _assert_same(model, again, X_FEW)
    np.testing.assert_array_equal(
        again.partial_fit(X_FEW, Y).predict(X_FEW), model.partial_fit(X_FEW, Y).predict(X_FEW)
    )


@pytest.mark.parametrize(
    "estimator",
    [
        DFAClassifier(solver="lbfgs"),
        DFAClassifier(solver=None),
        DFAClassifier(feedback=3, activation=None, device=None, preconditioner="shampoo"),
        LayerwiseMLP(partitions="all"),
        DecoupledMLPClassifier(pipeline="fast"),
        PrivateDFAClassifier(mechanism="photonic"),
    ],
    ids=str,
)
def test_wrong_parameters_are_saved_as_they_are(estimator):
    again = pickle.loads(pickle.dumps(estimator))
    assert again.get_params(deep=False) == estimator.get_params(deep=False)


# ---- old names ----


def test_modules_of_earlier_versions_give_the_classes_of_today():
    from sklearn_analytic._brmp import BRMPRegressor as old

    assert old is BRMPRegressor
    assert importlib.import_module("sklearn_analytic.nn._accountants").rdp_epsilon is not None
    assert "sklearn_analytic._brmp.BRMPRegressor" in SKOPS_TRUSTED_TYPES
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("sklearn_analytic._never")


def test_skops_files_of_earlier_versions_load(tmp_path, monkeypatch):
    skops_io = pytest.importorskip("skops.io")
    model = BRMPRegressor().fit(X_FEW, Y)
    with monkeypatch.context() as then:
        old = importlib.import_module("sklearn_analytic._brmp")
        then.setattr(BRMPRegressor, "__module__", old.__name__)
        skops_io.dump(model, tmp_path / "old.skops")
    again = skops_io.load(tmp_path / "old.skops", trusted=SKOPS_TRUSTED_TYPES)
    _assert_same(model, again, X_FEW)
