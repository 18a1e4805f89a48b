"""Figures of the page of benchmarks: prediction intervals, data set by data set."""

from statistics import mean

from make_figures import FIFTH, OTHER, OURS, TREES, decades, figure, record_of
from matplotlib import pyplot as plt

SMALL = 9  # points, of the names of data sets
KINDS = {
    "lightgbm_quantiles": ("LightGBM's quantiles", OTHER),
    "lightgbm_quantiles_split": ("LightGBM's quantiles, conformalised", FIFTH),
    "lightgbm_cv_plus": ("CV+ of LightGBM", TREES),
    "closed_form": ("ClosedFormMLPRegressor", OURS),
}


def means(rows, contender, key):
    """{data set: mean over splits} of one kind of intervals."""
    found = {}
    for row in rows:
        if row["contender"] == contender and row["error"] is None:
            found.setdefault(row["dataset"], []).append(row[key])
    return {name: mean(values) for name, values in found.items()}


@figure("bench_intervals", data=("intervals",))
def intervals():
    """Coverage of four kinds of intervals, and their score over that of ours."""
    rows = record_of("intervals")["regression"]
    ours = means(rows, "closed_form", "interval_score")
    best = means(rows, "lightgbm_cv_plus", "interval_score")
    sets = sorted(ours, key=lambda name: best[name] / ours[name])
    drawn, (left, right) = plt.subplots(1, 2, figsize=(7.2, 4.6), sharey=True)
    for key, (name, colour) in KINDS.items():
        coverage, score = means(rows, key, "coverage"), means(rows, key, "interval_score")
        style = {"color": colour, "s": 40 if colour == OURS else 25, "zorder": 3}
        left.scatter([100 * coverage[one] for one in sets], range(len(sets)), **style, label=name)
        right.scatter([score[one] / ours[one] for one in sets], range(len(sets)), **style)
    left.axvline(90, color=OURS, linewidth=1)
    left.set_yticks(range(len(sets)), [name.replace("_", " ") for name in sets], fontsize=SMALL)
    left.set_xlabel("targets inside, %")
    decades(right, (1, 2, 5, 10))
    right.set_xlabel("interval score over ours")
    drawn.legend(*left.get_legend_handles_labels(), loc="outside upper center", ncols=2, handletextpad=0.1)
    return drawn
