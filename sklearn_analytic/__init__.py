"""Neural networks for scikit-learn that train without backpropagation, on data of any size."""

from sklearn_analytic._renamed import let_old_names_be_found, old_names_of
from sklearn_analytic._version import __version__
from sklearn_analytic.closed_form.display import FeatureImportanceDisplay
from sklearn_analytic.closed_form.estimators import ClosedFormMLP, ClosedFormMLPRegressor
from sklearn_analytic.cpnet.estimator import CPNetClassifier
from sklearn_analytic.decoupled.display import TimelineDisplay
from sklearn_analytic.decoupled.estimators import DecoupledMLPClassifier, DecoupledMLPRegressor
from sklearn_analytic.distributed.display import CommunicationDisplay
from sklearn_analytic.estimator.trusted_types import trusted_types
from sklearn_analytic.feedback.display import AlignmentDisplay
from sklearn_analytic.feedback.estimators import DFAClassifier, DFARegressor
from sklearn_analytic.io import Blocks
from sklearn_analytic.layerwise.display import LayerDiagnosticsDisplay
from sklearn_analytic.layerwise.estimators import LayerwiseMLP, LayerwiseMLPRegressor
from sklearn_analytic.least_squares.estimators import BRMPClassifier, BRMPRegressor
from sklearn_analytic.private.estimator import PrivacyLeakWarning, PrivateDFAClassifier

let_old_names_be_found()
SKOPS_TRUSTED_TYPES = trusted_types(old_names_of)  # for skops.io.load(file, trusted=SKOPS_TRUSTED_TYPES)

__all__ = [
    "AlignmentDisplay",
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
    "FeatureImportanceDisplay",
    "LayerDiagnosticsDisplay",
    "LayerwiseMLP",
    "LayerwiseMLPRegressor",
    "PrivacyLeakWarning",
    "PrivateDFAClassifier",
    "SKOPS_TRUSTED_TYPES",
    "TimelineDisplay",
    "__version__",
]
