"""What bfloat16 features cost in accuracy: the same fit in float32 and in bfloat16, on sets of a data folder."""

import numpy as np
from _common import is_classification, load

from sklearn_analytic import ClosedFormMLP, ClosedFormMLPRegressor

MOST_ROWS = 6000  # of the training part, the first ones of a seeded permutation
SETS = ("letter", "mnist", "magic", "covertype_20k", "california_housing", "kin40k")
CONTENDERS = {"random": {"hidden": "random", "hidden_layer_sizes": 1000}, "auto": {}}


def accuracy_rows(folder, names, seeds):
    """Yield a row per set and contender: mean test score (accuracy or R2) in float32 and bfloat16."""
    for name in names:
        estimator = ClosedFormMLP if is_classification(folder / f"{name}.npz") else ClosedFormMLPRegressor
        for contender, parameters in CONTENDERS.items():
            scores = [_scores(estimator, parameters, load(name, folder, seed), seed) for seed in range(seeds)]
            plain, short = np.mean(scores, axis=0)
            yield {
                "set": name,
                "hidden": contender,
                "score": "accuracy" if estimator is ClosedFormMLP else "R2",
                "float32": plain,
                "bfloat16": short,
                "difference": short - plain,
                "largest_difference": float(np.max(np.abs(np.diff(scores)))),
                "seeds": seeds,
            }


def _scores(estimator, parameters, data, seed):
    """Test scores in both precisions, of networks from the same draws."""
    X_train, X_test, y_train, y_test = data
    few = np.random.default_rng(seed).permutation(len(X_train))[:MOST_ROWS]
    X_train, X_test, y_train = X_train[few].astype(np.float32), X_test.astype(np.float32), y_train[few]
    return [
        estimator(**parameters, precision=precision, device="torch:cpu", random_state=seed)
        .fit(X_train, y_train)
        .score(X_test, y_test)
        for precision in ("float32", "bfloat16")
    ]
