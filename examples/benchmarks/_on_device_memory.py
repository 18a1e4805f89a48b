"""Part "memory" of ``on_device.py``: the rows of the table of layer-wise memory, by torch's own allocator.

A peak is ``torch.cuda.max_memory_allocated`` of a fit above what was there before, rows and weights on the host. The
processes of ``layerwise.py --suite memory`` are not needed: the allocator counts what is handed out, and forgets.
On the CPU it counts nothing, and the peak is null.
"""

import gc

from _layerwise_memory import ALL_NETWORKS, CONTENDERS, NETWORKS, QUICK_NETWORKS, WIDE, n_weights
from _layerwise_workers import FITTERS, cuda_peak, data, small
from _on_device_clock import plain

REFERENCE = "torch backprop"
NO_PEAK = "torch counts the memory that it hands out on CUDA devices alone"


def run(settings, emit):
    """The contenders that are torch's, on every network; peaks as multiples of plain backpropagation's."""
    device, quick = settings["device"], settings["quick"]
    for network in list(QUICK_NETWORKS)[:1] if quick else NETWORKS:
        reference = None
        if network == WIDE:
            continue  # it says no more than the others
        for name, contender in CONTENDERS.items():
            if contender["backend"] != "torch" or (quick and name not in (REFERENCE, "torch layer-wise")):
                continue
            row = measured(network, contender, device)
            reference = row["peak_mb"] if name == REFERENCE else reference
            ratio = row["peak_mb"] / reference if reference and row["peak_mb"] else None
            emit({"network": network, "contender": name} | row | {"peak_to_backprop": ratio})


def measured(network, contender, device):
    """One fit of one epoch of each partition."""
    task = ALL_NETWORKS[network] | contender | {"epochs": 1, "device": plain(device), "estimator_device": device}
    fitter, weight_bytes = FITTERS[task["kind"]], 4 * n_weights(task)
    fitter(small(task), *data(small(task)))()  # libraries take their work space
    fit = fitter(task, *data(task))
    gc.collect()
    if device.startswith("cuda"):
        facts, peak = cuda_peak(fit, weight_bytes)
    else:
        facts, peak = fit(), {"peak_mb": None, "reason": NO_PEAK}
    if facts["n_weights"] != n_weights(task):
        raise RuntimeError(f"{network} has {facts['n_weights']} weights, not {n_weights(task)}")
    partitions = {"n_partitions": facts["n_partitions"], "weight_mb": weight_bytes / 1e6}
    return partitions | {"counted_mb": facts["counted_bytes"] / 1e6} | peak
