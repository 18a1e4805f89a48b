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


@pytest.mark.parametrize("d", [1, 4, 7])
def test_l1_distances(backend, a, dtype, d):
    x, centres = a[:50, :d], a[50:1200, :d]  # more centres than one stretch of the compiled kernel
    found = backend.to_numpy(backend.l1_distances(backend.asarray(x), backend.asarray(centres)))
    assert found.dtype == dtype
    assert_close(found, reference.l1_distances(x.astype(np.float64), centres.astype(np.float64)), dtype)
    part = backend.to_numpy(backend.l1_distances(backend.asarray(x[7:9]), backend.asarray(centres)))
    np.testing.assert_array_equal(part, found[7:9])
    none = backend.l1_distances(backend.asarray(x[:0]), backend.asarray(centres))
    assert tuple(none.shape) == (0, 1150)


def test_cell_signs(backend, a, dtype, rng):
    x = (8 * a[:30]).round().astype(dtype) / 8  # exact products: no bin hangs on rounding
    x[0] = 1e30
    pitch, shift = (
        rng.integers(1, 5, (7, 9)).astype(dtype),
        rng.integers(0, 8, (7, 9)).astype(dtype) / 8 + dtype.type(1 / 16),
    )
    multipliers, offset = rng.integers(-(2**63), 2**63 - 1, (7, 9)), rng.integers(-(2**63), 2**63 - 1, 9)
    on = [backend.asarray(part) for part in (x, pitch, shift, multipliers, offset)]
    found = backend.to_numpy(backend.cell_signs(*on))
    assert found.dtype == dtype
    near = reference.binning_signs(x[1:], pitch, shift, multipliers, offset)
    np.testing.assert_array_equal(found[1:], near)
    assert np.all(np.abs(found[0]) == 1)


@pytest.mark.parametrize(("shape", "size", "stride"), [((1, 5, 6), (2, 3), (1, 1)), ((3, 7, 4), (3, 4), (2, 1))])
def test_unroll_patches(backend, dtype, rng, shape, size, stride):
    images = rng.standard_normal((4, *shape)).astype(dtype)
    images[0] = 1  # blank patches stay finite
    found = backend.to_numpy(backend.unroll_patches(backend.asarray(images), size, stride, 0.01))
    assert found.dtype == dtype
    assert_close(found, reference.patch_rows(images.astype(np.float64), size, stride, 0.01), dtype)
    none = backend.unroll_patches(backend.asarray(images[:0]), size, stride, 0.01)
    assert tuple(none.shape) == (0, found.shape[1])


def test_pool_responses(backend, a, dtype):
    cells = np.array([0, 0, 1, 2, 2, 1, 2, 0, 0, 1])
    found = backend.to_numpy(backend.pool_responses(backend.asarray(a), 0.25, cells))
    assert found.dtype == dtype
    assert_close(found, reference.pooled(a.astype(np.float64), 0.25, cells), dtype)
    assert tuple(backend.pool_responses(backend.asarray(a[:0]), 0.25, cells).shape) == (0, found.shape[1])


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
