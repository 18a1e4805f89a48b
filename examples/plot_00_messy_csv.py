"""
How does a messy CSV file become a served model?
================================================

This example goes the whole way: it reads a CSV file with pandas, fits a network to the frame as it is, compares it
with gradient boosting on new rows, looks at its probabilities and at the columns that it uses, improves it by a
search in a pipeline, saves it, and serves it over HTTP and as ONNX.

The file lists subscriptions, and the model predicts which of them will be cancelled. It has what such files have:
text with stray spaces and mixed case, missing numbers, a date, a column of 150 towns, and codes of regions that look
like numbers. ``fit`` takes all of this but the date. The guide :doc:`/user_guide/raw_tables` says what becomes of
each column.

Needs ``pip install pandas matplotlib``; the last step needs ``pip install onnx onnxruntime``, too.
"""

import json
import os
import tempfile
import textwrap
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from urllib.request import ProxyHandler, Request, build_opener

import joblib
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.calibration import CalibrationDisplay
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import accuracy_score, log_loss, roc_auc_score
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer

from sklearn_analytic import ClosedFormMLP, FeatureImportanceDisplay

QUICK = bool(os.environ.get("SKLEARN_ANALYTIC_QUICK"))  # small data, for tests

# %%
# A messy file
# ------------
#
# The file is generated, so that we know what matters: the plan, the region, the town, the fee, how long the customer
# has stayed, whether they pay by invoice, and *whether* the age is missing. Chance does the rest.

n = 600 if QUICK else 5000
rng = np.random.default_rng(0)
starts = ["Ash", "Bar", "Clay", "Dun", "East", "Fair", "Gil", "Hart", "King", "Lang"]
starts += ["Mar", "New", "Oak", "Red", "Sea"]
ends = ["bourne", "bury", "field", "ford", "ham", "ley", "mouth", "stead", "ton", "worth"]
towns = np.array([start + end for start in starts for end in ends])
plans = ["basic", "Basic", " basic", "family", "Family ", "FAMILY", "student", "Student"]

days, region = rng.integers(0, 2000, n), rng.integers(0, 8, n)
town = rng.geometric(0.02, n) % 150
since = pd.Timestamp("2025-01-01") - pd.to_timedelta(days, unit="D")
table = pd.DataFrame({"since": since})
table["age"] = np.where(rng.random(n) < 0.15, np.nan, rng.integers(18, 85, n))
table["fee"] = rng.gamma(4, 6, n).round(2)
table["plan"] = rng.choice(plans, n)
table["payment"] = rng.choice(["card", "debit", "invoice", ""], n)
table["town"], table["region"] = towns[town], 11 + 10 * region

score = rng.normal(0, 0.9, 150)[town] + 0.05 * (table["fee"] - 24)
score += np.array([1.0, -0.9, 0.8, -0.4, -1.0, 0.6, -0.2, 0.1])[region] - (days > 900)
score += 1.0 * table["plan"].isin(plans[:3]) + 0.5 * (table["payment"] == "invoice")
score += 1.2 * table["age"].isna()
table["cancelled"] = np.where(score + rng.logistic(0, 0.7, n) > 0.3, "yes", "no")
table.loc[rng.random(n) < 0.1, "fee"] = np.nan

folder = tempfile.TemporaryDirectory()
path = Path(folder.name, "subscriptions.csv")
table.to_csv(path, index=False)
print(path.read_text()[:250], "...")

# %%
# pandas reads empty cells as missing. ``parse_dates`` makes dates of the first column; without it, the dates would be
# text, a category with a level for every day.

table = pd.read_csv(path, parse_dates=["since"])
table.head(6)

# %%
# Four lines to a model
# ---------------------
#
# No imputer, no encoder, no scaler: a missing number becomes the median and an indicator beside it, the levels of a
# short column of text become indicators, and a town becomes the smoothed mean of the target. Only the date stays out,
# for now. The last line gives the probabilities of "no" and "yes" for three customers whom the fit has not seen.

X, y = table.drop(columns=["since", "cancelled"]), table["cancelled"]
X_train, X_test, y_train, y_test = train_test_split(X, y, random_state=0)
model = ClosedFormMLP(random_state=0).fit(X_train, y_train)
model.predict_proba(X_test.head(3)).round(3)

# %%
# Is it any good?
# ---------------
#
# The same rows go to gradient boosting of scikit-learn, with its defaults. It reads missing values, too, but text
# has to be of the dtype ``category``. Higher is better for accuracy and the area under the ROC curve (AUC), lower for
# log-loss, which judges the probabilities. One generated file shows how to compare, not which method is better: that
# is a matter of many data sets (:doc:`/user_guide/closed_form` has them).

texts = ["plan", "payment", "town"]
as_category = X.astype(dict.fromkeys(texts, "category"))
boosting = HistGradientBoostingClassifier(random_state=0)
boosting.fit(as_category.loc[X_train.index], y_train)
chances = {
    "ClosedFormMLP": model.predict_proba(X_test)[:, 1],
    "HistGradientBoosting": boosting.predict_proba(as_category.loc[X_test.index])[:, 1],
}
print(f"{'':22s} accuracy  log-loss     AUC")
for name, p in chances.items():
    right, auc = accuracy_score(y_test == "yes", p > 0.5), roc_auc_score(y_test, p)
    print(f"{name:22s} {right:8.3f} {log_loss(y_test, p):9.3f} {auc:7.3f}")

# %%
# Can the probabilities be believed?
# ----------------------------------
#
# Each point is a tenth of the test rows. On the diagonal, a predicted probability of 0.3 means that three of ten
# cancel. The network stays near it. Boosting with its defaults is too sure of itself on so few rows: its points lie
# above the diagonal on the left, and below it on the right.

figure, axes = plt.subplots(figsize=(5.2, 4.6), layout="constrained")
options = {"n_bins": 10, "strategy": "quantile", "pos_label": "yes", "ax": axes}
for (name, p), color in zip(chances.items(), ["#0072B2", "#009E73"], strict=True):
    CalibrationDisplay.from_predictions(y_test, p, name=name, color=color, **options)
axes.set(xlabel="predicted probability of a cancellation", ylabel="share that cancelled")
axes.legend(loc="upper left", frameon=False)
plt.show()

# %%
# Which columns does it use?
# --------------------------
#
# Importances are those of the columns of the table, whatever became of them inside. The region comes first, the
# payment last.

display = FeatureImportanceDisplay.from_estimator(model, color="#0072B2")
display.ax_.set_title("")
plt.show()

# %%
# What does it say to wrong input?
# --------------------------------
#
# A date, a column under another name, and text where the fit saw numbers are errors that name the column.

wrong = {
    "a date": lambda: ClosedFormMLP().fit(table.drop(columns="cancelled"), y),
    "another name": lambda: model.predict(X_test.rename(columns={"fee": "price"})),
    "another type": lambda: model.predict(X_test.assign(fee="24 euros")),
}
for what, call in wrong.items():
    try:
        call()
    except ValueError as error:
        for line in f"{what}: {error}".splitlines():
            print(textwrap.fill(line, 88))

# %%
# A search in a pipeline
# ----------------------
#
# Now the date becomes two numbers, the year with its fraction and the month, and each plan gets one name. This is the
# first step of a pipeline, so that whoever uses the model gives it the raw table. The codes of the regions are numbers
# to the model unless we name the column as a category: a search decides between the two. Both steps help.


def tidy(table):
    """The table with numbers in place of the date, and one name for each plan."""
    since = pd.to_datetime(table["since"])
    table = table.assign(since=since.dt.year + since.dt.month / 12, month=since.dt.month)
    return table.assign(plan=table["plan"].str.strip().str.lower())


raw = table.drop(columns="cancelled")
raw_train, raw_test = raw.loc[X_train.index], raw.loc[X_test.index]
network = ClosedFormMLP(random_state=0)
pipeline = Pipeline([("tidy", FunctionTransformer(tidy)), ("mlp", network)])
grid = {"mlp__categorical_features": ["from_dtype", [*texts, "region"]]}
search = GridSearchCV(pipeline, grid, cv=3, scoring="roc_auc").fit(raw_train, y_train)
readings = zip(("number", "category"), search.cv_results_["mean_test_score"], strict=True)
for reading, auc in readings:
    print(f"region as a {reading:8s} {auc:.3f} AUC in cross-validation")
chances["pipeline"] = search.predict_proba(raw_test)[:, 1]
for what, name in (("four lines", "ClosedFormMLP"), ("pipeline", "pipeline")):
    print(f"{what:20s} {roc_auc_score(y_test, chances[name]):.3f} AUC on the test rows")

# %%
# Save and load
# -------------
#
# joblib keeps the whole pipeline, and what is loaded predicts the same. Another program that loads the file needs the
# function ``tidy``, too: put it into a module that both import.

kept = Path(folder.name, "subscriptions.joblib")
joblib.dump(search.best_estimator_, kept)
loaded = joblib.load(kept)
same = np.array_equal(loaded.predict_proba(raw_test), search.predict_proba(raw_test))
print(f"{kept.stat().st_size / 1e6:.1f} MB, the same probabilities: {same}")

# %%
# Serve it
# --------
#
# A server of the standard library is enough to see the model at work: a row comes as JSON, the probability goes back.
# This customer lives in a town that is not in the file, and gave no age. The town is read as the mean of all rows, the
# age as a missing value.


class Subscriptions(BaseHTTPRequestHandler):
    """One row as JSON in, the probability that it is cancelled out."""

    def do_POST(self):
        """Answer one request."""
        row = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        answer = {"cancelled": float(loaded.predict_proba(pd.DataFrame([row]))[0, 1])}
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(json.dumps(answer).encode())

    def log_message(self, *args):
        """Print no line for each request."""


row = {"since": "2023-05-17", "age": None, "fee": 31.5, "plan": "Basic", "payment": "card"}
row |= {"town": "Nowhere-on-Sea", "region": 31}
with HTTPServer(("127.0.0.1", 0), Subscriptions) as server:  # port 0: any that is free
    threading.Thread(target=server.serve_forever, daemon=True).start()
    request = Request(f"http://127.0.0.1:{server.server_port}", json.dumps(row).encode())
    without_proxy = build_opener(ProxyHandler({}))
    with without_proxy.open(request) as response:
        served = json.load(response)["cancelled"]
    server.shutdown()
print(f"answer: {served:.4f}")

# %%
# Without Python
# --------------
#
# ``to_onnx`` writes the network with its medians, levels and means as one graph that runs wherever ONNX does. It has an
# input for each column. The first step of the pipeline is not part of it: whoever calls the graph tidies the row. Its
# answer is that of the server.

try:
    import onnxruntime
except ImportError:
    print("Skipped: onnxruntime is not installed (pip install onnx onnxruntime).")
else:
    graph = loaded["mlp"].to_onnx().SerializeToString()
    session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
    columns = tidy(pd.DataFrame([row]))
    types = dict.fromkeys(columns, "float32") | dict.fromkeys(texts, object)
    fed = {name: columns[[name]].to_numpy(types[name]) for name in columns}
    in_onnx = session.run(["probabilities"], fed)[0][0, 1]
    print(f"ONNX: {in_onnx:.4f}, the server: {served:.4f}; {len(graph) / 1e6:.1f} MB")

folder.cleanup()
