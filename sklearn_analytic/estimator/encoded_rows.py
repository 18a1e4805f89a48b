"""Rows of a raw table that are read in passes, encoded block by block, wherever they live."""

from contextlib import closing
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from sklearn_analytic.io._checks import RowSource
from sklearn_analytic.io._passes import RowBlocks, rows_in_blocks


@dataclass(frozen=True, eq=False)
class EncodedSource(RowSource):
    """Rows of a fit as its table encodes them."""

    x: Any
    table: Any
    folds: Any = None  # of all rows, where their content does not tell

    @property
    def shape(self):
        """Rows and encoded columns."""
        return self.x.shape[0], self.table.n_columns

    def in_blocks(self, y, weight, block_size, missing=False, folds=None):
        """Return the rows with coded targets and weights."""
        return EncodedBlocks(rows_in_blocks(self.x, y, weight, block_size, True, self.folds), self.table)


@dataclass(frozen=True, eq=False)
class EncodedBlocks(RowBlocks):
    """Blocks of a fit as its table encodes them."""

    rows: RowBlocks
    table: Any

    def __iter__(self):
        with closing(iter(self.rows)) as blocks:
            for block in blocks:
                yield self.table.encoded_block(block)
                del block

    @property
    def y(self):
        """Coded targets of all rows."""
        return self.rows.y

    @property
    def weight(self):
        """Weights of all rows, or None."""
        return self.rows.weight

    @property
    def block_size(self):
        """Rows that are computed on at a time."""
        return self.rows.block_size

    @property
    def n_rows(self):
        """Number of rows in all blocks."""
        return self.rows.n_rows

    @property
    def n_columns(self):
        """Number of encoded columns."""
        return self.table.n_columns

    @property
    def n_blocks(self):
        """Number of blocks of a pass, or None where it is not known."""
        return self.rows.n_blocks

    def resized(self, block_size):
        """Return the same rows, at most ``block_size`` of which are computed on at a time."""
        return replace(self, rows=self.rows.resized(block_size))

    def reweighted(self, weight):
        """Return the same rows with other weights."""
        return replace(self, rows=self.rows.reweighted(weight))

    def rows_before(self, n_blocks):
        """Return the number of rows in the first blocks of a pass."""
        return self.rows.rows_before(n_blocks)

    def after(self, n_blocks, n_rows):
        """Return the same rows without the first blocks of a pass."""
        return replace(self, rows=self.rows.after(n_blocks, n_rows))

    def reduce(self, start, step, backend, after_block=None):
        """Return ``step`` folded over all blocks, which are encoded where they are."""
        return self.rows.reduce(start, EncodedStep(self.table, step), backend, after_block)

    def map_rows(self, function):
        """Return ``function(rows)`` of all encoded blocks, concatenated."""
        return self.rows.map_rows(_Encoded(self.table, function))

    def take(self, indices):
        """Return the encoded rows and the targets at ``indices``."""
        x, y = self.rows.take(indices)
        if not len(x):
            return np.empty((0, self.n_columns)), y
        folds = self.rows.folds
        return self.table.encoded(x, None if folds is None else folds[indices]), y

    def raw_hashes(self):
        """Return the hashes (n, 2) of rows of a table with folds that trees are blind to, or None: a pass."""
        return self.rows.map_rows(self.table.encoding.folds.hashes) if self.table.encoding.blinds else None

    def take_blind(self, indices, hashes):
        """Return encoded rows and targets at ``indices``, and what trees read without the targets of a fold."""
        x, y = self.rows.take(indices)
        blind = self.table.encoding.blind_rows(x, hashes, self.table.blind)
        return self.table.encoded(x, blind.folds), y, blind


@dataclass(frozen=True)
class EncodedStep:
    """A step of a pass over encoded blocks."""

    table: Any
    step: Any

    def __call__(self, statistic, block, backend):
        """Return the statistic with a block, which is encoded first."""
        block = self.table.encoded_block(block)
        return self.step(statistic, replace(block, x=backend.asarray(block.x)), backend)


@dataclass(frozen=True)
class _Encoded:
    """A function of encoded rows as one of coded rows."""

    table: Any
    function: Any

    def __call__(self, x, folds=None):
        return self.function(self.table.encoded(x, folds))
