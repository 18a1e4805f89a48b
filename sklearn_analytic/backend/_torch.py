"""Backend on any torch device: the same verbs, the same mathematics, float64 sums."""

from contextlib import contextmanager

import numpy as np
import torch

from sklearn_analytic.backend._memory import memory_error
from sklearn_analytic.backend._torch_precision import Products
from sklearn_analytic.backend._torch_streaming import stream_blocks

_CHUNK = 1024
_PANEL = 256  # rows of a Gram that are multiplied at once: nearly half of the product is left out
_FARTHEST = 2.0**31
_SHORT = torch.bfloat16
_NO_HOST_MEMORY = "DefaultCPUAllocator"  # what torch's RuntimeError names where the host has no memory


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


def _dtype(dtype):
    """A torch dtype by the name that NumPy or torch gives it."""
    return getattr(torch, dtype if isinstance(dtype, str) else np.dtype(dtype).name)


class TorchBackend:
    """torch on one device; float64 must be supported there. ``precision`` says which units multiply float32."""

    def __init__(self, device, precision="float32"):
        self.device = torch.device(device)
        self.updates_by_cholesky = self.device.type != "cpu"  # there geqrf is as fast, and ahead below 500 columns
        self._products = Products(precision, self.device)
        torch.zeros(1, dtype=torch.float64, device=self.device)  # fails here, not in the middle of a fit

    def __reduce__(self):
        """Travel to another process as what it was made of."""
        return TorchBackend, (str(self.device), self._products.precision)

    def asarray(self, array, dtype=None):
        """Put ``array`` on the device, as float64, float32 or its own dtype; no copy where none is needed."""
        if not isinstance(array, torch.Tensor):
            array = np.ascontiguousarray(array)
            array = torch.from_numpy(array if array.flags.writeable else array.copy())
        return array.to(self.device, dtype=None if dtype is None else _dtype(dtype))

    def to_numpy(self, array):
        """Bring ``array`` to the host as a NumPy array; bfloat16, which NumPy lacks, becomes float32."""
        if not isinstance(array, torch.Tensor):
            return np.asarray(array)
        array = array.detach().cpu()
        return (array.float() if array.dtype == _SHORT else array).numpy()

    def stream(self, blocks):
        """Return the blocks with ``x`` on its way to the device, the next one's copy beside the work on this one."""
        return stream_blocks(blocks, self.device) if self.device.type == "cuda" else blocks

    @contextmanager
    def memory_advice(self, n_rows, n_columns, parameter="block_size"):
        """Turn a failed allocation inside into a MemoryError that says what took the memory and what to change."""
        try:
            yield
        except (RuntimeError, MemoryError) as error:  # torch.OutOfMemoryError is a RuntimeError
            if not _is_out_of_memory(error):
                raise
            raise memory_error(error, str(self.device), self._free(), n_rows, n_columns, parameter) from error

    def _free(self):
        """Bytes free on the device, None for the host."""
        if self.device.type != "cuda":
            return None
        torch.cuda.empty_cache()
        return torch.cuda.mem_get_info(self.device)[0]

    def concatenate(self, parts):
        """Return the parts stacked along the first axis."""
        return torch.cat(parts)

    def ones(self, n):
        """Return a column (n, 1) of ones in float64."""
        return torch.ones((n, 1), dtype=torch.float64, device=self.device)

    def stack_columns(self, parts, scales, dtype=np.float64):
        """Return ``[scale_1 part_1 | scale_2 part_2 | ...]``, a fresh row-major array of ``dtype``."""
        dtype = _dtype(dtype)
        out = torch.empty((parts[0].shape[0], sum(p.shape[1] for p in parts)), dtype=dtype, device=self.device)
        start = 0
        for part, scale in zip(parts, scales, strict=True):
            view = out[:, start : start + part.shape[1]]
            view.copy_(part)
            if scale != 1.0:
                view *= scale
            start += part.shape[1]
        return out

    def matmul(self, a, b):
        """Return ``a @ b`` in the dtype of ``a``; the precision of the backend says how float32 is multiplied."""
        return self._products.of_features(a, b.to(a.dtype))

    def as_features(self, a):
        """Return hidden features as they are kept: float32 becomes bfloat16 where the precision asks for it."""
        return a.to(_SHORT) if self._products.precision == "bfloat16" and a.dtype == torch.float32 else a

    def gram(self, a):
        """Return ``a.T @ a`` in float64; a float32 ``a`` is multiplied in short row chunks, summed in float64."""
        lower = torch.zeros((a.shape[1], a.shape[1]), dtype=torch.float64, device=self.device)
        part = lower if a.dtype == torch.float64 else torch.zeros_like(lower, dtype=torch.float32)
        step = self._chunk(a)
        for first in range(0, len(a), step):
            rows = a[first : first + step]
            for start in range(0, a.shape[1], _PANEL):
                stop = min(start + _PANEL, a.shape[1])
                part[start:stop, :stop] = self._products.of_sums(rows[:, start:stop].T, rows[:, :stop])
            if part is not lower:
                lower += part
        return lower.tril_() + lower.tril(-1).T

    def cross(self, a, b):
        """Return ``a.T @ b`` in float64, with the same rule for float32 as :meth:`gram`."""
        if a.dtype == _SHORT and b.dtype != _SHORT:
            a = a.float()  # exact; rounding b would not be
        b = b.to(a.dtype)
        step = self._chunk(a)
        out = torch.zeros((a.shape[1], b.shape[1]), dtype=torch.float64, device=self.device)
        for start in range(0, len(a), step):
            out += self._products.of_sums(a[start : start + step].T, b[start : start + step])
        return out

    def _chunk(self, a):
        """Rows that are summed before their float64 sum: all in float64."""
        return max(len(a), 1) if a.dtype == torch.float64 else max(_CHUNK, a.shape[1])

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

    def l1_distances(self, x, centres):
        """Return ``sum_k |x_ik - c_jk|`` of every row (n, d) and centre (h, d), in the dtype of ``x``."""
        return torch.cdist(x, centres.to(x.dtype), p=1.0)

    def cell_signs(self, x, inverse_pitch, shift, multipliers, offset):
        """Return the hashed sign (n, h) of the cell of every row (n, d) in grids (d, h), in the dtype of ``x``.

        The sign is bit 62 of ``offset_p + sum_k multiplier_kp floor(x_ik inverse_pitch_kp - shift_kp)`` modulo 2^64;
        multipliers and offset are int64, bins are clipped to 2^31.
        """
        code = offset.expand(x.shape[0], -1)
        for k in range(x.shape[1]):
            cells = (x[:, k : k + 1] * inverse_pitch[k] - shift[k]).floor().clamp(-_FARTHEST, _FARTHEST)
            code = code + cells.to(torch.int64) * multipliers[k]
        return (1 - 2 * ((code >> 62) & 1)).to(x.dtype)

    def unroll_patches(self, images, size, stride, floor):
        """Return the patches (n p, C a b) of images (n, C, H, W), row by row, each standardised by itself.

        A patch loses its mean and is divided by the square root of its variance plus ``floor``.
        """
        views = images.unfold(2, size[0], stride[0]).unfold(3, size[1], stride[1]).permute(0, 2, 3, 1, 4, 5)
        patches = views.reshape(-1, images.shape[1] * size[0] * size[1])
        patches = patches - patches.mean(1, keepdim=True)
        return patches / (patches.square().mean(1, keepdim=True) + floor).sqrt()

    def pool_responses(self, responses, threshold, cells):
        """Return the means over cells of ``max(+-r - threshold, 0)``: (n, 2 g k) from responses (n p, k).

        ``cells`` (p,) are host integers 0..g-1, each of which occurs; columns go cell by cell, the positive side first.
        """
        member = cells == np.arange(cells.max() + 1)[:, None]
        member = self.asarray(member / member.sum(axis=1, keepdims=True)).to(responses.dtype)  # (g, p)
        r = responses.reshape(-1, len(cells), responses.shape[1])
        sides = [member @ (side * r - threshold).relu_() for side in (1, -1)]
        return torch.stack(sides, dim=2).reshape(len(r), -1 if len(r) else 2 * member.shape[0] * r.shape[2])


def _is_out_of_memory(error):
    """Whether an error says that memory is short; torch's allocator on the host raises a plain RuntimeError."""
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or _NO_HOST_MEMORY in str(error)
