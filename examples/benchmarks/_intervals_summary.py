"""Means over the rows of ``intervals.py``, what was aimed at, and both as Markdown."""

import numpy as np
from _common import geometric_mean, markdown_table, mean
from _intervals_contenders import INTERVALS, SETS

OWN = "closed_form"
SAME = {"closed_form": "closed_form_cv_plus", "brmp_linear": "brmp_linear_cv_plus"}  # the same estimator, refitted
PEERS_OF_OWN = ("lightgbm_cv_plus", "lightgbm_quantiles", "lightgbm_quantiles_split", "brmp_linear_cv_plus")
BY_CLASS = ("closed_form", "closed_form_by_class")
MOST_OFF, MOST_TIME = 0.01, 0.1  # of the coverage, and of the time of refits

INTERVAL_COLUMNS = {
    "intervals": ("contender", "s"),
    "coverage": ("coverage", ".4f"),
    "thirds off": ("thirds_off", ".4f"),
    "width": ("width", ".3f"),
    "interval score": ("interval_score", ".3f"),
    "score / ours": ("score_ratio", ".3f"),
    "fit, s": ("fit_cpu_seconds", ".2f"),
    "intervals, s": ("answer_cpu_seconds", ".3f"),
}
REFIT_COLUMNS = {
    "estimator": ("contender", "s"),
    "intervals, s": ("own_seconds", ".3f"),
    "refits and intervals, s": ("refit_seconds", ".3f"),
    "ratio of means": ("ratio", ".3f"),
    "geometric mean": ("geometric_ratio", ".3f"),
    "largest": ("largest_ratio", ".3f"),
}
EQUAL_COLUMNS = {
    "data set": ("dataset", "s"),
    "rows": ("n_train", "d"),
    "largest difference": ("largest_difference", ".1e"),
    "closed form, s": ("closed_form_cpu_seconds", ".3f"),
    "refits, s": ("refits_cpu_seconds", ".2f"),
}
SET_COLUMNS = {
    "sets": ("contender", "s"),
    "asked": ("asked", ".2f"),
    "sets of data": ("n_rows", "d"),
    "coverage": ("coverage", ".4f"),
    "mean class": ("mean_class", ".4f"),
    "worst class": ("worst_class", ".4f"),
    "size": ("size", ".3f"),
    "one class": ("singletons", ".3f"),
    "none": ("empty", ".3f"),
    "fit, s": ("fit_cpu_seconds", ".2f"),
    "sets, s": ("answer_cpu_seconds", ".3f"),
}
SECONDS = ("fit_seconds", "answer_seconds", "fit_cpu_seconds", "answer_cpu_seconds")


def summarise(record):
    """All means."""
    regression = done(record.get("regression", []))
    intervals, refits = interval_means(regression), refit_times(regression)
    classification = done(record.get("classification", []))
    return {
        "intervals": intervals,
        "refits": refits,
        "sets": set_means(classification),
        "by_class": set_means(common(classification, BY_CLASS)),
        "targets": targets(intervals, refits),
    }


def done(rows):
    """Rows without an error."""
    return [row for row in rows if row["error"] is None]


def names_of(rows):
    """Contenders of rows, in the order in which they are declared."""
    found = {row["contender"] for row in rows}
    return [name for name in dict.fromkeys([*INTERVALS, *SETS]) if name in found]


def place(row):
    """The split that a row is of."""
    return row["dataset"], row["seed"]


def interval_means(rows):
    """A record for each contender, means over data sets and seeds."""
    own = {place(row): row for row in rows if row["contender"] == OWN}
    found = []
    for name in names_of(rows):
        mine = [row for row in rows if row["contender"] == name]
        ratios = [r["interval_score"] / own[place(r)]["interval_score"] for r in mine if place(r) in own]
        off = [abs(third - row["asked"]) for row in mine for third in row["coverage_by_size"]]
        keys = ("coverage", "width", "interval_score", *SECONDS)
        means = {key: mean([row[key] for row in mine]) for key in keys}
        far = max(mine, key=lambda row: abs(row["coverage"] - row["asked"]))
        furthest = {"dataset": far["dataset"], "seed": far["seed"], "coverage": far["coverage"]}
        line = {"contender": name, "n_rows": len(mine), "thirds_off": mean(off), "score_ratio": geometric_mean(ratios)}
        found.append(line | means | {"furthest": furthest})
    return found


def refit_times(rows):
    """Processor seconds beyond the fit: of our intervals, and of CV+ with the same estimator."""
    found = []
    for own, peer in SAME.items():
        fits = {place(row): row for row in rows if row["contender"] == own}
        mates = [(fits[place(row)], row) for row in rows if row["contender"] == peer and place(row) in fits]
        if not mates:
            continue
        ours = np.array([row["answer_cpu_seconds"] for row, _ in mates])
        theirs = np.array([beyond(row, mate) for row, mate in mates])
        ratios = ours / theirs
        line = {"contender": own, "own_seconds": float(ours.mean()), "refit_seconds": float(theirs.mean())}
        line |= {"ratio": float(ours.sum() / theirs.sum()), "geometric_ratio": geometric_mean(ratios)}
        found.append(line | {"largest_ratio": float(ratios.max())})
    return found


def beyond(row, mate):
    """Seconds of a peer with its intervals, without the one fit that both need."""
    return max(mate["fit_cpu_seconds"] - row["fit_cpu_seconds"], 1e-9) + mate["answer_cpu_seconds"]


def set_means(rows):
    """A record for each coverage and contender."""
    found = []
    for asked in sorted({row["asked"] for row in rows}):
        at = [row for row in rows if row["asked"] == asked]
        for name in names_of(at):
            mine = [row for row in at if row["contender"] == name]
            keys = ("coverage", "mean_class", "worst_class", "size", "singletons", "empty", *SECONDS)
            means = {key: mean([row[key] for row in mine]) for key in keys}
            found.append({"contender": name, "asked": asked, "n_rows": len(mine)} | means)
    return found


def common(rows, names):
    """Rows of the named contenders where all of them have an answer: by class, sets need more rows."""
    rows = [row for row in rows if row["contender"] in names]
    have = [(*place(row), row["asked"]) for row in rows]
    return [row for row, key in zip(rows, have, strict=True) if have.count(key) == len(names)]


def targets(intervals, refits):
    """What was aimed at, what came out, and whether it was met."""
    by_name = {line["contender"]: line for line in intervals}
    if OWN not in by_name:
        return []
    own = by_name[OWN]
    found = [
        aim(f"{OWN}: mean coverage within {MOST_OFF} of 0.9", own["coverage"], abs(own["coverage"] - 0.9) <= MOST_OFF)
    ]
    peers = {name: by_name[name]["interval_score"] for name in PEERS_OF_OWN if name in by_name}
    if peers:
        best = min(peers, key=peers.get)
        said = f"{OWN}: mean interval score no worse than {peers[best]:.4f} of {best}, the best peer"
        found.append(aim(said, own["interval_score"], own["interval_score"] <= peers[best]))
    if SAME[OWN] in by_name:
        theirs = by_name[SAME[OWN]]["interval_score"]
        said = f"{OWN}: mean interval score no worse than {theirs:.4f} of {SAME[OWN]}, which refits it"
        found.append(aim(said, own["interval_score"], own["interval_score"] <= theirs))
    for line in refits:
        said = f"{line['contender']}: intervals in {MOST_TIME} of the time of CV+ refits at most"
        found.append(aim(said, line["ratio"], line["ratio"] <= MOST_TIME))
    return found


def aim(said, value, met):
    """One line of what was aimed at."""
    return {"target": said, "value": value, "met": bool(met)}


# ------------------------------------------------------------------ Markdown


def report(record):
    """The tables, what was aimed at, and what did not run."""
    summary = record["summary"]
    parts = [
        markdown_table(rows, columns)
        for rows, columns in (
            (summary["intervals"], INTERVAL_COLUMNS),
            (summary["refits"], REFIT_COLUMNS),
            (done(record.get("equal_fits", [])), EQUAL_COLUMNS),
            (summary["sets"], SET_COLUMNS),
            (summary["by_class"], SET_COLUMNS),
        )
        if rows
    ]
    parts += [f"* {'met' if t['met'] else 'NOT met'}: {t['target']} ({t['value']:.4f})" for t in summary["targets"]]
    rows = [row for key in ("regression", "equal_fits", "classification") for row in record.get(key, [])]
    return "\n".join([*parts, "", *dict.fromkeys(failure(row) for row in rows if row["error"])])


def failure(row):
    """A row that has no result, in words."""
    where = [row["dataset"], row.get("contender"), row.get("asked"), f"seed {row['seed']}"]
    return f"* {', '.join(str(part) for part in where if part is not None)}: {row['error']}"
