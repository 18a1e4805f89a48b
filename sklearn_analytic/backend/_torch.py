"""Backend on any torch device: the same verbs, the same mathematics, float64 sums."""

import numpy as np
import torch

_CHUNK = 1024


def _in_place(function):
    """Turn a unary in-place tensor method into an activation with bias."""

    def apply(z, bias):
        return function(z.add_(bias))

    return apply


ACTIVATIONS = {
    "identity": _in_place(lambda z: z),
    "relu": _in_place(lambda z: z.relu_()),
    "tanh": _in_place(lambda z: z.tanh_()),
    "bump": _in_place(lambda z: z.clamp_(max=0).exp_()),
    "gaussian": _in_place(lambda z: z.square_().neg_().exp_()),
    "cos": _in_place(lambda z: z.cos_()),
    "triangle": _in_place(lambda z: z.abs_().neg_().add_(1).relu_()),
}


class TorchBackend:
    """torch on one device; float64 must be supported there."""

    def __init__(self, device):
        self.device = torch.device(device)
        torch.zeros(1, dtype=torch.float64, device=self.device)  # fails here, not in the middle of a fit

    def asarray(self, array, dtype=None):
        """Put ``array`` on the device, as float64, float32 or its own dtype; no copy where none is needed."""
        if not isinstance(array, torch.Tensor):
            array = np.ascontiguousarray(array)
            array = torch.from_numpy(array if array.flags.writeable else array.copy())
        return array.to(self.device, dtype=None if dtype is None else getattr(torch, np.dtype(dtype).name))

    def to_numpy(self, array):
        """Bring ``array`` to the host as a NumPy array."""
        return array.detach().cpu().numpy() if isinstance(array, torch.Tensor) else np.asarray(array)

    def concatenate(self, parts):
        """Return the parts stacked along the first axis."""
        return torch.cat(parts)

    def ones(self, n):
        """Return a column (n, 1) of ones in float64."""
        return torch.ones((n, 1), dtype=torch.float64, device=self.device)

    def stack_columns(self, parts, scales, dtype=np.float64):
        """Return ``[scale_1 part_1 | scale_2 part_2 | ...]``, a fresh row-major array of ``dtype``."""
        dtype = getattr(torch, np.dtype(dtype).name)
        return torch.cat([p.to(dtype) * s for p, s in zip(parts, scales, strict=True)], dim=1)

    def matmul(self, a, b):
        """Return ``a @ b`` in the dtype of ``a``."""
        return a @ b.to(a.dtype)

    def gram(self, a):
        """Return ``a.T @ a`` in float64; a float32 ``a`` is multiplied in short row chunks, summed in float64."""
        return self.cross(a, a)

    def cross(self, a, b):
        """Return ``a.T @ b`` in float64, with the same rule for float32 as :meth:`gram`."""
        step = max(_CHUNK, a.shape[1]) if a.dtype == torch.float32 else max(len(a), 1)
        out = torch.zeros((a.shape[1], b.shape[1]), dtype=torch.float64, device=self.device)
        for start in range(0, len(a), step):
            out += a[start : start + step].T @ b[start : start + step].to(a.dtype)
        return out

    def qr_r(self, a):
        """Return the upper triangular (or trapezoidal) factor R of ``a = Q R``; Q is never formed."""
        return torch.linalg.qr(a.to(torch.float64), mode="r").R

    def solve_upper_right(self, b, r):
        """Return ``b r^{-1}`` for upper triangular ``r`` by substitution; a row-major float64 ``b`` is overwritten."""
        return torch.linalg.solve_triangular(r, b, upper=True, left=False)

    def cholesky_upper(self, a):
        """Return upper triangular C with ``C.T @ C = a``, or None where ``a`` is not positive definite."""
        c, info = torch.linalg.cholesky_ex(a, upper=True)
        return c if int(info) == 0 else None

    def activate(self, z, bias, activation):
        """Return ``activation(z + bias)``, computed in place of ``z``."""
        return ACTIVATIONS[activation](z, bias)
