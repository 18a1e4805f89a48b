"""Feedback matrices of torch networks: drawn, refreshed from weights and slopes, learned."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

from sklearn_analytic.nn._feedback import product_feedback  # noqa: E402
from sklearn_analytic.nn._recipe import FeedbackRecipe  # noqa: E402
from sklearn_analytic.nn._torch_feedback import output_tangent  # noqa: E402
from sklearn_analytic.nn._torch_networks import dense_network  # noqa: E402
from sklearn_analytic.nn._torch_stages import Watch, run_segments, split  # noqa: E402
from tests.nn.test_torch_schemes import NETWORKS, C, D, N, make_execution, output_error  # noqa: E402


def test_product_feedback_is_that_of_the_cpu():
    network = NETWORKS["dense"]()
    execution, _ = make_execution(network, "dfa", FeedbackRecipe("product"))
    layers = [(m.weight.detach().numpy().T, m.bias.detach().numpy()) for m in network if isinstance(m, nn.Linear)]
    for found, expected in zip(execution.feedback.matrices, product_feedback(layers), strict=True):
        np.testing.assert_allclose(found.numpy(), expected)


def test_refreshed_feedback_equals_the_mean_field_rule():
    network = NETWORKS["dense"]()
    execution, placed = make_execution(network, "dfa", FeedbackRecipe("refresh", interval=2))
    execution.epoch(placed, np.arange(N), [0.1])
    first = [b.numpy().copy() for b in execution.feedback.matrices]
    execution.epoch(placed, np.arange(N), [0.1])  # not due
    for a, b in zip(first, execution.feedback.matrices, strict=True):
        np.testing.assert_array_equal(a, b.numpy())
    w = {k: network[k].weight.detach().numpy().T.copy() for k in (0, 2, 4, 6)}
    h = [m.detach().numpy() for m in run_segments(execution.segments, placed[0])[1]]
    execution.epoch(placed, np.arange(N), [0.0])  # due
    b3 = w[6].T
    b2 = (b3 * (1 - h[2] ** 2).mean(0)) @ w[4].T
    b1 = (b2 * (1 - h[1] ** 2).mean(0)) @ w[2].T
    for found, expected in zip(execution.feedback.matrices, (b1, b2, b3), strict=True):
        np.testing.assert_allclose(found.numpy(), expected, atol=1e-12)


def test_refresh_leaves_convolutions_their_random_matrices():
    execution, placed = make_execution(NETWORKS["image"](), "dfa", FeedbackRecipe("refresh"))
    before = [b.clone() for b in execution.feedback.matrices]
    execution.epoch(placed, np.arange(N), [0.1])
    same = [torch.equal(a, b) for a, b in zip(before, execution.feedback.matrices, strict=True)]
    assert same[:3] == [True, True, False]  # the last one was W_L^T already


def test_dkp_takes_adam_steps_along_error_times_activation():
    execution, placed = make_execution(NETWORKS["dense"](), "dfa", FeedbackRecipe("dkp", rate=0.01, decay=0.0))
    before = execution.feedback.matrices[2].numpy().copy()
    _, outputs = run_segments(execution.segments, placed[0])
    e = output_error(outputs[-1].detach().numpy())
    execution.epoch(placed, np.arange(N), [0.0])
    gradient = e.T @ outputs[2].detach().numpy()
    moved = before - execution.feedback.matrices[2].numpy()
    np.testing.assert_allclose(moved, 0.01 * gradient / (np.abs(gradient) + 1e-8), rtol=1e-6)  # Adam's first step


@pytest.mark.parametrize("name", NETWORKS)
def test_forward_mode_tangent_equals_a_difference(name):
    execution, placed = make_execution(NETWORKS[name](), "dfa", FeedbackRecipe("learned"))
    network, x = execution.network, placed[0]
    network.train()
    buffers = [b.clone() for b in network.buffers()]
    with torch.no_grad():
        _, outputs = run_segments(execution.segments, x)
        for buffer, value in zip(network.buffers(), buffers, strict=True):
            buffer.copy_(value)
        noises = [torch.randn(h.shape, dtype=h.dtype) for h in outputs[:-1]]
        jv = output_tangent(execution.segments, x, noises)
        assert all(torch.equal(a, b) for a, b in zip(network.buffers(), buffers, strict=True))
        ends = []
        for size in (1e-6, -1e-6):
            h = x
            for segment, noise in zip(execution.segments[:-1], noises, strict=True):
                h = segment(h) + size * noise
            ends.append(execution.segments[-1](h))
    torch.testing.assert_close(jv, (ends[0] - ends[1]) / 2e-6, rtol=1e-4, atol=1e-6)


def test_learned_feedback_approaches_the_mean_jacobian():
    network = dense_network((D, 4, C), "tanh")
    execution, placed = make_execution(network, "dfa", FeedbackRecipe("learned", rate=0.02))
    target = network[2].weight.detach().clone()  # the last layer's Jacobian is its weight
    before = (execution.feedback.matrices[0] - target).norm()
    execution.epoch(placed, np.tile(np.arange(N), 300), np.zeros(300))
    assert (execution.feedback.matrices[0] - target).norm() < 0.5 * before


@pytest.mark.parametrize("after", [nn.BatchNorm1d, nn.LayerNorm, lambda n: nn.Dropout(0.5)], ids=["bn", "ln", "drop"])
def test_slopes_are_those_of_the_activation_itself(after):
    network = nn.Sequential(
        *(nn.Linear(D, 8), nn.Tanh(), nn.Linear(8, 7), nn.Tanh(), after(7)), nn.Linear(7, 6), nn.Tanh(), nn.Linear(6, C)
    )
    execution, placed = make_execution(network, "dfa", FeedbackRecipe("refresh", interval=1))
    x = placed[0]
    network.train()
    seen = []
    handle = network[3].register_forward_hook(lambda module, x, h: seen.append(h.detach()))
    run_segments(execution.segments, x, watches=execution.feedback.watches())
    handle.remove()
    execution.feedback.prepare()
    below = execution.feedback.matrices[1] * (1 - seen[0].square()).mean(0)
    torch.testing.assert_close(execution.feedback.matrices[0], below @ network[2].weight.detach())


def test_unknown_slopes_count_as_ones():
    network = nn.Sequential(nn.Linear(D, 8), nn.Tanh(), nn.Linear(8, 7), nn.GELU(), nn.Linear(7, C)).double()
    execution, placed = make_execution(network, "dfa", FeedbackRecipe("refresh"))
    execution.epoch(placed, np.arange(N), [0.0])
    expected = (network[4].weight @ network[2].weight).detach()
    torch.testing.assert_close(execution.feedback.matrices[0], expected)


def test_slopes_keep_no_graph():
    seen = []
    stage = split(nn.Sequential(nn.Linear(D, 8), nn.Tanh(), nn.Dropout(0.5)))[0]
    stage(torch.ones(2, D), Watch(slope=seen.append))
    assert seen[0].grad_fn is None and seen[0].shape == (2, 8)
