"""Schedules at their first, last and warm-up steps; the loop that keeps the best weights."""

import numpy as np
import pytest

from sklearn_analytic.nn import Plan, Rows, train
from sklearn_analytic.nn._training import rates


def test_cosine():
    found = rates("cosine", 2.0, 0, 100, 100)
    assert found[0] == 2.0 and found[50] == pytest.approx(1.0)
    assert found[-1] == pytest.approx(1 + np.cos(np.pi * 0.99))
    np.testing.assert_allclose(np.concatenate([rates("cosine", 2.0, k, 10, 100) for k in range(0, 100, 10)]), found)


def test_step_and_constant():
    np.testing.assert_allclose(rates("step", 1.0, 0, 4, 4), [1, 1, 0.1, 0.01])
    np.testing.assert_array_equal(rates("constant", 0.5, 3, 4, 10), [0.5] * 4)


@pytest.mark.parametrize("name", ["constant", "cosine", "step"])
@pytest.mark.parametrize("warmup", [1, 3, 10, 2.5, 1.01])
def test_warmup_rises_to_the_rate_and_never_above(name, warmup):
    found = rates(name, 1.0, 0, 20, 20, warmup)
    assert found.max() <= 1.0
    assert found[0] == pytest.approx(1 / max(warmup, 1))
    assert np.all(np.diff(found[: int(warmup)]) > 0)


class Scripted:
    """An execution whose weight is the number of epochs, and whose losses are given."""

    def __init__(self, losses):
        self.losses, self.weight, self.rates = iter(losses), 0, []

    def place(self, rows):
        return rows

    def epoch(self, placed, order, steps):
        assert sorted(order) == list(range(len(placed.x)))
        self.rates.append(list(steps))
        self.weight += 1
        return next(self.losses)

    def is_finite(self):
        return True

    def snapshot(self):
        return self.weight

    def restore(self, snapshot):
        self.weight = snapshot


def run(losses, scores=None, **plan):
    execution = Scripted(losses)
    given = iter(scores or [])
    rows = Rows(np.zeros((10, 1)), np.zeros(10, np.int64))
    plan = Plan(**{"n_epochs": 6, "batch_size": 4, "rate": 1.0} | plan)
    score = None if scores is None else lambda: next(given)
    return execution, train(execution, rows, plan, np.random.default_rng(0), score=score)


def test_the_best_weights_are_kept():
    execution, history = run([1.0] * 6, [0.1, 0.5, 0.4, 0.50001, 0.2, 0.1])
    assert execution.weight == 4 and history.best_epoch == 3 and history.best_score == 0.50001
    assert [len(steps) for steps in execution.rates] == [3] * 6


def test_patience_counts_epochs_without_a_real_gain():
    execution, history = run([1.0] * 6, [0.1, 0.5, 0.4, 0.50001, 0.2, 0.6], patience=3, tol=1e-3)
    assert len(history.scores) == 5 and execution.weight == 4


def test_a_score_that_is_no_number_chooses_nothing():
    execution, history = run([1.0] * 6, [np.nan] * 6)
    assert execution.weight == 6 and history.best_epoch == -1


def test_divergence_goes_back_an_epoch():
    execution, history = run([1.0, 0.5, np.inf])
    assert history.failure == "diverged" and execution.weight == 2 and history.losses == [1.0, 0.5]


def test_warmup_is_a_share_of_all_steps():
    execution, _ = run([1.0] * 6, warmup=0.5)
    flat = np.concatenate(execution.rates)
    np.testing.assert_allclose(flat[:9], np.arange(1, 10) / 9)
    np.testing.assert_allclose(flat[9:], 1)
