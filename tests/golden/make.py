"""Write the golden files of the running version: pickles of small fitted estimators, and what they predicted.

Run once per release, from the repository root: ``python -m tests.golden.make``. A folder that was released is never
written again: it stands for the files that users have.
"""

import pickle
from pathlib import Path

import numpy as np
from sklearn.datasets import load_iris

from sklearn_analytic import (
    BRMPClassifier,
    BRMPRegressor,
    ClosedFormMLP,
    ClosedFormMLPRegressor,
    CPNetClassifier,
    DecoupledMLPClassifier,
    DFAClassifier,
    LayerwiseMLP,
    __version__,
)

FOLDER = Path(__file__).parent
LARGEST = 30_000  # bytes of a file
SMALL = {"max_iter": 3, "random_state": 0}
ESTIMATORS = {
    "brmp_regressor": BRMPRegressor(alpha=0.1),
    "brmp_classifier": BRMPClassifier(6, hidden="rbf", alpha=0.1, random_state=0),
    "cpnet": CPNetClassifier(4, n_modules=2, skip=False, random_state=0),
    "closed_form": ClosedFormMLP(4, random_state=0),
    "closed_form_regressor": ClosedFormMLPRegressor(4, random_state=0),
    "dfa": DFAClassifier(6, **SMALL),
    "layerwise": LayerwiseMLP((6, 4), **SMALL),
    "decoupled": DecoupledMLPClassifier((6, 4), **SMALL),
}


def data():
    """Rows and labels, words among them, that need no random numbers."""
    X, y = load_iris(return_X_y=True)
    return X[::6], np.array(["setosa", "versicolor", "virginica"])[y[::6]]


def targets(estimator):
    """Labels for classifiers, a width for regressors; and the columns that they read."""
    X, y = data()
    return (X[:, :3], X[:, 3]) if estimator.__sklearn_tags__().estimator_type == "regressor" else (X[:, :3], y)


def predictions(estimator, X):
    """What a fitted estimator says: labels or numbers, and probabilities where it has them."""
    found = {"predict": estimator.predict(X)}
    if callable(getattr(estimator, "predict_proba", None)):
        found["predict_proba"] = estimator.predict_proba(X)
    return found


def main():
    """Fit, predict, write."""
    folder = FOLDER / __version__
    folder.mkdir(exist_ok=True)
    expected = {}
    for name, estimator in ESTIMATORS.items():
        X, y = targets(estimator)
        blob = pickle.dumps(estimator.fit(X, y), protocol=4)
        if len(blob) > LARGEST:
            raise ValueError(f"{name} has {len(blob)} bytes; {LARGEST} at most: make it smaller.")
        (folder / f"{name}.pickle").write_bytes(blob)
        expected |= {f"{name}.{method}": value for method, value in predictions(estimator, X).items()}
        print(f"{name}: {len(blob)} bytes")
    np.savez_compressed(folder / "expected.npz", **expected)


if __name__ == "__main__":
    main()
