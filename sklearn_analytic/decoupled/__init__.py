"""Modules that train on delayed gradients: DecoupledMLPClassifier and DecoupledMLPRegressor."""
