"""
What does a fit cost, and what does it score?
=============================================

:class:`~sklearn_analytic.ClosedFormMLP` in four lines, then in a pipeline and a grid search. After that every kind of
estimator of this package beside the models that one would otherwise try: scores and seconds on two sets of classes,
digits and breast cancer, and on diabetes, a regression. The figure at the end shows both.

As a script, ``python examples/plot_01_quickstart.py``, it takes about half a minute on two free cores, and up to a
minute the first time, when loops are compiled.
"""

import os
import sys
import time

import matplotlib.pyplot as plt
from sklearn.compose import TransformedTargetRegressor
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits
from sklearn.decomposition import PCA
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
from sklearn.linear_model import LogisticRegression, RidgeCV
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC, SVR

from sklearn_analytic import (
    BRMPClassifier,
    BRMPRegressor,
    ClosedFormMLP,
    ClosedFormMLPRegressor,
    CPNetClassifier,
    DecoupledMLPClassifier,
    DecoupledMLPRegressor,
    DFAClassifier,
    DFARegressor,
    LayerwiseMLP,
    LayerwiseMLPRegressor,
    warmup,
)

QUICK = bool(os.environ.get("SKLEARN_ANALYTIC_QUICK"))  # small models, for tests

# %%
# Four lines
# ----------
#
# Split, fit, score, probabilities. There is no scaler, learning rate, number of epochs or validation split: the fit
# chooses by leave-one-out.

X, y = load_breast_cancer(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X, y, stratify=y, random_state=0)
model = ClosedFormMLP(random_state=0).fit(X_train, y_train)
print(f"ClosedFormMLP on breast cancer: accuracy {model.score(X_test, y_test):.4f}")
print(f"  P(benign) of three tumours: {model.predict_proba(X_test[:3])[:, 1].round(3)}")

# %%
# In a pipeline and a search
# --------------------------
#
# To scikit-learn it is an ordinary estimator. Here a PCA comes first, and the search chooses how many components to
# keep and which kind of layer to build.

units = 64 if QUICK else 256
X, y = load_digits(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X, y, stratify=y, random_state=0)
network = ClosedFormMLP(2 * units, random_state=0)
pipeline = Pipeline([("pca", PCA(random_state=0)), ("mlp", network)])
grid = {"pca__n_components": [20, 40], "mlp__hidden": ["sampled", "laplace"]}
search = GridSearchCV(pipeline, grid, cv=3).fit(X_train, y_train)
print(f"GridSearchCV on digits: {search.best_params_}")
print(f"  accuracy of the best: {search.score(X_test, y_test):.4f}")

# %%
# The estimators compared
# -----------------------
#
# The first four need no gradient. BRMP is exact least squares, linear or on a random hidden layer, with its ridge
# chosen by generalised cross-validation; CPNet stacks modules of two such layers. The next three take gradient steps,
# but not those of backpropagation: DFA sends the output error straight to every layer, LayerwiseMLP trains one layer
# after the other, and DecoupledMLP trains two modules side by side, each on the error of an older batch. The last four
# are scikit-learn's: a linear model, a support vector machine, a network trained by backpropagation, a random forest.

network = (units, units)
classifiers = {
    "ClosedFormMLP": ClosedFormMLP(random_state=0),
    "BRMP, linear": BRMPClassifier(alpha="gcv"),
    f"BRMP, {units} tanh": BRMPClassifier((units,), alpha="gcv", random_state=0),
    "CPNet": CPNetClassifier(random_state=0),
    "DFA": DFAClassifier(network, random_state=0),
    "LayerwiseMLP": LayerwiseMLP(network, random_state=0),
    "DecoupledMLP": DecoupledMLPClassifier(network, random_state=0),
    "logistic, ridge": LogisticRegression(max_iter=1000),
    "SVM": SVC(C=10),
    "MLP": MLPClassifier(network, early_stopping=True, random_state=0),
    "RandomForest": RandomForestClassifier(random_state=0),
}
by_steps = {"activation": "tanh", "early_stopping": True, "random_state": 0}
network, scaler = MLPRegressor(hidden_layer_sizes=units, **by_steps), StandardScaler()
regressors = {
    "ClosedFormMLP": ClosedFormMLPRegressor(random_state=0),
    "BRMP, linear": BRMPRegressor(alpha="gcv"),
    f"BRMP, {units} tanh": BRMPRegressor((units,), alpha="gcv", random_state=0),
    "DFA": DFARegressor((units,), **by_steps),
    "LayerwiseMLP": LayerwiseMLPRegressor((units,), **by_steps),
    "DecoupledMLP": DecoupledMLPRegressor((units,), **by_steps),
    "logistic, ridge": RidgeCV(),
    "SVM": TransformedTargetRegressor(SVR(), transformer=scaler),
    "MLP": TransformedTargetRegressor(network, transformer=scaler),
    "RandomForest": RandomForestRegressor(random_state=0),
}
print(f"{len(classifiers)} classifiers, {len(regressors)} regressors")

# %%
# Ten digits
# ----------
#
# Scaling counts as fitting. ``warmup`` compiles what is still to be compiled, so that this is not timed.


def measure(title, column, models, X, y, stratify=None):
    """{model: (score, seconds)} on one data set, each row printed once it is there."""
    parts = train_test_split(X, y, stratify=stratify, random_state=0)
    X_train, X_test, y_train, y_test = parts
    ours = [m for m in models.values() if type(m).__module__.startswith("sklearn_analytic")]
    warmup(*ours, X=X_train[:64], y=y_train[:64])
    print(f"{title:18s} {column:>8s}     fit [s]")
    found = {}
    for name, model in models.items():
        start = time.perf_counter()
        fitted = make_pipeline(StandardScaler(), model).fit(X_train, y_train)
        seconds = time.perf_counter() - start
        found[name] = fitted.score(X_test, y_test), seconds
        print(f"  {name:16s} {found[name][0]:8.4f} {seconds:11.4f}", flush=True)
    return found


results = {}
results["digits, accuracy"] = measure("digits", "accuracy", classifiers, X, y, stratify=y)

# %%
# Two kinds of tumour
# -------------------

X, y = load_breast_cancer(return_X_y=True)
found = measure("breast cancer", "accuracy", classifiers, X, y, stratify=y)
results["breast cancer, accuracy"] = found

# %%
# A regression
# ------------
#
# CPNet has no regressor, and the score is R².

X, y = load_diabetes(return_X_y=True)
results["diabetes, R²"] = measure("diabetes", "R2", regressors, X, y)

# %%
# Scores and seconds
# ------------------
#
# Scores are on the left, where right is better; seconds are on the right, on logarithmic axes, where left is cheaper.
# Blue estimators need no gradient, pink ones take steps without backpropagation, grey ones are scikit-learn's.
# ClosedFormMLP is the best on the digits, with one of the slowest fits. On breast cancer the estimators differ by three
# of 143 test rows at most, and on diabetes linear models win.

colors = dict.fromkeys(classifiers, "#7F7F7F")
colors |= dict.fromkeys(list(classifiers)[:4], "#0072B2")
colors |= dict.fromkeys(("DFA", "LayerwiseMLP", "DecoupledMLP"), "#CC79A7")
figure, axes = plt.subplots(3, 2, figsize=(6.4, 9), sharey=True, layout="constrained")
for (left, right), (title, models) in zip(axes, results.items(), strict=True):
    for row, (name, color) in enumerate(colors.items()):
        score, seconds = models.get(name, (None, None))
        if score is not None:
            left.plot(score, row, "o", ms=8, color=color)
            right.plot(seconds, row, "D", ms=6, color=color)
    left.set(title=title, ylim=(len(colors) - 0.5, -0.5))
    right.set(title="fit [s]", xscale="log")
    for axis in (left, right):
        axis.set_yticks(range(len(colors)), list(colors))
        axis.grid(alpha=0.3)
without_display = plt.get_backend().lower() == "agg"
if without_display and "sphinx_gallery" not in sys.modules:
    figure.savefig("quickstart.png", dpi=130)
    print("The figure is in quickstart.png.")
else:
    plt.show()
