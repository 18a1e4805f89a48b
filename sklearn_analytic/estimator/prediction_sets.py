"""A verb of closed-form classifiers: sets of classes that hold the right one with a given probability.

A classifier that has it tells scores and chances of rows (``_scored(rows, backend)``, ``_chances(scores)``), and those
of rows that it left out (``_set_scores()``).
"""

from dataclasses import dataclass

import numpy as np
from sklearn.utils.validation import check_is_fitted

from sklearn_analytic.estimator.checks import check_flag
from sklearn_analytic.estimator.interval_face import check_coverage
from sklearn_analytic.features._row_sample import row_uniforms
from sklearn_analytic.io._checks import host, lazily
from sklearn_analytic.linalg import conformal_quantile


@dataclass(frozen=True, eq=False)
class SetScores:
    """Of rows that the fit left out: the chances of their classes down to their own, and what they weigh."""

    scores: np.ndarray  # (m,)
    labels: np.ndarray  # (m,) numbers of classes
    weights: np.ndarray  # (m,) in rows

    @classmethod
    def of(cls, left_out, chances, rows):
        """Return those of rows that are left out, with chances (m, C) of their classes."""
        labels = np.argmax(left_out.targets, axis=1)
        scores = cumulated(chances, row_uniforms(rows))
        return cls(scores[np.arange(len(labels)), labels], labels, left_out.weights)

    def weight_of_class(self, number):
        """Return the weight of the rows of a class, in rows."""
        return float(np.sum(self.weights[self.labels == number]))

    def thresholds(self, coverage, n_classes, by_class):
        """Return for every class the score up to which it is in the set."""
        if not by_class:
            return np.full(n_classes, conformal_quantile(self.scores, self.weights, coverage))
        own = (self.labels == number for number in range(n_classes))
        return np.array([conformal_quantile(self.scores[rows], self.weights[rows], coverage) for rows in own])


def cumulated(chances, uniforms):
    """Return for every class (n, C) the chances of those that are likelier, and a uniform share of its own.

    The likeliest class has 0: it is in every set, and a classifier that is right often enough needs no other.
    """
    order = np.argsort(-chances, axis=1, kind="stable")
    ranked = np.take_along_axis(chances, order, axis=1)
    scores = np.cumsum(ranked, axis=1) - (1 - uniforms[:, None]) * ranked
    scores[:, 0] = 0.0
    out = np.empty_like(scores)
    np.put_along_axis(out, order, scores, axis=1)
    return out


@lazily
def predict_set(self, X, coverage=0.9, by_class=False):
    """Predict sets of classes that hold the right one with a given probability: adaptive conformal sets.

    A class is in the set where the chances of those that are likelier, with a share of its own, do not exceed a
    quantile of the same sums over the audit rows, each predicted without itself. The likeliest class is in every
    set. The share is a uniform number that is hashed from the row, so that equal rows have equal sets.

    Parameters
    ----------
    X : {array-like, sparse matrix, frame, torch.Tensor} of shape (n_samples, n_features)
        Rows.
    coverage : float in (0, 1), default=0.9
        Share of new rows whose class is to be in their set.
    by_class : bool, default=False
        Whether the rows of every class by itself are to be covered, which takes audit rows of every class.

    Returns
    -------
    ndarray of bool, shape (n_samples, n_classes)
        Which of ``classes_`` are in the set.

    Raises
    ------
    ValueError
        If the coverage is no such number, or there are too few audit rows (of a class) for it; the message says
        how many it takes. Multilabel y has no sets.

    Notes
    -----
    Coverage is over new rows that are exchangeable with the audit rows, weighed as in the fit, for the readout,
    given layers that these rows did not build. Blend, ridge and calibration are chosen on the same rows, which
    makes it approximate. A classifier that is right more often than ``coverage`` covers more than that, as no set
    is empty.

    References
    ----------
    Y. Romano, M. Sesia, E. J. Candes, "Classification with valid and adaptive coverage", NeurIPS 2020.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn_analytic import CPNetClassifier
    >>> X, y = load_digits(return_X_y=True)
    >>> sets = CPNetClassifier(random_state=0).fit(X[:1500], y[:1500]).predict_set(X[1500:], coverage=0.99)
    >>> sets.shape, bool(sets[range(297), y[1500:]].mean() > 0.95)
    ((297, 10), True)
    """
    check_is_fitted(self)
    check_flag("by_class", by_class)
    known, classes = self._read_off("sets", self._set_scores), self._learned.targets.classes
    if not by_class:
        check_coverage(coverage, "predict_set", float(np.sum(known.weights)), self._more_audit_rows)
    for number, name in enumerate(classes.tolist() if by_class else ()):
        verb = f"predict_set by class, of class {name!r},"
        check_coverage(coverage, verb, known.weight_of_class(number), self._more_audit_rows)

    def told(rows, backend):
        found = [self._scored(rows, backend), row_uniforms(backend.to_numpy(rows))[:, None]]
        return backend.stack_columns([backend.asarray(part) for part in found], [1.0, 1.0])

    found = host(self._map_blocks(X, told, self._n_features_out))
    chances = self._chances(found[:, :-1])
    return cumulated(chances, found[:, -1]) <= known.thresholds(coverage, len(classes), by_class)
