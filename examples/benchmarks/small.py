"""Small data: processor seconds of default fits of at most 2000 rows, and of answers for a single row.

Contenders take turns in one process, on one thread; figures are medians of ``time.process_time``, with the least beside
them. First fits, which compile or load what is compiled, are not measured. Of ClosedFormMLP the script also says how
much of a fit goes into products, factorisations and trees, which is what no tidying can take away::

    OPENBLAS_NUM_THREADS=1 OMP_NUM_THREADS=1 NUMBA_NUM_THREADS=1 python examples/benchmarks/small.py --json small.json
    python examples/benchmarks/small.py --quick
"""

import argparse
import time
import warnings
from collections import defaultdict
from contextlib import contextmanager
from functools import partial

import numpy as np
from _common import environment, markdown_table, write_json
from scipy.linalg import blas, lapack
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris, make_classification, make_regression
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.neural_network import MLPClassifier, MLPRegressor
from threadpoolctl import threadpool_limits

from sklearn_analytic import (
    BRMPClassifier,
    BRMPRegressor,
    ClosedFormMLP,
    ClosedFormMLPRegressor,
    CPNetClassifier,
)
from sklearn_analytic.backend import trees
from sklearn_analytic.backend._numpy import NumpyBackend

try:
    from lightgbm import LGBMClassifier, LGBMRegressor
except ImportError:
    LGBMClassifier = LGBMRegressor = None

ROWS, FEATURES = 2000, 30
CLASSES = {
    "ClosedFormMLP": partial(ClosedFormMLP, random_state=0),
    "CPNetClassifier": partial(CPNetClassifier, random_state=0),
    "BRMPClassifier": BRMPClassifier,
    "LGBMClassifier": LGBMClassifier and partial(LGBMClassifier, n_jobs=1, verbose=-1),
    "HistGradientBoostingClassifier": partial(HistGradientBoostingClassifier, random_state=0),
    "MLPClassifier": partial(MLPClassifier, random_state=0),
}
NUMBERS = {
    "ClosedFormMLPRegressor": partial(ClosedFormMLPRegressor, random_state=0),
    "BRMPRegressor": BRMPRegressor,
    "LGBMRegressor": LGBMRegressor and partial(LGBMRegressor, n_jobs=1, verbose=-1),
    "HistGradientBoostingRegressor": partial(HistGradientBoostingRegressor, random_state=0),
    "MLPRegressor": partial(MLPRegressor, random_state=0),
}
VERBS = ("predict", "predict_proba", "decision_function")
COLUMNS = {
    "task": ("task", "s"),
    "estimator": ("estimator", "s"),
    "of": ("what", "s"),
    "milliseconds": ("milliseconds", ".3f"),
    "least": ("least", ".3f"),
}
PARTS = {
    "products": [(NumpyBackend, "gram"), (NumpyBackend, "cross"), (NumpyBackend, "matmul")],
    "factorisations": [(lapack, "dpotrf"), (blas, "dtrsm"), (blas, "dgemm")],
    "trees": [
        (trees, name)
        for name in ("draw_rows", "pack_pulls", "grow_tree", "find_leaves", "take_step", "take_softmax_step")
    ],
}


def main():
    options = parse()
    warnings.filterwarnings("ignore")  # networks of scikit-learn that have not converged
    settings = {"repeats": options.repeats, "calls": options.calls, "rows": options.rows, "features": FEATURES}
    record = {"settings": settings, "rows": [], "parts": []}
    with threadpool_limits(1):
        record["environment"] = environment()
        for task, (X, y, contenders) in tasks(options.rows).items():
            models, seconds = fitted(contenders, X, y, options.repeats)
            record["rows"] += rows_of(task, "fit", seconds)
            for verb in VERBS:
                record["rows"] += rows_of(task, verb, single_rows(models, verb, X[:1], options.calls))
            record["parts"].append({"task": task} | parts_of(next(iter(contenders.values())), X, y))
            if options.json:
                write_json(options.json, record)
    print(markdown_table(record["rows"], COLUMNS))
    print(markdown_table(record["parts"], {name: (name, form) for name, form in _forms(record["parts"][0])}))


def parse():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--repeats", type=int, default=9, help="fits of every contender")
    add("--calls", type=int, default=200, help="answers of every contender")
    add("--rows", type=int, default=ROWS, help="of the tables that are made")
    add("--quick", action="store_true")
    add("--json", metavar="PATH")
    options = parser.parse_args()
    if options.quick:
        options.repeats, options.calls, options.rows = 1, 2, 200
    return options


def tasks(n_rows):
    """Tables by name, each with its contenders."""
    found = {
        "iris": (*load_iris(return_X_y=True), CLASSES),
        "breast cancer": (*load_breast_cancer(return_X_y=True), CLASSES),
        "diabetes": (*load_diabetes(return_X_y=True), NUMBERS),
    }
    for n_classes in (2, 5, 10):
        table = make_classification(n_rows, FEATURES, n_informative=12, n_classes=n_classes, random_state=0)
        found[f"{n_rows} x {FEATURES}, {n_classes} classes"] = (*table, CLASSES)
    table = make_regression(n_rows, FEATURES, n_informative=12, noise=20.0, random_state=0)
    return found | {f"{n_rows} x {FEATURES}, numbers": (*table, NUMBERS)}


def fitted(contenders, X, y, repeats):
    """The last models of all contenders that are installed, and the seconds of every fit but the first."""
    contenders = {name: make for name, make in contenders.items() if make is not None}
    models, seconds = {}, {name: [] for name in contenders}
    for _ in range(repeats + 1):
        for name, make in contenders.items():
            model = make()
            start = time.process_time()
            models[name] = model.fit(X, y)
            seconds[name].append(time.process_time() - start)
    return models, {name: values[1:] for name, values in seconds.items()}


def single_rows(models, verb, row, calls):
    """Seconds of every answer for one row, but the first, of the models that give one."""
    asked = {name: getattr(model, verb) for name, model in models.items() if hasattr(model, verb)}
    seconds = {name: [] for name in asked}
    for _ in range(calls + 1):
        for name, answer in asked.items():
            start = time.process_time()
            answer(row)
            seconds[name].append(time.process_time() - start)
    return {name: values[1:] for name, values in seconds.items()}


def rows_of(task, what, seconds):
    """Records of one table."""
    return [
        {
            "task": task,
            "what": what,
            "estimator": name,
            "milliseconds": 1e3 * float(np.median(values)),
            "least": 1e3 * min(values),
        }
        for name, values in seconds.items()
    ]


def parts_of(make, X, y):
    """Milliseconds of one fit, and of its products, factorisations and trees."""
    make().fit(X, y)
    with metered() as seconds:
        start = time.process_time()
        make().fit(X, y)
        whole = time.process_time() - start
    found = {name: 1e3 * seconds[name] for name in PARTS}
    return {"whole": 1e3 * whole} | found | {"rest": 1e3 * whole - sum(found.values())}


@contextmanager
def metered():
    """Add up the seconds of the functions of all parts, calls within calls once."""
    seconds, inside, saved = defaultdict(float), [False], []

    def timed(part, function, *args, **kwargs):
        if inside[0]:
            return function(*args, **kwargs)
        inside[0], start = True, time.process_time()
        try:
            return function(*args, **kwargs)
        finally:
            seconds[part] += time.process_time() - start
            inside[0] = False

    for part, names in PARTS.items():
        for owner, name in names:
            function = getattr(owner, name)
            saved.append((owner, name, function))
            setattr(owner, name, _method(partial(timed, part, function)))
    try:
        yield seconds
    finally:
        for owner, name, function in saved:
            setattr(owner, name, function)


def _method(function):
    """A function that a class binds, as a partial one is not."""
    return lambda *args, **kwargs: function(*args, **kwargs)


def _forms(row):
    """Format of every column of the parts."""
    return [(name, "s" if name == "task" else ".1f") for name in row]


if __name__ == "__main__":
    main()
