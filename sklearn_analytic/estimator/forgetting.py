"""How rows leave closed-form networks again: with the folds and scores that they came with."""

from dataclasses import replace

from sklearn_analytic.estimator.callbacks import Unwatched
from sklearn_analytic.estimator.learned import kept_rows
from sklearn_analytic.estimator.table import leaving
from sklearn_analytic.estimator.unlearning import traces_in_table
from sklearn_analytic.estimator.weights import none_vanishing, refuse_extreme_weights, weighs_nothing
from sklearn_analytic.features._audit import NEVER_IN, judge_less
from sklearn_analytic.io._checks import dense_rows, host
from sklearn_analytic.io._passes import rows_in_blocks

_REMOVAL = {True: 1e-9, False: 1e-5}  # what rounding may leave of a variance, of sums in float64 and in float32


def without_rows(method, learned, X, y, copies):
    """Return what was learned without rows that were in; a young stream is built anew of those that remain."""
    if learned.first is not None:
        return _young_without(method, learned, X, y, copies)
    copies = none_vanishing(refuse_extreme_weights(copies))
    weights = copies if method.class_statistics else learned.targets.weights(y, method.class_weight, copies)
    if weighs_nothing(weights, begun=True):
        return learned
    coded, judges, before = learned.targets.coded(y), learned.judges, learned.statistic
    X, table = leaving(learned, X, coded, copies)
    rows = rows_in_blocks(X, coded, weights, method.rows_per_block(X.shape[1]))
    audit, ledger, weights = judge_less(judges.contents, judges.ledger, judges.audit, rows, y, copies)
    if judges.contents.are_draws:
        rows = rows.reweighted(weights if method.grows_trees else weights.sum(axis=1))
    rows = rows.resized(method.rows_per_block(before.n_features))
    gone = rows.reduce(before.emptied(), method.step(learned), method.backend_of(X))
    statistic = before.remove(gone, tolerance=_REMOVAL[method.all_digits])
    if statistic.n_rows == 0 or not len(audit.x):
        left = "rows" if statistic.n_rows == 0 else "audit rows, on which ridges are chosen"
        raise ValueError(f"forget would leave no {left}. Fit a new estimator instead.")
    judges = replace(judges, audit=audit, ledger=ledger)
    return replace(learned, statistic=statistic, judges=judges, table=table)


def _young_without(method, learned, X, y, copies):
    """What a stream of the rows that it has kept and that remain has learned, as if no other had come."""
    given, used = host(dense_rows(X, missing=True)), slice(None) if copies is None else copies > 0
    first = learned.first.without(given[used], y[used], None if copies is None else copies[used])
    if first is None:
        raise ValueError(NEVER_IN.format("Some"))
    if not len(first.y):
        raise ValueError("forget would leave no rows. Fit a new estimator instead.")
    X, y, copies = first.joined(X[:0], y[:0], None)
    anew = replace(learned, network=None, statistic=None, first=kept_rows(X, y, copies), table=None)
    return method.extended(anew, X, y, copies, Unwatched())


def traces_of(method, learned):
    """Return what rows that are forgotten may have left in layers, if they were there when these were built."""
    if learned.first is not None or not learned.judges.built:
        return []
    trees = ["trees"] if learned.network.n_scores else []
    return trees + (["layers and encodings"] if method.reads_rows else []) + traces_in_table(learned.table)
