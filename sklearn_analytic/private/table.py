"""Raw tables in private training: what stands for gaps and categories is public, and asks no other row."""

from dataclasses import replace

import numpy as np

from sklearn_analytic.estimator.table import Table
from sklearn_analytic.features import LevelIndicators, TableEncoding
from sklearn_analytic.io._columns import CodedRows, plain_columns
from sklearn_analytic.io._raw_columns import CATEGORIES
from sklearn_analytic.private.method import warn_of_leak


def public_table(X, ends):
    """Return the table of rows and the ends of its encoded columns; ``ends`` are those of the columns, or None.

    A missing number is the middle of its ends (0 without any). A column of categories has an indicator for every level
    that its dtype lists, and for missing values; levels that no dtype lists are taken from the rows, which discloses
    them.
    """
    columns = X.columns if isinstance(X, CodedRows) else plain_columns(X.shape[1])
    is_category = np.array([kind == CATEGORIES for kind in columns.kinds])
    listed = [_listed(columns, j) if kind == CATEGORIES else None for j, kind in enumerate(columns.kinds)]
    columns = replace(columns, levels=tuple(listed)).in_order()
    numbers, no_column = np.flatnonzero(~is_category), np.zeros(0, dtype=np.int64)
    categories = tuple(
        LevelIndicators(int(j), np.arange(len(columns.levels[j]) + 1), len(columns.levels[j]))
        for j in np.flatnonzero(is_category)
    )
    fills = np.zeros(len(numbers)) if ends is None else np.mean([end[numbers] for end in ends], axis=0)
    encoding = TableEncoding(len(is_category), numbers, fills, no_column, categories)
    if ends is None:
        return Table(columns, encoding), None
    indicators = np.zeros(encoding.n_columns - len(numbers))
    low, high = np.append(ends[0][numbers], indicators), np.append(ends[1][numbers], indicators + 1)
    return Table(columns, encoding), (low, high)


def _listed(columns, j):
    """Levels of a column of categories that its dtype lists, or those of the rows."""
    if columns.declared and columns.declared[j] is not None:
        return columns.declared[j]
    warn_of_leak(
        f"{columns.described(j)} has no dtype that lists its levels, which are taken from X. Make it a category "
        "with all levels that may appear"
    )
    return columns.levels[j]
