"""The raw tables of ``accuracy.py --suite mixed``: frames with nominal columns, numbers and what is missing.

DIR/mixed holds one .parquet per table: nominal columns as pandas categories, numbers as float64
with NaN, yes/no columns as bool, and the target as ``__target__``: categories are classes, float64
is regression. pandas is imported where it is used: no other suite needs it.
"""

import numpy as np
from sklearn.model_selection import train_test_split

TARGET = "__target__"
GENERATED = ("generated_classes", "generated_numbers")  # of a quick run: scikit-learn bundles no such table
ROWS = 300  # of a generated table


def table_names(folder):
    """The tables of a data folder."""
    names = [path.stem for path in sorted((folder / "mixed").glob("*.parquet"))]
    if not names:
        raise SystemExit(f"There are no tables in {folder / 'mixed'}.")
    return names


def load_table(name, folder=None, seed=0):
    """X_train, X_test, y_train, y_test: a seeded quarter, stratified by class, for the test.

    Both parts have the categories of the whole table, as boosting libraries want it; classes are
    0..C-1. ``folder=None`` generates the table.
    """
    frame = generated(name) if folder is None else read(folder / "mixed" / f"{name}.parquet")
    y = frame.pop(TARGET)
    classes = y.dtype == "category"
    y = y.cat.codes.to_numpy(np.int64) if classes else y.to_numpy(np.float64)
    return train_test_split(frame, y, test_size=0.25, random_state=seed, stratify=y if classes else None)


def read(path):
    import pandas as pd

    return pd.read_parquet(path)


def generated(name):
    """A small table with a kind of column each: few levels, many levels, numbers with gaps, yes or no."""
    import pandas as pd

    random = np.random.default_rng(0)
    colour, town = random.integers(0, 4, ROWS), random.integers(0, 40, ROWS)
    size, flag = random.normal(size=ROWS), random.random(ROWS) < 0.5
    value = random.normal(size=4)[colour] + random.normal(size=40)[town] + size + flag
    frame = pd.DataFrame(
        {
            "colour": pd.Categorical([f"colour {level}" if level else None for level in colour]),
            "town": pd.Categorical([f"town {level}" for level in town]),
            "size": np.where(random.random(ROWS) < 0.1, np.nan, size),
            "flag": flag,
        }
    )
    target = value if name == "generated_numbers" else pd.Categorical(np.where(value > value.mean(), "high", "low"))
    return frame.assign(**{TARGET: target})
