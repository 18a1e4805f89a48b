"""Every verb of every backend equals its naive twin."""

import numpy as np
import pytest

from sklearn_analytic.backend import ACTIVATION_NAMES, backend_for, get_backend
from tests import reference
from tests.checks import assert_close


@pytest.fixture
def a(rng, dtype):
    return rng.standard_normal((2500, 7)).astype(dtype)


def test_gram_and_cross_are_float64_sums(backend, a, dtype):
    wide = a.astype(np.float64)
    on = backend.asarray(a)
    for result, expected in [(backend.gram(on), wide.T @ wide), (backend.cross(on, on[:, :2]), wide.T @ wide[:, :2])]:
        result = backend.to_numpy(result)
        assert result.dtype == np.float64
        assert_close(result, expected, dtype)


@pytest.mark.parametrize("order", ["C", "F"])
def test_matmul_and_gram_in_either_order(backend, a, dtype, order):
    left, right = np.asarray(a, order=order), np.asarray(a[:7], order=order)
    wide = a.astype(np.float64)
    product = backend.matmul(backend.asarray(left), backend.asarray(right))
    assert_close(backend.to_numpy(product), wide @ wide[:7], dtype)
    assert_close(backend.to_numpy(backend.gram(backend.asarray(left))), wide.T @ wide, dtype)
    none = backend.asarray(left[:0])
    np.testing.assert_array_equal(backend.to_numpy(backend.gram(none)), np.zeros((7, 7)))


def test_stack_columns_widens_and_scales(backend, a):
    stacked = backend.to_numpy(backend.stack_columns([backend.asarray(a), backend.asarray(a[:, :1])], [1.0, 0.5]))
    assert stacked.dtype == np.float64
    np.testing.assert_array_equal(stacked, np.hstack([a.astype(float), 0.5 * a[:, :1].astype(float)]))


@pytest.mark.parametrize("n", [1, 5, 7, 40])
def test_qr_r_has_the_gram_of_its_rows(backend, a, n):
    rows = a[:n].astype(np.float64)
    r = backend.to_numpy(backend.qr_r(backend.asarray(rows)))
    assert r.shape == (min(n, 7), 7)
    np.testing.assert_array_equal(r, np.triu(r))
    assert_close(r.T @ r, rows.T @ rows, np.float64)


def test_qr_r_of_no_rows_is_empty(backend):
    assert tuple(backend.qr_r(backend.asarray(np.zeros((0, 3)))).shape) == (0, 3)


def test_solve_upper_right(backend, a):
    r = np.triu(a[:7].astype(np.float64)) + 5 * np.eye(7)
    b = a[7:30].astype(np.float64)
    solved = backend.to_numpy(backend.solve_upper_right(backend.asarray(b.copy()), backend.asarray(r)))
    assert_close(solved @ r, b, np.float64)


def test_cholesky_upper_or_none(backend, a):
    gram = (a.T @ a).astype(np.float64)
    c = backend.to_numpy(backend.cholesky_upper(backend.asarray(gram)))
    assert_close(c.T @ c, gram, np.float64)
    np.testing.assert_array_equal(c, np.triu(c))
    assert backend.cholesky_upper(backend.asarray(-gram)) is None


@pytest.mark.parametrize("name", ACTIVATION_NAMES)
def test_activations(backend, a, dtype, name):
    bias = a[0]
    expected = reference.activate(name, a.astype(np.float64) + bias)
    result = backend.to_numpy(backend.activate(backend.asarray(a.copy()), backend.asarray(bias), name))
    assert result.dtype == dtype
    assert_close(result, expected, dtype)


def test_numpy_is_the_cpu_and_tensors_stay_where_they_are():
    torch = pytest.importorskip("torch")
    assert get_backend("cpu").device == "cpu"
    assert backend_for(torch.zeros(2, 2), "cpu").device == torch.device("cpu")
    assert type(backend_for(torch.zeros(2, 2), "cpu")) is not type(get_backend("cpu"))


@pytest.mark.parametrize("device", ["gpu7", "cuda:999", ""])
def test_unusable_device_says_so(device):
    pytest.importorskip("torch")
    with pytest.raises(ValueError, match="device="):
        get_backend(device)


def test_device_must_be_a_string():
    with pytest.raises(TypeError, match="device must be a string"):
        get_backend(0)
