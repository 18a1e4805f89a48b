"""Training layer by layer: LayerwiseMLP and LayerwiseMLPRegressor."""
