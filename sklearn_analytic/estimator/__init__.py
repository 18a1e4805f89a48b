"""What estimators share: reading rows and targets, the two drivers of a fit, state on disk, callbacks."""
