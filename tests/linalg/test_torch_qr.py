"""Both roads of the triangular factor on torch meet the bounds of the CPU: kappa eps, whatever the rows are."""

from types import SimpleNamespace

import numpy as np
import pytest

from sklearn_analytic.backend import get_backend
from sklearn_analytic.linalg import TriangularFactor, _triangular
from tests.checks import assert_close

EPS = np.finfo(np.float64).eps

pytest.importorskip("torch")


def backend_with(by_cholesky):
    """The backend of torch, told which road to take."""
    backend = get_backend("torch:cpu")
    backend.updates_by_cholesky = by_cholesky
    return backend


@pytest.fixture(params=[True, False], ids=["cholesky", "geqrf"])
def torch_backend(request):
    return backend_with(request.param)


def rows_of_condition(rng, n, d, condition):
    """Centred rows with singular values from 1 down to 1 / condition."""
    u, _ = np.linalg.qr(rng.standard_normal((n, d)) - 0.0)
    u, _ = np.linalg.qr(u - u.mean(axis=0))
    v, _ = np.linalg.qr(rng.standard_normal((d, d)))
    return (u * np.geomspace(1, 1 / condition, d)) @ v.T


def factor_in_blocks(x, y, backend, step=60):
    factor = TriangularFactor.from_rows(x[:step], y[:step], None, backend)
    for start in range(step, len(x), step):
        factor = factor.accumulate(x[start : start + step], y[start : start + step], None, backend)
    return factor.to_host(backend)


@pytest.mark.parametrize("condition", [1e2, 1e6, 1e10, 1e12, 1e14])
def test_solution_error_follows_the_condition_number(rng, torch_backend, condition):
    x = rows_of_condition(rng, 400, 12, condition)
    truth = rng.standard_normal((12, 2))
    y = x @ truth
    coef, _ = factor_in_blocks(x, y, torch_backend).spectral().solve(0.0, 0.0)
    error = np.linalg.norm(coef - truth) / np.linalg.norm(truth)
    assert error < 100 * condition * EPS


@pytest.mark.parametrize("condition", [1.0, 1e14])
def test_backward_error_of_every_column_is_rounding(rng, torch_backend, condition):
    x = rows_of_condition(rng, 500, 20, condition) * np.logspace(-8, 8, 20)
    y = rng.standard_normal((500, 1))
    r = factor_in_blocks(x, y, torch_backend).r
    a = np.column_stack([np.ones(500), x, y])
    norms = np.linalg.norm(a, axis=0)
    assert_close(r.T @ r / norms / norms[:, None], a.T @ a / norms / norms[:, None], np.float64)


def test_dependent_and_zero_columns_and_few_rows(rng, torch_backend):
    x = rng.standard_normal((300, 6))
    x[:, 2], x[:, 4] = x[:, 0] - x[:, 1], 0.0
    y = rng.standard_normal((300, 1))
    for n in (3, 60, 65, 300):  # fewer rows than columns, one block, a short second block, five blocks
        found = factor_in_blocks(x[:n], y[:n], torch_backend)
        a = np.column_stack([np.ones(n), x[:n], y[:n]])
        assert_close(found.r.T @ found.r, a.T @ a, np.float64)
        assert found.spectral().rank() == min(4, n - 1)


def test_rows_with_long_leverages_fall_back(rng, torch_backend):
    x, y = rng.standard_normal((120, 5)), rng.standard_normal((120, 1))
    x[100:] *= 1e9
    found = factor_in_blocks(x, y, torch_backend)
    a = np.column_stack([np.ones(120), x, y])
    norms = np.linalg.norm(a, axis=0)
    assert_close(found.r.T @ found.r / norms / norms[:, None], a.T @ a / norms / norms[:, None], np.float64)


def test_the_backend_says_which_road(rng, monkeypatch):
    calls = []
    fast = _triangular._preconditioned_update
    monkeypatch.setattr(_triangular, "_preconditioned_update", lambda *a: calls.append(1) or fast(*a))
    x, y = rng.standard_normal((120, 3)), rng.standard_normal((120, 1))
    for backend, expected in [(backend_with(True), 1), (backend_with(False), 0), (get_backend("cpu"), 1)]:
        calls.clear()
        factor_in_blocks(x, y, backend)
        assert len(calls) == expected
    assert get_backend("torch:cpu").updates_by_cholesky is False


def test_a_cholesky_that_breaks_down_is_noticed():
    broken = SimpleNamespace(cholesky_upper=lambda a: None)
    backend = backend_with(True)
    backend.cholesky_upper = broken.cholesky_upper
    r = backend.asarray(np.triu(np.ones((3, 3)) + 2 * np.eye(3)))
    block = backend.asarray(np.arange(6.0).reshape(2, 3))
    found = _triangular._update(r, block, backend)
    assert_close(found.T @ found, (r.T @ r + block.T @ block).numpy(), np.float64)
