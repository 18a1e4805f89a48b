"""Classes of a stream: labels that are known, that are new, and what a statistic holds for each."""

from collections.abc import Iterable

import numpy as np

from sklearn_analytic.estimator.base import check_class_weight, class_labels, is_balanced, refuse_weightless
from sklearn_analytic.io._passes import host


class ClassStreamMixin:
    """A classifier whose statistic has one target column per class, the value of absent classes being ``_absent``."""

    _absent = -1.0

    def _settle_classes(self, y):
        """Take the classes of a full fit; one class alone is an error."""
        self.classes_, self._classes_fixed = np.unique(y), False
        self._check_enough()

    def _check_enough(self):
        """Refuse a whole fit on a single class, and weights of what is no class or of nothing at all."""
        check_class_weight(self.class_weight, self.classes_)
        refuse_weightless(self.class_weight, self.classes_)
        if len(self.classes_) < 2:
            raise ValueError(
                f"y contains one class, {self.classes_.tolist()[0]!r}: a classifier needs at least two. "
                "In a stream, use partial_fit: further classes may appear later."
            )

    def _meet_classes(self, y, classes, statistic):
        """Return the statistic with columns for classes that a block brings; refuse labels outside known classes."""
        if classes is not None:
            classes = listed_classes(classes)
            if statistic is not None and not np.array_equal(classes, self.classes_):
                known = self.classes_.tolist()
                raise ValueError(f"classes={classes.tolist()} is not the same as in the first call: {known}.")
        if statistic is None:
            self.classes_, self._classes_fixed = (np.unique(y) if classes is None else classes), classes is not None
        refuse_mixed_labels(self.classes_, y)
        union = np.union1d(self.classes_, y)
        refuse_weightless(self.class_weight, union, complete=self._classes_fixed)
        if len(union) == len(self.classes_):
            return statistic
        if self._classes_fixed:
            unseen = np.setdiff1d(union, self.classes_).tolist()
            raise ValueError(f"y contains labels that are not in classes {self.classes_.tolist()}: {unseen}.")
        statistic = self._widened(statistic, self.classes_, union)
        self.classes_ = union
        return statistic

    def _codes(self, y, X):
        """Class indices of labels; ValueError on a label that is no class."""
        return class_codes(self.classes_, class_labels(y, X))

    def _widened(self, statistic, old, union):
        """Return a statistic with columns for all of ``union``: no row so far belonged to the new ones."""
        positions = np.searchsorted(union, old)
        grown = statistic.add_targets(np.full(len(union) - len(old), self._absent))
        fresh = np.setdiff1d(np.arange(len(union)), positions)
        return grown.permute_targets(np.argsort(np.concatenate([positions, fresh])))


def listed_classes(classes):
    """Return given classes sorted and once each: any collection of labels of one type, a set too."""
    if isinstance(classes, str | bytes) or not isinstance(classes, Iterable):
        raise ValueError(f"classes must be a collection of labels, got {classes!r}.")
    labels = list(host(classes))
    text = [isinstance(label, str) for label in labels]
    if len(set(text)) > 1 or any(np.ndim(label) or label is None or label != label for label in labels):
        raise ValueError(f"classes must be labels of one type, numbers or strings without gaps, got {labels!r}.")
    if not labels:
        raise ValueError("classes is empty: it names all labels that may appear.")
    return np.unique(np.asarray(labels))


def class_codes(classes, y):
    """Return the index in sorted ``classes`` of every label; ValueError on a label that is no class."""
    codes = np.minimum(np.searchsorted(classes, y), len(classes) - 1)
    unseen = classes[codes] != y
    if np.any(unseen):
        found = np.unique(y[unseen]).tolist()
        raise ValueError(f"y contains labels that are not in classes {classes.tolist()}: {found}.")
    return codes


def refuse_mixed_labels(classes, y):
    """Numbers and strings have no common order."""
    if (classes.dtype.kind in "biuf") != (y.dtype.kind in "biuf"):
        raise ValueError(
            f"y has labels such as {y.tolist()[0]!r}, but the classes so far are {classes.tolist()}: "
            "numbers and strings cannot be mixed."
        )


def refuse_balanced(class_weight, method):
    """Balanced weights follow all labels, which no single block knows."""
    if is_balanced(class_weight):
        raise ValueError(
            f"class_weight='balanced' is not supported in {method}: a block does not know the balance of "
            "all classes. Pass class_weight as a dict, or sample_weight."
        )
