"""Training over processes."""
