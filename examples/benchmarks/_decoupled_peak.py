"""The training whose memory the suite "memory" of ``decoupled.py`` measures, without a fit around it."""

import gc
import time

import numpy as np
from _common import memory_mb, peak_rss_mb, reset_peak
from _decoupled_nets import RATE, pipeline, rows_of, sizes_of
from _layerwise_workers import fill_blas_buffers


def measured(task):
    """Counted bytes, and the peak of one epoch above the same process with rows, weights, gradients and moments."""
    execution = pipeline(task, task["rule"], task["n_modules"], threads=False)
    placed, m = execution.place(rows_of(task)), task["batch_size"]
    rates = np.full(task["batches"], RATE)
    execution.epoch(placed, np.arange(m * task["batches"]), rates)  # loads code, and touches all that stays
    forget(execution)
    fill_blas_buffers({"needs_torch": False})
    gc.collect()
    before = memory_mb()["rss"]
    has_peak = reset_peak()  # not every kernel lets it be started anew
    start = time.process_time()
    execution.epoch(placed, np.arange(m * task["batches"]), rates)
    seconds, above = time.process_time() - start, peak_rss_mb() - before if has_peak else None
    record = execution.record()
    return {
        "peak_mb": above,
        "seconds": seconds,
        "activation_bytes": int(record["module_activation_bytes_"].sum()),
        "modules": [list(part) for part in execution.ranges],
        "weight_versions": [int(count) for count in record["weight_versions_"]],
        "other_weight_bytes": other_weight_bytes(execution.ranges, record["weight_versions_"], sizes_of(task)),
    }


def forget(execution):
    """Drop what modules keep from epoch to epoch for batches on their way: it counts."""
    for cell in execution.stack.cells:
        cell._space._grow(0)
        cell._versions._spare.clear()


def other_weight_bytes(ranges, versions, sizes):
    """Bytes of weights beside the live ones: stashed versions, and those that a predictor made."""
    total = 0
    for (first, stop), count in zip(ranges, versions, strict=True):
        layers = zip(sizes[first:stop], sizes[first + 1 : stop + 1], strict=True)
        total += 4 * sum((a + 1) * b for a, b in layers) * (int(count) - 1)
    return total
