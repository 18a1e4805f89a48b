"""Neural networks for scikit-learn that train without backpropagation, on data of any size."""

from importlib import import_module
from typing import TYPE_CHECKING

from sklearn_analytic._renamed import let_old_names_be_found, old_names_of
from sklearn_analytic._version import __version__

if TYPE_CHECKING:  # what tools read; at run time a name is imported when it is first asked for
    from sklearn_analytic.closed_form.display import FeatureImportanceDisplay
    from sklearn_analytic.closed_form.estimators import ClosedFormMLP, ClosedFormMLPRegressor
    from sklearn_analytic.cpnet.estimator import CPNetClassifier
    from sklearn_analytic.decoupled.display import TimelineDisplay
    from sklearn_analytic.decoupled.estimators import DecoupledMLPClassifier, DecoupledMLPRegressor
    from sklearn_analytic.decoupled.values import PipelineRule
    from sklearn_analytic.distributed.display import CommunicationDisplay
    from sklearn_analytic.estimator.device import Device
    from sklearn_analytic.estimator.interval_display import IntervalDisplay
    from sklearn_analytic.estimator.networks import DenseNetwork, GivenNetwork, ImageNetwork, SequenceNetwork
    from sklearn_analytic.estimator.solvers import SGD, Adam, AdamW
    from sklearn_analytic.estimator.unlearning import UnlearningWarning
    from sklearn_analytic.estimator.warmup import warmup
    from sklearn_analytic.feedback.display import AlignmentDisplay
    from sklearn_analytic.feedback.estimators import DFAClassifier, DFARegressor
    from sklearn_analytic.feedback.values import KFAC, ApproximateActivation, Feedback
    from sklearn_analytic.io import Blocks
    from sklearn_analytic.layerwise.display import LayerDiagnosticsDisplay
    from sklearn_analytic.layerwise.estimators import LayerwiseMLP, LayerwiseMLPRegressor
    from sklearn_analytic.layerwise.values import Partitions
    from sklearn_analytic.least_squares.estimators import BRMPClassifier, BRMPRegressor
    from sklearn_analytic.private.estimator import PrivacyLeakWarning, PrivateDFAClassifier
    from sklearn_analytic.private.values import Photonic

    SKOPS_TRUSTED_TYPES: list[str]

__all__ = [
    "Adam",
    "AdamW",
    "AlignmentDisplay",
    "ApproximateActivation",
    "BRMPClassifier",
    "BRMPRegressor",
    "Blocks",
    "CPNetClassifier",
    "ClosedFormMLP",
    "ClosedFormMLPRegressor",
    "CommunicationDisplay",
    "DFAClassifier",
    "DFARegressor",
    "DecoupledMLPClassifier",
    "DecoupledMLPRegressor",
    "DenseNetwork",
    "Device",
    "FeatureImportanceDisplay",
    "Feedback",
    "GivenNetwork",
    "ImageNetwork",
    "IntervalDisplay",
    "KFAC",
    "LayerDiagnosticsDisplay",
    "LayerwiseMLP",
    "LayerwiseMLPRegressor",
    "Partitions",
    "Photonic",
    "PipelineRule",
    "PrivacyLeakWarning",
    "PrivateDFAClassifier",
    "SGD",
    "SKOPS_TRUSTED_TYPES",
    "SequenceNetwork",
    "TimelineDisplay",
    "UnlearningWarning",
    "__version__",
    "warmup",
]

_HOMES = {  # {module: the public names that are at home there}
    "sklearn_analytic.closed_form.display": ("FeatureImportanceDisplay",),
    "sklearn_analytic.closed_form.estimators": ("ClosedFormMLP", "ClosedFormMLPRegressor"),
    "sklearn_analytic.cpnet.estimator": ("CPNetClassifier",),
    "sklearn_analytic.decoupled.display": ("TimelineDisplay",),
    "sklearn_analytic.decoupled.estimators": ("DecoupledMLPClassifier", "DecoupledMLPRegressor"),
    "sklearn_analytic.decoupled.values": ("PipelineRule",),
    "sklearn_analytic.distributed.display": ("CommunicationDisplay",),
    "sklearn_analytic.estimator.device": ("Device",),
    "sklearn_analytic.estimator.interval_display": ("IntervalDisplay",),
    "sklearn_analytic.estimator.networks": ("DenseNetwork", "GivenNetwork", "ImageNetwork", "SequenceNetwork"),
    "sklearn_analytic.estimator.solvers": ("SGD", "Adam", "AdamW"),
    "sklearn_analytic.estimator.unlearning": ("UnlearningWarning",),
    "sklearn_analytic.estimator.warmup": ("warmup",),
    "sklearn_analytic.feedback.display": ("AlignmentDisplay",),
    "sklearn_analytic.feedback.estimators": ("DFAClassifier", "DFARegressor"),
    "sklearn_analytic.feedback.values": ("KFAC", "ApproximateActivation", "Feedback"),
    "sklearn_analytic.io": ("Blocks",),
    "sklearn_analytic.layerwise.display": ("LayerDiagnosticsDisplay",),
    "sklearn_analytic.layerwise.estimators": ("LayerwiseMLP", "LayerwiseMLPRegressor"),
    "sklearn_analytic.layerwise.values": ("Partitions",),
    "sklearn_analytic.least_squares.estimators": ("BRMPClassifier", "BRMPRegressor"),
    "sklearn_analytic.private.estimator": ("PrivacyLeakWarning", "PrivateDFAClassifier"),
    "sklearn_analytic.private.values": ("Photonic",),
}
_ROOMS = ("backend", "decoupled", "distributed", "export", "features", "io", "linalg", "nn")

let_old_names_be_found()


def __getattr__(name):
    """Import a public name, or a folder, when it is first asked for: scikit-learn and numba take seconds to import."""
    if name in _ROOMS:
        return import_module(f"{__name__}.{name}")
    if name == "SKOPS_TRUSTED_TYPES":  # for skops.io.load(file, trusted=SKOPS_TRUSTED_TYPES)
        from sklearn_analytic.estimator.trusted_types import trusted_types

        for home in _HOMES:  # the list is read off what is imported
            import_module(home)
        found = trusted_types(old_names_of)
    else:
        home = next((home for home, names in _HOMES.items() if name in names), None)
        if home is None:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        found = getattr(import_module(home), name)
    globals()[name] = found
    return found


def __dir__():
    """All public names, imported or not."""
    return sorted({*globals(), *__all__, *_ROOMS})
