"""Figures of the first pages: accuracy against fit time, and what a first model says about its table."""

import numpy as np
import pandas as pd
from make_figures import BACKPROP, DOCS, FIFTH, OTHER, OURS, SIXTH, TREES, decades, figure, summary_of
from matplotlib import pyplot as plt
from sklearn.model_selection import train_test_split

from sklearn_analytic import ClosedFormMLP

SECONDS = (0.1, 0.3, 1, 3, 10)
# {key in the file: (name, colour, side of the point on which the name stands)}
BOOSTING = {
    "closed_form": ("ClosedFormMLP", OURS, "right"),
    "cpnet": ("CPNetClassifier", OURS, "right"),
    "catboost": ("CatBoost", TREES, "left"),
    "xgboost": ("XGBoost", TREES, "right"),
    "lightgbm": ("LightGBM", TREES, "left"),
    "lightgbm_mcw1": ("LightGBM, min_child_weight=1", TREES, "right"),
}
CLASSIC = {
    "closed_form": ("ClosedFormMLP", OURS, "right"),
    "cpnet": ("CPNetClassifier", OURS, "left"),
    "random_forest": ("RandomForest", TREES, "right"),
    "hist_gb": ("HistGradientBoosting", TREES, "left"),
    "mlp": ("MLP, backpropagation", BACKPROP, "left"),
    "svc": ("SVC", OTHER, "right"),
    "logistic": ("LogisticRegression", OTHER, "right"),
}


@figure("accuracy_and_time", data=("accuracy_boosting_tabular", "accuracy_tabular"))
def accuracy_and_time():
    """Two panels, for times of two files must not stand on one axis."""
    drawn, (above, below) = plt.subplots(2, 1, figsize=(7.2, 6))
    drawn.get_layout_engine().set(h_pad=0.15)
    _scatter(above, summary_of("accuracy_boosting_tabular"), BOOSTING, "fit_cpu_seconds")
    _scatter(below, summary_of("accuracy_tabular"), CLASSIC, "fit_seconds")
    above.set_title("38 tables, beside boosting: one thread, five splits", loc="left", fontsize=12)
    above.set_xlabel("fit, processor seconds (geometric mean)")
    threads = "one split, two threads (ClosedFormMLP: one)"
    below.set_title(f"38 tables, beside scikit-learn: {threads}", loc="left", fontsize=12)
    below.set_xlabel("fit, seconds (geometric mean)")
    return drawn


def _scatter(axes, lines, models, seconds):
    """Mean accuracy against fit time, every point with its name."""
    for key, (name, colour, side) in models.items():
        place = lines[key][seconds], lines[key]["mean_accuracy"]
        axes.scatter(*place, s=90 if colour == OURS else 55, color=colour, zorder=3)
        shift, align = ((8, 0), "left") if side == "right" else ((-8, 0), "right")
        style = {"ha": align, "va": "center", "color": colour, "fontsize": 12}
        style["weight"] = "bold" if colour == OURS else "normal"
        axes.annotate(name, place, shift, textcoords="offset points", **style)
    decades(axes, SECONDS)
    axes.set_xlim(SECONDS[0], SECONDS[-1])
    axes.set_ylabel("mean accuracy")
    axes.margins(y=0.15)


@figure("getting_started")
def getting_started():
    """What the first model of the guide says about its table: which columns it reads, and one of them in detail."""
    table, cancelled = _customers()
    train, _, known, _ = train_test_split(table, cancelled, random_state=0)
    model = ClosedFormMLP(random_state=0).fit(train, known)
    drawn, (left, right) = plt.subplots(1, 2, figsize=(7.2, 3))
    order = np.argsort(model.feature_importances_)
    left.barh(table.columns[order], model.feature_importances_[order], color=OURS)
    left.set_xlabel("share of the importance")
    left.grid(axis="y")
    for colour, plan in zip((SIXTH, FIFTH, OURS), ("basic", "family", "student"), strict=True):
        rows = pd.DataFrame({"age": 45.0, "plan": plan, "town": "town 4", "visits": np.arange(11)})
        right.plot(rows["visits"], model.predict_proba(rows)[:, 1], color=colour, label=plan, lw=2)
    right.set(xlabel="visits", ylabel='probability of "yes"', ylim=(0, 1))
    right.legend(title="plan")
    return drawn


def _customers():
    """The table of the guide, by its own first block of code."""
    page = (DOCS / "user_guide" / "getting_started.md").read_text()
    known = {}
    exec(page.split("```python\n", 1)[1].split("```", 1)[0], known)
    return known["table"], known["cancelled"]
