"""ONNX models against the estimators that they came from, run by onnxruntime on real data."""

import builtins
import copy
import json
import warnings

import numpy as np
import pytest
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits, load_iris

from sklearn_analytic import (
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
    Partitions,
    PrivateDFAClassifier,
    features,
)
from sklearn_analytic.backend import ACTIVATION_NAMES
from sklearn_analytic.features import CONSTRUCTIONS, ENCODINGS, GatedLayer
from sklearn_analytic.nn import ACTIVATIONS as TRAINED_ACTIVATIONS

onnx = pytest.importorskip("onnx")
runtime = pytest.importorskip("onnxruntime")

from sklearn_analytic.export.onnx_graph import Graph, Value  # noqa: E402
from sklearn_analytic.export.onnx_layers import ACTIVATIONS  # noqa: E402
from sklearn_analytic.export.onnx_model import _WRITERS  # noqa: E402 (needs onnx)

SEED = {"random_state": 0}
SHORT = {"max_iter": 4, **SEED}
WORDS = np.array(["nought", "one", "two", "three", "4", "5", "6", "7", "8", "nine"])
IRIS, CANCER = load_iris(return_X_y=True), load_breast_cancer(return_X_y=True)
DIABETES, DIGITS = load_diabetes(return_X_y=True), load_digits(return_X_y=True)
NAMED = (CANCER[0], WORDS[CANCER[1]])
SEVERAL = (DIABETES[0], np.column_stack([DIABETES[1], 1e4 - DIABETES[1] ** 2]))
LABELS = (IRIS[0], np.column_stack([IRIS[1] == 1, IRIS[0][:, 0] > 6, IRIS[0][:, 1] > 3]).astype(int))
MANY = (np.hstack([DIGITS[0], DIGITS[0][:, ::-1], 16 - DIGITS[0]])[:600], DIGITS[1][:600])  # one scale: Hellinger
TINY_UNITS = (IRIS[0] * 1e-32, IRIS[1])  # too small for arithmetic in float32

CLASSIFIERS = {
    "brmp": (BRMPClassifier(), NAMED),
    "brmp-rbf": (BRMPClassifier(20, hidden="rbf", alpha=0.1, **SEED), IRIS),
    "brmp-sampled": (BRMPClassifier((20, 10), hidden="sampled", alpha=0.1, **SEED), DIGITS),
    "cpnet": (CPNetClassifier(60, **SEED), DIGITS),
    "cpnet-mean": (CPNetClassifier(20, exit="mean", **SEED), NAMED),
    "cpnet-cascade": (
        CPNetClassifier(20, encoding="class", skip=False, exit="last", alpha=1.0, activation="tanh", **SEED),
        CANCER,
    ),
    "cpnet-radial-cascade": (CPNetClassifier(20, skip=False, **SEED), IRIS),
    "closed-form": (ClosedFormMLP(**SEED), CANCER),
    "closed-form-digits": (ClosedFormMLP(90, **SEED), DIGITS),
    "closed-form-hellinger": (ClosedFormMLP(60, **SEED), MANY),
    "closed-form-labels": (ClosedFormMLP(20, **SEED), LABELS),
    "closed-form-float32": (ClosedFormMLP(20, precision="float32", **SEED), NAMED),
    "closed-form-float64": (ClosedFormMLP(20, precision="float64", **SEED), IRIS),
    "closed-form-tiny": (ClosedFormMLP(20, **SEED), TINY_UNITS),
    "dfa": (DFAClassifier(20, early_stopping=True, **SHORT), NAMED),
    "dfa-linear": (DFAClassifier(20, output="linear", **SHORT), IRIS),
    "dfa-pow3gb": (DFAClassifier(20, output="pow3gb", **SHORT), IRIS),
    "dfa-expgb": (DFAClassifier((20, 10), output="expgb", activation="tanh", **SHORT), DIGITS),
    "dfa-no-hidden-layer": (DFAClassifier((), scheme="backprop", input_encoding=None, **SHORT), IRIS),
    "layerwise": (LayerwiseMLP((20, 20), partitions=Partitions(refit_head=True), **SHORT), DIGITS),
    "layerwise-all-layers": (LayerwiseMLP((20, 12), **SHORT), NAMED),
    "decoupled": (DecoupledMLPClassifier((20, 20), **SHORT), DIGITS),
    "private-bounds": (PrivateDFAClassifier(10, bounds=(0.0, 5.0), classes=[0, 1, 2], max_iter=1), IRIS),
    "private-norm": (PrivateDFAClassifier(10, data_norm=5.0, classes=[0, 1, 2], max_iter=1), IRIS),
    **{f"closed-form-{name}": (ClosedFormMLP((20, 10), hidden=name, **SEED), CANCER) for name in sorted(CONSTRUCTIONS)},
    **{
        f"dfa-{name}": (DFAClassifier(20, activation=name, input_encoding="robust", **SHORT), IRIS)
        for name in sorted(TRAINED_ACTIVATIONS)
    },
}
REGRESSORS = {
    "brmp": (BRMPRegressor(), DIABETES),
    "brmp-several": (BRMPRegressor(20, alpha=0.1, **SEED), SEVERAL),
    "closed-form": (ClosedFormMLPRegressor(**SEED), DIABETES),
    "closed-form-several": (ClosedFormMLPRegressor(30, **SEED), SEVERAL),
    "dfa": (DFARegressor(20, **SHORT), SEVERAL),
    "layerwise": (LayerwiseMLPRegressor((20, 20), **SHORT), DIABETES),
    "decoupled": (DecoupledMLPRegressor(20, activation="tanh", **SHORT), DIABETES),
    **{
        f"closed-form-{name}": (
            ClosedFormMLPRegressor(20, hidden="sampled", activation=name, alpha=1.0, **SEED),
            DIABETES,
        )
        for name in sorted(ACTIVATION_NAMES)
    },
    **{
        f"encoding-{name}": (ClosedFormMLPRegressor(20, input_encoding=name, n_refits=1, **SEED), DIABETES)
        for name in sorted(ENCODINGS)
    },
}
DTYPES = {"float32": 1e-5, "float64": 1e-7}  # scores of trees are float32 in both


def _fitted(estimator, data):
    """A fit; warnings about short training and disclosed ranges are not this file's subject."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return estimator.fit(*data)


def _run(model, X):
    """Outputs by name."""
    session = runtime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, {"X": X}), strict=True))


def _agree(found, scores, labels, tolerance):
    """Labels may differ where the two largest scores are nearer than rounding."""
    two = np.sort(scores, axis=1)[:, -2:] if scores.ndim == 2 else np.column_stack([0 * scores, scores])
    clear = two[:, 1] - two[:, 0] > 10 * tolerance
    assert np.mean(clear) > 0.5
    np.testing.assert_array_equal(found[clear], labels[clear])


def _in_double(model):
    """The model with features in float64, where it would have them in float32."""
    twin = copy.copy(model)
    return twin.set_params(precision="float64") if getattr(model, "precision", "") == "float32" else twin


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_classifiers_say_the_same(name):
    estimator, (X, y) = CLASSIFIERS[name]
    model = _fitted(estimator, (X, y))
    for dtype, tolerance in DTYPES.items():
        rows = X.astype(dtype)
        found = _run(model.to_onnx(dtype=dtype), rows)
        if "scores" in found:
            expected, scale = model._outputs(rows), 10.0
        else:
            expected, scale = model.predict_proba(rows), 1.0
        # An estimator is no nearer to itself in float64 than float32 rounds; onnxruntime rounds once more, elsewhere.
        exact = _in_double(model).predict_proba(rows.astype(np.float64)) if scale == 1.0 else expected
        tolerance += 2 * np.abs(exact - expected).max()
        chances = found.get("probabilities", found.get("scores"))
        assert chances.dtype == dtype
        np.testing.assert_allclose(chances, expected, rtol=0, atol=scale * tolerance)
        if np.ndim(y) == 1:
            _agree(found["label"], expected, model.predict(rows), scale * tolerance)
        else:
            np.testing.assert_array_equal(found["label"], model.predict(rows))


@pytest.mark.parametrize("name", REGRESSORS)
def test_regressors_say_the_same(name):
    estimator, (X, y) = REGRESSORS[name]
    model = _fitted(estimator, (X, y))
    for dtype, tolerance in DTYPES.items():
        rows = X.astype(dtype)
        expected = model.predict(rows).reshape(len(X), -1)
        found = _run(model.to_onnx(dtype=dtype), rows)["variable"]
        assert found.dtype == dtype
        np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance * np.abs(expected).max())


@pytest.mark.parametrize(
    "labels",
    [np.array(["a", "bb", "ccc"]), np.array(["a", "bb", "ccc"], dtype=object), np.array([-5, 0, 7], dtype=np.int8)],
    ids=["strings", "objects", "integers"],
)
def test_labels_keep_their_kind(labels):
    model = BRMPClassifier().fit(IRIS[0], labels[IRIS[1]])
    found = _run(model.to_onnx(), IRIS[0].astype(np.float32))["label"]
    assert found.tolist() == model.predict(IRIS[0].astype(np.float32)).tolist()


def test_truth_values_are_labels():
    model = _fitted(DFAClassifier(10, **SHORT), (CANCER[0], CANCER[1] == 1))
    found = _run(model.to_onnx(), CANCER[0].astype(np.float32))["label"]
    assert found.dtype == bool
    np.testing.assert_array_equal(found, model.predict(CANCER[0].astype(np.float32)))


def test_rows_on_a_threshold_go_where_they_went():
    X = np.round(IRIS[0], 0)  # few values: midpoints of float64 between float32 rows, and rows on them
    model = ClosedFormMLP(20, hidden="leaf", random_state=0).fit(X + 1 / 3, IRIS[1])
    forest = model._learned.network.layers[0].layer.forest
    inner = forest.feature >= 0
    at = np.repeat(X[:1], 3 * inner.sum(), axis=0).astype(np.float32)
    near = np.concatenate([np.nextafter(t, [-9, t, 9], dtype=np.float32) for t in forest.threshold[inner].astype("f4")])
    at[np.arange(len(at)), np.repeat(forest.feature[inner], 3)] = near
    np.testing.assert_allclose(_run(model.to_onnx(), at)["probabilities"], model.predict_proba(at), rtol=0, atol=1e-5)


def test_one_row_and_many_rows_are_read():
    model = ClosedFormMLP(20, random_state=0).fit(*IRIS).to_onnx()
    X = IRIS[0].astype(np.float32)
    whole = _run(model, X)["probabilities"]
    np.testing.assert_allclose(_run(model, X[:1])["probabilities"], whole[:1], rtol=0, atol=1e-6)
    assert _run(model, np.repeat(X, 20, axis=0))["label"].shape == (3000,)


VARIANTS = {f"classifier-{name}": case for name, case in CLASSIFIERS.items()}
VARIANTS |= {f"regressor-{name}": case for name, case in REGRESSORS.items()}


@pytest.mark.parametrize("name", VARIANTS)
def test_no_rows_are_a_batch(name):
    estimator, (X, y) = VARIANTS[name]
    exported = _fitted(estimator, (X, y))
    for dtype in DTYPES:
        model, rows = exported.to_onnx(dtype=dtype), X.astype(dtype)
        few, one = (_run(model, rows[:n]) for n in (3, 1))
        for output, found in _run(model, rows[:0]).items():
            assert found.shape == (0, *few[output].shape[1:]) and found.dtype == few[output].dtype
            assert one[output].shape == (1, *few[output].shape[1:])


@pytest.mark.parametrize("hidden", ["patch", "masked"])
def test_no_images_are_a_batch(hidden):
    model = ClosedFormMLP(30, hidden=hidden, image_shape=(8, 8), random_state=0).fit(DIGITS[0][:100], DIGITS[1][:100])
    found = _run(model.to_onnx(), DIGITS[0][:0].astype(np.float32))
    assert found["label"].shape == (0,) and found["probabilities"].shape == (0, 10)


def test_the_model_says_what_it_is():
    frame, y = load_iris(return_X_y=True, as_frame=True)
    model = BRMPClassifier().fit(frame, y).to_onnx()
    told = {entry.key: entry.value for entry in model.metadata_props}
    assert json.loads(told["feature_names"]) == frame.columns.tolist()
    assert (model.producer_name, told["estimator"]) == ("sklearn_analytic", "BRMPClassifier")
    assert model.graph.input[0].type.tensor_type.shape.dim[0].dim_param == "rows"


def test_a_file_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / "model.onnx"
    first = BRMPClassifier().fit(*IRIS)
    first.to_onnx(path)
    assert onnx.load(path) == first.to_onnx()
    before = path.read_bytes()

    def broken(source, target):
        raise OSError("no space left")

    monkeypatch.setattr("os.replace", broken)
    with pytest.raises(OSError, match="no space"):
        BRMPClassifier(5, random_state=0).fit(*IRIS).to_onnx(str(path))
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["model.onnx"]


def test_a_construction_without_a_writer_is_named(monkeypatch):
    model = ClosedFormMLP(20, hidden="gated", random_state=0).fit(*IRIS)
    monkeypatch.delitem(_WRITERS, GatedLayer)
    with pytest.raises(NotImplementedError, match=r"to_onnx: this ClosedFormMLP .* GatedLayer.*pickle"):
        model.to_onnx()


@pytest.mark.parametrize("hidden", ["patch", "masked"])
@pytest.mark.parametrize("image_shape", [(8, 8), (2, 8, 4)])
def test_images_are_read_as_images(hidden, image_shape):
    few = (DIGITS[0][:200], DIGITS[1][:200])
    model = ClosedFormMLP(500, hidden=hidden, image_shape=image_shape, random_state=0).fit(*few)
    for dtype, tolerance in DTYPES.items():
        rows = few[0].astype(dtype)
        found = _run(model.to_onnx(dtype=dtype), rows)
        np.testing.assert_allclose(found["probabilities"], model.predict_proba(rows), rtol=0, atol=tolerance)
        np.testing.assert_array_equal(found["label"], model.predict(rows))


def test_every_value_of_features_has_a_writer():
    layers = [kind for kind in vars(features).values() if isinstance(kind, type) and hasattr(kind, "apply")]
    encodings = [kind for kind in vars(features).values() if isinstance(kind, type) and hasattr(kind, "transform")]
    parts = {features.PatchBank, features.ResidualBlock, features.Continuation}  # of what has one
    of_tables = ("TableEncoding", "LevelIndicators", "LevelMeans", "PairMeans")  # onnx_tables.py has theirs
    tables = {getattr(features, name) for name in of_tables}
    assert {*layers, *encodings} - parts - tables <= set(_WRITERS)
    assert len(layers) > 8 and len(encodings) == 7


def test_dtypes_are_two():
    with pytest.raises(ValueError, match="dtype must be 'float32' or 'float64', got 'float16'"):
        BRMPClassifier().fit(*IRIS).to_onnx(dtype="float16")


def test_the_extra_is_named_where_onnx_is_missing(monkeypatch):
    importing = builtins.__import__

    def without(name, *others, **more):
        if name == "onnx":
            raise ModuleNotFoundError("No module named 'onnx'")
        return importing(name, *others, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ImportError, match=r"install sklearn_analytic\[onnx\]"):
        BRMPClassifier().fit(*IRIS).to_onnx()


def test_every_activation_has_a_writer():
    operators = {name for name, row in TRAINED_ACTIVATIONS.items() if row.onnx}
    assert ACTIVATIONS.keys() | operators >= {*ACTIVATION_NAMES, *TRAINED_ACTIVATIONS}


def test_constants_take_the_dtype_of_what_they_meet():
    graph = Graph()
    out = graph.op("Mul", Value("X", np.dtype(np.float32)), np.array([0.5]))
    model = graph.model({"X": (Value("X", np.dtype(np.float32)), 1)}, {"y": (out, [1])}, {"": 18}, name="halves")
    assert _run(model, np.array([[3.0]], dtype=np.float32))["y"].tolist() == [[1.5]]
