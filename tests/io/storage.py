"""The same rows in every kind of storage that blocks are read from: for tests that must not see a difference."""

import numpy as np
import pytest
from scipy import sparse

from sklearn_analytic import Blocks

COLUMNS = ["a", "b", "c", "d"]


def table_of(X, y, weight):
    """Columns by name: features, targets (t, or t0, t1, ...), weights (w)."""
    columns = dict(zip(COLUMNS, X.T, strict=True))
    columns |= {"t": y} if y.ndim == 1 else {f"t{k}": column for k, column in enumerate(y.T)}
    return columns if weight is None else columns | {"w": weight}


def targets_of(y):
    """Names of the target columns."""
    return "t" if y.ndim == 1 else [f"t{k}" for k in range(y.shape[1])]


def _named(weight):
    return None if weight is None else "w"


def arrays(X, y, weight, folder, size, prefetch):
    return Blocks.from_arrays(X, y, weight, block_size=size, prefetch=prefetch)


def csr(X, y, weight, folder, size, prefetch):
    return Blocks.from_arrays(sparse.csr_array(X), y, weight, block_size=size, prefetch=prefetch)


def tensors(X, y, weight, folder, size, prefetch):
    torch = pytest.importorskip("torch")
    y = y if y.dtype.kind in "UO" else torch.from_numpy(y)
    return Blocks.from_arrays(torch.from_numpy(X), y, weight, block_size=size, prefetch=prefetch)


def pandas_frame(X, y, weight, folder, size, prefetch):
    pd = pytest.importorskip("pandas")
    index = np.linspace(5.0, 1.0, len(X))  # slices are by position, whatever the index says
    X = pd.DataFrame(X, columns=COLUMNS, index=index)
    y = pd.Series(y, index=index) if y.ndim == 1 else pd.DataFrame(y, index=index)
    return Blocks.from_arrays(X, y, weight, block_size=size, prefetch=prefetch)


def polars_frame(X, y, weight, folder, size, prefetch):
    pl = pytest.importorskip("polars")
    return Blocks.from_arrays(pl.DataFrame(X, schema=COLUMNS), y, weight, block_size=size, prefetch=prefetch)


def arrow_frame(X, y, weight, folder, size, prefetch):
    pa = pytest.importorskip("pyarrow")
    table = pa.table(dict(zip(COLUMNS, X.T, strict=True)))
    return Blocks.from_arrays(table, y, weight, block_size=size, prefetch=prefetch)


def npy(X, y, weight, folder, size, prefetch):
    paths = {name: folder / f"{name}.npy" for name in ("X", "y", "w")}
    for path, values in zip(paths.values(), (X, y, weight), strict=True):
        if values is not None:
            np.save(path, values)
    weight = None if weight is None else paths["w"]
    return Blocks.from_npy(paths["X"], paths["y"], weight, block_size=size, prefetch=prefetch)


def npy_columns(X, y, weight, folder, size, prefetch):
    return npy(np.asfortranarray(X), y, weight, folder, size, prefetch)


def memmap(X, y, weight, folder, size, prefetch):
    np.save(folder / "X.npy", X)
    np.save(folder / "y.npy", y)
    maps = (np.load(folder / name, mmap_mode="r") for name in ("X.npy", "y.npy"))
    return Blocks.from_arrays(*maps, weight, block_size=size, prefetch=prefetch)


def hdf5(X, y, weight, folder, size, prefetch):
    h5py = pytest.importorskip("h5py")
    with h5py.File(folder / "rows.h5", "w") as file:
        file.create_dataset("train/X", data=X, chunks=(7, 2), compression="gzip")
        file.create_dataset("train/y", data=y.tolist() if y.dtype.kind == "U" else y)
        if weight is not None:
            file["w"] = weight
    return Blocks.from_hdf5(
        folder / "rows.h5", "train/X", "train/y", _named(weight), block_size=size, prefetch=prefetch
    )


def zarr(X, y, weight, folder, size, prefetch):
    group = pytest.importorskip("zarr").open_group(str(folder / "rows.zarr"), mode="w")
    y = y.astype("S") if y.dtype.kind == "U" else y  # text of fixed length has no stable form in Zarr 3
    for name, values in {"X": X, "y": y, "w": weight}.items():
        if values is not None:
            group.create_array(name, data=values, chunks=(7,) + values.shape[1:])
    return Blocks.from_zarr(folder / "rows.zarr", sample_weight=_named(weight), block_size=size, prefetch=prefetch)


def parquet(X, y, weight, folder, size, prefetch):
    """Files of uneven numbers of rows, in row groups that no block size fits."""
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    table, first = pa.table(table_of(X, y, weight)), 0
    for number, rows in enumerate([3, 41, 0, len(X) - 44]):
        pq.write_table(table.slice(first, rows), folder / f"part_{number}.parquet", row_group_size=17)
        first += rows
    return Blocks.from_parquet(folder, COLUMNS, targets_of(y), _named(weight), block_size=size, prefetch=prefetch)


def parquet_filtered(X, y, weight, folder, size, prefetch):
    """A dataset that holds other rows too, which its own filter takes out."""
    pa, ds = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.dataset")
    many = [np.repeat(values, 3, axis=0) if values is not None else None for values in (X, y, weight)]
    table = pa.table(table_of(*many) | {"keep": np.arange(3 * len(X)) % 3})
    ds.write_dataset(table, folder / "set", format="parquet", max_rows_per_group=50, max_rows_per_file=200)
    dataset = ds.dataset(sorted((folder / "set").glob("*.parquet"), key=_number)).filter(ds.field("keep") == 1)
    return Blocks.from_parquet(dataset, COLUMNS, targets_of(y), _named(weight), block_size=size, prefetch=prefetch)


def _number(path):
    return int(path.stem.split("-")[1])


def arrow_table(X, y, weight, folder, size, prefetch):
    pa = pytest.importorskip("pyarrow")
    halves = [
        pa.table(table_of(X[s], y[s], None if weight is None else weight[s])) for s in (slice(50), slice(50, None))
    ]
    return Blocks.from_parquet(
        pa.concat_tables(halves), COLUMNS, targets_of(y), _named(weight), block_size=size, prefetch=prefetch
    )


def feather(X, y, weight, folder, size, prefetch):
    pa, write = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.feather").write_feather
    write(pa.table(table_of(X, y, weight)), folder / "rows.feather", chunksize=31)
    return Blocks.from_parquet(
        str(folder / "rows.feather"),
        COLUMNS,
        targets_of(y),
        _named(weight),
        format="feather",
        block_size=size,
        prefetch=prefetch,
    )


def csv(X, y, weight, folder, size, prefetch):
    pa, write = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.csv").write_csv
    write(pa.table(table_of(X, y, weight)), folder / "rows.csv")
    return Blocks.from_parquet(
        [folder / "rows.csv"],
        COLUMNS,
        targets_of(y),
        _named(weight),
        format="csv",
        block_size=size,
        prefetch=prefetch,
    )


def _cut(X, y, weight, size):
    for first in range(0, len(X), size):
        rows = slice(first, first + size)
        yield (X[rows], y[rows]) if weight is None else (X[rows], y[rows], weight[rows])
        yield (X[:0], y[:0])  # blocks without rows are passed over


def listed(X, y, weight, folder, size, prefetch):
    return Blocks.from_iterable(list(_cut(X, y, weight, size)), prefetch=prefetch)


def generated(X, y, weight, folder, size, prefetch):
    return Blocks.from_iterable(lambda: _cut(X, y, weight, size), prefetch=prefetch)


def of_lists(X, y, weight, folder, size, prefetch):
    """Blocks of Python lists, as a file of text gives them."""
    blocks = [[part.tolist() for part in block] for block in _cut(X, y, weight, size) if len(block[0])]
    return Blocks.from_iterable(blocks, prefetch=prefetch)


STORAGE = {
    function.__name__: function
    for function in (
        arrays,
        csr,
        tensors,
        pandas_frame,
        polars_frame,
        arrow_frame,
        npy,
        npy_columns,
        memmap,
        hdf5,
        zarr,
        parquet,
        parquet_filtered,
        arrow_table,
        feather,
        csv,
        listed,
        generated,
        of_lists,
    )
}
NAMED = {"pandas_frame", "polars_frame", "arrow_frame", *(k for k in STORAGE if k.startswith(("parquet", "arrow_t")))}
NAMED |= {"feather", "csv"}
