"""Part "errors" of ``on_device.py``: QR and Gram by the error tests of the CPU, device and CPU side by side.

Errors of solutions are in units of ``kappa eps`` for the triangular factor and ``kappa^2 eps`` for the normal
equations; those of products in units of the rounding of their operands. ``within`` says whether the bound of the tests
holds.
"""

import numpy as np
from conditioning import extended_lstsq, make_system

from sklearn_analytic.backend import get_backend
from sklearn_analytic.linalg import NormalEquations, TriangularFactor

EPS = float(np.finfo(np.float64).eps)
SINGLE = float(np.finfo(np.float32).eps)
KAPPAS = (1e2, 1e4, 1e6, 1e8, 1e10, 1e12, 1e14)
NOISE = (0.0, 1e-6)
STEP = 100  # rows of a block
# {road: (statistic, whether blocks enter by Cholesky; None where that is no question, power of kappa)}
ROADS = {
    "qr, cholesky": (TriangularFactor, True, 1),
    "qr, geqrf": (TriangularFactor, False, 1),
    "gram": (NormalEquations, None, 2),
}
BOUND = 100  # kappa eps, of consistent systems
SHORT = 2.0**-11  # rounding of an operand in TF32
# {precision: (bound of the Gram's error, bound of a product's error) in units of its size}; sums are float32
PRODUCTS = {
    "float32": (100 * SINGLE, 100 * SINGLE),
    "tf32": (4 * SHORT, 4 * SHORT),
    "bfloat16": (100 * SINGLE, 100 * SINGLE),
}


def run(settings, emit):
    """Solutions against condition numbers, factors of awkward rows, products in every precision."""
    quick, devices = settings["quick"], (settings["device"], "cpu")
    size, seeds = ((400, 10), 1) if quick else ((1500, 30), 3)
    for device in devices:
        for row in awkward(device):
            emit(row)
        for row in products(device, *((500, 40) if quick else (4096, 512))):
            emit(row)
    for noise in NOISE:
        for kappa in KAPPAS[:: 3 if quick else 2 if noise else 1]:
            for row in solutions(devices, kappa, noise, *size, seeds):
                emit(row)


def backend_of(device, by_cholesky):
    """The backend of a device, told how blocks enter the factor."""
    backend = get_backend(device)
    if by_cholesky is not None:
        backend.updates_by_cholesky = by_cholesky
    return backend


def streamed(statistic, x, y, backend, step=STEP):
    """The statistic of rows that came in blocks, on the host."""
    found = statistic.from_rows(x[:step], y[:step], None, backend)
    for start in range(step, len(x), step):
        found = found.accumulate(x[start : start + step], y[start : start + step], None, backend)
    return found.to_host(backend)


# ------------------------------------------------------------------ solutions


def solutions(devices, kappa, noise, rows, features, seeds):
    """A row per road: medians over seeds, errors against a QR in extended precision."""
    systems = [make_system(rows, features, kappa, noise, seed) for seed in range(seeds)]
    exact = [extended_lstsq(x, y) for x, y in systems]
    for road, (statistic, by_cholesky, power) in ROADS.items():
        unit = kappa**power * EPS
        row = {"family": "condition", "road": road, "kappa": kappa, "noise": noise, "rows": rows, "columns": features}
        row |= {"unit": "kappa^2 eps" if power == 2 else "kappa eps"}
        for device in devices:
            backend = backend_of(device, by_cholesky)
            errors = [_error(statistic, *system, w, backend) for system, w in zip(systems, exact, strict=True)]
            row[f"error, {_side(device)}"] = float(np.median(errors))
            row[f"units, {_side(device)}"] = float(np.median(errors)) / unit
        # the normal equations give up where kappa^2 eps is 1; noise adds kappa^2 times itself to both roads
        judged = noise == 0 and (power == 1 or unit < 1 / BOUND)
        row["within"] = row["units, device"] < BOUND if judged else None
        yield row


def _error(statistic, x, y, exact, backend):
    """Relative error of a solution without an intercept; 1 where the directions were cut."""
    coef, _ = streamed(statistic, x, y[:, None], backend).spectral(False).solve(0.0, 0.0)
    difference = coef[:, 0] - exact
    return float(np.sqrt(difference @ difference / (exact @ exact)))


def _side(device):
    """How columns of a row name a device."""
    return "cpu" if device == "cpu" else "device"


# ------------------------------------------------------------------ awkward rows


def awkward(device):
    """Rows that break a careless factor: R'R against A'A, column by column, in roundings."""
    for name, (x, y) in _families(np.random.default_rng(0)).items():
        a = np.column_stack([np.ones(len(x)), x, y])
        norms = np.linalg.norm(a, axis=0)
        norms[norms == 0] = 1.0
        for road in ("qr, cholesky", "qr, geqrf"):
            r = streamed(TriangularFactor, x, y, backend_of(device, ROADS[road][1]), 60).r
            error = np.max(np.abs(r.T @ r - a.T @ a) / norms / norms[:, None]) / EPS
            row = {"family": name, "road": road, "device": device, "units": float(error), "unit": "eps"}
            yield row | {"within": bool(error < 1000)}


def _families(rng):
    """{name: (x, y)}: columns of all scales, dependent and zero columns, few rows, long rows."""
    x, y = rng.standard_normal((500, 20)), rng.standard_normal((500, 1))
    u, v = (np.linalg.qr(rng.standard_normal((n, 20)))[0] for n in (500, 20))
    dependent, long = x[:300, :6].copy(), x[:120, :5].copy()
    dependent[:, 2], dependent[:, 4] = dependent[:, 0] - dependent[:, 1], 0.0
    long[100:] *= 1e9
    return {
        "columns of all scales": (x * np.logspace(-8, 8, 20), y),
        "condition 1e14 and all scales": ((u * np.geomspace(1, 1e-14, 20)) @ v.T * np.logspace(-8, 8, 20), y),
        "dependent and zero columns": (dependent, y[:300]),
        "fewer rows than columns": (x[:7], y[:7]),
        "a short second block": (dependent[:65], y[:65]),
        "long rows late": (long, y[:120]),
    }


# ------------------------------------------------------------------ products


def products(device, rows, columns):
    """Errors of Gram and hidden product in every precision; float32 also where the program allows TF32."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((rows, columns)).astype(np.float32)
    w = rng.standard_normal((columns, columns)).astype(np.float32)
    for precision in PRODUCTS:
        if device != "cpu" or precision == "float32":
            yield _products(device, precision, x, w)
    if device != "cpu":
        with _allowed_tf32():
            row = _products(device, "float32", x, w)
        yield row | {"family": "products, the program allows TF32"}


def _products(device, precision, x, w):
    """Largest errors over the lengths of rows and columns; operands that are rounded first count as rounded."""
    backend = get_backend(device, precision)
    kept = backend.as_features(backend.asarray(x))
    wide = np.float64(backend.to_numpy(kept))
    gram = backend.to_numpy(NormalEquations.from_rows(kept, x[:, :1], None, backend, widen=False).scatter)
    centred = wide - wide.mean(axis=0)
    exact = centred.T @ centred
    size = np.sqrt(np.diag(exact))
    d = len(size)
    errors = {"gram": np.max(np.abs(gram[:d, :d] - exact) / size / size[:, None])}
    hidden = backend.to_numpy(backend.matmul(backend.asarray(x), backend.asarray(w)))
    a, b = (np.float64(backend.to_numpy(backend.as_features(backend.asarray(m)))) for m in (x, w))
    lengths = np.linalg.norm(a, axis=1)[:, None] * np.linalg.norm(b, axis=0)
    errors["hidden"] = np.max(np.abs(hidden - a @ b) / lengths)
    unit = SHORT if precision == "tf32" else SINGLE
    row = {"family": "products", "device": device, "precision": precision, "unit": unit}
    row |= {f"{name}, units": float(error) / unit for name, error in errors.items()}
    bounds = dict(zip(("gram", "hidden"), PRODUCTS[precision], strict=True))
    return row | {"within": bool(all(errors[name] < bounds[name] for name in errors))}


class _allowed_tf32:
    """Torch's own switches as a program may have set them."""

    def __enter__(self):
        from sklearn_analytic.backend._torch_precision import _SWITCHES

        self._switches, self._before = _SWITCHES, _SWITCHES.read()
        self._switches.write(self._switches.wanted["tf32"])

    def __exit__(self, *exception):
        self._switches.write(self._before)
