"""Networks in closed form, with trees beside them: ClosedFormMLP and ClosedFormMLPRegressor."""
