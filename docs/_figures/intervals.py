"""Figures of the guide of intervals."""

import numpy as np
from make_figures import figure
from matplotlib import pyplot
from sklearn.datasets import load_diabetes
from sklearn.model_selection import train_test_split

from sklearn_analytic import BRMPRegressor, ClosedFormMLPRegressor, IntervalDisplay


@figure("intervals")
def intervals():
    """Intervals of new rows: bars against the prediction, and a band over a single column."""
    X_train, X_test, y_train, y_test = train_test_split(*load_diabetes(return_X_y=True), random_state=0)
    table = ClosedFormMLPRegressor(random_state=0).fit(X_train, y_train)
    rng = np.random.default_rng(0)
    x = rng.uniform(0, 10, (1200, 1))
    wave = 2 * np.sin(x[:, 0]) + rng.normal(size=1200) * (0.1 + 0.12 * x[:, 0])
    curve = BRMPRegressor(50, hidden="rbf", alpha="gcv", random_state=0).fit(x[:800], wave[:800])
    drawn, (left, right) = pyplot.subplots(1, 2, figsize=(9, 3.8))
    IntervalDisplay.from_estimator(table, X_test, y_test, ax=left, target_name="progression")
    IntervalDisplay.from_estimator(curve, x[800:], wave[800:], ax=right, value_name="x")
    return drawn
