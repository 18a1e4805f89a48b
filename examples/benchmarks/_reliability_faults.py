"""What fails from outside: readers, callbacks, files and workers. The estimator is unchanged, or goes on bit for bit.

Nothing may stay behind: no thread, no process, no temporary file.
"""

import copy
import multiprocessing
import tempfile
import threading
import time
import warnings
from pathlib import Path

import numpy as np
from _reliability_fault_kinds import FAULTS, ROOMS, SLOW
from _reliability_ledger import Ledger, described


def run(seed, seconds, cases=None):
    """Trials in turn over all kinds of faults; those that start processes once each."""
    ledger, number = Ledger("faults"), 0
    for name in SLOW if cases is None else ():
        trial(ledger, name, seed * 1_000_000)
    while ledger.seconds() < seconds and (cases is None or number < cases):
        for name in FAULTS:
            trial(ledger, name, seed * 1_000_000 + number)
        number += 1
    ledger.details = [{"fault": kind, "trials": count} for kind, count in sorted(ledger.outcomes.items())]
    return ledger


def repeat(case):
    """One trial again."""
    ledger = Ledger("faults")
    name, seed = case.split(":")
    trial(ledger, name, int(seed))
    return ledger


def trial(ledger, name, seed):
    """One fault in a folder of its own; what it leaves behind is a fault, too."""
    threads, processes = _threads(), set(multiprocessing.active_children())
    old = tempfile.tempdir
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tempfile.tempdir = str(Path(folder) / "temporary")
        Path(tempfile.tempdir).mkdir()
        try:
            faults = (FAULTS | SLOW)[name](np.random.default_rng([seed, *name.encode()]), Path(folder))
        except Exception as error:
            faults = [described(error)]
        finally:
            left = [path.name for path in Path(tempfile.tempdir).iterdir() if not name.startswith("dask")]
            tempfile.tempdir = old
    faults += [f"left temporary files: {left}"] if left else []
    faults += _left_behind(threads, processes) if name not in ROOMS else []
    ledger.trial(f"{name}:{seed}", name, faults)


def _threads():
    return {thread.ident for thread in threading.enumerate()}


def _left_behind(threads, processes):
    """Threads and processes that a trial did not end, after a moment of grace."""
    for _ in range(50):
        if _threads() <= threads and set(multiprocessing.active_children()) <= processes:
            return []
        time.sleep(0.02)
    names = [thread.name for thread in threading.enumerate() if thread.ident not in threads]
    return [f"left threads {names} or processes {set(multiprocessing.active_children()) - processes}"]


def snapshot(model):
    """The state of an estimator, to compare with."""
    return copy.deepcopy(vars(model))
