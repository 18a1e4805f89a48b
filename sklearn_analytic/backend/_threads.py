"""Threads of BLAS, told to compiled loops that call it for products of any size; and whose share of them it is."""

from contextlib import contextmanager
from functools import lru_cache
from threading import Lock

from threadpoolctl import ThreadpoolController

_LOCK = Lock()
_HELD = []  # [the limit in force, how many contexts are inside it]


@lru_cache(maxsize=1)
def _controller():
    """Finding the loaded libraries takes milliseconds, so they are found once."""
    return ThreadpoolController()


@contextmanager
def one_blas_thread(wanted=True):
    """Let BLAS use one thread inside, where ``wanted``.

    The limit is the process's, and contexts of several Python threads overlap: the first one in sets it, the last one
    out, often another thread, restores what was before.
    """
    if not wanted:
        yield
        return
    with _LOCK:
        if not _HELD:
            _release_control()
            _HELD.extend([_controller().limit(limits=1, user_api="blas"), 0])
            _release_control()
        _HELD[1] += 1
    try:
        yield
    finally:
        with _LOCK:
            _HELD[1] -= 1
            if _HELD[1] == 0:
                _release_control()
                _HELD[0].restore_original_limits()
                _release_control()
                _HELD.clear()


def _release_control():
    """Let any thread set the limit: from 3.8 on, threadpoolctl ignores all but the thread that set OpenBLAS's first."""
    for library in _controller().lib_controllers:
        if hasattr(library, "clear_controlling_thread"):
            library.clear_controlling_thread(force=True)
