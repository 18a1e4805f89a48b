"""Update rules of torch: their table, the parameters that are penalised, and what of them outlives a fit."""

from functools import partial

import torch

_FUSED = ("cpu", "cuda")  # devices on which torch updates all parameters in one pass


def _sgd(groups, o, fused):
    nesterov = o.nesterov and o.momentum > 0
    return torch.optim.SGD(groups, lr=0.0, momentum=o.momentum, nesterov=nesterov, fused=fused)


def _adam(kind, groups, o, fused):
    return kind(groups, lr=0.0, betas=(o.beta_1, o.beta_2), eps=o.epsilon, fused=fused)


OPTIMIZERS = {"sgd": _sgd, "adam": partial(_adam, torch.optim.Adam), "adamw": partial(_adam, torch.optim.AdamW)}


def optimizer_of(network, constants, device):
    """Return the optimiser of a network: weights with the penalty, biases and normalisations without."""
    parameters = [p for p in network.parameters() if p.requires_grad]
    weights = [p for p in parameters if p.ndim > 1]
    others = [p for p in parameters if p.ndim < 2]
    groups = [(weights, constants.alpha), (others, 0.0)]
    groups = [{"params": members, "weight_decay": decay} for members, decay in groups if members]
    return OPTIMIZERS[constants.name](groups, constants, device.type in _FUSED)


def load_moments(optimizer, saved):
    """Put the moments of a saved ``state_dict`` back; constants stay those that the optimiser was made with."""
    optimizer.load_state_dict({"state": saved["state"], "param_groups": optimizer.state_dict()["param_groups"]})
