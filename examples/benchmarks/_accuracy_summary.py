"""The summary of ``accuracy.py``: from raw rows to one line per contender."""

import numpy as np
from _common import geometric_mean, markdown_table, mean
from scipy.stats import rankdata

SPEED_REFERENCE = "mlp"
LOSS_REFERENCES = ("lightgbm", "lightgbm_mcw1")
LARGE = 20_000  # training rows from which the ratio of fit times is also given by itself


def columns(kind):
    """Heading: (key, format); a column without a value in any line is not printed."""
    score, loss = kind.measures()
    title, loss_title = kind.titles
    return {
        "contender": ("contender", "s"),
        "sets": ("n_sets", "d"),
        title: (f"mean_{score}", ".4f"),
        f"{title}, common sets": (f"mean_{score}_common", ".4f"),
        loss_title: (f"mean_{loss}", ".4f"),
        f"{loss_title} - LightGBM's": (f"{loss}_minus_lightgbm", "+.4f"),
        f"{loss_title} - LightGBM's (mcw 1)": (f"{loss}_minus_lightgbm_mcw1", "+.4f"),
        "fit s (geo. mean)": ("fit_seconds", ".3f"),
        "fit / MLP's": ("fit_ratio", ".3f"),
        f"fit / MLP's, n >= {LARGE}": ("fit_ratio_large", ".3f"),
        "fit processor s (geo. mean)": ("fit_cpu_seconds", ".3f"),
        "predict s (geo. mean)": ("predict_seconds", ".4f"),
        "mean rank": ("mean_rank", ".2f"),
    }


def summarise(rows, kind):
    """One record per contender. Seeds are averaged first, then data sets.

    The loss is averaged over the sets where that contender and LightGBM both have one, time
    ratios over the sets where that contender and the MLP both finished, the mean score over
    a contender's own sets and the `common` one over the sets that everyone finished.
    Contenders with no score at all do not shrink the common sets.
    """
    names = list(dict.fromkeys(row["contender"] for row in rows))
    keys = (*kind.measures(), "fit_seconds", "fit_cpu_seconds", "predict_seconds", "n_train")
    table = {name: _by_set(rows, name, keys) for name in names}
    score, _ = kind.measures()
    ranks = _ranks(table, score)
    scored = [sets for sets in (set(_pick(table[name], score)) for name in names) if sets]
    common = set.intersection(*scored) if scored else set()
    return sorted((_line(name, table, ranks, common, kind) for name in names), key=lambda line: line["mean_rank"])


def _by_set(rows, name, keys):
    """{set: {key: mean over the seeds, None where a seed has none}}"""
    groups = {}
    for row in rows:
        if row["contender"] == name:
            groups.setdefault(row["dataset"], []).append(row)
    return {
        dataset: {key: _complete_mean([row.get(key) for row in group]) for key in keys}
        for dataset, group in groups.items()
    }


def _complete_mean(values):
    return None if None in values else mean(values)


def _pick(sets, key):
    return {name: scores[key] for name, scores in sets.items() if scores[key] is not None}


def _line(name, table, ranks, common, kind):
    score, loss = kind.measures()
    scores = _pick(table[name], score)
    return (
        {
            "contender": name,
            "n_sets": len(scores),
            "n_failed": len(table[name]) - len(scores),
            "n_common": len(common),
            f"mean_{score}": mean(scores.values()),
            f"mean_{score}_common": mean(value for key, value in scores.items() if key in common),
        }
        | _times(name, table)
        | {"mean_rank": mean(ranks[name])}
        | _losses(name, table, loss)
    )


def _times(name, table):
    """Geometric means of the seconds, and of the ratio to the MLP on all and on large sets."""
    fit = _pick(table[name], "fit_seconds")
    large = {key: seconds for key, seconds in fit.items() if table[name][key]["n_train"] >= LARGE}
    reference = _pick(table.get(SPEED_REFERENCE, {}), "fit_seconds")
    return {
        "fit_seconds": geometric_mean(fit.values()),
        "fit_ratio": _ratio(fit, reference),
        "fit_ratio_large": _ratio(large, reference),
        "n_fit_ratio_large": sum(key in reference for key in large),
        "fit_cpu_seconds": geometric_mean(_pick(table[name], "fit_cpu_seconds").values()),
        "predict_seconds": geometric_mean(_pick(table[name], "predict_seconds").values()),
    }


def _ratio(fit, reference):
    return geometric_mean(fit[key] / reference[key] for key in fit if key in reference)


def _losses(name, table, loss):
    """Mean loss, and the difference to each LightGBM on the sets that both have."""
    own = _pick(table[name], loss)
    others = {key: _pick(table.get(key, {}), loss) for key in LOSS_REFERENCES}
    shared = [key for key in own if key in others["lightgbm"]] if others["lightgbm"] else list(own)
    line = {f"mean_{loss}": mean(own[key] for key in shared), f"n_{loss}": len(shared)}
    for reference, other in others.items():
        gaps = [own[key] - other[key] for key in own if key in other]
        line[f"{loss}_minus_{reference}"] = mean(gaps)
    return line


def _ranks(table, score):
    """Ranks by score in every set, ties shared; a failure ranks last."""
    ranks = {name: [] for name in table}
    for dataset in dict.fromkeys(key for sets in table.values() for key in sets):
        here = [name for name in table if dataset in table[name]]
        scores = [table[name][dataset][score] for name in here]
        order = rankdata([np.inf if score is None else -score for score in scores])
        for name, rank in zip(here, order, strict=True):
            ranks[name].append(float(rank))
    return ranks


def report(record, kind):
    """Markdown: settings, the summary table, and every failure."""
    lines = [*heading(record), "", table(record["summary"], kind), *failures(record["rows"])]
    return "\n".join(lines).rstrip() + "\n"


def heading(record):
    sets = dict.fromkeys(row["dataset"] for row in record["rows"])
    return [f"Data sets ({len(sets)}): {', '.join(sets)}.", "", f"Settings: {record['settings']}."]


def table(summary, kind):
    return markdown_table(summary, _filled(columns(kind), summary))


def failures(rows):
    failed = [row for row in rows if row["error"]]
    lines = [f"Without a score: {len(failed)}", ""] if failed else []
    return lines + [f"* {row['dataset']}, {row['contender']}: {row['error']}" for row in failed]


def _filled(table_columns, summary):
    """The columns that have a value: not every suite has every reference."""
    return {
        title: column for title, column in table_columns.items() if any(line[column[0]] is not None for line in summary)
    }
