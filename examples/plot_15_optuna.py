"""
Can Optuna tune a network that is solved?
=========================================

``set_params`` takes every parameter of the estimators, so any tuner can set them. Here Optuna's
sampler proposes the construction, width, activation, encoding and ridge of a ``ClosedFormMLP``, and
learns from the scores of earlier trials. Beside it, parameters are drawn blindly from the same space.

A trial needs one fit and no folds: ``loo_score_`` is the accuracy on rows that are left out one at a
time. See :doc:`/user_guide/hyperparameter_search` for what is worth a search.
Needs ``pip install optuna``.
"""

# %%
# The objective
# -------------
# One fit of the proposed network, and its leave-one-out accuracy. Widths and ridges are drawn by their
# logarithm. The test rows stay aside until the end.

import os
import warnings

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from sklearn_analytic import ClosedFormMLP

warnings.filterwarnings("ignore", "IProgress not found")  # bars need ipywidgets; none is drawn here
import optuna  # noqa: E402

QUICK = bool(os.environ.get("SKLEARN_ANALYTIC_QUICK"))  # small data and few trials, for tests
N_ROWS, N_TRIALS = (300, 12) if QUICK else (1000, 60)

optuna.logging.set_verbosity(optuna.logging.WARNING)  # else a line for every trial
X, y = load_digits(return_X_y=True)
X, X_test, y, y_test = train_test_split(X, y, train_size=N_ROWS, stratify=y, random_state=0)


def suggested(trial):
    """A network with the parameters of a trial."""
    return ClosedFormMLP(
        trial.suggest_int("hidden_layer_sizes", 20, 400, log=True),
        hidden=trial.suggest_categorical("hidden", ["random", "sampled", "laplace"]),
        activation=trial.suggest_categorical("activation", ["relu", "tanh", "gaussian", "identity"]),
        input_encoding=trial.suggest_categorical("input_encoding", ["standard", "robust"]),
        alpha=trial.suggest_float("alpha", 1e-3, 1e5, log=True),
        random_state=0,
    )


def objective(trial):
    """Accuracy of one fit on rows that are left out one at a time."""
    return suggested(trial).fit(X, y).loo_score_


first = optuna.trial.FixedTrial(
    {
        "hidden_layer_sizes": 100,
        "hidden": "random",
        "activation": "relu",
        "input_encoding": "standard",
        "alpha": 1.0,
    }
)
print(f"one trial by hand: {objective(first):.4f}")

# %%
# Two samplers
# ------------
# TPE draws the first quarter of its trials blindly, then near the better ones. A best score of many is
# optimistic, whatever it is a score of: the accuracy on test rows, the last column, is lower.

studies = {
    "TPE": optuna.samplers.TPESampler(seed=0, n_startup_trials=max(5, N_TRIALS // 4)),
    "random": optuna.samplers.RandomSampler(seed=0),
}
for name, sampler in studies.items():
    studies[name] = optuna.create_study(direction="maximize", sampler=sampler)
    studies[name].optimize(objective, n_trials=N_TRIALS)

print(f"{'sampler':8s} trials  leave-one-out  test score")
for name, study in studies.items():
    test_score = suggested(study.best_trial).fit(X, y).score(X_test, y_test)
    print(f"{name:8s} {len(study.trials):6d} {study.best_value:14.4f} {test_score:11.4f}")

# %%
# The best parameters of each.

for name, study in studies.items():
    print(f"{name:8s}", study.best_params | {"alpha": f"{study.best_params['alpha']:.3g}"})

# %%
# What the trials found
# ---------------------
# On the left, the best score so far: the two are equal until TPE has begun to learn. On the right, every
# trial against its ridge: few trials of TPE have a large one, for large ones are worse.

figure, (path, ridge) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
for (name, study), color in zip(studies.items(), ("#0072B2", "#E69F00"), strict=True):
    scores = [trial.value for trial in study.trials]
    ridges = [trial.params["alpha"] for trial in study.trials]
    best_so_far = np.maximum.accumulate(scores)
    path.step(np.arange(1, len(scores) + 1), best_so_far, where="post", label=name, color=color)
    ridge.scatter(ridges, scores, s=18, label=name, color=color)
path.set(xlabel="trials", ylabel="best leave-one-out accuracy so far")
ridge.set(xscale="log", xlabel="alpha", ylabel="leave-one-out accuracy of a trial")
for axis in (path, ridge):
    axis.grid(alpha=0.3)
    axis.legend()
plt.show()
