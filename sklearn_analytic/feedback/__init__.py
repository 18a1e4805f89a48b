"""Direct feedback alignment: DFAClassifier and DFARegressor."""
