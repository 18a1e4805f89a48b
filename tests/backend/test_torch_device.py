"""What torch adds to the verbs: precisions, streaming through pinned memory, advice where memory is short.

No CUDA device is needed: precisions are checked on the CPU, CUDA's streams and allocator are stood in for.
"""

import pickle
import threading
import warnings
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest

from sklearn_analytic import ClosedFormMLP, ClosedFormMLPRegressor
from sklearn_analytic.backend import backend_for, dtype_name, get_backend
from sklearn_analytic.linalg import NormalEquations, TriangularFactor
from tests.checks import assert_close

torch = pytest.importorskip("torch")

from sklearn_analytic.backend import _torch_precision as precision_module  # noqa: E402
from sklearn_analytic.backend._memory import memory_error  # noqa: E402
from sklearn_analytic.backend._torch_streaming import stream_blocks  # noqa: E402

SHORT = get_backend("torch:cpu", "bfloat16")


def short(a):
    """Rows rounded to bfloat16, as a tensor of it and as float64."""
    rounded = torch.from_numpy(np.ascontiguousarray(a)).to(torch.bfloat16)
    return rounded, rounded.double().numpy()


# ---- products ----


def test_hidden_product_is_that_of_rounded_operands(rng):
    a, b = rng.standard_normal((50, 30)).astype(np.float32), rng.standard_normal((30, 20)).astype(np.float32)
    product = SHORT.matmul(SHORT.asarray(a), SHORT.asarray(b))
    assert product.dtype == torch.float32
    assert_close(product, short(a)[1] @ short(b)[1], np.float32)
    exact = a.astype(float) @ b
    assert np.max(np.abs(product.numpy() - exact)) > 1e-4 * np.max(np.abs(exact))  # it is not the float32 product


def test_float64_is_float64_in_every_precision(rng):
    a = rng.standard_normal((40, 8))
    for precision in ("float32", "tf32", "bfloat16"):
        backend = get_backend("torch:cpu", precision)
        assert_close(backend.matmul(backend.asarray(a), backend.asarray(a.T)), a @ a.T, np.float64)
        assert_close(backend.gram(backend.asarray(a)), a.T @ a, np.float64)


def test_gram_of_bfloat16_is_exact_where_float32_holds_the_sums(rng):
    integers = rng.integers(-15, 16, size=(3000, 300)).astype(np.float32)  # products and sums below 2^24
    rows, wide = short(integers)
    np.testing.assert_array_equal(SHORT.gram(rows).numpy(), wide.T @ wide)
    np.testing.assert_array_equal(SHORT.cross(rows, rows[:, :5]).numpy(), wide.T @ wide[:, :5])


@pytest.mark.parametrize("width", [1, 255, 256, 257, 600])
def test_gram_by_panels_is_symmetric_and_right(rng, width):
    for dtype in (np.float32, np.float64):
        a = rng.standard_normal((1500, width)).astype(dtype)
        gram = get_backend("torch:cpu").gram(torch.from_numpy(a)).numpy()
        np.testing.assert_array_equal(gram, gram.T)
        assert_close(gram, a.astype(float).T @ a, dtype)


def test_cross_of_bfloat16_does_not_round_the_other_side(rng):
    rows, wide = short(rng.standard_normal((500, 6)))
    y = rng.standard_normal((500, 2))
    assert_close(SHORT.cross(rows, torch.from_numpy(y)), wide.T @ y, np.float32)


# ---- statistics of bfloat16 rows ----


@pytest.mark.parametrize("offset", [0.0, 1.0, 30.0])  # the last one cancels: rows are centred first
@pytest.mark.parametrize("weighted", [False, True])
def test_normal_equations_of_bfloat16_rows(rng, offset, weighted):
    rows, wide = short(rng.standard_normal((700, 9)) + offset)
    y = rng.standard_normal((700, 2)) + 100
    weights = rng.integers(1, 4, 700).astype(float) if weighted else None
    found = NormalEquations.from_rows(rows, y, weights, SHORT, widen=False).to_host(SHORT)
    expected = NormalEquations.from_rows(wide, y, weights)
    assert (found.n_rows, found.weight, found.exponent) == (expected.n_rows, expected.weight, expected.exponent)
    size = np.sqrt(np.outer(np.diag(expected.scatter), np.diag(expected.scatter)))
    level = np.abs(np.outer(expected.mean, expected.mean)) / size * expected.weight
    np.testing.assert_allclose(found.mean, expected.mean, rtol=1e-5, atol=1e-6)
    assert np.max(np.abs(found.scatter - expected.scatter) / size / (1 + level[:9, :9].max())) < 1e-5


def test_bfloat16_rows_are_widened_exactly_where_all_digits_are_needed(rng):
    rows, wide = short(rng.standard_normal((300, 4)))
    y = rng.standard_normal((300, 1))
    for statistic in (NormalEquations, TriangularFactor):
        found = statistic.from_rows(rows, y, None, SHORT).to_host(SHORT).spectral().solve()
        for part, expected in zip(found, statistic.from_rows(wide, y).spectral().solve(), strict=True):
            assert_close(part, expected, np.float64, scale=10)


def test_one_dimensional_targets_and_shapes_are_checked(rng):
    rows, _ = short(rng.standard_normal((20, 3)))
    assert NormalEquations.from_rows(rows, np.ones(20), None, SHORT, widen=False).n_targets == 1
    with pytest.raises(ValueError, match="equal n"):
        NormalEquations.from_rows(rows, np.ones(19), None, SHORT, widen=False)


def test_blocks_of_bfloat16_rows_add_up(rng):
    rows, _ = short(rng.standard_normal((600, 5)))
    y = rng.standard_normal((600, 1))
    whole = NormalEquations.from_rows(rows, y, None, SHORT, widen=False)
    parts = NormalEquations.empty(5, 1).on(SHORT)
    for start in range(0, 600, 150):
        parts = parts.accumulate(rows[start : start + 150], y[start : start + 150], None, SHORT, widen=False)
    assert_close(parts.scatter, whole.scatter, np.float32)


# ---- estimators ----


@pytest.fixture(scope="module")
def two_moons():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((500, 6)).astype(np.float32)
    return x, (np.sin(2 * x[:, 0]) + x[:, 1] > 0).astype(int)


@pytest.mark.parametrize("hidden", ["random", "auto"])
def test_classifier_in_bfloat16(two_moons, hidden):
    x, y = two_moons
    short_fit, plain = (
        ClosedFormMLP(80, hidden=hidden, precision=precision, device="torch:cpu", random_state=0).fit(x, y)
        for precision in ("bfloat16", "float32")
    )
    assert abs(short_fit.score(x, y) - plain.score(x, y)) < 0.03
    difference = np.max(np.abs(short_fit.decision_function(x) - plain.decision_function(x)))
    assert 0 < difference < 0.5
    np.testing.assert_array_equal(short_fit.predict(x[:7]), short_fit.predict(x)[:7])
    assert short_fit.feature_importances_.shape == (6,)
    again = pickle.loads(pickle.dumps(short_fit))
    np.testing.assert_array_equal(again.decision_function(x), short_fit.decision_function(x))


def test_features_are_bfloat16_values_and_predictions_read_them(two_moons):
    x, y = two_moons
    model = ClosedFormMLP(60, hidden="random", precision="bfloat16", device="torch:cpu", random_state=0).fit(x, y)
    features = model.transform(x)
    assert features.dtype == np.float32
    np.testing.assert_array_equal(short(features)[1], features)
    assert dtype_name(model.transform(torch.from_numpy(x))) == "bfloat16"
    readout = model._solved.chosen
    scores = features.astype(float) @ readout.coef + readout.intercept
    decision = scores[:, 1] - scores[:, 0] if scores.shape[1] == 2 else scores[:, 0]
    assert_close(model.decision_function(x), decision, np.float64, scale=100)


def test_regressor_in_bfloat16(two_moons):
    x, _ = two_moons
    y = np.sin(x[:, 0]) + 1000
    r2 = {
        precision: ClosedFormMLPRegressor(80, precision=precision, device="torch:cpu", random_state=0)
        .fit(x, y)
        .score(x, y)
        for precision in ("float32", "bfloat16")
    }
    assert abs(r2["bfloat16"] - r2["float32"]) < 0.02


def test_numpy_has_no_bfloat16(two_moons):
    x, y = two_moons
    model = ClosedFormMLP(20, precision="bfloat16")
    with pytest.raises(ValueError, match=r"precision='bfloat16' needs torch.*device='torch:cpu'"):
        model.fit(x, y)
    assert not hasattr(model, "n_features_in_")
    model.fit(torch.from_numpy(x), y)  # a tensor computes where it is
    assert model.predict(torch.from_numpy(x)).shape == (500,)


def test_tf32_is_float32_without_such_units(two_moons):
    x, y = two_moons
    for device in ("cpu", "torch:cpu"):
        one, two = (
            ClosedFormMLP(30, hidden="random", precision=precision, device=device, random_state=0).fit(x, y)
            for precision in ("tf32", "float32")
        )
        np.testing.assert_array_equal(one.decision_function(x), two.decision_function(x))


# ---- switches ----


class Recorder:
    """Switches that keep a list of what was set."""

    wanted = MappingProxyType({"float32": ("ieee",), "tf32": ("tf32",)})
    as_before = MappingProxyType({"none": "ieee"})

    def __init__(self, value):
        self.value, self.written = (value,), []

    def read(self):
        return self.value

    def write(self, values):
        self.written.append(values[0])
        self.value = values


@pytest.mark.parametrize(("now", "wanted", "written"), [
    ("none", "float32", []),
    ("ieee", "float32", []),
    ("tf32", "float32", ["ieee", "tf32"]),
    ("none", "tf32", ["tf32", "none"]),
    ("tf32", "tf32", []),
])  # fmt: skip
def test_switches_are_set_only_where_needed_and_put_back(now, wanted, written):
    switches = Recorder(now)
    gate = precision_module._Gate(switches)
    with pytest.raises(ZeroDivisionError), gate(wanted):
        assert switches.value[0] in (*switches.wanted[wanted], *(["none"] if wanted == "float32" else []))
        raise ZeroDivisionError
    assert switches.written == written
    assert switches.value == (now,)


def test_threads_of_two_precisions_take_turns():
    switches, faults = Recorder("none"), []
    gate = precision_module._Gate(switches)

    def work(precision, right):
        for _ in range(200):
            with gate(precision):
                if switches.value[0] not in right:
                    faults.append((precision, switches.value))

    jobs = [("float32", ("none", "ieee")), ("tf32", ("tf32",))] * 2
    threads = [threading.Thread(target=work, args=job) for job in jobs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=30)
    assert not any(thread.is_alive() for thread in threads)
    assert faults == [] and switches.value == ("none",)


def test_the_users_switches_survive_a_fit(two_moons):
    x, y = two_moons
    before = precision_module._SWITCHES.read()
    for precision in ("float32", "tf32", "bfloat16"):
        ClosedFormMLP(20, hidden="random", precision=precision, device="torch:cpu", random_state=0).fit(x, y).predict(x)
        assert precision_module._SWITCHES.read() == before
    assert torch.get_float32_matmul_precision() == "highest"  # raises where the two interfaces were mixed


def test_backends_of_torch_can_be_pickled():
    again = pickle.loads(pickle.dumps(SHORT))
    assert dtype_name(again.as_features(torch.zeros(1))) == "bfloat16"
    assert backend_for(torch.zeros(1), "cpu", "bfloat16").device == torch.device("cpu")


# ---- streaming ----


@dataclass(frozen=True)
class Part:
    """A block as streaming knows it."""

    x: Any
    y: Any


class FakeEvent:
    """The end of a copy."""

    def __init__(self, log, number):
        self._log, self._number = log, number

    def synchronize(self):
        self._log.append(("wait", self._number))


class FakeRuntime:
    """CUDA on paper: a copy takes place only when it is received, so that a buffer overwritten too early is seen."""

    def __init__(self):
        self.log, self.sizes, self._copies = [], [], 0
        self._pending = {}

    def pinned(self, size, dtype):
        self.sizes.append(size)
        return torch.empty(size, dtype=dtype)

    def copy_to_device(self, rows):
        number, self._copies = self._copies, self._copies + 1
        self.log.append(("copy", number))
        moved = torch.empty_like(rows)
        self._pending[number] = (moved, rows)
        event = FakeEvent(self.log, number)
        event.synchronize = lambda: (self.log.append(("wait", number)), self._finish(number))
        moved.number = number
        return moved, event

    def receive(self, moved, done):
        self.log.append(("receive", moved.number))
        self._finish(moved.number)

    def _finish(self, number):
        moved, rows = self._pending.pop(number, (None, None))
        if moved is not None:
            moved.copy_(rows)


def parts_of(n, rows=4):
    return [Part(np.full((rows, 3), float(k)), k) for k in range(n)]


@pytest.mark.parametrize("n", [0, 1, 2, 3, 7])
def test_every_block_arrives_once_and_in_order(n):
    runtime = FakeRuntime()
    for k, block in enumerate(stream_blocks(parts_of(n), torch.device("cpu"), runtime)):
        runtime.log.append(("work", k))
        assert block.y == k
        np.testing.assert_array_equal(block.x.numpy(), np.full((4, 3), float(k)))
    assert [number for what, number in runtime.log if what == "work"] == list(range(n))
    assert len(runtime.sizes) == min(n, 2)  # two buffers, however many blocks


def test_the_next_copy_begins_before_the_work_and_a_buffer_waits_for_its_copy():
    runtime = FakeRuntime()
    for k, _ in enumerate(stream_blocks(parts_of(4), torch.device("cpu"), runtime)):
        runtime.log.append(("work", k))
    log = runtime.log
    for k in range(3):
        assert log.index(("copy", k + 1)) < log.index(("work", k))
    for k in range(2):
        assert log.index(("wait", k)) < log.index(("copy", k + 2))


def test_blocks_of_other_sizes_and_dtypes_and_read_only_ones():
    x = np.arange(12.0).reshape(4, 3)
    x.flags.writeable = False
    given = [Part(x, 0), Part(x[:1].astype(np.float32), 1), Part(np.asfortranarray(np.tile(x, (3, 1))), 2), Part(x, 3)]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for block, source in zip(stream_blocks(given, torch.device("cpu"), FakeRuntime()), given, strict=True):
            np.testing.assert_array_equal(block.x.numpy(), source.x)
            assert dtype_name(block.x) == dtype_name(source.x)


def test_an_error_of_the_source_comes_after_the_blocks_before_it():
    def source():
        yield from parts_of(3)
        raise OSError("the disk is gone")

    seen = []
    with pytest.raises(OSError, match="disk"):
        for block in stream_blocks(source(), torch.device("cpu"), FakeRuntime()):
            seen.append(block.y)
    assert seen == [0, 1, 2]


def test_rows_that_are_on_a_device_are_left_there():
    x = torch.empty((2, 2), device="meta")
    (block,) = stream_blocks([Part(x, 0)], torch.device("meta"), FakeRuntime())
    assert block.x is x


def test_the_host_streams_nothing():
    blocks = parts_of(2)
    assert get_backend("cpu").stream(blocks) is blocks
    assert get_backend("torch:cpu").stream(blocks) is blocks


# ---- memory ----


def out_of_memory():
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 3.00 GiB")


def no_host_memory():
    torch.empty(1 << 60, dtype=torch.int8)


@pytest.mark.parametrize("failure", [out_of_memory, no_host_memory])
def test_advice_names_the_block_size(failure):
    with (
        pytest.raises(MemoryError, match=r"block of 8192 rows needs.*Set block_size=4096\.") as caught,
        get_backend("torch:cpu").memory_advice(8192, 500),
    ):
        failure()
    assert isinstance(caught.value.__cause__, RuntimeError)


def test_advice_on_numpy_and_other_errors_pass():
    with pytest.raises(MemoryError, match=r"Set block_size=512\."), get_backend("cpu").memory_advice(1024, 5):
        raise MemoryError
    with pytest.raises(RuntimeError, match="something else"), get_backend("torch:cpu").memory_advice(1024, 5):
        raise RuntimeError("something else")


@pytest.mark.parametrize(("free", "size"), [(None, 32768), (1 << 40, 32768), (1 << 30, 16384), (1 << 28, 4096)])
def test_the_advised_rows_fit_into_what_is_free(free, size):
    text = str(memory_error(MemoryError("no"), "cuda", free, 65536, 1000, "block_size"))
    assert f"Set block_size={size}." in text


def test_smaller_blocks_are_not_advised_where_the_squares_do_not_fit():
    text = str(memory_error(MemoryError("no"), "cuda", 1 << 20, 65536, 1000, "block_size"))
    assert "fewer hidden units" in text and "block_size" not in text


def test_a_prediction_that_fails_says_how_many_rows_to_give(two_moons, monkeypatch):
    x, y = two_moons
    model = ClosedFormMLP(20, hidden="random", device="torch:cpu", random_state=0).fit(x, y)
    before = model.predict(x)
    with monkeypatch.context() as patch, pytest.raises(MemoryError, match=r"Set the rows of X per call=\d+\."):
        patch.setattr(type(SHORT), "activate", lambda *_: out_of_memory())
        model.predict(x)
    np.testing.assert_array_equal(model.predict(x), before)


def test_a_fit_that_fails_names_the_block_size_and_changes_nothing(two_moons, monkeypatch):
    x, y = two_moons
    model = ClosedFormMLP(20, hidden="random", device="torch:cpu", block_size=128, random_state=0).fit(x, y)
    before, seen = model.decision_function(x), model.n_samples_seen_
    with monkeypatch.context() as patch, pytest.raises(MemoryError, match=r"Set block_size=64\."):
        patch.setattr(type(SHORT), "gram", lambda *_: out_of_memory())
        model.partial_fit(x, y)
    assert model.n_samples_seen_ == seen
    np.testing.assert_array_equal(model.decision_function(x), before)
    model.partial_fit(x, y)
    assert model.n_samples_seen_ == 2 * seen


def test_a_fit_reads_its_blocks_through_the_stream(two_moons, monkeypatch):
    x, y = two_moons
    runtime = FakeRuntime()
    plain = ClosedFormMLP(20, hidden="random", device="torch:cpu", block_size=100, random_state=0).fit(x, y)
    monkeypatch.setattr(type(SHORT), "stream", lambda self, blocks: stream_blocks(blocks, torch.device("cpu"), runtime))
    streamed = ClosedFormMLP(20, hidden="random", device="torch:cpu", block_size=100, random_state=0).fit(x, y)
    assert runtime.log.count(("copy", 0)) == 1
    np.testing.assert_array_equal(streamed.decision_function(x), plain.decision_function(x))
