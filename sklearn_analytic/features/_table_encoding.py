"""Raw tables as numbers without gaps: medians and indicators for gaps, indicators or means for categories."""

import hashlib
from dataclasses import dataclass

import numpy as np

from sklearn_analytic.features._leaf import BlindRows
from sklearn_analytic.features._sampling import hash_keys, mix_bits, row_keys

N_FOLDS = 5  # of rows, each of which is encoded by means over the others
ALL = N_FOLDS  # means over all rows: for rows that no fit has seen
_GAP_SALT, _CATEGORY_SALT, _FOLD_SALT = np.uint64(0x9E37), np.uint64(0x79B9), np.uint64(0x7F4A)


@dataclass(frozen=True, eq=False)
class LevelIndicators:
    """Ones for some levels of a column of categories; all others are the rest.

    Parameters
    ----------
    column : int
        Of the table.
    levels : ndarray of int
        Numbers of the levels that have a column; the number after the last is that of missing values.
    n_levels : int
        Levels of the column, missing values and unseen levels apart.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_analytic.features import LevelIndicators
    >>> LevelIndicators(0, np.array([0, 2]), 2).transform(np.array([[0.0], [1.0], [np.nan], [-1.0]]), None)
    array([[1., 0.],
           [0., 0.],
           [0., 1.],
           [0., 0.]])
    """

    column: int
    levels: np.ndarray
    n_levels: int

    @property
    def n_columns(self):
        """Columns of the encoded rows."""
        return len(self.levels)

    @property
    def table(self):
        """What stands for every level, for missing values and for unseen levels (n_levels + 2, n_columns)."""
        return (np.arange(self.n_levels + 2)[:, None] == self.levels) * 1.0

    @property
    def columns(self):
        """Columns of the table that it is made of."""
        return (self.column,)

    def transform(self, x, folds):
        """Return the encoded column (n, n_columns) of coded rows."""
        return self.table[level_places(x[:, self.column], self.n_levels)]


class Means:
    """What encodings by means have in common: a table for each fold and for all rows, and a place in it for a row."""

    @property
    def n_columns(self):
        """Columns of the encoded rows."""
        return self.means.shape[2]

    @property
    def table(self):
        """What stands for every place of rows that no fit has seen."""
        return self.means[ALL]

    def transform(self, x, folds):
        """Return the encoded column (n, n_columns); ``folds`` are those of rows that means are taken of, or None."""
        return self.means[ALL if folds is None else folds, self.places(x)]


@dataclass(frozen=True, eq=False)
class LevelMeans(Means):
    r"""Smoothed means of the target per level over its mean, of the rows of other folds where a row is one of the fit.

    .. math:: m_l = \frac{S_l - W_l \bar y}{W_l + a}

    Parameters
    ----------
    column : int
        Of the table.
    means : ndarray of shape (n_folds + 1, n_levels + 2, c)
        Without every fold, and over all rows; of every level, of missing values and of unseen levels.
    counted : bool, default=False
        Whether the last column is the logarithm of one plus the rows of the level.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_analytic.features import LevelMeans
    >>> means = np.array([[[0.0], [1.0], [0.5], [0.5]]] * 6)
    >>> LevelMeans(0, means).transform(np.array([[1.0], [-1.0]]), None).ravel()
    array([1. , 0.5])
    """

    column: int
    means: np.ndarray
    counted: bool = False

    @property
    def n_levels(self):
        """Levels of the column, missing values and unseen levels apart."""
        return self.means.shape[1] - 2

    @property
    def columns(self):
        """Columns of the table that it is made of."""
        return (self.column,)

    def places(self, x):
        """Return the level (n,) of coded rows."""
        return level_places(x[:, self.column], self.n_levels)


@dataclass(frozen=True, eq=False)
class RowFolds:
    """The fold of every row that means of targets are taken of: rows are encoded by the means of the other folds.

    It follows the content of a row, so that copies of a row are held out together. Where copies are draws, each has a
    fold of its own, which follows its content, its target and its number among its equals.

    Parameters
    ----------
    level_keys : tuple
        Of every column of categories the keys of its levels, of missing values and of unseen levels
        (:func:`level_keys`); None for numbers.
    are_draws : bool, default=False
        Whether copies of a row are draws.
    of_members : bool, default=False
        Whether these are the folds that members of an ensemble of trees are blind to, too.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_analytic.features import RowFolds
    >>> folds = RowFolds((None,)).of(np.array([[1.0], [2.0], [1.0]]))
    >>> bool(folds[0] == folds[2])
    True
    """

    level_keys: tuple
    are_draws: bool = False
    of_members: bool = False

    def of(self, x):
        """Return the fold (n,) of every row by its content."""
        return self.dealt(self.hashes(x)[:, 1])

    @staticmethod
    def dealt(hashes):
        """Return the fold (n,) that a hash is dealt to."""
        return (mix_bits(hashes ^ _FOLD_SALT) % np.uint64(N_FOLDS)).astype(np.int64)

    def hashes(self, x):
        """Return the hashes (n, 2) of every row: of its content, and that which draws follow."""
        return np.column_stack(table_hashes(x, self.level_keys))

    def of_copies(self, equal, draws, counted):
        """Return the fold (n,) of every row of a whole fit, from hashes of content and target; others are not counted.

        ``equal`` are the same for equal rows, ``draws`` are what draws follow.
        """
        folds = np.full(len(equal), ALL)
        kept = np.flatnonzero(counted)
        order = kept[np.argsort(equal[kept], kind="stable")]
        fresh = np.append(True, equal[order][1:] != equal[order][:-1])
        number = np.arange(len(order)) - np.flatnonzero(fresh)[np.cumsum(fresh) - 1]
        folds[order] = self.of_numbers(draws[order], number)
        return folds

    def of_numbers(self, draws, number):
        """Return the fold (n,) of copies by their numbers among their equals; of negative ones, that of later rows."""
        folds = self.dealt(draws ^ mix_bits(np.maximum(number, 0).astype(np.uint64)))
        return np.where(number < 0, ALL, folds)


@dataclass(frozen=True, eq=False)
class TableEncoding:
    """Columns of numbers without gaps, made of coded rows of a table.

    Parameters
    ----------
    n_raw : int
        Columns of the table.
    numbers : ndarray of int, shape (p,)
        Columns of numbers, of which there are some.
    fills : ndarray of shape (p,)
        What stands for a missing value of each: the median.
    lacking : ndarray of int, shape (q,)
        Which of ``numbers`` have an indicator of missing values beside them.
    categories : tuple
        Encodings of columns of categories.
    folds : RowFolds or None, default=None
        Of rows that are learned from, where their targets are in the encoding of categories.
    lacks : bool, default=False
        Whether rows that it was learned from may lack numbers, those without weight among them.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_analytic.features import TableEncoding
    >>> encoding = TableEncoding(1, np.array([0]), np.array([5.0]), np.array([0]), ())
    >>> encoding.transform(np.array([[1.0], [np.nan]]))
    array([[1., 0.],
           [5., 1.]])
    """

    n_raw: int
    numbers: np.ndarray
    fills: np.ndarray
    lacking: np.ndarray
    categories: tuple
    folds: RowFolds | None = None
    lacks: bool = False

    @property
    def n_columns(self):
        """Columns of the encoded rows; a table that says nothing is one column of zeros."""
        return max(len(self.numbers) + len(self.lacking) + sum(part.n_columns for part in self.categories), 1)

    @property
    def is_plain(self):
        """Whether rows without gaps stay as they are."""
        return len(self.numbers) == self.n_raw and not len(self.lacking)

    def by_column(self, shares):
        """Return shares of encoded columns as those of the columns of the table; a pair of columns has halves."""
        owners = [np.column_stack([part, part]) for part in (self.numbers, self.numbers[self.lacking])]
        owners += [np.tile([part.columns[0], part.columns[-1]], (part.n_columns, 1)) for part in self.categories]
        found = np.concatenate(owners).astype(np.int64)
        found = found if len(found) else np.zeros((1, 2), dtype=np.int64)
        return sum(np.bincount(side, shares / 2, self.n_raw) for side in found.T)

    @property
    def with_targets(self):
        """Encoded columns (q,) that hold means of targets."""
        ends = np.cumsum([len(self.numbers) + len(self.lacking), *(part.n_columns for part in self.categories)])
        parts = zip(self.categories, ends[:-1], ends[1:], strict=True)
        found = [np.arange(start, end) for part, start, end in parts if not isinstance(part, LevelIndicators)]
        return np.concatenate([np.zeros(0, dtype=np.int64), *found])

    @property
    def gap_columns(self):
        """Encoded columns (q, 2) of numbers that have an indicator of missing values, with that of the indicator."""
        return np.column_stack([self.lacking, len(self.numbers) + np.arange(len(self.lacking))]).astype(np.int64)

    def same_as(self, other):
        """Return whether all rows are encoded alike."""
        if [part.columns for part in self.categories] != [part.columns for part in other.categories]:
            return False
        mine, theirs = ([e.numbers, e.fills, e.lacking, *(part.table for part in e.categories)] for e in (self, other))
        return all(np.array_equal(a, b) for a, b in zip(mine, theirs, strict=True))

    def transform(self, x, folds=None):
        """Return the encoded rows (n, D) of coded rows (n, d), in their dtype.

        ``folds`` are those of rows that are learned from (:class:`RowFolds`).
        """
        values = x if self.is_plain else x[:, self.numbers]
        gaps = np.isnan(values)
        if gaps.any():
            values = np.where(gaps, self.fills.astype(values.dtype), values)
        if self.is_plain:
            return values
        out = np.zeros((len(x), self.n_columns), dtype=x.dtype)
        place = len(self.numbers) + len(self.lacking)
        out[:, : len(self.numbers)] = values
        out[:, len(self.numbers) : place] = gaps[:, self.lacking]
        for part in self.categories:
            out[:, place : place + part.n_columns] = part.transform(x, folds)
            place += part.n_columns
        return out

    def learned(self, x, folds=None):
        """Return the encoded rows of rows that are learned from: no row's own target is in them.

        ``folds`` are those of the rows unless given. Of rows whose copies are draws they have to be; those of later
        rows, of which no mean is taken, are none.
        """
        if folds is None and self.folds is not None and not self.folds.are_draws:
            folds = self.folds.of(x)
        return self.transform(x, folds)

    def blind_rows(self, x, hashes, without):
        """Return coded rows, with their hashes (n, 2), as members of trees read them.

        ``without(fold)`` is this encoding without the targets of a fold.
        """
        folds, columns = RowFolds.dealt(hashes[:, 1]), self.with_targets

        def read(fold):
            return without(fold).transform(x, folds)[:, columns]

        return BlindRows(folds, N_FOLDS, columns, read, *hashes.T)

    @property
    def blinds(self):
        """Whether trees are blind to the folds of rows."""
        return self.folds is not None and self.folds.of_members


def level_places(codes, n_levels):
    """Return rows (n,) of a table of levels: those known, then missing values, then unseen levels."""
    gaps = np.isnan(codes)
    places = np.where(gaps, n_levels, codes).astype(np.int64)
    return np.where(places < 0, n_levels + 1, places)


def level_keys(levels):
    """Return numbers in [0, 1) that stand for levels, whatever other levels there are, missing values and unseen ones.

    Parameters
    ----------
    levels : sequence of str or number
        Levels of a column.

    Returns
    -------
    ndarray of shape (n_levels + 2,)
        Equal for equal levels.

    Examples
    --------
    >>> from sklearn_analytic.features._table_encoding import level_keys
    >>> bool(level_keys(["a", "b"])[1] == level_keys(["b"])[0])
    True
    """
    words = [f"text {level}" if isinstance(level, str) else f"number {_as_float(level)}" for level in levels]
    return np.append([text_hash(word) / 2.0**64 for word in words], [-2.0, -1.0])


def _as_float(number):
    """A number as float64, in which all types of numbers are alike; itself where it is too large for one."""
    try:
        return float(number)
    except OverflowError:
        return number


def table_hashes(x, level_keys):
    """Return two hashes of the content of every coded row.

    Parameters
    ----------
    x : ndarray of shape (n, d)
        Coded rows, with gaps.
    level_keys : tuple
        Of every column of categories the keys of its levels (:func:`level_keys`), None for numbers.

    Returns
    -------
    contents : ndarray of shape (n,), uint64
        Equal for equal rows.
    draws : ndarray of shape (n,), uint64
        The same, whatever power of two scales all numbers: what draws follow. Rows that are such multiples of each
        other share it.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_analytic.features._table_encoding import table_hashes
    >>> x = np.array([[1.0, 0.0], [2.0, 0.0], [3.0, np.nan]])
    >>> contents, draws = table_hashes(np.vstack([x, 4 * x]), (None, None))
    >>> len(np.unique(contents)), bool(draws[1] == draws[4]), len(np.unique(draws))
    (6, True, 2)
    """
    is_category = np.array([keys is not None for keys in level_keys])
    direction = np.random.default_rng(0).standard_normal(len(is_category))
    gaps = np.isnan(x)
    lacking = gaps.any(axis=1)
    keys = _projected(np.where(gaps, 0.0, x)[:, ~is_category], direction[~is_category])
    others = np.zeros(len(x), dtype=np.uint64)
    if is_category.any():
        coded = [level_keys[j][level_places(x[:, j], len(level_keys[j]) - 2)] for j in np.flatnonzero(is_category)]
        others ^= mix_bits(hash_keys(row_keys(np.column_stack(coded), direction[is_category])) ^ _CATEGORY_SALT)
    if lacking.any():
        others[lacking] ^= mix_bits(hash_keys(row_keys(gaps[lacking] * 1.0, direction)) ^ _GAP_SALT)
    return hash_keys(keys) ^ others, hash_keys(np.frexp(keys)[0]) ^ others


def _projected(x, direction):
    """Projections of rows; of a row whose sum would be infinite, over a power of two."""
    with np.errstate(invalid="ignore", over="ignore"):
        keys = row_keys(x, direction)
        far = ~np.isfinite(keys)
        if far.any():
            size = np.frexp(np.max(np.abs(x[far]), axis=1))[1]
            keys[far] = row_keys(np.ldexp(x[far], -size[:, None]), direction)
    return keys


def target_hashes(y):
    """Return a hash of every label or target.

    Parameters
    ----------
    y : ndarray of shape (n,) or (n, c)
        Labels, or numbers.

    Returns
    -------
    ndarray of shape (n,), uint64
        Equal for equal targets.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_analytic.features._table_encoding import target_hashes
    >>> found = target_hashes(np.array(["a", "b", "a"]))
    >>> bool(found[0] == found[2]), bool(found[0] == found[1])
    (True, False)
    """
    columns = np.reshape(y, (len(y), -1)).T
    found = np.zeros(len(y), dtype=np.uint64)
    for j, column in enumerate(columns):
        if column.dtype.kind in "biuf":
            own = hash_keys(column.astype(np.float64))
        else:
            labels, codes = np.unique(column.astype(str), return_inverse=True)
            own = np.array([text_hash(label) for label in labels], dtype=np.uint64)[codes]
        found ^= mix_bits(own + np.uint64(j + 1))
    return found


def text_hash(text):
    """A hash of 64 bits that is the same in every process."""
    return int.from_bytes(hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little")
