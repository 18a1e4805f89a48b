"""Who is timed in the suite "speed" of ``dfa.py``: functions that return (seconds of an epoch, fit seconds per epoch).

All train the same ReLU network on the same float32 rows with Adam at a constant rate, without a penalty.
"""

import importlib.util
import time
from functools import partial
from itertools import pairwise

import numpy as np
from _dfa_common import execution_of
from sklearn.neural_network import MLPClassifier

from sklearn_analytic import Device, DFAClassifier

RATE = 1e-3
BACKPROP, TORCH = {"scheme": "backprop"}, {"device": "torch:cpu"}
BF16 = {"device": Device("torch:cpu", precision="bfloat16")}
OURS = {
    "backprop": BACKPROP,
    "dfa": {},
    "random": {"feedback": "random"},
    "binary": {"feedback": "binary"},
    "torch_backprop": TORCH | BACKPROP,
    "torch_dfa": TORCH,
    "torch_backprop_bf16": BACKPROP | BF16,
    "torch_dfa_bf16": BF16,
}


def prepared(name, task, threads):
    """A function that takes one sample, warmed up; or why there is none."""
    if name.startswith("torch"):
        if importlib.util.find_spec("torch") is None:
            return "torch is not installed"
        import torch

        torch.set_num_threads(threads)
    X, y = data(task)
    if name == "mlp":
        return partial(mlp_sample, task, X, y)
    if name == "torch_loop":
        return partial(loop_sample, TorchLoop(task, X, y), task)
    return our_sampler(OURS[name], task, X, y)


def data(task):
    """Rows of a linear teacher with noise: neither is learned by heart in a few epochs, so that no error is zero."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((task["rows"], task["features"]), dtype=np.float32)
    scores = X @ rng.standard_normal((task["features"], task["classes"])) / np.sqrt(task["features"])
    return X, (scores + rng.gumbel(size=scores.shape)).argmax(axis=1)


def seconds_of(function):
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def mlp_sample(task, X, y):
    """An epoch is what k more of them add to a fit of one."""
    k = task["epochs"]
    settings = {"batch_size": task["batch_size"], "learning_rate_init": RATE, "alpha": 0.0, "tol": 0.0}
    settings |= {"n_iter_no_change": 10**6, "random_state": 0}

    def fit(n_epochs):
        MLPClassifier(task["hidden"], max_iter=n_epochs, **settings).fit(X, y)

    one, more = (seconds_of(partial(fit, n_epochs)) for n_epochs in (1, k + 1))
    return (more - one) / k, more / (k + 1)


def our_sampler(parameters, task, X, y):
    """Epochs of the execution behind a fitted estimator, and whole fits."""
    k, n = task["epochs"], len(X)
    shared = {"batch_size": task["batch_size"], "learning_rate": "constant", "learning_rate_init": RATE}
    shared |= {"input_encoding": None, "n_iter_no_change": np.inf, "random_state": 0}
    model = DFAClassifier(task["hidden"], max_iter=1, **shared, **parameters).fit(X, y)  # compiles
    execution, rows = execution_of(model, X, y)
    placed, generator = execution.place(rows), np.random.default_rng(0)
    rates = np.full(-(-n // task["batch_size"]), RATE)

    def sample():
        times = [seconds_of(lambda: execution.epoch(placed, generator.permutation(n), rates)) for _ in range(k)]
        model.set_params(max_iter=k + 1)
        return float(np.median(times)), seconds_of(lambda: model.fit(X, y)) / (k + 1)

    sample()
    return sample


class TorchLoop:
    """What a user of torch would write: shuffled slices of tensors in memory, fused Adam."""

    def __init__(self, task, X, y):
        import torch
        from torch import nn

        torch.manual_seed(task.get("seed", 0))
        sizes, layers = [task["features"], *task["hidden"]], []
        for n_in, n_out in pairwise(sizes):
            layers += [nn.Linear(n_in, n_out), nn.ReLU()]
        self.network = nn.Sequential(*layers, nn.Linear(sizes[-1], task["classes"]))
        self.optimizer = torch.optim.Adam(self.network.parameters(), lr=RATE, fused=True)
        self.x, self.y, self.batch_size = torch.from_numpy(X), torch.from_numpy(y), task["batch_size"]
        self.torch, self.loss = torch, nn.functional.cross_entropy

    def epoch(self):
        total = 0.0
        for rows in self.torch.randperm(len(self.x)).split(self.batch_size):
            self.optimizer.zero_grad()
            loss = self.loss(self.network(self.x[rows]), self.y[rows])
            loss.backward()
            self.optimizer.step()
            total += loss.item() * len(rows)
        return total


def loop_sample(loop, task):
    """Passes of the loop; a fit is nothing but its passes."""
    times = [seconds_of(loop.epoch) for _ in range(task["epochs"])]
    return float(np.median(times)), float(np.mean(times))
