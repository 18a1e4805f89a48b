"""ClosedFormMLP: exact readouts, blends, streams, shards, weights, labels, and what is refused."""

import copy

import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn.datasets import load_diabetes, load_digits, make_classification, make_multilabel_classification
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import RidgeClassifier
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_analytic import ClosedFormMLP, ClosedFormMLPRegressor, CPNetClassifier
from sklearn_analytic.features import CONSTRUCTIONS, ENCODINGS
from tests import reference
from tests.checks import assert_close

JITTER = 1e-6  # of the total weight, added to every ridge


@pytest.fixture(scope="module")
def digits():
    return train_test_split(*load_digits(return_X_y=True), random_state=0)


def task(rng, n=300, d=6, classes=3):
    return make_classification(
        n, d, n_informative=4, n_redundant=0, n_classes=classes, random_state=int(rng.integers(1 << 30))
    )


def unit(features):
    """The ridge sees features in units of their deviation, none below a tenth of the largest."""
    deviation = features.std(axis=0)
    return 1 / np.maximum(deviation, 0.1 * deviation.max())


# ---- the readout is the ridge solution ----


def test_readout_equals_textbook_ridge(rng):
    X, y = task(rng)
    model = ClosedFormMLP(25, hidden="sampled", alpha=0.5, random_state=0).fit(X, y)
    features = model.transform(X)
    scale = unit(features)
    coef, intercept = reference.ridge(features * scale, np.eye(3)[y], 0.5 + JITTER * len(X))
    assert_close(model.decision_function(X), features * scale @ coef + intercept, np.float64, scale=1e3)


def test_regressor_equals_textbook_ridge_in_its_units(rng):
    X, Y = rng.standard_normal((200, 4)), rng.standard_normal((200, 2)) * [1.0, 1e6]
    model = ClosedFormMLPRegressor((10, 10), hidden="random", alpha=2.0, random_state=0).fit(X, Y)
    features = model.transform(X)[:, : model._learned.network.exit_sizes()[model.exit_]]
    scale = unit(model.transform(X))[: features.shape[1]]
    coef, intercept = reference.ridge(features * scale, Y, 2.0 + JITTER * len(X))
    assert_close(model.predict(X), features * scale @ coef + intercept, np.float64, scale=1e3, size=1e6)


def test_blend_is_linear_in_its_experts(rng):
    X, y = task(rng, 2000)  # enough rows for the joint ridge
    model = ClosedFormMLP(30, alpha=1.0, random_state=0).fit(X, y)
    features = model.transform(X)
    statistic, n_scores = model._learned.statistic, 3
    held = model._learned.network.tree_scores(X, _cpu(), held_out=True)
    honest = np.hstack([features[:, :-n_scores], held])
    scale = unit(honest)
    penalty = 1.0 + JITTER * len(X)
    assert statistic.n_features == features.shape[1]
    alone = honest[:, :-n_scores] * scale[:-n_scores]
    both, constant = reference.ridge(alone, np.hstack([np.eye(3)[y], held]), penalty)
    new = features * scale
    network, of_trees = np.split(new[:, :-n_scores] @ both + constant, 2, axis=1)
    joint, joint_constant = reference.ridge(honest * scale, np.eye(3)[y], penalty)
    trees = features[:, -n_scores:]
    experts = [network, trees, network - of_trees + trees, new @ joint + joint_constant]
    mean = np.average(np.eye(3)[y], axis=0)
    expected = mean + sum(share * (expert - mean) for share, expert in zip(model.blend_, experts, strict=True))
    assert_close(model.decision_function(X), expected, np.float64, scale=1e4, size=1.0)


def _cpu():
    from sklearn_analytic.backend import get_backend

    return get_backend("cpu")


# ---- streams and shards ----


@pytest.mark.parametrize("hidden", ["auto", "random"])
def test_a_stream_equals_one_fit_of_the_frozen_layers(rng, hidden):
    X, y = task(rng, 400)
    first = ClosedFormMLP(40, hidden=hidden, alpha=1.0, random_state=0).fit(X[:200], y[:200])
    whole = copy.deepcopy(first).partial_fit(X[200:], y[200:])
    pieces = copy.deepcopy(first)
    for start in range(200, 400, 50):
        pieces.partial_fit(X[start : start + 50], y[start : start + 50])
    assert whole.n_samples_seen_ == pieces.n_samples_seen_ == 400
    assert_close(pieces.decision_function(X), whole.decision_function(X), np.float64, scale=1e4, size=1.0)


@pytest.mark.parametrize("estimator", [ClosedFormMLP, ClosedFormMLPRegressor, CPNetClassifier])
def test_shards_merge_into_the_stream(rng, estimator):
    X, y = task(rng, 400)
    first = estimator(40, alpha=1.0, random_state=0).partial_fit(X[:200], y[:200])
    one = first.shard().partial_fit(X[200:300], y[200:300])
    two = first.shard().partial_fit(X[300:], y[300:])
    stream = copy.deepcopy(first).partial_fit(X[200:], y[200:])  # on the same layers: a shard freezes them
    assert one.n_samples_seen_ == 100
    merged = copy.deepcopy(first).merge(one).merge(two)
    assert merged.n_samples_seen_ == 400
    scores = "predict" if estimator is ClosedFormMLPRegressor else "decision_function"
    assert_close(getattr(merged, scores)(X), getattr(stream, scores)(X), np.float64, scale=1e4, size=1.0)


@pytest.mark.parametrize("kind", [ClosedFormMLP, CPNetClassifier])
def test_a_shard_without_rows_is_not_fitted_and_adds_nothing(rng, kind):
    X, y = task(rng)
    first = kind(20, random_state=0).fit(X, y)
    with pytest.raises(NotFittedError):
        first.shard().predict(X)
    before = first.decision_function(X)
    np.testing.assert_array_equal(first.merge(first.shard()).decision_function(X), before)
    np.testing.assert_array_equal(first.shard().merge(first).decision_function(X), before)
    with pytest.raises(NotFittedError, match="shards of one"):
        first.merge(kind())


def test_an_empty_shard_of_a_regressor_adopts_rows(rng):
    X, y = rng.standard_normal((100, 3)), rng.standard_normal(100)
    first = ClosedFormMLPRegressor(20, random_state=0).fit(X, y)
    adopted = first.shard().merge(first)
    np.testing.assert_array_equal(adopted.predict(X), first.predict(X))
    assert not hasattr(adopted, "classes_")


def test_values_beyond_float32_are_refused(rng):
    X, y = task(rng)
    with pytest.raises(ValueError, match="range of float32"):
        ClosedFormMLP(20, precision="float32").fit(1e40 * X, y)


def test_merge_refuses_other_layers(rng):
    X, y = task(rng)
    one = ClosedFormMLP(20, random_state=0).fit(X, y)
    with pytest.raises(ValueError, match="shard"):
        one.merge(ClosedFormMLP(20, random_state=0).fit(X, y))
    with pytest.raises(TypeError, match="ClosedFormMLP"):
        one.merge(ClosedFormMLPRegressor(20).fit(X, y))


def test_classes_that_come_later_are_learnt(rng):
    X, y = task(rng, 3000, classes=3)
    late = np.concatenate([np.flatnonzero(y > 0), np.flatnonzero(y == 0)])  # class 0 sorts first and comes last
    model = ClosedFormMLP(60, random_state=0)
    for part in np.array_split(late, 3):
        model.partial_fit(X[part], y[part])
    assert model.classes_.tolist() == [0, 1, 2]
    assert model._learned.network.labels.tolist() == [1, 2]  # what the first 1000 rows have built stays
    assert np.mean(model.predict(X)[y == 0] == 0) > 0.5
    assert model.score(X, y) > 0.65  # chance is 1/3; no unit was built for class 0


def test_a_shard_may_meet_a_new_class(rng):
    X, y = task(rng, 600, classes=3)
    first = ClosedFormMLP(60, random_state=0).fit(X[y < 2], y[y < 2])
    merged = copy.deepcopy(first).merge(first.shard().partial_fit(X[y == 2], y[y == 2]))
    stream = copy.deepcopy(first).partial_fit(X[y == 2], y[y == 2])
    assert merged.classes_.tolist() == [0, 1, 2]
    assert_close(merged.decision_function(X), stream.decision_function(X), np.float64, scale=1e4, size=1.0)


def test_fit_forgets_what_was_frozen(rng):
    X, y = task(rng)
    model = ClosedFormMLP(30, random_state=0).fit(X, y)
    again = ClosedFormMLP(30, random_state=0).partial_fit(X[:100], y[:100]).fit(X, y)
    np.testing.assert_array_equal(model.decision_function(X), again.decision_function(X))


# ---- weights, order, splits, devices ----


@pytest.mark.parametrize("estimator", [ClosedFormMLP(30), ClosedFormMLPRegressor(30)], ids=repr)
def test_weights_are_repetition(rng, estimator):
    X, y = task(rng, 150)
    weight = rng.integers(0, 4, 150)
    Xr, yr = reference.repeated(X, y, weight)
    order = rng.permutation(len(yr))
    estimator.set_params(random_state=0)
    one = copy.deepcopy(estimator).fit(X, y, sample_weight=weight)
    two = copy.deepcopy(estimator).fit(Xr[order], yr[order])
    scores = "decision_function" if isinstance(estimator, ClosedFormMLP) else "predict"
    assert_close(getattr(one, scores)(X), getattr(two, scores)(X), np.float64, scale=1e5, size=1.0)


def test_blocks_do_not_matter(rng):
    X, y = task(rng)
    one = ClosedFormMLP(30, random_state=0).fit(X, y)
    two = ClosedFormMLP(30, random_state=0, block_size=37).fit(X, y)
    assert_close(one.decision_function(X), two.decision_function(X), np.float64, scale=1e4, size=1.0)


@pytest.mark.parametrize("hidden", ["auto", "leaf", "laplace", "sampled"])
def test_torch_equals_numpy(rng, hidden, device):
    X, y = task(rng)
    one = ClosedFormMLP(30, hidden=hidden, random_state=0).fit(X, y)
    two = ClosedFormMLP(30, hidden=hidden, random_state=0, device=device).fit(X, y)
    assert_close(one.decision_function(X), two.decision_function(X), np.float64, scale=1e5, size=1.0)


def test_precision_sets_the_dtype_of_the_features(rng):
    X, y = task(rng)
    assert ClosedFormMLP(20, precision="float32").fit(X, y).transform(X).dtype == np.float32
    assert ClosedFormMLP(20, precision="float64").fit(X.astype(np.float32), y).transform(X).dtype == np.float64
    assert ClosedFormMLP(20).fit(X.astype(np.float32), y).transform(X.astype(np.float32)).dtype == np.float32


# ---- what a user does with it ----


@pytest.mark.parametrize("hidden", sorted(CONSTRUCTIONS))
@pytest.mark.parametrize("sizes", [(40,), (30, 20)])
def test_every_construction_learns(digits, hidden, sizes):
    X, X_test, y, y_test = (part[:500] for part in digits)
    model = ClosedFormMLP(sizes, hidden=hidden, random_state=0).fit(X, y)
    assert len(model.exit_errors_) == len(sizes)
    assert model.score(X_test, y_test) > 0.85
    assert len(list(model.staged_predict(X_test[:5]))) == len(sizes)


@pytest.mark.parametrize("hidden", sorted(CONSTRUCTIONS))
def test_every_construction_regresses(hidden):
    X, y = load_diabetes(return_X_y=True)
    model = ClosedFormMLPRegressor(30, hidden=hidden, random_state=0).fit(X[:300], y[:300])
    assert model.score(X[300:], y[300:]) > (0.2 if hidden == "inverse" else 0.35)  # it remembers its targets


@pytest.mark.parametrize("encoding", sorted(ENCODINGS))
@pytest.mark.parametrize("n_refits", [0, 2])
def test_every_encoding_learns(digits, encoding, n_refits):
    X, X_test, y, y_test = (part[:1000] for part in digits)
    model = ClosedFormMLP(100, input_encoding=encoding, n_refits=n_refits, random_state=0).fit(X, y)
    assert model.score(X_test, y_test) > 0.9
    assert {record["refits"] for record in model.candidates_} >= ({0, 1} if n_refits else {0})


def test_default_beats_a_linear_model_and_its_probabilities_mean_something(digits):
    X, X_test, y, y_test = digits
    model = ClosedFormMLP(random_state=0).fit(X, y)
    assert model.score(X_test, y_test) > max(0.97, RidgeClassifier().fit(X, y).score(X_test, y_test))
    probability = model.predict_proba(X_test)
    assert_close(probability.sum(axis=1), np.ones(len(X_test)), np.float64)
    assert abs(probability.max(axis=1).mean() - model.score(X_test, y_test)) < 0.02
    assert abs(model.loo_score_ - model.score(X_test, y_test)) < 0.02
    stages = list(model.staged_predict_proba(X_test))
    np.testing.assert_array_equal(stages[model.exit_], probability)
    scores = list(model.staged_decision_function(X_test))
    np.testing.assert_array_equal(scores[model.exit_], model.decision_function(X_test))


def test_pipeline_and_grid_search(digits):
    X, X_test, y, y_test = (part[:300] for part in digits)
    search = GridSearchCV(
        make_pipeline(StandardScaler(), ClosedFormMLP(random_state=0)),
        {"closedformmlp__hidden": ["random", "sampled"], "closedformmlp__hidden_layer_sizes": [50, 100]},
        cv=2,
    ).fit(X, y)
    assert search.score(X_test, y_test) > 0.85


def test_regressor_learns_several_targets_of_any_scale(rng):
    X = rng.uniform(-3, 3, (1000, 3))
    Y = np.column_stack([np.sin(2 * X[:, 0]) + X[:, 1] ** 2, 1e-9 * X[:, 2], 1e9 + 1e3 * X[:, 0] * X[:, 1]])
    model = ClosedFormMLPRegressor(random_state=0).fit(X[:700], Y[:700])
    for k in range(3):
        expected, found = Y[700:, k], model.predict(X[700:])[:, k]
        assert 1 - np.var(found - expected) / np.var(expected) > 0.98
    assert model.loo_score_ > 0.98


def test_multilabel(rng):
    X, Y = make_multilabel_classification(600, 10, n_classes=4, random_state=0)
    model = ClosedFormMLP(random_state=0).fit(X[:400], Y[:400])
    assert model.predict(X[400:]).shape == model.predict_proba(X).shape[:0] + (200, 4)
    majority = np.mean(np.maximum(Y[400:].mean(0), 1 - Y[400:].mean(0)))
    assert np.mean(model.predict(X[400:]) == Y[400:]) > majority + 0.05
    probability = model.predict_proba(X[400:])
    assert np.all((probability > 0) & (probability < 1))
    assert np.mean((probability > 0.5) == model.predict(X[400:])) > 0.9
    model.partial_fit(X[400:], Y[400:])
    assert model.n_samples_seen_ == 600
    with pytest.raises(ValueError, match="labels"):
        model.partial_fit(X, Y[:, :2])


def test_importances_find_the_columns_that_matter(rng):
    X = rng.standard_normal((800, 6))
    y = (X[:, 2] + 0.5 * X[:, 4] ** 2 > 0.5).astype(int)
    importances = ClosedFormMLP(random_state=0).fit(X, y).feature_importances_
    assert importances.shape == (6,)
    assert importances.sum() == pytest.approx(1)
    assert set(np.argsort(importances)[-2:]) == {2, 4}


def test_importances_of_binary_columns_and_frames_are_fair(rng):
    pandas = pytest.importorskip("pandas")
    X = rng.standard_normal((600, 3))
    X[:, 1] = X[:, 1] > 0
    X[:, 2] = 7.0
    y = X[:, 0] + 0.3 * X[:, 1]
    model = ClosedFormMLPRegressor(random_state=0).fit(pandas.DataFrame(X, columns=["a", "b", "c"]), y)
    importances = model.feature_importances_  # no warning about names, which is an error here
    assert importances[2] == 0
    assert 0 < importances[1] < 0.1 * importances[0]


def test_all_rows_alike_give_the_shares_of_the_classes():
    X, y = np.ones((400, 3)), np.array([0, 1, 1, 1] * 100)
    assert ClosedFormMLP().fit(X, y).predict_proba(X[:1])[0, 1] == pytest.approx(0.75, abs=0.01)


def test_few_distinct_rows_are_all_in_the_audit(rng):
    X = rng.integers(0, 2, (3000, 3)).astype(float)
    y = (X.sum(axis=1) + rng.normal(0, 0.5, 3000) > 1.5).astype(int)
    model = ClosedFormMLP(random_state=0).fit(X, y)
    assert abs(model.loo_score_ - model.score(X, y)) < 0.01


def test_noise_is_not_learnt(rng):
    told = []
    for seed in range(6):
        X, y = rng.standard_normal((1000, 3)), rng.permutation(np.arange(1000) % 2)
        model = ClosedFormMLP(random_state=seed).fit(X, y)
        told.append(model.loo_score_)
    assert abs(np.mean(told) - 0.5) < 0.03  # 250 audit rows each: two standard errors are .026
    new = model.predict_proba(rng.standard_normal((2000, 3)))
    assert -np.mean(np.log(new[np.arange(2000), rng.integers(0, 2, 2000)])) < 0.72


@pytest.mark.parametrize("hidden", ["auto", "patch", "masked"])
def test_image_shape(digits, hidden):
    X, X_test, y, y_test = digits
    model = ClosedFormMLP(600, hidden=hidden, image_shape=(8, 8), random_state=0).fit(X.astype(np.float32), y)
    assert model.score(X_test.astype(np.float32), y_test) > 0.97
    with pytest.raises(ValueError, match="64 columns"):
        ClosedFormMLP(hidden=hidden, image_shape=(7, 8)).fit(X, y)


# ---- hard data ----


def hard(kind, rng):
    X, y = task(rng, 120, classes=2)
    if kind == "identical rows":
        X[:] = X[0]
    elif kind == "one feature":
        X = X[:, :1]
    elif kind == "class with one row":
        y[:] = 0
        y[5] = 1
    elif kind == "imbalance":
        y[:] = 0
        y[:3] = 1
    elif kind == "one-hot columns":
        X = np.eye(120)[:, rng.integers(0, 120, 3000)]
    elif kind == "heavy tails":
        X[::7] *= 1e12
    elif kind == "tiny":
        X *= 1e-150
    elif kind == "huge":
        X *= 1e150
    elif kind == "constant columns":
        X = np.column_stack([X, np.ones(120), np.full(120, 1e9)])
    return X, y


KINDS = [
    "identical rows",
    "one feature",
    "class with one row",
    "imbalance",
    "one-hot columns",
    "heavy tails",
    "tiny",
    "huge",
    "constant columns",
]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("hidden", ["auto", "sampled", "leaf", "laplace"])
def test_hard_data_gives_finite_answers(rng, kind, hidden):
    X, y = hard(kind, rng)
    model = ClosedFormMLP(hidden=hidden, random_state=0).fit(X, y)
    probability = model.predict_proba(X)
    assert np.all(np.isfinite(probability))
    assert model.score(X, y) >= np.mean(y == np.bincount(y).argmax()) - 1e-12


def test_more_units_than_rows(rng):
    X, y = task(rng, 60, classes=2)
    model = ClosedFormMLP(500, hidden="random", random_state=0).fit(X, y)
    assert model.transform(X).shape[1] > 500
    assert model.score(X, y) > 0.9


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_wide_float32_features_solve_safely(digits, dtype):
    X, X_test, y, y_test = digits
    X, X_test = (1e4 * part.astype(dtype) + 1e6 for part in (X, X_test))
    model = ClosedFormMLP(3000, hidden="sampled", random_state=0).fit(X, y)
    assert model.score(X_test, y_test) > 0.96


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"hidden": "deep"}, "hidden must be one of"),
        ({"hidden": "patch"}, "image_shape"),
        ({"image_shape": 8}, "channels first"),
        ({"image_shape": "8x8"}, "channels first"),
        ({"image_shape": (2, 3), "hidden": "sampled"}, "does not read image_shape"),
        ({"hidden_layer_sizes": (0,)}, "hidden_layer_sizes"),
        ({"hidden_layer_sizes": "wide"}, "hidden_layer_sizes"),
        ({"activation": "softsign"}, "activation must be one of"),
        ({"input_encoding": "pca"}, "input_encoding must be one of"),
        ({"n_refits": 6}, "n_refits must be an integer from 0 to 5"),
        ({"n_refits": True}, "n_refits"),
        ({"alpha": -1.0}, "alpha"),
        ({"alpha": [0.0, 1.0]}, "positive"),
        ({"precision": "float16"}, "precision must be one of"),
        ({"block_size": 0}, "block_size"),
        ({"random_state": -1}, "random_state"),
    ],
)
def test_wrong_parameters_are_named(rng, parameters, message):
    X, y = task(rng)
    for estimator in (ClosedFormMLP, ClosedFormMLPRegressor):
        with pytest.raises(ValueError, match=message):
            estimator(**parameters).fit(X, y)


def test_wrong_targets_are_named(rng):
    X, y = task(rng)
    with pytest.raises(ValueError, match="several multi-class outputs"):
        ClosedFormMLP().fit(X, np.column_stack([y, y]))
    with pytest.raises(ValueError, match="one class"):
        ClosedFormMLP().fit(X, np.zeros(len(X), int))
    with pytest.raises(ValueError, match="balanced"):
        ClosedFormMLP(class_weight="balanced").partial_fit(X, y)
    with pytest.raises(ValueError, match="NaN"):
        ClosedFormMLPRegressor().fit(X, np.where(y > 0, np.nan, 1.0))


@pytest.mark.parametrize("alpha", ["gcv", 0.0, [0.1, 10.0], 3])
def test_every_kind_of_ridge(digits, alpha):
    X, X_test, y, y_test = (part[:300] for part in digits)
    model = ClosedFormMLP(80, alpha=alpha, random_state=0).fit(X, y)
    assert model.score(X_test, y_test) > 0.8


@pytest.mark.parametrize("device", ["cpu", "torch:cpu"])
@pytest.mark.parametrize("n_targets", [1, 2])
def test_float32_rows_have_float32_predictions(device, n_targets):
    X, y = load_diabetes(return_X_y=True)
    y = y if n_targets == 1 else np.column_stack([y, -y])
    model = ClosedFormMLPRegressor(20, hidden="random", random_state=0, device=device).fit(X, y)
    narrow = X.astype(np.float32)
    for rows in (narrow, sparse.csr_matrix(narrow), pd.DataFrame(narrow)):
        assert model.predict(rows).dtype == np.float32
        assert [stage.dtype for stage in model.staged_predict(rows)] == [np.float32]
    assert model.predict(X).dtype == np.float64
    assert model.predict(np.ones((2, 10), dtype=int)).dtype == np.float64
    far = ClosedFormMLPRegressor(20, hidden="random", random_state=0, device=device).fit(X, 1e40 * y)
    with pytest.raises(ValueError, match="X is float32, which cannot hold the predictions: pass X as float64"):
        far.predict(narrow)
    assert np.isfinite(far.predict(X)).all()
