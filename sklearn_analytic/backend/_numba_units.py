"""Compiled activations of plain networks, their slopes, and their low-bit copies.

Activation codes are those of ``nn._activations``; slopes are told from the activation: no pre-activation is kept.
"""

import numpy as np
from numba import njit

IDENTITY, RELU, LEAKY, TANH, LOGISTIC = range(5)
N_ACTIVATIONS = 5  # that are compiled
LEAK = 0.01

# "numpy" divides without a check for zero, which would keep loops from being vectorised.
COMPILED = {"cache": True, "nogil": True, "error_model": "numpy", "no_cfunc_wrapper": True}


@njit(**COMPILED)
def gather(x, rows, out):
    """Copy the rows of a batch."""
    for i in range(len(rows)):
        source, target = x[rows[i]], out[i]
        for j in range(len(target)):
            target[j] = source[j]


@njit(**COMPILED)
def keep_large_rows(error, bound, compact, kept):
    """Move rows of norm ``bound`` or more to the front, or set the others to zero; return how many count from now on.

    ``kept`` gets the former places of those that moved.
    """
    count = 0
    for i in range(error.shape[0]):
        row, size = error[i], 0.0
        for j in range(len(row)):
            size += np.float64(row[j]) ** 2
        is_small = size < bound * bound
        if is_small and compact:
            continue
        target = error[count]
        for j in range(len(row)):
            target[j] = 0 if is_small else row[j]
        kept[count] = i
        count += 1
    return count


@njit(**COMPILED)
def move_rows(h, kept, count):
    """Move the first ``count`` rows of ``kept``, in rising order, to the front."""
    for k in range(count):
        source, target = h[kept[k]], h[k]
        for j in range(len(target)):
            target[j] = source[j]


@njit(**COMPILED)
def add_bias_and_activate(z, bias, activation):
    """``f(z + bias)`` in place, one pass; which f is decided outside the inner loop."""
    zero, one, two, leak = z.dtype.type(0), z.dtype.type(1), z.dtype.type(2), z.dtype.type(LEAK)
    rows, columns = z.shape
    for i in range(rows):
        row = z[i]
        if activation == RELU:
            for j in range(columns):
                row[j] = max(row[j] + bias[j], zero)
        elif activation == LEAKY:
            for j in range(columns):
                v = row[j] + bias[j]
                row[j] = v if v > zero else leak * v
        elif activation == TANH:  # by exponentials, which are vectorised; one rounding of 1 off, at most
            for j in range(columns):
                row[j] = one - two / (np.exp(two * (row[j] + bias[j])) + one)
        elif activation == LOGISTIC:
            for j in range(columns):
                row[j] = one / (one + np.exp(-(row[j] + bias[j])))
        else:
            for j in range(columns):
                row[j] += bias[j]


@njit(**COMPILED)
def times_slope(d, h, activation, sums):
    """``d *= f'(z)`` in place, the slope told from the activation ``h = f(z)``; ``sums[j] = sum_i d_ij`` on the way."""
    zero, one, leak = d.dtype.type(0), d.dtype.type(1), d.dtype.type(LEAK)
    rows, columns = d.shape
    for j in range(columns):
        sums[j] = zero
    for i in range(rows):
        error, value = d[i], h[i]
        if activation == RELU:
            for j in range(columns):
                error[j] *= one if value[j] > zero else zero
                sums[j] += error[j]
        elif activation == LEAKY:
            for j in range(columns):
                error[j] *= one if value[j] > zero else leak
                sums[j] += error[j]
        elif activation == TANH:
            for j in range(columns):
                error[j] *= one - value[j] * value[j]
                sums[j] += error[j]
        elif activation == LOGISTIC:
            for j in range(columns):
                error[j] *= value[j] * (one - value[j])
                sums[j] += error[j]
        else:
            for j in range(columns):
                sums[j] += error[j]


@njit(**COMPILED)
def mean_slope(h, activation, out):
    """``out[j] = mean_i f'(z_ij)``, which the mean-field product needs."""
    zero, one, leak = out.dtype.type(0), out.dtype.type(1), out.dtype.type(LEAK)
    for j in range(len(out)):
        out[j] = zero
    for i in range(h.shape[0]):
        for j in range(h.shape[1]):
            v = h[i, j]
            if activation == RELU:
                out[j] += one if v > zero else zero
            elif activation == LEAKY:
                out[j] += one if v > zero else leak
            elif activation == TANH:
                out[j] += one - v * v
            elif activation == LOGISTIC:
                out[j] += v * (one - v)
            else:
                out[j] += one
    for j in range(len(out)):
        out[j] /= h.shape[0]


@njit(**COMPILED)
def quantise(h, bits, signed, packed):
    """Pack ``h`` to 4 or 8 bits; return the step. Zero (of the non-negative) and the sign (of the signed) are exact."""
    levels, middle = (1 << bits) - 1, (1 << (bits - 1))
    flat = h.reshape(h.size)
    top = h.dtype.type(0)
    for k in range(flat.size):
        top = max(top, abs(flat[k]))
    if not top > 0 or not np.isfinite(top):
        top = h.dtype.type(1)
    step = top / h.dtype.type(middle if signed else levels)
    inverse = h.dtype.type(1) / step
    n_bytes = (flat.size * bits + 7) // 8
    if bits == 8:
        for k in range(flat.size):
            packed[k] = _code(flat[k], inverse, levels, middle, signed)
        return step
    for k in range(n_bytes):
        low = _code(flat[2 * k], inverse, levels, middle, signed)
        high = _code(flat[2 * k + 1], inverse, levels, middle, signed) if 2 * k + 1 < flat.size else np.uint8(0)
        packed[k] = low | (high << 4)
    return step


@njit(**COMPILED)
def _code(value, inverse, levels, middle, signed):
    """The level of one value: bin edges at zero, so that no sign and no zero is lost."""
    if signed:
        return np.uint8(min(max(int(np.floor(value * inverse)) + middle, 0), levels))
    return np.uint8(min(int(np.ceil(value * inverse)), levels))


@njit(**COMPILED)
def restore(packed, bits, signed, step, out):
    """Mid-points of the levels that :func:`quantise` packed, into ``out``."""
    middle = 1 << (bits - 1)
    half, zero = out.dtype.type(0.5), out.dtype.type(0)
    flat = out.reshape(out.size)
    for k in range(flat.size):
        code = packed[k] if bits == 8 else (packed[k >> 1] >> (4 * (k & 1))) & 15
        if signed:
            flat[k] = (out.dtype.type(np.int64(code) - middle) + half) * step
        else:
            flat[k] = (out.dtype.type(code) - half) * step if code > 0 else zero


@njit(**COMPILED, fastmath={"contract"})
def signed_projection(e, signs, n_units, scale, scratch, out):
    """``out = scale * e S`` for a matrix S of packed signs (C, n / 8): each entry of e is added or subtracted.

    A class's signs are spread out in ``scratch`` while they are used; four classes share a pass over the rows. A
    product with plus or minus one is how vector units add or subtract, and as exact.
    """
    n_bytes, n_classes = (n_units + 7) // 8, e.shape[1]
    plus = out.dtype.type(scale)
    for c in range(n_classes):
        for j in range(n_units):
            bit = (signs[c * n_bytes + (j >> 3)] >> (7 - (j & 7))) & 1
            scratch[c * n_units + j] = plus if bit else -plus
    whole = n_classes - n_classes % 4
    for i in range(e.shape[0]):
        row, error = out[i], e[i]
        for j in range(n_units):
            row[j] = 0
        for c in range(0, whole, 4):
            p, q, r, s = error[c], error[c + 1], error[c + 2], error[c + 3]
            start = c * n_units
            sp, sq = scratch[start : start + n_units], scratch[start + n_units : start + 2 * n_units]
            start += 2 * n_units
            sr, ss = scratch[start : start + n_units], scratch[start + n_units : start + 2 * n_units]
            for j in range(n_units):
                row[j] += (p * sp[j] + q * sq[j]) + (r * sr[j] + s * ss[j])
        for c in range(whole, n_classes):
            p, sp = error[c], scratch[c * n_units : (c + 1) * n_units]
            for j in range(n_units):
                row[j] += p * sp[j]
