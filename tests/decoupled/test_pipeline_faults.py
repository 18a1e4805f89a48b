"""What goes wrong in a pipeline: it ends, says where, and works again; threads end with what they belong to."""

import gc
import signal
import sys
import threading
import time
import weakref

import numpy as np
import pytest

from sklearn_analytic.decoupled import pipeline_executors as executors
from sklearn_analytic.decoupled.pipeline_executors import ModuleError, Threads
from sklearn_analytic.nn import Plan, Rows, train
from tests.decoupled.pipelines import N_BATCHES, N_ROWS, assert_same, layers_of, pipeline, recipe_of, rows_of, run

EXECUTORS = ["sequential", "threads"]
OPERATIONS = ["forward", "backward", "update"]
PATIENCE = 30.0  # seconds: a test that waits as long has failed
INTERRUPTED = threading.Event()


def within(task):
    """Call a task in a thread of its own, so that one that never ends is a failure; return what it raised."""
    raised = []

    def tried():
        try:
            task()
        except BaseException as error:
            raised.append(error)

    thread = threading.Thread(target=tried, daemon=True)
    thread.start()
    thread.join(PATIENCE)
    assert not thread.is_alive(), "modules wait for ever"
    return raised[0] if raised else None


class Fault:
    """Raises at the third operation of a kind in a module, while armed."""

    def __init__(self, k, kind, error):
        self._where, self._error, self.count, self.armed = (k, kind), error, 0, True

    def __call__(self, k, kind, batch):
        self.count += (k, kind) == self._where
        if self.armed and self.count == 3 and (k, kind) == self._where:
            raise self._error


def module_threads():
    """Threads of pipelines that are alive."""
    return [thread for thread in threading.enumerate() if thread.name.startswith("module")]


def assert_end(threads):
    """Threads that nobody needs end soon."""
    deadline = time.monotonic() + PATIENCE
    for thread in threads:
        thread.join(max(deadline - time.monotonic(), 0))
    assert [thread.name for thread in threads if thread.is_alive()] == []


# ---- a module fails ----


@pytest.mark.parametrize("executor", EXECUTORS)
@pytest.mark.parametrize("kind", OPERATIONS)
@pytest.mark.parametrize("k", [0, 1, 2])
def test_a_failure_has_the_name_of_its_module_and_leaves_no_trace(k, kind, executor):
    rows, cause = rows_of(), ValueError("no luck")
    fault, rule = Fault(k, kind, cause), {"drain": False, "predictor": "difference"}
    found, fresh = pipeline(3, executor, fault, **rule), pipeline(3, **rule)
    start = found.snapshot()
    error = within(lambda: run(found, rows))
    assert isinstance(error, ModuleError) and error.__cause__ is cause
    assert str(error).startswith(f"module {k + 1} of 3 failed") and "ValueError: no luck" in str(error)
    fault.armed = False
    found.restore(start)
    losses = []
    assert within(lambda: losses.extend(run(found, rows))) is None
    assert losses == run(fresh, rows)
    assert_same(layers_of(found), layers_of(fresh))


@pytest.mark.parametrize("executor", EXECUTORS)
def test_a_lack_of_memory_stays_one(executor):
    found = pipeline(3, executor, Fault(1, "backward", MemoryError("full")))
    assert isinstance(within(lambda: run(found, rows_of())), MemoryError)


@pytest.mark.parametrize("executor", EXECUTORS)
@pytest.mark.parametrize("n_modules", [1, 3])
def test_a_loss_that_is_no_number_ends_the_epoch_and_raises_nothing(n_modules, executor):
    rows = rows_of("identity")
    y = rows.y.copy()
    y[11] = np.inf
    seen = []
    watch = lambda k, kind, batch: seen.append((k, kind, batch and 11 in batch.rows))  # noqa: E731
    found = pipeline(n_modules, executor, watch, recipe=recipe_of(output="identity"))
    losses = []
    assert within(lambda: losses.extend(run(found, Rows(rows.x, y, rows.weight), 1))) is None
    assert np.isnan(losses).all()
    assert (n_modules - 1, "forward", True) in seen and (n_modules - 1, "backward", True) not in seen
    assert found.is_finite() and found.epochs == 0


@pytest.mark.parametrize("executor", EXECUTORS)
def test_training_that_diverges_keeps_the_last_good_weights(executor):
    """The rows turn bad in the second epoch; afterwards, with good ones, all goes on."""
    rows, recipe = rows_of("identity"), recipe_of(output="identity")
    found, fresh = pipeline(3, executor, recipe=recipe), pipeline(3, recipe=recipe)
    plan, expected = Plan(1, 4, 0.1), []
    train(fresh, rows, plan, np.random.default_rng(0), after_epoch=lambda *_: expected.extend(layers_of(fresh)))
    spoil = lambda epoch, history: rows_now.y.fill(np.nan)  # noqa: E731
    rows_now = Rows(rows.x, rows.y.copy(), rows.weight)
    history = train(found, rows_now, Plan(3, 4, 0.1), np.random.default_rng(0), after_epoch=spoil)
    assert history.failure == "diverged" and len(history.losses) == 1
    assert_same(layers_of(found), expected)
    assert run(found, rows) == run(fresh, rows)


# ---- interrupts ----


def interrupt_waiting_main(k, kind, batch):
    """A watch that interrupts the main thread once it waits for the modules, in the second epoch."""
    if (k, kind) == (1, "backward") and batch.index == N_BATCHES + 2 and not INTERRUPTED.is_set():
        main = threading.main_thread()
        deadline = time.monotonic() + PATIENCE
        while sys._current_frames()[main.ident].f_code.co_name != "wait" and time.monotonic() < deadline:
            time.sleep(0.001)
        signal.pthread_kill(main.ident, signal.SIGINT)
        while not INTERRUPTED.is_set() and time.monotonic() < deadline:  # work that goes on meanwhile
            time.sleep(0.001)


def interrupt_here(k, kind, batch):
    """A watch for modules that take turns in the main thread."""
    if (k, kind) == (1, "backward") and batch.index == N_BATCHES + 2 and not INTERRUPTED.is_set():
        INTERRUPTED.set()
        raise KeyboardInterrupt


@pytest.fixture(autouse=True)
def interruptible():
    """Let an interrupt reach this process, whatever ran before: workers of a test run ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before or signal.default_int_handler)


@pytest.fixture
def stopping(monkeypatch):
    """Set INTERRUPTED when an interrupt has reached the executor, and no module that waits is woken to work on."""
    INTERRUPTED.clear()
    stop = executors._stop

    def told(workers):
        stop(workers)
        INTERRUPTED.set()

    monkeypatch.setattr(executors, "_stop", told)


WATCHES = {"sequential": interrupt_here, "threads": interrupt_waiting_main}


@pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="signals to threads are POSIX")
@pytest.mark.parametrize("executor", EXECUTORS)
def test_an_interrupt_ends_all_modules_and_is_passed_on(executor, stopping):
    found = pipeline(3, executor, WATCHES[executor])
    with pytest.raises(KeyboardInterrupt):
        run(found, rows_of(), 3)
    assert found.epochs == 1
    counts = [worker.n_backward for worker in found.workers]
    time.sleep(0.05)  # nobody works on
    assert counts == [worker.n_backward for worker in found.workers] and counts[0] < 2 * N_BATCHES


@pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="signals to threads are POSIX")
@pytest.mark.parametrize("executor", EXECUTORS)
def test_interrupted_training_keeps_the_last_good_weights_and_can_go_on(executor, stopping):
    rows, seen = rows_of(), []
    found, fresh = pipeline(3, executor, WATCHES[executor]), pipeline(3)
    plan = Plan(3, 4, 0.1)
    keep = lambda epoch, history: seen.append(layers_of(found))  # noqa: E731
    history = train(found, rows, plan, np.random.default_rng(0), after_epoch=keep)
    assert history.failure == "interrupted" and len(history.losses) == len(seen) == 1
    assert_same(layers_of(found), seen[0])
    train(fresh, rows, Plan(1, 4, 0.1), np.random.default_rng(0))
    assert run(found, rows, 1) == run(fresh, rows, 1)


@pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="signals to threads are POSIX")
def test_a_second_interrupt_leaves_no_module_at_work(stopping):
    """A module in the middle of an operation would spoil the weights that are put back."""
    main, ended, early = threading.main_thread(), threading.Event(), []

    def interrupt_twice(k, kind, batch):
        interrupt_waiting_main(k, kind, batch)
        if (k, kind) == (1, "backward") and batch.index == N_BATCHES + 2 and not early:
            signal.pthread_kill(main.ident, signal.SIGINT)
            early.append(ended.wait(0.5))  # main must not be done before this operation is

    rows, found, fresh, plan = rows_of(), pipeline(3, "threads", interrupt_twice), pipeline(3), Plan(3, 4, 0.1)
    history = train(found, rows, plan, np.random.default_rng(0))
    ended.set()
    assert history.failure == "interrupted" and early == [False]
    train(fresh, rows, Plan(1, 4, 0.1), np.random.default_rng(0))
    assert run(found, rows, 1) == run(fresh, rows, 1)
    assert_same(layers_of(found), layers_of(fresh))


# ---- threads ----


def test_each_module_has_a_thread_that_lasts():
    seen = {}
    watch = lambda k, kind, batch: seen.setdefault(k, set()).add(threading.get_ident())  # noqa: E731
    found = pipeline(3, "threads", watch)
    before = set(module_threads())
    run(found, rows_of(), 8)
    used = set.union(*seen.values())
    assert len(used) <= 3 and threading.get_ident() not in used and sorted(seen) == [0, 1, 2]
    assert {thread.ident for thread in module_threads() if thread not in before} <= used


def test_an_initialiser_runs_once_in_each_thread():
    idents = []
    found = pipeline(3)
    found._executor = Threads(3, lambda: idents.append(threading.get_ident()))
    run(found, rows_of(), 4)
    assert len(idents) == len(set(idents)) <= 3


def test_threads_work_at_the_same_time():
    """Both modules of a pair meet in one moment, which turns could not."""
    together = threading.Barrier(2)

    def meet(k, kind, batch):
        if (k, kind, batch and batch.index) in ((0, "forward", 2), (1, "forward", 0)):
            together.wait(PATIENCE)

    assert within(lambda: run(pipeline(2, "threads", meet, forward_first=True), rows_of(), 1)) is None


def test_modules_of_uneven_speed_give_the_same_bits():
    """Whoever is slow, and whenever."""
    rows, expected = rows_of(), pipeline(4, accumulation=2)
    losses = run(expected, rows, 1)
    for slow in range(4):
        found = pipeline(4, "threads", lambda k, *_, slow=slow: time.sleep(0.002 * (k == slow)), accumulation=2)
        assert run(found, rows, 1) == losses
        assert_same(layers_of(found), layers_of(expected))
        assert [worker.peak_kept for worker in found.workers] == [6, 4, 2, 1]


def test_threads_end_with_their_pipeline():
    before = set(module_threads())
    found = pipeline(3, "threads")
    run(found, rows_of(), 1)
    threads = [thread for thread in module_threads() if thread not in before]
    gone = weakref.ref(found._executor)
    assert threads
    del found
    gc.collect()
    assert gone() is None
    assert_end(threads)


@pytest.mark.parametrize("fails", [False, True])
def test_many_pipelines_leave_no_threads(fails):
    before, rows = set(module_threads()), rows_of(n=8)
    for _ in range(50):
        found = pipeline(3, "threads", Fault(1, "backward", ValueError("no luck")) if fails else None)
        if fails:
            with pytest.raises(ModuleError):
                run(found, rows, 1)
        else:
            run(found, rows, 1)
    del found
    gc.collect()
    assert_end([thread for thread in module_threads() if thread not in before])


def test_threads_of_a_failure_end_without_the_collector():
    """The error must not hold, through its traceback, a frame that holds the error."""
    before = set(module_threads())
    gc.collect()
    gc.disable()
    try:
        found = pipeline(3, "threads", Fault(1, "backward", ValueError("no luck")))
        with pytest.raises(ModuleError) as failed:
            run(found, rows_of(), 1)
        del found, failed
        assert_end([thread for thread in module_threads() if thread not in before])
    finally:
        gc.enable()


def test_a_pipeline_that_failed_lets_its_rows_go():
    """What failed is no reason to keep the data alive."""
    calls = []

    def fail_once(k, kind, batch):
        calls.append(k)
        if len(calls) == 5:
            raise ValueError("no luck")

    found = pipeline(3, "threads", fail_once)
    rows = Rows(np.ones((N_ROWS, 5)), np.zeros(N_ROWS, np.int64))
    gone, start = weakref.ref(rows.x), found.snapshot()
    with pytest.raises(ModuleError):
        run(found, rows, 1)
    found.restore(start)
    del rows
    assert within(lambda: run(found, rows_of(), 1)) is None
    gc.collect()
    assert gone() is None
