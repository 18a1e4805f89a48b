"""The probability link and the audit rows behind it."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import softmax

from sklearn_analytic._audit import audit_size, choose_audit, content_hashes, take_audit
from sklearn_analytic._calibration import Link, fit_link


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


@given(seed=st.integers(0, 500))
def test_audit_does_not_see_order_blocks_or_how_weights_are_written(seed):
    rng = np.random.default_rng(seed)
    X, y, weight = rng.standard_normal((60, 2)), rng.integers(0, 3, 60), rng.integers(0, 3, 60)
    weight[:4] = 1
    keys = X @ np.array([1.0, 2.0])

    def audit(rows, w):
        hashes = content_hashes(keys[rows], y[rows])
        chosen = hashes <= choose_audit(hashes, w)
        chosen &= True if w is None else w > 0
        return take_audit(X[rows][chosen], y[rows][chosen], None if w is None else w[chosen], hashes[chosen])

    one = audit(np.arange(60), weight)
    two = audit(rng.permutation(np.repeat(np.arange(60), weight)), None)
    np.testing.assert_array_equal(one.x, two.x)
    np.testing.assert_array_equal(one.y, two.y)
    np.testing.assert_array_equal(one.weights, two.weights)
    assert len(one.x) == audit_size(np.sum(weight > 0))


def test_merged_audits_hold_the_smallest_hashes_of_all(rng):
    X, y = rng.standard_normal((40, 2)), np.zeros(40)
    hashes = content_hashes(X[:, 0], y)
    parts = [take_audit(X[part], y[part], None, hashes[part]) for part in (slice(0, 25), slice(15, 40))]
    merged = parts[0].merge(parts[1], 10)
    np.testing.assert_array_equal(merged.hashes, np.sort(hashes)[:10])
    shared = np.isin(merged.hashes, hashes[15:25])
    np.testing.assert_array_equal(merged.weights, np.where(shared, 2.0, 1.0))


def test_equal_rows_with_other_labels_are_other_rows():
    hashes = content_hashes(np.zeros(3), np.array(["a", "b", "a"]))
    assert hashes[0] == hashes[2] != hashes[1]
