"""Gradients summed over ranks by DistributedDataParallel and its communication hook."""

import warnings
from functools import singledispatch

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from sklearn_analytic.nn._communication import CommunicationLog, ring_bytes
from sklearn_analytic.nn._torch_compression import EntropyExchange
from sklearn_analytic.nn._torch_ranks import Ranks
from sklearn_analytic.nn._torch_stages import run_segments

_OWN = ("torch.nn.", "sklearn_analytic.")  # modules that use all their parameters in every forward pass


class _SegmentRun(nn.Module):
    """The module whose forward DistributedDataParallel is called through: all segments, all outputs."""

    def __init__(self, network):
        super().__init__()
        self.network, self.inputs = network, ()

    def forward(self, segments, x, linked, watches):
        """Return the outputs; inputs are leaves that collect gradients, which must not pass through the wrapper."""
        self.inputs, outputs = run_segments(segments, x, linked, watches)
        return outputs


@singledispatch
def gradient_sum(ranks, network):
    """Return what sums gradients over ranks: their own verb, for all but processes of torch.distributed."""
    return VerbSum(network, ranks)


class VerbSum:
    """Runs segments, and sums gradients by the verb of the ranks afterwards; of a process alone that is nothing."""

    run = staticmethod(run_segments)

    def __init__(self, network, ranks):
        self._network, self._ranks = network, ranks

    def finish(self):
        """Sum the gradients that the backward passes left."""
        for parameter in self._network.parameters():
            if parameter.grad is not None:
                self._ranks.sum_(parameter.grad)

    def end_epoch(self):
        """Record nothing."""

    def record(self):
        """Return None: there is no record."""


class HookedSum:
    """Runs segments so that the backward passes from their outputs leave the sum over ranks in every gradient.

    DistributedDataParallel divides by the number of ranks, which is right where all shares of a batch are equal. Here
    every rank has divided by the rows of the whole batch, so the hooks add and nothing else.

    Parameters
    ----------
    network : Module
        Whose parameters are trained.
    ranks : Ranks
        The processes. Their ``compression`` chooses the hook.
    """

    def __init__(self, network, ranks):
        self._network, self._ranks, self._wrapped = network, ranks, None
        self._log = CommunicationLog(ranks, [name for name, _ in self._matrices()])

    def __getstate__(self):
        """A copy wraps its own network, when it is first run; errors that compression left out are forgotten."""
        return self.__dict__ | {"_wrapped": None}

    def run(self, segments, x, linked=(), watches=None):
        """Return (inputs, outputs) as ``run_segments`` does."""
        if self._wrapped is None:
            self._wrapped = self._wrap()
        with warnings.catch_warnings():
            # an unknown module may leave a parameter out in any batch, not in this one
            warnings.filterwarnings("ignore", "find_unused_parameters=True was specified", UserWarning)
            outputs = self._wrapped(segments, x, linked, watches)
        inputs, self._wrapped.module.inputs = self._wrapped.module.inputs, ()
        return inputs, outputs

    def finish(self):
        """Do nothing: the hook has summed."""

    def end_epoch(self):
        """Record what the epoch sent, and the entropy of the weights."""
        self._log.epoch([p.detach().cpu().numpy() for _, p in self._matrices()])

    def record(self):
        """Return the record of all epochs."""
        return self._log.record()

    def _matrices(self):
        """(name, parameter) of all weights, biases and normalisations left out."""
        return [(name, p) for name, p in self._network.named_parameters() if p.ndim > 1]

    def _wrap(self):
        """The network in DistributedDataParallel; all ranks do this together, and start from rank 0's weights."""
        partial_use = not all(type(m).__module__.startswith(_OWN) for m in self._network.modules())
        with warnings.catch_warnings():
            # torch 2.13 renames the flag, and has no other name for what it means
            warnings.filterwarnings("ignore", "`broadcast_buffers` is deprecated", FutureWarning)
            wrapped = DistributedDataParallel(
                _SegmentRun(self._network),
                process_group=self._ranks.group,
                broadcast_buffers=False,  # moving averages become means over ranks, after the step
                find_unused_parameters=partial_use,
            )
        compression = self._ranks.compression if self._ranks.size > 1 else None  # nobody to send to
        wrapped.register_comm_hook(*_HOOKS[compression](self._ranks))
        return wrapped


gradient_sum.register(Ranks, lambda ranks, network: HookedSum(network, ranks))


def _summed(ranks, bucket):
    """Communication hook: a ring adds the bucket."""
    tensor = bucket.buffer()
    wire = ring_bytes(tensor.nbytes, ranks.size)
    _count(ranks, payload=tensor.nbytes, wire=wire, uncompressed=wire)
    return dist.all_reduce(tensor, group=ranks.group, async_op=True).get_future().then(lambda done: done.value()[0])


def _compressed(state, bucket):
    """Communication hook: everyone gets everyone's symbols."""
    ranks, exchange = state
    exchange.sum_(bucket.parameters(), bucket.gradients())
    _count(ranks, uncompressed=ring_bytes(bucket.buffer().nbytes, ranks.size))
    done = torch.futures.Future()
    done.set_result(bucket.buffer())
    return done


def _count(ranks, payload=0.0, wire=0.0, uncompressed=0.0):
    """Add to the traffic of gradients."""
    ranks.traffic.payload += payload
    ranks.traffic.wire += wire
    ranks.traffic.uncompressed += uncompressed


# {compression: (state, hook) for ranks}
_HOOKS = {
    None: lambda ranks: (ranks, _summed),
    "entropy": lambda ranks: ((ranks, EntropyExchange(ranks)), _compressed),
}
