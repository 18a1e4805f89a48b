"""A fit over Ray: remote tasks accumulate their rows, a tree of tasks merges them, the last one has solved.

Needs ``pip install ray``, which is no dependency of this package::

    python examples/recipes/ray_fit.py
"""

import numpy as np
import ray
from sklearn.datasets import load_digits

from sklearn_analytic import BRMPClassifier, ClosedFormMLP

N_SHARDS = 5


@ray.remote
def accumulated(model, X, y):
    return model.partial_fit(X, y)


@ray.remote
def merged(one, two=None):
    return one if two is None else one.merge(two)


def fitted(model, shards):
    """Return one estimator of all shards; ``model`` is what each of them starts as."""
    parts = [accumulated.remote(model, X, y) for X, y in shards]
    while len(parts) > 1:
        parts = [merged.remote(*parts[i : i + 2]) for i in range(0, len(parts), 2)]
    return ray.get(parts[0])


def main():
    X, y = load_digits(return_X_y=True)
    shards = list(zip(np.array_split(X, N_SHARDS), np.array_split(y, N_SHARDS), strict=True))
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    try:
        # Layers that random_state alone makes are the same everywhere.
        wide = BRMPClassifier(200, hidden="random", activation="relu", alpha=1.0, random_state=0)
        found, local = fitted(wide, shards), wide.fit(X, y)
        print(f"BRMPClassifier: largest difference to the local fit {difference(found, local, X):.1e}")
        # Layers that are learned are built from rows that stand for the rest; shards carry them.
        network = ClosedFormMLP(200, random_state=0).fit(X[:600], y[:600])
        rest = [(X[k::N_SHARDS], y[k::N_SHARDS]) for k in range(600, 600 + N_SHARDS)]
        found = network.shard().merge(network).merge(fitted(network.shard(), rest))
        for part in rest:
            network.partial_fit(*part)
        print(f"ClosedFormMLP: largest difference to the local stream {difference(found, network, X):.1e}")
    finally:
        ray.shutdown()


def difference(one, two, X):
    return np.abs(one.decision_function(X) - two.decision_function(X)).max()


if __name__ == "__main__":
    main()
