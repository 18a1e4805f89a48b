"""Compiled CPU kernels: activations fused with their bias, and distances that no matrix product gives.

Kernels are lazily compiled (read-only memmaps break eager signatures), cached on disk and free of the GIL.
"""

import numpy as np
from numba import njit


@njit(cache=True, nogil=True, no_cfunc_wrapper=True)
def relu(z, bias):
    """``max(z + bias, 0)`` in place; NumPy would make two passes."""
    for i in range(z.shape[0]):
        for j in range(z.shape[1]):
            v = z[i, j] + bias[j]
            z[i, j] = v if v > 0 else z.dtype.type(0)


@njit(cache=True, nogil=True, no_cfunc_wrapper=True, fastmath={"contract", "reassoc"})
def triangle(z, bias):
    """``max(1 - |z + bias|, 0)`` in place."""
    one = z.dtype.type(1)
    for i in range(z.shape[0]):
        for j in range(z.shape[1]):
            v = one - abs(z[i, j] + bias[j])
            z[i, j] = v if v > 0 else z.dtype.type(0)


@njit(cache=True, nogil=True, no_cfunc_wrapper=True, error_model="numpy")
def l1_distances(x, columns, out):
    """``out[i, j] = sum_k |x[i, k] - columns[k, j]|``, four columns of x per visit of an output row in cache.

    The sum runs over k in one order for every row, so a slice of the rows gives the slice of the distances.
    """
    d = x.shape[1]
    whole = d - d % 4
    for i in range(x.shape[0]):
        row = out[i]
        for j in range(len(row)):
            row[j] = 0
        for k in range(0, whole, 4):
            p, q, r, s = x[i, k], x[i, k + 1], x[i, k + 2], x[i, k + 3]
            zp, zq, zr, zs = columns[k], columns[k + 1], columns[k + 2], columns[k + 3]
            for j in range(len(row)):
                row[j] += (abs(p - zp[j]) + abs(q - zq[j])) + (abs(r - zr[j]) + abs(s - zs[j]))
        for k in range(whole, d):
            p, zp = x[i, k], columns[k]
            for j in range(len(row)):
                row[j] += abs(p - zp[j])


@njit(cache=True, nogil=True, no_cfunc_wrapper=True)
def cell_signs(x, inverse_pitch, shift, multipliers, offset, out):
    """Bit 62 of ``offset_p + sum_k multiplier_kp floor(x_ik inverse_pitch_kp - shift_kp)`` as a sign, modulo 2^64."""
    n, d = x.shape
    width = len(offset)
    farthest = x.dtype.type(2.0**31)  # bins further out are one bin
    code = np.empty(width, np.int64)
    for i in range(n):
        code[:] = offset
        for k in range(d):
            value, pitch, start, factor = x[i, k], inverse_pitch[k], shift[k], multipliers[k]
            for p in range(width):
                cell = np.floor(value * pitch[p] - start[p])
                cell = min(max(cell, -farthest), farthest)
                code[p] += np.int64(cell) * factor[p]
        for p in range(width):
            out[i, p] = 1 - 2 * ((code[p] >> 62) & 1)


@njit(cache=True, nogil=True, no_cfunc_wrapper=True, fastmath={"contract", "reassoc"})
def unroll_patches(images, size, stride, floor, out):
    """Patches of images as rows, each standardised while it is in cache; NumPy would make six passes."""
    n, channels, height, width = images.shape
    row = 0
    for i in range(n):
        for top in range(0, height - size[0] + 1, stride[0]):
            for left in range(0, width - size[1] + 1, stride[1]):
                patch = out[row]
                k = np.uint64(0)  # unsigned: the compiler need not look for indices that count from the end
                for c in range(channels):
                    for u in range(top, top + size[0]):
                        line = images[i, c, u]
                        for v in range(np.uint64(left), np.uint64(left + size[1])):
                            patch[k] = line[v]
                            k += np.uint64(1)
                _standardise(patch, floor)
                row += 1


@njit(cache=True, nogil=True, no_cfunc_wrapper=True, fastmath={"contract", "reassoc"})
def _standardise(patch, floor):
    """Take off the mean and divide by the root of the variance plus ``floor``, in place."""
    one = patch.dtype.type(1)
    share, total, squares = one / patch.dtype.type(len(patch)), patch.dtype.type(0), patch.dtype.type(0)
    for k in range(len(patch)):
        total += patch[k]
    mean = total * share
    for k in range(len(patch)):
        squares += (patch[k] - mean) * (patch[k] - mean)
    scale = one / np.sqrt(squares * share + floor)
    for k in range(len(patch)):
        patch[k] = (patch[k] - mean) * scale


@njit(cache=True, nogil=True, no_cfunc_wrapper=True, fastmath={"contract", "reassoc"})
def pool_responses(responses, threshold, cells, share, out):
    """``out[i, cell, side, k] += max(+-r - threshold, 0) share[cell]`` in one pass over the responses."""
    n, _, _, width = out.shape
    positions = len(cells)
    zero = out.dtype.type(0)
    for i in range(n):
        for p in range(positions):
            r = responses[i * positions + p]
            above, below = out[i, cells[p], 0], out[i, cells[p], 1]
            for k in range(width):
                above[k] += max(r[k] - threshold, zero)
                below[k] += max(-r[k] - threshold, zero)
        for g in range(len(share)):
            for side in range(2):
                for k in range(width):
                    out[i, g, side, k] *= share[g]
