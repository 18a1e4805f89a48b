"""Members of an ensemble of trees: which kind of trees, and how many, is read off folds that they do not see."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from sklearn_analytic.features import GrowthPlan, fit_leaf_scores
from sklearn_analytic.features._members import KINDS, grow_members

PLAIN, MIDDLE, FINE = KINDS[False]
MASSES = np.array([[100.0, 300.0], [120.0, 280.0], [90.0, 310.0], [110.0, 290.0]])


class Told:
    """A growth whose errors are told beforehand."""

    def __init__(self, plan, apart, seen):
        self.plan, self.apart, self.seen, self.errors = plan, apart, seen, []
        self.residuals, self.weights, self.watched = np.zeros((2, 1)), np.ones(2), np.zeros(2)

    def __len__(self):
        return len(self.errors)

    def grow(self, n_trees):
        stop = min(len(self) + n_trees, self.plan.n_trees)
        self.errors += [(self.apart[t], self.seen) for t in range(len(self), stop)]

    def forest(self, n_trees):
        return n_trees, self.plan


def told(rng, **floors):
    """Curves that fall to a floor and rise again, of every kind and member; and how members start on them."""
    floors = {32: floors.get("plain", 9.0), 128: floors.get("middle", 9.0), 512: floors.get("fine", 9.0)}
    curves = {}

    def start(member, plan):
        key = plan.n_leaves, member
        if key not in curves:
            t = np.arange(300)
            valley = 20 + 5 * member + 0.01 * rng.random()
            curve = (floors[plan.n_leaves] + 0.002 * (t - valley) ** 2 / (1 + 0.01 * t)) * MASSES[member, 0]
            curves[key] = Told(plan, curve, MASSES[member, 1])
        curves[key].plan = plan
        return curves[key]

    return start, curves


@pytest.mark.parametrize("best", [PLAIN, MIDDLE, FINE])
def test_the_kind_of_least_error_goes_on(rng, best):
    floors = {"plain": 5.0, "middle": 4.0, "fine": 3.0} if best is FINE else {"plain": 5.0, "middle": 6.0}
    name = {32: "plain", 128: "middle", 512: "fine"}[best.n_leaves]
    start, _ = told(rng, **floors | {name: 1.0})
    members, _ = grow_members(start, 4, MASSES)
    assert all(plan == replace(best, copy=np.inf) for _, plan in members)


def test_many_leaves_are_tried_only_where_more_are_better_than_few(rng):
    start, curves = told(rng, plain=1.0)
    grow_members(start, 4, MASSES)
    assert {n_leaves for n_leaves, _ in curves} == {32, 128}


def test_few_rows_that_fill_no_more_leaves_try_fewer_kinds(rng):
    start, curves = told(rng, plain=1.0)
    grow_members(start, 4, MASSES / 10)
    assert {n_leaves for n_leaves, _ in curves} == {32, 512}


def test_what_rows_have_left_over_speaks_for_a_kind(rng):
    start, _ = told(rng, plain=1.0, middle=1.1)
    for member in range(4):
        start(member, MIDDLE).seen = 2.0 * MASSES[member, 1]  # it has more to learn: .3 of it counts
    members, _ = grow_members(start, 4, MASSES)
    assert all(plan.n_leaves == 128 for _, plan in members)


def test_a_member_keeps_as_many_trees_as_the_others_want(rng):
    start, curves = told(rng, plain=1.0)
    members, _ = grow_members(start, 4, MASSES)
    curve = np.array([curves[32, member].apart for member in range(4)])
    grown = len(curves[32, 0])
    assert grown < 60  # they stop, once the error on all folds falls no more
    for member, (n_trees, _) in enumerate(members):
        others = np.delete(curve[:, :grown], member, axis=0).sum(axis=0)
        assert n_trees == 1 + np.argmin(others) != 1 + np.argmin(curve[member, :grown])


def test_its_own_fold_has_no_say_in_the_kind(rng):
    start, _ = told(rng, plain=1.0, middle=1.1)
    for member in range(4):
        start(member, MIDDLE)
    start(2, MIDDLE).apart = start(2, MIDDLE).apart - 0.5 * MASSES[2, 0]  # much better, on fold 2 alone
    members, _ = grow_members(start, 4, MASSES)
    assert [plan.n_leaves for _, plan in members] == [128, 128, 32, 128]


def test_trees_without_judges_are_some(rng):
    start, _ = told(rng, plain=1.0)
    members, _ = grow_members(start, 4, MASSES * [0, 1])
    assert [n_trees for n_trees, _ in members] == [30] * 4


def test_a_given_plan_is_not_questioned(rng):
    rows = rng.standard_normal((90, 2)), rng.standard_normal((90, 1)), np.ones(90)
    scores = fit_leaf_scores(*rows, np.random.default_rng(0), GrowthPlan(n_trees=7, n_leaves=4))
    assert scores.sizes == (7, 7, 7, 7)


def test_spread_is_the_variance_between_members(rng):
    X = rng.standard_normal((300, 3))
    Y = np.sin(2 * X[:, :1]) + X[:, 1:2] * X[:, 2:] + 0.3 * rng.standard_normal((300, 1))
    scores = fit_leaf_scores(X, Y, np.ones(300), np.random.default_rng(0))
    new = rng.standard_normal((2000, 3))
    alone = np.array([scores.held_out(new, np.full(2000, member)) for member in range(4)])
    truth = float(alone.var(axis=0, ddof=1).sum(axis=1).mean())
    assert 0.5 * truth < scores.spread < 2 * truth
    assert scores.averaged_out == 0.75 * scores.spread


def test_noise_is_told_from_signal_on_blind_folds():
    gaps = []
    for seed in range(10):
        rng = np.random.default_rng(seed)
        X, y = rng.standard_normal((1000, 5)), rng.permutation(np.arange(1000) % 2)
        scores = fit_leaf_scores(X, np.eye(2)[y], np.ones(1000), rng)
        gaps.append(np.mean(scores.held_out(X).argmax(axis=1) == y) - 0.5)
    assert abs(np.mean(gaps)) < 0.015  # within two standard errors of ten tables


def test_models_from_before_members_differed_are_read(rng):
    X = rng.standard_normal((80, 2))
    scores = fit_leaf_scores(X, X[:, :1], np.ones(80), np.random.default_rng(0), GrowthPlan(n_trees=5))
    old = SimpleNamespace(**vars(scores))
    for name in ("sizes", "spread"):
        delattr(old, name)
    again = object.__new__(type(scores))
    vars(again).update(vars(old))
    np.testing.assert_array_equal(again.held_out(X), scores.held_out(X))
    assert again.averaged_out == 0 and replace(scores, sizes=None).sizes is None
