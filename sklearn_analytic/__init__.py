"""Neural networks for scikit-learn that train without backpropagation, on data of any size."""

from sklearn_analytic._alignment_display import AlignmentDisplay
from sklearn_analytic._brmp import BRMPClassifier, BRMPRegressor
from sklearn_analytic._closed_form import ClosedFormMLP
from sklearn_analytic._closed_form_regressor import ClosedFormMLPRegressor
from sklearn_analytic._communication_display import CommunicationDisplay
from sklearn_analytic._cpnet import CPNetClassifier
from sklearn_analytic._decoupled import DecoupledMLPClassifier
from sklearn_analytic._decoupled_regressor import DecoupledMLPRegressor
from sklearn_analytic._dfa import DFAClassifier
from sklearn_analytic._dfa_regressor import DFARegressor
from sklearn_analytic._importance_display import FeatureImportanceDisplay
from sklearn_analytic._layer_diagnostics_display import LayerDiagnosticsDisplay
from sklearn_analytic._layerwise import LayerwiseMLP
from sklearn_analytic._layerwise_regressor import LayerwiseMLPRegressor
from sklearn_analytic._private_dfa import PrivacyLeakWarning, PrivateDFAClassifier
from sklearn_analytic._timeline_display import TimelineDisplay
from sklearn_analytic._trusted_types import trusted_types
from sklearn_analytic._version import __version__
from sklearn_analytic.io import Blocks

SKOPS_TRUSTED_TYPES = trusted_types()  # for skops.io.load(file, trusted=SKOPS_TRUSTED_TYPES)

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
