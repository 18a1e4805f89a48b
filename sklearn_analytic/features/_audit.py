"""Audit rows: a small fixed sample, by content, on which leave-one-out chooses and calibrates."""

from dataclasses import dataclass, fields, replace

import numpy as np

from sklearn_analytic.features import (
    N_MEMBERS,
    CopyLedger,
    RowFolds,
    RowKeys,
    are_draws,
    draw_rows,
    fit_row_keys,
    hash_keys,
    lay_copies,
    mix_bits,
    row_keys,
    takes_few_values,
)
from sklearn_analytic.features._row_sample import row_hashes
from sklearn_analytic.features._sampling import label_hashes
from sklearn_analytic.linalg import NormalEquations, ridge_exits

MOST = 1000
EVERY_MEMBER = -1  # the fold of copies that no tree has seen
_FOLD_SALT = np.uint64(0x51ED)
_FEW_ALPHAS = (1.0, 10.0)  # of small networks
_SHARE = 4  # at most one distinct row in four
_OF_CLASS = 5  # rows of every class, or half of those there are
_ROUNDING = 1e-9  # of sums of weights
NEVER_IN = "{} of these rows were never added, or were added with other targets or weights. Nothing was changed."
UNKNOWN_COPIES = (
    "Where copies of these rows were put is not known: the fit is of an earlier version, or two fits of the same rows "
    "were merged. Fit anew before forget."
)
_MOST_CONTENTS, _MOST_CELLS = 20_000, 5_000_000  # distinct rows, and their values: a table of more has not few


@dataclass(frozen=True)
class Audit:
    """Distinct rows with small hashes of their content, in that order, or copies of rows one by one."""

    x: np.ndarray
    y: np.ndarray  # labels (m,), or numbers (m, c)
    weights: np.ndarray  # of all rows that are equal, or of one copy
    hashes: np.ndarray
    folds: np.ndarray | None = None  # of copies, or of rows
    of_rows: bool = False  # whether folds are those of rows by their content
    limit: int = 0  # hash below which all labelled rows that came are here

    def head(self, size):
        """Return the ``size`` rows with the smallest hashes, and the first of every class."""
        rank, _ = _ranks_in_class(self.y)
        limit = min(self.limit, int(self.hashes[size])) if len(rank) > size else self.limit
        return replace(self, limit=limit).taken(np.flatnonzero((np.arange(len(rank)) < size) | (rank < _OF_CLASS)))

    def merge(self, other, size):
        """Return the :meth:`head` of both; a row in both counts once, with both weights."""
        parts = (_joined(getattr(self, name), getattr(other, name)) for name in _FIELDS)
        both = Audit(*parts, self.of_rows or other.of_rows, min(self.limit, other.limit))
        equal = both._identities()
        _, first, inverse = np.unique(equal, return_index=True, return_inverse=True)
        weights = np.bincount(inverse, both.weights)[inverse]
        order = first[np.argsort(both.hashes[first], kind="stable")]
        return replace(both, weights=weights).taken(order).head(size)

    def _identities(self):
        """What rows that count once have in common: copies their hash; other rows content and target."""
        if self.y.ndim == 1:
            return self.hashes  # labels are in it
        of_copies = self.folds is not None and not self.of_rows
        contents = self.hashes if of_copies else hash_keys(row_keys(self.x, _direction(self.x)))
        if self.of_rows:
            contents = in_their_folds(contents, self.folds)
        return contents ^ mix_bits(hash_keys(row_keys(self.y, _direction(self.y))))

    def taken(self, index):
        """Return some rows."""
        parts = (getattr(self, name) for name in _FIELDS)
        return Audit(*(None if part is None else part[index] for part in parts), self.of_rows, self.limit)

    def reweighted(self, factors):
        """Return the rows with their weights multiplied."""
        return replace(self, weights=self.weights * factors)

    def without(self, gone):
        """Return the rows without those of another audit that equal them; ValueError where they have less weight."""
        mine, theirs = self._identities(), gone._identities()
        if not len(mine):
            return self
        order = np.argsort(mine)
        place = order[np.minimum(np.searchsorted(mine, theirs, sorter=order), len(mine) - 1)]
        known = mine[place] == theirs
        left = self.weights - np.bincount(place[known], gone.weights[known], minlength=len(mine))
        strange = ~known & (gone.weights > 0) & (gone.hashes < np.uint64(self.limit)) & (self.y.ndim == 1)
        strange |= known & (left < -_ROUNDING * self.weights)[place]
        if np.any(strange):
            raise ValueError(NEVER_IN.format(int(strange.sum())))
        return replace(self, weights=left).taken(np.flatnonzero(left > _ROUNDING * self.weights))

    def without_copies(self, own_pairs, pairs, lengths, there):
        """Return the copies without those that leave: in every fold the share of a pair (n, folds + 1) that leaves."""
        kept = np.ones(len(self.x), dtype=bool)
        folds = np.where(self.folds < 0, lengths.shape[1] - 1, self.folds)
        for pair in np.unique(pairs[np.isin(pairs, own_pairs)]):
            rows = pairs == pair
            leaving, whole = lengths[rows].sum(axis=0), there[rows][0]
            for fold in np.flatnonzero(leaving > 0):
                copies = np.flatnonzero((own_pairs == pair) & (folds == fold))
                share = min(1.0, leaving[fold] / whole[fold])
                n_gone = len(copies) if share > 1 - _ROUNDING else int(len(copies) * share + 0.5)
                kept[copies[len(copies) - n_gone :]] = False  # those that came last into the sample
        return self.taken(np.flatnonzero(kept))

    def importance(self, targets, shares):
        """Return weights for means over the rows: every class (column of ``targets``) has its share of all data."""
        mass = self.weights @ targets
        factor = np.divide(shares, mass, out=np.zeros(len(mass)), where=mass > 0)
        found = self.weights * (targets @ factor)
        return found * (self.weights.sum() / found.sum())


_FIELDS = tuple(field.name for field in fields(Audit) if field.name not in ("of_rows", "limit"))


def _joined(one, two):
    """Two columns of audits; what either lacks, both lack."""
    return None if one is None or two is None else np.concatenate([one, two])


def _ranks_in_class(y):
    """How many rows of its class come before every row, and how many there are; numbers are of no class."""
    if y.ndim > 1:
        return np.full(len(y), _OF_CLASS), np.zeros(len(y), dtype=int)
    _, codes, counts = np.unique(y, return_inverse=True, return_counts=True)
    order = np.argsort(codes, kind="stable")
    rank = np.empty(len(y), dtype=int)
    rank[order] = np.arange(len(y)) - np.repeat(np.cumsum(counts) - counts, counts)
    return rank, counts[codes]


@dataclass(frozen=True)
class Contents:
    """How rows are told apart and counted, settled by the rows that build layers."""

    keys: RowKeys
    are_draws: bool  # copies of a row are draws: spread over folds, and one by one in the audit
    copy: float  # weight of one copy, class weights apart
    unit: float  # mean weight of distinct rows, or of copies: what ridges, trees and widths count as one row

    @classmethod
    def of_old(cls, seed, n_columns):
        """Return what models from before there were contents went by."""
        return cls(RowKeys(np.random.default_rng(seed).standard_normal(n_columns)), False, 1.0, 1.0)


@dataclass(frozen=True)
class Judged:
    """What rows give to the audit, and which of them build layers."""

    apart: Audit  # those that build no layer, unless all do
    keys: np.ndarray  # (n,)
    building: np.ndarray | None = None  # (n,) weights, 0 for rows of the audit; None where all rows build
    shares: np.ndarray | None = None  # (n, folds): weight of every row in every fold, where copies are draws
    more: Audit | None = None  # these and further copies, where there are few
    raw: np.ndarray | None = None  # (n, 2) hashes of rows of a table that has folds: what is read alike may differ
    ledger: CopyLedger | None = None  # of copies, where they are draws

    @property
    def audit(self):
        """All audit rows."""
        return self.apart if self.more is None else self.more


def settle(rows, y, copies, seed):
    """Return how rows are told apart, and what they give to the audit; ``copies`` are weights without class weights."""
    direction = np.random.default_rng(seed).standard_normal(rows.n_columns)
    row_keys_of, keys = fit_row_keys(rows.map_rows, direction, rows.weight)
    weights = full_weights(rows.weight, rows.n_rows)
    copies = full_weights(copies, rows.n_rows)
    raw, hashes = rows.raw_hashes(), content_hashes(keys, y, weights)
    used = np.flatnonzero(weights > 0)
    distinct = used[np.unique(keys[used], return_index=True)[1]]
    judged = _rows_judged(rows, y, weights, keys, hashes, raw, building=True)
    # The audit rows tell most tables that have not few values, without another pass.
    few = len(distinct) <= min(_MOST_CONTENTS, _MOST_CELLS // rows.n_columns)
    if few and takes_few_values(judged.apart.x):
        x = rows.take(distinct)[0]
        if are_draws(x, direction):
            copy = min(1.0, float(np.mean(copies[used])))
            unit = copy * float(weights[used].sum() / copies[used].sum())
            place = np.searchsorted(keys[distinct], keys)
            laid = _laid(keys, y, copies, weights, copy)
            audit, index = _drawn(laid, y, weights, hashes, 0, lambda i: x[place[i]])
            apart = audit_size(laid.n_units)  # the others build layers too, which remember no one copy
            entering = np.bincount(index[:apart], audit.weights[:apart], minlength=len(weights))
            left = np.where(weights - entering > 1e-9 * weights, weights - entering, 0.0)
            building = left if np.any(left) else None
            ledger = CopyLedger.of_spread(laid, pair_hashes(keys, y))
            judged = Judged(audit.taken(slice(0, apart)), keys, building, laid.shares(weights), audit, ledger=ledger)
            return Contents(row_keys_of, True, copy, unit), judged
    unit = float(weights[used].sum() / len(np.unique(hashes[used])))
    return Contents(row_keys_of, False, unit, unit), judged


def judge_more(contents, rows, y, copies, salt):
    """Return what further rows of a stream give to the audit; no tree has seen their copies.

    ``salt`` is another one for every block and shard: copies of equal rows are drawn independently.
    """
    keys, weights = rows.map_rows(contents.keys.of), full_weights(rows.weight, rows.n_rows)
    hashes = content_hashes(keys, y, weights)
    if not contents.are_draws:
        return _rows_judged(rows, y, weights, keys, hashes, rows.raw_hashes(), building=False)
    lengths = full_weights(copies, rows.n_rows)
    laid = _laid(keys, y, lengths, weights, contents.copy)
    audit, _ = _drawn(laid, y, weights, hashes, salt, lambda i: rows.take(i)[0])
    ledger = CopyLedger.of_later(pair_hashes(keys, y), np.where(weights > 0, lengths, 0.0) / contents.copy, N_MEMBERS)
    return Judged(replace(audit, folds=np.full(len(audit.folds), EVERY_MEMBER)), keys, ledger=ledger)


def judge_less(contents, ledger, audit, rows, y, copies):
    """Return what judges without rows that leave, and their weights, by folds where copies were spread.

    ValueError where the rows were never in.
    """
    keys, weights = rows.map_rows(contents.keys.of), full_weights(rows.weight, rows.n_rows)
    if contents.are_draws:
        return _copies_less(contents, ledger, audit, keys, y, weights, full_weights(copies, rows.n_rows))
    raw = rows.raw_hashes()
    hashes, folds = content_hashes(keys, y, weights), None if raw is None else RowFolds.dealt(raw[:, 1])
    hashes = hashes if folds is None else in_their_folds(hashes, folds)
    gone = Audit(rows.take(np.arange(rows.n_rows))[0], y, weights, hashes, folds, of_rows=folds is not None)
    return audit.without(gone), None, weights


def _copies_less(contents, ledger, audit, keys, y, weights, copies):
    """The same of copies that are draws: later ones leave first, and spread ones from the end."""
    if ledger is None:
        raise ValueError(UNKNOWN_COPIES)
    pairs, own = pair_hashes(keys, y), hash_keys(keys)
    used = weights > 0
    left, lengths, lacking = ledger.leave(pairs[used], own[used], copies[used] / contents.copy)
    if np.any(lacking):
        raise ValueError(NEVER_IN.format(int(lacking.sum())))
    of_audit = pair_hashes(contents.keys.of(audit.x), audit.y)
    there = ledger.lengths(pairs[used], own[used])
    audit = audit.without_copies(of_audit, pairs[used], lengths, there)
    spread = np.zeros((len(keys), lengths.shape[1]))
    whole = lengths.sum(axis=1, keepdims=True)
    spread[used] = weights[used, None] * np.divide(lengths, whole, out=np.zeros_like(lengths), where=whole > 0)
    return audit, left, spread


def shares_again(contents, rows, y, copies):
    """Return the weight of every row in every fold, for a fit that goes on from a checkpoint."""
    keys, weights = rows.map_rows(contents.keys.of), full_weights(rows.weight, rows.n_rows)
    return _laid(keys, y, full_weights(copies, rows.n_rows), weights, contents.copy).shares(weights)


def full_weights(weights, n_rows):
    """Return weights as an array, ones where there are none."""
    return np.ones(n_rows) if weights is None else np.asarray(weights, dtype=np.float64)


def _laid(keys, y, copies, weights, copy):
    """Copies of all rows that have weight."""
    order = np.unique(y, return_inverse=True)[1] if y.ndim == 1 else y
    return lay_copies(hash_keys(keys), order, np.where(weights > 0, copies, 0.0), copy, N_MEMBERS)


def _rows_judged(rows, y, weights, keys, hashes, raw, building):
    """Rows with all their copies, by the smallest hashes of row and target (and fold, where they have one)."""
    folds = None if raw is None else RowFolds.dealt(raw[:, 1])
    hashes = hashes if raw is None else in_their_folds(hashes, folds)
    used = np.flatnonzero(weights > 0)
    distinct, first = np.unique(hashes[used], return_index=True)
    size = audit_size(len(distinct)) if building else MOST
    rank, count = _ranks_in_class(y[used][first])
    least = np.minimum(_OF_CLASS, count // 2) if building else _OF_CLASS
    marked = (np.arange(len(distinct)) < size) | (rank < least)
    chosen = (weights > 0) & np.isin(hashes, distinct[marked])
    index = np.flatnonzero(chosen)
    own = None if folds is None else folds[index]
    fresh = take_audit(rows.take(index)[0], y[index], weights[index], hashes[index], own)
    limit = int(distinct[size]) if len(distinct) > size else 2**64 - 1
    fresh, left = replace(fresh, limit=limit), np.where(chosen, 0.0, weights)
    return Judged(fresh, keys, left if np.any(left) else None, raw=raw)


def _drawn(laid, y, weights, hashes, salt, take):
    """An audit of copies one by one, and the rows that they are copies of."""
    most = min(MOST, int(np.ceil(laid.n_units)))
    salt = mix_bits(np.array([salt], dtype=np.uint64))[0]
    index, share, folds, order = laid.drawn(most, y if y.ndim == 1 else None, _OF_CLASS, hashes, salt)
    index, share, folds, order = (part[np.argsort(order, kind="stable")] for part in (index, share, folds, order))
    return Audit(take(index), y[index], share * weights[index], order, folds), index


def in_their_folds(hashes, folds):
    """Return hashes of rows that differ where folds do."""
    return hashes ^ mix_bits(folds.astype(np.uint64) + _FOLD_SALT)


def in_content_order(keys, y, weights, contents=None):
    """Return the rows of positive weight by content and target: their order must not decide what is drawn.

    Rows that are read alike may differ in their ``contents``.
    """
    rows = np.flatnonzero(weights > 0)
    targets = np.reshape(y[rows], (len(rows), -1)).T
    apart = () if contents is None else (contents[rows],)
    return rows[np.lexsort((*apart, *targets[::-1], keys[rows]))]


def rows_to_build_on(keys, y, pool, unit, most, generator, contents=None):
    """Return the rows to build on, at most so many drawn by weight, and what their weights are divided by.

    Drawn rows weigh 1 each: their weights have had their say.
    """
    chosen = in_content_order(keys, y, pool, contents)
    if len(chosen) <= most:
        return chosen, np.full(len(chosen), unit)
    chosen = chosen[draw_rows(keys[chosen], pool[chosen], most, generator)]
    return chosen, pool[chosen]


def take_audit(x, y, weights, hashes, folds=None):
    """Return an audit of given rows, equal rows as one."""
    weights = full_weights(weights, len(hashes))
    audit = Audit(x, y, weights, hashes, folds, of_rows=folds is not None)
    return audit.taken(slice(0, 0)).merge(audit, len(hashes))


def audit_size(n_distinct):
    """Number of audit rows of a sample with so many distinct rows."""
    return int(max(1, min(MOST, n_distinct // _SHARE)))


def content_hashes(keys, y, weights=None):
    """Return a 64-bit hash of each row and its target, from the row's key.

    Of numbers it is their rank among those of the row (that have weight): their unit must not matter.
    """
    if y.ndim == 1:
        classes, codes = np.unique(y, return_inverse=True)
        return hash_keys(keys) ^ (label_hashes(classes)[codes] << np.uint64(16))
    order = np.lexsort((*y.T[::-1], np.zeros(len(y)) if weights is None else weights <= 0, keys))
    fresh = np.append(True, np.any(y[order[1:]] != y[order[:-1]], axis=1))  # another target
    first = np.append(True, keys[order[1:]] != keys[order[:-1]])  # another row
    count = np.cumsum(fresh | first)
    rank = np.empty(len(keys), dtype=np.uint64)
    rank[order] = count - count[first][np.cumsum(first) - 1]
    return mix_bits(hash_keys(keys) + rank)


def pair_hashes(keys, y):
    """Return a 64-bit hash (n,) of the content of rows, by their keys, and of their targets: the same in any block."""
    return content_hashes(keys, y) if y.ndim == 1 else hash_keys(keys) ^ mix_bits(row_hashes(y[:, :0], y))


def _direction(rows):
    """A direction that tells rows apart."""
    return np.random.default_rng(0).standard_normal(rows.shape[1])


def judged_alone(layer, rows, targets, weights, n_judges, carried, left_out, backend):
    """Return the ridge readout of a small network [A | H] with one hidden layer.

    The first ``n_judges`` rows build no layer: their leave-one-out predictions, without ``left_out`` of their weight,
    choose among two ridges. A enters where it is ``carried``.
    """
    hidden = layer.apply(rows, backend)
    parts = [rows, hidden] if carried else [hidden]
    features = backend.stack_columns(parts, [1.0] * len(parts), rows.dtype)
    statistic = NormalEquations.from_rows(features, targets, weights, backend, widen=False)
    held = slice(0, n_judges)
    judged = (features[held], targets[held], weights[held])
    return ridge_exits(statistic, [features.shape[1]], judged, _FEW_ALPHAS, left_out=left_out, unit=1.0)[0]
