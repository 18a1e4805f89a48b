"""Quantiser, coder and error feedback of gradients: round trips, bounds, and what they cost in bytes."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from sklearn_analytic.nn._communication import CommunicationLog, Traffic, ring_bytes
from sklearn_analytic.nn._compression import (
    EntropyScheme,
    bits_of,
    decode,
    encode,
    entropy,
    quantised,
    read_values,
    step_of,
    weight_entropy,
    write_symbols,
)
from tests.checks import assert_close

SCHEME = EntropyScheme()
BITS = range(SCHEME.fewest_bits, SCHEME.most_bits + 1)


def largest(bits):
    return 2 ** (bits - 1) - 1


@st.composite
def symbols_of_bits(draw):
    bits = draw(st.sampled_from(BITS))
    return draw(arrays(np.int8, st.integers(0, 300), elements=st.integers(-largest(bits), largest(bits)))), bits


# ---- coder ----


@given(symbols_of_bits())
def test_coder_round_trip(case):
    symbols, bits = case
    decoded = decode(encode(symbols, bits), bits, len(symbols))
    assert decoded.dtype == np.int8
    np.testing.assert_array_equal(decoded, symbols)


@given(st.lists(symbols_of_bits(), max_size=4), st.floats(1e-30, 1e30))
def test_payload_round_trip(cases, step):
    payload = b"".join(write_symbols(symbols, step, bits) for symbols, bits in cases)
    found = list(read_values(payload, [len(symbols) for symbols, _ in cases], np.float64))
    assert len(found) == len(cases)
    for values, (symbols, _) in zip(found, cases, strict=True):
        np.testing.assert_array_equal(values, symbols * step)


@pytest.mark.parametrize("bits", BITS)
def test_payload_is_near_the_entropy(bits, rng):
    values = rng.laplace(size=100_000)
    symbols = quantised(values, step_of(SCHEME.width * values.std(), bits), bits).astype(np.int8)
    coded = 8 * len(encode(symbols, bits)) / len(symbols)
    assert entropy(symbols) <= coded <= 1.03 * entropy(symbols) + 0.02


def test_rare_symbols_take_less_than_a_bit(rng):
    symbols = (rng.random(100_000) < 0.05).astype(np.int8)
    assert 8 * len(encode(symbols, 2)) / len(symbols) < 0.4  # entropy 0.29; a code of single symbols has 1


def test_entropy_of_known_distributions():
    assert entropy(np.zeros(10, int)) == 0
    assert entropy(np.arange(8)) == 3
    assert entropy([0, 0, 1, 2]) == 1.5
    assert weight_entropy(np.array([-0.4, 0.4, 0.6, 1.4]), 1.0) == 1
    assert weight_entropy(np.ones(4), 0.0) == 0


# ---- quantiser ----


@given(arrays(np.float64, st.integers(1, 50), elements=st.floats(-1e3, 1e3)), st.sampled_from(BITS))
def test_quantiser_error_is_half_a_step_unless_clipped(values, bits):
    step = step_of(100.0, bits)
    symbols = quantised(values, step, bits)
    np.testing.assert_array_equal(symbols, np.round(symbols))
    assert np.abs(symbols).max() <= largest(bits)
    inside = np.abs(values) <= (largest(bits) + 0.5) * step
    error = np.abs(values - symbols * step)
    assert np.all(error[inside] <= step / 2 * (1 + 1e-12))
    np.testing.assert_array_equal(np.abs(symbols[~inside]), largest(bits))


def test_quantiser_is_the_same_on_torch(rng):
    torch = pytest.importorskip("torch")
    values = rng.standard_normal(1000).astype(np.float32)
    for bits in BITS:
        step = step_of(2.0, bits)
        np.testing.assert_array_equal(
            quantised(torch.from_numpy(values), step, bits).numpy(), quantised(values, np.float32(step), bits)
        )


def test_bits_follow_the_rms():
    b0 = SCHEME.base_bits
    assert [bits_of(2.0**k, 1.0, SCHEME) for k in range(-3, 8)] == [
        min(max(b0 + k, SCHEME.fewest_bits), SCHEME.most_bits) for k in range(-3, 8)
    ]
    assert bits_of(1e-200, 1e-200, SCHEME) == b0
    for nothing in (0.0, math.nan):
        assert bits_of(nothing, 1.0, SCHEME) == bits_of(1.0, nothing, SCHEME) == SCHEME.fewest_bits


# ---- exchange, of one rank whose messages come back ----


class Echo:
    """Ranks of which all send the same."""

    def __init__(self, size=1):
        self.size, self.payloads = size, []

    def gather(self, payload):
        self.payloads.append(payload)
        return [payload] * self.size


def exchange(size=1, **constants):
    pytest.importorskip("torch")
    from sklearn_analytic.nn._torch_compression import EntropyExchange

    ranks = Echo(size)
    return EntropyExchange(ranks, EntropyScheme(**constants)), ranks


def test_error_feedback_telescopes(rng):
    """What was sent in all differs from what was meant by the last error alone, which stays bounded."""
    torch = pytest.importorskip("torch")
    summed, _ = exchange()
    meant, sent, gaps = 0.0, 0.0, []
    for _ in range(200):
        gradient = torch.from_numpy(rng.standard_normal((40, 20)))
        meant = meant + gradient.clone()
        summed.sum_(["w"], [gradient])
        sent = sent + gradient
        gaps.append(float((meant - sent).abs().max()))
    (state,) = summed._tensors.values()
    assert_close((meant - sent).ravel(), state._error, "float64", size=float(meant.abs().max()))
    assert max(gaps[100:]) < 2 * max(gaps[:100])


def test_sums_count_every_rank(rng):
    torch = pytest.importorskip("torch")
    one, _ = exchange(1)
    four, _ = exchange(4)
    gradient = torch.from_numpy(rng.standard_normal((40, 20)))
    single, quadruple = gradient.clone(), gradient.clone()
    one.sum_(["w"], [single])
    four.sum_(["w"], [quadruple])
    assert_close(quadruple, 4 * single, "float64")


def test_small_tensors_are_almost_exact(rng):
    torch = pytest.importorskip("torch")
    summed, _ = exchange()
    gradient = torch.from_numpy(rng.standard_normal(SCHEME.small))
    before = gradient.clone()
    summed.sum_(["b"], [gradient])
    step = float(before.abs().max()) / 2 ** (SCHEME.most_bits - 1)
    error, size = (gradient - before).abs(), before.abs()
    assert float(error.max()) <= step * (1 + 1e-12)  # the largest entry, which is clipped
    assert float(error[size < size.max() - step / 2].max()) <= step / 2 * (1 + 1e-12)


def test_larger_updates_get_more_bytes(rng):
    torch = pytest.importorskip("torch")
    summed, ranks = exchange(reference_steps=1)
    for size in (1.0, 1.0, 8.0):
        summed.sum_(["w"], [torch.from_numpy(size * rng.standard_normal((50, 50)))])
    assert len(ranks.payloads[2]) > 1.5 * len(ranks.payloads[1])


def test_zeros_and_faults_travel():
    torch = pytest.importorskip("torch")
    summed, _ = exchange()
    zeros, broken = torch.zeros(30, 30), torch.zeros(30, 30)
    broken[3, 4] = math.inf
    summed.sum_(["a", "b"], [zeros, broken])
    assert not zeros.any()
    assert broken.isnan().all()  # every rank sees that there is no step to take


@pytest.mark.parametrize("n", [10, 1000])
def test_an_error_that_fades_away_is_no_fault(n, rng):
    """Gradients of exactly 0 (rows that are skipped) shrink the error memory until its step underflows."""
    torch = pytest.importorskip("torch")
    summed, _ = exchange()
    first = torch.from_numpy(rng.standard_normal(n).astype(np.float32))
    sent = first.clone()
    summed.sum_(["w"], [sent])
    for _ in range(300):
        gradient = torch.zeros(n)
        summed.sum_(["w"], [gradient])
        sent += gradient
    assert_close(sent, first, "float32")


# ---- counts ----


def test_ring_bytes():
    assert [ring_bytes(100, n) for n in (1, 2, 4)] == [0, 100, 150]


class Counted:
    size, compression = 2, "entropy"

    def __init__(self):
        self.traffic = Traffic()


def test_log_counts_by_epoch_on_a_fixed_grid(rng):
    ranks = Counted()
    log = CommunicationLog(ranks, ["w"])
    weights = rng.standard_normal((30, 30))
    for k, size in enumerate((1.0, 0.25)):
        ranks.traffic.payload, ranks.traffic.wire = 10.0 * (k + 1), 20.0
        log.epoch([size * weights])
    record = log.record()
    assert record["payload_bytes"] == [10.0, 20.0] and record["wire_bytes"] == [20.0, 20.0]
    assert record["n_workers"] == 2 and record["compression"] == "entropy" and record["layers"] == ["w"]
    first, last = (row[0] for row in record["weight_entropy"])
    assert last < first - 1.5  # a quarter of the size on the same grid: about two bits less
    assert_close(record["relative_entropy"][0], record["relative_entropy"][1], "float64")
