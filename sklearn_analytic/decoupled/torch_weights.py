"""Weights and buffers of a module that others stand in for, during a forward pass."""

import contextlib

from torch import nn

from sklearn_analytic.decoupled.torch_draws import is_known


class Twins:
    """The parameters of a module that train, and for each a twin for the optimiser: the same memory, another tensor.

    Autograd counts the changes of a tensor, not of its memory. What the optimiser does to the twins in place is no
    change of the parameters: a graph from before an update runs backward with its own activations and the weights of
    now, which is what ``stash=False`` means.

    Parameters
    ----------
    network : torch.nn.Module
        In its dtype and on its device for good: moving it would part the twins.
    """

    def __init__(self, network):
        self._network = network
        self.parameters = [p for p in network.parameters() if p.requires_grad]
        self.optimised = [nn.Parameter(p.data) for p in self.parameters]
        place = {id(p): i for i, p in enumerate(self.parameters)}
        named = [(m, name, p) for m in network.modules() for name, p in m.named_parameters(recurse=False)]
        self._unknown = [m for m in network.modules() if not is_known(m)]
        self._slots = [(module, name, place[id(p)]) for module, name, p in named if id(p) in place]
        self._is_shared = False  # whether frozen weights have the memory of the live ones

    def replaced(self, leaves):
        """Compute with ``leaves``, one for each parameter, inside the block; None are the parameters themselves."""
        return contextlib.nullcontext() if leaves is None else self._swapped(leaves)

    @contextlib.contextmanager
    def _swapped(self, leaves):
        """What torch.func.functional_call does, which takes about as long as a small module's forward pass."""
        for module, name, i in self._slots:
            setattr(module, name, leaves[i])
        try:
            yield
        finally:
            for module, name, i in self._slots:
                setattr(module, name, self.parameters[i])

    def renew_buffers(self):
        """Put copies in place of the statistics of modules that may read them in graphs, and then change them."""
        for module in self._unknown:
            for name, buffer in list(module.named_buffers(recurse=False)):
                setattr(module, name, buffer.clone())

    @contextlib.contextmanager
    def kept_buffers(self):
        """Have running statistics change in copies inside the block, which are thrown away."""
        named = [(m, name, b) for m in self._network.modules() for name, b in m.named_buffers(recurse=False)]
        for module, name, buffer in named:
            setattr(module, name, buffer.clone())
        try:
            yield
        finally:
            for module, name, buffer in named:
                setattr(module, name, buffer)

    @contextlib.contextmanager
    def current(self, leaves):
        """Have graphs that were made with ``leaves`` read the weights of now inside the block."""
        kept = [leaf.data.clone() for leaf in leaves]
        for leaf, parameter in zip(leaves, self.parameters, strict=True):
            leaf.data.copy_(parameter.data)
        try:
            yield
        finally:
            for leaf, values in zip(leaves, kept, strict=True):
                leaf.data.copy_(values)

    def frozen(self):
        """Return the weights of now, which no update will touch: it moves the live ones to new memory."""
        self._is_shared = True
        return self.leaves([p.data for p in self.parameters])

    def part(self):
        """Give live weights memory of their own, before they change."""
        if not self._is_shared:
            return
        for twin, parameter in zip(self.optimised, self.parameters, strict=True):
            twin.data = parameter.data = parameter.data.clone()
        self._is_shared = False

    def leaves(self, tensors):
        """Return weights of other values, in the order of the parameters."""
        return [nn.Parameter(t.detach()) for t in tensors]

    def collect(self, leaves):
        """Move the gradients of ``leaves`` to the parameters, which sum them."""
        for leaf, parameter in zip(leaves, self.parameters, strict=True):
            if leaf.grad is not None:
                parameter.grad = leaf.grad if parameter.grad is None else parameter.grad.add_(leaf.grad)
                leaf.grad = None

    def hand_over(self, scale):
        """Move ``scale`` times the gradients of the parameters to the twins."""
        for twin, parameter in zip(self.optimised, self.parameters, strict=True):
            twin.grad = parameter.grad if scale == 1 or parameter.grad is None else parameter.grad.mul_(scale)
            parameter.grad = None

    def forget(self):
        """Drop all gradients."""
        for tensor in (*self.optimised, *self.parameters):
            tensor.grad = None
