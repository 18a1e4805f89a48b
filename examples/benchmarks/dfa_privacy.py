"""What privacy costs: budget against accuracy, for exact and projected errors.

One command trains every method at every budget and prints a Markdown table::

    python examples/benchmarks/dfa_privacy.py --data DIR --json privacy.json
    python examples/benchmarks/dfa_privacy.py --quick      # digits, in seconds

DIR holds pendigits.npz and mnist.npz (see accuracy.py); the environment variable
SKLEARN_ANALYTIC_DATA may name it instead. Without a folder the digits of scikit-learn are used.

Methods: dp_sgd (exact errors), dfa_random and dfa_refresh (projected errors; the refreshed
matrices are products of the noised weights), photonic (a simulation of optical noise on the
projected errors, over an electronic floor). Bounds of the columns and classes are public.

Protocol. delta = 1e-5, hidden layers and expected batch as in the settings of the JSON. The
learning rate is the best of a fixed list on a fifth of the training rows, in seed 0, for every
set, method and budget; the list, all scores of the search and the choice are in the JSON. This
search is NOT privatised: each of its trainings would spend a budget of its own, so the table
compares methods and is no guarantee for a tuned model. Then one fit on all training rows per
seed. "inf" is clipping without noise.
"""

import argparse
import math
import os
import time
import warnings
from pathlib import Path

import numpy as np
from _accuracy_suites import accuracy
from _common import DATA_VARIABLE, data_folder, environment, load, markdown_table, mean, write_json
from sklearn.model_selection import train_test_split
from threadpoolctl import threadpool_limits

from sklearn_analytic import Photonic, PrivateDFAClassifier

BOUNDS = {"pendigits": (0, 100), "mnist": (0, 255), "digits": (0, 16)}
EPSILONS = (0.5, 1.0, 3.0, 8.0, math.inf)
SGD_RATES, ADAM_RATES = (0.02, 0.05, 0.1, 0.2, 0.5), (3e-4, 1e-3, 3e-3, 1e-2)
OPTICAL = {"mechanism": Photonic(floor=1e4), "solver": "adam"}
# {method: (parameters, learning rates)}
METHODS = {
    "dp_sgd": ({"scheme": "backprop"}, SGD_RATES),
    "dfa_random": ({"feedback": "random"}, SGD_RATES),
    "dfa_refresh": ({"feedback": "refresh", "refresh_interval": 1}, SGD_RATES),
    "photonic": (OPTICAL, ADAM_RATES),
}


def main():
    options = parse()
    record = {"settings": settings(options), "environment": environment(), "rows": []}
    with threadpool_limits(options.threads):
        for name in options.sets:
            run_set(name, options, record)
    text = report(record, options)
    print(text)
    if options.markdown:
        Path(options.markdown).write_text(text)


def parse():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--data", metavar="DIR", help="folder of .npz files")
    add("--quick", action="store_true", help="digits, two budgets, few epochs: in seconds")
    add("--sets", nargs="+", choices=BOUNDS)
    add("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    add("--epsilons", nargs="+", type=float)
    add("--seeds", nargs="+", type=int, default=[0, 1, 2])
    add("--hidden", nargs="+", type=int)
    add("--max-iter", type=int, help="epochs; default: 30, quick 8")
    add("--batch-size", type=int, default=256, help="expected")
    add("--accountant", choices=("prv", "rdp"))
    add("--threads", type=int, default=2, help="of BLAS and OpenMP pools")
    add("--json", metavar="PATH")
    add("--markdown", metavar="PATH")
    return completed(parser.parse_args())


def completed(options):
    """Defaults that depend on --quick and on whether there is a folder."""
    quick = options.quick
    bundled = quick or not (options.data or os.environ.get(DATA_VARIABLE))
    options.folder = None if bundled else data_folder(options.data)
    options.sets = options.sets or (["digits"] if bundled else ["pendigits", "mnist"])
    options.epsilons = options.epsilons or list((1.0, math.inf) if quick else EPSILONS)
    options.hidden = options.hidden or ([32, 32] if quick else [128, 128])
    options.max_iter = options.max_iter or (8 if quick else 30)
    options.accountant = options.accountant or ("rdp" if quick else "prv")
    options.seeds = options.seeds[:1] if quick else options.seeds
    return options


def settings(options):
    keys = ("quick", "sets", "methods", "seeds", "hidden", "max_iter", "batch_size", "accountant", "threads")
    rates = {name: methods_rates(name, options) for name in options.methods}
    own = {"learning_rates": rates, "tuning_is_private": False, "delta": 1e-5}
    return {key: getattr(options, key) for key in keys} | own | {"epsilons": [label(e) for e in options.epsilons]}


def methods_rates(name, options):
    """The list of learning rates of one method; every other one in a quick run."""
    return METHODS[name][1][1::2] if options.quick else METHODS[name][1]


def label(epsilon):
    return "inf" if math.isinf(epsilon) else f"{epsilon:g}"


def run_set(name, options, record):
    """Every budget and method of one set; the split is its own or that of seed 0."""
    folder = None if name == "digits" else options.folder
    X, X_test, y, y_test = load(name, folder, 0)
    parts = np.asarray(X, np.float32), np.asarray(X_test, np.float32), y, y_test
    for epsilon in options.epsilons:
        for method in options.methods:
            record["rows"] += measure(name, method, epsilon, parts, options)
            if options.json:
                write_json(options.json, record)


def measure(name, method, epsilon, parts, options):
    """Tune on a fifth of the training rows, then one row per seed; an error becomes the row's text."""
    X, X_test, y, y_test = parts
    inner = train_test_split(X, y, test_size=0.2, random_state=0, stratify=y)
    base = {"dataset": name, "method": method, "epsilon": label(epsilon), "n_train": len(y), "error": None}
    try:
        tried = {
            rate: train(name, method, epsilon, rate, 0, inner[0], inner[1], inner[2], inner[3], options)["accuracy"]
            for rate in methods_rates(method, options)
        }
        best = max(tried, key=tried.get)
        base |= {"learning_rate": best, "tuning": tried}
        rows = [
            base | {"seed": seed} | train(name, method, epsilon, best, seed, X, X_test, y, y_test, options)
            for seed in options.seeds
        ]
    except ValueError as error:  # no noise reaches the budget
        rows = [base | {"error": str(error)[:300], "accuracy": None}]
    print(name, method, label(epsilon), rows[0].get("learning_rate"), rows[0]["accuracy"], flush=True)
    return rows


def train(name, method, epsilon, rate, seed, X, X_test, y, y_test, options):
    """Accuracy, seconds and budget of one fit. Fixed seeds: reproducible, not private."""
    model = PrivateDFAClassifier(
        options.hidden,
        epsilon=epsilon,
        bounds=BOUNDS[name],
        classes=np.unique(y),
        learning_rate_init=rate,
        batch_size=options.batch_size,
        max_iter=options.max_iter,
        accountant=options.accountant,
        random_state=seed,
        **METHODS[method][0],
    )
    start = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # a leak of privacy would make the table untrue
        warnings.filterwarnings("ignore", "random_state is set")  # but for the seeds, which make it reproducible
        model.fit(X, y)
    seconds = time.perf_counter() - start
    spent = {"epsilon_spent": model.epsilon_spent_, "noise_multiplier": model.noise_multiplier_}
    spent |= {"n_steps": model.n_steps_, "fit_seconds": seconds}
    return {"accuracy": accuracy(model, model.predict(X_test), X_test, y_test)} | spent


def report(record, options):
    """A table per set: budgets down, methods across, mean test accuracy over seeds."""
    lines = ["Test accuracy; learning rates tuned without privacy.\n"]
    for name in options.sets:
        found = [
            {"epsilon": label(e)} | {m: mean(scores(record, name, m, label(e))) for m in options.methods}
            for e in options.epsilons
        ]
        columns = {"epsilon": ("epsilon", "")} | {method: (method, ".4f") for method in options.methods}
        lines.append(f"{name}\n\n{markdown_table(found, columns)}")
    return "\n".join(lines)


def scores(record, name, method, epsilon):
    key = (name, method, epsilon)
    return [row["accuracy"] for row in record["rows"] if (row["dataset"], row["method"], row["epsilon"]) == key]


if __name__ == "__main__":
    main()
