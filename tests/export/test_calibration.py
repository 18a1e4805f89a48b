"""The probability link and the audit rows behind it."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import softmax
from sklearn.datasets import load_iris
from sklearn.model_selection import cross_val_predict

import sklearn_analytic
from sklearn_analytic import ClosedFormMLP, CPNetClassifier
from sklearn_analytic.distributed._data_parallel import DataParallel
from sklearn_analytic.export.calibration import Link, fit_link
from sklearn_analytic.features._audit import content_hashes, judge_more, settle, take_audit
from sklearn_analytic.io._passes import ArrayBlocks

IRIS = load_iris(return_X_y=True)


def test_probabilities_are_safe_and_sum_to_one():
    scores = np.array([[1e4, 0.0, -1e4], [0.0, 0.0, 0.0]])
    np.testing.assert_allclose(Link(1.0, None).probabilities(scores), [[1, 0, 0], [1 / 3, 1 / 3, 1 / 3]])


def test_power_link_keeps_probabilities_that_are_already_right(rng):
    truth = rng.dirichlet(np.ones(3), 20_000)
    labels = (truth.cumsum(1) > rng.uniform(size=(20_000, 1))).argmax(1)
    link = fit_link(truth, labels, None)
    assert link.floor is not None
    np.testing.assert_allclose(link.probabilities(truth), truth, atol=0.06)


def test_link_minimises_the_log_loss_over_its_slope(rng):
    scores = rng.standard_normal((2000, 3))
    labels = (softmax(3 * scores, axis=1).cumsum(1) > rng.uniform(size=(2000, 1))).argmax(1)
    link = fit_link(scores, labels, None)
    assert link.floor is None
    assert abs(link.slope - 3) < 0.3


def test_weights_are_repetitions(rng):
    scores, labels = rng.standard_normal((100, 3)), rng.integers(0, 3, 100)
    weight = rng.integers(1, 4, 100)
    one = fit_link(scores, labels, weight.astype(float))
    two = fit_link(np.repeat(scores, weight, axis=0), np.repeat(labels, weight), None)
    np.testing.assert_allclose(one.slope, two.slope, rtol=1e-6)
    assert one.floor == two.floor


def test_order_of_probabilities_is_that_of_scores_below_the_floor_too(rng):
    scores = rng.uniform(-0.3, 1, (50, 4))
    for link in [Link(2.0, None), Link(2.0, 0.1)]:
        np.testing.assert_array_equal(link.probabilities(scores).argsort(1), scores.argsort(1))


@pytest.mark.parametrize("link", [Link(2.0, None), Link(2.0, 0.1), Link(2.0, None, 1e-3), Link(1.5, 0.01, 1e-308)])
def test_log_probabilities_are_those_of_the_probabilities_and_finite(rng, link):
    scores = rng.uniform(-0.3, 1.3, (50, 4))
    np.testing.assert_allclose(link.log_probabilities(scores), np.log(link.probabilities(scores)), rtol=1e-9)
    far = np.array([[1e4, 0.0, -1e4], [1e300, -1e300, 0.0]])
    assert np.isfinite(link.log_probabilities(far)).all() and np.isfinite(link.probabilities(far)).all()


LABELS = np.column_stack([IRIS[1] == 1, IRIS[0][:, 0] > 6]).astype(int)


@pytest.mark.parametrize("model", [ClosedFormMLP(20, random_state=0), CPNetClassifier(20, random_state=0)])
def test_log_probabilities_are_predicted_wherever_probabilities_are(model):
    found = cross_val_predict(model, *IRIS, method="predict_log_proba", cv=3)
    np.testing.assert_allclose(np.exp(found).sum(axis=1), 1)
    model.fit(*IRIS)
    np.testing.assert_allclose(model.predict_log_proba(IRIS[0]), np.log(model.predict_proba(IRIS[0])), rtol=1e-9)


def test_log_probabilities_of_labels_are_those_of_each():
    model = ClosedFormMLP(20, random_state=0).fit(IRIS[0], LABELS)
    found = model.predict_log_proba(IRIS[0])
    assert found.shape == LABELS.shape
    np.testing.assert_allclose(found, np.log(model.predict_proba(IRIS[0])), rtol=1e-9)


def test_whatever_has_probabilities_has_their_logarithms():
    kinds = [getattr(sklearn_analytic, name) for name in sklearn_analytic.__all__]
    with_probabilities = [kind for kind in kinds if hasattr(kind, "predict_proba")]
    assert len(with_probabilities) >= 6
    assert all(hasattr(kind, "predict_log_proba") for kind in with_probabilities)
    assert hasattr(DataParallel, "predict_log_proba")


@given(seed=st.integers(0, 500), kind=st.sampled_from(["continuous", "binary"]), classes=st.booleans())
def test_audit_does_not_see_order_or_how_weights_are_written(seed, kind, classes):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((60, 2)) if kind == "continuous" else rng.integers(0, 2, (60, 2)).astype(float)
    y, weight = rng.integers(0, 3, 60), rng.integers(0, 3, 60)
    y = y if classes else y[:, None] / 3
    weight[:4] = 1

    def judged(rows, w):
        return settle(ArrayBlocks(X[rows], y[rows], w, 7), y[rows], w, 0)

    (contents, one), (_, two) = (
        judged(np.arange(60), weight.astype(float)),
        judged(rng.permutation(np.repeat(np.arange(60), weight)), None),
    )
    assert contents.are_draws == (kind == "binary")
    for name in ("x", "y", "weights", "hashes"):
        np.testing.assert_array_equal(getattr(one.audit, name), getattr(two.audit, name))
    if contents.are_draws:
        np.testing.assert_array_equal(one.audit.folds, two.audit.folds)


def test_every_class_has_audit_rows_and_counts_as_in_all_rows(rng):
    X, y = rng.standard_normal((400, 2)), (np.arange(400) < 9).astype(int)
    _, judged = settle(ArrayBlocks(X, y, None, 100), y, None, 0)
    audit = judged.audit
    assert np.sum(audit.y == 1) >= 4
    assert np.sum(judged.building[y == 1] > 0) >= 5
    importance = audit.importance(np.eye(2)[audit.y], np.array([391, 9]) / 400)
    assert np.sum(importance[audit.y == 1]) / importance.sum() == pytest.approx(9 / 400)


def test_equal_rows_of_two_blocks_are_one_in_the_audit(rng):
    X, y = rng.standard_normal((40, 2)), rng.standard_normal((40, 1))
    both = np.concatenate([X, X]), np.concatenate([y, y + 1])  # every row with two targets
    contents, first = settle(ArrayBlocks(*both, None, 100), both[1], None, 0)
    more = judge_more(contents, ArrayBlocks(X, y + 1, None, 100), y + 1, None, 80).audit  # the second again
    merged = first.audit.merge(more, 1000)
    distinct = np.unique(np.column_stack([merged.x, merged.y]), axis=0)
    assert len(distinct) == len(merged.x)
    assert merged.weights.sum() == len(first.audit.x) + 40


def test_units_of_targets_and_of_columns_do_not_choose_rows(rng):
    X, y = rng.standard_normal((200, 3)), rng.standard_normal((200, 1))

    def chosen(X, y):
        return settle(ArrayBlocks(X, y, None, 100), y, None, 0)[1].building

    expected = chosen(X, y)
    for other, targets in [(1024 * X, y), (X, 1e6 + 3 * y), (X.astype(np.float32), y), (X / 4, -y)]:
        np.testing.assert_array_equal(chosen(other, targets), expected)


def test_merged_audits_hold_the_smallest_hashes_of_all(rng):
    X, y = rng.standard_normal((40, 2)), np.zeros((40, 1))
    hashes = content_hashes(X[:, 0], y)
    parts = [take_audit(X[part], y[part], None, hashes[part]) for part in (slice(0, 25), slice(15, 40))]
    merged = parts[0].merge(parts[1], 10)
    np.testing.assert_array_equal(merged.hashes, np.sort(hashes)[:10])
    shared = np.isin(merged.hashes, hashes[15:25])
    np.testing.assert_array_equal(merged.weights, np.where(shared, 2.0, 1.0))


def test_equal_rows_with_other_labels_are_other_rows():
    hashes = content_hashes(np.zeros(3), np.array(["a", "b", "a"]))
    assert hashes[0] == hashes[2] != hashes[1]


def test_few_rows_that_are_all_right_do_not_make_a_steep_link(rng):
    labels = np.arange(40) % 2
    scores = np.where(np.eye(2)[labels] > 0, 0.8, 0.2) + 0.02 * rng.standard_normal((40, 2))
    few, many = (fit_link(np.tile(scores, (n, 1)), np.tile(labels, n), None) for n in (1, 200))
    assert few.probabilities(scores).max() < 0.99 < many.probabilities(scores).max()
