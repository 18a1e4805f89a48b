"""A fit over Spark: ``mapInArrow`` accumulates a partition where it is, the driver merges what comes back.

Needs ``pip install pyspark pyarrow pandas`` and Java; none is a dependency of this package::

    python examples/recipes/spark_fit.py
"""

import pickle
from functools import reduce

import numpy as np
import pandas as pd
import pyarrow as pa
from pyspark.sql import SparkSession
from sklearn.datasets import load_digits

from sklearn_analytic import BRMPClassifier, ClosedFormMLP


def accumulating(model):
    """Return what mapInArrow calls on every partition: its record batches in, one fitted estimator out."""

    def accumulate(batches):
        shard = model
        for batch in batches:
            rows = np.column_stack([column.to_numpy(zero_copy_only=False) for column in batch.columns])
            shard = shard.partial_fit(rows[:, :-1], rows[:, -1])
        if hasattr(shard, "n_samples_seen_"):  # a partition may be empty
            yield pa.RecordBatch.from_pydict({"model": [pickle.dumps(shard)]})

    return accumulate


def fitted(model, frame):
    """Return one estimator of all partitions; ``model`` is what each of them starts as."""
    shards = frame.mapInArrow(accumulating(model), "model binary").collect()
    return reduce(lambda one, two: one.merge(two), (pickle.loads(row.model) for row in shards))


def main():
    X, y = load_digits(return_X_y=True)
    table = pd.DataFrame(np.c_[X, y], columns=[f"x{k}" for k in range(X.shape[1])] + ["y"])
    spark = SparkSession.builder.master("local[2]").config("spark.ui.enabled", "false").getOrCreate()
    try:
        frame = spark.createDataFrame(table).repartition(3)
        # Layers that random_state alone makes are the same everywhere.
        wide = BRMPClassifier(200, hidden="random", activation="relu", alpha=1.0, random_state=0)
        found, local = fitted(wide, frame), wide.fit(X, y)
        print(f"BRMPClassifier: largest difference to the local fit {difference(found, local, X):.1e}")
        # Layers that are learned are built from rows that stand for the rest; shards carry them.
        network = ClosedFormMLP(200, random_state=0).fit(X[:600], y[:600])
        rest = spark.createDataFrame(table[600:]).repartition(3)
        found = network.shard().merge(network).merge(fitted(network.shard(), rest))
        network.partial_fit(X[600:], y[600:])
        print(f"ClosedFormMLP: largest difference to the local stream {difference(found, network, X):.1e}")
    finally:
        spark.stop()


def difference(one, two, X):
    return np.abs(one.decision_function(X) - two.decision_function(X)).max()


if __name__ == "__main__":
    main()
