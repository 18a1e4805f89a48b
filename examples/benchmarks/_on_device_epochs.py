"""Part "epochs" of ``on_device.py``: epochs of DFA, layer-wise and decoupled training against a plain torch loop.

One network, one number of rows and batches, Adam. An epoch is a call of the execution behind the fitted estimator, its
rows on the device, as the loop's are; layer-wise training with partitions in turns keeps features on the host between
them, so that its epoch (one of every partition) is what a longer fit takes more than a shorter one.
"""

import numpy as np
from _dfa_common import execution_of
from _on_device_clock import plain, samples_of, timed
from _on_device_fits import images
from _on_device_loop import RATE, Loop, network_of

from sklearn_analytic import DecoupledMLPClassifier, Device, DFAClassifier, LayerwiseMLP

HIDDEN, CLASSES = (1024, 1024, 1024), 10
FULL = {"rows": 60_000, "pixels": 784, "hidden": HIDDEN, "batch": 500, "repeats": 5}
QUICK = {"rows": 200, "pixels": 16, "hidden": (16, 16), "batch": 50, "repeats": 1}
SHARED = {"learning_rate": "constant", "learning_rate_init": RATE, "input_encoding": None, "random_state": 0}
# {contender: (estimator, its parameters, as a grid names them)}
OURS = {
    "backprop": (DFAClassifier, {"scheme": "backprop"}),
    "DFA": (DFAClassifier, {}),
    "DFA, bfloat16": (DFAClassifier, {"device__precision": "bfloat16"}),
    "decoupled, 2 modules": (DecoupledMLPClassifier, {"n_modules": 2}),
    "layer-wise, side by side": (LayerwiseMLP, {"order": "simultaneous"}),
}


def run(settings, emit):
    """The loop first: all others are told as multiples of it."""
    device, sizes = settings["device"], QUICK if settings["quick"] else FULL
    X, y = images(sizes["rows"], sizes["pixels"])
    network = network_of((sizes["pixels"], *sizes["hidden"], CLASSES))
    loop, generator = Loop(network, X, y, sizes["batch"], plain(device)), np.random.default_rng(0)
    order = lambda: generator.permutation(len(X))  # noqa: E731
    loss, samples = samples_of(device, lambda: loop.epoch(order()), sizes["repeats"])
    first = _row("torch loop", sizes, samples, loss)
    emit(first)
    for name in OURS:
        row = _row(name, sizes, *reversed(epochs(name, device, X, y, sizes)))
        emit(row | {"to_loop": row["epoch_s"] / first["epoch_s"]})
    row = in_turns(device, X, y, sizes)
    emit(row | {"to_loop": row["epoch_s"] / first["epoch_s"]})


def estimator(name, device, sizes, **more):
    """One of ours, of one epoch."""
    kind, parameters = OURS[name]
    shared = {"batch_size": sizes["batch"], "device": Device(device), "max_iter": 1} | SHARED
    return kind(sizes["hidden"], **(shared | more)).set_params(**parameters)


def epochs(name, device, X, y, sizes):
    """(loss of the last epoch, seconds of every one) of the execution that a fit has left."""
    few = 2 * sizes["batch"]
    model = estimator(name, device, sizes).fit(X[:few], y[:few])
    execution, rows = execution_of(model, X, y)
    placed, generator = execution.place(rows), np.random.default_rng(0)
    rates = np.full(-(-len(X) // sizes["batch"]), RATE)
    return samples_of(device, lambda: execution.epoch(placed, generator.permutation(len(X)), rates), sizes["repeats"])


def in_turns(device, X, y, sizes):
    """Layer-wise training, a partition after the other: the difference of two fits, of 1 and of 2 epochs each."""
    n = len(sizes["hidden"])

    def fit(n_epochs):
        shared = {"batch_size": sizes["batch"], "device": device, "max_iter": n * n_epochs} | SHARED
        return LayerwiseMLP(sizes["hidden"], **shared).fit(X, y)

    _, one = timed(device, lambda: fit(1), 1)
    model, two = timed(device, lambda: fit(2), 1, warm=False)
    return _row("layer-wise, in turns", sizes, [max(two - one, 0.0)], model.loss_) | {"fit_of_two_s": two}


def _row(name, sizes, samples, loss):
    """Medians of the epochs of one contender."""
    row = {"contender": name, "rows": sizes["rows"], "batch_size": sizes["batch"], "hidden": list(sizes["hidden"])}
    return row | {"epoch_s": float(np.median(samples)), "samples": samples, "loss": float(loss)}
