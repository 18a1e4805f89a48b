"""Peers whose interface is not quite scikit-learn's, behind scikit-learn's."""

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.model_selection import train_test_split


class Relabelled(ClassifierMixin, BaseEstimator):
    """A classifier that wants the labels 0..C-1 with none missing, on labels of any kind."""

    def __init__(self, classifier):
        self.classifier = classifier

    def fit(self, X, y):
        self.classes_, codes = np.unique(y, return_inverse=True)
        self.classifier.fit(X, codes)
        return self

    def predict(self, X):
        return self.classes_[np.asarray(self.classifier.predict(X), np.intp)]

    def predict_proba(self, X):
        return self.classifier.predict_proba(X)


class XRFM(RegressorMixin, BaseEstimator):
    """xRFM with its defaults; the validation part that it needs is a seeded fifth of the rows.

    Integer labels make it a classifier, which needs them to be 0..C-1.
    """

    def __init__(self, random_state=None, n_threads=None):
        self.random_state = random_state
        self.n_threads = n_threads

    def fit(self, X, y):
        from xrfm import xRFM  # optional: its absence is a listed failure

        X, X_val, y, y_val = train_test_split(X, y, test_size=0.2, random_state=self.random_state)
        self.model_ = xRFM(device="cpu", verbose=False, random_state=self.random_state, n_threads=self.n_threads)
        self.model_.fit(X, y, X_val, y_val)
        return self

    def predict(self, X):
        return self.model_.predict(X).ravel()

    def predict_proba(self, X):
        return self.model_.predict_proba(X)
