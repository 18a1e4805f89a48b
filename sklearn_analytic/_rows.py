"""Training rows as a value: what constructions of layers read."""

from dataclasses import dataclass

import numpy as np

from sklearn_analytic.features import draw_rows


@dataclass(frozen=True)
class TrainingRows:
    """Rows with keys of their content, targets, classes (or bins of targets) and frequencies, on the host."""

    x: np.ndarray  # (n, d)
    keys: np.ndarray  # (n,)
    targets: np.ndarray  # (n, c)
    labels: np.ndarray  # (n,)
    weights: np.ndarray  # (n,)

    def drawn(self, most, generator):
        """Return the rows, or ``most`` of them drawn by weight, each of weight 1."""
        if len(self.x) <= most:
            return self
        return self.taken(draw_rows(self.keys, self.weights, most, generator), ones=True)

    def taken(self, index, ones=False):
        """Return some rows, with their weights or with ones."""
        weights = np.ones(len(index)) if ones else self.weights[index]
        return TrainingRows(self.x[index], self.keys[index], self.targets[index], self.labels[index], weights)

    def joined(self, other):
        """Return these rows and others."""
        parts = ("x", "keys", "targets", "labels", "weights")
        return TrainingRows(*(np.concatenate([getattr(self, name), getattr(other, name)]) for name in parts))
