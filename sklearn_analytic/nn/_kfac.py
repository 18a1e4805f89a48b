"""Algebra of the Kronecker-factored preconditioner, spelled so that NumPy arrays and torch tensors both serve.

Notation of docs/theory/kfac.md: a gradient is (n_out, n_in), A (n_in, n_in) belongs to the inputs, G (n_out, n_out) to
the errors at the pre-activations.
"""

import math


def running(old, new, decay):
    """Return ``decay * old + (1 - decay) * new``: a factor's running average (equation 4)."""
    return old * decay + new * (1 - decay)


def precondition(grad, qa, da, qg, dg, damping):
    """Return ``(A kron G + damping I)^{-1} grad`` from the eigendecompositions of the factors (equation 6).

    ``grad`` is (n_out, n_in); ``qa`` and ``qg`` hold eigenvectors in columns, ``da`` and ``dg`` eigenvalues.
    """
    rotated = qg.T @ grad @ qa
    return qg @ (rotated / (dg[:, None] * da[None, :] + damping)) @ qa.T


def kl_scale(pairs, rate, clip):
    """Return ``min(1, sqrt(clip / |rate^2 sum <preconditioned, gradient>|))`` (equation 7) of pairs of arrays."""
    total = abs(sum(float((new * old).sum()) for new, old in pairs)) * rate * rate
    return 1.0 if total <= clip else math.sqrt(clip / total)


def is_due(step, interval):
    """Tell whether work done every ``interval`` steps is due at ``step``."""
    return step % interval == 0


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
