"""K-FAC for plain networks: running Kronecker factors, their decompositions, and the step they precondition.

A gradient is [W; b] (n_in + 1, n_out); A = E[a a^T] for inputs a with a one appended, G = E[g g^T] for each row's own
error g (Pauloski et al. 2020, the scaling of its experiments). Nothing is inverted.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from sklearn_analytic.nn._kfac import (
    adjusted,
    assign_layers,
    damped,
    decomposition_cost,
    earlier_renewals,
    inner_product,
    is_due,
    kl_scale,
    precondition,
    running,
    schedule,
    share_kept,
    solve_factored,
    upper_factor,
)


class LayerSolver(NamedTuple):
    """How the factors of a layer become what a step is solved with."""

    decomposed: Callable  # of (A, G) and the damping: arrays
    blank: Callable  # of (A, G): room for the arrays
    step: Callable  # of a gradient (n_out, n_in), the arrays and the damping


def _eigenbasis(pair, damping):
    """(Qa, da, Qg, dg), rounding below zero cut off."""
    (da, qa), (dg, qg) = (np.linalg.eigh(factor) for factor in pair)
    return np.ascontiguousarray(qa), np.maximum(da, 0), np.ascontiguousarray(qg), np.maximum(dg, 0)


def _blank_eigenbasis(pair):
    """Room for what another rank computes."""
    a, g = pair
    return np.empty_like(a), np.empty(len(a), a.dtype), np.empty_like(g), np.empty(len(g), g.dtype)


SOLVERS = {
    "eigen": LayerSolver(_eigenbasis, _blank_eigenbasis, lambda g, basis, damping: precondition(g, *basis, damping)),
    "cholesky": LayerSolver(
        lambda pair, damping: tuple(map(upper_factor, damped(*pair, damping))),
        lambda pair: tuple(map(np.empty_like, pair)),
        lambda g, factors, damping: solve_factored(g, *factors),
    ),
}


@dataclass(frozen=True)
class KFACState:
    """Factors and decompositions of all layers, and how often they are renewed."""

    options: object  # recipe.KFACRecipe
    factors: tuple  # ((A, G), ...)
    bases: tuple  # of each layer what its solver decomposes the factors into
    steps: int = 0
    epochs: int = 0
    renewals: int = 0  # of the factors
    factor: float = 1.0  # of the damping, by its rule
    expected: float = 0.0  # by how much the full step would lower the loss, by the quadratic model
    scale: float = 1.0  # of the gradient that is left, over the full step

    @staticmethod
    def start(options, sizes, dtype):
        """Factors are the identity before the first batch."""
        eyes = ((np.eye(n_in + 1, dtype=dtype), np.eye(n_out, dtype=dtype)) for n_in, n_out in pairwise(sizes))
        factors, solver = tuple(eyes), SOLVERS[options.solver]
        return KFACState(options, factors, tuple(solver.decomposed(pair, options.damping) for pair in factors))

    def step(self, inputs, errors, n_rows, gradients, rate, ranks):
        """Renew what is due, precondition ``gradients`` in place and clip them; return the next state."""
        state, (damping, factor_interval, eigen_interval) = self, schedule(self.options, self.epochs)
        damping, solver = damping * self.factor, SOLVERS[self.options.solver]
        if is_due(self.steps, factor_interval):
            factors = _renewed(state, inputs, errors, n_rows, ranks)
            state = replace(state, factors=factors, renewals=self.renewals + 1)
        if is_due(self.steps, eigen_interval):
            state = replace(state, bases=_shared_bases(state.factors, solver, damping, ranks))
        steps = [solver.step(g.T, basis, damping).T for g, basis in zip(gradients, state.bases, strict=True)]
        product = inner_product(list(zip(steps, gradients, strict=True)))
        scale = kl_scale(product, rate, self.options.kl_clip)
        for gradient, step in zip(gradients, steps, strict=True):
            gradient[:] = scale * step
        return replace(state, steps=self.steps + 1, expected=product / 2, scale=scale)

    def judged(self, fall):
        """Adjust the damping to the fall of the loss that the full step brought."""
        return replace(self, factor=adjusted(self.factor, fall, self.expected))

    def after_epoch(self):
        """Count an epoch: milestones are in epochs."""
        return replace(self, epochs=self.epochs + 1)

    def arrays(self):
        """The state as named arrays."""
        found = {"kfac_counts": np.array([self.steps, self.epochs, self.renewals]), "kfac_factor": self.factor}
        for k, (pair, basis) in enumerate(zip(self.factors, self.bases, strict=True)):
            found |= {f"kfac_{k}_{j}": array for j, array in enumerate((*pair, *basis))}
        return found

    def loaded(self, arrays):
        """The state of named arrays; those of another solver leave their factors."""
        steps, epochs, *more = (int(count) for count in arrays["kfac_counts"])
        renewals = more[0] if more else earlier_renewals(steps, self.options)
        factor = float(arrays.get("kfac_factor", 1.0))
        factors, bases = [], []
        for k, basis in enumerate(self.bases):
            a, g, *rest = (arrays[name].copy() for j in range(6) if (name := f"kfac_{k}_{j}") in arrays)
            factors.append((a, g))
            own = len(rest) == len(basis)
            bases.append(tuple(rest) if own else self._decomposed((a, g), epochs, factor))
        state = {"steps": steps, "epochs": epochs, "renewals": renewals, "factor": factor}
        return KFACState(self.options, tuple(factors), tuple(bases), **state)

    def _decomposed(self, pair, epochs, factor):
        """What the solver makes of a layer's factors in an epoch."""
        return SOLVERS[self.options.solver].decomposed(pair, schedule(self.options, epochs)[0] * factor)


def _renewed(state, inputs, errors, n_rows, ranks):
    """Running averages with the factors of a batch of ``n_rows``, which may be spread over ranks."""
    renewed, kept = [], share_kept(state.renewals + 1, state.options)
    for (a_old, g_old), h, d in zip(state.factors, inputs, errors, strict=True):
        a_new, g_new = _factor_sums(h, d)
        if ranks.size > 1:
            ranks.sum_(a_new)
            ranks.sum_(g_new)
        a_new, g_new = a_new / n_rows, g_new / n_rows
        renewed.append((running(a_old, a_new, kept), running(g_old, g_new, kept)))
    return tuple(renewed)


def _factor_sums(h, d):
    """``[h, 1]^T [h, 1]`` and ``(m d)^T (m d)``: d is the error of the mean loss of m rows, m d that of a row's own."""
    m, n = h.shape
    a = np.empty((n + 1, n + 1), h.dtype)
    np.matmul(h.T, h, out=a[:n, :n])
    a[:n, n] = a[n, :n] = h.sum(axis=0)
    a[n, n] = m
    return a, m * m * (d.T @ d)


def _shared_bases(factors, solver, damping, ranks):
    """Decompositions of all layers; each layer's on one rank, longest first, then shared."""
    owners = assign_layers([decomposition_cost(len(a), len(g)) for a, g in factors], ranks.size)
    mine = [
        solver.decomposed(pair, damping) if owner == ranks.rank else solver.blank(pair)
        for pair, owner in zip(factors, owners, strict=True)
    ]
    if ranks.size > 1:
        for basis, owner in zip(mine, owners, strict=True):
            ranks.share(list(basis), [owner] * len(basis))
    return tuple(mine)
