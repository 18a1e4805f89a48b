"""The data file of ``streaming_least_squares.py`` and its float64 reference solutions."""

import numpy as np

BLOCK = 8192


def make_files(folder, rows, features, targets, seed=0):
    """Write X.npy and Y.npy block by block: Y = X W + 1 b' + noise, columns with means."""
    rng = np.random.default_rng(seed)
    means, W = rng.normal(size=features), rng.normal(size=(features, targets))
    shift = rng.normal(size=targets)
    X, Y = (
        np.lib.format.open_memmap(folder / f"{name}.npy", "w+", np.float32, (rows, columns))
        for name, columns in (("X", features), ("Y", targets))
    )
    for start in range(0, rows, BLOCK):
        m = min(BLOCK, rows - start)
        block = rng.standard_normal((m, features), np.float32) + means.astype(np.float32)
        noise = rng.standard_normal((m, targets), np.float32)
        X[start : start + m] = block
        Y[start : start + m] = block.astype(np.float64) @ W + shift + noise
    X.flush()
    Y.flush()


def open_rows(folder, rows):
    """The first `rows` rows as read-only memory maps."""
    return tuple(np.load(folder / f"{name}.npy", mmap_mode="r")[:rows] for name in ("X", "Y"))


def warm(arrays):
    """Read every page once, so that no measurement pays for the disk."""
    for array in arrays:
        for block in _blocks(array):
            block.sum()


def _blocks(*arrays):
    """Aligned blocks; cuts always at the same rows, whatever the number of rows."""
    for start in range(0, len(arrays[0]), BLOCK):
        parts = tuple(array[start : start + BLOCK] for array in arrays)
        yield parts if len(parts) > 1 else parts[0]


def solve_references(folder, sizes):
    """Write reference_<rows>.npy (features x targets) for every number of rows."""
    for rows in sizes:
        np.save(folder / f"reference_{rows}.npy", _reference(*open_rows(folder, rows)))


def _reference(X, Y):
    """Coefficients in float64: shifted normal equations, then one step of refinement.

    The columns are shifted by the means of the first block, which leaves well-conditioned
    equations; the refinement solves for the residuals of a second pass.
    """
    shift = X[:BLOCK].mean(axis=0, dtype=np.float64)
    gram = _accumulate(X, Y, shift, lambda Z, T: Z.T @ Z)
    W = np.linalg.solve(gram, _accumulate(X, Y, shift, lambda Z, T: Z.T @ T))
    W += np.linalg.solve(gram, _accumulate(X, Y, shift, lambda Z, T: Z.T @ (T - Z @ W)))
    return W[1:]  # without the intercept


def _accumulate(X, Y, shift, term):
    """Sum of term(Z, T) over blocks, Z = [1 | x - shift] in float64."""
    total = 0.0
    for x, y in _blocks(X, Y):
        Z = np.hstack([np.ones((len(x), 1)), x - shift])
        total = total + term(Z, y.astype(np.float64))
    return total
