"""CPNet: real data, every mode, streams, exits, probabilities, invariances and bad input."""

import numpy as np
import pytest
from scipy import sparse
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, load_digits, load_iris, load_wine, make_blobs
from sklearn.metrics import log_loss
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_analytic import CPNetClassifier
from tests.checks import assert_close

LITERAL = {"encoding": "class", "skip": False, "exit": "last", "alpha": 0.0, "activation": "tanh"}
MODES = {
    "default": {},
    "literal": LITERAL,
    "cascade": {"skip": False},
    "mask": {"encoding": "mask"},
    "forward cascade": {"encoding": "forward", "skip": False},
    "whitened": {"encoding": "forward", "projection": "whitened"},
    "random": {"projection": "random", "activation": "relu"},
    "subclass tanh": {"activation": "tanh"},
    "gcv": {"alpha": "gcv", "hidden_layer_sizes": 40},
    "fixed": {"alpha": 3.0, "exit": "mean"},
    "one module": {"n_modules": 1, "hidden_layer_sizes": 100},
    "widths": {"n_modules": 2, "hidden_layer_sizes": (60, 30), "exit": "last"},
}


def split(load, seed=0):
    X, y = load(return_X_y=True)
    return train_test_split(X, y, random_state=seed, stratify=y)


@pytest.fixture(scope="module")
def digits():
    return split(load_digits)


@pytest.mark.parametrize("mode", MODES)
def test_every_mode_learns_digits(mode, digits):
    X, X_test, y, y_test = digits
    model = CPNetClassifier(random_state=0, **MODES[mode]).fit(X, y)
    assert model.score(X_test, y_test) > (0.85 if mode == "literal" else 0.95)
    probabilities = model.predict_proba(X_test)
    assert_close(probabilities.sum(axis=1), np.ones(len(X_test)), np.float64)
    assert log_loss(y_test, probabilities) < (0.8 if mode == "literal" else 0.25)


@pytest.mark.parametrize(
    ("load", "floor"), [(load_iris, 0.9), (load_wine, 0.93), (load_breast_cancer, 0.94)], ids=["iris", "wine", "cancer"]
)
def test_small_real_data(load, floor):
    scores = []
    for seed in range(3):
        X, X_test, y, y_test = split(load, seed)
        scores.append(CPNetClassifier(random_state=seed).fit(X, y).score(X_test, y_test))
    assert np.mean(scores) > floor


def test_pipeline_and_grid_search_with_string_labels():
    X, y = load_iris(return_X_y=True)
    names = np.array(["setosa", "versicolor", "virginica"])[y]
    grid = {"cpnetclassifier__encoding": ["subclass", "mask"], "cpnetclassifier__n_modules": [1, 2]}
    search = GridSearchCV(make_pipeline(StandardScaler(), CPNetClassifier(random_state=0)), grid, cv=3).fit(X, names)
    assert search.best_score_ > 0.9
    assert set(search.predict(X)) <= set(names)


@pytest.mark.parametrize("exit", ["loo", "last", "mean"])
def test_exits_are_staged_and_one_of_them_predicts(exit, digits):
    X, X_test, y, _ = digits
    model = CPNetClassifier(exit=exit, random_state=0).fit(X, y)
    stages = list(model.staged_decision_function(X_test))
    assert len(stages) == len(list(model.staged_predict(X_test))) == 3
    chosen = {"loo": int(np.argmin(model.exit_errors_)), "last": 2, "mean": None}[exit]
    assert model.exit_ == chosen
    expected = np.mean(stages, axis=0) if chosen is None else stages[chosen]
    assert_close(model.decision_function(X_test), expected, np.float64, 10)
    for labels, scores in zip(model.staged_predict(X_test), stages, strict=True):
        np.testing.assert_array_equal(labels, model.classes_[scores.argmax(1)])
    for probabilities in model.staged_predict_proba(X_test):
        assert_close(probabilities.sum(axis=1), np.ones(len(X_test)), np.float64)
    if chosen is not None:
        assert_close(list(model.staged_predict_proba(X_test))[chosen], model.predict_proba(X_test), np.float64, 10)


def test_leave_one_out_errors_tell_the_test_error(digits):
    X, X_test, y, y_test = digits
    model = CPNetClassifier(random_state=0).fit(X, y)
    targets = np.eye(10)[y_test]
    for error, scores in zip(model.exit_errors_, model.staged_decision_function(X_test), strict=True):
        test_error = np.mean(np.sum((targets - scores) ** 2, axis=1))
        assert 0.7 < error / test_error < 1.4


def test_probabilities_are_calibrated():
    X, y = make_blobs(3000, centers=4, n_features=6, cluster_std=6.0, random_state=0)
    X, X_test, y, y_test = train_test_split(X, y, random_state=0)
    probabilities = CPNetClassifier(random_state=0).fit(X, y).predict_proba(X_test)
    confidence, correct = probabilities.max(1), probabilities.argmax(1) == y_test
    bins = np.digitize(confidence, [0.5, 0.7, 0.9])
    for b in range(4):
        if np.sum(bins == b) > 50:
            assert abs(confidence[bins == b].mean() - correct[bins == b].mean()) < 0.12


@pytest.mark.parametrize("mode", ["default", "mask", "cascade"])  # alpha=0 magnifies rounding without bound
def test_order_of_rows_does_not_matter(mode, rng):
    X, X_test, y, _ = split(load_wine)
    order = rng.permutation(len(X))
    model = CPNetClassifier(random_state=1, **MODES[mode])
    one, two = clone(model).fit(X, y), clone(model).fit(X[order], y[order])
    assert_close(one.decision_function(X_test), two.decision_function(X_test), np.float64, 1e6)


@pytest.mark.parametrize("block_size", [17, 60, 5000])
def test_block_size_does_not_matter(block_size):
    X, X_test, y, _ = split(load_wine)
    one = CPNetClassifier(random_state=0).fit(X, y)
    two = CPNetClassifier(random_state=0, block_size=block_size).fit(X, y)
    assert_close(one.decision_function(X_test), two.decision_function(X_test), np.float64, 1e4)


@pytest.mark.parametrize("mode", ["default", "gcv", "cascade"])
def test_devices_are_one_experiment(mode, device, dtype):
    X, X_test, y, _ = split(load_wine)
    X, X_test = X.astype(dtype), X_test.astype(dtype)
    expected = CPNetClassifier(random_state=0, **MODES[mode]).fit(X, y)
    model = CPNetClassifier(random_state=0, device=device, **MODES[mode]).fit(X, y)
    # Ridges of 0.01 on correlated features: float32 products are worth about three digits.
    assert_close(model.decision_function(X_test), expected.decision_function(X_test), dtype, 1e4, size=1.0)


def test_sparse_frames_memmaps_and_tensors(tmp_path):
    pandas, torch = pytest.importorskip("pandas"), pytest.importorskip("torch")
    X, X_test, y, _ = split(load_digits)
    expected = CPNetClassifier(random_state=0).fit(X, y).predict_proba(X_test)
    np.save(tmp_path / "x.npy", X)
    frame = pandas.DataFrame(X, columns=[f"p{i}" for i in range(64)])
    for rows in [sparse.csr_array(X), np.load(tmp_path / "x.npy", mmap_mode="r"), frame, torch.from_numpy(X)]:
        model = CPNetClassifier(random_state=0).fit(rows, y)
        test = frame.iloc[:0].reindex(range(len(X_test))).assign(**dict(zip(frame, X_test.T, strict=True)))
        test = test if rows is frame else X_test
        assert_close(model.predict_proba(test), expected, np.float64, 1e6)
    scores = CPNetClassifier(random_state=0).fit(torch.from_numpy(X), y).decision_function(torch.from_numpy(X_test))
    assert isinstance(scores, torch.Tensor)


# Streams.


def test_streamed_exits_are_exact_for_frozen_projections(digits):
    """After the first block only sums grow: the rest in one block or in many is the same fit."""
    X, _, y, _ = digits
    many = CPNetClassifier(random_state=0).partial_fit(X[:1000], y[:1000])
    once = CPNetClassifier(random_state=0).partial_fit(X[:1000], y[:1000]).partial_fit(X[1000:], y[1000:])
    for start in range(1000, len(X), 123):
        many.partial_fit(X[start : start + 123], y[start : start + 123])
    assert many.n_samples_seen_ == once.n_samples_seen_ == len(X)
    one, two = many._learned.statistic, once._learned.statistic
    assert_close(one.scatter, two.scatter, np.float64, 10)
    assert_close(one.mean, two.mean, np.float64)


def test_streaming_approaches_the_full_fit(digits):
    X, X_test, y, y_test = digits
    stream = CPNetClassifier(random_state=0)
    scores = [stream.partial_fit(X[i : i + 300], y[i : i + 300]).score(X_test, y_test) for i in range(0, 1200, 300)]
    assert scores[-1] > scores[0]
    assert scores[-1] > CPNetClassifier(random_state=0).fit(X, y).score(X_test, y_test) - 0.02


def test_classes_that_appear_later_are_learned(digits):
    X, X_test, y, y_test = digits
    early = y < 6
    model = CPNetClassifier(random_state=0).partial_fit(X[early], y[early])
    np.testing.assert_array_equal(model.classes_, np.arange(6))
    late = np.flatnonzero(~early)
    for part in np.array_split(late, 3):
        model.partial_fit(X[part], y[part])
    np.testing.assert_array_equal(model.classes_, np.arange(10))
    assert model.score(X_test, y_test) > 0.93
    assert model.predict_proba(X_test).shape == (len(X_test), 10)


def test_a_stream_may_begin_with_one_class_and_one_row(digits):
    X, _, y, _ = digits
    model = CPNetClassifier(random_state=0).partial_fit(X[:1], y[:1])
    np.testing.assert_array_equal(model.predict(X[:3]), y[:1].repeat(3))
    model.partial_fit(X[1:], y[1:])
    assert len(model.classes_) == 10


def test_known_classes_refuse_others(digits):
    X, _, y, _ = digits
    model = CPNetClassifier(random_state=0).partial_fit(X[y < 9], y[y < 9], classes=np.arange(9))
    before = dict(vars(model))
    with pytest.raises(ValueError, match="not in classes"):
        model.partial_fit(X, y)
    with pytest.raises(ValueError, match="not the same as"):
        model.partial_fit(X[y < 9], y[y < 9], classes=np.arange(10))
    assert all(vars(model)[key] is value for key, value in before.items())


def test_class_weight_moves_the_border():
    X, y = make_blobs([900, 100], n_features=2, centers=[[0, 0], [2, 2]], cluster_std=1.5, random_state=0)
    plain = CPNetClassifier(random_state=0).fit(X, y)
    balanced = CPNetClassifier(random_state=0, class_weight="balanced").fit(X, y)
    assert np.mean(balanced.predict(X)[y == 1] == 1) > np.mean(plain.predict(X)[y == 1] == 1) + 0.1
    by_hand = CPNetClassifier(random_state=0).fit(X, y, np.where(y == 1, 5.0, 1000 / 1800))
    assert_close(balanced.decision_function(X), by_hand.decision_function(X), np.float64, 1e4)
    with pytest.raises(ValueError, match="balanced"):
        CPNetClassifier(class_weight="balanced").partial_fit(X, y)


# Bad input.


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"encoding": "labels"}, "encoding must be one of"),
        ({"projection": "pca"}, "projection must be one of"),
        ({"exit": "first"}, "exit must be one of"),
        ({"activation": "swish"}, "activation must be one of"),
        ({"activation": "radial", "encoding": "mask"}, "activation='radial' needs"),
        ({"n_modules": 0}, "n_modules must be"),
        ({"n_modules": 2.0}, "n_modules must be"),
        ({"hidden_layer_sizes": (10, 20)}, "one width or one per module"),
        ({"hidden_layer_sizes": "wide"}, "hidden_layer_sizes must be"),
        ({"hidden_layer_sizes": -3}, "hidden_layer_sizes must be"),
        ({"alpha": [1.0, 2.0]}, "alpha must be"),
        ({"alpha": "cv"}, "alpha must be"),
        ({"alpha": -1}, "alpha must be"),
        ({"skip": None}, "skip must be"),
        ({"block_size": 2.5}, "block_size must be"),
        ({"device": "abacus"}, "device="),
    ],
)
def test_wrong_parameters_are_named(parameters, message):
    with pytest.raises((ValueError, ImportError), match=message):  # torch may be missing
        CPNetClassifier(**parameters).fit(*load_iris(return_X_y=True))


def shapes(rng):
    X = rng.standard_normal((30, 4))
    return {
        "fewer rows than columns": rng.standard_normal((6, 50)),
        "two rows": X[:2],
        "constant columns": np.hstack([X, np.ones((30, 3))]),
        "all constant": np.ones((30, 3)),
        "duplicated columns": np.hstack([X, X]),
        "duplicated rows": np.repeat(X[:5], 6, axis=0),
        "huge": 1e150 * X,
        "tiny": 1e-150 * X,
        "integers": (10 * X).astype(np.int32),
        "booleans": X > 0,
        "one feature": X[:, :1],
        "wide counts": rng.integers(0, 9, (30, 300)),
    }


@pytest.mark.parametrize("mode", ["default", "cascade", "literal", "gcv", "mask"])
@pytest.mark.parametrize("shape", list(shapes(np.random.default_rng(0))))
def test_odd_data_give_finite_answers(shape, mode, rng):
    X = shapes(rng)[shape]
    y = np.arange(len(X)) % 2
    model = CPNetClassifier(random_state=0, **MODES[mode]).fit(X, y)
    probabilities = model.predict_proba(X)
    assert np.all(np.isfinite(probabilities))
    assert_close(probabilities.sum(axis=1), np.ones(len(X)), np.float64)


def test_separable_data_at_extreme_scales_are_separated(rng):
    X = rng.standard_normal((200, 3))
    y = (X[:, 0] > 0).astype(int)
    for size in [1e150, 1e-150]:
        assert CPNetClassifier(random_state=0).fit(X * size, y).score(X * size, y) > 0.97


@pytest.mark.parametrize("bad", [-np.inf, np.inf])
def test_a_failed_partial_fit_leaves_the_estimator_as_it_was(bad, digits):
    X, X_test, y, _ = digits
    model = CPNetClassifier(random_state=0, block_size=50).partial_fit(X[:200], y[:200])
    before, state = model.predict_proba(X_test), dict(vars(model))
    broken = X[200:400].copy()
    broken[-1, 3] = bad
    with pytest.raises(ValueError, match="infinity"):
        model.partial_fit(broken, y[200:400])
    assert vars(model).keys() == state.keys()
    np.testing.assert_array_equal(model.predict_proba(X_test), before)


def test_one_class_is_an_error():
    with pytest.raises(ValueError, match="one class"):
        CPNetClassifier().fit(np.ones((5, 2)), np.zeros(5))
