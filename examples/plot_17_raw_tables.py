"""
What is left to prepare in a raw table?
=======================================

A file of subscriptions, as it comes: text, missing values, a date, a column of 150 towns, and codes
of regions that are numbers. ``fit`` takes the frame of ``read_csv``: a missing number becomes the
median and an indicator, the levels of a short column of text become indicators, and a town becomes
the smoothed mean of the target. The date alone has to become numbers first. The same frame goes to
``HistGradientBoostingClassifier``; one small generated table shows how, not which is better. A search
in a pipeline asks whether regions are better read as categories, and the model is pickled and written
as ONNX. The figure ``raw_tables.png`` shows the importances of the columns of the table.

Needs ``pip install pandas``; uses onnx, onnxruntime and skrub where they are installed. Run ``python
examples/plot_17_raw_tables.py`` with ``--out DIR`` for the folder of the figure, ``--quick`` for few rows.
"""

import argparse
import pickle
import tempfile
from pathlib import Path

import numpy as np
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.model_selection import GridSearchCV, StratifiedKFold, cross_val_score
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer

from sklearn_analytic import ClosedFormMLP, FeatureImportanceDisplay

FOLDS = StratifiedKFold(3, shuffle=True, random_state=0)
TEXTS = ["plan", "payment", "town"]

# %%
# The file. Customers whose age is missing cancel more often: that a value is missing says something.


def written(path, n, pd):
    """A file of subscriptions and whether they were cancelled."""
    rng = np.random.default_rng(0)
    days, region, town = rng.integers(0, 2000, n), rng.integers(0, 8, n), np.minimum(rng.geometric(0.02, n), 150)
    table = pd.DataFrame({"since": pd.Timestamp("2025-01-01") - pd.to_timedelta(days, unit="D")})
    table["age"] = np.where(rng.random(n) < 0.15, np.nan, rng.integers(18, 85, n))
    table["fee"] = rng.gamma(4, 6, n).round(2)
    table["plan"] = rng.choice(["basic", "family", "student"], n)
    table["payment"] = rng.choice(np.array(["card", "debit", "invoice", None]), n)
    table["town"], table["region"] = [f"town {k}" for k in town], 11 + 10 * region
    score = rng.normal(0, 0.9, 151)[town] + np.array([1.0, -0.9, 0.8, -0.4, -1.0, 0.6, -0.2, 0.1])[region]
    score += 0.05 * (table.fee - 24) + (table.plan == "basic") - (days > 900) + 1.2 * table.age.isna()
    table["cancelled"] = np.where(score + rng.logistic(0, 0.7, n) > 0.3, "yes", "no")
    table.loc[rng.random(n) < 0.1, "fee"] = np.nan
    table.to_csv(path, index=False)


# %%
# Dates by hand: a number that goes on and one that returns. Without ``parse_dates`` of ``read_csv``
# the date would be text, a category with a level for every day. Skrub's reader passes text through.


def dated(table):
    """The table with numbers in place of the date."""
    since = table["since"].dt
    return table.drop(columns="since").assign(year=since.year + since.month / 12, month=since.month)


def compare(table, y):
    """Scores of three models in the same folds; towns that only the test rows of a fold have are no error."""
    frame = dated(table).astype(dict.fromkeys(TEXTS, "category"))  # histogram boosting does not read text
    models = [("ClosedFormMLP", ClosedFormMLP(random_state=0), frame)]
    models.append(("HistGradientBoosting", HistGradientBoostingClassifier(random_state=0), frame))
    try:
        import skrub

        reader = skrub.TableVectorizer(low_cardinality="passthrough", high_cardinality="passthrough")
        models.append(("dates by skrub", make_pipeline(reader, ClosedFormMLP(random_state=0)), table))
    except ImportError:
        print("Dates by hand alone: skrub is not installed (pip install skrub).")
    for name, model, rows in models:
        scores = cross_val_score(model, rows, y, cv=FOLDS, scoring="roc_auc")
        print(f"{name:21s} {scores.mean():.4f} area under the curve")


# %%
# Codes that are numbers are not guessed to be categories. A search decides between the two readings.


def searched(table, y):
    """A pipeline from the raw table to probabilities, by the better reading of the regions."""
    pipeline = Pipeline([("dates", FunctionTransformer(dated)), ("mlp", ClosedFormMLP(random_state=0))])
    grid = {"mlp__categorical_features": ["from_dtype", [*TEXTS, "region"]]}
    search = GridSearchCV(pipeline, grid, cv=FOLDS, scoring="roc_auc").fit(table, y)
    print("region as number, category: {:.4f}, {:.4f}".format(*search.cv_results_["mean_test_score"]))
    return search.best_estimator_


# %%
# A later row has a town that no training row had, and no age: the town is read as the mean over all
# rows, the age as the median with its indicator. The ONNX model has an input for each column.


def serve(pipeline, table):
    """The answer to one row, by the pipeline, by its pickle and by ONNX."""
    row = table.iloc[:1].assign(town="a new town", age=np.nan)
    chances = [model.predict_proba(row)[0, 1] for model in (pipeline, pickle.loads(pickle.dumps(pipeline)))]
    try:
        import onnxruntime

        graph = pipeline["mlp"].to_onnx().SerializeToString()
        session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
        row = dated(row).fillna(dict.fromkeys(TEXTS, ""))
        fed = {name: row[[name]].to_numpy(object if name in TEXTS else "float32") for name in row}
        chances.append(session.run(["probabilities"], fed)[0][0, 1])
    except ImportError:
        print("No ONNX: onnx or onnxruntime is not installed (pip install onnx onnxruntime).")
    print("a new town, no age:", ", ".join(f"{chance:.4f}" for chance in chances))


def draw(model, folder):
    try:
        from matplotlib import pyplot
    except ImportError:
        print("No figure: matplotlib is not installed (pip install matplotlib).")
        return
    figure, axes = pyplot.subplots(figsize=(6, 3.5), layout="constrained")
    FeatureImportanceDisplay.from_estimator(model, ax=axes)
    folder.mkdir(parents=True, exist_ok=True)
    figure.savefig(folder / "raw_tables.png", dpi=130)


def main():
    parser = argparse.ArgumentParser(description="What is left to prepare in a raw table?")
    parser.add_argument("--out", type=Path, default=Path(), help="folder of the figure")
    parser.add_argument("--quick", action="store_true", help="few rows")
    options = parser.parse_args()
    try:
        import pandas as pd
    except ImportError:
        print("Nothing to show: pandas is not installed (pip install pandas).")
        return
    with tempfile.TemporaryDirectory() as folder:
        written(path := Path(folder, "subscriptions.csv"), 400 if options.quick else 1200, pd)
        table = pd.read_csv(path, parse_dates=["since"])
    y = table.pop("cancelled")
    compare(table, y)
    serve(pipeline := searched(table, y), table)
    draw(pipeline["mlp"], options.out)


if __name__ == "__main__":
    main()
