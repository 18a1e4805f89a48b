"""Where rows live must not matter: arrays, memmaps, sparse matrices, frames, tensors, any block size."""

import warnings

import numpy as np
import pytest
from scipy import sparse

import sklearn_analytic as sa
from sklearn_analytic import BRMPRegressor
from sklearn_analytic.io._passes import ArrayBlocks, auto_block_size
from sklearn_analytic.nn import torch_module
from tests.checks import assert_close


@pytest.fixture
def data(rng):
    X = rng.standard_normal((300, 5))
    X[X < -1] = 0
    return X, X[:, :2] @ np.array([1.0, -2.0]) + 0.1 * rng.standard_normal(300)


def memmap(X, path, mode):
    np.save(path, X)
    return np.load(path, mmap_mode=mode)


def frame(library, X):
    return library.DataFrame({f"c{i}": column for i, column in enumerate(X.T)})


def arrow(X):
    pa = pytest.importorskip("pyarrow")
    return pa.table({f"c{i}": column for i, column in enumerate(X.T)})


KINDS = {
    "fortran": lambda X, path: np.asfortranarray(X),
    "strided": lambda X, path: np.repeat(X, 2, axis=0)[::2],
    "list": lambda X, path: X.tolist(),
    "object": lambda X, path: X.astype(object),
    "memmap_r": lambda X, path: memmap(X, path, "r"),
    "memmap_c": lambda X, path: memmap(X, path, "c"),
    "memmap_rplus": lambda X, path: memmap(X, path, "r+"),
    "csr_matrix": lambda X, path: sparse.csr_matrix(X),
    "csr_array": lambda X, path: sparse.csr_array(X),
    "csc_array": lambda X, path: sparse.csc_array(X),
    "coo_array": lambda X, path: sparse.coo_array(X),
    "pandas": lambda X, path: frame(pytest.importorskip("pandas"), X),
    "polars": lambda X, path: frame(pytest.importorskip("polars"), X),
    "arrow": lambda X, path: arrow(X),
    "tensor": lambda X, path: pytest.importorskip("torch").from_numpy(X.copy()),
}


@pytest.mark.parametrize("kind", KINDS)
def test_kind_of_container_does_not_matter(kind, data, tmp_path):
    X, y = data
    given = KINDS[kind](X, tmp_path / "x.npy")
    expected = BRMPRegressor(block_size=64).fit(X, y)
    model = BRMPRegressor(block_size=64).fit(given, y)
    assert_close(model.coef_, expected.coef_, np.float64)
    predictions = model.predict(given)
    assert_close(predictions, expected.predict(X), np.float64)
    if kind == "tensor":
        assert type(predictions) is type(given)


@pytest.mark.parametrize("dtype", [np.int64, np.uint8, np.bool_, np.float16])
def test_other_dtypes_are_numbers(dtype, data):
    X = (10 * np.abs(data[0])).astype(dtype)
    expected = BRMPRegressor().fit(X.astype(float), data[1])
    assert_close(BRMPRegressor().fit(X, data[1]).coef_, expected.coef_, np.float64)


@pytest.mark.parametrize("block_size", [1, 7, 300, 10_000])
def test_block_size_does_not_matter(block_size, data):
    expected = BRMPRegressor(alpha="gcv").fit(*data)
    model = BRMPRegressor(alpha="gcv", block_size=block_size).fit(*data)
    assert_close(model.coef_, expected.coef_, np.float64, 10)
    assert_close(model.alpha_, expected.alpha_, np.float64, 100)


def test_copy_on_write_pages_survive_the_reading(data, tmp_path):
    """Pages changed in private memory are lost when they are given back: they must not be."""
    X, y = data
    private = memmap(X, tmp_path / "x.npy", "c")
    private[:] = X + 1
    expected = BRMPRegressor().fit(X + 1, y)
    assert_close(BRMPRegressor(block_size=32).fit(private, y).intercept_, expected.intercept_, np.float64, 100)
    np.testing.assert_array_equal(private, X + 1)


def test_pages_written_to_a_shared_mapping_survive(data, tmp_path):
    X, y = data
    shared = memmap(X, tmp_path / "x.npy", "r+")
    shared[:] = X + 1
    BRMPRegressor(block_size=32).fit(shared, y)
    np.testing.assert_array_equal(shared, X + 1)
    shared.flush()
    np.testing.assert_array_equal(np.load(tmp_path / "x.npy"), X + 1)


def test_memmap_slices_are_read_too(data, tmp_path):
    """A view that starts inside a page, and one whose rows are not contiguous."""
    X, y = data
    mapped = memmap(X, tmp_path / "x.npy", "r")
    for view, plain, target in [
        (mapped[13:251], X[13:251], y[13:251]),
        (mapped[::3], X[::3], y[::3]),
        (mapped[:, 1:], X[:, 1:], y),
    ]:
        expected = BRMPRegressor().fit(plain, target)
        assert_close(BRMPRegressor(block_size=20).fit(view, target).coef_, expected.coef_, np.float64)


@pytest.mark.slow
def test_memory_does_not_grow_with_the_rows(tmp_path):
    """A file of 400 MB is fitted in a process that may never hold 150 MB above its start."""
    import subprocess
    import sys

    path = tmp_path / "x.npy"
    rows = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=(800_000, 128))
    for start in range(0, len(rows), 50_000):
        rows[start : start + 50_000] = np.random.default_rng(start).standard_normal((50_000, 128))
    rows.flush()
    code = (
        "import resource, numpy as np; from sklearn_analytic import BRMPRegressor\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        f"X = np.load({str(path)!r}, mmap_mode='r'); BRMPRegressor().fit(X, np.arange(len(X), dtype=np.float32))\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)"
    )
    kilobytes = int(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)
    assert kilobytes < 150_000


def test_lazy_frames_say_what_to_do(data):
    polars = pytest.importorskip("polars")
    with pytest.raises(TypeError, match="collect"):
        BRMPRegressor().fit(frame(polars, data[0]).lazy(), data[1])


def test_array_blocks_cover_all_rows_once(data):
    X, y = data
    blocks = ArrayBlocks(X, y[:, None], None, 64)
    for _ in range(2):  # as often as wanted
        parts = list(blocks)
        np.testing.assert_array_equal(np.vstack([block.x for block in parts]), X)
        np.testing.assert_array_equal(np.vstack([block.y for block in parts])[:, 0], y)


@pytest.mark.parametrize("columns", [1, 10, 256, 3000, 100_000])
def test_automatic_block_size_is_bounded(columns):
    rows = auto_block_size(columns)
    assert 256 <= rows <= 65536
    assert rows * columns * 8 <= max(16 << 20, 8 * columns * min(2 * columns, 8192), 8 * 256 * columns)


@pytest.mark.parametrize(
    ("kind", "verb"),
    [
        ("DFAClassifier", "predict"),
        ("LayerwiseMLP", "predict"),
        ("LayerwiseMLP", "staged_predict"),
        ("DecoupledMLPClassifier", "predict"),
    ],
)
def test_predictions_build_the_network_once(kind, verb, monkeypatch):
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((60, 4)).astype(np.float32), np.arange(60) % 2
    network = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.ReLU(), torch.nn.Linear(3, 2))
    model = getattr(sa, kind)(network=network, max_iter=1, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.fit(X, y)
    copied, expected = [], np.array(model.predict(X))
    networks = torch_module("sklearn_analytic.nn._torch_networks")
    copy = networks.trainable_copy
    monkeypatch.setattr(networks, "trainable_copy", lambda network: copied.append(1) or copy(network))
    monkeypatch.setattr("sklearn_analytic.estimator.base.short_block_size", lambda width: 7)  # nine blocks
    found = getattr(model, verb)(X)
    np.testing.assert_array_equal(found if verb == "predict" else list(found)[-1], expected)
    assert len(copied) <= 1
