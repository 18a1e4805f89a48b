"""Peak memory of one fit, measured in a process of its own: see ``_layerwise_memory.py``."""

import gc
import time
from functools import partial

import numpy as np
from _common import memory_mb, peak_rss_mb, reset_peak
from _dfa_workers import answer
from scipy.linalg.blas import sgemm


def peak(task, threads):
    """Peak memory of a fit above that of the same process, holding the same rows and weights, before the fit."""
    if task["needs_torch"]:
        import torch

        torch.set_num_threads(threads)
    X, y = data(task)
    fitter = FITTERS[task["kind"]]
    fitter(small(task), *data(small(task)))()  # loads all code
    fill_blas_buffers(task)
    fit = fitter(task, X, y)
    wall, start = time.perf_counter(), time.process_time()
    facts, above = METERS[task["device"]](fit, task["weight_bytes"])
    seconds, wall = time.process_time() - start, time.perf_counter() - wall
    return facts | above | {"seconds": seconds, "wall_seconds": wall}


def data(task):
    """Rows of a linear teacher with noise."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((task["rows"], task["features"]), dtype=np.float32)
    scores = X @ rng.standard_normal((task["features"], task["classes"]), dtype=np.float32)
    return X, (scores / np.sqrt(task["features"]) + rng.gumbel(size=scores.shape)).argmax(axis=1)


def small(task):
    """The same kind of network and training, small."""
    conv = [[4] * len(block) for block in task["conv"]]
    return task | {"hidden": [16] * len(task["hidden"]), "conv": conv, "rows": 128, "batch_size": 32}


def fill_blas_buffers(task):
    """One large product: what BLAS keeps for itself is no matter of training."""
    a = np.ones((1024, 1024), np.float32)
    sgemm(1.0, a, a)
    np.matmul(a, a)
    if task["needs_torch"]:
        import torch

        torch.mm(torch.from_numpy(a), torch.from_numpy(a))


# ------------------------------------------------------------------ fits


def estimator_fit(task, X, y):
    """A function that fits LayerwiseMLP and returns what it says of itself."""
    from sklearn_analytic import ImageNetwork, LayerwiseMLP, Partitions

    shared = {"batch_size": task["batch_size"], "input_encoding": None, "random_state": 0}
    network = {"hidden_layer_sizes": tuple(task["hidden"]), "partitions": Partitions(**task["partitions"])}
    if task["image_shape"]:
        network["network"] = ImageNetwork(tuple(task["image_shape"]), task["conv"])
    n = task["partitions"].get("n_partitions") or task["layers"]
    shared |= {"max_iter": n * task["epochs"], "n_iter_no_change": np.inf, "device": task["estimator_device"]}

    def fit():
        model = LayerwiseMLP(**network, **shared).fit(X, y)
        return {
            "counted_bytes": int(model.layer_bytes_.max()),
            "n_weights": n_weights(model),
            "n_partitions": len(model.partitions_),
        }

    return fit


def n_weights(model):
    """Weights of the network that predicts."""
    plain = getattr(model, "coefs_", None)
    arrays = [*plain, *model.intercepts_] if plain is not None else model.network_state_.values()
    return int(sum(array.size for array in arrays))


def loop_fit(task, X, y, checkpointing):
    """A function that trains with the plain loop; the bytes are counted before, in another network."""
    import _layerwise_loop as loop

    counted = loop.counted_bytes(task, X, y, checkpointing)
    gc.collect()

    def fit():
        network = loop.train(task, X, y, checkpointing)
        weights = loop.weight_bytes(network) // 4
        return {"counted_bytes": counted, "n_weights": weights, "n_partitions": 1}

    return fit


FITTERS = {
    "estimator": estimator_fit,
    "loop": partial(loop_fit, checkpointing=False),
    "checkpointing": partial(loop_fit, checkpointing=True),
}


# ------------------------------------------------------------------ meters


def host_peak(fit, weight_bytes):
    """Resident memory of the process: the kernel's high-water mark, started anew where it lets one."""
    gc.collect()
    weights = np.ones(weight_bytes, np.uint8)
    before = memory_mb()["rss"]
    del weights
    if not reset_peak():
        raise OSError("the kernel does not let the peak of resident memory be started anew (/proc/self/clear_refs)")
    facts = fit()
    return facts, {"peak_mb": peak_rss_mb() - before, "before_mb": before}


def cuda_peak(fit, weight_bytes):
    """Memory that torch's allocator handed out on the device."""
    import torch

    gc.collect()
    torch.cuda.reset_peak_memory_stats()
    before = (torch.cuda.memory_allocated() + weight_bytes) / 1e6
    facts = fit()
    return facts, {"peak_mb": torch.cuda.max_memory_allocated() / 1e6 - before, "before_mb": before}


METERS = {"cpu": host_peak, "cuda": cuda_peak}

if __name__ == "__main__":
    answer({"peak": peak})
