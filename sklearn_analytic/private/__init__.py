"""Differentially private training: PrivateDFAClassifier, its mechanisms and accountants."""
