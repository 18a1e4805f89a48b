"""Blocks: the same rows whatever holds them, as often as wanted, from any block on, and errors that help."""

import pickle

import numpy as np
import pytest
from scipy import sparse

from sklearn_analytic import Blocks, BRMPRegressor
from sklearn_analytic.io import auto_block_size
from tests.io.storage import COLUMNS, NAMED, STORAGE

N = 123


@pytest.fixture
def rows(rng):
    X = rng.standard_normal((N, 4)).round(3)
    return X, X[:, 0] - X[:, 1], rng.uniform(0.5, 2, N).round(3)


def dense(x):
    x = x.toarray() if sparse.issparse(x) else x
    return np.asarray(x)


def joined(blocks):
    """X, y and weights of all blocks that have rows."""
    parts = [(dense(x), np.asarray(y), w) for x, y, w in blocks if len(y)]
    X, y, weights = zip(*parts, strict=True)
    return np.concatenate(X), np.concatenate(y), None if weights[0] is None else np.concatenate(weights)


def assert_rows(blocks, X, y, weight):
    got = joined(blocks)
    np.testing.assert_array_equal(got[0], X)
    np.testing.assert_array_equal(got[1], y)
    assert (got[2] is None) == (weight is None)
    if weight is not None:
        np.testing.assert_array_equal(got[2], weight)


@pytest.mark.parametrize("storage", STORAGE)
@pytest.mark.parametrize("size", [10, 1000])
@pytest.mark.parametrize("weighted", [True, False])
def test_every_storage_gives_the_same_rows(storage, size, weighted, rows, tmp_path):
    X, y, weight = rows
    weight = weight if weighted else None
    blocks = STORAGE[storage](X, y, weight, tmp_path, size, 1)
    assert_rows(blocks, X, y, weight)
    assert_rows(blocks, X, y, weight)  # and again
    sizes = [len(y) for _, y, _ in blocks if len(y)]
    assert sizes[:-1] == [size] * (N // size) or len(sizes) == 1  # the last alone may be shorter
    targets = [(np.asarray(t), w) for t, w in blocks.targets() if len(t)]
    np.testing.assert_array_equal(np.concatenate([t for t, _ in targets]), y)
    assert all((w is None) == (weight is None) for _, w in targets)
    if blocks.n_rows is not None:
        assert (blocks.n_rows, blocks.n_blocks) == (N, len(sizes))
    names = blocks.feature_names
    assert names is None or (storage in NAMED and names.tolist() == COLUMNS)


@pytest.mark.parametrize("storage", STORAGE)
@pytest.mark.parametrize("prefetch", [0, 2])
def test_reading_begins_at_any_block(storage, prefetch, rows, tmp_path):
    X, y, _ = rows
    blocks = STORAGE[storage](X, y, None, tmp_path, 10, prefetch)
    all_blocks = [dense(x) for x, _, _ in blocks]
    for start in (0, 1, len(all_blocks) - 1, len(all_blocks), len(all_blocks) + 5):
        found = [dense(x) for x, _, _ in blocks.read(start)]
        assert len(found) == max(len(all_blocks) - start, 0)
        for one, two in zip(found, all_blocks[start:], strict=True):
            np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize("storage", ["arrays", "npy", "hdf5", "zarr", "parquet", "listed"])
def test_blocks_travel_by_pickle(storage, rows, tmp_path):
    blocks = STORAGE[storage](*rows, tmp_path, 50, 1)
    assert_rows(pickle.loads(pickle.dumps(blocks)), *rows)


@pytest.mark.parametrize("storage", STORAGE)
@pytest.mark.filterwarnings("ignore:.*does not have a Zarr V3 specification")
def test_labels_are_text_everywhere(storage, rows, tmp_path):
    X = rows[0]
    y = np.array(["no", "yes", "perhaps"])[np.arange(N) % 3]
    blocks = STORAGE[storage](X, y, None, tmp_path, 50, 1)
    found = np.concatenate([np.asarray(labels) for labels, _ in blocks.targets() if len(labels)])
    assert found.tolist() == y.tolist()
    assert {type(label) for label in found.tolist()} == {str}


@pytest.mark.parametrize("storage", STORAGE)
@pytest.mark.parametrize("dtype", [np.float32, np.int16, np.bool_])
def test_dtypes_are_kept_or_widened(storage, dtype, rows, tmp_path):
    X = (rows[0] * 4).round().astype(dtype)
    blocks = STORAGE[storage](X, rows[1], None, tmp_path, 50, 1)
    found = [dense(x) for x, _, _ in blocks if len(x if not sparse.issparse(x) else x.toarray())]
    np.testing.assert_array_equal(np.concatenate(found), X)
    arrow = storage.startswith(("parquet", "arrow_table", "feather"))
    if storage not in ("csv", "of_lists", "pandas_frame", "polars_frame", "arrow_frame"):
        expected = np.float32 if dtype == np.float32 else np.float64 if arrow else dtype
        assert {part.dtype for part in found} == {np.dtype(expected)}


@pytest.mark.parametrize("storage", STORAGE)
def test_several_targets(storage, rows, tmp_path):
    X = rows[0]
    Y = X[:, :2] + 1
    assert_rows(STORAGE[storage](X, Y, None, tmp_path, 50, 1), X, Y, None)


def test_blocks_of_files_are_whole_chunks(tmp_path):
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file.create_dataset("X", shape=(5000, 1000), chunks=(300, 1000), dtype="f4")
        file["y"] = np.zeros(5000)
    assert auto_block_size(1000) == 2097
    blocks = Blocks.from_hdf5(tmp_path / "x.h5", prefetch=0)
    assert [len(y) for y, _ in blocks.targets()] == [1800, 1800, 1400]


# ------------------------------------------------------------------ errors


@pytest.mark.parametrize(
    ("part", "value", "message"),
    [
        ("X", np.zeros(3), r"X must be an array of 2 dimensions, rows first, got shape \(3,\)"),
        ("X", np.zeros((3, 1, 1)), "X must be an array of 2 dimensions"),
        ("X", "a path", "X must be an array of 2 dimensions"),
        ("X", None, "X must be an array of 2 dimensions"),
        ("y", np.zeros((3, 1, 1)), "y must be an array of 1 or 2 dimensions"),
        ("y", np.zeros(4), r"as many rows as each other, got \[3, 4\]"),
        ("sample_weight", np.zeros(2), r"as many rows as each other, got \[3, 3, 2\]"),
        ("sample_weight", np.zeros((3, 1)), "sample_weight must be an array of 1 dimensions"),
        ("block_size", 0, "block_size must be a positive integer or None, got 0"),
        ("block_size", 2.5, "block_size must be a positive integer or None, got 2.5"),
        ("block_size", True, "block_size must be a positive integer or None, got True"),
        ("prefetch", -1, "prefetch must be a non-negative integer, got -1"),
        ("prefetch", None, "prefetch must be a non-negative integer, got None"),
    ],
)
def test_wrong_arguments_are_named(part, value, message):
    given = {"X": np.zeros((3, 1)), "y": np.zeros(3), "sample_weight": None} | {part: value}
    with pytest.raises(ValueError, match=message):
        Blocks.from_arrays(**given)


def test_missing_files(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no\.npy"):
        Blocks.from_npy(tmp_path / "no.npy", tmp_path / "no.npy")
    pytest.importorskip("h5py")
    with pytest.raises(FileNotFoundError, match=r"no\.h5"):
        Blocks.from_hdf5(tmp_path / "no.h5")
    pytest.importorskip("zarr")
    with pytest.raises(FileNotFoundError, match=r"no\.zarr"):
        Blocks.from_zarr(tmp_path / "no.zarr")
    pytest.importorskip("pyarrow")
    with pytest.raises(FileNotFoundError, match=r"no\.parquet"):
        Blocks.from_parquet(tmp_path / "no.parquet", ["a"], "t")


@pytest.mark.parametrize("storage", ["hdf5", "zarr"])
def test_missing_datasets_are_listed(storage, rows, tmp_path):
    X, y, _ = rows
    STORAGE[storage](X, y, None, tmp_path, 10, 1)
    read, path = {
        "hdf5": (Blocks.from_hdf5, tmp_path / "rows.h5"),
        "zarr": (Blocks.from_zarr, tmp_path / "rows.zarr"),
    }[storage]
    with pytest.raises(ValueError, match=r"has no array 'Q'; it has \["):
        read(path, X="Q")


def test_an_npz_is_no_array(tmp_path):
    np.savez(tmp_path / "x.npz", X=np.zeros((3, 2)))
    np.save(tmp_path / "y.npy", np.zeros(3))
    with pytest.raises(ValueError, match="got NpzFile"):
        Blocks.from_npy(tmp_path / "x.npz", tmp_path / "y.npy")


def parquet_table(**columns):
    return pytest.importorskip("pyarrow").table({"a": [1.0, 2.0], "t": [0.0, 1.0]} | columns)


@pytest.mark.parametrize(
    ("names", "missing"),
    [
        ({"X": ["a", "z"], "y": "t"}, r"\['z'\]"),
        ({"X": ["a"], "y": "q"}, r"\['q'\]"),
        ({"X": ["a"], "y": "t", "sample_weight": "w"}, r"\['w'\]"),
        ({"X": [], "y": "t"}, r"\[\]"),
        ({"X": ["a"], "y": []}, r"\[\]"),
    ],
)
def test_missing_columns_are_listed(names, missing):
    with pytest.raises(ValueError, match=f"must name columns; {missing} are not among"):
        Blocks.from_parquet(parquet_table(), **names)


@pytest.mark.parametrize("values", [["u", "v"], [b"u", b"v"], [None, None]], ids=["text", "bytes", "nothing"])
def test_columns_that_are_no_numbers_come_as_tables(values):
    ((x, _, _),) = Blocks.from_parquet(parquet_table(b=values), ["a", "b"], "t")
    assert x.column_names == ["a", "b"] and x["b"].to_pylist() == values
    ((x, _, _),) = Blocks.from_parquet(parquet_table(b=values), ["a"], "t")
    assert isinstance(x, np.ndarray)


def test_lists_in_a_column_are_refused_by_the_fit():
    blocks = Blocks.from_parquet(parquet_table(b=[[1.0], [2.0]]), ["a", "b"], "t")
    with pytest.raises(TypeError, match=r"Column 1 \('b'\) of X has dtype .* and holds a list"):
        BRMPRegressor().fit_blocks(blocks)


def test_missing_numbers_are_nan_and_missing_targets_are_refused():
    table = parquet_table(i=[1, None], f=[None, 1.0], b=[True, None], s=["u", None])
    ((x, _, _),) = Blocks.from_parquet(table, ["i", "f", "b"], "t")
    np.testing.assert_array_equal(x, [[1, np.nan, 1], [np.nan, 1, np.nan]])
    for name in ("i", "f", "s"):
        with pytest.raises(ValueError, match=f"column '{name}' has missing values: leave those rows out"):
            list(Blocks.from_parquet(table, ["a"], name).targets())
    with pytest.raises(ValueError, match="column 'f' has missing values"):
        list(Blocks.from_parquet(table, ["a"], "t", sample_weight="f"))


def test_dictionaries_and_decimals_are_decoded():
    pa = pytest.importorskip("pyarrow")
    table = parquet_table(
        n=pa.array([3.0, 4.0]).dictionary_encode(),
        d=pa.array([1.25, 2.5]).cast(pa.decimal128(7, 2)),
        s=pa.array(["u", "v"]).dictionary_encode(),
    )
    ((x, y, _),) = Blocks.from_parquet(table, ["n", "d"], "s")
    np.testing.assert_array_equal(x, [[3, 1.25], [4, 2.5]])
    assert y.tolist() == ["u", "v"]


def test_an_iterator_is_no_source():
    with pytest.raises(TypeError, match="pass the function that makes it"):
        Blocks.from_iterable(iter([]))
    with pytest.raises(TypeError, match="not iterable"):
        Blocks.from_iterable(5)


@pytest.mark.parametrize("block", [5, (np.zeros((2, 1)),), (1, 2, 3, 4), {"X": 1, "y": 2}], ids=str)
def test_a_block_is_a_pair_or_a_triple(block):
    with pytest.raises(ValueError, match=r"Block 1 must be \(X, y\) or \(X, y, sample_weight\)"):
        list(Blocks.from_iterable([(np.zeros((2, 1)), np.zeros(2)), block]))


def test_a_missing_library_is_named(monkeypatch):
    from sklearn_analytic.io._readers import needed

    with pytest.raises(ImportError, match=r"needs nothing_like_it: install sklearn_analytic\[io\]"):
        needed("nothing_like_it", "io")


def test_repr_says_where_the_rows_are():
    assert repr(Blocks.from_arrays(np.zeros((5, 2)), np.zeros(5), block_size=2)) == (
        "Blocks(ArrayReader, n_rows=5, n_blocks=3)"
    )
