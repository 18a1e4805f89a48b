"""What is said where a saved estimator meets another version of the package."""

import warnings

from sklearn.exceptions import InconsistentVersionWarning


class PackageVersionWarning(InconsistentVersionWarning):
    """scikit-learn's warning of another version, in the words of this package.

    scikit-learn stamps its own classes alone; whoever filters its warning filters this one.
    """

    def __str__(self):
        """Both versions, and what to do."""
        was, now = self.original_sklearn_version, self.current_sklearn_version
        return (
            f"{self.estimator_name} was saved by sklearn_analytic {was} and is loaded by sklearn_analytic {now}, which "
            f"may read its state otherwise. Fit it again, or load it with sklearn_analytic {was}; to_sklearn and "
            "to_onnx give files that do not depend on this version."
        )


def warn_of_version(name, was, now):
    """Warn where an estimator was saved by another version; state without a stamp says nothing."""
    if was not in (None, now):
        warnings.warn(
            PackageVersionWarning(estimator_name=name, current_sklearn_version=now, original_sklearn_version=was),
            stacklevel=3,
        )
