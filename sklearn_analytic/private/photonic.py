"""The photonic mechanism: direct feedback whose random projection is computed with additive optical noise.

The summed gradient of a hidden unit is Gaussian given the rows, but its covariance depends on them: what one row
costs is the divergence of two one-dimensional Gaussians of different variance. docs/theory/privacy.md derives it.
"""

import math
from dataclasses import dataclass

import numpy as np

from sklearn_analytic.private.accountants import (
    check_delta,
    check_number,
    check_orders,
    check_steps,
    epsilon_from_rdp,
    least_noise,
    log_sampled_moment,
)

# Whole orders: the bound for sampled rows exists at these only. Small ones matter, as orders end at 1 + 1/r.
ORDERS = np.concatenate([np.arange(2, 65), [72, 80, 96, 112, 128, 160, 192, 256]]).astype(np.float64)


@dataclass(frozen=True)
class PhotonicBounds:
    r"""What is known of one row's share in each hidden layer, whatever the row is; one entry per hidden layer.

    Parameters
    ----------
    n_units : tuple of int
        Hidden units that receive an optical projection.
    input_norm : tuple of float
        Bound of the norm of what the layer reads, the constant 1 of the bias included (clip it).
    slope : tuple of float
        Bound of the absolute slope of the activation: 1 for tanh and ReLU, 1/4 for the logistic function.
    error_norm : tuple of float
        Bound of the norm of the projected output error of one row, over all units of the layer (clip it).
    floor : float
        :math:`\lambda`, the variance of the electronic noise over that of the optical noise; above 0.

    Raises
    ------
    ValueError
        If a bound is out of its range, the layers do not match, or there is no floor.

    Examples
    --------
    >>> from sklearn_analytic.private.photonic import PhotonicBounds
    >>> PhotonicBounds((64,), (2.0,), (1.0,), (1.0,), floor=100.0).ratio
    array([0.04])
    """

    n_units: tuple
    input_norm: tuple
    slope: tuple
    error_norm: tuple
    floor: float

    def __post_init__(self):
        """Refuse bounds that do not bound: they would certify a training that is not private."""
        if not self.floor > 0 or math.isinf(self.floor):
            raise ValueError(
                f"floor={self.floor!r}; expected a finite number > 0. Without it the mechanism is not private: the "
                "covariance of the noise is spanned by the rows, so removing a row can change which gradients are "
                "possible at all, and the divergence is infinite."
            )
        if not len(self.n_units) == len(self.input_norm) == len(self.slope) == len(self.error_norm) > 0:
            raise ValueError(f"{self!r}; expected one entry per hidden layer in every bound, and at least one layer.")
        for name in ("n_units", "input_norm", "slope", "error_norm"):
            for value in getattr(self, name):
                check_number(name, value, 0, np.inf, "finite numbers >= 0")

    @property
    def ratio(self):
        """Return r per layer (L,): the most that one row can add to a unit's variance along its own direction."""
        return (np.multiply(self.slope, self.input_norm)) ** 2 / self.floor


def divergence_forward(orders, shift, ratio):
    r"""Return :math:`D_\alpha(N(a,1+r)\,\|\,N(0,1))`, the row present against absent; infinite from 1 + 1/r on.

    Parameters
    ----------
    orders : array-like
        Orders above 1.
    shift, ratio : array-like
        a and r >= 0; all three broadcast.

    Returns
    -------
    ndarray
        Divergences.

    Examples
    --------
    >>> from sklearn_analytic.private.photonic import divergence_forward
    >>> divergence_forward([2.0, 3.0], shift=1.0, ratio=0.0)  # a shift alone: order / 2
    array([1. , 1.5])
    """
    orders, ratio = np.asarray(orders, dtype=np.float64), np.asarray(ratio, dtype=np.float64)
    left = 1 - (orders - 1) * ratio
    safe = np.where(left > 0, left, 1.0)
    value = -np.log1p(ratio) / 2 - np.log(safe) / (2 * (orders - 1)) + orders * np.square(shift) / (2 * safe)
    return np.where(left > 0, value, np.inf)


def divergence_backward(orders, shift, ratio):
    r"""Return :math:`D_\alpha(N(0,1)\,\|\,N(a,1+r))`, the row absent against present; finite at every order.

    Parameters
    ----------
    orders, shift, ratio
        As in :func:`divergence_forward`.

    Returns
    -------
    ndarray
        Divergences.

    Examples
    --------
    >>> from sklearn_analytic.private.photonic import divergence_backward
    >>> divergence_backward([2.0, 3.0], shift=1.0, ratio=0.0)
    array([1. , 1.5])
    """
    orders, ratio = np.asarray(orders, dtype=np.float64), np.asarray(ratio, dtype=np.float64)
    wide = orders * ratio
    spread = (orders * np.log1p(ratio) - np.log1p(wide)) / (2 * (orders - 1))
    return spread + orders * np.square(shift) / (2 * (1 + wide))


def rdp_photonic(orders, bounds, noise_scale, output_noise_multiplier, sample_rate=1.0, n_steps=1):
    r"""Return a Rényi bound of ``n_steps`` photonic steps over all hidden units and the output layer.

    A step without sampling costs :math:`\sum_l\big[D_\alpha(a_l,r_l)+(n_l-1)D_\alpha(0,r_l)\big]
    +\alpha/(2\sigma_o^2)` with :math:`a_l^2=\tau_l^2r_l/\sigma^2`: the divergence is linear in the squared shift,
    and the squared shifts of a layer's units share one bound. The last term is the output layer's. Both directions
    are computed and the larger one counts. Sampling amplifies by :func:`rdp_poisson`.

    Parameters
    ----------
    orders : array-like of shape (a,)
        Orders above 1. Where rows are sampled, a fractional order is charged as the next whole one.
    bounds : PhotonicBounds
        What clipping guarantees per layer.
    noise_scale : float
        :math:`\sigma`, the standard deviation of the optical noise of one projected error; 0 is no privacy.
    output_noise_multiplier : float
        Noise over clipped norm of the output layer's own gradient, which has no optical noise; infinite only if that
        layer is not trained.
    sample_rate : float, default=1.0
        Poisson sampling rate, in [0, 1].
    n_steps : int, default=1
        Number of steps.

    Returns
    -------
    ndarray of shape (a,)
        Bounds, infinite where an order is out of reach.

    Raises
    ------
    ValueError
        If an argument is out of its range.

    Examples
    --------
    >>> from sklearn_analytic.private.photonic import PhotonicBounds, rdp_photonic
    >>> bounds = PhotonicBounds((64,), (2.0,), (1.0,), (1.0,), floor=100.0)
    >>> rdp_photonic([2, 8, 30], bounds, noise_scale=1.0, output_noise_multiplier=4.0).round(3)
    array([0.155, 0.719,   inf])
    """
    orders = check_orders(orders)
    check_steps(n_steps)
    check_number("sample_rate", sample_rate, 0, 1, "a probability in [0, 1]")
    check_number("noise_scale", noise_scale, 0, np.inf, "a finite number >= 0")
    if not output_noise_multiplier >= 0:
        raise ValueError(f"output_noise_multiplier={output_noise_multiplier!r}; expected a number >= 0, or infinity.")
    if n_steps == 0:
        return np.zeros_like(orders)

    def one_step(orders):
        return _hidden_rdp(orders, bounds, noise_scale) + _gaussian_rdp(orders, output_noise_multiplier)

    return n_steps * rdp_poisson(one_step, sample_rate, orders)


def rdp_poisson(rdp, sample_rate, orders):
    r"""Return the Rényi bound of any mechanism on Poisson-sampled rows, from its bound on all rows.

    With :math:`\rho` the bound without sampling and a whole order :math:`\alpha\ge2`,

    .. math:: \rho_q(\alpha)\le\frac1{\alpha-1}\ln\Big[(1-q)^{\alpha-1}(\alpha q-q+1)+\binom\alpha2q^2
        (1-q)^{\alpha-2}e^{\rho(2)}+3\sum_{k=3}^\alpha\binom\alpha kq^k(1-q)^{\alpha-k}e^{(k-1)\rho(k)}\Big],

    the general upper bound of Zhu and Wang. It is replaced by :math:`\rho(\alpha)` where that is smaller: a mixture
    never diverges more than its parts.

    Parameters
    ----------
    rdp : callable
        Bounds without sampling, of both directions, for an array of orders.
    sample_rate : float
        q; at 1 the bound is that of ``rdp``, at 0 it is 0.
    orders : array-like of shape (a,)
        Orders above 1; for 0 < q < 1 a fractional one is charged as the next whole one.

    Returns
    -------
    ndarray of shape (a,)
        Bounds.

    References
    ----------
    Y. Zhu, Y.-X. Wang, "Poisson subsampled Rényi differential privacy", ICML 2019 (general upper bound).

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_analytic.private.photonic import rdp_poisson
    >>> rdp_poisson(lambda orders: orders / 2, 0.01, [2, 4]).round(5)
    array([0.00017, 0.00042])
    """
    orders = check_orders(orders)
    if sample_rate == 0:
        return np.zeros_like(orders)
    if sample_rate == 1:
        return rdp(orders)
    plain = rdp(orders)
    whole = rdp(np.arange(2.0, math.ceil(orders.max()) + 1))
    with np.errstate(divide="ignore", invalid="ignore"):
        amplified = [_amplified(whole, sample_rate, math.ceil(order)) for order in orders]
    return np.minimum(plain, amplified)


def photonic_epsilon(bounds, noise_scale, output_noise_multiplier, sample_rate, n_steps, delta):
    """Return epsilon at ``delta`` after ``n_steps`` photonic steps; the arguments are those of :func:`rdp_photonic`.

    Examples
    --------
    >>> from sklearn_analytic.private.photonic import PhotonicBounds, photonic_epsilon
    >>> bounds = PhotonicBounds((16,), (1.0,), (1.0,), (1.0,), floor=400.0)
    >>> photonic_epsilon(bounds, 1.0, 20.0, sample_rate=1.0, n_steps=1, delta=1e-5) < 0.5
    True
    """
    rdp = rdp_photonic(ORDERS, bounds, noise_scale, output_noise_multiplier, sample_rate, n_steps)
    return epsilon_from_rdp(rdp, ORDERS, delta)[0]


def photonic_noise_for(epsilon, delta, bounds, output_noise_multiplier, sample_rate, n_steps):
    """Return the least optical noise, to three digits, whose ``n_steps`` steps stay within (``epsilon``, ``delta``).

    Parameters
    ----------
    epsilon, delta : float
        The budget of the whole training.
    bounds, output_noise_multiplier, sample_rate, n_steps
        As in :func:`rdp_photonic`.

    Returns
    -------
    float
        A standard deviation; its epsilon was computed and is at most ``epsilon``.

    Raises
    ------
    ValueError
        If no optical noise reaches the budget, since the output layer and the change of covariance cost something
        at any noise, or an argument is out of its range.

    Examples
    --------
    >>> from sklearn_analytic.private.photonic import PhotonicBounds, photonic_epsilon, photonic_noise_for
    >>> bounds = PhotonicBounds((16,), (1.0,), (1.0,), (1.0,), floor=400.0)
    >>> sigma = photonic_noise_for(1.0, 1e-5, bounds, 20.0, sample_rate=0.1, n_steps=100)
    >>> photonic_epsilon(bounds, sigma, 20.0, 0.1, 100, 1e-5) <= 1.0
    True
    """
    check_number("epsilon", epsilon, 0, np.inf, "a finite number > 0", open_low=True)
    check_delta(delta)

    def spent(noise_scale):
        return photonic_epsilon(bounds, noise_scale, output_noise_multiplier, sample_rate, n_steps, delta)

    return least_noise(spent, epsilon, f", a floor above {bounds.floor:.6g}, fewer units or more output noise")


def _hidden_rdp(orders, bounds, noise_scale):
    """Sum the worst case over units and layers: both directions grow with r and are linear in the squared shift."""
    total = np.zeros_like(orders)
    for n_units, ratio, error in zip(bounds.n_units, bounds.ratio, bounds.error_norm, strict=True):
        with np.errstate(divide="ignore", over="ignore"):
            shift = np.float64(error * math.sqrt(ratio)) / noise_scale if error * ratio > 0 else 0.0
        directions = (divergence_forward, divergence_backward)
        total = total + np.maximum(*(_layer_rdp(d, orders, shift, ratio, n_units) for d in directions))
    return total


def _layer_rdp(divergence, orders, shift, ratio, n_units):
    """Charge the change of covariance to every unit and the shift once: its square is shared by the units."""
    if n_units == 0:
        return np.zeros_like(orders)
    return divergence(orders, shift, ratio) + (n_units - 1) * divergence(orders, 0.0, ratio)


def _gaussian_rdp(orders, noise_multiplier):
    """Charge the output layer, which is released with plain Gaussian noise."""
    if noise_multiplier == 0:
        return np.full_like(orders, np.inf)
    return orders / 2 / noise_multiplier / noise_multiplier


def _amplified(whole, rate, order):
    """Return the general bound at one whole order; ``whole`` holds the unsampled bounds at 2, 3, ..., (a,)."""
    growth = np.arange(1.0, order) * whole[: order - 1]
    growth[1:] += math.log(3)
    return log_sampled_moment(order, rate, growth) / (order - 1)
