"""Features of a source of blocks, read in passes as if they were an array: what a fit on Blocks works with."""

from contextlib import closing
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy import sparse

from sklearn_analytic.io._checks import RowSource, dense_rows, host, refuse_gaps, told_of
from sklearn_analytic.io._columns import Columns, medians_of_whole, rows_by
from sklearn_analytic.io._passes import Block, RowBlocks
from sklearn_analytic.io._raw_columns import is_plain


@dataclass(frozen=True)
class SourceRows(RowSource):
    """The rows of :class:`~sklearn_analytic.io.Blocks`; targets and weights have been read, features have not."""

    blocks: Any
    check: Any  # function of a block's X that compares its columns with those of the fit
    sizes: tuple  # rows of every block; 0 are passed over
    n_columns: int
    columns: Columns  # how those of every block are read
    lacks: bool = True  # whether any value may be missing
    fills: np.ndarray | None = None  # medians of the first block, where none of it is

    @property
    def shape(self):
        """Rows and columns."""
        return sum(self.sizes), self.n_columns

    def in_blocks(self, y, weight, block_size, missing=False, folds=None):
        """Return the rows with coded targets and weights."""
        return SourceBlocks(self, y, weight, block_size, 0, missing, folds)


@dataclass(frozen=True)
class SourceBlocks(RowBlocks):
    """Rows of a source with coded targets and weights, from block number ``first`` on."""

    source: SourceRows
    y: Any
    weight: Any | None
    block_size: int
    first: int = 0
    missing: bool = False  # whether values may be
    folds: Any | None = None

    def __iter__(self):
        sizes = self.source.sizes
        done, number = sum(sizes[: self.first]), self.first
        with closing(self.source.blocks.read(self.first)) as stream:
            for x, y, _ in stream:
                _check_length(number, rows_of(x), rows_of(y), sizes)
                size, number = sizes[number], number + 1
                block = self._checked(number - 1, x, slice(done, done + size)) if size else None
                done += size
                del x, y, _  # or a block would stay while the next one is read
                if block is not None:
                    yield block
                del block
        if done < self.n_rows:
            raise ValueError(f"The source ended after {number} blocks; in the first pass it had {len(sizes)}.")

    def _checked(self, number, x, rows):
        """The block's rows, dense and finite, with their targets and weights; errors say which block it is."""
        with numbered(number):
            refuse_gaps(self.y[rows], "y")
            weight, folds = (None if part is None else part[rows] for part in (self.weight, self.folds))
            x = rows_by(self.source.columns, self.source.check(x))
            return Block(host(dense_rows(x, self.missing)), self.y[rows], weight, folds)

    def rows_before(self, n_blocks):
        """Return the number of rows in the first blocks, of those that have rows."""
        return sum([size for size in self.source.sizes if size][:n_blocks])

    def after(self, n_blocks, n_rows):
        """Return the same rows without the first blocks, of those that have rows."""
        filled = [number for number, size in enumerate(self.source.sizes) if size][:n_blocks]
        found = self.rows_before(n_blocks)
        if len(filled) < n_blocks or found != n_rows:
            raise ValueError(
                f"The checkpoint has {n_rows} rows in {n_blocks} blocks; the first blocks of this source have {found}. "
                "Give the same blocks in the same order, or remove the file to begin anew."
            )
        return replace(self, first=filled[-1] + 1 if filled else 0)

    @property
    def n_rows(self):
        """Number of rows in all blocks."""
        return sum(self.source.sizes)

    @property
    def n_columns(self):
        """Number of columns."""
        return self.source.n_columns

    @property
    def n_blocks(self):
        """Number of blocks with rows of a pass, from the first on."""
        return sum(size > 0 for size in self.source.sizes[self.first :])


def numbered(number):
    """Let errors of what is done to a block say which block it is."""
    return told_of(f"Block {number}: ")


def opened(blocks, check, columns_of, show=None):
    """Return :class:`SourceRows`, all targets and all weights (or None): one pass over the targets.

    ``check(x, first)`` returns a block's X, checked; with ``first`` it settles the columns. ``columns_of(x)`` says how
    those of a block are read: a further pass, where they are not all numbers. ``show(x, y)`` is given the first block
    with rows.
    """
    with closing(blocks.read()) as stream:
        x, y = next((block[:2] for block in stream if rows_of(block[0])), (None, None))
    if x is None:
        raise ValueError("fit_blocks got no rows: the source is empty.")
    raw = check(x, True)
    n_columns, columns = raw.shape[1], columns_of(raw)
    fills = None if columns.has_categories else medians_of_whole(raw)
    if show is not None:
        show(x, y)
    # A reader that picks columns by name gives no others.
    check_more = _itself if blocks.feature_names is not None else lambda x: check(x, False)
    if not is_plain(raw) or not columns.are_numbers:
        columns = _columns_of_all(blocks, check_more, columns_of)
    del x, y, raw
    targets, weights, sizes = [], [], []
    with closing(blocks.targets()) as stream:
        for number, (y, weight) in enumerate(stream):
            y = np.asarray(y.toarray() if sparse.issparse(y) else host(y))
            _check_kind(number, y, targets)
            sizes.append(len(y))
            if len(y):
                targets.append(y)
                weights.append(_weights_of(number, weight, len(y)))
    if not targets:
        raise ValueError(
            "The source gave rows once and then none: from_iterable needs something that begins anew each time, such "
            "as a function that returns a new iterator."
        )
    rows = SourceRows(blocks, check_more, tuple(sizes), n_columns, columns, fills is None, fills)
    return rows, np.concatenate(targets), _joined(weights, targets)


def _columns_of_all(blocks, check, columns_of):
    """How the columns are read, by all blocks: one pass."""
    columns = None
    with closing(blocks.read()) as stream:
        for number, (x, *_) in enumerate(stream):
            if rows_of(x):
                with numbered(number):
                    own = columns_of(check(x))
                    columns = own if columns is None else columns.merged(own)
            del x
    return columns.in_order()


def _check_kind(number, y, before):
    """Refuse targets that NumPy could join only by turning numbers into text, or not at all."""
    if y.ndim not in (1, 2):
        raise ValueError(
            f"Block {number} has targets of shape {y.shape}: (n_samples,) or (n_samples, n_targets) is due."
        )
    if before and len(y) and y.shape[1:] != before[0].shape[1:]:
        raise ValueError(f"Block {number} has targets of shape {y.shape}, the first had {before[0].shape}.")
    if before and len(y) and (y.dtype.kind in "biuf") != (before[0].dtype.kind in "biuf"):
        raise ValueError(
            f"Block {number} has labels such as {y.tolist()[0]!r}, the first such as {before[0].tolist()[0]!r}: "
            "numbers and strings cannot be mixed."
        )


def _weights_of(number, weight, n_rows):
    """A block's weights as float64, one number standing for all; None where it has none."""
    if weight is None:
        return None
    weight = np.asarray(host(weight), dtype=np.float64)
    weight = np.full(n_rows, weight) if weight.ndim == 0 else weight
    if weight.shape != (n_rows,):
        raise ValueError(f"Block {number} has {n_rows} targets and weights of shape {weight.shape}: one each is due.")
    return weight


def _check_length(number, n_rows, n_targets, sizes):
    """Refuse a block whose parts differ in length, or that is not what it was in the first pass."""
    if n_rows != n_targets:
        raise ValueError(f"Block {number} has {n_rows} rows and {n_targets} targets.")
    expected = sizes[number] if number < len(sizes) else 0
    if n_rows != expected:
        raise ValueError(
            f"Block {number} had {expected} rows in the first pass and has {n_rows} now: a source must give the "
            "same blocks in every pass."
        )


def _joined(weights, targets):
    """All weights, 1 where a block has none; None where none has."""
    if all(weight is None for weight in weights):
        return None
    return np.concatenate([np.ones(len(y)) if w is None else w for w, y in zip(weights, targets, strict=True)])


def _itself(x):
    """A block whose columns are known to be right."""
    return x


def rows_of(part):
    """Number of rows of X or y, 1 for what has none (and will be refused)."""
    shape = getattr(part, "shape", None)
    return shape[0] if shape else len(part) if isinstance(part, list | tuple) else 1
