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
    SKOPS_TRUSTED_TYPES,
    BRMPClassifier,
    BRMPRegressor,
    ClosedFormMLP,
    ClosedFormMLPRegressor,
    CPNetClassifier,
    DecoupledMLPClassifier,
    DecoupledMLPRegressor,
    DFAClassifier,
    DFARegressor,
    LayerwiseMLP,
    LayerwiseMLPRegressor,
    PrivateDFAClassifier,
)
from sklearn_analytic.features import CONSTRUCTIONS, ENCODINGS, HIDDEN
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
    DecoupledMLPClassifier((8, 8), schedule="dtrp", n_modules=2, accumulation_steps=2, **SHORT),
    DecoupledMLPRegressor((8, 8), **SHORT),
    DFAClassifier(8, input_encoding="quantile", early_stopping=True, **SHORT),
    DFARegressor((8, 8), feedback="learned", preconditioner="kfac", **SHORT),
    LayerwiseMLP((8, 8), local_loss="predsim", refit_head=True, **SHORT),
    LayerwiseMLPRegressor((8, 8), order="laps", **SHORT),
    PrivateDFAClassifier(8, max_iter=1, random_state=0),
]
IMAGES = [ClosedFormMLP(500, hidden=hidden, image_shape=(8, 8), **SEED) for hidden in ("patch", "masked")]
PUBLIC = [
    getattr(sklearn_analytic, name)
    for name in sklearn_analytic.__all__
    if isinstance(getattr(sklearn_analytic, name), type) and issubclass(getattr(sklearn_analytic, name), BaseEstimator)
]


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


@pytest.mark.parametrize("estimator", ESTIMATORS + IMAGES, ids=lambda e: type(e).__name__)
def test_skops_loads_with_the_published_types(estimator, tmp_path):
    skops_io = pytest.importorskip("skops.io")
    rows = X if estimator in IMAGES else X_FEW
    model = _fitted(estimator, rows)
    skops_io.dump(model, tmp_path / "model.skops")
    assert set(skops_io.get_untrusted_types(file=tmp_path / "model.skops")) <= set(SKOPS_TRUSTED_TYPES)
    _assert_same(model, skops_io.load(tmp_path / "model.skops", trusted=SKOPS_TRUSTED_TYPES), rows)


def test_every_public_estimator_is_saved_above_and_trusted():
    assert {type(estimator) for estimator in ESTIMATORS} == set(PUBLIC)
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
