"""Backpropagation as a user of torch would write it, and the bytes that autograd keeps for it."""

import math
from itertools import pairwise

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint_sequential

BETAS, EPSILON, RATE = (0.9, 0.999), 1e-8, 1e-3


def network_of(task):
    """The network of a task: blocks of convolutions where rows are images, then dense layers."""
    modules, n_in = [], task["features"]
    if task["image_shape"]:
        channels, side = task["image_shape"][0], task["image_shape"][1]
        modules.append(nn.Unflatten(1, tuple(task["image_shape"])))
        for block in task["conv"]:
            for n_in, n_out in pairwise((channels, *block)):
                modules += [nn.Conv2d(n_in, n_out, 3, padding=1), nn.ReLU()]
            modules.append(nn.MaxPool2d(2))
            channels, side = block[-1], side // 2
        modules.append(nn.Flatten())
        n_in = channels * side * side
    for below, above in pairwise((n_in, *task["hidden"])):
        modules += [nn.Linear(below, above), nn.ReLU()]
    return nn.Sequential(*modules, nn.Linear(task["hidden"][-1], task["classes"]))


class Adam:
    """Two moments per weight, in place."""

    def __init__(self, parameters):
        self.parameters, self.steps = list(parameters), 0
        self.moments = [(torch.zeros_like(p), torch.zeros_like(p)) for p in self.parameters]

    @torch.no_grad()
    def step(self):
        """One step; gradients are given back."""
        self.steps += 1
        first_rest, second_rest = (1 - beta**self.steps for beta in BETAS)
        for p, (first, second) in zip(self.parameters, self.moments, strict=True):
            first.lerp_(p.grad, 1 - BETAS[0])
            second.mul_(BETAS[1]).addcmul_(p.grad, p.grad, value=1 - BETAS[1])
            p.addcdiv_(first, second.sqrt().div_(math.sqrt(second_rest)).add_(EPSILON), value=-RATE / first_rest)
            p.grad = None


class SavedBytes:
    """Counts the bytes of what autograd keeps, each storage once, weights left out; ``peak`` is the most so far."""

    def __init__(self, parameters):
        self._left_out = {p.untyped_storage().data_ptr() for p in parameters}
        self._uses, self.live, self.peak = {}, 0, 0

    def hooks(self):
        """A context in which forward and backward passes are counted."""
        return torch.autograd.graph.saved_tensors_hooks(self.keep, lambda kept: kept.tensor)

    def keep(self, tensor):
        """Count a tensor until autograd lets it go."""
        storage = tensor.untyped_storage()
        key, size = storage.data_ptr(), storage.nbytes()
        if key not in self._left_out:
            self._uses[key] = self._uses.get(key, 0) + 1
            self.live += size if self._uses[key] == 1 else 0
            self.peak = max(self.peak, self.live)
        return _Kept(tensor, self, key, size)

    def release(self, key, size):
        """One use less."""
        if key in self._left_out:
            return
        self._uses[key] -= 1
        if not self._uses[key]:
            del self._uses[key]
            self.live -= size


class _Kept:
    """What stands for a saved tensor; its end tells the counter."""

    def __init__(self, tensor, owner, key, size):
        self.tensor, self._told = tensor, (owner, key, size)

    def __del__(self):
        owner, key, size = self._told
        owner.release(key, size)


def train(task, X, y, checkpointing):
    """Train by backpropagation; return the network."""
    torch.manual_seed(0)
    device = torch.device(task["device"])
    network = network_of(task).to(device)
    x, y = torch.from_numpy(X).to(device), torch.from_numpy(y).to(device)
    optimizer, n_segments = Adam(network.parameters()), _segments(task, checkpointing)
    for epoch in range(task["epochs"]):
        for rows in torch.from_numpy(np.random.default_rng(epoch).permutation(len(X))).split(task["batch_size"]):
            _backward(network, x[rows.to(device)], y[rows.to(device)], n_segments)
            optimizer.step()
    return network


def _backward(network, x, y, n_segments):
    """Gradients of one batch; with segments, only their borders are kept."""
    if n_segments:
        outputs = checkpoint_sequential(network, n_segments, x.requires_grad_(), use_reentrant=True)
    else:
        outputs = network(x)
    F.cross_entropy(outputs, y).backward()


def counted_bytes(task, X, y, checkpointing):
    """Bytes of gradients, moments and of what autograd keeps of one batch at the same time."""
    network, m = network_of(task), task["batch_size"]
    saved = SavedBytes(network.parameters())
    with saved.hooks():
        _backward(network, torch.from_numpy(X[:m].copy()), torch.from_numpy(y[:m]), _segments(task, checkpointing))
    return saved.peak + 3 * weight_bytes(network)


def _segments(task, checkpointing):
    """The usual number, the root of the number of layers; 0 keeps everything."""
    return round(math.sqrt(task["layers"])) if checkpointing else 0


def weight_bytes(network):
    """Bytes of all parameters."""
    return sum(p.nbytes for p in network.parameters())
