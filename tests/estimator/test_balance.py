"""One statistic per class: balance in streams equals balanced weights of all rows, and priors need no data."""

import logging
import pickle

import numpy as np
import pytest
from sklearn.datasets import load_digits

import sklearn_analytic as sa
from sklearn_analytic.estimator import balance
from sklearn_analytic.linalg import ClassSums, NormalEquations, TriangularFactor
from tests.checks import assert_close
from tests.reference import ridge

DIGITS, FIGURES = load_digits(return_X_y=True)
KEPT = (FIGURES < 3) | (np.arange(len(FIGURES)) % 5 == 0)
X, Y = DIGITS[KEPT], FIGURES[KEPT]
NAMES = np.array([f"digit {figure}" for figure in Y])
HALF = len(X) // 2
KINDS = {
    "ClosedFormMLP": {"hidden_layer_sizes": 30, "hidden": "laplace", "random_state": 0},
    "CPNetClassifier": {"hidden_layer_sizes": 30, "random_state": 0},
    "BRMPClassifier": {"alpha": 1.0},
    "BRMPClassifier, qr": {"hidden_layer_sizes": 20, "solver": "qr", "alpha": 1.0, "random_state": 0},
}
MODELS = pytest.mark.parametrize("name", KINDS)


def made(name, **options):
    return getattr(sa, name.partition(",")[0])(**KINDS[name], class_statistics=True, **options)


def same(one, other, scale=1e5):
    assert_close(one.decision_function(X), other.decision_function(X), np.float64, scale=scale)


@MODELS
@pytest.mark.parametrize("weights", ["balanced", {0: 3.0, 1: 0.5}, None], ids=str)
def test_weights_at_the_solve_are_weights_of_rows(name, weights):
    plain = made(name, class_weight=weights).set_params(class_statistics=False).fit(X, Y)
    same(made(name, class_weight=weights).fit(X, Y), plain)


@MODELS
def test_a_balanced_stream_is_the_ridge_of_all_rows_with_balanced_weights(name):
    """The readout by a naive weighted ridge on the layers of the stream: to 1e-9."""
    model = made(name, class_weight="balanced").set_params(alpha=2.0)
    for rows in (slice(0, HALF), slice(HALF, HALF + 9), slice(HALF + 9, None)):
        model.partial_fit(X[rows], NAMES[rows])
    labels, codes = np.unique(NAMES, return_inverse=True)
    weights = (len(Y) / (len(labels) * np.bincount(codes)))[codes]
    hidden = np.asarray(model.transform(X), dtype=np.float64)
    if name.startswith("BRMP"):
        targets, alpha, scale = 2 * np.eye(len(labels))[codes] - 1, 2.0, 1.0
    else:
        targets, alpha = np.eye(len(labels))[codes], 2.0 + 1e-6 * len(Y)
        mean = np.average(hidden, axis=0, weights=weights)
        scale = np.sqrt(np.average((hidden - mean) ** 2, axis=0, weights=weights))
        scale = np.maximum(scale, 0.1 * scale.max())
        flat = np.average((hidden - mean) ** 2, axis=0, weights=weights) <= 1e-12 * np.average(
            hidden**2, axis=0, weights=weights
        )
        scale[flat] = np.inf
    coef, intercept = weighted_ridge(hidden / scale, targets, weights, alpha)
    readout = model._solved.chosen
    size = readout.coef.shape[0]
    if name == "CPNetClassifier":  # its exit may read fewer
        size = len(model._learned.network.exit_columns()[model.exit_])
        coef, intercept = weighted_ridge((hidden / scale)[:, :size], targets, weights, alpha)
    coef = coef / (scale if np.ndim(scale) == 0 else scale[:size, None])
    expected = hidden[:, :size] @ coef + intercept
    found = hidden @ readout.coef + readout.intercept
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-9)


def weighted_ridge(rows, targets, weights, alpha):
    """The ridge of rows times the roots of their weights, about the weighted means."""
    mean, level = (np.average(part, axis=0, weights=weights) for part in (rows, targets))
    root = np.sqrt(weights)[:, None]
    coef, _ = ridge(root * (rows - mean), root * (targets - level), alpha, fit_intercept=False)
    return coef, level - mean @ coef


@MODELS
def test_blocks_files_and_pickles(name, tmp_path):
    whole = made(name, class_weight="balanced").fit(X, Y)
    same(made(name, class_weight="balanced").fit_blocks(sa.Blocks.from_arrays(X, Y, block_size=150)), whole)
    whole.save_statistics(tmp_path / "sums.npz")
    same(made(name, class_weight="balanced").load_statistics(tmp_path / "sums.npz"), whole, scale=1e3)
    unweighed = made(name).load_statistics(tmp_path / "sums.npz")  # other weights need no row again
    same(unweighed, whole.with_priors(np.bincount(Y) / len(Y)))
    same(pickle.loads(pickle.dumps(whole)).partial_fit(X[:50], Y[:50]), whole.partial_fit(X[:50], Y[:50]))


@MODELS
def test_dask(name):
    da = pytest.importorskip("dask.array")
    rows, labels = da.from_array(X, chunks=(200, 64)), da.from_array(Y, chunks=200)
    same(made(name, class_weight="balanced").fit(rows, labels), made(name, class_weight="balanced").fit(X, Y))


@MODELS
def test_merges(name):
    first = made(name, class_weight="balanced").fit(X[:HALF], Y[:HALF])
    stream = pickle.loads(pickle.dumps(first)).partial_fit(X[HALF:], Y[HALF:])
    other = first.shard() if hasattr(first, "shard") else made(name, class_weight="balanced")
    same(first.merge(other.partial_fit(X[HALF:], Y[HALF:])), stream)


@pytest.mark.filterwarnings("ignore:No row of the classes")
@MODELS
def test_later_classes_are_balanced_too(name):
    order = np.argsort(Y, kind="stable")
    order = np.concatenate([order[:HALF], np.random.default_rng(0).permutation(order)])
    model = made(name, class_weight="balanced").partial_fit(X[order[:HALF]], NAMES[order[:HALF]])
    model.partial_fit(X[order[HALF:]], NAMES[order[HALF:]])
    once = made(name, class_weight="balanced").partial_fit(X[order[:HALF]], NAMES[order[:HALF]], classes=set(NAMES))
    same(model, once.partial_fit(X[order[HALF:]], NAMES[order[HALF:]]))


@MODELS
def test_priors_are_solved_without_data(name):
    model = made(name).fit(X, NAMES)
    before = model.decision_function(X)
    even = model.with_priors(np.full(10, 0.1))
    np.testing.assert_array_equal(model.decision_function(X), before)
    balanced = pickle.loads(pickle.dumps(model)).set_params(class_weight="balanced")
    balanced._keep(balanced._checked_method(), balanced._learned)
    same(even, balanced)
    priors = {name: 0.82 if name == "digit 7" else 0.02 for name in sorted(set(NAMES))}
    often = model.with_priors(priors)
    same(often, even.with_priors(priors))
    assert np.mean(often.predict(X) == "digit 7") >= np.mean(even.predict(X) == "digit 7")
    same(often.partial_fit(X[:50], NAMES[:50]), model.partial_fit(X[:50], NAMES[:50]).with_priors(priors))


def test_wrong_priors():
    model = made("BRMPClassifier").fit(X, Y)
    for priors, message in (
        (np.full(10, 0.2), "must sum to one"),
        (np.full(9, 1 / 9), "must be 10 positive numbers"),
        ([0.0, *np.full(9, 1 / 9)], "must be 10 positive numbers"),
        ([-0.1, *np.full(9, 1.1 / 9)], "must be 10 positive numbers"),
        ({0: 1.0}, "one number for each of the classes"),
        (dict.fromkeys(range(11), 1 / 11), "one number for each of the classes"),
        ("even", "must be 10 positive numbers"),
        (None, "must be 10 positive numbers"),
        (np.full(10, np.nan), "must be 10 positive numbers"),
    ):
        with pytest.raises(ValueError, match=message):
            model.with_priors(priors)
    with pytest.raises(ValueError, match="fit BRMPClassifier with class_statistics=True"):
        sa.BRMPClassifier().fit(X, Y).with_priors(np.full(10, 0.1))


def test_a_class_that_never_came():
    seen = Y < 5
    with pytest.warns(UserWarning, match=r"No row of the classes \[5, 6, 7, 8, 9\] has come yet"):
        model = made("BRMPClassifier", class_weight="balanced").partial_fit(X[seen], Y[seen], classes=range(10))
    assert set(model.predict(X)) <= set(range(5))
    with pytest.raises(ValueError, match=r"No row of the classes \[5, 6, 7, 8, 9\] has come, so that no prior"):
        model.with_priors(np.full(10, 0.1))
    few = made("BRMPClassifier").fit(X[seen], Y[seen]).with_priors(np.full(5, 0.2))
    with pytest.raises(ValueError, match="A class has come for which with_priors had no share"):
        few.partial_fit(X, Y)
    assert len(few.classes_) == 5


def test_without_class_statistics_balance_in_streams_is_refused():
    for verb, message in (("partial_fit", "partial_fit"), ("fit_blocks", "fit_blocks on an iterator")):
        model = sa.CPNetClassifier(5, class_weight="balanced")
        with pytest.raises(ValueError, match=f"class_weight='balanced' in {message} needs class_statistics=True"):
            getattr(model, verb)(*((X, Y) if verb == "partial_fit" else (iter([(X, Y)]),)))
    with pytest.raises(ValueError, match="one class per row"):
        sa.ClosedFormMLP(5, class_statistics=True).fit(X, np.c_[Y > 3, Y > 5])
    with pytest.raises(ValueError, match="a recursion is one for all"):
        sa.BRMPClassifier(solver="recursive", class_statistics=True).fit(X, Y)


@pytest.mark.parametrize("name", ["CPNetClassifier", "BRMPClassifier"])
def test_sums_of_another_kind_are_refused(name):
    apart = made(name).fit(X, Y)
    whole = made(name).set_params(class_statistics=False).fit(X, Y)
    for model, flag in ((apart, False), (whole, True)):
        other = pickle.loads(pickle.dumps(model)).set_params(class_statistics=flag)
        for verb in (other.partial_fit, other.forget):
            with pytest.raises(ValueError, match=f"class_statistics={flag}, but rows were summed"):
                verb(X[:9], Y[:9])
        shard = other.shard() if hasattr(other, "shard") else made(name).set_params(class_statistics=flag)
        with pytest.raises(ValueError, match="but rows were summed with class_statistics="):
            pickle.loads(pickle.dumps(model)).merge(shard.partial_fit(X, Y))


@pytest.mark.parametrize("name", ["CPNetClassifier", "BRMPClassifier"])
def test_merges_have_one_set_of_priors(name):
    model = made(name).fit(X, Y)
    other = model.shard() if hasattr(model, "shard") else made(name)
    other.partial_fit(X, Y)
    even = np.full(10, 0.1)
    for one, two in ((model, other.with_priors(even)), (model.with_priors(even), other)):
        with pytest.raises(ValueError, match="merge needs the same priors"):
            one.merge(two)
    same(
        model.with_priors(even).merge(other.with_priors(even)),
        pickle.loads(pickle.dumps(model)).merge(other).with_priors(even),
    )


def test_readings_are_those_of_the_fit_whatever_parameters_are_now():
    rows, labels = DIGITS + np.random.default_rng(0).normal(size=DIGITS.shape) * 9, FIGURES
    model = made("BRMPClassifier", class_weight="balanced").fit(rows, labels)
    expected = model.predict_set(rows)
    changed = pickle.loads(pickle.dumps(model)).set_params(class_weight=None, fit_intercept=False)
    np.testing.assert_array_equal(changed.predict_set(rows), expected)


def test_memory_is_said_before_it_is_spent(caplog, monkeypatch):
    with caplog.at_level(logging.INFO, logger="sklearn_analytic"):
        made("BRMPClassifier").fit(X, Y)
    assert "10 square matrices of 74 columns" in caplog.text
    monkeypatch.setattr(balance, "_free_memory", lambda: 1000)
    with pytest.raises(MemoryError, match="and 0 MiB are free"):
        made("BRMPClassifier").fit(X, Y)
    monkeypatch.setattr(balance, "_free_memory", lambda: 8 * 5 * 70**2)
    few = made("BRMPClassifier").fit(X[Y < 5], Y[Y < 5])
    with pytest.raises(MemoryError, match="10 square matrices"):  # of classes that come later
        few.partial_fit(X, Y)
    assert len(few.classes_) == 5


@pytest.mark.parametrize("kind", [NormalEquations, TriangularFactor])
def test_sums_of_classes(kind, rng):
    codes, rows = rng.integers(0, 3, 90), rng.normal(size=(90, 4))
    targets, weights = np.eye(3)[codes], rng.uniform(0.5, 2, 90)
    factors = np.array([0.5, 2.0, 0.0])
    sums = ClassSums.begun(kind.empty(4, 3), 3)
    for part in np.array_split(np.arange(90), 4):
        sums = sums.accumulate(rows[part], targets[part], codes[part], weights[part])
    expected = kind.empty(4, 3).accumulate(rows, targets, weights * factors[codes]).as_normal()
    found = sums.weighted(factors).as_normal()
    assert_close(found.scatter, expected.scatter, np.float64, scale=10)
    assert found.n_rows == np.sum(codes < 2) and sums.n_rows == 90
    assert_close(sums.masses, np.bincount(codes, weights), np.float64)
    grown = sums.add_targets(np.zeros(1)).permute_targets([3, 0, 1, 2])
    assert grown.masses[0] == 0
    assert_close(grown.masses[1:], sums.masses, np.float64)
