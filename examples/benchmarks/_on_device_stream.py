"""Part "stream" of ``on_device.py``: 2,000,000 rows of 256 columns from a generator, never all in memory.

Blocks are taken in turn from four that were drawn before, so that the generator costs nothing. The CPU gets an eighth
of the rows, which is each of the four once; as the device's rows are whole rounds of them, both have the same
least-squares solution (a ridge counts for less on more rows). Rates are rows per second of a whole fit, whatever
passes it takes.
"""

import numpy as np
from _on_device_clock import timed

from sklearn_analytic import Blocks, BRMPRegressor, ClosedFormMLP, CPNetClassifier

POOL, CLASSES = 4, 10
FULL = {"block": 62_500, "rounds": 8, "columns": 256, "units": 512}
QUICK = {"block": 200, "rounds": 2, "columns": 16, "units": 20}


def run(settings, emit):
    """A row per contender: first what the device says, then beside it what the CPU says."""
    device, sizes = settings["device"], QUICK if settings["quick"] else FULL
    pool = drawn(sizes["block"], sizes["columns"])
    for name, (make, target) in contenders(sizes["units"]).items():
        make(device).fit_blocks(source(pool, 1, target, sizes["block"] // 10))  # loads what is needed
        n = sizes["rounds"] * POOL * sizes["block"]
        model, seconds = timed(device, _fit(make, device, pool, sizes["rounds"], target), 1, warm=False)
        row = {"contender": name, "columns": sizes["columns"], "rows_repeat_after": POOL * sizes["block"]}
        row |= {"device_rows": n, "device_s": seconds, "device_rows_per_s": n / seconds}
        row |= {"gb_per_pass": 4e-9 * n * sizes["columns"]}
        emit(row, name)
        emit(row | beside(make, pool, target, row, model, sizes), name)


def drawn(block, columns, seed=0):
    """Four blocks (X, {target: y}): numbers of a linear model with noise, and classes."""
    rng = np.random.default_rng(seed)
    weights = rng.standard_normal((columns, CLASSES)).astype(np.float32) / np.float32(columns**0.5)
    found = []
    for _ in range(POOL):
        X = rng.standard_normal((block, columns), dtype=np.float32) + np.float32(0.5)
        scores = X @ weights
        noise = rng.gumbel(size=scores.shape)
        found.append((X, {"numbers": scores[:, :4] + noise[:, :4], "classes": (3 * scores + noise).argmax(axis=1)}))
    return found


def source(pool, rounds, target, rows=None):
    """Blocks that can be read again and again."""

    def blocks():
        for _ in range(rounds):
            for X, targets in pool:
                yield X[:rows], targets[target][:rows]

    return Blocks.from_iterable(blocks, prefetch=1)


def contenders(units):
    """{name: (a function of the device that makes the estimator, its target)}."""

    def closed_form(precision):
        shared = {"hidden": "random", "alpha": 1.0, "random_state": 0, "precision": precision}
        return lambda device: ClosedFormMLP(units, device=device, **shared)

    return {
        "BRMP, gram": (lambda device: BRMPRegressor(solver="gram", device=device), "numbers"),
        "ClosedFormMLP, float32": (closed_form("float32"), "classes"),
        "CPNet": (lambda device: CPNetClassifier((60,), n_modules=3, random_state=0, device=device), "classes"),
        "BRMP, qr": (lambda device: BRMPRegressor(solver="qr", device=device), "numbers"),
        "ClosedFormMLP, tf32": (closed_form("tf32"), "classes"),
    }


def _fit(make, device, pool, rounds, target):
    return lambda: make(device).fit_blocks(source(pool, rounds, target))


def beside(make, pool, target, row, model, sizes):
    """The CPU's fit of one round, and the largest difference of predictions or scores over the largest of them."""
    n = POOL * sizes["block"]
    make("cpu").fit_blocks(source(pool, 1, target, sizes["block"] // 10))  # compiles
    other, seconds = timed("cpu", _fit(make, "cpu", pool, 1, target), 1, warm=False)
    few = pool[0][0][:1000]
    ours, theirs = (m.predict(few) if target == "numbers" else m.decision_function(few) for m in (model, other))
    found = {"cpu_rows": n, "cpu_s": seconds, "cpu_rows_per_s": n / seconds}
    found["rate_to_cpu"] = row["device_rows_per_s"] / found["cpu_rows_per_s"]
    return found | {"difference": float(np.max(np.abs(ours - theirs)) / np.max(np.abs(theirs)))}
