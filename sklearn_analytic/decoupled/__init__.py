"""Modules that train on delayed gradients: DecoupledMLPClassifier and DecoupledMLPRegressor."""

from sklearn_analytic.decoupled.pipeline import PipelineSchedule, published_schedule
from sklearn_analytic.decoupled.simulation import ModuleCosts, simulate
from sklearn_analytic.decoupled.splitting import balanced_modules

__all__ = ["ModuleCosts", "PipelineSchedule", "balanced_modules", "published_schedule", "simulate"]
