"""Threads of BLAS: whose share of them a caller has, and one where more would only wait for each other.

Every fit passes here: where rows are few it takes one thread, so that a busy machine does not make it wait.
"""

import math
import threading
from contextlib import contextmanager
from functools import lru_cache

from joblib.parallel import get_active_backend
from threadpoolctl import ThreadpoolController

# Entries of a table, a hundred drawn columns counted in: with fewer, a second thread gains little on an idle machine,
# and on a busy one both wait many times as long as they work (examples/benchmarks/first_fit.py).
# Layers that were asked to be wide are another matter.
_FEW_ENTRIES, _DRAWN_COLUMNS, _WIDE = 4e5, 100, 1000
_LOCK = threading.Lock()
_HELD = []  # [threads of each library before, how many contexts are inside]


@lru_cache(maxsize=1)
def _libraries():
    """The BLAS libraries in this process; finding them takes milliseconds, so they are found once."""
    return ThreadpoolController().select(user_api="blas").lib_controllers


def n_threads():
    """Return the threads that BLAS may use now: what compiled work beside it may use, too. In joblib's threads, 1.

    Returns
    -------
    int
        At least 1; it follows ``OPENBLAS_NUM_THREADS``, joblib's workers and threadpoolctl's limits.

    Examples
    --------
    >>> from sklearn_analytic.backend import n_threads
    >>> n_threads() >= 1
    True
    """
    if is_job():
        return 1
    return max((library.get_num_threads() or 1 for library in _libraries()), default=1)


def is_job():
    """Return whether this thread is one of joblib's, which has others like it at work on as much each.

    Nothing tells such a thread how many there are, so that its share is one. A process of joblib's ("loky") is told by
    environment variables, which BLAS and torch follow: its main thread is no such thread.
    """
    if threading.current_thread() is threading.main_thread():
        return False
    backend, _ = get_active_backend()
    return backend.nesting_level > 0


def rows_are_few(shape, width=0):
    """Return whether work on rows of that shape is done sooner on one thread of BLAS.

    Parameters
    ----------
    shape : tuple of int
        Rows, then what each of them has.
    width : int, default=0
        Units of the widest layer that was asked for.

    Returns
    -------
    bool
        True below some thousand rows of some dozen columns, unless a layer has more than 1000 units.

    Examples
    --------
    >>> from sklearn_analytic.backend import rows_are_few
    >>> rows_are_few((150, 4)), rows_are_few((100_000, 40))
    (True, False)
    """
    return width <= _WIDE and shape[0] * (math.prod(shape[1:]) + _DRAWN_COLUMNS) < _FEW_ENTRIES


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
            _HELD.extend([[library.get_num_threads() for library in _libraries()], 0])
            _set([1] * len(_HELD[0]))
        _HELD[1] += 1
    try:
        yield
    finally:
        with _LOCK:
            _HELD[1] -= 1
            if _HELD[1] == 0:
                _set(_HELD[0])
                _HELD.clear()


def _set(numbers):
    """Set the threads of all libraries, whoever set them before.

    From 3.8 on, threadpoolctl ignores all but the Python thread that set OpenBLAS's first, and so leaves the others'
    limits in force; both are released around each setting.
    """
    for library, number in zip(_libraries(), numbers, strict=True):
        if number is None:
            continue
        _release(library)
        library.set_num_threads(number)
        _release(library)


def _release(library):
    """Let any thread set the limit."""
    if hasattr(library, "clear_controlling_thread"):
        library.clear_controlling_thread(force=True)
