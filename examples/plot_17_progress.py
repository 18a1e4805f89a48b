"""
How far is this fit?
====================

Four answers, from the shortest to the most useful: ``verbose=True`` shows epochs, messages of the logger
``sklearn_analytic`` go to a file or a service, scikit-learn's ``ProgressBar`` shows whole searches, and
``ScoringMonitor`` notes a learning curve. A callback of your own can end the fit, too. All of this works
inside pipelines, cross-validation and searches, with one process or several.

The guide :doc:`/user_guide/progress` lists what is shown where. Needs scikit-learn 1.9 or later (callbacks) and
``pip install rich`` (bars); in a notebook bars also need ``pip install ipywidgets``.
"""

# %%
# ``verbose=True``
# ----------------
# Every estimator has this parameter. It draws a bar; where none can be drawn, it prints a line for every
# epoch with the loss.

import logging
import os
import sys
import warnings
from importlib.util import find_spec

import matplotlib.pyplot as plt
import numpy as np
from sklearn.callback import ProgressBar, ScoringMonitor
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV, cross_validate, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_analytic import ClosedFormMLP, DFAClassifier

QUICK = bool(os.environ.get("SKLEARN_ANALYTIC_QUICK"))  # small data, for tests

warnings.simplefilter("ignore", ConvergenceWarning)  # some fits have few epochs, to be short
warnings.filterwarnings("ignore", 'install "ipywidgets"')  # said once, where ProgressBar is first used

X, y = load_digits(return_X_y=True)
split = {"train_size": 240 if QUICK else 900, "stratify": y, "random_state": 0}
X, X_test, y, y_test = train_test_split(X, y, **split)
DFAClassifier((32,), max_iter=5, verbose=True, random_state=0).fit(X, y)

# %%
# Messages
# --------
# In a pipeline ``verbose=True`` gives messages, not a bar, for a bar belongs to the whole pipeline.
# They go where ``logging`` sends those of the logger ``sklearn_analytic``: here to the output of this
# cell, with the time. Without any handler they go to standard error. Closed-form fits have no epochs,
# and report blocks of rows.

handler = logging.StreamHandler(sys.stdout)
handler.setFormatter(logging.Formatter("%(asctime)s  %(message)s", "%H:%M:%S"))
logging.getLogger("sklearn_analytic").addHandler(handler)
network = DFAClassifier((32,), max_iter=5, verbose=True, random_state=0)
make_pipeline(StandardScaler(), network).fit(X, y)
network = ClosedFormMLP(50, hidden="random", block_size=len(X) // 3, verbose=True, random_state=0)
make_pipeline(StandardScaler(), network).fit(X, y)
logging.getLogger("sklearn_analytic").removeHandler(handler)

# %%
# A bar for a whole search
# ------------------------
# ``ProgressBar`` is set on the outermost estimator. It shows the search and its fits;
# ``max_propagation_depth=None`` shows each step that supports callbacks, too.

if find_spec("ipywidgets") is None:
    print("In a notebook this bar is not shown: install ipywidgets, and restart the kernel.")
pipeline = make_pipeline(StandardScaler(), DFAClassifier((32,), random_state=0))
grid = {"dfaclassifier__learning_rate_init": [3e-4, 1e-3, 1e-2]}
search = GridSearchCV(pipeline, grid, cv=2).set_callbacks(ProgressBar())
search.fit(X, y)
print("best:", search.best_params_)

# %%
# A learning curve
# ----------------
# ``ScoringMonitor`` scores after every epoch. It scores the rows of the fit; a function in place of the
# name of a score may look at other rows as well. Soon this network is right about all rows that it is
# trained on, and from then on it gains little on new ones.


def scores_of(model, X, y):
    """Accuracy on the rows of the fit and on those that were held out."""
    return {"train": model.score(X, y), "test": model.score(X_test, y_test)}


def epochs_of(monitor, score):
    """A score after every epoch of the last fit."""
    return [row[score] for row in monitor.get_logs().data if row["task_name"] == "epoch"]


monitor = ScoringMonitor(scoring=scores_of)
network = DFAClassifier((64, 64), random_state=0).set_callbacks(monitor).fit(X, y)
figure, axis = plt.subplots(figsize=(7.2, 3.6), layout="constrained")
lines = {"train": ("rows of the fit", "#0072B2"), "test": ("held-out rows", "#D55E00")}
for score, (label, color) in lines.items():
    curve = epochs_of(monitor, score)
    axis.plot(np.arange(1, len(curve) + 1), curve, color=color, label=label)
    print(f"{label:15s}  first epoch {curve[0]:.3f}  last epoch {curve[-1]:.3f}")
axis.set(xlabel="epoch", ylabel="accuracy", title="DFAClassifier")
axis.legend(loc="lower right")
axis.grid(alpha=0.3)
plt.show()

# %%
# Enough is enough
# ----------------
# A callback is an object with four methods. Where the last of them returns true, training ends after this
# epoch. ``early_stopping=True`` has a rule of its own; this one ends the fit when it is right about 99 % of
# the rows that it is trained on.


class StopAt:
    """Ends a fit at an accuracy on its own rows."""

    def __init__(self, accuracy):
        self.accuracy = accuracy

    def setup(self, estimator, context):
        """Nothing to prepare."""

    def teardown(self, estimator, context):
        """Nothing to put away."""

    def on_fit_task_begin(self, estimator, context):
        """Nothing to do before an epoch."""

    def on_fit_task_end(self, estimator, context, *, X=None, y=None, fitted_estimator=None):
        """Whether it is enough; scikit-learn passes those of these arguments that are named here."""
        return context.task_name == "epoch" and fitted_estimator.score(X, y) >= self.accuracy


stopped = DFAClassifier((64, 64), random_state=0).set_callbacks(StopAt(0.99)).fit(X, y)
for name, model in (("all epochs:", network), ("stopped at 99 %:", stopped)):
    print(f"{name:16s} {model.n_iter_:3d} epochs, test accuracy {model.score(X_test, y_test):.3f}")

# %%
# In pipelines, folds and processes
# ---------------------------------
# Callbacks that score or stop belong to the step that trains, ``pipeline[-1]``; copies of it keep them.
# Here each fold ends when it has learned enough.

pipeline = make_pipeline(StandardScaler(), DFAClassifier((64, 64), random_state=0))
pipeline[-1].set_callbacks(StopAt(0.99))
results = cross_validate(pipeline, X, y, cv=3, return_estimator=True)
print("epochs of the folds:", [fold[-1].n_iter_ for fold in results["estimator"]])

# %%
# A search with two processes. The monitor gets the scores of both; the path of a task shows which
# candidate and which fold it belongs to. The smallest rate is too small: its fits end before they are
# right about all of their rows.

monitor = ScoringMonitor(scoring="accuracy")
pipeline[-1].set_callbacks(monitor)
rates = [1e-4, 1e-3, 1e-2]
grid = {"dfaclassifier__learning_rate_init": rates}
search = GridSearchCV(pipeline, grid, cv=2, n_jobs=2).fit(X, y)

curves = {}
for row in monitor.get_logs().data:
    if row["task_name"] == "epoch":
        curves.setdefault(row["parent_task_id_path"], []).append(row["accuracy"])
print(len(curves), "fits with", sum(map(len, curves.values())), "epochs")

figure, axis = plt.subplots(figsize=(7.2, 3.6), layout="constrained")
folds = [path for path in curves if path[1] == 0]  # 1 is the last fit, on all rows
for path in folds:
    candidate, fold = divmod(path[2], 2)
    label = f"learning rate {rates[candidate]:g}" if fold == 0 else None
    axis.plot(np.arange(1, len(curves[path]) + 1), curves[path], color=f"C{candidate}", label=label)
axis.set(xlabel="epoch", ylabel="accuracy on rows of the fit", title="Two folds of three candidates")
axis.grid(alpha=0.3)
axis.legend()
plt.show()
