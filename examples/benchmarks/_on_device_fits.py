"""Part "fits" of ``on_device.py``: closed-form fits of images as many and as large as MNIST's, generated.

The device fits all rows; the CPU the first sixth of them, so that rates are compared: rows per second of a fit.
``difference`` is that of both devices' scores after a fit of the same few rows, over the largest score.
"""

import numpy as np
from _on_device_clock import plain, timed

from sklearn_analytic import ClosedFormMLP, CPNetClassifier

CLASSES, SHARE = 10, 6  # the CPU has one row in so many
FULL = {"train": 60_000, "test": 10_000, "pixels": 784, "few": 2000, "units": 2000, "repeats": 3, "contenders": None}
QUICK = {"train": 600, "test": 100, "pixels": 64, "few": 100, "units": 40, "repeats": 1, "contenders": 3}


def run(settings, emit):
    """A row per contender: first what the device says, then beside it what the CPU says."""
    device, sizes = settings["device"], QUICK if settings["quick"] else FULL
    X, y = images(sizes["train"] + sizes["test"], sizes["pixels"])
    data = [part[k] for part in (X, y) for k in (slice(sizes["train"]), slice(sizes["train"], None))]
    for name, make in list(contenders(sizes["units"]).items())[: sizes["contenders"]]:
        row = {"contender": name} | on_device(make, device, data, sizes, name == "tensor X")
        emit(row, name)
        emit(row | on_cpu(make, row, data, sizes) | agreement(make, device, data, sizes), name)


def images(n, n_pixels, seed=0):
    """Grey images in [0, 1] and their class: one of ten smooth shapes, bent by twenty others, with noise."""
    rng, side = np.random.default_rng(seed), round(n_pixels**0.5)
    steps = np.linspace(0, 1, side)
    waves = np.stack([np.cos(np.pi * k * steps) for k in range(6)])  # (6, side)
    shapes = np.einsum("pab,ai,bj->pij", rng.standard_normal((CLASSES + 20, 6, 6)), waves, waves)
    shapes = shapes.reshape(len(shapes), -1).astype(np.float32)
    y = rng.integers(CLASSES, size=n)
    X = rng.standard_normal((n, 20), dtype=np.float32) @ shapes[CLASSES:]
    X += 2 * shapes[y]
    X += 4 * rng.standard_normal(X.shape, dtype=np.float32)
    X *= 0.03
    X += 0.5
    return X.clip(0, 1, out=X), y


def contenders(units):
    """{name: a function of (device, precision) that makes the estimator}."""

    def random(precision):
        return lambda device: ClosedFormMLP(
            units, hidden="random", alpha=1.0, precision=precision, random_state=0, device=device
        )

    found = {"ClosedFormMLP, random, float32": random("float32")}
    found["CPNet"] = lambda device: CPNetClassifier(random_state=0, device=device)
    found |= {f"ClosedFormMLP, random, {precision}": random(precision) for precision in ("bfloat16", "tf32")}
    found["tensor X"] = random("float32")
    found["ClosedFormMLP, auto"] = lambda device: ClosedFormMLP(random_state=0, device=device)
    return found


def on_device(make, device, data, sizes, as_tensor):
    """Seconds of a fit and of predictions on the device; rows start on the host, but for "tensor X"."""
    X, X_test, y, y_test = data
    if as_tensor:
        import torch

        X = torch.from_numpy(X).to(plain(device))
    make(device).fit(X[: sizes["few"]], y[: sizes["few"]])  # loads the libraries' kernels
    model, seconds = timed(device, lambda: make(device).fit(X, y), sizes["repeats"], warm=False)
    guess, predicting = timed(device, lambda: model.predict(X_test), sizes["repeats"])
    return _facts("device", len(y), seconds, guess, y_test) | {"device_predict_s": predicting}


def on_cpu(make, row, data, sizes):
    """The same on the CPU with a part of the rows, in float32: NumPy has neither of the other precisions."""
    X, X_test, y, y_test = data
    few, part = sizes["few"], len(y) // SHARE
    estimator = lambda: _in_float32(make("cpu"))  # noqa: E731
    estimator().fit(X[:few], y[:few])  # compiles
    model, seconds = timed("cpu", lambda: estimator().fit(X[:part], y[:part]), 1, warm=False)
    found = _facts("cpu", part, seconds, model.predict(X_test), y_test)
    return found | {"rate_to_cpu": row["device_rows_per_s"] / found["cpu_rows_per_s"]}


def agreement(make, device, data, sizes):
    """Largest difference of scores on the test rows after fits of the same rows."""
    X, X_test, y, _ = data
    few = sizes["few"]
    models = (make(device), _in_float32(make("cpu")))
    scores = [model.fit(X[:few], y[:few]).decision_function(X_test) for model in models]
    return {"difference": float(np.max(np.abs(scores[0] - scores[1])) / np.max(np.abs(scores[1])))}


def _in_float32(model):
    """An estimator without the precisions of GPUs."""
    return model.set_params(precision="float32") if "precision" in model.get_params() else model


def _facts(side, rows, seconds, guess, y):
    """What is told of one device."""
    accuracy = float(np.mean(np.asarray(guess) == y))
    return {
        f"{side}_rows": rows,
        f"{side}_fit_s": seconds,
        f"{side}_rows_per_s": rows / seconds,
        f"{side}_accuracy": accuracy,
    }
