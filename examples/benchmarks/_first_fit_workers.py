"""Measurements of ``first_fit.py``, each in a process of its own."""

import multiprocessing
import statistics
import time

from _dfa_workers import answer

BY_STEPS = {"max_iter": 2, "n_iter_no_change": float("inf")}


def model_of(name, **parameters):
    """An estimator with its defaults but a seed."""
    import sklearn_analytic

    kind = getattr(sklearn_analytic, name)
    return kind(**({"random_state": 0} if "random_state" in kind().get_params() else {}) | parameters)


def first_and_second(task, threads):
    """Processor seconds of two fits on breast cancer, and of every function that was compiled on the way."""
    from numba.core import event
    from sklearn.datasets import load_breast_cancer

    compiled, running = [], []

    class Clock(event.Listener):
        def on_start(self, event):
            running.append(time.process_time())

        def on_end(self, event):
            seconds = time.process_time() - running.pop()
            function = event.data["dispatcher"].py_func
            if not running:  # what it calls is compiled inside
                compiled.append({"function": f"{function.__module__}.{function.__name__}", "seconds": seconds})

    name = task["estimator"]
    model = model_of(name, **(BY_STEPS if name.startswith(("DFA", "Layer", "Decoup")) else {}))
    X, y = load_breast_cancer(return_X_y=True)
    event.register("numba:compile", Clock())
    fits = []
    for _ in range(2):
        start = time.process_time()
        model.fit(X, y)
        fits.append(time.process_time() - start)
    return {"estimator": name, "first": fits[0], "second": fits[1], "compiled": compiled}


def torch_fits(task, threads):
    """Processor seconds of two fits on breast cancer in torch on the CPU, which is imported before."""
    import torch  # noqa: F401
    from sklearn.datasets import load_breast_cancer

    model, fits = model_of(task["estimator"], device="torch:cpu", **BY_STEPS), []
    X, y = load_breast_cancer(return_X_y=True)
    for _ in range(2):
        start = time.process_time()
        model.fit(X, y)
        fits.append(time.process_time() - start)
    return {"estimator": task["estimator"], "first": fits[0], "second": fits[1]}


def busy(task, threads):
    """Wall seconds of fits on digits beside a busy process: {threads of BLAS: median of five}."""
    from sklearn.datasets import load_digits
    from threadpoolctl import threadpool_limits

    X, y = load_digits(return_X_y=True)
    model, seconds = model_of(task["estimator"]).fit(X, y), {1: [], threads: []}
    other = multiprocessing.get_context("spawn").Process(target=spin, daemon=True)
    other.start()
    time.sleep(1)
    for _ in range(5):
        for n, found in seconds.items():
            with threadpool_limits(n):
                start = time.perf_counter()
                model.fit(X, y)
                found.append(time.perf_counter() - start)
    other.terminate()
    return {"estimator": task["estimator"], "seconds": {str(n): statistics.median(s) for n, s in seconds.items()}}


def spin():
    """Keep a core busy."""
    while True:
        pass


if __name__ == "__main__":
    answer({"first_and_second": first_and_second, "torch_fits": torch_fits, "busy": busy})
