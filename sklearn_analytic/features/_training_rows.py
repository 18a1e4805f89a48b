"""Training rows as a value: what constructions of layers read."""

from dataclasses import dataclass

import numpy as np

from sklearn_analytic.features import draw_rows

MOST_CELLS = 2000  # contents that have a unit of their own
_REPEATED = 1.25  # mean copies of a content, from which on they have


def repeat(keys, weights):
    """Whether contents of rows have more than one copy on average."""
    return bool(np.sum(weights) >= _REPEATED * len(np.unique(keys)))


@dataclass(frozen=True)
class TrainingRows:
    """Rows with keys of their content, targets, classes (or bins of targets) and frequencies, on the host."""

    x: np.ndarray  # (n, d)
    keys: np.ndarray  # (n,)
    targets: np.ndarray  # (n, c)
    labels: np.ndarray  # (n,)
    weights: np.ndarray  # (n,)
    shares: np.ndarray | None = None  # (n, folds) weight in every fold, where copies of a row are draws

    def drawn(self, most, generator):
        """Return the rows, or ``most`` of them drawn by weight, each of weight 1."""
        if len(self.x) <= most:
            return self
        return self.taken(draw_rows(self.keys, self.weights, most, generator), ones=True)

    def distinct(self, most, generator):
        """Return one row of each content, or of at most so many that are drawn by weight."""
        drawn = self.drawn(most, generator) if len(np.unique(self.keys)) > most else self
        return drawn.taken(np.unique(drawn.keys, return_index=True)[1])

    def used(self):
        """Return the rows of positive weight."""
        return self.taken(np.flatnonzero(self.weights > 0))

    def taken(self, index, ones=False):
        """Return some rows, with their weights or with ones."""
        weights = self.weights[index]
        shares = None if self.shares is None else self.shares[index]
        if ones:
            shares = None if shares is None else shares / weights[:, None]
            weights = np.ones(len(weights))
        return TrainingRows(self.x[index], self.keys[index], self.targets[index], self.labels[index], weights, shares)

    def joined(self, other):
        """Return these rows and others."""
        parts = ("x", "keys", "targets", "labels", "weights")  # of rows without shares
        return TrainingRows(*(np.concatenate([getattr(self, name), getattr(other, name)]) for name in parts))
