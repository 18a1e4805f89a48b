"""Accountants equal quadrature and published values, bound what they claim to bound, and refuse bad budgets."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate, optimize
from scipy.special import ndtr
from scipy.stats import norm

from sklearn_analytic.private import accountants as _accountants
from sklearn_analytic.private.accountants import (
    ORDERS,
    epsilon_from_rdp,
    noise_multiplier_for,
    prv_epsilon,
    rdp_epsilon,
    rdp_gaussian,
)

RATES, NOISES = [1e-3, 0.1, 0.5, 0.9], [0.5, 1.0, 4.0]
MNIST = [(0.004, 1.3, 15 * 250), (0.004, 1.1, 60 * 250), (0.004, 0.7, 45 * 250)]  # rate, noise, steps


def divergence_by_quadrature(q, sigma, order, towards_mixture=False):
    """D_order(mixture || noise), or with its arguments exchanged, as an integral over outputs."""

    def ratio(z):
        return np.logaddexp(math.log1p(-q), math.log(q) + (z - 0.5) / sigma**2)

    power = 1 - order if towards_mixture else order
    edges = np.linspace(-12 * sigma - order, 12 * sigma + order + 1, 400)
    total = sum(
        integrate.fixed_quad(lambda z: np.exp(norm.logpdf(z, scale=sigma) + power * ratio(z)), a, b, n=12)[0]
        for a, b in itertools.pairwise(edges)
    )
    return math.log(total) / (order - 1)


def exact_gaussian_epsilon(mu, delta):
    """Epsilon of a Gaussian of sensitivity over noise mu: Balle and Wang 2018, theorem 8."""

    def excess(epsilon):
        return ndtr(mu / 2 - epsilon / mu) - math.exp(epsilon) * ndtr(-mu / 2 - epsilon / mu) - delta

    return optimize.brentq(excess, 0, mu**2 / 2 + 10 * mu + 1, xtol=1e-12)


@pytest.mark.parametrize("sigma", NOISES)
@pytest.mark.parametrize("q", RATES)
def test_rdp_is_the_divergence_of_the_mixture(q, sigma):
    orders = np.array([1.1, 1.5, 2, 2.7, 3, 5.25, 8, 10.9])
    expected = [divergence_by_quadrature(q, sigma, order) for order in orders]
    rdp = rdp_gaussian(q, sigma, orders)
    np.testing.assert_allclose(rdp, expected, rtol=1e-10, atol=1e-8)
    assert np.all(rdp - expected >= -1e-14)  # what the series leaves out is added, not lost
    whole = orders == np.floor(orders)
    np.testing.assert_allclose(rdp[whole], np.array(expected)[whole], rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize("sigma", NOISES)
@pytest.mark.parametrize("q", RATES)
def test_rdp_covers_the_other_direction(q, sigma):
    orders = [1.5, 2, 5, 8]
    other = np.array([divergence_by_quadrature(q, sigma, order, towards_mixture=True) for order in orders])
    assert np.all(rdp_gaussian(q, sigma, orders) >= other - 1e-13)


def test_rdp_at_the_ends():
    orders = np.array([1.5, 2, 30])
    np.testing.assert_allclose(rdp_gaussian(1.0, 3.0, orders), orders / 18, rtol=1e-15)
    np.testing.assert_array_equal(rdp_gaussian(0.0, 3.0, orders), 0)
    np.testing.assert_array_equal(rdp_gaussian(0.3, 0.0, orders), np.inf)
    np.testing.assert_array_equal(rdp_gaussian(0.0, 0.0, orders), 0)
    np.testing.assert_allclose(rdp_gaussian(1 - 1e-12, 3.0, orders), orders / 18, rtol=1e-9)


@pytest.mark.parametrize("q", [1e-9, 1e-5])
def test_rdp_keeps_its_digits_where_almost_nothing_is_spent(q):
    # To leading order in q: order / 2 * q^2 * (e^(1/sigma^2) - 1).
    expected = np.array([2.0, 16.0]) / 2 * q**2 * math.expm1(1 / 16)
    np.testing.assert_allclose(rdp_gaussian(q, 4.0, [2, 16]), expected, rtol=1e-3)


@pytest.mark.parametrize("sigma", [1e-200, 1e-5, 0.01, 0.1, 1e5, 1e150])
@pytest.mark.parametrize("q", [1e-12, 0.3, 1 - 1e-15])
def test_rdp_is_never_nan_and_never_decreases_with_the_order(q, sigma):
    rdp = rdp_gaussian(q, sigma, ORDERS)
    assert not np.any(np.isnan(rdp)) and np.all(rdp >= 0)
    finite = rdp[np.isfinite(rdp)]
    assert np.all(np.diff(finite) >= -1e-10 * (1 + finite[1:]))


def test_conversion_is_the_minimum_over_orders():
    rdp, orders = np.array([0.2, 0.9]), np.array([3.0, 20.0])
    direct = [
        r + math.log((a - 1) / a) - (math.log(1e-6) + math.log(a)) / (a - 1) for r, a in zip(rdp, orders, strict=True)
    ]
    assert epsilon_from_rdp(rdp, orders, 1e-6) == (pytest.approx(min(direct)), orders[np.argmin(direct)])
    assert epsilon_from_rdp([0.0], [2.0], 0.9)[0] == 0.0
    assert epsilon_from_rdp([np.inf, np.inf], [2, 3], 1e-5)[0] == np.inf


def test_moments_accountant_of_abadi_2016():
    """Section 3.2: q = 0.01, sigma = 4, 10^4 steps, delta = 1e-5 spend 1.26, with the conversion of that paper."""
    orders = np.arange(2, 34)  # the paper's moments 1 to 32
    rdp = 10_000 * rdp_gaussian(0.01, 4.0, orders)
    assert np.min(rdp + math.log(1e5) / (orders - 1)) == pytest.approx(1.26, abs=0.005)
    assert epsilon_from_rdp(rdp, orders, 1e-5)[0] < 1.26


@pytest.mark.parametrize(
    ("q", "published"), [(0.004, [1.16, 2.91, 6.86]), (256 / 60_000, [1.19, 3.01, 7.10])], ids=["current", "before"]
)
def test_published_mnist_runs_of_opacus(q, published):
    """Two versions of the README of Opacus's MNIST example; both use the older, looser conversion."""
    for epsilon, (_, sigma, n_steps) in zip(published, MNIST, strict=True):
        n_steps = round(n_steps * 0.004 / q)  # epochs are what the README states
        older = n_steps * rdp_gaussian(q, sigma, ORDERS) + math.log(1e5) / (ORDERS - 1)
        assert np.min(older) == pytest.approx(epsilon, abs=0.006)
        assert prv_epsilon(q, sigma, n_steps, 1e-5) < rdp_epsilon(q, sigma, n_steps, 1e-5) < epsilon


@pytest.mark.parametrize("delta", [1e-3, 1e-5, 1e-9])
@pytest.mark.parametrize(("sigma", "n_steps"), [(10.0, 1), (2.0, 1), (0.7, 1), (5.0, 10), (40.0, 1000)])
def test_prv_without_sampling_is_the_exact_gaussian(sigma, n_steps, delta):
    exact = exact_gaussian_epsilon(math.sqrt(n_steps) / sigma, delta)
    assert exact <= prv_epsilon(1.0, sigma, n_steps, delta) <= exact + 0.02


@pytest.mark.parametrize("q", [0.05, 0.5])
def test_prv_of_one_step_is_above_the_exact_profile(q):
    """One subsampled step: delta(epsilon) of both directions in closed form of the mixture."""
    sigma, delta = 1.0, 1e-4

    def removed(epsilon):
        z = sigma**2 * math.log((math.exp(epsilon) - 1 + q) / q) + 0.5
        mixture = q * ndtr((1 - z) / sigma) + (1 - q) * ndtr(-z / sigma)
        return mixture - math.exp(epsilon) * ndtr(-z / sigma) - delta

    exact = optimize.brentq(removed, 1e-9, 20)
    assert exact <= prv_epsilon(q, sigma, 1, delta) <= exact + 0.02


@pytest.mark.parametrize("sign", [1, -1])
def test_both_losses_keep_their_moments_on_the_grid(sign):
    """Total mass 1, the mean as by quadrature, and E[e^-loss] = 1: each loss is a ratio of two distributions."""
    q, sigma, cell, half = 0.1, 0.9, 1e-4, 120_000
    mass, shift = _accountants._loss_on_grid(q, sigma, 11.0, cell, half, sign)
    losses = cell * np.fft.fftfreq(len(mass), 1 / len(mass)) + shift
    assert mass.sum() == pytest.approx(1, abs=1e-12)
    assert mass @ np.exp(-losses) == pytest.approx(1, abs=1e-6)
    step = 1e-4
    z = np.arange(-12, 13, step)
    loss = np.log(1 - q + q * np.exp((z - 0.5) / sigma**2))
    under = norm.pdf(z, scale=sigma) * (np.exp(loss) if sign > 0 else 1)
    assert mass @ losses == pytest.approx(sign * np.sum(under * loss) * step, abs=1e-9)


def test_prv_falls_back_to_the_renyi_bound_where_the_grid_cannot_vouch():
    assert prv_epsilon(0.1, 1.0, 100, 1e-30) == rdp_epsilon(0.1, 1.0, 100, 1e-30)
    assert prv_epsilon(0.5, 0.02, 100, 1e-5) == rdp_epsilon(0.5, 0.02, 100, 1e-5) > 500
    assert prv_epsilon(1e-9, 5.0, 1, 1e-5) <= rdp_epsilon(1e-9, 5.0, 1, 1e-5) < 0.01


@pytest.mark.parametrize("epsilon_of", [rdp_epsilon, prv_epsilon])
@settings(max_examples=4, deadline=None)
@given(
    q=st.floats(1e-3, 0.5), sigma=st.floats(0.6, 8), n_steps=st.integers(1, 500), delta=st.sampled_from([1e-4, 1e-6])
)
def test_privacy_is_monotone(epsilon_of, q, sigma, n_steps, delta):
    epsilon = epsilon_of(q, sigma, n_steps, delta)
    loose = 0.0 if epsilon_of is rdp_epsilon else 1e-3 * (1 + epsilon)  # the grid differs between calls
    assert epsilon <= epsilon_of(q, sigma, 2 * n_steps, delta) + loose
    assert epsilon <= epsilon_of(min(1.0, 1.5 * q), sigma, n_steps, delta) + loose
    assert epsilon >= epsilon_of(q, 1.2 * sigma, n_steps, delta) - loose
    assert epsilon <= epsilon_of(q, sigma, n_steps, delta / 10) + loose
    assert epsilon <= rdp_epsilon(q, sigma, n_steps, delta)


def test_composition_adds_renyi_bounds():
    rdp = rdp_gaussian(0.02, 1.5, ORDERS)
    assert epsilon_from_rdp(700 * rdp, ORDERS, 1e-5)[0] == rdp_epsilon(0.02, 1.5, 700, 1e-5)
    assert rdp_epsilon(0.02, 1.5, 0, 1e-5) == prv_epsilon(0.02, 1.5, 0, 1e-5) == 0.0


@pytest.mark.parametrize("accountant", ["rdp", "prv"])
@pytest.mark.parametrize(("epsilon", "q", "n_steps"), [(0.5, 0.01, 1000), (3.0, 0.004, 5000), (8.0, 1.0, 20)])
def test_noise_search_is_safe_and_tight(epsilon, q, n_steps, accountant):
    spent = {"rdp": rdp_epsilon, "prv": prv_epsilon}[accountant]
    sigma = noise_multiplier_for(epsilon, 1e-5, q, n_steps, accountant)
    assert spent(q, sigma, n_steps, 1e-5) <= epsilon < spent(q, 0.998 * sigma, n_steps, 1e-5)


def test_noise_search_at_its_ends():
    assert noise_multiplier_for(1.0, 1e-5, 0.0, 10) == noise_multiplier_for(1.0, 1e-5, 0.5, 0) == 0.0
    with pytest.raises(ValueError, match="no noise reaches this budget"):
        noise_multiplier_for(1e-6, 1e-9, 1.0, 10, "rdp")


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: rdp_gaussian(1.5, 1, [2]), "sample_rate=1.5; expected"),
        (lambda: rdp_gaussian(math.nan, 1, [2]), "sample_rate=nan; expected"),
        (lambda: rdp_gaussian(0.5, -1, [2]), "noise_multiplier=-1; expected"),
        (lambda: rdp_gaussian(0.5, math.inf, [2]), "noise_multiplier=inf; expected"),
        (lambda: rdp_gaussian(0.5, 1, [1.0, 2]), "orders=.*expected"),
        (lambda: rdp_gaussian(0.5, 1, []), "orders=.*expected"),
        (lambda: epsilon_from_rdp([1.0], [2, 3], 1e-5), "rdp has shape"),
        (lambda: epsilon_from_rdp([1.0], [2], 0), "delta=0; expected"),
        (lambda: rdp_epsilon(0.5, 1, 10, 1.0), "delta=1.0; expected"),
        (lambda: rdp_epsilon(0.5, 1, -1, 1e-5), "n_steps=-1; expected"),
        (lambda: rdp_epsilon(0.5, 1, 2.5, 1e-5), "n_steps=2.5; expected"),
        (lambda: rdp_epsilon(0.5, 1, math.inf, 1e-5), "n_steps=inf; expected"),
        (lambda: prv_epsilon(0.5, 1, 10, 1e-5, epsilon_error=0), "epsilon_error=0; expected"),
        (lambda: noise_multiplier_for(0, 1e-5, 0.5, 10), "epsilon=0; expected"),
        (lambda: noise_multiplier_for(1, 1e-5, 0.5, 10, "gdp"), "accountant='gdp'; expected"),
    ],
)
def test_bad_inputs_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


WHOLE = np.arange(2.0, 65)


@pytest.mark.parametrize("setting", [*MNIST, (0.01, 1.0, 1000), (0.1, 2.0, 100)])
def test_against_another_library(setting):
    dp = pytest.importorskip("dp_accounting", reason="needs the extra test")
    q, sigma, n_steps = setting
    step = dp.PoissonSampledDpEvent(q, dp.GaussianDpEvent(sigma))
    theirs = dp.rdp.RdpAccountant(WHOLE.tolist()).compose(step, n_steps)
    mine = n_steps * rdp_gaussian(q, sigma, WHOLE)
    assert epsilon_from_rdp(mine, WHOLE, 1e-5)[0] == pytest.approx(theirs.get_epsilon(1e-5), rel=1e-9)
    # At fractional orders the library adds the sizes of terms whose signs alternate: a bound, and not below the sum.
    bound = dp.rdp.RdpAccountant(ORDERS.tolist()).compose(step, n_steps).get_epsilon(1e-5)
    assert 0.999 * bound < rdp_epsilon(q, sigma, n_steps, 1e-5) <= bound * (1 + 1e-9)
    losses = dp.pld.PLDAccountant().compose(step, n_steps).get_epsilon(1e-5)
    assert losses <= prv_epsilon(q, sigma, n_steps, 1e-5) <= losses + 0.011
