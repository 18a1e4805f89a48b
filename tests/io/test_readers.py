"""Readers: maps are copied and let go, files are open only while they are read, columns become one matrix."""

import threading

import numpy as np
import pytest

from sklearn_analytic import Blocks
from sklearn_analytic.io import _readers
from sklearn_analytic.io._readers import array_reader, decoded, matrix


def saved(folder, X):
    np.save(folder / "x.npy", X)
    return np.load(folder / "x.npy", mmap_mode="r")


@pytest.mark.parametrize("order", ["C", "F"])
def test_blocks_of_a_map_are_copies(order, rng, tmp_path):
    """The reading happens in the reader's thread, and pages that are let go cannot be read again by surprise."""
    X = np.asarray(rng.standard_normal((50, 3)), order=order)
    for x, _, _ in Blocks.from_arrays(saved(tmp_path, X), np.zeros(50), block_size=20):
        assert type(x) is np.ndarray and x.base is None


def test_rows_in_memory_are_not_copied(rng):
    X = rng.standard_normal((50, 3))
    assert all(np.shares_memory(x, X) for x, _, _ in Blocks.from_arrays(X, np.zeros(50), block_size=20))


def test_a_private_map_keeps_what_was_written(rng, tmp_path):
    saved(tmp_path, rng.standard_normal((5000, 3)))
    X = np.load(tmp_path / "x.npy", mmap_mode="c")
    X[:] = 7.0
    blocks = Blocks.from_arrays(X, np.zeros(5000), block_size=1000)
    assert {x.min() for x, _, _ in [*blocks, *blocks]} == {7.0}


def test_part_of_a_map(rng, tmp_path):
    X = rng.standard_normal((5000, 3))
    part = saved(tmp_path, X)[13:4000]
    found = np.concatenate([x for x, _, _ in Blocks.from_arrays(part, np.zeros(len(part)), block_size=1000)])
    np.testing.assert_array_equal(found, X[13:4000])


@pytest.mark.parametrize(("kind", "reads_files"), [("array", False), ("map", True), ("list", False), ("pandas", False)])
def test_a_thread_reads_files_alone(kind, reads_files, rng, tmp_path):
    X = rng.standard_normal((50, 3))
    given = {
        "array": lambda: X,
        "map": lambda: saved(tmp_path, X),
        "list": X.tolist,
        "pandas": lambda: pytest.importorskip("pandas").DataFrame(X),
    }[kind]()
    assert array_reader(given, np.zeros(50), None, 20).reads_files == reads_files
    stream = iter(Blocks.from_arrays(given, np.zeros(50), block_size=20, prefetch=2))
    next(stream)
    assert ("read-ahead" in [thread.name for thread in threading.enumerate()]) <= reads_files
    stream.close()


def test_a_file_is_open_only_while_it_is_read(tmp_path):
    h5py = pytest.importorskip("h5py")
    path = tmp_path / "x.h5"
    with h5py.File(path, "w") as file:
        file["X"], file["y"] = np.zeros((50, 2)), np.zeros(50)
    blocks = Blocks.from_hdf5(path, block_size=10)
    for use in (lambda: list(blocks), lambda: next(iter(blocks)), lambda: list(blocks.targets())):
        use()
        with h5py.File(path, "a") as file:  # HDF5 refuses to write to a file that is open for reading
            file.attrs["written"] = 1


def test_a_file_that_goes_away_is_an_error(tmp_path):
    for name, shape in {"x": (50, 2), "y": (50,)}.items():
        np.save(tmp_path / f"{name}.npy", np.zeros(shape))
    blocks = Blocks.from_npy(tmp_path / "x.npy", tmp_path / "y.npy")
    (tmp_path / "x.npy").unlink()
    with pytest.raises(FileNotFoundError):
        list(blocks)


@pytest.mark.parametrize("n", [0, 1, _readers._TILE - 1, _readers._TILE, 2 * _readers._TILE + 5])
def test_columns_as_a_matrix(n, rng):
    pa = pytest.importorskip("pyarrow")
    X = rng.standard_normal((n, 3)).astype(np.float32)
    batch = pa.record_batch(dict(zip("abc", X.T, strict=True)))
    cut = n // 3
    for parts in ([batch], [batch.slice(0, cut), batch.slice(cut)]):
        found = matrix(parts, ["c", "a"])
        np.testing.assert_array_equal(found, X[:, [2, 0]])
        assert found.flags.c_contiguous and found.dtype == np.float32


@pytest.mark.parametrize(
    ("types", "expected"),
    [
        (("f4", "f4"), "f4"),
        (("f4", "f8"), "f8"),
        (("f4", "i1"), "f8"),
        (("?", "?"), "f8"),
        (("u8", "i8"), "f8"),
        (("f2", "f2"), "f8"),
    ],
)
def test_dtype_of_a_matrix(types, expected):
    pa = pytest.importorskip("pyarrow")
    batch = pa.record_batch({str(k): np.ones(3, dtype) for k, dtype in enumerate(types)})
    found = matrix([batch], ["0", "1"])
    assert found.dtype == np.dtype(expected)
    np.testing.assert_array_equal(found, np.ones((3, 2)))


@pytest.mark.parametrize("dtype", ["S", "S9", object])
def test_bytes_are_text(dtype):
    y = np.array(["ä".encode(), b"bc"], dtype=dtype)
    assert decoded(y).tolist() == ["ä", "bc"]


@pytest.mark.parametrize(
    "y", [np.arange(3), np.array(["a", "b"]), np.array(["a", "b"], dtype=object), np.array([], dtype=object), [1, 2]]
)
def test_all_else_is_as_it_is(y):
    assert decoded(y) is y


def test_a_filter_that_leaves_few_rows_gives_whole_blocks(rng):
    pa, ds = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.dataset")
    values = rng.standard_normal(4000)
    dataset = ds.dataset(pa.table({"a": values, "t": values})).filter(ds.field("a") > 1)
    blocks = Blocks.from_parquet(dataset, ["a"], "t", block_size=100)
    kept = values[values > 1]
    assert [len(y) for _, y, _ in blocks][:-1] == [100] * (len(kept) // 100)
    np.testing.assert_array_equal(np.concatenate([x[:, 0] for x, _, _ in blocks]), kept)


def test_a_parquet_file_is_streamed(tmp_path):
    """By default Arrow holds a whole file until it has been read; what it holds at a time depends on the machine."""
    pa, ds = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.dataset")
    table = pa.table({"a": np.full(10, 0.5)})
    ds.write_dataset(table, tmp_path / "parquet", format="parquet")
    ds.write_dataset(table, tmp_path / "csv", format="csv")
    parquet, csv = (ds.dataset(tmp_path / kind, format=kind) for kind in ("parquet", "csv"))
    for dataset in (parquet, parquet.filter(ds.field("a") > 1), ds.dataset([parquet, parquet])):
        options = _readers._streamed(dataset)
        assert not options.pre_buffer and options.use_buffered_stream
        dataset.head(1, fragment_scan_options=options)  # Arrow takes them
    for dataset in (csv, ds.dataset(table), ds.dataset([parquet, csv])):
        assert _readers._streamed(dataset) is None
