"""What was constant: targets are predicted exactly, columns and targets that move later are learned."""

import pickle

import numpy as np
import pytest

from sklearn_analytic import (
    Adam,
    Blocks,
    DecoupledMLPClassifier,
    DecoupledMLPRegressor,
    Device,
    DFAClassifier,
    DFARegressor,
    ImageNetwork,
    LayerwiseMLP,
    LayerwiseMLPRegressor,
    Partitions,
    SequenceNetwork,
)
from sklearn_analytic.estimator.late_scales import joined, moments
from tests.checks import encoded
from tests.estimator.before import of_before

REGRESSORS = [DFARegressor, LayerwiseMLPRegressor, DecoupledMLPRegressor]
CLASSIFIERS = [DFAClassifier, LayerwiseMLP, DecoupledMLPClassifier]
SMALL = {"hidden_layer_sizes": (16,), "max_iter": 3, "random_state": 0}
CONSTANTS = (0.0, 1e-6, -3.0, 1e6 + 0.1, 1e150, -1e-310)
STILL = {
    "learning_rate_init": 1e-12,
    "learning_rate": "constant",
    "solver": Adam(warmup_fraction=0.0),
}  # nothing is learned


@pytest.fixture
def X():
    return np.random.default_rng(0).standard_normal((60, 3))


def test_moments_of_parts_are_those_of_the_whole():
    rng = np.random.default_rng(0)
    for scale in (1.0, 1e-200, 1e200):
        values, weights = scale * (3 + rng.standard_normal((20, 2))), rng.uniform(1, 2, 20)
        whole = moments(values, weights)
        np.testing.assert_allclose(whole[1], np.average(values, axis=0, weights=weights), rtol=1e-12)
        parts = joined(moments(values[:7], weights[:7]), moments(values[7:], weights[7:]))
        np.testing.assert_allclose(parts, whole, rtol=1e-12)


# ---- targets ----


def assert_the_nearest_float32(model, rows, constant):
    """Narrow rows have narrow predictions, or are refused where these would be infinite."""
    if abs(constant) < float(np.finfo(np.float32).max):
        np.testing.assert_array_equal(model.predict(rows), np.float32(constant))
        return
    with pytest.raises(ValueError, match="cannot hold the predictions"):
        model.predict(rows)


@pytest.mark.parametrize("constant", CONSTANTS)
@pytest.mark.parametrize("model", REGRESSORS)
def test_a_constant_target_is_predicted_exactly(model, constant, X):
    y, far = np.full(60, constant), np.vstack([X, 1e3 * X])
    varied = X[:, 0]
    weight = np.r_[np.zeros(30), np.ones(30)]
    partly = np.where(weight > 0, constant, varied)
    fits = {
        "fit": model(**SMALL).fit(X, y),
        "float32": model(**SMALL).fit(X.astype(np.float32), y),
        "held out": model(**SMALL, early_stopping=True).fit(X, y),
        "stream": model(**SMALL).partial_fit(X[:1], y[:1]).partial_fit(X, y),
        "blocks": model(**SMALL).fit_blocks(Blocks.from_arrays(X, y, block_size=20)),
        "weighing rows": model(**SMALL).fit(X, partly, sample_weight=weight),
        "weighing rows of blocks": model(**SMALL).fit_blocks(Blocks.from_arrays(X, partly, weight, block_size=20)),
        "without layers": model(**SMALL | {"hidden_layer_sizes": ()}).fit(X, y),
    }
    for name, fitted in fits.items():
        np.testing.assert_array_equal(fitted.predict(far), constant, err_msg=name)
        assert_the_nearest_float32(fitted, far.astype(np.float32), constant)
        np.testing.assert_array_equal(fitted.to_sklearn().predict(far), constant, err_msg=name)
    beside = model(**SMALL).fit(X, np.column_stack([varied, y]))
    np.testing.assert_array_equal(beside.predict(far)[:, 1], constant)
    assert np.ptp(beside.predict(X)[:, 0]) > 0


@pytest.mark.parametrize("precision", ["float32", "float64"])
@pytest.mark.parametrize(
    "parameters",
    [
        {"partitions": Partitions(refit_head=True)},
        {"order": "simultaneous"},
        {"partitions": Partitions(local_loss="predsim")},
    ],
)
def test_every_head_predicts_a_constant_exactly(parameters, precision, X):
    parameters = SMALL | {"hidden_layer_sizes": (8, 8)} | parameters
    model = LayerwiseMLPRegressor(device=Device(precision=precision), **parameters)
    model.fit(X, np.column_stack([X[:, 0], np.full(60, 0.1)]))
    for staged in model.staged_predict(X):
        np.testing.assert_array_equal(staged[:, 1], 0.1)


def test_a_constant_beside_does_not_stop_training(X):
    """Held-out rows are judged by the targets that vary."""
    model = DFARegressor(**SMALL, early_stopping=True).fit(X, np.column_stack([X[:, 0], np.ones(60)]))
    outputs = model._raw_outputs(X)
    targets = model._trained.targets
    coded = targets.coded(np.column_stack([X[:, 0], np.ones(60)]), "float32")
    expected = 1 - np.mean((outputs[:, 0] - coded[:, 0]) ** 2) / 2
    assert targets.score(outputs, coded, None) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("model", REGRESSORS)
def test_networks_of_torch_predict_a_constant_exactly(model):
    pytest.importorskip("torch")
    images = np.random.default_rng(0).standard_normal((20, 36))
    fits = [
        model(**SMALL, network=ImageNetwork((6, 6), (2,))),
        model(**SMALL, device="torch:cpu"),
    ]
    for fitted in fits:
        np.testing.assert_array_equal(fitted.fit(images, np.full(20, 0.1)).predict(images), 0.1)


def test_recurrent_networks_predict_a_constant_exactly():
    pytest.importorskip("torch")
    rows = np.random.default_rng(0).standard_normal((20, 6))
    model = DFARegressor(**SMALL, network=SequenceNetwork(3, (4,))).fit(rows, np.full(20, 0.1))
    np.testing.assert_array_equal(model.predict(rows), 0.1)


def test_onnx_predicts_a_constant(X):
    pytest.importorskip("onnx")
    from onnx.reference import ReferenceEvaluator

    model = DFARegressor(**SMALL).fit(X, np.full(60, 0.1))
    graph = ReferenceEvaluator(model.to_onnx(dtype="float64"))
    np.testing.assert_array_equal(graph.run(None, {"X": X})[0], np.full((60, 1), 0.1))


@pytest.mark.parametrize("first", ["fit", "stream", "warm start"])
@pytest.mark.parametrize("constant, unit", [(5.0, 1.0), (0.0, 1e-6), (1e6, 1.0), (0.0, 1e150), (-2.0, 100.0)])
def test_a_target_that_moves_is_learned(first, constant, unit, X):
    y = constant + unit * (X[:, 0] - X[:, 1])
    model = DFARegressor(**SMALL, learning_rate_init=0.01, learning_rate="constant", warm_start=first == "warm start")
    model.partial_fit(X, np.full(60, constant)) if first == "stream" else model.fit(X, np.full(60, constant))
    for _ in range(30):
        model.fit(X, y) if first == "warm start" else model.partial_fit(X, y)
    error = (model.predict(X) - y) / unit
    assert np.mean(error**2) < 0.1


def test_a_target_that_moves_row_by_row_is_learned(X):
    y = 100 + 0.01 * X[:, 0]
    model = DFARegressor(**SMALL, learning_rate_init=0.01)
    for _ in range(10):
        for k in range(60):
            model.partial_fit(X[k : k + 1], y[k : k + 1])
    assert model.score(X, y) > 0.9


# ---- columns ----


def _switched(rng, unit):
    """Rows with a column that is 7.3, and rows where it moves."""
    A, B = rng.standard_normal((2, 120, 3))
    A[:, 2], B[:, 2] = 7.3, 7.3 + unit * B[:, 2]
    return A, B


def _begin(model, how, A, t):
    """A first training in one of several ways."""
    named = {"classes": [0, 1]} if hasattr(model, "predict_proba") else {}
    if how == "fit":
        return model.fit(A, t)
    if how == "stream":
        return model.partial_fit(A, t, **named)
    return model.fit_blocks(Blocks.from_arrays(A, t, block_size=40))


@pytest.mark.parametrize("unit", [1.0, 1e-4, 1e4])
@pytest.mark.parametrize("how", ["fit", "stream", "blocks"])
@pytest.mark.parametrize("model", REGRESSORS + CLASSIFIERS)
def test_a_column_that_moves_is_learned(model, how, unit):
    A, B = _switched(np.random.default_rng(0), unit)
    labels = model in CLASSIFIERS
    code = (lambda t: (t > 0).astype(int)) if labels else (lambda t: t)
    old, new = code(A[:, 0]), code((B[:, 2] - 7.3) / unit + 0.3 * B[:, 0])
    fitted = _begin(model(**SMALL, learning_rate_init=0.01), how, A, old)
    fitted = pickle.loads(pickle.dumps(fitted))
    for _ in range(20):
        fitted.partial_fit(B, new)
    assert fitted.score(B, new) > 0.9


@pytest.mark.parametrize("encoding", ["auto", "robust", "quantile", "piecewise_linear"])
@pytest.mark.parametrize("how", ["fit", "stream", "blocks"])
@pytest.mark.parametrize("model", REGRESSORS)
def test_nothing_jumps_where_a_column_is_what_it_was(model, how, encoding):
    A, B = _switched(np.random.default_rng(0), 3.0)
    exact = Device(precision="float64")
    fitted = _begin(model(**SMALL | STILL, input_encoding=encoding, device=exact), how, A, A[:, 0])
    before, zeros = fitted.predict(A), np.flatnonzero(~encoded(fitted, A[:1])[0].astype(bool))
    for part in (B[:1], B[1:4], B):
        fitted.partial_fit(part, part[:, 0])
        np.testing.assert_allclose(fitted.predict(A), before, rtol=0, atol=1e-6)
        assert np.all(encoded(fitted, A)[:, zeros[-1]] == 0)
    moved = encoded(fitted, B)[:, zeros[-1]]
    assert 0.5 < moved.std() < 2 and np.corrcoef(moved, B[:, 2])[0, 1] > 0.9


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_column_of_roundings_stays_dead(dtype):
    rng = np.random.default_rng(0)
    A, _ = _switched(rng, 1.0)
    model = DFARegressor(**SMALL).fit(A.astype(dtype), A[:, 0])
    A[:, 2] = dtype(7.3) + rng.integers(-1, 2, 120) * np.spacing(dtype(7.3))
    model.partial_fit(A.astype(dtype), A[:, 0])
    assert model._trained.reading.encoding.slope[2] == 0
    A[:, 2] = 7.3
    model.partial_fit(A, A[:, 0]).partial_fit(A.astype(np.float32), A[:, 0])
    assert model._trained.reading.encoding.slope[2] == 0


def test_a_column_far_from_where_it_was_is_near_the_others():
    A, B = _switched(np.random.default_rng(0), 1.0)
    B[:, 2] += 1e3
    model = DFARegressor(**SMALL).fit(A, A[:, 0]).partial_fit(B, B[:, 0])
    assert np.abs(encoded(model, B)[:, 2]).max() < 6 and np.all(encoded(model, A)[:, 2] == 0)


def test_blank_images_get_their_scale_when_there_are_others():
    pytest.importorskip("torch")
    images = 5 * np.random.default_rng(0).standard_normal((30, 36))
    blank = np.full((30, 36), 7.3)
    model = DFARegressor(**SMALL, network=ImageNetwork((6, 6), (2,))).fit(blank, images[:, 0])
    assert np.all(encoded(model, blank) == 0)
    model.partial_fit(images, images[:, 0])
    assert np.all(encoded(model, blank) == 0) and 0.5 < encoded(model, images).std() < 1.5
    assert len(set(model._trained.reading.encoding.slope)) == 1


@pytest.mark.parametrize("encoding", ["auto", "robust", "quantile"])
def test_exports_follow_a_column_that_moved(encoding):
    pytest.importorskip("onnx")
    from onnx.reference import ReferenceEvaluator

    A, B = _switched(np.random.default_rng(0), 1.0)
    model = DFARegressor(**SMALL, input_encoding=encoding).fit(A, A[:, 0]).partial_fit(B, B[:, 2])
    graph = ReferenceEvaluator(model.to_onnx(dtype="float64"))
    np.testing.assert_allclose(graph.run(None, {"X": B})[0][:, 0], model.predict(B), rtol=0, atol=1e-5)
    if encoding == "auto":
        np.testing.assert_allclose(model.to_sklearn().predict(B), model.predict(B), rtol=0, atol=1e-5)


def test_estimators_of_before_go_on():
    """Files of earlier versions know no moments: what is 0 is asleep, targets keep their scale."""
    A, B = _switched(np.random.default_rng(0), 1.0)
    model = DFARegressor(**SMALL).fit(A, A[:, 0])
    old = of_before(model, "_column_moments", "_target_rows")
    for fitted in (model, old):
        fitted.partial_fit(B, B[:, 2])
    np.testing.assert_array_equal(model.predict(B), old.predict(B))


def test_a_failed_block_wakes_nothing():
    A, B = _switched(np.random.default_rng(0), 1.0)
    model = DFARegressor(**SMALL).fit(A, np.ones(120))
    state = dict(vars(model))
    with pytest.raises(ValueError, match="must be below"):
        model.partial_fit(B, B[:, 0], sample_weight=np.full(120, 1e31))
    assert all(value is state[name] for name, value in vars(model).items())
