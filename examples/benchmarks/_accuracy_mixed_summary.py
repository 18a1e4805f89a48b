"""The summary of ``accuracy.py --suite mixed``: a summary of each kind, every set, and the native road.

Standard errors are those of the mean over seeds, which split the table anew; they say nothing of
other tables. One seed has none.
"""

import numpy as np
from _accuracy_summary import failures, heading, table
from _accuracy_summary import summarise as summarise_kind
from _common import markdown_table, mean

NATIVE, REFERENCE = "ours native", "target encoder + ours"
SCORE_MARGIN, LOG_LOSS_MARGIN = 0.01, 0.02  # a set further behind, and by two standard errors, is marked
KINDS = ("classification", "regression")


def summarise(rows, mixed):
    """A summary of each kind, the means of every set and contender, and the differences of the native road."""
    parts = {name: [row for row in rows if _kind(row, mixed).name == name] for name in KINDS}
    summary = {name: summarise_kind(part, getattr(mixed, name)) for name, part in parts.items()}
    groups = _groups(rows)
    summary["sets"] = [_set_line(*key, group, mixed) for key, group in groups.items()]
    sets = dict.fromkeys(dataset for dataset, _ in groups)
    lines = (_native_line(name, groups.get((name, NATIVE)), groups.get((name, REFERENCE)), mixed) for name in sets)
    return summary | {"native": [line for line in lines if line]}


def _kind(row, mixed):
    return mixed.of(row["n_classes"])


def _groups(rows):
    """{(set, contender): its rows}"""
    groups = {}
    for row in rows:
        groups.setdefault((row["dataset"], row["contender"]), []).append(row)
    return groups


def _set_line(dataset, contender, group, mixed):
    """Means over the seeds with standard errors; None where a seed has no value."""
    kind = _kind(group[0], mixed)
    line = {"dataset": dataset, "contender": contender, "kind": kind.name, "n_seeds": len(group)}
    for key in (*kind.recorded(), "fit_seconds", "fit_cpu_seconds", "predict_seconds", "predict_cpu_seconds"):
        values = [row[key] for row in group]
        complete = None not in values
        line |= {key: mean(values) if complete else None, f"{key}_se": _error(values) if complete else None}
    return line


def _error(values):
    """The standard error of the mean, None of a single value."""
    return float(np.std(values, ddof=1) / np.sqrt(len(values))) if len(values) > 1 else None


def _native_line(dataset, native, reference, mixed):
    """Native minus behind the target encoder, seed by seed; None without a seed in which both finished."""
    pairs = _pairs(native or (), reference or ())
    if not pairs:
        return None
    kind = _kind(pairs[0][0], mixed)
    line = {"dataset": dataset, "kind": kind.name, "n_seeds": len(pairs)}
    line |= _difference("score", pairs, kind.score.__name__) | _difference("log_loss", pairs, "log_loss")
    return line | {"behind": _behind(line)}


def _pairs(native, reference):
    """Rows of the same seed, both finished."""
    others = {row["seed"]: row for row in reference if row["error"] is None}
    return [(row, others[row["seed"]]) for row in native if row["error"] is None and row["seed"] in others]


def _difference(name, pairs, key):
    """The mean difference and its standard error; None where a row has no such value, as in regression no log-loss."""
    values = [(own.get(key), other.get(key)) for own, other in pairs]
    if any(None in pair for pair in values):
        return {name: None, f"{name}_se": None}
    gaps = [own - other for own, other in values]
    return {name: mean(gaps), f"{name}_se": _error(gaps)}


def _behind(line):
    """Whether the native road loses more than a margin and two standard errors; None with one seed."""
    if line["score_se"] is None:
        return None
    lost = [(-line["score"], line["score_se"], SCORE_MARGIN)]
    if line["log_loss"] is not None:
        lost.append((line["log_loss"], line["log_loss_se"], LOG_LOSS_MARGIN))
    return any(loss > margin and loss > 2 * error for loss, error, margin in lost)


def report(record, mixed):
    """Markdown: settings, the summary of each kind, a table of sets for each measure, the native road, failures."""
    summary = record["summary"]
    lines = heading(record)
    for name in KINDS:
        if summary[name]:
            kind = getattr(mixed, name)
            lines += ["", f"### {name.capitalize()}", "", table(summary[name], kind)]
            lines += [text for key in kind.recorded() for text in _measure_table(summary["sets"], name, key)]
    lines += _native_table(summary["native"])
    return "\n".join([*lines, *failures(record["rows"])]).rstrip() + "\n"


def _measure_table(sets, kind, key):
    """One measure: a line for each set, a column for each contender, mean and standard error over the seeds."""
    here = [line for line in sets if line["kind"] == kind]
    cells = {}
    for line in here:
        if line[key] is not None:
            cells.setdefault(line["dataset"], {"set": line["dataset"]})[line["contender"]] = _cell(line, key)
    if not cells:
        return []
    columns = {name: (name, "s") for name in dict.fromkeys(["set", *(line["contender"] for line in here)])}
    return [f"{key} (mean ± standard error over seeds)", "", markdown_table(list(cells.values()), columns)]


def _cell(line, key):
    form = ".4g" if key == "rmse" else ".4f"
    error = line[f"{key}_se"]
    return format(line[key], form) + ("" if error is None else f" ± {error:{form}}")


def _native_table(lines):
    """The differences of the native road, and a mark where it is behind."""
    if not lines:
        return []
    columns = {
        "set": ("dataset", "s"),
        "seeds": ("n_seeds", "d"),
        "accuracy or R2": ("score", "+.4f"),
        "its error": ("score_se", ".4f"),
        "log-loss": ("log_loss", "+.4f"),
        "error of log-loss": ("log_loss_se", ".4f"),
        "behind": ("mark", "s"),
    }
    marks = {True: "BEHIND", False: "", None: None}
    title = f"### {NATIVE} minus {REFERENCE}"
    rule = (
        f"Behind: by more than {SCORE_MARGIN} of accuracy or R2, or {LOG_LOSS_MARGIN} of log-loss, and by more than "
        "two standard errors."
    )
    return [title, "", rule, "", markdown_table([line | {"mark": marks[line["behind"]]} for line in lines], columns)]
