"""Estimators that workers import: they do to themselves, in a worker, what the tests are about."""

import copy
import os
import signal
from pathlib import Path

import numpy as np
from sklearn.base import BaseEstimator

from sklearn_analytic import Device, DFAClassifier
from sklearn_analytic.feedback.method import DirectFeedback


def _rank():
    import torch.distributed as dist

    return dist.get_rank() if dist.is_initialized() else 0


class SavingClassifier(DFAClassifier):
    """Leaves every rank's weights in the folder that the environment names."""

    def fit(self, X, y, sample_weight=None):
        super().fit(X, y, sample_weight)
        np.savez(Path(os.environ["SAVED_WEIGHTS"]) / f"rank{_rank()}.npz", *self.coefs_, *self.intercepts_)
        return self


class _Killed(DirectFeedback):
    def watch(self, execution, rows):
        if _rank() == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        return {}


class _Failing(DirectFeedback):
    def watch(self, execution, rows):
        if _rank() == 1:
            raise ZeroDivisionError("the rank gave up")
        return {}


class _Stopped(DirectFeedback):
    def watch(self, execution, rows):
        if _rank() == 1:
            os.kill(os.getpid(), signal.SIGSTOP)
        return {}


class DyingClassifier(DFAClassifier):
    """Rank 1 is killed after the first epoch."""

    _kind_of_method = _Killed


class RaisingClassifier(DFAClassifier):
    """Rank 1 raises after the first epoch."""

    _kind_of_method = _Failing


class StoppedClassifier(DFAClassifier):
    """Rank 1 stops, and is not dead."""

    _kind_of_method = _Stopped


def networks():
    """{name: (network, scheme, settings of the feedback)}: every way of gradients through the reduction."""
    from torch import nn

    from sklearn_analytic.nn._torch_networks import dense_network, image_network, recurrent_network

    frozen = dense_network((16, 6, 5, 3), "relu")
    frozen[2].weight.requires_grad_(False)
    frozen[4].bias.requires_grad_(False)
    tied = dense_network((16, 6, 6, 3), "tanh")
    tied[2] = nn.Sequential(tied[2], nn.Tanh(), tied[2])
    return {
        "backprop": (dense_network((16, 6, 5, 3), "tanh"), "backprop", {}),
        "dfa": (dense_network((16, 6, 5, 3), "relu"), "dfa", {}),
        "dkp": (dense_network((16, 6, 5, 3), "tanh"), "dfa", {"name": "dkp"}),
        "hybrid": (image_network((4, 4), (3,), (5,), 3), "hybrid", {"name": "random"}),
        "modular": (dense_network((16, 6, 5, 5, 4, 3), "tanh"), "modular", {}),
        "recurrent": (recurrent_network(4, 16, (5,), (4,), 3), "modular", {}),
        "signs": (dense_network((16, 6, 5, 3), "tanh"), "dfa", {"name": "binary", "init": "sign_product"}),
        "following": (dense_network((16, 6, 5, 5, 4, 3), "tanh"), "modular", {"name": "sparse", "init": "product"}),
        "recurrent, following": (
            recurrent_network(4, 16, (5,), (4,), 3),
            "modular",
            {"name": "sparse", "init": "product", "density": 0.5},
        ),
        "frozen": (frozen, "backprop", {}),
        "tied": (tied, "backprop", {}),
        "part unused": (_with_idle_part(), "dfa", {}),
    }


def _with_idle_part():
    """A network with a parameter that its forward does not use."""
    import torch
    from torch import nn

    class Idle(nn.Linear):
        def forward(self, x):
            return torch.tanh(nn.functional.linear(x, self.weight))

    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(16, 5), Idle(5, 5), nn.Linear(5, 3))


class Battery(BaseEstimator):
    """Trains every network of :func:`networks`, one after the other in the same group; ``arrays_`` is all weights."""

    _kind_of_method, warm_start = DirectFeedback, False

    def __init__(self, device="cpu", random_state=0):
        self.device = device
        self.random_state = random_state

    def fit(self, X, y, sample_weight=None):
        from sklearn_analytic.nn._plans import TorchSequential, ranks_of

        self.arrays_, self.communication_ = {}, {}
        shared = Device.of(self.device).distributed
        ranks = ranks_of(TorchSequential(None, distributed=shared)) if shared else None
        for name, (network, scheme, changes) in networks().items():
            execution = _trained(network, scheme, changes, X, y, ranks)
            arrays = execution.snapshot()["network"]
            self.arrays_ |= {f"{name}/{key}": array for key, array in arrays.items()}
            self.communication_[name] = execution.communication()
        return self


def _trained(network, scheme, changes, X, y, ranks):
    """Two epochs, between which a copy takes over, and one of batches too small to share."""
    from sklearn_analytic.nn import FeedbackRecipe, Optimizer, Recipe, Rows
    from sklearn_analytic.nn._torch_execution import TorchExecution

    feedback = FeedbackRecipe(**{"name": "refresh", "interval": 2} | changes)
    size = 3 if changes else 2  # deep enough for mean slopes in modules
    recipe = Recipe(
        scheme, feedback=feedback, optimizer=Optimizer("sgd"), precision="float64", batch_size=8, module_size=size
    )
    execution = TorchExecution(network, recipe, ranks=ranks)
    placed = execution.place(Rows(X, y))
    execution.epoch(placed, np.random.default_rng(0).permutation(len(y)), np.full(6, 0.1))
    execution.log_epoch()
    execution = copy.deepcopy(execution)
    execution.restore(execution.snapshot())
    execution.epoch(placed, np.random.default_rng(1).permutation(len(y)), np.full(6, 0.1))
    execution.epoch(placed, np.arange(3), np.full(3, 0.1))
    return execution
