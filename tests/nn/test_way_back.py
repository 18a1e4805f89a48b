"""The state that training goes back to: the best epoch's, the last good one's, or the first; never two at a time."""

import math

import numpy as np
import pytest

from sklearn_analytic.nn import Plan, Rows, train

ROWS = Rows(np.zeros((4, 1)), np.zeros(4, np.int64))


class Counter:
    """An execution whose weight is the number of its epochs; it has a loss for each of them."""

    def __init__(self, losses):
        self.losses, self.weight, self.alive, self.most, self.taken = losses, 0, 0, 0, []

    def place(self, rows):
        return rows

    def epoch(self, placed, order, rates):
        self.weight += 1
        return self.losses[self.weight - 1]

    def is_finite(self):
        return True

    def snapshot(self):
        self.taken.append(self.weight)
        return State(self)

    def restore(self, state):
        self.weight = state.weight


class State:
    """A snapshot that knows how many there are."""

    def __init__(self, owner):
        self.owner, self.weight = owner, owner.weight
        owner.alive += 1
        owner.most = max(owner.most, owner.alive)

    def __del__(self):
        self.owner.alive -= 1


@pytest.mark.parametrize(
    ("losses", "scores", "weight", "taken"),
    [
        ([3.0, 2.0, 1.0], None, 3, [0, 1, 2]),
        ([3.0, math.nan], None, 1, [0, 1]),
        ([math.nan], None, 0, [0]),
        ([3.0, 2.0, 1.0, 0.5], [0.1, 0.5, 0.4, 0.3], 2, [0, 1, 2]),
        ([3.0, 2.0, 1.0], [0.1, 0.2, 0.3], 3, [0, 1, 2]),
        ([3.0, 2.0, math.nan], [0.4, 0.2], 1, [0, 1]),
        ([3.0, 2.0], [math.nan, math.nan], 2, [0, 1]),
    ],
)
def test_training_goes_back_by_one_state(losses, scores, weight, taken):
    ex = Counter(losses)
    score = None if scores is None else lambda: scores[ex.weight - 1]
    train(ex, ROWS, Plan(len(losses), 4, 0.1), np.random.default_rng(0), score=score)
    assert (ex.weight, ex.taken, ex.most) == (weight, taken, 1)


@pytest.mark.parametrize(("scores", "weight"), [(None, 2), ([0.3, 0.1], 1)])
def test_an_interrupt_after_an_epoch_keeps_what_was_best(scores, weight):
    def interrupt(epoch, history):
        if epoch == 1:
            raise KeyboardInterrupt

    ex = Counter([3.0, 2.0, 1.0])
    score = None if scores is None else lambda: scores[ex.weight - 1]
    history = train(ex, ROWS, Plan(3, 4, 0.1), np.random.default_rng(0), score=score, after_epoch=interrupt)
    assert history.failure == "interrupted" and ex.weight == weight
