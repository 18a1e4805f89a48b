"""Starts workers on this machine, watches them, and stops them all when one fails."""

import contextlib
import os
import pickle
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import joblib

_PAUSE = 0.05  # seconds between two looks at the workers
_GRACE = 1.0  # seconds for the first failure to be told from those that it causes
_POOLS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")
_COMMAND = "from sklearn_analytic.distributed._worker import main; main()"


@dataclass(frozen=True)
class Task:
    """What every worker is told."""

    estimator: Any  # with its parameters set for the group
    n_workers: int
    backend: str  # of torch.distributed
    timeout: float  # seconds that a worker waits for the others


@dataclass(frozen=True)
class Result:
    """What the first worker hands back."""

    state: dict  # of the fitted estimator
    warnings: list  # of (category, text)


@dataclass(frozen=True)
class Failure:
    """What a worker leaves when it raises."""

    when: float
    line: str  # the last one of the traceback
    error: BaseException | None  # None where it cannot be pickled


def run_task(task, rows):
    """Fit ``task.estimator`` on ``rows``, a tuple of arguments of fit, in all workers; return the Result.

    The rows are written once, and mapped into the memory of every worker. The temporary folder and the workers are
    gone when this returns or raises, whatever happens.

    Raises
    ------
    RuntimeError
        If a worker raises or dies; it names the rank, and says how.
    """
    with tempfile.TemporaryDirectory(prefix="sklearn_analytic_", ignore_cleanup_errors=True) as folder:
        folder = Path(folder)
        joblib.dump(rows, folder / "rows.joblib")
        (folder / "task.pickle").write_bytes(_packed(task))
        workers = []
        try:
            for rank in range(task.n_workers):
                workers.append(_start(folder, rank, task.n_workers))
            _watch(workers, folder)
            return pickle.loads((folder / "result.pickle").read_bytes())
        finally:
            _stop(workers)


def _packed(task):
    """The task as bytes, or an error that says what a worker can be sent."""
    try:
        return pickle.dumps(task)
    except Exception as error:  # whatever a part of the estimator raises
        raise TypeError(
            f"estimator={type(task.estimator).__name__} cannot be sent to workers ({error}): give it no lambdas, local "
            "functions, open files or locks, and put its classes and functions into a file that can be imported."
        ) from error


def _start(folder, rank, n_workers):
    """One worker: a fresh interpreter that imports what this one can import, and runs nothing of ``__main__``."""
    paths = os.pathsep.join(path or os.getcwd() for path in sys.path)
    environment = os.environ | _threads(n_workers) | {"PYTHONPATH": paths}
    environment.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # more threads than cores must not spin
    with (folder / f"errors{rank}.txt").open("wb") as errors:
        return subprocess.Popen(
            [sys.executable, "-P", "-c", _COMMAND, str(folder), str(rank)],
            env=environment,
            stdin=subprocess.PIPE,  # which ends when this process does, and the worker with it
            stdout=subprocess.DEVNULL,
            stderr=errors,
            start_new_session=True,  # an interrupt at the keyboard reaches this process alone, which stops the workers
        )


def _threads(n_workers):
    """Threads of every pool in a worker: its share of the cores, or fewer where the environment says so."""
    share = max(1, _cores() // n_workers)
    given = {pool: os.environ.get(pool, "") for pool in _POOLS}
    return {pool: str(min(share, int(value)) if value.isdecimal() else share) for pool, value in given.items()}


def _cores():
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


def _watch(workers, folder):
    """Wait for all workers; raise as soon as one has failed."""
    while True:
        codes = [worker.poll() for worker in workers]
        if any(codes):  # neither None nor 0
            raise _failure(workers, folder)
        if all(code == 0 for code in codes):
            return
        time.sleep(_PAUSE)


def _failure(workers, folder):
    """The error that names the worker that failed first: others fail because it is gone."""
    _await_death(workers)
    failures = {rank: _read(folder / f"failure{rank}.pickle") for rank in range(len(workers))}
    silent = [rank for rank, worker in enumerate(workers) if worker.poll() and failures[rank] is None]
    if silent:  # killed, or ended by a library: the others raise
        rank = silent[0]
        how = _how(workers[rank].poll(), (folder / f"errors{rank}.txt").read_text(errors="replace"))
        return RuntimeError(f"worker {rank} of {len(workers)} died ({how}); the others were stopped.")
    told = {rank: failure for rank, failure in failures.items() if failure is not None}
    rank = min(told, key=lambda rank: told[rank].when)
    line = told[rank].line.rstrip(".")
    error = RuntimeError(f"worker {rank} of {len(workers)} failed: {line}. The others were stopped.")
    error.__cause__ = told[rank].error
    return error


def _await_death(workers):
    """Leave a short while to those that a failure takes along, or that caused it."""
    end = time.monotonic() + _GRACE
    while time.monotonic() < end and any(worker.poll() is None for worker in workers):
        time.sleep(_PAUSE)


def _read(path):
    """A worker's own account, if there is a whole one."""
    with contextlib.suppress(Exception):  # no file, or an error that only the worker can import
        return pickle.loads(path.read_bytes())
    return None


def _how(code, text):
    """An exit code in words, and what was last written."""
    names = {number.value: number.name for number in signal.Signals}
    cause = f"signal {names.get(-code, -code)}" if code < 0 else f"exit code {code}"
    last = [line.strip() for line in text.splitlines() if line.strip()][-1:]
    return ": ".join([cause, *last])


def _stop(workers):
    """Kill what still runs, and wait until it is gone."""
    for worker in workers:
        if worker.poll() is None:
            worker.kill()
    for worker in workers:
        worker.wait()
        worker.stdin.close()
