"""Who is timed in the suite "speed" of ``decoupled.py``: each gives one sample of wall seconds per batch."""

import time
from itertools import pairwise

import numpy as np
from _decoupled_nets import (
    RATE,
    DataParallel,
    TwoNetworks,
    compiled_backprop,
    pipeline,
    rows_of,
    seconds_per_batch,
    sizes_of,
)
from threadpoolctl import threadpool_limits

DTRP = {"schedule": "dtrp", "recompute": True, "predictor": "adam"}


class Compiled:
    """An execution of the package, under a limit on the threads of BLAS."""

    def __init__(self, make, blas_threads=1):
        self._make, self._blas_threads = make, blas_threads

    def prepare(self, task):
        """Build and compile it, and start the record of its modules anew."""
        self._execution, self._task = self._make(task), task
        self._placed = self._execution.place(rows_of(task))
        self.sample()
        self._start = self._record()

    def sample(self):
        """Wall seconds per batch of one epoch."""
        with threadpool_limits(self._blas_threads, user_api="blas"):
            return seconds_per_batch(self._execution, self._placed, self._task)

    def busy(self):
        """Share of the time in which each module worked, or None where there are none."""
        if self._start is None:
            return None
        seconds, elapsed = (now - before for now, before in zip(self._record(), self._start, strict=True))
        return [round(float(value), 3) for value in seconds / elapsed]

    def _record(self):
        workers = getattr(self._execution, "workers", None)
        return workers and (np.array([worker.seconds for worker in workers]), self._execution.elapsed)


class TorchLoop:
    """What a user of torch would write: slices of tensors in memory, fused Adam."""

    def __init__(self, threads):
        self._threads = threads

    def prepare(self, task):
        """Build it, with one pass."""
        import torch
        from torch import nn

        self._torch, self._task = torch, task
        torch.manual_seed(0)
        layers = [part for a, b in pairwise(sizes_of(task)[:-1]) for part in (nn.Linear(a, b), nn.ReLU())]
        self._network = nn.Sequential(*layers, nn.Linear(*sizes_of(task)[-2:]))
        self._optimizer = torch.optim.Adam(self._network.parameters(), lr=RATE, fused=True)
        rows = rows_of(task)
        self._x, self._y = torch.from_numpy(rows.x), torch.from_numpy(rows.y)
        self.sample()

    def sample(self):
        """Wall seconds per batch of one pass."""
        self._torch.set_num_threads(self._threads)
        start = time.perf_counter()
        pairs = zip(self._x.split(self._task["batch_size"]), self._y.split(self._task["batch_size"]), strict=True)
        for x, y in pairs:
            self._optimizer.zero_grad()
            self._torch.nn.functional.cross_entropy(self._network(x), y).backward()
            self._optimizer.step()
        return (time.perf_counter() - start) / self._task["batches"]

    def busy(self):
        """There are no modules."""


def _modules(n_modules=2, compensated=False, threads=True, **rule):
    return Compiled(lambda task: pipeline(task, rule, n_modules, threads, compensated))


CONTENDERS = {
    "backprop, 1 thread": Compiled(compiled_backprop),
    "backprop, 2 BLAS threads": Compiled(compiled_backprop, blas_threads=2),
    "data parallel, 2 threads": Compiled(DataParallel),
    "two networks, 2 threads": Compiled(TwoNetworks),
    "fdg": _modules(),
    "fdg, 4 modules": _modules(4),
    "ddg": _modules(schedule="ddg", forward_first=True),
    "adl, M=4": _modules(schedule="adl", accumulation=4),
    "dtrp": _modules(**DTRP),
    "dtrp, compensated split": _modules(compensated=True, **DTRP),
    "fdg, in turns": _modules(threads=False),
    "torch backprop, 1 thread": TorchLoop(1),
    "torch backprop, 2 threads": TorchLoop(2),
}
ONE_THREAD = "backprop, 1 thread"


def timed(task):
    """One row per contender, repeats interleaved; with the share of a core that one thread got, as a witness."""
    runners = {name: CONTENDERS[name] for name in task["contenders"]}
    samples, processor, got = {name: [] for name in runners}, {name: [] for name in runners}, []
    for runner in runners.values():
        runner.prepare(task)
    for _ in range(task["repeats"]):
        for name, runner in runners.items():
            wall, busy = time.perf_counter(), time.process_time()
            samples[name].append(runner.sample())
            busy = time.process_time() - busy
            processor[name].append(busy / task["batches"])
            if name == ONE_THREAD:
                got.append(busy / (time.perf_counter() - wall))
    kept = {"one_thread_share": float(np.median(got)) if got else None}
    return [
        {"contender": name, "seconds": float(np.median(taken)), "samples": taken, "busy": runners[name].busy()}
        | {"processor_seconds": float(np.median(processor[name]))}
        | kept
        for name, taken in samples.items()
    ]
