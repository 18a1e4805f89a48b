"""Forgetting: how exactly rows leave, how long it takes, and whether a byte of them stays."""

import pickle
from copy import copy
from dataclasses import replace

import numpy as np
from _common import median
from _one_statistic_common import answers, clocked, contenders, difference, rotated, rows_of, statistic_of

SETS = ("page_blocks", "nursery", "elevators", "power_plant")
NUMBERS = ("elevators", "power_plant", "diabetes")
QUICK = ("breast_cancer", "diabetes")
SHARES = (0.01, 0.1, 0.5)
LOOKED_FOR = 20  # rows in pickles


def measured(folder, seeds, most, quick):
    """A record for every set, contender, seed, share of rows, and whether these came later or with the fit."""
    records = []
    for number, name in enumerate(QUICK if quick else SETS):
        for seed in seeds:
            rows, shares = rows_of(name, folder, seed, most), (0.1,) if quick else SHARES
            for contender, make in rotated(contenders(quick, name in NUMBERS), number).items():
                place = {"set": name, "contender": contender, "seed": seed}
                found = [*later(make, seed, shares, *rows), *of_fit(make, seed, shares, *rows)]
                records += [place | one for one in found]
    return records


def later(make, seed, shares, X, X_test, y, y_test):
    """Rows that came later leave again, for every share; against a model that never had them, on the same layers."""
    first = len(X) // 3
    base = make(seed).fit(X[:first], y[:first])
    X, y, labels = X[first:], y[first:], {"classes": base.classes_} if hasattr(base, "classes_") else {}
    known = np.isin(y, base.classes_) if labels else np.ones(len(y), dtype=bool)
    X, y = X[known], y[known]
    for share in shares:
        gone = np.arange(len(y)) < round(share * len(y))
        fresh = base.shard if hasattr(base, "shard") else lambda: make(seed)
        model = fresh().partial_fit(X, y, **({} if hasattr(base, "shard") else labels))
        never = fresh().partial_fit(X[~gone], y[~gone], **({} if hasattr(base, "shard") else labels))
        before = pickle.dumps(model)
        had = pickle.loads(before)
        with clocked() as seconds:
            model.forget(X[gone], y[gone])
        with clocked() as refitted:
            make(seed).fit(X[~gone], y[~gone])
        yield {
            "rows": "later",
            "share": share,
            "n_forgotten": int(gone.sum()),
            "sums": of_sums(model, never),
            "predictions": difference(answers(model, X_test), answers(never, X_test)),
            "same_audit": difference(answers(model, X_test), answers(judged_like(never, model), X_test)),
            "score": model.score(X_test, y_test),
            "expected_score": never.score(X_test, y_test),
            "cpu_seconds": seconds[1],
            "refit_cpu_seconds": refitted[1],
            **found_in(had, before, pickle.dumps(model), X[gone], X[~gone]),
        }


def of_fit(make, seed, shares, X, X_test, y, y_test):
    """Rows of a whole fit leave at once, and in two parts; a fit without them has layers of its own."""
    fitted = pickle.dumps(make(seed).fit(X, y))
    for share in shares:
        rows = np.random.default_rng(seed).permutation(len(y))[: round(share * len(y))]
        rest = np.setdiff1d(np.arange(len(y)), rows)
        once, twice = pickle.loads(fitted), pickle.loads(fitted)
        with clocked() as seconds:
            once.forget(X[rows], y[rows])
        cut = len(rows) // 2
        twice.forget(X[rows[cut:]], y[rows[cut:]]).forget(X[rows[:cut]], y[rows[:cut]])
        with clocked() as refitted:
            again = make(seed).fit(X[rest], y[rest])
        yield {
            "rows": "of the fit",
            "share": share,
            "n_forgotten": len(rows),
            "sums": of_sums(once, twice),
            "predictions": difference(answers(once, X_test), answers(twice, X_test)),
            "score": once.score(X_test, y_test),
            "expected_score": again.score(X_test, y_test),
            "cpu_seconds": seconds[1],
            "refit_cpu_seconds": refitted[1],
        }


def judged_like(model, other):
    """A network that has chosen on the audit rows of another one; a linear model as it is."""
    if not hasattr(model, "shard"):
        return model
    audit, chosen = other._learned.judges.audit, copy(model)
    judges = replace(model._learned.judges, audit=audit)
    return chosen._keep(chosen._checked_method(), replace(model._learned, judges=judges))


def of_sums(one, other):
    """The largest difference of two scatter matrices, in deviations of their columns."""
    found, expected = (statistic_of(model).as_normal().scatter for model in (one, other))
    size = np.sqrt(np.maximum(np.diag(expected), np.finfo(float).tiny))
    size[size < 1e-9 * size.max()] = np.inf  # constant columns
    return float(np.max(np.abs(found - expected) / size[:, None] / size))


def found_in(model, before, after, gone, left):
    """Bytes of forgotten rows, of some that the model kept as they are, that its pickles held and hold.

    None of rows of zeros and ones: the end of one kept row and the beginning of the next may spell them.
    """
    if len(np.unique(gone)) < 3:
        return {}
    beside = model._learned.judges.audit if hasattr(model, "shard") else model._learned.statistic.rows
    twins, kept = ({row.tobytes() for row in rows} for rows in (left, beside.x))
    pieces = sorted(({row.tobytes() for row in gone} & kept) - twins)[:LOOKED_FOR]
    found = [sum(len(piece) for piece in pieces if piece in data) for data in (before, after)]
    return dict(zip(("bytes_before", "bytes_after"), found, strict=True))


def summarised(records):
    """A record for every set, contender, kind of rows and share: medians over the seeds, the largest differences."""
    found = {}
    for record in records:
        found.setdefault(tuple(record[key] for key in ("set", "contender", "rows", "share")), []).append(record)
    summary = []
    for (name, contender, kind, share), rows in found.items():
        middle = {key: median([row[key] for row in rows]) for key in ("score", "expected_score", "cpu_seconds")}
        n_rows = rows[0]["n_forgotten"]
        refit = median([row["refit_cpu_seconds"] for row in rows])
        line = {"set": name, "contender": contender, "rows": kind, "share": share, "n_forgotten": n_rows}
        line |= middle | {"ms_per_1000": 1e6 * middle["cpu_seconds"] / n_rows, "refit_cpu_seconds": refit}
        line |= {"ms": 1e3 * middle["cpu_seconds"], "times_refit": refit / middle["cpu_seconds"]}
        for key in ("sums", "predictions", "same_audit"):
            line[key] = max((row[key] for row in rows if key in row), default=None)
        for key in ("bytes_before", "bytes_after"):
            line[key] = sum(row[key] for row in rows) if all(key in row for row in rows) else None
        summary.append(line)
    return summary
