"""Algebra of the Kronecker-factored preconditioner, spelled so that NumPy arrays and torch tensors both serve.

Notation of docs/theory/kfac.md: a gradient is (n_out, n_in), A (n_in, n_in) belongs to the inputs, G (n_out, n_out) to
the errors at the pre-activations.
"""

import math

import numpy as np
from scipy.linalg.lapack import get_lapack_funcs

STARTS = ("mean", "identity")
DAMPING_RULES = ("constant", "levenberg_marquardt")
_JUDGED = 5  # steps from one ratio of reductions to the next; its constants are those of Martens & Grosse (2015)
_TRUSTED, _DOUBTED, _SMALLER = 0.75, 0.25, 0.95**_JUDGED
_FARTHEST = 1e3  # the damping stays within this factor of what was given


def running(old, new, decay):
    """Return ``decay * old + (1 - decay) * new``: a factor's running average (equation 4)."""
    return old * decay + new * (1 - decay)


def share_kept(count, kfac):
    """Return what the ``count``-th renewal, from 1, keeps of a factor: a start from the mean forgets the identity."""
    return min(1 - 1 / count, kfac.factor_decay) if kfac.start == "mean" else kfac.factor_decay


def earlier_renewals(steps, kfac):
    """Return how often factors were renewed in so many steps of a state that does not say so."""
    return -(-steps // kfac.factor_interval)


def precondition(grad, qa, da, qg, dg, damping):
    """Return ``(A kron G + damping I)^{-1} grad`` from the eigendecompositions of the factors (equation 6).

    ``grad`` is (n_out, n_in); ``qa`` and ``qg`` hold eigenvectors in columns, ``da`` and ``dg`` eigenvalues.
    """
    rotated = qg.T @ grad @ qa
    return qg @ (rotated / (dg[:, None] * da[None, :] + damping)) @ qa.T


def damped(a, g, damping):
    """Return ``A + pi sqrt(damping) I`` and ``G + sqrt(damping) / pi I`` as copies (equation 8)."""
    means = [float(factor.diagonal().sum()) / len(factor) for factor in (a, g)]
    pi = math.sqrt(means[0] / means[1]) if min(means) > 0 else 1.0
    found = a + 0, g + 0
    for factor, size in zip(found, (pi, 1 / pi), strict=True):
        factor.reshape(-1)[:: len(factor) + 1] += math.sqrt(damping) * size
    return found


def upper_factor(matrix):
    """Return U of ``matrix = U^T U``; where rounding leaves none, that of the diagonal. ``matrix`` is overwritten."""
    (potrf,) = get_lapack_funcs(("potrf",), (matrix,))
    diagonal = np.sqrt(np.abs(matrix.diagonal()))
    lower, info = potrf(matrix.T, lower=True, overwrite_a=True)
    return np.diag(diagonal) if info else lower.T


def solve_factored(grad, ua, ug):
    """Return ``(Ug^T Ug)^{-1} grad (Ua^T Ua)^{-1}``: four triangular solves (equation 9)."""
    (potrs,) = get_lapack_funcs(("potrs",), (grad,))
    rows = potrs(ua.T, grad.T, lower=True)[0]  # (n_in, n_out)
    return potrs(ug.T, rows.T, lower=True)[0]


def inner_product(pairs):
    """Return ``|sum <preconditioned, gradient>|`` of pairs of arrays."""
    return abs(sum(float((new * old).sum()) for new, old in pairs))


def kl_scale(product, rate, clip):
    """Return ``min(1, sqrt(clip / (rate^2 product)))`` (equation 7)."""
    total = product * rate * rate
    return 1.0 if total <= clip else math.sqrt(clip / total)


def is_due(step, interval):
    """Tell whether work done every ``interval`` steps is due at ``step``."""
    return step % interval == 0


def is_judged(step, kfac):
    """Tell whether the damping is to follow what the full step of ``step`` does to the loss."""
    return kfac.damping_rule == "levenberg_marquardt" and is_due(step, _JUDGED)


def adjusted(factor, fall, expected):
    """Return the factor of the damping after a step by which the loss fell so far (equation 10)."""
    ratio = fall / expected if expected > 0 else 1.0
    if ratio > _TRUSTED:
        factor *= _SMALLER
    elif not ratio >= _DOUBTED:  # a loss that is no number, too
        factor /= _SMALLER
    return min(max(factor, 1 / _FARTHEST), _FARTHEST)


def schedule(kfac, epoch):
    """Return (damping, factor interval, eigen interval) of an epoch, after the milestones passed."""
    passed = sum(epoch >= milestone for milestone in kfac.milestones)
    growth = kfac.interval_growth**passed
    intervals = [max(1, round(i * growth)) for i in (kfac.factor_interval, kfac.eigen_interval)]
    return kfac.damping * kfac.damping_decay**passed, *intervals


def decomposition_cost(n_in, n_out):
    """Return the cost of a layer's two eigendecompositions, ``n_in^3 + n_out^3``."""
    return n_in**3 + n_out**3


def assign_layers(costs, n_ranks):
    """Return the owner (a rank) of every layer: longest first, each to the rank with the least work so far."""
    loads, owners = [0] * n_ranks, [0] * len(costs)
    for layer in sorted(range(len(costs)), key=lambda k: -costs[k]):
        owners[layer] = loads.index(min(loads))
        loads[owners[layer]] += costs[layer]
    return owners
