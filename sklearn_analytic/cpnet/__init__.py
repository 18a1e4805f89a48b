"""Correlation projection networks: CPNetClassifier."""
