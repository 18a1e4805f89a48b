"""BRMP: equal to LAPACK whatever the solver, the split, the shards and what was forgotten."""

import warnings
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import linalg
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris, load_wine
from sklearn.linear_model import LinearRegression, Ridge
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_analytic import BRMPClassifier, BRMPRegressor
from tests import reference
from tests.checks import assert_close

SOLVERS = ["auto", "qr", "gram", "recursive"]
# The Gram and the recursion lose kappa^2 eps; the tests below stay under a condition of 100.
SCALE = {"auto": 1e3, "qr": 10.0, "gram": 1e3, "recursive": 1e4}


@pytest.fixture
def data(rng):
    X = rng.standard_normal((120, 5)) + 2
    return X, X @ rng.standard_normal((5, 2)) + rng.standard_normal((120, 2)) + 3


def partition(n, cuts):
    edges = [0, *sorted(set(cuts) - {0, n}), n]
    return [slice(a, b) for a, b in pairwise(edges)]


@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("solver", SOLVERS)
def test_equal_to_scikit_learn(solver, fit_intercept, data, device):
    X, Y = data
    model = BRMPRegressor(solver=solver, fit_intercept=fit_intercept, device=device, block_size=50).fit(X, Y)
    expected = LinearRegression(fit_intercept=fit_intercept).fit(X, Y)
    assert_close(model.coef_, expected.coef_, np.float64, SCALE[solver])
    intercept = np.broadcast_to(expected.intercept_, 2)  # scikit-learn gives one 0.0 for no intercept
    assert_close(model.intercept_, intercept, np.float64, SCALE[solver])
    assert_close(model.predict(X), expected.predict(X), np.float64, SCALE[solver])
    assert model.rank_ == 5 and model.n_samples_seen_ == 120
    ridge = BRMPRegressor(solver=solver, fit_intercept=fit_intercept, alpha=2.5, device=device).fit(X, Y)
    expected = Ridge(alpha=2.5, fit_intercept=fit_intercept, solver="svd").fit(X, Y)
    assert_close(ridge.coef_, expected.coef_, np.float64, SCALE[solver])


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("shape", ["wide", "rank_deficient", "duplicated", "constant", "one_row", "one_feature"])
def test_minimum_norm(solver, shape, rng):
    tall = rng.standard_normal((50, 4))
    X = {
        "wide": rng.standard_normal((6, 20)),
        "rank_deficient": tall[:, :2] @ rng.standard_normal((2, 5)),
        "duplicated": np.hstack([tall, tall]),
        "constant": np.hstack([tall, np.full((50, 1), 7.0)]),
        "one_row": tall[:1],
        "one_feature": tall[:, :1],
    }[shape]
    y = rng.standard_normal(len(X))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", linalg.LinAlgWarning)  # a Gram says that it cannot be sure of a low rank
        model = BRMPRegressor(solver=solver, block_size=7).fit(X, y)
    coef, intercept = reference.lstsq(X, y[:, None])
    assert_close(model.coef_, coef[:, 0], np.float64, 1e5, size=1.0)
    assert_close(model.intercept_, intercept[0], np.float64, 1e5, size=1.0)
    assert model.rank_ == np.linalg.matrix_rank(X - X.mean(0), tol=1e-8)


@given(data=st.data())
@pytest.mark.parametrize("solver", ["qr", "gram", "recursive"])
def test_fit_is_partial_fit_is_merged_shards_is_blocks(solver, data):
    seed = data.draw(st.integers(0, 1000), label="seed")
    rng = np.random.default_rng(seed)
    X, y = rng.standard_normal((60, 4)) + 1, rng.standard_normal(60)
    weight = data.draw(st.sampled_from([None, rng.integers(0, 3, 60) + (np.arange(60) % 20 == 0)]), label="weight")
    parts = partition(60, data.draw(st.lists(st.integers(0, 60), max_size=5), label="cuts"))
    part_weight = [None if weight is None else weight[p] for p in parts]
    whole = BRMPRegressor(solver=solver, alpha=0.5).fit(X, y, weight)
    parts = [p for p, w in zip(parts, part_weight, strict=True) if w is None or np.any(w)]
    weights = [None if weight is None else weight[p] for p in parts]
    streamed = BRMPRegressor(solver=solver, alpha=0.5)
    for p, w in zip(parts, weights, strict=True):
        streamed.partial_fit(X[p], y[p], w)
    blocks = BRMPRegressor(solver=solver, alpha=0.5).fit_blocks(
        (X[p], y[p]) if w is None else (X[p], y[p], w) for p, w in zip(parts, weights, strict=True)
    )
    models = [streamed, blocks]
    if solver != "recursive":  # the recursion holds its ridge in the state: two shards would count it twice
        merged = BRMPRegressor(solver=solver, alpha=0.5).fit(X[parts[0]], y[parts[0]], weights[0])
        for p, w in zip(parts[1:], weights[1:], strict=True):
            merged.merge(BRMPRegressor(solver=solver, alpha=0.5).fit(X[p], y[p], w))
        models.append(merged)
    for model in models:
        assert_close(model.coef_, whole.coef_, np.float64, SCALE[solver], size=1.0)
        assert_close(model.intercept_, whole.intercept_, np.float64, SCALE[solver], size=1.0)


def test_recursive_shards_merge_without_a_ridge(data):
    X, Y = data
    one = BRMPRegressor(solver="recursive").fit(X[:50], Y[:50])
    one.merge(BRMPRegressor(solver="recursive").fit(X[50:], Y[50:]))
    assert_close(one.coef_, BRMPRegressor().fit(X, Y).coef_, np.float64, 1e4)
    with pytest.raises(ValueError, match="alpha"):
        ridge = BRMPRegressor(solver="recursive", alpha=1.0).fit(X, Y)
        ridge.merge(clone(ridge).fit(X, Y))


@given(seed=st.integers(0, 1000), split=st.booleans())
@pytest.mark.parametrize("solver", SOLVERS)
def test_fit_minus_forget_is_a_fit_on_the_rest(solver, seed, split):
    rng = np.random.default_rng(seed)
    X, y = rng.standard_normal((80, 4)) + 1, rng.standard_normal(80)
    out = rng.permutation(80)[:20]
    rest = np.setdiff1d(np.arange(80), out)
    model = BRMPRegressor(solver=solver, block_size=9 if split else None).fit(X, y).forget(X[out], y[out])
    expected = BRMPRegressor().fit(X[rest], y[rest])
    assert model.n_samples_seen_ == 60
    assert_close(model.coef_, expected.coef_, np.float64, 100 * SCALE[solver], size=1.0)
    assert_close(model.intercept_, expected.intercept_, np.float64, 100 * SCALE[solver], size=1.0)


@pytest.mark.parametrize("solver", SOLVERS)
def test_weights_are_repetitions(solver, data, rng):
    X, Y = data
    weight = rng.integers(0, 3, len(X))
    model = BRMPRegressor(solver=solver).fit(X, Y, weight)
    expected = BRMPRegressor().fit(*reference.repeated(X, Y, weight))
    assert_close(model.coef_, expected.coef_, np.float64, SCALE[solver])
    gcv = BRMPRegressor(alpha="gcv").fit(X, Y, weight)
    expected = BRMPRegressor(alpha="gcv").fit(*reference.repeated(X, Y, weight))
    assert_close(gcv.alpha_, expected.alpha_, np.float64, 100)


@pytest.mark.parametrize("solver", SOLVERS)
def test_forget_refuses_rows_that_were_never_in_and_changes_nothing(solver, data):
    X, Y = data
    model = BRMPRegressor(solver=solver).fit(X, Y)
    before = (model.coef_.copy(), model.n_samples_seen_)
    with pytest.raises(ValueError, match=r"never added|cannot remove"):
        model.forget(10 * X[:30], Y[:30])
    np.testing.assert_array_equal(model.coef_, before[0])
    assert model.n_samples_seen_ == before[1]
    with pytest.raises(ValueError):
        model.forget(X, Y)


def test_auto_takes_the_gram_where_it_is_safe_and_reads_again_where_not(rng):
    X = rng.standard_normal((300, 6))
    y = X.sum(axis=1)
    assert BRMPRegressor().fit(X, y).solver_used_ == "gram"
    assert BRMPRegressor().fit(X * np.logspace(0, 8, 6), y).solver_used_ == "gram"  # units do not matter
    hard = reference.matrix_of_condition(rng, 300, 6, 1e7)[0]
    model = BRMPRegressor(fit_intercept=False).fit(hard, hard.sum(axis=1))
    assert model.solver_used_ == "qr"
    assert_close(model.coef_, np.ones(6), np.float64, 1e7 / 1e3)
    assert_close(model.condition_number_, 1e7, np.float64, 1e7)
    assert BRMPRegressor(alpha=1.0, fit_intercept=False).fit(hard, hard.sum(axis=1)).solver_used_ == "gram"
    assert BRMPRegressor().partial_fit(X, y).solver_used_ == "qr"
    assert BRMPRegressor().fit(X[:4], y[:4]).solver_used_ == "qr"


@pytest.mark.parametrize("condition", [2e6, 1e7, 1e8, 1e9])
def test_gram_says_when_it_has_lost_its_digits(condition, rng):
    X = reference.matrix_of_condition(rng, 300, 6, condition)[0]
    with pytest.warns(linalg.LinAlgWarning, match="solver='qr'"):
        BRMPRegressor(solver="gram", fit_intercept=False).fit(X, X.sum(axis=1))


def test_auto_says_when_later_rows_outgrow_the_gram(rng):
    hard = 1e3 * reference.matrix_of_condition(rng, 400, 5, 1e8)[0]
    model = BRMPRegressor(fit_intercept=False).fit(1e-6 * rng.standard_normal((50, 5)), np.zeros(50))
    assert model.solver_used_ == "gram"
    with pytest.warns(linalg.LinAlgWarning) as caught:
        model.partial_fit(hard, hard.sum(axis=1))
    assert any("solver='auto' took" in str(warning.message) for warning in caught)


@pytest.mark.parametrize("solver", ["qr", "gram", "auto"])
@pytest.mark.parametrize("size", [1e-16, 1e-12, 1e12])
def test_units_of_a_column_do_not_matter(solver, size, rng):
    X = rng.standard_normal((200, 4))
    scale = np.array([1.0, size, 1.0, 1.0])
    model = BRMPRegressor(solver=solver, block_size=30).fit(X * scale, X @ [1.0, 2, 3, 4])
    assert model.rank_ == 4
    assert_close(model.coef_ * scale, [1.0, 2, 3, 4], np.float64, 10)
    expected = np.linalg.cond((X - X.mean(0)) * scale)
    assert abs(np.log10(model.condition_number_ / expected)) < 0.5


@pytest.mark.parametrize("offset", [3e4, 1.7e9])
def test_recursion_does_not_mind_a_far_origin(offset, rng):
    X = rng.standard_normal((200, 3))
    model = BRMPRegressor(solver="recursive", block_size=20).fit(X + offset, X @ [1.0, 2, 3])
    assert model.rank_ == 3
    assert_close(model.coef_, [1.0, 2, 3], np.float64, offset * 10)
    other = BRMPRegressor(solver="recursive").fit(X[:50] + offset, X[:50] @ [1.0, 2, 3])
    other.merge(BRMPRegressor(solver="recursive").fit(X[50:] + offset, X[50:] @ [1.0, 2, 3]))
    assert_close(other.coef_, [1.0, 2, 3], np.float64, offset * 10)


def test_recursion_refuses_scales_that_it_cannot_hold(rng):
    X = rng.standard_normal((200, 3))
    with pytest.raises(np.linalg.LinAlgError, match="solver='qr'"):
        BRMPRegressor(solver="recursive").fit(X * [1e-5, 1.0, 1e5], X.sum(axis=1))


def test_recursion_keeps_the_ridge_it_began_with(data):
    model = BRMPRegressor(solver="recursive", alpha=1.0).fit(*data)
    with pytest.raises(ValueError, match="cannot change"):
        model.set_params(alpha=100.0).partial_fit(*data)
    assert model.alpha_ == 1.0


@pytest.mark.parametrize(
    ("x_size", "y_size"), [(1.0, 1e155), (1.0, 1e-165), (1.0, 1e153), (1e-150, 1.0), (1e150, 1e150)]
)
def test_gcv_does_not_mind_extreme_units(x_size, y_size, rng):
    X = rng.standard_normal((100, 3))
    y = X @ [1.0, 2, 3] + rng.standard_normal(100)
    expected = BRMPRegressor(alpha="gcv").fit(X, y)
    model = BRMPRegressor(alpha="gcv").fit(X * x_size, y * y_size)
    assert_close(model.coef_ * (x_size / y_size), expected.coef_, np.float64, 1e3)


def test_gcv_of_the_largest_numbers_is_finite(rng):
    X = rng.standard_normal((100, 3))
    model = BRMPRegressor(alpha="gcv").fit(X * 1e160, X.sum(axis=1))
    assert np.all(np.isfinite(model.coef_))


def test_qr_holds_nine_digits_at_condition_1e6_in_any_partition(rng):
    X = reference.matrix_of_condition(rng, 2000, 20, 1e6)[0]
    W = rng.standard_normal((20, 3))
    for size in [20, 111, 2000]:
        order = rng.permutation(2000)
        model = BRMPRegressor(solver="qr", fit_intercept=False, block_size=size).fit(X[order], (X @ W)[order])
        assert np.linalg.norm(model.coef_.T - W) <= 1e-9 * np.linalg.norm(W)


@pytest.mark.parametrize("solver", ["qr", "gram"])
def test_gcv_path(solver, data):
    X, Y = data
    model = BRMPRegressor(solver=solver, alpha=[0.1, 1.0, 10.0]).fit(X, Y)
    expected = [reference.gcv(X, Y, alpha) for alpha in [0.1, 1.0, 10.0]]
    assert_close(model.gcv_path_["gcv"], expected, np.float64, 1e3)
    assert model.alpha_ == [0.1, 1.0, 10.0][int(np.argmin(expected))]
    automatic = BRMPRegressor(solver=solver, alpha="gcv").fit(X, Y)
    assert np.min(automatic.gcv_path_["gcv"]) <= min(expected) * (1 + 1e-4)  # a grid of 4 per decade
    assert BRMPRegressor(solver=solver).fit(X, Y).gcv_path_ is None


def test_scenarios_are_recorded(rng):
    X, y = rng.standard_normal((40, 6)), rng.standard_normal(40)
    model = BRMPRegressor(solver="recursive", block_size=4).fit(X, y)
    # Rank 7 with the ones column: one block of full rank, one that completes it, eight inside.
    assert model.scenarios_ == {"full_rank": 1, "mixed": 1, "inside": 8}
    assert BRMPRegressor().fit(X, y).scenarios_ is None


@pytest.mark.parametrize("hidden", ["random", "rbf", "sampled"])
@pytest.mark.parametrize("sizes", [(30,), (20, 15)])
def test_hidden_layers_beat_the_linear_model(hidden, sizes, device):
    rng = np.random.default_rng(0)
    X = rng.uniform(-2, 2, (600, 2))
    y = np.sin(2 * X[:, 0]) * X[:, 1]
    model = BRMPRegressor(sizes, hidden=hidden, alpha="gcv", random_state=0, device=device).fit(X[:400], y[:400])
    assert model.readout_coef_.shape == (sizes[-1],)
    # Layers that look at targets or rows need fewer units than random ones.
    assert model.score(X[400:], y[400:]) > (0.5 if sizes == (20, 15) else 0.75)
    assert BRMPRegressor().fit(X[:400], y[:400]).score(X[400:], y[400:]) < 0.2


@pytest.mark.parametrize("hidden", ["random", "rbf", "sampled"])
def test_hidden_fits_do_not_see_row_order(hidden, data, rng):
    X, Y = data
    order = rng.permutation(len(X))
    model = BRMPRegressor((15,), hidden=hidden, alpha=0.1, random_state=3)
    one, two = clone(model).fit(X, Y), clone(model).fit(X[order], Y[order])
    assert_close(one.predict(X), two.predict(X), np.float64, 1e4)


def test_streamed_random_features_equal_a_full_fit(data):
    X, Y = data
    whole = BRMPRegressor((20,), alpha=0.1, random_state=0).fit(X, Y)
    streamed = BRMPRegressor((20,), alpha=0.1, random_state=0).fit_blocks([(X[:30], Y[:30]), (X[30:], Y[30:])])
    assert_close(streamed.predict(X), whole.predict(X), np.float64, 1e4)


def test_merge_refuses_other_hidden_layers(data):
    X, Y = data
    one = BRMPRegressor((5,), random_state=0).fit(X, Y)
    with pytest.raises(ValueError, match="hidden layers"):
        one.merge(BRMPRegressor((5,), random_state=1).fit(X, Y))
    with pytest.raises(TypeError, match="merge needs another BRMPRegressor"):
        one.merge(BRMPClassifier().fit(X, Y[:, 0] > 0))
    with pytest.raises(ValueError, match="features"):
        one.merge(BRMPRegressor((5,), random_state=0).fit(X[:, :3], Y))


def test_auto_shards_of_different_solvers_merge(rng):
    X = rng.standard_normal((100, 4))
    y = X.sum(axis=1)
    one, two = BRMPRegressor().fit(X[:60], y[:60]), BRMPRegressor().partial_fit(X[60:], y[60:])
    assert (one.solver_used_, two.solver_used_) == ("gram", "qr")
    assert_close(one.merge(two).coef_, np.ones(4), np.float64, 10)


@pytest.mark.parametrize(
    ("load", "floor"), [(load_iris, 0.8), (load_wine, 0.95), (load_breast_cancer, 0.94)], ids=["iris", "wine", "cancer"]
)
def test_classifier_on_real_data(load, floor):
    X, y = load(return_X_y=True)
    names = np.array(["a", "b", "c"])[y]
    model = make_pipeline(StandardScaler(), BRMPClassifier(alpha="gcv"))
    assert model.fit(X, names).score(X, names) > floor
    assert set(model.predict(X)) <= set(names)
    n_classes = len(np.unique(y))
    assert model.decision_function(X).shape == ((len(X),) if n_classes == 2 else (len(X), n_classes))


def test_grid_search_over_the_regressor():
    X, y = load_diabetes(return_X_y=True)
    search = GridSearchCV(
        make_pipeline(StandardScaler(), BRMPRegressor(random_state=0)),
        {"brmpregressor__hidden_layer_sizes": [(), (50,)], "brmpregressor__alpha": ["gcv", 10.0]},
    ).fit(X, y)
    assert search.best_score_ > 0.45


def test_classes_that_appear_later_give_the_full_fit(rng):
    X, y = load_iris(return_X_y=True)
    order = np.argsort(y)  # one class after the other: 2, then 0 and 1
    order = np.concatenate([order[y[order] == 2], order[y[order] == 0], order[y[order] == 1]])
    for solver in ["qr", "gram", "recursive"]:
        streamed = BRMPClassifier(solver=solver)
        for part in np.array_split(order, 7):
            streamed.partial_fit(X[part], y[part])
        whole = BRMPClassifier().fit(X, y)
        np.testing.assert_array_equal(streamed.classes_, [0, 1, 2])
        assert_close(streamed.coef_, whole.coef_, np.float64, 1e5)
        assert_close(streamed.decision_function(X), whole.decision_function(X), np.float64, 1e5)


def test_shards_with_different_classes_merge():
    X, y = load_iris(return_X_y=True)
    one = BRMPClassifier().partial_fit(X[y != 1], y[y != 1])
    one.merge(BRMPClassifier().partial_fit(X[y == 1], y[y == 1]))
    assert_close(one.coef_, BRMPClassifier().fit(X, y).coef_, np.float64, 1e4)


def test_known_classes_refuse_others():
    X, y = load_iris(return_X_y=True)
    model = BRMPClassifier().partial_fit(X[y < 2], y[y < 2], classes=[0, 1])
    with pytest.raises(ValueError, match="not in classes"):
        model.partial_fit(X, y)
    with pytest.raises(ValueError, match="not the same as"):
        model.partial_fit(X[y < 2], y[y < 2], classes=[0, 1, 2])


def test_class_weights_are_sample_weights(rng):
    X, y = load_iris(return_X_y=True)
    keep = np.concatenate([np.arange(50), np.arange(50, 70), np.arange(100, 150)])
    X, y = X[keep], y[keep]
    by_hand = BRMPClassifier().fit(X, y, np.array([1.0, 3.0, 0.5])[y])
    by_class = BRMPClassifier(class_weight={0: 1.0, 1: 3.0, 2: 0.5}).fit(X, y)
    assert_close(by_class.coef_, by_hand.coef_, np.float64, 10)
    balanced = BRMPClassifier(class_weight="balanced").fit(X, y)
    by_hand = BRMPClassifier().fit(X, y, (len(y) / (3 * np.bincount(y)))[y])
    assert_close(balanced.coef_, by_hand.coef_, np.float64, 10)
    for call in [
        lambda m: m.partial_fit(X, y),
        lambda m: m.fit_blocks([(X, y)]),
        lambda m: m.fit(X, y).forget(X[:9], y[:9]),
        lambda m: m.fit(X, y).merge(clone(m).fit(X, y)),
    ]:
        with pytest.raises(ValueError, match="balanced"):
            call(BRMPClassifier(class_weight="balanced"))


def test_a_class_that_class_weight_leaves_out_weighs_one():
    X, y = load_iris(return_X_y=True)
    model = BRMPClassifier(class_weight={0: 2.0})
    for label in range(3):
        model.partial_fit(X[y == label], y[y == label], classes=[0, 1, 2])
    assert_close(model.coef_, BRMPClassifier().fit(X, y, np.where(y == 0, 2.0, 1.0)).coef_, np.float64, 1e3)
    for bad in [{0: np.nan}, {0: -1.0}, "equal"]:
        with pytest.raises(ValueError, match="class_weight"):
            BRMPClassifier(class_weight=bad).fit(X, y)


def test_numbers_and_strings_are_not_mixed():
    X, y = load_iris(return_X_y=True)
    model = BRMPClassifier().partial_fit(X, y)
    with pytest.raises(ValueError, match="cannot be mixed"):
        model.partial_fit(X, y.astype(str))
    np.testing.assert_array_equal(model.classes_, [0, 1, 2])


def test_merge_refuses_other_columns_and_class_weights():
    pandas = pytest.importorskip("pandas")
    X, y = load_iris(return_X_y=True)
    frame = pandas.DataFrame(X, columns=list("abcd"))
    with pytest.raises(ValueError, match="same columns"):
        BRMPClassifier().fit(frame, y).merge(BRMPClassifier().fit(frame[list("dcba")], y))
    with pytest.raises(ValueError, match="class_weight"):
        BRMPClassifier().fit(X, y).merge(BRMPClassifier(class_weight={0: 2.0}).fit(X, y))


@pytest.mark.parametrize("seed", ["abc", -1])
def test_wrong_seeds_are_errors(seed, data):
    with pytest.raises(ValueError):
        BRMPRegressor((5,), random_state=seed).fit(*data)


def test_reversed_views_work_on_every_device(data, device):
    X, Y = data
    model = BRMPRegressor(device=device).fit(X, Y[::-1], np.linspace(0, 1, len(X))[::-1])
    assert np.all(np.isfinite(model.coef_))


# Bad input: a clear error, and nothing lost.


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"solver": "svd"}, "solver must be one of"),
        ({"alpha": -1.0}, "alpha must be"),
        ({"alpha": "loo"}, "alpha must be"),
        ({"alpha": []}, "alpha must be"),
        ({"alpha": np.nan}, "alpha must be"),
        ({"hidden": "deep", "hidden_layer_sizes": (3,)}, "hidden must be one of"),
        ({"hidden_layer_sizes": (0,)}, "hidden_layer_sizes must be"),
        ({"hidden_layer_sizes": 2.5}, "hidden_layer_sizes must be"),
        ({"activation": "swish"}, "activation must be one of"),
        ({"block_size": 0}, "block_size must be"),
        ({"rcond": -0.1}, "rcond must be"),
        ({"fit_intercept": "yes"}, "fit_intercept must be"),
        ({"solver": "recursive", "alpha": "gcv"}, "alpha to be a number"),
        ({"device": "abacus"}, "device="),
    ],
)
def test_wrong_parameters_are_named(parameters, message, data):
    with pytest.raises((ValueError, ImportError), match=message):  # torch may be missing
        BRMPRegressor(**parameters).fit(*data)


def failing_blocks(X, Y):
    yield X[:20], Y[:20]
    raise OSError("the disk is gone")


BAD_STREAMS = {
    "infinity": lambda X, Y: [(X, Y), (np.full_like(X, np.inf), Y)],
    "columns": lambda X, Y: [(X, Y), (X[:, :2], Y)],
    "rows": lambda X, Y: [(X, Y), (X, Y[:-1])],
    "targets": lambda X, Y: [(X, Y), (X, Y[:, :1])],
    "not a pair": lambda X, Y: [X, Y],
    "weights": lambda X, Y: [(X, Y, -np.ones(len(X)))],
    "rows without targets": lambda X, Y: [(X, Y), (X[:5], Y[:0])],
    "no targets": lambda X, Y: [(X, Y), (X, None)],
    "exhausted": lambda X, Y: iter(()),
    "only empty blocks": lambda X, Y: [(X[:0], Y[:0])],
    "fails": failing_blocks,
}


@pytest.mark.parametrize("case", BAD_STREAMS)
def test_a_bad_stream_is_an_error_and_loses_nothing(case, data):
    X, Y = data
    model = BRMPRegressor().fit(X[:60], Y[:60])
    before = dict(vars(model))
    with pytest.raises((ValueError, OSError)):
        model.fit_blocks(BAD_STREAMS[case](X, Y))
    assert vars(model).keys() == before.keys()
    assert all(vars(model)[key] is value for key, value in before.items())


def test_empty_blocks_in_a_stream_are_passed_over(data):
    X, Y = data
    blocks = [(X[:0], Y[:0]), (X[:50], Y[:50]), (X[:0], Y[:0]), (X[50:], Y[50:])]
    assert_close(BRMPRegressor().fit_blocks(blocks).coef_, BRMPRegressor().fit(X, Y).coef_, np.float64, 10)


@pytest.mark.parametrize(("where", "bad"), [("X", np.inf), ("X", -np.inf), ("y", np.nan), ("y", np.inf)])
def test_a_failed_partial_fit_leaves_the_estimator_as_it_was(bad, where, data):
    X, Y = data[0].copy(), data[1].copy()
    model = BRMPRegressor(block_size=10)
    {"X": X, "y": Y}[where][-1, 0] = bad  # in the last of several blocks
    with pytest.raises(ValueError, match=r"NaN|infinity"):
        model.partial_fit(X, Y)
    assert not hasattr(model, "n_features_in_")
    model.partial_fit(data[0][:60], data[1][:60])
    coef, seen = model.coef_.copy(), model.n_samples_seen_
    with pytest.raises(ValueError, match=r"NaN|infinity"):
        model.partial_fit(X, Y)
    np.testing.assert_array_equal(model.coef_, coef)
    assert model.n_samples_seen_ == seen


def test_one_class_is_an_error_in_fit_and_a_start_in_a_stream(data):
    X = data[0]
    with pytest.raises(ValueError, match="one class"):
        BRMPClassifier().fit(X, np.zeros(len(X)))
    model = BRMPClassifier().partial_fit(X, np.zeros(len(X)))
    assert set(model.predict(X)) == {0.0}


@pytest.mark.parametrize("size", [1e150, 1e-150])
@pytest.mark.parametrize("solver", SOLVERS)
def test_huge_and_tiny_values(solver, size, data):
    X, Y = data
    expected = BRMPRegressor().fit(X, Y)
    model = BRMPRegressor(solver=solver).fit(X * size, Y * size)
    assert_close(model.coef_, expected.coef_, np.float64, SCALE[solver])
    assert_close(model.predict(X * size) / size, expected.predict(X), np.float64, SCALE[solver])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        BRMPRegressor(hidden_layer_sizes=(5,), random_state=0, solver=solver, alpha=1.0).fit(X * 1e-150, Y)


def test_float32_stays_float32(data):
    X, Y = (a.astype(np.float32) for a in data)
    model = BRMPRegressor((10,), random_state=0, alpha=0.1).fit(X, Y)
    assert model.predict(X).dtype == np.float32
    wide = BRMPRegressor((10,), random_state=0, alpha=0.1).fit(*data)
    assert_close(model.predict(X), wide.predict(data[0]), np.float32, 10)


def test_tensors_stay_tensors(data):
    torch = pytest.importorskip("torch")
    X, Y = (torch.from_numpy(a) for a in data)
    model = BRMPRegressor().fit(X, Y)
    assert isinstance(model.coef_, np.ndarray)
    assert isinstance(model.predict(X), torch.Tensor)
    assert_close(model.predict(X), BRMPRegressor().fit(*data).predict(data[0]), np.float64, 100)
    with pytest.raises(ValueError, match="infinity"):
        model.predict(X * float("inf"))


# ---- constant columns ----


def assert_nothing_learned(model, X, mean):
    """Rank 0, condition 1, coefficients 0, and the mean everywhere."""
    assert np.all(model.coef_ == 0) and model.rank_ == 0 and model.condition_number_ == 1.0
    assert_close(model.predict(np.vstack([X[:1], X[:1] + 1])), np.full(2, mean), X.dtype)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize(
    ("solver", "alpha"),
    [(s, a) for s in SOLVERS for a in (0.0, 1.0, "gcv", [1e-8, 1.0]) if s != "recursive" or isinstance(a, float)],
)
def test_nothing_is_learned_of_constant_columns(solver, alpha, dtype, device, rng):
    for value in (1e-3, 1.0, 7.3, 1e6 + 0.1):
        X, y = np.full((301, 3), value, dtype=dtype), rng.normal(14, 5, 301)
        model = BRMPRegressor(solver=solver, alpha=alpha, device=device)
        assert_nothing_learned(clone(model).fit(X, y), X, y.mean())
        assert_nothing_learned(model.partial_fit(X[:50], y[:50]), X, y[:50].mean())
        assert_nothing_learned(model.partial_fit(X[50:], y[50:]), X, y.mean())


@pytest.mark.parametrize("activation", ["tanh", "cos", "relu"])
@pytest.mark.parametrize("hidden", ["random", "rbf", "sampled"])
@pytest.mark.parametrize("solver", SOLVERS)
def test_nothing_is_learned_of_units_of_equal_rows(solver, hidden, activation, device, rng):
    """Products of many equal rows differ by rounding, which an activation may magnify: here by 1e6."""
    for dtype in (np.float64, np.float32):
        X, y = np.full((301, 40), 1e6 + 0.1, dtype=dtype), rng.normal(14, 5, 301)
        model = BRMPRegressor(
            20, hidden=hidden, activation=activation, solver=solver, random_state=0, device=device, block_size=100
        ).fit(X, y)
        assert np.all(model.readout_coef_ == 0) and model.rank_ == 0
        assert_close(model.predict(X[:1] + 1), np.full(1, y.mean()), dtype)


@pytest.mark.parametrize("solver", SOLVERS)
def test_an_idle_sensor_is_learned_once_it_moves(solver, rng):
    X = np.vstack([np.full((50, 2), 7.3), rng.standard_normal((70, 2))])
    y = X @ [1.0, 2.0] + rng.standard_normal(120)
    model = BRMPRegressor(solver=solver).partial_fit(X[:50], y[:50]).partial_fit(X[50:], y[50:])
    shards = BRMPRegressor(solver=solver).fit(X[:50], y[:50]).merge(BRMPRegressor(solver=solver).fit(X[50:], y[50:]))
    expected = LinearRegression().fit(X, y)
    for fitted in (model, shards):
        assert_close(fitted.coef_, expected.coef_, np.float64, SCALE[solver])
        assert_close(fitted.intercept_, expected.intercept_, np.float64, SCALE[solver], size=7.3)


@pytest.mark.parametrize("solver", ["auto", "qr", "gram"])
def test_forgetting_all_but_equal_rows_forgets_the_columns(solver, rng):
    X, y = np.vstack([rng.standard_normal((100, 2)), np.full((30, 2), 0.3)]), rng.normal(14, 5, 130)
    model = BRMPRegressor(solver=solver).fit(X, y).forget(X[:100], y[:100])
    assert np.all(model.coef_ == 0) and model.rank_ == 0
    assert_close(model.predict([[0.3, 0.3], [1.3, 1.3]]), np.full(2, y[100:].mean()), np.float64, 1e3)


def test_scores_of_constant_columns_are_those_of_no_column():
    model = BRMPClassifier().fit(np.full((40, 2), 7.3), np.arange(40) % 2)
    assert_close(model.decision_function([[7.3, 7.3], [8.0, 8.0]]), np.zeros(2), np.float64, size=1.0)
