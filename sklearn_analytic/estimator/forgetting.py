"""A verb of closed-form networks: rows leave again, with the folds and scores that they came with."""

from dataclasses import replace

from sklearn.utils.validation import check_is_fitted

from sklearn_analytic.estimator.audited import AddBlock
from sklearn_analytic.estimator.balance import refuse_other_sums, refuse_unbalanced
from sklearn_analytic.estimator.callbacks import Unwatched
from sklearn_analytic.estimator.learned import kept_rows
from sklearn_analytic.estimator.table import leaving
from sklearn_analytic.estimator.unlearning import traces_in_table, warn_of_traces
from sklearn_analytic.estimator.weights import checked_weights, none_vanishing, refuse_extreme_weights, weighs_nothing
from sklearn_analytic.features._audit import NEVER_IN, judge_less
from sklearn_analytic.io._checks import dense_rows, host
from sklearn_analytic.io._passes import rows_in_blocks

_REMOVAL = {True: 1e-9, False: 1e-5}  # what rounding may leave of a variance, of sums in float64 and in float32


def forget(self, X, y, sample_weight=None):
    """Take rows out again that were fitted before: the sums are exactly those of the rows that remain.

    Rows leave with the folds and the scores of trees that they came with. Copies that were spread over folds leave
    from the end, those that came later first. Rows leave the audit rows, too, on which ridge, blend and
    calibration are chosen anew; rows that had no room among these do not come back. Layers stay, unless the stream
    is young (fewer than 1000 rows in :meth:`partial_fit`): then they are built anew from the rows that remain.

    Parameters
    ----------
    X : {array-like, sparse matrix, frame, torch.Tensor} of shape (n_samples, n_features)
        Rows to take out.
    y : array-like of shape (n_samples,), (n_samples, n_labels) or (n_samples, n_targets)
        The targets or labels they were fitted with.
    sample_weight : array-like of shape (n_samples,), default=None
        The weights they were fitted with.

    Returns
    -------
    self : object
        The estimator; unchanged when ValueError says that the rows cannot have been in.

    Warns
    -----
    UnlearningWarning
        If rows that were there when the layers were built are in the fit: what these have left in layers, trees
        and encodings stays. There is none with ``hidden="random"`` (CPNet: ``projection="random"``) and in a
        :meth:`shard`, whose layers come from other rows. Scales of columns (means, quantiles) are not counted.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn_analytic import CPNetClassifier
    >>> X, y = load_iris(return_X_y=True)
    >>> public = CPNetClassifier(20, random_state=0).fit(X[::3], y[::3])
    >>> model = public.shard().partial_fit(X[1::3], y[1::3]).partial_fit(X[2::3], y[2::3])
    >>> model.forget(X[2::3], y[2::3]).n_samples_seen_
    50
    """
    check_is_fitted(self)
    with self._unchanged_on_error():
        method = self._checked_method()
        refuse_unbalanced(method, "forget")
        learned = self._learned
        X = self._rows_of_stream(X, learned)
        copies = checked_weights(sample_weight, X.shape[0])
        targets, y = self._targets_of(y, X, learned.targets)
        if targets.n_columns > learned.targets.n_columns:
            learned.targets.coded(y)  # says which label no row can have had
        with self._few_threads(X.shape):
            refuse_other_sums(method, learned)
            self._keep(method, _removed(method, learned, X, y, copies))
        instead = "fit public rows and add all others to its shard(), use random layers"
        warn_of_traces(type(self).__name__, _traces(method, learned), instead)
    return self


def _removed(method, learned, X, y, copies):
    """What was learned without rows that were in; a young stream is built anew of those that remain."""
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
    step = AddBlock(method, learned.network, learned.targets, judges.contents.are_draws)
    rows = rows.resized(method.rows_per_block(before.n_features))
    gone = rows.reduce(step.empty_of(before), step, method.backend_of(X))
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


def _traces(method, learned):
    """What rows that are forgotten may have left in layers, if they were there when these were built."""
    if learned.first is not None or not learned.judges.built:
        return []
    trees = ["trees"] if learned.network.n_scores else []
    return trees + (["layers and encodings"] if method.reads_rows else []) + traces_in_table(learned.table)
