"""Compiled kernels of networks trained by steps: all that is neither a product of matrices nor a decision.

Each is compiled when it is first called, alone: a step of a network is a loop in Python over them (``nn._passes``), so
that nothing is compiled that a fit does not use. None allocates, none holds the GIL. Codes of activations and of output
rules are those of ``nn._activations`` and ``nn._losses``; slopes are told from activations: no pre-activation is kept.
"""

import math

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
    """``out[j] = mean_i f'(z_ij)``, which the mean-field product needs; which f is decided outside the inner loop."""
    zero, one, leak = out.dtype.type(0), out.dtype.type(1), out.dtype.type(LEAK)
    rows, columns = h.shape
    for j in range(columns):
        out[j] = zero
    for i in range(rows):
        value = h[i]
        if activation == RELU:
            for j in range(columns):
                out[j] += one if value[j] > zero else zero
        elif activation == LEAKY:
            for j in range(columns):
                out[j] += one if value[j] > zero else leak
        elif activation == TANH:
            for j in range(columns):
                out[j] += one - value[j] * value[j]
        elif activation == LOGISTIC:
            for j in range(columns):
                out[j] += value[j] * (one - value[j])
        else:
            for j in range(columns):
                out[j] += one
    for j in range(columns):
        out[j] /= rows


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
def signed_projection(e, signs, sizes, scratch, out):
    """``out = e S diag(sizes)`` for a matrix S of packed signs (C, n / 8): each entry of e is added or subtracted.

    A class's signs are spread out in ``scratch`` while they are used; four classes share a pass over the rows. A
    product with plus or minus one is how vector units add or subtract, and as exact.
    """
    n_units, n_classes = len(sizes), e.shape[1]
    n_bytes = (n_units + 7) // 8
    for c in range(n_classes):
        for j in range(n_units):
            bit = (signs[c * n_bytes + (j >> 3)] >> (7 - (j & 7))) & 1
            scratch[c * n_units + j] = sizes[j] if bit else -sizes[j]
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


# ---- output errors: raw outputs turn into the error that is sent back, in place, and their loss ----

SOFTMAX, SQUARED, LINEAR, EXPGB, POW3GB = range(5)
N_RULES = 5  # that are compiled
EXP_SCALE, EXP_TOP = 0.1, 8.0  # o = 0.1 e^z; above the top it goes on along its tangent
CUBE_SCALE = 0.001  # o = 0.001 z^3
# What a loss adds, so that the loss of a perfect output is zero; by code.
_REST = (0.0, 0.0, 0.5, -math.log(EXP_SCALE) - 1, 0.75 * CUBE_SCALE ** (-1 / 3))


@njit(**COMPILED)
def softmax_error(f, codes, rows, weight, weighted):
    """Turn raw outputs into ``w (p - y) / m`` in place; return the sum of ``-w log p_y``, in float64."""
    m, n_classes = f.shape
    loss = 0.0
    for i in range(m):
        row, code = f[i], codes[rows[i]]
        top = row[0]
        for j in range(1, n_classes):
            top = max(top, row[j])
        shifted, total = np.float64(row[code] - top), 0.0
        for j in range(n_classes):
            row[j] = np.exp(row[j] - top)
            total += row[j]
        w = np.float64(weight[rows[i]]) if weighted else 1.0
        loss += w * (np.log(total) - shifted)
        scale, share = f.dtype.type(w / (total * m)), f.dtype.type(w / m)
        for j in range(n_classes):
            row[j] *= scale
        row[code] -= share
    return loss


@njit(**COMPILED)
def squared_error(f, targets, rows, weight, weighted):
    """Turn raw outputs into ``w (f - y) / m`` in place; return the sum of ``w |f - y|^2 / 2``, in float64."""
    m = f.shape[0]
    loss = 0.0
    for i in range(m):
        w = np.float64(weight[rows[i]]) if weighted else 1.0
        share = f.dtype.type(w / m)
        for j in range(f.shape[1]):
            miss = f[i, j] - targets[rows[i], j]
            loss += 0.5 * w * np.float64(miss) * np.float64(miss)
            f[i, j] = share * miss
    return loss


@njit(**COMPILED)
def _linked(z, rule):
    """Return ``o(z)`` and its integral, the convex part of the loss."""
    if rule == LINEAR:
        return z, 0.5 * z * z
    if rule == EXPGB:
        bounded = min(z, EXP_TOP)
        beyond = z - bounded
        o = EXP_SCALE * np.exp(bounded)
        return o * (1 + beyond), o * (1 + beyond + 0.5 * beyond * beyond)
    o = CUBE_SCALE * z * z * z
    return o, 0.25 * o * z


@njit(**COMPILED)
def link_error(f, codes, rows, weight, weighted, rule):
    """Turn raw outputs into ``w (o - t) / m`` in place, t one-hot; return the sum of their losses, in float64."""
    m, n_classes = f.shape
    total = 0.0
    for i in range(m):
        row, code = f[i], codes[rows[i]]
        loss = _REST[rule] - np.float64(row[code])
        w = np.float64(weight[rows[i]]) if weighted else 1.0
        share = w / m
        for j in range(n_classes):
            o, integral = _linked(np.float64(row[j]), rule)
            loss += integral
            row[j] = share * o
        row[code] -= f.dtype.type(share)
        total += w * loss
    return total


# ---- optimisers: one pass over flat parameters; ``sizes`` (d, n_1, ..., c) tell where weights and biases lie ----


@njit(**COMPILED, fastmath={"contract"})
def adam(theta, grad, first, second, sizes, alpha, decay, beta_1, beta_2, epsilon, size, inverse_root):
    """Moments, and ``theta -= size m / (sqrt(v) inverse_root + eps)``; ``decay`` is decoupled from the gradient."""
    kind = theta.dtype.type
    b1, b2, c1, c2 = kind(beta_1), kind(beta_2), kind(1 - beta_1), kind(1 - beta_2)
    size, eps, inverse = kind(size), kind(epsilon), kind(inverse_root)
    start = 0
    for part in range(2 * (len(sizes) - 1)):  # of every layer its weights, then its biases
        is_bias, n_out = part % 2 == 1, sizes[part // 2 + 1]
        stop = start + (n_out if is_bias else sizes[part // 2] * n_out)
        pull, keep = kind(0.0 if is_bias else alpha), kind(1.0 if is_bias else 1 - decay)
        t, g, m, v = theta[start:stop], grad[start:stop], first[start:stop], second[start:stop]
        for k in range(len(t)):
            slope = g[k] + pull * t[k]
            mean = b1 * m[k] + c1 * slope
            square = b2 * v[k] + c2 * slope * slope
            m[k] = mean
            v[k] = square
            t[k] = keep * t[k] - size * mean / (np.sqrt(square) * inverse + eps)
        start = stop


@njit(**COMPILED, fastmath={"contract"})
def sgd(theta, grad, velocity, sizes, alpha, momentum, nesterov, rate):
    """``u = momentum u + g``, ``theta -= rate u``, or with Nesterov's look-ahead ``theta -= rate (g + momentum u)``."""
    kind = theta.dtype.type
    mu, rate = kind(momentum), kind(rate)
    start = 0
    for part in range(2 * (len(sizes) - 1)):
        is_bias, n_out = part % 2 == 1, sizes[part // 2 + 1]
        stop = start + (n_out if is_bias else sizes[part // 2] * n_out)
        pull = kind(0.0 if is_bias else alpha)
        t, g, u = theta[start:stop], grad[start:stop], velocity[start:stop]
        for k in range(len(t)):
            slope = g[k] + pull * t[k]
            speed = mu * u[k] + slope
            u[k] = speed
            t[k] -= rate * (slope + mu * speed if nesterov else speed)
        start = stop


@njit(**COMPILED, fastmath={"contract"})
def adam_ahead(theta, first, second, size, epsilon, inverse_root, out):
    """``out = theta - size m / (sqrt(v) inverse_root + eps)``."""
    kind = out.dtype.type
    size, eps, inverse = kind(size), kind(epsilon), kind(inverse_root)
    for k in range(len(out)):
        out[k] = theta[k] - size * first[k] / (np.sqrt(second[k]) * inverse + eps)


@njit(**COMPILED, fastmath={"contract"})
def move_towards(mean, theta, share):
    """``mean += share (theta - mean)``."""
    share = mean.dtype.type(share)
    for k in range(len(mean)):
        mean[k] += share * (theta[k] - mean[k])


# ---- side losses ----


_LEAST_LENGTH = 1e-12  # of a centred row: a constant one has no direction


@njit(**COMPILED)
def to_unit_lengths(u, inverses):
    """Centre rows and divide them by their lengths, in place; ``inverses`` gets one over each, 0 of a constant row."""
    kind = u.dtype.type
    for i in range(u.shape[0]):
        row, mean, squares = u[i], np.float64(0), np.float64(0)
        for j in range(len(row)):
            mean += row[j]
        mean /= len(row)
        for j in range(len(row)):
            row[j] -= kind(mean)
            squares += np.float64(row[j]) * np.float64(row[j])
        length = np.sqrt(squares)
        inverses[i] = kind(1 / length if length > _LEAST_LENGTH else 0.0)
        for j in range(len(row)):
            row[j] *= inverses[i]


@njit(**COMPILED)
def through_unit_lengths(error, u, inverses):
    """Send an error back through :func:`to_unit_lengths`, in place: through the lengths, then the centring."""
    kind, n = error.dtype.type, error.shape[1]
    for i in range(error.shape[0]):
        along, mean = np.float64(0), np.float64(0)
        for j in range(n):
            along += error[i, j] * u[i, j]
        for j in range(n):
            error[i, j] = (error[i, j] - kind(along) * u[i, j]) * inverses[i]
            mean += error[i, j]
        for j in range(n):
            error[i, j] -= kind(mean / n)


@njit(**COMPILED)
def gram_error(gram, codes, targets, weight, rows, n_outputs, similarity):
    """Turn similarities into the gradient by u u^T, times two; return m times the mean of the weighted squares.

    Wanted is the cosine of centred one-hot rows, or a Gaussian of the distance of standardised targets.
    """
    m, kind, weighted, coded = len(rows), gram.dtype.type, len(weight) > 0, len(codes) > 0
    loss = 0.0
    for i in range(m):
        w = np.float64(weight[rows[i]]) if weighted else 1.0
        for j in range(m):
            both = w * np.float64(weight[rows[j]]) if weighted else w
            if coded:
                wanted = 1.0 if codes[rows[i]] == codes[rows[j]] else -1.0 / (n_outputs - 1)
            else:
                squares = 0.0
                for c in range(targets.shape[1]):
                    difference = np.float64(targets[rows[i], c]) - np.float64(targets[rows[j], c])
                    squares += difference * difference
                wanted = np.exp(-0.5 * squares)
            miss = np.float64(gram[i, j]) - wanted
            loss += both * miss * miss
            gram[i, j] = kind(4.0 * similarity * both * miss / (np.float64(m) * m))
    return loss / m


@njit(**COMPILED)
def pull_loss(h, below, weight, rows, pull, factors):
    """Return m times ``pull / 2 mean_i w_i |h_i - below_i|^2 / n``; ``factors`` get those of its gradient, by row."""
    (m, n), weighted, loss = h.shape, len(weight) > 0, 0.0
    for i in range(m):
        w = np.float64(weight[rows[i]]) if weighted else 1.0
        factors[i] = h.dtype.type(pull * w / (np.float64(m) * n))
        for j in range(n):
            step = h[i, j] - below[i, j]
            loss += 0.5 * pull * w * np.float64(step) * np.float64(step) / n
    return loss
