"""The first rows of a stream: kept while there are too few of them for layers that stay."""

from dataclasses import dataclass, replace

import numpy as np
from scipy import sparse

from sklearn_analytic.backend import backend_for, is_tensor
from sklearn_analytic.estimator.base import seed_of
from sklearn_analytic.features._audit import MOST, Contents, judge_more, settle
from sklearn_analytic.io._passes import dense_rows, host, refuse_gaps

ENOUGH = 1000  # rows of positive weight, with which layers stay


@dataclass(frozen=True)
class FirstRows:
    """Rows with labels or targets and sample weights, on the host."""

    x: np.ndarray
    y: np.ndarray
    weight: np.ndarray | None
    built: int  # rows of positive weight when layers were last built

    @property
    def n_rows(self):
        """Rows of positive weight."""
        return _n_used(self.y, self.weight)

    def joined(self, X, y, weight):
        """Return these rows and a block as one (X, y, weights), of the kind of the block."""
        if self.weight is not None or weight is not None:
            pairs = ((self.weight, self.y), (weight, y))
            weight = np.concatenate([np.ones(len(y)) if w is None else w for w, y in pairs])
        return _below(self.x, X), np.concatenate([self.y, y]), weight


def kept_rows(X, y, weight):
    """Return rows to keep, whose layers are to be built, or None where there are enough of them."""
    n_used = _n_used(y, weight)
    if n_used >= ENOUGH:
        return None
    used = slice(None) if weight is None else weight > 0
    x = np.array(host(dense_rows(X)))[used]
    return FirstRows(x, np.array(y)[used], None if weight is None else weight[used], n_used)


def _n_used(y, weight):
    """Rows of positive weight."""
    return len(y) if weight is None else int(np.sum(weight > 0))


def _below(first, X):
    """Rows of the host above rows of any kind."""
    if sparse.issparse(X):
        return sparse.vstack([sparse.csr_matrix(first), X], format="csr")
    if is_tensor(X):
        return backend_for(X, "cpu").concatenate([X.new_tensor(first), X])
    return np.concatenate([first, np.asarray(X)])


class FirstRowsMixin:
    """Networks that rows build and other rows judge; in streams anew each time the rows have doubled, up to 1000.

    A subclass says how rows become a statistic (``_add_rows``), building layers where it has none (``_network``).
    """

    _first_rows = None
    _contents = None  # of models of earlier versions
    _shard = 0  # by which shards draw other copies into the audit

    def _know_contents(self, n_columns):
        """Let models of earlier versions tell rows apart as they did."""
        if self._contents is None:
            self._contents = Contents.of_old(self._seed, n_columns)

    def _judge(self, rows, y, copies, statistic, building):
        """Take the audit rows of new rows; those that build settle how rows are told apart."""
        if building:
            if not hasattr(self, "_seed"):
                self._seed = seed_of(self.random_state)
            self._contents, judged = settle(rows, y, copies, self._seed)
            self._audit, self._first_audit = judged.audit, len(judged.audit.hashes)
            return judged
        self._know_contents(rows.n_columns)
        salt = self._shard + (0 if statistic is None else statistic.n_rows)
        judged = judge_more(self._contents, rows, y, copies, salt)
        self._audit = judged.audit if statistic is None else self._audit.merge(judged.audit, MOST)
        return judged

    def _stream_rows(self, X, y, weight, statistic, progress):
        """The statistic of a stream with rows added, on the layers as they are or on new ones."""
        first = self._first_rows
        if hasattr(self, "_network"):
            if first is None:
                return self._add_rows(X, y, weight, statistic, progress)
            n_rows = first.n_rows + _n_used(y, weight)
            if n_rows < min(2 * first.built, ENOUGH):
                together = first.joined(host(dense_rows(X)), y, weight)
                self._first_rows = replace(kept_rows(*together), built=first.built)
                return self._add_rows(X, y, weight, statistic, progress)
            refuse_gaps(host(X), "X")  # before kept rows stand above them: the error counts rows
            X, y, weight = first.joined(X, y, weight)
            del self._network
        self._first_rows = kept_rows(X, y, weight)
        return self._add_rows(X, y, weight, None, progress)
