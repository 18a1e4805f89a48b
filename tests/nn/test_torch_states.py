"""Snapshots: moments go on, constants are those of the new recipe."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from sklearn_analytic.nn._recipe import FeedbackRecipe, KFACRecipe, Optimizer  # noqa: E402
from sklearn_analytic.nn._torch_networks import dense_network, state_arrays  # noqa: E402
from tests.layerwise.test_torch_faults import C, D, N, assert_same, between, make_execution, make_rows  # noqa: E402

CHANGED = {
    "alpha": (Optimizer("sgd"), Optimizer("sgd", alpha=0.5)),
    "momentum": (Optimizer("sgd"), Optimizer("sgd", momentum=0.1)),
    "nesterov": (Optimizer("sgd"), Optimizer("sgd", nesterov=False)),
    "betas": (Optimizer(), Optimizer(beta_1=0.2, beta_2=0.5)),
    "epsilon": (Optimizer(), Optimizer(epsilon=0.1)),
}


@pytest.mark.parametrize("name", CHANGED)
def test_constants_of_the_optimiser_are_those_of_the_new_recipe(name):
    execution = make_execution(between(), optimizer=CHANGED[name][0])
    placed = execution.place(make_rows())
    execution.epoch(placed, np.arange(N), [0.1])
    state = execution.snapshot()
    fresh = make_execution(between(), optimizer=CHANGED[name][1])
    fresh.restore(state)
    moments = zip(*(e.optimizer.state_dict()["state"].values() for e in (execution, fresh)), strict=True)
    for one, other in moments:
        for key, value in one.items():
            torch.testing.assert_close(other[key], value)
    going_on = make_execution(between(), optimizer=CHANGED[name][0])
    going_on.restore(state)
    for e in (fresh, going_on):  # moments that go on, and other constants: other weights, if the constants are used
        e.epoch(e.place(make_rows()), np.arange(N), [0.1])
    a, b = (np.concatenate([w.ravel() for w in state_arrays(e.network).values()]) for e in (fresh, going_on))
    assert np.abs(a - b).max() > 1e-4


def test_constants_of_learned_feedback_are_those_of_the_new_recipe():
    executions = [
        make_execution(between(), scheme="dfa", feedback=FeedbackRecipe("dkp", rate=rate)) for rate in (0.1, 0.2)
    ]
    for execution in executions:
        placed = execution.place(make_rows())
        execution.epoch(placed, np.arange(N), [0.1])
    executions[1].restore(executions[0].snapshot())
    before = [m.clone() for m in executions[0].feedback.matrices]
    for execution in executions:
        execution.epoch(execution.place(make_rows()), np.arange(N), [0.0])
    slow, fast = ([m - b for m, b in zip(e.feedback.matrices, before, strict=True)] for e in executions)
    for one, other in zip(slow, fast, strict=True):
        torch.testing.assert_close(other, 2 * one, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        ({"optimizer": Optimizer("adam")}, "optimizer='adam' cannot go on from a state of optimizer='sgd'"),
        ({"kfac": KFACRecipe()}, "preconditioner='kfac' cannot go on from a state of preconditioner=None"),
        ({"scheme": "dfa"}, "scheme='dfa' cannot go on from a state of scheme='backprop'"),
    ],
    ids=["optimizer", "kfac", "scheme"],
)
def test_states_of_another_optimiser_are_refused_before_they_change_anything(choices, message):
    one, other = make_execution(between()), make_execution(dense_network((D, 8, C), "identity"), **choices)
    for execution in (one, other):
        placed = execution.place(make_rows())
        execution.epoch(placed, np.arange(N), [0.1])
    before = state_arrays(other.network)
    with pytest.raises(ValueError, match=message):
        other.restore(one.snapshot())
    assert_same(state_arrays(other.network), before)
