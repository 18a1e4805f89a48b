"""What computes, as a value: what ``device="cpu"`` stands for."""

from typing import ClassVar

import numpy as np

from sklearn_analytic.backend import get_backend
from sklearn_analytic.estimator.checks import one_of
from sklearn_analytic.estimator.value import Value, store


def _check_device(name, value):
    """Refuse a device that cannot be used, before anything is trained."""
    if not isinstance(value, str):
        raise TypeError(f"{name} must be a string such as 'cpu' or 'cuda', or Device(...), got {value!r}.")
    get_backend(value)
    if value.removeprefix("torch:").startswith("meta"):
        raise ValueError(f"{name}={value!r} holds no numbers: choose 'cpu', 'torch:cpu' or 'cuda'.")


def _check_distributed(name, value):
    """Refuse what is no way to train together."""
    if not (isinstance(value, bool | np.bool_) or (isinstance(value, str) and value == "entropy")):
        raise ValueError(f"{name} must be True, False or 'entropy', got {value!r}.")


class Device(Value):
    """Where and in which numbers a network is trained: ``device="cuda"`` stands for ``Device("cuda")``.

    Parameters
    ----------
    name : str, default="cpu"
        "cpu" compiles plain networks; "cuda", "torch:cpu" and the like train with torch.
    precision : {"float32", "float64", "bfloat16"}, default="float32"
        Dtype of the weights; "bfloat16" multiplies in bfloat16 where the device has units for it, with float32 weights.
    distributed : bool or "entropy", default=False
        Every process of the initialised torch.distributed group calls ``fit`` with the same rows; each computes its
        share of every mini-batch, and the eigendecompositions of its layers. The result is that of one process, but
        for dropout and batch normalisation in a given network, which see their share. "entropy" sends gradients as
        entropy-coded symbols of few bits (with torch: "torch:cpu" or a GPU).
        :func:`sklearn_analytic.distributed.data_parallel` starts the processes by itself. Networks in modules, which
        work at the same time as they are, have none of it.

    Examples
    --------
    >>> from sklearn_analytic import Device, DFAClassifier
    >>> DFAClassifier(device=Device(precision="float64")).device
    Device(precision='float64')
    """

    parameter, first = "device", "name"
    checks: ClassVar = {
        "name": _check_device,
        "precision": one_of(("float32", "float64", "bfloat16")),
        "distributed": _check_distributed,
    }
    earlier: ClassVar = {"precision": "precision", "distributed": "distributed"}

    def __init__(self, name="cpu", *, precision="float32", distributed=False):
        store(self, locals())

    @property
    def weight_dtype(self):
        """Dtype of weights on the host: bfloat16 is how products are computed, not how sums are kept."""
        return np.float64 if self.precision == "float64" else np.float32

    @property
    def torch_for(self):
        """What of the settings needs torch, in words, or None."""
        if self.name != "cpu":
            return f"device={self.name!r}"
        if self.precision == "bfloat16":
            return "device__precision='bfloat16'"
        return f"device__distributed={self.distributed!r}" if self.distributed else None
