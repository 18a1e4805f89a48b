"""Values, weights and ridges near the ends of the range: a right answer or a clear error, and never a warning."""

import warnings

import numpy as np
import pytest
from scipy import sparse
from sklearn.base import clone
from sklearn.datasets import load_diabetes, load_iris

from sklearn_analytic import (
    BRMPClassifier,
    BRMPRegressor,
    ClosedFormMLP,
    ClosedFormMLPRegressor,
    CPNetClassifier,
    DFAClassifier,
    PrivateDFAClassifier,
)
from sklearn_analytic.backend import ACTIVATION_NAMES, get_backend
from sklearn_analytic.features import (
    CONSTRUCTIONS,
    ENCODINGS,
    HIDDEN,
    DenseLayer,
    RadialLayer,
    fit_row_keys,
    linear_readout,
    random_layer,
    sampled_layer,
)
from sklearn_analytic.linalg import NormalEquations, RecursiveLeastSquares, TriangularFactor

SEED = {"random_state": 0}
RNG = np.random.RandomState(0)
X, Y = load_iris(return_X_y=True)
X = np.column_stack([X + 0.01 * RNG.randn(*X.shape), RNG.rand(150) > 0.5, np.ones(150)])[::2]
Y = Y[::2]
T = X[:, 0] * X[:, 1]
PUBLISHED = {"encoding": "class", "skip": False, "exit": "last", "alpha": 1.0, "activation": "tanh"}
CPU = get_backend("cpu")

CLOSED = {
    "closed-form": ClosedFormMLP(**SEED),
    "closed-form-real": ClosedFormMLPRegressor(**SEED),
    **{f"closed-form-{name}": ClosedFormMLP((8, 6), hidden=name, **SEED) for name in sorted(CONSTRUCTIONS)},
    **{
        f"closed-form-real-{name}": ClosedFormMLPRegressor(8, hidden="random", input_encoding=name, **SEED)
        for name in sorted(ENCODINGS)
    },
    "cpnet": CPNetClassifier(8, **SEED),
    "cpnet-cascade": CPNetClassifier(8, skip=False, **SEED),
    "cpnet-published": CPNetClassifier(8, **PUBLISHED, **SEED),
    "cpnet-mask": CPNetClassifier(8, encoding="mask", **SEED),
    "cpnet-whitened": CPNetClassifier(8, projection="whitened", exit="mean", **SEED),
}
PREDICTING = {
    **CLOSED,
    **{
        f"closed-form-{name}-units": ClosedFormMLP(
            (8, 6), hidden="random", activation=name, input_encoding="standard", **SEED
        )
        for name in sorted(ACTIVATION_NAMES)
    },
    **{
        f"brmp-{hidden}-{name}": BRMPRegressor((8, 6), hidden=hidden, activation=name, alpha=0.1, **SEED)
        for hidden in sorted(HIDDEN)
        for name in sorted(ACTIVATION_NAMES)
    },
    "brmp": BRMPRegressor(),
    "brmp-classes": BRMPClassifier(),
    "dfa-robust": DFAClassifier(6, input_encoding="robust", max_iter=2, **SEED),
    "private-norm": PrivateDFAClassifier(6, data_norm=5.0, classes=[0, 1, 2], max_iter=1),
}
METHODS = ("predict", "predict_proba", "predict_log_proba", "decision_function", "transform")
STAGED = ("staged_predict", "staged_predict_proba", "staged_decision_function")
SIZES = {"float64": (1e6, 1e160, -1e300, np.finfo("f8").max), "float32": (1e20, -1e30, 1e37)}


def quietly(estimator, *data):
    """A fit whose warnings about its length and its ranges are of no interest here."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return estimator.fit(*data)


def targets_of(estimator):
    """Labels for classifiers, numbers for regressors."""
    return Y if estimator.__sklearn_tags__().estimator_type == "classifier" else T


def far_rows(size, dtype):
    """A whole row of a size, single columns of it, and two of opposite signs."""
    rows = np.repeat(X[:1], X.shape[1] + 2, axis=0)
    rows[0] = size
    np.fill_diagonal(rows[1:-1], size)
    rows[-1, :2] = size, -size
    return rows.astype(dtype)


@pytest.mark.parametrize("name", PREDICTING)
def test_far_rows_have_finite_answers_without_a_warning(name):
    model = quietly(clone(PREDICTING[name]), X, targets_of(PREDICTING[name]))
    for dtype, sizes in SIZES.items():
        rows = np.vstack([far_rows(size, dtype) for size in sizes])
        for method in METHODS:
            if callable(getattr(model, method, None)):
                found = getattr(model, method)(rows)
                assert np.isfinite(found).all()
                np.testing.assert_allclose(getattr(model, method)(sparse.csr_matrix(rows)), found)
        for method in STAGED:
            if hasattr(model, method):
                assert all(np.isfinite(found).all() for found in getattr(model, method)(rows))


@pytest.mark.parametrize("name", ["closed-form", "closed-form-real", "cpnet", "cpnet-cascade", "brmp-rbf-tanh", "brmp"])
def test_torch_answers_far_rows_too(name):
    pytest.importorskip("torch")
    model = clone(PREDICTING[name]).set_params(device="torch:cpu").fit(X, targets_of(PREDICTING[name]))
    for dtype, sizes in SIZES.items():
        rows = np.vstack([far_rows(size, dtype) for size in sizes])
        assert all(np.isfinite(getattr(model, m)(rows)).all() for m in METHODS if hasattr(model, m))


def test_what_levels_off_is_at_its_limit():
    for model in (ClosedFormMLP(**SEED), CPNetClassifier(8, **SEED)):
        model.fit(X[:, :4], Y)
        near, *far = (model.predict_proba(np.full((1, 4), size)) for size in (1e12, 1e100, 1e160, 1e300, 1.7e308))
        for found in far:
            np.testing.assert_allclose(found, near, rtol=1e-6)


@pytest.mark.parametrize("dtype, size", [("float64", 1e300), ("float32", 1e37)])
def test_units_far_away_are_off(dtype, size):
    rows = np.full((2, 3), size, dtype=dtype)
    assert np.all(RadialLayer(RNG.randn(4, 3), 0.5).apply(rows, CPU) == 0)
    assert np.all(DenseLayer(RNG.randn(3, 4), np.zeros(4), "gaussian").apply(rows, CPU) == 0)


def test_rows_are_not_shrunk_where_weights_are_small():
    layer = DenseLayer(RNG.randn(3, 4), RNG.randn(4), "tanh")
    for exponent in (600, 1000, -1000):
        other = DenseLayer(np.ldexp(layer.weights, -exponent), layer.bias, "tanh")
        rows = RNG.randn(5, 3)
        np.testing.assert_allclose(other.apply(np.ldexp(rows, exponent), CPU), layer.apply(rows, CPU))


def test_readouts_end_at_the_end_of_the_range():
    rows = np.array([[1e308, -1e308], [1.0, 2.0], [1e308, 1e308]])
    found = linear_readout(rows, np.array([[10.0], [10.0]]), np.ones(1), CPU)
    np.testing.assert_array_equal(found, [[1.0], [31.0], [np.finfo("f8").max]])


# ---- fits ----


@pytest.mark.parametrize("name", sorted(ENCODINGS))
@pytest.mark.parametrize("exponent", [520, 1000, -520])
def test_encodings_do_not_mind_the_unit_of_a_column(name, exponent):
    moved = X.copy()
    moved[:, 0] = np.ldexp(moved[:, 0], exponent)
    one, two = ENCODINGS[name](X), ENCODINGS[name](moved)
    np.testing.assert_allclose(two.transform(moved, CPU), one.transform(X, CPU), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", CLOSED)
@pytest.mark.parametrize("what", ["column", "rows", "all"])
def test_closed_form_fits_take_large_values(name, what):
    moved = X.copy()
    if what == "rows":
        moved[:3, 0], moved[3, 1] = 1e300, -1e160
    else:
        moved[:, 0 if what == "column" else slice(None)] *= 1e200
    model = clone(CLOSED[name]).fit(moved, targets_of(CLOSED[name]))
    for method in METHODS:
        if hasattr(model, method):
            assert np.isfinite(getattr(model, method)(moved)).all()
    if hasattr(model, "classes_") and what == "column" and name in ("closed-form", "cpnet"):
        assert model.score(moved, Y) > 0.9


@pytest.mark.parametrize("exponent", [660, 1000, -1000])
def test_large_targets_are_learned(exponent):
    for model in (ClosedFormMLPRegressor(8, **SEED), BRMPRegressor(), BRMPRegressor(8, **SEED)):
        expected = clone(model).fit(X, T).predict(X)
        found = model.fit(X, np.ldexp(T, exponent)).predict(X)
        np.testing.assert_allclose(np.ldexp(found, -exponent), expected, rtol=1e-9)


@pytest.mark.parametrize("solver", ["auto", "qr", "gram", "recursive"])
def test_linear_models_follow_the_unit_of_all_columns(solver):
    expected = BRMPRegressor(solver=solver).fit(X[:, :4], T).coef_
    for exponent in (520, 1000, 1020, -1000):
        found = BRMPRegressor(solver=solver).fit(np.ldexp(X[:, :4], exponent), T).coef_
        np.testing.assert_allclose(np.ldexp(found, exponent), expected, rtol=1e-6)


@pytest.mark.parametrize("solver", ["auto", "qr", "gram", "recursive"])
@pytest.mark.parametrize("rows", [slice(None), slice(0, 3)])
def test_columns_that_would_vanish_are_named(solver, rows):
    moved = X[:, :4].copy()
    moved[rows, 1] = 1e200 * moved[rows, 2]
    with pytest.raises(ValueError, match=r"column 1 is more than 1e144 times as large as column 0.*StandardScaler"):
        BRMPRegressor(solver=solver).fit(moved, T)
    stream = BRMPRegressor(solver=solver).partial_fit(X[:, :4], T)
    before = stream.coef_.copy()
    with pytest.raises(ValueError, match="StandardScaler"):
        stream.partial_fit(moved[:3], T[:3])
    np.testing.assert_array_equal(stream.coef_, before)


@pytest.mark.parametrize("kind", [NormalEquations, TriangularFactor])
def test_columns_vanish_in_merges_too(kind):
    ordinary, far = kind.from_rows(X[:, :2], T), kind.from_rows(X[:, :2] * [1e200, 0], T)
    for one, two in ((ordinary, far), (far, ordinary)):
        with pytest.raises(ValueError, match="column 0 is more than 1e144 times as large as column 1"):
            one.merge(two)


def test_a_recursion_that_outgrows_its_first_block_says_so():
    recursion = RecursiveLeastSquares.start(2, 1, True, 0.0, None).accumulate(X[:, :2], T[:, None])
    with pytest.raises(ValueError, match="keeps the scales of its first block"):
        recursion.accumulate(X[:, :2] * 1e200, T[:, None])


def test_units_between_rows_follow_the_unit_of_the_rows():
    one, two = (sampled_layer(np.ldexp(X, e), Y[:, None], 5, "tanh", np.random.default_rng(0)) for e in (0, 700))
    np.testing.assert_array_equal(np.ldexp(two.weights, 700), one.weights)
    np.testing.assert_array_equal(two.bias, one.bias)


@pytest.mark.parametrize("factor", [1e200, 1e-200])
def test_radial_units_of_huge_columns_are_refused_by_name(factor):
    with pytest.raises(ValueError, match=r"hidden='rbf'.*column 3 of X reaches.*StandardScaler"):
        BRMPRegressor(8, hidden="rbf", alpha=1.0, **SEED).fit(X[:, :4] * np.array([1, 1, 1, 9]) * factor, T)


@pytest.mark.parametrize("hidden", ["random", "sampled"])
def test_hidden_layers_of_huge_rows_are_fitted(hidden):
    moved = X.copy()
    moved[:3, 0], moved[3, 1] = 1.7e308, -1.7e308
    model = BRMPRegressor(8, hidden=hidden, alpha=1.0, **SEED).fit(moved, T)
    assert np.isfinite(model.predict(moved)).all() and np.isfinite(model.feature_importances_).all()


def test_rows_are_told_apart_beside_a_huge_column():
    rows = np.column_stack([np.repeat([1e300, 2e300], 50), np.arange(100.0)])
    keys, found = fit_row_keys(lambda function: function(rows), np.random.default_rng(0).standard_normal(2))
    assert len(np.unique(found)) == 100
    np.testing.assert_array_equal(keys.of(rows), found)
    ordinary = fit_row_keys(lambda function: function(X), np.ones(X.shape[1]))[0]
    np.testing.assert_array_equal(ordinary.direction, np.ones(X.shape[1]))


def test_random_layers_read_the_number_of_columns_alone():
    assert random_layer(np.full((1, 3), 1e308), None, 4, "tanh", np.random.default_rng(0)).weights.max() < 10


# ---- weights ----

WEIGHTS = RNG.uniform(0.5, 2, len(X))
FITTING = {
    name: CLOSED[name] for name in ("closed-form", "closed-form-real", "closed-form-leaf", "cpnet", "cpnet-cascade")
}
LINEAR = {
    f"{kind.__name__}-{solver}-{sizes}": kind(sizes, solver=solver, **SEED)
    for kind in (BRMPRegressor, BRMPClassifier)
    for solver in ("auto", "qr", "gram", "recursive")
    for sizes in ((), (6,))
}
REFUSED = r"sample_weight times class_weight reaches .*Divide them by a common factor"


@pytest.mark.parametrize("name", FITTING)
@pytest.mark.parametrize("exponent", [1022, -1020])
def test_a_common_factor_on_all_weights_is_no_matter_at_any_size(name, exponent):
    y = targets_of(FITTING[name])
    expected = clone(FITTING[name]).fit(X, y, WEIGHTS).transform(X)
    found = clone(FITTING[name]).fit(X, y, np.ldexp(WEIGHTS, exponent))
    np.testing.assert_allclose(found.transform(X), expected, rtol=1e-6, atol=1e-6)
    assert np.isfinite(found.predict(X)).all()


@pytest.mark.parametrize("name", FITTING)
def test_subnormal_weights_are_weights(name):
    found = clone(FITTING[name]).fit(X, targets_of(FITTING[name]), np.full(len(X), 1e-310))
    expected = clone(FITTING[name]).fit(X, targets_of(FITTING[name]), np.ones(len(X)))
    np.testing.assert_allclose(found.predict(X), expected.predict(X), rtol=1e-6)


@pytest.mark.parametrize("name", [*FITTING, *LINEAR])
def test_a_row_of_next_to_no_weight_is_next_to_no_row(name):
    model = FITTING[name] if name in FITTING else LINEAR[name]
    y, light = targets_of(model), np.where(np.arange(len(X)) == 3, 1e-300, 1.0)
    found = clone(model).fit(X, y, light).predict(X)
    assert np.isfinite(found).all()
    if name in LINEAR and "recursive" not in name:
        np.testing.assert_allclose(found, clone(model).fit(np.delete(X, 3, 0), np.delete(y, 3)).predict(X), rtol=1e-6)


@pytest.mark.parametrize("name", [*FITTING, *LINEAR])
@pytest.mark.parametrize("factor", [1e308, 1e-310])
def test_streams_and_exact_sums_refuse_what_they_cannot_add(name, factor):
    model = clone(FITTING[name] if name in FITTING else LINEAR[name])
    y = targets_of(model)
    with pytest.raises(ValueError, match=REFUSED):
        model.partial_fit(X, y, sample_weight=np.full(len(X), factor))
    if name in LINEAR:
        with pytest.raises(ValueError, match=REFUSED):
            clone(model).fit(X, y, np.full(len(X), factor))
        fitted = clone(model).set_params(solver="qr").fit(X, y)
        with pytest.raises(ValueError, match=REFUSED):
            fitted.forget(X[:2], y[:2], np.full(2, factor))


@pytest.mark.parametrize("value", [1e308, 1e-310])
def test_class_weights_are_held_to_the_same_range(value):
    for model in (BRMPClassifier(), ClosedFormMLP(8, **SEED), CPNetClassifier(8, **SEED)):
        model.set_params(class_weight=dict.fromkeys(range(3), value))
        with pytest.raises(ValueError, match=REFUSED):
            model.fit(X, Y)
        with pytest.raises(ValueError, match=REFUSED):
            model.fit(X, Y, np.full(len(X), 4.0))
        one = clone(model).set_params(class_weight={0: 1e-300, 1: 1.0, 2: 1.0}).fit(X, Y)
        assert np.isfinite(one.decision_function(X)).all()


@pytest.mark.parametrize("alpha", [1e-310, 1e-200, 1e200, 1e300])
@pytest.mark.parametrize(
    "name", ["BRMPRegressor-auto-()", "BRMPRegressor-qr-(6,)", "closed-form-real", "cpnet", "cpnet-cascade"]
)
def test_ridges_of_any_size_are_ridges(name, alpha):
    model = clone(LINEAR.get(name, CLOSED.get(name))).set_params(alpha=alpha)
    y = targets_of(model)
    found = model.fit(X, y).predict(X)
    assert np.isfinite(found).all()
    if name.startswith("BRMP") and alpha > 1:
        np.testing.assert_allclose(found, np.full(len(X), T.mean()))


@pytest.mark.parametrize(
    "model",
    [BRMPRegressor(), BRMPRegressor(alpha=1.0), BRMPRegressor(20, random_state=0)],
    ids=["linear", "ridge", "hidden"],
)
def test_weights_beyond_the_range_are_an_error(model):
    X, y = load_diabetes(return_X_y=True)
    with pytest.raises(ValueError, match=r"BRMPRegressor: weights leave the range of float64.*Scale"):
        model.fit(X, np.where(y > 100, 1.7e308, -1.7e308))
    with pytest.raises(ValueError, match="weights leave the range of float64"):
        BRMPClassifier().fit(X * 1e-310, y > 100)
