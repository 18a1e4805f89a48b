"""Update rules of torch: their table, the parameters that are penalised, and what of them outlives a fit."""

import torch
from torch.optim.adam import adam
from torch.optim.adamw import adamw
from torch.optim.sgd import sgd

_FUSED = ("cpu", "cuda")  # devices on which torch updates all parameters in one pass


class TorchOptimizer:
    """Steps of SGD, Adam or AdamW on groups of parameters, by torch's functions.

    Its optimiser classes import torch's compiler, which nothing here uses: 2.6 seconds of every process's first fit.

    Parameters
    ----------
    constants : Optimizer
        Name and constants of the rule; the penalty is that of each group.
    groups : list of (list of parameters, float)
        What is trained, and the penalty on it.
    """

    def __init__(self, constants, groups):
        self.constants, self._rule, self._groups = constants, OPTIMIZERS[constants.name], groups
        self._parameters = [p for members, _ in groups for p in members]
        self.state = {}  # of a parameter, by name; nothing before its first gradient

    def zero_grad(self):
        """Forget all gradients."""
        for parameter in self._parameters:
            parameter.grad = None

    @torch.no_grad()
    def step(self, rate):
        """Take one step against the gradients that there are."""
        for members, alpha in self._groups:
            moved = [p for p in members if p.grad is not None]
            if moved:
                states = [self.state.setdefault(p, {}) for p in moved]
                fused = moved[0].device.type in _FUSED
                self._rule(self.constants, moved, states, lr=rate, weight_decay=alpha, fused=fused, maximize=False)

    def penalised(self, loss, n_rows):
        """Return a sum of rows' losses with their penalties, as they are now."""
        squares = squared_weights(self._parameters) if self.constants.penalty else ()
        return self.constants.penalised(loss, n_rows, squares)

    def state_dict(self):
        """What outlives a fit: the state of each parameter, by its place."""
        return {"state": {k: self.state[p] for k, p in enumerate(self._parameters) if p in self.state}}

    def load_state_dict(self, saved):
        """Put a saved state back; constants stay those that this was made with."""
        placed = {self._parameters[k]: state for k, state in saved["state"].items()}
        self.state = {p: {name: _like(p, name, value) for name, value in state.items()} for p, state in placed.items()}


class MeanWeights:
    """The exponential mean of a network's weights and moving averages over its steps, with which it predicts."""

    def __init__(self, network, optimizer):
        self._network, self._optimizer, self.steps = network, optimizer, 0
        self._mean = {name: t.detach().clone() for name, t in self._now()}

    def _now(self):
        """What is averaged, by name."""
        return [(name, t) for name, t in self._network.state_dict().items() if t.is_floating_point()]

    @torch.no_grad()
    def update(self):
        """Count a step."""
        self.steps += 1
        share = self._optimizer.share_of_mean(self.steps)
        for name, now in self._now():
            self._mean[name].lerp_(now, share)

    def arrays(self):
        """Return parameters and buffers by name; what counts is that of the last step."""
        return self._network.state_dict() | self._mean

    def __call__(self, x):
        """Return the outputs of the network with them."""
        return torch.func.functional_call(self._network, self._mean, (x,))

    def state(self):
        """Return what a snapshot needs."""
        return {"network": self.arrays(), "steps": self.steps}

    def load(self, state):
        """Put a state back; None begins anew from the weights as they are."""
        source = dict(self._now()) if state is None else state["network"]
        self.steps = 0 if state is None else state["steps"]
        for name, mean in self._mean.items():
            mean.copy_(source[name])


def _like(parameter, name, value):
    """A part of the state in the precision and on the device of its parameter; steps are counted in float32."""
    if name != "step":
        return value.to(parameter)
    return value.to(parameter.device, torch.float32) if parameter.device.type in _FUSED else value


def _sgd(o, members, states, **settings):
    buffers = [state.get("momentum_buffer") for state in states] if o.momentum else []
    nesterov = o.nesterov and o.momentum > 0
    sgd(members, [p.grad for p in members], buffers, momentum=o.momentum, dampening=0.0, nesterov=nesterov, **settings)
    for state, buffer in zip(states, buffers, strict=bool(buffers)):
        state["momentum_buffer"] = buffer


def _adam(o, members, states, function=adam, **settings):
    for parameter, state in zip(members, states, strict=True):
        if not state:
            state["step"] = torch.zeros((), dtype=torch.float32, device=parameter.device if settings["fused"] else None)
            state["exp_avg"] = torch.zeros_like(parameter, memory_format=torch.preserve_format)
            state["exp_avg_sq"] = torch.zeros_like(parameter, memory_format=torch.preserve_format)
    first, second, steps = ([s[name] for s in states] for name in ("exp_avg", "exp_avg_sq", "step"))
    constants = {"beta1": o.beta_1, "beta2": o.beta_2, "eps": o.epsilon, "amsgrad": False}
    function(members, [p.grad for p in members], first, second, [], steps, **constants, **settings)


def _adamw(o, members, states, **settings):
    _adam(o, members, states, adamw, **settings)


OPTIMIZERS = {"sgd": _sgd, "adam": _adam, "adamw": _adamw}


def squared_weights(parameters):
    """Return the sum of squares of every weight, biases and normalisations apart."""
    squares = [p.detach().square().sum(dtype=torch.float64) for p in parameters if p.ndim > 1]
    return torch.stack(squares).tolist() if squares else []  # one wait for the device


def optimizer_of(parameters, constants):
    """Return the optimiser of what trains of a network: weights with the penalty, biases and normalisations without."""
    parameters = [p for p in parameters if p.requires_grad]
    weights = [p for p in parameters if p.ndim > 1]
    others = [p for p in parameters if p.ndim < 2]
    return TorchOptimizer(
        constants, [(members, alpha) for members, alpha in ((weights, constants.alpha), (others, 0.0)) if members]
    )
