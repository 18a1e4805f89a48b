"""The summary of ``networks.py``: one line per contender, paired by set with scikit-learn's network and ours."""

from _common import geometric_mean, mean, table_by_set
from _dfa_common import finished, in_points, standard_error
from _layerwise_common import mean_over_sets, paired_ratio

PEER, OURS = "mlp", "closed_form"
REFERENCES = (PEER, OURS)
COLUMNS = {
    "contender": ("contender", "s"),
    "sets": ("n_sets", "d"),
    "accuracy": ("accuracy", ".4f"),
    "log-loss": ("log_loss", ".3f"),
    "points to MLPClassifier": ("points_to_mlp", "+.2f"),
    "standard error": ("points_to_mlp_se", ".2f"),
    "won": ("points_to_mlp_won", "d"),
    "points to ClosedFormMLP": ("points_to_closed_form", "+.2f"),
    "its standard error": ("points_to_closed_form_se", ".2f"),
    "won of these": ("points_to_closed_form_won", "d"),
    "fit s": ("fit_cpu_seconds", ".2f"),
    "fit / MLPClassifier's": ("time_ratio", ".2f"),
}


def summarise(rows):
    """One line per contender; seeds are averaged first, then sets."""
    rows = finished(rows)
    of = {}
    for row in rows:
        of.setdefault(row["contender"], []).append(row)
    return [_line(name, of) for name in sorted(of, key=lambda name: -mean_over_sets(of[name]))]


def _line(name, of):
    rows = of[name]
    gaps = [_gaps(other, rows, of.get(other, [])) for other in REFERENCES if other != name]
    return (
        {
            "contender": name,
            "n_sets": len(set_means(rows, "accuracy")),
            "accuracy": mean_over_sets(rows),
            "log_loss": mean_over_sets(rows, "log_loss"),
            "accuracy_by_set": set_means(rows, "accuracy"),
            "log_loss_by_set": set_means(rows, "log_loss"),
            "fit_cpu_seconds": geometric_mean(row["fit_cpu_seconds"] for row in rows),
            "predict_cpu_seconds": geometric_mean(row["predict_cpu_seconds"] for row in rows),
            "refit_cpu_seconds": geometric_mean(row.get("refit_cpu_seconds") for row in rows),
        }
        | {"time_ratio": paired_ratio(rows, of.get(PEER, []), "fit_cpu_seconds")}
        | {key: value for found in gaps for key, value in found.items()}
    )


def set_means(rows, key):
    """{set: mean over seeds}."""
    sets = dict.fromkeys(row["dataset"] for row in rows)
    return {one: mean(row[key] for row in rows if row["dataset"] == one) for one in sets}


def _gaps(other, rows, reference):
    """Points and log-loss less those of another contender, with standard errors over sets, and sets that are won."""
    points, loss = (_by_set(rows, reference, key) for key in ("accuracy", "log_loss"))
    return {
        f"points_to_{other}": in_points(mean(points)),
        f"points_to_{other}_se": in_points(standard_error(points)),
        f"points_to_{other}_won": sum(gap > 0 for gap in points) if points else None,
        f"loss_to_{other}": mean(loss),
        f"loss_to_{other}_se": standard_error(loss),
        f"loss_to_{other}_won": sum(gap < 0 for gap in loss) if loss else None,
    }


def _by_set(rows, reference, key):
    """Differences of set means, of pairs that have the same set and seed."""
    known = {(row["dataset"], row["seed"]): row[key] for row in reference}
    places = [(row["dataset"], row["seed"]) for row in rows]
    pairs = [row | {"gap": row[key] - known[at]} for row, at in zip(rows, places, strict=True) if at in known]
    return list(set_means(pairs, "gap").values())


def by_set(lines):
    """Further tables: mean accuracy and log-loss of every contender on every set."""
    forms = {"accuracy_by_set": ".4f", "log_loss_by_set": ".3f"}
    return "\n".join(table_by_set(lines, key, form) for key, form in forms.items())
