"""Backend on the CPU: BLAS and LAPACK for matrices, numba for passes that NumPy would repeat.

All large products go through SciPy's BLAS, which LAPACK needs anyway: NumPy's wheels carry a second
OpenBLAS, and two pools of spinning threads that take turns slow each other down severalfold.
"""

from contextlib import contextmanager

import numpy as np
from scipy.linalg import blas, lapack

from sklearn_analytic.backend import _numba
from sklearn_analytic.backend._memory import memory_error

_CHUNK = 1024  # rows of a float32 product before its float64 sum, or as many as columns: error sqrt(rows) eps32
_CENTRES = 1024  # at once: a row of so many distances stays in cache
_BLAS = {np.float32: (blas.sgemm, blas.ssyrk), np.float64: (blas.dgemm, blas.dsyrk)}


def _identity(z, bias):
    z += bias


def _tanh(z, bias):
    z += bias
    np.tanh(z, out=z)


def _bump(z, bias):
    z += bias
    np.minimum(z, 0, out=z)
    np.exp(z, out=z)


def _gaussian(z, bias):
    z += bias
    with np.errstate(over="ignore"):  # exp(-inf) is what is meant
        np.multiply(z, z, out=z)
    np.negative(z, out=z)
    np.exp(z, out=z)


def _cos(z, bias):
    z += bias
    np.cos(z, out=z)


ACTIVATIONS = {
    "identity": _identity,
    "relu": _numba.relu,
    "tanh": _tanh,
    "bump": _bump,
    "gaussian": _gaussian,
    "cos": _cos,
    "triangle": _numba.triangle,
}


def _lower_gram(a):
    """The lower triangle of ``a.T @ a`` in row-major order, zeros above."""
    return _BLAS[a.dtype.type][1](1.0, a.T, lower=False).T


def _cross(a, b):
    """``a.T @ b`` of row-major operands without a copy."""
    return _BLAS[a.dtype.type][0](1.0, b.T, a.T, trans_b=True).T


def _sum_chunks(product, n_columns, *factors):
    """Sum a product over rows in float64: whole where it is float64 anyway, in short chunks in float32."""
    total = np.zeros((factors[0].shape[1], n_columns))
    n = factors[0].shape[0]
    step = max(_CHUNK, total.shape[0]) if factors[0].dtype == np.float32 else max(n, 1)  # sums stay a small share
    for start in range(0, n, step):
        total += product(*(factor[start : start + step] for factor in factors))
    return total


_CENTRES = 1024  # at once: a row of so many distances stays in cache


class NumpyBackend:
    """NumPy, SciPy's BLAS and LAPACK, and numba."""

    device = "cpu"
    updates_by_cholesky = True  # the fast update of a triangular factor measured faster than geqrf

    def asarray(self, array, dtype=None):
        """Put ``array`` on the device, as float64, float32 or its own dtype; no copy where none is needed."""
        return np.asarray(array, dtype=dtype)

    def to_numpy(self, array):
        """Bring ``array`` to the host as a NumPy array; bfloat16, which NumPy lacks, becomes float32."""
        return np.asarray(array)

    def stream(self, blocks):
        """Return the blocks with ``x`` on its way to the device, the next one's copy beside the work on this one."""
        return blocks

    @contextmanager
    def memory_advice(self, n_rows, n_columns, parameter="block_size"):
        """Turn a failed allocation inside into a MemoryError that says what took the memory and what to change."""
        try:
            yield
        except MemoryError as error:
            raise memory_error(error, self.device, None, n_rows, n_columns, parameter) from error

    def concatenate(self, parts):
        """Return the parts stacked along the first axis."""
        return np.concatenate(parts)

    def ones(self, n):
        """Return a column (n, 1) of ones in float64."""
        return np.ones((n, 1))

    def stack_columns(self, parts, scales, dtype=np.float64):
        """Return ``[scale_1 part_1 | scale_2 part_2 | ...]``, a fresh row-major array of ``dtype``."""
        out = np.empty((parts[0].shape[0], sum(part.shape[1] for part in parts)), dtype=dtype)
        start = 0
        for part, scale in zip(parts, scales, strict=True):
            view = out[:, start : start + part.shape[1]]
            view[...] = part
            if scale != 1.0:
                view *= scale
            start += part.shape[1]
        return out

    def matmul(self, a, b):
        """Return ``a @ b`` in the dtype of ``a``; the precision of the backend says how float32 is multiplied."""
        gemm = _BLAS[a.dtype.type][0]
        return gemm(1.0, np.asarray(b, dtype=a.dtype).T, a.T).T  # row-major operands are transposes: no copy

    def as_features(self, a):
        """Return hidden features as they are kept: float32 becomes bfloat16 where the precision asks for it."""
        return a

    def gram(self, a):
        """Return ``a.T @ a`` in float64; a float32 ``a`` is multiplied in short row chunks, summed in float64."""
        lower = _sum_chunks(_lower_gram, a.shape[1], np.ascontiguousarray(a))
        diagonal = lower.diagonal().copy()
        lower += lower.T
        np.fill_diagonal(lower, diagonal)
        return lower

    def cross(self, a, b):
        """Return ``a.T @ b`` in float64, with the same rule for float32 as :meth:`gram`."""
        b = np.ascontiguousarray(b, dtype=a.dtype)
        return _sum_chunks(_cross, b.shape[1], np.ascontiguousarray(a), b)

    def qr_r(self, a):
        """Return the upper triangular (or trapezoidal) factor R of ``a = Q R``; Q is never formed."""
        k = min(a.shape)
        if k == 0:
            return np.zeros((0, a.shape[1]))
        a = np.array(a, order="F", dtype=np.float64)
        work, _ = lapack.dgeqrf_lwork(*a.shape)
        r, _, _, info = lapack.dgeqrf(a, lwork=int(work), overwrite_a=True)
        if info != 0:
            raise np.linalg.LinAlgError(f"LAPACK geqrf failed with info={info}")
        return np.triu(r[:k])

    def solve_upper_right(self, b, r):
        """Return ``b r^{-1}`` for upper triangular ``r`` by substitution; a row-major float64 ``b`` is overwritten."""
        # Row-major arrays are the column-major transposes: solve r.T z.T = b.T in place, in pieces that stay in cache.
        factor = np.ascontiguousarray(r).T
        for start in range(0, len(b), _CHUNK):
            blas.dtrsm(1.0, factor, b[start : start + _CHUNK].T, lower=True, overwrite_b=True)
        return b

    def cholesky_upper(self, a):
        """Return upper triangular C with ``C.T @ C = a``, or None where ``a`` is not positive definite."""
        c, info = lapack.dpotrf(a, lower=False, clean=True)
        return c if info == 0 else None

    def activate(self, z, bias, activation):
        """Return ``activation(z + bias)``, computed in place of ``z``."""
        ACTIVATIONS[activation](z, bias)
        return z

    def l1_distances(self, x, centres):
        """Return ``sum_k |x_ik - c_jk|`` of every row (n, d) and centre (h, d), in the dtype of ``x``."""
        x, found = np.ascontiguousarray(x), []
        for start in range(0, max(len(centres), 1), _CENTRES):
            columns = np.ascontiguousarray(centres[start : start + _CENTRES].T, dtype=x.dtype)
            found.append(np.empty((len(x), columns.shape[1]), dtype=x.dtype))
            _numba.l1_distances(x, columns, found[-1])
        return found[0] if len(found) == 1 else np.concatenate(found, axis=1)

    def cell_signs(self, x, inverse_pitch, shift, multipliers, offset):
        """Return the hashed sign (n, h) of the cell of every row (n, d) in grids (d, h), in the dtype of ``x``.

        The sign is bit 62 of ``offset_p + sum_k multiplier_kp floor(x_ik inverse_pitch_kp - shift_kp)`` modulo 2^64;
        multipliers and offset are int64, bins are clipped to 2^31.
        """
        out = np.empty((len(x), len(offset)), dtype=x.dtype)
        grid = (np.ascontiguousarray(part) for part in (inverse_pitch, shift, multipliers))
        _numba.cell_signs(np.ascontiguousarray(x), *grid, offset, out)
        return out

    def unroll_patches(self, images, size, stride, floor):
        """Return the patches (n p, C a b) of images (n, C, H, W), row by row, each standardised by itself.

        A patch loses its mean and is divided by the square root of its variance plus ``floor``.
        """
        n, channels, height, width = images.shape
        down, across = len(range(0, height - size[0] + 1, stride[0])), len(range(0, width - size[1] + 1, stride[1]))
        out = np.empty((n * down * across, channels * size[0] * size[1]), dtype=images.dtype)
        _numba.unroll_patches(images, size, stride, images.dtype.type(floor), out)
        return out

    def pool_responses(self, responses, threshold, cells):
        """Return the means over cells of ``max(+-r - threshold, 0)``: (n, 2 g k) from responses (n p, k).

        ``cells`` (p,) are host integers 0..g-1, each of which occurs; columns go cell by cell, the positive side first.
        """
        share = (1 / np.bincount(cells)).astype(responses.dtype)
        out = np.zeros((len(responses) // len(cells), len(share), 2, responses.shape[1]), dtype=responses.dtype)
        _numba.pool_responses(responses, responses.dtype.type(threshold), cells, share, out)
        return out.reshape(len(out), 2 * len(share) * responses.shape[1])
