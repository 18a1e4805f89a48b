"""The time per batch of a schedule, equation (11) of docs/theory/decoupled.md, and schedules that are one program."""

import numpy as np
import pytest

from sklearn_analytic.decoupled.pipeline import PipelineSchedule
from sklearn_analytic.decoupled.simulation import ModuleCosts, simulate


def seconds_per_batch(rule, costs, period=1):
    """In the steady state of the model, whose pattern repeats after ``period`` batches."""
    few, many = (simulate(rule, costs, n)["end"].max() for n in (120, 120 + 4 * period))
    return (many - few) / (4 * period)


def slowest_cycle(rule, costs):
    """Equation (11): the largest mean over the ways up from module i to j and back; and how many batches it is over."""
    n, transfer = len(costs), costs[0].transfer
    lags = [rule.lag(n - 1 - k) for k in range(n)]
    seconds = [c.forward * (1 + rule.recomputes(n - 1 - k)) + c.backward for k, c in enumerate(costs)]
    ways = [
        (sum(seconds[i : j + 1]) + 2 * (j - i) * transfer, lags[i] - lags[j] + 1) for i in range(n) for j in range(i, n)
    ]
    return max((way / batches, batches) for way, batches in ways)


@pytest.mark.parametrize("transfer", [0.0, 0.4, 1.5])
@pytest.mark.parametrize("forward_first", [False, True])
@pytest.mark.parametrize("schedule", ["backprop", "ddg", "fdg"])
def test_time_per_batch_is_the_slowest_cycle(schedule, forward_first, transfer):
    rng = np.random.default_rng(0)
    for n_modules in (1, 2, 3, 5):
        for recompute in (False, True):
            rule = PipelineSchedule(schedule, forward_first, recompute=recompute)
            costs = [ModuleCosts(*rng.uniform(0.3, 2, 2), transfer=transfer) for _ in range(n_modules)]
            expected, period = slowest_cycle(rule, costs)
            assert seconds_per_batch(rule, costs, period) == pytest.approx(expected)


@pytest.mark.parametrize("n_modules", [2, 3, 4, 8])
def test_speed_ups_of_equal_modules(n_modules):
    costs = [ModuleCosts(1.0, 2.0)] * n_modules
    whole = 3.0 * n_modules
    for rule, speed_up in (
        (PipelineSchedule("backprop"), 1),
        (PipelineSchedule("fdg"), n_modules),
        (PipelineSchedule("fdg", forward_first=True), n_modules),
        (PipelineSchedule("ddg", forward_first=True), n_modules),
        (PipelineSchedule("ddg"), n_modules / 2),  # backward first, modules wait for each other
        (PipelineSchedule("dtrp", recompute=True), 0.75 * n_modules),
    ):
        assert whole / seconds_per_batch(rule, costs) == pytest.approx(speed_up)
    layers = 1 / (n_modules - 1 + 4 / 3)  # the last module does not run twice, and gets a third more
    shares = [layers] * (n_modules - 1) + [layers * 4 / 3]
    split = [ModuleCosts(share, 2 * share) for share in shares]
    found = 3 / seconds_per_batch(PipelineSchedule("dtrp", recompute=True), split)
    assert found == pytest.approx((3 * n_modules + 1) / 4)


def test_forward_first_hides_transfers_of_half_a_step():
    costs = [ModuleCosts(1.0, 2.0, transfer=1.5)] * 4
    assert seconds_per_batch(PipelineSchedule("fdg", forward_first=True), costs) == pytest.approx(3)
    assert seconds_per_batch(PipelineSchedule("fdg"), costs) == pytest.approx((3 * 2 + 3) / 2)  # below the last module
    assert seconds_per_batch(PipelineSchedule("ddg", forward_first=True), costs) == pytest.approx((3 * 4 + 3 * 3) / 4)


@pytest.mark.parametrize("delay_above", [1, 2, 3])
def test_backward_first_is_forward_first_with_a_shorter_delay(delay_above):
    """A program depends on its lag alone: for two modules FDG (delay 2) and DDG (delay 1) are one algorithm."""
    even = PipelineSchedule("fdg").program(delay_above, 0, 0, 9)
    lag = 2 * delay_above - 1
    odd = PipelineSchedule("ddg", forward_first=True).program(lag, 0, 0, 9)
    assert list(even) == list(odd)
