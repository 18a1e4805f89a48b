"""Peers whose interface is not quite scikit-learn's, behind scikit-learn's."""

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin, TransformerMixin, clone
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


class CatBoost(BaseEstimator):
    """A CatBoost model on numbers, or a frame whose nominal columns are categories; missing ones are a level.

    CatBoost takes text but no missing text, and has to be told which columns are nominal.
    """

    def __init__(self, model):
        self.model = model

    def fit(self, X, y):
        self.model.fit(_as_text(X), y, cat_features=_nominal(X))
        self.classes_ = self.model.classes_  # empty in regression
        return self

    def predict(self, X):
        return np.ravel(self.model.predict(_as_text(X)))  # one column of many classes

    def predict_proba(self, X):
        return self.model.predict_proba(_as_text(X))


def _nominal(X):
    """The nominal columns of a frame; an array has none."""
    return list(X.select_dtypes("category").columns) if hasattr(X, "select_dtypes") else []


def _as_text(X):
    """The frame with its categories as text, "missing" where there is none; an array as it is."""
    text = {name: X[name].astype(object).where(X[name].notna(), "missing") for name in _nominal(X)}
    return X.assign(**text) if text else X


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


class NGramsBeside(TransformerMixin, BaseEstimator):
    """A frame with columns of n-grams beside its wide columns of text: an encoder for each, from 40 levels on."""

    def __init__(self, encoder, least=40):
        self.encoder = encoder
        self.least = least

    def fit(self, X, y=None):
        self.encoders_ = {
            name: clone(self.encoder).fit(_text(X[name]))
            for name in X.select_dtypes("category")
            if X[name].nunique() >= self.least
        }
        return self

    def transform(self, X):
        parts = [X]
        for name, encoder in self.encoders_.items():
            columns = encoder.transform(_text(X[name]))
            parts.append(columns.add_prefix(f"{name}: ").set_index(X.index))
        return X.join(parts[1:]) if len(parts) > 1 else X


def _text(column):
    """A column of categories as text, with its gaps."""
    return column.astype(object).astype("string")
