"""K-FAC for Linear and Conv2d modules: factors from hooks, stale decompositions, clipping by the KL estimate.

The errors at the pre-activations are read where autograd computes them, so they are those of whatever scheme runs:
exact ones, or direct feedback (docs/theory/kfac.md).
"""

import torch
from torch import nn
from torch.nn import functional as F

from sklearn_analytic.nn._kfac import (
    adjusted,
    assign_layers,
    damped,
    decomposition_cost,
    earlier_renewals,
    inner_product,
    is_due,
    is_judged,
    kl_scale,
    precondition,
    running,
    schedule,
    share_kept,
    solve_factored,
    upper_factor,
)
from sklearn_analytic.nn._ranks import Alone
from sklearn_analytic.nn._torch_activations import has_even_padding, numeric_padding


def _linear_rows(module, x):
    """Inputs as rows (r, n_in), for any leading axes; one place each."""
    return x.reshape(-1, x.shape[-1]), 1


def _conv_rows(module, x):
    """Patches as rows (n T, n_in), and the number T of places."""
    patches = F.unfold(x, module.kernel_size, module.dilation, numeric_padding(module), module.stride)
    return patches.transpose(1, 2).reshape(-1, patches.shape[1]), patches.shape[2]


def _linear_errors(grad):
    """Errors as rows (r, n_out)."""
    return grad.reshape(-1, grad.shape[-1])


def _conv_errors(grad):
    """Errors as rows (n T, n_out)."""
    return grad.permute(0, 2, 3, 1).reshape(-1, grad.shape[1])


HOST = "cpu"  # where LAPACK's own routines are at hand, which are about twice as fast as torch's there

# {module: (inputs as rows, errors as rows)}
_ROWS = {nn.Linear: (_linear_rows, _linear_errors), nn.Conv2d: (_conv_rows, _conv_errors)}


def _eigenbasis(a, g, damping):
    """[Qa, da, Qg, dg], rounding below zero cut off."""
    (da, qa), (dg, qg) = torch.linalg.eigh(a), torch.linalg.eigh(g)
    return [t.contiguous() for t in (qa, da.clamp_(min=0), qg, dg.clamp_(min=0))]


def _cholesky(a, g, damping):
    """[Ua, Ug] of the damped factors."""
    return [_upper_factor(factor) for factor in damped(a, g, damping)]


def _upper_factor(matrix):
    """U of ``matrix = U^T U``."""
    if matrix.device.type == HOST:
        return torch.from_numpy(upper_factor(matrix.numpy()))
    upper, info = torch.linalg.cholesky_ex(matrix, upper=True)
    return torch.where(info == 0, upper, matrix.diagonal().abs().sqrt().diag())


def _solved(gradient, factors, damping):
    """The step of a gradient (n_out, n_in) by triangular solves."""
    ua, ug = factors
    if gradient.device.type == HOST:
        arrays = (gradient.numpy(), ua.numpy(), ug.numpy())
        return torch.from_numpy(solve_factored(*arrays))
    rows = torch.cholesky_solve(gradient.T, ua, upper=True)
    return torch.cholesky_solve(rows.T, ug, upper=True)


# {solver: (decomposed(a, g, damping), step(gradient, arrays, damping))}
_SOLVERS = {
    "eigen": (_eigenbasis, lambda gradient, basis, damping: precondition(gradient, *basis, damping)),
    "cholesky": (_cholesky, _solved),
}


class TorchKFAC:
    """Preconditions the gradients of a network in place, between the backward pass and the optimiser.

    Parameters
    ----------
    network : Module
        Its Linear modules and its Conv2d modules (one group, zero padding, the same on both sides) with a weight of
        their own are preconditioned; all other parameters keep their gradient, scaled by the same clip. A frozen bias
        counts as none.
    constants : KFACRecipe
        Damping, clip, decay and intervals.
    ranks : Ranks or Alone
        Factors are summed over ranks; every layer's eigendecompositions belong to one rank, which shares them.
    """

    def __init__(self, network, constants, ranks=None):
        self._network, self._constants, self._ranks = network, constants, ranks or Alone()
        self.layers = [m for m in network.modules() if _is_served(m)]
        self._handles = [m.register_forward_hook(self._read) for m in self.layers]
        self._slots = {m: k for k, m in enumerate(self.layers)}
        sizes = [tuple(reversed(_gradient(m.weight, _bias(m)).shape)) for m in self.layers]
        likes = [m.weight.detach() for m in self.layers]
        self.a = [torch.eye(n, dtype=w.dtype, device=w.device) for (n, _), w in zip(sizes, likes, strict=True)]
        self.g = [torch.eye(n, dtype=w.dtype, device=w.device) for (_, n), w in zip(sizes, likes, strict=True)]
        self._decomposed, self._solved = _SOLVERS[constants.solver]
        self.eigen = [self._identity(k) for k in range(len(self.layers))]  # what the solver decomposes factors into
        self._owners = assign_layers([decomposition_cost(*s) for s in sizes], self._ranks.size)
        self._new_a, self._new_g = [None] * len(sizes), [None] * len(sizes)
        self.step, self.renewals, self._rows = 0, 0, None
        self.factor, self._expected, self._scale = 1.0, 0.0, 1.0  # of the damping; of the last step

    def _identity(self, k):
        """Decompositions before the first step."""
        return self._decomposed(self.a[k], self.g[k], self._constants.damping)

    def begin(self, rows, epoch):
        """Announce a step whose batch has ``rows`` rows over all ranks; factors are read where they are due."""
        interval = schedule(self._constants, epoch)[1]
        self._rows = rows if is_due(self.step, interval) else None
        self._new_a, self._new_g = [[torch.zeros_like(f) for f in factors] for factors in (self.a, self.g)]

    def _read(self, module, inputs, output):
        """Forward hook: the input factor now, the error factor when the error arrives."""
        if self._rows is None or not output.requires_grad or not torch.is_grad_enabled():
            return
        k, (input_rows, error_rows) = self._slots[module], _ROWS[type(module)]
        with torch.no_grad(), torch.autocast(output.device.type, enabled=False):
            a, places = input_rows(module, inputs[0].to(module.weight.dtype))
            a = a if _bias(module) is None else F.pad(a, (0, 1), value=1.0)
            self._new_a[k] += a.T @ a / (self._rows * places**2)

        def read_error(grad):
            d = error_rows(grad).to(module.weight.dtype)
            self._new_g[k] += d.T @ d * (self._rows * places)

        output.register_hook(read_error)

    @torch.no_grad()
    def precondition(self, rate, epoch):
        """Replace all gradients by preconditioned and clipped ones; count the step."""
        damping, _, eigen_interval = schedule(self._constants, epoch)
        damping *= self.factor
        # a layer that took no part in the loss has no gradient, and its factors saw nothing
        live = [k for k, module in enumerate(self.layers) if module.weight.grad is not None]
        if self._rows is not None:
            self._update_factors(live)
        if is_due(self.step, eigen_interval):
            self._decompose(damping)
        old = [_gradient_of(self.layers[k]) for k in live]
        new = [self._solved(g, self.eigen[k], damping) for k, g in zip(live, old, strict=True)]
        product = inner_product(list(zip(new, old, strict=True)))
        scale = kl_scale(product, rate, self._constants.kl_clip)
        for k, gradient in zip(live, new, strict=True):
            _put_gradient(self.layers[k], gradient)
        for parameter in self._network.parameters():
            if parameter.grad is not None:
                parameter.grad *= scale
        self.step, self._rows = self.step + 1, None
        self._expected, self._scale = product / 2, scale

    def is_judged(self):
        """Whether the damping is to follow what the full step does to the loss."""
        return self._scale > 0 and is_judged(self.step - 1, self._constants)

    @torch.no_grad()
    def judge(self, fall):
        """Take the full step of the layers on trial, and let the damping follow ``fall()``, that of the loss."""
        weights = [w for layer in self.layers for w in (layer.weight, _bias(layer)) if w is not None]
        kept = [w.clone() for w in weights]
        for weight in weights:
            if weight.grad is not None:
                weight -= weight.grad / self._scale
        self.factor = adjusted(self.factor, fall(), self._expected)
        for weight, before in zip(weights, kept, strict=True):
            weight.copy_(before)

    def _update_factors(self, live):
        """Running averages of the factors of all ranks together."""
        self.renewals += 1
        kept = share_kept(self.renewals, self._constants)
        for factors, news in ((self.a, self._new_a), (self.g, self._new_g)):
            for k in live:
                factors[k] = running(factors[k], self._ranks.sum_(news[k]), kept)

    def _decompose(self, damping):
        """Decompositions, each on its owner, then shared."""
        for k, owner in enumerate(self._owners):
            if owner == self._ranks.rank:
                self.eigen[k] = self._decomposed(self.a[k], self.g[k], damping)
        for parts in zip(*self.eigen, strict=True):
            self._ranks.share(list(parts), self._owners)

    def close(self):
        """Remove the hooks."""
        for handle in self._handles:
            handle.remove()

    def state(self):
        """Return factors, decompositions and the step."""
        counts = {"step": self.step, "renewals": self.renewals, "factor": self.factor}
        return {"a": self.a, "g": self.g, "eigen": self.eigen} | counts

    def load(self, state):
        """Put a state back; that of another solver leaves its factors."""
        for own, values in ((self.a, state["a"]), (self.g, state["g"])):
            for array, value in zip(own, values, strict=True):
                array.copy_(value)
        self.step, self.factor = state["step"], state.get("factor", 1.0)
        self.renewals = state.get("renewals", earlier_renewals(self.step, self._constants))
        for k, parts in enumerate(state["eigen"]):
            if len(parts) == len(self.eigen[k]):
                self.eigen[k] = [part.to(own) for part, own in zip(parts, self.eigen[k], strict=True)]
            else:
                self.eigen[k] = self._decomposed(self.a[k], self.g[k], self._constants.damping * self.factor)


def _is_served(module):
    """Whether the module's curvature is a Kronecker product here, and its weight a parameter of its own."""
    if type(module) not in _ROWS or getattr(module, "groups", 1) > 1 or not has_even_padding(module):
        return False
    return isinstance(module.weight, nn.Parameter) and module.weight.requires_grad


def _bias(module):
    """The bias where it is trained."""
    return module.bias if module.bias is not None and module.bias.requires_grad else None


def _gradient(weight, bias):
    """[W | b] as one matrix (n_out, n_in [+ 1])."""
    flat = weight.reshape(len(weight), -1)
    return flat if bias is None else torch.cat([flat, bias[:, None]], dim=1)


def _gradient_of(module):
    """The gradients of W and b as one matrix."""
    bias = _bias(module)
    return _gradient(module.weight.grad, None if bias is None else bias.grad)


def _put_gradient(module, gradient):
    """Split a matrix back into the gradients of W and b."""
    if _bias(module) is not None:
        module.bias.grad.copy_(gradient[:, -1])
        gradient = gradient[:, :-1]
    module.weight.grad.copy_(gradient.reshape(module.weight.shape))
