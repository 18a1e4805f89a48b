"""The photonic mechanism's bounds equal the matrix formula and quadrature, and bound every row within the limits."""

import math

import numpy as np
import pytest
from scipy.stats import norm

from sklearn_analytic.private.accountants import rdp_gaussian
from sklearn_analytic.private.photonic import (
    ORDERS,
    PhotonicBounds,
    divergence_backward,
    divergence_forward,
    photonic_epsilon,
    photonic_noise_for,
    rdp_photonic,
    rdp_poisson,
)

BOUNDS = PhotonicBounds((32, 16), (1.5, 2.0), (1.0, 1.0), (1.0, 0.7), floor=400.0)
POINTS = [(0.0, 0.01), (0.5, 0.0), (0.8, 0.05), (1.5, 0.1)]


def gaussian_divergence(order, mean_p, cov_p, mean_q, cov_q):
    """D_order(N(mean_p, cov_p) || N(mean_q, cov_q)) by determinants; infinite where the blend is not a covariance."""
    blend = order * cov_q + (1 - order) * cov_p
    if np.linalg.eigvalsh(blend)[0] <= 0:
        return np.inf
    difference = mean_p - mean_q
    logs = [np.linalg.slogdet(cov)[1] for cov in (blend, cov_p, cov_q)]
    volume = logs[0] - (1 - order) * logs[1] - order * logs[2]
    return order / 2 * difference @ np.linalg.solve(blend, difference) - volume / (2 * (order - 1))


def by_quadrature(order, p, q):
    """D_order of two densities, as a sum over a fine grid."""
    x = np.linspace(-40, 40, 400_001)
    return math.log(np.sum(np.exp(order * p.logpdf(x) + (1 - order) * q.logpdf(x))) * (x[1] - x[0])) / (order - 1)


@pytest.fixture
def unit(rng):
    """One unit's summed gradient without and with one row: covariance floor + slopes^2 h h^T, mean slopes s h."""
    sigma, floor, h = 0.7, 2.0, rng.standard_normal((9, 5))
    slopes, errors = rng.uniform(0, 1, 9), rng.standard_normal(9)
    v = slopes[:, None] * h
    gram = floor * np.eye(5) + v[1:].T @ v[1:]
    without = errors[1:] @ v[1:], sigma**2 * gram
    present = errors @ v, sigma**2 * (gram + np.outer(v[0], v[0]))
    ratio = v[0] @ np.linalg.solve(gram, v[0])
    shift = abs(errors[0]) * math.sqrt(ratio) / sigma
    return present, without, shift, ratio, v[0] @ v[0] / floor


@pytest.mark.parametrize("order", [1.2, 2, 3.5, 20])
def test_one_dimension_equals_the_matrix_formula(order, unit):
    present, without, shift, ratio, _ = unit
    matrices = gaussian_divergence(order, *present, *without), gaussian_divergence(order, *without, *present)
    np.testing.assert_allclose(divergence_forward(order, shift, ratio), matrices[0], rtol=1e-10)
    np.testing.assert_allclose(divergence_backward(order, shift, ratio), matrices[1], rtol=1e-10)


@pytest.mark.parametrize("order", [1.3, 2, 5])
@pytest.mark.parametrize(("shift", "ratio"), POINTS)
def test_one_dimension_equals_quadrature(shift, ratio, order):
    wide, unit_normal = norm(shift, math.sqrt(1 + ratio)), norm(0, 1)
    forward, backward = by_quadrature(order, wide, unit_normal), by_quadrature(order, unit_normal, wide)
    np.testing.assert_allclose(divergence_forward(order, shift, ratio), forward, rtol=1e-9, atol=1e-11)
    np.testing.assert_allclose(divergence_backward(order, shift, ratio), backward, rtol=1e-9, atol=1e-11)


def test_orders_beyond_the_reach_are_infinite(unit):
    present, without, shift, ratio, _ = unit
    edge = 1 + 1 / ratio
    assert np.isfinite(divergence_forward(0.999 * edge, shift, ratio))
    assert np.isinf(divergence_forward([edge * (1 + 1e-12), 2 * edge], shift, ratio)).all()
    assert gaussian_divergence(1.001 * edge, *present, *without) == np.inf
    assert np.isfinite(divergence_backward(100 * edge, shift, ratio))


def test_forward_is_the_larger_direction_and_both_grow_with_the_ratio(rng):
    orders, shift = rng.uniform(1.01, 60, 2000), rng.exponential(1, 2000)
    ratio = rng.uniform(0, 0.99, 2000) / (orders - 1)
    for divergence in (divergence_forward, divergence_backward):
        lower = divergence(orders, shift * np.sqrt(0.7), 0.7 * ratio)  # the shift goes with the root of the ratio
        assert np.all(lower <= divergence(orders, shift, ratio) * (1 + 1e-9))
    assert np.all(divergence_backward(orders, shift, ratio) <= divergence_forward(orders, shift, ratio) * (1 + 1e-9))


@pytest.mark.parametrize("seed", range(10))
def test_worst_case_dominates_random_layers(seed):
    """Sum over units of the exact divergences, rows and errors within the bounds, any other rows in the batch."""
    rng = np.random.default_rng(seed)
    n_units, d, sigma, floor = 6, 4, 0.8, 30.0
    bounds = PhotonicBounds((n_units,), (1.3,), (0.9,), (1.1,), floor)
    h = rng.standard_normal((8, d))
    h *= 1.3 / np.linalg.norm(h, axis=1, keepdims=True)
    error = rng.standard_normal((8, n_units))
    error *= 1.1 / np.linalg.norm(error, axis=1, keepdims=True)
    slopes = rng.uniform(-0.9, 0.9, (8, n_units))
    slopes[0, rng.random(n_units) < 0.5] = 0.9
    orders = np.array([1.5, 3.0, 10.0, 20.0])
    spent = np.zeros((2, len(orders)))
    first = 0 if seed % 2 else 8  # with and without company in the batch
    for j in range(n_units):
        v = slopes[:, j : j + 1] * h
        others = slice(1, max(first, 1))
        gram = floor * np.eye(d) + v[others].T @ v[others]
        without = np.zeros(d), sigma**2 * gram
        present = error[0, j] * v[0], sigma**2 * (gram + np.outer(v[0], v[0]))
        spent[0] += [gaussian_divergence(a, *present, *without) for a in orders]
        spent[1] += [gaussian_divergence(a, *without, *present) for a in orders]
    assert np.all(spent.max(axis=0) <= rdp_photonic(orders, bounds, sigma, math.inf))


def test_worst_case_is_attained():
    """One unit, a row at its bounds, alone in the batch."""
    bounds = PhotonicBounds((1,), (2.0,), (0.5,), (0.6,), floor=50.0)
    ratio = 1 / 50
    expected = divergence_forward([2.0, 9.0], 0.6 * math.sqrt(ratio) / 0.3, ratio)
    np.testing.assert_allclose(rdp_photonic([2.0, 9.0], bounds, 0.3, math.inf), expected, rtol=1e-14)


def test_bounds_are_never_below_the_gaussian_floor_alone():
    """The floor by itself is a Gaussian mechanism of sensitivity slope * input * error: at worst, optics only cost."""
    sigma = 2.0
    squares = sum((g * t * e) ** 2 for g, t, e in zip(BOUNDS.slope, BOUNDS.input_norm, BOUNDS.error_norm, strict=True))
    alone = ORDERS * squares / (2 * sigma**2 * BOUNDS.floor)
    assert np.all(rdp_photonic(ORDERS, BOUNDS, sigma, math.inf) > alone)


def test_steps_layers_and_output_compose():
    one = rdp_photonic(ORDERS, BOUNDS, 2.0, 10.0)
    np.testing.assert_allclose(rdp_photonic(ORDERS, BOUNDS, 2.0, 10.0, n_steps=7), 7 * one)
    layers = [
        PhotonicBounds((n,), (t,), (g,), (e,), BOUNDS.floor)
        for n, t, g, e in zip(BOUNDS.n_units, BOUNDS.input_norm, BOUNDS.slope, BOUNDS.error_norm, strict=True)
    ]
    parts = sum(rdp_photonic(ORDERS, layer, 2.0, math.inf) for layer in layers)
    np.testing.assert_allclose(parts + ORDERS / 200, one)
    none = PhotonicBounds((0,), (1.0,), (1.0,), (1.0,), 1.0)
    np.testing.assert_allclose(rdp_photonic(ORDERS, none, 1.0, 3.0), ORDERS / 18)
    np.testing.assert_array_equal(rdp_photonic(ORDERS, BOUNDS, 0.0, 1.0), np.inf)
    np.testing.assert_array_equal(rdp_photonic(ORDERS, BOUNDS, 1.0, 0.0), np.inf)
    np.testing.assert_array_equal(rdp_photonic(ORDERS, BOUNDS, 0.0, 0.0, n_steps=0), 0)


@pytest.mark.parametrize("sigma", [0.7, 2.0, 8.0])
@pytest.mark.parametrize("q", [1e-6, 0.01, 0.3, 0.9])
def test_sampling_bound_is_above_the_exact_gaussian(q, sigma):
    bound = rdp_poisson(lambda orders: orders / (2 * sigma**2), q, ORDERS)
    assert np.all(bound >= rdp_gaussian(q, sigma, ORDERS) * (1 - 1e-9))
    assert np.all(bound <= ORDERS / (2 * sigma**2))
    # At order 2 the bound is exact: its factor 3 starts at order 3.
    np.testing.assert_allclose(bound[0], rdp_gaussian(q, sigma, [2])[0], rtol=1e-9)


def test_sampling_bound_at_the_ends():
    def rdp(orders):
        return np.where(np.asarray(orders) < 20, 0.1 * np.asarray(orders), np.inf)

    np.testing.assert_array_equal(rdp_poisson(rdp, 1.0, ORDERS), rdp(ORDERS))
    np.testing.assert_array_equal(rdp_poisson(rdp, 0.0, ORDERS), 0)
    sampled = rdp_poisson(rdp, 0.1, [2, 19, 20])
    assert np.isfinite(sampled[:2]).all() and np.isinf(sampled[2])
    assert rdp_poisson(rdp, 0.1, [4.2])[0] == pytest.approx(min(rdp(4.2), rdp_poisson(rdp, 0.1, [5.0])[0]))


@pytest.mark.parametrize("q", [0.02, 0.5])
@pytest.mark.parametrize(("shift", "ratio"), [(0.3, 0.02), (1.0, 0.05), (0.0, 0.1)])
def test_sampling_bound_covers_both_directions_of_unequal_variances(shift, ratio, q):
    x = np.linspace(-30, 30, 200_001)
    p, absent = norm.logpdf(x, shift, math.sqrt(1 + ratio)), norm.logpdf(x)
    mixture = np.logaddexp(math.log1p(-q) + absent, math.log(q) + p)
    orders = np.array([2.0, 3.0, 5.0, 9.0])
    bound = rdp_poisson(lambda orders: divergence_forward(orders, shift, ratio), q, orders)
    for one, other in [(mixture, absent), (absent, mixture)]:
        exact = [np.log(np.sum(np.exp(a * one + (1 - a) * other)) * (x[1] - x[0])) / (a - 1) for a in orders]
        assert np.all(exact <= bound + 1e-12)


def test_privacy_is_monotone():
    def spent(noise=2.0, output=20.0, q=0.1, n_steps=50, delta=1e-5, bounds=BOUNDS):
        return photonic_epsilon(bounds, noise, output, q, n_steps, delta)

    higher = PhotonicBounds((32, 16), (1.5, 2.0), (1.0, 1.0), (1.0, 0.7), floor=800.0)
    assert spent(noise=4.0) < spent() < spent(noise=1.0)
    assert spent(output=40.0) < spent() < spent(output=10.0)
    assert spent(q=0.05) < spent() < spent(q=0.2) < spent(q=1.0)
    assert spent(n_steps=25) < spent() < spent(n_steps=100)
    assert spent(delta=1e-4) < spent() < spent(delta=1e-6)
    assert spent(bounds=higher) < spent()


@pytest.mark.parametrize(("q", "n_steps", "epsilon"), [(1.0, 10, 3.0), (0.05, 500, 3.0), (0.01, 2000, 1.0)])
def test_noise_search_is_safe_and_tight(q, n_steps, epsilon):
    sigma = photonic_noise_for(epsilon, 1e-5, BOUNDS, 20.0, q, n_steps)
    spent = [photonic_epsilon(BOUNDS, s, 20.0, q, n_steps, 1e-5) for s in (sigma, 0.998 * sigma)]
    assert spent[0] <= epsilon < spent[1]


def test_a_budget_below_the_cost_of_the_output_layer_is_refused():
    with pytest.raises(ValueError, match=r"no noise reaches this budget.*floor above 400"):
        photonic_noise_for(0.1, 1e-5, BOUNDS, 1.0, 1.0, 10)


@pytest.mark.parametrize("floor", [0.0, -1.0, math.nan])
def test_without_a_floor_it_is_not_private(floor):
    with pytest.raises(ValueError, match=r"floor=.*expected.*not private.*removing a row"):
        PhotonicBounds((3,), (1.0,), (1.0,), (1.0,), floor=floor)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: PhotonicBounds((3, 4), (1.0,), (1.0,), (1.0,), 1.0), "one entry per hidden layer"),
        (lambda: PhotonicBounds((), (), (), (), 1.0), "at least one layer"),
        (lambda: PhotonicBounds((3,), (math.inf,), (1.0,), (1.0,), 1.0), "input_norm=inf; expected"),
        (lambda: PhotonicBounds((3,), (1.0,), (math.nan,), (1.0,), 1.0), "slope=nan; expected"),
        (lambda: rdp_photonic([2], BOUNDS, -1.0, 1.0), "noise_scale=-1.0; expected"),
        (lambda: rdp_photonic([2], BOUNDS, 1.0, math.nan), "output_noise_multiplier=nan; expected"),
        (lambda: rdp_photonic([2], BOUNDS, 1.0, 1.0, sample_rate=2), "sample_rate=2; expected"),
        (lambda: rdp_photonic([2], BOUNDS, 1.0, 1.0, n_steps=-2), "n_steps=-2; expected"),
        (lambda: rdp_photonic([1], BOUNDS, 1.0, 1.0), "orders=.*expected"),
        (lambda: photonic_noise_for(0, 1e-5, BOUNDS, 1.0, 1.0, 1), "epsilon=0; expected"),
        (lambda: photonic_noise_for(1, 0, BOUNDS, 1.0, 1.0, 1), "delta=0; expected"),
    ],
)
def test_bad_inputs_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
