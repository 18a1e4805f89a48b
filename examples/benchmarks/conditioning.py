"""Error against condition number: the solvers of BRMPRegressor beside LAPACK.

::

    python examples/benchmarks/conditioning.py          # JSON and figure in docs/benchmarks
    python examples/benchmarks/conditioning.py --quick --json a.json --figure a.png

X = U diag(s) V' (4,000 x 60, s from 1 down to 1 / kappa, evenly in the logarithm) has the
condition number kappa. The target is X w (consistent) or X w plus noise of 1e-6 of its size.
Rows arrive in blocks of 100, there is no intercept and no ridge, and every number is the median
over 5 seeds of ||w_solver - w_exact|| / ||w_exact||. w_exact solves the stored system by a
Householder QR in extended precision (long double; the same as double on some platforms, which
the JSON then shows as an epsilon of 2e-16).
"""

import argparse
import importlib
import warnings
from pathlib import Path

import numpy as np
from _common import environment, markdown_table, write_json
from scipy import linalg

FOLDER = Path(__file__).resolve().parents[2] / "docs" / "benchmarks"
NOISE = {"consistent": 0.0, "noisy": 1e-6}
EPS = np.finfo(np.float64).eps


def main():
    options = parse()
    with warnings.catch_warnings():
        # The solvers warn about the condition numbers that are the subject here.
        warnings.simplefilter("ignore", linalg.LinAlgWarning)
        record = run(options)
    write_json(options.json, record)
    for panel in NOISE:
        print(f"{panel}\n{table(record['errors'][panel], options.kappas)}")
    for name, error in sorted({(row["solver"], row["error"]) for row in record["failures"]}):
        print(f"* failed: {name}: {error}")
    draw(record, options.figure)


def parse():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--rows", type=int, default=4000)
    add("--features", type=int, default=60)
    add("--block", type=int, default=100)
    add("--seeds", type=int, default=5)
    add("--json", metavar="PATH", help="default: docs/benchmarks (--quick: this folder)")
    add("--figure", metavar="PATH", help="default: as --json")
    add("--quick", action="store_true", help="400 x 10, one seed, four condition numbers")
    options = parser.parse_args()
    folder = Path() if options.quick else FOLDER
    options.json = options.json or folder / "conditioning.json"
    options.figure = options.figure or folder / "conditioning.png"
    options.kappas = [10.0**power for power in range(2, 13)]
    if options.quick:
        options.rows, options.features, options.seeds = 400, 10, 1
        options.kappas = [1e2, 1e5, 1e8, 1e11]
    return options


# ------------------------------------------------------------------ solvers


def _lapack(X, y, block):
    return linalg.lstsq(X, y)[0]


def _brmp(solver):
    def solve(X, y, block):
        estimator = importlib.import_module("sklearn_analytic").BRMPRegressor
        model = estimator(solver=solver, fit_intercept=False, block_size=block)
        return model.fit(X, y).coef_.ravel()

    return solve


SOLVERS = {
    "scipy.linalg.lstsq": _lapack,
    "qr": _brmp("qr"),
    "gram": _brmp("gram"),
    "recursive": _brmp("recursive"),
}


# ------------------------------------------------------------------ systems


def make_system(rows, features, kappa, noise, seed):
    """X with singular values from 1 to 1 / kappa, and y = X w (1 + noise)."""
    rng = np.random.default_rng(seed)
    U = np.linalg.qr(rng.normal(size=(rows, features)))[0]
    V = np.linalg.qr(rng.normal(size=(features, features)))[0]
    X = (U * np.logspace(0, -np.log10(kappa), features)) @ V.T
    exact = X.astype(np.longdouble) @ rng.normal(size=features)
    y = exact.astype(np.float64)
    return X, y + noise * np.linalg.norm(y) / np.sqrt(rows) * rng.normal(size=rows)


def extended_lstsq(X, y):
    """Least squares by Householder QR in long double."""
    R = np.column_stack([X, y]).astype(np.longdouble)  # (n, d + 1)
    d = X.shape[1]
    for j in range(d):
        v = R[j:, j].copy()
        v[0] += np.copysign(np.sqrt(v @ v), v[0])
        R[j:, j:] -= np.outer(v * (2 / (v @ v)), v @ R[j:, j:])
    w = np.zeros(d, np.longdouble)
    for j in reversed(range(d)):
        w[j] = (R[j, d] - R[j, j + 1 : d] @ w[j + 1 :]) / R[j, j]
    return w


def run(options):
    errors = {panel: {name: [] for name in SOLVERS} for panel in NOISE}
    failures = []
    for panel, noise in NOISE.items():
        for kappa in options.kappas:
            runs = [_errors(kappa, noise, seed, options, failures) for seed in range(options.seeds)]
            for name in SOLVERS:
                errors[panel][name].append(float(np.median([run[name] for run in runs])))
    keys = ("rows", "features", "block", "seeds", "quick")
    settings = {key: getattr(options, key) for key in keys} | {"noise": NOISE}
    settings["reference_epsilon"] = float(np.finfo(np.longdouble).eps)
    record = {"settings": settings, "environment": environment()}
    return record | {"kappas": options.kappas, "errors": errors, "failures": failures}


def _errors(kappa, noise, seed, options, failures):
    """Relative error of every solver on one system; infinite for a failure."""
    X, y = make_system(options.rows, options.features, kappa, noise, seed)
    exact = extended_lstsq(X, y)
    errors = {}
    for name, solve in SOLVERS.items():
        try:
            difference = solve(X, y, options.block) - exact
            errors[name] = float(np.sqrt(difference @ difference / (exact @ exact)))
        except Exception as error:  # a refusal or a failure is a result to be listed
            errors[name] = np.inf
            text = f"{type(error).__name__}: {error}"[:300]
            failures.append({"solver": name, "kappa": kappa, "seed": seed, "error": text})
    return errors


# ------------------------------------------------------------------ output


def table(errors, kappas):
    columns = {"kappa": ("kappa", ".0e")} | {name: (name, ".1e") for name in errors}
    rows = [{"kappa": kappa} | {name: values[i] for name, values in errors.items()} for i, kappa in enumerate(kappas)]
    return markdown_table(rows, columns)


def draw(record, path):
    """Both panels on logarithmic axes, one line per solver, with the two guide lines."""
    try:
        import matplotlib
    except ImportError:
        print("No figure: matplotlib is not installed (pip install matplotlib).")
        return
    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, 2, figsize=(10, 4.4), sharey=True, layout="constrained")
    for axis, panel in zip(axes, NOISE, strict=True):
        _draw_panel(axis, record["kappas"], record["errors"][panel], panel)
    axes[0].set_ylabel("relative error of the coefficients")
    handles, labels = axes[1].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, fontsize=8)
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)
    pyplot.close(figure)


def _draw_panel(axis, kappas, errors, panel):
    kappas = np.asarray(kappas)
    for (name, values), marker in zip(errors.items(), "osv^", strict=True):
        refused = "" if np.isfinite(values).all() else " (refuses beyond its last point)"
        axis.loglog(kappas, values, marker=marker, ms=4, label=name + refused)
    axis.loglog(kappas, EPS * kappas, "k:", lw=1, label=r"$\epsilon\,\kappa$")
    axis.loglog(kappas, EPS * kappas**2, "k--", lw=1, label=r"$\epsilon\,\kappa^2$")
    axis.set(ylim=(1e-16, 1e3), xlabel=r"condition number $\kappa$")
    noise = NOISE[panel]
    axis.set_title("consistent system" if noise == 0 else f"noise of {noise:.0e} of the target")
    axis.grid(alpha=0.3)


if __name__ == "__main__":
    main()
