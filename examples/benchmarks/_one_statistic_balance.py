"""Balanced classes in streams, and other priors without data: what it gives, costs and equals."""

import numpy as np
from _common import median
from _one_statistic_common import answers, bytes_of, clocked, contenders, difference, rotated, rows_of, statistic_of
from sklearn.metrics import balanced_accuracy_score, log_loss

SETS = ("ann_thyroid", "page_blocks", "bank_marketing", "musk2", "credit_default", "adult")
QUICK = ("breast_cancer",)
BLOCKS, FIRST = 10, 1000  # of a stream; rows that layers of shards are built from
BALANCED = {"class_weight": "balanced", "class_statistics": True}


def measured(folder, seeds, most, quick):
    """A record for every set, contender and seed."""
    records = []
    for number, name in enumerate(QUICK if quick else SETS):
        for seed in seeds:
            rows = rows_of(name, folder, seed, most)
            for contender, make in rotated(contenders(quick), number).items():
                found = {"set": name, "contender": contender, "seed": seed} | one(make, seed, *rows)
                records.append(found | {"rarest": float(np.bincount(rows[2])[np.unique(rows[2])].min() / len(rows[2]))})
    return records


def one(make, seed, X, X_test, y, y_test):
    """One estimator on one set."""
    balanced, plain = make(seed, **BALANCED), make(seed)
    with clocked() as with_classes:
        stream(balanced, X, y)
    with clocked() as without:
        stream(plain, X, y)
    shares = np.bincount(y)[balanced.classes_] / len(y)
    with clocked() as solved:
        natural = balanced.with_priors(shares)
    whole = make(seed, class_weight="balanced").fit(X, y)
    with clocked() as refitted:
        make(seed).fit(X, y)
    models = {"balanced": balanced, "plain": plain, "whole": whole, "natural": natural}
    scores = {name: scores_of(model, X_test, y_test) for name, model in models.items()}
    sizes = [bytes_of(statistic_of(model)) for model in (balanced, plain)]
    return scores | {
        "seconds": with_classes[0],
        "cpu_seconds": with_classes[1],
        "plain_seconds": without[0],
        "plain_cpu_seconds": without[1],
        "priors_cpu_seconds": solved[1],
        "refit_cpu_seconds": refitted[1],
        "bytes": sizes[0],
        "plain_bytes": sizes[1],
        **differences(make, seed, X, y, X_test),
    }


def stream(model, X, y, blocks=BLOCKS):
    """Give a model its rows in blocks."""
    for rows in np.array_split(np.arange(len(X)), blocks):
        if hasattr(model, "classes_"):
            model.partial_fit(X[rows], y[rows])
        else:
            model.partial_fit(X[rows], y[rows], classes=np.unique(y))
    return model


def scores_of(model, X, y):
    """Balanced accuracy, and the log-loss of estimators that have probabilities."""
    found = {"balanced_accuracy": balanced_accuracy_score(y, model.predict(X))}
    if hasattr(model, "predict_proba"):
        found["log_loss"] = log_loss(y, model.predict_proba(X), labels=model.classes_)
    return found


def differences(make, seed, X, y, X_test):
    """Scores of a balanced stream against rows that bring their weights, at once, on the same layers; and of priors."""
    base = make(seed, **BALANCED)
    if hasattr(base, "shard"):
        first = min(FIRST, len(X) // 2)
        base.fit(X[:first], y[:first])
        streamed, oracle, unweighed = (base.shard() for _ in range(3))
        for model in (oracle, unweighed):
            model.set_params(class_statistics=False, class_weight=None)
        X, y = X[first:], y[first:]
        known = np.isin(y, base.classes_)
        X, y = X[known], y[known]
    else:
        streamed, oracle, unweighed = base, make(seed), make(seed)
    stream(streamed, X, y)
    codes = np.searchsorted(streamed.classes_, y)
    counts = np.bincount(codes, minlength=len(streamed.classes_))
    weights = len(y) / (np.sum(counts > 0) * counts[codes])
    oracle.partial_fit(X, y, sample_weight=weights)
    unweighed.partial_fit(X, y)
    found = {"difference": difference(answers(streamed, X_test), answers(oracle, X_test))}
    if np.all(counts):
        natural = streamed.with_priors(counts / len(y))
        found["priors_difference"] = difference(answers(natural, X_test), answers(unweighed, X_test))
    return found


def summarised(records):
    """A record for every set and contender: medians over the seeds."""
    found = {}
    for record in records:
        found.setdefault((record["set"], record["contender"]), []).append(flat(record))
    summary = []
    for (name, contender), rows in found.items():
        keys = [key for key in rows[0] if key not in ("set", "contender", "seed")]
        middle = {key: median([row.get(key) for row in rows]) for key in keys}
        middle["times"] = middle["cpu_seconds"] / middle["plain_cpu_seconds"]
        middle["times_bytes"] = middle["bytes"] / middle["plain_bytes"]
        middle["times_refit"] = middle["refit_cpu_seconds"] / middle["priors_cpu_seconds"]
        middle |= {"mb": middle["bytes"] / 1e6, "plain_mb": middle["plain_bytes"] / 1e6}
        for key in ("difference", "priors_difference"):  # the largest, not the middle one
            middle[key] = max((row[key] for row in rows if row.get(key) is not None), default=None)
        summary.append({"set": name, "contender": contender} | middle)
    return summary


def flat(record):
    """A record with the entries of its dictionaries beside its own."""
    inner = {f"{key}_{k}": v for key, value in record.items() if isinstance(value, dict) for k, v in value.items()}
    return {key: value for key, value in record.items() if not isinstance(value, dict)} | inner
