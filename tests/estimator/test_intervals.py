"""Intervals, deviations and sets: equal to refits, the same in any blocks, and errors that say what it takes."""

import pickle
from dataclasses import replace

import numpy as np
import pytest
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits

import sklearn_analytic as sa
from sklearn_analytic.estimator import intervals
from sklearn_analytic.estimator.learned import LeftOut
from sklearn_analytic.estimator.prediction_sets import SetScores, cumulated
from sklearn_analytic.features import RowSample
from sklearn_analytic.features._row_sample import row_uniforms
from sklearn_analytic.linalg import conformal_quantile, rows_needed
from sklearn_analytic.linalg._exits import _unit_scale
from tests.checks import assert_close
from tests.reference import jackknife_plus

X, Y = load_diabetes(return_X_y=True)
FEW, NEW = slice(0, 60), slice(60, 75)
WIDE = np.random.default_rng(0).normal(size=(40, 30))
NOISY = WIDE[:, 0] + 0.1 * np.random.default_rng(1).normal(size=40)


@pytest.fixture
def plain(monkeypatch):
    """Residuals of one scale, as the jackknife+ has them."""
    every = intervals._scales
    monkeypatch.setattr(intervals, "_scales", lambda *rows: every(*rows)[:1])


LINEAR = (
    {},
    {"alpha": 0.3},
    {"fit_intercept": False},
    {"solver": "qr"},
    {"solver": "gram"},
    {"solver": "recursive"},
    {"solver": "recursive", "alpha": 0.5},
    {"solver": "recursive", "fit_intercept": False},
    {"solver": "qr", "fit_intercept": False, "alpha": 0.1},
)


@pytest.mark.parametrize("options", LINEAR, ids=str)
def test_intervals_are_those_of_all_refits(plain, options):
    def fitted(rows, targets):
        return sa.BRMPRegressor(**options).fit(rows, targets)

    expected = jackknife_plus(fitted, X[FEW], Y[FEW], X[NEW], 0.9)
    assert_close(fitted(X[FEW], Y[FEW]).predict_interval(X[NEW]), expected, np.float64, scale=1e3)


@pytest.mark.parametrize(
    "options", [{}, {"fit_intercept": False}, {"solver": "gram"}, {"solver": "recursive"}], ids=str
)
def test_rows_that_alone_carry_a_direction_leave_as_in_a_refit(plain, options):
    def fitted(rows, targets):
        return sa.BRMPRegressor(**options).fit(rows, targets)

    expected = jackknife_plus(fitted, WIDE[:12], NOISY[:12], WIDE[20:], 0.8)
    assert_close(fitted(WIDE[:12], NOISY[:12]).predict_interval(WIDE[20:], 0.8), expected, np.float64, scale=100)


def test_hidden_layers_and_several_targets(plain):
    pairs = np.c_[Y, X[:, 2]]

    def fitted(rows, targets):
        return sa.BRMPRegressor(20, alpha=0.1, random_state=0).fit(rows, targets)

    found = fitted(X[FEW], pairs[FEW]).predict_interval(X[NEW])
    assert found.shape == (15, 2, 2)
    for t in range(2):
        expected = jackknife_plus(fitted, X[FEW], pairs[FEW][:, t], X[NEW], 0.9)
        assert_close(found[:, t], expected, np.float64, scale=1e4)


def test_weights_are_frequencies(plain):
    weight = np.arange(60) % 3 + 1
    once = sa.BRMPRegressor(alpha=0.1).fit(X[FEW], Y[FEW], weight)
    again = sa.BRMPRegressor(alpha=0.1).fit(np.repeat(X[FEW], weight, axis=0), np.repeat(Y[FEW], weight))
    assert_close(once.predict_interval(X[NEW]), again.predict_interval(X[NEW]), np.float64, scale=100)


def test_weights_of_rows_do_not_shrink_intervals():
    rng = np.random.default_rng(0)
    shares = []
    for _ in range(20):
        rows = rng.normal(size=(480, 40))
        targets, weight = rows[:, 0] + rng.normal(size=480), rng.uniform(0.5, 2.5, 80)
        model = sa.BRMPRegressor(alpha="gcv").fit(rows[:80], targets[:80], weight)
        lower, upper = model.predict_interval(rows[80:]).T
        shares.append(np.mean((lower <= targets[80:]) & (targets[80:] <= upper)))
    assert abs(np.mean(shares) - 0.9) < 0.05


@pytest.mark.parametrize("options", [{}, {"hidden_layer_sizes": 10, "hidden": "random", "random_state": 0}], ids=str)
def test_blocks_orders_merges_and_files_give_the_same_intervals(options, tmp_path):
    def new():
        return sa.BRMPRegressor(alpha=0.1, audit_rows=50, **options)

    expected = new().fit(X, Y).predict_interval(X[NEW])
    order = np.random.default_rng(0).permutation(len(Y))
    stream = new()
    for rows in np.array_split(order, 7):
        stream.partial_fit(X[rows], Y[rows])
    merged = new().fit(X[::2], Y[::2]).merge(new().fit(X[1::2], Y[1::2]))
    stream.save_statistics(tmp_path / "fit.npz")
    read = new().load_statistics(tmp_path / "fit.npz")
    for other in (stream, merged, read, pickle.loads(pickle.dumps(stream))):
        assert_close(other.predict_interval(X[NEW]), expected, np.float64, scale=1e4)
    forgot = new().fit(X[:300], Y[:300]).partial_fit(X[300:], Y[300:]).forget(X[300:], Y[300:])
    assert len(forgot._learned.statistic.rows.x) < 50  # the others were dropped long ago
    assert set(map(tuple, forgot._learned.statistic.rows.x)) <= set(map(tuple, X[:300]))


def test_float32_and_tensors_keep_their_kind():
    torch = pytest.importorskip("torch")
    model = sa.BRMPRegressor().fit(X, Y)
    assert model.predict_interval(X[NEW].astype(np.float32)).dtype == np.float32
    tensor = model.predict_interval(torch.tensor(X[NEW]))
    assert_close(tensor, model.predict_interval(X[NEW]), np.float64, scale=100)
    mean, deviation = model.predict(torch.tensor(X[NEW]), return_std=True)
    assert mean.shape == deviation.shape == (15,)


def test_dask_collections_stay_lazy():
    da = pytest.importorskip("dask.array")
    model = sa.ClosedFormMLPRegressor(20, random_state=0).fit(X, np.c_[Y, Y])
    lazy = da.from_array(X, chunks=(100, 10))
    intervals_of_rows = model.predict_interval(lazy, coverage=0.8)
    assert isinstance(intervals_of_rows, da.Array)
    assert_close(intervals_of_rows.compute(), model.predict_interval(X, coverage=0.8), np.float64, scale=100)
    assert isinstance(model.predict(lazy, True)[1], da.Array)
    mean, deviation = model.predict(lazy, return_std=True)
    for found, expected in zip((mean.compute(), deviation.compute()), model.predict(X, return_std=True), strict=True):
        assert_close(found, expected, np.float64, scale=1e3)


def test_the_network_without_an_audit_row_is_the_solve_without_it(plain):
    """All layers, ridge and shares fixed: rows leave the statistic, and the blend is solved again."""
    model = sa.ClosedFormMLPRegressor(30, hidden="random", alpha=3.0, random_state=0).fit(X, Y)
    method, learned = model._method(), model._learned
    (pull,) = model._solved.left_out.pulls
    features, jackknife = np.asarray(method.audited(learned).features), model._jackknife
    statistic, targets = learned.statistic, model._solved.left_out.targets
    new = np.asarray(model.transform(X[NEW]))
    units = jackknife.moves[0].of(new, method.host_backend()) * jackknife.moves[0].residuals[:, 0]
    unit, level = learned.targets.units
    scale = 1 / _unit_scale(statistic)
    for row in (0, 7, 50):
        one = type(statistic).from_rows(features[row : row + 1], targets[row : row + 1])
        rest = statistic.remove(one)
        d = rest.n_features
        gram = rest.scatter[:d, :d] / scale[:, None] / scale + pull.alpha * np.eye(d)
        coef = np.linalg.solve(gram, rest.scatter[:d, d:] / scale[:, None]) / scale[:, None]
        without = (new - rest.mean[:d]) @ coef[:, 0] + rest.mean[d]
        expected = model.predict(X[NEW]) - unit * units[:, row]
        assert_close(without * unit + level, expected, np.float64, scale=1e4)
        left_out = (features[row] - rest.mean[:d]) @ coef + rest.mean[d]
        assert_close(left_out, model._solved.left_out.predictions[row], np.float64, scale=1e4)


def test_blended_trees_move_with_all_their_solutions(plain):
    rng = np.random.default_rng(0)
    rows = rng.uniform(-1, 1, (2600, 4))
    model = sa.ClosedFormMLPRegressor(30, n_refits=0, random_state=0).fit(rows, np.sign(rows[:, 0]) + rows[:, 1])
    solved = model._solved
    assert len(solved.left_out.pulls) > 1  # the network's, and the ridge on all features and scores
    covered = model.predict_interval(rows[:500], 0.9)
    assert np.all(covered[:, 0] < covered[:, 1])


def test_noise_that_varies_makes_intervals_that_vary():
    rng = np.random.default_rng(0)
    rows = rng.uniform(0, 1, (3000, 2))
    noise = np.where(rows[:, 0] > 0.5, 1.0, 0.1)
    targets = rows[:, 1] + noise * rng.normal(size=3000)
    model = sa.ClosedFormMLPRegressor(30, n_refits=0, random_state=0).fit(rows[:2000], targets[:2000])
    lower, upper = model.predict_interval(rows[2000:]).T
    loud = noise[2000:] == 1
    assert np.median((upper - lower)[loud]) > 4 * np.median((upper - lower)[~loud])
    inside = (lower <= targets[2000:]) & (targets[2000:] <= upper)
    assert abs(inside[loud].mean() - 0.9) < 0.05 and abs(inside[~loud].mean() - 0.9) < 0.05
    _, deviation = model.predict(rows[2000:], return_std=True)
    assert 0.6 < np.median(deviation[loud]) < 1.4 and 0.06 < np.median(deviation[~loud]) < 0.3


def test_deviations_are_those_of_least_squares():
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(800, 5))
    targets = rows.sum(axis=1) + 2.0 * rng.normal(size=800)
    model = sa.BRMPRegressor(audit_rows=800).fit(rows, targets)
    new = np.vstack([rows[:50], 20 * rows[:5]])
    centred, mean = rows - rows.mean(axis=0), rows.mean(axis=0)
    leverage = 1 / 800 + np.sum((new - mean) @ np.linalg.inv(centred.T @ centred) * (new - mean), axis=1)
    sigma = np.sqrt(np.sum((targets - model.predict(rows)) ** 2) / (800 - 6))
    prediction, deviation = model.predict(new, return_std=True)
    np.testing.assert_array_equal(prediction, model.predict(new))
    np.testing.assert_allclose(deviation, sigma * np.sqrt(1 + leverage), rtol=0.25)
    np.testing.assert_allclose(deviation[:50], sigma * np.sqrt(1 + leverage[:50]), rtol=0.15)


@pytest.mark.parametrize("coverage", [0.5, 0.8, 0.95])
def test_coverage_is_near_what_is_asked_for(coverage):
    rng = np.random.default_rng(1)
    shares = []
    for _ in range(20):
        rows = rng.normal(size=(400, 8))
        targets = rows[:, 0] - rows[:, 1] + rng.standard_t(4, size=400)
        lower, upper = sa.BRMPRegressor().fit(rows[:200], targets[:200]).predict_interval(rows[200:], coverage).T
        shares.append(np.mean((lower <= targets[200:]) & (targets[200:] <= upper)))
    assert abs(np.mean(shares) - coverage) < 0.03


@pytest.mark.parametrize("coverage", [0, 1, 1.5, -0.1, "0.9", None, True, np.nan])
def test_what_is_no_coverage_is_refused(coverage):
    with pytest.raises(ValueError, match=r"coverage must be a number between 0 and 1"):
        sa.BRMPRegressor().fit(X, Y).predict_interval(X[:1], coverage=coverage)
    with pytest.raises(ValueError, match=r"coverage must be a number between 0 and 1"):
        sa.CPNetClassifier(5, random_state=0).fit(X, Y > 140).predict_set(X[:1], coverage=coverage)


def test_too_few_rows_are_told_how_many_it_takes():
    with pytest.raises(ValueError, match=r"coverage=0.99 needs at least 99 audit rows, and there are 50"):
        sa.BRMPRegressor().fit(X[:50], Y[:50]).predict_interval(X[:1], coverage=0.99)
    sa.BRMPRegressor().fit(X[:99], Y[:99]).predict_interval(X[:1], coverage=0.99)
    with pytest.raises(ValueError, match=r"coverage=0.9 needs at least 9 audit rows, and there are 7"):
        sa.ClosedFormMLPRegressor(5, random_state=0).fit(X[:30], Y[:30]).predict_interval(X[:1])
    rare = np.arange(len(X)) < 20
    model = sa.ClosedFormMLP(5, hidden="random", random_state=0).fit(X, rare)
    assert model.predict_set(X[:1], 0.9).shape == (1, 2)
    with pytest.raises(ValueError, match=r"by class, of class .*True.* needs at least 9 audit rows"):
        model.predict_set(X[:1], 0.9, by_class=True)
    with pytest.raises(ValueError, match="No row was kept to measure intervals on"):
        sa.BRMPRegressor(audit_rows=0).fit(X, Y).predict_interval(X[:1])
    with pytest.raises(ValueError, match="audit_rows must be a non-negative integer"):
        sa.BRMPRegressor(audit_rows=-1).fit(X, Y)
    labels = sa.ClosedFormMLP(5, hidden="random", random_state=0).fit(X, np.c_[Y > 100, Y > 200])
    with pytest.raises(ValueError, match="one class per row"):
        labels.predict_set(X[:1])


def test_least_numbers_of_rows():
    for coverage in (0.5, 0.8, 0.9, 0.95, 0.99):
        m = rows_needed(coverage)
        assert np.isfinite(conformal_quantile(np.arange(float(m)), np.ones(m), coverage))
        assert m == 1 or not np.isfinite(conformal_quantile(np.arange(m - 1.0), np.ones(m - 1), coverage))


def test_quantiles_of_weights_are_those_of_repeated_values(rng):
    values, weights = rng.normal(size=(4, 30)), rng.integers(1, 4, 30).astype(float)
    repeated = np.repeat(values, weights.astype(int), axis=1)
    for level in (0.1, 0.5, 0.9):
        expected = np.sort(repeated, axis=1)[:, int(np.ceil(level * (repeated.shape[1] + 1) - 1e-9)) - 1]
        np.testing.assert_array_equal(conformal_quantile(values, weights, level), expected)


@pytest.mark.parametrize("name", ["ClosedFormMLP", "CPNetClassifier", "BRMPClassifier"])
def test_sets_hold_the_right_class(name):
    rows, labels = load_digits(return_X_y=True)
    rows = rows + np.random.default_rng(0).normal(size=rows.shape) * 9  # so that not all is certain
    kind = {"alpha": 1.0} if name == "BRMPClassifier" else {"hidden_layer_sizes": 60, "random_state": 0}
    kind |= {"hidden": "laplace"} if name == "ClosedFormMLP" else {}
    model = getattr(sa, name)(**kind).fit(rows[:1200], labels[:1200])
    new, right = rows[1200:], labels[1200:]
    accuracy = model.score(new, right)
    sizes = []
    for coverage in (0.5, 0.9, 0.97):
        sets = model.predict_set(new, coverage)
        assert sets.dtype == bool and sets.shape == (len(new), 10)
        assert np.all(sets[np.arange(len(new)), model.predict(new)])  # the likeliest class
        assert abs(sets[np.arange(len(new)), right].mean() - max(coverage, accuracy)) < 0.03
        sizes.append(sets.sum(axis=1).mean())
    assert sizes == sorted(sizes) and sizes[0] == 1.0
    np.testing.assert_array_equal(model.predict_set(new[::-1], 0.9)[::-1], model.predict_set(new, 0.9))


def test_sets_by_class_cover_every_class():
    rng = np.random.default_rng(0)
    labels = (rng.random(6000) < 0.1).astype(int)
    rows = rng.normal(size=(6000, 3)) + labels[:, None]
    model = sa.BRMPClassifier(audit_rows=3000).fit(rows[:3000], labels[:3000])
    new, right = rows[3000:], labels[3000:]
    for by_class in (False, True):
        inside = model.predict_set(new, 0.9, by_class=by_class)[np.arange(3000), right]
        rare = inside[right == 1].mean()
        assert (abs(rare - 0.9) < 0.05) == by_class
        assert inside.mean() > 0.87


def test_cumulated_chances():
    chances, half = np.array([[0.2, 0.5, 0.3]]), np.array([0.5])
    assert_close(cumulated(chances, half), np.array([[0.9, 0.0, 0.65]]), np.float64)
    left_out, rows = LeftOut(None, np.eye(3), np.ones(3), None), np.arange(3.0)[:, None]
    scores = SetScores.of(left_out, np.tile(chances, (3, 1)), rows).scores
    assert_close(scores, cumulated(np.tile(chances, (3, 1)), row_uniforms(rows))[range(3), range(3)], np.float64)
    assert scores[1] == 0.0


def test_models_of_earlier_versions_are_read():
    model = sa.ClosedFormMLPRegressor(20, hidden="random", random_state=0).fit(X, Y)
    expected = model.predict_interval(X[NEW])
    model._solved = replace(model._solved, left_out=None)
    assert_close(model.predict_interval(X[NEW]), expected, np.float64, scale=100)
    classifier = sa.CPNetClassifier(20, random_state=0).fit(*load_breast_cancer(return_X_y=True))
    sets = classifier.predict_set(load_breast_cancer().data, 0.99)
    classifier._solved = replace(classifier._solved, left_out=None)
    np.testing.assert_array_equal(classifier.predict_set(load_breast_cancer().data, 0.99), sets)


def test_pickles_hold_sums_and_no_readings():
    model = sa.ClosedFormMLPRegressor(200, hidden="random", random_state=0).fit(X, Y)
    before = len(pickle.dumps(model))
    model.predict_interval(X[NEW])
    assert len(pickle.dumps(model)) == before


def test_a_sample_of_rows_is_the_same_in_any_blocks(rng):
    rows, weights = rng.integers(0, 6, (500, 3)).astype(float), rng.integers(0, 3, 500).astype(float)
    targets = rng.integers(0, 2, (500, 1)).astype(float)
    whole = RowSample.empty(40, 3, 1).accumulate(rows, targets, targets, weights)
    stream = RowSample.empty(40, 3, 1)
    for part in np.array_split(rng.permutation(500), 9):
        stream = stream.accumulate(rows[part], targets[part], targets[part], weights[part])
    parts = [
        RowSample.empty(40, 3, 1).accumulate(rows[i::2], targets[i::2], targets[i::2], weights[i::2]) for i in (0, 1)
    ]
    for other in (stream, parts[0].merge(parts[1])):
        for name in ("x", "y", "weights", "hashes"):
            np.testing.assert_array_equal(getattr(other, name), getattr(whole, name))
        assert other.limit == whole.limit
    assert whole.weights.sum() < weights.sum()
    gone, strange = whole.remove(rows[:100], targets[:100], weights[:100])
    assert not strange.any()
    back = gone.accumulate(rows[:100], targets[:100], targets[:100], weights[:100])
    np.testing.assert_array_equal(back.x, whole.x)
    assert whole.remove(rows + 100, targets, weights)[1].any()


def test_a_sample_that_has_lost_its_rows_is_filled_again(rng):
    rows = rng.normal(size=(4000, 2))
    sample = RowSample.empty(100, 2, 1).accumulate(rows, rows[:, :1], rows[:, :1])
    limit = sample.limit
    for start in range(0, 3500, 500):
        gone = rows[start : start + 500]
        sample, strange = sample.remove(gone, gone[:, :1])
        assert not strange.any()
    assert len(sample.x) < 30
    for _ in range(8):
        new = rng.normal(size=(100, 2))
        sample = sample.accumulate(new, new[:, :1], new[:, :1])
        assert not sample.remove(new, new[:, :1])[1].any()
    assert sample.limit > limit and sample.sure <= limit and len(sample.x) > 60
