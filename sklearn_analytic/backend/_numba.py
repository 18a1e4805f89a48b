"""Compiled CPU kernels: bias and activation fused into one pass over the pre-activations.

Kernels are lazily compiled (read-only memmaps break eager signatures), cached on disk and free of the GIL.
"""

from numba import njit


@njit(cache=True, nogil=True)
def relu(z, bias):
    """``max(z + bias, 0)`` in place; NumPy would make two passes."""
    for i in range(z.shape[0]):
        for j in range(z.shape[1]):
            v = z[i, j] + bias[j]
            z[i, j] = v if v > 0 else z.dtype.type(0)


@njit(cache=True, nogil=True, fastmath={"contract", "reassoc"})
def triangle(z, bias):
    """``max(1 - |z + bias|, 0)`` in place."""
    one = z.dtype.type(1)
    for i in range(z.shape[0]):
        for j in range(z.shape[1]):
            v = one - abs(z[i, j] + bias[j])
            z[i, j] = v if v > 0 else z.dtype.type(0)
