"""Who works on what, and when: programs, staleness, versions, queues, stability. Modules here pass row numbers on."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sklearn_analytic.decoupled.pipeline import BACKWARD, DELAYS, FORWARD, UPDATE, PipelineSchedule, staleness_counts
from tests.decoupled.pipelines import N_BATCHES, Quadratic, assert_same, layers_of, passing, pipeline, rows_of, run

N = 30  # batches: past the filling in of five modules, and several windows of eight
WINDOWS = (1, 2, 3, 4, 8)
schedules = st.sampled_from(sorted(DELAYS))


def lags(n_modules, schedule, forward_first):
    """The sheet's formula, bottom to top."""
    steps = {"fdg": 2, "ddg": 1}[schedule]
    delays = [steps * (n_modules - 1 - k) for k in range(n_modules)]
    return delays if forward_first else [max(delay - 1, 0) for delay in delays]


# ---- programs ----


@given(schedules, st.booleans(), st.booleans(), st.integers(0, 5), st.lists(st.integers(1, 7), min_size=1, max_size=4))
def test_every_batch_goes_up_once_and_comes_back_once(schedule, forward_first, drain, above, epochs):
    rule = PipelineSchedule(schedule, forward_first, drain=drain)
    delay, start, done, total = rule.delay(above), 0, [], sum(epochs)
    for n in epochs:
        program = list(rule.program(above, start if drain else 0, start, n))
        own = [batch for kind, batch in program if kind == BACKWARD]
        assert not drain or own == list(range(start, start + n))  # nothing of an epoch is left
        start, done = start + n, done + program
    assert [batch for kind, batch in done if kind == FORWARD] == list(range(total))
    back = total if drain else max(total - delay, 0)
    assert [batch for kind, batch in done if kind == BACKWARD] == list(range(back))
    at = {operation: i for i, operation in enumerate(done)}
    assert all(at[FORWARD, b] < at[BACKWARD, b] for b in range(back))
    if not drain:  # between the two passes of a batch lie the forward passes of the next ones
        between = delay if forward_first or delay == 0 else delay - 1
        ahead = [sum(at[FORWARD, c] < at[BACKWARD, b] for c in range(b + 1, total)) for b in range(back)]
        assert ahead == [between] * back


@given(schedules, st.booleans(), st.booleans(), st.integers(1, 5), st.integers(1, 4), st.integers(1, 9))
def test_programs_of_a_chain_fit_together(schedule, forward_first, drain, n_modules, accumulation, n_batches):
    """Cells check that what arrives is of the batch that is in turn; who waits for ever ends the run."""
    rule = {"schedule": schedule, "forward_first": forward_first, "drain": drain, "accumulation": accumulation}
    found = passing(n_modules, n_batches, n_epochs=2, **rule)
    delays = [0 if drain else DELAYS[schedule](n_modules - 1 - k) for k in range(n_modules)]
    counts = [max(2 * n_batches - delay, 0) for delay in delays]
    assert [worker.n_backward for worker in found.workers] == counts
    per_epoch = 2 * -(-n_batches // accumulation)
    assert [cell.n_updates for cell in found.stack.cells] == [
        per_epoch if drain else count // accumulation for count in counts
    ]


def test_programs_that_do_not_fit_are_refused(monkeypatch):
    monkeypatch.setitem(DELAYS, "fdg", lambda above: 0 if above else 2)
    with pytest.raises(RuntimeError, match="wait for each other"):
        passing(2, 4)


# ---- staleness ----


@pytest.mark.parametrize("forward_first", [False, True])
@pytest.mark.parametrize("schedule", ["ddg", "fdg"])
@pytest.mark.parametrize("n_modules", [2, 3, 4, 5])
def test_measured_staleness_is_the_formula(n_modules, schedule, forward_first):
    for M in WINDOWS:
        rule = {"schedule": schedule, "forward_first": forward_first, "accumulation": M}
        found = passing(n_modules, N, drain=False, **rule)
        drained = passing(n_modules, N, n_epochs=2, **rule)
        for k, lag in enumerate(lags(n_modules, schedule, forward_first)):
            exact = [b // M - max(0, (b - lag) // M) for b in range(N)]
            assert list(staleness_counts(lag, M, N)) == exact
            measured = list(found.workers[k].staleness)
            assert measured == exact[: len(measured)] and N - len(measured) == found.rule.delay(n_modules - 1 - k)
            if N % M == 0:
                assert list(drained.workers[k].staleness) == exact + exact  # the pipeline is filled anew
            first = M * -(-lag // M)
            window = exact[first : first + M]
            assert window == [math.ceil((lag - j) / M) for j in range(M)]
            assert sum(window) / M == lag / M == found.rule.mean_staleness(n_modules - 1 - k)
            assert found.rule.lag(n_modules - 1 - k) == lag and max(window) == math.ceil(lag / M)


@pytest.mark.parametrize(
    ("M", "published"),
    [(2, [[2, 2], [1, 1], [0, 0]]), (4, [[1, 1, 1, 1], [1, 1, 0, 0], [0, 0, 0, 0]])],
)
def test_staleness_is_that_of_the_published_figure(M, published):
    """Accumulated decoupled learning, three modules."""
    found = passing(3, N, schedule="adl", forward_first=True, accumulation=M)
    assert [list(worker.staleness)[8 : 8 + M] for worker in found.workers] == published


def test_a_window_as_long_as_the_lag_leaves_one_update_at_most():
    for n_modules in (2, 3, 4, 5):
        lag = 2 * (n_modules - 1)
        for M, most in ((lag, 1), (lag - 1, 2)):
            found = passing(n_modules, N, forward_first=True, accumulation=M)
            assert max(found.workers[0].staleness) == most


# ---- what is kept ----


@pytest.mark.parametrize("executor", ["sequential", "threads"])
@pytest.mark.parametrize("forward_first", [False, True])
@pytest.mark.parametrize("schedule", ["ddg", "fdg"])
def test_queues_are_as_long_as_the_delay(schedule, forward_first, executor):
    """Backward first, a batch leaves before the next one enters; what waits in a channel is kept by the module below.

    So these counts bound the channels too.
    """
    for n_modules in (1, 2, 3, 4):
        found = passing(n_modules, N, executor, schedule=schedule, forward_first=forward_first)
        for k, worker in enumerate(found.workers):
            delay = {"fdg": 2, "ddg": 1}[schedule] * (n_modules - 1 - k)
            assert worker.peak_kept == (delay + 1 if forward_first else max(delay, 1))


@pytest.mark.parametrize("forward_first", [False, True])
def test_versions_of_weights(forward_first):
    for n_modules in (1, 2, 3, 4, 5):
        for M in WINDOWS:
            rule = {"forward_first": forward_first, "accumulation": M}
            counts = [math.ceil(lag / M) + 1 for lag in lags(n_modules, "fdg", forward_first)]
            assert [worker.peak_versions for worker in passing(n_modules, N, **rule).workers] == counts
            for single in ({"stash": False}, {"recompute": True, "schedule": "dtrp"}):
                found = passing(n_modules, N, **rule | single)
                assert [worker.peak_versions for worker in found.workers] == [1] * n_modules


def test_recomputation_keeps_inputs_and_one_batch_of_activations():
    """Bytes of batches of four rows in float64; modules of 7 + 6, 8 + 6 and 3 units, which read 5, 6 and 6."""
    plain, again = (pipeline(3, schedule="dtrp", recompute=twice, forward_first=True) for twice in (False, True))
    for found in (plain, again):
        run(found, rows_of(n=4 * N_BATCHES), 1)
    unit = 4 * 8
    assert [worker.peak_bytes for worker in plain.workers] == [5 * 13 * unit, 3 * 14 * unit, 3 * unit]
    # the lowest module reads its rows again; nobody else keeps what goes into the others
    assert [worker.peak_bytes for worker in again.workers] == [13 * unit, (3 * 6 + 14) * unit, (6 + 3) * unit]
    assert again.activation_bytes()["stored"] == sum(worker.peak_bytes for worker in again.workers)


@pytest.mark.parametrize("rule", [{}, {"schedule": "dtrp", "recompute": True}], ids=["stash", "recompute"])
def test_what_is_dropped_is_not_counted_again(rule):
    found, peaks = pipeline(4, drain=False, **rule), []
    start = found.snapshot()
    for _ in range(3):
        run(found, rows_of())
        peaks.append([(worker.peak_bytes, worker.peak_kept, worker.peak_versions) for worker in found.workers])
        found.restore(start)
    assert peaks[0] == peaks[1] == peaks[2]


@pytest.mark.parametrize("executor", ["sequential", "threads"])
@pytest.mark.parametrize(
    "rule",
    [{}, {"accumulation": 3}, {"stash": False}, {"predictor": "velocity"}],
    ids=str,
)
def test_memory_is_lent_once_and_comes_back(rule, executor):
    """After an epoch all of it is spare, as much as was needed at once, and the next epoch asks for no more."""
    found = pipeline(3, executor, **rule)
    run(found, rows_of(n=4 * N_BATCHES), 1)
    lent = [(list(cell._space._spare), list(cell._versions._spare)) for cell in found.stack.cells]
    run(found, rows_of(n=4 * N_BATCHES), 1)
    for worker, cell, (slots, models) in zip(found.workers, found.stack.cells, lent, strict=True):
        assert {*map(id, cell._space._spare)} == {*map(id, slots)} and not cell._kept
        assert {*map(id, cell._versions._spare)} == {*map(id, models)}
        assert len(slots) == (1 if rule.get("recompute") else worker.peak_kept)
        is_guess = found.rule.predicts(worker.above)  # guesses are counted in place of the live weights
        assert len(models) == worker.peak_versions - (not is_guess)


@pytest.mark.parametrize("predictor", [None, "velocity"])
def test_modules_that_run_twice_keep_no_memory(predictor):
    found = pipeline(3, recompute=True, predictor=predictor)
    run(found, rows_of(), 1)
    for cell in found.stack.cells:
        assert not (cell._space._spare or cell._versions._spare or cell._space.n_rows)


@pytest.mark.parametrize("recompute", [False, True])
@pytest.mark.parametrize("executor", ["sequential", "threads"])
def test_batches_may_grow(executor, recompute):
    found, fresh = pipeline(3, executor, recompute=recompute), pipeline(3, recompute=recompute)
    run(found, rows_of(), 1)
    fresh.restore(found.snapshot())
    for n in (9 * N_BATCHES, 2 * N_BATCHES):
        assert run(found, rows_of(n=n)) == run(fresh, rows_of(n=n))
    assert_same(layers_of(found), layers_of(fresh))


# ---- stability ----


@pytest.mark.parametrize(
    ("lag", "n_modules", "rule"),
    [
        (0, 1, {}),
        (1, 2, {}),
        (2, 2, {"forward_first": True}),
        (3, 3, {}),
        (5, 4, {}),
        (6, 4, {"forward_first": True}),
        (2, 3, {"schedule": "ddg", "forward_first": True}),
    ],
)
def test_delayed_descent_is_stable_up_to_the_bound(lag, n_modules, rule):
    """theta <- theta - a theta_(t - lag) on half a square: stable for 0 < a < 2 sin(pi / (2 (2 lag + 1)))."""
    bound = 2 * math.sin(math.pi / (2 * (2 * lag + 1)))
    for share, grows in ((0.97, False), (1.03, True)):
        lowest = Quadratic()
        lowest.is_last = n_modules == 1
        passing(n_modules, 600, lowest=lowest, rate=share * bound, drain=False, **rule)
        found, a = np.array(lowest.history), share * bound
        now, old = found[lag:-1], found[: len(found) - lag - 1]
        np.testing.assert_allclose(found[lag + 1 :], now - a * old, rtol=1e-9, atol=1e-12)
        assert (np.abs(found[-100:]).max() > np.abs(found[100:200]).max()) == grows


def test_stable_rates_are_within_the_bound_of_every_module():
    rule = PipelineSchedule(rate_rule="stability")
    for above in range(5):
        factor = rule.rate_factor(above, "sgd")
        assert factor == pytest.approx(math.sin(math.pi / (2 * (2 * rule.mean_staleness(above) + 1))))


# ---- the record ----


def test_the_record_tells_what_happened():
    found = pipeline(3, accumulation=2)
    run(found, rows_of(), 2)
    record, timeline = found.record(), found.record()["timeline_"]
    exact = [staleness_counts(lag, 2, N_BATCHES).mean() for lag in (3, 1, 0)]
    np.testing.assert_allclose(record["staleness_"], exact)
    np.testing.assert_array_equal(record["weight_versions_"], [2, 2, 1])  # an epoch ends before there is a third
    assert np.all(record["module_seconds_"] > 0) and np.all(record["utilisation_"] <= 1)
    assert np.all(np.diff(timeline["begin"]) >= 0) and timeline["begin"][0] == 0
    assert np.all(timeline["end"] >= timeline["begin"])
    for k in range(3):
        mine = timeline[timeline["module"] == k]
        for kind, n in ((FORWARD, 2 * N_BATCHES), (BACKWARD, 2 * N_BATCHES), (UPDATE, 2 * 4)):
            assert np.sum(mine["kind"] == kind) == n
        at = {(op["kind"], op["batch"]): op["version"] for op in mine}
        stale = [at[BACKWARD, b] - at[FORWARD, b] for b in range(2 * N_BATCHES)]
        assert np.mean(stale) == pytest.approx(record["staleness_"][k])


# ---- threads ----


def test_no_module_warns_of_overflows_that_the_loss_shows():
    for executor in ("sequential", "threads"):
        seen = set()
        run(pipeline(2, executor, lambda *_: seen.update(map(np.geterr().get, ("over", "invalid")))), rows_of(), 1)  # noqa: B023
        assert seen == {"ignore"}


@pytest.mark.parametrize("rule", [{}, {"recompute": True}, {"stash": False}], ids=["stash", "recompute", "current"])
@pytest.mark.parametrize("forward_first", [False, True])
@pytest.mark.parametrize("n_modules", [2, 3, 4])
def test_threads_equal_turns_bit_for_bit(n_modules, forward_first, rule):
    rows = rows_of()
    for M, drain in ((1, True), (1, False), (3, True), (3, False)):
        given = rule | {"forward_first": forward_first, "accumulation": M, "drain": drain, "shrink": 0.7}
        turns, threads = (pipeline(n_modules, name, **given) for name in ("sequential", "threads"))
        assert run(turns, rows, 3) == run(threads, rows, 3)
        assert_same(layers_of(turns), layers_of(threads))
        for a, b in zip(turns.workers, threads.workers, strict=True):
            assert (a.staleness, a.peak_kept, a.peak_versions) == (b.staleness, b.peak_kept, b.peak_versions)
            assert a.peak_bytes == b.peak_bytes
