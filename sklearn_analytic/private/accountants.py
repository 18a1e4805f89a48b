"""What noise costs: Rényi and privacy-loss accounting of the Poisson-subsampled Gaussian mechanism.

Every epsilon is for data sets that differ in one row, added or removed. docs/theory/privacy.md derives the bounds.
"""

import math

import numpy as np
from scipy import fft
from scipy.special import gammaln, gammasgn, log_ndtr, ndtr

# Fractional orders pay where little noise makes the best order small, large ones where much noise makes it large.
ORDERS = np.concatenate(
    [1 + np.arange(1, 100) / 10, np.arange(11, 65), [72, 80, 96, 112, 128, 160, 192, 256, 384, 512, 768, 1024]]
)
_LARGEST_NOISE = 1e6
_LARGEST_LOSS = 500.0  # exp() of it is finite; losses beyond are left to the Rényi bound
_MOST_CELLS = 2**22
_TAIL_TERMS = 400
_ROUNDING = 1e-12  # relative error of one log moment, a hundred times what was measured


def rdp_gaussian(sample_rate, noise_multiplier, orders=ORDERS):
    r"""Return the Rényi differential privacy of one Poisson-subsampled Gaussian step.

    The larger of both directions is :math:`\frac{1}{\alpha-1}\ln E_{z\sim N(0,\sigma^2)}[(1-q+q
    e^{(2z-1)/(2\sigma^2)})^\alpha]`: a finite binomial sum at integer orders, two series at fractional ones.

    Parameters
    ----------
    sample_rate : float
        q, the chance of a row to be in the batch, in [0, 1].
    noise_multiplier : float
        Standard deviation of the noise over the norm that a row is clipped to; 0 is no privacy, infinite.
    orders : array-like of shape (a,)
        Orders above 1.

    Returns
    -------
    ndarray of shape (a,)
        Rényi divergence bounds; T steps cost T times as much.

    Raises
    ------
    ValueError
        If an argument is out of its range.

    References
    ----------
    I. Mironov, K. Talwar, L. Zhang, "Rényi differential privacy of the sampled Gaussian mechanism", 2019, section 3.3.

    Examples
    --------
    >>> from sklearn_analytic.private.accountants import rdp_gaussian
    >>> rdp_gaussian(1.0, 2.0, [2, 8])  # without sampling: order / (2 sigma^2)
    array([0.25, 1.  ])
    """
    orders = check_orders(orders)
    check_number("sample_rate", sample_rate, 0, 1, "a probability in [0, 1]")
    check_number("noise_multiplier", noise_multiplier, 0, np.inf, "a finite number >= 0")
    if sample_rate == 0:
        return np.zeros_like(orders)
    with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
        if sample_rate == 1 or noise_multiplier < 1e-6:  # so little noise that sampling hides nothing
            return orders / 2 / np.float64(noise_multiplier) / noise_multiplier
        return np.array([_log_moment(sample_rate, noise_multiplier, order) for order in orders]) / (orders - 1)


def epsilon_from_rdp(rdp, orders, delta):
    r"""Return the smallest epsilon that Rényi bounds imply at ``delta``, and the order that gives it.

    :math:`\epsilon=\min_\alpha \rho(\alpha)+\ln\frac{\alpha-1}{\alpha}-\frac{\ln\delta+\ln\alpha}{\alpha-1}`,
    and never below 0.

    Parameters
    ----------
    rdp, orders : array-like of shape (a,)
        Rényi divergence bounds of the whole training, and their orders.
    delta : float
        In (0, 1).

    Returns
    -------
    epsilon : float
        Infinite where all bounds are.
    order : float
        The order that gives it.

    References
    ----------
    C. Canonne, G. Kamath, T. Steinke, "The discrete Gaussian for differential privacy", NeurIPS 2020, proposition 12.

    Examples
    --------
    >>> from sklearn_analytic.private.accountants import epsilon_from_rdp
    >>> epsilon, order = epsilon_from_rdp([0.1, 0.4, 3.2], [2, 8, 64], delta=1e-5)
    >>> round(epsilon, 3), order
    (1.614, 8.0)
    """
    orders, rdp = check_orders(orders), np.asarray(rdp, dtype=np.float64)
    check_delta(delta)
    if rdp.shape != orders.shape:
        raise ValueError(f"rdp has shape {rdp.shape}; expected one bound per order, {orders.shape}.")
    epsilons = rdp + np.log1p(-1 / orders) - (math.log(delta) + np.log(orders)) / (orders - 1)
    best = int(np.argmin(epsilons))
    return max(float(epsilons[best]), 0.0), float(orders[best])


def rdp_epsilon(sample_rate, noise_multiplier, n_steps, delta):
    """Return epsilon at ``delta`` after ``n_steps`` subsampled Gaussian steps, by Rényi accounting.

    Parameters
    ----------
    sample_rate, noise_multiplier : float
        As in :func:`rdp_gaussian`.
    n_steps : int
        Number of steps, at least 0.
    delta : float
        In (0, 1).

    Returns
    -------
    float
        An upper bound, infinite without noise.

    Examples
    --------
    >>> from sklearn_analytic.private.accountants import rdp_epsilon
    >>> round(rdp_epsilon(0.01, 4.0, n_steps=10_000, delta=1e-5), 2)
    1.04
    """
    check_steps(n_steps)
    return _renyi_epsilon(rdp_gaussian(sample_rate, noise_multiplier, ORDERS), sample_rate, n_steps, delta)


def prv_epsilon(sample_rate, noise_multiplier, n_steps, delta, epsilon_error=0.01):
    r"""Return epsilon at ``delta`` after ``n_steps`` subsampled Gaussian steps, by composing the privacy loss itself.

    With P the noise alone and Q the subsampled mixture, both losses are composed: :math:`\ln Q/P` under Q (a row
    is removed) and :math:`\ln P/Q` under P (a row is added); the worse of the two epsilons is returned. Each loss is
    put on a grid by differences of its distribution function, the grid shifted so that the mean is kept, and its
    Fourier transform raised to the power ``n_steps``. The result is an upper bound: rounding on the grid, tails,
    wrap-around and an allowance for the rounding of the transform are all added. It never exceeds
    :func:`rdp_epsilon`, which is returned where it is smaller.

    Parameters
    ----------
    sample_rate, noise_multiplier, n_steps, delta
        As in :func:`rdp_epsilon`.
    epsilon_error : float, default=0.01
        What rounding on the grid may add to epsilon; it grows where more than four million cells would be needed.

    Returns
    -------
    float
        An upper bound, infinite without noise.

    References
    ----------
    S. Gopi, Y. T. Lee, L. Wutschitz, "Numerical composition of differential privacy", NeurIPS 2021.

    Examples
    --------
    >>> from sklearn_analytic.private.accountants import prv_epsilon
    >>> round(prv_epsilon(0.01, 4.0, n_steps=10_000, delta=1e-5), 2)
    0.96
    """
    check_number("epsilon_error", epsilon_error, 0, np.inf, "a finite number > 0", open_low=True)
    check_steps(n_steps)
    moments = rdp_gaussian(sample_rate, noise_multiplier, ORDERS)
    bound = _renyi_epsilon(moments, sample_rate, n_steps, delta)
    if bound == 0 or math.isinf(bound):
        return bound
    limit = _tail_limit(moments, n_steps, delta / 1000)
    step = (sample_rate, noise_multiplier, n_steps, delta, epsilon_error, limit)
    return min(bound, max(_composed_epsilon(*step, sign) for sign in (1, -1)))


def noise_multiplier_for(epsilon, delta, sample_rate, n_steps, accountant="prv"):
    """Return the least noise, to three digits, whose ``n_steps`` steps stay within (``epsilon``, ``delta``).

    Parameters
    ----------
    epsilon, delta : float
        The budget.
    sample_rate, n_steps
        As in :func:`rdp_epsilon`.
    accountant : {"prv", "rdp"}, default="prv"
        Which accountant must certify the budget.

    Returns
    -------
    float
        A noise multiplier; the accountant's epsilon for it was computed and is at most ``epsilon``.

    Raises
    ------
    ValueError
        If an argument is out of its range or no noise reaches the budget.

    Examples
    --------
    >>> from sklearn_analytic.private.accountants import noise_multiplier_for, rdp_epsilon
    >>> sigma = noise_multiplier_for(2.0, 1e-5, sample_rate=0.01, n_steps=500, accountant="rdp")
    >>> rdp_epsilon(0.01, sigma, 500, 1e-5) <= 2.0
    True
    """
    check_number("epsilon", epsilon, 0, np.inf, "a finite number > 0", open_low=True)
    accountants = {"prv": prv_epsilon, "rdp": rdp_epsilon}
    if accountant not in accountants:
        raise ValueError(f"accountant={accountant!r}; expected one of {tuple(accountants)}.")
    return least_noise(lambda sigma: accountants[accountant](sample_rate, sigma, n_steps, delta), epsilon)


def least_noise(spent, epsilon, reason=""):
    """Bisect for the least noise with ``spent(noise) <= epsilon``; the result itself was tried, so it is safe."""
    if spent(0.0) <= epsilon:
        return 0.0
    high = 1.0
    while spent(high) > epsilon:
        high *= 2
        if high > _LARGEST_NOISE:
            raise ValueError(
                f"epsilon={epsilon}: no noise reaches this budget ({spent(_LARGEST_NOISE):.3g} at noise 1e6); expected "
                f"a larger epsilon or delta, fewer steps or a lower sample rate{reason}."
            )
    low = high / 2
    while low > 1e-6 and spent(low) <= epsilon:
        low, high = low / 2, low
    while high - low > 5e-4 * high:
        middle = (low + high) / 2
        low, high = (low, middle) if spent(middle) <= epsilon else (middle, high)
    return high


def check_number(name, value, low, high, expected, open_low=False):
    """Raise unless a number is finite and in [low, high]: NaN must not pass for privacy."""
    if not (low <= value <= high) or math.isinf(value) or (open_low and value == low):
        raise ValueError(f"{name}={value!r}; expected {expected}.")


def check_steps(n_steps):
    """Raise unless the number of steps is whole and not negative."""
    if not 0 <= n_steps < math.inf or n_steps != int(n_steps):
        raise ValueError(f"n_steps={n_steps!r}; expected an integer >= 0.")


def check_delta(delta):
    """Raise unless delta is inside (0, 1): at 0 a Gaussian has no finite epsilon, at 1 anything is private."""
    check_number("delta", delta, 0, np.nextafter(1, 0), "a number in (0, 1), below 1 / n_rows", open_low=True)


def check_orders(orders):
    """Return the orders as floats, or raise: a Rényi order is finite and above 1 here."""
    orders = np.atleast_1d(np.asarray(orders, dtype=np.float64))
    if orders.ndim != 1 or not len(orders) or not np.all((orders > 1) & np.isfinite(orders)):
        raise ValueError(f"orders={orders!r}; expected a non-empty list of finite numbers > 1.")
    return orders


def log_sampled_moment(order, rate, growth):
    """Return ln sum_k C(order, k) q^k (1-q)^(order-k) e^growth_k, ``growth`` from k = 2 on and 0 for k = 0 and 1."""
    if not len(growth):
        return 0.0
    k = np.arange(2, order + 1)
    # The weights sum to 1: the excess over 1 has positive terms only, and no digit is lost where it is small.
    excess = growth + np.log(-np.expm1(-growth))
    return np.logaddexp(0.0, _log_sum(_log_weight(rate, order, k, k) + excess))


def _log_sum(terms, signs=1.0):
    """Return ln of the signed sum of e^terms; SciPy's own dispatch would take most of an accountant's time."""
    largest = np.max(terms)
    return largest + np.log(np.sum(signs * np.exp(terms - largest))) if np.isfinite(largest) else largest


def _log_weight(rate, order, k, power):
    """Return ln |C(order, k)| q^power (1-q)^(order-power), for real orders, since C itself overflows."""
    log_binomial = gammaln(order + 1) - gammaln(k + 1) - gammaln(order - k + 1)
    return log_binomial + power * math.log(rate) + (order - power) * math.log1p(-rate)


def _log_moment(rate, sigma, order):
    """Choose the finite sum where it exists; elsewhere the series, with its errors, or the chord if that is lower."""
    below = math.floor(order)
    left = _log_moment_integer(rate, sigma, below)
    if below == order:
        return left
    # ln of a moment is convex in the order and 0 at order 1, so the chord between integers is a bound as well.
    chord = left + (order - below) * (_log_moment_integer(rate, sigma, below + 1) - left)
    return np.fmin(chord, _log_moment_fractional(rate, sigma, order))


def _log_moment_integer(rate, sigma, order):
    """Sum the moments of an unsampled Gaussian, e^(k(k-1)/(2 sigma^2)), over the hits."""
    k = np.arange(2, order + 1)
    return log_sampled_moment(order, rate, k * (k - 1) / 2 / sigma / sigma)


def _log_moment_fractional(rate, sigma, order):
    """Sum both series of section 3.3, split where both parts of the mixture are equal, plus a bound of the rest."""
    k = np.arange(math.ceil(order) + _TAIL_TERMS)
    split = 0.5 + sigma * sigma * (math.log1p(-rate) - math.log(rate))
    halves = ((k, split - k), (order - k, order - k - split))
    terms = np.concatenate([_series(rate, sigma, order, k, power, edge / sigma) for power, edge in halves])
    total = _log_sum(terms, np.tile(gammasgn(order - k + 1), 2))
    # The signs alternate and the terms shrink beyond the order: what was cut off is below the last ones kept.
    total = np.logaddexp(total, _log_sum(terms[[len(k) - 1, -1]]))
    return total + _ROUNDING * max(1.0, abs(total))


def _series(rate, sigma, order, k, power, edge):
    """Return log magnitudes of the terms C(order, k) q^power (1-q)^(order-power) E[e^power(2z-1)/(2 sigma^2); half]."""
    return _log_weight(rate, order, k, power) + power * (power - 1) / 2 / sigma / sigma + log_ndtr(edge)


def _renyi_epsilon(moments, rate, n_steps, delta):
    """Convert one step's Rényi bounds; what is never sampled costs nothing, which no finite order can say."""
    epsilon = epsilon_from_rdp(moments * n_steps if n_steps else 0 * ORDERS, ORDERS, delta)[0]
    return epsilon if n_steps * rate > 0 else 0.0


def _composed_epsilon(rate, sigma, n_steps, delta, epsilon_error, limit, sign):
    """Return an upper bound of epsilon in one direction, infinite where the grid cannot vouch for ``delta``."""
    delta_error = delta / 1000
    confidence = math.sqrt(n_steps / 2 * math.log(8 / delta_error))  # Hoeffding: delta_error / 4 for both sides
    cell = max(epsilon_error / confidence, 2 * limit / _MOST_CELLS)
    slack = cell * confidence
    limit += slack
    half = math.ceil(limit / cell + n_steps / 2) + 1
    # The power of a transform loses about one unit of rounding per step and per doubling of the grid.
    usable = delta - delta_error - 4 * np.finfo(float).eps * n_steps * math.log2(half)
    if limit > _LARGEST_LOSS or half > 2 * _MOST_CELLS or usable <= 0:
        return math.inf
    mass, shift = _loss_on_grid(rate, sigma, limit, cell, half, sign)
    total = fft.irfft(fft.rfft(mass) ** n_steps, len(mass))
    losses = cell * fft.fftfreq(len(mass), 1 / len(mass)) + n_steps * shift
    return slack + _epsilon_of_losses(losses, np.maximum(total, 0.0), usable)


def _tail_limit(moments, n_steps, delta_error):
    """Return a loss that one step, and all steps, exceed with less than delta_error / 4 in all (Chernoff)."""
    together = np.min(n_steps * moments + math.log(4 / delta_error) / (ORDERS - 1))
    alone = np.min(moments + math.log(4 * n_steps / delta_error) / (ORDERS - 1))
    return float(max(together, alone))


def _loss_on_grid(rate, sigma, limit, cell, half, sign):
    """Return probabilities of the grid of one loss, zero first, and the shift of the grid that keeps the mean."""
    index = np.arange(-half, half + 1)
    edges = np.clip(cell * (np.append(index, half + 1) - 0.5), -limit, limit)
    cumulative = _loss_cdf(edges, rate, sigma, sign)
    inside = cumulative[-1] - cumulative[0]
    mass = np.diff(cumulative) / inside
    shift = _loss_mean(limit, rate, sigma, sign) / inside - cell * (mass @ index)
    grid = np.zeros(fft.next_fast_len(len(index), real=True))
    grid[index] = mass
    return grid, shift


def _loss_cdf(loss, rate, sigma, sign):
    """Return the distribution function of ln Q/P under Q (sign 1) or of ln P/Q under P (sign -1)."""
    z = _output_of_loss(sign * loss, rate, sigma)
    share = rate if sign > 0 else 0.0
    return (1 - share) * ndtr(sign * z / sigma) + share * ndtr(sign * (z - 1) / sigma)


def _output_of_loss(loss, rate, sigma):
    """Invert ln(1 - q + q e^((2z-1)/(2 sigma^2))) in z; losses below ln(1 - q) have none, minus infinity."""
    with np.errstate(all="ignore"):
        small = np.log1p(np.maximum(np.expm1(loss) / rate, -1.0))
        large = loss - math.log(rate) + np.log1p(-np.minimum((1 - rate) * np.exp(-loss), 1.0))
    return sigma * sigma * np.where(loss > 1, large, small) + 0.5


def _loss_mean(limit, rate, sigma, sign):
    """Integrate the loss over outputs whose loss is within the limit: the part of its mean that the grid holds."""
    ends = np.clip(_output_of_loss(np.array([-limit, limit]), rate, sigma), -40 * sigma, 1 + 40 * sigma)
    node, weight = np.polynomial.legendre.leggauss(16)
    edges = np.linspace(*ends, 2001)
    width = np.diff(edges)[:, None] / 2
    z = edges[:-1, None] + width * (1 + node)
    share = rate if sign > 0 else 0.0
    density = (1 - share) * np.exp(-(z**2) / 2 / sigma**2) + share * np.exp(-((z - 1) ** 2) / 2 / sigma**2)
    loss = np.logaddexp(np.log1p(-rate) if rate < 1 else -np.inf, math.log(rate) + (z - 0.5) / sigma**2)
    return sign * np.sum(width * weight * density * loss) / sigma / math.sqrt(2 * math.pi)


def _epsilon_of_losses(losses, mass, delta):
    """Solve E[(1 - e^(epsilon - loss))_+] = delta for epsilon >= 0, exactly between two grid points."""
    order = np.argsort(losses)
    order = order[np.searchsorted(losses[order], 0.0, side="right") :]
    losses, mass = losses[order], mass[order]  # increasing, positive: others never count
    above = np.cumsum(mass[::-1])[::-1]
    discounted = np.cumsum((mass * np.exp(-losses))[::-1])[::-1]
    if not len(losses) or above[0] - discounted[0] <= delta:
        return 0.0
    first = np.flatnonzero(above - np.exp(losses) * discounted <= delta)[0]
    return math.log((above[first] - delta) / discounted[first])
