"""Weights of hidden units are no weights of columns: what feature selection may read of each estimator."""

import pickle
import warnings
from types import SimpleNamespace

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.feature_selection import RFE, SelectFromModel

from sklearn_analytic import Blocks, BRMPClassifier, BRMPRegressor, ClosedFormMLP, CPNetClassifier, DFAClassifier
from sklearn_analytic.features import DenseLayer
from sklearn_analytic.least_squares.input_shares import input_shares
from sklearn_analytic.linalg import ColumnMoments
from tests.checks import assert_close

RNG = np.random.RandomState(0)
X = RNG.randn(300, 6)
Y = 3 * X[:, 2] + np.sin(2 * X[:, 4]) + 0.01 * RNG.randn(300)
CODES = np.digitize(Y, [-1, 1])
MODELS = {"regressor": (BRMPRegressor, Y), "classifier": (BRMPClassifier, CODES)}
WEIGHTS = RNG.uniform(0.1, 3, 300)


@pytest.fixture(params=MODELS)
def kind(request):
    """A class of estimators with targets for it."""
    return MODELS[request.param]


def shares(model):
    """Importances, checked to be shares."""
    found = model.feature_importances_
    assert found.shape == (model.n_features_in_,) and np.all(found >= 0)
    assert found.sum() == pytest.approx(1)
    return found


def moments(mean, deviation):
    """What input_shares reads of the moments of columns."""
    return SimpleNamespace(mean=mean, deviation=deviation)


def test_linear_models_have_weights_of_columns(kind):
    model = kind[0]().fit(X, kind[1])
    assert model.coef_.shape[-1] == 6 and np.ndim(model.intercept_) == (kind[0] is BRMPClassifier)
    for name in ("readout_coef_", "readout_intercept_", "feature_importances_"):
        with pytest.raises(AttributeError, match=f"has no {name} without hidden layers: coef_ and intercept_"):
            getattr(model, name)


def test_hidden_models_have_none_and_say_what_there_is(kind):
    model = kind[0](10, random_state=0)
    with pytest.raises(AttributeError, match="before it is fitted"):
        model.coef_
    model.fit(X, kind[1])
    assert model.readout_coef_.shape[-1] == 10
    for name in ("coef_", "intercept_"):
        with pytest.raises(
            AttributeError, match=f"has no {name} with hidden layers.*readout_coef_.*feature_importances_"
        ):
            getattr(model, name)
    hidden = model.transform(X) @ np.atleast_2d(model.readout_coef_).T + model.readout_intercept_
    expected = model.decision_function(X) if kind[0] is BRMPClassifier else model.predict(X)
    assert_close(np.squeeze(hidden), expected, np.float64, 100)


@pytest.mark.parametrize("hidden", ["random", "rbf", "sampled"])
@pytest.mark.parametrize("sizes", [40, (40, 30)])
@pytest.mark.parametrize("solver", ["qr", "gram", "recursive"])
def test_the_columns_that_matter_are_found(kind, hidden, sizes, solver):
    found = shares(kind[0](sizes, hidden=hidden, solver=solver, alpha=1.0, random_state=0).fit(X, kind[1]))
    assert np.argmax(found) == 2
    if kind[0] is BRMPRegressor:  # of classes the weaker column tells little
        assert set(np.argsort(found)[-2:]) == {2, 4}


@pytest.mark.parametrize("n_units", [6, 25])
def test_selection_keeps_the_columns_that_matter(kind, n_units):
    kept = 0
    for seed in range(10):
        model = kind[0](n_units, alpha=1.0, random_state=seed)
        kept += SelectFromModel(model, max_features=1, threshold=-np.inf).fit(X, kind[1]).get_support()[2]
    assert kept >= 9
    assert RFE(kind[0](n_units, alpha=1.0, random_state=0), n_features_to_select=2).fit(X, kind[1]).support_[2]


def test_every_road_to_the_same_rows_gives_the_same_importances(kind):
    cls, y = kind
    model = cls(20, alpha=1.0, random_state=0)
    expected = shares(clone(model).fit(X, y, WEIGHTS))
    stream, one, two = clone(model), clone(model), clone(model)
    for rows in (slice(0, 7), slice(7, 200), slice(200, 300)):
        stream.partial_fit(X[rows], y[rows], sample_weight=WEIGHTS[rows])
    blocks = clone(model).fit_blocks(Blocks.from_arrays(X, y, WEIGHTS, block_size=50))
    iterated = clone(model).fit_blocks((X[i : i + 90], y[i : i + 90], WEIGHTS[i : i + 90]) for i in range(0, 300, 90))
    one.fit(X[:100], y[:100], WEIGHTS[:100]).merge(two.fit(X[100:], y[100:], WEIGHTS[100:]))
    longer = clone(model).fit(np.r_[X, 5 + X[:40]], np.r_[y, y[:40]], np.r_[WEIGHTS, WEIGHTS[:40]])
    longer.forget(5 + X[:40], y[:40], WEIGHTS[:40])
    for road in (stream, blocks, iterated, one, longer, pickle.loads(pickle.dumps(blocks))):
        np.testing.assert_allclose(shares(road), expected, rtol=1e-6)
    np.testing.assert_allclose(
        shares(clone(model).set_params(device="torch:cpu").fit(X, y, WEIGHTS)), expected, rtol=1e-6
    )


def test_statistics_on_disk_and_checkpoints_keep_them(kind, tmp_path):
    model = kind[0](20, alpha=1.0, random_state=0)
    expected = shares(clone(model).fit(X, kind[1]).save_statistics(tmp_path / "sums.npz"))
    np.testing.assert_array_equal(shares(clone(model).load_statistics(tmp_path / "sums.npz")), expected)

    def failing():
        yield from ((X[i : i + 50], kind[1][i : i + 50]) for i in (0, 50, 100))
        raise OSError("the cable")

    path, parts = tmp_path / "half.npz", [(X[i : i + 50], kind[1][i : i + 50]) for i in range(0, 300, 50)]
    with pytest.raises(OSError, match="the cable"):
        clone(model).fit_blocks(failing(), checkpoint=path, checkpoint_every=1)
    np.testing.assert_allclose(shares(clone(model).fit_blocks(parts, checkpoint=path)), expected, rtol=1e-9)


def test_dask_rows_have_the_importances_of_local_ones(kind):
    dask, da = pytest.importorskip("dask"), pytest.importorskip("dask.array")
    model = kind[0](20, alpha=1.0, random_state=0)
    rows, y = da.from_array(X, chunks=(70, 6)), kind[1]
    with dask.config.set(scheduler="synchronous"):
        np.testing.assert_allclose(shares(clone(model).fit(rows, y)), shares(clone(model).fit(X, y)), rtol=1e-9)


def test_classes_that_come_later_count():
    model, whole = BRMPClassifier(20, alpha=1.0, random_state=0), BRMPClassifier(20, alpha=1.0, random_state=0)
    for code in (1, 0, 2):
        model.partial_fit(X[code == CODES], CODES[code == CODES])
    np.testing.assert_allclose(shares(model), shares(whole.fit(X, CODES)), rtol=1e-6)
    parts = [clone(model).partial_fit(X[code == CODES], CODES[code == CODES]) for code in (0, 1, 2)]
    np.testing.assert_allclose(shares(parts[2].merge(parts[0]).merge(parts[1])), shares(whole), rtol=1e-6)


def test_units_of_a_column_and_of_targets_do_not_count():
    layer = DenseLayer(RNG.randn(3, 5), RNG.randn(5), "tanh")
    units = np.array([1e-3, 1.0, 1e200])
    other = DenseLayer(layer.weights / units[:, None], layer.bias, "tanh")
    coef = RNG.randn(5, 2)
    np.testing.assert_allclose(
        input_shares((other,), coef, moments(np.zeros(3), units), 3),
        input_shares((layer,), coef, moments(np.zeros(3), np.ones(3)), 3),
    )
    many = np.column_stack([Y, X[:, 0] ** 2])
    one, two = (BRMPRegressor(30, alpha=1.0, random_state=0).fit(X, many * [1, unit]) for unit in (1, 1e6))
    np.testing.assert_allclose(shares(one), shares(two), rtol=1e-6)


def test_shares_of_a_linear_stack_are_those_of_its_weights():
    layers = (
        DenseLayer(RNG.randn(6, 5), RNG.randn(5), "identity"),
        DenseLayer(RNG.randn(5, 4), np.ones(4), "identity"),
    )
    coef, mean, deviation = RNG.randn(4, 2), RNG.randn(6), RNG.uniform(0, 3, 6)
    slopes = layers[0].weights @ layers[1].weights @ coef * deviation[:, None]
    expected = np.sum(slopes**2, axis=1) / np.sum(slopes**2)
    np.testing.assert_allclose(input_shares(layers, coef, moments(mean, deviation), 6), expected, rtol=1e-9)


@pytest.mark.parametrize("size", [1.0, 1e3, 1e6])
def test_saturated_units_are_judged_by_their_steps(size):
    x = np.random.RandomState(0).randn(400, 5)
    y = np.sign(x[:, 4]) + 0.1 * np.random.RandomState(1).randn(400)
    model = BRMPRegressor(50, random_state=0)
    assert shares(clone(model).fit(size * x, y))[4] > 0.5
    assert RFE(model, n_features_to_select=1).fit(size * x, y).support_[4]


def test_models_of_no_use_have_no_importances():
    assert np.all(BRMPRegressor(5, random_state=0).fit(np.ones((20, 3)), np.arange(20.0)).feature_importances_ == 0)
    assert np.all(BRMPRegressor(5, random_state=0).fit(X, np.ones(300)).feature_importances_ == 0)


def test_models_of_earlier_versions_say_what_they_lack(kind):
    model = kind[0](10, random_state=0).fit(X, kind[1])
    state, learned, readout = model.__getstate__(), model._learned, model._solved.chosen
    del state["_learned"], state["_solved"]
    state |= {"coef_": np.ones(10), "intercept_": 0.0, "_layers": learned.network, "_classes_fixed": False}
    state |= {"_coef": readout.coef, "_intercept": readout.intercept, "_statistic": learned.statistic.statistic}
    state |= {"_one_dimensional": True, "_n_targets": 1}
    old = kind[0].__new__(kind[0])
    old.__setstate__(state)
    np.testing.assert_array_equal(old.predict(X), model.predict(X))
    assert not hasattr(old, "coef_") and not hasattr(old, "feature_importances_")
    with pytest.raises(AttributeError, match=r"earlier versions.*fit anew"):
        old.feature_importances_
    old.partial_fit(X, kind[1])
    assert not hasattr(old, "feature_importances_") and "coef_" not in vars(old)


@pytest.mark.parametrize("model", [CPNetClassifier(10, random_state=0), DFAClassifier(6, max_iter=2, random_state=0)])
def test_what_has_neither_is_refused_by_name(model):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(ValueError, match=r"coef_.*feature_importances_"):
            SelectFromModel(model).fit(X, CODES).get_support()


def test_closed_form_networks_are_judged_by_importances():
    model = SelectFromModel(ClosedFormMLP(30, random_state=0), max_features=1, threshold=-np.inf)
    assert model.fit(X, CODES).get_support()[2]


@pytest.mark.parametrize("scale", [1.0, 1e-200, 1e200])
def test_moments_merge_and_leave_at_any_scale(scale):
    rows = (X + 1) * scale
    whole = ColumnMoments.of(rows, WEIGHTS)
    parts = [ColumnMoments.of(rows[i : i + 100], WEIGHTS[i : i + 100]) for i in (0, 100, 200)]
    merged = parts[0].merge(ColumnMoments.empty(6)).merge(parts[1]).merge(parts[2])
    mean = np.average(X + 1, axis=0, weights=WEIGHTS)
    expected = np.sqrt(np.average((X + 1 - mean) ** 2, axis=0, weights=WEIGHTS))
    for found in (whole, merged, merged.merge(parts[0]).remove(parts[0])):
        np.testing.assert_allclose(found.mean / scale, mean, rtol=1e-10)
        np.testing.assert_allclose(found.deviation / scale, expected, rtol=1e-10)
    assert np.all(whole.remove(whole).deviation == 0)
