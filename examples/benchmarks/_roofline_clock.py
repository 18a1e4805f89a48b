"""Clocks of the roofline benchmark: wall time and processor time of work on any device, threads set for each."""

import time
from contextlib import contextmanager

from threadpoolctl import threadpool_limits


class Clock:
    """Seconds of a call, after the device has finished: {"wall": ..., "cpu": ...}, the latter of all threads."""

    def __init__(self, device):
        self._finish = _finisher(device)

    def __call__(self, function):
        self._finish()
        wall, cpu = time.perf_counter(), time.process_time()
        result = function()
        self._finish()
        return result, {"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu}


def _finisher(device):
    """What waits for a device; the host needs none."""
    if not device.startswith("cuda"):
        return lambda: None
    import torch

    return torch.cuda.synchronize


@contextmanager
def threads(n, device):
    """Let BLAS, and torch where it computes, use n threads."""
    with threadpool_limits(n):
        if device == "cpu":
            yield
            return
        import torch

        before = torch.get_num_threads()
        torch.set_num_threads(n)
        try:
            yield
        finally:
            torch.set_num_threads(before)
