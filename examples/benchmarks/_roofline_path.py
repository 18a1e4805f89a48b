"""What the roofline benchmark measures: the package's features and Gram, the device's own product, two roads to R."""

from functools import lru_cache

import numpy as np
from _roofline_clock import Clock

from sklearn_analytic.backend import get_backend
from sklearn_analytic.features import DenseLayer
from sklearn_analytic.linalg import NormalEquations

TARGETS = 10
DTYPES = {"float64": "float64", "float32": "float32", "tf32": "float32", "bfloat16": "float32"}  # of the rows given
PRODUCTS = {"float64": "float32", "float32": "float32", "tf32": "tf32", "bfloat16": "bfloat16"}


def peak(device, precision, size):
    """Operations per second (wall and processor time) of a square product in a precision, by the backend's matmul.

    A processor without bfloat16 units is faster in float32: the faster of the two is the peak.
    """
    names = ("bfloat16", "float32") if precision == "bfloat16" else (precision,)
    runs = [_square(device, name, size) for name in names]
    return {clock: max(run[clock] for run in runs) for clock in runs[0]}


def _square(device, precision, size):
    """The best of three square products; bfloat16 operands are rounded before."""
    backend, clock = get_backend(device, PRODUCTS[precision]), Clock(device)
    a, b = _operands(device, precision, size)
    product = backend.matmul if precision != "bfloat16" else backend._products.of_sums
    product(a, b)
    seconds = [clock(lambda: product(a, b))[1] for _ in range(3)]
    return {name: 2.0 * size**3 / min(run[name] for run in seconds) for name in seconds[0]}


@lru_cache(maxsize=4)  # a GPU multiplies large ones in less time than the host draws them in
def _operands(device, precision, size):
    """Two square matrices on the device."""
    backend, rng = get_backend(device, PRODUCTS[precision]), np.random.default_rng(0)
    pair = (backend.asarray(rng.random((size, size)), DTYPES[precision]) for _ in range(2))
    return tuple(backend.as_features(matrix) for matrix in pair)


class Path:
    """Blocks of rows through one hidden layer into the normal equations, as a closed-form fit does it."""

    def __init__(self, device, precision, n_features, width, n_rows, n_blocks):
        rng = np.random.default_rng(0)
        self.backend, self.clock = get_backend(device, PRODUCTS[precision]), Clock(device)
        self.widen = precision == "float64"
        self.x = self.backend.asarray(rng.standard_normal((n_rows, n_features)), DTYPES[precision])
        self.y = rng.standard_normal((n_rows, TARGETS))
        weights = rng.standard_normal((n_features, width)) / np.sqrt(n_features)
        self.layer = DenseLayer(weights.astype(DTYPES[precision]), rng.standard_normal(width), "relu")
        self.start, self.n_blocks = NormalEquations.empty(width, TARGETS).on(self.backend), n_blocks
        self.operations = n_blocks * n_rows * (2.0 * n_features * width + width * (width + 1.0))

    def run(self):
        """Seconds of the features and of the sums."""
        total = {"features": {"wall": 0.0, "cpu": 0.0}, "sums": {"wall": 0.0, "cpu": 0.0}}
        statistic = self.start
        for _ in range(self.n_blocks):
            features, first = self.clock(lambda: self.backend.as_features(self.layer.apply(self.x, self.backend)))
            statistic, second = self.clock(
                lambda features=features, statistic=statistic: statistic.accumulate(
                    features, self.y, None, self.backend, widen=self.widen
                )
            )
            for part, seconds in (("features", first), ("sums", second)):
                total[part] = {name: total[part][name] + seconds[name] for name in seconds}
        return total


def qr_roads(device, n_rows, n_columns):
    """Seconds of the two roads by which a block of rows enters a triangular factor."""
    from sklearn_analytic.linalg import _triangular

    backend, clock = get_backend(device), Clock(device)
    rng = np.random.default_rng(0)
    r = backend.qr_r(backend.asarray(rng.standard_normal((2 * n_columns, n_columns))))
    block = backend.asarray(rng.standard_normal((n_rows, n_columns)))
    roads = {
        "cholesky": lambda: _triangular._preconditioned_update(r, block, backend),
        "geqrf": lambda: backend.qr_r(_triangular._stack(backend, r, block)),
    }
    return {name: clock(road)[1] for name, road in roads.items()}
