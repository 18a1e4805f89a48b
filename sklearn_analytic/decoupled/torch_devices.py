"""Where modules of a pipeline compute, and how tensors cross from one to the next: devices, streams and events.

On the CPU all of this does nothing. On a GPU every module launches on a stream of its own; who receives a tensor lets
its stream wait for the event that the sender recorded, and tells the allocator that the memory is in use there.
"""

import contextlib
from dataclasses import dataclass, replace
from typing import Any

import torch


@dataclass(frozen=True, eq=False)
class Sent:
    """A tensor on its way to another module."""

    tensor: torch.Tensor
    ready: Any = None  # event of the sender's stream
    factor: float = 1.0  # that the receiver multiplies with, on its own stream

    @property
    def nbytes(self):
        """Bytes of the tensor."""
        return self.tensor.nbytes

    def __imul__(self, factor):
        """Have the receiver multiply."""
        return replace(self, factor=self.factor * factor)


@dataclass(frozen=True, eq=False)
class Placement:
    """A module's device, and the stream that it launches on: None on the CPU, and for a module alone."""

    device: torch.device
    stream: Any = None

    @contextlib.contextmanager
    def working(self):
        """Launch on the module's stream, backward passes from this thread."""
        if self.stream is None:
            yield
            return
        # the engine's own thread of a device would launch the backward passes of all modules one after the other
        with torch.cuda.stream(self.stream), torch.autograd.set_multithreading_enabled(False):
            yield

    def send(self, tensor):
        """Return the tensor as another module can receive it."""
        return Sent(tensor, None if self.stream is None else self.stream.record_event())

    def receive(self, sent):
        """Return what was sent, here; call it while :meth:`working`."""
        if self.stream is not None:
            if sent.ready is not None:
                self.stream.wait_event(sent.ready)
            sent.tensor.record_stream(self.stream)
        tensor = sent.tensor.to(self.device, non_blocking=True)
        return tensor if sent.factor == 1 else tensor * sent.factor

    def after_caller(self):
        """Let the module's stream wait for what the calling thread has launched on its own."""
        if self.stream is not None:
            self.stream.wait_stream(torch.cuda.current_stream(self.device))

    def before_caller(self):
        """Let the calling thread's stream wait for what the module has launched."""
        if self.stream is not None:
            torch.cuda.current_stream(self.device).wait_stream(self.stream)


def placements(devices):
    """Return the placement of every module; several modules get a stream each."""
    return [Placement(device, _stream(device) if len(devices) > 1 else None) for device in devices]


def devices_of(n_modules, device):
    """Return a device for each module: "cuda" without a number deals several modules out to all GPUs, in turns."""
    device = torch.device(device)
    n = torch.cuda.device_count() if device.type == "cuda" and device.index is None and n_modules > 1 else 0
    return [torch.device("cuda", k % n) if n > 1 else device for k in range(n_modules)]


def _stream(device):
    """A new stream, on devices that have them."""
    return torch.cuda.Stream(device) if device.type == "cuda" else None
