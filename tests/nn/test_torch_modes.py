"""Modes that a caller left on: none changes what is computed."""

import copy
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

from sklearn_analytic.nn._recipe import FeedbackRecipe, KFACRecipe  # noqa: E402
from sklearn_analytic.nn._torch_checks import check_network  # noqa: E402
from sklearn_analytic.nn._torch_modes import own_randomness  # noqa: E402
from sklearn_analytic.nn._torch_networks import (  # noqa: E402
    Forward,
    dense_network,
    load_state,
    recurrent_network,
    state_arrays,
    trainable_copy,
)
from tests.layerwise.test_torch_faults import (  # noqa: E402
    C,
    D,
    Noise,
    assert_same,
    between,
    make_execution,
    make_rows,
    trained,
)

AMBIENT = {
    "no_grad": torch.no_grad,
    "set_grad_enabled": lambda: torch.set_grad_enabled(False),
    "inference": torch.inference_mode,
    "autocast": lambda: torch.autocast("cpu", torch.bfloat16),
}


@pytest.mark.parametrize("ambient", AMBIENT)
@pytest.mark.parametrize(
    "choices", [{}, {"kfac": KFACRecipe()}, {"scheme": "dfa"}, {"precision": "bfloat16"}], ids=" ".join
)
def test_ambient_modes_change_nothing(ambient, choices):
    network = between(nn.ReLU())
    alone = copy.deepcopy(network)
    expected = trained(alone, **choices)
    with AMBIENT[ambient]():
        found = trained(network, **choices)
    assert_same(found, expected)


@pytest.mark.parametrize("ambient", AMBIENT)
def test_ambient_modes_change_no_measurement(ambient):
    def measured():
        network = dense_network((D, 8, C), "relu")
        execution = make_execution(network, scheme="dfa", feedback=FeedbackRecipe("random"), precision="float32")
        execution.place(make_rows())
        state = execution.snapshot()
        execution.restore(state)
        rows = make_rows()
        return execution.alignment(rows.x, rows.y), execution.activation_bytes(), execution.outputs(rows.x).tolist()

    expected = measured()
    with AMBIENT[ambient]():
        assert measured() == expected
    assert 0 < abs(expected[0][0]) < 1


@pytest.mark.parametrize("ambient", AMBIENT)
def test_networks_made_and_read_under_ambient_modes(ambient):
    with AMBIENT[ambient]():
        made = [dense_network((D, 8, C), "relu"), recurrent_network(4, D, (5,), (), C), trainable_copy(between())]
        for network in made:
            for dtype in (np.float64, np.float32):  # a change of dtype makes new tensors
                load_state(network, {k: a.astype(dtype) for k, a in state_arrays(network).items()})
    for network in made:
        assert not any(p.is_inference() for p in network.parameters())
        make_execution(network, precision="float32")
    x = np.ones((2, D), np.float32)
    expected = Forward(made[2], "cpu").outputs(x)
    with AMBIENT[ambient]():
        np.testing.assert_array_equal(Forward(made[2], "cpu").outputs(x), expected)


def test_a_network_made_under_inference_mode_needs_a_copy():
    with torch.inference_mode():
        network = between()
    with pytest.raises(ValueError, match=r"inference_mode.*copy.deepcopy"):
        make_execution(network)
    make_execution(trainable_copy(network))


def test_random_numbers_of_the_caller_are_left_alone():
    noise = Noise()
    network = between(noise)
    state = torch.get_rng_state()
    check_network(network, D, C)
    trained(network)
    assert torch.equal(state, torch.get_rng_state())
    assert noise.drawn


def test_networks_in_several_threads_draw_what_each_draws_alone():
    """Torch's random state is that of the process: without turns a thread draws the numbers of another one."""

    def draw(seed):
        drawn = []
        for _ in range(20):
            with own_randomness(torch.device("cpu"), seed):
                drawn.append(torch.rand(4))
                time.sleep(1e-4)  # the other threads come in between
                drawn.append(torch.rand(4))
        return torch.stack(drawn)

    state = torch.get_rng_state()
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(draw, range(4)))
    assert torch.equal(state, torch.get_rng_state())
    for seed, drawn in enumerate(found):
        assert torch.equal(drawn, draw(seed))
