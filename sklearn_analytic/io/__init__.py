"""Where rows come from: arrays, files and iterables as blocks that can be read again, and statistics on disk."""

from sklearn_analytic.io._blocks import Blocks
from sklearn_analytic.io._passes import auto_block_size, short_block_size
from sklearn_analytic.io._state_file import read_state, write_state

__all__ = ["Blocks", "auto_block_size", "read_state", "short_block_size", "write_state"]
