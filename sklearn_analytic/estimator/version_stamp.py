"""What is said where a saved estimator meets another version of the package."""

from sklearn.exceptions import InconsistentVersionWarning

from sklearn_analytic._version import __version__
from sklearn_analytic.backend._warn_user import warn_user


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


def warn_of_version(name, was):
    """Warn where an estimator was saved by another version; state without a stamp says nothing."""
    if was not in (None, __version__):
        versions = {"original_sklearn_version": was, "current_sklearn_version": __version__}
        warn_user(PackageVersionWarning(estimator_name=name, **versions))
