"""Reading ahead: the same blocks in the same order, errors at their place, few blocks in memory, no thread left."""

import gc
import threading
import time
import weakref

import numpy as np
import pytest

from sklearn_analytic.io._prefetch import prefetched

AHEAD = [0, 1, 2, 5]


def readers():
    return [thread for thread in threading.enumerate() if thread.name == "read-ahead"]


def assert_no_reader_left():
    deadline = time.monotonic() + 10
    while readers() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert readers() == []


def numbered(n, fail_at=None, error=OSError):
    """Numbers, and an error in place of one of them."""
    for number in range(n):
        if number == fail_at:
            raise error(f"at {number}")
        yield number


@pytest.mark.parametrize("n_ahead", AHEAD)
@pytest.mark.parametrize("n", [0, 1, 7])
def test_order_is_kept_and_the_reader_ends(n, n_ahead):
    assert list(prefetched(numbered(n), n_ahead)) == list(range(n))
    assert_no_reader_left()


@pytest.mark.parametrize("n_ahead", AHEAD)
@pytest.mark.parametrize("fail_at", [0, 1, 6])
@pytest.mark.parametrize("error", [OSError, MemoryError, KeyboardInterrupt, SystemExit])
def test_an_error_is_raised_at_its_place(fail_at, n_ahead, error):
    seen = []
    with pytest.raises(error, match=f"at {fail_at}"):
        for number in prefetched(numbered(7, fail_at, error), n_ahead):
            seen.append(number)
    assert seen == list(range(fail_at))
    assert_no_reader_left()


@pytest.mark.parametrize("n_ahead", AHEAD)
@pytest.mark.parametrize("slow", ["reader", "consumer", "nobody"])
def test_at_most_so_many_blocks_are_alive(n_ahead, slow):
    alive, most = weakref.WeakSet(), []

    class Held:
        pass

    def blocks():
        for _ in range(12):
            time.sleep(0.003 * (slow == "reader"))
            block = Held()
            alive.add(block)
            most.append(len(alive))
            yield block
            del block

    for block in prefetched(blocks(), n_ahead):
        time.sleep(0.003 * (slow == "consumer"))
        del block
    assert len(most) == 12
    assert max(most) <= n_ahead + 2
    gc.collect()
    assert len(alive) == 0


@pytest.mark.parametrize("n_ahead", AHEAD)
@pytest.mark.parametrize("end", ["close", "forget", "fail"])
def test_the_reader_ends_with_its_consumer(n_ahead, end):
    closed = threading.Event()

    def blocks():
        try:
            while True:
                yield np.zeros(10)
        finally:
            closed.set()

    def fail(stream):
        with pytest.raises(ZeroDivisionError):
            for _ in stream:
                1 / 0

    stream = prefetched(blocks(), n_ahead)
    next(stream)
    if end == "close":
        stream.close()
    elif end == "fail":
        fail(stream)
    del stream
    gc.collect()
    assert closed.wait(10)
    assert_no_reader_left()


def test_a_source_that_cannot_be_closed_is_an_error_and_no_deadlock():
    class Source:
        def __iter__(self):
            return iter([1, 2])

        def close(self):
            raise OSError("the file has gone")

    seen = []
    with pytest.raises(OSError, match="has gone"):
        for number in prefetched(Source(), 1):
            seen.append(number)
    assert seen == [1, 2]
    assert_no_reader_left()


def test_nothing_is_read_before_it_is_asked_for():
    started = []

    def blocks():
        started.append(True)
        yield 1

    stream = prefetched(blocks(), 2)
    assert started == []
    assert list(stream) == [1]


def test_reading_overlaps_computing():
    """The second block is read while the first is in use: by events, not by the clock."""
    second, used = threading.Event(), []

    def blocks():
        yield 1
        second.set()
        yield 2

    for number in prefetched(blocks(), 1):
        assert second.wait(10)
        used.append(number)
    assert used == [1, 2]
