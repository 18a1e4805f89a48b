"""The plain loop in torch of ``networks.py``, with the methods of a classifier."""

import importlib.util

import numpy as np
from _dfa_common import SkipJob
from _dfa_speed_contenders import TorchLoop
from sklearn.base import BaseEstimator, ClassifierMixin

from sklearn_analytic import DFAClassifier


class TorchNetwork(ClassifierMixin, BaseEstimator):
    """Dense layers with ReLU, Adam at .001, cross-entropy; batches and epochs are those of ``DFAClassifier``."""

    def __init__(self, hidden_layer_sizes=(256, 256), max_iter="auto", random_state=0):
        self.hidden_layer_sizes = hidden_layer_sizes
        self.max_iter = max_iter
        self.random_state = random_state

    def fit(self, X, y):
        if importlib.util.find_spec("torch") is None:
            raise SkipJob("torch is not installed")
        self.classes_, codes = np.unique(y, return_inverse=True)
        method = DFAClassifier(max_iter=self.max_iter)._method()
        task = {"batch_size": method.batch_size_of(len(X)), "hidden": self.hidden_layer_sizes}
        task |= {"features": X.shape[1], "classes": len(self.classes_), "seed": self.random_state}
        self.loop_ = TorchLoop(task, X, codes)
        self.n_iter_ = method.n_epochs_of(len(X), task["batch_size"])
        for _ in range(self.n_iter_):
            self.loop_.epoch()
        return self

    def predict_proba(self, X):
        torch = self.loop_.torch
        with torch.inference_mode():
            return torch.softmax(self.loop_.network(torch.from_numpy(X)), dim=1).numpy()

    def predict(self, X):
        return self.classes_[self.predict_proba(X).argmax(axis=1)]
