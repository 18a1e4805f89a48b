"""The contenders of ``streaming_least_squares.py`` and the measurement of one of them.

A contender is an *importer*, run before the memory is noted, that returns a *fit*: a function
of (X, Y) that returns the coefficients (features x targets) and the road that was taken.
"""

import importlib
import time

import numpy as np
from _common import MemorySampler
from _streaming_data import BLOCK, open_rows

REFERENCE = "bare_loop_f64"
ONCE = ("linear_regression", "ridge_cholesky", "sgd")  # slow, and not what is judged


def measure(name, folder, rows):
    """Import, fit 2 d rows, note the memory, fit all; seconds, peaks above the note, error.

    The small fit belongs to the import: it loads what is imported or compiled at first use.
    """
    fit = CONTENDERS[name]()
    X, Y = open_rows(folder, rows)
    few = 2 * X.shape[1]
    fit(np.array(X[:few]), np.array(Y[:few]))
    with MemorySampler() as memory:
        start = time.perf_counter()
        coefficients, road = fit(X, Y)
        seconds = time.perf_counter() - start
    reference = np.load(folder / f"reference_{rows}.npy")
    error = np.linalg.norm(coefficients - reference) / np.linalg.norm(reference)
    return {"seconds": seconds, "error": float(error), "road": road} | memory.above_start


def bare_loop(dtype):
    """The lower bound: copy a block into a buffer, add X'X (syrk) and X'[Y 1] (gemm)."""

    def importer():
        from scipy.linalg import blas, cho_solve

        syrk, gemm = blas.get_blas_funcs(("syrk", "gemm"), dtype=dtype)

        def fit(X, Y):
            d, c = X.shape[1], Y.shape[1]
            gram = np.zeros((d, d), dtype, order="F")
            cross = np.zeros((d, c + 1), dtype, order="F")
            rows, targets = np.empty((BLOCK, d), dtype), np.ones((BLOCK, c + 1), dtype)
            sums = np.zeros(c)
            for start in range(0, len(X), BLOCK):
                m = min(BLOCK, len(X) - start)
                rows[:m], targets[:m, :c] = X[start : start + m], Y[start : start + m]
                # The transposed buffers are Fortran-ordered, so BLAS gets them uncopied.
                gram = syrk(1.0, rows[:m].T, beta=1.0, c=gram, overwrite_c=1)
                cross = gemm(1.0, rows[:m].T, targets[:m].T, beta=1.0, c=cross, trans_b=1, overwrite_c=1)
                sums += targets[:m, :c].sum(axis=0)
            return _solve(gram, cross, sums, len(X), cho_solve), None

        return fit

    return importer


def _solve(gram, cross, sums, n, cho_solve):
    """Centre the sums in float64, whatever the dtype they were added in, and solve."""
    full = np.triu(gram).astype(np.float64)
    full = full + np.triu(full, 1).T
    mean = cross[:, -1].astype(np.float64) / n
    right = cross[:, :-1] - np.outer(mean, sums)
    factor = np.linalg.cholesky(full - n * np.outer(mean, mean))
    return cho_solve((factor, True), right)


def ours(**parameters):
    """BRMPRegressor of this package."""

    def importer():
        model = importlib.import_module("sklearn_analytic").BRMPRegressor(**parameters)

        def fit(X, Y):
            model.fit(X, Y)
            return model.coef_.T, model.solver_used_

        return fit

    return importer


def peer(name, **parameters):
    """A linear model of scikit-learn that takes the whole array."""

    def importer():
        model = getattr(importlib.import_module("sklearn.linear_model"), name)(**parameters)
        return lambda X, Y: (model.fit(X, Y).coef_.T, None)

    return importer


def sgd():
    """SGDRegressor by partial_fit, one pass over the blocks, one model per target.

    The inputs have about unit variance, so they are not scaled. The default first step (0.01)
    diverges with hundreds of features: it is set from the mean squared norm of the first block.
    """
    from sklearn.linear_model import SGDRegressor
    from sklearn.multioutput import MultiOutputRegressor

    def fit(X, Y):
        step = 0.1 / float(np.square(X[:BLOCK]).sum(axis=1).mean())
        model = MultiOutputRegressor(SGDRegressor(eta0=step, alpha=0.0, random_state=0))
        for start in range(0, len(X), BLOCK):
            model.partial_fit(X[start : start + BLOCK], Y[start : start + BLOCK])
        return np.array([part.coef_ for part in model.estimators_]).T, None

    return fit


CONTENDERS = {
    REFERENCE: bare_loop(np.float64),
    "bare_loop_f32": bare_loop(np.float32),
    "brmp_gram": ours(solver="gram"),
    "brmp_qr": ours(solver="qr"),
    "brmp_auto": ours(),
    "linear_regression": peer("LinearRegression"),
    "ridge_cholesky": peer("Ridge", alpha=1e-6, solver="cholesky"),
    "sgd": sgd,
}
