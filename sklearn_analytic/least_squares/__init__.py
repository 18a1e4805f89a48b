"""Block-wise least squares with the recursive Moore-Penrose inverse: BRMPRegressor and BRMPClassifier."""
