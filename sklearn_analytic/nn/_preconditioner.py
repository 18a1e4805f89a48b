"""K-FAC for plain networks: running Kronecker factors, their eigendecompositions, and the step they precondition.

A gradient is [W; b] (n_in + 1, n_out); A = E[a a^T] for inputs a with a one appended, G = E[g g^T] for each row's own
error g (Pauloski et al. 2020, the scaling of its experiments). Nothing is inverted.
"""

from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from sklearn_analytic.nn._kfac import (
    assign_layers,
    decomposition_cost,
    is_due,
    kl_scale,
    precondition,
    running,
    schedule,
)


@dataclass(frozen=True)
class KFACState:
    """Factors and eigenbases of all layers, and how often they are renewed."""

    options: object  # recipe.KFACRecipe
    factors: tuple  # ((A, G), ...)
    bases: tuple  # ((Qa, da, Qg, dg), ...)
    steps: int = 0
    epochs: int = 0

    @staticmethod
    def start(options, sizes, dtype):
        """Factors are the identity before the first batch."""
        eyes = ((np.eye(n_in + 1, dtype=dtype), np.eye(n_out, dtype=dtype)) for n_in, n_out in pairwise(sizes))
        factors = tuple(eyes)
        bases = tuple((a, np.ones(len(a), dtype), g, np.ones(len(g), dtype)) for a, g in factors)
        return KFACState(options, factors, bases)

    def step(self, inputs, errors, n_rows, gradients, rate, ranks):
        """Renew what is due, precondition ``gradients`` in place and clip them; return the next state."""
        state, (damping, factor_interval, eigen_interval) = self, schedule(self.options, self.epochs)
        if is_due(self.steps, factor_interval):
            state = replace(state, factors=_renewed(state, inputs, errors, n_rows, ranks))
        if is_due(self.steps, eigen_interval):
            state = replace(state, bases=_shared_eigenbases(state.factors, ranks))
        steps = [precondition(g.T, *basis, damping).T for g, basis in zip(gradients, state.bases, strict=True)]
        scale = kl_scale(list(zip(steps, gradients, strict=True)), rate, self.options.kl_clip)
        for gradient, step in zip(gradients, steps, strict=True):
            gradient[:] = scale * step
        return replace(state, steps=self.steps + 1)

    def after_epoch(self):
        """Count an epoch: milestones are in epochs."""
        return replace(self, epochs=self.epochs + 1)

    def arrays(self):
        """The state as named arrays."""
        found = {"kfac_counts": np.array([self.steps, self.epochs])}
        for k, (pair, basis) in enumerate(zip(self.factors, self.bases, strict=True)):
            found |= {f"kfac_{k}_{j}": array for j, array in enumerate((*pair, *basis))}
        return found

    def loaded(self, arrays):
        """The state of named arrays."""
        layers = [[arrays[f"kfac_{k}_{j}"].copy() for j in range(6)] for k in range(len(self.factors))]
        steps, epochs = (int(count) for count in arrays["kfac_counts"])
        factors, bases = tuple((a, g) for a, g, *_ in layers), tuple(tuple(rest) for _, _, *rest in layers)
        return KFACState(self.options, factors, bases, steps, epochs)


def _renewed(state, inputs, errors, n_rows, ranks):
    """Running averages with the factors of a batch of ``n_rows``, which may be spread over ranks."""
    renewed = []
    for (a_old, g_old), h, d in zip(state.factors, inputs, errors, strict=True):
        a_new, g_new = _factor_sums(h, d)
        if ranks.size > 1:
            ranks.sum_(a_new)
            ranks.sum_(g_new)
        a_new, g_new = a_new / n_rows, g_new / n_rows
        decay = state.options.factor_decay
        renewed.append((running(a_old, a_new, decay), running(g_old, g_new, decay)))
    return tuple(renewed)


def _factor_sums(h, d):
    """``[h, 1]^T [h, 1]`` and ``(m d)^T (m d)``: d is the error of the mean loss of m rows, m d that of a row's own."""
    m, n = h.shape
    a = np.empty((n + 1, n + 1), h.dtype)
    np.matmul(h.T, h, out=a[:n, :n])
    a[:n, n] = a[n, :n] = h.sum(axis=0)
    a[n, n] = m
    return a, m * m * (d.T @ d)


def _shared_eigenbases(factors, ranks):
    """Eigenbases of all layers; each layer's on one rank, longest first, then shared."""
    owners = assign_layers([decomposition_cost(len(a), len(g)) for a, g in factors], ranks.size)
    mine = [
        _eigenbasis(pair) if owner == ranks.rank else _blank(pair) for pair, owner in zip(factors, owners, strict=True)
    ]
    if ranks.size > 1:
        for basis, owner in zip(mine, owners, strict=True):
            ranks.share(list(basis), [owner] * len(basis))
    return tuple(mine)


def _eigenbasis(pair):
    """(Qa, da, Qg, dg), rounding below zero cut off."""
    (da, qa), (dg, qg) = (np.linalg.eigh(factor) for factor in pair)
    return np.ascontiguousarray(qa), np.maximum(da, 0), np.ascontiguousarray(qg), np.maximum(dg, 0)


def _blank(pair):
    """Room for what another rank computes."""
    a, g = pair
    return np.empty_like(a), np.empty(len(a), a.dtype), np.empty_like(g), np.empty(len(g), g.dtype)
