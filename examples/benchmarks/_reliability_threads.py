"""Four threads at once: estimators of their own that fit, and one estimator that answers all of them."""

import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from _reliability_bits import MODELS, digest, fitted, rows
from _reliability_ledger import Ledger, described

from tests.checks import predictions

THREADS = 4


def run(seed, seconds, cases=None):
    """Rounds over all estimators: fits apart, and predictions of one."""
    ledger, number = Ledger("threads"), 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        while ledger.seconds() < seconds and (cases is None or number < cases):
            for name in MODELS:
                for law in LAWS:
                    trial(ledger, law, name, seed + THREADS * number)
            number += 1
    ledger.details = [{"comparison": law, "trials": count} for law, count in sorted(ledger.outcomes.items())]
    return ledger


def repeat(case):
    """One round again."""
    ledger = Ledger("threads")
    law, name, seed = case.split(":")
    trial(ledger, law, name, int(seed))
    return ledger


def trial(ledger, law, name, seed):
    """One comparison."""
    try:
        faults = LAWS[law](name, seed)
    except Exception as error:
        faults = [described(error)]
    ledger.trial(f"{law}:{name}:{seed}", law, faults)


def _together(function, arguments):
    with ThreadPoolExecutor(THREADS) as pool:
        return list(pool.map(function, arguments))


def _apart(name, seed):
    """Fits of four estimators at once are those in turn, bit for bit."""
    seeds = range(seed, seed + THREADS)
    here, there = [digest(name, s) for s in seeds], _together(lambda s: digest(name, s), seeds)
    return [f"the fit of seed {s} differs" for s, one, two in zip(seeds, here, there, strict=True) if one != two]


def _shared(name, seed):
    """One fitted estimator gives every thread what it gives alone."""
    model = fitted(name, seed)
    X = rows(model, seed)[0]
    parts = np.array_split(X, THREADS)
    here = [predictions(model, part) for part in parts]
    there = _together(lambda part: predictions(model, part), parts)
    pairs = [(one[key], two[key]) for one, two in zip(here, there, strict=True) for key in one]
    return [] if all(np.array_equal(one, two) for one, two in pairs) else ["a prediction differs"]


LAWS = {"fits apart": _apart, "predictions of one": _shared}
