"""Ten thousand calls of partial_fit: does memory grow, or the error against the solution of all rows?

Closed-form sums are compared with the least-squares solution of all rows so far; networks trained by steps with
themselves: wrong answers on rows that they have not seen, early and late.
"""

import time

import numpy as np
from _common import memory_mb
from _reliability_ledger import Ledger

import sklearn_analytic as sa

CALLS, FEW, SAMPLES = 10_000, 300, 20
ROWS, COLUMNS, HELD_OUT = 8, 6, 2_000
GROWTH_MB = 3.0  # resident memory, from the second quarter to the last
ERROR, POINTS = 1e-9, 0.03
STEPS = {"random_state": 0, "batch_size": 8, "learning_rate": "constant"}
MODELS = {
    "brmp gram": lambda: sa.BRMPRegressor(solver="gram", alpha=0.1),
    "brmp qr": lambda: sa.BRMPRegressor(solver="qr", alpha=0.1),
    "dfa": lambda: sa.DFAClassifier((16,), **STEPS),
    "layerwise": lambda: sa.LayerwiseMLP((16, 16), **STEPS),
}


def run(seed, seconds, cases=None):
    """One soak of each; ``cases`` makes it short."""
    ledger = Ledger("soak")
    for name in MODELS:
        trial(ledger, name, seed, CALLS if cases is None else FEW)
    return ledger


def repeat(case):
    """One soak again."""
    ledger = Ledger("soak")
    name, seed, calls = case.split(":")
    trial(ledger, name, int(seed), int(calls))
    return ledger


def trial(ledger, name, seed, calls):
    """One soak: every call counts as a trial."""
    row, faults = soaked(name, seed, calls)
    ledger.details.append(row)
    ledger.trials += calls - 1
    ledger.trial(f"{name}:{seed}:{calls}", "soak", faults)


def block_of(seed, call, classifier, n_rows=ROWS):
    """The rows of one call."""
    generator = np.random.default_rng([seed, call])
    X = generator.standard_normal((n_rows, COLUMNS))
    score = X @ np.arange(1.0, COLUMNS + 1) + generator.standard_normal(n_rows)
    return X, (score > 0).astype(np.int64) if classifier else score


def soaked(name, seed, calls):
    """(row of the report, faults) of one estimator."""
    model, linear = MODELS[name](), name.startswith("brmp")
    options = {} if linear else {"classes": [0, 1]}
    judge = (_LeastSquares if linear else _HeldOut)(seed)
    memory, errors, began = [], [], time.monotonic()
    for call in range(calls):
        X, y = block_of(seed, call, not linear)
        model.partial_fit(X, y, **options)
        judge.see(X, y)
        if (call + 1) % (calls // SAMPLES) == 0:
            memory.append(memory_mb()["rss"])
            errors.append(judge.error(model))
    half = len(memory) // 2
    growth = float(np.median(memory[-half // 2 :]) - np.median(memory[half // 2 : half]))
    row = {"estimator": name, "calls": calls, "growth_mb": round(growth, 2), "first_error": errors[0]}
    row |= {"last_error": errors[-1], "worst_error": max(errors), "us": (time.monotonic() - began) / calls * 1e6}
    faults = [f"memory grew by {growth:.1f} MB"] if growth > GROWTH_MB else []
    return row, faults + judge.faults(errors)


class _LeastSquares:
    """The ridge solution of all rows so far, from sums in extended precision: they take no memory per row."""

    def __init__(self, seed):
        self.sums = np.zeros((COLUMNS + 2, COLUMNS + 2), np.longdouble)  # of [1 | X | y]

    def see(self, X, y):
        """Add the rows of a call."""
        rows = np.column_stack([np.ones(len(X)), X, y]).astype(np.longdouble)
        self.sums += rows.T @ rows

    def error(self, model):
        """Relative error of the coefficients."""
        first = self.sums[0]
        centred = (self.sums - np.outer(first, first) / first[0])[1:, 1:].astype(np.float64)
        exact = np.linalg.solve(centred[:-1, :-1] + 0.1 * np.eye(COLUMNS), centred[:-1, -1])
        return float(np.abs(model.coef_ - exact).max() / np.abs(exact).max())

    def faults(self, errors):
        """An error above the bound, at any time."""
        return [f"error of {max(errors):.1e} against all rows"] if max(errors) > ERROR else []


class _HeldOut:
    """The share of wrong answers on rows of another seed."""

    def __init__(self, seed):
        self.X, self.y = block_of(seed + 1, 0, True, HELD_OUT)

    def see(self, X, y):
        """Nothing to keep."""

    def error(self, model):
        """The share of wrong answers."""
        return float(1 - model.score(self.X, self.y))

    def faults(self, errors):
        """Errors that end above where they were in the second quarter."""
        quarter = max(len(errors) // 4, 1)
        early, late = np.median(errors[quarter : 2 * quarter]), np.median(errors[-quarter:])
        return [f"wrong answers rose from {early:.3f} to {late:.3f}"] if late > early + POINTS else []
