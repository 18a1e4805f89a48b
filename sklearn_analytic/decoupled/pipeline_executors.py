"""Who calls the modules' steps: one thread in turns, or a thread for each module. The results are the same bits.

Modules share nothing but channels, and each takes its operations in a fixed order: what any of them computes does not
depend on when it does so.
"""

import weakref
from concurrent.futures import ThreadPoolExecutor, wait
from contextvars import copy_context
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Any

from sklearn_analytic.decoupled.pipeline_worker import Diverged

_STOP = object()


class Stopped(Exception):
    """Another module has failed."""


class Channel:
    """What one module hands to another, in order."""

    def __init__(self):
        self._queue = SimpleQueue()

    def put(self, item):
        """Hand something on; never waits, as programs bound what can be on its way."""
        self._queue.put(item)

    def get(self):
        """Wait for the next thing."""
        item = self._queue.get()
        if item is _STOP:
            raise Stopped
        return item

    def is_empty(self):
        """Whether there is nothing to get."""
        return self._queue.empty()

    def stop(self):
        """Wake up who waits here."""
        self._queue.put(_STOP)


@dataclass(frozen=True)
class Channels:
    """The four ends of a module; None where there is no other module."""

    inputs: Any
    outputs: Any
    errors: Any
    errors_below: Any


def connected(n_modules):
    """Return the channels of every module of a chain."""
    up = [None, *(Channel() for _ in range(n_modules - 1)), None]
    down = [None, *(Channel() for _ in range(n_modules - 1)), None]
    return [Channels(up[k], up[k + 1], down[k + 1], down[k]) for k in range(n_modules)]


class ModuleError(RuntimeError):
    """A module has failed; the others were stopped."""


class Sequential:
    """Modules take turns in one thread: the reference."""

    def run(self, workers):
        """Run all programs to their ends; :class:`Diverged` and :class:`ModuleError` end them all."""
        while not all(worker.is_done for worker in workers):
            if not sum(_named(k, workers, wait=False) for k in range(len(workers))):
                raise RuntimeError("the modules wait for each other: their programs do not fit together")


class Threads:
    """A persistent thread for each module; no barrier but the end of an epoch.

    Parameters
    ----------
    n_modules : int
        Threads.
    initializer : callable or None
        Called first thing in each thread.
    """

    def __init__(self, n_modules, initializer=None):
        self._pool = ThreadPoolExecutor(n_modules, "module", initializer)
        self._finalizer = weakref.finalize(self, self._pool.shutdown, wait=False)

    def run(self, workers):
        """Run all programs to their ends; one that fails, or an interrupt of the caller, stops all."""
        futures = []
        try:
            for k in range(len(workers)):
                futures.append(self._pool.submit(copy_context().run, self._run_one, k, workers))  # NumPy's warnings
            wait(futures)
        except BaseException:
            _end(workers, futures)
            raise
        errors = [error for error in (future.exception() for future in futures) if error is not None]
        own = [error for error in errors if not isinstance(error, Stopped)]
        try:
            if errors:
                raise own[0]
        finally:
            del futures, errors, own  # the error's traceback holds this frame, and with it the threads

    @staticmethod
    def _run_one(k, workers):
        """One module's program; its failure wakes up the others."""
        try:
            _named(k, workers, wait=True)
        except BaseException:
            _stop(workers)
            raise


def _end(workers, futures):
    """Stop all modules and wait for their ends; through further interrupts, as one at work would spoil what follows."""
    while True:
        try:
            _stop(workers)
            wait(futures)
            return
        except KeyboardInterrupt:
            continue


def _stop(workers):
    """Wake up all modules that wait."""
    for worker in workers:
        for channel in (worker.channels.inputs, worker.channels.errors):
            if channel is not None:
                channel.stop()


def _named(k, workers, wait):
    """Let a module work; a failure gets its name."""
    try:
        return workers[k].work(wait)
    except (Diverged, Stopped, MemoryError):
        raise
    except Exception as error:
        raise ModuleError(
            f"module {k + 1} of {len(workers)} failed, and the others were stopped: {type(error).__name__}: {error}"
        ) from error
