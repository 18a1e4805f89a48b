"""Same seed, same bits: in one process, in a fresh one, for any block size where it is promised, for any n_jobs.

Threads of BLAS and block sizes change the order of sums: there the bound is a tolerance, and the largest difference is
written down.
"""

import argparse
import functools
import hashlib
import json
import os
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
from _reliability_fault_kinds import CLOSED, GRADIENT, rows
from _reliability_ledger import Ledger
from sklearn.model_selection import GridSearchCV
from threadpoolctl import threadpool_limits

import sklearn_analytic as sa
from tests.checks import predictions

MODELS = CLOSED | GRADIENT
NEAR = 1e-8  # of the largest output: another order of sums in float64
STEPPED = 1e-3  # of networks in float32, after a few steps on rounding that differs


def run(seed, seconds, cases=None):
    """Every comparison of every estimator, with as many seeds as the time allows."""
    ledger, number = Ledger("reproducibility"), 0
    while ledger.seconds() < seconds and (cases is None or number < cases):
        for name in MODELS:
            for law in LAWS:
                if law not in ONCE or (number == 0 and cases is None):
                    trial(ledger, law, name, seed + number)
        number += 1
    ledger.details = [{"comparison": law, "trials": count} for law, count in sorted(ledger.outcomes.items())]
    return ledger


def repeat(case):
    """One comparison again."""
    ledger = Ledger("reproducibility")
    law, name, seed = case.split(":")
    trial(ledger, law, name, int(seed))
    return ledger


def trial(ledger, law, name, seed):
    """One comparison of one estimator."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        faults = LAWS[law](name, seed)
    if faults is not None:
        ledger.trial(f"{law}:{name}:{seed}", law, faults)


def fitted(name, seed, **blocks):
    """A model of a seed, on rows of a seed; from blocks where their size is given."""
    model = MODELS[name]()
    if "random_state" in model.get_params():
        model.set_params(random_state=seed)
    X, y, weight = rows(model, seed)
    source = sa.Blocks.from_arrays(X, y, weight, **blocks) if blocks else None
    return model.fit(X, y, weight) if source is None else model.fit_blocks(source)


def digest(name, seed):
    """The bits of everything that a model predicts, as text."""
    model = fitted(name, seed)
    values = predictions(model, rows(model, seed)[0])
    return hashlib.sha256(b"".join(np.ascontiguousarray(value).tobytes() for value in values.values())).hexdigest()


def _twice(name, seed):
    return [] if digest(name, seed) == digest(name, seed) else ["two fits differ"]


def _fresh(name, seed):
    """The same in another process."""
    with threadpool_limits(1):
        here = digest(name, seed)
    return [] if _elsewhere(seed)[name] == here else ["another process gives other bits"]


@functools.cache
def _elsewhere(seed):
    """Digests of all models from one fresh process."""
    root = str(Path(__file__).resolve().parents[2])
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))}
    command = [sys.executable, __file__, str(seed)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def _distance(one, two, seed):
    """The largest difference of two models' numbers, of the largest number; or of labels, where there are no others."""
    X = rows(one, seed)[0]
    first, second = predictions(one, X), predictions(two, X)
    numbers = [name for name in first if first[name].dtype.kind == "f"]
    gaps = [np.abs(first[n] - second[n]).max() / max(1.0, np.abs(first[n]).max()) for n in numbers]
    return max(gaps)


def _near(name, one, two, seed, what):
    bound, distance = (NEAR if name in CLOSED else STEPPED), _distance(one, two, seed)
    return [] if distance <= bound else [f"{what}: outputs differ by {distance:.1e}, more than {bound:.0e}"]


def _blas(name, seed):
    with threadpool_limits(1):
        one = fitted(name, seed)
    with threadpool_limits(2):
        two = fitted(name, seed)
    return _near(name, one, two, seed, "1 and 2 threads of BLAS")


def _blocks(name, seed):
    """Closed-form fits are the same for any size of blocks; others take a block as a turn, and promise nothing."""
    if name in GRADIENT:
        return None
    sizes = np.random.default_rng(seed).integers(3, 130, size=2)
    one, two = (fitted(name, seed, block_size=int(size)) for size in sizes)
    return _near(name, one, two, seed, f"blocks of {sizes[0]} and {sizes[1]}")


def _same_blocks(name, seed):
    """The same blocks read ahead or not: the same bits."""
    one, two = (fitted(name, seed, block_size=25, prefetch=prefetch) for prefetch in (0, 2))
    return [] if _distance(one, two, seed) == 0 else ["reading ahead changes bits"]


def _jobs(name, seed):
    """A search over processes finds what a search in turn finds."""
    scores = []
    for jobs in (1, 2):
        model = MODELS[name]().set_params(alpha=0.1)
        X, y, _ = rows(model, seed)
        search = GridSearchCV(model, {"alpha": [0.1, 1.0]}, cv=3, n_jobs=jobs).fit(X, y)
        scores.append(search.cv_results_["mean_test_score"])
    return [] if np.array_equal(*scores) else [f"scores {scores[0]} and {scores[1]}"]


LAWS = {
    "twice": _twice,
    "reading ahead": _same_blocks,
    "block sizes": _blocks,
    "BLAS threads": _blas,
    "fresh process": _fresh,
    "n_jobs": _jobs,
}
ONCE = ("fresh process", "n_jobs")  # they start processes


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("seed", type=int)
    options = parser.parse_args()
    with warnings.catch_warnings(), threadpool_limits(1):
        warnings.simplefilter("ignore")
        print(json.dumps({name: digest(name, options.seed) for name in MODELS}))
