"""Threads of BLAS: one inside the context, whichever Python thread enters it first or leaves it last."""

import threading

import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from sklearn_analytic import BRMPRegressor
from sklearn_analytic.backend._threads import one_blas_thread
from sklearn_analytic.estimator import reduction


def blas_threads():
    return {pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"}


def in_a_thread(work):
    """What a function returns in a thread of its own."""
    found = []
    thread = threading.Thread(target=lambda: found.append(work()))
    thread.start()
    thread.join()
    return found[0]


def threads_inside():
    with one_blas_thread():
        return blas_threads()


@pytest.mark.parametrize("run", [lambda work: work(), in_a_thread], ids=["own thread", "other thread"])
def test_the_limit_holds_below_a_limit_of_the_caller(run):
    with threadpool_limits(2, user_api="blas"):
        assert run(threads_inside) == {1}
        assert blas_threads() == {2}


@pytest.mark.parametrize("run", [lambda work: work(), in_a_thread], ids=["own thread", "other thread"])
def test_the_limit_holds_after_a_limit_set_for_good(run):
    before = threadpool_limits(2, user_api="blas")
    try:
        assert run(threads_inside) == {1}
        assert blas_threads() == {2}
    finally:
        before.restore_original_limits()


def test_the_last_thread_out_restores_what_the_first_one_set():
    entered, left = threading.Event(), threading.Event()

    def first():
        with one_blas_thread():
            entered.set()
            left.wait(10)

    with threadpool_limits(2, user_api="blas"):
        thread = threading.Thread(target=first)
        thread.start()
        entered.wait(10)
        with one_blas_thread():
            left.set()
            thread.join()
            assert blas_threads() == {1}
        assert blas_threads() == {2}


@pytest.mark.parametrize(("n_rows", "width", "threads"), [(50, 10, 1), (5000, 10, 2), (50, 1001, 2)])
def test_fits_on_few_rows_use_one_thread(rng, monkeypatch, n_rows, width, threads):
    seen, fit = [], reduction.fit
    monkeypatch.setattr(reduction, "fit", lambda *args: (seen.append(blas_threads()), fit(*args))[1])
    X = rng.standard_normal((n_rows, 3))
    with threadpool_limits(2, user_api="blas"):
        BRMPRegressor((width,)).fit(X, X[:, 0])
    assert seen == [{threads}]
