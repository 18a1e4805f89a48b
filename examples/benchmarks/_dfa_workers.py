"""Measurements of ``dfa.py`` that need a process of their own: speed at a number of threads, peak memory.

``in_fresh_process`` runs this file with a task as JSON and reads its answer from the last line of the output.
"""

import json
import os
import subprocess
import sys
import warnings

import numpy as np
from _common import MemorySampler
from threadpoolctl import threadpool_limits

POOLS = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")


def in_fresh_process(kind, task, threads, script=__file__, variables=None):
    """The answer of ``WORKERS[kind]`` to a task, computed under a limit on all pools of threads.

    ``script`` is the file with the workers, ``variables`` are more environment variables.

    Raises
    ------
    RuntimeError
        With the last line of the process's errors, if it fails.
    """
    environment = os.environ | dict.fromkeys(POOLS, str(threads)) | {"OMP_WAIT_POLICY": "PASSIVE"}
    environment |= variables or {}
    command = [sys.executable, script, json.dumps({"kind": kind, "task": task, "threads": threads})]
    result = subprocess.run(command, env=environment, capture_output=True, text=True)
    if result.returncode:
        lines = result.stderr.strip().splitlines() or [f"exit status {result.returncode}"]
        raise RuntimeError(lines[-1])
    return json.loads(result.stdout.splitlines()[-1])


def speed(task, threads):
    """Seconds of every contender, their repeats interleaved."""
    from _dfa_speed_contenders import prepared

    contenders = {name: prepared(name, task, threads) for name in task["contenders"]}
    runners = {name: runner for name, runner in contenders.items() if not isinstance(runner, str)}
    samples = {name: {"epoch": [], "fit": []} for name in runners}
    for _ in range(task["repeats"]):
        for name, runner in runners.items():
            epoch, fit = runner()
            samples[name]["epoch"].append(epoch)
            samples[name]["fit"].append(fit)
    rows = [_timed(name, taken) for name, taken in samples.items()]
    left_out = {name: reason for name, reason in contenders.items() if isinstance(reason, str)}
    return rows + [{"contender": name, "error": reason, "skipped": True} for name, reason in left_out.items()]


def _timed(name, samples):
    """The row of one contender."""
    timer = {"mlp": "difference of two fits", "torch_loop": "one pass of the loop"}.get(name, "epoch of the execution")
    return {
        "contender": name,
        "epoch_timer": timer,
        "epoch_seconds": float(np.median(samples["epoch"])),
        "fit_seconds_per_epoch": float(np.median(samples["fit"])),
        "epoch_samples": samples["epoch"],
        "fit_samples": samples["fit"],
    }


def peak(task, threads):
    """Peak resident memory of a fit of one epoch, above its start; a small fit before it has loaded everything."""
    from sklearn_analytic import ApproximateActivation, DFAClassifier

    rng = np.random.default_rng(0)
    n = 2 * task["batch_size"]
    X, y = rng.standard_normal((n, 64), dtype=np.float32), rng.integers(10, size=n)
    activation = ApproximateActivation("relu", bits=task["activation__bits"])
    options = {"device": task["device"], "activation": activation, "max_iter": 1, "random_state": 0}
    DFAClassifier((16, 16), batch_size=32, **options).fit(X[:64], y[:64])
    with MemorySampler() as sampler:
        model = DFAClassifier(task["layers"], batch_size=task["batch_size"], **options).fit(X, y)
    peaks = sampler.above_start
    return {"peak_mb": peaks["peak_hwm"], "sampled_mb": peaks["peak_rss"], "activation_bytes": model.activation_bytes_}


WORKERS = {"speed": speed, "peak": peak}


def answer(workers):
    """Do what the first argument asks for, and print the answer."""
    request = json.loads(sys.argv[1])
    with threadpool_limits(request["threads"]), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = workers[request["kind"]](request["task"], request["threads"])
    print(json.dumps(found))


if __name__ == "__main__":
    answer(WORKERS)
