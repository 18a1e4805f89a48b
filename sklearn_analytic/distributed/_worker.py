"""What a worker process does: join the group, fit, and hand back the result, or say what went wrong."""

import contextlib
import os
import pickle
import shutil
import sys
import threading
import time
import traceback
import warnings
from datetime import timedelta
from pathlib import Path

import joblib
import torch
import torch.distributed as dist

from sklearn_analytic.distributed._launch import Failure, Result


def main():
    """Run the task of the folder that the command line names, as the rank that it names."""
    folder, rank = Path(sys.argv[1]), int(sys.argv[2])
    _end_with_parent(folder)
    try:
        _run(folder, rank)
    except BaseException as error:
        _write(folder / f"failure{rank}.pickle", _told(error))
        raise
    # All is written. At a usual exit, threads of libraries that are still there can abort the process.
    sys.stderr.flush()
    os._exit(0)


def _run(folder, rank):
    """Fit on this rank's share of every batch; all ranks end with the same estimator, and the first one keeps it."""
    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    task = _task(folder)
    X, y, sample_weight, fit_params = joblib.load(folder / "rows.joblib", mmap_mode="r")
    if task.backend == "nccl":
        torch.cuda.set_device(rank)
    store = dist.FileStore(str(folder / "meeting"), task.n_workers)
    wait = timedelta(seconds=task.timeout)
    dist.init_process_group(task.backend, store=store, rank=rank, world_size=task.n_workers, timeout=wait)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        fitted = task.estimator.fit(X, y, sample_weight, **fit_params)
    if rank == 0:
        texts = [(w.category, str(w.message)) for w in caught]
        _write(folder / "result.pickle", Result(fitted.__getstate__(), texts))
    dist.destroy_process_group()


def _task(folder):
    """The task, or an error that says why it cannot be loaded here."""
    try:
        return pickle.loads((folder / "task.pickle").read_bytes())
    except (AttributeError, ImportError) as error:
        raise ImportError(
            f"the estimator cannot be loaded ({error}): put its classes and functions into a file that can be imported"
        ) from error


def _told(error):
    """The failure, with the error itself where it can travel."""
    line = "".join(traceback.format_exception_only(error)).strip().splitlines()[-1]
    error.add_note("In the worker:\n" + "".join(traceback.format_exception(error)))  # pickled errors have no traceback
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        error = None
    return Failure(time.time(), line, error)


def _write(path, value):
    """Write in one move, so that a reader finds all or nothing."""
    partial = path.with_suffix(".partial")
    partial.write_bytes(pickle.dumps(value))
    partial.replace(path)


def _end_with_parent(folder):
    """End this process when the parent's end of the pipe closes, and remove the folder of rows that it left.

    A parent that lives stops its workers before it closes the pipe: so this is a parent that was killed.
    """

    def wait():
        with contextlib.suppress(OSError):
            os.read(sys.stdin.fileno(), 1)  # nothing is ever written; a buffered read would hold a lock at exit
        shutil.rmtree(folder, ignore_errors=True)
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()
