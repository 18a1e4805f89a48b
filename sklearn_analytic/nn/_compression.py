"""Gradients as few bits: a quantiser whose bits follow the RMS, and an entropy coder of its symbols.

A reconstruction of Oland & Raj (2015), whose rule is known from its abstract and from later work that cites it: more
bits for tensors of a larger root mean square (RMS). Equations: docs/theory/communication.md.
"""

import math
import struct
import zlib
from dataclasses import dataclass

import numpy as np

_HEAD = struct.Struct("<BdI")  # bits, step, bytes of the coded symbols


@dataclass(frozen=True)
class EntropyScheme:
    """Constants of the quantiser."""

    base_bits: int = 2  # b0, of a tensor whose RMS is that of the reference
    fewest_bits: int = 2
    most_bits: int = 8
    width: float = 2.0  # k: symbols reach +-k RMS
    small: int = 256  # tensors of so few entries get the most bits, and reach their largest entry
    reference_steps: int = 20  # over which the reference RMS is averaged
    floor: float = 0.3  # least scale of an entry, relative to the tensor's
    horizon: int = 1000  # steps over which scales are averaged


def bits_of(rms, reference, scheme):
    """Return b = clip(round(log2(rms / reference)) + b0, b_min, b_max)."""
    if not (rms > 0 and reference > 0):
        return scheme.fewest_bits
    steps = round(math.log2(rms) - math.log2(reference))
    return min(max(steps + scheme.base_bits, scheme.fewest_bits), scheme.most_bits)


def step_of(reach, bits):
    """Return the step of a quantiser of b bits whose symbols reach about ``+-reach``: ``2 reach / 2^b``."""
    return 2.0 * reach / 2**bits


def quantised(values, step, bits):
    """Return the symbols of ``values`` (NumPy or torch) as floats: the nearest multiples of the step, 0 among them.

    They lie within ``+-(2^(b-1) - 1)``; larger values are clipped.
    """
    largest = 2 ** (bits - 1) - 1
    return (values / step).round().clip(-largest, largest)


def encode(symbols, bits):
    """Return int8 symbols (n,) of b bits, entropy-coded.

    As many symbols as fit are one byte (5 of 2 bits, 2 of 3 or 4 bits), and Huffman's code of the bytes follows: a
    code of single symbols could not go below one bit for each.
    """
    base, places = _packing(bits)
    digits = np.zeros((-(-len(symbols) // places), places), np.uint8)
    digits.reshape(-1)[: len(symbols)] = symbols + np.int8(base // 2)
    packed = digits[:, 0].copy()
    for k in range(1, places):
        packed *= np.uint8(base)
        packed += digits[:, k]
    coder = zlib.compressobj(1, zlib.DEFLATED, -15, 9, zlib.Z_HUFFMAN_ONLY)
    return coder.compress(packed.tobytes()) + coder.flush()


def decode(data, bits, n):
    """Return the n symbols of :func:`encode` as int8."""
    base, places = _packing(bits)
    table = np.arange(256)[:, None] // base ** np.arange(places)[::-1] % base - base // 2  # (256, places)
    packed = np.frombuffer(zlib.decompress(data, -15), np.uint8)
    return table.astype(np.int8)[packed].reshape(-1)[:n]


def write_symbols(symbols, step, bits):
    """Return one tensor's symbols with what :func:`read_values` needs."""
    data = encode(symbols, bits)
    return _HEAD.pack(bits, step, len(data)) + data


def read_values(payload, sizes, dtype):
    """Yield the tensors (flat) of a payload, in their order; every process computes the same numbers."""
    start = 0
    for n in sizes:
        bits, step, length = _HEAD.unpack_from(payload, start)
        start += _HEAD.size
        symbols = decode(payload[start : start + length], bits, n)
        start += length
        yield symbols.astype(dtype) * np.asarray(step, dtype)


def entropy(symbols):
    """Return the empirical entropy of integers, in bits per symbol."""
    counts = np.unique(np.asarray(symbols), return_counts=True)[1]
    shares = counts / max(counts.sum(), 1)
    return float(abs((shares * np.log2(shares)).sum()))


def weight_entropy(weights, step):
    """Return the entropy of weights on a grid of ``step``, in bits per weight."""
    return entropy(np.round(np.asarray(weights, np.float64) / step)) if step > 0 else 0.0


def _packing(bits):
    """(symbols that exist, symbols per byte)."""
    base = 2**bits - 1
    return base, int(math.log(256, base))
