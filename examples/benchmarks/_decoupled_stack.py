"""Equal modules in one batched product per layer, by hand in torch, and what it is timed against: one thread.

The network has ``layers`` square layers, ReLU between them and a softmax over the units of the last one, so that all
modules are equal but for the last activation.
"""

import time
from collections import deque

import numpy as np
import torch
from _decoupled_contenders import Compiled, TorchLoop
from _decoupled_nets import RATE, compiled_backprop, pipeline, rows_of


class StackedModules:
    """All modules of one tick of FDG side by side: forward of the newest batches, then backward of older ones.

    Weights are (modules, slots, units, units). Backward passes read old activations and live weights: the cheapest of
    the rules, as nothing is copied. One module is backpropagation.
    """

    def __init__(self, layers, width, n_modules, batch_size, seed=0):
        generator = torch.Generator().manual_seed(seed)
        self.K, self.n_slots = n_modules, layers // n_modules
        scale = (2 / width) ** 0.5
        self.weights = scale * torch.randn(n_modules, self.n_slots, width, width, generator=generator)
        self.biases = torch.zeros(n_modules, self.n_slots, 1, width)
        self.weights.grad, self.biases.grad = torch.zeros_like(self.weights), torch.zeros_like(self.biases)
        depth = 2 * n_modules - 1  # batches that the first module keeps
        self._kept = torch.zeros(self.n_slots + 1, depth, n_modules, batch_size, width)
        self._inputs, self._errors = (torch.zeros(n_modules, batch_size, width) for _ in range(2))
        self._lower = torch.zeros(n_modules, 1, 1)  # of the last slot: the network's outputs are not rectified
        self._lower[-1] = -torch.inf
        self._module, self._delays = torch.arange(n_modules), 2 * (n_modules - 1 - torch.arange(n_modules))
        self._labels, self._tick = deque([None] * (n_modules - 1)), 0

    def tick(self, x, y):
        """Fill the gradients of one tick: ``x`` and ``y`` enter (None: nothing does); return the last loss or None."""
        self._inputs[0] = 0 if x is None else x
        self._labels.append(y)
        now = self._tick % len(self._kept[0])
        top = self._forward(now)
        loss = self._loss(top[-1], self._labels.popleft())
        self._backward((self._tick - self._delays) % len(self._kept[0]))
        self._inputs[1:] = top[:-1]
        self._tick += 1
        return loss

    def _forward(self, now):
        h = self._inputs
        for slot in range(self.n_slots):
            self._kept[slot, now] = h
            h = torch.baddbmm(self.biases[:, slot], h, self.weights[:, slot])
            last = slot == self.n_slots - 1
            h = torch.maximum(h, self._lower) if last else h.clamp_min_(0)
        self._kept[self.n_slots, now] = h
        return h

    def _loss(self, outputs, y):
        """The last module's error is the gradient of the mean cross-entropy."""
        if y is None:
            self._errors[-1] = 0
            return None
        logs = torch.log_softmax(outputs, 1)
        error = torch.exp(logs)
        rows = torch.arange(len(y))
        error[rows, y] -= 1
        self._errors[-1] = error / len(y)
        return -logs[rows, y].mean()

    def _backward(self, at):
        e = self._errors
        for slot in range(self.n_slots - 1, -1, -1):
            above = self._kept[slot + 1, at, self._module] if self.K > 1 else self._kept[slot + 1, 0]
            below = self._kept[slot, at, self._module] if self.K > 1 else self._kept[slot, 0]
            e = e * (above > (self._lower if slot == self.n_slots - 1 else 0))
            self.weights.grad[:, slot] = torch.bmm(below.transpose(1, 2), e)
            self.biases.grad[:, slot] = e.sum(1, keepdim=True)
            if slot or self.K > 1:
                e = torch.bmm(e, self.weights[:, slot].transpose(1, 2))
        if self.K > 1:
            self._errors[:-1] = e[1:]


class StackedLoop:
    """Ticks with fused Adam, as a contender."""

    def __init__(self, n_modules):
        self._n_modules = n_modules

    def prepare(self, task):
        """Build it, with one pass."""
        torch.set_num_threads(1)
        self._task = task
        self._modules = StackedModules(task["depth"] + 1, task["width"], self._n_modules, task["batch_size"])
        # fused Adam works on one flat piece of memory each, whatever the number of modules
        self._optimizer = torch.optim.Adam([self._modules.weights, self._modules.biases], lr=RATE, fused=True)
        rows = rows_of(task)
        self._x, self._y = torch.from_numpy(rows.x), torch.from_numpy(rows.y)
        self.sample()

    @torch.no_grad()
    def sample(self):
        """Wall seconds per batch of one pass."""
        start, m = time.perf_counter(), self._task["batch_size"]
        for x, y in zip(self._x.split(m), self._y.split(m), strict=True):
            loss = self._modules.tick(x, y)
            self._optimizer.step()
            if loss is not None:
                loss.item()
        return (time.perf_counter() - start) / self._task["batches"]


def _in_turns(n_modules):
    return Compiled(lambda task: pipeline(task, {"stash": False}, n_modules, threads=False))


CONTENDERS = {
    "torch autograd, backprop": TorchLoop(1),
    "torch by hand, backprop": StackedLoop(1),
    "torch stacked, 4 modules": StackedLoop(4),
    "torch stacked, 8 modules": StackedLoop(8),
    "compiled backprop": Compiled(compiled_backprop),
    "compiled, in turns, 4 modules": _in_turns(4),
    "compiled, in turns, 8 modules": _in_turns(8),
}


def timed(task):
    """One row per contender, repeats interleaved."""
    task = task | {"classes": task["width"]}
    runners = {name: CONTENDERS[name] for name in task["contenders"]}
    for runner in runners.values():
        runner.prepare(task)
    samples = {name: [] for name in runners}
    for _ in range(task["repeats"]):
        for name, runner in runners.items():
            samples[name].append(runner.sample())
    return [
        {"contender": name, "seconds": float(np.median(taken)), "samples": taken} for name, taken in samples.items()
    ]
