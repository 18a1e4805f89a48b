"""Which modules draw random numbers, and the moments at which a thread must be alone with torch's random state."""

import contextlib

import numpy as np
from torch import nn
from torch.nn.modules.dropout import _DropoutNd

from sklearn_analytic.nn._torch_modes import own_randomness

_KNOWN = ("torch.nn.", "sklearn_analytic.")  # modules that draw only where the tables below say so
_ALWAYS = (nn.RReLU, nn.FractionalMaxPool2d, nn.FractionalMaxPool3d)
_RATES = ((_DropoutNd, "p"), (nn.RNNBase, "dropout"), (nn.MultiheadAttention, "dropout"))


def may_draw(network):
    """Return whether a forward pass in training mode may draw; a module that is not torch's may."""
    return any(_draws(module) for module in network.modules())


def is_known(module):
    """Return whether a module does what is known of torch's own, and nothing else."""
    hooked = module._forward_hooks or module._forward_pre_hooks or "forward" in vars(module)
    return not hooked and type(module).__module__.startswith(_KNOWN)


class Draws:
    """The random numbers of one module of a pipeline: a batch gets the same ones whenever, and wherever, it runs.

    Parameters
    ----------
    network : torch.nn.Module
        Whose forward passes these are; one that never draws never waits for another thread.
    device : torch.device
        Where.
    seed, module : int
        Host seed, and the module's place.
    """

    def __init__(self, network, device, seed, module):
        self._device, self._seed, self._module = device, seed, module
        self._draws, self.epoch = may_draw(network), 0
        self._epochs = {}  # of batches on their way: the first run fixes it

    def of(self, batch):
        """Return the context of a forward pass of a batch."""
        if not self._draws:
            return contextlib.nullcontext()
        epoch = self._epochs.setdefault(batch.index, self.epoch)
        sequence = np.random.SeedSequence([self._seed, self._module, epoch, batch.index])
        return own_randomness(self._device, int(sequence.generate_state(1, np.uint64)[0]) % 2**63)

    def forget(self, batch):
        """The batch is done."""
        self._epochs.pop(batch.index, None)

    def clear(self):
        """No batch is on its way."""
        self._epochs.clear()


def _draws(module):
    """Whether a module, its members aside, may draw."""
    if not is_known(module):
        return True
    return isinstance(module, _ALWAYS) or any(isinstance(module, k) and getattr(module, r) > 0 for k, r in _RATES)
