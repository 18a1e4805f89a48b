"""Blocks: rows on disk, in memory or anywhere, read a block at a time, ahead of their use, as often as wanted."""

import numbers
from pathlib import Path

from scipy import sparse

from sklearn_analytic.io._passes import auto_block_size
from sklearn_analytic.io._prefetch import prefetched
from sklearn_analytic.io._readers import (
    ArrowReader,
    FileReader,
    Hdf5File,
    IterableReader,
    NpyFiles,
    ZarrGroup,
    array_reader,
    opened_dataset,
)


class Blocks:
    """Rows in blocks (X, y, sample_weight) that can be read again and again, whatever holds them.

    Made by one of the ``from_`` methods. Iterating yields triples; ``fit_blocks`` of every estimator takes it, and
    ``partial_fit`` takes its items. While a block is computed on, a thread reads the next ones: at most
    ``prefetch + 2`` blocks are in memory.

    Parameters
    ----------
    reader : object
        What the ``from_`` methods make.
    prefetch : int, default=1
        Blocks read ahead; 0 reads in the caller's thread.

    Attributes
    ----------
    n_rows : int or None
        Rows, where the source knows.
    n_blocks : int or None
        Blocks, where the source knows.
    feature_names : ndarray of str or None
        Names of the columns of X, where the source has them.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_analytic import BRMPRegressor, Blocks
    >>> X = np.arange(12.0).reshape(6, 2) ** 2
    >>> blocks = Blocks.from_arrays(X, X[:, 0] - X[:, 1], block_size=4)
    >>> [len(x) for x, y, weight in blocks]
    [4, 2]
    >>> BRMPRegressor().fit_blocks(blocks).coef_.round(6)
    array([ 1., -1.])
    """

    def __init__(self, reader, prefetch=1):
        if isinstance(prefetch, bool) or not isinstance(prefetch, numbers.Integral) or prefetch < 0:
            raise ValueError(f"prefetch must be a non-negative integer, got {prefetch!r}.")
        self._reader = reader
        self.prefetch = int(prefetch)

    @property
    def n_rows(self):
        """Rows, where the source knows; None otherwise."""
        return self._reader.n_rows

    @property
    def n_blocks(self):
        """Blocks, where the source knows; None otherwise."""
        return self._reader.n_blocks

    @property
    def feature_names(self):
        """Names of the columns of X, where the source has them; None otherwise."""
        return self._reader.feature_names

    def __iter__(self):
        """All blocks."""
        return self.read()

    def __repr__(self):
        """Where the rows are."""
        return f"Blocks({type(self._reader).__name__}, n_rows={self.n_rows}, n_blocks={self.n_blocks})"

    def read(self, start=0):
        """Yield the blocks from a number on.

        Parameters
        ----------
        start : int, default=0
            The first block's number. Arrays, HDF5 and Zarr go there at once; other sources read and drop what is
            before.

        Yields
        ------
        tuple
            X, y and sample_weight (or None).

        Examples
        --------
        >>> import numpy as np
        >>> from sklearn_analytic import Blocks
        >>> blocks = Blocks.from_arrays(np.zeros((5, 2)), np.zeros(5), block_size=2)
        >>> sum(len(x) for x, y, weight in blocks.read(start=1))
        3
        """
        return prefetched(self._reader.read(start), self.prefetch if self._reader.reads_files else 0)

    def targets(self):
        """Yield targets and weights of every block, without the features where the source can leave them out.

        Yields
        ------
        tuple
            y and sample_weight (or None).

        Examples
        --------
        >>> import numpy as np
        >>> from sklearn_analytic import Blocks
        >>> [y.tolist() for y, weight in Blocks.from_arrays(np.zeros((3, 2)), np.arange(3), block_size=2).targets()]
        [[0, 1], [2]]
        """
        return self._reader.targets()

    @classmethod
    def from_arrays(cls, X, y, sample_weight=None, *, block_size=None, prefetch=1):
        """Return blocks of anything that is sliced by rows.

        Parameters
        ----------
        X : {array-like, memmap, sparse matrix, frame, h5py.Dataset, zarr.Array} of shape (n_samples, n_features)
            Rows. A frame's column names become ``feature_names_in_``.
        y : the same of shape (n_samples,) or (n_samples, n_targets)
            Targets.
        sample_weight : the same of shape (n_samples,), default=None
            Weights.
        block_size : int, default=None
            Rows per block; None keeps a float64 block near 16 MiB.
        prefetch : int, default=1
            Blocks read ahead, for what is not in memory.

        Returns
        -------
        Blocks
            The blocks.

        Examples
        --------
        >>> import numpy as np
        >>> from sklearn_analytic import Blocks
        >>> Blocks.from_arrays(np.zeros((5, 2)), np.zeros(5), block_size=2).n_blocks
        3
        """
        X = X.tocsr() if sparse.issparse(X) else X
        return cls(array_reader(X, y, sample_weight, _checked_size(block_size)), prefetch)

    @classmethod
    def from_npy(cls, X, y, sample_weight=None, *, block_size=None, prefetch=1):
        """Return blocks of ``.npy`` files, which are mapped and read block by block.

        Parameters
        ----------
        X : path
            File of an array of shape (n_samples, n_features), row-major to be fast.
        y : path
            File of an array of shape (n_samples,) or (n_samples, n_targets).
        sample_weight : path, default=None
            File of an array of shape (n_samples,).
        block_size, prefetch
            As in :meth:`from_arrays`.

        Returns
        -------
        Blocks
            The blocks.

        Examples
        --------
        >>> import tempfile, numpy as np
        >>> from sklearn_analytic import Blocks
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     np.save(f"{folder}/x.npy", np.ones((4, 2))); np.save(f"{folder}/y.npy", np.arange(4))
        ...     [y.sum() for x, y, weight in Blocks.from_npy(f"{folder}/x.npy", f"{folder}/y.npy", block_size=2)]
        [np.int64(1), np.int64(5)]
        """
        files = NpyFiles(Path(X), Path(y), None if sample_weight is None else Path(sample_weight))
        return cls(FileReader(files, _checked_size(block_size)), prefetch)

    @classmethod
    def from_hdf5(cls, path, X="X", y="y", sample_weight=None, *, block_size=None, prefetch=1):
        """Return blocks of datasets in an HDF5 file, which is opened for every pass.

        Parameters
        ----------
        path : path
            The file.
        X, y, sample_weight : str
            Names of the datasets inside it; groups are written with slashes.
        block_size, prefetch
            As in :meth:`from_arrays`; None takes whole chunks, so that each is read once.

        Returns
        -------
        Blocks
            The blocks.

        Raises
        ------
        ImportError
            Without h5py, which the extra "io" brings.

        Examples
        --------
        >>> import tempfile, numpy as np, h5py  # doctest: +SKIP
        >>> Blocks.from_hdf5("data.h5", X="train/X", y="train/y")  # doctest: +SKIP
        """
        opened = Hdf5File(Path(path), (X, y, sample_weight))
        return cls(FileReader(opened, _checked_size(block_size)), prefetch)

    @classmethod
    def from_zarr(cls, path, X="X", y="y", sample_weight=None, *, block_size=None, prefetch=1):
        """Return blocks of arrays in a Zarr group.

        Parameters
        ----------
        path : path
            The group's folder.
        X, y, sample_weight : str
            Names of the arrays inside it.
        block_size, prefetch
            As in :meth:`from_arrays`; None takes whole chunks, so that each is read once.

        Returns
        -------
        Blocks
            The blocks.

        Raises
        ------
        ImportError
            Without zarr, which the extra "io" brings.

        Examples
        --------
        >>> Blocks.from_zarr("data.zarr", X="X", y="y")  # doctest: +SKIP
        """
        opened = ZarrGroup(Path(path), (X, y, sample_weight))
        return cls(FileReader(opened, _checked_size(block_size)), prefetch)

    @classmethod
    def from_parquet(cls, source, X, y, sample_weight=None, *, format="parquet", block_size=None, prefetch=1):
        """Return blocks of columns of Parquet files, or of whatever Apache Arrow reads as a dataset.

        Parameters
        ----------
        source : path, list of path, pyarrow.Table or pyarrow.dataset.Dataset
            A file, a folder, several of them, a table, or a dataset with its own filters and partitions.
        X : sequence of str
            Feature columns: numbers, dictionaries or text.
        y : str or sequence of str
            The target column, or several.
        sample_weight : str, default=None
            The column of weights.
        format : {"parquet", "arrow", "feather", "orc", "csv"}, default="parquet"
            Of the files, where ``source`` is a path.
        block_size, prefetch
            As in :meth:`from_arrays`. Arrow reads a row group at a time: memory grows with groups larger than
            a block.

        Returns
        -------
        Blocks
            The blocks; their ``feature_names`` become ``feature_names_in_``.

        Raises
        ------
        ImportError
            Without pyarrow, which the extra "io" brings.
        ValueError
            If a column is not there.

        Examples
        --------
        >>> import pyarrow as pa  # doctest: +SKIP
        >>> from sklearn_analytic import Blocks
        >>> table = pa.table({"a": [1.0, 2.0], "b": [0.0, 1.0], "t": [1, 0]})  # doctest: +SKIP
        >>> [y.tolist() for x, y, w in Blocks.from_parquet(table, X=["a", "b"], y="t")]  # doctest: +SKIP
        [[1, 0]]
        """
        dataset = opened_dataset(source, format)
        flat = isinstance(y, str)
        targets = (y,) if flat else tuple(y)
        features = (X,) if isinstance(X, str) else tuple(X)
        known = dataset.schema.names
        missing = [name for name in (*features, *targets, sample_weight) if name is not None and name not in known]
        if missing or not features or not targets:
            raise ValueError(f"X, y and sample_weight must name columns; {missing} are not among {known}.")
        size = _checked_size(block_size) or auto_block_size(len(features))
        return cls(ArrowReader(dataset, features, targets, sample_weight, size, flat), prefetch)

    @classmethod
    def from_iterable(cls, source, *, prefetch=1):
        """Return blocks of an iterable that can be iterated again.

        Parameters
        ----------
        source : iterable or callable
            A list of blocks, an object whose ``__iter__`` begins anew, or a function without arguments that
            returns an iterator. Items are (X, y) or (X, y, sample_weight).
        prefetch : int, default=1
            Blocks read ahead.

        Returns
        -------
        Blocks
            The blocks.

        Raises
        ------
        TypeError
            For an iterator, which is exhausted after one pass: give the function that makes it.

        Examples
        --------
        >>> import numpy as np
        >>> from sklearn_analytic import Blocks
        >>> blocks = Blocks.from_iterable(lambda: ((np.full((2, 1), k), np.zeros(2)) for k in range(3)))
        >>> len(list(blocks)), len(list(blocks))
        (3, 3)
        """
        if not callable(source) and iter(source) is source:
            raise TypeError(
                "source is an iterator, which can be read once only: pass the function that makes it, or give the "
                "iterator itself to fit_blocks."
            )
        return cls(IterableReader(source), prefetch)


def _checked_size(block_size):
    """Refuse what is no number of rows."""
    if block_size is None:
        return None
    if isinstance(block_size, bool) or not isinstance(block_size, numbers.Integral) or block_size < 1:
        raise ValueError(f"block_size must be a positive integer or None, got {block_size!r}.")
    return int(block_size)
