"""
Can Optuna tune a network that is solved?
=========================================

``set_params`` takes every parameter of the estimators, so any tuner can set them. Here Optuna's
sampler proposes the construction, width, activation and ridge of a ``ClosedFormMLP``, and learns
from the scores of earlier trials; beside it parameters are drawn blindly from the same space. A
trial needs one fit and no folds: ``loo_score_`` is the accuracy on rows that are left out one at a
time. The figure ``optuna.png`` shows the best score so far and the score of every trial against its
ridge.

Needs ``pip install optuna``. Run ``python examples/plot_15_optuna.py`` with ``--out DIR`` for the
folder of the figure and ``--quick`` for few trials and rows.
"""

import argparse
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from sklearn_analytic import ClosedFormMLP

# %%
# The space. Widths and ridges are drawn by their logarithm.


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


# %%
# The objective is the leave-one-out accuracy of one fit; the test rows are not looked at before the
# end. A best leave-one-out score of many trials is optimistic, as any best score of many is.


def studies(X, y, n_trials):
    """{sampler: its study} after so many trials each."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    samplers = {
        "TPE": optuna.samplers.TPESampler(seed=0, n_startup_trials=max(5, n_trials // 4)),
        "random": optuna.samplers.RandomSampler(seed=0),
    }
    found = {}
    for name, sampler in samplers.items():
        study = optuna.create_study(direction="maximize", sampler=sampler)
        study.optimize(lambda trial: suggested(trial).fit(X, y).loo_score_, n_trials=n_trials)
        found[name] = study
    return found


def report(found, X, X_test, y, y_test):
    """Scores of the best trials on rows that no trial has seen."""
    print(f"{'sampler':8s} trials  leave-one-out  test score  best parameters")
    for name, study in found.items():
        best = study.best_trial
        score = suggested(best).fit(X, y).score(X_test, y_test)
        words = ", ".join(
            f"{key}={value:.3g}" if key == "alpha" else f"{key}={value}" for key, value in best.params.items()
        )
        print(f"{name:8s} {len(study.trials):6d} {best.value:14.4f} {score:11.4f}  {words}")


# %%
# The figure.


def draw(found, folder):
    try:
        from matplotlib import pyplot
    except ImportError:
        print("No figure: matplotlib is not installed (pip install matplotlib).")
        return
    figure, (path, ridge) = pyplot.subplots(1, 2, figsize=(10, 4), layout="constrained")
    for name, study in found.items():
        scores = np.array([trial.value for trial in study.trials])
        path.step(np.arange(1, len(scores) + 1), np.maximum.accumulate(scores), where="post", label=name)
        ridge.scatter([trial.params["alpha"] for trial in study.trials], scores, s=18, alpha=0.7, label=name)
    path.set(xlabel="trials", ylabel="best leave-one-out accuracy so far", title="What the trials found")
    ridge.set(xscale="log", xlabel="alpha", ylabel="leave-one-out accuracy", title="Every trial")
    for axis in (path, ridge):
        axis.grid(alpha=0.3)
        axis.legend()
    folder.mkdir(parents=True, exist_ok=True)
    figure.savefig(folder / "optuna.png", dpi=130)


def main():
    parser = argparse.ArgumentParser(description="Can Optuna tune a network that is solved?")
    parser.add_argument("--out", type=Path, default=Path(), help="folder of the figure")
    parser.add_argument("--quick", action="store_true", help="few trials and rows")
    options = parser.parse_args()
    try:
        import optuna  # noqa: F401
    except ImportError:
        print("Nothing to show: optuna is not installed (pip install optuna).")
        return
    X, y = load_digits(return_X_y=True)
    few = 300 if options.quick else 1000
    X, X_test, y, y_test = train_test_split(X, y, train_size=few, stratify=y, random_state=0)
    found = studies(X, y, 12 if options.quick else 60)
    report(found, X, X_test, y, y_test)
    draw(found, options.out)


if __name__ == "__main__":
    main()
