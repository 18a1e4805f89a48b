"""What computes: NumPy with numba on the CPU, torch on any device. Chosen once per call, handed down as an argument."""

import sys
from functools import lru_cache

from sklearn_analytic.backend import _numba_notice  # noqa: F401 - it listens from now on
from sklearn_analytic.backend import _numba_training as training
from sklearn_analytic.backend import _numba_trees as trees
from sklearn_analytic.backend._numpy import ACTIVATIONS, NumpyBackend
from sklearn_analytic.backend._protocol import Backend
from sklearn_analytic.backend._threads import is_job, n_threads, one_blas_thread, rows_are_few

__all__ = [
    "ACTIVATION_NAMES",
    "Backend",
    "backend_for",
    "dtype_name",
    "get_backend",
    "is_job",
    "is_tensor",
    "n_threads",
    "one_blas_thread",
    "rows_are_few",
    "training",
    "trees",
]

ACTIVATION_NAMES = tuple(ACTIVATIONS)


def get_backend(device, precision="float32"):
    """Return the backend of a device string.

    Parameters
    ----------
    device : str
        "cpu" is NumPy and numba; "cuda", "cuda:1", "xpu" or "torch:cpu" are torch.
    precision : {"float32", "tf32", "bfloat16"}, default="float32"
        How float32 operands are multiplied. TF32 is float32 where the device has no such units; "bfloat16" also
        keeps hidden features in it, and needs torch. float64 operands are float64 always.

    Returns
    -------
    Backend
        A stateless object with the verbs of :class:`Backend`.

    Raises
    ------
    ValueError
        If torch does not know the device, or the device has no float64, or NumPy is asked for bfloat16.
    ImportError
        If a torch device is asked for and torch is not installed.

    Examples
    --------
    >>> from sklearn_analytic.backend import get_backend
    >>> get_backend("cpu").device
    'cpu'
    """
    if not isinstance(device, str):
        raise TypeError(f"device must be a string such as 'cpu' or 'cuda', got {device!r}.")
    if device == "cpu" and precision == "bfloat16":
        raise ValueError(
            "precision='bfloat16' needs torch, and device='cpu' is NumPy, which has no bfloat16: "
            "use device='torch:cpu' or device='cuda', or precision='float32'."
        )
    return NumpyBackend() if device == "cpu" else _torch_backend(device, precision)


def is_tensor(x):
    """Return whether ``x`` is a torch tensor; torch is never imported to find out.

    Parameters
    ----------
    x : object
        Anything.

    Returns
    -------
    bool
        True for a tensor.

    Examples
    --------
    >>> from sklearn_analytic.backend import is_tensor
    >>> is_tensor([1.0])
    False
    """
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(x, torch.Tensor)


def dtype_name(array):
    """Return the name of an array's dtype, without its library's prefix.

    Parameters
    ----------
    array : ndarray or torch.Tensor
        Any array of a backend.

    Returns
    -------
    str
        Such as "float32".

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_analytic.backend import dtype_name
    >>> dtype_name(np.zeros(1))
    'float64'
    """
    return _name_of(array.dtype)


@lru_cache(maxsize=64)
def _name_of(dtype):
    """The name of a dtype; NumPy makes it anew each time, in as long as a small product takes."""
    return str(dtype).removeprefix("torch.")


def backend_for(x, device, precision="float32"):
    """Return the backend of rows: a tensor stays on its device, all else goes to ``device``.

    Parameters
    ----------
    x : array-like or torch.Tensor
        Rows.
    device : str
        As in :func:`get_backend`.
    precision : {"float32", "tf32", "bfloat16"}, default="float32"
        As in :func:`get_backend`.

    Returns
    -------
    Backend
        What computes.

    Examples
    --------
    >>> from sklearn_analytic.backend import backend_for
    >>> backend_for([[1.0]], "cpu").device
    'cpu'
    """
    on_its_device = is_tensor(x) and device == "cpu"
    return _torch_backend(str(x.device), precision) if on_its_device else get_backend(device, precision)


def _torch_backend(device, precision="float32"):
    """Import torch only when a torch device is asked for, and turn its failures into advice."""
    try:
        from sklearn_analytic.backend._torch import TorchBackend
    except ImportError as error:
        raise ImportError(
            f"device={device!r} needs torch: install sklearn_analytic[torch], or use device='cpu'."
        ) from error
    try:
        return TorchBackend(device.removeprefix("torch:"), precision)
    except (RuntimeError, TypeError, AssertionError) as error:
        raise ValueError(
            f"device={device!r} cannot be used: {str(error).splitlines()[0].rstrip('.')}. "
            "It must name a torch device with float64 arithmetic, such as 'cuda' or 'torch:cpu'; "
            "use device='cpu' for NumPy and numba."
        ) from error
