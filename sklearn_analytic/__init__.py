"""Neural networks for scikit-learn that train without backpropagation, on data of any size."""

from sklearn_analytic._brmp import BRMPClassifier, BRMPRegressor
from sklearn_analytic._cpnet import CPNetClassifier

__version__ = "0.1.0.dev0"

__all__ = ["BRMPClassifier", "BRMPRegressor", "CPNetClassifier", "__version__"]
