"""The verbs that every backend speaks: what computes, never where rows live.

A verb is here because two callers need it and NumPy and torch spell it differently. Everything that the
two spell alike (``@``, ``+``, slicing, ``.T``, ``.sum``) is written with operators in the callers.
"""

from collections.abc import Iterable
from contextlib import AbstractContextManager
from typing import Any, Protocol

import numpy as np

Array = Any  # numpy.ndarray or torch.Tensor, never mixed


class Backend(Protocol):
    """What computes: dense float arrays on one device."""

    updates_by_cholesky: bool  # whether a triangular factor takes a block by preconditioned Cholesky, or by geqrf

    def asarray(self, array, dtype=None) -> Array:
        """Put ``array`` on the device, as float64, float32 or its own dtype; no copy where none is needed."""

    def to_numpy(self, array) -> Any:
        """Bring ``array`` to the host as a NumPy array; bfloat16, which NumPy lacks, becomes float32."""

    def stream(self, blocks) -> Iterable:
        """Return the blocks with ``x`` on its way to the device, the next one's copy beside the work on this one."""

    def memory_advice(self, n_rows, n_columns, parameter="block_size") -> AbstractContextManager:
        """Turn a failed allocation inside into a MemoryError that says what took the memory and what to change."""

    def concatenate(self, parts) -> Array:
        """Return the parts stacked along the first axis."""

    def ones(self, n) -> Array:
        """Return a column (n, 1) of ones in float64."""

    def stack_columns(self, parts, scales, dtype=np.float64) -> Array:
        """Return ``[scale_1 part_1 | scale_2 part_2 | ...]``, a fresh row-major array of ``dtype``."""

    def matmul(self, a, b) -> Array:
        """Return ``a @ b`` in the dtype of ``a``; the precision of the backend says how float32 is multiplied."""

    def as_features(self, a) -> Array:
        """Return hidden features as they are kept: float32 becomes bfloat16 where the precision asks for it."""

    def gram(self, a) -> Array:
        """Return ``a.T @ a`` in float64; a float32 ``a`` is multiplied in short row chunks, summed in float64."""

    def cross(self, a, b) -> Array:
        """Return ``a.T @ b`` in float64, with the same rule for float32 as :meth:`gram`."""

    def qr_r(self, a) -> Array:
        """Return the upper triangular (or trapezoidal) factor R of ``a = Q R``; Q is never formed."""

    def solve_upper_right(self, b, r) -> Array:
        """Return ``b r^{-1}`` for upper triangular ``r`` by substitution; a row-major float64 ``b`` is overwritten."""

    def cholesky_upper(self, a) -> Array | None:
        """Return upper triangular C with ``C.T @ C = a``, or None where ``a`` is not positive definite."""

    def activate(self, z, bias, activation) -> Array:
        """Return ``activation(z + bias)``, computed in place of ``z``."""

    def l1_distances(self, x, centres) -> Array:
        """Return ``sum_k |x_ik - c_jk|`` of every row (n, d) and centre (h, d), in the dtype of ``x``."""

    def cell_signs(self, x, inverse_pitch, shift, multipliers, offset) -> Array:
        """Return the hashed sign (n, h) of the cell of every row (n, d) in grids (d, h), in the dtype of ``x``.

        The sign is bit 62 of ``offset_p + sum_k multiplier_kp floor(x_ik inverse_pitch_kp - shift_kp)`` modulo 2^64;
        multipliers and offset are int64, bins are clipped to 2^31.
        """

    def unroll_patches(self, images, size, stride, floor) -> Array:
        """Return the patches (n p, C a b) of images (n, C, H, W), row by row, each standardised by itself.

        A patch loses its mean and is divided by the square root of its variance plus ``floor``.
        """

    def pool_responses(self, responses, threshold, cells) -> Array:
        """Return the means over cells of ``max(+-r - threshold, 0)``: (n, 2 g k) from responses (n p, k).

        ``cells`` (p,) are host integers 0..g-1, each of which occurs; columns go cell by cell, the positive side first.
        """
