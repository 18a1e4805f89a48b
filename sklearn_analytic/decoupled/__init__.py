"""Modules that train on delayed gradients: DecoupledMLPClassifier and DecoupledMLPRegressor."""

from sklearn_analytic.decoupled.pipeline import PipelineRule, published_rule
from sklearn_analytic.decoupled.simulation import ModuleCosts, simulate
from sklearn_analytic.decoupled.splitting import balanced_modules

__all__ = ["ModuleCosts", "PipelineRule", "balanced_modules", "published_rule", "simulate"]
