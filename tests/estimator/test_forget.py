"""Forgetting: rows leave sums, audit and kept rows exactly, with the folds they came with; what stays is said."""

import copy
import itertools
import pickle
import warnings

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_breast_cancer, load_diabetes

import sklearn_analytic as sa
from sklearn_analytic.features import CopyLedger, lay_copies
from tests.checks import assert_close

CANCER, MALIGN = load_breast_cancer(return_X_y=True)
DIABETES, COURSE = load_diabetes(return_X_y=True)
RNG = np.random.default_rng(0)
CODES = RNG.integers(0, 2, (420, 4)).astype(float)
PARITY = (CODES.sum(axis=1) % 2 != (RNG.random(420) < 0.1)).astype(int)
LEVELS = RNG.integers(0, 20, 420)
COPIES = pd.DataFrame({"city": [f"c{k}" for k in LEVELS], "new": CODES[:, 0]})  # few rows, a wide category
TABLE = pd.DataFrame(
    {"city": [f"c{k}" for k in LEVELS], "size": np.where(CODES[:, 1] > 0, RNG.normal(size=420), np.nan)}
)
OFTEN = (RNG.random(420) < (LEVELS % 5) / 5).astype(int)
SETS = {
    "numbers": (CANCER[:420], MALIGN[:420]),
    "float32": (CANCER[:420].astype(np.float32), MALIGN[:420]),
    "copies": (CODES, PARITY),
    "table": (TABLE, OFTEN),
    "copies in a table": (COPIES, OFTEN),
    "targets": (DIABETES[:420], COURSE[:420]),
    "targets of copies": (CODES, PARITY + CODES[:, 0]),
}
KINDS = {
    "ClosedFormMLP": {"hidden_layer_sizes": 20, "n_refits": 0},
    "CPNetClassifier": {"hidden_layer_sizes": 20},
    "ClosedFormMLPRegressor": {"hidden_layer_sizes": 20, "n_refits": 0},
    "BRMPClassifier": {"alpha": 1.0},
}
CASES = [
    (name, data) for name, data in itertools.product(KINDS, SETS) if ("Regressor" in name) == data.startswith("targets")
]
EVERY = pytest.mark.parametrize(("name", "data"), CASES, ids=" ".join)
ignored = pytest.mark.filterwarnings("ignore::sklearn_analytic.UnlearningWarning")


def made(name, **options):
    return getattr(sa, name)(**KINDS[name], random_state=0, **options)


def part(X, rows):
    return X.iloc[rows] if hasattr(X, "iloc") else X[rows]


def said(model, X):
    return model.predict(X) if hasattr(model, "predict_interval") else model.decision_function(X)


def same(one, other, X, scale=1e5):
    dtype = np.float32 if getattr(X, "dtype", None) == np.float32 else np.float64
    assert_close(said(one, X), said(other, X), dtype, scale=scale if dtype == np.float64 else 1)
    assert one.n_samples_seen_ == other.n_samples_seen_


def copied(model):
    return pickle.loads(pickle.dumps(model))


@ignored
@EVERY
def test_rows_that_came_later_leave_the_fit_before(name, data):
    X, y = SETS[data]
    before = made(name).fit(part(X, np.arange(300)), y[:300])
    later = part(X, np.arange(300, 420))
    after = copied(before).partial_fit(later, y[300:]).forget(later, y[300:])
    same(after, before, X)
    if name != "BRMPClassifier":
        ours, theirs = (np.sort(model._learned.judges.audit.weights) for model in (after, before))
        if "copies" not in data:  # the sample of copies is drawn again
            assert set(before._learned.judges.audit.hashes) >= set(after._learned.judges.audit.hashes)
        assert ours.sum() <= theirs.sum() * (1 + 1e-9)


@ignored
@EVERY
def test_the_order_in_which_rows_leave_does_not_matter(name, data):
    X, y = SETS[data]
    model = made(name).fit(X, y)
    gone = np.random.default_rng(1).permutation(420)[:90]
    once = copied(model).forget(part(X, gone), y[gone])
    twice = copied(model).forget(part(X, gone[50:]), y[gone[50:]]).forget(part(X, gone[:50]), y[gone[:50]])
    assert_close(said(once, X), said(twice, X), np.float32 if data == "float32" else np.float64, scale=1e5)
    back = copied(once).partial_fit(part(X, gone), y[gone])
    if "copies" not in data:  # of copies that come back no tree is blind to one
        first, again = model._learned.statistic, back._learned.statistic
        first, again = (getattr(part_, "statistic", part_) for part_ in (first, again))
        scale = np.sqrt(np.diag(first.as_normal().scatter))
        scale = np.where(scale > 0, scale, 1.0)
        difference = (first.as_normal().scatter - again.as_normal().scatter) / scale[:, None] / scale
        assert np.max(np.abs(difference)) < (1e-4 if data == "float32" else 1e-9)


@EVERY
def test_rows_that_were_never_in_change_nothing(name, data):
    X, y = SETS[data]
    model = made(name).fit(X, y)
    before = pickle.dumps(model)
    other = X.assign(city="elsewhere") if hasattr(X, "assign") else X + 50
    several = pd.concat([X, X]) if hasattr(X, "assign") else np.concatenate([X, X])
    for rows, targets in ((part(other, np.arange(60)), y[:60]), (several, np.concatenate([y, y])), (X, y)):
        with pytest.raises(ValueError, match=r"never added|leave no rows|No row|was never|cannot remove|Cannot remove"):
            copied(model).forget(rows, targets)
    with pytest.raises(ValueError):
        model.forget(several, np.concatenate([y, y]))
    assert pickle.dumps(model) == before


@pytest.mark.parametrize("name", ["ClosedFormMLP", "CPNetClassifier"])
def test_a_row_with_another_label_was_never_in(name):
    model = made(name).fit(CANCER, MALIGN)
    audited = model._learned.judges.audit.x[:3]
    with pytest.raises(ValueError, match="never added"):
        model.forget(audited, 1 - model._learned.judges.audit.y[:3])
    with pytest.raises(ValueError, match="labels that are not in classes"):
        model.forget(audited, np.full(3, 7))


@pytest.mark.parametrize(("name", "data"), [case for case in CASES if case[0] != "BRMPClassifier"], ids=" ".join)
def test_a_young_stream_is_that_of_the_rows_that_remain(name, data):
    X, y = SETS[data]
    model = made(name).partial_fit(part(X, np.arange(60)), y[:60]).partial_fit(part(X, np.arange(60, 90)), y[60:90])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.forget(part(X, np.arange(40, 70)), y[40:70])
    rest = np.r_[0:40, 70:90]
    expected = made(name).partial_fit(part(X, rest), y[rest])
    if "copies" in data:  # of equal rows the last one leaves
        assert model.n_samples_seen_ == expected.n_samples_seen_
        return
    same(model, expected, X)
    with pytest.raises(ValueError, match="never added"):
        model.forget(part(X, np.arange(40, 70)), y[40:70])
    with pytest.raises(ValueError, match="leave no rows"):
        model.forget(part(X, rest), y[rest])


@ignored
@pytest.mark.parametrize("name", ["ClosedFormMLP", "CPNetClassifier", "ClosedFormMLPRegressor"])
def test_weights_leave_as_they_came(name):
    X, y = (DIABETES, COURSE) if "Regressor" in name else (CANCER, MALIGN)
    weights = np.random.default_rng(0).integers(1, 4, len(y)).astype(float)
    before = made(name).fit(X[:300], y[:300], weights[:300])
    after = copied(before).partial_fit(X[300:], y[300:], sample_weight=weights[300:])
    same(after.forget(X[300:], y[300:], sample_weight=weights[300:]), before, X)
    young = made(name).partial_fit(X[:60], y[:60]).forget(X[:9], y[:9], sample_weight=np.full(9, 0.5))
    once = made(name).partial_fit(X[:60], y[:60], sample_weight=np.r_[np.full(9, 0.5), np.ones(51)])
    same(young, once, X)
    light = copied(before).forget(X[:50], y[:50], sample_weight=weights[:50] - 0.5)
    assert light._learned.statistic.weight == pytest.approx(weights[50:300].sum() + 25)


@ignored
def test_classes_that_are_balanced_at_the_solve():
    model = made("ClosedFormMLP", class_weight="balanced", class_statistics=True).fit(CANCER[:300], MALIGN[:300])
    after = copied(model).partial_fit(CANCER[300:], MALIGN[300:]).forget(CANCER[300:], MALIGN[300:])
    same(after, model, CANCER)
    with pytest.raises(ValueError, match="needs class_statistics=True"):
        made("CPNetClassifier", class_weight="balanced").fit(CANCER, MALIGN).forget(CANCER[:9], MALIGN[:9])


def bytes_of_rows(rows):
    return [np.ascontiguousarray(row).tobytes() for row in rows]


@pytest.mark.parametrize("name", ["ClosedFormMLP", "CPNetClassifier", "ClosedFormMLPRegressor", "BRMPRegressor"])
@pytest.mark.parametrize("how", ["shard", "young"])
def test_no_bytes_of_forgotten_rows_are_left(name, how):
    rng = np.random.default_rng(5)
    X = rng.normal(size=(400, 6))
    y = X[:, 0] if "Regressor" in name else (X[:, 0] > 0).astype(int)
    if name == "BRMPRegressor":
        model = sa.BRMPRegressor(alpha=1.0)
    else:
        model = made(name)
    if how == "shard" and name != "BRMPRegressor":
        model = model.fit(X[:200], y[:200]).shard()
    model.partial_fit(X[200:300], y[200:300]).partial_fit(X[300:], y[300:])
    kept = model._learned.statistic.rows.x if name == "BRMPRegressor" else model._learned.judges.audit.x
    gone = np.flatnonzero((X[300:, None] == kept[None]).all(axis=2).any(axis=1)) + 300
    assert len(gone) > 5  # rows that were kept
    before, pieces = pickle.dumps(model), bytes_of_rows(X[gone])
    assert sum(piece in before for piece in pieces) > 5
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.forget(X[300:], y[300:])
    after = pickle.dumps(model)
    assert not any(piece in after for piece in bytes_of_rows(X[300:]))


def test_what_stays_is_said():
    with pytest.warns(sa.UnlearningWarning, match="have left traces in them, which stay: trees, layers and encodings"):
        made("ClosedFormMLP").fit(CANCER, MALIGN).forget(CANCER[:50], MALIGN[:50])
    with pytest.warns(sa.UnlearningWarning, match="levels of categories, means of targets that stand for them"):
        sa.ClosedFormMLP(20, hidden="random", random_state=0).fit(TABLE, OFTEN).forget(TABLE[:50], OFTEN[:50])
    with pytest.warns(sa.UnlearningWarning, match="hidden layers that drew rows"):
        sa.BRMPRegressor(20, hidden="rbf", alpha=1.0, random_state=0).fit(DIABETES, COURSE).forget(
            DIABETES[:50], COURSE[:50]
        )
    public = made("CPNetClassifier").fit(CANCER[:200], MALIGN[:200])
    silent = (
        sa.ClosedFormMLP(20, hidden="random", random_state=0).fit(CANCER, MALIGN),
        sa.CPNetClassifier(20, projection="random", random_state=0).fit(CANCER, MALIGN),
        public.shard().partial_fit(CANCER, MALIGN),
        sa.BRMPClassifier(20, alpha=1.0, random_state=0).fit(CANCER, MALIGN),
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for model in silent:
            model.forget(CANCER[:50], MALIGN[:50])
    merged = public.merge(public.shard().partial_fit(CANCER[200:], MALIGN[200:]))
    with pytest.warns(sa.UnlearningWarning):
        merged.forget(CANCER[200:250], MALIGN[200:250])


@ignored
def test_shards_of_copies_forget_their_own_rows():
    base = made("ClosedFormMLP").fit(CODES[:200], PARITY[:200])
    other = base.shard().partial_fit(CODES[200:], PARITY[200:])
    expected = copied(base)
    both = copied(base).merge(other)
    both.forget(CODES[200:], PARITY[200:])
    same(both, expected, CODES)
    twice = copied(base).merge(copied(base))
    with pytest.raises(ValueError, match="two fits of the same rows were merged"):
        twice.forget(CODES[:10], PARITY[:10])


def test_copies_leave_from_the_end(rng):
    """Against copies of unit length, one by one."""
    contents, targets = rng.integers(0, 3, 60).astype(np.uint64), rng.integers(0, 2, 60)
    laid = lay_copies(contents, targets, np.ones(60), 1.0, 4)
    pairs = contents * np.uint64(2) + targets.astype(np.uint64)
    shares = laid.shares(np.ones(60))
    ledger = CopyLedger.of_spread(laid, pairs).merge(CopyLedger.of_later(pairs[:6], np.ones(6), 4))
    gone = rng.permutation(60)[:25]
    left, lengths, lacking = ledger.leave(pairs[gone], contents[gone], np.ones(25))
    assert not lacking.any()
    assert_close(lengths.sum(axis=1), np.ones(25), np.float64)
    for pair in np.unique(pairs):
        later, n_gone = np.sum(pairs[:6] == pair), np.sum(pairs[gone] == pair)
        spread = shares[laid.rows[pairs[laid.rows] == pair]]  # in the order in which they lie
        expected = spread[len(spread) - max(n_gone - later, 0) :].sum(axis=0)
        found = lengths[pairs[gone] == pair].sum(axis=0)
        assert_close(found[:-1], expected, np.float64, size=1.0)
        assert found[-1] == min(later, n_gone)
    rest = np.setdiff1d(np.arange(60), gone)
    total = left.leave(np.r_[pairs[rest], pairs[:6]], np.r_[contents[rest], contents[:6]], np.ones(len(rest) + 6))
    assert not total[2].any() and len(total[0].pairs) == 0
    assert ledger.leave(pairs[:1] + np.uint64(99), contents[:1], np.ones(1))[2].all()
    assert copy.copy(ledger).merge(ledger) is None
