"""The summary of ``accuracy.py``: from raw rows to one line per contender."""

import numpy as np
from _common import geometric_mean, markdown_table, mean
from scipy.stats import rankdata

SPEED_REFERENCE = "mlp"
LOSS_REFERENCES = ("lightgbm", "lightgbm_mcw1")
COLUMNS = {
    "contender": ("contender", "s"),
    "sets": ("n_sets", "d"),
    "accuracy": ("mean_accuracy", ".4f"),
    "accuracy, common sets": ("mean_accuracy_common", ".4f"),
    "log-loss": ("mean_log_loss", ".4f"),
    "log-loss - LightGBM's": ("log_loss_minus_lightgbm", "+.4f"),
    "log-loss - LightGBM's (mcw 1)": ("log_loss_minus_lightgbm_mcw1", "+.4f"),
    "fit s (geo. mean)": ("fit_seconds", ".3f"),
    "fit / MLP's": ("fit_ratio", ".3f"),
    "predict s (geo. mean)": ("predict_seconds", ".4f"),
    "mean rank": ("mean_rank", ".2f"),
}


def summarise(rows):
    """One record per contender. Seeds are averaged first, then data sets.

    Log-loss is averaged over the sets where that contender and LightGBM both have one, time
    ratios over the sets where that contender and the MLP both finished, `mean_accuracy` over
    a contender's own sets and `mean_accuracy_common` over the sets that everyone finished.
    Contenders with no score at all do not shrink the common sets.
    """
    names = list(dict.fromkeys(row["contender"] for row in rows))
    table = {name: _by_set(rows, name) for name in names}
    ranks = _ranks(table)
    scored = [sets for sets in (set(_pick(table[name], "accuracy")) for name in names) if sets]
    common = set.intersection(*scored) if scored else set()
    return sorted((_line(name, table, ranks, common) for name in names), key=lambda line: line["mean_rank"])


def _by_set(rows, name):
    """{set: {score: mean over the seeds, None where a seed has none}}"""
    groups = {}
    for row in rows:
        if row["contender"] == name:
            groups.setdefault(row["dataset"], []).append(row)
    keys = ("accuracy", "log_loss", "fit_seconds", "predict_seconds")
    return {
        dataset: {key: _complete_mean([row[key] for row in group]) for key in keys} for dataset, group in groups.items()
    }


def _complete_mean(values):
    return None if None in values else mean(values)


def _pick(sets, key):
    return {name: scores[key] for name, scores in sets.items() if scores[key] is not None}


def _line(name, table, ranks, common):
    accuracy = _pick(table[name], "accuracy")
    fit = _pick(table[name], "fit_seconds")
    return {
        "contender": name,
        "n_sets": len(accuracy),
        "n_failed": len(table[name]) - len(accuracy),
        "n_common": len(common),
        "mean_accuracy": mean(accuracy.values()),
        "mean_accuracy_common": mean(value for key, value in accuracy.items() if key in common),
        "fit_seconds": geometric_mean(fit.values()),
        "fit_ratio": _ratio(fit, _pick(table.get(SPEED_REFERENCE, {}), "fit_seconds")),
        "predict_seconds": geometric_mean(_pick(table[name], "predict_seconds").values()),
        "mean_rank": mean(ranks[name]),
    } | _losses(name, table)


def _ratio(fit, reference):
    return geometric_mean(fit[key] / reference[key] for key in fit if key in reference)


def _losses(name, table):
    """Mean log-loss, and the difference to each LightGBM on the sets that both have."""
    own = _pick(table[name], "log_loss")
    others = {key: _pick(table.get(key, {}), "log_loss") for key in LOSS_REFERENCES}
    shared = [key for key in own if key in others["lightgbm"]] if others["lightgbm"] else list(own)
    line = {"mean_log_loss": mean(own[key] for key in shared), "n_log_loss": len(shared)}
    for reference, other in others.items():
        gaps = [own[key] - other[key] for key in own if key in other]
        line[f"log_loss_minus_{reference}"] = mean(gaps)
    return line


def _ranks(table):
    """Ranks by accuracy in every set, ties shared; a failure ranks last."""
    ranks = {name: [] for name in table}
    for dataset in dict.fromkeys(key for sets in table.values() for key in sets):
        here = [name for name in table if dataset in table[name]]
        scores = [table[name][dataset]["accuracy"] for name in here]
        order = rankdata([np.inf if score is None else -score for score in scores])
        for name, rank in zip(here, order, strict=True):
            ranks[name].append(float(rank))
    return ranks


def report(record):
    """Markdown: settings, the summary table, and every failure."""
    sets = dict.fromkeys(row["dataset"] for row in record["rows"])
    failed = [row for row in record["rows"] if row["error"]]
    lines = [f"Data sets ({len(sets)}): {', '.join(sets)}.", "", f"Settings: {record['settings']}."]
    lines += ["", markdown_table(record["summary"], COLUMNS)]
    lines += [f"Without a score: {len(failed)}", ""] if failed else []
    lines += [f"* {row['dataset']}, {row['contender']}: {row['error']}" for row in failed]
    return "\n".join(lines).rstrip() + "\n"
